"""A stand-in for the equation checks: the answer is a number, and some answers take forever, or too much, to judge."""

from course.grading import task
from course.grading.checks import expect


@task("ch01.sum")
def test_sum(student):
    answer = student.answer("ch01.sum")
    if "forever" in answer:
        while True:
            pass
    if "huge" in answer:
        bytearray(1 << 36)
    if "deep" in answer:
        (lambda f: f(f))(lambda f: f(f))
    expect(answer == "4", f"{answer} is not 2 + 2")
