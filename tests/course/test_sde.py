"""SDEs, Langevin, likelihood and score matching against worlds where the truth is written down."""

import math

import numpy as np
import pytest
import sympy
import torch

from course.schedule import Level, NoiseSchedule
from course.sde import (
    beta_between,
    bits_per_dimension,
    denoising_score_loss,
    discrete_bound,
    euler_maruyama,
    euler_maruyama_forward,
    exact_trace,
    fokker_planck_gap,
    hutchinson,
    langevin,
    log_likelihood,
    nearest,
    predictor_corrector,
    sliced_score_loss,
    standard_normal,
)
from course.stable_diffusion import SD_V1
from course.toy import Mixture, gaussian, ring

SD = NoiseSchedule.from_config(SD_V1)
CLEANEST = Level(0, math.sqrt(1 - 1e-4), 1e-2)
WORLD = Mixture([[-1.5], [1.0]], [0.3, 0.5], [0.4, 0.6])


def level(b: float) -> Level:
    """The level at which the integral of beta is b."""
    return Level(None, math.exp(-b / 2), math.sqrt(1 - math.exp(-b)))


def grid(steps: int, first: float = 8.0, last: float = 1e-4) -> list[Level]:
    return [level(b) for b in np.geomspace(first, last, steps + 1).tolist()]


def dice(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=torch.float64)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wasserstein(points: torch.Tensor, world: Mixture, at: Level) -> float:
    """W1 between a crowd in one dimension and the true law, by sorted draws of the latter."""
    x0 = world.sample(len(points), torch.Generator().manual_seed(9)).double()
    truth = at.alpha * x0 + at.sigma * normal(len(points), 1, seed=10)
    return float((points.sort(0).values - truth.sort(0).values).abs().mean())


def test_time_counted_by_beta():
    product = float(torch.log(SD.alphas_cumprod[3].double() / SD.alphas_cumprod[700].double()))
    assert math.isclose(beta_between(SD.at(3), SD.at(700)), product, rel_tol=1e-9)
    assert math.isclose(beta_between(level(0.3), level(1.7)), 1.4)


def test_the_forward_walk_ends_in_the_law_of_the_jump():
    x0 = WORLD.sample(6_000, torch.Generator().manual_seed(2)).double()
    there = [level(b) for b in np.linspace(0, 0.5, 101)]
    walked = euler_maruyama_forward(x0, there, dice(x0.shape))
    assert wasserstein(walked, WORLD, there[-1]) < 0.05
    assert wasserstein(x0, WORLD, there[-1]) > 0.2                      # the check can tell


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.5])
def test_every_strength_of_the_dice_leads_to_the_same_crowd(strength):
    start = normal(6_000, 1)
    end = euler_maruyama(WORLD.denoise, start, grid(160), dice(start.shape), strength)
    assert wasserstein(end, WORLD, grid(160)[-1]) < 0.06


def test_the_slip_of_one_half_is_seen():
    """With beta score in the place of beta score / 2 the crowd of the ODE is too narrow."""
    start = normal(6_000, 1)
    twice = lambda x, at: 2 * WORLD.denoise(x, at)                       # noqa: E731
    assert wasserstein(euler_maruyama(twice, start, grid(160), dice(start.shape), 0.0), WORLD, grid(160)[-1]) > 0.1


def test_the_ode_is_the_exact_flow():
    start = normal(50, 1)
    path = grid(2000, last=0.05)
    exact = WORLD.flow(start, path[0], path[-1])
    assert float((euler_maruyama(WORLD.denoise, start, path, None, 0.0) - exact).abs().max()) < 0.01


def test_dice_repair_a_wrong_start_and_the_ode_does_not():
    """From a start two units off, the ODE carries the error to the end; the SDE forgets it."""
    start = normal(6_000, 1) + 2
    ode, sde = (wasserstein(euler_maruyama(WORLD.denoise, start, grid(160, first=4.0), dice(start.shape), s), WORLD, grid(160)[-1])
                for s in (0.0, 1.0))
    assert sde < ode / 2


def test_langevin_settles_where_the_density_is():
    at = SD.at(300)
    start = normal(6_000, 1) * 0.1
    assert wasserstein(start, WORLD, at) > 0.5
    settled = langevin(WORLD.denoise, start, at, dice(start.shape), 200, 0.1)
    assert wasserstein(settled, WORLD, at) < 0.05


