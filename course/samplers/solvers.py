"""The samplers beyond the first eight: the same transfer, with better or other guesses.

    dpm_multistep    x_0 (or eps) as a polynomial in log-SNR through the last calls      DPM-Solver++ 1, 2M, 3M and their SDE forms
    dpm_singlestep   the same polynomial, through calls within one step                  DPM-Solver++ 2S, 3S
    unipc            the same, and the step before corrected once its end has been seen  UniPC
    deis             eps as a polynomial in log(sigma / alpha), averaged over the step    DEIS
    dpm2             eps at the middle of the step                                       DPM2, DPM2 ancestral
    dpmpp_sde        x_0 at the middle of the step, with a piece of one Brownian path    DPM++ SDE
    sa_solver        predictor and corrector, both with noise of a strength of its own   SA-Solver
    churned          noise added before each step of Euler's or Heun's                   the stochastic sampler of EDM
    consistency      x_0 and fresh noise, nothing kept                                   consistency models, LCM
    tcd              further than the step, and back by fresh noise                      TCD
    ipndm            Adams-Bashforth from the first step on                              IPNDM
    flow_heun        mean of both ends' velocities                                       Heun's method on a flow
    to_the_mean      DDPM whose last step is taken without its noise                     Wuerstchen's DDPM

h is the length of a step in lambda = log(alpha / sigma), everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from course import flow
from course.prediction import Denoise, eps_from_x0, x0_from_eps
from course.samplers.basic import ADAMS_BASHFORTH, Draw, ddpm, look, placed, shares, transfer, weighted
from course.schedule import Level

Inside = Callable[[float], Level]   # a ratio sigma / alpha -> the level that has it, with the time the network is told


def log_snr(level: Level) -> float:
    """lambda = log(alpha / sigma), half the log of the signal-to-noise ratio; infinite at either end."""
    if not level.sigma or not level.alpha:
        return math.inf if not level.sigma else -math.inf
    return -math.log(level.ratio)


# ------------------------------------------------------------------------------------------------ DPM-Solver and its family


def phi_shares(h: float, order: int, rises: bool) -> tuple[float, float]:
    """How much of the first and second difference quotient goes into the guess of a step of length h.

    Over a step, x_0 counts with the weight e^-s (s the distance to the step's end; `rises` False), eps with e^s (`rises`
    True). The guess is the mean under that weight; the mean of (position / h) is the first share, of (position / h)^2 / 2 the
    second. (Lu et al. 2022b, eq. B.4; Hochbruck and Ostermann 2010 call the integrals phi_2 and phi_3.)
    """
    if math.isinf(h):
        return 1.0, 0.5
    if not h:
        return 0.5, 1 / 6
    sign = 1.0 if rises else -1.0
    total = math.expm1(sign * h)                                          # e^h - 1, or -(1 - e^-h)
    first = (total / h - sign) / total * sign
    return first, 0.0 if order < 3 else (total - sign * h - h * h / 2) / (h * h) / total


def extrapolated(past: Sequence[Tensor], lambdas: Sequence[float], there: float, order: int, solver_type: str, rises: bool,
                 twice: bool = False) -> Tensor:
    """The guess for a step from lambdas[0] to `there` from the last values past[0], past[1], past[2] at these lambdas."""
    if order == 1:
        return past[0]
    h, h0 = there - lambdas[0], lambdas[0] - lambdas[1]
    if order == 2:
        share = phi_shares(2 * h if twice else h, order, rises)[0] if solver_type == "heun" else 0.5
        return torch.lerp(past[1], past[0], 1 + share * h / h0)
    first, second = phi_shares(2 * h if twice else h, order, rises)
    slope = (past[0] - past[1]) * (h / h0)                                # over one step
    before = (past[1] - past[2]) * (h / (lambdas[1] - lambdas[2]))
    r0, r1 = h0 / h, (lambdas[1] - lambdas[2]) / h
    slope_here = slope + (slope - before) * (r0 / (r0 + r1))
    curve = (slope - before) * (1 / (r0 + r1))
    return weighted((1.0, first, second), (past[0], slope_here, curve))


def dpm_move(x: Tensor, guess: Tensor, now: Level, next: Level, algorithm_type: str, draw: Draw) -> Tensor:
    """One step of the four forms with a guess of x_0 ("++") or eps. The SDE forms of "++" are `renoise` with all of its noise."""
    if algorithm_type.endswith("++"):                                     # alpha_next x_0 + kept eps, eps being what x_0 leaves of x
        kept, fresh = shares(now, next, 1.0) if algorithm_type.startswith("sde") else (next.sigma, 0.0)
        moved = (x * (kept / now.sigma)).add_(guess, alpha=next.alpha - kept / now.sigma * now.alpha)
        return moved.add_(draw(), alpha=fresh) if algorithm_type.startswith("sde") else moved
    if algorithm_type == "dpmsolver":
        return transfer(x, guess, now, next)
    fresh = next.sigma * math.sqrt(max((now.ratio / next.ratio) ** 2 - 1, 0.0))
    return (transfer(x, 2 * guess, now, next)).add_(draw(), alpha=fresh)


def seen_as(denoise: Denoise, x: Tensor, level: Level, algorithm_type: str) -> Tensor:
    """x_0 for the "++" algorithms, eps for the others."""
    return look(denoise, x, level)[0] if algorithm_type.endswith("++") else denoise(x, level)


def dpm_multistep(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, solver_order: int = 2,
                  algorithm_type: str = "dpmsolver++", solver_type: str = "midpoint", lower_order_final: bool = True,
                  euler_at_final: bool = False) -> Tensor:
    """DPM-Solver++ of order 1, 2 or 3 from the last calls (Lu et al. 2022b, algorithm 2), DPM-Solver (Lu et al. 2022a, on eps)
    and the SDE forms of both. Order 1 is `ddim`, and with noise `ddpm`; order 2 is `dpmpp_2m`.

    lower_order_final: under 15 steps, the last but one of order 2 and the last of order 1. A step to sigma = 0 is always of order
    1: it is infinitely long.
    """
    steps, rises = len(grid) - 1, not algorithm_type.endswith("++")
    past: list[Tensor] = []
    for i, (now, next) in enumerate(pairwise(grid)):
        past = [seen_as(denoise, x, now, algorithm_type), *past[: solver_order - 1]]
        left, short = steps - i, lower_order_final and steps < 15
        first_order = not next.sigma or (left == 1 and (euler_at_final or short))
        order = 1 if first_order else min(len(past), 2 if left == 2 and short else solver_order)
        lambdas = [log_snr(grid[i - k]) for k in range(order)]
        guess = extrapolated(past, lambdas, log_snr(next), order, solver_type, rises, algorithm_type == "sde-dpmsolver++")
        x = dpm_move(x, guess, now, next, algorithm_type, draw)
    return x


def singlestep_orders(steps: int, order: int, lower_order_final: bool, ends_clean: bool) -> list[int]:
    """How far each call of `dpm_singlestep` looks back: 1, 2, 3, 1, 2, 3, ... with what is left over in lower orders (Lu et al.
    2022a, appendix C)."""
    if lower_order_final or ends_clean or steps % order:
        whole = (steps - 1) // order
        orders = [*range(1, order + 1)] * whole
        orders += {1: [1], 2: [1, 1] if order == 2 else [1, 2], 3: [1, 2, 1]}[steps - whole * order]
    else:
        orders = [*range(1, order + 1)] * (steps // order)
    return [*orders[:-1], 1] if ends_clean else orders


def dpm_singlestep(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, solver_order: int = 2,
                   algorithm_type: str = "dpmsolver++", solver_type: str = "midpoint", lower_order_final: bool = False) -> Tensor:
    """DPM-Solver++(2S) and (3S) (Lu et al. 2022b, algorithm 1): a block of two or three calls makes one step, from the block's
    start each time, with one more call in the guess. Every level of the grid is one call, so it costs what the others cost."""
    rises, steps = not algorithm_type.endswith("++"), len(grid) - 1
    orders = singlestep_orders(steps, solver_order, lower_order_final, not grid[-1].sigma)
    past: list[Tensor] = []
    start = x
    for i, (now, next) in enumerate(pairwise(grid)):
        past = [seen_as(denoise, x, now, algorithm_type), *past[: solver_order - 1]]
        order = min(orders[i], len(past))
        if order == 1:
            start = x
        begin = grid[i + 1 - order]
        there, here = log_snr(next), log_snr(begin)
        guess = past[order - 1]
        if order > 1:
            h = there - here
            r0 = (log_snr(now) - here) / h
            first, second = phi_shares(2 * h if algorithm_type == "sde-dpmsolver++" else h, order, rises)
            if order == 2 or solver_type != "heun":
                share = 0.5 if order == 2 and solver_type != "heun" else first
                guess = torch.lerp(guess, past[0], share / r0)
            else:
                slope0 = (past[0] - past[order - 1]) * (1 / r0)
                r1 = (log_snr(grid[i - 1]) - here) / h
                slope1 = (past[1] - past[2]) * (1 / r1)
                slope_here = (slope1 * r0 - slope0 * r1) * (1 / (r0 - r1))
                curve = (slope0 - slope1) * (2 / (r0 - r1))
                guess = weighted((1.0, first, second), (guess, slope_here, curve))
        x = dpm_move(start, guess, begin, next, algorithm_type, draw)
    return x


def unipc(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, solver_order: int = 2, solver_type: str = "bh2",
          predict_x0: bool = True, lower_order_final: bool = True, disable_corrector: Sequence[int] = ()) -> Tensor:
    """UniPC (Zhao et al. 2023, algorithms 1 and 2): a multistep predictor, and once the network has been asked at its end, a
    corrector of one order more that uses the answer again. No further calls. disable_corrector: the steps not corrected."""
    steps = len(grid) - 1
    past: list[Tensor] = []
    last, order = x, 0
    for i, (now, next) in enumerate(pairwise(grid)):
        value = look(denoise, x, now)[0] if predict_x0 else denoise(x, now)
        if i and i - 1 not in disable_corrector:
            guess = unipc_guess([value, *past], [log_snr(grid[i - k]) for k in range(order + 1)], order, solver_type, predict_x0)
            x = dpm_move(last, guess, grid[i - 1], now, "dpmsolver++" if predict_x0 else "dpmsolver", draw)
        past = [value, *past[: solver_order - 1]]
        order = min(solver_order, steps - i if lower_order_final else solver_order, len(past))
        last = x
        lambdas = [log_snr(next), *(log_snr(grid[i - k]) for k in range(order))]
        guess = unipc_guess([None, *past], lambdas, order, solver_type, predict_x0)
        x = dpm_move(x, guess, now, next, "dpmsolver++" if predict_x0 else "dpmsolver", draw)
    return x


def unipc_guess(values: Sequence[Tensor | None], lambdas: Sequence[float], order: int, solver_type: str,
                predict_x0: bool) -> Tensor:
    """The guess for the step from lambdas[1] to lambdas[0]. values[0] is the network's answer at its end, None when that is still to
    come; values[1:] those before, at lambdas[1:].

    The weights solve sum_k rho_k r_k^(j-1) = j! phi_{j+1}(h) / B(h) for j = 1 .. order (Zhao et al. 2023, eq. 5 and 9), with the
    paper's own choice 1/2 where a single unknown is left. B(h) = h ("bh1") or e^h - 1 ("bh2").
    """
    base, h = values[1], lambdas[0] - lambdas[1]
    assert base is not None
    ahead = values[0] is not None
    if math.isinf(h) or (order == 1 and not ahead):
        return base
    signed = -h if predict_x0 else h
    total = math.expm1(signed)
    scale = signed if solver_type == "bh1" else total
    phi, factorial, right = total / signed - 1, 1, []
    for j in range(1, order + 1):
        right.append(phi * factorial / scale)
        factorial *= j + 1
        phi = phi / signed - 1 / factorial
    r = [(lambdas[k + 1] - lambdas[1]) / h for k in range(1, order)]
    differences = [(values[k + 1] - base) * (1 / r[k - 1]) for k in range(1, order)]          # type: ignore[operator]
    if ahead:
        nodes = np.array([*r, 1.0])
        rho = [0.5] if order == 1 else list(np.linalg.solve(np.vander(nodes, order, increasing=True).T, right))
        differences.append(values[0] - base)                                                   # type: ignore[operator]
    else:
        rho = [0.5] if order == 2 else list(np.linalg.solve(np.vander(np.array(r), order - 1, increasing=True).T, right[:-1]))
    return weighted((1.0, *(float(w) * scale / total for w in rho)), (base, *differences))


# ------------------------------------------------------------------------------------------------ polynomials in log sigma


def log_weights(nodes: Sequence[float], end: float, start: float | None = None) -> list[float]:
    """Weights w_k such that sum_k w_k f(nodes[k]) is the mean over [start, end] of the polynomial *in the logarithm* through
    all f(nodes[k]): `lms_weights` for unevenly large numbers. With w = log(r / start) the integrals are of w^n e^w.
    start: nodes[0] unless it is given."""
    start = nodes[0] if start is None else start
    logs = [math.log(node / start) for node in nodes]
    top = math.log(end / start)
    integrals = [math.expm1(top)]                                                              # of e^w over [0, top]
    for n in range(1, len(nodes)):
        integrals.append(top**n * math.exp(top) - n * integrals[-1])
    weights = []
    for k, log in enumerate(logs):
        polynomial = [1.0]
        for m, other in enumerate(logs):
            if m != k:                                                                         # times (w - other) / (log - other)
                low, high = [*(-other * c for c in polynomial), 0.0], [0.0, *polynomial]
                polynomial = [(a + b) / (log - other) for a, b in zip(low, high, strict=True)]
        weights.append(sum(c * i for c, i in zip(polynomial, integrals, strict=True)) / integrals[0])
    return weights


def deis(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, solver_order: int = 2, lower_order_final: bool = True) -> Tensor:
    """DEIS in log rho (Zhang and Chen 2023): eps as a polynomial in log(sigma / alpha) through the last calls, averaged exactly over
    the step. `lms` does the same with a polynomial in sigma / alpha itself. The logarithm of 0 does not exist, so the grid ends at
    the smallest trained sigma."""
    steps = len(grid) - 1
    past: list[Tensor] = []
    for i, (now, next) in enumerate(pairwise(grid)):
        x0, _ = look(denoise, x, now)
        past = [eps_from_x0(x0, x, now), *past[: solver_order - 1]]
        left, short = steps - i, lower_order_final and steps < 15
        order = min(len(past), {1: 1, 2: 2}.get(left, solver_order) if short else solver_order)
        nodes = [grid[i - k].ratio for k in range(order)]
        still = order == 1 or next.ratio == now.ratio
        x = transfer(x, past[0] if still else weighted(log_weights(nodes, next.ratio), past[:order]), now, next)
    return x


# ------------------------------------------------------------------------------------------------ two calls a step


def dpm2(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, inside: Inside, ancestral: bool = False) -> Tensor:
    """DPM-Solver-2 as in k-diffusion (Lu et al. 2022a, algorithm 1; Crowson 2022): the whole step with the eps found at its middle,
    the geometric mean of both sigmas. Ancestral: the step goes below its end, and fresh noise leads back. 2 * steps - 1 calls."""
    for now, next in pairwise(grid):
        eps = denoise(x, now)
        if not next.sigma:
            x = transfer(x, eps, now, next)
            continue
        down = next.ratio * (next.ratio / now.ratio if ancestral else 1.0)
        middle = inside(math.sqrt(now.ratio * down))
        eps = denoise(transfer(x, eps, now, middle), middle)
        x = x * (next.alpha / now.alpha) + eps * (next.alpha * (down - now.ratio))
        if ancestral:
            x = x.add_(draw(), alpha=next.alpha * math.sqrt(max(next.ratio**2 - down**2, 0.0)))
    return x


def sa_tau(t: float) -> float:
    """How strong the noise of `sa_solver` is at time t of 1000: 1 from 200 to 800, 0 near either end (diffusers' default)."""
    return 1.0 if 200 <= t <= 800 else 0.0


def sa_solver(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, predictor_order: int = 2, corrector_order: int = 2,
              algorithm_type: str = "data_prediction", lower_order_final: bool = True, tau: Callable[[float], float] = sa_tau) -> Tensor:
    """SA-Solver (Xue et al. 2023): stochastic Adams. A multistep predictor and, once the network has been asked at its end, a corrector
    that uses the answer again, as in `unipc`; both steps with the same noise, of strength tau(t). tau = 0 is an ODE solver, tau = 1 the
    SDE of the reverse process. No further calls. Raises ValueError for an algorithm_type that is not its own."""
    if algorithm_type not in ("data_prediction", "noise_prediction"):
        raise ValueError(f"sa_solver's algorithm_type is 'data_prediction' or 'noise_prediction'; got {algorithm_type!r}")
    steps, of_x0 = len(grid) - 1, algorithm_type == "data_prediction"
    past: list[Tensor] = []
    last, noise, strength, corrected = x, x, 0.0, 0
    for i, (now, next) in enumerate(pairwise(grid)):
        value = look(denoise, x, now)[0] if of_x0 else denoise(x, now)
        if i:
            lambdas = [log_snr(grid[i - k]) for k in range(corrected)]
            x = sa_move(last, [value, *past][:corrected], lambdas, grid[i - 1], now, strength, noise, of_x0)
        past = [value, *past[: max(predictor_order, corrector_order - 1) - 1]]
        left = steps - i if lower_order_final else steps
        predicted, corrected = min(predictor_order, left, i + 1), min(corrector_order, left + 1, i + 2)
        last, noise, strength = x, draw(), tau(float(now.t))
        x = sa_move(x, past[:predicted], [log_snr(grid[i - k]) for k in range(predicted)], now, next, strength, noise, of_x0)
    return x


def sa_move(x: Tensor, values: Sequence[Tensor], lambdas: Sequence[float], now: Level, next: Level, tau: float, noise: Tensor,
            of_x0: bool) -> Tensor:
    """One step of `sa_solver` with the polynomial through `values` at `lambdas`. With h the step in lambda and k = 1 + tau^2,

        x_next = sigma_next / sigma_now e^(-tau^2 h) x + alpha_next (1 - e^(-k h)) guess + sigma_next sqrt(1 - e^(-2 tau^2 h)) noise

    where the guess is the polynomial's mean under the weight e^(k lambda). Of order 2, diffusers (and so we) give the mean position
    its limit for short steps, h / 2, as DPM-Solver++ does. Without `of_x0` the values are eps, and the weight e^(-lambda).
    """
    start, end, k = log_snr(now), log_snr(next), 1 + tau * tau
    h = end - start
    if not h:
        return x
    if not of_x0:
        guess = weighted(log_weights([math.exp(-each) for each in lambdas], math.exp(-end), math.exp(-start)), values)
        return transfer(x, k * guess, now, next).add_(noise, alpha=tau * next.sigma * math.sqrt(math.expm1(2 * h)))
    share = -math.expm1(-k * h)                                                                # 1 - e^(-k h)
    if len(values) == 2:
        first = (k * h * h / 2 / share + start - lambdas[1]) / (lambdas[0] - lambdas[1])
        weights = [first, 1 - first]
    else:
        weights = log_weights([math.exp(k * (each - end)) for each in lambdas], 1.0, math.exp(-k * h))
    kept = x * (next.sigma / now.sigma * math.exp(-tau * tau * h))
    moved = kept.add_(weighted(weights, values), alpha=next.alpha * share)
    return moved.add_(noise, alpha=next.sigma * math.sqrt(-math.expm1(-2 * tau * tau * h)))


Path = Callable[[Level, Level, float], Tensor]   # (now, next, share): a Brownian path's noise over that share of the step, of variance 1


def torchsde_path(seed: int | Sequence[int], like: Tensor, grid: Sequence[Level]) -> Path:
    """The Brownian path that diffusers' DPMSolverSDEScheduler walks at this seed: a binary tree of torchsde over sigma / alpha.

    A list of seeds gives each picture a path of its own. Raises ValueError, with what to install, without torchsde."""
    try:
        from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler
    except ImportError:
        raise ValueError("a path by seed is drawn by torchsde, which is not installed: python -m pip install torchsde; or leave "
                         "noise_sampler_seed out, and the path is drawn by the generator") from None
    ratios = [float(np.float32(level.ratio)) for level in grid if level.sigma]
    tree = BrownianTreeNoiseSampler(like, min(ratios), max(ratios), seed)

    def path(now: Level, next: Level, share: float) -> Tensor:
        start, end = (-torch.tensor(level.ratio, dtype=torch.float32).log() for level in (now, next))
        there = end if share == 1 else start + (end - start) * share        # float32: a path has no slope, every bit counts
        return tree((-start).exp(), (-there).exp())

    return path


def dpmpp_sde(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, inside: Inside,
              noise_sampler_seed: int | Sequence[int] | None = None) -> Tensor:
    """DPM++ SDE (Crowson 2022; the SDE of Lu et al. 2022b): x_0 from the middle of the step, both halves with noise of one Brownian
    path W over sigma / alpha. The path is drawn piece by piece, so the noise of the whole step is the sum of its halves':

        W(whole) = W(first half) + W(second half),  each with the variance of its length.

    torchsde draws the same law from a tree. noise_sampler_seed: take that tree's path, so that the numbers are diffusers' at the same
    seed, and `draw` is not used. 2 * steps - 1 calls.
    """
    path = None if noise_sampler_seed is None else torchsde_path(noise_sampler_seed, x, grid)
    for now, next in pairwise(grid):
        x0, eps = look(denoise, x, now)
        if not next.sigma:
            x = placed(x0, eps, now, next)
            continue
        middle = inside(math.sqrt(now.ratio * next.ratio))
        first = path(now, next, 0.5) if path else draw()
        x0, _ = look(denoise, placed(x0, eps, now, middle, first), middle)
        lengths = now.ratio - middle.ratio, middle.ratio - next.ratio
        whole = path(now, next, 1.0) if path else weighted([math.sqrt(length / sum(lengths)) for length in lengths], (first, draw()))
        x = placed(x0, eps_from_x0(x0, x, now), now, next, whole)
    return x


def churned(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, inside: Inside, s_churn: float = 0.0, s_tmin: float = 0.0,
            s_tmax: float = math.inf, s_noise: float = 1.0, correct: bool = True) -> Tensor:
    """The stochastic sampler of EDM (Karras et al. 2022, algorithm 2): before each step noise is added, up to the ratio
    (1 + gamma) sigma / alpha with gamma = min(s_churn / steps, sqrt(2) - 1), and the step starts from there. correct: Heun's second
    look at the end of the step; without it, Euler's. The network is asked *after* the noise was added, as in the paper."""
    steps = len(grid) - 1
    for now, next in pairwise(grid):
        gamma = min(s_churn / steps, math.sqrt(2) - 1) if s_tmin <= now.ratio <= s_tmax else 0.0
        if gamma:
            up = inside(now.ratio * (1 + gamma))
            x = (x * (up.alpha / now.alpha)).add_(draw(), alpha=s_noise * up.alpha * math.sqrt(up.ratio**2 - now.ratio**2))
            now = up
        eps = denoise(x, now)
        if correct and next.sigma:
            eps = (eps + denoise(transfer(x, eps, now, next), next)) / 2
        x = transfer(x, eps, now, next)
    return x


# ------------------------------------------------------------------------------------------------ for distilled networks


def consistency(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw,
                skip: Callable[[Level], tuple[float, float]] | None = None, sigma_min: float = 0.0) -> Tensor:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1): the network says x_0 at once, and to look again it is noised
    anew to the next level. LCM is the same with a network that predicts eps (Luo et al. 2023).

    skip: level -> (c_skip, c_out), the boundary condition x_0 <- c_skip x + c_out x_0 that makes x_0 = x at the clean end.
    sigma_min: the noise that the network leaves in its x_0; what is added leads on from there.
    """
    for now, next in pairwise(grid):
        x0, _ = look(denoise, x, now)
        if skip is not None:
            c_skip, c_out = skip(now)
            x0 = weighted((c_out, c_skip), (x0, x))
        x = x0 * next.alpha
        if next.sigma:
            x = x.add_(draw(), alpha=math.sqrt(next.sigma**2 - sigma_min**2))
    return x


def tcd(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, level_at: Callable[[int], Level], eta: float = 0.3) -> Tensor:
    """Trajectory consistency sampling (Zheng et al. 2024, algorithm 4; there eta is gamma): transfer beyond the next time t, to
    (1 - eta) t, and back up to t by fresh noise. eta = 0 is `ddim`; eta = 1 is `consistency`. The last level is reached without noise."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is a share between 0 and 1; got {eta}")
    for i, (now, next) in enumerate(pairwise(grid)):
        x0, eps = look(denoise, x, now)
        below = level_at(int((1 - eta) * next.t))
        x = placed(x0, eps, now, below)
        if eta and i < len(grid) - 2:
            kept = next.alpha / below.alpha
            x = (x * kept).add_(draw(), alpha=math.sqrt(max(1 - kept**2, 0.0)))
    return x


