"""Checks of exercises/ch13_flow.py."""

from itertools import pairwise
from pathlib import Path

import torch

from course import flow, toy
from course.grading import task
from course.grading.checks import Counted, expect_calls, expect_close, expect_type
from course.grading.written import expect_written
from course.prediction import flow_from_eps

ANSWERS = Path(__file__).parent / "answers"

SHAPES = (((4, 3, 4, 4), torch.float32), ((3, 2, 5, 7), torch.float64), ((1, 1, 3, 2), torch.float32))


def times(student, batch, dtype):
    """Both ends among them, as far as there is room."""
    t = student.rand(batch, low=0.05, high=0.95)
    t[0] = 0.5 if batch == 1 else 0.0
    t[-1] = 1.0 if batch > 1 else t[-1]
    return t.to(dtype)


def wide(t):
    return t.view(-1, 1, 1, 1)


@task("ch13.flow_pair")
def test_flow_pair(student):
    for shape, dtype in SHAPES:
        x0, noise, t = student.randn(*shape).to(dtype), student.randn(*shape).to(dtype), times(student, shape[0], dtype)
        got = student.flow_pair(x0, noise, t)
        expect_type(got, tuple, "what flow_pair returns")
        what = f"flow_pair with pictures of shape {shape} ({str(dtype)[6:]})"
        a = wide(t)
        expect_close(got[0], (1 - a) * x0 + a * noise, f"x_t of {what}", {
            "time runs the other way: noise should be at t = 1": lambda: a * x0 + (1 - a) * noise,
            "these are the coefficients of a variance-preserving process; a flow's are 1 - t and t": lambda: (1 - a**2).sqrt() * x0 + a * noise,
            "square roots were taken; a flow's coefficients are 1 - t and t": lambda: (1 - a).sqrt() * x0 + a.sqrt() * noise,
            "the picture is not faded: it should have the factor 1 - t": lambda: x0 + a * noise,
            "one time was taken for the whole batch": lambda: (1 - a[0]) * x0 + a[0] * noise,
            "the two results are exchanged": lambda: noise - x0,
        })
        expect_close(got[1], noise - x0, f"the target of {what}", {
            "the sign is turned: this is the velocity towards the data, for time that runs the other way": lambda: x0 - noise,
            "this is the noise, the target of chapter 5; a flow's is the velocity": lambda: noise,
            "this is the picture": lambda: x0,
            "this is the v of Salimans and Ho, the velocity on a circle": lambda: (1 - a) * noise - a * x0,
            "the velocity has no t in it": lambda: a * (noise - x0),
        })


@task("ch13.from_velocity")
def test_from_velocity(student):
    for shape, dtype in SHAPES:
        x0, noise, t = student.randn(*shape).to(dtype), student.randn(*shape).to(dtype), times(student, shape[0], dtype)
        a = wide(t)
        x, v = (1 - a) * x0 + a * noise, noise - x0
        got = student.from_velocity(v, x, t)
        expect_type(got, tuple, "what from_velocity returns")
        what = f"from_velocity with shape {shape} ({str(dtype)[6:]}) and times that reach 0 and 1"
        expect_close(got[0], noise, f"the noise of {what}", {
            "the two results are exchanged": lambda: x0,
            "the factor of v should be 1 - t": lambda: x + a * v,
            "the sign of v is turned": lambda: x - (1 - a) * v,
            "v was added whole": lambda: x + v,
        }, rtol=1e-3, atol=1e-4)
        expect_close(got[1], x0, f"the picture of {what}", {
            "the factor of v should be t": lambda: x - (1 - a) * v,
            "the sign of v is turned": lambda: x + a * v,
            "v was subtracted whole": lambda: x - v,
        }, rtol=1e-3, atol=1e-4)


GRIDS = ([1.0, 0.75, 0.5, 0.25, 0.0], [1.0, 0.0], [0.9, 0.6, 0.55, 0.1], [1.0 - i / 20 for i in range(21)])


def network(x, t):
    return torch.sin(2 * x) + 0.5 * t * x - 0.3


def walk(x, grid, step):
    for now, next in pairwise(grid):
        x = step(x, now, next)
    return x


def check_sampler(student, name, model, step, known):
    for i, grid in enumerate(GRIDS):
        dtype = torch.float64 if i % 2 else torch.float32
        x = student.randn(2 + i, 1, 3, 4 + i).to(dtype)
        counted = Counted(model)
        got = getattr(student, name)(counted, x, list(grid))
        expect_calls(counted, len(grid) - 1, name, {"the network is asked once more than there are steps": len(grid)})
        for call in counted.calls:
            expect_type(call[1], float, f"the time that {name} tells the network")
        what = f"{name} over {len(grid) - 1} steps ({str(dtype)[6:]})"
        expect_close(got, walk(x, grid, step), what, {words: (lambda other=other: walk(x, grid, other)) for words, other in known.items()},
                     rtol=1e-3, atol=1e-4)


@task("ch13.flow_sample")
def test_flow_sample(student):
    check_sampler(student, "flow_sample", network, lambda x, t, s: x + (s - t) * network(x, t), {
        "the sign of the step is turned: it walks away from the data": lambda x, t, s: x + (t - s) * network(x, t),
        "the network is told the time of the end of the step": lambda x, t, s: x + (s - t) * network(x, s),
        "the step is the time itself; it should be the change of time": lambda x, t, s: x - t * network(x, t),
        "the network is told 1 - t": lambda x, t, s: x + (s - t) * network(x, 1 - t),
    })


@task("ch13.flow_sample")
def test_flow_sample_on_one_point(student):
    """Every line leads to one picture: exact in any number of steps."""
    x, point = student.randn(3, 1, 2, 2), student.randn(1, 1, 2, 2)
    for grid in ([1.0, 0.0], [1.0, 0.4, 0.1, 0.0]):
        got = student.flow_sample(lambda y, t: (y - point) / t, x, grid)
        expect_close(got, point.expand_as(x), "flow_sample where all pictures are the same one", atol=1e-4)


def theirs(x, s):
    """A network of the other convention, by the exact velocity of the ring: x_0 - noise at its time s = 1 - t."""
    world = toy.ring()
    level = flow.flow_level(1 - s)
    points = x.reshape(-1, 2).double()
    return -flow_from_eps(world.denoise(points, level), points, level).reshape(x.shape).to(x.dtype)


@task("ch13.sample_other_time")
def test_sample_other_time(student):
    def other(x, s):
        return -network(x, 1 - s)

    check_sampler(student, "sample_other_time", other, lambda x, t, s: x + (s - t) * network(x, t), {
        "the time was translated and the sign was not": lambda x, t, s: x - (s - t) * network(x, t),
        "the sign was translated and the time was not": lambda x, t, s: x - (s - t) * other(x, t),
        "nothing was translated: neither time nor sign": lambda x, t, s: x + (s - t) * other(x, t),
        "the network is told the time of the end of the step": lambda x, t, s: x + (s - t) * network(x, s),
    })


@task("ch13.sample_other_time")
def test_sample_other_time_reaches_the_data(student):
    x = student.randn(64, 1, 1, 2)
    grid = [0.98 * (1 - i / 40) for i in range(40)] + [0.0]
    end = student.sample_other_time(theirs, x, grid).reshape(-1, 2)
    miss = (end.norm(dim=1) - 1.5).abs().mean()
    expect_close(float(miss < 0.35), 1.0, f"sample_other_time on the ring of radius 1.5 (your points miss it by {miss:.2f} on average); close to it:")


@task("ch13.field")
def test_field(student):
    expect_written(student, "ch13.field", ANSWERS)
