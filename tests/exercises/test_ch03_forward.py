"""Checks of exercises/ch03_forward.py."""

import math

import torch

from course import forward, schedule
from course.grading import task
from course.grading.checks import expect, expect_close, expect_tensor
from course.grading.diffusers_numbers import diffusers_says

SD = (0.00085, 0.012, 1000)


@task("ch03.scaled_linear_betas")
def test_scaled_linear_betas(student):
    for start, end, steps in (SD, (1e-4, 0.03, 17)):
        got = student.scaled_linear_betas(start, end, steps)
        what = f"scaled_linear_betas({start}, {end}, {steps})"
        root = torch.linspace(start**0.5, end**0.5, steps)
        linear = torch.linspace(start, end, steps)
        expect_tensor(got, (steps,), torch.float32, what)
        expect_close(got, schedule.scaled_linear_betas(steps, start, end), what, {
            "the betas themselves are evenly spaced; here their square roots are": linear,
            "the evenly spaced roots were not squared": root,
            "the steps are 1/steps long where 1/(steps - 1) is meant, so that beta_end is never reached":
                lambda a=start, b=end, n=steps: (a**0.5 + torch.arange(n) / n * (b**0.5 - a**0.5)) ** 2,
            "the order is reversed; the noise grows with t": lambda r=root: r.flip(0) ** 2,
            "the square root was taken of evenly spaced betas": linear.sqrt(),
            "the spaced values run from beta_start to beta_end before squaring, not between their roots": linear**2,
        }, rtol=1e-4, atol=1e-8)


@task("ch03.cosine_betas")
def test_cosine_betas(student):
    for steps, offset, most in ((50, 0.008, 0.999), (20, 0.02, 0.9)):
        got = student.cosine_betas(steps, offset, most)
        what = f"cosine_betas({steps}, {offset}, {most})"

        def betas(f, first=0, cap=most, n=steps):
            return torch.tensor([min(1 - f((i + 1) / n) / f(i / n), cap) for i in range(first, first + n)])

        def f(u, s=offset, power=2):
            return math.cos((u + s) / (1 + s) * math.pi / 2) ** power

        right = betas(f)
        expect_tensor(got, (steps,), torch.float32, what)
        expect_close(got, right, what, {
            "f is the square of the cosine; this one is not squared": lambda: betas(lambda u: f(u, power=1)),
            "the betas are not limited to max_beta": lambda: betas(f, cap=2.0),
            "the offset is missing from f": lambda: betas(lambda u: f(u, s=0.0)),
            "1 + offset is missing from the denominator of f":
                lambda: betas(lambda u: math.cos((u + offset) * math.pi / 2) ** 2),
            "this is alpha_bar = f(i / steps) / f(0), not beta": lambda: torch.tensor([f(i / steps) / f(0) for i in range(steps)]),
            "this is alpha = f((i + 1) / steps) / f(i / steps), not beta = 1 - alpha":
                lambda: torch.tensor([f((i + 1) / steps) / f(i / steps) for i in range(steps)]),
            "max_beta is fixed at 0.999; it is an argument": lambda: betas(f, cap=0.999),
            "pi / 2 was replaced by pi": lambda: betas(lambda u: math.cos((u + offset) / (1 + offset) * math.pi) ** 2),
        }, rtol=1e-4, atol=1e-6)
    expect_close(student.cosine_betas(30), schedule.cosine_betas(30), "cosine_betas(30), with the defaults", rtol=1e-4, atol=1e-6)


