"""What the networks are built of: a residual block that can be told the time, attention, and how to halve and double a picture.

Shapes: B pictures, C channels, h x w places; N = h w places in a row, L tokens, D the width of one head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResBlock(nn.Module):
    """x -> x + conv(silu(norm( conv(silu(norm(x))) + time ))), where x is brought to the new number of channels first.

    The time is added BETWEEN the two halves, one number per channel, the same at every place: it says to each channel how
    much of it is wanted at this noise level. (Ho et al. 2020, appendix B; residual blocks: He et al. 2016.)
    time None: no time, as in the autoencoder.  x (B, C_in, h, w), time (B, T) -> (B, C_out, h, w)
    """

    def __init__(self, c_in: int, c_out: int, groups: int, eps: float, time: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, c_in, eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time = None if time is None else nn.Linear(time, c_out)
        self.norm2 = nn.GroupNorm(groups, c_out, eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x), inplace=True))                       # (B, C_out, h, w)
        if self.time is not None:
            h = h + self.time(time)[:, :, None, None]                             # (B, C_out, 1, 1), the same everywhere
        return self.skip(x) + self.conv2(F.silu(self.norm2(h), inplace=True))


class Attention(nn.Module):
    """softmax(q k^T / sqrt(D)) v in `heads` groups of channels side by side (Vaswani et al. 2017, eq. 1 and section 3.2.2).

    x asks, `context` answers: cross-attention. Without context x answers itself: self-attention. causal: token i hears only
    tokens 0 ... i.  x (B, N, C), context (B, L, C') -> (B, N, C)
    """

    def __init__(self, width: int, heads: int, context: int | None = None, bias: bool = False, causal: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{width} channels cannot be shared out among {heads} heads of attention")
        self.heads, self.causal = heads, causal
        self.q = nn.Linear(width, width, bias)
        self.k = nn.Linear(context or width, width, bias)
        self.v = nn.Linear(context or width, width, bias)
        self.out = nn.Linear(width, width)
        self.watch: Callable[[Tensor], Tensor | None] | None = None               # see `watching`

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        source = x if context is None else context
        q, k, v = (self.split(y) for y in (self.q(x), self.k(source), self.v(source)))      # (B, heads, N or L, D)
        if self.watch is None:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)          # (B, heads, N, D)
        else:                                                                     # the same in the open, to look at
            shares = self.shares(q, k)
            changed = self.watch(shares)
            mixed = (shares if changed is None else changed) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))                         # (B, N, C)

    def split(self, y: Tensor) -> Tensor:
        """(B, N, heads * D) -> (B, heads, N, D): a head owns D channels that lie side by side."""
        return y.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def shares(self, q: Tensor, k: Tensor) -> Tensor:
        """How much place i takes from token j: (B, heads, N, L), rows add up to 1."""
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if self.causal:
            later = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        return scores.softmax(-1)


@contextmanager
def watching(network: nn.Module, watch: Callable[[str, Tensor], Tensor | None], kind: str = "cross_attention") -> Iterator[None]:
    """Inside this `with`, watch(name, shares) sees what every attention of that kind attends to, and may change it.

        maps = {}
        with watching(unet, lambda name, shares: maps.setdefault(name, []).append(shares)):
            render_image(...)

    name     the layer, such as "down.0.attentions.0.cross_attention"; kind   how names end ("self_attention", "attention")
    shares   (B, heads, N, L), rows add up to 1; with guidance B counts the negative prompts first. N = h w, row by row
    watch returns None to leave them alone, or shares to use instead. Works on a network or a part of `as_components`.
    """
    found = {name: m for name, m in network.named_modules() if isinstance(m, Attention) and name.endswith(kind)}
    if not found:
        raise ValueError(f"a {type(network).__name__} has no attention whose name ends in {kind!r}: watch a network of course.nets")
    try:
        for name, layer in found.items():
            layer.watch = partial(watch, name.removeprefix("net."))
        yield
    finally:
        for layer in found.values():
            layer.watch = None


def in_a_row(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w, C): places as tokens, row by row."""
    return x.flatten(2).transpose(1, 2)


def on_a_grid(y: Tensor, like: Tensor) -> Tensor:
    """(B, h w, C) -> (B, C, h, w): back into the picture that `like` is."""
    return y.transpose(1, 2).reshape(like.shape)


class Halve(nn.Module):
    """A convolution with stride 2.  (B, C, h, w) -> (B, C, h/2, w/2)

    The U-Net pads all round; Stable Diffusion's autoencoder only on the right and below, and its weights know that.
    """

    def __init__(self, width: int, corner: bool = False) -> None:
        super().__init__()
        self.corner = corner
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=0 if corner else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.corner else x)


