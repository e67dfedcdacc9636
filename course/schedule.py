"""Noise schedules: how much signal and how much noise a picture holds at time t.

A noisy picture is x_t = alpha_t x_0 + sigma_t eps with eps ~ N(0, I). On the variance-preserving scale
alpha_t = sqrt(alpha_bar_t) and sigma_t = sqrt(1 - alpha_bar_t), so alpha_t^2 + sigma_t^2 = 1, where
alpha_bar_t = prod_{s<=t} (1 - beta_s)   (Ho, Jain and Abbeel 2020, eq. 4).

`Level` is one point of that curve. `NoiseSchedule` is the curve, and the step grids laid along it. A grid is a plain
list of levels from noisy to clean; a sampler walks it in pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Level(NamedTuple):
    """One noise level: x = alpha x_0 + sigma eps. `t` is the number the network is told.

    alpha and sigma are floats, or tensors (B, 1, ..., 1) when every picture of a batch has a level of its own.
    """

    t: Any
    alpha: Any
    sigma: Any

    @property
    def ratio(self) -> Any:
        """sigma / alpha: the noise level of the variance-exploding papers (sigma in Karras et al. 2022)."""
        return self.sigma / self.alpha

    @property
    def snr(self) -> Any:
        """Signal-to-noise ratio alpha^2 / sigma^2 (Kingma et al. 2021, eq. 2); infinite at the clean end."""
        return (self.alpha / self.sigma) ** 2 if torch.is_tensor(self.sigma) or self.sigma else math.inf


CLEAN = Level(0.0, 1.0, 0.0)   # the end of every trajectory that removes all noise

# What a sampler meets where alpha_bar = 0. There eps says nothing about x_0, so a schedule rescaled to zero terminal SNR
# is stopped one hair before its end. The same hair as diffusers' EulerDiscreteScheduler, 2^-24.
ALPHA_BAR_FLOOR = 2.0**-24


def linear_betas(num_train_timesteps: int, beta_start: float, beta_end: float) -> Tensor:
    """beta_t evenly spaced from beta_start to beta_end (Ho et al. 2020, section 4). float32 (T,)."""
    return torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float32)


def scaled_linear_betas(num_train_timesteps: int, beta_start: float, beta_end: float) -> Tensor:
    """sqrt(beta_t) evenly spaced: the schedule of latent diffusion (Rombach et al. 2022). float32 (T,)."""
    return torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float32) ** 2


def cosine_betas(num_train_timesteps: int, max_beta: float = 0.999) -> Tensor:
    """beta_t = 1 - f(t+1) / f(t) with f(t) = cos^2((t/T + 0.008) / 1.008 * pi/2), at most max_beta. float32 (T,).

    Nichol and Dhariwal 2021, eq. 17.
    """
    def f(t: int) -> float:
        return math.cos((t / num_train_timesteps + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - f(t + 1) / f(t), max_beta) for t in range(num_train_timesteps)]
    return torch.tensor(betas, dtype=torch.float32)


def rescale_zero_terminal_snr(betas: Tensor) -> Tensor:
    """Shift and scale sqrt(alpha_bar) so that its last value is 0 and its first stays (Lin et al. 2024, algorithm 1).

    betas (T,) -> betas (T,), the last one exactly 1.
    """
    root = torch.cumprod(1 - betas, 0).sqrt()                     # (T,)
    first, last = root[0].clone(), root[-1].clone()
    alpha_bar = ((root - last) * (first / (first - last))) ** 2   # (T,)
    alphas = torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
    return 1 - alphas


# Names in diffusers' scheduler configs -> our functions.
BETA_SCHEDULES = {
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "squaredcos_cap_v2": lambda steps, start, end: cosine_betas(steps),
    "cosine": lambda steps, start, end: cosine_betas(steps),
}

SPACINGS = ("leading", "linspace", "trailing")

# What of a scheduler config makes the curve, or names things. The rest is for the samplers: see `NoiseSchedule.options`.
CURVE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
         "prediction_type", "timestep_spacing", "steps_offset", "set_alpha_to_one")


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The curve t -> (alpha_t, sigma_t) for t = 0 .. T-1, and the step grids along it.

    betas              float32 (T,), each in [0, 1]
    prediction_type    what the network predicts: "epsilon", "sample" (x_0) or "v_prediction"
    timestep_spacing   "leading", "linspace", "trailing", or None: each sampler's own
    steps_offset       added to every leading timestep (Stable Diffusion: 1)
    set_alpha_to_one   where ddim and pndm end: True at the clean picture, False at alpha_bar[0], None each one's own
    options            what else a scheduler config says, for the samplers: each takes what it has and refuses by name what
                       would change its pictures and it does not have
    """

    betas: Tensor
    prediction_type: str = "epsilon"
    timestep_spacing: str | None = None
    steps_offset: int = 0
    set_alpha_to_one: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    alphas_cumprod: Tensor = field(init=False, repr=False)
    _ratio: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        betas = torch.as_tensor(self.betas, dtype=torch.float32)
        if betas.ndim != 1 or len(betas) == 0:
            raise ValueError(f"betas must be a list of numbers, one per training step; got shape {tuple(betas.shape)}")
        if not bool(torch.isfinite(betas).all()) or float(betas.min()) < 0 or float(betas.max()) > 1:
            raise ValueError(f"betas are variances and must lie in [0, 1]; got {betas.min().item()} to {betas.max().item()}")
        if self.timestep_spacing not in (None, *SPACINGS):
            raise ValueError(f"timestep_spacing is {self.timestep_spacing!r}; choose one of {', '.join(SPACINGS)}")
        # float32 on purpose: diffusers accumulates its table in float32, and float64 would move sigma by 1e-5.
        alphas_cumprod = torch.cumprod(1 - betas, 0)
        alpha_bar = torch.where(alphas_cumprod > 0, alphas_cumprod, ALPHA_BAR_FLOOR)
        object.__setattr__(self, "betas", betas)
        object.__setattr__(self, "alphas_cumprod", alphas_cumprod)
        object.__setattr__(self, "_ratio", (((1 - alpha_bar) / alpha_bar) ** 0.5).double().numpy())

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Build from a diffusers scheduler config (a dict, the content of scheduler_config.json, or `scheduler.config`).

        A value that a scheduler object merely filled in by default is not carried over to other samplers: diffusers
        lists those names under `_use_default_values`, and its own `from_config` drops them too.
        Raises ValueError for a config that says nothing about betas, or an unknown beta_schedule.
        """
        if all(config.get(key) is None for key in ("beta_start", "beta_end", "beta_schedule", "trained_betas")):
            kind = config.get("_class_name", "this scheduler config")
            raise ValueError(f"{kind} says nothing about betas (beta_start, beta_end, beta_schedule or trained_betas), so it is no "
                             "noise schedule for these samplers; pass the schedule that the network was trained on")
        given = {key: value for key, value in dict(config).items() if key not in config.get("_use_default_values", ())}
        if given.get("trained_betas") is not None:
            betas = torch.tensor(given["trained_betas"], dtype=torch.float32)
        else:
            name = given.get("beta_schedule", "linear")
            if name not in BETA_SCHEDULES:
                raise ValueError(f"unknown beta_schedule {name!r}; known are {', '.join(BETA_SCHEDULES)}")
            betas = BETA_SCHEDULES[name](given.get("num_train_timesteps", 1000), given.get("beta_start", 1e-4),
                                         given.get("beta_end", 0.02))
        if given.get("rescale_betas_zero_snr"):
            betas = rescale_zero_terminal_snr(betas)
        if config.get("_class_name") == "PNDMScheduler":          # silent about its Runge-Kutta start, that class makes one
            given.setdefault("skip_prk_steps", False)
        return cls(betas, given.get("prediction_type", "epsilon"), given.get("timestep_spacing"),
                   given.get("steps_offset", 0), given.get("set_alpha_to_one"),
                   {key: value for key, value in given.items() if key not in CURVE and not key.startswith("_")})

    @property
    def ratios(self) -> np.ndarray:
        """sigma / alpha at every trained time, rising: float64 (T,)."""
        return self._ratio

    def __len__(self) -> int:
        """T, the number of training timesteps."""
        return len(self.betas)

    # ------------------------------------------------------------------------------------------------ levels

    def at(self, t: float) -> Level:
        """The level at time t in [0, T-1]; between two integers sigma/alpha is interpolated linearly, as in diffusers.

        Raises ValueError outside the range.
        """
        if not 0 <= t <= len(self) - 1:
            raise ValueError(f"t = {t} is outside 0 .. {len(self) - 1}, the times this schedule was made for")
        below = int(t)
        if t == below:   # from the table itself: differences of neighbours cancel, so every bit counts
            alpha_bar = float(self.alphas_cumprod[below]) or ALPHA_BAR_FLOOR
            return Level(t, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))
        ratio = float(self._ratio[below] + (t - below) * (self._ratio[below + 1] - self._ratio[below]))
        alpha = 1 / math.sqrt(1 + ratio * ratio)
        return Level(t, alpha, ratio * alpha)

    def gather(self, t: Tensor, ndim: int) -> Level:
        """One level per picture, for training: t int64 (B,) -> alpha, sigma float32 (B, 1, ..., 1) with `ndim` axes."""
        alpha_bar = self.alphas_cumprod.to(t.device)[t].reshape(-1, *[1] * (ndim - 1))   # (B, 1, ..., 1)
        return Level(t, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())

    # ------------------------------------------------------------------------------------------------ grids

    def timesteps(self, steps: int, spacing: str, whole: bool = True) -> Sequence[float]:
        """The `steps` times a sampler visits, descending (Lin et al. 2024, table 2 names the three spacings).

        leading    i * (T // steps) + steps_offset: starts short of T - 1, whatever the steps
        linspace   evenly from T - 1 down to 0, both included; fractions kept unless `whole`
        trailing   T - 1, then T/steps less each time: starts at T - 1, ends short of 0

        Raises ValueError unless 1 <= steps <= T.
        """
        T = len(self)
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= T:
            raise ValueError(f"the number of steps must be a whole number from 1 to {T}; got {steps!r}")
        if spacing == "leading":
            stride = T // steps
            offset = min(self.steps_offset, T - 1 - (steps - 1) * stride)   # never past the last trained time
            return [i * stride + offset for i in reversed(range(steps))]
        if spacing == "trailing":
            return [int(t) - 1 for t in np.round(np.arange(T, 0, -T / steps))][:steps]
        if whole:
            return [int(t) for t in np.linspace(0, T - 1, steps).round()[::-1]]
        return [float(t) for t in np.linspace(0, T - 1, steps, dtype=np.float32)[::-1]]

    def levels(self, times: Sequence[float], end: Level = CLEAN) -> list[Level]:
        """The grid through these times, noisy to clean, closed by `end`."""
        return [*map(self.at, times), end]
