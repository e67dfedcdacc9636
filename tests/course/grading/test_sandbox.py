"""The sandbox itself: what it says about this machine, that it refuses when it should, and honest code inside it."""

import dataclasses
import subprocess
import sys
import time
import types

import pytest
import torch
from hostile_submissions import HONEST

from course.grading import checks as checks_module
from course.grading.errors import CheckFailed, NotAttempted, StudentRaised
from course.grading.grade import IsolatedStudent, Session
from course.grading.manifest import Task
from course.grading.sandbox import SandboxError, WeakIsolation, Zygote, describe, isolation, require, self_test
from course.grading.submission import Submission

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")


def test_the_levels_and_their_words():
    assert isolation(("namespaces", "landlock")).words.startswith("STRONG, COMPUTE-ONLY") or isolation().missing
    assert isolation(("namespaces",)).words.startswith("STRONG (no namespaces") or isolation().missing
    weak = isolation(("namespaces", "seccomp"))
    assert weak.words == "NOT ENFORCED: network, processes, kernel surface"
    assert weak.inactive["seccomp"] == "switched off for a test"
    assert isolation(("namespaces", "seccomp", "landlock")).missing == ("network", "file reads", "processes", "kernel surface")
    assert isolation(("rlimits",)).missing == ("memory",)
    assert "isolation: " in describe()


def test_a_weak_sandbox_is_refused_unless_its_words_are_repeated():
    weak = isolation(("namespaces", "seccomp"))
    with pytest.raises(WeakIsolation, match="NOT ENFORCED: network, processes, kernel surface"):
        require(weak)
    with pytest.raises(WeakIsolation):
        require(weak, "network,processes")
    require(weak, "network,processes,kernel surface")
    require(weak, "NOT ENFORCED: network, processes, kernel-surface")
    nothing = dataclasses.replace(weak, layers=(), missing=("everything but time and value comparison",))
    with pytest.raises(WeakIsolation, match="not graded on this system"):
        require(nothing, "everything but time and value comparison")


@pytest.mark.parametrize("layer", ["landlock", pytest.param("seccomp", marks=pytest.mark.slow),
                                   pytest.param("rlimits", marks=pytest.mark.slow)])
def test_the_self_test_finds_a_layer_that_only_says_it_works(layer):
    """As if a layer were accepted by the kernel and had no effect."""
    found = isolation()
    if found.missing or layer not in found.layers:
        pytest.skip("this machine does not have the layer")
    liar = dataclasses.replace(found, layers=tuple(name for name in found.layers if name not in (layer, "namespaces")))
    if layer == "landlock":          # without it seccomp forbids opening files, which is as good
        liar = dataclasses.replace(liar, layers=tuple(name for name in liar.layers if name != "seccomp"))
    with Zygote(liar) as zygote, pytest.raises(SandboxError, match="self-test failed"):
        self_test(zygote)


@pytest.mark.slow
def test_namespaces_that_cannot_be_set_up_are_done_without(monkeypatch, checks):
    from course.grading.bulk import Options, open_grader

    found = isolation()
    if found.words != "FULL":
        pytest.skip("this machine has no namespaces")
    start = Zygote._start

    def refuse(self):
        if "namespaces" in self.isolation.layers:
            raise SandboxError("mount: Permission denied")
        start(self)

    monkeypatch.setattr(Zygote, "_start", refuse)
    with open_grader(Options(seed=1, checks=str(checks))) as grader:
        assert grader.isolation.words.startswith("STRONG")
        assert "Permission denied" in grader.isolation.inactive["namespaces"]
        assert grader.grade(Submission("s", {"ch03_forward.py": HONEST.encode()}))["score"] == 5


def test_the_self_test_passes_here(grader):
    self_test(grader.zygote)


def test_an_interpreter_that_cannot_start_is_an_error(monkeypatch, checks):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SandboxError, match="could not start"):
        Zygote(isolation()).spawn()


# ---------------------------------------------------------------- honest code, through the border

SOURCE = b'''
import math, random, itertools, dataclasses, typing, sys
import numpy as np
import torch, torch.nn.functional as F
from torch import nn, Tensor

@dataclasses.dataclass
class Pair:
    a: Tensor
    b: float = 1.0

def double(x): return Pair(x * 2).a
def many(x, n=2, *, key="k"): return {key: [x] * n, "pi": math.pi, "none": None, "t": (1, True, "s")}
def arrays(x): return np.asarray(x.numpy() + 1, dtype=np.float64)
def twice(f, x): return f(f(x))
def draws(generator, n): return torch.randn(n, generator=generator)
def late(model, x):
    for t in range(5): x = model(x, t)
    return x
def square(x): return x ** 2
def cut(x): return (x ** 2).detach()
def network(x):
    layer = nn.Linear(3, 2)
    with torch.no_grad(): layer.weight.fill_(1); layer.bias.zero_()
    return F.silu(layer(x))
def bad(): raise ValueError("x is negative")
def note(v): return v.sigma / v.alpha
def catches(f, x):
    try: return f(x)
    except Exception as error: return str(error)
def explodes(f):
    try: return f(torch.ones(40_000, 1), torch.ones(1, 40_000))
    except RuntimeError as error: return str(error)
def floods(f):
    return f(torch.ones(3 << 19), 0)
def threads(x):
    torch.set_num_threads(2)
    return x @ x
def prints(x):
    print("looking at", x); print("error", file=sys.stderr)
    return x + 1
stub = None
'''


