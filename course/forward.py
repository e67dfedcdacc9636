"""The forward process: adding noise, all at once or step by step, and the one-step inverse when x_0 is known.

Every function works between any two levels, not only neighbours: `earlier` has less noise, `later` has more.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from course.schedule import Level


def add_noise(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    """A draw from q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I): x_t = alpha_t x_0 + sigma_t eps   (Ho et al. 2020, eq. 4).

    x0, eps (B, ...) -> (B, ...).
    """
    return level.alpha * x0 + level.sigma * eps


def transition(earlier: Level, later: Level) -> tuple[Any, Any]:
    """The two numbers of q(x_later | x_earlier) = N(a x_earlier, b I): a = alpha_t / alpha_s, b = sigma_t^2 - a^2 sigma_s^2.

    Between neighbours a = sqrt(1 - beta_t) and b = beta_t   (Ho et al. 2020, eq. 2; Kingma et al. 2021, appendix A).
    """
    a = later.alpha / earlier.alpha
    return a, later.sigma**2 - a**2 * earlier.sigma**2


def diffuse(x: Tensor, eps: Tensor, earlier: Level, later: Level) -> Tensor:
    """A draw from q(x_later | x_earlier): add just the noise that is missing. x, eps (B, ...) -> (B, ...)."""
    a, b = transition(earlier, later)
    return a * x + b**0.5 * eps


def posterior(x: Tensor, x0: Tensor, later: Level, earlier: Level) -> tuple[Tensor, Any]:
    """Mean and variance of q(x_earlier | x_later, x_0), Gaussian by Bayes' rule.

        mean = a sigma_s^2 / sigma_t^2 x_t + alpha_s b / sigma_t^2 x_0,    variance = b sigma_s^2 / sigma_t^2

    with a, b from `transition`. Between neighbours these are mu-tilde and beta-tilde of Ho et al. 2020, eq. 6 and 7.
    x, x0 (B, ...) -> mean (B, ...), variance a number.
    """
    a, b = transition(earlier, later)
    variance_t = later.sigma**2
    mean = (a * earlier.sigma**2 / variance_t) * x + (earlier.alpha * b / variance_t) * x0
    return mean, b * earlier.sigma**2 / variance_t
