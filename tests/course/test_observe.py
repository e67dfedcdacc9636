"""Every sampler beside diffusers' class (course/observe.py): a quick part of the table here, all of it among the slow tests; each reason
for a difference on its own; and the options, held against the signatures of the classes."""

from __future__ import annotations

import inspect
import math
import warnings

import diffusers
import numpy as np
import pytest
import torch

from course import grids, observe
from course.observe import ALL, CONFIGS, compare, network, ours, theirs
from course.prediction import as_eps
from course.samplers import SAMPLERS, TAUGHT, WALKS, dpmpp_2m
from course.samplers.solvers import extrapolated, log_weights, phi_shares, sa_solver, singlestep_orders
from course.schedule import CLEAN, CURVE, Level, NoiseSchedule
from course.toy import gaussian

SD = CONFIGS["stable-diffusion-v1-4"]
SCHEDULE = NoiseSchedule.from_config(SD)


@pytest.fixture(autouse=True)
def quiet():
    diffusers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("config", ["stable-diffusion-v1-4", "karras", "cosine"])
@pytest.mark.parametrize("name", ALL)
def test_equal_or_explained(name, config):
    for steps in (1, 3, 10):
        outcome = compare(name, config, steps, "epsilon")
        assert outcome.state in ("equal", "explained"), outcome
        assert outcome.state == "equal" or (name, config) in [
            ("unclip", "stable-diffusion-v1-4"), ("unclip", "karras"), ("dpmpp_3m_sde", "stable-diffusion-v1-4"),
            ("dpmpp_3m_sde", "karras"), ("dpmpp_3m_sde", "cosine"), ("dpm2_ancestral", "cosine"), ("dpm2_ancestral", "karras"), ("dpmpp_sde", "cosine"),
            ("unclip", "cosine")] or "not installed" in outcome.note or outcome.note == observe.ROUNDING, outcome


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("name", [name for name in ALL if name not in TAUGHT])
def test_other_predictions(name, prediction_type):
    outcome = compare(name, "stable-diffusion-v1-4", 7, prediction_type)
    assert outcome.state in ("equal", "explained"), outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", observe.EVERY)
def test_the_whole_table(name):
    unknown = [outcome for outcome in observe.observe([name]) if outcome.state == "different"]
    assert not unknown, unknown[:5]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_wrong_sampler_is_seen(name):
    """The comparison is none if anything passes: a network that is one time off is found for every sampler."""
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    right = ours(name, SD, 10, predict)
    wrong = ours(name, SD, 10, lambda x, t: predict(x, float(t) + 1))
    assert observe.distance(right, wrong) > 10 * observe.tolerance(name)


# ------------------------------------------------------------------------------------------------ where diffusers is different


@pytest.mark.parametrize(("name", "config", "steps", "prediction_type"), [
    ("unipc", "bh1", 10, "epsilon"),                         # inf * 0 at the last step to sigma = 0
    ("unipc", "full order to the end", 10, "epsilon"),       # the same
    ("ddim", "zero terminal SNR", 10, "epsilon"),            # eps at alpha = 0
    ("dpm2_ancestral", "cosine", 3, "epsilon"),              # a negative square root in float32
])
def test_not_finite_in_diffusers(name, config, steps, prediction_type):
    outcome = compare(name, config, steps, prediction_type)
    assert outcome.state == "explained"
    predict = network(prediction_type, NoiseSchedule.from_config(CONFIGS[config]).alphas_cumprod.clamp(min=2.0**-24))
    calls, x = ours(name, {**CONFIGS[config], "prediction_type": prediction_type}, steps, predict)
    assert all(torch.isfinite(value).all() for value in [*(value for _, value in calls), x])


