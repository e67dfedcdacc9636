"""Prose: pages for readers without names, scores that find their students, two readers compared."""

import csv
import json
import math
import re

import pytest

from course.grading import prose
from course.grading.command import grade
from course.grading.manifest import CHECKS

EVIL = "<script>alert(1)</script> & \"quotes\" {{ 7 * 7 }} ``` <img src=x onerror=alert(2)>"
ANSWERS = {"ada": "It is the gap of the bound.", "bo": EVIL, "cleo": "", "dan": "word " * 100}


def block(question, text):
    return f"```text {question}\n% your words\n{text}\n```\n"


@pytest.fixture
def handed_in(tmp_path):
    """Folders of four students, one of whom wrote nothing."""
    for name, text in ANSWERS.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "ch01_elbo.md").write_text("Some words.\n" + block("ch01.explain", text))
    return sorted((tmp_path / "in").iterdir())


def run(paths, tmp_path, *said):
    return grade(list(paths), "native", tmp_path / "grades", 1, 0, None, None, False, "", tmp_path / "read")


def score(tmp_path, reader, points, question="ch01.explain"):
    key = json.loads((tmp_path / "read" / "key.json").read_text())[question]
    codes = {name: code for code, name in key.items()}
    (tmp_path / "read" / f"{question}.{reader}.json").write_text(json.dumps(
        {"question": question, "reader": reader, "scores": {codes[name]: {"points": given, "note": ""} for name, given in points.items()}}))


def test_the_pages_are_blind_whole_and_harmless(handed_in, tmp_path, capsys):
    assert run(handed_in, tmp_path) == 0
    assert "ch01.explain: 3 answers of 4" in capsys.readouterr().err
    page = (tmp_path / "read" / "ch01.explain.html").read_text()
    assert not re.search("ada|cleo|dan|/in/", page)
    assert "It is the gap of the bound." in page
    assert "100 words" in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<img" not in page
    assert not re.search(r"https?://|<link|@import", page)
    for question, spec in prose.load_questions().items():
        assert (tmp_path / "read" / f"{question}.html").is_file()
        for line in spec["rubric"]:
            assert line["name"] in (tmp_path / "read" / f"{question}.html").read_text()


def test_codes_stay_when_more_students_come(handed_in, tmp_path):
    run(handed_in[:2], tmp_path)
    before = json.loads((tmp_path / "read" / "key.json").read_text())["ch01.explain"]
    run(handed_in, tmp_path)
    after = json.loads((tmp_path / "read" / "key.json").read_text())["ch01.explain"]
    assert before.items() <= after.items()
    assert sorted(after.values()) == ["ada", "bo", "dan"]


def test_two_readers_their_agreement_and_the_points(handed_in, tmp_path, capsys):
    run(handed_in, tmp_path)
    report = {"version": 1, "score": 0.0, "max_score": 100.0, "tasks": [], "sandbox": {"active": [], "inactive": {}}, "seed": 0, "versions": {},
              "submission": {"name": "ada"}, "notes": []}
    (tmp_path / "grades" / "ada.json").write_text(json.dumps(report))
    score(tmp_path, "Mx A", {"ada": [1, 0, 1], "bo": [0, 0, 0], "dan": [1, 1, 1]})
    score(tmp_path, "Mx B", {"ada": [1, 1, 1], "bo": [0, 0, 0], "dan": [0, 0, 1]})
    capsys.readouterr()
    assert run([], tmp_path) == 0
    said = capsys.readouterr().err
    assert "Mx A and Mx B on 3 answers: equal 33%, 1.00 points apart on the average, weighted kappa 0.48" in said      # 1 - 5 / (29 / 3)
    assert "talk about" in said                                     # 3 against 1 of 3 points
    rows = list(csv.DictReader((tmp_path / "grades" / "class.csv").open(newline="")))
    assert [(row["name"], row["ch01.explain (read)"]) for row in rows] == [("ada", "2.5")]
    assert prose.points(tmp_path / "read") == {"ada": {"ch01.explain": 2.5}, "bo": {"ch01.explain": 0.0}, "dan": {"ch01.explain": 2.0}}


def test_equal_points_have_no_kappa(handed_in, tmp_path):
    run(handed_in, tmp_path)
    for reader in ("A", "B"):
        score(tmp_path, reader, {"ada": [1, 1, 1], "bo": [1, 1, 1]})
    (found,) = prose.agreements(prose.read_scores(tmp_path / "read"))
    assert found.equal == 1
    assert math.isnan(found.kappa)
    assert not found.talk


@pytest.mark.parametrize(("content", "said"), [
    ("{", "cannot be used"), ("[]", "cannot be used"), ('{"question": "ch01.explain", "reader": "A"}', "scores"),
    ('{"question": "ch09.no", "reader": "A", "scores": {}}', "no question 'ch09.no'"),
    ('{"question": "ch01.explain", "reader": " ", "scores": {}}', "has no name"),
    ('{"question": "ch01.explain", "reader": "A", "scores": {"zzz": {"points": [1, 1, 1]}}}', "no answer has the code"),
    ('{"question": "ch01.explain", "reader": "A", "scores": {"CODE": {"points": [1, 1]}}}', "has 2 points, and the rubric has 3 lines"),
    ('{"question": "ch01.explain", "reader": "A", "scores": {"CODE": {"points": [9, 1, 1]}}}', "which gives 0 to 1"),
    ('{"question": "ch01.explain", "reader": "A", "scores": {"CODE": {"points": [NaN, 1, 1]}}}', "which gives 0 to 1"),
    ('{"question": "ch01.explain", "reader": "A", "scores": {"CODE": {"points": [true, 1, 1]}}}', "which gives 0 to 1"),
])
def test_score_files_that_cannot_be_used(handed_in, tmp_path, content, said, capsys):
    run(handed_in, tmp_path)
    code = next(iter(json.loads((tmp_path / "read" / "key.json").read_text())["ch01.explain"]))
    (tmp_path / "read" / "ch01.explain.A.json").write_text(content.replace("CODE", code))
    assert run([], tmp_path) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "grades" / ".prose.json").exists()


def test_a_lost_or_damaged_key_is_said(handed_in, tmp_path, capsys):
    run(handed_in, tmp_path)
    (tmp_path / "read" / "key.json").write_text("nonsense")
    assert run(handed_in, tmp_path) == 2
    assert "without it no score finds its student" in capsys.readouterr().err
    assert run([], tmp_path / "elsewhere") == 2
    assert "nothing to do" in capsys.readouterr().err


def test_every_question_has_a_block_a_rubric_and_anchors():
    for question, spec in prose.load_questions().items():
        text = "".join(path.read_text() for path in sorted((CHECKS.parent.parent / "exercises").glob(f"{question[:4]}*.md")))
        assert f"```text {question}\n" in text, f"{question} has no block in exercises/"
        scores = {anchor["score"] for anchor in spec["anchors"]}
        assert scores == set(range(spec["points"] + 1))
        assert all(anchor["text"] and anchor["why"] for anchor in spec["anchors"])
    counts = [sum(anchor["score"] == score for anchor in prose.load_questions()["ch01.explain"]["anchors"]) for score in range(4)]
    assert counts == [3, 3, 3, 3]
