"""Manifests and written answers: what is read, and what is refused with which words."""

import pytest

from course.grading.answers import MAX_ANSWER, read_answer, read_answers
from course.grading.errors import CheckFailed
from course.grading.manifest import load_tasks

TASK = '[[task]]\nid = "ch03.a"\ntitle = "A"\npoints = 2\n'


def write(folder, text, name="ch03_forward.toml"):
    (folder / name).write_text(text)
    return folder


def test_a_manifest(tmp_path):
    tasks = load_tasks(write(tmp_path, TASK + 'hints = ["x"]\n' + TASK.replace(".a", ".b") + 'needs = ["ch03.a"]\n'))
    assert list(tasks) == ["ch03.a", "ch03.b"]
    assert tasks["ch03.a"].chapter == "ch03_forward"
    assert tasks["ch03.a"].hints == ("x",)
    assert tasks["ch03.b"].needs == ("ch03.a",)


@pytest.mark.parametrize(("text", "words"), [
    ("[[task]\n", "ch03_forward.toml"),
    ("x = 1\n", "expected [[task]]"),
    (TASK.replace("title", "tittle"), "title is missing"),
    (TASK + "colour = 1\n", "unknown key 'colour'"),
    (TASK.replace("2", "true"), "wrong type"),
    (TASK.replace("2", "0"), "above zero"),
    (TASK.replace("ch03", "ch04"), "begins with the chapter"),
    (TASK + TASK, "already defined"),
    (TASK + 'needs = ["ch03.z"]\n', "no such task"),
    (TASK + "hints = [1]\n", "list of strings"),
    (TASK + 'tracks = ["plumber"]\n', "unknown track 'plumber'"),
])
def test_a_bad_manifest_is_named(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"ch03_forward\.toml") as caught:
        load_tasks(write(tmp_path, text))
    assert words in str(caught.value)


def test_answers():
    text = ("# Title\n```python\nnot = 'an answer'\n```\n```latex ch01.q1\n% a remark\n\\log p(x)\n= 1\n```\n"
            "~~~ math {#ch01.q2}\n% only a remark\n~~~\n````latex ch01.q3\n```\ninner\n```\n````\n")
    assert read_answers(text) == {"ch01.q1": "\\log p(x)\n= 1", "ch01.q2": "", "ch01.q3": "```\ninner\n```"}
    assert read_answers("") == {}


@pytest.mark.parametrize(("text", "words"), [
    ("```latex ch01.q1\nx\n", "line 1: the block ch01.q1 is not closed"),
    ("```latex ch01.q1\nx\n```\n```latex ch01.q1\ny\n```\n", "used twice"),
    ("```latex ch01.q1\n" + "x" * (MAX_ANSWER + 1) + "\n```\n", f"at most {MAX_ANSWER}"),
])
def test_bad_answer_files(text, words):
    with pytest.raises(CheckFailed, match=r"ch01\.q1") as caught:
        read_answers(text, "ch01_elbo.md")
    assert caught.value.cause == "unreadable"
    assert words in str(caught.value)


def test_what_is_wrong_with_one_answer_leaves_the_others_alone():
    long = "x" * (MAX_ANSWER + 1)
    text = (f"```latex ch01.a\n1\n```\n```latex ch01.twice\n2\n```\n```latex ch01.twice\n3\n```\n```latex ch01.long\n{long}\n```\n"
            "```latex ch01.open\n4\n```latex ch01.b\n5\n```\n~~~\n```latex ch01.a\nan example\n```\n~~~\n````latex ch01.c\n```\n6\n````\n"
            "```latex ch01.last\n7\n")
    assert [read_answer(text, f"ch01.{name}") for name in ("a", "b", "c", "none")] == ["1", "5", "```\n6", ""]
    for name in ("twice", "long", "open", "last"):
        with pytest.raises(CheckFailed, match=rf"ch01\.{name}"):
            read_answer(text, f"ch01.{name}")
