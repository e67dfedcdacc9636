"""What one submission may cost: time, memory of the grader, and its patience with functions that are passed in."""

import sys

import pytest
import torch
from hostile_submissions import HONEST

from course.grading import grade
from course.grading.bulk import Options, open_grader
from course.grading.sandbox import isolation
from course.grading.submission import Submission

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
LOOP = "def alphas_cumprod(betas):\n    while True: pass\n" + HONEST[HONEST.index("def add_noise"):]


def tasks(grader, source, file="ch03_forward.py"):
    return {t["id"]: t for t in grader.grade(Submission("s", {file: source.encode()}))["tasks"]}


def test_a_submission_has_a_budget_and_what_is_right_still_counts(grader, monkeypatch):
    monkeypatch.setattr(grade, "BUDGET", 0.1)
    monkeypatch.setattr(grade, "AFTER", 0.3)
    source = "import torch\ndef add_noise(x0, noise, alpha_bar_t):\n    while True: pass\n" + HONEST[HONEST.index("def alphas_cumprod"):].split("\ndef ")[0] + "\n"
    found = tasks(grader, source)
    assert (found["ch03.add_noise"]["status"], found["ch03.add_noise"]["cause"]) == ("failed", "timeout")
    assert "a whole submission are used up" in found["ch03.add_noise"]["feedback"]
    assert found["ch03.alphas_cumprod"]["status"] == "passed", found


@pytest.fixture
def calls(tmp_path):
    """A grader with one task whose check passes a function in, and a list of what that function was given."""
    (tmp_path / "ch03_forward.toml").write_text('[[task]]\nid = "ch03.use"\ntitle = "Use"\npoints = 1\ntimeout = 1\n')
    (tmp_path / "test_ch03_forward.py").write_text(
        "import torch\nfrom course.grading import task\nCALLS = []\n\n\ndef model(x, level, c=None):\n"
        "    CALLS.append(tuple(x.shape))\n    return x * level + (0 if c is None else c)\n\n\n"
        '@task("ch03.use")\ndef test_use(student):\n    CALLS.clear()\n    assert student.use(model, torch.ones(2)) is None, "x"\n')
    with open_grader(Options(seed=1, checks=str(tmp_path))) as grader:
        yield grader, sys.modules[next(name for name in sys.modules if name.startswith("course_checks_") and
                                       getattr(sys.modules[name], "__file__", "") == str(tmp_path / "test_ch03_forward.py"))].CALLS


@pytest.mark.parametrize("call", ["f(torch.zeros(1, 1, 1000, 999), 0.5, torch.zeros(800, 1, 1))", "f(torch.zeros(4000, 1), 0.5, c=torch.zeros(4000))"])
def test_shapes_that_explode_are_not_computed(calls, call):
    grader, seen = calls
    found = tasks(grader, f"import torch\ndef use(f, x):\n    while True:\n        try: {call}\n        except RuntimeError: pass\n")["ch03.use"]
    assert (found["cause"], seen) == ("timeout", [])
    found = tasks(grader, f"import torch\ndef use(f, x):\n    {call}\n")["ch03.use"]
    assert "numbers together" in found["feedback"]


def test_a_loop_around_a_function_that_fails_ends(calls):
    grader, seen = calls
    found = tasks(grader, "import torch\ndef use(f, x):\n    while True:\n        try: f(torch.zeros(3), 1.0, torch.zeros(2))\n        except RuntimeError: pass\n")["ch03.use"]
    assert found["cause"] == "timeout"
    assert len(seen) <= 2 * grade.CALLBACK_ERRORS + 3


def test_the_size_of_what_can_be_broadcast():
    a, b = torch.zeros(1, 1, 1000, 999), torch.zeros(800, 1, 1)
    assert grade._numbers([a, 0.5, b]) == 800 * 1000 * 999
    assert grade._numbers([torch.zeros(3, 1), torch.zeros(4)]) == 12
    assert grade._numbers([]) == grade._numbers([1, "x", None]) == 1
    assert grade._numbers([torch.zeros(()), torch.zeros(0, 5)]) == 0


def test_with_little_memory_the_judge_and_the_workers_take_turns(checks):
    with open_grader(Options(seed=1, checks=str(checks)), isolation()) as grader:
        grader.small = True
        running = []
        report = grader.grade(Submission("s", {"ch03_forward.py": HONEST.encode(), "ch01_words.md": b"```text ch01.sum\n4\n```\n"}),
                              lambda _: running.append((grader.judging._process is not None, grader.zygote._process is not None)))
        assert report["score"] == 6
        assert (True, True) not in running
        assert {(True, False), (False, True)} <= set(running)


def test_what_prints_too_much_and_what_is_no_python_is_said(grader):
    source = HONEST.replace("def alphas_cumprod(betas):", "def alphas_cumprod(betas):\n    for i in range(10**6): print('x' * 100)")
    assert "printed more than" in tasks(grader, source)["ch03.alphas_cumprod"]["feedback"]
    assert "this is Python 3." in tasks(grader, "def f(:\n")["ch03.alphas_cumprod"]["feedback"]
