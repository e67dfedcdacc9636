"""Chapter 9: the parts of Stable Diffusion. `course check ch09` tells how far you are. Do not change your arguments."""

import math

import torch
from torch import Tensor


def timestep_embedding(t: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """What the U-Net is told about time: dim / 2 cosines of t, then dim / 2 sines, at frequencies that fall by equal factors
    from 1; the next one after the last would be 1 / max_period. (Vaswani et al. 2017, section 3.5, ordered as Stable Diffusion has it.)

    t: (B,), integers or floats of any kind. dim: even. Returns float32 (B, dim).
    """
    raise NotImplementedError


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1).

    query: (B, N, D). key: (B, M, D). value: (B, M, E). Returns (B, N, E). In cross-attention N counts the pixels of the
    latent and M the tokens of the prompt. Must not overflow for scores of some hundreds.
    """
    raise NotImplementedError


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention in `heads` groups of neighbouring channels (Vaswani et al. 2017, section 3.2.2, without the projections): each head
    is an attention of its own, and their outputs are put side by side again.

    query: (B, N, D). key, value: (B, M, D), D a multiple of heads. Returns (B, N, D). Must not overflow for scores of some hundreds.
    """
    raise NotImplementedError


def latent_shape(height: int, width: int, batch: int = 1, channels: int = 4, factor: int = 8) -> tuple:
    """The shape of the latents for images of that size: `factor` times smaller along each side.

    Raises ValueError, naming the side, if height or width is not a positive multiple of factor.
    """
    raise NotImplementedError


def encode_prompts(tokenizer, text_encoder, prompts: list[str]) -> Tensor:
    """What the U-Net is told about the prompts, from the real parts: transformers' CLIPTokenizer and CLIPTextModel.

    Every prompt is padded, or cut off, to the tokenizer's `model_max_length`, and the encoder's last hidden state is taken.

    tokenizer: call it as `tokenizer(prompts, padding=..., max_length=..., truncation=..., return_tensors=...)`; its answer has
    `.input_ids` (B, L). text_encoder: call it with the ids; its answer has `.last_hidden_state`. Call each once.
    Returns (B, L, D).
    """
    raise NotImplementedError


def memory_ratio(image_shape: tuple, latent_shape: tuple) -> float:
    """How many times more numbers the image holds than its latent; both shapes are (channels, height, width).

    The homework this course grew out of says 64 for Stable Diffusion at 512 x 512. Is it?
    """
    raise NotImplementedError
