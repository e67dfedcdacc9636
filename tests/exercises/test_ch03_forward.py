"""Checks of exercises/ch03_forward.py."""

import math
from pathlib import Path

import torch

from course import forward, schedule
from course.grading import task
from course.grading.checks import expect, expect_close, expect_finite, expect_tensor
from course.grading.diffusers_numbers import diffusers_says
from course.grading.errors import KNOWN
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"

SD = (0.00085, 0.012, 1000)


@task("ch03.scaled_linear_betas")
def test_scaled_linear_betas(student):
    for start, end, steps in (SD, (1e-4, 0.03, 17), (0.002, 0.5, 2)):
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
    for steps, offset, most in ((50, 0.008, 0.999), (20, 0.02, 0.9), (1000, 0.008, 0.999), (1, 0.01, 0.9)):
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
    wide = torch.cat([torch.tensor([0.0, 0.00085]), student.rand(12, low=0.01, high=0.4), torch.tensor([0.999])])
    for betas in (schedule.scaled_linear_betas(1000, *SD[:2]), wide, torch.tensor([0.3])):
        alphas = 1 - betas
        right = alphas.cumprod(0)
        what = f"alphas_cumprod of {len(betas)} betas"
        got = student.alphas_cumprod(betas)
        expect_tensor(got, betas.shape, torch.float32, what)
        expect_close(got, right, what, {
            "this is alpha_t, where alpha_bar_t is meant: the product over all steps so far is missing": alphas,
            "this is the product of the betas; it should be the product of 1 - beta": betas.cumprod(0),
            "the betas were added up where the factors 1 - beta are multiplied": 1 - betas.cumsum(0),
            "this is the sum of the alphas, where their product is meant": alphas.cumsum(0),
            "this is sqrt(alpha_bar_t); the root is taken later, in add_noise": right.sqrt(),
            "this is 1 - alpha_bar_t, the share of noise": 1 - right,
            "it starts at 1, one step late: the first entry is 1 - beta_1": torch.cat([torch.ones(1), right[:-1]]),
            "the product runs from the end": alphas.flip(0).cumprod(0).flip(0),
        }, rtol=2e-4, atol=1e-7)
        expect(bool((got[1:] < got[:-1]).all()), f"{what} should fall from entry to entry")
    end = student.alphas_cumprod(torch.tensor([0.2, 0.5, 1.0]))
    expect_close(end, torch.tensor([0.8, 0.4, 0.0]), "alphas_cumprod of a schedule that ends in nothing but noise (beta = 1)")


# shapes and types: the first so that a wrong axis cannot hide in a crash; one image and many, odd sides, one channel
CASES = (((4, 4, 4, 4), torch.float32), ((3, 2, 5, 6), torch.float64), ((1, 4, 8, 8), torch.float32), ((5, 1, 3, 7), torch.float32),
         ((1, 1, 1, 9), torch.float64))


def per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


def about(name: str, shape: tuple, dtype: torch.dtype, alpha_bar: torch.Tensor) -> str:
    """The call in words: shape, type, and the levels, which tell a limit that was set on them."""
    levels = ", ".join(f"{value:.4g}" for value in alpha_bar.tolist())
    return f"{name} with {str(dtype).removeprefix('torch.')} images of shape {shape} at alpha_bar_t = {levels}"


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
    for shape, dtype in CASES:
        x0, noise, alpha_bar = (x.to(dtype) for x in (student.randn(*shape), student.randn(*shape), student.levels(shape[0])))
        a = per_image(alpha_bar)
        got = student.add_noise(x0, noise, alpha_bar)
        expect_close(got, forward.add_noise(x0, noise, schedule.Level(0, a.sqrt(), (1 - a).sqrt())),
                     about("add_noise", shape, dtype, alpha_bar), mixtures(x0, noise, a))


@task("ch03.add_noise")
def test_add_noise_at_the_ends(student):
    x0, noise = student.randn(2, 3, 4, 4), student.randn(2, 3, 4, 4)
    expect_close(student.add_noise(x0, noise, torch.ones(2)), x0, "add_noise with alpha_bar_t = 1 (no noise yet)")
    expect_close(student.add_noise(x0, noise, torch.zeros(2)), noise, "add_noise with alpha_bar_t = 0 (nothing but noise)")
    both = student.add_noise(x0, noise, torch.tensor([1.0, 0.0]))
    expect_close(both, torch.stack([x0[0], noise[1]]), "add_noise with alpha_bar_t = 1 for one image and 0 for the other")


