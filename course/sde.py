"""Diffusion in continuous time: walking there and back with dice, climbing the score, and what a picture's likelihood is.

Between two levels let b = log(alpha_bar_cleaner / alpha_bar_noisier) > 0, the integral of beta(t) dt. The forward process is

    dx = -1/2 beta x dt + sqrt(beta) dw                                             (Song et al. 2021, eq. 11)

and for every strength of the dice lambda >= 0 the same crowd runs back by

    dx = [-1/2 beta x - 1/2 (1 + lambda^2) beta score] dt + lambda sqrt(beta) dw    (time running down)

lambda = 1 is the reverse SDE (Song et al. 2021, eq. 6), lambda = 0 the probability-flow ODE (eq. 13). With the true score all
of them agree on the density at every time. With a wrong one they do not, and which is best depends on what is wrong.

Everything here takes `denoise(x, level) -> eps`, with score = -eps / sigma, and a grid of `Level`s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from course.forward import posterior
from course.prediction import Denoise, score_from_eps, x0_from_eps
from course.samplers import Draw
from course.schedule import Level


def beta_between(cleaner: Level, noisier: Level) -> float:
    """The integral of beta(t) dt between two variance-preserving levels, log(alpha_bar_cleaner / alpha_bar_noisier) >= 0."""
    return 2 * math.log(cleaner.alpha / noisier.alpha)


def euler_maruyama_forward(x: Tensor, grid: Sequence[Level], draw: Draw) -> Tensor:
    """x + (-1/2 b) x + sqrt(b) noise for each step of a grid that runs from clean to noisy. x (B, ...).

    A first-order stand-in for `diffuse`, which is exact: sqrt(1 - b) and b become 1 - b/2 and b.
    """
    for now, next in pairwise(grid):
        b = beta_between(now, next)
        x = x - b / 2 * x + math.sqrt(b) * draw()
    return x


def euler_maruyama(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, strength: float = 1.0) -> Tensor:
    """The family of reverse processes, one Euler-Maruyama step for each step of the grid (noisy to clean):

        x + b/2 x + (1 + lambda^2) b/2 score(x) + lambda sqrt(b) noise

    strength   lambda >= 0: 0 the ODE, 1 the reverse SDE, more: the dice do most of the work
    Leave out the clean end (sigma = 0) where the score has no value: stop at the least noise, as the papers do.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise ValueError(f"the strength of the dice is a number of at least 0; got {strength}")
    for now, next in pairwise(grid):
        b = beta_between(next, now)
        x = x + b / 2 * x + (1 + strength**2) * b / 2 * score_from_eps(denoise(x, now), now)
        if strength:
            x = x + strength * math.sqrt(b) * draw()
    return x


def langevin(denoise: Denoise, x: Tensor, level: Level, draw: Draw, steps: int, size: float) -> Tensor:
    """x + h score(x) + sqrt(2 h) noise, `steps` times at one level: a walk whose law settles on p_level for small h.

    size   h as a share of the level's variance, h = size sigma^2 (Song and Ermon 2019 scale it alike). In (0, 1).
    """
    if not 0 < size < 1:
        raise ValueError(f"the step is a share of sigma^2 between 0 and 1; got {size}")
    h = size * level.sigma**2
    for _ in range(steps):
        x = x + h * score_from_eps(denoise(x, level), level) + math.sqrt(2 * h) * draw()
    return x


def predictor_corrector(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, strength: float = 1.0,
                        corrections: int = 1, size: float = 0.1) -> Tensor:
    """After each step of `euler_maruyama`, `corrections` steps of `langevin` at the level that was reached
    (Song et al. 2021). Costs 1 + corrections calls a step."""
    for now, next in pairwise(grid):
        x = euler_maruyama(denoise, x, (now, next), draw, strength)
        x = langevin(denoise, x, next, draw, corrections, size)
    return x


# ------------------------------------------------------------------------------------------------ likelihood

Trace = Callable[[Callable[[Tensor], Tensor], Tensor], tuple[Tensor, Tensor]]   # (f, u) -> f(u), trace of its Jacobian (B,)


