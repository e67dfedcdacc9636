"""The `student` a check talks to, when the student's code runs in this very process (pytest on the student's machine)."""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import random
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from course.grading.answers import read_answer
from course.grading.errors import CheckFailed, NotAttempted, StudentRaised
from course.grading.manifest import EXERCISES, Task
from course.grading.values import decode, describe, encode, plain


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

    def __getattr__(self, name: str) -> StudentFunction:
        if name.startswith("_"):
            raise AttributeError(name)
        return StudentFunction(self, name)

    def gradient(self, name: str, *args: Any, wrt: int = 0, **kwargs: Any) -> tuple[Any, Any]:
        """(value, gradient): call `name`, add up what it returns, and differentiate with respect to argument `wrt`.

        The gradient is None if the result does not depend on the argument, or was cut off from it.
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
        return value


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
        before = _snapshot((args, kwargs))
        if wrt is not None:
            args = (*args[:wrt], args[wrt].clone().requires_grad_(), *args[wrt + 1:])
        state, python_state = torch.get_rng_state(), random.getstate()
        try:
            result = function(*args, **kwargs)
            gradient = _gradient(result, args[wrt]) if wrt is not None else None
        except NotImplementedError:
            raise NotAttempted(f"{name} in {path.name} is still the stub") from None
        except CheckFailed:
            raise          # a callable that a check passed in had something to say
        except Exception as error:
            names = tuple(c.__name__ for c in type(error).__mro__ if c is not object)
            said = plain(error)
            raise StudentRaised(f"{name} raised {names[0]}: {said}{_where(error, path)}", names, said) from error
        if not torch.equal(state, torch.get_rng_state()) or random.getstate() != python_state:
            torch.set_rng_state(state)
            random.setstate(python_state)
            raise CheckFailed("forbidden", RNG_MESSAGE.format(name=name))
        if _snapshot((args, kwargs)) != before:
            raise CheckFailed("mutated_input", MUTATED_MESSAGE.format(name=name))
        return _data(result) if wrt is None else (_data(result), gradient)


RNG_MESSAGE = ("{name} used a global random generator. Whatever is random is passed in, so that the same call gives "
               "the same result")
MUTATED_MESSAGE = ("{name} changed one of its arguments in place. Work on new tensors: `a * b` makes one, "
                   "`a *= b` and `a.mul_(b)` write into the caller's")

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
    return module


def _where(error: BaseException, path: Path) -> str:
    """Where in the student's file an exception came from: ", line 12: `x = y + z`"."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f", line {lines[-1].lineno}: `{plain(lines[-1].line, 120)}`" if lines else ""


def _data(value: Any) -> Any:
    """The value as it would arrive through the sandbox: plain data, or Opaque."""
    tree, buffers = encode(value)
    return decode(tree, b"".join(buffers))


def _snapshot(value: Any) -> tuple:
    """Everything a student's function could change in its arguments, to compare before and after.

    Generators are left out: drawing from one is what it is passed for.
    """
    if type(value) is torch.Tensor:
        return (tuple(value.shape), value.dtype, bytes(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
                if value.numel() else b"")
    if isinstance(value, (list, tuple)):
        return tuple(_snapshot(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _snapshot(item)) for key, item in value.items())
    return (repr(value),) if isinstance(value, (int, float, str, bool, type(None))) else (id(value),)


def _gradient(result: Any, argument: torch.Tensor) -> torch.Tensor | None:
    if type(result) is not torch.Tensor or not result.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(result.sum(), argument, allow_unused=True)
    return gradient
