"""Chapter 5: the score as a field of arrows, and two ways back from noise that agree on the crowd."""

import numpy as np
import torch

from course.samplers import SAMPLERS
from course.schedule import Level, NoiseSchedule
from course.toy import Mixture, ring

from .common import ORANGE, axes, figure
from .forward import FADE, WORLD, density, stable_diffusion_schedule


def score_field() -> str:
    world, schedule = ring(), stable_diffusion_schedule()
    side = torch.linspace(-2.6, 2.6, 90, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
    coarse = torch.linspace(-2.4, 2.4, 13, dtype=torch.float64)
    arrows = torch.stack(torch.meshgrid(coarse, coarse, indexing="xy"), dim=-1)
    drawn, panels = axes(1, 3, width=7.4, height=2.7, sharey=True)
    for ax, t in zip(panels, (600, 220, 100), strict=True):
        level = schedule.at(t)
        shade = world.log_prob(points, level).exp().numpy()
        ax.pcolormesh(side.numpy(), side.numpy(), shade, cmap=FADE, shading="nearest", rasterized=True)
        push = level.sigma * world.score(arrows, level)  # = -eps: the same length scale in all three panels
        ax.quiver(*arrows.movedim(-1, 0), *push.movedim(-1, 0), color=ORANGE, scale=38, width=0.006)
        ax.set(title=f"t = {t},  sigma = {level.sigma:.2f}", aspect="equal", xticks=[], yticks=[])
    return figure(
        drawn,
        "score-field",
        "Three panels. At much noise the density is one round cloud and all arrows point to its middle. At medium noise it is "
        "a ring. At little noise it is six spots, and each arrow points to the nearest spot.",
        "Data are six spots on a ring. The shade is the density of their noisy versions. The arrows are the score, times "
        "sigma: the direction in which noisy pictures grow more likely. At much noise the arrows point to the middle of all; "
        "at little noise, to the nearest spot.",
        stack=True,
    )


def trajectories(name: str, x: torch.Tensor, world: Mixture, schedule: NoiseSchedule, steps: int, seed: int = 0):
    """Times (steps,) and positions (steps + 1, n) of a sampler's path through a one-dimensional world."""
    times, path = [], []

    def denoise(now: torch.Tensor, level: Level) -> torch.Tensor:
        times.append(level.t)
        path.append(now[:, 0].numpy().copy())
        return world.denoise(now, level)

    end = SAMPLERS[name].sample(denoise, x, schedule, steps, torch.Generator().manual_seed(seed))
    return np.array([*times, 0]), np.stack([*path, end[:, 0].numpy()])


def two_ways_back() -> str:
    schedule = stable_diffusion_schedule()
    x = np.linspace(-3.2, 3.2, 161)
    grid = np.arange(0, 1000, 5)
    image = np.stack([density(x, schedule.at(t)) for t in grid], axis=1)
    image /= image.max(axis=0)
    start = torch.linspace(-1.8, 1.8, 7, dtype=torch.float64)[:, None]
    drawn, panels = axes(1, 2, width=7.4, height=2.8, sharey=True)
    titles = {"ddim": "the ODE: smooth, no dice", "ddpm": "the SDE: fresh noise all the way"}
    for ax, (name, title) in zip(panels, titles.items(), strict=True):
        times, path = trajectories(name, start, WORLD, schedule, 500)
        ax.pcolormesh(grid, x, image, cmap=FADE, shading="nearest", rasterized=True)
        ax.plot(times, path, color=ORANGE, lw=0.9)
        ax.set(xlabel="time t: noise left, data right", title=title, xlim=(999, 0))
    panels[0].set(ylabel="x")
    return figure(
        drawn,
        "two-ways-back",
        "The same density of two bumps melting into one, twice. Left, seven smooth lines lead from noise to the bumps and "
        "never cross. Right, seven ragged lines start from the same places and end in either bump.",
        "Seven starting points, two ways back to the data, through the same density. By the ODE each start has one fate. By "
        "the SDE the dice decide again at every step. As crowds, both fill the same density at every time.",
        stack=True,
    )
