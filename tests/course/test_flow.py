"""Flows on the same levels: exact velocities, the two scales, both conventions of time, diffusers' own Euler steps."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler

from course.flow import (
    FlowSchedule,
    couple,
    data_time,
    euler,
    flow_level,
    heun,
    off_flow,
    on_flow,
    shifted,
    straightness,
    time_of_ratio,
)
from course.prediction import TO_EPS, eps_from_flow, eps_from_v, flow_from_eps, v_from_eps, x0_from_eps
from course.samplers import SAMPLERS, transfer
from course.schedule import CLEAN, Level, NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import gaussian, ring

SD = NoiseSchedule.from_config(SD_V1)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def velocity_of(world):
    """E[eps - x_0 | x_t] of a world whose denoiser is known."""
    return lambda x, level: flow_from_eps(world.denoise(x, level), x, level)


# ------------------------------------------------------------------------------------------------ one level, every name


@pytest.mark.parametrize("t", [1e-3, 0.25, 0.5, 0.9, 0.999])
def test_velocity_and_noise_turn_into_each_other(t):
    level, x0, eps = flow_level(t), noise(5, 2), noise(5, 2, seed=1)
    x = level.alpha * x0 + level.sigma * eps
    assert torch.allclose(flow_from_eps(eps, x, level), eps - x0, atol=1e-10)
    assert torch.allclose(eps_from_flow(eps - x0, x, level), eps, atol=1e-12)
    assert torch.allclose(TO_EPS["flow_prediction"](eps - x0, x, level), eps, atol=1e-12)


@pytest.mark.parametrize("t", [10, 500, 999])
def test_the_velocity_of_a_flow_is_known_on_a_variance_preserving_level_too(t):
    level, x0, eps = SD.at(t), noise(5, 2), noise(5, 2, seed=1)
    x = level.alpha * x0 + level.sigma * eps
    assert torch.allclose(flow_from_eps(eps, x, level), eps - x0, atol=1e-9)
    assert torch.allclose(eps_from_flow(eps - x0, x, level), eps, atol=1e-12)
    v = v_from_eps(eps, x, level)                      # the v of Salimans and Ho is another letter
    assert not torch.allclose(v, eps - x0, atol=1e-2)
    assert torch.allclose(eps_from_v(v, x, level), eps, atol=1e-12)


def test_at_pure_noise_the_velocity_still_gives_the_noise_where_x0_does_not():
    level, eps, x0 = flow_level(1.0), noise(5, 2), noise(5, 2, seed=1)
    assert torch.equal(eps_from_flow(eps - x0, eps, level), eps)
    assert not x0_from_eps(eps, eps, level).isfinite().any()


# ------------------------------------------------------------------------------------------------ exact worlds


@pytest.mark.parametrize("t", [0.02, 0.3, 0.5, 0.7, 0.98])
def test_the_velocity_of_one_normal_is_the_one_on_paper(t):
    """x_0 ~ N(m, s^2): x_t ~ N((1-t) m, c), c = (1-t)^2 s^2 + t^2, and E[v | x] = -m + (t - (1-t) s^2)(x - (1-t) m) / c."""
    m, s = torch.tensor([0.7, -1.2], dtype=torch.float64), 0.6
    x, level = noise(7, 2), flow_level(t)
    c = (1 - t) ** 2 * s**2 + t**2
    on_paper = -m + (t - (1 - t) * s**2) * (x - (1 - t) * m) / c
    assert torch.allclose(velocity_of(gaussian(m.tolist(), s))(x, level), on_paper, atol=1e-6)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_the_velocity_of_a_mixture_carries_its_density(t):
    """Continuity: d/dt log p = -div v - v . grad log p, each side by differentiation."""
    world, x = ring(), noise(6, 2)
    v = velocity_of(world)
    here = flow_level(t)
    h = 1e-5
    change = (world.log_prob(x, flow_level(t + h)) - world.log_prob(x, flow_level(t - h))) / (2 * h)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda y: v(y[None], here)[0], row) for row in x])
    divergence = jacobian.diagonal(dim1=1, dim2=2).sum(1)
    assert torch.allclose(change, -divergence - (v(x, here) * world.score(x, here)).sum(1), atol=1e-6)


@pytest.mark.parametrize(("method", "order"), [(euler, 1), (heun, 2)])
def test_order_of_accuracy(method, order):
    """On the ring, from t = 0.9 to 0.1: twice the steps, 2^order times less error, measured against the exact flow."""
    world, start = ring(), 1.3 * noise(40, 2)
    end = world.flow(start, flow_level(0.9), flow_level(0.1))

    def error(steps: int) -> float:
        grid = [flow_level(0.9 - 0.8 * i / steps) for i in range(steps + 1)]
        return float((method(velocity_of(world), start, grid) - end).abs().mean())

    measured = math.log2(error(160) / error(320))
    assert abs(measured - order) < 0.15


def test_a_single_picture_needs_a_single_step():
    """Every path to one point is straight: Euler's method is exact in one step."""
    x = noise(9, 2)
    target = torch.tensor([0.4, -0.3], dtype=torch.float64)
    point = lambda x, level: (x - target) / level.sigma                     # noqa: E731  E[eps - x_0 | x] for one x_0
    assert torch.allclose(euler(point, x, FlowSchedule().levels(1)), target.expand(9, 2), atol=1e-12)