def test_the_third_order_sde_of_diffusers_has_a_wrong_sign():
    """The share of the second difference quotient must vanish with the step, as it does in ours and in k-diffusion. In diffusers it
    goes to -1: (1 - e^-2h - 2h) / (2h)^2 - 1/2."""
    h = 1e-3
    assert abs(phi_shares(2 * h, 3, rises=False)[1]) < 0.2
    share = ((1 - math.exp(-2 * h) - 2 * h) / (2 * h) ** 2 - 0.5) / (1 - math.exp(-2 * h))
    assert share < -100
    assert compare("dpmpp_3m_sde", "stable-diffusion-v1-4", 10, "epsilon").state == "explained"
    assert compare("dpmpp_3m", "stable-diffusion-v1-4", 10, "epsilon").state == "equal"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_diffusers_runge_kutta_start_needs_four_steps(steps):
    """Ours makes one step less of it and its last step."""
    config = {**SD, "skip_prk_steps": False}
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    with pytest.raises(ValueError, match="broadcast"):
        theirs("pndm", config, steps, predict)
    us, x = ours("pndm", config, steps, predict)
    assert len(us) == 4 * (steps - 1) + 1
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("name", ["dpmpp_2m", "unipc", "deis", "dpmpp_2s"])
def test_as_many_steps_as_times(name):
    """linspace(0, 99, 101) rounded visits one time twice: a step of length 0. Ours visits each once."""
    config = {**CONFIGS["short"]}
    scheduler = observe.their_scheduler(name, config)
    scheduler.set_timesteps(100)
    assert len(set(scheduler.timesteps.tolist())) < 100
    assert [level.t for level in ALL[name].grid(NoiseSchedule.from_config(config), 100)[:-1]] == list(range(99, -1, -1))


@pytest.mark.parametrize("name", ["unipc", "dpmpp_2m"])
def test_beta_spacing_tells_a_time_twice(name):
    """At 50 steps the first two times are cut off to the same number; diffusers starts at the second and has a step too many."""
    times = [level.t for level in ALL[name].grid(NoiseSchedule.from_config(CONFIGS["beta"]), 50)]
    assert times[0] == times[1]
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    with pytest.raises((AssertionError, IndexError)):
        theirs(name, CONFIGS["beta"], 50, predict)
    assert torch.isfinite(ours(name, CONFIGS["beta"], 50, predict)[1]).all()
    assert "same" in compare(name, "beta", 50, "epsilon").note


def test_the_last_step_of_unclip():
    """Every input of the network agrees; the result is x_0 in ours, and x_0 times beta_0 / (1 - (1 - beta_0)) in diffusers."""
    config = {**CONFIGS["cosine"], "prediction_type": "sample"}
    table = NoiseSchedule.from_config(config).alphas_cumprod
    predict = network("sample", table.double())
    us, them = (side("unclip", config, 10, predict, torch.float64) for side in (ours, theirs))
    assert max((a - b).abs().max().item() for (_, a), (_, b) in zip(us[0], them[0], strict=True)) < 1e-9
    factor = NoiseSchedule.from_config(config).betas[0].double() / (1 - table[0].double())
    assert abs(factor - 1) > 1e-4
    assert torch.allclose(them[1], us[1] * factor, atol=1e-4)


def test_churn_asks_the_network_after_the_noise():
    """Karras et al. 2022, algorithm 2. diffusers' EulerDiscreteScheduler asks before, and then moves another x with the answer."""
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    options = {"s_churn": 5.0, "s_noise": 1.0}
    us, them = ours("euler_churn", SD, 10, predict, **options), theirs("euler_churn", SD, 10, predict, **options)
    assert us[0][0][0] == 999.0
    assert us[0][1][0] > them[0][1][0]                       # the raised level has a later time
    assert observe.distance((us[0][:2], us[0][1][1]), (them[0][:2], them[0][1][1])) > 1e-2
    still = ours("euler_churn", SD, 10, predict)
    assert observe.distance(still, ours("euler", SD, 10, predict)) < 1e-5


def test_churn_leaves_a_gaussian_a_gaussian():
    """With the exact denoiser of N(0.5, 0.3^2) the stochastic sampler ends there as the deterministic one does."""
    world = gaussian([0.5], 0.3)
    noise = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    x = SAMPLERS["heun_churn"].sample(world.denoise, noise, SCHEDULE, 40, torch.Generator().manual_seed(1), s_churn=10.0)
    assert x.mean().item() == pytest.approx(0.5, abs=0.02)
    assert x.std().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("lcm", "tcd")])
