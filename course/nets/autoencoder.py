"""Stable Diffusion's autoencoder: picture (B, 3, 8h, 8w) <-> latent (B, 4, h, w); and the light one that imitates it.

    encoder   conv, (ResNet blocks, halve) x 3, ResNet blocks, middle, conv -> mean and log variance of a normal
    decoder   conv, middle, (ResNet blocks, double) x 3, ResNet blocks, conv -> picture in [-1, 1]
    middle    ResNet block, self-attention over all places, ResNet block

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1 and appendix G; the layout is
VQGAN's (Esser, Rombach and Ommer 2021, appendix, table 7).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.nets.blocks import Attention, Double, Halve, ResBlock, expect, expect_halves, in_a_row, on_a_grid, read_config

USED = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": ..., "layers_per_block": 1,
        "norm_num_groups": 32, "scaling_factor": 0.18215, "sample_size": None, "force_upcast": True,
        "down_block_types": (), "up_block_types": ()}
FIXED = {"act_fn": "silu", "mid_block_add_attention": True, "use_quant_conv": True, "use_post_quant_conv": True}
RENAMES = ((r"(down|up|mid)_block(s?)", r"\1"), (r"(down|up)samplers\.0", "resize"), (r"conv_norm_out", "norm_out"),
           (r"conv_shortcut", "skip"), (r"attentions\.0\.group_norm", "norm"), (r"attentions\.0\.to_out\.0", "attention.out"),
           (r"attentions\.0\.to_", "attention."), (r"attentions\.0\.(q|k|v)(uery|ey|alue)", r"attention.\1"),
           (r"attentions\.0\.proj_attn", "attention.out"))                        # the last two: files before 2023

EPS = 1e-6


class Gaussian(NamedTuple):
    """N(mean, exp(logvar)), each number on its own: what the encoder says of a picture. Both (B, C, h, w)."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """mean + std * noise: the dice are thrown outside, so the gradient passes (Kingma and Welling 2014, section 2.4)."""
        home = generator.device if generator is not None else self.mean.device
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype, device=home)
        return self.mean + self.std * noise.to(self.mean.device)

    def mode(self) -> Tensor:
        """The likeliest latent."""
        return self.mean

    def kl(self) -> Tensor:
        """Distance to N(0, 1) in nats, for each picture (Kingma and Welling 2014, appendix B).  -> (B,)"""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar).sum((1, 2, 3))


class Level(nn.Module):
    """ResNet blocks at one size, then a change of size.  (B, C_in, h, w) -> (B, C_out, h', w')"""

    def __init__(self, widths: list[int], groups: int, resize: nn.Module) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(a, b, groups, EPS) for a, b in itertools.pairwise(widths))
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        return self.resize(x)


class Middle(nn.Module):
    """ResNet block, attention of every place to every place, ResNet block.  (B, C, h, w) -> (B, C, h, w)"""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(width, width, groups, EPS) for _ in range(2))
        self.norm = nn.GroupNorm(groups, width, EPS)
        self.attention = Attention(width, heads=1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        x = on_a_grid(self.attention(in_a_row(self.norm(x))), x) + x
        return self.resnets[1](x)


class Encoder(nn.Module):
    """(B, 3, 2^n h, 2^n w) -> (B, 2 C, h, w): means, then log variances"""

    def __init__(self, o: Any) -> None:
        super().__init__()
        widths, last = o.block_out_channels, len(o.block_out_channels) - 1
        self.conv_in = nn.Conv2d(o.in_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            Level([widths[max(i - 1, 0)], *[width] * o.layers_per_block], o.norm_num_groups,
                  Halve(width, corner=True) if i < last else nn.Identity()) for i, width in enumerate(widths))
        self.mid = Middle(widths[-1], o.norm_num_groups)
        self.norm_out = nn.GroupNorm(o.norm_num_groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * o.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """(B, C, h, w) -> (B, 3, 2^n h, 2^n w). The mirror image, with one block more on each level."""

    def __init__(self, o: Any) -> None:
        super().__init__()
        widths, last = o.block_out_channels[::-1], len(o.block_out_channels) - 1
        self.conv_in = nn.Conv2d(o.latent_channels, widths[0], 3, padding=1)
        self.mid = Middle(widths[0], o.norm_num_groups)
        self.up = nn.ModuleList(
            Level([widths[max(i - 1, 0)], *[width] * (o.layers_per_block + 1)], o.norm_num_groups,
                  Double(width) if i < last else nn.Identity()) for i, width in enumerate(widths))
        self.norm_out = nn.GroupNorm(o.norm_num_groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], o.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in self.up:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    """encode(picture) -> Gaussian over latents; decode(latent) -> picture.

    Pictures are (B, 3, H, W) in about [-1, 1], latents (B, 4, H/8, W/8) for Stable Diffusion. Multiply a latent by the config's
    scaling_factor before diffusion and divide by it before decoding: the networks here do not.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        o = read_config("autoencoder", config, USED, FIXED)
        for name, kind in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")]:
            if set(getattr(o, name)) - {kind}:
                raise ValueError(f"{name} is {list(getattr(o, name))}; Stable Diffusion's autoencoder has only {kind}")
        self.halvings, self.pictures, self.latents = len(o.block_out_channels) - 1, o.in_channels, o.latent_channels
        self.encoder, self.decoder = Encoder(o), Decoder(o)
        self.quant_conv = nn.Conv2d(2 * o.latent_channels, 2 * o.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(o.latent_channels, o.latent_channels, 1)

    def encode(self, picture: Tensor) -> Gaussian:
        """(B, 3, H, W) -> mean and log variance, each (B, C, h, w). The variance is kept within exp(-30) ... exp(20)."""
        expect("the picture", picture, ("B", self.pictures, "H", "W"), self.quant_conv.weight)
        expect_halves("the picture", picture, self.halvings)
        mean, logvar = self.quant_conv(self.encoder(picture)).chunk(2, dim=1)
        return Gaussian(mean, logvar.clamp(-30, 20))

    def decode(self, latent: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W)"""
        expect("the latent", latent, ("B", self.latents, "h", "w"), self.quant_conv.weight)
        return self.decoder(self.post_quant_conv(latent))


# ------------------------------------------------------------------------------------------------ the light one

TINY_USED = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "encoder_block_out_channels": (64,) * 4,
             "decoder_block_out_channels": (64,) * 4, "num_encoder_blocks": (1, 3, 3, 3), "num_decoder_blocks": (3, 3, 3, 1),
             "scaling_factor": 1.0, "block_out_channels": None, "latent_magnitude": 3, "latent_shift": 0.5, "shift_factor": 0.0}
TINY_FIXED = {"act_fn": "relu", "upsampling_scaling_factor": 2, "upsample_fn": "nearest"}


class TinyBlock(nn.Module):
    """x -> relu(x + three convolutions): no norm, no attention.  (B, C, h, w) -> (B, C, h, w)"""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convolutions[0], nn.ReLU(True), convolutions[1], nn.ReLU(True), convolutions[2])      # True: in place

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv(x), inplace=True)


class TinyAutoencoder(nn.Module):
    """TAESD (Bohan 2023, github.com/madebyollin/taesd): the same latents, already scaled, from a fraction of the work."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        o = read_config("light autoencoder", config, TINY_USED, TINY_FIXED)
        self.halvings, self.pictures, self.latents = len(o.num_encoder_blocks) - 1, o.in_channels, o.latent_channels
        encoder: list[nn.Module] = []
        for i, (width, blocks) in enumerate(zip(o.encoder_block_out_channels, o.num_encoder_blocks, strict=True)):
            encoder += [nn.Conv2d(width if i else o.in_channels, width, 3, 2 if i else 1, padding=1, bias=not i)]
            encoder += [TinyBlock(width) for _ in range(blocks)]
        encoder += [nn.Conv2d(width, o.latent_channels, 3, padding=1)]
        decoder: list[nn.Module] = [nn.Conv2d(o.latent_channels, o.decoder_block_out_channels[0], 3, padding=1), nn.ReLU()]
        for i, (width, blocks) in enumerate(zip(o.decoder_block_out_channels, o.num_decoder_blocks, strict=True)):
            last = i == self.halvings
            decoder += [TinyBlock(width) for _ in range(blocks)]
            decoder += [] if last else [nn.Upsample(scale_factor=2, mode="nearest")]
            decoder += [nn.Conv2d(width, o.out_channels if last else width, 3, padding=1, bias=last)]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)

    def encode(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> latent (B, C, h, w), no Gaussian"""
        expect("the picture", picture, ("B", self.pictures, "H", "W"), next(self.parameters()))
        expect_halves("the picture", picture, self.halvings)
        return self.encoder((picture + 1) / 2)

    def decode(self, latent: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W). Latents beyond +-3 are bent back, gently."""
        expect("the latent", latent, ("B", self.latents, "h", "w"), next(self.parameters()))
        return 2 * self.decoder(3 * torch.tanh(latent / 3)) - 1


TINY_RENAMES = ((r"^(en|de)coder\.layers\.", r"\1coder."),)
