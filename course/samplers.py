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
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from course.prediction import Denoise, eps_from_v, eps_from_x0, v_from_eps, x0_from_eps
from course.schedule import CLEAN, Level, NoiseSchedule

Draw = Callable[[], Tensor]   # fresh standard normal noise shaped like x

# ------------------------------------------------------------------------------------------------ the one transfer


def transfer(x: Tensor, eps: Tensor, now: Level, next: Level) -> Tensor:
    """Move x from one level to another, believing that its noise is eps:

        x_next = alpha_next x_0 + sigma_next eps   with   x_0 = (x - sigma_now eps) / alpha_now

    (Song et al. 2021a, eq. 12 with sigma = 0). Collected for x and eps it reads x_next / alpha_next = x / alpha_now +
    (ratio_next - ratio_now) eps: one Euler step of the probability-flow ODE in ratio = sigma / alpha. x, eps (B, ...).
    """
    return x * (next.alpha / now.alpha) + eps * (next.alpha * (next.ratio - now.ratio))


def renoise(x: Tensor, eps: Tensor, now: Level, next: Level, noise: Tensor, eta: float = 1.0) -> Tensor:
    """`transfer` with part of eps replaced by fresh noise, the total noise staying sigma_next:

        x_next = alpha_next x_0 + sqrt(sigma_next^2 - s^2) eps + s noise
        s^2 = eta^2 sigma_next^2 / sigma_now^2 (1 - alpha_now^2 / alpha_next^2)

    (Song et al. 2021a, eq. 12 and 16). eta = 1 is the DDPM posterior of Ho et al. 2020, eq. 7; eta = 0 is `transfer`.
    """
    s2 = (eta * next.sigma / now.sigma) ** 2 * (1 - (now.alpha / next.alpha) ** 2)
    x0 = x0_from_eps(eps, x, now)
    return next.alpha * x0 + math.sqrt(max(next.sigma**2 - s2, 0.0)) * eps + math.sqrt(s2) * noise


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
    for now, next in pairwise(grid):
        eps = denoise(x, now)
        x = renoise(x, eps, now, next, draw(), eta) if eta else transfer(x, eps, now, next)
    return x


def ddpm(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw) -> Tensor:
    """Ho et al. 2020, algorithm 2: draw from the posterior q(x_next | x, x_0) at the guessed x_0 — that is, eta = 1.
    On the linspace grid it is the Euler ancestral sampler of k-diffusion (Crowson 2022)."""
    for now, next in pairwise(grid):
        eps = denoise(x, now)
        x = renoise(x, eps, now, next, draw()) if next.sigma else transfer(x, eps, now, next)
    return x


ADAMS_BASHFORTH = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def pndm(denoise: Denoise, x: Tensor, grid: Sequence[Level], draw: Draw, extrapolate: str = "epsilon") -> Tensor:
    """Pseudo linear multistep, PLMS (Liu et al. 2022, eq. 12; Stable Diffusion's default): eps extrapolated from the last
    four by Adams-Bashforth weights, exact for equal steps. The first step has no past, so it looks at both its ends,
    which makes steps + 1 model calls in all.

    extrapolate: "epsilon", as in the paper, or "v_prediction": behind a network that predicts v, diffusers extrapolates v
    and turns it into eps at the present x. So does `SAMPLERS`, to give the same pictures. It costs accuracy: eps then
    changes within a step even where v does not (tests/course/test_accuracy.py measures it).
    """
    of_v = extrapolate == "v_prediction"
    past: list[Tensor] = []
    for i, (now, next) in enumerate(pairwise(grid)):
        eps = denoise(x, now)
        past = [v_from_eps(eps, x, now) if of_v else eps, *past[:3]]
        guess = weighted(ADAMS_BASHFORTH[len(past) - 1], past)
        if i == 0 and len(grid) > 2:
            ahead = transfer(x, eps, now, next)
            eps = denoise(ahead, next)
            guess = (guess + (v_from_eps(eps, ahead, next) if of_v else eps)) / 2
        x = transfer(x, eps_from_v(guess, x, now) if of_v else guess, now, next)
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


# ------------------------------------------------------------------------------------------------ names and grids


