"""Eight samplers, one transfer.

To go from a noisy level to a cleaner one, guess the noise eps, and put what is left of the picture back together at the
new level. All eight samplers do just that. They differ in how they guess eps from the calls made so far, in whether part
of eps is swapped for fresh noise, and in the grid of levels they visit:

    sampler                guess                                                     grid
    ddim, euler            eps at this level                                         leading; linspace
    ddpm, euler_ancestral  the same, part of it replaced by fresh noise              leading; linspace
    pndm                   Adams-Bashforth: a polynomial in t through the last four  leading
    lms                    a polynomial in sigma/alpha through the last four         linspace
    heun                   mean of both ends                                         linspace
    dpmpp_2m               x_0 extrapolated along the log signal-to-noise ratio      rounded linspace

A sampler is a function of (denoise, x, grid, draw). Its memory is a local list; nothing has to be set or reset.
`SAMPLERS[name].sample(denoise, noise, schedule, steps)` picks the grid and starts it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from course.prediction import Denoise, eps_from_v, eps_from_x0, v_from_eps, x0_from_eps
from course.schedule import Level

Draw = Callable[[], Tensor]   # fresh standard normal noise shaped like x

# ------------------------------------------------------------------------------------------------ the one transfer


def transfer(x: Tensor, eps: Tensor, now: Level, next: Level) -> Tensor:
    """Move x from one level to another, believing that its noise is eps:

        x_next = alpha_next x_0 + sigma_next eps   with   x_0 = (x - sigma_now eps) / alpha_now

    (Song et al. 2021a, eq. 12 with sigma = 0). Collected for x and eps it reads x_next / alpha_next = x / alpha_now +
    (ratio_next - ratio_now) eps: one Euler step of the probability-flow ODE in ratio = sigma / alpha. x, eps (B, ...).
    """
    return (x * (next.alpha / now.alpha)).add(eps, alpha=next.alpha * (next.ratio - now.ratio))


def renoise(x: Tensor, eps: Tensor, now: Level, next: Level, noise: Tensor, eta: float = 1.0) -> Tensor:
    """`transfer` with part of eps replaced by fresh noise, the total noise staying sigma_next:

        x_next = alpha_next x_0 + sqrt(sigma_next^2 - s^2) eps + s noise
        s^2 = eta^2 sigma_next^2 (1 - ratio_next^2 / ratio_now^2)

    (Song et al. 2021a, eq. 12 and 16, there with alpha^2 + sigma^2 = 1). eta = 1 is the DDPM posterior of Ho et al. 2020,
    eq. 7; eta = 0 is `transfer`.
    """
    kept, fresh = shares(now, next, eta)
    moved = (x * (next.alpha / now.alpha)).add_(eps, alpha=kept - next.alpha * now.ratio)
    return moved.add_(noise, alpha=fresh) if fresh else moved


def shares(now: Level, next: Level, eta: float) -> tuple[float, float]:
    """How much of the noise at the next level is kept and how much is fresh: (sqrt(sigma_next^2 - s^2), s), see `renoise`."""
    left = next.ratio / now.ratio if now.alpha else 0.0
    s = eta * next.sigma * math.sqrt(max(1 - left * left, 0.0))
    return math.sqrt(max(next.sigma**2 - s * s, 0.0)), s


def placed(x0: Tensor, eps: Tensor, now: Level, next: Level, noise: Tensor | None = None, eta: float = 1.0) -> Tensor:
    """The same from both guesses at once: alpha_next x_0 + sigma_next eps, or with noise in the place of a part of eps.

    Needs no division by alpha_now, so it starts from nothing but noise, too (alpha = 0).
    """
    if noise is None:
        return (x0 * next.alpha).add_(eps, alpha=next.sigma)
    kept, fresh = shares(now, next, eta)
    return (x0 * next.alpha).add_(eps, alpha=kept).add_(noise, alpha=fresh)


def look(denoise: Denoise, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    """One call of the network -> (x_0, eps). A denoiser that knows both says both (`both`, see prediction.py); for another, x_0
    follows from eps. Raises ValueError where it does not: in pure noise, alpha = 0, eps is x and says nothing about x_0."""
    both = getattr(denoise, "both", None)
    if both is not None:
        return both(x, level)
    if not level.alpha:
        raise ValueError(f"at t = {level.t} there is nothing but noise (alpha = 0), and eps says nothing about x_0 there: give the "
                         "sampler a denoiser made by as_eps from a network that predicts x_0, v or a flow's velocity")
    eps = denoise(x, level)
    return x.sub(eps, alpha=level.sigma).div_(level.alpha), eps                            # x0_from_eps in two operations


def weighted(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """sum_k weights[k] tensors[k]."""
    total = tensors[0] * weights[0]
    for weight, tensor in zip(weights[1:], tensors[1:], strict=True):
        total = total.add(tensor, alpha=weight)
    return total


# ------------------------------------------------------------------------------------------------ the samplers


def ddim(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, eta: float = 0.0) -> Tensor:
    """Song et al. 2021a, eq. 12: first order. On the linspace grid, ending clean, it is Euler's method in sigma/alpha
    (Karras et al. 2022, algorithm 1 without the correction). eta in [0, 1] mixes in fresh noise."""
    plain = not hasattr(denoise, "both")
    for now, next in pairwise(grid):
        if plain and now.alpha:                               # the same, x_0 left out
            x = renoise(x, denoise(x, now), now, next, draw(), eta) if eta else transfer(x, denoise(x, now), now, next)
        else:
            x0, eps = look(denoise, x, now)
            x = placed(x0, eps, now, next, draw() if eta else None, eta)
    return x


def ddpm(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, variance_type: str = "fixed_small") -> Tensor:
    """Ho et al. 2020, algorithm 2: draw from the posterior q(x_next | x, x_0) at the guessed x_0 — that is, eta = 1.
    On the linspace grid it is the Euler ancestral sampler of k-diffusion (Crowson 2022).

    variance_type: "fixed_small" is the posterior's own variance; "fixed_large" the other choice of the paper (section 3.2),
    1 - alpha_now^2 / alpha_next^2, the mean staying as it is. It leaves noise in the picture when the last time is not 0.
    """
    large, plain = variance_type.startswith("fixed_large"), not hasattr(denoise, "both")
    for now, next in pairwise(grid):
        if plain and now.alpha and not large:                 # the same, x_0 left out
            eps = denoise(x, now)
            x = renoise(x, eps, now, next, draw()) if next.sigma else transfer(x, eps, now, next)
            continue
        x0, eps = look(denoise, x, now)
        if large:
            mean = placed(x0, eps, now, next, torch.zeros_like(x))
            x = mean + math.sqrt(1 - (now.alpha / next.alpha) ** 2) * draw() if now.t > 0 else mean
        else:
            x = placed(x0, eps, now, next, draw() if next.sigma else None)
    return x


ADAMS_BASHFORTH = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def pndm(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, extrapolate: str = "epsilon",
         halfway: Callable[[Level, Level], Level] | None = None) -> Tensor:
    """Pseudo linear multistep, PLMS (Liu et al. 2022, eq. 12; Stable Diffusion's default): eps extrapolated from the last
    four by Adams-Bashforth weights, exact for equal steps. The first step has no past, so it looks at both its ends,
    which makes steps + 1 model calls in all.

    extrapolate: "epsilon", as in the paper, or "v_prediction": behind a network that predicts v, diffusers extrapolates v
    and turns it into eps at the present x. So does `SAMPLERS`, to give the same pictures. It costs accuracy: eps then
    changes within a step even where v does not (tests/course/test_accuracy.py measures it).

    halfway: (now, next) -> the level between them. With it the first three steps are pseudo Runge-Kutta steps instead, of four
    calls each (the paper's eq. 11; diffusers' `skip_prk_steps=False`): nine more calls, and a history from the start.
    """
    of_v = extrapolate == "v_prediction"

    def seen(x: Tensor, level: Level) -> Tensor:
        eps = denoise(x, level)
        return v_from_eps(eps, x, level) if of_v else eps

    def moved(guess: Tensor, now: Level, next: Level) -> Tensor:
        return transfer(x, eps_from_v(guess, x, now) if of_v else guess, now, next)

    past: list[Tensor] = []
    for i, (now, next) in enumerate(pairwise(grid)):
        past = [seen(x, now), *past[:3]]
        guess = weighted(ADAMS_BASHFORTH[len(past) - 1], past)
        if halfway is not None and i < 3 and len(grid) > i + 2:
            middle = halfway(now, next)
            second = seen(moved(past[0], now, middle), middle)
            third = seen(moved(second, now, middle), middle)
            fourth = seen(moved(third, now, next), next)
            guess = weighted((1 / 6, 1 / 3, 1 / 3, 1 / 6), (past[0], second, third, fourth))
        elif halfway is None and i == 0 and len(grid) > 2:
            guess = (guess + seen(moved(guess, now, next), next)) / 2
        x = moved(guess, now, next)
    return x


def lms_weights(nodes: Sequence[float], end: float) -> list[float]:
    """Weights w_k such that sum_k w_k f(nodes[k]) is the mean over [nodes[0], end] of the polynomial through all f(nodes[k]).

    w_k = 1 / (end - nodes[0]) * integral of prod_{m != k} (r - nodes[m]) / (nodes[k] - nodes[m]) dr, integrated exactly.
    """
    weights = []
    for k, node in enumerate(nodes):
        polynomial = [1.0]                                        # coefficients, constant first
        for m, other in enumerate(nodes):
            if m != k:                                            # times (r - other) / (node - other)
                low, high = [*(-other * c for c in polynomial), 0.0], [0.0, *polynomial]
                polynomial = [(a + b) / (node - other) for a, b in zip(low, high, strict=True)]
        integral = sum(c * (end**n - nodes[0] ** n) / n for n, c in enumerate(polynomial, start=1))
        weights.append(integral / (end - nodes[0]))
    return weights


def lms(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, order: int = 4) -> Tensor:
    """Linear multistep on the grid's own spacing (Crowson 2022): the polynomial in sigma/alpha through the last `order`
    values of eps, averaged exactly over the step. Adams-Bashforth for unequal steps."""
    past: list[Tensor] = []
    for i, (now, next) in enumerate(pairwise(grid)):
        past = [denoise(x, now), *past[: order - 1]]
        nodes = [grid[i - k].ratio for k in range(len(past))]
        x = transfer(x, weighted(lms_weights(nodes, next.ratio), past), now, next)
    return x


def heun(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw) -> Tensor:
    """Karras et al. 2022, algorithm 1: step, look at the far end, step again with the mean of both. Second order, and
    2 * steps - 1 model calls: at the clean end there is no eps to look at, so the last step is Euler's."""
    for now, next in pairwise(grid):
        eps = denoise(x, now)
        if next.sigma:
            eps = (eps + denoise(transfer(x, eps, now, next), next)) / 2
        x = transfer(x, eps, now, next)
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x_0 as a straight line in lambda = log(alpha / sigma), taken at the
    middle of the step. The first step has no past and the last one no finite lambda: both are first order."""
    last = None
    for i, (now, next) in enumerate(pairwise(grid)):
        eps = denoise(x, now)
        x0 = x0_from_eps(eps, x, now)
        if last is not None and next.sigma:
            before, here, there = (-math.log(level.ratio) for level in (grid[i - 1], now, next))
            middle = x0 + (x0 - last) * ((there - here) / (here - before) / 2)
            eps = eps_from_x0(middle, x, now)
        x, last = transfer(x, eps, now, next), x0
    return x


