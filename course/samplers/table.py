"""The one table: every sampler with its name, the grid it is known for, and the scheduler class of diffusers that does the same.

`SAMPLERS[name].sample(denoise, noise, schedule, steps)` lays the grid and starts the sampler. The command line, sweeps, benchmarks,
the page "Which scheduler?" and the checks take the names from here.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course import grids
from course.prediction import Denoise, eps_from_x0
from course.samplers import basic, solvers
from course.samplers.basic import look
from course.schedule import CLEAN, Level, NoiseSchedule

# Options of diffusers' configs, by what they are about.
SIGMA_GRID = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
BOUNDS = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
CLIP = {"clip_sample": False, "clip_sample_range": 1.0}


@dataclass(frozen=True)
class Sampler:
    """A sampler with the grid it is known for.

    run          (denoise, x, grid, draw, **options) -> x
    spacing      the spacing of the grid's times unless the schedule names one
    whole        whole timesteps, or fractions of them
    extra_step   lay a linspace or leading grid for one step more and leave out its last time (the DPM-Solver family)
    set_alpha_to_one   True or False: its default for the schedule's option of that name. None: it always ends clean
    theirs       diffusers' scheduler class
    fixed        what the name fixes of that class's options ("dpmpp_3m": solver_order 3)
    takes        the other options of a scheduler config that are understood, with their defaults
    refuses      options of that class that change its pictures and are not here: any other value than these is refused
    lay          how the grid is laid: "times" (levels of the table), "sigma" (ratios, see grids.py), "inverse", "distilled", "linspace"
    draws        fresh noise is drawn on the way
    order, calls accuracy in the step length, and model calls for N steps
    title, also  what it is called, and its names elsewhere (A1111, ComfyUI, k-diffusion)
    taught       one of the eight that the book explains line by line
    """

    run: Callable[..., Tensor]
    spacing: str
    whole: bool
    extra_step: bool = False
    set_alpha_to_one: bool | None = None
    theirs: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    takes: Mapping[str, Any] = field(default_factory=dict)
    refuses: Mapping[str, Any] = field(default_factory=dict)
    lay: str = "times"
    own_range: bool = True
    rounds: Callable[[Any, str], Any] | None = None
    draws: bool = False
    order: int = 1
    calls: str = "N"
    title: str = ""
    also: tuple[str, ...] = ()
    taught: bool = False

    # ------------------------------------------------------------------------------------------------ options

    def options(self, schedule: NoiseSchedule, **given: Any) -> dict[str, Any]:
        """The options in force: defaults, what the schedule's config says, what the name fixes, what is given here.

        Raises ValueError, with the nearest thing that works, for one that this sampler does not have."""
        for name, default in self.refuses.items():
            value = schedule.options.get(name, default)
            if value != default:
                raise ValueError(f"the scheduler config sets {name} to {value!r}, which {self.name} does not have here: set it to "
                                 f"{default!r}, or pass diffusers' own {self.theirs}")
        known = {**self.defaults(), **self.takes}
        unknown = set(given) - set(known) - set(self._parameters())
        if unknown:
            raise ValueError(f"{self.name} takes no option {', '.join(sorted(unknown))}; it takes "
                             f"{', '.join(sorted({*known, *self._parameters()})) or 'none'}")
        said = {name: value for name, value in schedule.options.items() if name in known and value is not None}
        options = {**known, **said, **self.fixed, **given}
        if self.theirs == "UniPCMultistepScheduler" and options["solver_type"] not in ("bh1", "bh2"):
            options["solver_type"] = "bh2"                  # what the class makes of the names that the DPM-Solver family knows
        several = [name for name in grids.SPACINGS if options.get(name)]
        if len(several) > 1:
            raise ValueError(f"{' and '.join(several)} are set; a grid has one spacing")
        end = options.get("final_sigmas_type", "zero")
        if end not in ("zero", "sigma_min", "repeated"):
            raise ValueError(f"final_sigmas_type is {end!r}; it is 'zero' or 'sigma_min'")
        if end == "zero" and str(options.get("algorithm_type", "++")) in ("dpmsolver", "sde-dpmsolver"):
            raise ValueError(f"algorithm_type {options['algorithm_type']!r} works on eps and cannot end at sigma = 0: set "
                             "final_sigmas_type to 'sigma_min', or algorithm_type to 'dpmsolver++'")
        return options

    @property
    def name(self) -> str:
        """Its name in SAMPLERS."""
        named = (name for name, sampler in {**SAMPLERS, **BACKWARDS}.items() if sampler is self)
        return next(named, getattr(self.run, "__name__", "this sampler"))

    def defaults(self) -> dict[str, Any]:
        """The options of `run` that a scheduler config may set, with their defaults."""
        return {name: default for name, default in self._parameters().items() if name not in NOT_OF_A_CONFIG}

    def _parameters(self) -> dict[str, Any]:
        return {name: parameter.default for name, parameter in inspect.signature(self.run).parameters.items()
                if parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY}

    # ------------------------------------------------------------------------------------------------ the grid

    def grid(self, schedule: NoiseSchedule, steps: int, options: Mapping[str, Any] | None = None, *,
             timesteps: Sequence[float] | None = None, sigmas: Sequence[float] | None = None) -> list[Level]:
        """steps + 1 levels from noisy to clean. timesteps: these times instead of evenly spaced ones, such as
        grids.ALIGN_YOUR_STEPS; sigmas: these ratios sigma / alpha, with the end. Raises ValueError unless 1 <= steps <= T."""
        options = self.options(schedule) if options is None else options
        if sigmas is not None:
            if timesteps is not None:
                raise ValueError("give one of timesteps and sigmas, not both")
            if self.lay != "sigma" or self.whole:
                raise ValueError(f"{self.name} walks whole times of the schedule and takes no sigmas of one's own; give it timesteps")
            return grids.own_ratios(schedule, sigmas)
        if self.lay == "inverse multistep":
            assert self.rounds is not None
            return grids.inverse_multistep_grid(schedule, steps, options, schedule.timestep_spacing or self.spacing, self.rounds)
        times = self._times(schedule, steps, options) if timesteps is None else _own_times(timesteps, schedule, options)
        if self.lay == "sigma":
            return grids.sigma_grid(schedule, times, options, self.rounds, self.own_range)
        if self.lay == "distilled":
            return schedule.levels(times, CLEAN if not self.set_alpha_to_one else schedule.at(0))
        ends_clean = self.set_alpha_to_one is None or (
            self.set_alpha_to_one if schedule.set_alpha_to_one is None else schedule.set_alpha_to_one)
        end = CLEAN if ends_clean else schedule.at(0)
        if self.lay == "inverse":
            return grids.inverse_grid(schedule, times, end)
        return schedule.levels(times, end)

    def _times(self, schedule: NoiseSchedule, steps: int, options: Mapping[str, Any]) -> Sequence[float]:
        if self.lay == "distilled":
            return grids.distilled_times(len(schedule), steps, options["original_inference_steps"])
        spacing = self.spacing if self.lay == "linspace" else schedule.timestep_spacing or self.spacing
        times = schedule.timesteps(steps, spacing, self.whole)
        clipped = options.get("lambda_min_clipped", -math.inf)
        if clipped > -math.inf:
            last = len(schedule) - int(np.searchsorted(-np.log(schedule.ratios[::-1]), clipped))
            shorter = NoiseSchedule(schedule.betas[:last], steps_offset=schedule.steps_offset)
            return shorter.timesteps(steps + 1, spacing)[:-1] if spacing != "trailing" else [t for t in times if t < last]
        if self.extra_step and spacing != "trailing" and steps < len(schedule):
            return schedule.timesteps(steps + 1, spacing)[:-1]
        return times

    def start(self, noise: Tensor, schedule: NoiseSchedule, first: Level) -> Tensor:
        """The first x. At the last trained time sigma is not quite 1; the sigma-space samplers honour that, the others
        start from the noise as it is. (Both are what diffusers does.)"""
        in_sigma_space = not self.whole and (schedule.timestep_spacing or self.spacing) != "leading"
        return noise * first.sigma if in_sigma_space else noise

    # ------------------------------------------------------------------------------------------------ sampling

    def sample(self, denoise: Denoise, noise: Tensor, schedule: NoiseSchedule, steps: int,
               generator: torch.Generator | Sequence[torch.Generator] | None = None, *,
               timesteps: Sequence[float] | None = None, sigmas: Sequence[float] | None = None, **options: Any) -> Tensor:
        """Turn noise into a picture (or a latent) in `steps` steps.

        denoise(x, level) -> eps is shaped like x; level.t is the number a diffusers U-Net would be given.
        noise (B, ...) is standard normal. generator draws the fresh noise of the samplers that need some; a list of them draws for
        each picture of the batch on its own. The global random state is used only if it is None.
        timesteps, sigmas: times or ratios of one's own (then `steps` is not asked). options: those of `run`, or of a config, which
        otherwise come from the schedule's config.
        Raises ValueError for a wrong number of steps, an option this sampler does not have, or a denoiser whose answer has another
        shape.
        """
        if not torch.is_tensor(noise) or not noise.is_floating_point():
            raise ValueError(f"noise must be a tensor of floating-point numbers; got {getattr(noise, 'dtype', type(noise))}")
        settings = self.options(schedule, **options)
        grid = self.grid(schedule, steps, settings, timesteps=timesteps, sigmas=sigmas)
        return self.run(bounded(denoise, settings, self.run is basic.ddim), self.start(noise, schedule, grid[0]), grid,
                        lambda: fresh_noise(noise, generator), **self.arguments(schedule, settings))

    def arguments(self, schedule: NoiseSchedule, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of `run`, some of which are functions of the schedule."""
        of_schedule: dict[str, Callable[[], Any]] = {
            "extrapolate": lambda: settings.get("extrapolate", schedule.prediction_type),
            "halfway": lambda: None if settings.get("skip_prk_steps", True) else partial(halfway, schedule),
            "inside": lambda: partial(grids.level_of, schedule), "level_at": lambda: schedule.at,
            "skip": lambda: partial(boundary, settings.get("timestep_scaling", 10.0)),
        }
        names = inspect.signature(self.run).parameters
        return {name: of_schedule[name]() if name in of_schedule else settings[name]
                for name in names if name in of_schedule or name in settings}


