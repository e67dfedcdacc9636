"""A class at a glance: `course class grades/` reads the reports that `course grade` wrote, and grades nothing.

It writes, beside them, class.html (one page that loads nothing), items.csv (what was hard, and which mistakes were made), and
with a roster marks.csv, missing.csv and files for the grade books of Canvas, Moodle and Blackboard.
"""

from __future__ import annotations

import collections
import csv
import datetime
import hashlib
import io
import json
import math
import statistics
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course.grading import similar
from course.grading.assignment import Assignment, Person, owners
from course.grading.bulk import reports_in
from course.grading.manifest import load_tasks, stub_files, wanted_files
from course.grading.submission import read_submission, shown
from course.grading.writers import number, safe, save

LAST = ".class-last.json"          # the marks of the last look, to say what has changed since
MOST_PAIRS = 30


@dataclass(frozen=True)
class Mark:
    """What one person gets: `points` before and `final` after lateness; None if a person has to decide, and `note` says what."""

    person: Person
    submissions: tuple[str, ...]
    points: float | None
    days: int
    final: float | None
    note: str


def items(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For every task: how many passed, failed and did not try; the share of its points reached; how well it tells strong from weak
    submissions (the correlation of its points with those of all other tasks, or None); and the mistakes that were named."""
    totals = [report["score"] for report in reports]
    found: dict[str, dict[str, Any]] = {}
    points: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
    for report, total in zip(reports, totals, strict=True):
        for task in report["tasks"]:
            item = found.setdefault(task["id"], {
                "task": task["id"], "title": task.get("title", ""), "points": task["max_score"], "passed": 0, "failed": 0,
                "not_attempted": 0, "reached": 0.0, "mistakes": collections.Counter(), "causes": collections.Counter()})
            item[task["status"]] += 1
            item["reached"] += task["score"]
            if task.get("mistake"):
                item["mistakes"][task["mistake"]] += 1
            if task["cause"]:
                item["causes"][task["cause"]] += 1
            points[task["id"]].append((task["score"], total - task["score"]))
    for item in found.values():
        count = item["passed"] + item["failed"] + item["not_attempted"]
        item["share"] = item["reached"] / (item["points"] * count) if item["points"] else 0.0
        item["discrimination"] = _correlation(points[item["task"]])
    return list(found.values())


def _correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    try:
        return round(statistics.correlation([a for a, _ in pairs], [b for _, b in pairs]), 2)
    except statistics.StatisticsError:          # fewer than two, or all the same
        return None


def marks(people: Sequence[Person], reports: Mapping[str, Mapping[str, Any]], assignment: Assignment,
          times: Mapping[str, datetime.datetime]) -> tuple[list[Mark], dict[str, str]]:
    """(a mark for every person of the roster, what is wrong with submissions that belong to nobody for certain)."""
    belongs = owners(people, [report["submission"] for report in reports.values()])
    stray = {name: "belongs to nobody on the roster" if not found else "may belong to " + ", ".join(p.id for p in found)
             for name, found in belongs.items() if len(found) != 1}
    of_person: dict[str, list[str]] = collections.defaultdict(list)
    for name, found in belongs.items():
        if len(found) == 1:
            of_person[found[0].id].append(name)
    return [_mark(person, sorted(of_person[person.id]), reports, assignment, times) for person in people], stray


def _mark(person: Person, names: list[str], reports: Mapping[str, Mapping[str, Any]], assignment: Assignment,
          times: Mapping[str, datetime.datetime]) -> Mark:
    if not names:
        return Mark(person, (), 0.0, 0, 0.0, "nothing was handed in")
    notes, found = [], []
    for name in names:
        score = float(reports[name]["score"])
        days = assignment.late_days(person.id, times[name]) if name in times else 0
        found.append((assignment.after_late(score, days), times.get(name), name, score, days))
    if len(found) > 1:
        if assignment.several == "ask" or (assignment.several == "last" and not all(time for _, time, *_ in found)):
            why = "" if assignment.several == "ask" else " and not all have a time"
            return Mark(person, tuple(names), None, 0, None, f"{len(names)} hand-ins{why}: {', '.join(names)}; decide which counts")
        notes.append(f"{assignment.several} of {len(names)}: {', '.join(names)}")
    by_time = assignment.several == "last" and len(found) > 1          # then every time is known
    final, time, _, score, days = max(found, key=lambda f: f[1].timestamp() if by_time and f[1] else f[0])
    if days:
        notes.append(f"{days} {'day' if days == 1 else 'days'} late")
    if assignment.deadline and time is None:
        notes.append("when it was handed in is not known")
    return Mark(person, tuple(names), score, days, final, "; ".join(notes))


def times_of(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, datetime.datetime]:
    """When a submission was handed in, from the collected.csv or times.csv (columns name and time, with a zone) beside it."""
    tables: dict[Path, dict[str, datetime.datetime]] = {}
    found = {}
    for name, report in reports.items():
        path = Path(report["submission"].get("path") or ".")
        if path.parent not in tables:
            tables[path.parent] = _times(path.parent)
        stem = unicodedata.normalize("NFC", path.name.removesuffix(".tar"))
        if (time := tables[path.parent].get(stem)) is not None:
            found[name] = time
    return found


def _times(folder: Path) -> dict[str, datetime.datetime]:
    found = {}
    for table in (folder / "collected.csv", folder / "times.csv"):
        try:
            with open(table, encoding="utf-8-sig", newline="") as handle:
                for row in csv.DictReader(handle):
                    if row.get("name") and row.get("time"):
                        time = datetime.datetime.fromisoformat(row["time"].strip().replace(" UTC", "+00:00"))
                        if time.tzinfo is not None:
                            found[unicodedata.normalize("NFC", row["name"].strip().lstrip("'"))] = time
        except (OSError, ValueError, csv.Error):
            continue
    return found


# ---------------------------------------------------------------- tables

def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([safe(str(cell)) for cell in row] for row in rows)
    return out.getvalue()


def _points(value: float | None) -> str:
    return "" if value is None else number(round(value, 2))


def tables(found: Sequence[Mark], stray: Mapping[str, str], title: str, most: float) -> dict[str, str]:
    """The CSV files for a roster, by name. A mark that somebody has to decide on is empty, so that no grade book takes it for 0."""
    def names(person: Person) -> tuple[str, str]:
        last, comma, first = person.name.partition(",")
        return (last.strip(), first.strip()) if comma else (person.name.rpartition(" ")[2], person.name.rpartition(" ")[0])

    people = [mark.person for mark in found]
    return {
        "marks.csv": _table(["id", "name", "mail", "submissions", "points", "days_late", "final", "note"], [
            [m.person.id, m.person.name, m.person.mail, " ".join(m.submissions), _points(m.points), m.days, _points(m.final), m.note]
            for m in found]),
        "missing.csv": _table(["id", "name", "mail"], [[m.person.id, m.person.name, m.person.mail] for m in found if not m.submissions]),
        "unknown.csv": _table(["submission", "why"], stray.items()),
        "canvas.csv": _table(["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title], [
            ["    Points Possible", "", "", "", "", number(most)],
            *([", ".join(filter(None, names(m.person))), m.person.row.get("canvas", ""), m.person.id, m.person.mail,
               m.person.row.get("section", ""), _points(m.final)] for m in found)]),
        "moodle.csv": _table(["Identifier", "ID number", "Full name", "Email address", "Grade", "Maximum grade", "Feedback comments"], [
            [p.row.get("moodle", ""), p.id, p.name, p.mail, _points(m.final), number(most), m.note]
            for p, m in zip(people, found, strict=True)]),
        "blackboard.csv": _table(["Last Name", "First Name", "Username", f"{title} [Total Pts: {number(most)} Score]"], [
            [*names(m.person), m.person.id, _points(m.final)] for m in found]),
    }


def items_csv(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for each task."""
    return _table(["task", "points", "passed", "failed", "not_attempted", "share_of_points", "discrimination",
                   "most_frequent_mistake", "times"], [
        [i["task"], number(i["points"]), i["passed"], i["failed"], i["not_attempted"], f"{i['share']:.3f}",
         "" if i["discrimination"] is None else i["discrimination"], *(i["mistakes"].most_common(1) or [("", "")])[0]] for i in found])


# ---------------------------------------------------------------- the page

def histogram(scores: Sequence[float], most: float, bins: int = 20) -> list[tuple[str, int]]:
    """(from - to, how many) for equal parts of 0 to `most`; what is above (extra points) is in the last."""
    step = most / bins if most else 1.0
    counts = collections.Counter(min(bins - 1, max(0, math.floor(score / step))) for score in scores)
    return [(f"{number(round(n * step, 2))} to {number(round((n + 1) * step, 2))}", counts[n]) for n in range(bins)]


def _since(folder: Path, scores: Mapping[str, float]) -> list[dict[str, Any]] | None:
    """What changed since the last look; None at the first."""
    try:
        before = json.loads((folder / LAST).read_text(encoding="utf-8"))
        return [{"name": name, "before": before.get(name), "after": scores.get(name)} for name in sorted({*before, *scores})
                if before.get(name) != scores.get(name)]
    except (OSError, ValueError, AttributeError):
        return None


def page(folder: Path, reports: Mapping[str, Mapping[str, Any]], found: Sequence[Mapping[str, Any]], title: str,
         roster: tuple[Sequence[Mark], Mapping[str, str]] | None = None) -> str:
    """The whole class as one HTML page."""
    import jinja2

    scores = {name: float(report["score"]) for name, report in reports.items()}
    most = max((float(report["max_score"]) for report in reports.values()), default=0.0)
    chapters: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    for item in found:
        count = item["passed"] + item["failed"] + item["not_attempted"]
        chapters[item["task"][:4]][0] += item["reached"] / count if count else 0.0
        chapters[item["task"][:4]][1] += item["points"]
    mistakes = sorted(((count, item["task"], text) for item in found for text, count in item["mistakes"].items()), reverse=True)
    handed_out = {name: hashlib.sha256(data).hexdigest() for name, data in stub_files(load_tasks()).items()}
    same = similar.identical({name: report["submission"].get("files", {}) for name, report in reports.items()}, handed_out)
    environment = jinja2.Environment(loader=jinja2.PackageLoader("course.grading"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)
    environment.filters["points"] = _points
    return environment.get_template("class.html").render(
        title=title, count=len(reports), most=most, scores=sorted(scores.values()), bins=histogram(list(scores.values()), most),
        mean=statistics.fmean(scores.values()) if scores else 0.0, median=statistics.median(scores.values()) if scores else 0.0,
        items=found, hardest=sorted((i for i in found if i["passed"] + i["failed"]), key=lambda i: (i["share"], i["task"]))[:10],
        chapters=sorted(chapters.items()), mistakes=mistakes[:25], same=[(f, n) for f, n in same if len(n) <= 10][:MOST_PAIRS],
        common=sum(len(n) > 10 for _, n in same), alike=_alike(reports)[:MOST_PAIRS], roster=roster, since=_since(folder, scores),
        seconds=sorted(float(report.get("seconds", 0.0)) for report in reports.values()),
        trouble=[(name, t["id"], t["feedback"]) for name, r in reports.items() for t in r["tasks"] if t["cause"] == "grader_error"][:20],
        notes=[(name, note) for name, r in reports.items() for note in r.get("notes", [])][:50])


def _alike(reports: Mapping[str, Mapping[str, Any]]) -> list[tuple[float, str, str, str]]:
    """The most similar hand-ins, as far as they still lie where they were graded, unchanged."""
    wanted = wanted_files(load_tasks())

    def read() -> Iterable[tuple[str, Mapping[str, bytes]]]:
        for name, report in reports.items():
            path = Path(report["submission"].get("path") or "")
            if path.is_absolute() and path.exists():
                files = read_submission(path, wanted, name).files
                hashes = report["submission"].get("files", {})
                yield name, {f: data for f, data in files.items() if hashlib.sha256(data).hexdigest() == hashes.get(f)}

    return similar.among(read())


def write_class(folder: Path, people: Sequence[Person] = (), assignment: Assignment | None = None) -> tuple[dict[str, Path], list[str]]:
    """Write everything into `folder`; (the files by name, sentences for the terminal). Raises ValueError if it has no report."""
    reports = reports_in(folder)
    if not reports:
        raise ValueError(f"there is no report of `course grade` in {shown(folder)}")
    assignment = assignment or Assignment()
    found = items(list(reports.values()))
    texts, said, roster = {"items.csv": items_csv(found)}, [], None
    most = max(float(report["max_score"]) for report in reports.values())
    if people:
        roster = marks(people, reports, assignment, times_of(reports))
        texts |= tables(*roster, assignment.name, most)
        missing, open_ = sum(not m.submissions for m in roster[0]), sum(m.final is None for m in roster[0])
        said = [f"{len(people)} on the roster: {missing} handed in nothing, {open_} need a decision, {len(roster[1])} submissions "
                "belong to nobody for certain"]
    texts["class.html"] = page(folder, reports, found, assignment.name, roster)
    texts[LAST] = json.dumps({name: report["score"] for name, report in reports.items()})
    for name, text in texts.items():
        save(folder / name, text)
    return {name: folder / name for name in texts if name != LAST}, said
