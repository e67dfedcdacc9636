"""Schedule, forward process, predictions, guidance and toy worlds: what each promises, and what it refuses."""

import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from course.forward import add_noise, diffuse, posterior, transition
from course.guidance import classifier_free, pair_of, rescaled
from course.prediction import (
    TO_EPS,
    as_eps,
    eps_from_score,
    eps_from_v,
    eps_from_x0,
    score_from_eps,
    v_from_eps,
    x0_from_eps,
)
from course.samplers import SAMPLERS, TAUGHT
from course.schedule import CLEAN, Level, NoiseSchedule, cosine_betas, linear_betas
from course.toy import Mixture, gaussian, ring, x0_guess

SCHEDULE = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                                      "steps_offset": 1, "set_alpha_to_one": False})


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


# ------------------------------------------------------------------------------------------------ schedule


def test_levels_lie_on_the_circle():
    for t in (0, 1, 0.5, 500, 977.25, 999):
        level = SCHEDULE.at(t)
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)
        assert level.snr == pytest.approx(1 / level.ratio**2)
    assert CLEAN.snr == math.inf


def test_between_two_times_the_ratio_is_a_straight_line():
    low, middle, high = (SCHEDULE.at(t).ratio for t in (20, 20.25, 21))
    assert middle == pytest.approx(0.75 * low + 0.25 * high, rel=1e-6)


def test_gather_gives_each_picture_its_level():
    levels = SCHEDULE.gather(torch.tensor([0, 999]), ndim=4)
    assert levels.alpha.shape == (2, 1, 1, 1)
    assert levels.alpha.flatten().tolist() == pytest.approx([SCHEDULE.at(0).alpha, SCHEDULE.at(999).alpha], rel=1e-6)


def test_sigma_at_the_ends_as_stable_diffusion_has_them():
    assert SCHEDULE.at(999).ratio == pytest.approx(14.6146469, rel=1e-6)
    assert SCHEDULE.at(0).ratio == pytest.approx(0.0291675, rel=1e-5)


@pytest.mark.parametrize("name", TAUGHT)
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 999, 1000])
def test_grids_fall(name, steps):
    grid = SAMPLERS[name].grid(SCHEDULE, steps)
    assert len(grid) == steps + 1
    ratios = [level.ratio for level in grid[:-1]]
    assert all(a > b for a, b in pairwise(ratios))
    assert 0 <= grid[-1].ratio <= ratios[-1]


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, "10"])
def test_wrong_number_of_steps(steps):
    with pytest.raises(ValueError, match="whole number from 1 to 1000"):
        SAMPLERS["ddim"].grid(SCHEDULE, steps)