def test_every_sampler_finds_the_gaussian(name):
    world = gaussian([0.5], 0.3)
    noise = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    x = SAMPLERS[name].sample(world.denoise, noise, SCHEDULE, 50, torch.Generator().manual_seed(1))
    assert x.mean().item() == pytest.approx(0.5, abs=0.03)
    assert x.std().item() == pytest.approx(0.3, abs=0.1 if SAMPLERS[name].draws else 0.04)


# ------------------------------------------------------------------------------------------------ options


# Options of the classes that name something, or say what is done with what is refused or with sizes of pictures.
HARMLESS = {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "self", "kwargs", "time_shift_type",
            "rescale_betas_zero_snr", "prediction_type", "timestep_spacing", "steps_offset", "set_alpha_to_one",
            "sigma_schedule"}
# Options that a class lists and does not use: DEIS knows one algorithm, and TCD's step cuts nothing.
UNUSED = {"deis": {"algorithm_type", "solver_type"},
          "tcd": {"timestep_scaling", "clip_sample", "clip_sample_range", "thresholding", "dynamic_thresholding_ratio", "sample_max_value"}}


@pytest.mark.parametrize("name", ALL)
def test_every_option_of_the_class_is_taken_or_refused(name):
    """Derived from the signature: what it lists is part of the curve, is understood, or is refused with another value than the
    default. A new option of a newer diffusers shows here."""
    sampler = ALL[name]
    if sampler.theirs == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    signature = inspect.signature(getattr(diffusers, sampler.theirs).__init__).parameters
    known = HARMLESS | UNUSED.get(name, set()) | set(CURVE) | set(sampler.takes) | set(sampler.defaults()) | set(sampler.refuses) | set(sampler.fixed)
    assert set(signature) <= known, set(signature) - known
    for option, default in sampler.refuses.items():
        assert signature[option].default == default
        other = "another" if default is None or isinstance(default, str) else not default
        schedule = NoiseSchedule.from_config({**SD, option: other})
        with pytest.raises(ValueError, match=rf"sets {option} to .*{name} does not have.*pass diffusers' own {sampler.theirs}"):
            sampler.grid(schedule, 5)


@pytest.mark.parametrize("name", ALL)
def test_the_defaults_are_those_of_the_class(name):
    sampler = ALL[name]
    if sampler.theirs == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    signature = inspect.signature(getattr(diffusers, sampler.theirs).__init__).parameters
    for option, default in {**sampler.defaults(), **sampler.takes}.items():
        if option in signature and option not in sampler.fixed and option not in ("clip_sample", "skip_prk_steps"):
            assert (signature[option].default or None) == (default or None), option


@pytest.mark.parametrize("name", TAUGHT)
@pytest.mark.parametrize("change", [
    {"algorithm_type": "sde-dpmsolver++"}, {"variance_type": "fixed_large"}, {"clip_sample": True}, {"solver_order": 1},
    {"skip_prk_steps": False}, {"use_karras_sigmas": True}, {"thresholding": True}, {"final_sigmas_type": "sigma_min"},
    {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}, {"interpolation_type": "log_linear"}, {"timestep_type": "continuous"},
    {"sigma_max": 10.0}, {"use_lu_lambdas": True}, {"lambda_min_clipped": -2.0}, {"euler_at_final": True}, {"solver_type": "heun"},
    {"use_dynamic_shifting": True}, {"use_flow_sigmas": True},
])
def test_an_option_changes_the_picture_as_in_diffusers_or_is_refused(name, change):
    """For the samplers whose class has it, and only for them."""
    config = {**SD, **change}
    outcome = compare(name, "stable-diffusion-v1-4", 20, "epsilon", config)
    has = next(iter(change)) in inspect.signature(getattr(diffusers, SAMPLERS[name].theirs).__init__).parameters
    assert outcome.state in (("equal", "refused") if has else ("equal",)), outcome


def test_a_config_that_names_pndm_and_nothing_else_means_its_runge_kutta_start():
    config = {key: value for key, value in SD.items() if key != "skip_prk_steps"}
    for given, calls in [({"_class_name": "PNDMScheduler"}, 14), ({}, 6)]:
        seen = []
        SAMPLERS["pndm"].sample(lambda x, level, seen=seen: seen.append(level) or x, torch.ones(1, 2),
                                NoiseSchedule.from_config({**config, **given}), 5)
        assert len(seen) == calls