@task("ch03.diffuse_one_step")
def test_diffuse_one_step(student):
    for shape, dtype in CASES:
        x, noise = student.randn(*shape).to(dtype), student.randn(*shape).to(dtype)
        beta = (1 - student.levels(shape[0])).to(dtype)              # from 0.00085, the first of Stable Diffusion, to nearly 1
        b = per_image(beta)
        got = student.diffuse_one_step(x, noise, beta)
        expect_close(got, (1 - b).sqrt() * x + b.sqrt() * noise, about("diffuse_one_step", shape, dtype, beta).replace("alpha_bar_t", "beta_t"), {
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
def test_diffuse_one_step_at_the_ends(student):
    x, noise = student.randn(2, 3, 4, 5), student.randn(2, 3, 4, 5)
    expect_close(student.diffuse_one_step(x, noise, torch.zeros(2)), x, "diffuse_one_step with beta_t = 0 (no noise)")
    expect_close(student.diffuse_one_step(x, noise, torch.ones(2)), noise, "diffuse_one_step with beta_t = 1 (nothing but noise)")
    both = student.diffuse_one_step(x, noise, torch.tensor([0.0, 1.0]))
    expect_close(both, torch.stack([x[0], noise[1]]), "diffuse_one_step with beta_t = 0 for one image and 1 for the other")


@task("ch03.diffuse_one_step")
def test_a_chain_of_steps_has_the_marginal_of_the_jump(student):
    betas = student.rand(6, low=0.05, high=0.3)
    x = torch.ones(1, 1, 1, 1)
    for beta in betas:                                    # without noise, only the signal is left
        x = student.diffuse_one_step(x, torch.zeros_like(x), beta.view(1))
    expect_close(x, (1 - betas).prod().sqrt().view(1, 1, 1, 1), "six steps without noise, which leave sqrt(alpha_bar_6) of the image")


@task("ch03.log_snr")
def test_log_snr(student):
    check_log_snr(student, torch.cat([student.rand(30, low=0.01, high=0.99), student.levels(9)]), "log_snr")
    for few in (student.levels(1), 1 - student.levels(1)):
        check_log_snr(student, few, f"log_snr at alpha_bar = {few.item():.5g}, an end of Stable Diffusion's schedule,")
    fine = torch.cat([torch.tensor([1e-6, 1 - 1e-6]).double(), student.levels(5).double()])
    check_log_snr(student, fine, "log_snr of float64 levels from 0.000001 to 0.999999")
    half = torch.tensor([0.5])
    expect_close(student.log_snr(half), torch.zeros(1), "log_snr at alpha_bar = 1/2, equal parts")


def check_log_snr(student, alpha_bar, what):
    snr = alpha_bar / (1 - alpha_bar)
    expect_close(student.log_snr(alpha_bar), snr.log(), what, {
        "this is the ratio of amplitudes (half the value): use variances": 0.5 * snr.log(),
        "noise over signal instead of signal over noise": -snr.log(),
        "this is the signal-to-noise ratio itself; take the logarithm": snr,
        "this is log10, in tens; nats are meant": snr.log10(),
        "this is log2, in bits; nats are meant": snr.log2(),
        "this is 10 log10, in decibels; nats are meant": 10 * snr.log10(),
        "this is log(alpha_bar), without the noise": alpha_bar.log(),
        "log(1 - alpha_bar) was added where it is subtracted": alpha_bar.log() + (1 - alpha_bar).log(),
        "it is limited to [-5, 5]; Stable Diffusion's runs from -5.4 to 7.1": snr.log().clamp(-5, 5),
    }, rtol=2e-4)


@task("ch03.zero_terminal_snr")
def test_zero_terminal_snr(student):
    for betas in (schedule.scaled_linear_betas(1000, *SD[:2]), student.rand(12, low=0.01, high=0.4), torch.tensor([0.1, 0.3])):
        root = (1 - betas).cumprod(0).sqrt()
        first, last = root[0], root[-1]

        def back(alpha_bar, first_beta=True):
            alphas = torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
            return 1 - alphas

        moved = (root - last) * first / (first - last)
        got = student.zero_terminal_snr(betas)
        what = f"zero_terminal_snr of {len(betas)} betas"
        expect_tensor(got, betas.shape, torch.float32, what)
        expect_close(got, schedule.rescale_zero_terminal_snr(betas), what, {
            "nothing was changed": lambda: betas,
            "alpha_bar was shifted, not its square root": lambda: back((root**2 - last**2) * first**2 / (first**2 - last**2)),
            "it is not scaled, so that the first value moved, too": lambda: back((root - last) ** 2),
            "this is the new alpha_bar, not the betas that give it": lambda: moved**2,
            "these are the new alphas; beta is 1 - alpha": lambda: 1 - back(moved**2),
            "the square root was not taken back: the product of these alphas is sqrt(alpha_bar)": lambda: back(moved),
            "only the last beta was set to 1": lambda: torch.cat([betas[:-1], torch.ones(1)]),
        }, rtol=2e-3, atol=2e-6)
        expect(float(got[-1]) == 1.0, f"{what}: the last beta should be exactly 1, so that nothing of the picture is left")


@task("ch03.zero_terminal_snr")
def test_nothing_is_left_and_the_start_stays(student):
    betas = student.rand(30, low=0.002, high=0.3)
    new = (1 - student.zero_terminal_snr(betas)).cumprod(0)
    expect_close(new[0], 1 - betas[0], "alpha_bar_1 after zero_terminal_snr, which should stay what it was,")
    expect_close(new[-1], torch.tensor(0.0), "alpha_bar_T after zero_terminal_snr")


@task("ch03.simulate_chain")
def test_the_chain_has_the_law_of_the_jump(student):
    betas = student.rand(12, low=0.02, high=0.3)
    x0 = student.randn(1, 4).expand(4000, 4).clone()
    left = (1 - betas).prod()
    got = student.simulate_chain(x0, betas, torch.Generator().manual_seed(student.seed % 10_000))
    expect_tensor(got, (4000, 4), what="simulate_chain of 4000 points")
    expect_finite(got, "simulate_chain")
    mean, std = got.mean(0), got.std(0)
    near = 5 * (1 - left).sqrt() / 4000**0.5          # five standard errors
    wrong = {"the noise of the first step is used again in every step; each step has its own":
             sum(((1 - betas[i + 1:]).prod() * betas[i]).sqrt() for i in range(12)),
             "beta is a standard deviation here; it should be a variance": sum((1 - betas[i + 1:]).prod() * betas[i] ** 2 for i in range(12)).sqrt(),
             "the image is not scaled down": betas.sum().sqrt()}
    named = [text for text, value in wrong.items() if bool(((std - value).abs() < 4 * value / 8000**0.5).all())]
    right = (1 - left).sqrt()
    expect(bool(((std - right).abs() < 5 * right / 8000**0.5).all()), f"after {len(betas)} steps the points should have the standard deviation "
           f"sqrt(1 - alpha_bar) = {float(right):.4f}, and have {std.mean():.4f}" + (KNOWN + named[0] if named else ""))
    expect(bool(((mean - left.sqrt() * x0[0]).abs() < near).all()), f"after {len(betas)} steps the mean should be sqrt(alpha_bar) x_0, "
           f"with sqrt(alpha_bar) = {float(left.sqrt()):.4f}; its share of x_0 is {float((mean / x0[0]).median()):.4f}")
    expect(bool((torch.corrcoef(got.T) - torch.eye(4)).abs().max() < 0.1), "the four coordinates should have noise of their own; they move together")


@task("ch03.simulate_chain")
def test_the_chain_draws_in_order(student):
    x0, betas = student.randn(5, 3), torch.tensor([0.1, 0.4])
    generator = torch.Generator().manual_seed(4)
    right = x0
    for beta in betas:
        right = (1 - beta).sqrt() * right + beta.sqrt() * torch.randn(x0.shape, generator=generator)
    expect_close(student.simulate_chain(x0, betas, torch.Generator().manual_seed(4)), right, "simulate_chain over two steps with the generator's numbers", {
        "the betas were walked through from the end": lambda: chain_of(x0, betas.flip(0), 4)})


def chain_of(x, betas, seed):
    generator = torch.Generator().manual_seed(seed)
    for beta in betas:
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(x.shape, generator=generator)
    return x


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


@task("ch03.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch03.predict", ANSWERS)
