"""Chapter 3: the forward process. Replace each `raise NotImplementedError`; `course check ch03` tells how far you are.

Throughout, alpha_t = 1 - beta_t, and alpha_bar_t is what Ho et al. (2020, section 2) call so. Images have shape (B, C, H, W).
Work in the dtype you are given, and do not change the arguments.
"""

import math

import torch
from torch import Tensor


def scaled_linear_betas(beta_start: float, beta_end: float, steps: int) -> Tensor:
    """The noise variances of Stable Diffusion (Rombach et al. 2022): not the variances are evenly spaced but their roots.

    Returns a float32 tensor (steps,), steps >= 2, the first entry beta_start, the last beta_end.
    Stable Diffusion v1.4 uses 0.00085, 0.012 and 1000.
    """
    raise NotImplementedError


def cosine_betas(steps: int, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17): the betas that give the alpha_bar of that equation.

    offset: the paper's s. No beta is above max_beta. Returns a float32 tensor (steps,); steps may be 1.
    """
    raise NotImplementedError


def alphas_cumprod(betas: Tensor) -> Tensor:
    """The share of signal variance that is left at every step: alpha_bar_t of Ho et al. 2020, above eq. 4.

    betas: float32 (T,), each from 0 to 1; T may be 1. Returns float32 (T,).
    """
    raise NotImplementedError


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """The schedule moved so that nothing of the picture is left at its last step (Lin et al. 2024, algorithm 1).

    sqrt(alpha_bar) is shifted so that its last value is 0, and scaled so that its first one stays; the betas returned are those
    of the new alpha_bar. betas: float32 (T,), T >= 2. Returns float32 (T,), the last exactly 1.
    """
    raise NotImplementedError


def add_noise(x0: Tensor, noise: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """A draw of x_t given x_0, in one jump (Ho et al. 2020, eq. 4), made of standard normal noise.

    x0, noise: (B, C, H, W). alpha_bar_t: (B,), one value for each image of the batch, from 0 to 1 with both ends.
    Returns a tensor like x0.
    """
    raise NotImplementedError


def diffuse_one_step(x: Tensor, noise: Tensor, beta_t: Tensor) -> Tensor:
    """A draw of x_t given x_{t-1}: one step of the chain (Ho et al. 2020, eq. 2), made of standard normal noise.

    x, noise: (B, C, H, W). beta_t: (B,), from 0 to 1 with both ends. Returns a tensor like x.
    """
    raise NotImplementedError


def simulate_chain(x0: Tensor, betas: Tensor, generator: torch.Generator) -> Tensor:
    """x_T given x_0 the long way: through all T steps of the chain, each with fresh noise.

    Is its law the one that `add_noise` reaches in one jump? The check looks at mean and variance over many points.

    x0: (N, D) points, not images. betas: (T,). Noise is drawn from `generator`, T times, with the shape of x0.
    Returns (N, D).
    """
    raise NotImplementedError


def log_snr(alpha_bar: Tensor) -> Tensor:
    """The logarithm of the signal-to-noise ratio (Kingma et al. 2021, section 3.1): signal *variance* over noise *variance*, in nats.

    alpha_bar: (T,), strictly between 0 and 1. Returns (T,); large where there is little noise.
    """
    raise NotImplementedError
