"""Checks of exercises/ch05_sde.py: against laws that are known exactly, and with the very numbers of a generator."""

import torch

from course.grading import task
from course.grading.checks import Counted, expect, expect_calls, expect_close
from course.schedule import scaled_linear_betas


def step_of(x, score, beta, noise, strength, drift=0.5, pull=None, spread=None):
    pull = (1 + strength**2) / 2 if pull is None else pull
    return x + drift * beta * x + pull * beta * score + (strength * beta**0.5 if spread is None else spread) * noise


@task("ch05.reverse_step")
def test_reverse_step(student):
    for beta, strength, dtype in ((0.3, 1.0, torch.float32), (0.012, 0.5, torch.float64), (0.5, 1.6, torch.float32), (0.2, 0.0, torch.float64)):
        x, score, noise = (student.randn(5, 3).to(dtype) for _ in range(3))

        def of(x=x, score=score, noise=noise, beta=beta, strength=strength, **wrong):
            return step_of(x, score, beta, noise, strength, **wrong)

        expect_close(student.reverse_step(x, score, beta, noise, strength), of(), f"reverse_step with beta = {beta} and strength {strength}", {
            "the pull of the score does not grow with the strength: it is that of the SDE": lambda: of(pull=1.0),
            "the pull of the score does not grow with the strength: it is that of the ODE": lambda: of(pull=0.5),
            "the factor one half is missing in the pull of the score": lambda: of(pull=1 + strength**2),
            "the factor one half is missing in front of x": lambda: of(drift=1.0),
            "the sign of x is that of the way forward": lambda: of(drift=-0.5),
            "the score pulls the wrong way": lambda: of(pull=-(1 + strength**2) / 2),
            "the noise is scaled with beta; it should be scaled with the square root": lambda: of(spread=strength * beta),
            "the strength is missing in front of the noise": lambda: of(spread=beta**0.5),
            "the strength is missing in front of the noise, or squared": lambda: of(spread=strength**2 * beta**0.5),
            "the pull grows with the strength itself, not with its square": lambda: of(pull=(1 + strength) / 2),
            "there is no noise": lambda: of(spread=0.0),
        }, rtol=2e-4)


MEAN, STD = 1.5, 0.4


def exact_score(table):
    """The score of N(MEAN, STD^2) noised to each level of the table."""
    def score(x, i):
        a = table[int(i)]
        return -(x - a.sqrt() * MEAN) / (a * STD**2 + 1 - a)
    return score


@task("ch05.reverse_sample")
def test_reverse_sample_with_the_generators_numbers(student):
    betas = torch.tensor([0.1, 0.3, 0.5])
    table = (1 - betas).cumprod(0)
    x, score = student.randn(4, 2), exact_score(table)
    for strength in (1.0, 0.0, 0.7):
        def walk(order=(2, 1, 0), level=lambda i: i, step=step_of, draw=lambda i: True, strength=strength):
            generator, y = torch.Generator().manual_seed(7), x
            for i in order:
                noise = torch.randn(y.shape, generator=generator)
                y = step(y, score(y, level(i)), float(betas[i]), noise, strength)
            return y

        model = Counted(score)
        got = student.reverse_sample(model, x, betas, strength, torch.Generator().manual_seed(7))
        what = f"reverse_sample over three steps with strength {strength}"
        expect_calls(model, 3, what)
        expect_close(got, walk(), what, {
            "the betas were walked through from the first, as on the way forward": lambda: walk(order=(0, 1, 2)),
            "the score was asked one level too low": lambda: walk(level=lambda i: max(i - 1, 0)),
            "the score was asked at the last level in every step": lambda: walk(level=lambda i: 2),
            "the last step is missing": lambda: walk(order=(2, 1)),
        }, rtol=5e-4, atol=1e-4)


@task("ch05.reverse_sample")
def test_every_strength_ends_in_the_data(student):
    betas = 2.5 * scaled_linear_betas(120, 0.004, 0.1)
    table = (1 - betas).cumprod(0)
    for strength in (0.0, 1.0):
        x = student.randn(3000, 1)
        got = student.reverse_sample(exact_score(table), x, betas, strength, torch.Generator().manual_seed(1))
        expect(bool((got.mean() - MEAN).abs() < 0.06), f"from noise, strength {strength} should end with the data's mean {MEAN}, and ends with {got.mean():.3f}")
        expect(bool((got.std() - STD).abs() < 0.06), f"from noise, strength {strength} should end with the data's spread {STD}, and ends with {got.std():.3f}")


@task("ch05.langevin")
def test_langevin_with_the_generators_numbers(student):
    x = student.randn(6, 2)

    def score(y):
        return -(y - MEAN) / STD**2

    for step, count in ((0.05, 3), (0.02, 1), (0.1, 0)):
        def walk(pull=step / 2, spread=step**0.5, count=count):
            generator, y = torch.Generator().manual_seed(3), x
            for _ in range(count):
                y = y + pull * score(y) + spread * torch.randn(y.shape, generator=generator)
            return y

        model = Counted(score)
        got = student.langevin(model, x, step, count, torch.Generator().manual_seed(3))
        what = f"langevin with {count} steps of {step}"
        expect_calls(model, count, what)
        expect_close(got, walk(), what, {
            "the one half is missing in front of the score: the law that is reached is too narrow": lambda: walk(pull=step),
            "the noise has the factor sqrt(2): that belongs to a step without the one half": lambda: walk(spread=(2 * step) ** 0.5),
            "the step is counted without the one half in both places; the paper's epsilon has it": lambda: walk(pull=step, spread=(2 * step) ** 0.5),
            "the noise is scaled with the step; it should be scaled with the square root": lambda: walk(spread=step),
            "no noise is added: this only climbs": lambda: walk(spread=0.0),
            "the score pulls the wrong way": lambda: walk(pull=-step / 2),
            "there is one step too many": lambda: walk(count=count + 1),
        }, rtol=3e-4)


@task("ch05.langevin")
def test_langevin_stays_in_its_law(student):
    x = MEAN + STD * student.randn(4000, 1)
    got = student.langevin(lambda y: -(y - MEAN) / STD**2, x, 0.01, 60, torch.Generator().manual_seed(2))
    expect(bool((got.std() - STD).abs() < 0.04), f"started in the law, langevin should stay there: spread {STD}, and it has {got.std():.3f}")
    expect(bool((got.mean() - MEAN).abs() < 0.04), f"started in the law, langevin should stay there: mean {MEAN}, and it has {got.mean():.3f}")