@pytest.mark.parametrize(("config", "message"), [
    ({"beta_schedule": "sqrt"}, "unknown beta_schedule 'sqrt'"),
    ({"beta_start": 1e-4, "timestep_spacing": "even"}, "timestep_spacing is 'even'"),
    ({"num_train_timesteps": 1000, "shift": 3.0}, "says nothing about betas"),
    ({"trained_betas": [0.1, float("nan")]}, r"must lie in \[0, 1\]"),
    ({"trained_betas": [0.1, 1.5]}, r"must lie in \[0, 1\]"),
    ({"trained_betas": []}, "one per training step"),
    ({"trained_betas": [[0.1]]}, "one per training step"),
])
def test_wrong_config(config, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule.from_config(config)


@pytest.mark.parametrize("t", [-1, 1000, float("nan")])
def test_time_outside_the_schedule(t):
    with pytest.raises(ValueError, match=r"outside 0 \.\. 999"):
        SCHEDULE.at(t)


def test_cosine_keeps_more_signal_in_the_middle():
    cosine, linear = NoiseSchedule(cosine_betas(1000)), NoiseSchedule(linear_betas(1000, 1e-4, 0.02))
    assert cosine.at(500).alpha > 2 * linear.at(500).alpha


# ------------------------------------------------------------------------------------------------ forward process


def test_two_short_steps_make_one_long_one():
    """Variances and means compose: q(x_s|x_0) then q(x_t|x_s) is q(x_t|x_0)."""
    early, late = SCHEDULE.at(100), SCHEDULE.at(600)
    a, b = transition(early, late)
    assert a * early.alpha == pytest.approx(late.alpha)
    assert a**2 * early.sigma**2 + b == pytest.approx(late.sigma**2)


def test_samples_have_the_moments_they_should():
    early, late = SCHEDULE.at(100), SCHEDULE.at(600)
    x0 = torch.full((200_000,), 0.8, dtype=torch.float64)
    x = diffuse(add_noise(x0, draw(200_000, seed=1), early), draw(200_000, seed=2), early, late)
    assert x.mean().item() == pytest.approx(0.8 * late.alpha, abs=0.01)
    assert x.std().item() == pytest.approx(late.sigma, abs=0.01)
    mean, variance = posterior(x, x0, late, early)
    back = mean + variance**0.5 * draw(200_000, seed=3)          # one exact step back
    assert back.mean().item() == pytest.approx(0.8 * early.alpha, abs=0.01)
    assert back.std().item() == pytest.approx(early.sigma, abs=0.01)


def test_add_noise_of_a_batch_with_different_levels():
    x0, eps = draw(2, 3, 4, 4, dtype=torch.float32), draw(2, 3, 4, 4, seed=1, dtype=torch.float32)
    noisy = add_noise(x0, eps, SCHEDULE.gather(torch.tensor([3, 700]), 4))
    assert torch.allclose(noisy[1], add_noise(x0[1], eps[1], SCHEDULE.at(700)), atol=1e-6)


# ------------------------------------------------------------------------------------------------ predictions


@pytest.mark.parametrize("t", [0, 10, 500, 999])
def test_predictions_convert_into_each_other(t):
    level, x0, eps = SCHEDULE.at(t), draw(50), draw(50, seed=1)
    x = add_noise(x0, eps, level)
    v = level.alpha * eps - level.sigma * x0
    assert torch.allclose(x0_from_eps(eps, x, level), x0)
    assert torch.allclose(eps_from_x0(x0, x, level), eps)
    assert torch.allclose(eps_from_v(v, x, level), eps)
    assert torch.allclose(v_from_eps(eps, x, level), v)
    assert torch.allclose(eps_from_score(score_from_eps(eps, level), level), eps)
    for kind, output in (("epsilon", eps), ("sample", x0), ("v_prediction", v)):
        assert torch.allclose(as_eps(lambda x, level, output=output: output, kind)(x, level), eps)
        assert kind in TO_EPS


def test_unknown_prediction_type():
    with pytest.raises(ValueError, match="unknown prediction_type 'noise'"):
        as_eps(lambda x, level: x, "noise")


# ------------------------------------------------------------------------------------------------ guidance

LEVEL = SCHEDULE.at(500)


def test_guidance_at_0_1_and_beyond():
    negative, positive = draw(2, 3), draw(2, 3, seed=1)
    pair = pair_of(lambda x, level: negative, lambda x, level: positive)
    assert torch.allclose(classifier_free(pair, 0)(negative, LEVEL), negative)
    assert torch.allclose(classifier_free(pair, 1)(negative, LEVEL), positive)
    w = 6.5   # Ho and Salimans' letter
    assert torch.allclose(classifier_free(pair, 7.5)(negative, LEVEL), (1 + w) * positive - w * negative)


def test_guidance_sharpens_a_mixture_towards_its_prompt():
    """Positive: only the right bump. Negative: both. Guided samples go past the right bump's own mean, away from the left."""
    right, both = gaussian([1.0], 0.4), Mixture([[-1.0], [1.0]], [0.4, 0.4])
    pair, noise = pair_of(both.denoise, right.denoise), draw(500, 1)

    def mean(scale):
        return SAMPLERS["ddim"].sample(classifier_free(pair, scale), noise, SCHEDULE, 50).mean().item()
    assert mean(1) == pytest.approx(1, abs=0.05)
    assert mean(4) > mean(1) + 0.05


def test_rescale_matches_diffusers_and_keeps_the_positive_spread():
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
    guided, positive = draw(2, 4, 8, 8) * 5, draw(2, 4, 8, 8, seed=1)
    assert torch.allclose(rescaled(guided, positive, 0.7), rescale_noise_cfg(guided, positive, 0.7))
    assert torch.allclose(rescaled(guided, positive, 1.0).std((1, 2, 3)), positive.std((1, 2, 3)))
    pair = pair_of(lambda x, level: torch.zeros_like(positive), lambda x, level: positive)
    assert torch.allclose(classifier_free(pair, 5, guidance_rescale=1.0)(positive, LEVEL), positive)
    with pytest.raises(ValueError, match="between 0 and 1"):
        classifier_free(pair, 5, guidance_rescale=1.5)


# ------------------------------------------------------------------------------------------------ toy worlds


def test_score_is_the_gradient_of_the_log_density():
    world, x = ring(), draw(20, 2).requires_grad_()
    world.log_prob(x, LEVEL).sum().backward()
    assert torch.allclose(x.grad, world.score(x.detach(), LEVEL))


def test_log_prob_integrates_to_one():
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    world = Mixture([[-1.0], [0.5]], [0.3, 0.1], [1, 3])
    assert (world.log_prob(grid, LEVEL).exp().sum() * (16 / 20_000)).item() == pytest.approx(1, abs=1e-6)


def test_denoiser_is_the_average_over_what_may_lie_behind():
    """E[x_0 | x_t], once more by brute force: weigh 200,000 clean points by how likely they make x."""
    world, x = Mixture([[-1.0], [1.0]], [0.3, 0.3]), torch.tensor([[0.4]], dtype=torch.float64)
    points = world.sample(200_000, seeded(0)).double()
    weight = torch.exp(-((x - LEVEL.alpha * points) ** 2) / (2 * LEVEL.sigma**2))
    assert x0_guess(world, x, LEVEL).item() == pytest.approx((weight * points).sum().item() / weight.sum().item(), abs=0.01)


def test_flow_carries_the_noisy_law_to_the_clean_one():
    """In one dimension the flow keeps quantiles: the share of points left of each place is what the density says."""
    world, first = Mixture([[-1.0], [1.0]], [0.3, 0.3], [1, 3]), SCHEDULE.at(999)
    quantile = torch.distributions.Normal(0, 1).icdf(torch.tensor([0.1, 0.24, 0.26, 0.6], dtype=torch.float64))
    x = world.flow(quantile[:, None], Level(0, 1e-4, (1 - 1e-8) ** 0.5), SCHEDULE.at(0))
    normal = torch.distributions.Normal(0, 1)
    ends = SCHEDULE.at(0)
    spread = ((ends.alpha * 0.3) ** 2 + ends.sigma**2) ** 0.5
    below = 0.25 * normal.cdf((x + ends.alpha) / spread) + 0.75 * normal.cdf((x - ends.alpha) / spread)
    assert below.flatten().tolist() == pytest.approx([0.1, 0.24, 0.26, 0.6], abs=1e-3)
    closed = gaussian([0.3], 0.5).flow(quantile[:, None], first, CLEAN)
    twice = Mixture([[0.3], [0.3]], [0.5, 0.5]).flow(quantile[:, None], first, CLEAN)   # the same world, integrated
    assert torch.allclose(closed, twice, atol=1e-8)


@pytest.mark.parametrize("arguments", [([[0.0]], [1.0, 1.0]), ([0.0], [1.0]), ([[0.0]], [0.0]), ([[0.0]], [1.0], [-1.0])])
def test_a_mixture_that_does_not_fit_together(arguments):
    with pytest.raises(ValueError, match=r"needs means|must be positive"):
        Mixture(*arguments)


def test_points_of_the_wrong_dimension():
    with pytest.raises(ValueError, match="3 coordinates; this mixture lives in 2"):
        ring().score(draw(5, 3), LEVEL)


# ------------------------------------------------------------------------------------------------ samplers' manners


@pytest.mark.parametrize("name", TAUGHT)
def test_samplers_reach_the_data(name):
    world, noise = ring(), draw(2000, 2, dtype=torch.float32)
    x = SAMPLERS[name].sample(world.denoise, noise, SCHEDULE, 50, generator=seeded(1))
    distance = (x[:, None].double() - world.means).norm(dim=-1).min(dim=1).values   # to the nearest bump
    assert (distance < 0.7).float().mean() > 0.98
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("name", TAUGHT)
def test_global_random_state_is_left_alone(name):
    noise = draw(3, 2)
    before = torch.random.get_rng_state()
    first = SAMPLERS[name].sample(ring().denoise, noise, SCHEDULE, 5, generator=seeded(3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first, SAMPLERS[name].sample(ring().denoise, noise, SCHEDULE, 5, generator=seeded(3)))
    assert torch.equal(noise, draw(3, 2)), "the noise was changed in place"


def test_one_generator_per_picture_makes_a_batch_equal_to_single_runs():
    noise = draw(3, 16, dtype=torch.float32)
    def run(part, generator):
        return SAMPLERS["ddpm"].sample(gaussian([0.0] * 16, 1.0).denoise, part, SCHEDULE, 5, generator=generator)
    batch = run(noise, [seeded(i) for i in range(3)])
    for i in range(3):
        assert torch.allclose(batch[i : i + 1], run(noise[i : i + 1], seeded(i)), atol=1e-6)
    with pytest.raises(ValueError, match="2 generators for a batch of 3"):
        run(noise, [seeded(0)] * 2)


def test_model_calls():
    """Heun pays 2N - 1 calls for N steps, PNDM N + 1: equal steps are not equal work."""
    def calls(name, steps):
        seen = []
        SAMPLERS[name].sample(lambda x, level: seen.append(level) or x, draw(1, 2), SCHEDULE, steps)
        return len(seen)
    assert {name: calls(name, 10) for name in TAUGHT} == {
        "ddpm": 10, "ddim": 10, "pndm": 11, "lms": 10, "heun": 19, "euler": 10, "euler_ancestral": 10, "dpmpp_2m": 10}
    assert (calls("heun", 1), calls("pndm", 1)) == (1, 1)


def test_wrong_noise_or_wrong_denoiser():
    with pytest.raises(ValueError, match="floating-point"):
        SAMPLERS["ddim"].sample(lambda x, level: x, torch.ones(2, 2, dtype=torch.int64), SCHEDULE, 5)
    with pytest.raises(ValueError, match="eps must be shaped like x"):
        SAMPLERS["ddim"].sample(lambda x, level: x[:1], draw(2, 2), SCHEDULE, 5)


def test_importing_course_is_cheap():
    code = "import sys, course, course.samplers, course.guidance; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"diffusers", "transformers", "matplotlib", "scipy"} & set(loaded.split())
    only = subprocess.run([sys.executable, "-c", "import sys, course; print('torch' in sys.modules)"], capture_output=True,
                          text=True, check=True).stdout
    assert only.strip() == "False"
