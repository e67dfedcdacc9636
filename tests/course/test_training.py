"""The losses are one squared error in four units; the loop learns the exact denoiser of a world we know."""

import copy
import math

import pytest
import torch

from course.forward import add_noise
from course.prediction import as_eps, v_from_eps, x0_from_eps
from course.schedule import NoiseSchedule, scaled_linear_betas
from course.toy import gaussian, ring
from course.training import PER_X0, PointNet, denoising_loss, target, train, weight

PREDICTIONS = ("epsilon", "sample", "v_prediction")
BETAS = scaled_linear_betas(1000, 0.00085, 0.012)


@pytest.fixture
def batch():
    """x0, eps (8, 3), t from 20 to 990, levels."""
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 8, 3, generator=generator)
    t = torch.linspace(20, 990, 8).long()
    return x0, eps, NoiseSchedule(BETAS).gather(t, 2)


def off(x, level):
    """A network that predicts eps, badly."""
    return 0.7 * x + 0.1 * torch.sin(3 * x)


def in_units_of(prediction):
    """The same bad network, answering in other units."""
    convert = {"epsilon": lambda e, x, level: e, "sample": x0_from_eps, "v_prediction": v_from_eps}[prediction]
    return lambda x, level: convert(off(x, level), x, level)


@pytest.mark.parametrize(("loss", "prediction", "formula"), [
    ("epsilon", "epsilon", lambda snr: 1 + 0 * snr),
    ("sample", "sample", lambda snr: 1 + 0 * snr),
    ("v_prediction", "v_prediction", lambda snr: 1 + 0 * snr),
    ("epsilon", "sample", lambda snr: snr),
    ("sample", "epsilon", lambda snr: 1 / snr),
    ("v_prediction", "epsilon", lambda snr: (snr + 1) / snr),
    ("min_snr", "epsilon", lambda snr: torch.minimum(snr, torch.tensor(5.0)) / snr),
    ("min_snr", "v_prediction", lambda snr: torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)),
    ("min_snr", "sample", lambda snr: torch.minimum(snr, torch.tensor(5.0))),
])
def test_weights_against_the_papers(loss, prediction, formula):
    snr = torch.tensor([1e-3, 0.5, 4.9, 5.1, 400.0])
    torch.testing.assert_close(weight(loss, prediction, snr), formula(snr))


@pytest.mark.parametrize("loss", PER_X0)
def test_a_loss_does_not_depend_on_the_networks_units(loss, batch):
    x0, eps, level = batch
    values = [denoising_loss(in_units_of(p), x0, eps, level, p, loss) for p in PREDICTIONS]
    torch.testing.assert_close(values[1], values[0], rtol=2e-4, atol=0)
    torch.testing.assert_close(values[2], values[0], rtol=2e-4, atol=0)


def test_simple_loss_is_the_mean_squared_error_of_the_noise(batch):
    x0, eps, level = batch
    expected = (eps - off(add_noise(x0, eps, level), level)).square().mean()
    torch.testing.assert_close(denoising_loss(off, x0, eps, level), expected)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_target_is_what_a_perfect_answer_turns_into(prediction, batch):
    x0, eps, level = batch
    x = add_noise(x0, eps, level)
    denoise = as_eps(lambda x, level: target(prediction, x0, eps, level), prediction)
    torch.testing.assert_close(denoise(x, level), eps, rtol=0, atol=2e-4)


def test_no_denoiser_beats_the_exact_one():
    world, schedule = ring(), NoiseSchedule(BETAS)
    generator = torch.Generator().manual_seed(1)
    x0, t = world.sample(20_000, generator), torch.full((20_000,), 150)
    eps = torch.randn(x0.shape, generator=generator)
    level = schedule.gather(t, 2)
    one = schedule.at(150)
    best = denoising_loss(lambda x, _: world.denoise(x, one), x0, eps, level)
    for wrong in (lambda x, _: 0.9 * world.denoise(x, one), lambda x, _: world.denoise(x, one) + 0.05,
                  lambda x, _: world.denoise(x, schedule.at(160))):
        assert denoising_loss(wrong, x0, eps, level) > best


