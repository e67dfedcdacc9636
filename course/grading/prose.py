"""Prose: collected for people to read, one page for each question, blind; their points go into the class's table.

`course grade --prose DIR SUBMISSION...` writes DIR/QUESTION.html and runs nothing of the students'. A page holds every answer under a
code, the rubric and anchor answers for every score; it works offline, is scored with the keyboard and saves QUESTION.READER.json.
Put these files into DIR and run the command again: it compares the readers and writes the points into the folder of grades. No
machine grades prose.
"""

from __future__ import annotations

import itertools
import json
import math
import secrets
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from course.grading.answers import read_answer
from course.grading.errors import CheckFailed
from course.grading.manifest import CHECKS
from course.grading.writers import save

POINTS = ".prose.json"          # in the folder of grades: {name: {question: points}}
KEY = "key.json"                # in the folder of pages: {question: {code: name}}; not for the readers
APART = 1 / 3                   # of the points: two readers who differ by more should talk


class Agreement(NamedTuple):
    """How two readers agree on the answers that both scored: the share of equal totals, the mean difference, Cohen's kappa with
    quadratic weights (Cohen 1968; nan where all totals are one number), and the codes to talk about."""

    question: str
    readers: tuple[str, str]
    both: int
    equal: float
    difference: float
    kappa: float
    talk: tuple[str, ...]


def load_questions(checks: Path | str = CHECKS) -> dict[str, dict[str, Any]]:
    """The questions of `prose.toml` beside the checks, by id; none where there is no such file. Raises ValueError for a rubric that does
    not add up to the points, and for a score without an anchor."""
    path = Path(checks) / "prose.toml"
    if not path.is_file():
        return {}
    questions = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, question in questions.items():
        if sum(item["points"] for item in question["rubric"]) != question["points"]:
            raise ValueError(f"{path.name}: the rubric of {name} does not add up to {question['points']} points")
        if not all(0 <= anchor["score"] <= question["points"] for anchor in question["anchors"]):
            raise ValueError(f"{path.name}: an anchor of {name} has a score that cannot be reached")
    return questions


def collect(submissions: Mapping[str, Mapping[str, bytes]], folder: Path, checks: Path | str = CHECKS) -> dict[str, int]:
    """Write the pages; -> how many answers each has. `submissions`: name -> the exercise files that were handed in, by file name.

    A student keeps the code of an earlier call, so that scores stay with their answer.
    """
    keys = _read_key(folder)
    counts = {}
    for question, spec in load_questions(checks).items():
        answers = {}
        codes = {name: code for code, name in keys.get(question, {}).items()}
        for name, files in submissions.items():
            text = _block(files, question)
            if text:
                codes.setdefault(name, secrets.token_hex(3))
                beside = [block for block in (_block(files, other) for other in spec.get("beside", ())) if block]
                answers[codes[name]] = {"code": codes[name], "text": text, "words": len(text.split()), "beside": beside}
        keys[question] = {code: name for name, code in codes.items()}
        counts[question] = len(answers)
        save(folder / f"{question}.html", _page(question, spec, [answers[code] for code in sorted(answers)]))
    save(folder / KEY, json.dumps(keys, indent=1, ensure_ascii=False) + "\n")
    return counts


def _block(files: Mapping[str, bytes], identity: str) -> str:
    """The block with this id in the Markdown files of its chapter; "" if there is none, or none that can be read."""
    for name in sorted(files):
        if name.startswith(identity[:4]) and name.endswith(".md"):
            try:
                if text := read_answer(files[name].decode("utf-8", "replace"), identity, name):
                    return text
            except CheckFailed:
                continue
    return ""