@dataclass(frozen=True)
class Sampler:
    """A sampler with the grid it is known for.

    run          (denoise, x, grid, draw, **options) -> x
    spacing      the grid's spacing unless the schedule names one
    whole        whole timesteps, or fractions of them
    extra_step   lay a linspace or leading grid for one step more and leave out its last time (DPM-Solver++)
    set_alpha_to_one   True or False: its default for the schedule's option of that name. None: it always ends clean
    """

    run: Callable[..., Tensor]
    spacing: str
    whole: bool
    extra_step: bool = False
    set_alpha_to_one: bool | None = None

    def grid(self, schedule: NoiseSchedule, steps: int) -> list[Level]:
        """steps + 1 levels from noisy to clean. Raises ValueError unless 1 <= steps <= T."""
        spacing = schedule.timestep_spacing or self.spacing
        times = schedule.timesteps(steps, spacing, self.whole)
        if self.extra_step and spacing != "trailing" and steps < len(schedule):
            times = schedule.timesteps(steps + 1, spacing)[:-1]
        ends_clean = self.set_alpha_to_one is None or (
            self.set_alpha_to_one if schedule.set_alpha_to_one is None else schedule.set_alpha_to_one)
        return schedule.levels(times, CLEAN if ends_clean else schedule.at(0))

    def start(self, noise: Tensor, schedule: NoiseSchedule, first: Level) -> Tensor:
        """The first x. At the last trained time sigma is not quite 1; the sigma-space samplers honour that, the others
        start from the noise as it is. (Both are what diffusers does.)"""
        in_sigma_space = not self.whole and (schedule.timestep_spacing or self.spacing) != "leading"
        return noise * first.sigma if in_sigma_space else noise

    def sample(self, denoise: Denoise, noise: Tensor, schedule: NoiseSchedule, steps: int,
               generator: torch.Generator | Sequence[torch.Generator] | None = None, **options: Any) -> Tensor:
        """Turn noise into a picture (or a latent) in `steps` steps.

        denoise(x, level) -> eps is shaped like x; level.t is the number a diffusers U-Net would be given.
        noise (B, ...) is standard normal. generator draws the fresh noise of ddpm, euler_ancestral and ddim with eta > 0;
        a list of them draws for each picture of the batch on its own. The global random state is used only if it is None.
        Raises ValueError for a wrong number of steps or a denoiser whose answer has another shape.
        """
        if not torch.is_tensor(noise) or not noise.is_floating_point():
            raise ValueError(f"noise must be a tensor of floating-point numbers; got {getattr(noise, 'dtype', type(noise))}")
        grid = self.grid(schedule, steps)
        if self.run is pndm:
            options = {"extrapolate": schedule.prediction_type, **options}

        def checked(x: Tensor, level: Level) -> Tensor:
            eps = denoise(x, level)
            if eps.shape != x.shape:
                raise ValueError(f"the denoiser was given {tuple(x.shape)} and answered {tuple(eps.shape)}; "
                                 "eps must be shaped like x")
            return eps

        return self.run(checked, self.start(noise, schedule, grid[0]), grid, lambda: fresh_noise(noise, generator), **options)


def fresh_noise(like: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None) -> Tensor:
    """Standard normal noise shaped like `like`, drawn on the generator's own device and moved: a CPU seed gives the same
    noise on every machine. A list of generators draws one picture each."""
    if isinstance(generator, Sequence):
        if len(generator) != len(like):
            raise ValueError(f"{len(generator)} generators for a batch of {len(like)}; give one each, or a single one")
        return torch.cat([fresh_noise(like[i : i + 1], one) for i, one in enumerate(generator)])
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(ddpm, "leading", whole=True),
    "ddim": Sampler(ddim, "leading", whole=True, set_alpha_to_one=True),
    "pndm": Sampler(pndm, "leading", whole=True, set_alpha_to_one=False),
    "lms": Sampler(lms, "linspace", whole=False),
    "heun": Sampler(heun, "linspace", whole=False),
    "euler": Sampler(ddim, "linspace", whole=False),
    "euler_ancestral": Sampler(ddpm, "linspace", whole=False),
    "dpmpp_2m": Sampler(dpmpp_2m, "linspace", whole=True, extra_step=True),
}
