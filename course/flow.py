"""Flow matching: the straight path from noise to data, on the same levels as everything else.

A flow takes the simplest road there is between a picture and its noise,

    x_t = (1 - t) x_0 + t eps        so        dx_t/dt = eps - x_0 =: v

(Liu, Gong and Liu 2023; Lipman et al. 2023, who count time the other way round). That is a `Level` with alpha = 1 - t and
sigma = t. A network trained to answer v has learnt E[v | x_t], the velocity of the crowd, and its path is found by
dx/dt = v(x, t), from t = 1 (noise) down to t = 0.

Nothing else is new. At the same signal-to-noise ratio alpha^2 / sigma^2 a flow and a variance-preserving process are the same
picture times a number, so one network can be asked in the place of the other (`on_flow`, `off_flow`), and Euler's
method on the flow is DDIM on another grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course.prediction import Denoise, eps_from_flow, flow_from_eps
from course.schedule import CLEAN, Level, NoiseSchedule


def is_flow(schedule: Any) -> bool:
    """Whether a schedule, or a scheduler's config from a file, is one of a flow."""
    named = schedule.get("_class_name") if isinstance(schedule, Mapping) else ""
    return isinstance(schedule, FlowSchedule) or str(named).startswith("FlowMatch")


Velocity = Callable[[Tensor, Level], Tensor]   # velocity(x, level) -> v = E[eps - x_0 | x], shaped like x


def flow_level(t: Any, num_train_timesteps: int = 1000) -> Level:
    """Level(T t, 1 - t, t): time t in [0, 1], with noise at 1. The network is told T t, as in diffusers."""
    return Level(t * num_train_timesteps, 1 - t, t)


def data_time(t: Any) -> Any:
    """The other convention: s = 1 - t has noise at 0 and data at 1 (Lipman et al. 2023), and its own inverse.

    A path parametrised by s runs the other way, so its velocity is dx/ds = x_0 - eps = -v: time *and* sign change, or neither.
    """
    return 1 - t


def shifted(t: Any, shift: float) -> Any:
    """t -> shift t / (1 + (shift - 1) t): multiplies the ratio t / (1 - t) by `shift` (Esser et al. 2024).

    A picture n times as large has n^2 times the pixels, and averages over n x n of them undo 1/n of the noise's deviation:
    to look as noisy it needs a ratio n times as large. t in [0, 1], shift > 0.
    """
    return shift * t / (1 + (shift - 1) * t)


