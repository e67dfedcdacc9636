"""One report, many formats. `write(report, format)` gives the text; `validate(text, format)` raises ValueError if it is bad.

    native       JSON, version 1: everything, for instructors
    gradescope   /autograder/results/results.json
    classroom50  result.json of Classroom 50, `classroom50/result/v1`, whole numbers only
    github       GitHub Actions annotations, ten at most; `classroom_payload` is what the older Classroom reporter reads
    junit        JUnit XML
    csv          one row per submission
    markdown     a table: GitHub's step summary, the body of a Classroom 50 release
    html         a page to give back: self-contained, printable

What students see (every format but native and csv) is built from a list of allowed fields: id, title, score, status, cause,
feedback, the notes on what was handed in, and the seed, with which anybody can repeat the run. Paths of the grader and
details of hidden checks are not among them. Feedback is one line of printable ASCII before it comes here, and is escaped
again for each format.
"""

from __future__ import annotations

import base64
import csv
import datetime
import io
import json
import os
import re
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from course.grading.errors import CAUSES
from course.grading.values import plain

STATUSES = ("passed", "failed", "not_attempted")
SUFFIX = {"native": ".json", "gradescope": ".gradescope.json", "classroom50": ".classroom50.json", "github": ".github.txt",
          "junit": ".junit.xml", "csv": ".csv", "markdown": ".md", "html": ".html"}


def write(report: dict[str, Any], format: str) -> str:
    """The report as text in one of the formats."""
    return _WRITERS[format](report)


def validate(text: str, format: str) -> None:
    """Raise ValueError, saying what is wrong, unless `text` is acceptable to the readers of that format."""
    _VALIDATORS[format](text)


