"""The check of the self-test in exercises/ch00_before.md; what it asks for is in answers/ch00_before.toml."""

from pathlib import Path

from course.grading import task
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch00.before")
def test_before(student):
    expect_written(student, "ch00.before", ANSWERS)