@pytest.mark.parametrize(("options", "message"), [
    ({"use_karras_sigmas": True, "use_beta_sigmas": True}, "a grid has one spacing"),
    ({"final_sigmas_type": "one"}, "it is 'zero' or 'sigma_min'"),
    ({"algorithm_type": "dpmsolver"}, "cannot end at sigma = 0: set final_sigmas_type to 'sigma_min'"),
])
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        SAMPLERS["dpmpp_2m"].grid(NoiseSchedule.from_config({**SD, **options}), 5)


def test_an_unknown_option_is_named():
    with pytest.raises(ValueError, match=r"ddim takes no option etta; it takes .*eta"):
        SAMPLERS["ddim"].sample(lambda x, level: x, torch.ones(1, 2), SCHEDULE, 5, etta=1)


# ------------------------------------------------------------------------------------------------ grids


def test_align_your_steps_are_the_published_times():
    from diffusers.schedulers import AysSchedules

    assert list(grids.ALIGN_YOUR_STEPS["sd1"]) == AysSchedules["StableDiffusionTimesteps"]
    assert list(grids.ALIGN_YOUR_STEPS["sdxl"]) == AysSchedules["StableDiffusionXLTimesteps"]


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m"])
def test_times_of_ones_own(name):
    times = grids.ALIGN_YOUR_STEPS["sd1"]
    scheduler = observe.their_scheduler(name, SD)
    scheduler.set_timesteps(timesteps=list(times))
    grid = SAMPLERS[name].grid(SCHEDULE, len(times), timesteps=times)
    assert sorted({float(t) for t in scheduler.timesteps}, reverse=True) == [level.t for level in grid[:-1]]
    sigmas = sorted({float(s) for s in scheduler.sigmas}, reverse=True)
    assert [level.ratio for level in grid] == pytest.approx(sigmas, rel=1e-6)
    for wrong in ([], [5, 10], [999, 999, 3], [1000, 1], [3, -1]):
        with pytest.raises(ValueError, match="timesteps must fall"):
            SAMPLERS[name].grid(SCHEDULE, 3, timesteps=wrong)
    with pytest.raises(ValueError, match="use_karras_sigmas exclude each other"):
        SAMPLERS[name].grid(NoiseSchedule.from_config({**SD, "use_karras_sigmas": True}), 3, timesteps=times)


@pytest.mark.parametrize("spacing", [grids.karras, grids.exponential, grids.beta])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_spacings_fall_from_high_to_low(spacing, steps):
    ratios = spacing(0.03, 14.6, steps)
    assert len(ratios) == steps
    assert ratios[0] == pytest.approx(14.6)
    assert np.all(np.diff(ratios) < 0)
    assert steps == 1 or ratios[-1] == pytest.approx(0.03)


def test_time_of_is_the_inverse_of_the_schedule():
    times = np.arange(0, 999, 13)
    assert grids.time_of(SCHEDULE, SCHEDULE.ratios[times]) == pytest.approx(times, abs=2e-3)


# ------------------------------------------------------------------------------------------------ the pieces


def test_order_two_is_the_sampler_of_the_book():
    """`dpmpp_2m` is written out for chapter 6; the table runs the general function."""
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    x, grid = observe.first_noise(), SAMPLERS["dpmpp_2m"].grid(SCHEDULE, 20)
    denoise = as_eps(lambda x, level: predict(x, level.t), "epsilon")
    assert torch.allclose(dpmpp_2m(denoise, x, grid, None), SAMPLERS["dpmpp_2m"].run(denoise, x, grid, None), atol=2e-6)