def ipndm(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw) -> Tensor:
    """Improved PNDM (Zhang and Chen 2023, appendix; Liu et al. 2022): Adams-Bashforth with as many calls as there are, so the first
    step is of order 1, the second of order 2 and no call is made twice. From pure noise (alpha = 0) the first guess is eps = x,
    which says nothing about x_0: it counts as 0."""
    past: list[Tensor] = []
    for now, next in pairwise(grid):
        eps = denoise(x, now)
        past = [eps, *past[:3]]
        guess = weighted(ADAMS_BASHFORTH[len(past) - 1], past)
        x0 = x0_from_eps(guess, x, now) if now.alpha else torch.zeros_like(x)
        x = placed(x0, guess, now, next)
    return x


# ------------------------------------------------------------------------------------------------ on grids of their own


def flow_heun(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw) -> Tensor:
    """`course.flow.heun` for a denoiser, but for its last step, which is Euler's: 2 * steps - 1 calls, as diffusers' class makes them.
    The mean is that of both ends' velocities eps - x_0, where `heun` takes that of their eps."""
    def velocity(x: Tensor, level: Level) -> Tensor:
        x0, eps = look(denoise, x, level)
        return eps - x0

    return flow.euler(velocity, flow.heun(velocity, x, grid[:-1]), grid[-2:])


def to_the_mean(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw) -> Tensor:
    """`ddpm` on a grid that does not end clean: the last step goes to the posterior's mean, without its noise."""
    x = ddpm(denoise, x, grid[:-1], draw)
    x0, eps = look(denoise, x, grid[-2])
    return placed(x0, eps, grid[-2], grid[-1], torch.zeros_like(x))
