"""The `student` a check talks to, when the student's code runs in this very process (pytest on the student's machine)."""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import math
import sys
import traceback
import types
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from course.grading import rules
from course.grading.answers import read_answer
from course.grading.errors import CheckFailed, NotAttempted, StudentRaised
from course.grading.manifest import EXERCISES, Task
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

    def _call(self, name: str, args: tuple, kwargs: dict, wrt: int | None = None) -> Any:
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
        if not any(map(callable, (*args, *kwargs.values()))):          # else the check counts calls, and asks again itself
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

    def _text(self, name: str) -> str | None:
        path = self._folder / name
        try:
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise CheckFailed("unreadable", f"{name} could not be read: {plain(error)}") from None

    def _call(self, name: str, args: tuple, kwargs: dict, wrt: int | None = None) -> Any:
        path = self._folder / f"{self._task.chapter}.py"
        if not path.exists():
            raise NotAttempted(f"there is no {path.name}")
        function = load(path).__dict__.get(name)
        if function is None:
            raise NotAttempted(f"{path.name} has no function {name}; keep the names of the stubs")
        if not callable(function):
            raise CheckFailed("wrong_type", f"{name} in {path.name} is not a function")
        args, kwargs = rules.copied((args, kwargs), _passed)          # what is written into them reaches no other task
        before = rules.snapshot([args, kwargs])
        given = args if wrt is None else rules.traced(args, wrt)
        saved, random = rules.settings(), rules.random_state()
        try:
            result = function(*given, **kwargs)
            gradient = rules.gradient(result, given[wrt]) if wrt is not None else None
        except NotImplementedError:
            raise NotAttempted(f"{name} in {path.name} is still the stub") from None
        except CheckFailed:
            raise          # a callable that a check passed in had something to say
        except (Exception, SystemExit) as error:
            names = tuple(c.__name__ for c in type(error).__mro__ if c is not object)
            said = "called exit()" if isinstance(error, SystemExit) else plain(error)
            raise StudentRaised(f"{name} raised {names[0]}: {said}{_where(error, path)}", names, said) from error
        finally:
            drawn = rules.random_state() != random
            rules.restored(saved)
        if drawn:
            raise CheckFailed("forbidden", rules.RNG_MESSAGE.format(name=name))
        if what := rules.changed(before, rules.snapshot([args, kwargs])):
            raise CheckFailed("mutated_input", rules.changed_message(name, what))
        return _data(result) if wrt is None else (_data(result), gradient)


def _passed(function: Any) -> Any:
    """A function that a check passes in, as a student's code sees it: data goes in and data comes out, and both are copies."""
    if isinstance(function, (type, types.ModuleType)):
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _data(args), _data(kwargs)
        try:
            return _data(function(*args, **kwargs))
        except CheckFailed:
            raise
        except Exception as error:
            raise RuntimeError(PASSED_MESSAGE.format(kind=type(error).__name__, said=plain(error, 300))) from error
    return call


PASSED_MESSAGE = "the function that was passed in raised {kind}: {said}"


_modules: dict[Path, tuple[tuple, ModuleType | CheckFailed]] = {}


def load(path: Path) -> ModuleType:
    """The student's file as a module, read anew when the file has changed."""
    stat = path.stat()
    stamp = (stat.st_mtime_ns, stat.st_size)
    if path not in _modules or _modules[path][0] != stamp:
        linecache.checkcache(str(path))
        _modules[path] = (stamp, _load(path))
    module = _modules[path][1]
    if isinstance(module, CheckFailed):
        raise CheckFailed(module.cause, str(module)) from module.__cause__
    return module


def _load(path: Path) -> ModuleType | CheckFailed:
    name = f"exercises_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    saved = rules.settings()
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        code = compile(path.read_bytes(), str(path), "exec")       # not the cached bytecode: saves within a second count
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else _where(error, path)
        failed = CheckFailed("import_error", f"{path.name} cannot be imported: {type(error).__name__}: "
                                             f"{plain(error)}{line}")
        failed.__cause__ = error
        return failed
    finally:
        rules.restored(saved)
    return module


def _where(error: BaseException, path: Path) -> str:
    """Where in the student's file an exception came from: ", line 12: `x = y + z`"."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f", line {lines[-1].lineno}: `{plain(lines[-1].line, 120)}`" if lines else ""


def _data(value: Any) -> Any:
    """The value as it would arrive through the sandbox: plain data, or Opaque."""
    tree, buffers = encode(value)
    return decode(tree, b"".join(buffers))
