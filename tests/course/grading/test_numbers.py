"""Numbers as evidence: what has the property passes, whatever it is; what is no number is said to be none."""

import random

import pytest

from course.grading.errors import CheckFailed
from course.grading.manifest import CHECKS
from course.grading.numbers import expect_numbers, kl
from course.grading.written import load_answers

TASKS = load_answers(CHECKS / "answers")


def test_whatever_has_the_property_passes():
    """Laws drawn at random: accepted exactly if the two divergences, computed here term by term, are as asked."""
    rng, accepted = random.Random(0), 0
    for _ in range(300):
        small = 10.0 ** -rng.uniform(1, 30)
        q = [1 - 3 * small, small, small, small]
        share = rng.uniform(0.005, 0.1)
        p = [1 - 3 * share, share, share, share]
        near, far = (sum(a * kl([1], [b / a]) for a, b in zip(one, other, strict=True)) for one, other in ((q, p), (p, q)))
        asked = near <= 0.1 and far >= 1
        try:
            expect_numbers(f"q = {q}\np = {p}", TASKS["ch01.directions"])
            passed = True
        except CheckFailed:
            passed = False
        assert passed == asked
        accepted += passed
    assert 30 < accepted < 270


@pytest.mark.parametrize("answer", [
    "", "q", "q = ", "q = 1\np = 2", "q = [nan, 0.3, 0.3, 0.4]\np = [0.25, 0.25, 0.25, 0.25]", "q = [inf, 0, 0, 0]\np = [1, 0, 0, 0]",
    "q = [true, false, false, false]\np = [0.25, 0.25, 0.25, 0.25]", 'q = ["1/0", "1/2", "1/4", "1/4"]\np = [0.25, 0.25, 0.25, 0.25]',
    'q = ["__import__", "1/2", "1/4", "1/4"]\np = [0.25, 0.25, 0.25, 0.25]', "q = [[1], [2], [3], [4]]\np = [0.25, 0.25, 0.25, 0.25]",
    "q = [1e400, 0, 0, 0]\np = [0.25, 0.25, 0.25, 0.25]", "q = [-0.5, 0.5, 0.5, 0.5]\np = [0.25, 0.25, 0.25, 0.25]", "[" * 1500, "x" * 3000,
    "q = {a = 1}\np = [0.25, 0.25, 0.25, 0.25]"])
@pytest.mark.parametrize("task", ["ch01.directions", "ch01.which_q", "ch01.codes", "ch01.one_bound", "ch01.ranking"])
def test_what_is_no_answer_is_said_to_be_none(task, answer):
    with pytest.raises(CheckFailed):
        expect_numbers(answer, TASKS[task])
