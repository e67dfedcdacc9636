"""Checks of the written answers in exercises/ch12_errors.md; what they ask for is in answers/ch12_errors.toml."""

from pathlib import Path

from course.grading import task
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch12.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch12.predict", ANSWERS)

@task("ch12.issues")
def test_issues_of_a_notebook(student):
    expect_written(student, "ch12.issues", ANSWERS)
