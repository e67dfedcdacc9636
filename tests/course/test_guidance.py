"""Guidance, compared: each variant against its formula, its limits, diffusers' guiders, and a world with a truth."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers.guiders import AdaptiveProjectedGuidance, AutoGuidance, ClassifierFreeGuidance, ClassifierFreeZeroStarGuidance

from course.flow import flow_level
from course.guidance import auto_guided, classifier_free, classifier_guided, interval, pair_of, plus_plus, projected, zero_star
from course.prediction import eps_from_flow, flow_from_eps, x0_from_eps
from course.samplers import SAMPLERS, transfer
from course.schedule import CLEAN, Level, NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import Mixture

SD = NoiseSchedule.from_config(SD_V1)
LEVEL = SD.at(500)


def tensors(n=2, shape=(3, 4, 8, 8), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(n)]


def constant(negative, positive):
    return lambda x, level: (negative, positive)


NEGATIVE, POSITIVE = tensors()


# ------------------------------------------------------------------------------------------------ diffusers' guiders


def guider(of, **options):
    it = of(**options)
    it.set_state(step=5, num_inference_steps=10, timestep=torch.tensor(500))
    return it


@pytest.mark.parametrize("scale", [0.0, 2.0, 7.5, -1.0])
def test_the_formula_is_diffusers_formula(scale):
    theirs = guider(ClassifierFreeGuidance, guidance_scale=scale).forward(POSITIVE, NEGATIVE).pred
    assert torch.allclose(classifier_free(constant(NEGATIVE, POSITIVE), scale)(POSITIVE, LEVEL), theirs, atol=1e-12)
    automatic = AutoGuidance(guidance_scale=scale, auto_guidance_layers=0, dropout=0.5)
    automatic._is_ag_enabled = lambda: True                # no network to take layers out of here: its formula only
    theirs = automatic.forward(POSITIVE, NEGATIVE).pred
    ours = auto_guided(lambda x, level: NEGATIVE, lambda x, level: POSITIVE, scale)(POSITIVE, LEVEL)
    assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(("parallel", "most", "momentum"), [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.3, 5.0, 0.0), (0.0, 15.0, -0.5)])
def test_projected_guidance_is_diffusers_with_the_papers_formula(parallel, most, momentum):
    theirs = guider(AdaptiveProjectedGuidance, guidance_scale=6.5, eta=parallel, adaptive_projected_guidance_rescale=most,
                    adaptive_projected_guidance_momentum=momentum or None, use_original_formulation=True)
    if momentum:
        from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer

        theirs.momentum_buffer = MomentumBuffer(momentum)
    pairs = [tensors(seed=i) for i in range(3)]
    mine = iter(pairs)
    ours = projected(lambda x, level: next(mine), 7.5, parallel, most, momentum)
    for negative, positive in pairs:                       # three steps in a row: the momentum goes along
        assert torch.allclose(ours(positive, LEVEL), theirs.forward(positive, negative).pred, atol=1e-9)


def test_zero_star_is_diffusers_after_its_first_steps():
    theirs = guider(ClassifierFreeZeroStarGuidance, guidance_scale=4.0, zero_init_steps=1).forward(POSITIVE, NEGATIVE).pred
    assert torch.allclose(zero_star(constant(NEGATIVE, POSITIVE), 4.0)(POSITIVE, LEVEL), theirs, atol=1e-6)


# ------------------------------------------------------------------------------------------------ limits


def test_an_interval_of_everything_is_plain_guidance_bit_for_bit():
    pair = constant(NEGATIVE, POSITIVE)
    assert torch.equal(classifier_free(pair, interval(5.0, 0.0, math.inf))(POSITIVE, LEVEL), classifier_free(pair, 5.0)(POSITIVE, LEVEL))


def test_outside_the_interval_only_the_prompt_counts():
    pair = constant(NEGATIVE, POSITIVE)
    scale = interval(5.0, 0.3, 3.0)
    assert [scale(SD.at(t)) for t in (999, 500, 10)] == [1.0, 5.0, 1.0]
    assert torch.allclose(classifier_free(pair, scale)(POSITIVE, SD.at(999)), POSITIVE)


@pytest.mark.parametrize(("low", "high"), [(-1, 2), (3, 2), (float("nan"), 1)])
def test_an_interval_that_is_none_is_refused(low, high):
    with pytest.raises(ValueError, match="interval"):
        interval(5.0, low, high)


def test_projected_with_everything_kept_is_plain_guidance():
    pair = constant(NEGATIVE, POSITIVE)
    assert torch.allclose(projected(pair, 5.0, parallel=1.0)(POSITIVE, LEVEL), classifier_free(pair, 5.0)(POSITIVE, LEVEL))


def test_what_is_left_lies_across_the_prediction():
    moved = projected(constant(NEGATIVE, POSITIVE), 5.0)(POSITIVE, LEVEL) - POSITIVE
    assert float((moved * POSITIVE).sum((1, 2, 3)).abs().max()) < 1e-9
    assert float(moved.abs().max()) > 1


def test_each_picture_is_projected_by_itself():
    whole = projected(constant(NEGATIVE, POSITIVE), 5.0, most=3.0)(POSITIVE, LEVEL)
    alone = torch.cat([projected(constant(NEGATIVE[i:i + 1], POSITIVE[i:i + 1]), 5.0, most=3.0)(POSITIVE[i:i + 1], LEVEL)
                       for i in range(3)])
    assert torch.allclose(whole, alone)


def test_a_difference_is_shortened_only_when_it_is_too_long():
    pair = constant(NEGATIVE, POSITIVE)
    length = float((POSITIVE - NEGATIVE).flatten(1).norm(dim=1).max())
    assert torch.allclose(projected(pair, 5.0, 1.0, most=2 * length)(POSITIVE, LEVEL), projected(pair, 5.0, 1.0)(POSITIVE, LEVEL))
    short = projected(pair, 2.0, 1.0, most=0.5)(POSITIVE, LEVEL) - POSITIVE
    assert torch.allclose(short.flatten(1).norm(dim=1), torch.full((3,), 0.5, dtype=torch.float64))


# ------------------------------------------------------------------------------------------------ CFG++


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_cfg_plus_plus_is_its_own_two_lines(strength):
    """x_next = alpha_next x_0(guided) + sigma_next eps_negative, step by step, equals DDIM with the scale that replaces it."""
    grid = SAMPLERS["ddim"].grid(SD, 10)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    negative = Mixture([[-1.0, 0.0], [1.0, 0.0]], [0.3, 0.3]).denoise
    positive = Mixture([[1.0, 0.0]], [0.3]).denoise
    x = noise
    for now, next in pairwise(grid):
        e_n, e_p = negative(x, now), positive(x, now)
        x0 = x0_from_eps(e_n + strength * (e_p - e_n), x, now)
        x = next.alpha * x0 + next.sigma * e_n
    guided = classifier_free(pair_of(negative, positive), plus_plus(strength, grid))
    assert torch.allclose(SAMPLERS["ddim"].run(guided, noise, grid, None), x, atol=1e-9)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_of_cfg_plus_plus_lies_between_0_and_1(strength):
    with pytest.raises(ValueError, match=r"CFG\+\+"):
        plus_plus(strength, [SD.at(500), CLEAN])


# ------------------------------------------------------------------------------------------------ flows and classifiers


def test_guidance_of_velocities_is_guidance_of_noises():
    x, = tensors(1)
    level = flow_level(0.6)
    v = classifier_free(lambda y, at: tuple(flow_from_eps(e, y, at) for e in (NEGATIVE, POSITIVE)), 5.0)(x, level)
    assert torch.allclose(eps_from_flow(v, x, level), classifier_free(constant(NEGATIVE, POSITIVE), 5.0)(x, level), atol=1e-9)


WORLD = Mixture([[-1.5, 0.0], [1.5, 0.0]], [0.3, 0.3])


def log_right(x0):
    """log P(right bump | x_0) of the two-bump world, exactly."""
    return torch.nn.functional.logsigmoid(2 * 1.5 * x0[:, 0] / 0.09)


def test_the_classifiers_gradient_is_the_one_by_differences():
    x, = tensors(1, (6, 2))
    level = SD.at(400)
    eps = WORLD.denoise(x, level)
    push = (eps - classifier_guided(WORLD.denoise, log_right, 1.0)(x, level)) / level.sigma
    h = 1e-5
    for axis in range(2):
        step = h * torch.eye(2, dtype=torch.float64)[axis]
        up, down = (log_right(x0_from_eps(WORLD.denoise(y, level), y, level)) for y in (x + step, x - step))
        assert torch.allclose(push[:, axis], (up - down) / (2 * h), atol=1e-5)


def test_a_classifier_leads_to_its_class():
    noise, = tensors(1, (200, 2))
    ends = [SAMPLERS["ddim"].sample(classifier_guided(WORLD.denoise, log_right, g), noise, SD, 30)[:, 0] for g in (0.0, 1.0)]
    assert 0.4 < float((ends[0] > 0).double().mean()) < 0.6
    assert float((ends[1] > 0).double().mean()) > 0.9


def test_autoguidance_draws_the_crowd_together():
    """Better against worse: with a worse model whose bumps are too wide, guidance makes them narrower than the truth's."""
    noise, = tensors(1, (400, 2))
    worse = Mixture([[-1.5, 0.0], [1.5, 0.0]], [0.6, 0.6])
    plain = SAMPLERS["heun"].sample(WORLD.denoise, noise, SD, 30)
    guided = SAMPLERS["heun"].sample(auto_guided(worse.denoise, WORLD.denoise, 2.0), noise, SD, 30)
    spread = lambda x: float((x[:, 0].abs() - 1.5).std())                  # noqa: E731
    assert spread(guided) < 0.8 * spread(plain)
    assert 0.4 < float((guided[:, 0] > 0).double().mean()) < 0.6, "and neither bump is lost"


def test_transfer_with_a_guided_eps_is_linear_in_the_scale():
    x, = tensors(1)
    pair = constant(NEGATIVE, POSITIVE)
    steps = [transfer(x, classifier_free(pair, g)(x, LEVEL), LEVEL, Level(0, 0.9, 0.1)) for g in (0.0, 1.0, 3.0)]
    assert torch.allclose(steps[2], steps[0] + 3 * (steps[1] - steps[0]))