@task("ch03.alphas_cumprod")
def test_alphas_cumprod(student):
    for betas in (schedule.scaled_linear_betas(1000, *SD[:2]), student.rand(12, low=0.01, high=0.4)):
        alphas = 1 - betas
        right = alphas.cumprod(0)
        what = f"alphas_cumprod of {len(betas)} betas"
        got = student.alphas_cumprod(betas)
        expect_tensor(got, betas.shape, torch.float32, what)
        expect_close(got, right, what, {
            "this is alpha_t, where alpha_bar_t is meant: the product over all steps so far is missing": alphas,
            "this is the product of the betas; it takes the product of 1 - beta": betas.cumprod(0),
            "the betas were added up where the factors 1 - beta are multiplied": 1 - betas.cumsum(0),
            "this is the sum of the alphas, where their product is meant": alphas.cumsum(0),
            "this is sqrt(alpha_bar_t); the root is taken later, in add_noise": right.sqrt(),
            "this is 1 - alpha_bar_t, the share of noise": 1 - right,
            "it starts at 1, one step late: the first entry is 1 - beta_1": torch.cat([torch.ones(1), right[:-1]]),
            "the product runs from the end": alphas.flip(0).cumprod(0).flip(0),
        }, rtol=2e-4, atol=1e-7)
        expect(bool((got[1:] < got[:-1]).all()), f"{what} should fall from entry to entry")


def per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


def mixtures(x0, noise, a):
    """What goes wrong with sqrt(a) x0 + sqrt(1 - a) noise; a is (B, 1, 1, 1)."""
    return {
        "the square roots are missing: alpha_bar_t and 1 - alpha_bar_t are variances": lambda: a * x0 + (1 - a) * noise,
        "the square root of the noise's factor is missing": lambda: a.sqrt() * x0 + (1 - a) * noise,
        "the square root of the image's factor is missing": lambda: a * x0 + (1 - a).sqrt() * noise,
        "the two factors are swapped": lambda: (1 - a).sqrt() * x0 + a.sqrt() * noise,
        "1 - sqrt(alpha_bar_t) stands where sqrt(1 - alpha_bar_t) is meant": lambda: a.sqrt() * x0 + (1 - a.sqrt()) * noise,
        "the image is not scaled down": lambda: x0 + (1 - a).sqrt() * noise,
        "the noise is not scaled": lambda: a.sqrt() * x0 + noise,
        "the noise is subtracted": lambda: a.sqrt() * x0 - (1 - a).sqrt() * noise,
        "every image got the first image's alpha_bar_t": lambda: a[:1].sqrt() * x0 + (1 - a[:1]).sqrt() * noise,
        "alpha_bar_t was spread along the width of the images; it counts the batch, so view it as (B, 1, 1, 1)":
            lambda: a.view(-1).sqrt() * x0 + (1 - a.view(-1)).sqrt() * noise,
        "the batch's mean alpha_bar_t was used for every image": lambda: a.mean().sqrt() * x0 + (1 - a.mean()).sqrt() * noise,
    }


@task("ch03.add_noise")
def test_add_noise(student):
    for shape in ((4, 4, 4, 4), (3, 2, 5, 6), (1, 4, 8, 8)):     # the first so that a wrong axis cannot hide in a crash
        x0, noise, alpha_bar = student.randn(*shape), student.randn(*shape), student.rand(shape[0], low=0.1, high=0.9)
        what = f"add_noise with images of shape {shape}"
        a = per_image(alpha_bar)
        got = student.add_noise(x0, noise, alpha_bar)
        expect_close(got, forward.add_noise(x0, noise, schedule.Level(0, a.sqrt(), (1 - a).sqrt())), what, mixtures(x0, noise, a))


@task("ch03.add_noise")
def test_add_noise_at_the_ends(student):
    x0, noise = student.randn(2, 3, 4, 4), student.randn(2, 3, 4, 4)
    expect_close(student.add_noise(x0, noise, torch.ones(2)), x0, "add_noise with alpha_bar_t = 1 (no noise yet)")
    expect_close(student.add_noise(x0, noise, torch.zeros(2)), noise, "add_noise with alpha_bar_t = 0 (nothing but noise)")


@task("ch03.add_noise")
def test_add_noise_passes_gradients_on(student):
    x0, noise, alpha_bar = student.randn(2, 1, 3, 3), student.randn(2, 1, 3, 3), student.rand(2, low=0.1, high=0.9)
    _, gradient = student.gradient("add_noise", x0, noise, alpha_bar, wrt=0)
    expect(gradient is not None, "the result should depend on x0 for autograd: no .detach(), .data, .numpy() or no_grad on the way")
    expect_close(gradient, per_image(alpha_bar).sqrt().expand_as(x0).contiguous(), "the gradient of add_noise with respect to x0")


