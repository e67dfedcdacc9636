"""The measures against other people's arithmetic, known laws and hand-made cases."""

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image

from course.lab import metrics as m

RNG = np.random.default_rng(0)


def gaussian(n, d, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ np.linspace(0.5, 2, d * d).reshape(d, d) / d + shift


def test_frechet_agrees_with_scipy_and_torchmetrics():
    from torchmetrics.image.fid import _compute_fid
    for n, d in ((50, 4), (400, 16), (300, 64)):
        x, y = gaussian(n, d, seed=1), gaussian(n, d, shift=0.3, seed=2) * 1.1
        mine = m.frechet_distance(x, y)
        cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        root = scipy.linalg.sqrtm(cov_x @ cov_y + 1e-12 * np.eye(d))
        usual = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(cov_x + cov_y - 2 * np.real(root))
        theirs = _compute_fid(*(torch.from_numpy(a) for a in (x.mean(0), cov_x, y.mean(0), cov_y))).item()
        assert mine == pytest.approx(usual, abs=2e-5 * max(1, usual))     # sqrtm itself is this good near singularity
        assert mine == pytest.approx(theirs, abs=1e-6 * max(1, theirs))


def test_frechet_of_known_gaussians():
    """Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2."""
    s1, s2, m1, m2 = np.array([1.0, 2.0]), np.array([0.5, 3.0]), np.array([0.0, 1.0]), np.array([2.0, 1.0])
    assert m.frechet(m1, np.diag(s1**2), m2, np.diag(s2**2)) == pytest.approx(4 + 0.25 + 1)


def test_frechet_is_symmetric_zero_on_itself_and_stable_when_singular():
    few = gaussian(10, 50)                                     # rank 9 of 50
    assert m.frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    other = gaussian(12, 50, 0.2, seed=3)
    assert m.frechet_distance(few, other) == pytest.approx(m.frechet_distance(other, few), rel=1e-6)
    assert m.frechet_distance(few * 0 + 1.0, other * 0 + 3.0) == pytest.approx(4 * 50)     # two points


def test_one_feature():
    x = RNG.normal(size=(5000, 1))
    assert m.frechet_distance(x, 2 * x + 3) == pytest.approx((x.mean() + 3) ** 2 + x.var(ddof=1), rel=1e-6)


def test_few_pictures_look_worse_than_they_are_and_infinity_mends_it():
    reference = np.random.default_rng(1).normal(size=(20_000, 16))
    same_law = np.random.default_rng(2).normal(size=(800, 16))
    curve = m.bias_curve(same_law, reference, [50, 200, 800])
    assert curve[50] > 2 * curve[200] > 4 * curve[800] > 0
    assert abs(m.frechet_infinity(same_law, reference)) < curve[800] / 3


def test_kernel_distance_has_no_bias():
    rng = np.random.default_rng(0)
    same = [m.kernel_distance(rng.normal(size=(30, 8)), rng.normal(size=(30, 8))) for _ in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(300)
    assert m.kernel_distance(rng.normal(size=(300, 8)), rng.normal(size=(300, 8)) + 0.5) > 3 * np.std(same) / 10


def test_kernel_distance_by_hand():
    x, y = np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])

    def k(a, b):
        return (a * b + 1) ** 3
    expected = k(1, 2) + k(0, 3) - 2 * np.mean([k(1, 0), k(1, 3), k(2, 0), k(2, 3)])
    assert m.kernel_distance(x, y) == pytest.approx(expected)


def test_wilson_holds_its_own_value():
    assert all(low <= value <= high for n in range(1, 200) for k in (0, 1, n - 1, n) for value, low, high in [m.wilson(k, n)])


def test_a_centred_bootstrap_lies_around_a_biased_statistic():
    samples = np.random.default_rng(3).normal(size=(2, 400, 16))

    def inside(**options) -> bool:
        value, low, high = m.bootstrap(m.frechet_distance, *samples, repeats=50, **options)
        return low <= value <= high

    assert inside(centred=True)
    assert not inside(), "drawing with replacement makes this distance larger"


def test_wilson():
    assert m.wilson(0, 10) == pytest.approx((0, 0, 0.2775), abs=1e-3)
    assert m.wilson(95, 100) == pytest.approx((0.95, 0.8882, 0.9785), abs=1e-3)
    counts = np.random.default_rng(0).binomial(80, 0.9, 2000)
    covered = np.mean([low <= 0.9 <= high for _, low, high in (m.wilson(int(k), 80) for k in counts)])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_bootstrap_covers_the_mean_and_repeats_itself():
    hits = []
    for seed in range(100):
        sample = np.random.default_rng(seed).normal(size=40)
        _, low, high = m.bootstrap(np.mean, sample, seed=seed)
        hits.append(low <= 0 <= high)
    assert 0.86 <= np.mean(hits) <= 1
    assert m.bootstrap(np.mean, sample) == m.bootstrap(np.mean, sample)


