"""Grade submissions: the checks run here, in the grader; only the student's functions run in a confined worker.

    with Grader(seed=7) as grader:
        report = grader.grade(read_submission("handed-in/alice"))

A report is plain data, the native JSON format (`version` 1): score, max_score, one verdict per task, what confined the
code, the seed of the random inputs, the versions. course/grading/writers.py turns it into every other format.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import course
from course.grading import rules
from course.grading.confine import limit_memory
from course.grading.errors import CheckFailed, NotAttempted
from course.grading.judging import Judging, WrittenAnswer
from course.grading.manifest import CHECKS, Task, load_tasks
from course.grading.run import Result, checks_digest, load_checks, run_task
from course.grading.sandbox import Isolation, Worker, WorkerLost, Zygote, isolation
from course.grading.student import PASSED_MESSAGE, Student, not_imported, raise_as_said
from course.grading.submission import Submission
from course.grading.values import NotData, decode, encode, plain

SHARED_SECONDS = 0.5          # patience in a worker that has run another task of the same student before
CALLBACK_BYTES = 256 << 20    # what a student's code may send to the functions passed in, per task
CALLBACK_ONCE = 4 << 20       # and in one call
CALLBACK_NUMBERS = 4 << 20    # of the tensor that its arguments could be broadcast to
CALLBACK_ERRORS = 20          # calls of passed-in functions that may fail, per task: a loop around one that fails ends
MEMORY = 2 << 30              # bytes of address space that grading may take, whatever values it is sent
BUDGET = 120.0                # seconds of waiting for one submission's code; an honest one takes a few
AFTER = 1.0                   # and for each task when that is used up, so that what is right still counts
WRITTEN_BUDGET = 300.0        # the same for written answers
WRITTEN_AFTER = 20.0
SMALL = 2 << 30               # with less memory than this the judging process and the workers take turns


class Session:
    """One submission's worker. It is kept while tasks pass in it and replaced after a failure; `fresh` says it is new."""

    def __init__(self, zygote: Zygote, submission: Submission, make_room: Callable[[], None] = lambda: None) -> None:
        self._zygote, self.submission, self._make_room = zygote, submission, make_room
        self._worker: Worker | None = None
        self._memory = 0
        self._loaded: set[str] = set()
        self._broken: dict[str, CheckFailed] = {}          # files that cannot be imported, not even in a new worker
        self.fresh = True
        self.used = False
        self._budget = BUDGET
        self.written_budget = WRITTEN_BUDGET

    def begin(self, task: Task, fresh: bool = False) -> None:
        """The next task. In a worker that has run another task it gets a moment only; a new one is then made for it."""
        if fresh or self._memory != task.memory or (self._worker is not None and not self._worker.alive):
            self.close()
        self.fresh, self.used = self._worker is None, False
        self._memory = task.memory
        self._left = self._limit = min(task.timeout if self.fresh else min(task.timeout, SHARED_SECONDS), max(self._budget, AFTER))
        self._callback_bytes, self._callback_seconds, self._callback_errors = CALLBACK_BYTES, 2 * task.timeout, CALLBACK_ERRORS

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            self._loaded.clear()

    def _ask(self, header: dict, buffers: list[bytes], callback: Any = None) -> tuple[dict, bytes]:
        if self._worker is None:
            self._make_room()
            self._worker = self._zygote.spawn(self._memory)
        began, waited = time.monotonic(), self._callback_seconds
        try:
            return self._worker.ask(header, buffers, self._left, callback)
        finally:
            took = time.monotonic() - began
            self._left -= took - (waited - self._callback_seconds)
            self._budget -= took

    def _load(self, file: str) -> None:
        if file in self._broken:
            raise self._broken[file]
        try:
            sources = {} if self._loaded else {n: s for n, s in self.submission.files.items() if n.endswith(".py")}
            header = {"op": "load", "file": file, "files": [[name, len(source)] for name, source in sources.items()]}
            reply, _ = self._run(f"importing {file}", header, list(sources.values()), None)
            if "error" in reply:
                raise not_imported(_claims(reply["error"]), file)
        except CheckFailed as failed:
            if self.fresh:
                self._broken[file] = failed          # do not hang or crash once more for every task of this file
            raise
        self._loaded.add(file)

    def call(self, file: str, name: str, args: tuple, kwargs: dict, wrt: int | None, seed: int | None = None) -> Any:
        """The value that the function `name` of `file` returns. Raises NotAttempted or CheckFailed."""
        self.used = True
        if file not in self._loaded:
            self._load(file)
        callables: list[Callable] = []
        tree, buffers = encode([list(args), kwargs], callables)
        request: dict[str, Any] = {"op": "call", "file": file, "name": name, "tree": tree}
        if wrt is not None:
            request["wrt"] = wrt
        if seed is not None:
            request["seed"] = seed
        reply, data = self._run(name, request, buffers, callables)
        if "error" in reply:
            raise_as_said(_claims(reply["error"]), file, name)
        try:
            value = decode(reply.get("tree"), data)
        except (NotData, ValueError, RuntimeError, TypeError, RecursionError) as error:
            self.close()
            raise CheckFailed("crashed", f"{name}: the process that ran the code broke its connection to the grader"
                              ) from error
        if reply.get("rng") and seed is None:
            raise CheckFailed("forbidden", rules.RNG_MESSAGE.format(name=name))
        if reply.get("mutated"):
            raise CheckFailed("mutated_input", rules.changed_message(name, plain(reply["mutated"], 20)))
        if wrt is not None:
            if type(value) is not list or len(value) != 2:
                raise CheckFailed("crashed", f"{name}: no value and gradient came back")
            return tuple(value)
        return value

    def _run(self, name: str, header: dict, buffers: list[bytes], callables: list[Callable] | None) -> tuple[dict, bytes]:
        def callback(index: Any, tree: Any, data: bytes) -> tuple[dict, list[bytes]]:
            self._callback_bytes -= len(data)
            if self._callback_bytes < 0 or self._callback_seconds < 0 or len(data) > CALLBACK_ONCE or self._callback_errors < 0:
                raise CheckFailed("timeout", f"{name} gave too much work to a function that was passed in")
            began = time.monotonic()
            try:
                if callables is None or type(index) is not int or not 0 <= index < len(callables):
                    raise NotData("no such callable")
                value = decode(tree, data)
                if type(value) is not list or len(value) != 2 or type(value[0]) is not list or type(value[1]) is not dict:
                    raise NotData("no arguments")
                if _numbers([*value[0], *value[1].values()]) > CALLBACK_NUMBERS:
                    raise MemoryError(f"out of memory: tensors of these shapes make one of more than {CALLBACK_NUMBERS} numbers together")
                answer = callables[index](*value[0], **{str(k): v for k, v in value[1].items()})
                more: list[Callable] = []
                tree, buffers = encode(answer, more)
                return {"tree": tree}, buffers
            except CheckFailed:
                raise
            except Exception as error:
                self._callback_errors -= 1
                return {"error": PASSED_MESSAGE.format(kind=type(error).__name__, said=plain(error, 300))}, []
            finally:
                self._callback_seconds -= time.monotonic() - began

        try:
            return self._ask(header, buffers, callback)
        except WorkerLost as lost:
            self.close()
            if lost.cause == "timeout":
                limit = (f"{self._limit:g} seconds for all calls of a task" if self._budget > 0 else
                         f"the {BUDGET:g} seconds for a whole submission are used up, by tasks before this one")
                raise CheckFailed("timeout", f"{name} was stopped: {lost} ({limit})") from None
            raise CheckFailed(lost.cause, f"{name}: {lost}") from None
        except CheckFailed:
            self.close()          # in the middle of a call: of no further use
            raise


