"""What a network may predict, and how each turns into the noise eps.

At a known level, x = alpha x_0 + sigma eps ties three quantities together: give x and one of eps, x_0, v or the score,
and the others follow. Everything downstream of this file sees eps only.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from course.schedule import Level

Denoise = Callable[[Tensor, Level], Tensor]   # denoise(x, level) -> eps, each shaped like x


def x0_from_eps(eps: Tensor, x: Tensor, level: Level) -> Tensor:
    """x_0 = (x - sigma eps) / alpha   (Ho et al. 2020, eq. 9 and 15; Song et al. 2021a, eq. 9). Shaped like x."""
    return (x - level.sigma * eps) / level.alpha


def eps_from_x0(x0: Tensor, x: Tensor, level: Level) -> Tensor:
    """eps = (x - alpha x_0) / sigma. Shaped like x. Undefined at sigma = 0, where there is no noise to speak of."""
    return (x - level.alpha * x0) / level.sigma


def eps_from_v(v: Tensor, x: Tensor, level: Level) -> Tensor:
    """eps = alpha v + sigma x, since v = alpha eps - sigma x_0   (Salimans and Ho 2022, appendix D)."""
    return level.alpha * v + level.sigma * x


def v_from_eps(eps: Tensor, x: Tensor, level: Level) -> Tensor:
    """v = alpha eps - sigma x_0 = (eps - sigma x) / alpha   (Salimans and Ho 2022, section 4)."""
    return (eps - level.sigma * x) / level.alpha


def eps_from_flow(v: Tensor, x: Tensor, level: Level) -> Tensor:
    """eps = (x + alpha v) / (alpha + sigma), since v = eps - x_0 is the velocity of a straight path (Lipman et al. 2023).

    On the flow's own levels alpha + sigma = 1. Unlike eps_from_x0 it holds at both ends. Shaped like x.
    """
    return (x + level.alpha * v) / (level.alpha + level.sigma)


def flow_from_eps(eps: Tensor, x: Tensor, level: Level) -> Tensor:
    """v = eps - x_0 = ((alpha + sigma) eps - x) / alpha. Undefined at alpha = 0, where x is nothing but noise."""
    return ((level.alpha + level.sigma) * eps - x) / level.alpha


def score_from_eps(eps: Tensor, level: Level) -> Tensor:
    """grad_x log p_t(x) = -eps / sigma   (Song et al. 2021b; Tweedie's formula)."""
    return -eps / level.sigma


def eps_from_score(score: Tensor, level: Level) -> Tensor:
    """eps = -sigma grad_x log p_t(x). Shaped like the score."""
    return -level.sigma * score


# diffusers' `prediction_type` -> (network output, x, level) -> eps
TO_EPS: dict[str, Callable[[Tensor, Tensor, Level], Tensor]] = {
    "epsilon": lambda eps, x, level: eps,
    "sample": eps_from_x0,
    "v_prediction": eps_from_v,
    "flow_prediction": eps_from_flow,
}


def as_eps(network: Denoise, prediction_type: str) -> Denoise:
    """Wrap a network that predicts eps, x_0, v or a flow's velocity into a denoiser that returns eps.

    Raises ValueError for an unknown prediction type.
    """
    if prediction_type not in TO_EPS:
        raise ValueError(f"unknown prediction_type {prediction_type!r}; known are {', '.join(TO_EPS)}")
    if prediction_type == "epsilon":
        return network
    to_eps = TO_EPS[prediction_type]
    return lambda x, level: to_eps(network(x, level), x, level)