class Double(nn.Module):
    """Each place becomes 2 x 2 equal ones, then a convolution smooths.  (B, C, h, w) -> (B, C, 2h, 2w)

    Not a transposed convolution: that leaves a chequerboard (Odena et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def one_each(t: float | Tensor, x: Tensor) -> Tensor:
    """The time of each latent: one number, or (B,) -> (B,)"""
    t = torch.as_tensor(t, device=x.device).reshape(-1)
    if len(t) not in (1, len(x)):
        raise ValueError(f"t must be one number, or one for each of the {len(x)} latents; got {len(t)}")
    return t.expand(len(x))


# ------------------------------------------------------------------------------------------------ saying what is wrong


def expect(what: str, x: Any, shape: Sequence[int | str], weight: Tensor) -> None:
    """Raise ValueError, in words, unless x is a tensor of this shape, of the weights' dtype and on their device.

    shape: a number for a size that must be so, a letter for any size.
    """
    if not torch.is_tensor(x):
        raise ValueError(f"{what} must be a tensor; got a {type(x).__name__}")
    fits = x.ndim == len(shape) and all(isinstance(want, str) or size == want for size, want in zip(x.shape, shape, strict=True))
    if not fits:
        raise ValueError(f"{what} must have the shape ({', '.join(map(str, shape))}); got {tuple(x.shape)}")
    if x.dtype != weight.dtype:
        raise ValueError(f"{what} is {x.dtype} and the weights are {weight.dtype}: convert one of them with .to()")
    if x.device != weight.device:
        raise ValueError(f"{what} is on {x.device} and the weights are on {weight.device}: move one of them with .to()")


def expect_halves(what: str, x: Tensor, times: int) -> None:
    """Raise ValueError unless both sides of x (B, C, h, w) can be halved so often and are not empty."""
    h, w = x.shape[-2:]
    if h % 2**times or w % 2**times or not x.numel():
        raise ValueError(f"{what} is {h} x {w} and is halved {times} times on the way: both sides must be multiples of {2**times}")


def read_config(what: str, config: Mapping[str, Any], used: Mapping[str, Any], fixed: Mapping[str, Any]) -> SimpleNamespace:
    """The options of a config.json that a network uses, with defaults for what is not said.

    used    name -> default; a default of ... must be given. fixed   name -> the only value there is in Stable Diffusion 1 and 2
    Raises ValueError for a missing option, another value than the fixed one, and an option that nothing here knows and that is
    switched on.
    """
    missing = [name for name, default in used.items() if default is ... and config.get(name) is None]
    if missing:
        raise ValueError(f"the config of the {what} does not say {', '.join(missing)}")
    for name, value in config.items():
        wrong = value != fixed[name] if name in fixed else name not in used and not name.startswith("_") and bool(value)
        if wrong:
            raise ValueError(f"the config of the {what} asks for {name} = {value!r}, which no Stable Diffusion 1 or 2 has; "
                             "these networks are built for those (load this one with diffusers)")
    return SimpleNamespace(**{name: default if config.get(name) is None else config[name] for name, default in used.items()})
