"""Run the checks of tasks without pytest: what `course grade`, `course check` and the tests of the graders share."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import itertools
import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from course.grading.errors import CheckFailed, NotAttempted
from course.grading.manifest import CHECKS, EXERCISES, Task, load_tasks
from course.grading.values import plain


@dataclass(frozen=True)
class Check:
    """One check of a task: a test function, with the values of its parametrisation if it has one."""

    task: str
    name: str
    function: Callable[..., None]
    arguments: tuple[tuple[str, Any], ...] = ()
    hidden: bool = False

    def __call__(self, student: Any) -> None:
        self.function(student=student, **dict(self.arguments))


@dataclass(frozen=True)
class Result:
    """The verdict on one task. `status` is passed, failed or not_attempted; `cause` is None unless failed."""

    id: str
    score: float
    max_score: float
    status: str
    cause: str | None
    feedback: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


HIDDEN = "the public checks pass, and a check that is not shown does not: think of other shapes, sizes and edge cases"


@functools.cache
def load_checks(folder: Path | str = CHECKS) -> dict[str, list[Check]]:
    """The checks of every `test_ch*.py` in `folder`, by task. The files are imported once; they are trusted.

    Checks in the folder `hidden/` below it come after the public ones, and say nothing but that they were not met.
    """
    found: dict[str, list[Check]] = {}
    for path in [*sorted(Path(folder).glob("test_ch*.py")), *sorted(Path(folder).glob("hidden/test_ch*.py"))]:
        name = f"course_checks_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        for function_name, function in vars(module).items():
            if not function_name.startswith("test") or not inspect.isfunction(function):
                continue
            marks = [*getattr(function, "pytestmark", []), *_module_marks(module)]
            tasks = [mark.args[0] for mark in marks if mark.name == "task"]
            if not tasks:
                raise ValueError(f"{path.name}: {function_name} has no @task(...)")
            for arguments in _parametrisations(marks):
                given = {key for key, _ in arguments} | {"student"}
                if set(inspect.signature(function).parameters) != given:
                    raise ValueError(f"{path.name}: {function_name} may take the fixture `student` and parameters only")
                label = "-".join(plain(value, 30) for _, value in arguments)
                found.setdefault(tasks[0], []).append(
                    Check(tasks[0], function_name + (f"[{label}]" if label else ""), function, arguments,
                          path.parent.name == "hidden"))
    return found


def checks_digest(folder: Path | str = CHECKS) -> str:
    """A short name for this very set of checks and manifests."""
    digest = hashlib.sha256()
    for path in sorted([*Path(folder).rglob("*.py"), *Path(folder).rglob("ch*.toml")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _module_marks(module: Any) -> list[Any]:
    marks = getattr(module, "pytestmark", [])
    return marks if isinstance(marks, list) else [marks]


def _parametrisations(marks: Iterable[Any]) -> list[tuple[tuple[str, Any], ...]]:
    """All combinations of the values that `pytest.mark.parametrize` marks give, as (name, value) pairs."""
    axes = []
    for mark in marks:
        if mark.name == "parametrize":
            names, values = mark.args[:2]
            names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
            rows = []
            for value in values:
                value = getattr(value, "values", value) if hasattr(value, "marks") else value      # pytest.param
                row = (value,) if len(names) == 1 and not hasattr(value, "marks") and not (
                    isinstance(value, tuple) and len(value) == 1) else tuple(value)
                rows.append(tuple(zip(names, row, strict=True)))
            axes.append(rows)
    return [tuple(itertools.chain(*combination)) for combination in itertools.product(*axes)]


def run_task(task: Task, checks: Iterable[Check], student_for: Callable[[Task, str], Any]) -> Result:
    """Run the checks of one task in order until one fails. `student_for(task, check name)` makes the student they see."""
    checks = list(checks)

    def result(status: str, cause: str | None, feedback: str) -> Result:
        return Result(task.id, float(task.points) if status == "passed" else 0.0, float(task.points), status, cause, feedback)

    if not checks:
        return result("failed", "grader_error", f"there is no check for {task.id}; please report this")
    for check in checks:
        student = None
        try:
            student = student_for(task, check.name)
            check(student)
        except NotAttempted as stub:
            return result("not_attempted", None, str(stub))
        except CheckFailed as failed:
            return result("failed", failed.cause, HIDDEN if check.hidden else str(failed))
        except AssertionError as failed:
            if check.hidden:
                return result("failed", "wrong_value", HIDDEN)
            return result("failed", "wrong_value", plain(failed) or f"the check {check.name} was not met")
        except RecursionError:
            return result("failed", "unreadable", "this is nested too deeply to be read; write it more simply")
        except MemoryError:
            return result("failed", "memory", "checking this needs more memory than there is for it")
        except Exception as error:
            if returned := getattr(student, "_returned", ""):          # right values come through every check: this one did not
                return result("failed", "wrong_type", HIDDEN if check.hidden else f"{returned}, which cannot be used "
                              f"({type(error).__name__}: {plain(error, 200)})")
            frames = traceback.extract_tb(error.__traceback__)
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
            what = f"the check {check.name} could not be completed ({type(error).__name__} at {where})"
            if check.hidden:          # for the instructor only: neither its name nor its place is the student's
                logging.getLogger(__name__).warning("%s: hidden %s", task.id, what)
                what = "a check that is not shown could not be completed"
            return result("failed", "grader_error", f"{what}; please report this")
    return result("passed", None, f"{len(checks)} of {len(checks)} checks passed")


def check_folder(folder: Path | str = EXERCISES, tasks: Iterable[str] | None = None, seed: int = 0,
                 checks: Path | str = CHECKS) -> dict[str, Result]:
    """Run the checks on the student's files in `folder`, in this process: for one's own code only.

    `tasks` chooses task ids (default: all). Nothing confines the code that runs; `course grade` is for the files of others.
    """
    from course.grading.student import DirectStudent

    known, found = load_tasks(checks), load_checks(checks)
    return {name: run_task(known[name], found.get(name, []), lambda task, check: DirectStudent(task, check, seed, folder))
            for name in (known if tasks is None else tasks)}