def test_training_approaches_the_exact_denoiser():
    world, schedule = gaussian([0.4, -0.3], 0.5), NoiseSchedule(BETAS)
    torch.manual_seed(0)
    network = PointNet(width=32, depth=1)
    level, x = schedule.at(400), world.sample(500, torch.Generator().manual_seed(2))
    truth = world.denoise(x, level)
    with torch.no_grad():
        before = (network(x, level) - truth).square().mean().sqrt()
    *_, (_, average) = train(network, lambda g: world.sample(256, g), schedule, 400, lr=5e-3, ema=0.98)
    after = (average(x, level) - truth).square().mean().sqrt()
    assert before > 0.5
    assert after < 0.08


def test_the_loop_is_adam_with_a_cosine_clipped_gradients_and_a_running_average():
    """Four steps, written out again by hand."""
    def draw(generator):
        return 5 * ring().sample(16, generator)   # large, so that gradients are clipped

    schedule = NoiseSchedule(BETAS)
    torch.manual_seed(0)
    network = PointNet(width=8, depth=1)
    mine, average = copy.deepcopy(network), copy.deepcopy(network)
    optimizer = torch.optim.Adam(mine.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(3)
    losses = []
    for i in range(4):
        x0 = draw(generator)
        t = torch.randint(1000, (16,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        level = schedule.gather(t, 2)
        loss = (mine(add_noise(x0, eps, level), level) - eps).square().mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(mine.parameters()))
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        for parameter, gradient in zip(mine.parameters(), gradients, strict=True):
            parameter.grad = gradient / max(norm, 1)
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 + math.cos(math.pi * i / 4)) / 2
        optimizer.step()
        decay = min(0.25, (1 + i) / (10 + i))
        for slow, fast in zip(average.parameters(), mine.parameters(), strict=True):
            slow.data = decay * slow.data + (1 - decay) * fast.data

    run = list(train(network, draw, schedule, 4, lr=1e-2, ema=0.25, seed=3))
    assert [value for value, _ in run] == pytest.approx(losses, rel=1e-5)
    for theirs, ours in zip(run[-1][1].parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
        assert not theirs.requires_grad


def test_the_same_seed_gives_the_same_losses():
    torch.manual_seed(0)
    start = PointNet(width=8, depth=1)

    def losses(seed):   # the global generator moves on from call to call; the batches must not care
        torch.rand(3)
        run = train(copy.deepcopy(start), lambda g: ring().sample(16, g), NoiseSchedule(BETAS), 5, seed=seed)
        return [value for value, _ in run]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_point_net_tells_times_apart_and_takes_one_time_or_many():
    torch.manual_seed(0)
    network, schedule, x = PointNet(), NoiseSchedule(BETAS), torch.randn(4, 2)
    many = network(x, schedule.gather(torch.tensor([7, 7, 7, 7]), 2))
    torch.testing.assert_close(network(x, schedule.at(7)), many)
    assert not torch.allclose(network(x, schedule.at(8)), many, atol=1e-4)


@pytest.mark.parametrize(("loss", "prediction"), [("huber", "epsilon"), ("epsilon", "min_snr"), ("epsilon", "x0")])
def test_unknown_names_are_refused(loss, prediction):
    with pytest.raises(ValueError, match="unknown loss or prediction"):
        weight(loss, prediction, torch.ones(2))


def test_a_network_with_the_wrong_shape_is_refused(batch):
    with pytest.raises(ValueError, match=r"given \(8, 3\) and answered \(8, 2\)"):
        denoising_loss(lambda x, level: x[:, :2], *batch)


def test_nan_in_the_data_stops_the_run_with_the_step():
    network = PointNet(width=8, depth=1)
    with pytest.raises(FloatingPointError, match="at step 0"):
        next(train(network, lambda g: torch.full((4, 2), float("nan")), NoiseSchedule(BETAS), 3))