NOT_OF_A_CONFIG = ("eta", "extrapolate", "halfway", "inside", "level_at", "skip", "ancestral", "correct", "s_churn",
                   "s_tmin", "s_tmax", "s_noise", "tau", "sigma_min")


def halfway(schedule: NoiseSchedule, now: Level, next: Level) -> Level:
    """The level at the middle of a step, in whole times, rounded towards its end."""
    return schedule.at(int(next.t) + (int(now.t) - int(next.t)) // 2)


def boundary(scaling: float, level: Level, sigma_data: float = 0.5) -> tuple[float, float]:
    """c_skip and c_out of a latent consistency model, with the time in the place of sigma (Luo et al. 2023, section 4.1)."""
    t = level.t * scaling
    return sigma_data**2 / (t**2 + sigma_data**2), t / math.sqrt(t**2 + sigma_data**2)


def _own_times(times: Sequence[float], schedule: NoiseSchedule, options: Mapping[str, Any]) -> list[float]:
    spaced = [name for name in grids.SPACINGS if options.get(name)]
    if spaced:
        raise ValueError(f"timesteps of one's own and {spaced[0]} exclude each other")
    times = list(times)
    if not times or any(a <= b for a, b in itertools.pairwise(times)) or not 0 <= times[-1] <= times[0] <= len(schedule) - 1:
        raise ValueError(f"timesteps must fall from one to the next, within 0 .. {len(schedule) - 1}; got {times}")
    return times


class Bounded:
    """A denoiser whose answers are checked for shape, and whose x_0 is kept within bounds where a config asks for that: cut at
    +-clip_sample_range, or at a quantile of its absolute values and divided by it (dynamic thresholding, Saharia et al. 2022)."""

    def __init__(self, denoise: Denoise, settings: Mapping[str, Any], keeps_eps: bool) -> None:
        self.denoise, self.settings, self.keeps_eps = denoise, settings, keeps_eps
        self.bounds = bool(settings.get("clip_sample") or settings.get("thresholding"))

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        if self.bounds:
            return self.both(x, level)[1]
        eps = self.denoise(x, level)
        self.check(x, eps)
        return eps

    def both(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        x0, eps = look(self.denoise, x, level)
        self.check(x, eps)
        if self.bounds:
            x0 = self.bounded(x0)
            if not self.keeps_eps:                          # DDIM keeps the eps it was told, the others what x_0 leaves
                eps = eps_from_x0(x0, x, level)
        return x0, eps

    def bounded(self, x0: Tensor) -> Tensor:
        if self.settings.get("thresholding"):
            flat = x0.flatten(1)                                                                    # (B, n)
            ratio, most = self.settings["dynamic_thresholding_ratio"], self.settings["sample_max_value"]
            s = flat.abs().float().quantile(ratio, dim=1, keepdim=True).clamp(1, most).to(x0.dtype)     # (B, 1)
            return (flat.clamp(-s, s) / s).reshape(x0.shape)
        limit = self.settings["clip_sample_range"]
        return x0.clamp(-limit, limit)

    @staticmethod
    def check(x: Tensor, eps: Tensor) -> None:
        if eps.shape != x.shape:
            raise ValueError(f"the denoiser was given {tuple(x.shape)} and answered {tuple(eps.shape)}; eps must be shaped like x")


def bounded(denoise: Denoise, settings: Mapping[str, Any], keeps_eps: bool) -> Denoise:
    """`Bounded`, or less of it where nothing is bounded and the denoiser says eps only."""
    looking = Bounded(denoise, settings, keeps_eps)
    return looking if looking.bounds or hasattr(denoise, "both") else looking.__call__


def fresh_noise(like: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None) -> Tensor:
    """Standard normal noise shaped like `like`, drawn on the generator's own device and moved: a CPU seed gives the same
    noise on every machine. A list of generators draws one picture each."""
    if isinstance(generator, Sequence):
        if len(generator) != len(like):
            raise ValueError(f"{len(generator)} generators for a batch of {len(like)}; give one each, or a single one")
        return torch.cat([fresh_noise(like[i : i + 1], one) for i, one in enumerate(generator)])
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


# ------------------------------------------------------------------------------------------------ the table


def rounded(times: Any, spacing: str) -> list[int]:
    """How the DPM-Solver family tells a network the time of a ratio: Karras and Lu rounded, the others cut off."""
    return [int(t) for t in (np.round(times) if spacing in ("use_karras_sigmas", "use_lu_lambdas") else times)]


def half_rounded(times: Any, spacing: str) -> list[float]:
    """Karras's times rounded, the others as they are."""
    return [float(t) for t in (np.round(times) if spacing == "use_karras_sigmas" else times)]


def singles(times: Any, spacing: str) -> list[float]:
    """Times as float32, which is what the network is told."""
    return [float(np.float32(t)) for t in times]


_K: dict[str, Any] = {"spacing": "linspace", "whole": False, "lay": "sigma", "rounds": singles}
_DPM: dict[str, Any] = {"spacing": "linspace", "whole": True, "extra_step": True, "lay": "sigma", "own_range": False, "rounds": rounded}
_DPM_TAKES = {**SIGMA_GRID, **BOUNDS, "use_flow_sigmas": False, "flow_shift": 1.0, "final_sigmas_type": "zero"}
_SHIFTING = {"use_dynamic_shifting": False}
_MULTI: dict[str, Any] = {"theirs": "DPMSolverMultistepScheduler",
                          "takes": {**_DPM_TAKES, "use_lu_lambdas": False, "lambda_min_clipped": -math.inf},
          "refuses": {**_SHIFTING, "variance_type": None}}
_SINGLE: dict[str, Any] = {"theirs": "DPMSolverSinglestepScheduler", "takes": {**_DPM_TAKES, "lambda_min_clipped": -math.inf},
           "refuses": {**_SHIFTING, "variance_type": None}}

SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(basic.ddpm, "leading", whole=True, theirs="DDPMScheduler", takes={**CLIP, **BOUNDS}, draws=True,
                    title="DDPM", also=("ddpm",), taught=True),
    "ddim": Sampler(basic.ddim, "leading", whole=True, set_alpha_to_one=True, theirs="DDIMScheduler", takes={**CLIP, **BOUNDS},
                    title="DDIM", also=("DDIM", "ddim"), taught=True),
    "pndm": Sampler(basic.pndm, "leading", whole=True, set_alpha_to_one=False, theirs="PNDMScheduler", takes={"skip_prk_steps": True},
                    order=2, calls="N + 1", title="PNDM (PLMS)", also=("PLMS",), taught=True),
    "lms": Sampler(basic.lms, **_K, theirs="LMSDiscreteScheduler", takes=SIGMA_GRID, order=4, title="LMS",
                   also=("LMS", "LMS Karras", "sample_lms", "lms"), taught=True),
    "heun": Sampler(basic.heun, **_K, theirs="HeunDiscreteScheduler", takes={**SIGMA_GRID, **CLIP}, order=2, calls="2 N - 1",
                    title="Heun", also=("Heun", "sample_heun", "heun"), taught=True),
    "euler": Sampler(basic.ddim, **_K, theirs="EulerDiscreteScheduler",
                     takes={**SIGMA_GRID, "interpolation_type": "linear", "final_sigmas_type": "zero"},
                     refuses={"sigma_min": None, "sigma_max": None, "timestep_type": "discrete"},
                     title="Euler", also=("Euler", "sample_euler", "euler"), taught=True),
    "euler_ancestral": Sampler(basic.ddpm, **_K, theirs="EulerAncestralDiscreteScheduler", draws=True,
                               fixed={"variance_type": "fixed_small"}, title="Euler ancestral",
                               also=("Euler a", "sample_euler_ancestral", "euler_ancestral"), taught=True),
    "dpmpp_2m": Sampler(solvers.dpm_multistep, **_DPM, **_MULTI, order=2, title="DPM-Solver++(2M)",
                        also=("DPM++ 2M", "DPM++ 2M Karras", "sample_dpmpp_2m", "dpmpp_2m"), taught=True),
    "dpmpp_1": Sampler(solvers.dpm_multistep, **_DPM, **_MULTI, fixed={"solver_order": 1}, title="DPM-Solver++(1)"),
    "dpmpp_3m": Sampler(solvers.dpm_multistep, **_DPM, **_MULTI, fixed={"solver_order": 3}, order=3, title="DPM-Solver++(3M)",
                        also=("DPM++ 3M",)),
    "dpmpp_2m_sde": Sampler(solvers.dpm_multistep, **_DPM, **_MULTI, fixed={"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
                            draws=True, order=2, title="SDE-DPM-Solver++(2M)",
                            also=("DPM++ 2M SDE", "sample_dpmpp_2m_sde", "dpmpp_2m_sde")),
    "dpmpp_3m_sde": Sampler(solvers.dpm_multistep, **_DPM, **_MULTI, fixed={"solver_order": 3, "algorithm_type": "sde-dpmsolver++"},
                            draws=True, order=3, title="SDE-DPM-Solver++(3M)",
                            also=("DPM++ 3M SDE", "sample_dpmpp_3m_sde", "dpmpp_3m_sde")),
    "dpmpp_2s": Sampler(solvers.dpm_singlestep, **_DPM, **_SINGLE, order=2, title="DPM-Solver++(2S)",
                        also=("DPM++ 2S",)),
    "dpmpp_3s": Sampler(solvers.dpm_singlestep, **_DPM, **_SINGLE, fixed={"solver_order": 3}, order=3, title="DPM-Solver++(3S)"),
    "unipc": Sampler(solvers.unipc, **_DPM, theirs="UniPCMultistepScheduler", takes={**_DPM_TAKES, "flow_sigmas_from_one": True},
                     refuses={**_SHIFTING, "solver_p": None, "shift_terminal": None, "sigma_min": None, "sigma_max": None},
                     order=3, title="UniPC", also=("UniPC", "uni_pc_bh2", "uni_pc")),
    "deis": Sampler(solvers.deis, **_DPM, theirs="DEISMultistepScheduler",
                    takes={**SIGMA_GRID, **BOUNDS, "use_flow_sigmas": False, "flow_shift": 1.0}, fixed={"final_sigmas_type": "repeated"},
                    refuses=_SHIFTING, order=2, title="DEIS", also=("DEIS", "deis")),
    "sa_solver": Sampler(solvers.sa_solver, **_DPM, theirs="SASolverScheduler",
                         takes={**SIGMA_GRID, **BOUNDS, "use_flow_sigmas": False, "flow_shift": 1.0, "lambda_min_clipped": -math.inf},
                         fixed={"final_sigmas_type": "repeated"}, refuses={"variance_type": None, "tau_func": None}, draws=True, order=2,
                         title="SA-Solver",
                         also=("SA-Solver", "sa_solver")),
    "dpm2": Sampler(solvers.dpm2, **{**_K, "rounds": half_rounded}, theirs="KDPM2DiscreteScheduler", takes=SIGMA_GRID, order=2,
                    calls="2 N - 1", title="DPM2", also=("DPM2", "DPM2 Karras", "sample_dpm_2", "dpm_2")),
    "dpm2_ancestral": Sampler(solvers.dpm2, **{**_K, "rounds": half_rounded}, theirs="KDPM2AncestralDiscreteScheduler", takes=SIGMA_GRID,
                              fixed={"ancestral": True}, draws=True, order=2, calls="2 N - 1", title="DPM2 ancestral",
                              also=("DPM2 a", "sample_dpm_2_ancestral", "dpm_2_ancestral")),
    "dpmpp_sde": Sampler(solvers.dpmpp_sde, **{**_K, "rounds": lambda t, spacing: [float(each) for each in t]},
                         theirs="DPMSolverSDEScheduler", takes=SIGMA_GRID, draws=True, calls="2 N - 1", title="DPM++ SDE",
                         also=("DPM++ SDE", "DPM++ SDE Karras", "sample_dpmpp_sde", "dpmpp_sde")),
    "euler_churn": Sampler(solvers.churned, **_K, theirs="EulerDiscreteScheduler", fixed={"correct": False},
                           takes={**SIGMA_GRID, "interpolation_type": "linear", "final_sigmas_type": "zero"},
                           refuses={"sigma_min": None, "sigma_max": None, "timestep_type": "discrete"}, draws=True,
                           title="EDM's stochastic sampler, first order", also=("Euler with s_churn",)),
    "heun_churn": Sampler(solvers.churned, **_K, theirs="HeunDiscreteScheduler", takes={**SIGMA_GRID, **CLIP}, draws=True, order=2,
                          calls="2 N - 1", title="EDM's stochastic sampler", also=("Heun with s_churn",)),
    "lcm": Sampler(solvers.consistency, "leading", whole=True, lay="distilled", theirs="LCMScheduler",
                   takes={**CLIP, **BOUNDS, "original_inference_steps": 50, "timestep_scaling": 10.0}, draws=True,
                   title="Latent consistency (LCM)", also=("LCM", "sample_lcm", "lcm")),
    "tcd": Sampler(solvers.tcd, "leading", whole=True, lay="distilled", set_alpha_to_one=True, theirs="TCDScheduler",
                   takes={"original_inference_steps": 50}, draws=True,
                   title="Trajectory consistency (TCD)", also=("TCD",)),
    "unclip": Sampler(basic.ddpm, "linspace", whole=True, lay="linspace", theirs="UnCLIPScheduler", takes=CLIP,
                      fixed={"variance_type": "fixed_small"}, draws=True, title="DDPM as in unCLIP"),
}

TAUGHT = tuple(name for name, sampler in SAMPLERS.items() if sampler.taught)

# From pictures to noise: no way to make one, so not among the names to render with.
BACKWARDS: dict[str, Sampler] = {
    "ddim_inverse": Sampler(basic.ddim, "leading", whole=True, lay="inverse", set_alpha_to_one=True, theirs="DDIMInverseScheduler",
                            takes=CLIP, title="DDIM backwards"),
    "dpmpp_2m_inverse": Sampler(solvers.dpm_multistep, "linspace", whole=True, lay="inverse multistep", rounds=rounded,
                                theirs="DPMSolverMultistepInverseScheduler",
                                takes={**SIGMA_GRID, **BOUNDS, "lambda_min_clipped": -math.inf}, fixed={"final_sigmas_type": "repeated"},
                                refuses={"variance_type": None, "use_flow_sigmas": False, "flow_shift": 1.0}, order=2,
                                title="DPM-Solver++(2M) backwards"),
}
