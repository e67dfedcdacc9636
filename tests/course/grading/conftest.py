"""The folder `checks` is data for these tests: the grader runs what is in it, pytest does not."""

import sys
from pathlib import Path

import pytest

from course.grading.plugin import pytest_configure  # noqa: F401  (the marker `task`)

collect_ignore_glob = ["checks/*"]
HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))          # for hostile_submissions.py, a table
CHECKS = HERE / "checks"

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")


@pytest.fixture
def checks() -> Path:
    return CHECKS


@pytest.fixture(scope="module")
def grader():
    """A grader over the two tasks of `checks`, with its sandbox tried."""
    from course.grading.bulk import Options, open_grader
    from course.grading.sandbox import WeakIsolation

    try:
        grader = open_grader(Options(seed=1, checks=str(CHECKS)))
    except WeakIsolation as error:          # a sandbox that fails its own test is a failure here, too
        pytest.skip(f"this machine cannot confine student code: {error}")
    with grader:
        yield grader
