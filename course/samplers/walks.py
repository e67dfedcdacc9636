"""Samplers whose schedule is no table of betas: flows, EDM's scale, and what other families lay for themselves.

A `Walk` is a method of basic.py or solvers.py, a grid of grids.py, and the way to read what the network answers. It asks for no schedule:

    WALKS["flow_euler"].sample(network, noise, 20, shift=3.0)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from course import grids
from course.prediction import TO_EPS, Denoise, as_eps, preconditioned
from course.samplers import basic, solvers
from course.samplers.basic import Draw
from course.samplers.table import bounded, fresh_noise
from course.schedule import Level


def inside_edm(ratio: float) -> Level:
    """The level of EDM's scale with this sigma, told as log(sigma) / 4."""
    return Level(0.25 * math.log(ratio), 1.0, ratio)


def inside_ve(ratio: float) -> Level:
    """The level with alpha = 1 and this sigma, told as sigma."""
    return Level(ratio, 1.0, ratio)


@dataclass(frozen=True)
class Walk:
    """A sampler with a grid that needs no schedule, and the way to read its networks.

    run      (denoise, x, grid, draw, **options) -> x
    lay      (steps, **options) -> the grid
    predicts what networks of its kind answer: one of READS
    theirs   diffusers' class
    takes    the options, with their defaults; each goes to those of run, lay and READS' function that have a parameter of its name
    start    the noise times this begins the walk: "noise" (1), "sigma" (that of the first level), "edm" (sqrt(sigma^2 + 1))
    The others are those of `Sampler`.
    """

    run: Callable[..., Tensor]
    lay: Callable[..., list[Level]]
    predicts: str
    theirs: str
    takes: Mapping[str, Any] = field(default_factory=dict)
    start: str = "noise"
    draws: bool = False
    order: int = 1
    calls: str = "N"
    title: str = ""
    also: tuple[str, ...] = ()

    def options(self, **given: Any) -> dict[str, Any]:
        """The options in force. Raises ValueError for one that this walk does not have."""
        unknown = set(given) - set(self.takes)
        if unknown:
            raise ValueError(f"{self.title} takes no option {', '.join(sorted(unknown))}; it takes "
                             f"{', '.join(sorted(self.takes)) or 'none'}")
        return {**self.takes, **given}

    def grid(self, steps: int, **options: Any) -> list[Level]:
        """steps + 1 levels from noisy to clean. Raises ValueError for a number of steps that cannot be laid."""
        return self.lay(steps, **those_of(self.lay, self.options(**options)))

    def sample(self, network: Denoise, noise: Tensor, steps: int,
               generator: torch.Generator | Sequence[torch.Generator] | None = None, **options: Any) -> Tensor:
        """Turn noise (B, ...) into what the network has learnt, in `steps` steps. network(x, level) -> its own answer, shaped like x;
        level.t is what diffusers would tell it. Noise and generator as in `Sampler.sample`; options: see `takes`.

        Raises ValueError for a wrong number of steps, an unknown option, or an answer of another shape.
        """
        if not torch.is_tensor(noise) or not noise.is_floating_point():
            raise ValueError(f"noise must be a tensor of floating-point numbers; got {getattr(noise, 'dtype', type(noise))}")
        return self.walk(network, noise, self.grid(steps, **options), lambda: fresh_noise(noise, generator), **options)

    def walk(self, network: Denoise, noise: Tensor, grid: Sequence[Level], draw: Draw, **options: Any) -> Tensor:
        """`sample` on a grid of one's own."""
        settings, reads = self.options(**options), READS[self.predicts]
        denoise = bounded(reads(network, **those_of(reads, settings)), settings, keeps_eps=False)
        first = {"noise": 1.0, "sigma": grid[0].sigma, "edm": math.hypot(grid[0].sigma, 1)}[self.start]
        return self.run(denoise, noise * first, grid, draw, **those_of(self.run, settings))


