"""Chapter 16: dice of every strength, what a wrong score does, likelihood and bound, and copies."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch

from course.schedule import Level, NoiseSchedule
from course.sde import discrete_bound, euler_maruyama, exact_trace, hutchinson, log_likelihood, nearest, standard_normal
from course.toy import Mixture, ring
from course.training import PointNet, train

from .common import BLUE, CYCLE, GREY, ORANGE, axes, figure
from .forward import stable_diffusion_schedule

WORLD = Mixture([[-1.2], [1.2]], [0.25, 0.25], [0.35, 0.65])
CLEAN = Level(0, 1.0, 0.0)


def level(b: float) -> Level:
    """The level at which the integral of beta is b."""
    return Level(None, math.exp(-b / 2), math.sqrt(1 - math.exp(-b)))


def levels(steps: int, first: float = 8.0, last: float = 1e-4) -> list[Level]:
    return [level(b) for b in np.geomspace(first, last, steps + 1).tolist()]


def dice(shape: tuple[int, ...], seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=torch.float64)


def strengths_of_dice() -> str:
    """One starting point, forty runs, three strengths."""
    start = torch.full((40, 1), 0.15, dtype=torch.float64)
    drawn, panels = axes(1, 3, width=7.4, height=2.6, sharey=True)
    grid = levels(250, last=1e-3)
    for ax, strength in zip(panels, (0.0, 0.5, 1.0), strict=True):
        x, path, draw = start, [start], dice((40, 1))
        for now, next in pairwise(grid):
            x = euler_maruyama(WORLD.denoise, x, (now, next), draw, strength)
            path.append(x)
        lines = torch.stack(path)[..., 0].numpy()
        for line in lines.T:
            ax.plot([lv.sigma for lv in grid], line, lw=0.5, color=BLUE if line[-1] < 0 else ORANGE)
        ax.set(xlim=(1, 0), xlabel="sigma", title=f"dice of strength {strength:g}")
    panels[0].set_ylabel("x")
    return figure(
        drawn, "strengths-of-dice",
        "Three panels of paths from one point at much noise to little. At strength 0 there is a single line; at 0.5 a bundle that "
        "spreads to "
        "both bumps; at 1 ragged lines that spread over both bumps from the start.",
        "Forty runs from the same point. At strength 0 they are one: the ODE. With dice each finds its own end. Crowds that start "
        "from all of the "
        "noise end in the same density in all three.", stack=True)


def broken(kind: str):
    """A denoiser that is wrong in one way."""
    if kind == "exact":
        return WORLD.denoise
    if kind == "too small by 10%":
        return lambda x, lv: 0.9 * WORLD.denoise(x, lv)
    if kind == "blurred":
        wide = Mixture(WORLD.means, WORLD.stds * 1.6, WORLD.weights)
        return wide.denoise
    return lambda x, lv: WORLD.denoise(x, lv) + 0.15 * torch.sin(7 * x)


def wasserstein(points: torch.Tensor) -> float:
    truth = WORLD.sample(len(points), torch.Generator().manual_seed(9)).double()
    return float((points.sort(0).values - truth.sort(0).values).abs().mean())


def wrong_scores(points: int = 4000, steps: int = 120) -> list[tuple[str, list[float]]]:
    """For each way of being wrong and each strength, how far the crowd ends from the data (W1)."""
    rows = []
    for kind in ("exact", "too small by 10%", "blurred", "rippled"):
        start = torch.randn(points, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        rows.append((kind, [wasserstein(euler_maruyama(broken(kind), start, levels(steps), dice(tuple(start.shape)), strength))
                            for strength in (0.0, 0.5, 1.0, 2.0)]))
    return rows


def likelihoods() -> dict[str, float | list[tuple[int, float]]]:
    """Mean log p of 300 ring points: the truth, by the flow with exact and with guessed trace, and the bound at several T. Nats."""
    world, end = ring(), stable_diffusion_schedule().at(999)
    x = world.sample(300, torch.Generator().manual_seed(3)).double()
    probe = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    flows = {name: float(log_likelihood(world.denoise, x, end, standard_normal, steps=80, trace=trace).mean())
             for name, trace in (("exact", exact_trace), ("one probe", hutchinson([probe])))}
    bounds = [(T, float(discrete_bound(world.denoise, x, levels(T, last=1e-3), torch.Generator().manual_seed(0), draws=4).mean()))
              for T in (4, 8, 16, 32, 64, 128)]
    return {"truth": float(world.log_prob(x, CLEAN).mean()), **flows, "bounds": bounds}


def bound_plot(found: dict) -> str:
    drawn, ax = axes(width=6.4, height=2.9)
    ax.axhline(found["truth"], color=GREY, lw=1.2, label="log p, exact")
    ax.plot([], [])
    ax.plot(*zip(*found["bounds"], strict=True), "o-", color=ORANGE, label="the bound with T levels")
    ax.plot([4, 128], [found["exact"]] * 2, "--", color=BLUE, label="log p, by the flow from pure noise")
    ax.set(xscale="log", xlabel="T", ylabel="nats a point", xticks=[4, 8, 16, 32, 64, 128])
    ax.set_xticklabels(["4", "8", "16", "32", "64", "128"])
    ax.minorticks_off()
    ax.legend(loc="lower right")
    return figure(drawn, "bound-and-likelihood",
                  "A line at the exact log-likelihood, a dashed one on it, and dots below that rise towards it with T.",
                  "The bound of chapters 1 to 4 with the perfect denoiser, below the likelihood and rising to it. The flow of this "
                  "chapter gives the "
                  "likelihood itself.")


def copies(sizes: tuple[int, ...] = (8, 64, 512), steps: int = 900) -> tuple[str, list[tuple[int, float, float]]]:
    """Networks trained on few points of the ring and on many: samples, and the share nearer to a training point than fresh data are."""
    from course.samplers import SAMPLERS

    world, schedule = ring(), NoiseSchedule.from_config({"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02})
    drawn, panels = axes(1, len(sizes), width=7.4, height=2.7, sharey=True)
    rows = []
    for ax, size in zip(panels, sizes, strict=True):
        training = world.sample(size, torch.Generator().manual_seed(0))
        torch.manual_seed(0)
        draw = lambda generator, training=training: training[torch.randint(len(training), (256,), generator=generator)]     # noqa: E731
        network = list(train(PointNet(width=96), draw, schedule, steps))[-1][1]
        noise = torch.randn(400, 2, generator=torch.Generator().manual_seed(4))
        with torch.no_grad():
            x = SAMPLERS["dpmpp_2m"].sample(network, noise, schedule, 30)
        fresh = world.sample(400, torch.Generator().manual_seed(8))
        near, usual = nearest(x, training)[0], nearest(fresh, training)[0]
        rows.append((size, float(near.median()), float(usual.median())))
        ax.plot(*x.T, ".", ms=2.5, color=CYCLE[0])
        ax.plot(*training[:64].T, "x", ms=5, color=ORANGE)
        ax.set(title=f"{size} points", aspect="equal", xticks=[], yticks=[], xlim=(-2.4, 2.4), ylim=(-2.4, 2.4))
    return figure(
        drawn, "copies",
        "Three panels. With 8 training points all samples sit on them; with 64 most are near them; with 512 they fill the six spots.",
        "Crosses: training points (64 of them at most). Dots: samples of a small network that was trained on those and nothing else.",
        stack=True), rows