def test_one_method_on_two_grids():
    """DPM-Solver++(1) is DDIM, its SDE form is DDPM, and both are Euler's method on the grid of Euler's: the same function of the same
    levels gives the same numbers."""
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    denoise = as_eps(lambda x, level: predict(x, level.t), "epsilon")
    x, grid = observe.first_noise(), SAMPLERS["euler"].grid(SCHEDULE, 20)

    def run(name, **options):
        dice = torch.Generator().manual_seed(0)
        return SAMPLERS[name].run(denoise, x, grid, lambda: torch.randn(x.shape, generator=dice), **options)

    assert torch.allclose(run("dpmpp_1", solver_order=1), run("ddim"), atol=5e-6)
    assert torch.allclose(run("dpmpp_2m_sde", solver_order=1, algorithm_type="sde-dpmsolver++"), run("ddpm"), atol=5e-5)
    assert torch.allclose(run("dpmpp_2s", solver_order=1), run("euler"), atol=5e-6)
    assert torch.allclose(run("unipc", solver_order=1, disable_corrector=range(20)), run("ddim"), atol=5e-6)


@pytest.mark.parametrize("h", [1e-2, 0.3, 2.0])
@pytest.mark.parametrize("rises", [False, True])
def test_phi_shares_are_means_under_the_weight(h, rises):
    s = np.linspace(0, 1, 200_001)
    weight = np.exp(h * s) if not rises else np.exp(-h * s)        # from the start of the step: e^-(distance to its end), or e^+
    mean = (weight * s).sum() / weight.sum(), (weight * s**2 / 2).sum() / weight.sum()
    assert phi_shares(h, 3, rises) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_log_weights_are_exact_for_polynomials_in_the_logarithm(degree):
    nodes, end = [1.3, 2.0, 3.1], 0.7
    r = np.linspace(nodes[0], end, 400_001)
    exact = (np.log(r) ** degree).mean()
    assert sum(w * math.log(n) ** degree for w, n in zip(log_weights(nodes, end), nodes, strict=True)) == pytest.approx(exact, abs=1e-5)


def test_extrapolation_is_exact_for_straight_lines_and_half_right_for_parabolas():
    """Of order 2 (type "heun") and 3, x_0 a straight line in lambda is met exactly: its mean under e^-(distance to the end). Of a
    parabola's curvature order 3 takes half of what the mean would be. So do Lu et al.'s formula and diffusers, and ours equals them."""
    lambdas, there = [0.5, 0.1, -0.4], 1.2
    l = np.linspace(lambdas[0], there, 400_001)
    weight = np.exp(l - there)

    def found(f, order):
        return extrapolated([torch.tensor(f(x), dtype=torch.float64) for x in lambdas], lambdas, there, order, "heun", rises=False).item()

    for f, order, curvature in [(lambda x: 0.3 - 0.7 * x, 2, 0), (lambda x: 0.3 - 0.7 * x, 3, 0), (lambda x: 0.9 * x**2, 3, 0.9)]:
        missing = curvature * (there - lambdas[0]) ** 2 * phi_shares(there - lambdas[0], 3, rises=False)[1]
        assert found(f, order) == pytest.approx((weight * f(l)).sum() / weight.sum() - missing, rel=1e-5)


def test_sa_solver_without_noise_is_unipcs_kind_and_with_it_finds_the_same_crowd():
    """tau = 0 and order 1 is DDIM; at any tau an exact denoiser leads to the truth."""
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    denoise = as_eps(lambda x, level: predict(x, level.t), "epsilon")
    x, grid = observe.first_noise(), SAMPLERS["sa_solver"].grid(SCHEDULE, 20)
    draw = lambda: torch.zeros_like(x)  # noqa: E731
    plain = sa_solver(denoise, x, grid, draw, predictor_order=1, corrector_order=1, tau=lambda t: 0.0)
    assert (plain - SAMPLERS["ddim"].run(denoise, x, grid, None)).abs().max() > 1e-3, "the corrector of order 1 asks at the far end"
    world, noise = gaussian([0.5], 0.3), torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    for tau in (0.0, 0.5, 1.0):
        dice = torch.Generator().manual_seed(1)
        x = sa_solver(world.denoise, noise, SAMPLERS["sa_solver"].grid(SCHEDULE, 40), lambda dice=dice: torch.randn(4000, 1, generator=dice),
                      tau=lambda t, tau=tau: tau)
        assert x.mean().item() == pytest.approx(0.5, abs=0.02)
        assert x.std().item() == pytest.approx(0.3, abs=0.02)
    with pytest.raises(ValueError, match="'data_prediction' or 'noise_prediction'"):
        sa_solver(denoise, noise, grid, draw, algorithm_type="deis")


