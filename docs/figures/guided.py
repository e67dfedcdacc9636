"""Chapter 8: what guidance does to a crowd, with exact denoisers on both sides."""

import torch

from course.guidance import classifier_free, pair_of
from course.samplers import SAMPLERS
from course.schedule import CLEAN, NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import Mixture

from .common import BLUE, ORANGE, axes, figure, picture

ANGLE = torch.arange(6) * (2 * torch.pi / 6)
SPOTS = 1.3 * torch.stack([ANGLE.cos(), ANGLE.sin()], dim=1)
EVERYTHING = Mixture(SPOTS, torch.full((6,), 0.35))  # without a caption: six spots that overlap
CAPTION = Mixture(SPOTS[:2], [0.35, 0.35])  # with it: two of them
SCHEDULE = NoiseSchedule.from_config(SD_V1)

# One dimension, for the comparison with the tilted density: two kinds, and the caption names the right one.
BOTH = Mixture([[-1.0], [1.0]], [0.5, 0.5])
RIGHT = Mixture([[1.0]], [0.5])


def guided_samples(scale: float, n: int = 1500, steps: int = 50) -> torch.Tensor:
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    denoise = classifier_free(pair_of(EVERYTHING.denoise, CAPTION.denoise), scale)
    return SAMPLERS["ddim"].sample(denoise, noise, SCHEDULE, steps)


def crowds() -> str:
    line = torch.linspace(-3, 3, 80, dtype=torch.float64)
    plane = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    drawn, panels = axes(1, 4, width=7.4, height=2.2)
    for ax, scale in zip(panels, (0.0, 1.0, 3.0, 7.5), strict=True):
        ax.contour(line, line, CAPTION.log_prob(plane, CLEAN).exp().numpy(), levels=3, colors=ORANGE, linewidths=0.8)
        ax.scatter(*guided_samples(scale).T, s=1.2, color=BLUE, lw=0, rasterized=True)
        ax.set(title=f"scale {scale:g}", xlim=(-2.6, 3.0), ylim=(-2.6, 3.0), aspect="equal", xticks=[], yticks=[])
    return figure(
        drawn,
        "crowds",
        "Four panels with contours of two spots at the upper right. Scale 0: the points fill six spots on a ring. Scale 1: they "
        "fill the two spots. Scale 3: they are pushed outwards and crowd together. Scale 7.5: a thin arc beyond the spots.",
        "Contours: the pictures that fit the caption. Points: samples with growing guidance, both denoisers exact. At scale 1 they "
        "agree. Beyond, the points leave the data: more typical of the caption, less varied, and in the end like nothing in it.",
    )


def shares(scale: float) -> tuple[float, float, float]:
    """(share of samples nearest to a spot of the caption, spread of the samples, mean log-density under the caption)"""
    x = guided_samples(scale)
    nearest = torch.cdist(x, SPOTS.double()).argmin(dim=1)
    return float((nearest < 2).double().mean()), float(x.var(dim=0).sum().sqrt()), float(CAPTION.log_prob(x, CLEAN).mean())


def tilted(scale: float) -> tuple[float, float]:
    """Mean and standard deviation of p(x) (p(x|c) / p(x))^scale in the one-dimensional world, on a fine grid."""
    x = torch.linspace(-8, 12, 40_001, dtype=torch.float64)[:, None]
    plain, right = BOTH.log_prob(x, CLEAN), RIGHT.log_prob(x, CLEAN)
    weight = torch.softmax(plain + scale * (right - plain), dim=0)
    mean = float((weight * x[:, 0]).sum())
    return mean, float((weight * (x[:, 0] - mean) ** 2).sum().sqrt())


def guided_line(scale: float, n: int = 4000, steps: int = 250) -> tuple[float, float]:
    """Mean and standard deviation of guided samples in the same world, from evenly laid out noise."""
    noise = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]
    x = SAMPLERS["ddim"].sample(classifier_free(pair_of(BOTH.denoise, RIGHT.denoise), scale), noise, SCHEDULE, steps)
    return float(x.mean()), float(x.std())


def seeds(prompt: str = "a large bear on a green background", count: int = 10) -> str:
    """One prompt at growing guidance, a column for each seed, on the model that ships."""
    import numpy as np

    from course.lab.report import judge_emoji, labelled_grid

    from .gallery import paint

    scales = (1.0, 2.0, 5.0, 15.0, 25.0)
    rows = [paint([prompt] * count, range(1, count + 1), guidance_scale=scale) for scale in scales]
    right = [int(judge_emoji(np.stack([np.asarray(each) / 255 for each in row]), [prompt] * count)[0]["everything"].sum()) for row in rows]
    sheet = labelled_grid(rows, [f"{scale:g}" for scale in scales], [f"{seed}" for seed in range(1, count + 1)], zoom=1)
    return picture(
        sheet.quantize(256), "seeds",
        f"Five rows of {count} small pictures, guidance growing downwards from 1 to 25. Above, some show another thing than the prompt.",
        f"“{prompt}”, seeds 1 to {count}; at the left the guidance scale. 20 steps of DPM-Solver++ (2M). None was picked. Right, says the "
        f"probe: {', '.join(map(str, right))} of {count}. One prompt, and not the steps of the table below: small numbers, to look at.",
        least=sheet.width,
    )