@pytest.fixture
def student(grader):
    session = Session(grader.zygote, Submission("s", {"ch03_forward.py": SOURCE}))
    task = Task("ch03.x", "x", 1.0, "ch03_forward", timeout=5.0)
    session.begin(task)
    yield IsolatedStudent(task, "check", 1, session)
    session.close()


def test_values_and_keywords(student):
    x = student.randn(2, 3)
    assert torch.equal(student.double(x), x * 2)
    got = student.many(x, n=3, key="q")
    assert torch.equal(got["q"][2], x)
    assert got["t"] == (1, True, "s")
    assert student.arrays(x).dtype.name == "float64"
    assert torch.equal(student.note(types.SimpleNamespace(sigma=x, alpha=2.0)), x / 2)
    assert student.prints(torch.zeros(1)).item() == 1
    big = torch.ones(300, 300)
    assert torch.equal(student.threads(big), big @ big)


def test_callables_are_called_here_and_counted(student):
    model = checks_module.Counted(lambda x, t: x + t)
    assert torch.equal(student.late(model, torch.zeros(2)), torch.full((2,), 10.0))
    assert model.count == 5
    assert [t for _, t in model.calls] == [0, 1, 2, 3, 4]
    assert student.twice(lambda x: x * 3, torch.ones(1)).item() == 9


def test_a_callable_that_fails_is_the_students_to_catch(student):
    def picky(x):
        raise ValueError("the model wants two arguments")

    assert "the model wants two arguments" in student.catches(picky, torch.ones(1))
    with pytest.raises(StudentRaised, match="two arguments"):
        student.twice(picky, torch.ones(1))


def test_a_verdict_inside_a_callable_ends_the_check(student):
    model = checks_module.Counted(lambda x: x, limit=1)
    with pytest.raises(CheckFailed, match="more than 1 times"):
        student.twice(model, torch.ones(1))
    assert student.double(torch.ones(1)).item() == 2          # in a new worker


def test_a_callable_cannot_be_made_to_take_the_graders_memory(student):
    """A sum of two small tensors with 6 GB, were it allowed; and arguments that are too large to begin with."""
    assert "memory" in student.explodes(lambda x, t: x + t)
    with pytest.raises(CheckFailed, match="too much work") as caught:
        student.floods(lambda x, t: x + t)
    assert caught.value.cause == "timeout"


def test_the_graders_limit_is_given_back(checks):
    import resource

    from course.grading.grade import MEMORY, Grader

    before = resource.getrlimit(resource.RLIMIT_AS)
    with Grader(seed=1, checks=checks):
        assert 0 < resource.getrlimit(resource.RLIMIT_AS)[0] < MEMORY + (64 << 30)
    assert resource.getrlimit(resource.RLIMIT_AS) in (before, (before[1], before[1]))


def test_generators_and_gradients(student):
    seeded = torch.Generator().manual_seed(5)
    assert torch.equal(student.draws(torch.Generator().manual_seed(5), 4), torch.randn(4, generator=seeded))
    value, gradient = student.gradient("square", torch.tensor([1.0, 3.0]))
    assert value.tolist() == [1, 9]
    assert gradient.tolist() == [2, 6]
    assert student.gradient("cut", torch.tensor([1.0, 3.0]))[1] is None


def test_what_went_wrong_is_said_with_the_line(student):
    with pytest.raises(StudentRaised, match=r"bad raised ValueError: x is negative, line \d+: `def bad\(\): raise") as caught:
        student.bad()
    assert caught.value.names[0] == "ValueError"
    checks_module.expect_raises(student.bad, error="ValueError")
    with pytest.raises(NotAttempted, match="no function nothing"):
        student.nothing()


def test_the_layer_uses_global_random_numbers_and_that_is_said(student):
    with pytest.raises(CheckFailed, match="global random generator"):
        student.network(torch.ones(1, 3))


def test_honest_work_is_quick(grader):
    submission = Submission("s", {"ch03_forward.py": HONEST.encode()})
    grader.grade(submission)
    best = min(_timed(lambda: grader.grade(submission)) for _ in range(5))
    python = _timed(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True))
    assert best < python / 3, "a submission costs a fork, not a Python with torch"


def _timed(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_the_same_seed_gives_the_same_report_and_another_one_other_inputs(grader, monkeypatch):
    wrong = Submission("s", {"ch03_forward.py": HONEST.replace("1 - betas", "betas").encode()})
    feedback, seeds = [], []
    for seed in (1, 1, 2, None, None):
        monkeypatch.setattr(grader, "seed", seed)
        report = grader.grade(wrong)
        seeds.append(report["seed"])
        feedback.append({t["id"]: t["feedback"] for t in report["tasks"]}["ch03.alphas_cumprod"])
    assert feedback[0] == feedback[1]
    assert len(set(feedback)) == len(set(seeds)) == 4
    assert seeds[:3] == [1, 1, 2]


def test_written_answers_are_judged_elsewhere(grader):
    def verdict(answer):
        text = f"```latex ch01.sum\n{answer}\n```\n"
        task = grader.grade(Submission("s", {"ch01_words.md": text.encode()}))["tasks"][0]
        return task["status"], task["cause"]

    assert verdict("4") == ("passed", None)
    assert verdict("5") == ("failed", "wrong_value")
    assert verdict("") == ("not_attempted", None)
    assert verdict("forever") == ("failed", "timeout")
    assert verdict("huge") == ("failed", "memory")
    assert verdict("deep") == ("failed", "unreadable")
    assert verdict("4\n```\n```latex ch01.sum\n4") == ("failed", "unreadable")
    assert verdict("4") == ("passed", None)
