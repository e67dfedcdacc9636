"""The U-Net of Stable Diffusion 1 and 2: a noisy latent, the time and a prompt -> the noise in it (or v).

    t --clock of cosines and sines--> --two layers--> time                        told to every ResNet block
    x --conv--> down: (ResNet block, transformer) x 2, halve; on every level      each result is kept ...
      --------> middle: ResNet block, transformer, ResNet block
      --------> up: (lay beside it what was kept, ResNet block, transformer) x 3, double   ... and used again here, last kept first
      --norm, conv--> noise

Ronneberger et al. 2015 (the shape), Ho et al. 2020, appendix B (time, ResNet blocks), Rombach et al. 2022, section 3.3 and
appendix E.2.1 (the transformers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.nets.blocks import (
    Attention,
    Double,
    Halve,
    ResBlock,
    expect,
    expect_halves,
    in_a_row,
    on_a_grid,
    one_each,
    read_config,
)

USED = {"in_channels": 4, "out_channels": 4, "block_out_channels": ..., "down_block_types": ..., "up_block_types": ...,
        "layers_per_block": 2, "cross_attention_dim": ..., "attention_head_dim": 8, "norm_num_groups": 32, "norm_eps": 1e-5,
        "sample_size": None, "use_linear_projection": False, "upcast_attention": False, "addition_embed_type_num_heads": 64}
FIXED = {"act_fn": "silu", "attention_type": "default", "conv_in_kernel": 3, "conv_out_kernel": 3, "downsample_padding": 1,
         "flip_sin_to_cos": True, "freq_shift": 0, "mid_block_scale_factor": 1, "mid_block_type": "UNetMidBlock2DCrossAttn",
         "resnet_out_scale_factor": 1.0, "resnet_time_scale_shift": "default", "time_embedding_type": "positional",
         "transformer_layers_per_block": 1}
RENAMES = ((r"(down|up|mid)_block(s?)", r"\1"), (r"(down|up)samplers\.0", "resize"), (r"conv_norm_out", "norm_out"),
           (r"time_embedding\.linear_1", "time.0"), (r"time_embedding\.linear_2", "time.2"), (r"time_emb_proj", "time"),
           (r"conv_shortcut", "skip"), (r"transformer_blocks\.0\.", ""), (r"attn1", "self_attention"),
           (r"attn2", "cross_attention"), (r"to_out\.0", "out"), (r"to_(q|k|v)", r"\1"),
           (r"ff\.net\.0\.proj", "feed_forward.wide"), (r"ff\.net\.2", "feed_forward.narrow"))


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """[cos(w_0 t), cos(w_1 t), ..., sin(w_0 t), ...] with w_k = 10000^(-2k / width): cosines first.  (B,) -> (B, width)

    Vaswani et al. 2017, section 3.5, with sines and cosines in two halves instead of in turns.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angles = t.float()[:, None] * rates                                           # (B, width / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class FeedForward(nn.Module):
    """GEGLU: half of the wide layer, times the GELU of the other half (Shazeer 2020, eq. 6).  (B, N, C) -> (B, N, C)"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Linear(width, 8 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.wide(x).chunk(2, dim=-1)                               # the gate is the second half
        return self.narrow(value * F.gelu(gate))


class SpatialTransformer(nn.Module):
    """Places as a row of tokens: attend to each other, attend to the prompt, think.  (B, C, h, w) -> (B, C, h, w)

    The first and last layer mix the channels at each place: in SD 1 as a 1 x 1 convolution before the places are put in a row,
    in SD 2 (linear) as a linear layer after it. That is the same map.
    """

    def __init__(self, width: int, heads: int, context: int, groups: int, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width) if linear else nn.Conv2d(width, width, 1)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads, context)
        self.feed_forward = FeedForward(width)
        self.proj_out = nn.Linear(width, width) if linear else nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.norm(x)
        y = self.proj_in(in_a_row(y)) if self.linear else in_a_row(self.proj_in(y))         # (B, h w, C)
        y = y + self.self_attention(self.norm1(y))
        y = y + self.cross_attention(self.norm2(y), context)                      # context (B, L, D)
        y = y + self.feed_forward(self.norm3(y))
        y = on_a_grid(self.proj_out(y), x) if self.linear else self.proj_out(on_a_grid(y, x))
        return x + y


class Stack(nn.Module):
    """ResNet blocks in a row, a transformer behind each if `heads` says so, and at the end a change of size, or none."""

    def __init__(self, widths: list[tuple[int, int]], o: Any, heads: int | None, resize: nn.Module | None) -> None:
        super().__init__()
        time = 4 * o.block_out_channels[0]
        self.resnets = nn.ModuleList(ResBlock(a, b, o.norm_num_groups, o.norm_eps, time) for a, b in widths)
        self.attentions = nn.ModuleList(
            SpatialTransformer(b, heads, o.cross_attention_dim, o.norm_num_groups, o.use_linear_projection)
            for _, b in widths if heads is not None)
        self.resize = resize

    def block(self, i: int, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """ResNet block i and, if there is one, transformer i."""
        x = self.resnets[i](x, time)
        return self.attentions[i](x, context) if i < len(self.attentions) else x


class Down(Stack):
    """(B, C_in, h, w) -> (B, C_out, h/2, w/2); what each block made, and the halved picture, is put on the pile `kept`."""

    def forward(self, x: Tensor, time: Tensor, context: Tensor, kept: list[Tensor]) -> Tensor:
        for i in range(len(self.resnets)):
            x = self.block(i, x, time, context)
            kept.append(x)
        if self.resize is not None:
            x = self.resize(x)
            kept.append(x)
        return x


class Middle(Stack):
    """ResNet block, transformer, ResNet block.  (B, C, h, w) -> (B, C, h, w)"""

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        return self.block(1, self.block(0, x, time, context), time, context)


class Up(Stack):
    """(B, C_in, h, w) -> (B, C_out, 2h, 2w); every block first gets laid beside it what lies on top of the pile."""

    def forward(self, x: Tensor, time: Tensor, context: Tensor, kept: list[Tensor]) -> Tensor:
        for i in range(len(self.resnets)):
            x = self.block(i, torch.cat([x, kept.pop()], dim=1), time, context)   # channels add up
        return x if self.resize is None else self.resize(x)


class UNet(nn.Module):
    """unet(x, t, context) -> prediction, shaped like x (for latents of SD 1 and 2 (B, 4, h, w)).

    t         one number or (B,), 0 ... 999; not necessarily whole
    context   (B, L, cross_attention_dim), the text encoder's vectors
    config    what unet/config.json says. Its `attention_head_dim` is the NUMBER of heads in SD 1 and 2: the name was a slip
              that diffusers keeps, so that published files still load.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        o = read_config("U-Net", config, USED, FIXED)
        widths, layers, levels = list(o.block_out_channels), o.layers_per_block, len(o.block_out_channels)
        attends = [{"CrossAttnDownBlock2D": True, "DownBlock2D": False}.get(kind) for kind in o.down_block_types]
        mirrored = [{"CrossAttnUpBlock2D": True, "UpBlock2D": False}.get(kind) for kind in reversed(o.up_block_types)]
        if None in attends or attends != mirrored or len(attends) != levels or not isinstance(layers, int):
            raise ValueError(f"a U-Net of Stable Diffusion has {levels} levels of CrossAttnDownBlock2D or DownBlock2D and the same way "
                             f"up; this config has {list(o.down_block_types)} and {list(o.up_block_types)}")
        heads = o.attention_head_dim if isinstance(o.attention_head_dim, list | tuple) else [o.attention_head_dim] * levels
        self.in_channels, self.context, self.halvings = o.in_channels, o.cross_attention_dim, levels - 1

        self.time = nn.Sequential(nn.Linear(widths[0], 4 * widths[0]), nn.SiLU(), nn.Linear(4 * widths[0], 4 * widths[0]))
        self.conv_in = nn.Conv2d(o.in_channels, widths[0], 3, padding=1)
        kept, self.down = [widths[0]], nn.ModuleList()
        for i, width in enumerate(widths):
            resize = Halve(width) if i < levels - 1 else None
            blocks = [(kept[-1], width)] + [(width, width)] * (layers - 1)
            self.down.append(Down(blocks, o, heads[i] if attends[i] else None, resize))
            kept += [width] * (layers + (resize is not None))
        self.mid = Middle([(width, width)] * 2, o, None, None)
        self.mid.attentions.append(SpatialTransformer(width, heads[-1], o.cross_attention_dim, o.norm_num_groups,
                                                      o.use_linear_projection))
        self.up = nn.ModuleList()
        for i in reversed(range(levels)):
            blocks = [((width if j == 0 else widths[i]) + kept.pop(), widths[i]) for j in range(layers + 1)]
            width = widths[i]
            self.up.append(Up(blocks, o, heads[i] if attends[i] else None, Double(width) if i else None))
        self.norm_out = nn.GroupNorm(o.norm_num_groups, width, o.norm_eps)
        self.conv_out = nn.Conv2d(width, o.out_channels, 3, padding=1)

    def forward(self, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        weight = self.conv_in.weight
        expect("the latent", x, ("B", self.in_channels, "h", "w"), weight)
        expect("the context", context, (len(x), "L", self.context), weight)
        expect_halves("the latent", x, self.halvings)
        clock = timestep_embedding(one_each(t, x), weight.shape[0]).to(x.dtype)   # (B, C)
        time = F.silu(self.time(clock))                                           # (B, 4 C), what every ResNet block reads

        x = self.conv_in(x)
        kept = [x]                                                                # sizes h, then h/2, h/4, ...
        for down in self.down:
            x = down(x, time, context, kept)
        x = self.mid(x, time, context)
        for up in self.up:
            x = up(x, time, context, kept)
        return self.conv_out(F.silu(self.norm_out(x)))                            # (B, C_out, h, w)