def those_of(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are parameters of a function."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}


def _distilled(network: Denoise, sigma_data: float, sigma_min: float) -> Denoise:
    return preconditioned(network, sigma_data, least=sigma_min)


def _minus_eps(network: Denoise) -> Denoise:
    """The networks of diffusers' KarrasVePipeline answer -eps."""
    return lambda x, level: -network(x, level)


# What a network answers -> (network, **options) -> a denoiser
READS: dict[str, Callable[..., Denoise]] = {
    **{name: partial(as_eps, prediction_type=name) for name in TO_EPS}, "-epsilon": _minus_eps, "edm": preconditioned,
    "distilled": _distilled}

_FLOW: dict[str, Any] = {"lay": grids.flow_levels, "predicts": "flow_prediction"}
_FLOW_TAKES = {"num_train_timesteps": 1000, "shift": 1.0, "to_the_end": False}
_EDM: dict[str, Any] = {"lay": grids.edm_levels, "predicts": "edm", "start": "edm"}
_EDM_TAKES = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "sigma_schedule": "karras", "rho": 7.0,
              "prediction_type": "epsilon", "final_sigmas_type": "zero"}
_CHURN = {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": math.inf, "s_noise": 1.0}

WALKS: dict[str, Walk] = {
    "flow_euler": Walk(basic.ddim, **_FLOW, theirs="FlowMatchEulerDiscreteScheduler", takes=_FLOW_TAKES, title="Euler on a flow",
                       also=("Euler (SD3, Flux)", "FlowMatchEuler")),
    "flow_heun": Walk(solvers.flow_heun, **_FLOW, theirs="FlowMatchHeunDiscreteScheduler", takes=_FLOW_TAKES, order=2, calls="2 N - 1",
                      title="Heun on a flow", also=("FlowMatchHeun",)),
    "flow_lcm": Walk(solvers.consistency, **_FLOW, theirs="FlowMatchLCMScheduler", takes=_FLOW_TAKES, draws=True,
                     title="Consistency on a flow", also=("FlowMatchLCM",)),
    "edm_euler": Walk(partial(solvers.churned, inside=inside_edm, correct=False), **_EDM, theirs="EDMEulerScheduler",
                      takes={**_EDM_TAKES, **_CHURN}, draws=True, title="Euler for EDM's networks", also=("EDM Euler",)),
    "edm_dpmpp_2m": Walk(solvers.dpm_multistep, **_EDM, theirs="EDMDPMSolverMultistepScheduler",
                         takes={**_EDM_TAKES, "solver_order": 2, "algorithm_type": "dpmsolver++", "solver_type": "midpoint",
                                "lower_order_final": True, "euler_at_final": False, "thresholding": False,
                                "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0},
                         order=2, title="DPM-Solver++(2M) for EDM's networks", also=("EDM DPM++ 2M",)),
    "karras_ve": Walk(partial(solvers.churned, inside=inside_ve), grids.ve_levels, "-epsilon", "KarrasVeScheduler",
                      takes={"sigma_min": 0.02, "sigma_max": 100.0, **_CHURN, "s_churn": 80.0, "s_noise": 1.007, "s_tmin": 0.05,
                             "s_tmax": 50.0},
                      start="sigma", draws=True, order=2, calls="2 N - 1", title="EDM's stochastic sampler on geometric levels"),
    "consistency": Walk(solvers.consistency, grids.distilled_edm_levels, "distilled", "CMStochasticIterativeScheduler",
                        takes={"num_train_timesteps": 40, "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "rho": 7.0,
                               "clip_sample": True, "clip_sample_range": 1.0},
                        start="sigma", draws=True, title="Multistep consistency", also=("consistency models",)),
    "scm": Walk(solvers.consistency, grids.circle_levels, "v_prediction", "SCMScheduler",
                takes={"max_time": 1.5708, "times": None}, draws=True, title="Consistency on a circle (sCM)",
                also=("SANA-Sprint", "TrigFlow")),
    "wuerstchen": Walk(solvers.to_the_mean, grids.cosine_levels, "epsilon", "DDPMWuerstchenScheduler",
                       takes={"s": 0.008, "scaler": 1.0}, draws=True, title="DDPM without a table", also=("Stable Cascade", "Wuerstchen")),
    "ipndm": Walk(solvers.ipndm, grids.sine_levels, "v_prediction", "IPNDMScheduler", order=4, title="IPNDM", also=("ipndm",)),
}

FLOWS = {name: walk for name, walk in WALKS.items() if walk.predicts == "flow_prediction"}      # for models that are flows
