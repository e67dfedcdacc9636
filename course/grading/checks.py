"""What checks are made of. Every function here raises CheckFailed with a message for the student, or returns None.

    expect_close(got, expected, what="add_noise(x0, noise, alpha_bar_t)",
                 known={"alpha_t was used where alpha_bar_t is meant": lambda: wrong_value})

A message says what was expected, what came, and where they first differ; `known` maps a description of a common mistake
to the value that mistake gives, so that the message can name it. Purity and global random numbers need no check of their
own: every `student.f(...)` looks at them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from course.grading.errors import KNOWN, CheckFailed, NotAttempted, StudentRaised
from course.grading.values import Opaque, Part, describe

__all__ = ["Counted", "Part", "expect", "expect_calls", "expect_close", "expect_equal", "expect_finite", "expect_raises",
           "expect_tensor", "expect_type"]


def expect(condition: bool, message: str, cause: str = "wrong_value") -> None:
    """Raise CheckFailed(cause, message) unless `condition`."""
    if not condition:
        raise CheckFailed(cause, message)


def expect_type(got: Any, kind: type | tuple[type, ...], what: str) -> None:
    """`got` is exactly of one of the types; int does for float, bool for neither."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(got) in kinds or (type(got) is int and float in kinds):
        return
    names = " or ".join("None" if k is type(None) else ("an " if k.__name__[0] in "aeiou" else "a ") + k.__name__ for k in kinds)
    raise CheckFailed("wrong_type", f"{what} should be {names}, and is {describe(got)}")


def expect_tensor(got: Any, shape: Sequence[int], dtype: torch.dtype = torch.float32, what: str = "the result") -> None:
    """`got` is a plain tensor of this shape and dtype. Causes: wrong_type, wrong_shape."""
    if type(got) is not torch.Tensor:
        raise CheckFailed("wrong_type", f"{what} should be a tensor, and is {describe(got)}")
    if got.dtype != dtype:
        raise CheckFailed("wrong_type", f"{what} should have dtype {_name(dtype)}, and has {_name(got.dtype)}")
    if tuple(got.shape) != tuple(shape):
        raise CheckFailed("wrong_shape", f"{what} should have shape {tuple(shape)}, and has {tuple(got.shape)}")


def expect_finite(got: torch.Tensor, what: str = "the result") -> None:
    """No NaN and no infinity in a tensor. Cause: not_finite."""
    bad = ~torch.isfinite(got)
    if bad.any():
        index = _first(bad)
        raise CheckFailed("not_finite", f"{what} is {got[index].item()} at {_at(index)}; "
                                        f"{int(bad.sum())} of {got.numel()} values are not finite")


