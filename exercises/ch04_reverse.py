"""Chapter 4: one step back, and four names for the same prediction. `course check ch04` tells how far you are.

The network may predict the noise eps, the clean image x_0, the velocity v or the score; each of them, with x_t and its
level, gives all the others. Images have shape (B, C, H, W), alpha_bar_t and alpha_bar_prev have shape (B,): every image of a
batch has a level of its own. Work in the dtype you are given and do not change your arguments. The written half of the
chapter is ch04_reverse.md.
"""

import math

import torch
from torch import Tensor


def predict_x0(xt: Tensor, eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The clean image that a noise prediction implies: solve eq. 4 of Ho et al. 2020 for x_0.

    alpha_bar_t: above 0; it may be 1. Returns a tensor like xt.
    """
    raise NotImplementedError


def predict_eps(xt: Tensor, x0: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The noise that a prediction of the clean image implies: solve the same equation for the noise.

    alpha_bar_t: below 1; it may be 0. Returns a tensor like xt.
    """
    raise NotImplementedError


def velocity(x0: Tensor, eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The velocity target v (Salimans and Ho 2022, section 4).

    It is the derivative of x_t with respect to an angle: write alpha = cos(phi) and sigma = sin(phi) and differentiate.
    alpha_bar_t: from 0 to 1 with both ends. Returns a tensor like x0.
    """
    raise NotImplementedError


def score_from_eps(eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The gradient of log q(x_t | x_0) with respect to x_t, in terms of the noise that is in x_t.

    alpha_bar_t: below 1; it may be 0. Returns a tensor like eps.
    """
    raise NotImplementedError


def posterior_mean(x0: Tensor, xt: Tensor, alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """The mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eq. 7).

    alpha_bar_prev is above alpha_bar_t; it may be 1 for some images of a batch (the step to the clean image), where the
    result is x_0. alpha_t of the paper is the ratio of the two. Returns a tensor like xt.
    """
    raise NotImplementedError


def posterior_variance(alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """The variance of q(x_{t-1} | x_t, x_0), called beta-tilde (Ho et al. 2020, eq. 7). Both arguments (B,). Returns (B,)."""
    raise NotImplementedError
