"""Step grids: which noise levels a sampler visits.

A grid is a list of levels from noisy to clean. Half of the scheduler classes in use differ in nothing else. There are two ways
to choose one:

    by time    leading, linspace, trailing (schedule.py), or a table of times such as Align Your Steps
    by noise   Karras, exponential, beta: ratios sigma / alpha between the largest and the smallest, and then the time that
               belongs to each

A flow's grid is a list of sigmas, shifted or not (Esser et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course.flow import shifted
from course.schedule import CLEAN, Level, NoiseSchedule

Floats = NDArray[np.float64]

# ------------------------------------------------------------------------------------------------ spacings of the ratio


def karras(low: float, high: float, steps: int, rho: float = 7.0) -> Floats:
    """(high^(1/rho) + i/(n-1) (low^(1/rho) - high^(1/rho)))^rho, descending (Karras et al. 2022, eq. 5)."""
    ramp = np.linspace(0, 1, steps)
    return np.asarray((high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho)


def exponential(low: float, high: float, steps: int) -> Floats:
    """Evenly spaced in log(sigma / alpha), descending: the uniform log-SNR of Lu et al. 2022a."""
    return np.exp(np.linspace(math.log(high), math.log(low), steps))


def beta(low: float, high: float, steps: int, a: float = 0.6, b: float = 0.6) -> Floats:
    """Quantiles of Beta(a, b) stretched over [low, high], descending (Lee et al. 2024): dense at both ends."""
    from scipy.stats import beta as law

    return np.asarray(low + law.ppf(1 - np.linspace(0, 1, steps), a, b) * (high - low))


SPACINGS: dict[str, Callable[[float, float, int], Floats]] = {
    "use_karras_sigmas": karras, "use_exponential_sigmas": exponential, "use_beta_sigmas": beta, "use_lu_lambdas": exponential,
}

# Times chosen by minimising a bound on the sampling error, for ten steps (Sabour, Fidler and Kreis 2024); the numbers are those
# of diffusers 0.42.1, schedulers/scheduling_utils.py, `AysSchedules`.
ALIGN_YOUR_STEPS = {
    "sd1": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24),
    "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13),
}


# ------------------------------------------------------------------------------------------------ levels


def from_ratio(t: Any, ratio: float) -> Level:
    """The variance-preserving level with sigma / alpha = ratio, told to the network as t."""
    alpha = 1 / math.sqrt(1 + ratio * ratio)
    return Level(t, alpha, ratio * alpha)


def time_of(schedule: NoiseSchedule, ratios: Any) -> Floats:
    """The times in [0, T-1] at which sigma / alpha has these values, log(sigma / alpha) interpolated linearly in t.

    The table of logarithms is float32, as the networks' own schedules are, so that a time cut off to a whole number is cut where
    diffusers cuts it."""
    table = np.log(schedule.ratios.astype(np.float32))                                   # (T,)
    logs = np.log(np.maximum(ratios, 1e-10))
    low = np.clip(np.searchsorted(table, logs, side="right") - 1, 0, max(len(table) - 2, 0))
    w = np.clip((table[low] - logs) / (table[low] - table[np.minimum(low + 1, len(table) - 1)]), 0, 1) if len(table) > 1 else 0.0
    return np.asarray((1 - w) * low + w * (low + 1), dtype=np.float64)


def level_of(schedule: NoiseSchedule, ratio: float) -> Level:
    """The level of a ratio between two steps of a grid."""
    return from_ratio(float(np.float32(time_of(schedule, ratio))), ratio)


def sigma_grid(schedule: NoiseSchedule, times: Sequence[float], options: Mapping[str, Any],
               whole: Callable[[Any, str], Any] | None, own_range: bool) -> list[Level]:
    """The grid of the samplers that think in sigma / alpha.

    times      what the spacing of the times gives; only their number counts where the ratios are spaced themselves
    options    use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas, use_flow_sigmas with flow_shift,
               interpolation_type "log_linear", final_sigmas_type "zero" or "sigma_min" or "repeated"
    whole      how times become whole numbers, or None where the network is told fractions
    own_range  space the ratios between those of `times`, and not between the first and the last of the schedule
    """
    steps, table = len(times), schedule.ratios
    ratios = np.interp(times, np.arange(len(table)), table)
    chosen = next((name for name in SPACINGS if options.get(name)), None)
    told: Any = [float(t) for t in times]
    if options.get("use_flow_sigmas"):
        return _flow_sigmas(schedule, steps, options)
    if options.get("interpolation_type") == "log_linear":
        ratios = exponential(table[0], table[-1], steps + 1)[:-1]
    if chosen:
        low, high = (ratios[-1], ratios[0]) if own_range else (table[0], table[-1])
        ratios = SPACINGS[chosen](float(low), float(high), steps)
        told = time_of(schedule, ratios)
        if whole is not None:
            told = whole(told, chosen)
    # Fractions of times go with samplers that compute on the scale x_0 + sigma eps and leave the result there.
    least, scaled = float(np.float32(table[0])), whole is not None and isinstance(whole([0.0], "")[0], int)
    ends = {"zero": CLEAN, "sigma_min": from_ratio(0.0, least) if scaled else Level(0.0, 1.0, least),
            "repeated": from_ratio(0.0, float(np.float32(ratios[-1])))}
    end = "sigma_min" if options.get("interpolation_type") == "log_linear" else options.get("final_sigmas_type", "zero")
    if end == "repeated" and not chosen:
        end = "sigma_min"
    return [*(from_ratio(t, float(np.float32(r))) for t, r in zip(told, ratios, strict=True)), ends[end]]


def _flow_sigmas(schedule: NoiseSchedule, steps: int, options: Mapping[str, Any]) -> list[Level]:
    """`use_flow_sigmas`: the levels of a flow for a sampler that was written for the other kind. Whole times, rounded down."""
    T, shift = len(schedule), options.get("flow_shift", 1.0)
    if options.get("flow_sigmas_from_one"):               # UniPC's: from 1 (less a hair) down to 1 / T
        sigmas = shifted(np.linspace(1, 1 / T, steps + 1)[:-1], shift)
        if abs(sigmas[0] - 1) < 1e-6:
            sigmas[0] -= 1e-6
    else:
        sigmas = np.flip(shifted(1 - np.linspace(1, 1 / T, steps + 1), shift))[:-1]
    levels = [Level(int(s * T), 1 - float(np.float32(s)), float(np.float32(s))) for s in sigmas]
    end = options.get("final_sigmas_type", "zero")
    first = float(np.float32(schedule.ratios[0]))
    last = {"zero": CLEAN, "repeated": levels[-1],
            "sigma_min": levels[-1] if options.get("flow_sigmas_from_one") else Level(0.0, 1 - first, first)}[end]
    return [*levels, last]


def inverse_grid(schedule: NoiseSchedule, times: Sequence[float], end: Level) -> list[Level]:
    """From clean to noisy: how DDIM is run backwards (Song et al. 2021a, section 4.3). Each step is told the time of its far end, where
    eps is taken to be what it will be there. times fall; `end` is the clean end."""
    stride = len(schedule) // len(times)
    starts = [(t, schedule.at(t - stride) if t >= stride else end) for t in reversed(times)]
    return [*(Level(t, level.alpha, level.sigma) for t, level in starts), schedule.at(times[0])]


def distilled_times(T: int, steps: int, original: int) -> list[int]:
    """The times that consistency distillation was trained at, k j - 1 for j = 1 .. `original` with k = T // original, and of
    them `steps` from the last one down (Luo et al. 2023). Raises ValueError unless 1 <= steps <= original <= T."""
    if not 1 <= original <= T:
        raise ValueError(f"original_inference_steps must be a whole number from 1 to {T}; got {original!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= original:
        raise ValueError(f"the number of steps must be a whole number from 1 to {original}, the steps the model was distilled "
                         f"at; got {steps!r}")
    k = T // original
    times = [j * k - 1 for j in range(original, 0, -1)]
    return [times[int(i)] for i in np.floor(np.linspace(0, original, steps, endpoint=False))]