@pytest.mark.parametrize("algorithm_type", ["data_prediction", "noise_prediction"])
@pytest.mark.parametrize("orders", [(1, 1), (1, 2), (3, 3), (3, 4)])
def test_sa_solver_of_other_orders_is_diffusers(algorithm_type, orders):
    config = {**SD, "predictor_order": orders[0], "corrector_order": orders[1], "algorithm_type": algorithm_type}
    outcome = compare("sa_solver", "orders", 8, "epsilon", config)
    assert outcome.state == "equal", outcome


def test_up_and_down_again_by_dpm_solver():
    """DPM-Solver++ backwards finds the noise from which it, forwards, paints nearly the same picture."""
    world = gaussian([0.5, -0.2], 0.3)
    x0 = torch.tensor([[0.6, -0.1]], dtype=torch.float64)
    back = observe.ALL["dpmpp_2m_inverse"]
    noise = back.run(world.denoise, x0, back.grid(SCHEDULE, 100), None)
    again = SAMPLERS["dpmpp_2m"].run(world.denoise, noise, SAMPLERS["dpmpp_2m"].grid(SCHEDULE, 100), None)
    assert (noise - x0).abs().max() > 0.3
    assert (again - x0).abs().max() < 0.02


@pytest.mark.parametrize(("steps", "order", "orders"), [
    (6, 3, [1, 2, 3, 1, 2, 1]), (7, 3, [1, 2, 3, 1, 2, 3, 1]), (8, 3, [1, 2, 3, 1, 2, 3, 1, 1]), (5, 2, [1, 2, 1, 2, 1]),
    (6, 2, [1, 2, 1, 2, 1, 1]), (1, 3, [1]), (3, 1, [1, 1, 1]),
])
def test_orders_of_the_singlestep_solver(steps, order, orders):
    assert singlestep_orders(steps, order, lower_order_final=False, ends_clean=True) == orders


def test_pure_noise_needs_a_denoiser_that_knows_x0():
    grid = [Level(1000.0, 0.0, 1.0), Level(500.0, 0.5, 0.5), CLEAN]
    x = observe.first_noise()
    with pytest.raises(ValueError, match=r"alpha = 0\), and eps says nothing about x_0"):
        SAMPLERS["euler"].run(lambda x, level: x, x, grid, None)
    picture = torch.ones_like(x)
    flow = as_eps(lambda x, level: (x - picture) / level.sigma, "flow_prediction")
    assert torch.allclose(SAMPLERS["euler"].run(flow, x, grid, None), picture)


# ------------------------------------------------------------------------------------------------ the page


def test_every_class_of_diffusers_is_spoken_of_once():
    """A class that a newer diffusers adds shows here."""
    ours_too = {sampler.theirs for sampler in observe.EVERY.values()}
    named = [*ours_too, *observe.ELSEWHERE, *observe.NOT_HERE]
    assert len(named) == len(set(named))
    assert set(observe.classes()) == set(named)


def test_the_facts_of_the_page_are_about_every_sampler():
    import json
    from pathlib import Path

    file = Path(__file__).parents[2] / "docs" / "assets" / "schedulers" / "facts.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    assert set(facts["samplers"]) == set(observe.EVERY)
    assert "different" not in facts["states"]


# ------------------------------------------------------------------------------------------------ walks


@pytest.mark.parametrize("name", WALKS)
def test_walks_are_diffusers_classes(name):
    for config in observe.configs_of(name):
        for steps in (1, 3, 10):
            outcome = compare(name, config, steps, observe.predictions(name, config)[0])
            assert outcome.state == "equal" or (steps == 1 and name in ("edm_euler", "edm_dpmpp_2m", "karras_ve")), outcome
            assert outcome.state in ("equal", "explained"), outcome


@pytest.mark.parametrize("name", WALKS)
def test_a_wrong_walk_is_seen(name, monkeypatch):
    right = observe.our_walk(name, {}, 4)
    predict = observe.walk_network(name)
    monkeypatch.setattr(observe, "walk_network", lambda name: lambda x, t: predict(x, t) + 0.01)
    assert observe.distance(right, observe.our_walk(name, {}, 4)) > 1e-4


