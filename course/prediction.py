"""What a network may predict, and how each turns into the noise eps.

At a known level, x = alpha x_0 + sigma eps ties three quantities together: give x and one of eps, x_0, v or the score,
and the others follow. Everything downstream of this file sees eps only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


# The same network output -> x_0, where that needs no division by a small alpha
TO_X0: dict[str, Callable[[Tensor, Tensor, Level], Tensor]] = {
    "epsilon": x0_from_eps,
    "sample": lambda x0, x, level: x0,
    "v_prediction": lambda v, x, level: level.alpha * x - level.sigma * v,
    "flow_prediction": lambda v, x, level: (x - level.sigma * v) / (level.alpha + level.sigma),
}


@dataclass(frozen=True)
class AsEps:
    """A network that predicts something else, as a denoiser: called, it says eps; `both` says (x_0, eps) from the same call, each
    as exactly as the network's own answer allows."""

    network: Denoise
    prediction_type: str

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        return TO_EPS[self.prediction_type](self._asked(x, level), x, level)

    def _asked(self, x: Tensor, level: Level) -> Tensor:
        if self.prediction_type == "sample" and isinstance(level.sigma, float) and not level.sigma:
            raise ValueError("a network that predicts x_0 says nothing about eps at sigma = 0: start from a level with some noise "
                             "(set_alpha_to_one=False)")
        return self.network(x, level)

    def both(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        output = self._asked(x, level)
        return TO_X0[self.prediction_type](output, x, level), TO_EPS[self.prediction_type](output, x, level)


def as_eps(network: Denoise, prediction_type: str) -> Denoise:
    """Wrap a network that predicts eps, x_0, v or a flow's velocity into a denoiser that returns eps.

    Raises ValueError for an unknown prediction type.
    """
    if prediction_type not in TO_EPS:
        raise ValueError(f"unknown prediction_type {prediction_type!r}; known are {', '.join(TO_EPS)}")
    return network if prediction_type == "epsilon" else AsEps(network, prediction_type)
