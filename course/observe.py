"""`course observe`: every sampler beside the scheduler class of the installed diffusers, on configs that public models have.

The same noise, and a network that is a formula, so that both sides can be asked at the same place. Compared are the times the
network is told, the number of calls, every input of the network, and the result. A pair is

    equal       within 5e-6, 5e-5 where noise is drawn (the inputs are of size 1), or within what rounding alone does: four times
                the distance of our own float32 run from the same run in float64, if that is below 0.01; or equal once both compute in
                float64
    explained   not so, and known why: see EXPLANATIONS, most of which have a test
    refused     by us, in words, because the config asks for something that is not here
    different   not so, and not known why. There must be none.

    python -m pip install -U diffusers      # in another environment
    course observe --out observed.csv       # the table for that version; a run that was stopped goes on from the file
"""

from __future__ import annotations

import contextlib
import copy
import csv
import inspect
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

from course.prediction import as_eps
from course.samplers import BACKWARDS, SAMPLERS, WALKS, Sampler, Walk, basic
from course.samplers.table import bounded
from course.schedule import Level, NoiseSchedule

ALL = {**SAMPLERS, **BACKWARDS}                    # on a schedule of betas
EVERY: dict[str, Sampler | Walk] = {**ALL, **WALKS}
STEPS = (1, 2, 3, 7, 10, 25, 50, 100)
SINGLE = torch.float32
PREDICTIONS = ("epsilon", "v_prediction", "sample")

_SD = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
       "set_alpha_to_one": False, "steps_offset": 1, "skip_prk_steps": True}
_PIXELS = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}

