"""The strip of six pictures that stands in for <toy-flow> on paper and without scripts: one run of DDIM on the ring."""

import torch

from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import ring

from .common import GREY, ORANGE, axes, figure


def toy_flow(sampler: str = "ddim", steps: int = 10, points: int = 100) -> str:
    """`<toy-flow>` with its stand-in after it."""
    world, schedule = ring(), NoiseSchedule.from_config(SD_V1)
    noise = torch.randn(points, 2, generator=torch.Generator().manual_seed(0))
    grid = SAMPLERS[sampler].grid(schedule, steps)
    seen: list[torch.Tensor] = []

    def denoise(x, level):
        seen.append(x)
        return world.denoise(x, level)

    seen.append(SAMPLERS[sampler].sample(denoise, noise, schedule, steps))
    drawn, panels = axes(1, 6, width=9.0, height=1.8)
    line = torch.linspace(-3.1, 3.1, 60)
    plane = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)              # (60, 60, 2)
    for k, panel in enumerate(panels):
        step = round(k * steps / 5)
        panel.contour(line, line, world.log_prob(plane, grid[step]).exp(), levels=4, colors=ORANGE, linewidths=0.7)
        panel.plot(*seen[step].T, ".", color=GREY, markersize=1.6)
        panel.set(xticks=[], yticks=[], aspect="equal", xlim=(-3.1, 3.1), ylim=(-3.1, 3.1), title=f"step {step}")
    strip = figure(
        drawn, "toy-flow",
        "Six panels. A round cloud of points breaks up into six small clumps on a circle, following the contours.",
        f"{points} points, {steps} steps of DDIM, exact denoiser. Contours: the density they should have by then.",
    )
    return f'<div class="toy">\n<toy-flow></toy-flow>\n{strip}</div>\n'