def test_a_corrector_mends_coarse_steps():
    start = normal(6_000, 1)
    coarse = grid(12)
    plain = wasserstein(euler_maruyama(WORLD.denoise, start, coarse, dice(start.shape)), WORLD, coarse[-1])
    corrected = predictor_corrector(WORLD.denoise, start, coarse, dice(start.shape), corrections=3, size=0.3)
    assert wasserstein(corrected, WORLD, coarse[-1]) < plain


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(ValueError, match="strength"):
        euler_maruyama(WORLD.denoise, normal(3, 1), grid(3), dice((3, 1)), strength)


@pytest.mark.parametrize("size", [0.0, 1.0, float("nan")])
def test_a_step_of_langevin_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="share"):
        langevin(WORLD.denoise, normal(3, 1), SD.at(10), dice((3, 1)), 3, size)


# ------------------------------------------------------------------------------------------------ likelihood


@pytest.mark.parametrize("world", [WORLD, ring(), gaussian([0.3, -0.4, 1.0], 0.7)], ids=["bumps", "ring", "normal"])
def test_likelihood_by_the_flow_is_the_likelihood(world):
    x = world.sample(40, torch.Generator().manual_seed(3)).double()
    end = SD.at(999)
    found = log_likelihood(world.denoise, x, end, lambda y: world.log_prob(y, end), steps=150)
    assert float((found - world.log_prob(x, Level(0, 1.0, 0.0))).abs().max()) < 1e-3


def test_pure_noise_as_prior_costs_what_the_schedule_leaves():
    world, end = ring(), SD.at(999)
    x = world.sample(200, torch.Generator().manual_seed(3)).double()
    with_truth = log_likelihood(world.denoise, x, end, lambda y: world.log_prob(y, end), steps=100)
    with_noise = log_likelihood(world.denoise, x, end, standard_normal, steps=100)
    assert 1e-4 < float((with_truth - with_noise).abs().mean()) < 0.05


def test_probes_give_the_trace_on_average():
    generator = torch.Generator().manual_seed(5)
    matrix = normal(4, 4)
    f = lambda u: torch.sin(u) @ matrix                                  # noqa: E731
    u = normal(3, 4, seed=2)
    value, exact = exact_trace(f, u)
    assert torch.allclose(value, f(u))
    assert torch.allclose(exact, (u.cos() * matrix.diagonal()).sum(1))
    probes = [torch.randint(0, 2, u.shape, generator=generator).double() * 2 - 1 for _ in range(4000)]
    _, guessed = hutchinson(probes)(f, u)
    assert float((guessed - exact).abs().max()) < 0.15
    with pytest.raises(ValueError, match="probe"):
        hutchinson([])


def test_likelihood_with_probes_is_right_on_average():
    world, end = ring(), SD.at(999)
    x = world.sample(1, torch.Generator().manual_seed(3)).double().expand(400, 2).clone()
    probes = [torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(0)).double() * 2 - 1]
    found = log_likelihood(world.denoise, x, end, lambda y: world.log_prob(y, end), steps=60, trace=hutchinson(probes))
    truth = world.log_prob(x[:1], Level(0, 1.0, 0.0))
    spread = float(found.std()) / 20
    assert float(found.std()) > 0.01                                     # one probe is noisy
    assert abs(float(found.mean() - truth)) < 4 * spread


