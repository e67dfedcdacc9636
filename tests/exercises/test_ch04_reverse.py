"""Checks of exercises/ch04_reverse.py and of the written answers in ch04_reverse.md."""

from pathlib import Path

import torch

from course import forward, prediction
from course.grading import task
from course.grading.checks import expect, expect_close, expect_finite
from course.grading.diffusers_numbers import diffusers_says
from course.grading.written import expect_written
from course.schedule import Level

ANSWERS = Path(__file__).parent / "answers"
# shapes and types: the first so that a wrong axis cannot hide in a crash; one image and many, odd sides, one channel
CASES = (((4, 4, 4, 4), torch.float32), ((3, 2, 5, 6), torch.float64), ((1, 4, 8, 8), torch.float32), ((5, 1, 3, 7), torch.float32),
         ((1, 1, 1, 9), torch.float64))
WIDTH = "alpha_bar_t was spread along the width of the images; it counts the batch, so view it as (B, 1, 1, 1)"
ROOTS = "the square roots are missing: alpha_bar_t and 1 - alpha_bar_t are variances"
FIRST = "every image got the first image's alpha_bar_t"


def level(alpha_bar):
    a = alpha_bar.view(-1, 1, 1, 1)
    return Level(0, a.sqrt(), (1 - a).sqrt())


def draw(student, shape, dtype=torch.float32):
    """x_0, eps, alpha_bar, x_t"""
    x0, eps, alpha_bar = (x.to(dtype) for x in (student.randn(*shape), student.randn(*shape), student.levels(shape[0])))
    return x0, eps, alpha_bar, forward.add_noise(x0, eps, level(alpha_bar))


def about(name, shape, dtype, alpha_bar, prev=None):
    """The call in words: shape, type, and the levels, which tell a limit that was set on them."""
    def row(values):
        return ", ".join(f"{value:.4g}" for value in values.tolist())

    return (f"{name} with {str(dtype).removeprefix('torch.')} images of shape {shape} at alpha_bar_t = {row(alpha_bar)}"
            + (f" and alpha_bar_prev = {row(prev)}" if prev is not None else ""))


def ends(student, call, at_noise, at_clean, name):
    """alpha_bar_t = 0 and 1, each alone, both in one batch; `call(x, y, alpha_bar)`. None: not defined there."""
    x, y = student.randn(2, 1, 3, 5), student.randn(2, 1, 3, 5)
    for alpha_bar, right in ((0.0, at_noise), (1.0, at_clean)):
        if right is not None:
            expect_close(call(x, y, torch.full((2,), alpha_bar)), right(x, y), f"{name} at alpha_bar_t = {alpha_bar:g}")
    if at_noise is not None and at_clean is not None:
        mixed = torch.stack([at_noise(x, y)[0], at_clean(x, y)[1]])
        expect_close(call(x, y, torch.tensor([0.0, 1.0])), mixed, f"{name} with alpha_bar_t = 0 for one image and 1 for the other")


@task("ch04.predict_x0")
def test_predict_x0(student):
    for shape, dtype in CASES:
        _, eps, alpha_bar, xt = draw(student, shape, dtype)
        eps = student.randn(*shape).to(dtype)             # a prediction is never quite the noise that was added
        a, w = alpha_bar.view(-1, 1, 1, 1), alpha_bar
        expect_close(student.predict_x0(xt, eps, alpha_bar), prediction.x0_from_eps(eps, xt, level(alpha_bar)),
                     about("predict_x0", shape, dtype, alpha_bar), {
            ROOTS: lambda: (xt - (1 - a) * eps) / a,
            "the square root of 1 - alpha_bar_t is missing": lambda: (xt - (1 - a) * eps) / a.sqrt(),
            "the division by sqrt(alpha_bar_t) is missing": lambda: xt - (1 - a).sqrt() * eps,
            "it multiplies by sqrt(alpha_bar_t) where it should divide": lambda: (xt - (1 - a).sqrt() * eps) * a.sqrt(),
            "only x_t is divided by sqrt(alpha_bar_t), not the whole difference": lambda: xt / a.sqrt() - (1 - a).sqrt() * eps,
            "the noise is added where it should be taken away": lambda: (xt + (1 - a).sqrt() * eps) / a.sqrt(),
            "alpha_bar_t and 1 - alpha_bar_t are swapped": lambda: (xt - a.sqrt() * eps) / (1 - a).sqrt(),
            "the division is by alpha_bar_t, not by its square root": lambda: (xt - (1 - a).sqrt() * eps) / a,
            FIRST: lambda: (xt - (1 - a[:1]).sqrt() * eps) / a[:1].sqrt(),
            WIDTH: lambda: (xt - (1 - w).sqrt() * eps) / w.sqrt(),
        }, rtol=2e-4, atol=2e-5)
    ends(student, student.predict_x0, None, lambda xt, eps: xt, "predict_x0")


