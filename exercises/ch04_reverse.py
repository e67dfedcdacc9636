"""Chapter 4: one step back, and five names for the same prediction. `course check ch04` tells how far you are.

The network may predict the noise eps, the clean image x_0, the velocity v or the score; with
x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps each of them gives all the others.
Images have shape (B, C, H, W), alpha_bar_t and alpha_bar_prev have shape (B,).
Work in the dtype you are given and do not change your arguments. The written half of the chapter is ch04_reverse.md.
"""

import math

import torch
from torch import Tensor


def predict_x0(xt: Tensor, eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The clean image that a noise prediction implies.

        x_0 = (x_t - sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_bar_t)

    Returns a tensor like xt.
    """
    raise NotImplementedError


def predict_eps(xt: Tensor, x0: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The noise that a prediction of the clean image implies: solve the same line for eps.

    Returns a tensor like xt.
    """
    raise NotImplementedError


def velocity(x0: Tensor, eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The velocity target (Salimans and Ho 2022, section 4).

        v = sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x_0

    Returns a tensor like x0.
    """
    raise NotImplementedError


def score_from_eps(eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The gradient of log q(x_t | x_0) with respect to x_t, in terms of the noise in x_t.

    q(x_t | x_0) is a Gaussian with mean sqrt(alpha_bar_t) x_0 and variance 1 - alpha_bar_t: differentiate its
    logarithm, then use x_t - sqrt(alpha_bar_t) x_0 = sqrt(1 - alpha_bar_t) eps.

    Returns a tensor like eps.
    """
    raise NotImplementedError


def posterior_mean(x0: Tensor, xt: Tensor, alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """The mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eq. 7).

        alpha_t = alpha_bar_t / alpha_bar_prev,    beta_t = 1 - alpha_t
        mean =   sqrt(alpha_bar_prev) beta_t / (1 - alpha_bar_t) * x_0
               + sqrt(alpha_t) (1 - alpha_bar_prev) / (1 - alpha_bar_t) * x_t

    alpha_bar_prev may be 1 (the step to the clean image); the result is then x_0. Returns a tensor like xt.
    """
    raise NotImplementedError


def posterior_variance(alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """The variance of q(x_{t-1} | x_t, x_0), called beta-tilde (Ho et al. 2020, eq. 7).

        beta_tilde = (1 - alpha_bar_prev) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_prev)

    alpha_bar_t, alpha_bar_prev: (B,). Returns (B,).
    """
    raise NotImplementedError
