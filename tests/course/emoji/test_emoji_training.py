"""The training loop: exact resume, budgets, atomic checkpoints."""

from random import Random

import pytest
import torch
from torch import nn

from course.emoji import training
from course.emoji.training import Muon, fit, load_average, orthogonal, rate


class Killed(BaseException):
    """What a kill looks like from inside."""


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 3))


def run(out, *, stop_at=None, error=Killed, **options):
    module = model()

    def loss(step: int, rng: Random):
        if step == stop_at:
            raise error
        x = torch.randn(16, 4) * rng.random()                   # both sources of randomness
        return (module(x) - x[:, :3]).square().mean()

    record = fit("toy", {"module": module}, loss, out=out, quiet=True, **options)
    return module, record


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt])
def test_three_steps_killed_and_three_more_equal_six_to_the_bit(tmp_path, error):
    whole, record = run(tmp_path / "whole", steps=6)
    assert record["steps"] == 6
    with pytest.raises(error):
        run(tmp_path / "parts", steps=6, stop_at=3, error=error)
    parts, record = run(tmp_path / "parts", steps=6, resume=True)
    assert record["steps"] == 6
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    a, b = (torch.load(tmp_path / d / "toy" / "checkpoint.pt", weights_only=True) for d in ("whole", "parts"))
    for k, v in a["modules"]["module"].items():
        assert torch.equal(v, b["modules"]["module"][k])


def test_the_optimizers_memory_is_part_of_the_checkpoint(tmp_path):
    """Resuming without it must be noticed: forget it and the result differs."""
    whole, _ = run(tmp_path / "whole", steps=6)
    with pytest.raises(Killed):
        run(tmp_path / "parts", steps=6, stop_at=3)
    file = tmp_path / "parts" / "toy" / "checkpoint.pt"
    saved = torch.load(file, weights_only=True)
    for state in saved["optimizers"]:
        for entry in state["state"].values():
            for value in entry.values():
                value.zero_()
    torch.save(saved, file)
    parts, _ = run(tmp_path / "parts", steps=6, resume=True)
    assert any((a != b).any() for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))


def test_another_seed_gives_another_run_and_the_same_seed_the_same(tmp_path):
    a, b, c = (run(tmp_path / str(i), steps=3, seed=seed)[0][0].weight for i, seed in enumerate((0, 0, 1)))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_failing_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    run(tmp_path, steps=3)
    before = (tmp_path / "toy" / "checkpoint.pt").read_bytes()

    def broken(state, file):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(training.torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, steps=6, resume=True)
    assert (tmp_path / "toy" / "checkpoint.pt").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(tmp_path):
    module = model()
    with pytest.raises(FloatingPointError, match="toy: the loss is nan at step 0"):
        fit("toy", {"module": module}, lambda step, rng: module(torch.full((1, 4), float("nan"))).sum(), out=tmp_path,
            steps=3, quiet=True)


@pytest.mark.parametrize("budget", [{}, {"steps": 3, "minutes": 1.0}])
def test_a_run_needs_one_budget(tmp_path, budget):
    with pytest.raises(ValueError, match="either minutes or steps"):
        run(tmp_path, **budget)


def test_minutes_end_a_run(tmp_path):
    _, record = run(tmp_path, minutes=0.01)
    assert record["steps"] > 0
    assert record["minutes"] < 0.1


def test_the_averaged_weights_are_what_a_run_leaves(tmp_path):
    module, _ = run(tmp_path, steps=5)
    again = model()
    load_average(tmp_path / "toy" / "checkpoint.pt", {"module": again})
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), again.state_dict().values(), strict=True))
    last = torch.load(tmp_path / "toy" / "checkpoint.pt", weights_only=True)["modules"]["module"]
    assert any((again.state_dict()[k] != v).any() for k, v in last.items())


def test_the_learning_rate_warms_up_and_falls_to_nearly_nothing():
    assert rate(0, 0.0) == pytest.approx(0.01)
    assert rate(1000, 0.3) == 1.0
    assert rate(1000, 0.75) == pytest.approx(0.5)
    assert rate(1000, 1.0) == pytest.approx(0.01)


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (32, 32)])
def test_orthogonal_has_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_muon_goes_downhill():
    torch.manual_seed(0)
    weight, target = nn.Parameter(torch.zeros(6, 4)), torch.randn(6, 4)
    opt = Muon([weight], lr=0.05)
    first = (weight - target).square().sum().item()
    for _ in range(60):
        opt.zero_grad()
        loss = (weight - target).square().sum()
        loss.backward()
        opt.step()
    assert loss.item() < 0.1 * first