@task("ch03.diffuse_one_step")
def test_diffuse_one_step(student):
    for shape in ((4, 4, 4, 4), (3, 2, 5, 6)):
        x, noise, beta = student.randn(*shape), student.randn(*shape), student.rand(shape[0], low=0.02, high=0.4)
        b = per_image(beta)
        got = student.diffuse_one_step(x, noise, beta)
        expect_close(got, (1 - b).sqrt() * x + b.sqrt() * noise, f"diffuse_one_step with images of shape {shape}", {
            "the square roots are missing: beta_t is a variance": lambda: (1 - b) * x + b * noise,
            "the square root of beta_t is missing": lambda: (1 - b).sqrt() * x + b * noise,
            "the square root of 1 - beta_t is missing": lambda: (1 - b) * x + b.sqrt() * noise,
            "the image is not scaled down, so the variance grows without end": lambda: x + b.sqrt() * noise,
            "the two factors are swapped": lambda: b.sqrt() * x + (1 - b).sqrt() * noise,
            "every image got the first image's beta_t": lambda: (1 - b[:1]).sqrt() * x + b[:1].sqrt() * noise,
            "beta_t was spread along the width of the images; it counts the batch, so view it as (B, 1, 1, 1)":
                lambda: (1 - b.view(-1)).sqrt() * x + b.view(-1).sqrt() * noise,
            "the noise is not scaled": lambda: (1 - b).sqrt() * x + noise,
        })


@task("ch03.diffuse_one_step")
def test_a_chain_of_steps_has_the_marginal_of_the_jump(student):
    betas = student.rand(6, low=0.05, high=0.3)
    x = torch.ones(1, 1, 1, 1)
    for beta in betas:                                    # without noise, only the signal is left
        x = student.diffuse_one_step(x, torch.zeros_like(x), beta.view(1))
    expect_close(x, (1 - betas).prod().sqrt().view(1, 1, 1, 1), "six steps without noise, which leave sqrt(alpha_bar_6) of the image")


@task("ch03.log_snr")
def test_log_snr(student):
    alpha_bar = student.rand(40, low=0.01, high=0.99)
    snr = alpha_bar / (1 - alpha_bar)
    expect_close(student.log_snr(alpha_bar), snr.log(), "log_snr", {
        "this is the ratio of amplitudes (half the value): use variances": 0.5 * snr.log(),
        "noise over signal instead of signal over noise": -snr.log(),
        "this is the signal-to-noise ratio itself; take the logarithm": snr,
        "this is log10, in tens; nats are meant": snr.log10(),
        "this is log2, in bits; nats are meant": snr.log2(),
        "this is 10 log10, in decibels; nats are meant": 10 * snr.log10(),
        "this is log(alpha_bar), without the noise": alpha_bar.log(),
        "log(1 - alpha_bar) was added where it is subtracted": alpha_bar.log() + (1 - alpha_bar).log(),
    })
    half = torch.tensor([0.5])
    expect_close(student.log_snr(half), torch.zeros(1), "log_snr at alpha_bar = 1/2, equal parts")


@task("ch03.scaled_linear_betas")
def test_scaled_linear_betas_in_diffusers(student):
    arguments, right = diffusers_says("scaled_linear_betas")
    expect_close(student.scaled_linear_betas(*arguments)[::111].clone(), right, "scaled_linear_betas, every 111th entry, against diffusers,", atol=1e-8)


@task("ch03.cosine_betas")
def test_cosine_betas_in_diffusers(student):
    arguments, right = diffusers_says("cosine_betas")
    expect_close(student.cosine_betas(*arguments), right, "cosine_betas, against diffusers,", atol=1e-6)


@task("ch03.alphas_cumprod")
def test_alphas_cumprod_in_diffusers(student):
    arguments, right = diffusers_says("alphas_cumprod")
    expect_close(student.alphas_cumprod(*arguments), right, "alphas_cumprod, against diffusers,", atol=1e-6)


@task("ch03.add_noise")
def test_add_noise_in_diffusers(student):
    arguments, right = diffusers_says("add_noise")
    expect_close(student.add_noise(*arguments), right, "add_noise, against diffusers,")
