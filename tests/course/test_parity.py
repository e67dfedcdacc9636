"""Every model input of our eight samplers against the installed diffusers scheduler: same x, same t, same number of calls."""

import warnings
from itertools import pairwise

import diffusers
import pytest
import torch

from course.prediction import as_eps
from course.samplers import SAMPLERS, TAUGHT
from course.schedule import SPACINGS, NoiseSchedule

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")   # diffusers' own

CLASSES = {
    "ddpm": diffusers.DDPMScheduler,
    "ddim": diffusers.DDIMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "lms": diffusers.LMSDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
}
STOCHASTIC = ("ddpm", "euler_ancestral")
SD14 = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False}
LINEAR = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear",
          "skip_prk_steps": True, "clip_sample": False}
STEPS = (1, 2, 3, 7, 10, 25, 50, 100)


def network(prediction_type, alphas_cumprod):
    """What a perfect network would say about pixels that are +1 or -1 give or take 0.3: curved in x, different at every t.

    Works from t alone, by interpolating alpha_bar itself, so that it is the same function on both sides.
    """
    def predict(x, t):
        t = float(t)
        below, above = int(t), min(int(t) + 1, len(alphas_cumprod) - 1)
        alpha_bar = alphas_cumprod[below] + (t - below) * (alphas_cumprod[above] - alphas_cumprod[below])
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        variance = 0.09 * alpha_bar + 1 - alpha_bar
        x0 = torch.tanh(alpha * x / variance) * ((1 - alpha_bar) / variance) + x * (0.09 * alpha / variance)
        eps = (x - alpha * x0) / sigma
        return {"epsilon": eps, "v_prediction": alpha * eps - sigma * x0, "sample": x0}[prediction_type]
    return predict


def noise():
    """Between -1 and 1, so that an absolute tolerance means the same everywhere."""
    return torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(7)) * 2 - 1


def theirs(name, config, steps, predict, prediction_type):
    """diffusers' own loop, as StableDiffusionPipeline writes it. -> [(t, model input)], the final x"""
    base = diffusers.PNDMScheduler(**{k: v for k, v in config.items() if k != "clip_sample"}, prediction_type=prediction_type)
    extra = {"clip_sample": False} if name in ("ddpm", "ddim") else {}
    scheduler = CLASSES[name].from_config(base.config, **extra)
    scheduler.set_timesteps(steps)
    generator, calls = torch.Generator().manual_seed(0), []
    x = noise() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(x, t)
        calls.append((float(t), model_input.clone()))
        options = {"generator": generator} if name in STOCHASTIC else {}
        x = scheduler.step(predict(model_input, t), t, x, **options).prev_sample
    return calls, x


def ours(name, config, steps, predict, prediction_type, dtype=torch.float32):
    schedule = NoiseSchedule.from_config({**config, "prediction_type": prediction_type})
    calls = []

    def record(x, level):
        calls.append((float(level.t), x.clone()))
        return predict(x, level.t)

    generator = torch.Generator().manual_seed(0)
    if dtype == torch.float32:
        return calls, SAMPLERS[name].sample(as_eps(record, prediction_type), noise(), schedule, steps, generator=generator)
    sampler, z = SAMPLERS[name], noise().to(dtype)   # by hand, so that the fresh noise is the same float32 numbers
    grid = sampler.grid(schedule, steps)
    options = {"extrapolate": prediction_type} if name == "pndm" else {}
    x = sampler.run(as_eps(record, prediction_type), sampler.start(z, schedule, grid[0]), grid,
                    lambda: torch.randn(z.shape, generator=generator).to(dtype), **options)
    return calls, x


def distance(a, b):
    """Largest difference over all model inputs and the result."""
    (a_calls, a_x), (b_calls, b_x) = a, b
    return max((p - q).abs().max().item() for p, q in zip([x for _, x in a_calls] + [a_x], [x for _, x in b_calls] + [b_x],
                                                          strict=True))


