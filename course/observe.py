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
    course observe                          # the table for that version
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

from course.prediction import as_eps
from course.samplers import BACKWARDS, SAMPLERS, basic
from course.samplers.table import bounded
from course.schedule import Level, NoiseSchedule

ALL = {**SAMPLERS, **BACKWARDS}
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


def their_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """diffusers' class for one of our samplers, with the config and what the name fixes."""
    import diffusers

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
    scheduler = their_scheduler(name, config)
    scheduler.set_timesteps(steps)
    if dtype == torch.float64:
        for key, value in vars(scheduler).items():
            if torch.is_tensor(value) and value.is_floating_point() and key != "timesteps":
                setattr(scheduler, key, value.double())
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
        # some classes turn x into float32 in every step; fresh noise stays the same numbers in either precision
        with mock.patch.object(torch, "float32", dtype), mock.patch.object(torch, "randn", _float32_draws(torch.randn)):
            x = scheduler.step(output, t, x, **options).prev_sample
    return calls, x


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
    """The largest difference over all inputs of the network and the result."""
    pairs = zip([x for _, x in a[0]] + [a[1]], [x for _, x in b[0]] + [b[1]], strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


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
    options = {**case.config, **ALL[case.name].fixed}
    return options.get("algorithm_type") == "sde-dpmsolver++" and options.get("solver_order") == 3 and (
        case.theirs == "DPMSolverMultistepScheduler" or options.get("solver_type") == "heun")


@explains("sigma_down = sqrt(sigma_next^2 - sigma_up^2) cancels in diffusers' float32")
def _sigma_down(case: Case) -> bool:
    return case.theirs in ("KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler") and (
        case.config.get("beta_schedule") == "squaredcos_cap_v2" or bool(case.config.get("use_beta_sigmas")))


@explains("unCLIP's last step has beta_0 / (1 - (1 - beta_0)) where 1 belongs, and float32 has 0.999 for it on a cosine schedule")
def _first_beta(case: Case) -> bool:
    return case.theirs == "UnCLIPScheduler" and case.config.get("beta_schedule") == "squaredcos_cap_v2" and not case.message


@explains("diffusers' unCLIP divides by the number of steps less one")
def _one_step(case: Case) -> bool:
    return case.theirs == "UnCLIPScheduler" and case.steps == 1


@explains("with as many steps as times diffusers lays one time more and leaves one out, and so visits one twice")
def _all_times(case: Case) -> bool:
    return ALL[case.name].extra_step and case.steps >= case.config["num_train_timesteps"]


@explains("diffusers looks steps up by their whole time: where two have the same it starts at the second, and fails at the end")
def _same_time_twice(case: Case) -> bool:
    return case.message.startswith(("AssertionError", "IndexError")) and bool(case.config.get("use_beta_sigmas"))


@explains("with the offset diffusers asks for a time that was never trained (IndexError), or wraps around to the first")
def _past_the_end(case: Case) -> bool:
    return "IndexError" in case.message or case.config.get("steps_offset", 0) + (
        case.config["num_train_timesteps"] // case.steps) * (case.steps - 1) > case.config["num_train_timesteps"] - 1


@explains("diffusers' class does not take this")
def _unsupported(case: Case) -> bool:
    return (case.message.startswith(("ValueError", "NotImplementedError")) and any(
        word in case.message for word in ("prediction_type", "only supports", "not supported", "is not implemented"))) or (
        case.message.startswith("UnboundLocalError"))


def tolerance(name: str, config: Mapping[str, Any] | None = None) -> float:
    """5e-6 where nothing is drawn, else 5e-5."""
    return 5e-5 if ALL[name].draws or "sde" in str((config or {}).get("algorithm_type")) else 5e-6


def compare(name: str, config_name: str, steps: int, prediction_type: str, config: Mapping[str, Any] | None = None) -> Outcome:
    """One sampler on one config at one number of steps."""
    config = {**(CONFIGS[config_name] if config is None else config), "prediction_type": prediction_type}
    outcome = Outcome(name, config_name, steps, prediction_type, "", math.nan)
    flow = prediction_type == "flow_prediction"
    try:
        table = NoiseSchedule.from_config(config).alphas_cumprod
        predict = network(prediction_type, table.clamp(min=2.0**-24), flow)
        us = ours(name, config, steps, predict)
    except ValueError as error:
        return outcome._replace(state="refused", note=str(error))
    message, difference = "", math.inf
    try:
        them = theirs(name, config, steps, predict)
    except Exception as error:                                    # whatever a version of diffusers raises is an observation
        message = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        if not same_times(name, us, them):
            message = f"the network is told {len(them[0])} times, {[round(t, 3) for t, _ in them[0]][:4]}..., by ours " \
                      f"{len(us[0])}, {[round(t, 3) for t, _ in us[0]][:4]}..."
        elif not all(torch.isfinite(x).all() for x in [*(x for _, x in them[0]), them[1]]):
            message = "diffusers' numbers are not finite"
        else:
            difference = distance(us, them)
            if difference <= tolerance(name, config):
                return outcome._replace(state="equal", difference=difference)
            precise = network(prediction_type, table.clamp(min=2.0**-24).double(), flow)
            exact = ours(name, config, steps, precise, torch.float64)
            if difference <= 4 * distance(us, exact):
                small = difference < 0.01
                return outcome._replace(state="equal" if small else "explained", difference=difference,
                                        note="rounding" if small else ROUNDING)
            if difference < 0.01 and distance(exact, theirs(name, config, steps, precise, torch.float64)) <= tolerance(name, config):
                return outcome._replace(state="equal", difference=difference, note="rounding in diffusers")
    case = Case(name, config, steps, ALL[name].theirs, message)
    for reason, test in EXPLANATIONS:
        if test(case):
            return outcome._replace(state="explained", difference=difference, note=reason)
    return outcome._replace(state="different", difference=difference, note=message)


def predictions(config: Mapping[str, Any]) -> Sequence[str]:
    """The predictions to try a config with: all, or a flow's own."""
    return ("flow_prediction",) if config.get("prediction_type") == "flow_prediction" else PREDICTIONS


def observe(names: Sequence[str] = (), configs: Sequence[str] = (), steps: Sequence[int] = STEPS) -> Iterator[Outcome]:
    """Every comparison, one after the other."""
    for name in names or ALL:
        for config in configs or CONFIGS:
            for prediction_type in predictions(CONFIGS[config]):
                for count in steps:
                    yield compare(name, config, count, prediction_type)


# ------------------------------------------------------------------------------------------------ the table


def report(names: Sequence[str], configs: Sequence[str], steps: Sequence[int], out: Path | None = None) -> int:
    """Compare, print a line for each sampler and the reasons for what is explained; 1 if anything is different and not explained.

    Raises ValueError for an unknown sampler or config, with those there are."""
    import csv
    from collections import Counter

    import diffusers

    for given, known, what in [(names, list(ALL), "sampler"), (configs, list(CONFIGS), "config")]:
        wrong = [each for each in given if each not in known]
        if wrong:
            raise ValueError(f"there is no {what} {wrong[0]!r}; there are {', '.join(known)}")
    diffusers.logging.set_verbosity_error()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)                               # tensors of 512 numbers
    rows: list[Outcome] = []
    states = ("equal", "explained", "refused", "different")
    print(f"diffusers {diffusers.__version__}; {len(configs or CONFIGS)} configs, {len(steps or STEPS)} numbers of steps")
    print(f"{'':16}{'diffusers':34}" + "".join(f"{state:>11}" for state in states) + f"{'largest':>10}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names or ALL:
                found = list(observe([name], configs, steps or STEPS))
                rows += found
                count = Counter(outcome.state for outcome in found)
                largest = max((outcome.difference for outcome in found if outcome.state == "equal"), default=math.nan)
                print(f"{name:16}{ALL[name].theirs:34}" + "".join(f"{count[state]:11}" for state in states) + f"{largest:10.1e}",
                      flush=True)
    finally:
        torch.set_num_threads(threads)
    reasons = Counter(outcome.note for outcome in rows if outcome.state == "explained")
    for reason, times in reasons.most_common():
        print(f"explained, {times} times: {reason}")
    strange = [outcome for outcome in rows if outcome.state == "different"]
    for outcome in strange[:20]:
        print(f"different: {outcome.name}, {outcome.config}, {outcome.steps} steps, {outcome.prediction_type}: "
              f"{outcome.difference:.1e} {outcome.note}")
    pairs = {(ALL[outcome.name].theirs, outcome.name, outcome.config) for outcome in rows}
    print(f"{len(rows)} comparisons of {len(pairs)} pairs of a sampler and a config: " +
          ", ".join(f"{sum(o.state == state for o in rows)} {state}" for state in states))
    if out:
        from course.pictures import write_whole

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(Outcome._fields)
                writer.writerows(rows)

        print(write_whole(out, write))
    return int(bool(strange))


# ------------------------------------------------------------------------------------------------ all classes

# Scheduler classes that are another one of ours under a second name, or whose method is here without a name in SAMPLERS.
ELSEWHERE: dict[str, str] = {
    "DDIMParallelScheduler": "`ddim`; the class only allows several steps at once",
    "DDPMParallelScheduler": "`ddpm`; the same",
    "FlowMatchEulerDiscreteScheduler": "`course.flow.euler`, which is `ddim` on the levels of a flow",
    "FlowMatchHeunDiscreteScheduler": "`course.flow.heun`",
    "FlowMatchLCMScheduler": "`course.samplers.solvers.consistency` on the levels of a flow",
    "IPNDMScheduler": "`course.samplers.solvers.ipndm`; made for sound, its schedule is not a table of betas",
    "CMStochasticIterativeScheduler": "`course.samplers.solvers.consistency`; its networks bring c_skip and c_out of their own",
    "ScoreSdeVeScheduler": "`course/sde.py`: reverse diffusion and Langevin steps",
}

# What is not here, and why. (for pictures?, reason)
NOT_HERE: dict[str, tuple[bool, str]] = {
    "DPMSolverMultistepInverseScheduler": (True, "inversion by DPM-Solver++; `ddim_inverse` is here"),
    "EDMDPMSolverMultistepScheduler": (True, "`dpmpp_2m` for networks trained as in EDM, whose x_0 is c_skip x + c_out F"),
    "EDMEulerScheduler": (True, "`euler` for networks trained as in EDM"),
    "KarrasVeScheduler": (True, "EDM's stochastic sampler as two methods; deprecated in diffusers. `heun_churn` is the method"),
    "SASolverScheduler": (True, "stochastic Adams: predictor and corrector with noise in both"),
    "SCMScheduler": (True, "consistency on a trigonometric schedule (TrigFlow), for its distilled networks only"),
    "RePaintScheduler": (True, "inpainting: goes back and forth with a picture and a mask; see course/editing.py"),
    "DDPMWuerstchenScheduler": (True, "`ddpm` on a continuous cosine schedule without a table, for Wuerstchen only"),
    "VQDiffusionScheduler": (True, "discrete: pictures as tokens"),
    "AmusedScheduler": (True, "discrete: pictures as tokens, unmasked by confidence"),
    "FlowMapEulerDiscreteScheduler": (True, "a network that is told both ends of its step"),
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