@task("ch04.predict_eps")
def test_predict_eps(student):
    for shape, dtype in CASES:
        x0, _, alpha_bar, xt = draw(student, shape, dtype)
        x0 = x0 + 0.3 * student.randn(*shape).to(dtype)
        a, w = alpha_bar.view(-1, 1, 1, 1), alpha_bar
        expect_close(student.predict_eps(xt, x0, alpha_bar), prediction.eps_from_x0(x0, xt, level(alpha_bar)),
                     about("predict_eps", shape, dtype, alpha_bar), {
            ROOTS: lambda: (xt - a * x0) / (1 - a),
            "the square root of alpha_bar_t is missing": lambda: (xt - a * x0) / (1 - a).sqrt(),
            "the division by sqrt(1 - alpha_bar_t) is missing": lambda: xt - a.sqrt() * x0,
            "this returns x_t - x_0, the difference before any scaling": lambda: xt - x0,
            "x_0 is not scaled down before it is taken away": lambda: (xt - x0) / (1 - a).sqrt(),
            "alpha_bar_t and 1 - alpha_bar_t are swapped": lambda: (xt - (1 - a).sqrt() * x0) / a.sqrt(),
            "the division is by 1 - alpha_bar_t, not by its square root": lambda: (xt - a.sqrt() * x0) / (1 - a),
            "the sign is turned round": lambda: (a.sqrt() * x0 - xt) / (1 - a).sqrt(),
            FIRST: lambda: (xt - a[:1].sqrt() * x0) / (1 - a[:1]).sqrt(),
            WIDTH: lambda: (xt - w.sqrt() * x0) / (1 - w).sqrt(),
        }, rtol=1e-3, atol=1e-4)
    ends(student, student.predict_eps, lambda xt, x0: xt, None, "predict_eps")


@task("ch04.velocity")
def test_velocity(student):
    for shape, dtype in CASES:
        x0, eps, alpha_bar, xt = draw(student, shape, dtype)
        a, w = alpha_bar.view(-1, 1, 1, 1), alpha_bar
        got = student.velocity(x0, eps, alpha_bar)
        expect_close(got, prediction.v_from_eps(eps, xt, level(alpha_bar)), about("velocity", shape, dtype, alpha_bar), {
            ROOTS: lambda: a * eps - (1 - a) * x0,
            "the sign is turned round": lambda: (1 - a).sqrt() * x0 - a.sqrt() * eps,
            "the two factors are swapped": lambda: (1 - a).sqrt() * eps - a.sqrt() * x0,
            "this is x_t: the two terms are added and their factors swapped": lambda: a.sqrt() * x0 + (1 - a).sqrt() * eps,
            "x_0 and the noise are swapped": lambda: a.sqrt() * x0 - (1 - a).sqrt() * eps,
            "the terms are added where they are subtracted": lambda: a.sqrt() * eps + (1 - a).sqrt() * x0,
            "this is eps - x_0, the target of flow matching, not of the variance-preserving path": lambda: eps - x0,
            FIRST: lambda: a[:1].sqrt() * eps - (1 - a[:1]).sqrt() * x0,
            WIDTH: lambda: w.sqrt() * eps - (1 - w).sqrt() * x0,
        }, rtol=2e-4)
        back = a.sqrt() * got + (1 - a).sqrt() * xt
        expect_close(back, eps, "sqrt(alpha_bar_t) v + sqrt(1 - alpha_bar_t) x_t, which gives the noise back,", rtol=2e-4, atol=2e-5)
    ends(student, student.velocity, lambda x0, eps: -x0, lambda x0, eps: eps, "velocity")


