"""Checks of the written answers in exercises/ch01_elbo.md; what they ask for is in answers/ch01_elbo.toml."""

from pathlib import Path

from course.grading import task
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch01.which")
def test_which(student):
    expect_written(student, "ch01.which", ANSWERS)


@task("ch01.printed")
def test_printed(student):
    expect_written(student, "ch01.printed", ANSWERS)


@task("ch01.full")
def test_full(student):
    expect_written(student, "ch01.full", ANSWERS)


@task("ch01.bound")
def test_bound(student):
    expect_written(student, "ch01.bound", ANSWERS)


@task("ch01.terms")
def test_terms(student):
    expect_written(student, "ch01.terms", ANSWERS)


@task("ch01.measure")
def test_measure(student):
    expect_written(student, "ch01.measure", ANSWERS)


@task("ch01.jensen")
def test_jensen(student):
    expect_written(student, "ch01.jensen", ANSWERS)


@task("ch01.gap")
def test_gap(student):
    expect_written(student, "ch01.gap", ANSWERS)


@task("ch01.split")
def test_split(student):
    expect_written(student, "ch01.split", ANSWERS)


@task("ch01.directions")
def test_directions(student):
    expect_written(student, "ch01.directions", ANSWERS)


@task("ch01.which_q")
def test_which_q(student):
    expect_written(student, "ch01.which_q", ANSWERS)


@task("ch01.codes")
def test_codes(student):
    expect_written(student, "ch01.codes", ANSWERS)


@task("ch01.one_bound")
def test_one_bound(student):
    expect_written(student, "ch01.one_bound", ANSWERS)


@task("ch01.ranking")
def test_ranking(student):
    expect_written(student, "ch01.ranking", ANSWERS)


@task("ch01.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch01.predict", ANSWERS)
