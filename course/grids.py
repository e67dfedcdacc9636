"""Step grids: which noise levels a sampler visits.

A grid is a list of levels from noisy to clean. Half of the scheduler classes in use differ in nothing else. There are two ways
to choose one:

    by time    leading, linspace, trailing (schedule.py), or a table of times such as Align Your Steps
    by noise   Karras, exponential, beta: ratios sigma / alpha between the largest and the smallest, and then the time that
               belongs to each

A flow's grid is a list of sigmas, shifted or not (Esser et al. 2024).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course.flow import FlowSchedule, flow_level, shifted
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


def inverse_multistep_grid(schedule: NoiseSchedule, steps: int, options: Mapping[str, Any], spacing: str,
                           whole: Callable[[Any, str], Any]) -> list[Level]:
    """From clean to noisy for the DPM-Solver family: its own grid backwards. Laid for one time more than there are steps, without the
    noisiest; the end is the last trained time. Where the ratios are spaced themselves the last level is there twice, as in diffusers."""
    last = len(schedule) - 1 - int(np.searchsorted(-np.log(schedule.ratios[::-1]), options.get("lambda_min_clipped", -math.inf)))
    shorter = NoiseSchedule(schedule.betas[: last + 1], steps_offset=schedule.steps_offset)
    times = schedule.timesteps(steps, spacing) if spacing == "trailing" else shorter.timesteps(min(steps + 1, last + 1), spacing)[1:]
    rising = sorted({int(t) for t in times if t <= last})
    chosen = next((name for name in SPACINGS if options.get(name)), None)
    if chosen:
        ratios = SPACINGS[chosen](float(schedule.ratios[-1]), float(schedule.ratios[0]), len(rising))      # from low to high
        levels = [from_ratio(t, float(np.float32(r))) for t, r in zip(whole(time_of(schedule, ratios), chosen), ratios, strict=True)]
        return [*levels, levels[-1]]
    return [*map(schedule.at, rising), schedule.at(last)]


def own_ratios(schedule: NoiseSchedule, ratios: Sequence[float]) -> list[Level]:
    """The grid through ratios sigma / alpha of one's own, falling, the last of them 0 or not. Raises ValueError for others."""
    ratios = [float(r) for r in ratios]
    if len(ratios) < 2 or not all(math.isfinite(r) for r in ratios) or any(a <= b for a, b in itertools.pairwise(ratios)) or ratios[-1] < 0:
        raise ValueError(f"sigmas must be at least two numbers that fall from one to the next, down to 0 or above it; got {ratios}")
    levels = [from_ratio(float(np.float32(t)), float(np.float32(r))) for t, r in zip(time_of(schedule, ratios), ratios, strict=True)]
    return levels if ratios[-1] else [*levels[:-1], CLEAN]


# ------------------------------------------------------------------------------------------------ schedules without betas


def steps_in(steps: int, most: int | None = None) -> int:
    """`steps` itself. Raises ValueError unless it is a whole number from 1 to `most`."""
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= (most or steps):
        raise ValueError(f"the number of steps must be a whole number from 1{f' to {most}' if most else ''}; got {steps!r}")
    return steps


def flow_levels(steps: int, num_train_timesteps: int = 1000, shift: float = 1.0, to_the_end: bool = False) -> list[Level]:
    """A flow's levels, evenly from 1 down to 1 / steps, then shifted, then clean: what Flux's pipeline lays. to_the_end: down to the
    first trained time instead, which is shifted twice, as diffusers' classes do when left to themselves."""
    flow = FlowSchedule(num_train_timesteps, shift)
    if not to_the_end:
        return flow.levels(steps)
    times = np.linspace(1, shifted(1 / num_train_timesteps, shift), steps_in(steps, num_train_timesteps))
    return [*(flow_level(float(t), num_train_timesteps) for t in shifted(times, shift)), CLEAN]


