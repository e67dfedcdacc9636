"""Guidance: a denoiser made of denoisers.

`pair(x, level) -> (negative, positive)` gives two predictions for the same x: without the prompt (or with a negative
prompt, which is the same thing with other words) and with it. Guidance walks from the first through the second and on.
Predictions may be eps or v: the result is of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from course.prediction import Denoise, x0_from_eps
from course.schedule import Level

Pair = Callable[[Tensor, Level], tuple[Tensor, Tensor]]
Scale = float | Callable[[Level], float]


def pair_of(negative: Denoise, positive: Denoise) -> Pair:
    """Two denoisers side by side. A network that takes both prompts in one batch does better: see stable_diffusion.py."""
    return lambda x, level: (negative(x, level), positive(x, level))


def classifier_free(pair: Pair, guidance_scale: Scale, guidance_rescale: float = 0.0) -> Denoise:
    """eps = eps_negative + guidance_scale (eps_positive - eps_negative)   (Ho and Salimans 2022, eq. 6).

    The paper writes (1 + w) eps_positive - w eps_negative, so guidance_scale = 1 + w: 0 ignores the prompt, 1 follows it
    without guidance, 7.5 is Stable Diffusion's habit. It may be a function of the level, such as `interval` or `plus_plus`.
    guidance_rescale in [0, 1] undoes the over-saturation of large scales by `rescaled`. Negative prompts: let `pair` return
    their prediction first. The rule is linear in the predictions, so it is the same rule for eps, x_0, v and a flow's velocity.
    """
    if not 0 <= guidance_rescale <= 1:
        raise ValueError(f"guidance_rescale is a share between 0 and 1; got {guidance_rescale}")

    def denoise(x: Tensor, level: Level) -> Tensor:
        negative, positive = pair(x, level)
        scale = guidance_scale(level) if callable(guidance_scale) else guidance_scale
        guided = negative + scale * (positive - negative)
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


# ------------------------------------------------------------------------------------------------ a scale that knows the level


def interval(guidance_scale: float, low: float, high: float) -> Scale:
    """guidance_scale where low <= sigma / alpha <= high, else 1: no guidance (Kynkaanniemi et al. 2024).

    At much noise guidance throws variety away, at little noise it only costs calls; between them the decisions fall.
    interval(g, 0, inf) is g everywhere. Raises ValueError unless 0 <= low <= high.
    """
    if not 0 <= low <= high:
        raise ValueError(f"the interval of sigma / alpha must have 0 <= low <= high; got {low} to {high}")
    return lambda level: guidance_scale if low <= level.ratio <= high else 1.0


def plus_plus(strength: float, grid: Sequence[Level]) -> Scale:
    """CFG++ for DDIM on this grid, written as a guidance scale: strength r / (r - r_next) with r = sigma / alpha.

    CFG++ takes x_0 from the guided prediction and puts the *unguided* noise back, x_next = alpha_next x_0(guided) +
    sigma_next eps_negative, with a strength in [0, 1] (Chung et al. 2024). Both uses of eps are one in `transfer`, and solving
    for the eps to give it leaves a plain guidance scale: small in short steps near the noise, `strength` itself in the last one.
    Raises ValueError for a strength outside [0, 1]; KeyError at a level that is not a step of the grid.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength of CFG++ lies between 0 and 1; got {strength}")
    scales = {now.ratio: strength * now.ratio / (now.ratio - next.ratio) for now, next in pairwise(grid)}
    return lambda level: scales[level.ratio]


# ------------------------------------------------------------------------------------------------ another difference


