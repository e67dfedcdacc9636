"""Every format: golden files, validators that accept them and refuse what is broken, and hostile text made harmless."""

import base64
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from course.grading.writers import FORMATS, SUFFIX, class_csv, classroom_payload, save, validate, write

GOLDEN = Path(__file__).parent / "golden"
NASTY = "</failure>]]>\n::error::pwned\n%0A::set-output name=result::x \x1b[31m=cmd|' /C calc'!A0 ‮ <script>alert(1)</script> \x00"


def report(feedback="alphas_cumprod(betas) is wrong in 10 of 10 values", name="alice", points=(2.0, 3.0, 0.5)):
    def entry(id, score, most, status, cause, words):
        return {"id": id, "score": score, "max_score": most, "status": status, "cause": cause, "feedback": words,
                "title": "A title, with: punctuation"}

    tasks = [entry("ch03.alphas_cumprod", 0.0, points[0], "failed", "wrong_value", feedback),
             entry("ch03.add_noise", points[1], points[1], "passed", None, "4 of 4 checks passed"),
             entry("ch04.posterior", 0.0, points[2], "not_attempted", None, "posterior in ch04_reverse.py is still the stub"),
             entry("ch04.mean", 0.0, 1.0, "failed", "grader_error", "please report this")]
    return {"version": 1, "submission": {"name": name, "path": "/home/teacher/in/alice", "sha256": "0" * 64,
                                         "paths": {"ch03_forward.py": "exercises/ch03_forward.py"}}, "score": sum(t["score"] for t in tasks),
            "max_score": sum(t["max_score"] for t in tasks), "tasks": tasks,
            "sandbox": {"level": "FULL", "active": ["rlimits"], "inactive": {"uid": "why"}}, "seed": 7,
            "versions": {"course": "0.1.0", "torch": "2.0", "python": "3.11"}, "seconds": 1.5, "notes": []}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for key, value in {"CLASSROOM": "fall", "ASSIGNMENT": "diffusion", "OWNER": "octocat", "SUBMISSION_TAG": "submit/3",
                       "COMMIT_URL": "https://github.com/o/r/commit/1", "RELEASE_URL": "https://github.com/o/r/releases/1",
                       "REVIEW_URL": "https://github.com/o/r/pull/1", "SUBMISSION_DATETIME": "2026-01-02T03:04:05Z",
                       "ASSIGNMENT_TYPE": "individual"}.items():
        monkeypatch.setenv(key, value)


@pytest.mark.parametrize("format", FORMATS)
def test_golden_files(format):
    """To renew them after a change that is meant: delete the file, run the test, read what it wrote."""
    path = GOLDEN / f"report{SUFFIX[format]}"
    text = write(report(), format)
    validate(text, format)
    if not path.exists():
        save(path, text)
        pytest.fail(f"{path.name} was missing and has been written; look at it and run this again")
    assert text == path.read_bytes().decode()


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_text_stays_text(format):
    text = write(report(NASTY, name="=cmd"), format)
    validate(text, format)
    if format != "native":
        assert "\n::error::pwned" not in text
    assert "\x1b" not in text
    assert "\x00" not in text
    if format == "junit":
        root = ElementTree.fromstring(text)
        assert len(root.findall(".//failure")) == 1
    if format == "csv":
        assert "\r\n'=cmd," in text


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_how_to_repeat_the_run_and_what_was_odd(format):
    text = write({**report(), "seed": 87654321, "notes": ["Ch03_Forward.py was taken for ch03_forward.py"]}, format)
    assert "87654321" in text
    assert "taken for ch03" in text.replace("&#95;", "_")
    validate(text, format)


def test_students_do_not_see_paths_of_the_grader():
    for format in set(FORMATS) - {"native", "csv"}:
        assert "/home/teacher" not in write(report(), format)


def test_github_keeps_ten_annotations_and_they_stand_at_the_code():
    def failed(n, points):
        return {"id": f"ch03.t{n}", "title": f"T{n}", "score": 0.0, "max_score": points, "status": "failed", "cause": "exception",
                "feedback": f"t{n} raised ValueError: x, line {n + 1}: `y`"}

    many = {**report(), "tasks": [failed(n, float(n + 1)) for n in range(30)], "score": 0.0, "max_score": 465.0}
    lines = write(many, "github").split("\n")[:-1]
    validate("\n".join(lines) + "\n", "github")
    assert len(lines) == 10
    assert lines[0] == "::notice title=Autograding complete::Points 0/465"
    assert lines[3].startswith("::error file=exercises/ch03_forward.py,line=30,title=ch03.t29 T29 (0/30)::")
    assert "24 more tasks failed" in lines[-1]
    for format in ("github", "markdown"):
        assert "### " not in write(report("see [x](http://evil) ![y](z) @all <b>"), format)
    assert not set("[]<>@") & set(write(report("see [x](http://evil) @all <b>"), "markdown"))