def _numbers(values: list[Any]) -> int:
    """How many numbers the largest tensor has that broadcasting the tensors among `values` with each other can make."""
    sizes: list[int] = []          # from the last axis on
    for value in values:
        if isinstance(value, torch.Tensor):
            for axis, size in enumerate(reversed(value.shape)):
                sizes[axis:axis + 1] = [max(size, *sizes[axis:axis + 1])] if axis < len(sizes) else [size]
    return math.prod(sizes)


def _small_memory() -> bool:
    """Whether this machine or container has little memory: 768 MB are what Gradescope gives unless asked for more."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):          # "max": no limit
            continue
    return bool(limits) and min(limits) < SMALL


def _claims(error: Any) -> dict[str, Any]:
    """What a worker says about an exception, brought into the expected form whatever it sent."""
    error = error if isinstance(error, dict) else {}
    names = error.get("names")
    names = [plain(n, 80) for n in names[:12]] if isinstance(names, list) else []
    line = error.get("line")
    return {"kind": plain(error.get("kind", "exception"), 30), "names": names or ["Exception"],
            "text": plain(error.get("text", "")), "line": line if type(line) is int else 0,
            "code": plain(error.get("code", ""), 120)}


class IsolatedStudent(Student):
    """The `student` of a check under `course grade`."""

    def __init__(self, task: Task, check: str, seed: int, session: Session) -> None:
        super().__init__(task, check, seed)
        self._session, self._submission = session, session.submission

    def _text(self, name: str) -> str | None:
        data = self._bytes(name)
        if data is None:
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise CheckFailed("unreadable", f"{name} is not UTF-8 text; save it as UTF-8") from None

    def answer(self, identity: str) -> str:
        if self._bytes(file := f"{self._task.chapter}.md") is None:
            raise NotAttempted(self._submission.lacks(file))
        answer = super().answer(identity)          # a missing or unreadable one needs no judging
        raise WrittenAnswer(self._text(f"{self._task.chapter}.md") if answer else "")

    def _bytes(self, name: str) -> bytes | None:
        if name in self._submission.problems:
            raise CheckFailed("unreadable", f"{name} {self._submission.problems[name]}")
        return self._submission.files.get(name)

    def _call(self, name: str, args: tuple, kwargs: dict, wrt: int | None = None, free: bool = False) -> Any:
        file = f"{self._task.chapter}.py"
        if self._bytes(file) is None:
            raise NotAttempted(self._submission.lacks(file))
        return self._session.call(file, name, args, kwargs, wrt, self.seed if free else None)


class Grader:
    """Grades submissions one after the other, with one zygote. `seed` None draws a new one for every submission."""

    def __init__(self, seed: int | None = None, checks: Path | str = CHECKS, found: Isolation | None = None,
                 tasks: dict[str, Task] | None = None) -> None:
        self.seed = seed
        self.isolation = found or isolation()
        self.tasks = load_tasks(checks) if tasks is None else tasks          # those of an assignment, with its points
        self.checks = load_checks(checks)
        self.zygote = Zygote(self.isolation)
        self.judging = Judging(str(checks))
        self.versions = {"course": course.__version__, "torch": torch.__version__, "python": platform.python_version(),
                         "checks": checks_digest(checks)}
        self.small = _small_memory()
        torch.set_num_threads(1)
        self._limit = limit_memory(MEMORY)

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that student code and written answers are given to."""
        self.zygote.close()
        self.judging.close()
        self._limit()

    def grade(self, submission: Submission, progress: Callable[[dict[str, Any]], None] | None = None,
              kept: dict[str, Any] | None = None) -> dict[str, Any]:
        """The report on one submission. `progress` is given the report so far after every task.

        `kept` is an earlier report of which only the tasks that are still valid are left: these are not run again, and the
        others get the same seed.
        """
        seed = kept["seed"] if kept else self.seed if self.seed is not None else int.from_bytes(os.urandom(6), "big")
        before = {entry["id"]: entry for entry in kept["tasks"]} if kept else {}
        began = time.monotonic()
        entries: list[dict[str, Any]] = []
        session = Session(self.zygote, submission, self.judging.close if self.small else lambda: None)
        try:
            for task in self.tasks.values():
                entries.append(before.get(task.id) or self._task(task, seed, session).as_dict())
                if progress is not None:
                    progress(self._report(submission, entries, seed, began))
        finally:
            session.close()
        return self._report(submission, entries, seed, began)

    def _task(self, task: Task, seed: int, session: Session) -> Result:
        """One verdict. A task that does not pass in a worker that has run others is tried again in a worker of its own,
        also one that looks like a stub there: the code that ran before may have made it one."""
        checks = self.checks.get(task.id, [])

        def attempt(fresh: bool) -> Result:
            session.begin(task, fresh)
            try:
                return run_task(task, checks, lambda t, check: IsolatedStudent(t, check, seed, session))
            except WrittenAnswer as written:
                if self.small:
                    session.close()
                    self.zygote.close()
                began = time.monotonic()
                result = self.judging.judge(task, written.args[0], seed, max(session.written_budget, WRITTEN_AFTER))
                session.written_budget -= time.monotonic() - began
                scale = task.points / result.max_score          # the judging process knows the manifests' points
                return replace(result, score=result.score * scale, max_score=float(task.points))

        result = attempt(fresh=False)
        if result.status != "passed" and session.used and not session.fresh:
            result = attempt(fresh=True)
        if result.status == "failed" and session.used:
            session.close()
        return result

    def _report(self, submission: Submission, entries: Iterable[dict[str, Any]], seed: int, began: float) -> dict[str, Any]:
        tasks = [dict(entry) for entry in entries]
        for task in list(self.tasks.values())[len(tasks):]:
            tasks.append(Result(task.id, 0.0, float(task.points), "failed", "grader_error",
                                "grading ended before this task was reached", extra=task.extra).as_dict())
        for entry in tasks:
            entry["title"] = self.tasks[entry["id"]].title
            entry["feedback"] = plain(entry["feedback"], 2000)
        return {
            "version": 1,
            "submission": {"name": submission.name, "path": submission.path, "sha256": submission.digest,
                           "paths": dict(submission.paths),
                           "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(submission.files.items())}},
            "score": sum(entry["score"] for entry in tasks),
            "max_score": sum(entry["max_score"] for entry in tasks if not entry["extra"]),
            "tasks": tasks,
            "sandbox": self.isolation.report(),
            "seed": seed,
            "versions": dict(self.versions),
            "seconds": round(time.monotonic() - began, 3),
            "notes": list(submission.notes),
        }