@dataclass(frozen=True)
class FlowSchedule:
    """The straight path with the interface of a `NoiseSchedule`: times 1 .. T in whole numbers, t = time / T.

    num_train_timesteps   T; the network is told times up to it
    shift                 of the step grid (and nothing else): more steps near the noise when above 1
    """

    num_train_timesteps: int = 1000
    shift: float = 1.0

    prediction_type = "flow_prediction"

    def __post_init__(self) -> None:
        if isinstance(self.num_train_timesteps, bool) or not isinstance(self.num_train_timesteps, int) or self.num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps must be a whole number of at least 1; got {self.num_train_timesteps!r}")
        if not (math.isfinite(self.shift) and self.shift > 0):
            raise ValueError(f"shift multiplies a noise level and must be a positive number; got {self.shift}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FlowSchedule:
        """Build from the config of diffusers' FlowMatchEulerDiscreteScheduler.

        Raises ValueError for another class, or an option that changes the grid in a way the course does not have.
        """
        name = config.get("_class_name", "FlowMatchEulerDiscreteScheduler")
        if not str(name).startswith("FlowMatch"):
            raise ValueError(f"{name} is not a scheduler of a flow; NoiseSchedule.from_config reads schedules with betas")
        for key in ("use_dynamic_shifting", "invert_sigmas", "stochastic_sampling", "shift_terminal", "use_karras_sigmas",
                    "use_exponential_sigmas", "use_beta_sigmas"):
            if config.get(key):
                raise ValueError(f"the scheduler config sets {key}, which the course's flows do not have; "
                                 "pass the diffusers scheduler instead")
        return cls(config.get("num_train_timesteps", 1000), config.get("shift", 1.0))

    def __len__(self) -> int:
        """T, the number of training times."""
        return self.num_train_timesteps

    def at(self, time: float) -> Level:
        """The level at time in [0, T], t = time / T. Raises ValueError outside."""
        if not 0 <= time <= len(self):
            raise ValueError(f"time = {time} is outside 0 .. {len(self)}, the times of this flow")
        return flow_level(time / len(self), len(self))

    def gather(self, index: Tensor, ndim: int) -> Level:
        """One level per picture, for training: index int64 (B,) in 0 .. T-1 stands for time index + 1 ->
        alpha, sigma float32 (B, 1, ..., 1) with `ndim` axes."""
        t = (index + 1).float() / len(self)                                              # (B,)
        sigma = t.reshape(-1, *[1] * (ndim - 1))                                         # (B, 1, ..., 1)
        return Level(index + 1, 1 - sigma, sigma)

    def levels(self, steps: int) -> list[Level]:
        """steps + 1 levels from t = 1 to the clean end: evenly spaced in t, then shifted.

        Raises ValueError unless 1 <= steps <= T.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= len(self):
            raise ValueError(f"the number of steps must be a whole number from 1 to {len(self)}; got {steps!r}")
        return [*(flow_level(shifted(1 - i / steps, self.shift), len(self)) for i in range(steps)), CLEAN]


# ------------------------------------------------------------------------------------------------ along the path


def euler(velocity: Velocity, x: Tensor, grid: Sequence[Level]) -> Tensor:
    """x_next = x + (t_next - t) v(x, t): first order, exact where paths are straight. x (B, ...), grid from noisy to clean."""
    for now, next in pairwise(grid):
        x = x + (next.sigma - now.sigma) * velocity(x, now)
    return x


def heun(velocity: Velocity, x: Tensor, grid: Sequence[Level]) -> Tensor:
    """The same with the mean of both ends' velocities: second order, 2 steps calls (a flow has a velocity at t = 0, too)."""
    for now, next in pairwise(grid):
        v = velocity(x, now)
        ahead = velocity(x + (next.sigma - now.sigma) * v, next)
        x = x + (next.sigma - now.sigma) * (v + ahead) / 2
    return x


# ------------------------------------------------------------------------------------------------ straightening


def couple(velocity: Velocity, noise: Tensor, grid: Sequence[Level]) -> tuple[Tensor, Tensor]:
    """(x_0, eps): each noise with the picture that the flow leads it to. Training on such pairs instead of independent ones is
    *reflow* (Liu, Gong and Liu 2023): straight lines between them cross less, so the new flow is straighter."""
    return heun(velocity, noise, grid), noise


def straightness(velocity: Velocity, noise: Tensor, grid: Sequence[Level]) -> Tensor:
    """How far from straight each path is: the mean over time of || (eps - x_0) - v(x_t, t) ||^2 along it, (B,).

    0 for straight lines at constant speed, for which one step of Euler's method is exact. The integrand is that of Liu, Gong and
    Liu 2023; x_0 is where Euler's method on this grid ends, and the mean is taken over its steps.
    """
    x, seen, spans = noise, [], []
    for now, next in pairwise(grid):
        v = velocity(x, now)
        seen.append(v)
        spans.append(now.sigma - next.sigma)
        x = x + (next.sigma - now.sigma) * v
    chord = (noise - x).flatten(1) / sum(spans)
    parts = [span * (chord - v.flatten(1)).square().sum(1) for span, v in zip(spans, seen, strict=True)]
    return torch.stack(parts).sum(0) / sum(spans)


# ------------------------------------------------------------------------------------------------ the same picture on two scales


def on_flow(denoise: Denoise, schedule: NoiseSchedule) -> Velocity:
    """The velocity of a flow, from a network that was trained to answer eps on a variance-preserving schedule.

    At time t the flow has the ratio t / (1 - t). The schedule has it at some time of its own, and there holds the same picture
    times a number: x_vp = x_flow (alpha_vp / (1 - t)). Ratios beyond the schedule's ends are asked at the ends.
    v = eps - x_0 = (eps - x) / (1 - t); at t = 1, where x_0 cannot be told from x, a hair before it.
    """
    def velocity(x: Tensor, level: Level) -> Tensor:
        alpha = max(level.alpha, FLOOR)
        ratio = (1 - alpha) / alpha
        vp = time_of_ratio(schedule, ratio)
        eps = denoise(x * (vp.alpha / alpha), vp)
        return flow_from_eps(eps, x, Level(level.t, alpha, 1 - alpha))

    return velocity


def off_flow(velocity: Velocity, num_train_timesteps: int = 1000) -> Denoise:
    """The other way: a denoiser for any level, from a flow's network. The flow meets the ratio sigma / alpha at
    t = sigma / (alpha + sigma), and there holds x / (alpha + sigma). Plug it into any sampler."""
    def denoise(x: Tensor, level: Level) -> Tensor:
        scale = level.alpha + level.sigma
        flow = flow_level(level.sigma / scale, num_train_timesteps)
        return eps_from_flow(velocity(x / scale, flow), x / scale, flow)

    return denoise


FLOOR = 2.0**-12   # the least alpha at which a picture is still looked for in noise: its square is the hair of schedule.py


def time_of_ratio(schedule: NoiseSchedule, ratio: float) -> Level:
    """The level of a schedule whose sigma / alpha is `ratio`: its inverse function, linear between two times as `at` is.

    Ratios below the first or above the last give the first or last level.
    """
    table = schedule.ratios                                                              # (T,), rising
    above = int(np.searchsorted(table, ratio))
    if above == 0:
        return schedule.at(0)
    if above == len(table):
        return schedule.at(len(table) - 1)
    low, high = float(table[above - 1]), float(table[above])
    return schedule.at(above - 1 + (ratio - low) / (high - low))
