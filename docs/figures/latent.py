"""Chapter 9: the size of a latent, what a code of that size can keep, time embedding, attention."""

import math
from random import Random

import numpy as np
import torch
from matplotlib.patches import Rectangle
from PIL import Image

from course.emoji.data import COLOURS, OBJECTS, Scene, render

from .common import BLUE, GREY, ORANGE, axes, figure, picture

PATCH = 8


def to_scale() -> str:
    """A picture of 3 x 512 x 512 and its latent of 4 x 64 x 64, drawn with one scale."""
    drawn, panel = axes(width=9.0, height=3.4)
    for k, colour in enumerate(("#dc4a4a", "#2f9e58", "#3b82c4")):
        panel.add_patch(Rectangle((60 * k, -40 * k), 512, 512, facecolor=colour, alpha=0.55, edgecolor="none"))
    for k in range(4):
        panel.add_patch(Rectangle((1010 + 14 * k, 170 - 12 * k), 64, 64, facecolor=ORANGE, alpha=0.7, edgecolor="none"))
    panel.annotate("", (975, 205), (690, 205), arrowprops={"arrowstyle": "->", "color": GREY})
    panel.annotate("encoder", (832, 225), ha="center", va="bottom", color=GREY)
    panel.annotate("picture: 3 × 512 × 512\n786,432 numbers", (290, -110), ha="center", va="top")
    panel.annotate("latent: 4 × 64 × 64\n16,384 numbers", (1065, -110), ha="center", va="top")
    panel.set(xlim=(-20, 1300), ylim=(-260, 540), aspect="equal")
    panel.axis("off")
    return figure(
        drawn, "to-scale",
        "Three large squares, the colour channels of a picture, and four small squares, the channels of its "
        "latent, drawn to one scale.",
        "A picture and its latent, to scale. The diffusion runs on the small one. It has 48 times fewer numbers.",
    )


def scenes(n: int, seed: int = 0) -> np.ndarray:
    """n scenes of one large object, (n, 64, 64, 3) in [-1, 1]."""
    rng = Random(seed)
    drawn = [render(Scene((rng.choice(OBJECTS),), None, rng.choice(COLOURS), "large"), rng) for _ in range(n)]
    return np.stack([np.asarray(image, dtype=np.float32) for image in drawn]) / 127.5 - 1


def patches(images: np.ndarray) -> np.ndarray:
    """(n, H, W, 3) -> (n * H/8 * W/8, 192): every 8 x 8 patch as one row."""
    n, h, w, c = images.shape
    return images.reshape(n, h // PATCH, PATCH, w // PATCH, PATCH, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, PATCH * PATCH * c)


def unpatch(rows: np.ndarray, n: int, side: int) -> np.ndarray:
    grid = side // PATCH
    return rows.reshape(n, grid, grid, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, side, side, 3)


def linear_code(train: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The best linear encoder of a patch into `channels` numbers (principal components): (mean (192,), basis "
    "(192, channels))."""
    rows = patches(train)
    mean = rows.mean(0)
    _, vectors = np.linalg.eigh(np.cov((rows - mean).T))            # ascending
    return mean, vectors[:, ::-1][:, :channels]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; values in [-1, 1]."""
    return 10 * math.log10(4 / float(((a - b) ** 2).mean()))


def linear_reconstructions() -> tuple[str, dict[int, float], float]:
    """Pictures through linear codes of 1, 4 and 16 numbers per patch: (figure, PSNR per number of channels, "
    "std of the 4-channel code)."""
    train, test = scenes(300), scenes(6, seed=1)
    rows, quality, spread = [test], {}, 0.0
    for channels in (16, 4, 1):
        mean, basis = linear_code(train, channels)
        code = (patches(test) - mean) @ basis                       # (6 * 64, channels)
        back = unpatch(code @ basis.T + mean, len(test), 64)
        quality[channels] = psnr(back, test)
        rows.append(back)
        if channels == 4:
            spread = float(((patches(train) - mean) @ basis).std())
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    pixels = ((sheet.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    image = Image.fromarray(pixels).resize((6 * 96, 4 * 96), Image.Resampling.NEAREST)
    return picture(
        image, "linear-code",
        "Four rows of six emoji on coloured grounds: the originals, then three reconstructions, each coarser "
        "than the one above.",
        "From top to bottom: originals; the best linear code with 16, 4 and 1 numbers per 8 × 8 patch. Four is "
        "the size that Stable Diffusion uses.",
    ), quality, spread


def count(kind: str) -> int:
    """Parameters of one part of Stable Diffusion v1.4, from its configuration; no weights are loaded or even allocated."""
    from course.nets import autoencoder, published, text_encoder, unet

    with torch.device("meta"):
        part = {"unet": lambda: unet.UNet(published.UNET_1), "vae": lambda: autoencoder.Autoencoder(published.VAE),
                "text": lambda: text_encoder.TextEncoder(published.TEXT_1)}[kind]()
    return sum(weight.numel() for weight in part.parameters())


def time_embedding(t: torch.Tensor, dim: int = 320, longest: float = 10000.0) -> torch.Tensor:
    """t (B,) -> (B, dim): cosines, then sines, at frequencies falling from 1 to 1/longest (Vaswani et al. "
    "2017, section 3.5)."""
    frequency = longest ** (-torch.arange(dim // 2) / (dim // 2))             # (dim/2,)
    angle = t[:, None] * frequency                                            # (B, dim/2)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def clocks() -> str:
    t = torch.arange(0, 1000.0)
    embedding = time_embedding(t)
    drawn, (left, right) = axes(1, 2, width=7.4, height=2.5, width_ratios=[1.2, 1])
    for k, colour in ((0, GREY), (70, BLUE), (110, ORANGE)):
        left.plot(t, embedding[:, k], color=colour, lw=1.1 if k else 0.3, label=f"number {k}")
    left.set(xlabel="time t", ylabel="value", ylim=(-1.1, 1.55))
    left.legend(ncols=3, loc="upper center", columnspacing=1.0, handlelength=1.2)
    for at, colour in ((100, BLUE), (500, ORANGE)):
        right.plot(t, torch.cosine_similarity(embedding, embedding[at][None], dim=1), color=colour, label=f"with t = {at}")
    right.set(xlabel="time t", ylabel="cosine similarity")
    right.legend()
    return figure(
        drawn, "clocks",
        "Left: three entries of the time embedding against t, one oscillating fast, one slowly, one hardly. "
        "Right: the similarity of embeddings "
        "peaks where the times agree and falls off on both sides.",
        "The time as 320 numbers. First: three of them, fast to slow, like the hands of a clock. Second: near "
        "times have similar embeddings.",
        stack=True,
    )


def looking(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(D)): (N, D), (M, D) -> (N, M). Each row is a share of attention."""
    return torch.softmax(query @ key.T / math.sqrt(query.shape[-1]), dim=-1)
