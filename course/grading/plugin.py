"""The pytest side: the fixture `student`, stubs reported as "not attempted", and feedback without tracebacks.

`tests/exercises/conftest.py` imports these names. `pytest tests/exercises --student DIR` (or COURSE_STUDENT=DIR) takes the
student's files from DIR instead of `exercises/`; `--course-seed N` draws other random inputs.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from course.grading.errors import CheckFailed, NotAttempted
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, Any, Any]:
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, CheckFailed):
        marker = item.get_closest_marker("task")
        name = marker.args[0] if marker else item.name
        report.longrepr = f"{name}: {call.excinfo.value.cause.replace('_', ' ')}\n    {call.excinfo.value}"
    return report