def test_classroom_fifty_wants_whole_numbers(monkeypatch):
    half = json.loads(write(report(), "classroom50"))
    assert (half["score"], half["max-score"]) == (300, 650)
    whole = json.loads(write(report(points=(2.0, 3.0, 1.0)), "classroom50"))
    assert (whole["score"], whole["max-score"]) == (3, 7)
    assert [json.loads(write(report(), "classroom50"))["assignment_type"] for kind in ("team", "group", "club", "")
            if not monkeypatch.setenv("ASSIGNMENT_TYPE", kind)] == ["group", "group", "group", "individual"]
    assert whole["tests"][1] == {"test-name": "ch03.add_noise A title, with: punctuation", "passed": True, "score": 3,
                                 "max-score": 3, "output": "passed: 4 of 4 checks passed"}


def test_reports_are_what_their_schema_says():
    """The schema is the documentation: docs/instructors/report.md is made from it."""
    import jsonschema

    import course
    from course.grading.errors import CAUSES

    schema = json.loads((Path(course.__file__).parent / "grading" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    good = report()
    jsonschema.validate(good, schema)
    assert set(schema["properties"]["tasks"]["items"]["properties"]["cause"]["enum"]) == {None, *CAUSES}
    for key in schema["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in good.items() if k != key}, schema)


def test_junit_is_what_jenkins_accepts():
    xmlschema = pytest.importorskip("xmlschema")
    schema = xmlschema.XMLSchema(Path(__file__).parent / "schemas" / "junit-10.xsd")          # of jenkinsci/xunit-plugin, MIT
    schema.validate(write({**report(NASTY), "notes": [NASTY]}, "junit"))
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate(write(report(), "junit").replace("<testsuites ", '<testsuites skipped="1" '))


def test_the_older_classroom_reporter():
    payload = classroom_payload(report(NASTY))
    assert "\n" not in payload
    data = json.loads(base64.b64decode(payload))
    assert sum(t["score"] for t in data["tests"]) == 3
    assert all(t["line_no"] == 0 and t["filename"] == "" and "score" in t for t in data["tests"])
    assert data["tests"][1]["name"].endswith("(3/3)")
    empty = {**report(), "tasks": [], "score": 0, "max_score": 0}
    assert len(json.loads(base64.b64decode(classroom_payload(empty)))["tests"]) == 1


@pytest.mark.parametrize(("format", "old", "new"), [
    ("native", '"version": 1', '"version": 2'), ("native", '"cause": "wrong_value"', '"cause": "bad luck"'),
    ("native", '"score": 3.0', '"score": 4.0'), ("native", '"cause": "wrong_value"', '"cause": null'),
    ("native", '"seed": 7', '"seed": "7"'), ("native", '"score": 0.0', '"score": NaN'), ("native", "{", "["),
    ("gradescope", '"execution_time": 1.5', '"execution_time": "1.5"'), ("gradescope", '"visible"', '"public"'),
    ("gradescope", '"failed"', '"error"'), ("gradescope", '"extra_data"', '"extra"'), ("gradescope", '"score"', '"points"'),
    ("classroom50", '"max-score"', '"max_score"'), ("classroom50", "classroom50/result/v1", "classroom50/result/v2"),
    ("classroom50", '"score": 300', '"score": 300.5'), ("classroom50", "submit/3", "3"), ("classroom50", "05Z", "05"),
    ("classroom50", '"score": 300,\n   "max-score": 300', '"score": 301,\n   "max-score": 300'),
    ("github", "::error", "\n::error"), ("github", "Points", "\x00Points\nx"), ("github", "::error", "::notice title=x::y\n" * 10 + "::error"),
    ("github", "::notice", "::notice title=x::y\n::notice"), ("markdown", "| task", "<b>| task"), ("html", "<main>", "<main><script>"), ("html", "</html>", ""), ("github", "%25", "%"),
    ("junit", 'failures="1"', 'failures="2"'), ("junit", "</testsuites>", ""), ("junit", 'classname="ch03"', ""),
    ("csv", "alice", "=alice"), ("csv", "alice,", "alice,,"), ("csv", "name,score", "score,name"),
])
def test_validators_refuse(format, old, new):
    text = write(report("10% of it is wrong"), format)
    assert old in text
    with pytest.raises((ValueError, KeyError)):
        validate(text.replace(old, new, 1), format)


def test_a_class_is_a_table():
    rows = class_csv([report(name="bob"), report(name="alice"), report(name="@eve")]).split("\r\n")
    assert [row.split(",")[0] for row in rows[1:-1]] == ["'@eve", "alice", "bob"]
    assert rows[0].endswith("ch04.mean cause")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a" / "x.json"
    save(path, "one")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(path, "two")
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]