def test_equal_differences_leave_room_for_prompts_not_seen():
    for value, down, up in ((0.0, 1, 1), (1.0, 2, 0), (-1.0, 0, 2), (0.25, 0.25, 0.25), (-0.1, 0.1, 0.1)):
        seen = m.paired_interval([value] * 24, [f"prompt {i // 2}" for i in range(24)])
        unseen = m.wilson(0, 12).high
        assert seen.value == pytest.approx(value)
        assert (seen.low, seen.high) == (pytest.approx(value - unseen * down), pytest.approx(value + unseen * up))
    one = m.paired_interval([1.0], ["a"])                                                 # one prompt says next to nothing
    assert one.low < 0


def test_prompts_are_drawn_again_not_pairs():
    """Two seeds of a prompt that decides everything tell as much as one."""
    rng = np.random.default_rng(0)
    covered = {"prompts": 0, "pairs": 0}
    for trial in range(200):
        effect = (rng.random(16) < 0.5).astype(float) - (rng.random(16) < 0.3)            # truth: 0.2
        values = np.repeat(effect, 4)
        names = {"prompts": [i // 4 for i in range(64)], "pairs": list(range(64))}
        for how, prompts in names.items():
            seen = m.paired_interval(values, prompts, repeats=300, seed=trial)
            covered[how] += seen.low <= 0.2 <= seen.high
    assert covered["prompts"] >= 178                                                      # of 200
    assert covered["pairs"] <= 140


@pytest.mark.parametrize(("values", "prompts"), [([], []), ([0.1], ["a", "b"]), ([float("nan")], ["a"])])
def test_differences_that_are_none(values, prompts):
    with pytest.raises(ValueError, match="one finite number"):
        m.paired_interval(values, prompts)


def test_picture_measures_point_the_right_way():
    grey = Image.new("RGB", (16, 16), (128, 128, 128))
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    board = Image.fromarray((np.indices((16, 16)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    pictures = m.as_array([grey, red, board])
    assert m.saturation(pictures).tolist() == [0, 1, 0]
    assert m.clipped(pictures).tolist() == [0, 1, 1]
    assert m.sharpness(pictures)[2] > 1
    assert m.sharpness(pictures)[:2].tolist() == [0, 0]
    with pytest.raises(ValueError, match="one size"):
        m.as_array([grey, red.resize((8, 8))])


def test_diversity():
    features = np.array([[0.0], [1.0], [5.0], [5.0]])
    assert m.diversity(features, ["a", "a", "b", "b"]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least two pictures"):
        m.diversity(features, [1, 2, 3, 4])


@pytest.mark.parametrize("bad", [np.zeros(5), np.zeros((1, 5)), np.array([[np.nan], [0.0]])])
def test_bad_features(bad):
    with pytest.raises(ValueError, match=r"must be \(N, D\)|NaN or infinity, first in row 0"):
        m.frechet_distance(bad, np.zeros((5, 5)))


def test_features_of_different_networks():
    with pytest.raises(ValueError, match="different networks"):
        m.frechet_distance(np.zeros((5, 5)), np.zeros((5, 6)))


def test_missing_networks_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RuntimeError, match="no CLIP model"):
        m.clip_score([Image.new("RGB", (8, 8))], ["x"], model=str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity", None)
    with pytest.raises(RuntimeError, match="emoji probe"):
        m.inception_features([Image.new("RGB", (8, 8))])


@pytest.mark.parametrize(("call", "words"), [
    (lambda: m.wilson(3, 2), "3 successes in 2 trials"),
    (lambda: m.wilson(-1, 2), "-1 successes"),
    (lambda: m.wilson(0, 0), "in 0 trials"),
    (lambda: m.bias_curve(np.zeros((4, 2)), np.zeros((4, 2)), [5]), "cannot take 5 of 4"),
    (lambda: m.bias_curve(np.zeros((4, 2)), np.zeros((4, 2)), [1]), "cannot take 1 of 4"),
    (lambda: m.paired_interval([0.1, float("nan")], ["a", "b"]), "one finite number for each"),
    (lambda: m.paired_interval([], []), "at least one"),
    (lambda: m.diversity(np.zeros((3, 2)), ["a", "b", "c"]), "at least two pictures of one group"),
])
def test_what_no_measure_can_be_made_of(call, words):
    with pytest.raises(ValueError, match=words):
        call()