def save(path: Path, text: str) -> None:
    """Write a file so that it holds either what it held before or all of `text`. A device or a pipe is written to."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8", newline="")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as handle:
            handle.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _title(task: Mapping[str, Any]) -> str:
    return f"{task['id']} {plain(task.get('title', ''), 120)}".strip()


def _words(task: Mapping[str, Any]) -> str:
    """The feedback that a student may see."""
    head = {"passed": "passed", "not_attempted": "not attempted"}.get(task["status"]) or \
        f"failed ({str(task['cause']).replace('_', ' ')})"
    feedback = plain(task["feedback"], 2000)
    return f"{head}: {feedback}" if feedback else head


def _remarks(report: Mapping[str, Any]) -> list[str]:
    """What is to be said besides the verdicts: notes on the files, and how to repeat the run."""
    return [*(plain(note, 400) for note in report.get("notes", [])),
            f"graded with seed {report['seed']}: the same seed gives the same inputs"]


def number(value: float) -> str:
    return f"{value:g}"


# ---------------------------------------------------------------- native

def _native(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1) + "\n"


def _check_native(text: str) -> None:
    data = _object(text)
    _require(data.get("version") == 1, "version is not 1")
    _require(_number(data.get("score")) and _number(data.get("max_score")), "score and max_score must be numbers")
    _require(isinstance(data.get("tasks"), list), "tasks must be a list")
    for task in data["tasks"]:
        where = f"task {task.get('id')!r}"
        _require(isinstance(task.get("id"), str), "a task has no id")
        _require(_number(task.get("score")) and _number(task.get("max_score")), f"{where}: scores must be numbers")
        _require(0 <= task["score"] <= task["max_score"], f"{where}: score is not between 0 and max_score")
        _require(task.get("status") in STATUSES, f"{where}: unknown status {task.get('status')!r}")
        _require(isinstance(task.get("feedback"), str), f"{where}: feedback must be text")
        if task["status"] == "failed":
            _require(task.get("cause") in CAUSES, f"{where}: unknown cause {task.get('cause')!r}")
        else:
            _require(task.get("cause") is None, f"{where}: only a failed task has a cause")
    total = sum(task["score"] for task in data["tasks"])
    _require(abs(total - data["score"]) < 1e-6, "score is not the sum of the tasks' scores")
    sandbox = data.get("sandbox")
    _require(isinstance(sandbox, dict) and isinstance(sandbox.get("active"), list)
             and isinstance(sandbox.get("inactive"), dict), "sandbox must have active and inactive")
    _require(isinstance(data.get("seed"), int) and isinstance(data.get("versions"), dict), "seed or versions is missing")


# ---------------------------------------------------------------- Gradescope (autograder docs, "Autograder specifications")

def _gradescope(report: dict[str, Any]) -> str:
    tests = [{"name": _title(t), "name_format": "text", "number": f"{i}", "score": t["score"], "max_score": t["max_score"],
              "status": "passed" if t["status"] == "passed" else "failed", "output": _words(t), "output_format": "text",
              "visibility": "visible"} for i, t in enumerate(report["tasks"], 1)]
    return json.dumps({"score": report["score"], "execution_time": report.get("seconds", 0.0),
                       "output": "\n".join([_summary(report), *_remarks(report)]), "output_format": "text", "test_output_format": "text",
                       "visibility": "visible", "stdout_visibility": "hidden", "tests": tests,
                       "extra_data": {"versions": report["versions"], "isolation": report["sandbox"].get("level", ""),
                                      "seed": report["seed"], "sha256": report["submission"].get("sha256", "")}},
                      indent=1) + "\n"


def _summary(report: dict[str, Any]) -> str:
    passed = sum(t["status"] == "passed" for t in report["tasks"])
    todo = sum(t["status"] == "not_attempted" for t in report["tasks"])
    return (f"{number(report['score'])} of {number(report['max_score'])} points; {passed} of {len(report['tasks'])} tasks "
            f"passed, {todo} not attempted")


_VISIBILITY = {"hidden", "after_due_date", "after_published", "visible"}
_TEXT_FORMATS = {"text", "html", "simple_format", "md", "ansi"}


def _check_gradescope(text: str) -> None:
    data = _object(text)
    known = {"score", "execution_time", "output", "output_format", "test_output_format", "test_name_format", "visibility",
             "stdout_visibility", "extra_data", "tests", "leaderboard"}
    _require(set(data) <= known, f"unknown fields {sorted(set(data) - known)}")
    tests = data.get("tests", [])
    _require(_number(data.get("score")) or any(_number(t.get("score")) for t in tests), "there is no score")
    _require(data.get("execution_time") is None or _number(data["execution_time"]), "execution_time must be a number")
    for key in ("visibility", "stdout_visibility"):
        _require(data.get(key, "visible") in _VISIBILITY, f"{key} is not one of {sorted(_VISIBILITY)}")
    for key in ("output_format", "test_output_format", "test_name_format"):
        _require(data.get(key, "text") in _TEXT_FORMATS, f"{key} is not one of {sorted(_TEXT_FORMATS)}")
    known = {"score", "max_score", "status", "name", "name_format", "number", "output", "output_format", "tags", "visibility",
             "extra_data"}
    for test in tests:
        _require(set(test) <= known, f"a test has unknown fields {sorted(set(test) - known)}")
        for key in ("score", "max_score"):
            _require(key not in test or _number(test[key]), f"{key} of a test must be a number")
        _require(test.get("status", "passed") in ("passed", "failed"), "status of a test is passed or failed")
        for key in ("name", "number", "output"):
            _require(isinstance(test.get(key, ""), str), f"{key} of a test must be text")
        _require(test.get("visibility", "visible") in _VISIBILITY, "visibility of a test is unknown")
        _require(test.get("output_format", "text") in _TEXT_FORMATS, "output_format of a test is unknown")


# ---------------------------------------------------------------- Classroom 50 (schemas/result-v1.schema.json)

CLASSROOM_TYPES = ("individual", "group")          # the runner also sends team, and writes its own word over ours


def _classroom50(report: dict[str, Any], environment: Mapping[str, str] | None = None) -> str:
    env = os.environ if environment is None else environment
    whole = all(float(t["max_score"]).is_integer() and float(t["score"]).is_integer() for t in report["tasks"])
    scale = 1 if whole else 100          # only whole numbers are accepted: half points become hundredths
    tests = [{"test-name": _title(t), "passed": t["status"] == "passed", "score": round(t["score"] * scale),
              "max-score": round(t["max_score"] * scale), "output": _words(t)} for t in report["tasks"]]
    owner = env.get("OWNER") or env.get("USERNAME") or report["submission"]["name"]
    tag = env.get("SUBMISSION_TAG") or "submit/local"
    return json.dumps({
        "schema": "classroom50/result/v1",
        "classroom": env.get("CLASSROOM") or "diffusion-course",
        "assignment": env.get("ASSIGNMENT") or "exercises",
        "assignment_type": kind if (kind := env.get("ASSIGNMENT_TYPE") or "individual") in CLASSROOM_TYPES else "group",
        "owner": owner,
        "submission": tag if tag.startswith("submit/") else f"submit/{tag}",
        "commit": env.get("COMMIT_URL") or "https://github.com/",
        "release": env.get("RELEASE_URL") or "https://github.com/",
        "review": env.get("REVIEW_URL") or "https://github.com/",
        "datetime": env.get("SUBMISSION_DATETIME") or datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "score": sum(t["score"] for t in tests),
        "max-score": sum(t["max-score"] for t in tests),
        "tests": [*tests, {"test-name": "About this run", "passed": True, "score": 0, "max-score": 0,
                           "output": "\n".join(_remarks(report))}],
    }, indent=1) + "\n"


def _check_classroom50(text: str) -> None:
    data = _object(text)
    required = {"schema", "classroom", "assignment", "assignment_type", "owner", "submission", "commit", "release", "review",
                "datetime", "score", "max-score", "tests"}
    _require(required <= set(data), f"fields are missing: {sorted(required - set(data))}")
    _require(set(data) <= required | {"graded_at", "submitted_by"}, "there are unknown fields")
    _require(data["schema"] == "classroom50/result/v1", "schema is not classroom50/result/v1")
    _require(data["assignment_type"] in CLASSROOM_TYPES, f"assignment_type is one of {', '.join(CLASSROOM_TYPES)}")
    _require(data["submission"].startswith("submit/"), "submission must begin with submit/")
    _require(re.fullmatch(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", data["datetime"]) is not None, "datetime is not in UTC form")
    for key in ("commit", "release", "review"):
        _require(data[key].startswith("https://"), f"{key} is not a URL")
    for item in [data, *data["tests"]]:
        for key in ("score", "max-score"):
            _require(type(item.get(key)) is int and item[key] >= 0, f"{key} must be a whole number, 0 or more")
        _require(item["score"] <= item["max-score"], "score is above max-score")
    for test in data["tests"]:
        _require(isinstance(test.get("test-name"), str) and isinstance(test.get("passed"), bool), "a test lacks name or passed")


# ---------------------------------------------------------------- GitHub

def _github(report: dict[str, Any]) -> str:
    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def prop(text: str) -> str:
        return data(text).replace(":", "%3A").replace(",", "%2C")

    total, most = number(report["score"]), number(report["max_score"])
    payload = json.dumps({"totalPoints": report["score"], "maxPoints": report["max_score"]})
    lines = [f"::notice title=Autograding complete::Points {total}/{most}",
             f"::notice title=Autograding report::{data(payload)}",
             f"::notice title=About this run::{data('; '.join(_remarks(report)))}"]
    failed = sorted((t for t in report["tasks"] if t["status"] == "failed"), key=lambda t: t["score"] - t["max_score"])
    room = ANNOTATIONS - len(lines)
    shown = failed if len(failed) <= room else failed[:room - 1]
    for task in shown:
        points = f" ({number(task['score'])}/{number(task['max_score'])})"
        lines.append(f"::error {_place(report, task, prop)}title={prop(_title(task) + points)}::{data(_words(task))}")
    if len(shown) < len(failed):
        rest = ", ".join(task["id"] for task in failed[len(shown):])
        lines.append(f"::error title={len(failed) - len(shown)} more tasks failed::{data(rest)}; the summary of this run has them all")
    return "\n".join(lines) + "\n"


ANNOTATIONS = 10          # of a kind that GitHub keeps for one step (actions/toolkit, docs/problem-matchers.md)


def _place(report: Mapping[str, Any], task: Mapping[str, Any], prop: Callable[[str], str]) -> str:
    """`file=...,line=...,` of the student's file that a failed task is about."""
    paths = report["submission"].get("paths", {})
    written = re.search(r"\bch\d\d_\w+\.(?:py|md)\b", task["feedback"])
    names = [written.group()] if written else [name for name in paths if name.startswith(task["id"][:4])]
    path = next((paths[name] for name in names if name in paths), "")
    if not path:
        return ""
    line = re.search(r", line (\d+)\b", task["feedback"])
    return f"file={prop(path)}," + (f"line={line.group(1)}," if line else "")