def check(name, config, steps, prediction_type):
    """Within 5e-6 (5e-5 where noise is drawn), but for two places where rounding alone makes more than that on both sides:
    two or three huge steps (one from sigma/alpha = 157 multiplies the last bit of eps by 157), and DDPM at 100 steps, whose
    noise pushes pixels back and forth between +1 and -1. There the measure is diffusers' own distance from the same
    arithmetic in float64, or one unit in the last place of eps times the largest step."""
    schedule = NoiseSchedule.from_config(config)
    predict = network(prediction_type, schedule.alphas_cumprod)
    them, us = (side(name, config, steps, predict, prediction_type) for side in (theirs, ours))
    assert [t for t, _ in us[0]] == [t for t, _ in them[0]]
    tolerance = 5e-5 if name in STOCHASTIC else 5e-6
    if distance(us, them) > tolerance and (steps <= 3 or (name, steps) == ("ddpm", 100)):
        exact = network(prediction_type, schedule.alphas_cumprod.double())
        grid = SAMPLERS[name].grid(schedule, steps)
        largest_step = max(next.alpha * (now.ratio - next.ratio) for now, next in pairwise(grid))
        tolerance = max(3 * distance(them, ours(name, config, steps, exact, prediction_type, torch.float64)),
                        largest_step * 2**-22)
    assert distance(us, them) <= tolerance


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", TAUGHT)
def test_stable_diffusion_config(name, steps, prediction_type):
    check(name, SD14, steps, prediction_type)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [1, 3, 10, 50])
@pytest.mark.parametrize("name", TAUGHT)
def test_linear_config(name, steps, prediction_type):
    if prediction_type == "sample" and name in ("pndm", "euler_ancestral"):
        pytest.skip("diffusers' class does not take x_0 predictions")
    check(name, LINEAR, steps, prediction_type)


# diffusers' DDIM and PNDM step to t - T // steps, which is the next entry of the list only for some spacings: see below.
SOUND = {"ddim": ("leading",), "pndm": ("leading",)}


@pytest.mark.parametrize("steps", [3, 10, 25])
@pytest.mark.parametrize(("name", "spacing"), [(n, s) for n in TAUGHT for s in SOUND.get(n, SPACINGS)])
@pytest.mark.parametrize("config", [SD14, LINEAR], ids=["sd14", "linear"])
def test_named_spacing(name, spacing, config, steps):
    check(name, {**config, "timestep_spacing": spacing}, steps, "epsilon")


@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_trailing_with_even_steps(name):
    """Trailing spacing agrees when the steps divide T."""
    check(name, {**SD14, "timestep_spacing": "trailing"}, 10, "epsilon")


def test_the_comparison_can_fail():
    """A denoiser off by one timestep must show: the tolerance is not a formality."""
    predict = network("epsilon", NoiseSchedule.from_config(SD14).alphas_cumprod)
    calls, _ = ours("ddim", SD14, 10, predict, "epsilon")
    shifted, _ = ours("ddim", SD14, 10, lambda x, t: predict(x, t + 1), "epsilon")
    assert max((a - b).abs().max().item() for (_, a), (_, b) in zip(calls, shifted, strict=True)) > 1e-4


# ------------------------------------------------------------------------------------------ where diffusers differs


@pytest.mark.parametrize("name", ["ddpm", "ddim", "pndm"])
def test_thousand_steps(name):
    """With steps_offset 1 and 1000 steps diffusers asks for time 1000 of a table that ends at 999: IndexError. Ours shifts
    the offset down and visits 999 .. 0."""
    predict = network("epsilon", NoiseSchedule.from_config(SD14).alphas_cumprod)
    with pytest.raises(IndexError):
        theirs(name, SD14, 1000, predict, "epsilon")
    schedule = NoiseSchedule.from_config(SD14)
    assert [level.t for level in SAMPLERS[name].grid(schedule, 1000)[:-1]] == list(range(999, -1, -1))