def _page(question: str, spec: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> str:
    import jinja2

    environment = jinja2.Environment(loader=jinja2.PackageLoader("course.grading"), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    anchors = sorted(spec["anchors"], key=lambda anchor: anchor["score"])
    return environment.get_template("prose.html").render(question=question, spec=spec, anchors=anchors, answers=answers)


def _read_key(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / KEY
    if not path.exists():
        return {}
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(code, str) and isinstance(name, str) for codes in key.values() for code, name in codes.items()):
            raise ValueError("it is not a table of codes")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); without it no score finds its student. Put it back") from None
    return key


# --------------------------------------------------------------------------------------------------------- reading back


def read_scores(folder: Path, checks: Path | str = CHECKS) -> dict[str, dict[str, dict[str, float]]]:
    """question -> reader -> code -> points, from the files QUESTION.READER.json in `folder`. Raises ValueError that names the file and
    what is wrong with it."""
    questions, keys = load_questions(checks), _read_key(folder)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == KEY or path.name.startswith("."):
            continue
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            question, reader, scores = data["question"], str(data["reader"]).strip(), data["scores"]
            if question not in questions:
                raise ValueError(f"there is no question {str(question)[:40]!r}")
            if not reader or reader in found.get(question, {}):
                raise ValueError(f"{'the reader has no name' if not reader else f'{reader} has another file for this question'}")
            rubric = questions[question]["rubric"]
            known = keys.get(question, {})
            found.setdefault(question, {})[reader] = {code: _total(code, entry, rubric, known) for code, entry in scores.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.name} cannot be used: {error or type(error).__name__}") from None
    return found


def _total(code: str, entry: Mapping[str, Any], rubric: Sequence[Mapping[str, Any]], known: Mapping[str, str]) -> float:
    if code not in known:
        raise ValueError(f"no answer has the code {str(code)[:20]!r}")
    points = entry["points"]
    if not isinstance(points, list) or len(points) != len(rubric):
        count = len(points) if isinstance(points, list) else "no list of"
        raise ValueError(f"{code} has {count} points, and the rubric has {len(rubric)} lines")
    for value, line in zip(points, rubric, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= line["points"]:
            raise ValueError(f"{code} has {str(value)[:20]} for {line['name']!r}, which gives 0 to {line['points']}")
    return float(sum(points))


def agreements(scores: Mapping[str, Mapping[str, Mapping[str, float]]], checks: Path | str = CHECKS) -> list[Agreement]:
    """For every question and every two readers who have answers in common."""
    questions, out = load_questions(checks), []
    for question, readers in scores.items():
        for one, other in itertools.combinations(sorted(readers), 2):
            common = sorted(readers[one].keys() & readers[other].keys())
            if not common:
                continue
            pairs = [(readers[one][code], readers[other][code]) for code in common]
            n = len(pairs)
            chance = sum((a - b) ** 2 for a, _ in pairs for _, b in pairs) / n
            kappa = 1 - sum((a - b) ** 2 for a, b in pairs) / chance if chance else math.nan
            talk = tuple(code for code, (a, b) in zip(common, pairs, strict=True) if abs(a - b) > APART * questions[question]["points"])
            equal, difference = sum(a == b for a, b in pairs) / n, sum(abs(a - b) for a, b in pairs) / n
            out.append(Agreement(question, (one, other), n, equal, difference, kappa, talk))
    return out


def points(folder: Path, checks: Path | str = CHECKS) -> dict[str, dict[str, float]]:
    """name -> question -> the mean of the readers' points."""
    keys, out = _read_key(folder), dict[str, dict[str, float]]()
    for question, readers in read_scores(folder, checks).items():
        for code, name in keys.get(question, {}).items():
            given = [scores[code] for scores in readers.values() if code in scores]
            if given:
                out.setdefault(name, {})[question] = round(sum(given) / len(given), 2)
    return out


def saved_points(grades: Path) -> dict[str, dict[str, float]]:
    """What `command` wrote into the folder of grades; empty if there is nothing, or nothing that can be read."""
    try:
        return json.loads((grades / POINTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


# -------------------------------------------------------------------------------------------------------------- command


def command(paths: Sequence[Path], folder: Path, grades: Path, checks: Path, say: Callable[[str], None]) -> int:
    """Pages from submissions, if any are given; points and agreement from the score files, if there are any. The exit status."""
    from course.grading.bulk import named, update_class
    from course.grading.submission import read_submission

    try:
        questions = load_questions(checks)
        if not questions:
            raise ValueError(f"there is no prose.toml in {checks}: no question is read by people")
        if paths:
            wanted = {f"{path.stem}.md" for path in [*checks.glob("ch*.toml"), *(checks.parent.parent / "exercises").glob("ch*.md")]}
            handed_in = {}
            for name, path in named(paths, grades):
                submission = read_submission(path, wanted, name)
                handed_in[name] = submission.files
                for note in submission.notes:
                    say(f"{name}: {note}")
            for question, count in collect(handed_in, folder, checks).items():
                say(f"{question}: {count} answer{'s' * (count != 1)} of {len(handed_in)} -> {folder / f'{question}.html'}")
        scores = read_scores(folder, checks)
    except (ValueError, OSError) as error:
        say(f"course grade: {error}")
        return 2
    keys = _read_key(folder)
    for question, readers in scores.items():
        for reader, given in readers.items():
            say(f"{question}: {reader} scored {len(given)} of {len(keys.get(question, {}))}")
    for agreement in agreements(scores, checks):
        kappa = "not defined, all points are equal" if math.isnan(agreement.kappa) else f"{agreement.kappa:.2f}"
        say(f"{agreement.question}: {' and '.join(agreement.readers)} on {agreement.both} answers: equal {agreement.equal:.0%}, "
            f"{agreement.difference:.2f} points apart on the average, weighted kappa {kappa}"
            + (f"; talk about {', '.join(agreement.talk)}" if agreement.talk else ""))
    if scores:
        save(grades / POINTS, json.dumps(points(folder, checks), indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        update_class(grades)
        say(f"points of {len(points(folder, checks))} students -> {grades / 'class.csv'}")
    elif not paths:
        say(f"course grade: nothing to do: no submission is named, and {folder} has no files QUESTION.READER.json")
        return 2
    return 0

