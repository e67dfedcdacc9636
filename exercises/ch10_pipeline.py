"""Chapter 10: the whole pipeline. `course check ch10` tells how far you are; `course render --mine` paints with it.

Do not change your arguments.
"""

import torch
from torch import Tensor


def initial_noise(seeds: list[int], shape: tuple) -> Tensor:
    """Standard normal noise for a batch in which every image has a seed of its own.

    Entry b is what `torch.randn(shape, generator=g)` gives with a new CPU generator g seeded by seeds[b]: the same
    seed gives the same image whatever else is in the batch. The global generator stays as it is.

    shape: (C, H, W). Returns float32 (len(seeds), C, H, W).
    """
    raise NotImplementedError


def to_uint8(images: Tensor) -> Tensor:
    """From the autoencoder's output to pixels: -1 becomes 0 and 1 becomes 255, *rounded*; values outside are clipped.

    images: (B, C, H, W), floats. Returns uint8 (B, H, W, C), the layout of PIL and matplotlib.
    """
    raise NotImplementedError


def image_grid(images: Tensor, rows: int, columns: int) -> Tensor:
    """Images side by side, row by row from the top left.

    images: uint8 (rows * columns, H, W, C). Returns uint8 (rows * H, columns * W, C).
    Raises ValueError if the number of images is not rows * columns.
    """
    raise NotImplementedError


def render_image(prompt: str, encode, denoise, decode, noise: Tensor, grid: list[float], scale: float) -> Tensor:
    """The loop of the homework: text, guided DDIM steps, autoencoder, pixels.

    encode(texts): a list of two strings -> contexts (2, L, D). Encode ["", prompt], the empty one first, once.
    denoise(x, alpha_bar, contexts): predicted noise (2, C, h, w) for x (2, C, h, w), in the order of the contexts.
    decode(latents): images (1, 3, H, W) in [-1, 1] for latents (1, C, h, w). The latents of the sampler are 0.18215
        times those the autoencoder knows, so divide by 0.18215 before decoding. Decode once.
    noise: (1, C, h, w), where to start. grid: alpha_bars as in chapter 6, one more than there are steps.
    scale: of the guidance, guided = empty + scale * (prompted - empty). One call of denoise per step.

    Returns uint8 (1, H, W, 3).
    """
    raise NotImplementedError
