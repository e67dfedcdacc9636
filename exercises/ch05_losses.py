"""Chapter 4, continued: from the bound to the loss. `course check ch05_losses` tells how far you are.

Images have shape (B, C, H, W), alpha_bar_t has shape (B,). Work in the dtype you are given, and do not change your arguments.
"""

import math

import torch
from torch import Tensor


def kl_gaussians(mean_q: Tensor, log_var_q: Tensor, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    """KL(q || p) of two Gaussians with diagonal covariances, in nats (Kingma and Welling 2014, appendix B, for any p).

    All arguments (B, D), the variances as their logarithms, which may be large. Gradients pass to all four arguments.
    Returns (B,): summed over D, never over the batch.
    """
    raise NotImplementedError


def simple_loss(denoise, x0: Tensor, noise: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """L_simple (Ho et al. 2020, eq. 14), the mean over all entries of the batch.

    denoise: a function (x_t, alpha_bar_t) -> predicted noise, like x_t; ask it once. It is a network that is to be trained:
    gradients of the loss must reach it. x0, noise: (B, C, H, W). alpha_bar_t: (B,). Returns a tensor without dimensions.
    """
    raise NotImplementedError


def vlb_weight(alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """The factor in front of || eps - eps_theta ||^2 in the bound (Ho et al. 2020, eq. 12), with sigma_t^2 = beta_t.

    Both arguments (B,); alpha_bar_prev may be 1. Returns (B,). L_simple drops this weight.
    """
    raise NotImplementedError


def min_snr_weight(alpha_bar_t: Tensor, gamma: float = 5.0) -> Tensor:
    """The weight of Hang et al. 2023 (section 3.4) for a network that predicts the noise.

    alpha_bar_t: (B,). Returns (B,): 1 where the signal-to-noise ratio is below gamma, smaller where it is above.
    """
    raise NotImplementedError
