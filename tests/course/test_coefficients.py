"""The samplers' numbers, derived again by sympy from what they are meant to be, and compared with the code's."""

import math

import pytest
import sympy as sp
import torch

from course.forward import posterior, transition
from course.samplers import ADAMS_BASHFORTH, dpmpp_2m, lms_weights, renoise, transfer
from course.schedule import Level, NoiseSchedule

R = sp.symbols("r")


def level(alpha_bar, t=0):
    return Level(t, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def lagrange_weights(nodes, end):
    """Mean over [nodes[0], end] of each Lagrange basis polynomial, exactly."""
    weights = []
    for k, node in enumerate(nodes):
        basis = sp.prod([(R - m) / (node - m) for j, m in enumerate(nodes) if j != k])
        weights.append(sp.integrate(sp.expand(basis), (R, nodes[0], end)) / (end - nodes[0]))
    return weights


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_adams_bashforth(order):
    """Adams-Bashforth is Lagrange interpolation through equally spaced nodes 0, -1, -2, ..., averaged over [0, 1]."""
    exact = lagrange_weights([sp.Integer(-k) for k in range(order)], sp.Integer(1))
    assert [sp.nsimplify(w, rational=True) for w in ADAMS_BASHFORTH[order - 1]] == pytest.approx([float(w) for w in exact])
    assert [sp.Rational(w).limit_denominator(24) for w in ADAMS_BASHFORTH[order - 1]] == exact


@pytest.mark.parametrize("nodes", [["7"], ["7", "9"], ["3/2", "5/2", "19/4"], ["1/3", "1/2", "4/5", "3"]])
def test_lms_weights(nodes):
    nodes, end = [sp.Rational(n) for n in nodes], sp.Rational(1, 5)
    assert lms_weights([float(n) for n in nodes], float(end)) == pytest.approx([float(w) for w in lagrange_weights(nodes, end)],
                                                                               rel=1e-12)


def test_lms_weights_for_equal_steps_are_adams_bashforth():
    assert lms_weights([4.0, 5.0, 6.0, 7.0], 3.0) == pytest.approx(ADAMS_BASHFORTH[3])


def symbolic(now, next):
    """Values for alpha_bar at two levels and sympy's alpha, sigma there."""
    a_now, a_next = sp.Rational(str(now)), sp.Rational(str(next))
    return sp.sqrt(a_now), sp.sqrt(1 - a_now), sp.sqrt(a_next), sp.sqrt(1 - a_next)


@pytest.mark.parametrize(("now", "next"), [(0.1, 0.4), (0.37, 0.371), (0.9, 0.999)])
def test_transfer_is_the_ddim_step(now, next):
    """Song et al. 2021a, eq. 12, in the paper's letters, solved for the coefficients of x and eps."""
    x, eps = sp.symbols("x eps")
    a, s, a2, s2 = symbolic(now, next)
    step = a2 * (x - s * eps) / a + s2 * eps
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    levels = level(now), level(next)
    assert transfer(one, zero, *levels).item() == pytest.approx(float(step.subs({x: 1, eps: 0})), rel=1e-12)
    assert transfer(zero, one, *levels).item() == pytest.approx(float(step.subs({x: 0, eps: 1})), rel=1e-9)


def test_ddim_formula_and_its_ode_form_are_the_same():
    """alpha' (x - sigma eps)/alpha + sigma' eps  =  alpha' (x/alpha + (sigma'/alpha' - sigma/alpha) eps), for all values."""
    x, eps, a, s, a2, s2 = sp.symbols("x eps alpha sigma alpha2 sigma2", positive=True)
    assert sp.expand(a2 * (x - s * eps) / a + s2 * eps - a2 * (x / a + (s2 / a2 - s / a) * eps)) == 0


def posterior_by_bayes(now, next):
    """q(x_s | x_t, x_0) proportional to q(x_t | x_s) q(x_s | x_0): complete the square."""
    a, s, a2, s2 = symbolic(now, next)
    xs, xt, x0 = sp.symbols("x_s x_t x_0")
    jump = a / a2
    spread = s**2 - jump**2 * s2**2
    exponent = sp.expand(-((xt - jump * xs) ** 2) / (2 * spread) - (xs - a2 * x0) ** 2 / (2 * s2**2))
    quadratic, linear = exponent.coeff(xs, 2), exponent.coeff(xs, 1)
    variance = -1 / (2 * quadratic)
    mean = sp.expand(linear * variance)
    return mean.coeff(xt), mean.coeff(x0), variance


@pytest.mark.parametrize(("now", "next"), [(0.1, 0.4), (0.37, 0.3711), (0.9, 0.999)])
def test_posterior(now, next):
    of_xt, of_x0, variance = (float(c) for c in posterior_by_bayes(now, next))
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    mean_xt, var = posterior(one, zero, level(now), level(next))
    mean_x0, _ = posterior(zero, one, level(now), level(next))
    assert (mean_xt.item(), mean_x0.item(), var) == pytest.approx((of_xt, of_x0, variance), rel=1e-8)


@pytest.mark.parametrize(("now", "next"), [(0.1, 0.4), (0.37, 0.3711), (0.9, 0.999)])
def test_renoise_draws_from_the_posterior(now, next):
    """At eta = 1, with x_0 the one that eps implies, mean and variance are the posterior's."""
    x, eps = torch.tensor([0.7], dtype=torch.float64), torch.tensor([-1.3], dtype=torch.float64)
    later, earlier = level(now), level(next)
    x0 = (x - later.sigma * eps) / later.alpha
    mean, variance = posterior(x, x0, later, earlier)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert renoise(x, eps, later, earlier, zero).item() == pytest.approx(mean.item(), rel=1e-9)
    noise_weight = (renoise(x, eps, later, earlier, one) - renoise(x, eps, later, earlier, zero)).item()
    assert noise_weight**2 == pytest.approx(variance, rel=1e-9)


def test_posterior_between_neighbours_is_ho_eq_6_and_7():
    schedule = NoiseSchedule.from_config({"beta_start": 1e-4, "beta_end": 0.02})
    t = 500
    beta = float(schedule.betas[t].double())
    bar, bar_before = (float(schedule.alphas_cumprod[i].double()) for i in (t, t - 1))
    a, b = transition(schedule.at(t - 1), schedule.at(t))
    assert (a**2, b) == pytest.approx((1 - beta, beta), rel=1e-4)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    mean_xt, variance = posterior(one, zero, schedule.at(t), schedule.at(t - 1))
    mean_x0, _ = posterior(zero, one, schedule.at(t), schedule.at(t - 1))
    assert mean_x0.item() == pytest.approx(math.sqrt(bar_before) * beta / (1 - bar), rel=1e-4)
    assert mean_xt.item() == pytest.approx(math.sqrt(1 - beta) * (1 - bar_before) / (1 - bar), rel=1e-4)
    assert variance == pytest.approx((1 - bar_before) / (1 - bar) * beta, rel=1e-4)


def test_dpmpp_second_order_coefficients():
    """Lu et al. 2022, algorithm 2: x = sigma/sigma_s x_s - alpha (e^{-h} - 1) D with D = (1 + 1/2r) x0 - 1/2r x0_last,
    r = h_last/h. Feed the sampler x_0 guesses that are constants and read the weights off."""
    bars = [sp.Rational(1, 10), sp.Rational(3, 10), sp.Rational(6, 10)]
    lam = [sp.log(sp.sqrt(b) / sp.sqrt(1 - b)) for b in bars]
    h_last, h = lam[1] - lam[0], lam[2] - lam[1]
    r = h_last / h
    factor = -sp.sqrt(bars[2]) * (sp.exp(-h) - 1)
    weight_now, weight_last = factor * (1 + 1 / (2 * r)), -factor / (2 * r)
    grid = [level(float(b)) for b in bars]

    def weights_from_code(guesses):
        answers = iter(guesses)

        def denoise(x, now):
            return (x - now.alpha * next(answers)) / now.sigma
        return dpmpp_2m(denoise, torch.zeros(1, dtype=torch.float64), grid, None).item()

    # The first step moves x = 0 to the first-order place; that place is multiplied by sigma/sigma_s in the second.
    first = -sp.sqrt(bars[1]) * (sp.exp(-h_last) - 1)
    carry = sp.sqrt(1 - bars[2]) / sp.sqrt(1 - bars[1])
    assert weights_from_code([0.0, 1.0]) == pytest.approx(float(weight_now), rel=1e-10)
    assert weights_from_code([1.0, 0.0]) == pytest.approx(float(first * carry + weight_last), rel=1e-10)
