"""Chapter 5: from the bound to the loss. `course check ch05` tells how far you are.

Images have shape (B, C, H, W), alpha_bar_t has shape (B,). Do not change your arguments.
"""

import math

import torch
from torch import Tensor


def kl_gaussians(mean_q: Tensor, log_var_q: Tensor, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    """KL(q || p) of two Gaussians with diagonal covariances, in nats.

        KL = 1/2 sum_i [ log_var_p - log_var_q + (exp(log_var_q) + (mean_q - mean_p)^2) / exp(log_var_p) - 1 ]_i

    All arguments (B, D). Returns (B,): summed over D, never over the batch.
    """
    raise NotImplementedError


def simple_loss(denoise, x0: Tensor, noise: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """L_simple (Ho et al. 2020, eq. 14): the mean squared error of the predicted noise, over all entries.

    Make x_t from x0 and noise, call denoise(x_t, alpha_bar_t) once to get the predicted noise, compare with the noise.

    denoise: a function (x_t, alpha_bar_t) -> predicted noise, like x_t. x0, noise: (B, C, H, W). alpha_bar_t: (B,).
    Returns a tensor without dimensions.
    """
    raise NotImplementedError


def vlb_weight(alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """The factor in front of || eps - eps_theta ||^2 in the bound (Ho et al. 2020, eq. 12), with sigma_t^2 = beta_t.

        alpha_t = alpha_bar_t / alpha_bar_prev,   beta_t = 1 - alpha_t
        weight = beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t))

    Both arguments (B,). Returns (B,). L_simple drops this weight.
    """
    raise NotImplementedError


def min_snr_weight(alpha_bar_t: Tensor, gamma: float = 5.0) -> Tensor:
    """The weight of Hang et al. 2023 for a network that predicts the noise.

        snr = alpha_bar_t / (1 - alpha_bar_t),   weight = min(snr, gamma) / snr

    alpha_bar_t: (B,). Returns (B,): 1 where there is much noise, smaller where there is little.
    """
    raise NotImplementedError