@task("ch04.score_from_eps")
def test_score_from_eps(student):
    for shape, dtype in CASES:
        _, eps, alpha_bar, _xt = draw(student, shape, dtype)
        a, w = alpha_bar.view(-1, 1, 1, 1), alpha_bar
        expect_close(student.score_from_eps(eps, alpha_bar), prediction.score_from_eps(eps, level(alpha_bar)),
                     about("score_from_eps", shape, dtype, alpha_bar), {
            "the minus sign is missing: the score points away from the noise": lambda: eps / (1 - a).sqrt(),
            "the division is by the variance 1 - alpha_bar_t; one root cancels against the noise's own factor":
                lambda: -eps / (1 - a),
            "it multiplies where it should divide": lambda: -eps * (1 - a).sqrt(),
            "the division is by sqrt(alpha_bar_t), the factor of the image": lambda: -eps / a.sqrt(),
            "the division by sqrt(1 - alpha_bar_t) is missing": lambda: -eps,
            FIRST: lambda: -eps / (1 - a[:1]).sqrt(),
            WIDTH: lambda: -eps / (1 - w).sqrt(),
        }, rtol=5e-4)
    ends(student, lambda eps, _, alpha_bar: student.score_from_eps(eps, alpha_bar), lambda eps, _: -eps, None, "score_from_eps")


@task("ch04.score_from_eps")
def test_it_is_the_gradient_of_the_log_density(student):
    x0, _, alpha_bar, xt = draw(student, (2, 1, 3, 3))
    x0, xt, a = x0.double(), xt.double().requires_grad_(), alpha_bar.double().view(-1, 1, 1, 1)
    log_density = (-(xt - a.sqrt() * x0) ** 2 / (2 * (1 - a))).sum()      # up to a constant
    (gradient,) = torch.autograd.grad(log_density, xt)
    eps = ((xt - a.sqrt() * x0) / (1 - a).sqrt()).detach().float()
    expect_close(student.score_from_eps(eps, alpha_bar), gradient.float(), "score_from_eps, against autograd on the log density", rtol=1e-3)


@task("ch04.posterior_mean")
def test_posterior_mean(student):
    for shape, dtype in CASES:
        x0, xt = student.randn(*shape).to(dtype), student.randn(*shape).to(dtype)
        now, prev = (x.to(dtype) for x in student.steps(shape[0]))
        n, p = now.view(-1, 1, 1, 1), prev.view(-1, 1, 1, 1)
        alpha = n / p
        right = (p.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - p) * xt) / (1 - n)

        def mean(on_x0, on_xt, x0=x0, xt=xt):
            return on_x0 * x0 + on_xt * xt

        first, second = p.sqrt() * (1 - alpha) / (1 - n), alpha.sqrt() * (1 - p) / (1 - n)
        expect_close(student.posterior_mean(x0, xt, now, prev), right, about("posterior_mean", shape, dtype, now, prev), {
            "sqrt(alpha_t) stands in front of x_0 where sqrt(alpha_bar_prev) is meant":
                lambda: mean(alpha.sqrt() * (1 - alpha) / (1 - n), second),
            "sqrt(alpha_bar_t) stands in front of x_0 where sqrt(alpha_bar_prev) is meant":
                lambda: mean(n.sqrt() * (1 - alpha) / (1 - n), second),
            "sqrt(alpha_bar_t) stands in front of x_t where sqrt(alpha_t) of the single step is meant":
                lambda: mean(first, n.sqrt() * (1 - p) / (1 - n)),
            "alpha_bar_t is used where the alpha_t = alpha_bar_t / alpha_bar_prev of this step is meant":
                lambda: mean(p.sqrt() * (1 - n) / (1 - n), n.sqrt() * (1 - p) / (1 - n)),
            "x_0 and x_t are swapped": lambda: mean(second, first),
            "the division by 1 - alpha_bar_t is missing":
                lambda: mean(p.sqrt() * (1 - alpha), alpha.sqrt() * (1 - p)),
            "the division is by 1 - alpha_bar_prev where 1 - alpha_bar_t is meant":
                lambda: mean(p.sqrt() * (1 - alpha) / (1 - p), alpha.sqrt() * (1 - p) / (1 - p)),
            "the square roots are missing": lambda: mean(p * (1 - alpha) / (1 - n), alpha * (1 - p) / (1 - n)),
            "the square root of alpha_t is missing": lambda: mean(first, alpha * (1 - p) / (1 - n)),
        }, rtol=1e-3, atol=1e-4)