def edm_levels(steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, sigma_schedule: str = "karras", rho: float = 7.0,
               final_sigmas_type: str = "zero") -> list[Level]:
    """x_0 + sigma eps: levels with alpha = 1, told as log(sigma) / 4 (Karras et al. 2022, table 1 and eq. 5)."""
    if not 0 < sigma_min <= sigma_max < math.inf:
        raise ValueError(f"sigma_min and sigma_max must be positive, the first the smaller; got {sigma_min} and {sigma_max}")
    if sigma_schedule not in ("karras", "exponential"):
        raise ValueError(f"sigma_schedule is {sigma_schedule!r}; it is 'karras' or 'exponential'")
    steps_in(steps)
    sigmas = karras(sigma_min, sigma_max, steps, rho) if sigma_schedule == "karras" else exponential(sigma_min, sigma_max, steps)
    levels = [Level(0.25 * math.log(s), 1.0, float(np.float32(s))) for s in sigmas]
    last = {"zero": CLEAN, "sigma_min": Level(0.25 * math.log(sigma_min), 1.0, float(np.float32(sigma_min)))}
    if final_sigmas_type not in last:
        raise ValueError(f"final_sigmas_type is {final_sigmas_type!r}; it is 'zero' or 'sigma_min'")
    return [*levels, last[final_sigmas_type]]


def ve_levels(steps: int, sigma_min: float = 0.02, sigma_max: float = 100.0) -> list[Level]:
    """x_0 + sigma eps with sigma falling by equal factors, told as sigma (Song et al. 2021; Karras et al. 2022, table 1)."""
    steps_in(steps)
    return [*(Level(s, 1.0, s) for s in exponential(sigma_min, sigma_max, steps)), CLEAN]


def distilled_edm_levels(steps: int, num_train_timesteps: int = 40, sigma_min: float = 0.002, sigma_max: float = 80.0,
                         rho: float = 7.0) -> list[Level]:
    """Those of 40 levels of `edm_levels` that a consistency model visits, told as 250 log sigma (Song et al. 2023, algorithm 1)."""
    stride = num_train_timesteps // steps_in(steps, num_train_timesteps)
    ramp = np.arange(steps) * stride / max(num_train_timesteps - 1, 1)
    sigmas = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return [*(Level(250 * math.log(s), 1.0, float(np.float32(s))) for s in sigmas), CLEAN]


def circle_levels(steps: int, max_time: float = 1.5708, times: Sequence[float] | None = None) -> list[Level]:
    """alpha = cos t and sigma = sin t, told as t, evenly from max_time to 0 (Lu and Song 2024, TrigFlow). times: of one's own, with the
    end; in two steps the paper's models stop at 1.3."""
    if times is None:
        times = [max_time * (1 - i / steps) for i in range(steps_in(steps) + 1)]
    if len(times) != steps + 1 or any(a <= b for a, b in itertools.pairwise(times)):
        raise ValueError(f"times must be {steps + 1} numbers that fall from one to the next; got {list(times)}")
    return [Level(float(np.float32(t)), math.cos(np.float32(t)), math.sin(np.float32(t))) for t in times]


def cosine_levels(steps: int, s: float = 0.008, scaler: float = 1.0) -> list[Level]:
    """alpha_bar = cos^2((t + s) / (1 + s) pi / 2), divided by its value at 0 and kept within 1e-4 .. 1 - 1e-4: the cosine schedule of
    Nichol and Dhariwal (2021) without a table, as in Wuerstchen (Pernias et al. 2023). Told as t, from 1 to 0; the end is not clean."""
    if not scaler > 0:
        raise ValueError(f"scaler must be positive; got {scaler}")

    def level(t: float) -> Level:
        bent = 1 - (1 - t) ** scaler if scaler > 1 else t**scaler
        alpha_bar = (math.cos((bent + s) / (1 + s) * math.pi / 2) / math.cos(s / (1 + s) * math.pi / 2)) ** 2
        alpha_bar = min(max(alpha_bar, 1e-4), 1 - 1e-4)
        return Level(t, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))

    return [level(1 - i / steps) for i in range(steps_in(steps) + 1)]


def sine_levels(steps: int) -> list[Level]:
    """sigma = sin^2 of even angles from pi / 2 down to 0, told as 2 / pi times the angle whose sine sigma is: the schedule that diffusers'
    IPNDMScheduler makes, for sound."""
    sigmas = [math.sin((1 - i / steps) * math.pi / 2) ** 2 for i in range(steps_in(steps))]
    alphas = [math.sqrt(max(1 - s * s, 0.0)) for s in sigmas]
    return [*(Level(math.atan2(s, a) / math.pi * 2, a, s) for s, a in zip(sigmas, alphas, strict=True)), CLEAN]
