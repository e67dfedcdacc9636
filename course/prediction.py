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


def answer_of(network: Denoise, x: Tensor, level: Level) -> Tensor:
    """What the network says. Raises ValueError unless that is shaped like x: a smaller answer would be spread over it."""
    answer = network(x, level)
    if answer.shape != x.shape:
        raise ValueError(f"the denoiser was given {tuple(x.shape)} and answered {tuple(answer.shape)}; its answer must be shaped like x")
    return answer


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
        return answer_of(self.network, x, level)

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


def preconditioned(network: Denoise, sigma_data: float = 0.5, prediction_type: str = "epsilon", least: float = 0.0) -> Denoise:
    """A network trained as in EDM, as one that predicts x_0 on levels with alpha = 1 (Karras et al. 2022, eq. 7 and table 1):

        x_0 = c_skip x + c_out F(c_in x),   c_in = 1 / sqrt(sigma^2 + sigma_data^2)
        c_skip = sigma_data^2 / (sigma^2 + sigma_data^2),   c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)

    prediction_type: "epsilon", or "v_prediction" for c_out with the other sign, as diffusers counts it. least: the sigma at which a
    consistency model's x_0 is x itself; sigma - least takes the place of sigma in c_skip and in front of c_out (Song et al. 2023).
    Raises ValueError for another prediction type.
    """
    signs = {"epsilon": 1.0, "v_prediction": -1.0}
    if prediction_type not in signs:
        raise ValueError(f"a preconditioned network predicts {' or '.join(signs)}; got {prediction_type!r}")

    def x0(x: Tensor, level: Level) -> Tensor:
        spread = (level.sigma**2 + sigma_data**2) ** 0.5
        above = level.sigma - least
        c_skip, c_out = sigma_data**2 / (above**2 + sigma_data**2), signs[prediction_type] * above * sigma_data / spread
        return c_skip * x + c_out * answer_of(network, x / spread, level)

    return as_eps(x0, "sample")
