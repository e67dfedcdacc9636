"""Chapter 3: the forward process. Replace each `raise NotImplementedError`; `course check ch03` tells how far you are.

Throughout, alpha_t = 1 - beta_t and alpha_bar_t = alpha_1 * alpha_2 * ... * alpha_t (Ho et al. 2020, section 2).
Images have shape (B, C, H, W). Do not change the arguments you are given.
"""

import math

import torch
from torch import Tensor


def scaled_linear_betas(beta_start: float, beta_end: float, steps: int) -> Tensor:
    """The noise variances of Stable Diffusion: evenly spaced *square roots*, then squared.

        beta_i = (sqrt(beta_start) + i / (steps - 1) * (sqrt(beta_end) - sqrt(beta_start)))^2,   i = 0 .. steps - 1

    Returns a float32 tensor (steps,), the first entry beta_start, the last beta_end.
    Stable Diffusion v1.4 uses 0.00085, 0.012 and 1000.
    """
    raise NotImplementedError


def cosine_betas(steps: int, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17).

        f(u) = cos((u + offset) / (1 + offset) * pi / 2)^2
        beta_i = min(1 - f((i + 1) / steps) / f(i / steps), max_beta),   i = 0 .. steps - 1

    Returns a float32 tensor (steps,).
    """
    raise NotImplementedError


def alphas_cumprod(betas: Tensor) -> Tensor:
    """The share of signal variance that is left at every step.

        alpha_bar_t = (1 - beta_1) (1 - beta_2) ... (1 - beta_t)

    betas: float32 (T,). Returns float32 (T,).
    """
    raise NotImplementedError


def add_noise(x0: Tensor, noise: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """A draw of x_t given x_0, in one jump (Ho et al. 2020, eq. 4).

        x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise

    x0, noise: (B, C, H, W). alpha_bar_t: (B,), one value for each image of the batch. Returns a tensor like x0.
    """
    raise NotImplementedError


def diffuse_one_step(x: Tensor, noise: Tensor, beta_t: Tensor) -> Tensor:
    """A draw of x_t given x_{t-1}: one step of the chain (Ho et al. 2020, eq. 2).

        x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) noise

    x, noise: (B, C, H, W). beta_t: (B,). Returns a tensor like x.
    """
    raise NotImplementedError


def log_snr(alpha_bar: Tensor) -> Tensor:
    """The logarithm of the signal-to-noise ratio, signal *variance* over noise *variance*, in nats.

        log_snr = log(alpha_bar / (1 - alpha_bar))

    alpha_bar: (T,), strictly between 0 and 1. Returns (T,); large where there is little noise.
    """
    raise NotImplementedError
