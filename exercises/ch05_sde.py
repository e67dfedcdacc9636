"""Chapter 5: walking with the score. `course check ch05_sde` tells how far you are. Do not change your arguments.

The forward process in many small steps is the equation dx = -1/2 beta x dt + sqrt(beta) dw (Song et al. 2021, eq. 11). Its
way back is not one process but a family: from the ODE, which draws nothing, to the SDE, and beyond.
"""

import math

import torch
from torch import Tensor


def reverse_step(x: Tensor, score: Tensor, beta: float, noise: Tensor, strength: float) -> Tensor:
    """One Euler-Maruyama step back in time, over a time in which beta dt is `beta`.

    strength 1 is the reverse SDE (Song et al. 2021, eq. 6), strength 0 the probability-flow ODE (eq. 13), and everything between
    and beyond has the same marginals: noise of standard deviation strength * sqrt(beta) is added, and the pull of the score grows
    with the square of the strength to make up for it.

    x, score, noise: (N, D); noise is standard normal. Returns (N, D).
    """
    raise NotImplementedError


def reverse_sample(score, x: Tensor, betas: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """From noise to data: one `reverse_step` for every beta, the last one (the noisiest) first.

    score: a function (x, i) -> (N, D), the score of x at the level after the first i + 1 steps of the forward chain; ask it once in
    each step. x: (N, D), noise. betas: (T,). Noise is drawn from `generator` in every step with the shape of x, also at strength 0.
    Returns (N, D).
    """
    raise NotImplementedError


def langevin(score, x: Tensor, step: float, count: int, generator: torch.Generator) -> Tensor:
    """`count` steps of Langevin dynamics at one noise level (Song and Ermon 2019, eq. 4; step is the paper's epsilon).

    A walk that stays in the law whose score it is given, whatever it starts from. score: a function x -> (N, D), asked once in each
    step. Noise is drawn from `generator` in every step with the shape of x. count may be 0. Returns (N, D).
    """
    raise NotImplementedError