def test_sigma_down_cancels_in_diffusers():
    """At two steps sigma falls by a factor of 500, and what is to be left of it is the difference of two float32 numbers that agree in five
    digits."""
    scheduler = observe.their_scheduler("dpm2_ancestral", SD, 2)
    now, next = (float(s) for s in (scheduler.sigmas[0], SAMPLERS["dpm2_ancestral"].grid(SCHEDULE, 2)[1].ratio))
    exact = next**2 / now
    assert next < 0.01 * now
    assert any(abs(float(s) / exact - 1) < 0.2 for s in scheduler.sigmas_down), "it is that step's"
    assert min(abs(float(s) / exact - 1) for s in scheduler.sigmas_down) > 1e-3
    outcome = compare("dpm2_ancestral", "stable-diffusion-v1-4", 2, "epsilon")
    assert "cancels" in outcome.note
    assert compare("dpm2_ancestral", "stable-diffusion-v1-4", 10, "epsilon").state == "equal"


def test_two_steps_on_a_circle_stop_where_the_paper_says():
    scheduler = diffusers.SCMScheduler()
    scheduler.set_timesteps(2)
    assert [level.t for level in WALKS["scm"].grid(2, times=[1.5708, 1.3, 0.0])] == pytest.approx(scheduler.timesteps.tolist())


@pytest.mark.parametrize(("name", "options", "steps", "message"), [
    ("flow_euler", {"shft": 3.0}, 4, "takes no option shft; it takes .*shift"),
    ("flow_euler", {"shift": 0.0}, 4, "positive"),
    ("flow_euler", {}, 0, "from 1 to 1000"),
    ("edm_euler", {"sigma_min": 90.0}, 4, "the first the smaller"),
    ("edm_euler", {"sigma_schedule": "linear"}, 4, "'karras' or 'exponential'"),
    ("edm_euler", {"final_sigmas_type": "one"}, 4, "'zero' or 'sigma_min'"),
    ("edm_dpmpp_2m", {"prediction_type": "sample"}, 4, "epsilon or v_prediction"),
    ("consistency", {}, 41, "from 1 to 40"),
    ("scm", {"times": [1.5, 1.5, 0.0]}, 2, "fall from one to the next"),
    ("wuerstchen", {"scaler": 0.0}, 2, "positive"),
    ("ipndm", {}, 2.5, "whole number"),
])
def test_walks_refuse_in_words(name, options, steps, message):
    with pytest.raises(ValueError, match=message):
        WALKS[name].sample(lambda x, level: x, torch.ones(1, 2), steps, **options)


def test_walks_refuse_a_network_that_answers_another_shape():
    with pytest.raises(ValueError, match="must be shaped like x"):
        WALKS["flow_euler"].sample(lambda x, level: x[:, :1], torch.ones(1, 2), 3)
    with pytest.raises(ValueError, match="floating-point"):
        WALKS["flow_euler"].sample(lambda x, level: x, torch.ones(1, 2, dtype=torch.int64), 3)


def test_a_walk_reaches_the_picture_that_the_network_knows():
    """A network that is certain: every walk ends at its picture, in any number of steps."""
    picture = torch.tensor([[0.3, -0.7]])

    def answer(name):
        def network(x, level):
            if WALKS[name].predicts == "edm" or WALKS[name].predicts == "distilled":
                least = 0.002 if WALKS[name].predicts == "distilled" else 0.0
                spread, above = math.hypot(level.sigma, 0.5), level.sigma - least
                return (picture - 0.25 / (above**2 + 0.25) * x * spread) / (above * 0.5 / spread)      # the inverse of c_skip x + c_out F
            eps = (x - level.alpha * picture) / level.sigma
            return {"epsilon": eps, "-epsilon": -eps, "flow_prediction": eps - picture,
                    "v_prediction": level.alpha * eps - level.sigma * picture}[WALKS[name].predicts]
        return network

    for name in set(WALKS) - {"ipndm"}:                # from pure noise its first step knows no picture, and the next three remember it
        x = WALKS[name].sample(answer(name), torch.randn(1, 2, generator=torch.Generator().manual_seed(0)), 4,
                               torch.Generator().manual_seed(1))
        assert torch.allclose(x, picture, atol=0.02 if name == "wuerstchen" else 1e-4), name      # its schedule does not end clean


