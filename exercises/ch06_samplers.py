"""Chapter 6: samplers. `course check ch06` tells how far you are.

A noise level is given by its alpha_bar, a Python float; 1.0 is the clean image. A grid is a list of alpha_bars in the
order in which a sampler visits them, noisy first; it holds one entry more than there are steps. `denoise(x, alpha_bar)`
returns the predicted noise, like x; call it with entries of the grid only, and no more often than asked: one call is
one pass through the network. Every deterministic sampler of this chapter is built from the same move from level
`now` to level `next`, the one of Song et al. 2021, eq. 12 with sigma = 0: take the predicted noise out, put as much of it back
as the new level has. The samplers differ only in what they use for the noise. Work in the dtype you are given, and do not
change your arguments, the grid among them.
"""

import math

import torch
from torch import Tensor


def leading_timesteps(steps: int, train_steps: int = 1000, offset: int = 1) -> list[int]:
    """The timesteps of DDPM, DDIM and PNDM in Stable Diffusion ("leading" spacing), largest first.

    Evenly spaced by a whole number of timesteps, as large as fits; the smallest timestep is the offset.
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

    Lay steps + 1 evenly spaced values from train_steps - 1 down to 0, round each to the nearest whole number (halves to the even
    one), and leave out the last one, the 0: the sampler jumps from the smallest timestep to the clean image. A timestep that comes
    twice stays. rounded_timesteps(4) is [999, 749, 500, 250].
    """
    raise NotImplementedError


def ratio_at(t: float, alphas_cumprod: Tensor) -> float:
    """The noise-to-signal ratio sqrt(1 - alpha_bar) / sqrt(alpha_bar) at a timestep between two whole ones.

    It is interpolated *linearly in the ratio* between the whole timesteps on both sides, as diffusers does.

    t: from 0 to T - 1. alphas_cumprod: float32 (T,), alpha_bar at the timesteps 0 .. T - 1. Returns a float.
    """
    raise NotImplementedError


def ddpm_step(x: Tensor, eps: Tensor, now: float, next: float, noise: Tensor) -> Tensor:
    """One step of ancestral sampling: a draw of q(x_next | x, x_0) with the predicted x_0 (Ho et al. 2020, alg. 2).

    It may jump over many training steps; alpha and beta are those of the whole jump. With next = 1.0 the result is x_0, without
    noise. noise is standard normal. Returns a tensor like x.
    """
    raise NotImplementedError


def ddim_step(x: Tensor, eps: Tensor, now: float, next: float) -> Tensor:
    """One deterministic step: the move described at the top of this file. Returns a tensor like x."""
    raise NotImplementedError


def eta_step(x: Tensor, eps: Tensor, now: float, next: float, eta: float, noise: Tensor) -> Tensor:
    """The step between the two above (Song et al. 2021, eq. 12 and 16): eta = 0 is `ddim_step`, eta = 1 is `ddpm_step`.

    Part of the predicted noise is replaced by fresh noise; the noise altogether stays what the new level has. With next = 1.0 there
    is none of either. noise is standard normal. Returns a tensor like x.
    """
    raise NotImplementedError


def ddim_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """Walk along the grid with DDIM steps: one call of denoise for each of the len(grid) - 1 steps."""
    raise NotImplementedError


def heun_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """Heun's method (Karras et al. 2022, alg. 1 without the churn): each step moves with the mean of the noise at both of its ends.

    A step to the clean image (next == 1.0) is a DDIM step, for there is no noise to predict at its end. N steps that end clean
    need 2 N - 1 calls.
    """
    raise NotImplementedError


def plms_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """Pseudo linear multistep, the default sampler of Stable Diffusion v1.4 (Liu et al. 2022, PNDM without its
    Runge-Kutta start).

    Each step moves with a mixture of the newest prediction and up to three before it, with the Adams-Bashforth weights of order 2, 3
    and, from the fourth step on, 4. The first step has nothing before it and is a Heun step; its second prediction is not kept.
    N steps need N + 1 calls; a grid with a single step is one DDIM step.
    """
    raise NotImplementedError


def lms_weights(ratios: list[float], step: int, order: int = 4) -> list[float]:
    """The weights of the linear multistep method (Katherine Crowson's k-diffusion, `linear_multistep_coeff`).

    In the variable r = sqrt(1 - alpha_bar) / sqrt(alpha_bar), the sampler draws a polynomial through the last
    k = min(order, step + 1) predictions, those at r_step, r_{step-1}, ..., and integrates it exactly from r_step to r_{step+1}.
    That integral is a weighted sum of the predictions: what are the weights?

    ratios: one for each level of the grid, falling. order: at least 1, and not only up to 4. Returns k floats, the newest prediction
    first; they sum to r_{step+1} - r_step.
    """
    raise NotImplementedError


def lms_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """The linear multistep sampler of order 4: `lms_weights` put to work.

    In the variable r the move is one line: x / sqrt(alpha_bar) changes by the integral of the noise over r. One call of denoise per
    step. (The homework's LMS section passed Heun's scheduler: this is what it never ran.)
    """
    raise NotImplementedError


def dpmpp_2m_sample(denoise, x: Tensor, grid: list[float]) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, alg. 2): extrapolate the predicted x_0 along lambda, half the logarithm of the
    signal-to-noise ratio.

    One call of denoise per step. What is kept from the step before is its predicted x_0, not the extrapolated one. The first step
    has none and a step to the clean image has no lambda: both are DDIM steps.
    """
    raise NotImplementedError


def measured_order(steps: list[int], errors: list[float]) -> float:
    """The order of a method from an experiment: p such that its error falls like steps^-p, by least squares through the
    logarithms of both.

    Half the error for twice the steps is order 1, a quarter is order 2. Errors at or below 1e-12 are rounding and left out.

    Raises ValueError if fewer than two different numbers of steps are left. Returns a float.
    """
    raise NotImplementedError
