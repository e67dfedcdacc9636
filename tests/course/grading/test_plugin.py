"""The student's pytest: stubs are skipped, feedback has no traceback, and the time is that of importing torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_submissions import HONEST

from course.grading.run import check_folder

ROOT = Path(__file__).resolve().parents[3]
STUB = '''def alphas_cumprod(betas):
    raise NotImplementedError

def add_noise(x0, noise, alpha_bar_t):
    x0 *= 2
    return x0
'''


@pytest.fixture
def run(tmp_path, checks):
    """pytest on a copy of the checks, with the plugin switched on as tests/exercises does."""
    (tmp_path / "t").mkdir()
    for path in checks.glob("*03*"):
        (tmp_path / "t" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "t" / "conftest.py").write_bytes((ROOT / "tests" / "exercises" / "conftest.py").read_bytes())

    def go(source, *arguments, **environment):
        (tmp_path / "s").mkdir(exist_ok=True)
        if source is not None:
            (tmp_path / "s" / "ch03_forward.py").write_text(source)
        return subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--strict-markers",
                               str(tmp_path / "t" / "test_ch03_forward.py"), *arguments], capture_output=True, text=True,
                              env={**os.environ, **environment}, check=False, cwd=tmp_path, timeout=120).stdout

    return lambda source, *arguments: go(source, "--student", str(tmp_path / "s"), *arguments)


def test_stubs_are_not_attempted_and_mistakes_are_explained(run):
    said = run(STUB)
    assert "2 failed, 2 skipped" in said
    assert "not attempted: alphas_cumprod in ch03_forward.py is still the stub" in said
    assert "ch03.add_noise: mutated input" in said
    assert "changed one of its arguments in place" in said
    assert "Traceback" not in said
    assert "expect_close" not in said          # no source of the check


def test_right_answers_pass(run):
    assert "4 passed" in run(HONEST, "--course-seed", "8")


def test_no_file_is_not_attempted(run):
    assert "4 skipped" in run(None)


def test_a_file_that_cannot_be_imported_says_where(run):
    said = run("def f(:\n")
    assert "import error" in said
    assert "SyntaxError" in said
    assert "line 1" in said


# the rest without a pytest of its own for each

def verdict(tmp_path, checks, source):
    (tmp_path / "ch03_forward.py").write_text(source)
    return check_folder(tmp_path, ["ch03.alphas_cumprod"], checks=checks)["ch03.alphas_cumprod"]


def test_an_exception_says_where(tmp_path, checks):
    result = verdict(tmp_path, checks, HONEST.replace("return torch.cumprod(1 - betas, 0)", "return betas.nothing"))
    assert result.cause == "exception"
    assert "alphas_cumprod raised AttributeError" in result.feedback
    assert "`return betas.nothing`" in result.feedback


@pytest.mark.parametrize("function", ["torch.rand(1)", "torch.manual_seed(1)"])
def test_global_random_numbers_are_seen(tmp_path, checks, function):
    result = verdict(tmp_path, checks, HONEST.replace("return torch.cumprod", f"{function}\n    return torch.cumprod"))
    assert result.cause == "forbidden"
    assert "global random generator" in result.feedback


def test_a_file_is_read_anew_when_it_changes(tmp_path, checks):
    assert verdict(tmp_path, checks, STUB).status == "not_attempted"
    assert verdict(tmp_path, checks, HONEST).status == "passed"
    assert verdict(tmp_path, checks, "alphas_cumprod = 3").cause == "wrong_type"
