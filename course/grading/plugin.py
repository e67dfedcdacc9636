"""The pytest side: the fixture `student`, stubs reported as "not attempted", and feedback without tracebacks.

`tests/exercises/conftest.py` imports these names. `pytest tests/exercises --student DIR` (or COURSE_STUDENT=DIR) takes the
student's files from DIR instead of `exercises/`; `--course-seed N` draws other random inputs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from course.grading.apart import CAN_FORK, Lost, apart, no_writing
from course.grading.confine import limit_memory
from course.grading.errors import CheckFailed, NotAttempted, StudentRaised
from course.grading.manifest import EXERCISES, Task, load_tasks

_tasks: dict[Path, dict[str, Task]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("course")
    group.addoption("--student", metavar="DIR", default=None, help="the student's files (default: exercises/)")
    group.addoption("--course-seed", metavar="N", type=int, default=0, help="draw other random inputs")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "task(id, share): the task of the manifest that a check belongs to")


@pytest.fixture
def student(request: pytest.FixtureRequest) -> Any:
    """The student of the task this check is marked with; calls run in this process, so breakpoints work."""
    from course.grading.student import DirectStudent

    marker = request.node.get_closest_marker("task")
    if marker is None:
        raise pytest.UsageError(f"{request.node.nodeid} uses `student` without @task(...)")
    folder = request.path.parent
    if folder not in _tasks:
        _tasks[folder] = load_tasks(folder)
    task = _tasks[folder].get(marker.args[0])
    if task is None:
        raise pytest.UsageError(f"{request.node.nodeid}: no manifest in {folder} has the task {marker.args[0]!r}")
    where = request.config.getoption("--student", None) or os.environ.get("COURSE_STUDENT") or EXERCISES
    return DirectStudent(task, request.node.name, request.config.getoption("--course-seed", 0), where)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    except NotAttempted as stub:
        pytest.skip(f"not attempted: {stub}")
    except StudentRaised as raised:
        if item.config.getoption("usepdb", False) and raised.__cause__ is not None:
            raise raised.__cause__ from None          # so that the debugger stops where the student's function went wrong
        raise


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a check that calls a student's function in a process of its own, unless a debugger wants to stop in it."""
    student: Any = pyfuncitem.funcargs.get("student")
    if student is None or not CAN_FORK or _debugged(pyfuncitem):
        return None

    def work() -> list[Any]:
        try:
            if (student._folder / f"{student._task.chapter}.py").exists():
                limit_memory(student._task.memory << 20)
                no_writing()
            pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames})
            return ["passed"]
        except NotAttempted as stub:
            return ["stub", str(stub)]
        except CheckFailed as failed:
            return ["failed", failed.cause, str(failed), failed.earned]

    torch.set_num_threads(1)
    try:
        answer = apart(work, student._task.timeout + 3, capture=False)[0]
    except Lost as lost:
        raise CheckFailed(lost.cause, str(lost)) from None
    if answer[0] == "stub":
        raise NotAttempted(answer[1])
    if answer[0] == "failed":
        raise CheckFailed(*answer[1:])
    return True


def _debugged(item: pytest.Function) -> bool:
    """Whether somebody may want to stop inside: --pdb, --trace, or breakpoint() in a file and a terminal to type in."""
    if item.config.getoption("usepdb", False) or item.config.getoption("trace", False):
        return True
    student: Any = item.funcargs["student"]
    path = student._folder / f"{student._task.chapter}.py"
    return bool(sys.__stdin__ and sys.__stdin__.isatty() and path.exists() and b"breakpoint()" in path.read_bytes())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, Any, Any]:
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, CheckFailed):
        marker = item.get_closest_marker("task")
        name = marker.args[0] if marker else item.name
        report.longrepr = f"{name}: {call.excinfo.value.cause.replace('_', ' ')}\n    {call.excinfo.value}"
    return report
