"""Checks of exercises/ch15_guidance.py."""

import math

import torch

from course import guidance
from course.grading import task
from course.grading.checks import expect_close, expect_type

INTERVALS = ((0.5, 0.5, 5.0), (0.00466, 0.5, 5.0), (0.9985, 0.5, 5.0), (0.3, 0.0, math.inf), (0.04, 0.28, 5.42), (0.5, 1.0, 3.0), (0.8, 0.6, 1.9),
             (0.1, 0.2, 2.9), (0.9, 0.5, 2.0), (0.85, 0.2, 0.3), (0.2, 1.5, 2.5), (0.7, 0.5, 0.7))


@task("ch15.interval_scale")
def test_interval_scale(student):
    scale = float(student.rand(1, low=3.0, high=12.0))

    def limited(measure, outside=1.0):
        return torch.tensor([scale if low <= measure(a) <= high else outside for a, low, high in INTERVALS])

    def ratio(a):
        return math.sqrt((1 - a) / a)

    got = [student.interval_scale(a, scale, low, high) for a, low, high in INTERVALS]
    for each in got:
        expect_type(each, float, "what interval_scale returns")
    expect_close(torch.tensor(got), limited(ratio), f"interval_scale with scale {scale:.2f} at {len(INTERVALS)} levels, the first in the interval {INTERVALS[0]} of (alpha_bar, low, high)", {
        "outside there should be no guidance, which is scale 1; 0 forgets the prompt": lambda: limited(ratio, 0.0),
        "the interval is one of sigma / alpha; it was held against sigma": lambda: limited(lambda a: math.sqrt(1 - a)),
        "the interval is one of sigma / alpha; it was held against alpha_bar": lambda: limited(lambda a: a),
        "the interval is one of sigma / alpha; it was held against its square": lambda: limited(lambda a: ratio(a) ** 2),
        "the ratio is upside down": lambda: limited(lambda a: 1 / ratio(a)),
        "guidance was given outside of the interval": lambda: scale + 1 - limited(ratio),
        "the bounds belong to the interval": lambda: torch.tensor([scale if low < ratio(a) < high else 1.0 for a, low, high in INTERVALS]),
    })


@task("ch15.plus_plus_scale")
def test_plus_plus_scale(student):
    for now, next in ((0.1, 0.3), (0.00466, 0.0047), (0.5, 1.0), (0.9, 0.9992), (0.02, 1.0)):
        strength = float(student.rand(1, low=0.2, high=1.0))
        r, s = (math.sqrt((1 - a) / a) for a in (now, next))
        got = student.plus_plus_scale(now, next, strength)
        expect_type(got, float, "what plus_plus_scale returns")
        expect_close(got, strength * r / (r - s), f"plus_plus_scale from alpha_bar {now} to {next}", {
            "this is the strength itself, right at the clean end only": lambda: strength,
            "the ratio of the end stands where that of the beginning should": lambda: strength * s / (r - s),
            "sigma was taken for sigma / alpha": lambda: strength * math.sqrt(1 - now) / (math.sqrt(1 - now) - math.sqrt(1 - next)),
            "the square roots are missing": lambda: strength * r**2 / (r**2 - s**2),
            "the sign is turned": lambda: -strength * r / (r - s),
            "this is upside down": lambda: strength * (r - s) / r,
        }, rtol=2e-3)


@task("ch15.plus_plus_scale")
def test_the_step_is_the_same(student):
    """CFG++'s own two lines against DDIM with the scale."""
    x, e_u, e_c = (student.randn(2, 1, 3, 3).double() for _ in range(3))
    for now, next in ((0.1, 0.35), (0.7, 1.0)):
        strength = 0.6
        g = student.plus_plus_scale(now, next, strength)
        guided = e_u + strength * (e_c - e_u)
        theirs = math.sqrt(next) * (x - math.sqrt(1 - now) * guided) / math.sqrt(now) + math.sqrt(1 - next) * e_u
        plain = e_u + float(g) * (e_c - e_u)
        ours = math.sqrt(next) * (x - math.sqrt(1 - now) * plain) / math.sqrt(now) + math.sqrt(1 - next) * plain
        expect_close(ours, theirs, "the DDIM step with your scale, against CFG++'s,", rtol=1e-3, atol=1e-3)


@task("ch15.project_guidance")
def test_project_guidance(student):
    cases = (((2, 4, 4, 4), 7.5, torch.float32), ((3, 3, 5, 2), 1.0, torch.float64), ((1, 1, 2, 3), -2.0, torch.float32), ((4, 2, 3, 3), 20.0, torch.float64))
    for shape, scale, dtype in cases:
        u, c = student.randn(*shape).to(dtype), (student.randn(*shape) + 0.5).to(dtype)
        right = guidance.projected(lambda x, level: (u, c), scale)(c, None)

        def dot(a, b, axes=(1, 2, 3)):
            return (a * b).sum(axes, keepdim=True)

        d = c - u
        across = d - dot(d, c) / dot(c, c) * c
        expect_close(student.project_guidance(u, c, scale), right, f"project_guidance with shape {shape} and scale {scale} ({str(dtype)[6:]})", {
            "nothing was taken away: this is plain guidance": lambda: u + scale * d,
            "what lies along was kept, and what lies across was taken away": lambda: c + (scale - 1) * (d - across),
            "the walk starts at the unconditional prediction; start at the conditional one": lambda: u + scale * across,
            "the scale counts from 1: scale - 1 times the rest is added": lambda: c + scale * across,
            "it was projected on the unconditional prediction": lambda: c + (scale - 1) * (d - dot(d, u) / dot(u, u) * u),
            "the product was not divided by c . c": lambda: c + (scale - 1) * (d - dot(d, c) * c),
            "it was divided by the length of c; divide by its square": lambda: c + (scale - 1) * (d - dot(d, c) / dot(c, c).sqrt() * c),
            "one product was taken for the whole batch; each picture has its own": lambda: c + (scale - 1) * (d - (d * c).sum() / (c * c).sum() * c),
            "a product was taken for each channel; take it over C, H and W":
                lambda: c + (scale - 1) * (d - dot(d, c, (2, 3)) / dot(c, c, (2, 3)) * c),
            "the difference is turned round": lambda: c - (scale - 1) * across,
        }, rtol=2e-3, atol=2e-4)