def test_the_bound_lies_below_and_the_gap_falls_with_the_steps():
    world = ring()
    x0 = world.sample(1000, torch.Generator().manual_seed(4)).double()
    truth = float(world.log_prob(x0, Level(0, 1.0, 0.0)).mean())
    gaps = [truth - float(discrete_bound(world.denoise, x0, grid(T, last=1e-3), torch.Generator().manual_seed(0), draws=2).mean())
            for T in (4, 16, 64)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > 0.005
    assert gaps[0] > 4 * gaps[-1]


def test_a_normal_world_with_one_step_by_hand():
    """T = 1: L_0 and L_T only, both known in closed form for N(0, 1) data at the perfect denoiser."""
    world, at = gaussian([0.0], 1.0), SD.at(500)
    x0 = normal(100_000, 1)
    found = float(discrete_bound(world.denoise, x0, [at], torch.Generator().manual_seed(0)).mean())
    a2, s2 = at.alpha**2, at.sigma**2
    kl = 0.5 * (a2 + s2 - 1 - math.log(s2))
    reconstruction = -s2 / (2 * s2 / a2) - 0.5 * math.log(2 * math.pi * s2 / a2)
    assert abs(found - (reconstruction - kl)) < 0.01


def test_bits():
    assert math.isclose(float(bits_per_dimension(torch.tensor(-6 * math.log(2)), 3)), 2.0)


@pytest.mark.parametrize(("x", "steps", "word"), [(torch.zeros(3), 10, "points"), (torch.zeros(3, 2, dtype=torch.long), 10, "points"),
                                                  (torch.zeros(3, 2), 0, "at least one step")])
def test_what_has_no_likelihood_is_refused(x, steps, word):
    with pytest.raises(ValueError, match=word):
        log_likelihood(WORLD.denoise, x, SD.at(999), standard_normal, steps)


# ------------------------------------------------------------------------------------------------ score matching


def fitted(loss, start, steps=300):
    """The slope and offset of a linear score that a loss likes best."""
    parameters = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], lr=0.5, max_iter=steps)

    def closure():
        optimizer.zero_grad()
        value = loss(lambda x: parameters[0] * x + parameters[1])
        value.backward()
        return value

    optimizer.step(closure)
    return parameters.detach().tolist()


def test_both_losses_find_the_score_of_a_normal():
    x0 = 0.5 * normal(10_000, 1) + 0.8
    at = SD.at(400)
    variance = at.alpha**2 * 0.25 + at.sigma**2
    eps = normal(10_000, 1, seed=6)
    slope, offset = fitted(lambda score: denoising_score_loss(score, x0, eps, at), [-0.1, 0.0])
    assert math.isclose(slope, -1 / variance, rel_tol=0.08)
    assert math.isclose(offset, at.alpha * 0.8 / variance, rel_tol=0.15)
    probes = torch.ones_like(x0)
    slope, offset = fitted(lambda score: sliced_score_loss(score, x0, probes), [-0.1, 0.0])
    assert math.isclose(slope, -1 / 0.25, rel_tol=0.08)
    assert math.isclose(offset, 0.8 / 0.25, rel_tol=0.08)


# ------------------------------------------------------------------------------------------------ Fokker-Planck


def test_fokker_planck_of_a_normal_by_symbols():
    x, b, m, s = sympy.symbols("x b m s", positive=True)
    mean, variance = m * sympy.exp(-b / 2), s**2 * sympy.exp(-b) + 1 - sympy.exp(-b)
    p = sympy.exp(-((x - mean) ** 2) / (2 * variance)) / sympy.sqrt(variance)
    gap = sympy.diff(p, b) - sympy.diff(x * p, x) / 2 - sympy.diff(p, x, 2) / 2
    assert sympy.simplify(gap / p) == 0


def test_fokker_planck_of_mixtures_by_numbers():
    world, x = ring(), normal(30, 2)
    assert float(fokker_planck_gap(lambda y, b: world.log_prob(y, level(b)), x, 0.7).abs().max()) < 1e-5
    wrong = lambda y, b: world.log_prob(y, level(2 * b))                 # noqa: E731  twice the speed
    assert float(fokker_planck_gap(wrong, x, 0.7).abs().max()) > 0.1


# ------------------------------------------------------------------------------------------------ copies


def test_nearest_and_second_nearest():
    training = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    one, two = nearest(torch.tensor([[0.0, 0.0], [3.0, 3.0]]), training)
    assert torch.allclose(one, torch.tensor([0.0, 1.0]))
    assert torch.allclose(two, torch.tensor([1.0, math.sqrt(13)]))
    with pytest.raises(ValueError, match="two"):
        nearest(training, training[:1])


def test_the_perfect_denoiser_of_a_training_set_copies_it():
    """Needles where the training points are: the ODE from noise ends on them."""
    training = ring().sample(16, torch.Generator().manual_seed(0)).double()
    needles = Mixture(training, [0.01] * 16)
    start = normal(50, 2)
    end = needles.flow(start, SD.at(999), Level(0, 1.0, 0.0))
    one, two = nearest(end, training)
    assert float((one < two / 3).double().mean()) > 0.9
    fresh = ring().sample(500, torch.Generator().manual_seed(7)).double()
    one, two = nearest(fresh, training)
    assert float((one < two / 3).double().mean()) < 0.5