# ------------------------------------------------------------------------------------------------ two scales, one picture


def test_the_flow_on_the_same_ratios_is_ddim():
    """Euler in t over the flow's velocity = transfer in sigma / alpha, when t / (1 - t) visits the same ratios: only the scale of x
    differs, so that the steps agree to rounding for any denoiser and any grid."""
    world = ring()
    vp = [SD.at(t) for t in (999, 700, 400, 150, 20)] + [CLEAN]
    flow = [Level(None, level.alpha / (level.alpha + level.sigma), level.sigma / (level.alpha + level.sigma)) for level in vp]
    x = noise(20, 2)
    ours = SAMPLERS["ddim"].run(world.denoise, x, vp, lambda: None)
    theirs = euler(velocity_of(world), x / (vp[0].alpha + vp[0].sigma), flow)
    assert torch.allclose(ours, theirs, atol=1e-5)                          # u = x / alpha is the same straight line in both


def test_euler_on_a_flow_is_transfer():
    level, next = flow_level(0.8), flow_level(0.55)
    x, v = noise(5, 2), noise(5, 2, seed=1)
    assert torch.allclose(transfer(x, eps_from_flow(v, x, level), level, next), x + (0.55 - 0.8) * v, atol=1e-12)


@pytest.mark.parametrize("t", [0.1, 0.4, 0.8, 0.92])
def test_a_network_of_one_kind_answers_in_the_place_of_the_other(t):
    world, x = ring(), noise(8, 2)
    exact = velocity_of(world)
    assert torch.allclose(on_flow(world.denoise, SD)(x, flow_level(t)), exact(x, flow_level(t)), atol=1e-6)
    level = SD.at(600)
    assert torch.allclose(off_flow(exact)(x, level), world.denoise(x, level), atol=1e-6)


def test_the_network_is_told_the_time_of_the_same_ratio():
    asked = []
    on_flow(lambda x, level: asked.append(level) or x, SD)(noise(1, 2), flow_level(0.6))
    assert abs(asked[0].ratio - 0.6 / 0.4) < 1e-9
    assert abs(SD.at(asked[0].t).ratio - 1.5) < 1e-9
    assert time_of_ratio(SD, 1e9) == SD.at(999)
    assert time_of_ratio(SD, 0.0) == SD.at(0)


# ------------------------------------------------------------------------------------------------ conventions


def test_time_and_sign_change_together():
    """A flow from noise at s = 0 to data at s = 1 takes the same path with -v: half a change (the slip) ends elsewhere."""
    world, x = ring(), noise(30, 2)
    v = velocity_of(world)
    grid = [flow_level(0.95 - 0.9 * i / 50) for i in range(51)]
    end = euler(v, x, grid)

    def forward(sign: float) -> torch.Tensor:
        y = x
        for now, next in pairwise(grid):
            ds = data_time(next.sigma) - data_time(now.sigma)
            y = y + ds * sign * v(y, flow_level(data_time(data_time(now.sigma))))
        return y

    assert torch.allclose(forward(-1.0), end, atol=1e-12)
    assert float((forward(1.0) - end).abs().mean()) > 1


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 7, 28])
@pytest.mark.parametrize(("ours", "theirs"), [(euler, FlowMatchEulerDiscreteScheduler), (heun, FlowMatchHeunDiscreteScheduler)])
def test_diffusers_takes_the_same_steps(ours, theirs, steps, shift):
    """On diffusers' own sigmas every input of the network and the result agree."""
    scheduler = theirs(shift=shift)
    scheduler.set_timesteps(steps)
    network = lambda x, t: torch.sin(3 * x) + t / 1000                      # noqa: E731
    x = noise(2, 3).float()
    seen = []
    y = x
    for t in scheduler.timesteps:
        seen.append(y)
        y = scheduler.step(network(y, t), t, y).prev_sample
    sigmas = dict.fromkeys(scheduler.sigmas.tolist())
    grid = [flow_level(s) for s in sigmas]
    mine = []

    def velocity(x, level):
        mine.append(x)
        return network(x, torch.tensor(level.t, dtype=torch.float32))

    z = euler(velocity, heun(velocity, x, grid[:-1]), grid[-2:]) if ours is heun else euler(velocity, x, grid)   # theirs ends so
    close = 5e-4 if ours is heun else 5e-6                                  # it divides a difference by sigma, down to 1e-3
    assert len(mine) == len(seen)
    assert max(float((a - b).abs().max()) for a, b in zip([*mine, z], [*seen, y], strict=True)) < close


