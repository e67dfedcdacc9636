"""The `student` a check talks to, when the student's code runs in this very process (pytest on the student's machine)."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import platform
import types
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import safetensors.torch
import torch

from course.grading import rules
from course.grading.answers import read_answer
from course.grading.apart import in_a_child
from course.grading.errors import CheckFailed, NotAttempted, StudentRaised
from course.grading.manifest import EXERCISES, Task, load_tasks, stub_files, wanted_files
from course.grading.submission import Submission, read_submission
from course.grading.values import Opaque, decode, describe, encode, plain

ENDS = (0.00466, 0.99915)          # alpha_bar of Stable Diffusion v1 at t = 999 and at t = 0


class Student:
    """What a check sees. `student.f(...)` calls the student's function `f`; `student.answer(id)` is a written answer.

    Every call also checks that the arguments come back unchanged and that no global random generator moved.
    Raises NotAttempted for a stub and CheckFailed for everything that goes wrong in the student's code.
    """

    def __init__(self, task: Task, check: str, seed: int) -> None:
        self._task = task
        # a check's numbers depend on the seed and on its name, not on which other checks ran before it
        self.seed = int.from_bytes(hashlib.sha256(f"{seed} {task.id} {check}".encode()).digest()[:7], "big")
        self.generator = torch.Generator().manual_seed(self.seed)
        self._returned = ""          # what the last call gave, in words

    def randn(self, *shape: int) -> torch.Tensor:
        """Fresh standard normal numbers, float32, the same for the same seed and check."""
        return torch.randn(*shape, generator=self.generator)

    def rand(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Fresh uniform numbers in [low, high), float32."""
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def levels(self, count: int) -> torch.Tensor:
        """`count` values of alpha_bar, float32, spread evenly in log(alpha_bar / (1 - alpha_bar)) over the whole range of
        Stable Diffusion; from two on both of its ends are among them. A single one is the noisy end."""
        low, high = (math.log(a / (1 - a)) for a in ENDS)
        values = torch.sigmoid(self.rand(count, low=low, high=high))
        values[:2] = torch.tensor(ENDS)[:count]
        return values[torch.randperm(count, generator=self.generator)]

    def steps(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha_bar_t and alpha_bar_prev, float32 (count,): neighbours in the table of Stable Diffusion at both of its ends,
        the step to the clean image (from three on), and wide jumps anywhere. A single one is the noisiest step."""
        low = torch.logit(self.levels(count))
        now, prev = torch.sigmoid(low), torch.sigmoid(low + self.rand(count, low=0.05, high=4.0))
        fixed = torch.tensor([(0.00466, 0.004716), (0.9983, 0.99915), (0.9, 1.0)])[:count]
        now[:len(fixed)], prev[:len(fixed)] = fixed[:, 0], fixed[:, 1]
        order = torch.randperm(count, generator=self.generator)
        return now[order], prev[order]

    def __getattr__(self, name: str) -> StudentFunction:
        if name.startswith("_"):
            raise AttributeError(name)
        return StudentFunction(self, name)

    def gradient(self, name: str, *args: Any, wrt: int = 0, **kwargs: Any) -> tuple[Any, Any]:
        """(value, gradient): call `name`, add up what it returns, and differentiate with respect to argument `wrt`.

        If that argument is a function, the gradient is taken with respect to its first answer: what reaches a network's
        parameters. It is None if the result does not depend on the argument, or was cut off from it.
        """
        value = self._call(name, args, kwargs, wrt)
        self._returned = f"{name} returned {describe(value[0])}"
        return value

    def once(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call `name` a single time, free to draw from the global random generators, which are seeded for it: for what takes long."""
        value = self._call(name, args, kwargs, free=True)
        self._returned = f"{name} returned {describe(value)}"
        return value

    def answer(self, identity: str) -> str:
        """The student's written answer in the block `identity`. Raises NotAttempted if it is empty or missing."""
        name = f"{self._task.chapter}.md"
        text = self._text(name)
        if text is None:
            raise NotAttempted(f"there is no {name}")
        answer = read_answer(text, identity, name)
        if not answer:
            raise NotAttempted(f"the block {identity} in {name} is empty")
        return answer

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """What is in a file of weights that was handed in, by name. Raises NotAttempted if there is no such file."""
        data = self._bytes(name)
        if data is None:
            raise NotAttempted(f"there is no {name}")
        try:
            return dict(sorted(safetensors.torch.load(data).items()))
        except Exception as error:          # whatever a stranger wrote into it
            raise CheckFailed("unreadable", f"{name} is not a file of safetensors ({plain(error, 200)}); write it with "
                                            "safetensors.torch.save_file({name: tensor, ...}, path)") from None

    def _call(self, name: str, args: tuple, kwargs: dict, wrt: int | None = None, free: bool = False) -> Any:
        raise NotImplementedError

    def _bytes(self, name: str) -> bytes | None:
        raise NotImplementedError

    def _text(self, name: str) -> str | None:
        raise NotImplementedError


class StudentFunction:
    """One function of the student's file; calling it runs it."""

    def __init__(self, student: Student, name: str) -> None:
        self._student, self.__name__ = student, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        value = self._student._call(self.__name__, args, kwargs)
        self._student._returned = f"{self.__name__} returned {describe(value)}"
        if not rules.calls_back([*args, *kwargs.values()]):          # else the check counts calls, and asks again itself
            again = self._student._call(self.__name__, args, kwargs)
            if not alike(value, again):
                raise CheckFailed("wrong_value", AGAIN_MESSAGE.format(name=self.__name__))
        return value


AGAIN_MESSAGE = ("{name} gave another result when it was called again with the same arguments: something is kept from one "
                 "call to the next, or is random")


def alike(a: Any, b: Any) -> bool:
    """Two results of the same call: of one type, and equal but for rounding."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and alike(torch.tensor(a), torch.tensor(b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return a == b or (a != a and b != b) or abs(a - b) <= 1e-4 * abs(a)
    return isinstance(a, Opaque) or a == b


class DirectStudent(Student):
    """The student's files in `folder`, run in this process: for one's own code only."""

    def __init__(self, task: Task, check: str = "", seed: int = 0, folder: Path | str = EXERCISES) -> None:
        super().__init__(task, check, seed)
        self._folder = Path(folder)

    def _bytes(self, name: str) -> bytes | None:
        handed_in = handed_in_at(self._folder, self._task.chapter)
        if name in handed_in.submission.problems:
            raise CheckFailed("unreadable", f"{name} {handed_in.submission.problems[name]}")
        return handed_in.submission.files.get(name)

    def _text(self, name: str) -> str | None:
        data = self._bytes(name)
        if data is None:
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise CheckFailed("unreadable", f"{name} is not UTF-8 text; save it as UTF-8") from None

    def _call(self, name: str, args: tuple, kwargs: dict, wrt: int | None = None, free: bool = False) -> Any:
        file = f"{self._task.chapter}.py"
        handed_in = handed_in_at(self._folder, self._task.chapter)
        if file in handed_in.submission.problems:
            raise CheckFailed("unreadable", f"{file} {handed_in.submission.problems[file]}")
        if file not in handed_in.submission.files:
            raise NotAttempted(handed_in.submission.lacks(file))
        function = vars(handed_in.module(file)).get(name)
        if function is None:
            raise_as_said({"kind": "missing"}, file, name)
        if not callable(function) or isinstance(function, rules.StandIn):
            raise_as_said({"kind": "not a function"}, file, name)
        args, kwargs = rules.copied((args, kwargs), _passed)          # what is written into them reaches no other task
        before = rules.snapshot([args, kwargs])
        given = args if wrt is None else rules.traced(args, wrt)
        random = rules.random_state()
        with rules.student_code():
            try:
                if free:
                    rules.seed(self.seed)
                result = function(*given, **kwargs)
                answer = _data(result if wrt is None else [result, rules.gradient(result, given[wrt])])
            except CheckFailed:
                raise          # a callable that a check passed in had something to say
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) and not in_a_child():
                    raise
                raise_as_said(handed_in.explained(error, file), file, name, error)
            finally:
                drawn = rules.random_state() != random
        if drawn and not free:
            raise CheckFailed("forbidden", rules.RNG_MESSAGE.format(name=name))
        if what := rules.changed(before, rules.snapshot([args, kwargs])):
            raise CheckFailed("mutated_input", rules.changed_message(name, what))
        return answer if wrt is None else tuple(answer)


def not_imported(error: dict[str, Any], file: str) -> CheckFailed:
    """What to say about a file whose import ended in `error`, as `rules.explained` says it."""
    read_by = f" (this is Python {platform.python_version()})" if error["names"][0] == "SyntaxError" else ""
    return CheckFailed(error["kind"] if error["kind"] in ("forbidden", "memory") else "import_error",
                       f"{file} cannot be imported: {error['names'][0]}: {error['text']}{read_by}{_line(error)}")


def raise_as_said(error: dict[str, Any], file: str, name: str, cause: BaseException | None = None) -> NoReturn:
    """Raise what a call of the function `name` that ended in `error` means for a check."""
    kind = error["kind"]
    if kind == "stub":
        raise NotAttempted(f"{name} in {file} is still the stub")
    if kind == "missing":
        raise NotAttempted(f"{file} has no function {name}; keep the names of the stubs")
    if kind == "not a function":
        raise CheckFailed("wrong_type", f"{name} in {file} is not a function")
    if kind == "forbidden":
        raise CheckFailed("forbidden", f"{name}: {error['text']}{_line(error)}") from cause
    if kind == "memory":
        raise CheckFailed("memory", f"{name} needs more memory than it may have: {error['text']}{_line(error)}") from cause
    raise StudentRaised(f"{name} raised {error['names'][0]}: {error['text']}{_line(error)}", tuple(error["names"]),
                        error["text"]) from cause


def _line(error: dict[str, Any]) -> str:
    return f", line {error['line']}: `{error['code']}`" if error["line"] else ""


def _passed(function: Any) -> Any:
    """A function that a check passes in, as a student's code sees it: data goes in and data comes out, and both are copies."""
    if isinstance(function, (type, types.ModuleType)):
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _data(args), _data(kwargs)
        try:
            with rules.grader_code():
                return rules.copied(function(*args, **kwargs), _passed)
        except CheckFailed:
            raise
        except Exception as error:
            raise RuntimeError(PASSED_MESSAGE.format(kind=type(error).__name__, said=plain(error, 300))) from error
    return call


PASSED_MESSAGE = "the function that was passed in raised {kind}: {said}"


class HandedIn:
    """The files in a student's folder, found by the rule by which a submission's are, and their modules."""

    def __init__(self, folder: Path, wanted: frozenset[str]) -> None:
        self.submission = read_submission(folder, wanted, stubs=_stubs()) if folder.is_dir() else Submission(folder.name, {})
        self.paths = {name: str(folder / (self.submission.paths.get(name) or name)) for name in self.submission.files}
        self._files = rules.Files(self.submission.files, lambda name: self.paths.get(name, name))
        self._broken: dict[str, CheckFailed] = {}

    def module(self, file: str) -> ModuleType:
        if file not in self._broken:
            with rules.student_code():
                try:
                    module = self._files.module(file)
                    assert module is not None
                    return module
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt) and not in_a_child():
                        raise
                    self._broken[file] = not_imported(self.explained(error, file), file)
                    self._broken[file].__cause__ = error
        failed = self._broken[file]
        raise CheckFailed(failed.cause, str(failed)) from failed.__cause__

    def explained(self, error: BaseException, file: str) -> dict[str, Any]:
        said = rules.explained(error, self.paths[file], self._files.lines(file))
        return dict(said, text=plain(said["text"]), code=plain(said["code"], 120))


_handed_in: dict[Path, tuple[tuple, HandedIn]] = {}


def handed_in_at(folder: Path, *chapters: str) -> HandedIn:
    """What is in the folder now; read anew when a file in it has changed."""
    stamp = tuple(sorted((entry.name, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in os.scandir(folder)
                         )) if folder.is_dir() else ()
    wanted = _wanted() | {f"{chapter}{suffix}" for chapter in chapters for suffix in (".py", ".md")}
    if folder not in _handed_in or _handed_in[folder][0] != (stamp, wanted):
        _handed_in[folder] = ((stamp, wanted), HandedIn(folder, wanted))
    return _handed_in[folder][1]


@functools.cache
def _wanted() -> frozenset[str]:
    return frozenset(wanted_files(load_tasks()))


@functools.cache
def _stubs() -> dict[str, bytes]:
    return stub_files(load_tasks())


def _data(value: Any) -> Any:
    """The value as it would arrive through the sandbox: plain data, or Opaque."""
    tree, buffers = encode(value)
    return decode(tree, b"".join(buffers))
