"""Worlds whose perfect denoiser is known: Gaussians and mixtures of Gaussians.

If the data are a mixture of Gaussians, so are the noisy data at every level, and everything a network has to learn can be
written down: the density, its score, the best guess of eps. Samplers can then be measured against the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course.prediction import x0_from_eps
from course.schedule import Level


@dataclass(frozen=True, eq=False)
class Mixture:
    """sum_k weights[k] N(means[k], stds[k]^2 I) in D dimensions. Points are tensors (..., D).

    means (K, D), stds (K,), weights (K,) or None for equal ones. Raises ValueError if they do not fit together.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor

    def __init__(self, means: Sequence[Sequence[float]] | Tensor, stds: Sequence[float] | Tensor,
                 weights: Sequence[float] | Tensor | None = None) -> None:
        means = torch.as_tensor(means, dtype=torch.float64)
        stds = torch.as_tensor(stds, dtype=torch.float64)
        weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights)
        if means.ndim != 2 or stds.shape != (len(means),) or weights.shape != (len(means),):
            raise ValueError(f"a mixture of K parts in D dimensions needs means (K, D), stds (K,), weights (K,); "
                             f"got {tuple(means.shape)}, {tuple(stds.shape)}, {tuple(weights.shape)}")
        if bool((stds <= 0).any()) or bool((weights <= 0).any()):
            raise ValueError("stds and weights must be positive")
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "stds", stds)
        object.__setattr__(self, "weights", (weights / weights.sum()).double())

    def _parts(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """For each part of the noisy mixture: log(weight * density at x) (..., K), x - mean (..., K, D), variance (K,)."""
        means, stds, weights = (p.to(x) for p in (self.means, self.stds, self.weights))
        if x.shape[-1] != means.shape[1]:
            raise ValueError(f"points have {x.shape[-1]} coordinates; this mixture lives in {means.shape[1]} dimensions")
        variance = (level.alpha * stds) ** 2 + level.sigma**2                           # (K,)
        offset = x[..., None, :] - level.alpha * means                                  # (..., K, D)
        log_density = -(offset**2).sum(-1) / (2 * variance) - x.shape[-1] / 2 * torch.log(2 * torch.pi * variance)
        return log_density + torch.log(weights), offset, variance

    def log_prob(self, x: Tensor, level: Level) -> Tensor:
        """log p_t(x): part k becomes N(alpha means[k], (alpha^2 stds[k]^2 + sigma^2) I). x (..., D) -> (...)."""
        return torch.logsumexp(self._parts(x, level)[0], dim=-1)

    def score(self, x: Tensor, level: Level) -> Tensor:
        """grad_x log p_t(x) = -sum_k P(part k | x) (x - alpha means[k]) / variance_k. x (..., D) -> (..., D)."""
        log_parts, offset, variance = self._parts(x, level)
        share = torch.softmax(log_parts, dim=-1)                                        # (..., K)
        return -((share / variance)[..., None] * offset).sum(-2)                        # (..., D)

    def denoise(self, x: Tensor, level: Level) -> Tensor:
        """The best guess of eps, E[eps | x_t = x] = -sigma score: what a network with no limits would learn.

        x (..., D) -> (..., D). Plug it into any sampler.
        """
        return -level.sigma * self.score(x, level)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n clean points (n, D), float32."""
        part = torch.multinomial(self.weights, n, replacement=True, generator=generator)        # (n,)
        eps = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return (self.means[part] + self.stds[part, None] * eps).float()

    def flow(self, x: Tensor, now: Level, next: Level) -> Tensor:
        """Follow the probability-flow ODE exactly from one level to another: where a sampler with infinitely many steps ends.

        In u = x / alpha and r = sigma / alpha the ODE is du/dr = eps(x, r) (Karras et al. 2022, eq. 1; Song et al. 2021b).
        One part: solved in closed form, (x - alpha m) / std_t stays constant. More: integrated to 1e-10 by an eighth-order
        Runge-Kutta method (scipy's DOP853) in float64. x (..., D) -> (..., D), float64.
        """
        x = x.double()
        if len(self.means) == 1:
            (_, offset, before), (_, _, after) = self._parts(x, now), self._parts(x, next)
            return next.alpha * self.means[0] + offset[..., 0, :] * (after / before).sqrt()
        from scipy.integrate import solve_ivp  # not at the top: the samplers' users do not need scipy

        def slope(r: float, u: np.ndarray) -> np.ndarray:
            alpha = (1 + r * r) ** -0.5
            eps = self.denoise(alpha * torch.from_numpy(u).reshape(x.shape), Level(0.0, alpha, r * alpha))
            return eps.reshape(-1).numpy()

        start = (x / now.alpha).reshape(-1).numpy()
        u = solve_ivp(slope, (now.ratio, next.ratio), start, method="DOP853", rtol=1e-10, atol=1e-10)
        return next.alpha * torch.from_numpy(u.y[:, -1]).reshape(x.shape)


def gaussian(mean: Sequence[float], std: float) -> Mixture:
    """N(mean, std^2 I) as a mixture of one part."""
    return Mixture([list(mean)], [std])


def ring(parts: int = 6, radius: float = 1.5, std: float = 0.2) -> Mixture:
    """`parts` equal bumps evenly on a circle: the course's picture of data with several kinds in it. 2-D."""
    angle = torch.arange(parts) * (2 * torch.pi / parts)
    return Mixture(radius * torch.stack([angle.cos(), angle.sin()], dim=1), torch.full((parts,), std))


def x0_guess(world: Mixture, x: Tensor, level: Level) -> Tensor:
    """E[x_0 | x_t = x], the mean of all clean points that may lie behind x (Tweedie's formula). x (..., D) -> (..., D)."""
    return x0_from_eps(world.denoise(x, level), x, level)
