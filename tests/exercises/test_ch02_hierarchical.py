"""Checks of the written answers in exercises/ch02_hierarchical.md; what they ask for is in answers/ch02_hierarchical.toml."""

from pathlib import Path

from course.grading import task
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch02.joint_p")
def test_joint_p(student):
    expect_written(student, "ch02.joint_p", ANSWERS)


@task("ch02.joint_q")
def test_joint_q(student):
    expect_written(student, "ch02.joint_q", ANSWERS)


@task("ch02.first_line")
def test_first_line(student):
    expect_written(student, "ch02.first_line", ANSWERS)


@task("ch02.second_line")
def test_second_line(student):
    expect_written(student, "ch02.second_line", ANSWERS)


@task("ch02.terms")
def test_terms(student):
    expect_written(student, "ch02.terms", ANSWERS)


@task("ch02.wrong_lines")
def test_wrong_lines(student):
    expect_written(student, "ch02.wrong_lines", ANSWERS)


@task("ch02.telescope")
def test_telescope(student):
    expect_written(student, "ch02.telescope", ANSWERS)


@task("ch02.split")
def test_split(student):
    expect_written(student, "ch02.split", ANSWERS)


@task("ch02.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch02.predict", ANSWERS)

@task("ch02.claim")
def test_claim_and_reason(student):
    expect_written(student, "ch02.claim", ANSWERS)