def test_the_path_of_torchsde():
    """With a seed, the numbers are those of diffusers' DPMSolverSDEScheduler at that seed. At 4 steps the times are whole; where they are
    fractions diffusers has them in float64 and we in float32, and a path moves by 0.01 for the last bit of a time."""
    pytest.importorskip("torchsde")
    predict = network("epsilon", SCHEDULE.alphas_cumprod)
    scheduler = diffusers.DPMSolverSDEScheduler(**{key: value for key, value in SD.items() if key in (
        "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "steps_offset")}, noise_sampler_seed=5)
    scheduler.set_timesteps(4)
    x = observe.first_noise() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(predict(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    found = SAMPLERS["dpmpp_sde"].sample(lambda x, level: predict(x, level.t), observe.first_noise(), SCHEDULE, 4, noise_sampler_seed=5)
    assert (found - x).abs().max() < 1e-4
    other = SAMPLERS["dpmpp_sde"].sample(lambda x, level: predict(x, level.t), observe.first_noise(), SCHEDULE, 4, noise_sampler_seed=6)
    assert (other - x).abs().max() > 0.01


def test_a_seed_without_torchsde_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "diffusers.schedulers.scheduling_dpmsolver_sde", None)
    with pytest.raises(ValueError, match="pip install torchsde"):
        SAMPLERS["dpmpp_sde"].sample(lambda x, level: x, torch.ones(1, 2), SCHEDULE, 3, noise_sampler_seed=1)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_sigmas_of_ones_own(name):
    """diffusers' own tables of sigmas, which Align Your Steps publishes beside its times."""
    from diffusers.schedulers import AysSchedules

    sigmas = AysSchedules["StableDiffusionXLSigmas"]
    grid = SAMPLERS[name].grid(SCHEDULE, 10, sigmas=sigmas)
    scheduler = diffusers.EulerDiscreteScheduler(**{key: SD[key] for key in ("beta_start", "beta_end", "beta_schedule")})
    scheduler.set_timesteps(sigmas=sigmas)
    assert [level.ratio for level in grid] == pytest.approx(scheduler.sigmas.tolist(), rel=1e-6)
    assert [level.t for level in grid[:-1]] == pytest.approx(scheduler.timesteps.tolist(), abs=2e-3)
    for wrong in ([3.0], [1.0, 1.0, 0.0], [1.0, 2.0], [1.0, -1.0], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="sigmas must be at least two numbers that fall"):
            SAMPLERS[name].grid(SCHEDULE, 2, sigmas=wrong)
    with pytest.raises(ValueError, match="no sigmas of one's own"):
        SAMPLERS["ddim"].grid(SCHEDULE, 2, sigmas=sigmas)
    with pytest.raises(ValueError, match="one of timesteps and sigmas"):
        SAMPLERS[name].grid(SCHEDULE, 2, sigmas=sigmas, timesteps=[3, 1])


# ------------------------------------------------------------------------------------------------ the table that grows


def test_a_stopped_table_goes_on(tmp_path, monkeypatch, capsys):
    file, calls = tmp_path / "observed.csv", []
    real = observe.compare
    monkeypatch.setattr(observe, "compare", lambda *key: calls.append(key) or real(*key))
    assert observe.report(["ddim"], ["stable-diffusion-v1-4"], [1, 3], file) == 0
    assert len(calls) == 6
    assert observe.report(["ddim", "flow_euler"], ["stable-diffusion-v1-4", "pipeline"], [1, 3], file) == 0
    assert [key[0] for key in calls[6:]] == ["flow_euler"] * 2, "what is in the file is not compared again"
    rows = observe.read_table(file, diffusers.__version__)
    assert len(rows) == 8
    assert observe.read_table(file, "0.0.1") == {}, "another version's rows do not count"
    assert "8 comparisons of 2 pairs" in capsys.readouterr().out
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no table of course observe"):
        observe.report(["ddim"], [], [1], file)
    with pytest.raises(ValueError, match="no sampler 'ddimm'"):
        observe.report(["ddimm"], [], [1])
