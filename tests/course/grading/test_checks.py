"""The helpers that checks are made of: what passes, what fails, with which cause and which words."""

import numpy as np
import pytest
import torch

from course.grading.checks import (
    CheckFailed,
    Counted,
    expect_calls,
    expect_close,
    expect_equal,
    expect_finite,
    expect_raises,
    expect_tensor,
)
from course.grading.errors import StudentRaised
from course.grading.values import Opaque


def fails(function, *args, **kwargs):
    with pytest.raises(CheckFailed) as caught:
        function(*args, **kwargs)
    return caught.value.cause, str(caught.value)


RIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def test_what_is_close_enough_passes():
    expect_close(RIGHT * (1 + 5e-5), RIGHT)
    expect_close([1.0, (2, "a", None, True)], [1.0, (2, "a", None, True)])
    expect_close({"a": RIGHT}, {"a": RIGHT.clone()})
    expect_close(np.ones(3), np.ones(3))
    expect_close(3, 3.0)
    expect_close(torch.tensor([float("inf")]), torch.tensor([float("inf")]))
    expect_close(torch.empty(0), torch.empty(0))


@pytest.mark.parametrize(("got", "cause", "words"), [
    (RIGHT.double(), "wrong_type", "dtype float32, and has float64"),
    (RIGHT[0], "wrong_shape", "(2, 2), and has (2,)"),
    (None, "wrong_type", "is None"),
    (RIGHT.tolist(), "wrong_type", "a list of 2"),
    (RIGHT.numpy(), "wrong_type", "numpy array"),
    (torch.nn.Parameter(RIGHT.clone()), "wrong_type", "Parameter"),
    (Opaque("a tensor on the device meta"), "wrong_type", "device meta"),
    (RIGHT / 0, "not_finite", "4 of 4 values"),
    (RIGHT + torch.tensor([[0, 0], [1e-2, 0]]), "wrong_value", "first is at index [1, 0]: expected 3, got 3.01"),
])
def test_what_is_wrong_with_a_tensor(got, cause, words):
    found, message = fails(expect_close, got, RIGHT)
    assert found == cause
    assert words in message


def test_nan_never_equals_anything():
    assert fails(expect_close, RIGHT * float("nan"), RIGHT)[0] == "not_finite"
    assert fails(expect_close, float("nan"), 1.0)[0] == "not_finite"
    assert fails(expect_finite, torch.tensor([0.0, float("inf")]))[0] == "not_finite"


def test_a_known_mistake_is_named_and_computed_only_when_needed():
    known = {"the transpose": lambda: RIGHT.T, "never asked": lambda: 1 / 0}
    expect_close(RIGHT, RIGHT, known=known)
    assert "known mistake: the transpose" in fails(expect_close, RIGHT.T.contiguous(), RIGHT, known=known)[1]
    assert "known mistake: twice" in fails(expect_close, 2.0, 1.0, known={"twice": 2.0})[1]
    assert "known mistake: reversed" in fails(expect_equal, [2, 1], [1, 2], known={"reversed": [2, 1]})[1]
    assert "known mistake: left out the last" in fails(expect_equal, [1], [1, 2], known={"left out the last": [1]})[1]
    assert "known" not in fails(expect_close, RIGHT + 1, RIGHT, known={"the transpose": RIGHT.T})[1]


def test_integers_and_booleans_are_exact():
    expect_close(torch.tensor([1, 2]), torch.tensor([1, 2]))
    assert "expected 2, got 3" in fails(expect_close, torch.tensor([1, 3]), torch.tensor([1, 2]))[1]
    assert fails(expect_equal, True, 1)[0] == "wrong_type"
    assert fails(expect_equal, 1.0, 1)[0] == "wrong_type"
    assert fails(expect_close, [torch.ones(2)], [1])[0] == "wrong_type"
    assert fails(expect_tensor, torch.ones(2, dtype=torch.bool), (2,))[0] == "wrong_type"


def test_an_object_equal_to_everything_is_equal_to_nothing():
    class Yes:
        def __eq__(self, other):
            return True

        __hash__ = None

    assert fails(expect_equal, [Yes()], [1])[0] == "wrong_value"
    assert fails(expect_close, Yes(), 1)[0] == "wrong_type"


def test_raising():
    def function(n):
        if n < 0:
            raise StudentRaised("f raised ValueError: no", ("MyError", "ValueError", "Exception"), "no")
        return n

    expect_raises(function, -1, error="ValueError")
    assert fails(expect_raises, function, -1, error="TypeError")[0] == "exception"
    assert "returned the int 1" in fails(expect_raises, function, 1)[1]


def test_calls_are_counted():
    model = Counted(lambda x, t: x, limit=3)
    model(1, 2), model(3, 4)
    expect_calls(model, 2)
    assert model.calls == [(1, 2), (3, 4)]
    assert "called it 2 times. This looks like a known mistake: twice" in fails(expect_calls, model, 1, known={"twice": 2})[1]
    model(0, 0)
    assert "more than 3 times" in fails(model, 0, 0)[1]


def test_unknown_causes_are_refused():
    with pytest.raises(ValueError, match="unknown cause"):
        CheckFailed("bad luck", "")


def raising(*names, text=""):
    def student(*_, **__):
        raise StudentRaised("it raised", names, text)
    return student


@pytest.mark.parametrize(("check", "cause", "words"), [
    (lambda: expect_close(np.zeros(3), np.zeros(4)), "wrong_shape", "should have shape (4,)"),
    (lambda: expect_close(np.zeros(3, dtype=np.float32), np.zeros(3)), "wrong_type", "should have dtype float64"),
    (lambda: expect_close(np.array(["a", "b"]), np.zeros(2)), "wrong_type", "should have dtype float64, and has <U1"),
    (lambda: expect_close(np.zeros(3), np.ones(3)), "wrong_value", "is wrong in 3 of 3 values"),
    (lambda: expect_close([1.0], [1.0, 2.0]), "wrong_shape", "should have 2 items, and has 1"),
    (lambda: expect_close({"a": 1.0}, {"b": 1.0}), "wrong_value", "should have the keys ['b']"),
    (lambda: expect_close(1.0, 2.0), "wrong_value", "should be 2, and is 1"),
    (lambda: expect_equal([1], [1, 2]), "wrong_shape", "should have 2 items, and has 1"),
    (lambda: expect_equal([1, 3], [1, 2]), "wrong_value", "should be [1, 2]"),
    (lambda: expect_raises(raising("KeyError"), what="it"), "exception", "it should raise ValueError, and raised KeyError"),
    (lambda: expect_raises(raising("ValueError", text="no"), what="it", says="shape"), "exception", "names the shape"),
    (lambda: expect_raises(lambda: 1, what="it"), "wrong_value", "it should raise ValueError, and returned"),
    (lambda: [counted(1) for counted in [Counted(lambda x: x, limit=2)] for _ in range(3)], "wrong_value", "more than 2 times"),
    (lambda: expect_calls(Counted(lambda x: x), 1), "wrong_value", "1 times, and called it 0 times"),
])
def test_each_guard_has_its_cause_and_its_words(check, cause, words):
    assert fails(check)[0] == cause
    assert words in fails(check)[1]
