"""Chapter 6: samplers. `course check ch06` tells how far you are.

A noise level is given by its alpha_bar, a Python float; 1.0 is the clean image. A grid is a list of alpha_bars in the
order in which a sampler visits them, noisy first; it holds one entry more than there are steps. `denoise(x, alpha_bar)`
returns the predicted noise, like x; call it with entries of the grid only, and no more often than asked: one call is
one pass through the network. Every deterministic sampler of this chapter is built from the same move from level
`now` to level `next`:

    x_0   = (x - sqrt(1 - now) eps) / sqrt(now)
    x_new = sqrt(next) x_0 + sqrt(1 - next) eps

and differs only in what it uses for eps. Do not change your arguments.
"""

import math

import torch
from torch import Tensor


def leading_timesteps(steps: int, train_steps: int = 1000, offset: int = 1) -> list[int]:
    """The timesteps of DDPM, DDIM and PNDM in Stable Diffusion, largest first.

    The stride is train_steps // steps; the timesteps are offset, stride + offset, 2 stride + offset, ...
    leading_timesteps(10) is [901, 801, ..., 101, 1].

    Raises ValueError unless 1 <= steps <= train_steps, or if a timestep would be train_steps or more.
    """
    raise NotImplementedError


def linspace_timesteps(steps: int, train_steps: int = 1000) -> list[float]:
    """The timesteps of LMS, Heun and Euler in Stable Diffusion: evenly spaced from train_steps - 1 down to 0.

    They are not rounded. linspace_timesteps(50) starts 999.0, 978.6122... With one step the list is [0.0].
    """
    raise NotImplementedError


def rounded_timesteps(steps: int, train_steps: int = 1000) -> list[int]:
    """The timesteps of DPM-Solver++ in Stable Diffusion, largest first.

    Lay steps + 1 evenly spaced values from train_steps - 1 down to 0, round each to the nearest whole number, and leave out
    the last one, the 0: the sampler jumps from the smallest timestep to the clean image.
    rounded_timesteps(4) is [999, 749, 500, 250].
    """
    raise NotImplementedError


def ratio_at(t: float, alphas_cumprod: Tensor) -> float:
    """The noise-to-signal ratio sqrt(1 - alpha_bar) / sqrt(alpha_bar) at a timestep between two whole ones.

    It is interpolated *linearly in the ratio* between the whole timesteps on both sides, as diffusers does:
    ratio_at(20.4, ...) is 0.6 times the ratio at 20 plus 0.4 times the ratio at 21.

    t: from 0 to T - 1. alphas_cumprod: float32 (T,), alpha_bar at the timesteps 0 .. T - 1. Returns a float.
    """
    raise NotImplementedError


def ddpm_step(x: Tensor, eps: Tensor, now: float, next: float, noise: Tensor) -> Tensor:
    """One step of ancestral sampling: a draw of q(x_next | x, x_0) with the predicted x_0 (Ho et al. 2020, alg. 2).

        alpha = now / next (the alpha of the whole jump),   beta = 1 - alpha
        mean = sqrt(next) beta / (1 - now) x_0 + sqrt(alpha) (1 - next) / (1 - now) x
        variance = (1 - next) / (1 - now) beta
        x_next = mean + sqrt(variance) noise

    With next = 1.0 the result is x_0, without noise. Returns a tensor like x.
    """
    raise NotImplementedError


def ddim_step(x: Tensor, eps: Tensor, now: float, next: float) -> Tensor:
    """One deterministic step (Song et al. 2021, eq. 12 with sigma = 0): the move printed at the top of this file.

    Returns a tensor like x.
    """
    raise NotImplementedError


def ddim_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """Walk along the grid with DDIM steps: one call of denoise for each of the len(grid) - 1 steps."""
    raise NotImplementedError


def heun_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """Heun's method: move with the mean of the noise at both ends of the step (Karras et al. 2022, alg. 1).

    For each step from now to next:
        e1 = denoise(x, now)
        trial = the move from now to next with e1
        e2 = denoise(trial, next)
        x = the move from now to next, from the old x, with (e1 + e2) / 2
    A step to the clean image (next == 1.0) uses e1 alone. N steps that end clean need 2 N - 1 calls.
    """
    raise NotImplementedError


def plms_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """Pseudo linear multistep, the default sampler of Stable Diffusion v1.4 (Liu et al. 2022, PNDM without its
    Runge-Kutta start).

    With e_0 the newest prediction and e_1, e_2, e_3 the ones before it, each step moves with
        1st step (only e_0 known):   (e_0 + denoise(the move with e_0, next)) / 2
        2nd step:                    (3 e_0 - e_1) / 2
        3rd step:                    (23 e_0 - 16 e_1 + 5 e_2) / 12
        from the 4th on:             (55 e_0 - 59 e_1 + 37 e_2 - 9 e_3) / 24
    The second prediction of the first step is not kept. N steps need N + 1 calls; a grid with a single step uses e_0
    alone and needs one.
    """
    raise NotImplementedError


def lms_weights(ratios: list[float], step: int, order: int = 4) -> list[float]:
    """The weights of the linear multistep method (Katherine Crowson's k-diffusion, `linear_multistep_coeff`).

    In the variable r = sqrt(1 - alpha_bar) / sqrt(alpha_bar), the sampler draws a polynomial through the last
    k = min(order, step + 1) predictions, those at r_step, r_{step-1}, ..., and integrates it exactly:

        weight_j = integral from r_step to r_{step+1} of L_j(r) dr,   j = 0 .. k - 1
        L_j(r) = product over m != j of (r - r_{step-m}) / (r_{step-j} - r_{step-m})

    ratios: one for each level of the grid, falling. Returns k floats, the newest prediction first; they sum to
    r_{step+1} - r_step.
    """
    raise NotImplementedError


def dpmpp_2m_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, alg. 2): extrapolate the predicted x_0 along lambda.

        lambda = log(sqrt(alpha_bar) / sqrt(1 - alpha_bar)),   D = the x_0 that denoise(x, now) implies
        r = (lambda_now - lambda_before) / (lambda_next - lambda_now)
        guess = D + (D - D_before) / (2 r)         on the first step, and on a step to the clean image: guess = D
        x_new = sqrt(next) guess + sqrt(1 - next) (x - sqrt(now) guess) / sqrt(1 - now)

    One call of denoise per step. D_before is the D of the step before, not its guess.
    """
    raise NotImplementedError
