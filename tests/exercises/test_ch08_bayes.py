"""Checks of the written answers in exercises/ch08_bayes.md; what they ask for is in answers/ch08_bayes.toml."""

from pathlib import Path

from course.grading import task
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch08.bayes")
def test_bayes(student):
    expect_written(student, "ch08.bayes", ANSWERS)


@task("ch08.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch08.predict", ANSWERS)
