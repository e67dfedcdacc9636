"""Checks of the written answers in exercises/ch05_scores.md; what they ask for is in answers/ch05_scores.toml."""

from pathlib import Path

from course.grading import task
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch05.score")
def test_score(student):
    expect_written(student, "ch05.score", ANSWERS)


@task("ch05.tweedie")
def test_tweedie(student):
    expect_written(student, "ch05.tweedie", ANSWERS)


@task("ch05.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch05.predict", ANSWERS)
