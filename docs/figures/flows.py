"""Chapter 13: straight lines that no single particle follows, the same path on two scales, and what reflow does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from course.flow import FlowSchedule, couple, euler, flow_level, shifted, straightness
from course.prediction import flow_from_eps
from course.samplers import SAMPLERS
from course.schedule import CLEAN
from course.toy import Mixture, ring
from course.training import PointNet, train

from .common import BLUE, CYCLE, GREY, ORANGE, axes, figure
from .forward import stable_diffusion_schedule

WORLD = Mixture([[-1.2], [1.2]], [0.15, 0.15])


def velocity_of(world: Mixture):
    return lambda x, level: flow_from_eps(world.denoise(x, level), x, level)


def lines_and_paths() -> str:
    """Left, straight lines between noise and data; right, the flow of their average velocity."""
    generator = torch.Generator().manual_seed(3)
    eps = torch.randn(40, 1, generator=generator, dtype=torch.float64)
    x0 = WORLD.sample(40, generator).double()
    drawn, panels = axes(1, 2, width=7.2, height=2.9, sharey=True)
    times = np.linspace(0, 1, 60)
    for a, b in zip(x0[:, 0].tolist(), eps[:, 0].tolist(), strict=True):
        panels[0].plot(times, (1 - times) * a + times * b, color=BLUE if a < 0 else ORANGE, lw=0.7, alpha=0.7)
    grid = [flow_level(0.998 * (1 - i / 200)) for i in range(200)] + [CLEAN]
    x, path = eps, [eps]
    for now, next in pairwise(grid):
        x = euler(velocity_of(WORLD), x, [now, next])
        path.append(x)
    path = torch.stack(path)[..., 0].numpy()
    for line in path.T:
        panels[1].plot([level.sigma for level in grid], line, color=BLUE if line[-1] < 0 else ORANGE, lw=0.7, alpha=0.7)
    for ax, title in zip(panels, ("what training sees: lines, crossing", "what sampling follows: paths, never crossing"), strict=True):
        ax.set(xlabel="t: data at 0, noise at 1", title=title, xlim=(1, 0))
    panels[0].set_ylabel("x")
    return figure(
        drawn, "lines-and-paths",
        "Two panels with the same forty starting points. Left, straight lines from noise to one of two values cross each other "
        "everywhere. Right, curved paths from the same starts split in the middle, upper ones going up and lower ones down, and "
        "none crosses another.",
        "Left: the straight line from each noise to the picture it was paired with by chance. Where lines cross, a network that sees "
        "only x and t can't know which line it is on, and answers the average. Right: the flow of that average, from the same starts. "
        "Computed with the exact velocity of two narrow bumps.", stack=True)


def grids() -> str:
    """The noise levels that the samplers visit, in one unit: the log of sigma / alpha."""
    schedule = stable_diffusion_schedule()
    rows = {"DDIM, leading": [level.ratio for level in SAMPLERS["ddim"].grid(schedule, 20)],
            "Euler, linspace": [level.ratio for level in SAMPLERS["euler"].grid(schedule, 20)[:-1]],
            "flow": [level.ratio for level in FlowSchedule().levels(20)[1:-1]],
            "flow, shift 3": [level.ratio for level in FlowSchedule(shift=3.0).levels(20)[1:-1]]}
    drawn, ax = axes(width=7.0, height=2.1)
    for row, (name, ratios) in enumerate(rows.items()):
        ax.plot(ratios, [-row] * len(ratios), "o", ms=4, color=CYCLE[row])
        ax.text(0.004, -row, name, ha="right", va="center", fontsize=9)
    ax.set(xscale="log", yticks=[], xlabel="sigma / alpha, from little noise to much", xlim=(0.005, 40))
    ax.spines["left"].set_visible(False)
    return figure(
        drawn, "flow-grids",
        "Four rows of twenty dots over a logarithmic axis of noise. The flow's dots are dense around one, the shifted flow's lie "
        "farther right; DDIM's and Euler's reach from three hundredths to fifteen.",
        "Twenty steps, four grids, one unit. A flow's even times are no longer even here: they crowd where signal and noise are equal. "
        "A shift of 3 moves every dot right by the same factor.")


def shift_means_pixels() -> list[tuple[int, float, float]]:
    """For pictures n times as large, the ratio at which the average over n x n noisy pixels is as noisy as one pixel at t = 1/2."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for n in (1, 2, 4):
        level = flow_level(shifted(0.5, float(n)))
        noise = torch.randn(4000, n * n, generator=generator).mean(1) * level.sigma
        rows.append((n, level.sigma / level.alpha, float(noise.std() / level.alpha)))
    return rows