def _check_github(text: str) -> None:
    lines = text.split("\n")
    _require(lines[-1] == "", "the last line is not ended")
    _require(len(lines) - 1 <= ANNOTATIONS, f"more than {ANNOTATIONS} annotations, of which GitHub drops the rest")
    for line in lines[:-1]:
        match = re.fullmatch(r"::(notice|error|warning) (file=[^:,\r\n]+,(?:line=\d+,)?)?title=([^:,\r\n]*)::([^\r\n]*)", line)
        _require(match is not None, f"not an annotation: {line[:80]!r}")
        assert match is not None
        for part in match.groups("")[1:]:
            _require(re.search(r"%(?!25|0D|0A|3A|2C)", part) is None, f"a % is not escaped: {part[:80]!r}")
    _require("title=Autograding complete::Points " in lines[0], "the total does not come first")


def classroom_payload(report: dict[str, Any]) -> str:
    """The `result` of a step for `classroom-resources/autograding-grading-reporter`: base64 of JSON, one line.

    That reporter needs at least one test, a score for each, and line_no 0; its table counts tests, so names carry points.
    """
    most = report["max_score"]
    tests = [{"name": f"{_title(t)} ({number(t['score'])}/{number(t['max_score'])})",
              "status": "pass" if t["status"] == "passed" else "fail", "message": _words(t)[:500], "test_code": "",
              "filename": "", "line_no": 0, "duration": 0, "score": t["score"]} for t in report["tasks"]]
    if not tests:
        tests = [{"name": "no tasks", "status": "fail", "message": "", "test_code": "", "filename": "", "line_no": 0,
                  "duration": 0, "score": 0}]
    payload = {"version": 3, "status": "pass" if report["score"] == most else "fail", "max_score": most, "tests": tests}
    return base64.b64encode(json.dumps(payload).encode()).decode()