# What the scheduler configs of public models say, by the models that say it. The names of the first are the hub's.
CONFIGS: dict[str, dict[str, Any]] = {
    "stable-diffusion-v1-4": _SD,
    "stable-diffusion-2-1": {**_SD, "prediction_type": "v_prediction"},
    "sdxl-base": {**_SD, "timestep_spacing": "leading", "interpolation_type": "linear", "use_karras_sigmas": False},
    "sdxl-turbo": {**_SD, "timestep_spacing": "trailing", "interpolation_type": "linear"},
    "ddpm-cifar10-32": {**_PIXELS, "clip_sample": True, "variance_type": "fixed_large"},
    "ddpm-celebahq-256": {**_PIXELS, "clip_sample": True, "variance_type": "fixed_small"},
    "IF (thresholds)": {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "thresholding": True,
                        "dynamic_thresholding_ratio": 0.95, "sample_max_value": 1.5, "clip_sample": False},
    "zero terminal SNR": {**_SD, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"},
    "PNDM whole": {**_SD, "skip_prk_steps": False},
    "karras": {**_SD, "use_karras_sigmas": True},
    "exponential": {**_SD, "use_exponential_sigmas": True},
    "beta": {**_SD, "use_beta_sigmas": True},
    "lu": {**_SD, "use_lu_lambdas": True},
    "karras, leading": {**_SD, "use_karras_sigmas": True, "timestep_spacing": "leading"},
    "karras, trailing": {**_SD, "use_karras_sigmas": True, "timestep_spacing": "trailing"},
    "log_linear": {**_SD, "interpolation_type": "log_linear"},
    "ends at sigma_min": {**_SD, "final_sigmas_type": "sigma_min"},
    "order 1": {**_SD, "solver_order": 1},
    "order 3": {**_SD, "solver_order": 3},
    "heun type": {**_SD, "solver_type": "heun"},
    "bh1": {**_SD, "solver_type": "bh1"},
    "on eps": {**_SD, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
    "SDE": {**_SD, "algorithm_type": "sde-dpmsolver++"},
    "SDE on eps": {**_SD, "algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min"},
    "full order to the end": {**_SD, "lower_order_final": False},
    "euler at the end": {**_SD, "euler_at_final": True},
    "cosine": {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"},
    "cosine, clipped lambda": {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1},
    "flow sigmas, shift 3": {**_PIXELS, "use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"},
    "pixels": _PIXELS,
    "short": {**_PIXELS, "num_train_timesteps": 100, "beta_start": 1e-3, "beta_end": 0.2},
}


# The same for the samplers that bring their own grid. "class": the grid that diffusers' class lays by itself, with its end.
WALK_CONFIGS: dict[str, dict[str, dict[str, Any]]] = {
    "flow_euler": {"class": {"to_the_end": True}, "class, shift 3": {"shift": 3.0, "to_the_end": True}, "pipeline": {},
                   "pipeline, shift 3": {"shift": 3.0}},
    "flow_heun": {"class": {"to_the_end": True}, "class, shift 3": {"shift": 3.0, "to_the_end": True}},
    "flow_lcm": {"class": {"to_the_end": True}, "class, shift 3": {"shift": 3.0, "to_the_end": True}, "pipeline": {}},
    "edm_euler": {"default": {}, "v": {"prediction_type": "v_prediction"}, "exponential": {"sigma_schedule": "exponential"},
                  "sigma_data 1": {"sigma_data": 1.0}, "ends at sigma_min": {"final_sigmas_type": "sigma_min"}},
    "edm_dpmpp_2m": {"default": {}, "v": {"prediction_type": "v_prediction"}, "exponential": {"sigma_schedule": "exponential"},
                     "order 1": {"solver_order": 1}, "order 3": {"solver_order": 3}, "heun type": {"solver_type": "heun"},
                     "SDE": {"algorithm_type": "sde-dpmsolver++"}, "ends at sigma_min": {"final_sigmas_type": "sigma_min"},
                     "euler at the end": {"euler_at_final": True}, "thresholds": {"thresholding": True, "sample_max_value": 1.5}},
    "karras_ve": {"default": {}, "no churn": {"s_churn": 0.0}, "sigma 0.1 to 50": {"sigma_min": 0.1, "sigma_max": 50.0}},
    "consistency": {"default": {}, "no clipping": {"clip_sample": False}, "100 times": {"num_train_timesteps": 100}},
    "scm": {"default": {}, "from 1.5": {"max_time": 1.5}},
    "wuerstchen": {"default": {}, "scaler 2": {"scaler": 2.0}, "scaler 0.5": {"scaler": 0.5}},
    "ipndm": {"default": {}},
}


class Outcome(NamedTuple):
    """One pair at one number of steps. difference: the largest over all inputs and the result; nan where none could be taken."""

    name: str
    config: str
    steps: int
    prediction_type: str
    state: str
    difference: float
    note: str = ""


# ------------------------------------------------------------------------------------------------ the two sides


def network(prediction_type: str, alphas_cumprod: Tensor, flow: bool = False) -> Callable[[Tensor, Any], Tensor]:
    """What a perfect network would say about pixels that are +1 or -1 give or take 0.3: curved in x, different at every t.

    Works from t alone, by interpolating alpha_bar itself, so that it is the same function on both sides.
    """
    def predict(x: Tensor, t: Any) -> Tensor:
        t = float(t)
        if flow:
            sigma = torch.tensor(min(max(t / len(alphas_cumprod), 1e-3), 0.999), dtype=x.dtype)
            alpha = 1 - sigma
        else:
            t = min(max(t, 0.0), len(alphas_cumprod) - 1.0)
            below, above = int(t), min(int(t) + 1, len(alphas_cumprod) - 1)
            alpha_bar = alphas_cumprod[below] + (t - below) * (alphas_cumprod[above] - alphas_cumprod[below])
            alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        variance = 0.09 * alpha**2 + sigma**2
        x0 = torch.tanh(alpha * x / variance) * (sigma**2 / variance) + x * (0.09 * alpha / variance)
        eps = (x - alpha * x0) / sigma
        return {"epsilon": eps, "v_prediction": alpha * eps - sigma * x0, "sample": x0, "flow_prediction": eps - x0}[prediction_type]
    return predict


def first_noise() -> Tensor:
    """Between -1 and 1, so that an absolute tolerance means the same everywhere. (2, 4, 8, 8)"""
    return torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(7)) * 2 - 1


Run = tuple[list[tuple[float, Tensor]], Tensor]     # [(t, model input)], the result


def their_scheduler(name: str, config: Mapping[str, Any], steps: int | None = None) -> Any:
    """diffusers' class for one of our samplers, with the config and what the name fixes, and its times set. Made once for all predictions
    and copied: some classes look up a thousand times when they are made, and a step's worth for every step."""
    rest = {key: value for key, value in config.items() if key != "prediction_type"}
    scheduler = copy.deepcopy(_made_once(name, json.dumps(rest, sort_keys=True), steps))
    if "prediction_type" in config:
        scheduler.register_to_config(prediction_type=config["prediction_type"])
    return scheduler


@lru_cache(1000)
def _made_once(name: str, config_as_text: str, steps: int | None) -> Any:
    if steps is not None:
        scheduler = copy.deepcopy(_made_once(name, config_as_text, None))
        scheduler.set_timesteps(steps)
        return scheduler
    import diffusers

    config = json.loads(config_as_text)
    sampler = ALL[name]
    scheduler_class = getattr(diffusers, sampler.theirs)
    takes = inspect.signature(scheduler_class.__init__).parameters
    fixed = {key: value for key, value in sampler.fixed.items() if key in takes and key not in ("final_sigmas_type", "variance_type")}
    given = {key: value for key, value in {"clip_sample": False, "skip_prk_steps": True, **config, **fixed}.items() if key in takes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scheduler_class(**given)


def theirs(name: str, config: Mapping[str, Any], steps: int, predict: Callable[[Tensor, Any], Tensor],
           dtype: torch.dtype = torch.float32, **options: Any) -> Run:
    """diffusers' own loop, as StableDiffusionPipeline writes it. In float64: the same float32 tables, with all that is computed from
    them in a step in double precision, as far as the class allows."""
    scheduler = their_scheduler(name, config, steps)
    _tables_in(scheduler, dtype)
    generator = torch.Generator().manual_seed(0)
    if hasattr(scheduler, "noise_sampler"):
        scheduler.noise_sampler = _brownian(generator)
    takes = inspect.signature(scheduler.step).parameters
    if "generator" in takes:
        options["generator"] = generator
    x = first_noise().to(dtype) * getattr(scheduler, "init_noise_sigma", 1.0)
    calls = []
    times = list(scheduler.timesteps)
    for i, t in enumerate(times):
        model_input = scheduler.scale_model_input(x, t)
        calls.append((float(t), model_input.clone()))
        if "prev_timestep" in takes:
            options["prev_timestep"] = int(times[i + 1]) if i + 1 < len(times) else -1
        output = predict(model_input, t)
        with computing_in(dtype):
            x = scheduler.step(output, t, x, **options).prev_sample
    return calls, x


@contextlib.contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """Some classes turn x into float32 in every step; here that is `dtype`. Fresh noise stays the same numbers in either precision."""
    with mock.patch.object(torch, "float32", dtype), mock.patch.object(torch, "randn", _float32_draws(torch.randn)):
        yield


def _tables_in(scheduler: Any, dtype: torch.dtype) -> None:
    if dtype == torch.float64:
        for key, value in vars(scheduler).items():
            if torch.is_tensor(value) and value.is_floating_point() and key != "timesteps":
                setattr(scheduler, key, value.double())


def _float32_draws(randn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def draw(*shape: Any, dtype: Any = None, **options: Any) -> Tensor:
        return randn(*shape, dtype=SINGLE, **options).to(dtype or SINGLE)

    return draw


def _brownian(generator: torch.Generator) -> Callable[[Any, Any], Tensor]:
    """A path of Brownian motion for DPMSolverSDEScheduler, cut where the steps and their middles are: every first question is about
    the first half of a step, every second about the whole of it."""
    pieces: list[tuple[float, Tensor]] = []

    def noise(start: Any, end: Any) -> Tensor:
        fresh = torch.randn((2, 4, 8, 8), generator=generator, dtype=SINGLE)
        start, end = float(start), float(end)
        if not pieces:
            pieces.append((start - end, fresh))
            return fresh
        (first, early), second = pieces.pop(), 0.0
        second = start - end - first
        return (math.sqrt(first) * early + math.sqrt(second) * fresh) / math.sqrt(first + second)

    return noise


def ours(name: str, config: Mapping[str, Any], steps: int, predict: Callable[[Tensor, Any], Tensor], dtype: torch.dtype = torch.float32,
         **options: Any) -> Run:
    """Our sampler. In float64 the fresh noise is the same float32 numbers."""
    schedule, sampler = NoiseSchedule.from_config(config), ALL[name]
    calls: list[tuple[float, Tensor]] = []

    def record(x: Tensor, level: Level) -> Tensor:
        calls.append((float(level.t), x.clone()))
        return predict(x, level.t)

    generator, noise = torch.Generator().manual_seed(0), first_noise()
    settings = sampler.options(schedule, **options)
    grid = sampler.grid(schedule, steps, settings)
    denoise = bounded(as_eps(record, schedule.prediction_type), settings, sampler.run is basic.ddim)
    x = sampler.run(denoise, sampler.start(noise.to(dtype), schedule, grid[0]), grid,
                    lambda: torch.randn(noise.shape, generator=generator).to(dtype), **sampler.arguments(schedule, settings))
    return calls, x


def distance(a: Run, b: Run) -> float:
    """The largest difference over all inputs of the network and the result. Where numbers are larger than 1 (EDM's scale reaches 80), as
    a share of the largest."""
    pairs = zip([x for _, x in a[0]] + [a[1]], [x for _, x in b[0]] + [b[1]], strict=True)
    return max((p - q).abs().max().item() / max(1.0, p.abs().max().item()) for p, q in pairs)


# ------------------------------------------------------------------------------------------------ the two sides of a walk


def walk_network(name: str) -> Callable[[Tensor, Any], Tensor]:
    """What a network of the walk's kind could say: for a flow the exact one of `network`, else something bent in x and in t."""
    if WALKS[name].predicts == "flow_prediction":
        return network("flow_prediction", torch.ones(1000), flow=True)
    if name == "karras_ve":                                        # told sigma; -eps of points that are nearly one
        return lambda x, t: 0.1 * torch.sin(x) - x / math.sqrt(1 + float(t) ** 2)
    return lambda x, t: torch.sin(2 * x + 0.01 * float(t))


def our_walk(name: str, options: Mapping[str, Any], steps: int, dtype: torch.dtype = SINGLE) -> Run:
    """One of WALKS. What is recorded is what the network sees, after the scaling of `preconditioned`."""
    predict, calls = walk_network(name), []

    def record(x: Tensor, level: Level) -> Tensor:
        calls.append((float(level.t), x.clone()))
        return predict(x, level.t)

    generator, noise = torch.Generator().manual_seed(0), first_noise()
    draw = lambda: torch.randn(noise.shape, generator=generator).to(dtype)                  # noqa: E731
    x = WALKS[name].walk(record, noise.to(dtype), WALKS[name].grid(steps, **options), draw, **options)
    return calls, x


def their_walk(name: str, options: Mapping[str, Any], steps: int, dtype: torch.dtype = SINGLE) -> Run:
    """diffusers' class, with what its own pipeline does around it."""
    import diffusers

    if name == "karras_ve":
        return _their_karras_ve(options, steps, dtype)
    scheduler_class = getattr(diffusers, WALKS[name].theirs)
    takes = inspect.signature(scheduler_class.__init__).parameters
    given = {"clip_denoised" if key == "clip_sample" else key: value for key, value in options.items()}
    scheduler = scheduler_class(**{key: value for key, value in given.items() if key in takes})
    flow = WALKS[name].predicts == "flow_prediction"
    if name == "scm":
        scheduler.set_timesteps(steps, max_timesteps=options.get("max_time", 1.5708), intermediate_timesteps=None)
    elif flow and not options.get("to_the_end"):
        scheduler.set_timesteps(steps, sigmas=[1 - i / steps for i in range(steps)])
    else:
        scheduler.set_timesteps(steps)
    if name == "wuerstchen":                                        # it has no table: all is computed from t
        scheduler.timesteps = torch.linspace(1, 0, steps + 1, dtype=dtype)
    _tables_in(scheduler, dtype)
    predict, generator, calls = walk_network(name), torch.Generator().manual_seed(0), []
    spread = scheduler.config.sigma_data if name == "scm" else 1.0          # SANA-Sprint's pipeline works on x times sigma_data
    x = first_noise().to(dtype) * getattr(scheduler, "init_noise_sigma", 1.0) * spread
    extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for t in scheduler.timesteps[:steps] if name in ("scm", "wuerstchen") else scheduler.timesteps:
        model_input = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x / spread
        calls.append((float(t), model_input.clone()))
        told = t.expand(len(x)) if name == "wuerstchen" else t
        with computing_in(dtype):
            x = scheduler.step(predict(model_input, t) * spread, told, x, **extra).prev_sample
    return calls, x / spread


def _their_karras_ve(options: Mapping[str, Any], steps: int, dtype: torch.dtype) -> Run:
    """KarrasVePipeline's loop. Its scheduler takes sigma^2 for sigma, which is undone here: what is compared is the method."""
    import diffusers

    renamed = {"s_tmin": "s_min", "s_tmax": "s_max"}
    scheduler = diffusers.KarrasVeScheduler(**{renamed.get(key, key): value for key, value in options.items()})
    scheduler.set_timesteps(steps)
    schedule = [float(s) ** 0.5 for s in scheduler.schedule.double()]
    generator, predict, calls = torch.Generator().manual_seed(0), walk_network("karras_ve"), []
    x = first_noise().to(dtype) * scheduler.init_noise_sigma

    def asked(x: Tensor, sigma: float) -> Tensor:
        calls.append((sigma, x.clone()))
        return predict(x, sigma)

    for t in scheduler.timesteps:
        sigma, below = schedule[int(t)], schedule[int(t) - 1] if t > 0 else 0.0
        hat, sigma_hat = x, sigma
        if scheduler.config.s_churn and scheduler.config.s_min <= sigma <= scheduler.config.s_max:    # else it draws noise and drops it
            with computing_in(dtype), mock.patch("diffusers.schedulers.deprecated.scheduling_karras_ve.randn_tensor",
                                                 lambda shape, generator: torch.randn(shape, generator=generator)):
                hat, sigma_hat = scheduler.add_noise_to_input(x, sigma, generator)
            hat = hat.to(dtype)
        step = scheduler.step(asked(hat, sigma_hat), sigma_hat, below, hat)
        x = step.prev_sample
        if below:
            x = scheduler.step_correct(asked(x, below), sigma_hat, below, hat, x, step.derivative).prev_sample
    return calls, x


# ------------------------------------------------------------------------------------------------ comparing


def same_times(name: str, us: Run, them: Run) -> bool:
    """The same times, to the last bit; to 0.002 where a time belongs to a level between two of the grid, because diffusers takes the
    logarithm for those in float32."""
    between = "inside" in inspect.signature(ALL[name].run).parameters
    return len(us[0]) == len(them[0]) and all(abs(a - b) <= (0.002 if between else 0.0)
                                              for (a, _), (b, _) in zip(us[0], them[0], strict=True))


ROUNDING = "sigma / alpha is in the thousands, and rounding alone makes differences of this size on both sides"


class Case(NamedTuple):
    """What an explanation is asked about."""

    name: str
    config: Mapping[str, Any]
    steps: int
    theirs: str          # diffusers' class
    message: str         # of the exception that diffusers raised, or ""


# Why diffusers' numbers are not ours, most with a test in tests/course/test_observe.py. The first that holds is the reason.
EXPLANATIONS: list[tuple[str, Callable[[Case], bool]]] = []


def explains(reason: str) -> Callable[[Callable[[Case], bool]], Callable[[Case], bool]]:
    """Register an explanation."""
    def register(test: Callable[[Case], bool]) -> Callable[[Case], bool]:
        EXPLANATIONS.append((reason, test))
        return test
    return register


@explains("diffusers' class needs a package that is not installed here")
def _not_installed(case: Case) -> bool:
    return case.message.startswith("ImportError")


@explains("diffusers' numbers are not finite")
def _not_finite(case: Case) -> bool:
    return "not finite" in case.message or "NaN" in case.message


@explains("diffusers' class has no such option and goes on without it")
def _ignored(case: Case) -> bool:
    import diffusers

    takes = inspect.signature(getattr(diffusers, case.theirs).__init__).parameters
    return any(case.config.get(option) not in (None, False, default) and option not in takes
               for option, default in [("rescale_betas_zero_snr", False), ("timestep_spacing", None)])


@explains("alpha_bar is 0 at diffusers' first step, ours stops a hair before (2^-24)")
def _hair(case: Case) -> bool:
    return bool(case.config.get("rescale_betas_zero_snr"))


@explains("diffusers steps to t - T // steps, which is not the time it visits next")
def _wrong_level(case: Case) -> bool:
    return case.theirs in ("DDIMScheduler", "PNDMScheduler", "DDIMInverseScheduler") and (
        case.config.get("timestep_spacing") == "linspace" or (
            case.config.get("timestep_spacing") == "trailing" and case.config["num_train_timesteps"] % case.steps != 0))


@explains("diffusers' Runge-Kutta start needs 4 steps, and raises ValueError below")
def _short_prk(case: Case) -> bool:
    return case.theirs == "PNDMScheduler" and case.config.get("skip_prk_steps") is False and case.steps < 4


@explains("the level half a step ahead is one time off in diffusers when the stride is odd")
def _odd_prk(case: Case) -> bool:
    return (case.theirs == "PNDMScheduler" and case.config.get("skip_prk_steps") is False
            and (case.config["num_train_timesteps"] // case.steps) % 2 == 1)


@explains("diffusers' third-order SDE has a wrong sign: its last share does not go to 0 with the step")
def _third_order_sde(case: Case) -> bool:
    options = {**case.config, **getattr(EVERY[case.name], "fixed", {})}
    return options.get("algorithm_type") == "sde-dpmsolver++" and options.get("solver_order") == 3 and (
        case.theirs == "DPMSolverMultistepScheduler" or options.get("solver_type") == "heun")


@explains("sigma_down = sqrt(sigma_next^2 - sigma_up^2) cancels in diffusers' float32")
def _sigma_down(case: Case) -> bool:
    if case.theirs not in ("KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"):
        return False
    grid = ALL[case.name].grid(NoiseSchedule.from_config(case.config), case.steps)
    # sigma_down / sigma_next = sigma_next / sigma: below 1/100 its square is lost among the last bits of 1
    return any(0 < next.ratio < 0.01 * now.ratio for now, next in pairwise(grid)) or (
        case.config.get("beta_schedule") == "squaredcos_cap_v2" or bool(case.config.get("use_beta_sigmas")))


@explains("unCLIP's last step has beta_0 / (1 - (1 - beta_0)) where 1 belongs, and float32 has 0.999 for it on a cosine schedule")
def _first_beta(case: Case) -> bool:
    return case.theirs == "UnCLIPScheduler" and case.config.get("beta_schedule") == "squaredcos_cap_v2" and not case.message


@explains("diffusers' unCLIP divides by the number of steps less one")
def _one_step(case: Case) -> bool:
    return case.theirs == "UnCLIPScheduler" and case.steps == 1


@explains("with as many steps as times diffusers lays one time more and leaves one out, and so visits one twice")
def _all_times(case: Case) -> bool:
    return getattr(EVERY[case.name], "extra_step", False) and case.steps >= case.config["num_train_timesteps"]


@explains("diffusers looks steps up by their whole time: where two have the same it starts at the second, and fails at the end")
def _same_time_twice(case: Case) -> bool:
    return case.message.startswith(("AssertionError", "IndexError")) and bool(case.config.get("use_beta_sigmas"))


@explains("diffusers' inverse drops times that are there twice, but keeps their levels")
def _dropped(case: Case) -> bool:
    return case.theirs == "DPMSolverMultistepInverseScheduler" and any(case.config.get(key) for key in (
        "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")) and "the network is told" in case.message


@explains("with one step EDM's classes ask at sigma_min, or step from a sigma to itself")
def _one_edm_step(case: Case) -> bool:
    return case.theirs.startswith("EDM") and case.steps == 1 and (
        case.config.get("sigma_schedule") == "exponential" or case.config.get("final_sigmas_type") == "sigma_min")


@explains("with the offset diffusers asks for a time that was never trained (IndexError), or wraps around to the first")
def _past_the_end(case: Case) -> bool:
    T = case.config.get("num_train_timesteps", 1000)
    return case.name in ALL and ("IndexError" in case.message
                                 or case.config.get("steps_offset", 0) + (T // case.steps) * (case.steps - 1) > T - 1)


@explains("diffusers' class does not take this")
def _unsupported(case: Case) -> bool:
    return (case.message.startswith(("ValueError", "NotImplementedError")) and any(
        word in case.message for word in ("prediction_type", "only supports", "not supported", "is not implemented"))) or (
        case.message.startswith("UnboundLocalError"))


def tolerance(name: str, config: Mapping[str, Any] | None = None) -> float:
    """5e-6 where nothing is drawn, else 5e-5."""
    return 5e-5 if ALL[name].draws or "sde" in str((config or {}).get("algorithm_type")) else 5e-6


class Sides(NamedTuple):
    """Both runs of one comparison, in float32 or float64."""

    ours: Callable[[torch.dtype], Run]
    theirs: Callable[[torch.dtype], Run]
    same_times: Callable[[Run, Run], bool]
    tolerance: float


def sides_of_a_sampler(name: str, config: Mapping[str, Any], steps: int) -> Sides:
    """A sampler and diffusers' class, on a config. Raises ValueError for one that is no schedule of ours."""
    flow = config["prediction_type"] == "flow_prediction"
    table = NoiseSchedule.from_config(config).alphas_cumprod.clamp(min=2.0**-24)

    def asked(side: Callable[..., Run], dtype: torch.dtype) -> Run:
        return side(name, config, steps, network(config["prediction_type"], table.to(dtype), flow), dtype)

    return Sides(partial(asked, ours), partial(asked, theirs), partial(same_times, name), tolerance(name, config))


def sides_of_a_walk(name: str, options: Mapping[str, Any], steps: int) -> Sides:
    """A walk and diffusers' class, with options. Times are the same to what float32 leaves of them."""
    def close(us: Run, them: Run) -> bool:
        return len(us[0]) == len(them[0]) and all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6)
                                                  for (a, _), (b, _) in zip(us[0], them[0], strict=True))

    drawn = WALKS[name].draws or "sde" in str(options.get("algorithm_type"))
    return Sides(lambda dtype: our_walk(name, options, steps, dtype), lambda dtype: their_walk(name, options, steps, dtype), close,
                 5e-5 if drawn else 5e-6)


def compare(name: str, config_name: str, steps: int, prediction_type: str, config: Mapping[str, Any] | None = None) -> Outcome:
    """One sampler or walk on one config at one number of steps."""
    outcome = Outcome(name, config_name, steps, prediction_type, "", math.nan)
    try:
        if name in WALKS:
            config = dict(WALK_CONFIGS[name][config_name] if config is None else config)
            sides = sides_of_a_walk(name, config, steps)
        else:
            config = {**(CONFIGS[config_name] if config is None else config), "prediction_type": prediction_type}
            sides = sides_of_a_sampler(name, config, steps)
        us = sides.ours(SINGLE)
    except ValueError as error:
        return outcome._replace(state="refused", note=str(error))
    message, difference = "", math.inf
    try:
        them = sides.theirs(SINGLE)
    except Exception as error:                                    # whatever a version of diffusers raises is an observation
        message = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        if any(math.isnan(t) for t, _ in them[0]):
            message = "diffusers' numbers are not finite"
        elif not sides.same_times(us, them):
            message = f"the network is told {len(them[0])} times, {[round(t, 3) for t, _ in them[0]][:4]}..., by ours " \
                      f"{len(us[0])}, {[round(t, 3) for t, _ in us[0]][:4]}..."
        elif not all(torch.isfinite(x).all() for x in [*(x for _, x in them[0]), them[1]]):
            message = "diffusers' numbers are not finite"
        else:
            difference = distance(us, them)
            if found := _equal(sides, us, difference):
                return outcome._replace(state=found[0], difference=difference, note=found[1])
    case = Case(name, config, steps, EVERY[name].theirs, message)
    for reason, test in EXPLANATIONS:
        if test(case):
            return outcome._replace(state="explained", difference=difference, note=reason)
    return outcome._replace(state="different", difference=difference, note=message)


def _equal(sides: Sides, us: Run, difference: float) -> tuple[str, str] | None:
    """(state, note) of numbers that agree, or that rounding keeps apart; None of others."""
    if difference <= sides.tolerance:
        return "equal", ""
    exact = sides.ours(torch.float64)
    if difference <= 4 * distance(us, exact):
        return ("equal", "rounding") if difference < 0.01 else ("explained", ROUNDING)
    if difference < 0.01 and distance(exact, sides.theirs(torch.float64)) <= sides.tolerance:
        return "equal", "rounding in diffusers"
    return None


def predictions(name: str, config_name: str) -> Sequence[str]:
    """The predictions to try a sampler with on a config: all, a flow's own, or a walk's."""
    if name in WALKS:
        return (WALK_CONFIGS[name][config_name].get("prediction_type", WALKS[name].predicts),)
    return ("flow_prediction",) if CONFIGS[config_name].get("prediction_type") == "flow_prediction" else PREDICTIONS


def configs_of(name: str) -> Sequence[str]:
    """The configs that a sampler or walk is observed on."""
    return list(WALK_CONFIGS[name] if name in WALKS else CONFIGS)


Key = tuple[str, str, int, str]


def plan(names: Sequence[str] = (), configs: Sequence[str] = (), steps: Sequence[int] = STEPS) -> list[Key]:
    """Every comparison that is to be made: (name, config, steps, prediction_type)."""
    return [(name, config, count, prediction) for name in names or EVERY for config in configs_of(name)
            if not configs or config in configs for prediction in predictions(name, config) for count in steps]


def observe(names: Sequence[str] = (), configs: Sequence[str] = (), steps: Sequence[int] = STEPS) -> Iterator[Outcome]:
    """Every comparison, one after the other."""
    for key in plan(names, configs, steps):
        yield compare(*key)


# ------------------------------------------------------------------------------------------------ the table

STATES = ("equal", "explained", "refused", "different")


def report(names: Sequence[str], configs: Sequence[str], steps: Sequence[int], out: Path | None = None) -> int:
    """Compare, print a line for each sampler and the reasons for what is explained; 1 if anything is different and not explained.

    out: a CSV that grows by a sampler at a time. What it holds already, of the same diffusers, is not compared again.
    Raises ValueError for an unknown sampler or config, with those there are, and for a file that is no such table."""
    import diffusers

    every_config = [*CONFIGS, *{config: 0 for own in WALK_CONFIGS.values() for config in own}]
    for given, known, what in [(names, list(EVERY), "sampler"), (configs, every_config, "config")]:
        wrong = [each for each in given if each not in known]
        if wrong:
            raise ValueError(f"there is no {what} {wrong[0]!r}; there are {', '.join(known)}")
    diffusers.logging.set_verbosity_error()
    kept = read_table(out, diffusers.__version__) if out else {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)                               # tensors of 512 numbers
    print(f"diffusers {diffusers.__version__}; {len(steps or STEPS)} numbers of steps")
    print(f"{'':17}{'diffusers':35}" + "".join(f"{state:>11}" for state in STATES) + f"{'largest':>10}")
    rows: list[Outcome] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names or EVERY:
                found = [kept.get(key) or compare(*key) for key in plan([name], configs, steps or STEPS)]
                rows += found
                if out:
                    kept.update({tuple(row[:4]): row for row in found})        # type: ignore[misc]
                    write_rows(out, kept.values(), diffusers.__version__)
                print(line(name, found), flush=True)
    finally:
        torch.set_num_threads(threads)
    summarise(rows)
    return int(any(row.state == "different" for row in rows))


def line(name: str, found: Sequence[Outcome]) -> str:
    """A sampler's line of the table."""
    count = Counter(row.state for row in found)
    largest = max((row.difference for row in found if row.state == "equal"), default=math.nan)
    return f"{name:17}{EVERY[name].theirs:35}" + "".join(f"{count[state]:11}" for state in STATES) + f"{largest:10.1e}"


def summarise(rows: Sequence[Outcome]) -> None:
    """Print the reasons, what is strange, and the sums."""
    reasons = Counter(row.note for row in rows if row.state == "explained")
    for reason, times in reasons.most_common():
        print(f"explained, {times} times: {reason}")
    for row in [row for row in rows if row.state == "different"][:20]:
        print(f"different: {row.name}, {row.config}, {row.steps} steps, {row.prediction_type}: {row.difference:.1e} {row.note}")
    pairs = {(EVERY[row.name].theirs, row.name, row.config) for row in rows}
    print(f"{len(rows)} comparisons of {len(pairs)} pairs of a sampler and a config: " +
          ", ".join(f"{sum(row.state == state for row in rows)} {state}" for state in STATES))


def read_table(file: Path, version: str) -> dict[Key, Outcome]:
    """The rows of a table that this version of diffusers was observed for. None where there is no file.

    Raises ValueError for a file that is something else."""
    if not file.exists():
        return {}
    with file.open(encoding="utf-8", newline="") as text:
        table = csv.DictReader(text)
        if table.fieldnames != [*Outcome._fields, "diffusers"]:
            raise ValueError(f"{file} is no table of course observe (its first line is {table.fieldnames}): name another file")
        rows = [Outcome(row["name"], row["config"], int(row["steps"]), row["prediction_type"], row["state"], float(row["difference"]),
                        row["note"]) for row in table if row["diffusers"] == version]
    return {(row.name, row.config, row.steps, row.prediction_type): row for row in rows}


def write_rows(file: Path, rows: Iterable[Outcome], version: str) -> None:
    """The table, whole or as it was."""
    from course.pictures import write_whole

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([*Outcome._fields, "diffusers"])
            writer.writerows([*row, version] for row in rows)

    write_whole(file, write)


# ------------------------------------------------------------------------------------------------ all classes

# Scheduler classes that are another one of ours under a second name, or whose method is here without a name in SAMPLERS or WALKS.
ELSEWHERE: dict[str, str] = {
    "DDIMParallelScheduler": "`ddim`; the class only allows several steps at once",
    "DDPMParallelScheduler": "`ddpm`; the same",
    "RePaintScheduler": "`course.editing.repaint`",
    "AmusedScheduler": "`course.samplers.discrete.unmask`",
    "VQDiffusionScheduler": "`course.samplers.discrete.vq_diffusion`",
}

# What is not here, and why. (for pictures?, reason)
NOT_HERE: dict[str, tuple[bool, str]] = {
    "FlowMapEulerDiscreteScheduler": (True, "a network that is told both ends of its step"),
    "ScoreSdeVeScheduler": (True, "reverse diffusion and Langevin's corrector where noise is only added; `course.sde` has both "
                                  "where the picture shrinks, too"),
    "PiflowScheduler": (True, "a network that answers with a policy for several steps"),
    "CogVideoXDDIMScheduler": (False, "`ddim` with a shifted signal-to-noise ratio, for video"),
    "CogVideoXDPMScheduler": (False, "`dpmpp_2m_sde` with the same, for video"),
    "CosineDPMSolverMultistepScheduler": (False, "`dpmpp_2m_sde` with a network of EDM's kind, for sound"),
    "LTXEulerAncestralRFScheduler": (False, "ancestral Euler of a flow, for video"),
    "HeliosScheduler": (False, "for video"),
    "HeliosDMDScheduler": (False, "for video"),
    "MiniMaxH3Scheduler": (False, "for video and sound"),
    "RFD4ProteinaScheduler": (False, "for proteins"),
    "BlockRefinementScheduler": (False, "for text"),
    "DiscreteDDIMScheduler": (False, "for text"),
    "EntropyBoundScheduler": (False, "for text"),
}


def classes() -> list[str]:
    """The names of all scheduler classes of the installed diffusers."""
    import diffusers

    return sorted(name for name in dir(diffusers) if name.endswith("Scheduler") and not name.startswith("Flax"))
