"""What a student's code finds and leaves behind, in one place for every runner: pytest, `course check` and `course grade`.

    copied(value)      arguments as the student gets them: writing into them reaches nobody else
    snapshot(value)    everything about them that could be changed, to compare before and after
    settings()         the process's own state (torch's defaults, random numbers, streams); `restored` puts it back

The confined worker loads this file by path, so it imports nothing of the course.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

RNG_MESSAGE = ("{name} used a global random generator. Whatever is random is passed in, so that the same call gives "
               "the same result")
MUTATED_MESSAGE = ("{name} changed one of its arguments in place. Work on new tensors: `a * b` makes one, "
                   "`a *= b` and `a.mul_(b)` write into the caller's")
CHANGED_MESSAGE = ("{name} changed {what} of one of its arguments: whoever calls it again with the same tensor gets something "
                   "else. Work on a copy: `w = weight.detach().clone()`")


# ---------------------------------------------------------------------------------------------------------- arguments

def copied(value: Any, wrap: Callable[[Callable], Callable] | None = None) -> Any:
    """`value` with every tensor, array, list, tuple, dict, namespace and generator in it new; callables pass `wrap`."""
    kind = type(value)
    if kind in (torch.Tensor, torch.nn.Parameter):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if kind is np.ndarray:
        return value.copy()
    if kind in (list, tuple):
        return kind(copied(item, wrap) for item in value)
    if kind is dict:
        return {key: copied(item, wrap) for key, item in value.items()}
    if kind is types.SimpleNamespace:
        return types.SimpleNamespace(**copied(vars(value), wrap))
    if kind is torch.Generator:
        new = torch.Generator()
        new.set_state(value.get_state())
        return new
    return wrap(value) if wrap is not None and callable(value) else value


def snapshot(value: Any) -> Any:
    """Everything that a function could change in `value`. Generators are left out: drawing is what they are passed for."""
    kind = type(value)
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return (tuple(value.shape), str(value.dtype), data, bool(value.requires_grad),
                snapshot(value.grad) if value.is_leaf else None)
    if kind is np.ndarray:
        return value.shape, str(value.dtype), value.tobytes()
    if kind in (list, tuple):
        return [snapshot(item) for item in value]
    if kind is dict:
        return [(key, snapshot(item)) for key, item in value.items()]
    if kind is types.SimpleNamespace:
        return snapshot(vars(value))
    return repr(value) if kind in (int, float, str, bool, type(None)) else kind.__name__


def changed(before: Any, after: Any) -> str:
    """ "" if two snapshots agree, "values" if anything that can be seen differs, else "requires_grad" or ".grad"."""
    if before == after:
        return ""
    if type(before) is tuple and len(before) == 5 and type(after) is tuple and len(after) == 5:
        return "values" if before[:3] != after[:3] else "requires_grad" if before[3] != after[3] else ".grad"
    if type(before) is list and type(after) is list and len(before) == len(after):
        words = [changed(b, a) for b, a in zip(before, after, strict=True)]
        return "values" if "values" in words else next(filter(None, words), "values")
    if type(before) is tuple and type(after) is tuple and len(before) == len(after) == 2 and before[0] == after[0]:
        return changed(before[1], after[1])          # an entry of a dict
    return "values"


def changed_message(name: str, what: str) -> str:
    return MUTATED_MESSAGE.format(name=name) if what == "values" else CHANGED_MESSAGE.format(name=name, what=what)


class Traced:
    """A function that is passed in, whose answers can be differentiated with respect to: `.answers` are zeros added to them.

    Added inside the student's code, so that they count only where that code lets gradients through.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self.answers: list[torch.Tensor] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._function(*args, **kwargs)
        self.answers.append(torch.zeros_like(answer).requires_grad_())
        return answer + self.answers[-1]


def traced(args: tuple | list, wrt: int) -> list:
    """The arguments with number `wrt` made into something that gradients can be taken with respect to."""
    x = args[wrt]
    return [*args[:wrt], Traced(x) if callable(x) else x.clone().requires_grad_(), *args[wrt + 1:]]


def gradient(result: Any, x: Any) -> torch.Tensor | None:
    """The gradient of the sum of `result` with respect to an argument made by `traced` (of a function: its first answer)."""
    if isinstance(x, Traced):
        if not x.answers:
            return None
        x = x.answers[0]
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return None
    return torch.autograd.grad(result.sum(), x, allow_unused=True)[0]


# -------------------------------------------------------------------------------------------------- the process's state

def random_state() -> list:
    """Where the three global random generators stand."""
    numbers: Any = np.random.get_state()
    return [torch.get_rng_state().numpy().tobytes(), numbers[1].tobytes(), numbers[2:], random.getstate()]


def _set_random(state: tuple) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])


def _device() -> str:
    return str(torch.get_default_device())


def _set_environment(saved: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(saved)


def _set_streams(saved: tuple) -> None:
    sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook = saved


def _set_paths(saved: tuple) -> None:
    sys.path[:], sys.argv[:] = saved


def _set_filters(saved: list) -> None:
    if warnings.filters != saved:
        warnings.filters[:] = saved          # type: ignore[index]
        warnings._filters_mutated()          # type: ignore[attr-defined]


def _set_print(saved: dict) -> None:
    np.set_printoptions(**{k: v for k, v in saved.items() if k != "override_repr"})


def _set_anomaly(saved: tuple) -> None:
    torch.autograd.set_detect_anomaly(*saved)


def _set_deterministic(saved: tuple) -> None:
    torch.use_deterministic_algorithms(saved[0], warn_only=saved[1])


# in words, how to read it, how to set it; kept round everything that runs of a student's, silently
SETTINGS: tuple[tuple[str, Callable[[], Any], Callable[[Any], Any]], ...] = (
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's default device", _device, lambda saved: torch.set_default_device(None if saved == "cpu" else saved)),
    ("whether torch records gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    ("torch's anomaly mode", lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()), _set_anomaly),
    ("torch's deterministic mode", lambda: (torch.are_deterministic_algorithms_enabled(),
                                            torch.is_deterministic_algorithms_warn_only_enabled()), _set_deterministic),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    ("torch's matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ("numpy's handling of floating-point errors", np.geterr, lambda saved: np.seterr(**saved)),
    ("numpy's print options", lambda: dict(np.get_printoptions()), _set_print),
    ("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("Python's streams", lambda: (sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook), _set_streams),
    ("Python's paths", lambda: (list(sys.path), list(sys.argv)), _set_paths),
    ("the filters of warnings", lambda: list(warnings.filters), _set_filters),
    ("the environment variables", lambda: dict(os.environ), _set_environment),
    ("the garbage collector", gc.isenabled, lambda saved: gc.enable() if saved else gc.disable()),
)
_MODES = torch._C._len_torch_function_stack, torch._C._pop_torch_function_stack


def settings() -> list:
    """The process's state, for `restored`."""
    return [*(read() for _, read, _ in SETTINGS), (torch.get_rng_state(), np.random.get_state(), random.getstate()), _MODES[0]()]


def restored(saved: list) -> list[str]:
    """Put the state back; what had been changed, in words (random numbers are not counted)."""
    words = []
    for (word, read, write), value in zip(SETTINGS, saved[:-2], strict=True):
        if read() != value:
            write(value)
            words.append(word)
    while _MODES[0]() > saved[-1]:          # modes of torch that were entered and never left
        _MODES[1]()
    _set_random(saved[-2])
    return words
