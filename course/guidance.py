"""Guidance: a denoiser made of denoisers.

`pair(x, level) -> (negative, positive)` gives two predictions for the same x: without the prompt (or with a negative
prompt, which is the same thing with other words) and with it. Guidance walks from the first through the second and on.
Predictions may be eps or v: the result is of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from course.prediction import Denoise
from course.schedule import Level

Pair = Callable[[Tensor, Level], tuple[Tensor, Tensor]]


def pair_of(negative: Denoise, positive: Denoise) -> Pair:
    """Two denoisers side by side. A network that takes both prompts in one batch does better: see stable_diffusion.py."""
    return lambda x, level: (negative(x, level), positive(x, level))


def classifier_free(pair: Pair, guidance_scale: float, guidance_rescale: float = 0.0) -> Denoise:
    """eps = eps_negative + guidance_scale (eps_positive - eps_negative)   (Ho and Salimans 2022, eq. 6).

    The paper writes (1 + w) eps_positive - w eps_negative, so guidance_scale = 1 + w: 0 ignores the prompt, 1 follows it
    without guidance, 7.5 is Stable Diffusion's habit. guidance_rescale in [0, 1] undoes the over-saturation of large
    scales by `rescaled`. Negative prompts: let `pair` return their prediction first.
    """
    if not 0 <= guidance_rescale <= 1:
        raise ValueError(f"guidance_rescale is a share between 0 and 1; got {guidance_rescale}")

    def denoise(x: Tensor, level: Level) -> Tensor:
        negative, positive = pair(x, level)
        guided = negative + guidance_scale * (positive - negative)
        return rescaled(guided, positive, guidance_rescale) if guidance_rescale else guided

    return denoise


def rescaled(guided: Tensor, positive: Tensor, share: float) -> Tensor:
    """Give `guided` the standard deviation of `positive`, picture by picture, and mix (Lin et al. 2024, eq. 14-16).

        share * guided * std(positive) / std(guided) + (1 - share) * guided

    guided, positive (B, ...) -> (B, ...).
    """
    axes = tuple(range(1, guided.ndim))
    factor = positive.std(axes, keepdim=True) / guided.std(axes, keepdim=True)   # (B, 1, ..., 1)
    return guided * (share * factor + (1 - share))