def projected(pair: Pair, guidance_scale: float, parallel: float = 0.0, most: float = 0.0, momentum: float = 0.0) -> Denoise:
    """Adaptive projected guidance: the difference loses what points along the positive prediction (Sadat et al. 2024).

        eps = eps_positive + (guidance_scale - 1) (d_across + parallel d_along),   d = eps_positive - eps_negative

    most      > 0: a difference longer than this is shortened to it, picture by picture
    momentum  the difference is d + momentum times the one before it; negative values, as in the paper, push it apart

    parallel = 1, most = 0, momentum = 0 is `classifier_free`. A difference along the prediction makes it longer, which burns
    colours; across it changes what is drawn. With momentum it remembers: make one for each picture that is drawn.
    """
    memory: list[Tensor] = []

    def denoise(x: Tensor, level: Level) -> Tensor:
        negative, positive = pair(x, level)
        axes = tuple(range(1, x.ndim))
        d = positive - negative
        if momentum:
            d = d + momentum * memory.pop() if memory else d
            memory.append(d)
        if most:
            length = torch.linalg.vector_norm(d, dim=axes, keepdim=True)                    # (B, 1, ..., 1)
            d = d * (most / length.clamp(min=most))
        along = (d * positive).sum(axes, keepdim=True) / positive.square().sum(axes, keepdim=True).clamp(min=1e-12) * positive
        return positive + (guidance_scale - 1) * (d - along + parallel * along)

    return denoise


def zero_star(pair: Pair, guidance_scale: float) -> Denoise:
    """CFG-Zero*: the negative prediction is first scaled to lie as near to the positive one as it can (Fan et al. 2025).

        s = <positive, negative> / <negative, negative>,    s negative + guidance_scale (positive - s negative)

    Meant for flows. Without the paper's other half, which leaves out the first steps altogether.
    """
    def denoise(x: Tensor, level: Level) -> Tensor:
        negative, positive = pair(x, level)
        axes = tuple(range(1, x.ndim))
        share = (positive * negative).sum(axes, keepdim=True) / negative.square().sum(axes, keepdim=True).clamp(min=1e-8)
        return share * negative + guidance_scale * (positive - share * negative)

    return denoise


def auto_guided(worse: Denoise, better: Denoise, guidance_scale: Scale) -> Denoise:
    """Away from a worse version of the same model, with the same prompt: eps_worse + guidance_scale (eps_better - eps_worse)
    (Karras et al. 2024). The worse one is smaller or less trained; what both get wrong, it gets more wrong."""
    return classifier_free(pair_of(worse, better), guidance_scale)


def perturbed(network: Denoise, unet: Any) -> Denoise:
    """The same network with its self-attention switched off: every place attends to itself alone (Ahn et al. 2024).

    A worse version of the model without another model: `auto_guided(perturbed(f, unet), f, 1 + s)` is perturbed-attention guidance
    of scale s. unet is one of course.nets (`as_components`), and the network `f` calls it.
    """
    from course.nets import watching

    def alone(name: str, shares: Tensor) -> Tensor:                                         # (B, heads, N, N)
        return torch.eye(shares.shape[-1], dtype=shares.dtype, device=shares.device).expand_as(shares)

    def denoise(x: Tensor, level: Level) -> Tensor:
        with watching(unet, alone, "self_attention"):
            return network(x, level)

    return denoise


def classifier_guided(denoise: Denoise, log_prob: Callable[[Tensor], Tensor], guidance_scale: float) -> Denoise:
    """eps - guidance_scale sigma grad_x log p(y | x_0(x))   (Dhariwal and Nichol 2021, with a classifier of clean
    pictures shown the guessed x_0 instead of one trained on noisy pictures).

    log_prob(x_0) -> (B,): the classifier's log-probability of what is wanted, differentiable. By Bayes' rule the score of
    p(x | y) is the score of p(x) plus this gradient; the guess of x_0 stands for what x_0 may be, which is an approximation.
    """
    def guided(x: Tensor, level: Level) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            y = x.detach().clone().requires_grad_(True)
            eps = denoise(y, level)
            gradient, = torch.autograd.grad(log_prob(x0_from_eps(eps, y, level)).sum(), y)
        return (eps - guidance_scale * level.sigma * gradient).detach()

    return guided
