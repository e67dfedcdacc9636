"""Checks of exercises/ch06_samplers.py. The reference is course.samplers, which agrees with diffusers call by call."""

import itertools
import math

import torch

from course import samplers
from course.forward import posterior
from course.grading import task
from course.grading.checks import (
    Counted,
    expect,
    expect_calls,
    expect_close,
    expect_equal,
    expect_raises,
    expect_tensor,
    expect_type,
)
from course.grading.diffusers_numbers import diffusers_says
from course.grading.errors import CheckFailed, StudentRaised
from course.prediction import x0_from_eps
from course.schedule import CLEAN, Level, scaled_linear_betas

# ------------------------------------------------------------------------------------------------------- time grids


@task("ch06.leading_timesteps")
def test_leading_timesteps(student):
    every = [(steps, 24, offset) for steps in range(1, 25) for offset in (0, 1) if 24 // steps * (steps - 1) + offset < 24]
    for steps, train, offset in ((10, 1000, 1), (50, 1000, 1), (7, 1000, 1), (1, 1000, 1), (6, 100, 3), (999, 1000, 1), *every):
        stride = train // steps
        right = [i * stride + offset for i in reversed(range(steps))]
        got = student.leading_timesteps(steps, train, offset)
        what = f"leading_timesteps({steps}, {train}, {offset})"
        expect_type(got, list, what)
        for entry in got:
            expect_type(entry, int, f"an entry of {what}")
        expect_equal(got, right, what, {
            "the order is reversed: noisy first": right[::-1],
            "the offset is missing": [t - offset for t in right],
            "this is trailing spacing, counted down from the last timestep": [train - 1 - i * stride for i in range(steps)],
            "the stride was divided with / and rounded at the end, where the whole number // is meant":
                [round(i * train / steps) + offset for i in reversed(range(steps))],
            "the stride was divided with / and cut off at the end, where the whole number // is meant":
                [int(i * train / steps) + offset for i in reversed(range(steps))],
            "it starts one stride too high: the smallest timestep is the offset": [t + stride for t in right],
            "this is evenly spaced down to 0, as for Heun": [round(i * (train - 1) / max(steps - 1, 1)) for i in reversed(range(steps))],
            "train_steps and offset are fixed at 1000 and 1; they should be arguments":
                [i * (1000 // steps) + 1 for i in reversed(range(steps))],
        })


@task("ch06.leading_timesteps")
def test_leading_timesteps_with_its_defaults(student):
    expect_equal(student.leading_timesteps(7), [853, 711, 569, 427, 285, 143, 1], "leading_timesteps(7), with the defaults,")


@task("ch06.leading_timesteps")
def test_leading_timesteps_refuses_what_cannot_be(student):
    expect_raises(student.leading_timesteps, 0, 1000, 1, what="leading_timesteps(0, 1000, 1)")
    expect_raises(student.leading_timesteps, 1001, 1000, 0, what="leading_timesteps(1001, 1000, 0)")
    expect_raises(student.leading_timesteps, -3, 1000, 1, what="leading_timesteps(-3, 1000, 1)")
    for steps, train, offset in ((1000, 1000, 1), (1000, 1000, 2), (1000, 1000, 7), (20, 20, 5), (5, 20, 8), (1, 10, 10)):
        top = train // steps * (steps - 1) + offset
        expect_raises(student.leading_timesteps, steps, train, offset,
                      what=f"leading_timesteps({steps}, {train}, {offset}), which would need timestep {top} of {train},")
    got = student.leading_timesteps(1000, 1000, 0)
    expect(type(got) is list and len(got) == 1000 and got[0] == 999, "leading_timesteps(1000, 1000, 0) should start at 999")


@task("ch06.linspace_timesteps")
def test_linspace_timesteps(student):
    for steps, train in ((50, 1000), (10, 1000), (7, 100), (2, 1000), (30, 30), (1000, 1000), (3, 2)):
        right = [(train - 1) * i / max(steps - 1, 1) for i in reversed(range(steps))]
        got = student.linspace_timesteps(steps, train)
        what = f"linspace_timesteps({steps}, {train})"
        expect_type(got, list, what)
        known = {
            "the order is reversed: noisy first": right[::-1],
            "the timesteps were rounded; the fractions stay": [float(round(t)) for t in right],
            "the timesteps were cut to whole numbers; the fractions stay": [float(int(t)) for t in right],
            "it starts at train_steps, one beyond the last timestep": [train * i / max(steps - 1, 1) for i in reversed(range(steps))],
            "the steps are 1/steps long where 1/(steps - 1) is meant, so that 0 is never reached or train_steps - 1 never begun":
                [(train - 1) * i / steps for i in range(steps, 0, -1)],
            "this is leading spacing, as for DDIM": [float(i * (train // steps) + 1) for i in reversed(range(steps))],
            "it starts below train_steps - 1": [(train - 1) * i / steps for i in reversed(range(steps))],
        }
        expect(len(got) == steps, f"{what} should have {steps} items, and has {len(got)}", "wrong_shape")
        for entry in got:
            expect_type(entry, float, f"an entry of {what}")
        named = [text for text, wrong in known.items() if all(abs(g - w) < 1e-3 for g, w in zip(got, wrong, strict=True))]
        close = all(abs(g - r) < 1e-3 for g, r in zip(got, right, strict=True))
        expect(close, f"{what} starts {got[:3]}; expected {[round(t, 4) for t in right[:3]]}"
               + (f". This looks like a known mistake: {named[0]}" if named else ""))


@task("ch06.linspace_timesteps")
def test_linspace_timesteps_with_one_step(student):
    try:
        got = student.linspace_timesteps(1, 1000)
    except StudentRaised as raised:
        raise CheckFailed("exception", f"linspace_timesteps(1, 1000) should be [0.0]. One value has no gap to divide by. {raised}") from None
    expect_close(student.linspace_timesteps(3), [999.0, 499.5, 0.0], "linspace_timesteps(3), with the default,")
    expect_equal(got, [0.0], "linspace_timesteps(1, 1000)", {"this is the noisiest timestep; a single step starts, and ends, at 0": [999.0]})


@task("ch06.rounded_timesteps")
def test_rounded_timesteps(student):
    # 18 and 2 of 1000 meet halves, which go to the even neighbour; 1000 of 1000 has one timestep twice
    for steps, train in ((10, 1000), (50, 1000), (7, 100), (1, 1000), (18, 1000), (2, 1000), (54, 1000), (999, 1000), (1000, 1000), (12, 100)):
        right = [round((train - 1) * i / steps) for i in range(steps, 0, -1)]
        what = f"rounded_timesteps({steps}, {train})"
        got = student.rounded_timesteps(steps, train)
        expect_type(got, list, what)
        for entry in got:
            expect_type(entry, int, f"an entry of {what}")
        expect_equal(got, right, what, {
            "the order is reversed: noisy first": right[::-1],
            "the values were cut off, not rounded": [int((train - 1) * i / steps) for i in range(steps, 0, -1)],
            "the 0 at the end is still there; from the smallest timestep the sampler jumps to the clean image": [*right, 0],
            "there are steps values with their ends where steps + 1 are to be laid":
                [round((train - 1) * i / max(steps - 1, 1)) for i in range(steps - 1, -1, -1)],
            "it starts at train_steps, one beyond the last timestep": [round(train * i / steps) for i in range(steps, 0, -1)],
            "this is leading spacing, as for DDIM": [i * (train // steps) + 1 for i in reversed(range(steps))],
            "the noisiest value was left out instead of the 0": [round((train - 1) * i / steps) for i in range(steps - 1, -1, -1)],
            "this is trailing spacing, as some newer pipelines have it": [round(train * i / steps) - 1 for i in range(steps, 0, -1)],
            "halves were rounded up; they go to the even neighbour, as in Python's round":
                [int((train - 1) * i / steps + 0.5) for i in range(steps, 0, -1)],
            "a timestep that comes twice was dropped; the sampler is to make as many steps as asked for": list(dict.fromkeys(right)),
        })


@task("ch06.rounded_timesteps")
def test_rounded_timesteps_with_its_default(student):
    expect_equal(student.rounded_timesteps(4), [999, 749, 500, 250], "rounded_timesteps(4), with the default,")


@task("ch06.ratio_at")
def test_ratio_at(student):
    table = scaled_linear_betas(1000, 0.00085, 0.012).neg().add(1).cumprod(0)
    ratios = ((1 - table.double()) / table.double()).sqrt()
    # where the curve bends most, and never half way, so that a wrong rule shows
    for t in (1.7, 0.25, 0.6 + float(student.rand(1)) / 10, 998.3, 20.4, 500.9):
        low, share = int(t), t - int(t)

        def mix(values, low=low, share=share):
            return float((1 - share) * values[low] + share * values[low + 1])

        right, what = mix(ratios), f"ratio_at({t:.4g}, ...)"
        got = student.ratio_at(t, table)
        expect_type(got, float, what)
        mean = mix(table.double())
        known = {
            "alpha_bar was interpolated, and the ratio taken afterwards": math.sqrt((1 - mean) / mean),
            "the logarithm of the ratio was interpolated, as k-diffusion does": math.exp(mix(ratios.log())),
            "the fraction of the timestep is ignored: t was cut to a whole number": float(ratios[low]),
            "t was rounded to the nearest whole number": float(ratios[round(t)]),
            "the two weights are swapped": float(share * ratios[low] + (1 - share) * ratios[low + 1]),
            "this is the ratio of variances; the square root is missing": mix(ratios**2),
            "the square root was taken after the interpolation": math.sqrt(mix(ratios**2)),
            "the ratio is upside down: signal over noise": 1 / right,
            "this is sqrt(1 - alpha_bar), not divided by sqrt(alpha_bar)": mix((1 - table.double()).sqrt()),
            "the timesteps count from 0: this is one too far": float((1 - share) * ratios[min(low + 1, 999)] + share * ratios[min(low + 2, 999)]),
        }
        close = sorted((abs(got - wrong), text) for text, wrong in known.items())
        hint = f". This looks like a known mistake: {close[0][1]}" if close[0][0] < 2e-4 * abs(got) else ""
        expect(abs(got - right) <= 3e-5 * right, f"{what} should be {right:.7g}, and is {got:.7g}{hint}")


@task("ch06.ratio_at")
def test_ratio_at_whole_timesteps(student):
    table = scaled_linear_betas(1000, 0.00085, 0.012).neg().add(1).cumprod(0)
    for t in (0.0, 500.0, 999.0):
        right = math.sqrt((1 - float(table[int(t)])) / float(table[int(t)]))
        try:
            got = student.ratio_at(t, table)
        except StudentRaised as raised:
            raise CheckFailed("exception", f"ratio_at({t}, ...) lies on a whole timestep and needs no neighbour beyond the table. {raised}") from None
        expect_close(got, right, f"ratio_at({t}, ...), on a whole timestep,", rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------------ single steps


def level(alpha_bar: float) -> Level:
    return CLEAN if alpha_bar == 1.0 else Level(0, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def a_pair(student):
    """(now, next) five times: over the whole range of Stable Diffusion, single steps at both ends, the step to the clean image."""
    now, next = student.steps(4)
    return next_pairs(now, next)


def next_pairs(now, next):
    """As plain floats; the first is a jump over most of the schedule."""
    return [(0.0047, 0.9), *zip(now.double().tolist(), next.double().tolist(), strict=True)]


CASES = (((4, 4, 4, 4), torch.float32), ((3, 2, 5, 6), torch.float64), ((1, 4, 8, 8), torch.float32), ((5, 1, 3, 7), torch.float32),
         ((1, 1, 1, 9), torch.float64))


def step_in_words(name, x, now, next):
    return f"{name} from {now:.5g} to {next:.5g} with {str(x.dtype)[6:]} images of shape {tuple(x.shape)}"


def move(x, eps, now, next):
    return samplers.transfer(x, eps, level(now), level(next))


@task("ch06.ddpm_step")
def test_ddpm_step(student):
    for (now, next), (shape, dtype) in zip(a_pair(student), CASES, strict=True):
        x, eps, noise = (student.randn(*shape).to(dtype) for _ in range(3))
        x0 = x0_from_eps(eps, x, level(now))
        mean, variance = posterior(x, x0, level(now), level(next))
        beta = 1 - now / next
        expect_close(student.ddpm_step(x, eps, now, next, noise), mean + variance**0.5 * noise, step_in_words("ddpm_step", x, now, next), {
            "the noise is scaled with the variance; it should be scaled with the square root": lambda: mean + variance * noise,
            "no noise is added": lambda: mean,
            "the variance is beta of the jump; the exercise takes the posterior variance": lambda: mean + beta**0.5 * noise,
            "the noise is not scaled": lambda: mean + noise,
            "alpha is now, not now / next: it belongs to the whole jump":
                lambda: posterior_with(x, x0, now, next, now) + ((1 - next) / (1 - now) * (1 - now)) ** 0.5 * noise,
            "this is the deterministic DDIM move": lambda: move(x, eps, now, next),
            "this is the DDIM move with noise on top, which leaves too much noise": lambda: move(x, eps, now, next) + variance**0.5 * noise,
            "x_0 and x are swapped in the mean": lambda: posterior(x0, x, level(now), level(next))[0] + variance**0.5 * noise,
            "x_0 is clipped to [-1, 1]; that is for pixels, and latents run further": lambda: posterior(x, x0.clamp(-1, 1), level(now), level(next))[0]
                + variance**0.5 * noise,
            "the predicted noise was taken for x_0": lambda: posterior(x, eps, level(now), level(next))[0] + variance**0.5 * noise,
            "the factor of x has now where alpha = now / next is meant":
                lambda: posterior_with(x, x0, now, next, now / next, on_x=now) + variance**0.5 * noise,
        }, rtol=5e-4, atol=2e-5)


def posterior_with(x, x0, now, next, alpha, on_x=None):
    on_x = alpha if on_x is None else on_x
    return math.sqrt(next) * (1 - alpha) / (1 - now) * x0 + math.sqrt(on_x) * (1 - next) / (1 - now) * x


@task("ch06.ddpm_step")
def test_ddpm_step_to_the_clean_image(student):
    x, eps, noise = (student.randn(1, 2, 3, 3) for _ in range(3))
    expect_close(student.ddpm_step(x, eps, 0.7, 1.0, noise), x0_from_eps(eps, x, level(0.7)), "ddpm_step with next = 1.0", {
        "the noise is still added at the clean end": lambda: x0_from_eps(eps, x, level(0.7)) + noise}, rtol=5e-4)


@task("ch06.ddim_step")
def test_ddim_step(student):
    for (now, next), (shape, dtype) in zip(a_pair(student), CASES, strict=True):
        x, eps = student.randn(*shape).to(dtype), student.randn(*shape).to(dtype)
        x0 = x0_from_eps(eps, x, level(now))
        expect_close(student.ddim_step(x, eps, now, next), move(x, eps, now, next), step_in_words("ddim_step", x, now, next), {
            "the noise of the new level is missing": lambda: math.sqrt(next) * x0,
            "the noise of the old level is put back in": lambda: math.sqrt(next) * x0 + math.sqrt(1 - now) * eps,
            "the square roots of the new level are missing": lambda: next * x0 + (1 - next) * eps,
            "x_0 is clipped to [-1, 1]; that is for pixels, and latents run further":
                lambda: math.sqrt(next) * x0.clamp(-1, 1) + math.sqrt(1 - next) * eps,
            "this is x_0: the way back to the new level is missing": lambda: x0,
            "now and next are swapped": lambda: move(x, eps, next, now),
            "x_0 is not scaled down to the new level": lambda: x0 + math.sqrt(1 - next) * eps,
            "the division by sqrt(now) is missing in x_0": lambda: math.sqrt(next) * (x0 * math.sqrt(now)) + math.sqrt(1 - next) * eps,
            "the old level's factor of the noise lacks its square root":
                lambda: math.sqrt(next) * (x - (1 - now) * eps) / math.sqrt(now) + math.sqrt(1 - next) * eps,
        }, rtol=5e-4)


@task("ch06.ddim_step")
def test_ddim_steps_add_up(student):
    x, eps = student.randn(1, 2, 3, 3), student.randn(1, 2, 3, 3)
    two = student.ddim_step(student.ddim_step(x, eps, 0.1, 0.4), eps, 0.4, 0.9)
    expect_close(two, student.ddim_step(x, eps, 0.1, 0.9), "two steps with the same noise, against one step over both,", rtol=5e-4)
    expect_close(student.ddim_step(x, eps, 0.3, 1.0), x0_from_eps(eps, x, level(0.3)), "ddim_step with next = 1.0, which is x_0,", rtol=5e-4)


# ---------------------------------------------------------------------------------------------------------- samplers


def network(x, alpha_bar):
    """A denoiser that bends: the exact answer for two clouds at +-1 of width 0.3, in every pixel."""
    a = math.sqrt(float(alpha_bar))
    a = min(a, 1 - 1e-9)                                  # so that a call at the clean end is counted, not divided by 0
    v = a * a * 0.09 + 1 - a * a
    x0 = torch.tanh(a * x / v) * ((1 - a * a) / v) + x * (a * 0.09 / v)
    return (x - a * x0) / math.sqrt(1 - a * a)


GRIDS = {
    "ending clean": [0.05, 0.1, 0.2, 0.32, 0.5, 0.7, 0.88, 0.97, 1.0],
    "ending at a little noise": [0.01, 0.09, 0.2, 0.5, 0.8, 0.95, 0.999],
    "with a single step": [0.3, 0.8],
    "with two steps": [0.1, 0.5, 0.9],
    "with three steps": [0.05, 0.2, 0.6, 0.97],
    "over the whole range of Stable Diffusion": [0.00466, 0.0109, 0.03, 0.0978, 0.23, 0.45, 0.68, 0.87, 0.96, 0.99915],
    "with a single step, ending clean": [0.00466, 1.0],
    "with two steps, ending clean": [0.02, 0.4, 1.0],
    "with many small steps": [*(1 / (1 + math.exp(5.36 - 0.31 * i)) for i in range(41)), 1.0],
}


def run(sampler, x, grid, model=network):
    """One of the course's samplers (or a wrong one made of its parts) on a grid of alpha_bars."""
    levels = [level(a) for a in grid]
    return sampler(lambda x, now: model(x, now.alpha**2), x, levels, None)


def check_sampler(student_sampler, name, right, wrong, calls, x, wrong_calls=None):
    """Values, number of calls, and where the network was called, on every grid."""
    for number, (kind, grid) in enumerate(GRIDS.items()):
        what = f"{name} on a grid {kind} ({len(grid) - 1} steps)"
        known = {text: lambda f=f, grid=grid: f(x, grid) for text, f in wrong.items()}
        check_run(student_sampler, x, grid, what, run(right, x, grid), known, calls, wrong_calls)
        if number == 0:
            once_more = f"{what}, called once more with the same arguments,"
            check_run(student_sampler, x, grid, once_more, run(right, x, grid), known, calls, wrong_calls)
            for shape, dtype in CASES[1:]:
                y = x.new_tensor(torch.linspace(-2, 2, math.prod(shape)).tolist()).to(dtype).reshape(shape)
                words = f"{what}, with {str(dtype)[6:]} images of shape {shape}"
                check_run(student_sampler, y, grid, words, run(right, y, grid), {}, calls, wrong_calls)


def check_run(student_sampler, x, grid, what, right, known, calls, wrong_calls):
    """One walk along one grid."""
    model = Counted(network)
    try:
        got = student_sampler(model, x, grid)
    except StudentRaised as raised:
        if grid[-1] == 1.0 and ("ZeroDivisionError" in raised.names or "math domain" in raised.text):
            raise CheckFailed("exception", f"{what} divides by the noise, or takes its logarithm, at the clean end, where "
                                           f"there is none: alpha_bar is 1 there. {raised}") from None
        raise
    for call in model.calls:
        expect_type(call[1], float, f"{what}: the level that denoise is told")
        expect_tensor(call[0], x.shape, x.dtype, f"{what}: the x that denoise is shown")
    seen = [call[1] for call in model.calls]
    off = [a for a in seen if min(abs(a - g) for g in grid) > 1e-6]
    expect(not off, f"{what} called the network with alpha_bar = {off[:1]}, which is not in the grid")
    expect_calls(model, calls(grid), what, {text: count(grid) for text, count in (wrong_calls or {}).items()})
    expect_close(got, right, what, known, rtol=1e-3, atol=1e-4)


def start(student):
    """Noise that has large values for certain."""
    x = student.randn(2, 1, 4, 4)
    x[0, 0, 0, 0], x[1, 0, 3, 2] = 3.5, -3.5
    return x


def steps(grid):
    return len(grid) - 1


@task("ch06.ddim_sample")
def test_ddim_sample(student):
    def walk(rule):
        def sample(x, grid):
            start = x
            for i in range(len(grid) - 1):
                x = rule(x, start, grid, i)
            return x
        return sample

    check_sampler(student.ddim_sample, "ddim_sample", samplers.ddim, {
        "the network is shown the starting noise at every step, not the current x":
            walk(lambda x, start, g, i: move(x, network(start, g[i]), g[i], g[i + 1])),
        "the network is told the next level, not the current one":
            walk(lambda x, start, g, i: move(x, network(x, min(g[i + 1], 0.9999)), g[i], g[i + 1])),
        "the last step is missing": lambda x, g: run(samplers.ddim, x, [level for level in g[:-1]]) if len(g) > 2 else x,
        "the first step is missing": lambda x, g: run(samplers.ddim, x, g[1:]) if len(g) > 2 else x,
        "every step jumps to the clean image": walk(lambda x, start, g, i: move(x, network(x, g[i]), g[i], 1.0)),
    }, steps, start(student), {
        "the last step is missing, or the first": lambda g: len(g) - 2,
        "the network was also called at the last level; nothing is left to do there": lambda g: len(g),
        "the network is called twice in each step": lambda g: 2 * len(g) - 2,
    })


@task("ch06.heun_sample")
def test_heun_sample(student):
    def walk(mean):
        def sample(x, grid):
            for now, next in itertools.pairwise(grid):
                e1 = network(x, now)
                trial = move(x, e1, now, next)
                x = mean(x, e1, trial, now, next) if next < 1 else trial
            return x
        return sample

    def calls(grid):
        return 2 * steps(grid) - (grid[-1] == 1.0)

    check_sampler(student.heun_sample, "heun_sample", samplers.heun, {
        "the second move starts from the trial point; it starts from the old x":
            walk(lambda x, e1, trial, now, next: move(trial, (e1 + network(trial, next)) / 2, now, next)),
        "the second prediction is used alone; take the mean of both": walk(lambda x, e1, trial, now, next: move(x, network(trial, next), now, next)),
        "the first prediction is used alone: this is DDIM with calls that change nothing": walk(lambda x, e1, trial, now, next: trial),
        "the second prediction is made at the old x; it should be made at the trial point":
            walk(lambda x, e1, trial, now, next: move(x, (e1 + network(x, next)) / 2, now, next)),
        "the second prediction is made at the old level; the trial point is at the next one":
            walk(lambda x, e1, trial, now, next: move(x, (e1 + network(trial, now)) / 2, now, next)),
        "the two predictions are added without the 1/2": walk(lambda x, e1, trial, now, next: move(x, e1 + network(trial, next), now, next)),
    }, calls, start(student), {
        "each step needs two calls, only a step to the clean image needs one": steps,
        "the network was called at the clean end, where there is no noise to predict": lambda g: 2 * steps(g),
        "the last step has one call although it does not end clean": lambda g: 2 * steps(g) - 1,
    })


AB = {2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


@task("ch06.plms_sample")
def test_plms_sample(student):
    def walk(table=AB, longest=4, start="mean", reverse=False, keep_second=False):
        def sample(x, grid):
            past = []
            for i, (now, next) in enumerate(itertools.pairwise(grid)):
                past = [network(x, now), *past[:longest - 1]]
                if len(past) == 1:
                    eps = past[0]
                    if i == 0 and len(grid) > 2 and start != "single":
                        second = network(move(x, eps, now, next), next)
                        eps = second if start == "second" else (eps + second) / 2
                        if keep_second:
                            past = [second, *past]
                else:
                    order = past[::-1] if reverse else past
                    eps = sum(w * e for w, e in zip(table[len(past)], order, strict=True))
                x = move(x, eps, now, next)
            return x
        return sample

    def at_old_level(x, grid):
        def model(y, alpha_bar):
            return network(y, alpha_bar)
        past = []
        for i, (now, next) in enumerate(itertools.pairwise(grid)):
            past = [model(x, now), *past[:3]]
            eps = sum(w * e for w, e in zip({1: (1,), **AB}[len(past)], past, strict=True))
            if i == 0 and len(grid) > 2:
                eps = (eps + model(move(x, eps, now, next), now)) / 2
            x = move(x, eps, now, next)
        return x

    plus = {**AB, 2: (3 / 2, 1 / 2)}
    check_sampler(student.plms_sample, "plms_sample", samplers.pndm, {
        "the history is in the wrong order: the largest weight belongs to the newest prediction": walk(reverse=True),
        "the history stops at two predictions; from the 4th step on it takes four": walk(longest=2),
        "the history stops at three predictions; from the 4th step on it takes four": walk(longest=3),
        "the first step uses its second prediction alone; take the mean": walk(start="second"),
        "the second prediction of the first step is made at the old level; the trial point is at the next one": at_old_level,
        "the first step uses its first prediction alone; take the mean with a second one": walk(start="single"),
        "the second prediction of the first step was kept in the history": walk(keep_second=True),
        "in the second step the older prediction is added; its weight is negative": walk(table=plus),
        "there is no history at all: this is DDIM with a second look in the first step": walk(longest=1),
        "the weights of the second step are not (3, -1) / 2": walk(table={**AB, 2: (2.0, -1.0)}),
    }, lambda g: len(g) if len(g) > 2 else 1, start(student), {
        "the first step looks at both of its ends, which makes one call more than there are steps": steps,
        "a grid with a single step needs a single call": lambda g: 2 if len(g) == 2 else -1,
        "every step has two calls; only the first has": lambda g: 2 * steps(g),
    })


@task("ch06.lms_weights")
def test_lms_weights(student):
    ratios = sorted((float(r) for r in student.rand(8, low=0.05, high=12.0)), reverse=True)
    ratios = [r + 0.4 * (8 - i) for i, r in enumerate(ratios)] + [0.0]           # falling, no two alike
    long = [14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 1.0]          # a long last step, in which a rule that is not exact shows
    cases = [(ratios, *case) for case in ((0, 4), (1, 4), (2, 4), (3, 4), (6, 4), (7, 4), (5, 2), (0, 1), (4, 1), (5, 3), (7, 6), (2, 9))]
    for ratios, step, order in (*cases, (long, 6, 5), (long, 6, 7)):
        count = min(order, step + 1)
        nodes = [ratios[step - j] for j in range(count)]
        h = ratios[step + 1] - ratios[step]
        mean = samplers.lms_weights(nodes, ratios[step + 1])
        right = [h * w for w in mean]
        got = student.lms_weights(ratios, step, order)
        what = f"lms_weights at step {step} of order {order}"
        expect_type(got, list, what)
        even = {1: (1.0,), **AB}.get(count, ())
        scale = max(abs(w) for w in right)
        known = {
            "the order is reversed: the newest prediction comes first": right[::-1],
            "these are the mean weights, which sum to 1; here they sum to the length of the step": mean,
            "the sign is turned round: the ratios fall, so the step is negative": [-w for w in right],
            "these are the Adams-Bashforth weights of even steps; the ratios are not evenly spaced": [h * w for w in even],
            "this is Simpson's rule, exact for orders up to 4 only": [h / 6 * (lagrange(nodes, j, ratios[step])
                + 4 * lagrange(nodes, j, (ratios[step] + ratios[step + 1]) / 2) + lagrange(nodes, j, ratios[step + 1])) for j in range(count)],
            "the polynomials are taken at the end of the step instead of integrated": [h * lagrange(nodes, j, ratios[step + 1]) for j in range(count)],
            "the polynomials are taken in the middle of the step instead of integrated":
                [h * lagrange(nodes, j, (ratios[step] + ratios[step + 1]) / 2) for j in range(count)],
            "this is the trapezium rule; integrate the polynomial exactly":
                [h / 2 * (lagrange(nodes, j, ratios[step]) + lagrange(nodes, j, ratios[step + 1])) for j in range(count)],
            "the step with its own order: `order` is ignored": [h * w for w in samplers.lms_weights([ratios[step - j] for j in range(min(4, step + 1))], ratios[step + 1])],
            "the denominators of L_j are missing": [h * w * math.prod([nodes[j] - m for k, m in enumerate(nodes) if k != j]) for j, w in enumerate(mean)],
        }
        named = [text for text, wrong in known.items() if len(wrong) == len(got)
                 and all(type(g) is float and abs(g - w) < 1e-3 * scale + 1e-6 for g, w in zip(got, wrong, strict=True))]
        hint = f". This looks like a known mistake: {named[0]}" if named else ""
        expect(len(got) == count, f"{what} should have {count} items, and has {len(got)}{hint}", "wrong_shape")
        for i, (g, r) in enumerate(zip(got, right, strict=True)):
            expect_type(g, float, f"{what}[{i}]")
            expect(math.isfinite(g), f"{what}[{i}] is {g}", "not_finite")
            expect(abs(g - r) < 1e-3 * scale + 1e-6, f"{what}[{i}] should be {r:.6g}, and is {g:.6g}{hint}")


@task("ch06.lms_weights")
def test_lms_weights_with_the_default_order(student):
    ratios = [14.0, 9.0, 6.0, 4.0, 2.5, 1.0, 0.0]
    expect_close(student.lms_weights(ratios, 5), student.lms_weights(ratios, 5, 4), "lms_weights without an order, which is 4,")


def lagrange(nodes, j, r):
    return math.prod((r - m) / (nodes[j] - m) for k, m in enumerate(nodes) if k != j)


@task("ch06.lms_sample")
def test_lms_sample(student):
    def walk(order=4, keep=True, weigh=None, scale=True):
        def sample(x, grid):
            past = []
            ratios = [math.sqrt((1 - a) / a) for a in grid]
            for i in range(len(grid) - 1):
                past = [network(x, grid[i]), *past[:order - 1]] if keep else [network(x, grid[i])]
                h = ratios[i + 1] - ratios[i]
                weights = [h * w for w in (weigh or samplers.lms_weights)([ratios[i - k] for k in range(len(past))], ratios[i + 1])]
                change = sum(w * e for w, e in zip(weights, past, strict=True))
                x = math.sqrt(grid[i + 1]) * (x / math.sqrt(grid[i]) + change) if scale else x + change
            return x
        return sample

    check_sampler(student.lms_sample, "lms_sample", samplers.lms, {
        "only the newest prediction is used: this is Euler's method, DDIM": walk(keep=False),
        "the history stops at two predictions; it should be of order 4": walk(order=2),
        "the history stops at three predictions; it should be of order 4": walk(order=3),
        "the weights are those of even steps (Adams-Bashforth), as in PLMS": walk(weigh=lambda nodes, end: {1: (1.0,), **AB}[len(nodes)]),
        "the oldest prediction got the weight of the newest": walk(weigh=lambda nodes, end: samplers.lms_weights(nodes, end)[::-1]),
        "x itself was moved; it should be x / sqrt(alpha_bar) that changes by the integral": walk(scale=False),
    }, steps, start(student), {
        "one call per step; this makes two": lambda g: 2 * steps(g),
        "the network was also called at the last level": lambda g: len(g),
    })


@task("ch06.eta_step")
def test_eta_step(student):
    for (now, next), (shape, dtype), eta in zip(a_pair(student), CASES, (1.0, 0.5, 0.0, 0.8, 0.3), strict=True):
        x, eps, noise = (student.randn(*shape).to(dtype) for _ in range(3))
        x0 = x0_from_eps(eps, x, level(now))
        s2 = (1 - next) / (1 - now) * (1 - now / next)

        def mix(s, kept, x0=x0, eps=eps, noise=noise, next=next):
            return math.sqrt(next) * x0 + math.sqrt(max(kept, 0.0)) * eps + s * noise

        right = mix(eta * math.sqrt(s2), 1 - next - eta**2 * s2)
        expect_close(student.eta_step(x, eps, now, next, eta, noise), right, f"{step_in_words('eta_step', x, now, next)}, eta = {eta}", {
            "fresh noise was added and the predicted noise not made smaller: there is too much of both":
                lambda: mix(eta * math.sqrt(s2), 1 - next),
            "eta was ignored: this is the step of DDPM": lambda: mix(math.sqrt(s2), 1 - next - s2),
            "eta was ignored: this is the step of DDIM": lambda: mix(0.0, 1 - next),
            "eta multiplies the variance; it should multiply the standard deviation": lambda: mix(math.sqrt(eta * s2), 1 - next - eta * s2),
            "the fresh noise has its variance for a factor; it should be scaled with the square root": lambda: mix(eta * s2, 1 - next - eta**2 * s2),
            "the share of the fresh noise is taken with the two levels swapped":
                lambda: mix(eta * math.sqrt(s2), 1 - now - eta**2 * s2),
            "the posterior's factor (1 - next) / (1 - now) is missing": lambda: mix(eta * math.sqrt(1 - now / next), 1 - next - eta**2 * (1 - now / next)),
        }, rtol=1e-3, atol=5e-5)


@task("ch06.eta_step")
def test_eta_step_at_its_ends(student):
    x, eps, noise = (student.randn(2, 3, 4, 5) for _ in range(3))
    x0 = x0_from_eps(eps, x, level(0.2))
    expect_close(student.eta_step(x, eps, 0.2, 0.6, 0.0, noise), move(x, eps, 0.2, 0.6), "eta_step with eta = 0, which is ddim_step,", rtol=5e-4)
    mean, variance = posterior(x, x0, level(0.2), level(0.6))
    expect_close(student.eta_step(x, eps, 0.2, 0.6, 1.0, noise), mean + variance**0.5 * noise, "eta_step with eta = 1, which is ddpm_step,", rtol=5e-4,
                 atol=2e-5)
    expect_close(student.eta_step(x, eps, 0.2, 1.0, 1.0, noise), x0, "eta_step with next = 1.0", {
        "noise is still added at the clean end": lambda: x0 + noise}, rtol=5e-4, atol=2e-5)


@task("ch06.measured_order")
def test_measured_order(student):
    for order, counts in ((1.0, [5, 10, 20, 40]), (2.0, [8, 16, 64]), (3.7, [4, 5, 7, 11, 20]), (0.5, [100, 10])):
        factor = float(student.rand(1, low=0.1, high=3.0))
        errors = [factor * n**-order for n in counts]
        logs = [math.log(n) for n in counts]
        got = student.measured_order(counts, errors)
        what = f"measured_order of errors that fall like steps^-{order:g}"
        expect_close(got, order, what, {
            "the sign is turned round: an error that falls has a positive order": -order,
            "the slope was taken the other way round, steps over errors": 1 / order,
            "the errors' logarithms were fitted against the steps themselves, not their logarithms":
                lambda: -slope(counts, [math.log(e) for e in errors]),
            "no logarithm was taken of the errors": lambda: -slope(logs, errors),
        }, rtol=1e-6)


@task("ch06.measured_order")
def test_measured_order_of_a_real_experiment(student):
    counts = [5, 10, 20, 40, 80]
    errors = [0.5 * n**-2.0 * (1 + 0.2 * float(student.rand(1, low=-1.0))) for n in counts]
    right = -slope([math.log(n) for n in counts], [math.log(e) for e in errors])
    ends = math.log(errors[0] / errors[-1]) / math.log(counts[-1] / counts[0])
    expect_close(student.measured_order(counts, errors), right, "measured_order of scattered errors", {
        "only the two ends were used; the fit goes through all of them": ends,
        "the mean of the orders from neighbour to neighbour is the order between the ends; fit a line": ends,
    }, rtol=1e-6)
    expect_close(student.measured_order([*counts, 160, 320], [*errors, 1e-13, 0.0]), right,
                 "measured_order of errors the last of which are rounding (1e-13 and 0), which are left out,", rtol=1e-6)


@task("ch06.measured_order")
def test_measured_order_refuses_what_has_no_slope(student):
    for counts, errors in (([10], [0.1]), ([10, 10], [0.1, 0.2]), ([5, 10], [0.1, 0.0]), ([5, 10], [0.1, 1e-12]), ([], [])):
        expect_raises(student.measured_order, counts, errors, what=f"measured_order({counts}, {errors})")
    expect_close(student.measured_order([10, 20], [3e-12, 1.5e-12]), 1.0, "measured_order of errors that are small and above 1e-12")


def slope(x, y):
    x, y = torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


@task("ch06.dpmpp_2m_sample")
def test_dpmpp_2m_sample(student):
    def walk(extrapolate, lam=lambda a: 0.5 * math.log(a / (1 - a)), keep_guess=False, last_too=False):
        def sample(x, grid):
            before = None
            for i in range(len(grid) - 1):
                now, next = grid[i], grid[i + 1]
                d = guess = x0_from_eps(network(x, now), x, level(now))
                if before is not None and next < 1.0:
                    guess = extrapolate(d, before, (lam(now) - lam(grid[i - 1])), (lam(next) - lam(now)))
                eps = (x - math.sqrt(now) * guess) / math.sqrt(1 - now)
                x = move(x, eps, now, next)
                before = guess if keep_guess else d
            return x
        return sample

    def right(d, before, h_last, h):
        return d + (d - before) * h / (2 * h_last)

    check_sampler(student.dpmpp_2m_sample, "dpmpp_2m_sample", samplers.dpmpp_2m, {
        "nothing is extrapolated: this is DDIM": walk(lambda d, before, h_last, h: d),
        "r is upside down: it is the last step over this one": walk(lambda d, before, h_last, h: d + (d - before) * h_last / (2 * h)),
        "the 2 in 2 r is missing": walk(lambda d, before, h_last, h: d + (d - before) * h / h_last),
        "the steps in lambda are taken as equal, r = 1": walk(lambda d, before, h_last, h: d + (d - before) / 2),
        "D - D_before is subtracted where it is added": walk(lambda d, before, h_last, h: d - (d - before) * h / (2 * h_last)),
        "lambda is log(alpha_bar) here; it should be half the log of the signal-to-noise ratio": walk(right, lam=math.log),
        "lambda is taken as the ratio itself, without the logarithm": walk(right, lam=lambda a: math.sqrt(a / (1 - a))),
        "D_before is the last guess; it should be the last D": walk(right, keep_guess=True),
        "it is D and D_before that are swapped": walk(lambda d, before, h_last, h: before + (before - d) * h / (2 * h_last)),
    }, steps, start(student), {
        "one call per step; this makes two": lambda g: 2 * steps(g),
        "the network was also called at the last level": lambda g: len(g),
    })


# -------------------------------------------------------------------------------------------------------- diffusers


@task("ch06.leading_timesteps")
def test_leading_timesteps_in_diffusers(student):
    for name in ("leading_timesteps", "leading_timesteps_7"):
        arguments, right = diffusers_says(name)
        expect_equal(student.leading_timesteps(*arguments), right, f"leading_timesteps({arguments[0]}), against diffusers,")


@task("ch06.linspace_timesteps")
def test_linspace_timesteps_in_diffusers(student):
    arguments, right = diffusers_says("linspace_timesteps")
    expect_close(student.linspace_timesteps(*arguments), right, "linspace_timesteps(50), against diffusers,", atol=1e-3)


@task("ch06.rounded_timesteps")
def test_rounded_timesteps_in_diffusers(student):
    arguments, right = diffusers_says("rounded_timesteps")
    expect_equal(student.rounded_timesteps(*arguments), right, "rounded_timesteps(10), against diffusers' DPMSolverMultistepScheduler,")


@task("ch06.ratio_at")
def test_ratio_at_in_diffusers(student):
    (times, table), right = diffusers_says("ratio_at")
    for t, ratio in zip(times, right, strict=True):
        expect_close(student.ratio_at(t, table), ratio, f"ratio_at({t:.4f}, ...), against diffusers' EulerDiscreteScheduler,", rtol=1e-4, atol=1e-6)


@task("ch06.ddpm_step")
def test_ddpm_step_in_diffusers(student):
    arguments, right = diffusers_says("ddpm_step")
    expect_close(student.ddpm_step(*arguments), right, "ddpm_step, against diffusers' DDPMScheduler,", rtol=5e-4)


@task("ch06.ddim_step")
def test_ddim_step_in_diffusers(student):
    arguments, right = diffusers_says("ddim_step")
    expect_close(student.ddim_step(*arguments), right, "ddim_step, against diffusers' DDIMScheduler,", rtol=5e-4)


@task("ch06.ddim_sample")
def test_ddim_sample_in_diffusers(student):
    (x, grid), right = diffusers_says("ddim_sample")
    expect_close(student.ddim_sample(network, x, grid), right, "ddim_sample, against diffusers' DDIMScheduler,", rtol=1e-3, atol=1e-4)


@task("ch06.heun_sample")
def test_heun_sample_in_diffusers(student):
    (x, grid), right = diffusers_says("heun_sample")
    expect_close(student.heun_sample(network, x, grid), right, "heun_sample, against diffusers' HeunDiscreteScheduler,", rtol=1e-3, atol=1e-4)


@task("ch06.plms_sample")
def test_plms_sample_in_diffusers(student):
    (x, grid), right = diffusers_says("plms_sample")
    expect_close(student.plms_sample(network, x, grid), right, "plms_sample, against diffusers' PNDMScheduler,", rtol=1e-3, atol=1e-4)


@task("ch06.lms_weights")
def test_lms_weights_in_diffusers(student):
    arguments, right = diffusers_says("lms_weights")
    expect_close(student.lms_weights(*arguments), right, "lms_weights, against diffusers' LMSDiscreteScheduler,", rtol=1e-3, atol=1e-4)


@task("ch06.dpmpp_2m_sample")
def test_dpmpp_2m_sample_in_diffusers(student):
    (x, grid), right = diffusers_says("dpmpp_2m_sample")
    expect_close(student.dpmpp_2m_sample(network, x, grid), right, "dpmpp_2m_sample, against diffusers' DPMSolverMultistepScheduler,",
                 rtol=1e-3, atol=1e-4)
