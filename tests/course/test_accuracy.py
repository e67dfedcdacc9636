"""How fast the error falls with the number of steps, on worlds whose exact probability-flow solution is known.

Theory. A method of order p has an error proportional to h^p, so on a log-log plot the slope is p. Measured between two
fixed levels, away from the clean end:

    ddim, euler   1   Euler's method
    heun          2   the trapezium rule
    dpmpp_2m      2   a line in log-SNR; the first step is Euler's, one error of h^2, which order 2 forgives
    lms           2   each later step is good to h^5, but the first one is Euler's, and its h^2 stays. (Until that shows,
                      at few steps, the slope is above 2.)
    pndm          2   its weights are right for equal steps in sigma/alpha; the grid is equal in t. That costs order 4
    pndm of v     1   what diffusers does behind a v-prediction network: eps still changes where v does not

To the clean end there is one more thing: what the last step does. See the second half.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from course.samplers import SAMPLERS
from course.schedule import CLEAN, Level, NoiseSchedule
from course.toy import Mixture, gaussian

SCHEDULE = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                                      "steps_offset": 1, "set_alpha_to_one": False})
WORLDS = {"gaussian": gaussian([0.0], 0.5), "mixture": Mixture([[-1.0], [1.0]], [0.3, 0.3])}
NOISE = torch.randn(64, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def smooth_grid(first, last, steps):
    """Equal steps in t along a smooth curve through the table: a kinked one would hide the higher orders."""
    log_ratio = CubicSpline(np.arange(1000), np.log([SCHEDULE.at(t).ratio for t in range(1000)]))
    ratios = np.exp(log_ratio(np.linspace(first, last, steps + 1)))
    return [Level(0.0, (1 + r * r) ** -0.5, r * (1 + r * r) ** -0.5) for r in map(float, ratios)]


def error(name, world, grid, x, **options):
    exact = world.flow(x, grid[0], grid[-1])
    difference = SAMPLERS[name].run(world.denoise, x, grid, None, **options) - exact
    return (difference.pow(2).mean() / exact.pow(2).mean()).sqrt().item()


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize(("name", "options", "order"), [
    ("ddim", {}, 1), ("euler", {}, 1), ("heun", {}, 2), ("dpmpp_2m", {}, 2), ("lms", {}, 2), ("pndm", {}, 2),
    ("pndm", {"extrapolate": "v_prediction"}, 1),
])
def test_order_between_two_levels(world, name, options, order):
    steps = (80, 160, 320)
    errors = [error(name, world, smooth_grid(800, 200, n), NOISE, **options) for n in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert -slope == pytest.approx(order, abs=0.2)


def test_lms_is_steeper_before_its_first_step_shows():
    errors = [error("lms", WORLDS["gaussian"], smooth_grid(900, 50, n), NOISE) for n in (10, 20, 40)]
    assert all(math.log2(a / b) > 3 for a, b in pairwise(errors))


# ---------------------------------------------------------------------------------------- with the grids people use


def to_the_end(name, steps, world=WORLDS["gaussian"]):
    grid = SAMPLERS[name].grid(SCHEDULE, steps)
    return error(name, world, grid, SAMPLERS[name].start(NOISE, SCHEDULE, grid[0]))


@pytest.mark.parametrize(("name", "expected"), [
    ("ddim", 0.0285), ("euler", 0.0341), ("pndm", 5.5e-4), ("heun", 9.4e-4), ("lms", 9.9e-5), ("dpmpp_2m", 0.0194),
])
def test_error_at_80_steps_on_a_gaussian(name, expected):
    """Relative error to the exact solution, data N(0, 0.25): as measured with diffusers' own schedulers, to two digits."""
    assert to_the_end(name, 80) == pytest.approx(expected, rel=0.05)


def test_dpmpp_2m_shows_order_one_because_of_its_last_jump():
    """Its last step goes from sigma/alpha = 0.34 (at 10 steps) to 0 at first order, and shrinks only as 1/steps."""
    errors = [to_the_end("dpmpp_2m", n) for n in (20, 40, 80)]
    assert all(0.9 < math.log2(a / b) < 1.3 for a, b in pairwise(errors))
    grid = SAMPLERS["dpmpp_2m"].grid(SCHEDULE, 40)
    x = WORLDS["gaussian"].flow(NOISE, grid[0], grid[-2])          # perfect up to the last step
    exact = WORLDS["gaussian"].flow(NOISE, grid[0], CLEAN)
    last = SAMPLERS["dpmpp_2m"].run(WORLDS["gaussian"].denoise, x, grid[-2:], None)
    share = ((last - exact).pow(2).mean() / exact.pow(2).mean()).sqrt().item() / errors[1]
    assert 0.8 < share < 1.2


def test_heun_stalls_because_its_last_step_is_eulers():
    """From sigma/alpha = 0.0292 to 0 whatever the number of steps: more steps stop helping."""
    assert to_the_end("heun", 20) / to_the_end("heun", 40) > 4
    assert to_the_end("heun", 160) > to_the_end("heun", 80)
    two = SCHEDULE.at(0), CLEAN
    floor = error("heun", WORLDS["gaussian"], list(two), NOISE)
    assert to_the_end("heun", 640) == pytest.approx(floor, rel=0.2)


def test_first_order_needs_many_more_steps():
    assert to_the_end("ddim", 160) > to_the_end("pndm", 20)
