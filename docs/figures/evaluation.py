"""Chapter 11: the bias of the Fréchet distance, and samplers at equal steps and at equal cost."""

from functools import cache

import numpy as np
import torch

from course.lab.metrics import frechet_distance, kernel_distance
from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import ring

from .common import BLUE, GREEN, GREY, ORANGE, SAMPLER_STYLE, axes, figure


@cache
def self_distance(dimensions: int, n: int, repeats: int = 5, seed: int = 0) -> float:
    """Mean squared Fréchet distance between two sets of n samples of one standard normal distribution. The truth is 0."""
    rng = np.random.default_rng(seed)
    return float(np.mean([frechet_distance(*rng.normal(size=(2, n, dimensions))) for _ in range(repeats)]))


def bias() -> str:
    sizes = [50, 100, 200, 400, 800, 1600, 3200]
    drawn, panel = axes(width=6.4, height=2.9)
    for dimensions, colour in ((16, BLUE), (64, ORANGE)):
        values = [self_distance(dimensions, n) for n in sizes]
        panel.loglog(sizes, values, "o-", color=colour, markersize=4, label=f"{dimensions} dimensions")
        panel.annotate(f"{values[0]:.1f}", (sizes[0], values[0]), (-4, 6), textcoords="offset points", ha="right", color=colour)
    panel.loglog(sizes, [2 * 16 / n for n in sizes], ":", color=GREY, label="means alone, 2 · 16 / N")
    panel.set(xlabel="samples N on each side", ylabel="measured distance", xlim=(35, 4000))
    panel.legend()
    return figure(
        drawn, "bias",
        "Two falling straight lines in a doubly logarithmic plot: the measured distance falls as one over the number of samples.",
        "The Fréchet distance of a normal distribution to itself, measured from N samples on each side. The right answer is 0.",
    )


def measured(n: int, shift: float, dimensions: int, seed: int, repeats: int = 40) -> tuple[list[float], list[float]]:
    """The Fréchet and the kernel distance between two sets of n normal features that lie `shift` apart, drawn `repeats` times."""
    size = 2 * n * dimensions * repeats
    numbers = torch.randn(-(-size // 16) * 16, generator=torch.Generator().manual_seed(seed))[:size].double().numpy()
    sets = numbers.reshape(repeats, 2, n, dimensions)
    sets[:, 1, :, 0] += shift
    return [frechet_distance(*pair) for pair in sets], [kernel_distance(*pair) for pair in sets]


def six_pictures() -> str:
    drawn, panels = axes(1, 2, width=7.0, height=2.0, sharey=True)
    for panel, name, values, colour in zip(panels, ("Fréchet", "kernel"), measured(6, 0.0, 8, 0), (BLUE, GREEN), strict=True):
        height = [(0.618 * k) % 1 for k in range(len(values))]
        panel.plot(values, height, "o", color=colour, markersize=4, alpha=0.6)
        panel.axvline(0, color=ORANGE, lw=2)
        panel.plot(np.mean(values), -0.15, "^", color=colour)
        panel.set(xlabel=f"{name} distance, mean {np.mean(values):.2f}", yticks=[], ylim=(-0.3, 1.1))
        panel.spines["left"].set_visible(False)
    return figure(
        drawn, "six-pictures",
        "Two rows of dots. Those of the Fréchet distance all lie far to the right of the truth, zero; those of the kernel distance lie on "
        "both sides.",
        "Two sets of six features with 8 numbers each, from one distribution, measured 40 times. The truth (orange) is 0.", stack=True,
    )


@cache
def toy_errors(name: str) -> tuple[list[int], list[int], list[float]]:
    """Steps, calls and root mean square error to the exact flow, on the ring, from one noise."""
    world, schedule = ring(), NoiseSchedule.from_config(SD_V1)
    noise = torch.randn(128, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps, calls, errors = [5, 7, 10, 14, 20, 28, 40, 57, 80], [], []
    sampler = SAMPLERS[name]
    for n in steps:
        count = []

        def denoise(x, level, count=count):
            count.append(level.t)
            return world.denoise(x, level)

        grid = sampler.grid(schedule, n)
        exact = _exact(grid[0].t, sampler.start(torch.ones(1), schedule, grid[0]).item(), grid[-1].sigma == 0)
        end = sampler.sample(denoise, noise, schedule, n)
        calls.append(len(count))
        errors.append(float((end - exact).pow(2).sum(-1).mean().sqrt()))
    return steps, calls, errors


@cache
def _exact(t: float, scale: float, clean: bool) -> torch.Tensor:
    from course.schedule import CLEAN

    schedule = NoiseSchedule.from_config(SD_V1)
    noise = torch.randn(128, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ring().flow(noise * scale, schedule.at(t), CLEAN if clean else schedule.at(0))


def equal_cost() -> str:
    drawn, (left, right) = axes(1, 2, width=7.4, height=3.0, sharey=True)
    for name in ("euler", "heun", "lms", "dpmpp_2m"):
        colour, _ = SAMPLER_STYLE[name]
        steps, calls, errors = toy_errors(name)
        left.loglog(steps, errors, ".-", color=colour, label=name)
        right.loglog(calls, errors, ".-", color=colour, label=name)
    left.set(xlabel="steps", ylabel="error to the exact flow", title="at equal steps")
    right.set(xlabel="calls of the denoiser", title="at equal cost")
    for panel in (left, right):
        panel.set_xlim(4, 170)
        panel.set_xticks([5, 10, 20, 40, 80, 160], ["5", "10", "20", "40", "80", "160"])
        panel.minorticks_off()
    left.legend()
    return figure(
        drawn, "equal-cost",
        "Two plots of the same errors of four samplers, against steps and against calls. On the right, the curve of Heun lies "
        "twice as far to the right as on the left.",
        "Four samplers on the ring of six bumps, exact denoiser. The same runs, over steps and over calls.", stack=True,
    )
