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
from collections.abc import Callable, Iterable, Sequence
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
    share: float = 1.0

    def __call__(self, student: Any) -> None:
        self.function(student=student, **dict(self.arguments))


@dataclass(frozen=True)
class Result:
    """The verdict on one task. `status` is passed, failed or not_attempted; `cause` is None unless failed.

    A task that failed may have earned a part of its points. `mistake` is the known mistake its feedback names, or None.
    An `extra` task is not counted in what can be reached.
    """

    id: str
    score: float
    max_score: float
    status: str
    cause: str | None
    feedback: str
    mistake: str | None = None
    extra: bool = False

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
            tasks = [mark for mark in marks if mark.name == "task"]
            if not tasks:
                raise ValueError(f"{path.name}: {function_name} has no @task(...)")
            for arguments in _parametrisations(marks):
                given = {key for key, _ in arguments} | {"student"}
                if set(inspect.signature(function).parameters) != given:
                    raise ValueError(f"{path.name}: {function_name} may take the fixture `student` and parameters only")
                label = "-".join(plain(value, 30) for _, value in arguments)
                name = tasks[0].args[0]
                found.setdefault(name, []).append(
                    Check(name, function_name + (f"[{label}]" if label else ""), function, arguments,
                          path.parent.name == "hidden", tasks[0].kwargs.get("share", 1.0)))
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


def shares(checks: Sequence[Check]) -> list[float]:
    """The share of a task's points for each of its checks: half for the first, the rest as they say; they sum to 1."""
    others = sum(check.share for check in checks[1:])
    return [1 - CORE * (others > 0), *(CORE * check.share / others if others else 0.0 for check in checks[1:])]


CORE = 0.5          # of the points go to the checks after the first
FINAL = ("timeout", "memory", "crashed", "forbidden", "import_error", "unreadable", "grader_error")          # no use in going on


def run_task(task: Task, checks: Iterable[Check], student_for: Callable[[Task, str], Any]) -> Result:
    """Run the checks of one task. `student_for(task, check name)` makes the student they see.

    The verdict and the feedback are those of the first check that is not met; the ones after it are still run for their
    share of the points, unless it was the first, or the code could not be run.
    """
    checks = list(checks)
    if not checks:
        return Result(task.id, 0.0, float(task.points), "failed", "grader_error",
                      f"there is no check for {task.id}; please report this", extra=task.extra)
    earned, met, first = 0.0, 0, None
    for check, share in zip(checks, shares(checks), strict=True):
        try:
            failed = _unmet(check, student_for, task)
        except NotAttempted as stub:
            if first is None:
                return Result(task.id, 0.0, float(task.points), "not_attempted", None, str(stub), extra=task.extra)
            failed = CheckFailed("exception", str(stub))
        met += failed is None
        earned += share * (1.0 if failed is None else failed.earned)
        first = first or failed
        if failed is not None and (failed.cause in FINAL or check is checks[0]):
            break
    score = float(task.points) if first is None else 0.0 if first.cause == "grader_error" else round(task.points * earned, 2)
    if first is None:
        return Result(task.id, score, float(task.points), "passed", None, f"{met} of {len(checks)} checks passed", extra=task.extra)
    return Result(task.id, score, float(task.points), "failed", first.cause, str(first), first.mistake, task.extra)


def _unmet(check: Check, student_for: Callable[[Task, str], Any], task: Task) -> CheckFailed | None:
    """What is not met in one check, in words for the student; None if it is met. Raises NotAttempted for a stub."""
    student = None
    try:
        student = student_for(task, check.name)
        check(student)
    except NotAttempted:
        raise
    except CheckFailed as failed:
        return CheckFailed(failed.cause, HIDDEN, failed.earned) if check.hidden else failed
    except AssertionError as failed:
        return CheckFailed("wrong_value", HIDDEN if check.hidden else plain(failed) or f"the check {check.name} was not met")
    except RecursionError:
        return CheckFailed("unreadable", "this is nested too deeply to be read; write it more simply")
    except MemoryError:
        return CheckFailed("memory", "checking this needs more memory than there is for it")
    except Exception as error:
        if returned := getattr(student, "_returned", ""):          # right values come through every check: this one did not
            return CheckFailed("wrong_type", HIDDEN if check.hidden else f"{returned}, which cannot be used "
                               f"({type(error).__name__}: {plain(error, 200)})")
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        what = f"the check {check.name} could not be completed ({type(error).__name__} at {where})"
        if check.hidden:          # for the instructor only: neither its name nor its place is the student's
            logging.getLogger(__name__).warning("%s: hidden %s", task.id, what)
            what = "a check that is not shown could not be completed"
        return CheckFailed("grader_error", f"{what}; please report this")
    return None


def check_folder(folder: Path | str = EXERCISES, tasks: Iterable[str] | None = None, seed: int = 0,
                 checks: Path | str = CHECKS) -> dict[str, Result]:
    """Run the checks on the student's files in `folder`, in this process: for one's own code only.

    `tasks` chooses task ids (default: all). Nothing confines the code that runs; `course grade` is for the files of others.
    """
    from course.grading.student import DirectStudent

    known, found = load_tasks(checks), load_checks(checks)
    return {name: run_task(known[name], found.get(name, []), lambda task, check: DirectStudent(task, check, seed, folder))
            for name in (known if tasks is None else tasks)}
