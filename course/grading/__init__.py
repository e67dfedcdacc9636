"""Grading: the same checks for a student's own pytest and for the autograder.

A check is a plain pytest function marked with the task it belongs to. It takes the fixture `student` and nothing else::

    @task("ch03.add_noise")
    def test_matches_the_reference(student):
        got = student.add_noise(x0, noise, alpha_bar_t)
        expect_close(got, reference, what="add_noise(x0, noise, alpha_bar_t)")

Under pytest `student` calls the functions in `exercises/` directly, so breakpoints work. Under `course grade` the same
check runs in the grader and only the student's function runs elsewhere, in a confined process that sees data and nothing else.
"""

from __future__ import annotations

from typing import Any

__all__ = ["task"]


def task(task_id: str, share: float = 1.0) -> Any:
    """Mark a check function as belonging to the task `task_id`, such as "ch03.add_noise".

    The first check of a task is its core: unless it is met, nothing is earned. It is worth half of the points (all of them
    if it is the only one); the other checks divide the other half in proportion to their `share`.
    """
    import pytest

    return pytest.mark.task(task_id, share=share)