def expect_close(got: Any, expected: Any, what: str = "the result",
                 known: Mapping[str, Any] | None = None, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """`got` equals `expected` up to rounding: |got - expected| <= atol + rtol |expected|, with the same type, shape, dtype.

    `expected` is a tensor, a number, or a list, tuple or dict of those. `known` maps "what was done wrong" to the value
    that comes of it (or to a function of no arguments that computes it). Causes: wrong_type, wrong_shape, not_finite,
    wrong_value.
    """
    if isinstance(expected, torch.Tensor):
        expect_tensor(got, expected.shape, expected.dtype, what)
        if got.is_floating_point() and bool(torch.isfinite(expected).all()):
            try:
                expect_finite(got, what)
            except CheckFailed as failed:
                raise CheckFailed(failed.cause, f"{failed}{_mistake(got, known, rtol, atol)}") from None
        if (difference := _difference(got, expected, rtol, atol)) is not None:
            raise CheckFailed("wrong_value", f"{what} {difference}{_mistake(got, known, rtol, atol)}")
    elif isinstance(expected, np.ndarray):
        expect_type(got, np.ndarray, what)
        if got.dtype != expected.dtype:
            raise CheckFailed("wrong_type", f"{what} should have dtype {expected.dtype}, and has {got.dtype}")
        expect_close(torch.tensor(got), torch.tensor(expected), what, known, rtol, atol)
    elif isinstance(expected, (list, tuple)):
        expect_type(got, type(expected), what)
        if len(got) != len(expected):
            raise CheckFailed("wrong_shape", f"{what} should have {len(expected)} items, and has {len(got)}")
        for i, (g, e) in enumerate(zip(got, expected, strict=True)):
            expect_close(g, e, f"{what}[{i}]", {k: _value(v)[i] for k, v in (known or {}).items()}, rtol, atol)
    elif isinstance(expected, dict):
        expect_type(got, dict, what)
        if set(got) != set(expected):
            raise CheckFailed("wrong_value", f"{what} should have the keys {sorted(expected)}")
        for key in expected:
            expect_close(got[key], expected[key], f"{what}[{key!r}]",
                         {k: _value(v)[key] for k, v in (known or {}).items()}, rtol, atol)
    elif type(expected) is float:
        expect_type(got, float, what)
        expect(got == got and abs(got) != float("inf"), f"{what} is {got}", "not_finite")
        if abs(got - expected) > atol + rtol * abs(expected):
            raise CheckFailed("wrong_value", f"{what} should be {expected:.6g}, and is {got:.6g}"
                                             f"{_mistake(got, known, rtol, atol)}")
    else:
        expect_equal(got, expected, what, known)


def expect_equal(got: Any, expected: Any, what: str = "the result", known: Mapping[str, Any] | None = None) -> None:
    """`got` is exactly `expected`, an int, a str, a bool, None, or a list, tuple or dict of those."""
    expect_type(got, type(expected), what)
    if isinstance(expected, (list, tuple)) and len(got) != len(expected):
        raise CheckFailed("wrong_shape", f"{what} should have {len(expected)} items, and has {len(got)}"
                                         f"{_mistake(got, known, 0, 0)}")
    if _plain_only(got) != expected:
        raise CheckFailed("wrong_value", f"{what} should be {_short(expected)}, and is {_short(got)}"
                                         f"{_mistake(got, known, 0, 0)}")


def expect_raises(function: Callable, *args: Any, error: str | Sequence[str] = "ValueError", what: str = "",
                  says: str = "", **kwargs: Any) -> None:
    """Calling the student's `function` with these arguments raises one of the exceptions named (or a subclass).

    `says` must stand in its message, in small or capital letters.
    """
    names = (error,) if isinstance(error, str) else tuple(error)
    what = what or f"{function.__name__} with these arguments"
    try:
        got = function(*args, **kwargs)
    except StudentRaised as raised:
        if not set(names) & set(raised.names):
            raise CheckFailed("exception", f"{what} should raise {' or '.join(names)}, and raised "
                                           f"{raised.names[0]}: {raised.text}") from None
        if says.lower() not in raised.text.lower():
            raise CheckFailed("exception", f"{what} should raise an error that names the {says}, and it says: "
                                           f"{raised.text or '(nothing)'}") from None
        return
    raise CheckFailed("wrong_value", f"{what} should raise {' or '.join(names)}, and returned {describe(got)}")


class Counted:
    """A callable for a student's function that remembers its calls: `.count`, and `.calls`, a list of the arguments.

    The arguments may be given by name, with the names that `function` has; `.calls` has them in their order.
    """

    def __init__(self, function: Callable, limit: int = 2000) -> None:
        self._function, self._limit = function, limit
        self._signature = inspect.signature(function)
        self.calls: list[tuple] = []

    @property
    def count(self) -> int:
        return len(self.calls)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(self.calls) >= self._limit:
            raise CheckFailed("wrong_value", f"the model was called more than {self._limit} times")
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        self.calls.append(bound.args)
        return self._function(*bound.args, **bound.kwargs)


def expect_calls(model: Counted, expected: int, what: str = "the sampler", known: Mapping[str, int] | None = None) -> None:
    """The model was called `expected` times."""
    if model.count != expected:
        hints = [text for text, count in (known or {}).items() if count == model.count]
        raise CheckFailed("wrong_value", f"{what} should call the model {expected} times, and called it {model.count} times"
                          + (KNOWN + hints[0] if hints else ""))


# ---------------------------------------------------------------- the words

def _difference(got: torch.Tensor, expected: torch.Tensor, rtol: float, atol: float) -> str | None:
    if not got.numel():
        return None
    if got.dtype == torch.bool or not (got.is_floating_point() or got.is_complex()):
        wrong = got != expected
    else:
        wrong = ~torch.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return None
    index = _first(wrong)
    count = int(wrong.sum())
    return (f"is wrong in {count} of {got.numel()} values; the first is at {_at(index)}: "
            f"expected {_number(expected[index])}, got {_number(got[index])}")


def _mistake(got: Any, known: Mapping[str, Any] | None, rtol: float, atol: float) -> str:
    """". This looks like a known mistake: ..." for the first entry of `known` that gives what we got."""
    for text, value in (known or {}).items():
        wrong = _value(value)
        if isinstance(wrong, torch.Tensor):
            same = (type(got) is torch.Tensor and got.shape == wrong.shape
                    and _difference(got, wrong.to(got.dtype), max(rtol, 1e-4), max(atol, 1e-5)) is None)
        elif type(wrong) is float:
            same = type(got) in (int, float) and abs(got - wrong) <= max(atol, 1e-5) + max(rtol, 1e-4) * abs(wrong)
        else:
            same = type(got) is type(wrong) and _plain_only(got) == wrong
        if same:
            return KNOWN + text
    return ""


def _value(value: Any) -> Any:
    return value() if callable(value) else value


def _plain_only(value: Any) -> Any:
    """`value` with everything that is not plain data replaced by an object equal to nothing."""
    if type(value) in (list, tuple):
        return type(value)(_plain_only(item) for item in value)
    if type(value) is dict:
        return {k: _plain_only(v) for k, v in value.items()}
    return value if type(value) in (int, float, str, bool, type(None)) else object()


def _first(mask: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in mask.nonzero()[0])


def _at(index: tuple[int, ...]) -> str:
    return f"index [{', '.join(map(str, index))}]" if index else "its only value"


def _number(x: torch.Tensor) -> str:
    value = x.item()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _short(value: Any) -> str:
    text = describe(value) if isinstance(value, (Opaque, torch.Tensor, np.ndarray)) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


__all__ += ["CheckFailed", "NotAttempted"]
