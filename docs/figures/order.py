"""Chapter 6: the error of every deterministic sampler against the exact solution, measured at build."""

import functools

import numpy as np
import torch

from course.samplers import SAMPLERS
from course.schedule import Level, NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import Mixture, gaussian, ring

from .common import BLUE, INK, ORANGE, SAMPLER_STYLE, axes, figure

STEPS = (5, 10, 20, 40, 80, 160)
NAMES = ("euler", "pndm", "lms", "heun", "dpmpp_2m")          # ddim is euler on one grid
NOISE = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WORLDS = {"gaussian": gaussian([0.0, 0.0], 0.5), "ring": ring()}


@functools.cache
def exact_end(world: str, scale: float, first: Level, last: Level) -> torch.Tensor:
    """Where NOISE * scale ends. Slow, so it is computed once for all grids that share their two ends."""
    return WORLDS[world].flow(scale * NOISE, first, last)


@functools.cache
def error(name: str, steps: int, world: str = "gaussian", skip_last: bool = False, on: str = "") -> tuple[float, int]:
    """(error, model calls) of one run of 64 points against the exact flow between the same two levels.

    The error is the root mean square distance to where the exact solution ends, over the root mean square of that. With
    `skip_last` both stop one level earlier. `on` names the sampler whose grid is used, its own unless given: errors of two
    samplers can be compared only if both ran between the same two levels.
    """
    truth: Mixture = WORLDS[world]
    schedule, sampler = NoiseSchedule.from_config(SD_V1), SAMPLERS[name]
    grid = SAMPLERS[on or name].grid(schedule, steps)
    grid = grid[:-1] if skip_last else grid
    x, calls = sampler.start(NOISE, schedule, grid[0]), 0

    def denoise(now: torch.Tensor, level: Level) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return truth.denoise(now, level)

    exact = exact_end(world, float(x[0, 0] / NOISE[0, 0]), grid[0], grid[-1])
    # a grid that stops early has no step to the clean end to be careful at
    options = {"lower_order_final": False} if skip_last and "lower_order_final" in sampler.defaults() else {}
    miss = sampler.run(denoise, x, grid, lambda: torch.zeros_like(x), **options) - exact
    return float(miss.square().mean().sqrt() / exact.square().mean().sqrt()), calls


def run_of(name: str, calls: int, seed: int = 1, points: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    """(where a run on the ring ends that may call the denoiser `calls` times, where the exact flow from t = 999 ends), (points, 2) each."""
    schedule, sampler = NoiseSchedule.from_config(SD_V1), SAMPLERS[name]
    steps = max(1, {"heun": (calls + 1) // 2, "pndm": calls - 1}.get(name, calls))
    noise = torch.randn(points, 2, generator=torch.Generator().manual_seed(seed)).double()
    end = sampler.sample(WORLDS["ring"].denoise, noise, schedule, steps)
    return end, WORLDS["ring"].flow(noise, schedule.at(999), sampler.grid(schedule, steps)[-1])


def race(names: tuple[str, str] = ("heun", "dpmpp_2m"), calls: int = 10) -> str:
    drawn, panels = axes(1, 2, width=7.0, height=3.2)
    for panel, name in zip(panels, names, strict=True):
        end, exact = run_of(name, calls)
        panel.plot(torch.stack([exact[:, 0], end[:, 0]]), torch.stack([exact[:, 1], end[:, 1]]), color=ORANGE, lw=0.8)
        panel.plot(*end.T, "o", color=BLUE, markersize=2.4)
        error = (end - exact).square().sum(1).mean().sqrt()
        panel.set(aspect="equal", xticks=[], yticks=[], title=f"{SAMPLERS[name].title}: error {error:.3g}")
        panel.axis("off")
    return figure(
        drawn, "race",
        "Two panels of points on a ring of six clumps. In one the orange lines that lead to where each point should be are longer.",
        f"Two samplers with {calls} calls each, from the same noise. Blue: where they end; orange: how far from where the exact flow ends.",
    )


def table(world: str = "gaussian", names: tuple[str, ...] = NAMES, **options) -> str:
    lines = ["sampler    " + "".join(f"{n:>10d}" for n in STEPS)]
    for name in names:
        lines.append(f"{name:11s}" + "".join(f"{error(name, n, world, **options)[0]:10.2g}" for n in STEPS))
    return "\n".join(lines)


def convergence() -> str:
    drawn, panels = axes(1, 2, width=7.4, height=3.3, sharey=True)
    titles = {"gaussian": "one bump", "ring": "six bumps on a ring"}
    for ax, (world, title) in zip(panels, titles.items(), strict=True):
        for name in NAMES:
            colour, marker = SAMPLER_STYLE[name]
            points = [error(name, n, world, on="euler") for n in STEPS]
            ax.loglog([c for _, c in points], [e for e, _ in points], marker=marker, ms=3, color=colour, label=name)
        calls = np.array([10, 160])
        for order in (1, 2):
            ax.plot(calls, 0.6 * (calls / 10.0) ** -order, color=INK, lw=0.6, ls=":")
            ax.text(165, 0.6 * 16.0**-order, f"order {order}", fontsize=8, va="center")
        ax.set(xlabel="calls of the denoiser", title=title)
    panels[0].set(ylabel="relative error")
    panels[0].legend(fontsize=8, loc="lower left")
    return figure(
        drawn,
        "convergence",
        "Error against calls of the denoiser, both on logarithmic axes, for five samplers and two worlds. On one bump, lms "
        "falls fastest; pndm and heun fall fast and flatten; euler falls along the line of order one, and dpmpp_2m beside it.",
        "Each sampler against the exact solution, all on one grid: evenly spaced times of Stable Diffusion's schedule, to the clean end. "
        "Measured while this page was built. The dotted lines show how errors of order one and two fall. (On one grid ddim is euler.)",
        stack=True,
    )
