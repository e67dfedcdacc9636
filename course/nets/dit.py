"""A diffusion transformer (DiT): the same job as the U-Net's, without convolutions, levels or skips.

    x --cut into patches, a linear layer, + where each patch is--> a row of tokens
    block after block: attend to each other, attend to the prompt, think; how much of each, the time says (adaLN-zero)
    tokens --norm, linear layer, patches back in place--> noise

Peebles and Xie 2023, "Scalable Diffusion Models with Transformers", section 3.2 and figure 3, who tell it a class; the prompt by
cross-attention is PixArt-alpha's (Chen et al. 2024, section 2.3). Stable Diffusion 3 and FLUX put words and patches in one row
instead (Esser et al. 2024, section 4). Trained on the emoji model's latents by `course train emoji --stage dit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.nets.blocks import Attention, expect, one_each, read_config
from course.nets.unet import timestep_embedding

USED = {"in_channels": 4, "out_channels": 4, "sample_size": None, "patch_size": 2, "width": ..., "num_layers": ...,
        "num_attention_heads": ..., "cross_attention_dim": ...}


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift, one scale and shift per channel for all tokens.  x (B, N, C), shift and scale (B, C)"""
    return x * (1 + scale[:, None]) + shift[:, None]


def places(rows: int, columns: int, width: int, device: Any = None) -> Tensor:
    """Where each patch is: half of the channels tell its row, half its column, by the clock that tells the time. (1, N, width)"""
    row = timestep_embedding(torch.arange(rows, device=device), width // 2)       # (rows, width / 2)
    column = timestep_embedding(torch.arange(columns, device=device), width // 2)
    return torch.cat([row[:, None].expand(-1, columns, -1), column.expand(rows, -1, -1)], dim=-1).reshape(1, -1, width)


class Block(nn.Module):
    """x -> x + gate_1 attention(adaLN_1 x), + cross-attention(x, words), + gate_2 mlp(adaLN_2 x).  (B, N, C) -> (B, N, C)

    adaLN: a norm without weights of its own; shift, scale and gate are read off the time. Zero: the layer that reads them, and
    the end of the cross-attention, start at zero, so each block starts as the identity (Peebles and Xie 2023, section 3.2).
    """

    def __init__(self, width: int, heads: int, context: int, time: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.time = nn.Linear(time, 6 * width)
        self.self_attention = Attention(width, heads, bias=True)
        self.cross_attention = Attention(width, heads, context, bias=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        for layer in (self.time, self.cross_attention.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.time(time).chunk(6, dim=1)      # each (B, C)
        x = x + gate1[:, None] * self.self_attention(modulate(self.norm(x), shift1, scale1))
        x = x + self.cross_attention(x, context)
        return x + gate2[:, None] * self.mlp(modulate(self.norm(x), shift2, scale2))


class DiT(nn.Module):
    """dit(x, t, context) -> prediction, shaped like x: called as the U-Net is.

    x (B, C, h, w) with sides that are multiples of patch_size; t one number or (B,); context (B, L, cross_attention_dim)
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        o = read_config("diffusion transformer", config, USED, {})
        self.in_channels, self.patch, self.context, self.width = o.in_channels, o.patch_size, o.cross_attention_dim, o.width
        if o.width % 4:
            raise ValueError(f"width is {o.width}; it must be a multiple of 4, for cosines and sines of the row and the column")
        time = o.cross_attention_dim
        self.time = nn.Sequential(nn.Linear(time, time), nn.SiLU(), nn.Linear(time, time))
        self.embedding = nn.Linear(o.patch_size**2 * o.in_channels, o.width)
        self.blocks = nn.ModuleList(
            Block(o.width, o.num_attention_heads, o.cross_attention_dim, time) for _ in range(o.num_layers))
        self.norm_out = nn.LayerNorm(o.width, eps=1e-6, elementwise_affine=False)
        self.time_out = nn.Linear(time, 2 * o.width)
        self.head = nn.Linear(o.width, o.patch_size**2 * o.out_channels)
        for layer in (self.time_out, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        weight, p = self.embedding.weight, self.patch
        expect("the latent", x, ("B", self.in_channels, "h", "w"), weight)
        expect("the context", context, (len(x), "L", self.context), weight)
        h, w = x.shape[-2:]
        if h % p or w % p or not x.numel():
            raise ValueError(f"the latent is {h} x {w} and is cut into patches of {p} x {p}: both sides must be multiples of {p}")
        time = F.silu(self.time(timestep_embedding(one_each(t, x), self.context).to(x.dtype)))           # (B, T)

        tokens = self.embedding(patches(x, p)) + places(h // p, w // p, self.width, x.device).to(x.dtype)     # (B, N, width)
        for block in self.blocks:
            tokens = block(tokens, time, context)
        shift, scale = self.time_out(time).chunk(2, dim=1)
        return from_patches(self.head(modulate(self.norm_out(tokens), shift, scale)), p, h)


def patches(x: Tensor, p: int) -> Tensor:
    """(B, C, h, w) -> (B, h w / p^2, C p^2): patches row by row, in each the channels together."""
    return F.unfold(x, p, stride=p).transpose(1, 2)


def from_patches(tokens: Tensor, p: int, height: int) -> Tensor:
    """The way back.  (B, N, C p^2) -> (B, C, h, w)"""
    return F.fold(tokens.transpose(1, 2), (height, tokens.shape[1] * p * p // height), p, stride=p)
