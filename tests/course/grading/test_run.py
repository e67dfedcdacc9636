"""Running checks without pytest: hidden checks, results that a check cannot use, and faults of a check itself."""

import shutil

import pytest
from hostile_submissions import HONEST

from course.grading.run import HIDDEN, check_folder, checks_digest, load_checks

HEAD = "from course.grading import task\nfrom course.grading.checks import expect, expect_close\nimport torch\n\n\n"


@pytest.fixture
def verdict(tmp_path, checks):
    """The verdict on alphas_cumprod for a source, after one more file of checks."""
    folder, student = tmp_path / "t", tmp_path / "s"
    shutil.copytree(checks, folder)
    student.mkdir()

    def go(source, more="", name="test_ch03_more.py"):
        if more:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(HEAD + more)
        (student / "ch03_forward.py").write_text(source)
        load_checks.cache_clear()
        return check_folder(student, ["ch03.alphas_cumprod"], checks=folder)["ch03.alphas_cumprod"]

    yield go
    load_checks.cache_clear()


EMPTY = '@task("ch03.alphas_cumprod")\ndef test_none_at_all(student):\n' \
        '    expect_close(student.alphas_cumprod(torch.empty(0)), torch.empty(0), what="the secret case")\n'


def test_hidden_checks_come_last_and_tell_nothing(verdict):
    assert verdict(HONEST, EMPTY, "hidden/test_ch03_hidden.py").status == "passed"
    wrong = HONEST.replace("return torch.cumprod", "assert len(betas), 'the secret assertion'\n    return torch.cumprod")
    result = verdict(wrong)
    assert (result.status, result.cause, result.feedback) == ("failed", "exception", HIDDEN)
    public = verdict(HONEST.replace("1 - betas", "betas"))
    assert "known mistake" in public.feedback


def test_a_result_that_a_check_cannot_use_is_the_students(verdict):
    more = '@task("ch03.alphas_cumprod")\ndef test_pair(student):\n    a, b = student.alphas_cumprod(torch.ones(1))\n'
    result = verdict(HONEST, more)
    assert result.cause == "wrong_type"
    assert "alphas_cumprod returned a float32 tensor of shape (1,), which cannot be used" in result.feedback


def test_a_fault_of_the_check_is_called_one(verdict):
    result = verdict(HONEST, '@task("ch03.alphas_cumprod")\ndef test_broken(student):\n    1 / 0\n')
    assert (result.score, result.cause) == (0.0, "grader_error")
    assert "please report this" in result.feedback
    assert "ZeroDivisionError at test_ch03_more.py" in result.feedback


@pytest.mark.parametrize(("more", "words"), [
    ("def test_nothing(student):\n    pass\n", "has no @task"),
    ('@task("ch03.alphas_cumprod")\ndef test_x(student, tmp_path):\n    pass\n', "the fixture `student` and parameters only"),
])
def test_checks_that_cannot_be_run_are_named(verdict, more, words):
    with pytest.raises(ValueError, match="test_ch03_more.py") as caught:      # noqa: RUF043
        verdict(HONEST, more)
    assert words in str(caught.value)


def test_the_digest_follows_the_checks(tmp_path, checks):
    folder = tmp_path / "t"
    shutil.copytree(checks, folder)
    before = checks_digest(folder)
    (folder / "hidden").mkdir()
    (folder / "hidden" / "test_ch03_hidden.py").write_text(HEAD)
    assert checks_digest(folder) != before


MANY = """
@task("ch03.alphas_cumprod", share=3)
def test_single(student):
    expect_close(student.alphas_cumprod(torch.tensor([0.25])), torch.tensor([0.75]), what="one beta")


@task("ch03.alphas_cumprod")
def test_ends(student):
    expect_close(student.alphas_cumprod(torch.tensor([1.0])), torch.tensor([0.0]), what="beta = 1")
"""


def test_a_task_is_not_all_or_nothing(verdict, checks):
    core = len(load_checks(checks)["ch03.alphas_cumprod"]) - 1          # checks of one share each beside the core
    assert verdict(HONEST, MANY).score == 2.0
    floor = HONEST.replace("1 - betas", "(1 - betas).clamp(min=1e-9)")
    result = verdict(floor, MANY.replace("torch.tensor([0.0])", "torch.zeros(1)"))
    assert result.status == "passed"          # within rounding
    clipped = HONEST.replace("torch.cumprod(1 - betas, 0)", "torch.cumprod(1 - betas, 0) + (betas == 1)")
    result = verdict(clipped, MANY)
    assert (result.status, result.cause) == ("failed", "wrong_value")
    assert result.score == pytest.approx(2 * (1 - 0.5 / (core + 4)), abs=0.01)
    assert "beta = 1" in result.feedback
    other = HONEST.replace("torch.cumprod(1 - betas, 0)", "torch.cumprod(1 - betas, 0) + (len(betas) == 1)")
    assert verdict(other, MANY).score == pytest.approx(2 * (1 - 0.5 * 4 / (core + 4)), abs=0.01)
    assert verdict(HONEST.replace("1 - betas", "betas"), MANY).score == 0          # the core is not met
    assert verdict("def alphas_cumprod(betas):\n    raise NotImplementedError\n", MANY).status == "not_attempted"


def test_a_part_of_a_check_may_be_earned_and_the_mistake_has_a_field(verdict):
    part = '@task("ch03.alphas_cumprod")\ndef test_lines(student):\n    from course.grading.errors import KNOWN, CheckFailed\n' \
           '    student.alphas_cumprod(torch.ones(1))\n    raise CheckFailed("wrong_value", "line 3" + KNOWN + "a jump", earned=0.5)\n'
    result = verdict(HONEST, part)
    assert (result.status, result.mistake) == ("failed", "a jump")
    assert 1.0 < result.score < 2.0


def test_a_right_answer_has_no_mistake(verdict):
    assert verdict(HONEST).mistake is None


def test_an_extra_task_adds_to_the_score_only(tmp_path, checks, grader):
    from course.grading.progress import total
    from course.grading.run import Result

    rows = [Result("a", 2.0, 2.0, "passed", None, ""), Result("b", 1.5, 3.0, "failed", "wrong_value", "", extra=True)]
    assert total(rows) == (2.0, 2.0, 1.5)
    folder = tmp_path / "t"
    shutil.copytree(checks, folder)
    path = folder / "ch03_forward.toml"
    path.write_text(path.read_text().replace("points = 2", "points = 2\nextra = true", 1))
    (tmp_path / "ch03_forward.py").write_text(HONEST)
    found = check_folder(tmp_path, ["ch03.alphas_cumprod"], checks=folder)
    assert found["ch03.alphas_cumprod"].extra