def exact_trace(f: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """f(u) and sum_i df_i/du_i for each row: D passes backwards. u (B, D) -> (B, D), (B,)."""
    with torch.enable_grad():
        u = u.detach().requires_grad_(True)
        value = f(u)
        rows = [torch.autograd.grad(value[:, i].sum(), u, retain_graph=True)[0][:, i] for i in range(u.shape[1])]
    return value.detach(), torch.stack(rows, dim=1).sum(1)


def hutchinson(probes: Sequence[Tensor]) -> Trace:
    """The trace as a mean of v^T J v over fixed probes v of signs (Hutchinson 1990): one pass backwards for each probe.

    probes: tensors (B, D) of +1 and -1, the same along the whole path, so that the integrand is smooth in time. Unbiased:
    E[v v^T] is the identity.
    """
    if not probes:
        raise ValueError("give at least one probe")

    def trace(f: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            u = u.detach().requires_grad_(True)
            value = f(u)
            parts = [(torch.autograd.grad((value * v).sum(), u, retain_graph=True)[0] * v).sum(1) for v in probes]
        return value.detach(), torch.stack(parts).mean(0)

    return trace


def log_likelihood(denoise: Denoise, x: Tensor, schedule_end: Level, prior: Callable[[Tensor], Tensor], steps: int = 100,
                   trace: Trace = exact_trace, start: float = 1e-3) -> Tensor:
    """log p(x) in nats by the probability-flow ODE, x (B, D) clean points -> (B,).

    In u = x / alpha and r = sigma / alpha the ODE is du/dr = eps, so the density along it changes by the divergence of eps:

        log p(x) = log p_end(x_end) + D log alpha_end + integral over r of div eps dr

    (the instantaneous change of variables of Chen et al. 2018; Song et al. 2021).

    schedule_end   the noisy end; prior(x_end) -> its log density (B,): a standard normal's, or the truth's where it is known
    steps          of the classical fourth-order Runge-Kutta method, evenly in log(r + start)
    start          where the grid in r becomes fine: well below the least deviation of the data
    """
    if x.ndim != 2 or not x.is_floating_point():
        raise ValueError(f"points must be a floating-point tensor (B, D); got {tuple(x.shape)} of {x.dtype}")
    if steps < 1:
        raise ValueError(f"at least one step is needed; got {steps}")
    end = float(schedule_end.ratio)
    low, high = math.log(start), math.log(end + start)
    ratios = [math.exp(low + (high - low) * i / steps) - start for i in range(steps)] + [end]

    def slope(u: Tensor, r: float) -> tuple[Tensor, Tensor]:
        alpha = (1 + r * r) ** -0.5
        r = max(r, 1e-8)                                            # eps is asked for at a level with some noise
        return trace(lambda y: denoise(alpha * y, Level(0.0, alpha, r * alpha)), u)

    u, total = x, torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for r, s in pairwise(ratios):
        h = s - r
        k1, d1 = slope(u, r)
        k2, d2 = slope(u + h / 2 * k1, r + h / 2)
        k3, d3 = slope(u + h / 2 * k2, r + h / 2)
        k4, d4 = slope(u + h * k3, s)
        u, total = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return prior(schedule_end.alpha * u) + x.shape[1] * math.log(schedule_end.alpha) + total


def standard_normal(x: Tensor) -> Tensor:
    """log N(x; 0, I) of each row: (B, D) -> (B,). The prior of a model that starts from pure noise."""
    return -(x**2).sum(1) / 2 - x.shape[1] / 2 * math.log(2 * math.pi)


def bits_per_dimension(log_density: Tensor, dimensions: int) -> Tensor:
    """-log p / (D log 2). For densities, not for bytes: no dequantisation is added."""
    return -log_density / (dimensions * math.log(2))


def discrete_bound(denoise: Denoise, x0: Tensor, grid: Sequence[Level], generator: torch.Generator, draws: int = 1) -> Tensor:
    """The evidence lower bound of chapters 1 to 4 in nats, x0 (B, D) -> (B,), estimated with `draws` of x_t at each level:

        E_q[log p(x_0 | x_1)] - sum_{t > 1} KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) - KL(q(x_T | x_0) || N(0, I))

    (Ho et al. 2020, eq. 5). p(x_{t-1} | x_t) has the posterior's own variance and the posterior's mean at the guessed x_0;
    p(x_0 | x_1) is normal about the guess with the variance sigma_1^2 / alpha_1^2 that x_1 leaves open. The expectation of the
    result is at most log p(x_0) of the model so defined. grid: noisy to clean, without the clean end itself.
    """
    D = x0.shape[1]
    top = grid[0]
    kl_prior = 0.5 * ((top.alpha * x0) ** 2).sum(1) + D / 2 * (top.sigma**2 - 1 - math.log(top.sigma**2))      # (B,)
    total = -kl_prior
    for _ in range(draws):
        for now, next in pairwise(grid):
            x = now.alpha * x0 + now.sigma * torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
            guess = x0_from_eps(denoise(x, now), x, now)
            (mean, variance), (model, _) = posterior(x, x0, now, next), posterior(x, guess, now, next)
            total = total - ((mean - model) ** 2).sum(1) / (2 * variance) / draws
        last = grid[-1]
        x = last.alpha * x0 + last.sigma * torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
        guess, variance = x0_from_eps(denoise(x, last), x, last), last.ratio**2
        total = total + (-((x0 - guess) ** 2).sum(1) / (2 * variance) - D / 2 * math.log(2 * math.pi * variance)) / draws
    return total


# ------------------------------------------------------------------------------------------------ score matching


def denoising_score_loss(score: Callable[[Tensor], Tensor], x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    """mean of || score(x_t) + eps / sigma ||^2 with x_t = alpha x_0 + sigma eps (Vincent 2011). x0, eps (B, D) -> ().

    Least for the score of the *noisy* density. It is the eps loss over sigma^2.
    """
    return (score(level.alpha * x0 + level.sigma * eps) + eps / level.sigma).square().sum(1).mean()


def sliced_score_loss(score: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor) -> Tensor:
    """mean of v^T J v + 1/2 || score(x) ||^2 with J the score's Jacobian and v a row of signs (Song et al. 2020, "Sliced score
    matching", the variance-reduced form). Needs no noise and no denoiser. x, probes (B, D) -> ().

    Least for the score of the density that x is drawn from: by parts, E[tr J + 1/2 |s|^2] = 1/2 E|s - score|^2 + constant.
    """
    x = x.detach().requires_grad_(True)
    s = score(x)
    along = torch.autograd.grad((s * probes).sum(), x, create_graph=True)[0]
    return ((along * probes).sum(1) + s.square().sum(1) / 2).mean()


# ------------------------------------------------------------------------------------------------ the law of the crowd


def fokker_planck_gap(log_density: Callable[[Tensor, float], Tensor], x: Tensor, b: float, h: float = 1e-4) -> Tensor:
    """How far a density is from obeying the forward process's equation at the points x (B, D) -> (B,), relative to p:

        dp/db = 1/2 div(x p) + 1/2 Laplacian p      with time counted by b, the integral of beta

    (Fokker-Planck for dx = -1/2 x db + dw.) Divided by p it reads in l = log p:  dl/db = D/2 + 1/2 x.grad l + 1/2 (tr Hess l +
    |grad l|^2). log_density(x, b) -> (B,). Derivatives in x by autograd, in b by a central difference of width h.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = log_density(x, b)
        grad = torch.autograd.grad(value.sum(), x, create_graph=True)[0]
        curvature = torch.stack([torch.autograd.grad(grad[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1])])
    change = (log_density(x.detach(), b + h) - log_density(x.detach(), b - h)) / (2 * h)
    right = x.shape[1] / 2 + (x * grad).sum(1) / 2 + (curvature.sum(0) + grad.square().sum(1)) / 2
    return (change - right).detach()


def nearest(points: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each point to the nearest and to the second nearest training example: (N, D), (M, D) -> (N,), (N,).

    Their ratio is a sign of a copy: a memorised example is far nearer than the runner-up. Raises ValueError for fewer than two examples.
    """
    if len(training) < 2:
        raise ValueError("two training examples at least: a copy is told by being nearer to one than to all others")
    distance = torch.cdist(points.flatten(1), training.flatten(1)).topk(2, largest=False).values
    return distance[:, 0], distance[:, 1]