@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_linspace_steps_to_the_wrong_level_in_diffusers(name):
    """Under linspace diffusers' DDIM and PNDM visit 999, 888, ... but step to 899, 788, ... each time. Ours steps to the
    level it visits next, so DDIM is Euler's method there, to rounding, when both end clean."""
    config = {**SD14, "timestep_spacing": "linspace", "set_alpha_to_one": True}
    predict = network("epsilon", NoiseSchedule.from_config(SD14).alphas_cumprod)
    their_calls, _ = theirs(name, config, 10, predict, "epsilon")
    our_calls, our_x = ours(name, config, 10, predict, "epsilon")
    assert [t for t, _ in our_calls] == [t for t, _ in their_calls]
    assert max((a - b).abs().max().item() for (_, a), (_, b) in zip(our_calls, their_calls, strict=True)) > 1e-2
    if name == "ddim":
        grid = SAMPLERS["euler"].grid(NoiseSchedule.from_config(config), 10)
        euler = noise()
        for now, next in pairwise(grid):
            eps = predict(euler, now.t)
            euler = next.alpha * (euler / now.alpha + (next.ratio - now.ratio) * eps)
        assert (our_x - euler).abs().max().item() < 5e-6


@pytest.mark.parametrize("name", ["ddim", "euler"])
def test_zero_terminal_snr(name):
    """Rescaled to zero terminal SNR, v-prediction, trailing: diffusers' DDIM starts at alpha_bar = 0 exactly, its Euler at
    2^-24. Ours keeps the same hair for every sampler. What that costs in float32 shows here."""
    config = {**SD14, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "set_alpha_to_one": True}
    schedule = NoiseSchedule.from_config({**config, "prediction_type": "v_prediction"})
    assert schedule.alphas_cumprod[-1] == 0
    predict = network("v_prediction", schedule.alphas_cumprod)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = CLASSES[name].from_config({k: v for k, v in config.items() if k != "skip_prk_steps"},
                                              prediction_type="v_prediction")
    scheduler.set_timesteps(10)
    x = noise() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(predict(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    _, mine = ours(name, config, 10, predict, "v_prediction")
    assert torch.isfinite(mine).all()
    assert (mine - x).abs().max().item() < 2e-3


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_eta(eta):
    """DDIM's fresh noise, drawn from the same seed."""
    predict = network("epsilon", NoiseSchedule.from_config(SD14).alphas_cumprod)
    scheduler = diffusers.DDIMScheduler(**{k: v for k, v in SD14.items() if k != "skip_prk_steps"})
    scheduler.set_timesteps(10)
    generator, x = torch.Generator().manual_seed(0), noise()
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t), t, x, eta=eta, generator=generator).prev_sample
    mine = SAMPLERS["ddim"].sample(lambda x, level: predict(x, level.t), noise(), NoiseSchedule.from_config(SD14), 10,
                                   generator=torch.Generator().manual_seed(0), eta=eta)
    assert (mine - x).abs().max().item() < 5e-5


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_tables_are_equal_to_the_last_bit(beta_schedule, zero_snr):
    config = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": beta_schedule,
              "rescale_betas_zero_snr": zero_snr}
    their_table = diffusers.DDIMScheduler(**config).alphas_cumprod
    assert torch.equal(NoiseSchedule.from_config(config).alphas_cumprod, their_table)


def test_from_config_forgets_what_was_only_a_default():
    """PNDMScheduler fills in timestep_spacing="leading"; handing its config to Euler must not carry that over."""
    base = diffusers.PNDMScheduler(**{k: v for k, v in SD14.items() if k != "clip_sample"})
    assert base.config["timestep_spacing"] == "leading"
    assert NoiseSchedule.from_config(base.config).timestep_spacing is None
    asked = diffusers.PNDMScheduler(timestep_spacing="trailing")
    assert NoiseSchedule.from_config(asked.config).timestep_spacing == "trailing"
