"""Checks of the written answers in exercises/ch06_ddim.md; what they ask for is in answers/ch06_ddim.toml."""

from pathlib import Path

from course.grading import task
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch06.ddim")
def test_ddim(student):
    expect_written(student, "ch06.ddim", ANSWERS)


@task("ch06.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch06.predict", ANSWERS)