def test_a_shift_multiplies_the_ratio():
    for t in (0.1, 0.5, 0.9):
        moved = shifted(t, 3.0)
        assert math.isclose(moved / (1 - moved), 3 * t / (1 - t))
    assert (shifted(0.0, 3.0), shifted(1.0, 3.0)) == (0.0, 1.0)


@pytest.mark.parametrize(("config", "word"), [
    ({"_class_name": "DDIMScheduler"}, "not a scheduler of a flow"),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "use_dynamic_shifting"),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 0.0}, "positive"),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": float("nan")}, "positive"),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 0}, "at least 1"),
])
def test_configs_that_are_no_flow_of_ours_are_refused(config, word):
    with pytest.raises(ValueError, match=word):
        FlowSchedule.from_config(config)


def test_a_config_of_diffusers_is_read():
    flow = FlowSchedule.from_config(FlowMatchEulerDiscreteScheduler(shift=3.0).config)
    assert (len(flow), flow.shift) == (1000, 3.0)


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, None])
def test_wrong_numbers_of_steps_are_refused(steps):
    with pytest.raises(ValueError, match="number of steps"):
        FlowSchedule().levels(steps)


def test_times_outside_the_flow_are_refused():
    for time in (-1, 1001, float("nan")):
        with pytest.raises(ValueError, match="outside"):
            FlowSchedule().at(time)


# ------------------------------------------------------------------------------------------------ straightening and training


def test_one_point_has_straight_paths_and_a_ring_has_not():
    point = lambda x, level: (x - 0.3) / level.sigma                        # noqa: E731
    grid, x = FlowSchedule().levels(40), noise(50, 2)
    assert float(straightness(point, x, grid).max()) < 1e-12
    assert float(straightness(velocity_of(ring()), x, [*grid[1:-1]]).mean()) > 0.1


def test_straightness_by_hand():
    """Two steps with velocities 1 and 3 over times 1/2 each: the chord is 2, and both miss it by 1."""
    speeds = iter([1.0, 3.0])
    velocity = lambda x, level: torch.full_like(x, next(speeds))            # noqa: E731
    assert straightness(velocity, noise(1, 1), FlowSchedule().levels(2)).item() == pytest.approx(1.0)


def trained(draw, steps=500):
    from course.training import PointNet, train

    torch.manual_seed(0)
    network = PointNet(width=64)
    return list(train(network, draw, FlowSchedule(), steps, loss="flow_prediction"))[-1][1]


@pytest.mark.slow
def test_a_network_learns_the_velocity_and_reflow_straightens_it():
    world = ring()
    once = trained(lambda generator: world.sample(256, generator))
    level, x = flow_level(0.5), noise(400, 2).float() * 0.8
    exact = velocity_of(world)(x, level)
    with torch.no_grad():
        error = float((once(x, level) - exact).square().mean())
        assert error < 0.1 * float(exact.square().mean())
        start = torch.randn(4096, 2, generator=torch.Generator().manual_seed(5))
        x0, eps = couple(once, start, FlowSchedule().levels(20))
    assert torch.equal(eps, start)

    def pairs(generator):
        chosen = torch.randint(len(x0), (256,), generator=generator)
        return x0[chosen], eps[chosen]

    twice = trained(pairs)
    with torch.no_grad():
        bent, straight = (float(straightness(f, start[:500], FlowSchedule().levels(20)).mean()) for f in (once, twice))
        assert straight < 0.5 * bent
        miss = [float((euler(f, start[:500], FlowSchedule().levels(1)).norm(dim=1) - 1.5).abs().mean()) for f in (once, twice)]
    assert miss[1] < 0.6 * miss[0], "and one step now lands nearer to the ring"