def flow_and_reflow(steps: int = 700) -> tuple[str, list[tuple[str, float, float, float]]]:
    """Train a flow on the ring, couple, train again; the picture of both, and for each: straightness, error at one and at four steps."""
    world = ring()
    flow = FlowSchedule()

    def learn(draw):
        torch.manual_seed(0)
        return list(train(PointNet(width=64), draw, flow, steps, loss="flow_prediction"))[-1][1]

    once = learn(lambda generator: world.sample(256, generator))
    start = torch.randn(4096, 2, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        x0, eps = couple(once, start, flow.levels(20))

    def pairs(generator):
        chosen = torch.randint(len(x0), (256,), generator=generator)
        return x0[chosen], eps[chosen]

    twice = learn(pairs)
    drawn, panels = axes(1, 2, width=6.4, height=3.1, sharey=True)
    rows = []
    for ax, network, name in zip(panels, (once, twice), ("trained once", "after reflow"), strict=True):
        with torch.no_grad():
            x, path = start[:60], [start[:60]]
            levels = flow.levels(40)
            for now, next in pairwise(levels):
                x = euler(network, x, [now, next])
                path.append(x)
            bent = float(straightness(network, start[:1000], levels).mean())
            off = [float((euler(network, start[:1000], flow.levels(n)).norm(dim=1) - 1.5).abs().mean()) for n in (1, 4)]
        rows.append((name, bent, *off))
        lines = torch.stack(path)
        ax.plot(lines[..., 0], lines[..., 1], color=GREY, lw=0.6)
        ax.plot(*start[:60].T, ".", ms=3, color=BLUE)
        ax.plot(*lines[-1].T, ".", ms=4, color=ORANGE)
        ax.set(title=name, aspect="equal", xticks=[], yticks=[], xlim=(-2.7, 2.7), ylim=(-2.7, 2.7))
    return figure(
        drawn, "reflow",
        "Two panels of sixty paths from blue starting points to orange points on a ring of six spots. Left, many paths bend sharply. "
        "Right, they are nearly straight.",
        "Two small networks, trained equally long. The first saw noise and data paired by chance. The second saw each noise with the point "
        "that the first one leads it to. Blue: noise. Orange: where 40 steps end.", stack=True), rows


def flows_table() -> str:
    """Right and variety of both shipped U-Nets, as `course lab flows` found them."""
    from .edited import rows, share

    head = "| answers | sampler | calls | everything right | variety |\n|---|---|---|---|---|\n"
    answers = {"eps": "noise", "flow": "velocity"}
    return head + "".join(f"| {answers[row['model']]} | {row['sampler']} | {row['calls']} | {share(row, 'right')} | "
                          f"{float(row['variety']):.1f} |\n" for row in rows("flows"))


def trained_table(*models: str) -> str:
    """Rows of `course lab trained`, for these models."""
    from .edited import rows, share

    head = "| U-Net | steps here | guidance | calls | everything right | variety |\n|---|---|---|---|---|---|\n"
    names = {"eps": "answers noise", "flow": "answers velocity", "shipped flow": "the flow that ships", "reflow": "after reflow"}
    return head + "".join(f"| {names[row['model']]} | {row['steps']} | {float(row['guidance']):g} | {row['calls']} | "
                          f"{share(row, 'right')} | {float(row['variety']):.1f} |\n" for row in rows("trained") if row["model"] in models)