# ---------------------------------------------------------------- JUnit

def _junit(report: dict[str, Any]) -> str:
    tasks = report["tasks"]
    errors = sum(t["cause"] == "grader_error" for t in tasks)
    counts = {"tests": str(len(tasks)), "failures": str(sum(t["status"] == "failed" for t in tasks) - errors),
              "errors": str(errors), "time": str(report.get("seconds", 0.0))}
    root = ElementTree.Element("testsuites", counts)          # without skipped: the Jenkins schema has none there
    suite = ElementTree.SubElement(root, "testsuite", {
        "name": plain(report["submission"]["name"], 100), **counts,
        "skipped": str(sum(t["status"] == "not_attempted" for t in tasks))})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("score", number(report["score"])), ("max_score", number(report["max_score"])),
                        *(("note", remark) for remark in _remarks(report))):
        ElementTree.SubElement(properties, "property", {"name": name, "value": value})
    for task in tasks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": task["id"].split(".")[0], "name": _title(task),
                                                          "time": "0"})
        if task["status"] == "not_attempted":
            ElementTree.SubElement(case, "skipped", {"message": _words(task)})
        elif task["status"] == "failed":
            kind = "error" if task["cause"] == "grader_error" else "failure"
            ElementTree.SubElement(case, kind, {"type": task["cause"], "message": _words(task)})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _check_junit(text: str) -> None:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    _require(root.tag == "testsuites", "the root is not testsuites")
    _require("skipped" not in root.attrib, "the Jenkins schema has no skipped at testsuites")
    for suite in (root, *root):
        cases = list(suite.iter("testcase"))
        for key, tag in (("failures", "failure"), ("errors", "error"), *([] if suite is root else [("skipped", "skipped")])):
            _require(suite.get(key) == str(sum(c.find(tag) is not None for c in cases)), f"{key} does not agree with the cases")
        _require(suite.get("tests") == str(len(cases)), "tests does not agree with the cases")
        _require(all(c.get("name") and c.get("classname") for c in cases), "a case has no name")


# ---------------------------------------------------------------- CSV

def safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def class_csv(reports: Iterable[dict[str, Any]], prose: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """A row per submission: name, score, then the score of each task and, if it failed, why, and last what people gave its `prose`:
    {name: {question: points}}, which is not part of the score."""
    reports = sorted(reports, key=lambda r: r["submission"]["name"])
    ids = list(dict.fromkeys(t["id"] for r in reports for t in r["tasks"]))
    read = sorted({question for given in (prose or {}).values() for question in given})
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(["name", "score", "max_score", "passed", "failed", "not_attempted", "isolation", "notes", "path", "sha256", "seed",
                   *ids, *(f"{i} cause" for i in ids), *(f"{i} (read)" for i in read)])
    for report in reports:
        tasks = {t["id"]: t for t in report["tasks"]}
        given = (prose or {}).get(report["submission"]["name"], {})
        count = [sum(t["status"] == s for t in tasks.values()) for s in STATUSES]
        rows.writerow([safe(report["submission"]["name"]), number(report["score"]), number(report["max_score"]), *count,
                       safe(report["sandbox"].get("level", "")), safe("; ".join(plain(n) for n in report.get("notes", []))),
                       safe(report["submission"].get("path", "")), report["submission"].get("sha256", ""), report["seed"],
                       *(number(tasks[i]["score"]) if i in tasks else "" for i in ids),
                       *(safe(tasks[i]["cause"] or "") if i in tasks else "" for i in ids),
                       *(number(given[i]) if i in given else "" for i in read)])
    return out.getvalue()


def _check_csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    _require(len(rows) > 0 and rows[0][:3] == ["name", "score", "max_score"], "the header is missing")
    for row in rows[1:]:
        _require(len(row) == len(rows[0]), f"a row has {len(row)} cells, the header {len(rows[0])}")
        _require(not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r") for cell in row), "a cell would be taken for a formula")
        float(row[1])


# ---------------------------------------------------------------- Markdown and HTML, to be read by the student

_MARKS = {"passed": "passed", "failed": "failed", "not_attempted": "not attempted"}


def _markdown_text(text: str) -> str:
    """Text that stays text in Markdown: no links, pictures, mentions or HTML."""
    return re.sub(r"[^A-Za-z0-9 .,;=/'\"-]", lambda m: f"&#{ord(m.group())};", text)


def _markdown(report: dict[str, Any]) -> str:
    lines = [f"## {_markdown_text(_summary(report))}", ""]
    lines += [f"- {_markdown_text(remark)}" for remark in _remarks(report)]
    lines += ["", "| task | points | verdict |", "|---|---|---|"]
    for task in report["tasks"]:
        lines.append(f"| {_markdown_text(_title(task))} | {number(task['score'])} of {number(task['max_score'])} "
                     f"| {_markdown_text(_words(task))} |")
    return "\n".join(lines) + "\n"


def _check_markdown(text: str) -> None:
    lines = text.split("\n")
    _require(lines[0].startswith("## ") and "| task | points | verdict |" in lines, "the heading or the table is missing")
    _require(re.search(r"[<>\x00-\x09\x0b-\x1f]", text) is None, "there is HTML or a control character")


def _html(report: dict[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(loader=jinja2.PackageLoader("course.grading"), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    chapters: dict[str, list[dict[str, Any]]] = {}
    for task in report["tasks"]:
        chapters.setdefault(task["id"].partition(".")[0], []).append(
            {"id": task["id"], "title": plain(task.get("title", ""), 120), "status": task["status"],
             "mark": _MARKS[task["status"]], "words": _words(task), "points": number(task["score"]), "most": number(task["max_score"])})
    return environment.get_template("feedback.html").render(
        name=report["submission"]["name"], summary=_summary(report), remarks=_remarks(report), chapters=chapters,
        share=100 * report["score"] / report["max_score"] if report["max_score"] else 0,
        versions=", ".join(f"{key} {plain(value, 60)}" for key, value in sorted(report["versions"].items())))


def _check_html(text: str) -> None:
    _require(text.startswith("<!doctype html>") and text.rstrip().endswith("</html>"), "not a whole HTML page")
    _require(re.search(r"<script|<link|<img|https?://|@import|\bon\w+=", text) is None, "it loads or runs something")


# ----------------------------------------------------------------

def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(f"{name} is not JSON")))
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    _require(isinstance(data, dict), "not a JSON object")
    return data


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


_WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "native": _native, "gradescope": _gradescope, "classroom50": _classroom50, "github": _github, "junit": _junit,
    "csv": lambda report: class_csv([report]), "markdown": _markdown, "html": _html}
_VALIDATORS: dict[str, Callable[[str], None]] = {
    "native": _check_native, "gradescope": _check_gradescope, "classroom50": _check_classroom50, "github": _check_github,
    "junit": _check_junit, "csv": _check_csv, "markdown": _check_markdown, "html": _check_html}
FORMATS = tuple(_WRITERS)
