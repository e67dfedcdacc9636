"""Chapter 9: the parts of Stable Diffusion. `course check ch09` tells how far you are. Do not change your arguments."""

import math

import torch
from torch import Tensor


def timestep_embedding(t: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """What the U-Net is told about time: cosines and sines of t at falling frequencies, cosines first.

        frequency_k = max_period^(-k / (dim / 2)),   k = 0 .. dim / 2 - 1
        embedding = [cos(t frequency_0), cos(t frequency_1), ..., sin(t frequency_0), sin(t frequency_1), ...]

    t: (B,), integers or floats. dim: even. Returns float32 (B, dim).
    """
    raise NotImplementedError


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1).

        softmax(query key^T / sqrt(D)) value,   the softmax over the keys

    query: (B, N, D). key: (B, M, D). value: (B, M, E). Returns (B, N, E). In cross-attention N counts the pixels of the
    latent and M the tokens of the prompt. Must not overflow for scores of some hundreds.
    """
    raise NotImplementedError


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention in `heads` groups of channels, side by side.

    Head h sees the channels h * D / heads ... (h + 1) * D / heads - 1 of query, key and value; each head is an attention
    of its own, with its own sqrt(D / heads); the outputs are put side by side again.

    query: (B, N, D). key, value: (B, M, D), D a multiple of heads. Returns (B, N, D).
    """
    raise NotImplementedError


def latent_shape(height: int, width: int, batch: int = 1, channels: int = 4, factor: int = 8) -> tuple:
    """The shape of the latents for images of that size, (batch, channels, height / factor, width / factor).

    Raises ValueError, naming the side, if height or width is not a positive multiple of factor.
    """
    raise NotImplementedError


def memory_ratio(image_shape: tuple, latent_shape: tuple) -> float:
    """How many times more numbers the image holds than its latent; both shapes are (channels, height, width).

    The homework this course grew out of says 64 for Stable Diffusion at 512 x 512. Is it?
    """
    raise NotImplementedError
