"""Checks of the claims and rows in exercises/ch11_writeup.md. The prose is left to people."""

from course.grading import task
from course.grading.checks import expect
from course.grading.errors import CheckFailed, NotAttempted
from course.lab import writeup


def claims_and_rows(student):
    claims = student.answer("ch11.writeup")
    try:
        rows = student.answer("ch11.rows")
    except NotAttempted:
        raise CheckFailed("unreadable", "there are claims and no rows for them: sweep, then run `course lab cite DIR`") from None
    try:
        return writeup.read_claims(claims), writeup.read_cited(rows)
    except ValueError as error:
        raise CheckFailed("wrong_value" if isinstance(error, writeup.Exchanged) else "unreadable", str(error)) from None


@task("ch11.writeup")
def test_the_claims_follow_from_the_rows(student):
    claims, rows = claims_and_rows(student)
    for claim in claims:
        try:
            said = writeup.fault(claim, rows)
        except ValueError as error:
            said = str(error)
        expect(said is None, said)


@task("ch11.writeup")
def test_the_rows_are_what_the_model_gives(student):
    claims, rows = claims_and_rows(student)
    try:
        chosen = writeup.sample(claims, rows, student.seed)
    except ValueError as error:
        raise CheckFailed("wrong_value", str(error)) from None
    for row, again in zip(chosen, writeup.render_again(chosen), strict=True):
        said = writeup.forged(row, again)
        expect(said is None, said)