@task("ch04.posterior_mean")
def test_posterior_mean_at_the_clean_end(student):
    x0, xt, now = student.randn(3, 1, 3, 3), student.randn(3, 1, 3, 3), student.levels(3)
    got = student.posterior_mean(x0, xt, now, torch.ones(3))
    expect_close(got, x0, "posterior_mean with alpha_bar_prev = 1", {"the arguments for t and t - 1 are swapped": xt}, rtol=5e-4, atol=1e-4)
    now, prev = torch.tensor([0.5, 0.2]), torch.tensor([1.0, 0.6])
    x0, xt = x0[:2], xt[:2]
    second = forward.posterior(xt[1:], x0[1:], level(now[1:]), level(prev[1:]))[0]
    expect_close(student.posterior_mean(x0, xt, now, prev), torch.cat([x0[:1], second]),
                 "posterior_mean of a batch in which one image takes the step to the clean image and the other does not", {
        "both were sent to the clean image; each image has its own alpha_bar_prev": x0}, rtol=5e-4)


@task("ch04.posterior_variance")
def test_posterior_variance(student):
    for count, dtype in ((12, torch.float32), (1, torch.float64), (7, torch.float64)):
        check_posterior_variance(student, *(x.to(dtype) for x in student.steps(count)), f"posterior_variance of {count} steps ({str(dtype)[6:]})")
    now = student.levels(12)
    end = student.posterior_variance(now, torch.ones(12))
    expect_finite(end, "posterior_variance with alpha_bar_prev = 1")
    expect_close(end, torch.zeros(12), "posterior_variance with alpha_bar_prev = 1: the step to the clean image leaves nothing to chance")


def check_posterior_variance(student, now, prev, what):
    alpha = now / prev
    right = (1 - prev) / (1 - now) * (1 - alpha)
    got = student.posterior_variance(now, prev)
    expect_close(got, right, what, {
        "this is beta_t; the factor (1 - alpha_bar_prev) / (1 - alpha_bar_t) is missing": 1 - alpha,
        "the fraction is upside down": (1 - now) / (1 - prev) * (1 - alpha),
        "this is the standard deviation; the variance has no square root": right.sqrt(),
        "the fraction is without its two \"1 -\"": prev / now * (1 - alpha),
        "1 - alpha_bar_t stands where beta_t = 1 - alpha_bar_t / alpha_bar_prev is meant": (1 - prev) / (1 - now) * (1 - now),
        "alpha_t stands where beta_t = 1 - alpha_t is meant": (1 - prev) / (1 - now) * alpha,
        "beta_t was taken as alpha_bar_prev - alpha_bar_t; alpha_t is the ratio, not the difference":
            (1 - prev) / (1 - now) * (prev - now),
        "this is the logarithm of the variance": right.log(),
    }, rtol=1e-3, atol=1e-7)
    expect(bool((got <= 1 - alpha).all()), "posterior_variance should be below beta_t: knowing x_0 leaves less to chance")


@task("ch04.velocity")
def test_velocity_in_diffusers(student):
    arguments, right = diffusers_says("velocity")
    expect_close(student.velocity(*arguments), right, "velocity, against diffusers,")


# -------------------------------------------------------------------------------------- written answers, ch04_reverse.md


@task("ch04.mean_line")
def test_mean_line(student):
    expect_written(student, "ch04.mean_line", ANSWERS)


@task("ch04.jump_line")
def test_jump_line(student):
    expect_written(student, "ch04.jump_line", ANSWERS)


@task("ch04.square")
def test_square(student):
    expect_written(student, "ch04.square", ANSWERS)


@task("ch04.precision")
def test_precision(student):
    expect_written(student, "ch04.precision", ANSWERS)


@task("ch04.two_jumps")
def test_two_jumps(student):
    expect_written(student, "ch04.two_jumps", ANSWERS)


@task("ch04.mean_noise")
def test_mean_noise(student):
    expect_written(student, "ch04.mean_noise", ANSWERS)


@task("ch04.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch04.predict", ANSWERS)
