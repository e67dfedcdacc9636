"""An assignment as data, read by `course release`, `course check`, `course grade` and `course class` alike.

    name = "Homework 2"
    tasks = ["ch08", "ch10.render_image"]        # chapters or tasks; without this line, all
    total = 20                                   # points are rescaled to this; without it they stay as in the manifests
    deadline = "2026-11-30 23:59 +0100"
    several = "best"                             # of the hand-ins of one person: best, last or ask (nobody decides silently)

    [points]                                     # instead of those in the manifests
    "ch08.guide" = 5

    [late]
    grace_minutes = 15
    percent_a_day = 10                           # of the points reached, for each day begun
    most = 50

    [extensions]                                 # by id in the roster
    "s1234567" = "2026-12-05 23:59 +0100"

A roster is a CSV file with the columns id and name, and if you like mail and pattern (of the hand-in's file name: `*_1234567_*`).
"""

from __future__ import annotations

import csv
import datetime
import fnmatch
import io
import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from course.grading.collect import deadline_of
from course.grading.manifest import Task

_KEYS: dict[str, Any] = {"name": str, "tasks": list, "total": (int, float), "deadline": str, "several": str, "points": dict, "late": dict,
                         "extensions": dict}
_LATE: dict[str, Any] = {"grace_minutes": (int, float), "percent_a_day": (int, float), "most": (int, float)}
SEVERAL = ("ask", "best", "last")


@dataclass(frozen=True)
class Assignment:
    """What is asked for, by when, and how it counts."""

    name: str = "Exercises"
    tasks: tuple[str, ...] = ()
    total: float = 0.0
    deadline: datetime.datetime | None = None
    several: str = "ask"
    points: Mapping[str, float] = field(default_factory=dict)
    grace_minutes: float = 0.0
    percent_a_day: float = 0.0
    most: float = 100.0
    extensions: Mapping[str, datetime.datetime] = field(default_factory=dict)

    def choose(self, tasks: dict[str, Task]) -> dict[str, Task]:
        """The tasks asked for, with their points here. Raises ValueError, with what is close, for a name that is not there."""
        from course.grading.progress import select

        chosen = {name: tasks[name] for name in select(self.tasks, tasks)}
        for name in self.points:
            if name not in chosen:
                raise ValueError(f"[points] names {name}, which is not a task of this assignment")
        chosen = {name: replace(task, points=float(self.points.get(name, task.points))) for name, task in chosen.items()}
        if self.total:
            scale = self.total / sum(task.points for task in chosen.values() if not task.extra)
            chosen = {name: replace(task, points=task.points * scale) for name, task in chosen.items()}
        return {name: chosen[name] for name in tasks if name in chosen}

    def late_days(self, person: str, time: datetime.datetime) -> int:
        """Days begun since the person's deadline; 0 if it was in time, or if there is no deadline."""
        deadline = self.extensions.get(person, self.deadline)
        if deadline is None:
            return 0
        seconds = (time - deadline).total_seconds() - 60 * self.grace_minutes
        return 0 if seconds <= 0 else math.ceil((time - deadline).total_seconds() / 86400)

    def after_late(self, score: float, days: int) -> float:
        """The score that is left after `days` late."""
        return round(score * (1 - min(self.percent_a_day * days, self.most) / 100), 2)


def read_assignment(path: Path) -> Assignment:
    """The assignment in a TOML file. Raises ValueError, naming file and key, for what cannot be meant."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    late = data.get("late", {})
    for given, known, where in ((data, _KEYS, ""), (late if isinstance(late, dict) else {}, _LATE, "[late] ")):
        for key, value in given.items():
            if key not in known:
                raise ValueError(f"{path}: unknown key {where}{key!r}; one of {', '.join(known)}")
            if not isinstance(value, known[key]) or isinstance(value, bool):
                raise ValueError(f"{path}: {where}{key} = {value!r} has the wrong type")
    numbers = [("total", data.get("total", 1), 1e-9), *((f"[late] {k}", v, 0) for k, v in late.items()),
               *((f"[points] {k}", v, 1e-9) for k, v in data.get("points", {}).items())]
    for key, value, least in numbers:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < 1e6:
            raise ValueError(f"{path}: {key} = {value!r} is not a number above zero")
    if not all(isinstance(name, str) for name in data.get("tasks", [])):
        raise ValueError(f"{path}: tasks must be a list of names")
    if data.get("several", "ask") not in SEVERAL:
        raise ValueError(f"{path}: several is one of {', '.join(SEVERAL)}")
    try:
        deadline = deadline_of(data["deadline"]) if "deadline" in data else None
        extensions = {str(person): deadline_of(time) for person, time in data.get("extensions", {}).items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Assignment(data.get("name", path.stem), tuple(data.get("tasks", [])), float(data.get("total", 0)), deadline,
                      data.get("several", "ask"), dict(data.get("points", {})), **{"most": 100.0, **late}, extensions=extensions)


def asked_here(folder: Path) -> tuple[str, ...]:
    """The tasks of the assignment.toml at the top of a checkout; none if there is no such file (or if it asks for all)."""
    path = folder / "assignment.toml"
    return read_assignment(path).tasks if path.is_file() else ()


# ---------------------------------------------------------------- who is who

@dataclass(frozen=True)
class Person:
    id: str
    name: str
    mail: str = ""
    pattern: str = ""
    row: Mapping[str, str] = field(default_factory=dict)


def read_roster(path: Path) -> list[Person]:
    """The people in a CSV file. Raises ValueError for one without the columns id and name, or with an id twice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), dialect=_dialect(text)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    people: dict[str, Person] = {}
    for number, row in enumerate(rows, 2):
        cells = {(key or "").strip().lower(): unicodedata.normalize("NFC", value.strip()) for key, value in row.items()
                 if isinstance(value, str)}
        if not cells.get("id") or "name" not in cells:
            raise ValueError(f"{path}, line {number}: a roster has the columns id and name, and every row an id")
        if cells["id"] in people:
            raise ValueError(f"{path}, line {number}: the id {cells['id']} is there twice")
        mail = cells.get("mail") or cells.get("email", "")
        people[cells["id"]] = Person(cells["id"], cells["name"], mail, cells.get("pattern", ""), cells)
    return list(people.values())


def _dialect(text: str) -> type[csv.Dialect] | str:
    try:
        return csv.Sniffer().sniff(text.partition("\n")[0], delimiters=",;\t")
    except csv.Error:
        return "excel"


def owners(people: Sequence[Person], submissions: Iterable[Mapping[str, Any]]) -> dict[str, list[Person]]:
    """Submission name -> the people it may belong to: one if it is clear. A pattern, an id, a mail address or its part before
    the @ must be the whole name of the file or folder, or stand in it between other signs than letters and digits."""
    found = {}
    for submission in submissions:
        names = {submission["name"], unicodedata.normalize("NFC", Path(submission.get("path") or submission["name"]).name)}
        exact = [p for p in people if p.pattern and any(fnmatch.fnmatchcase(n.casefold(), p.pattern.casefold()) for n in names)]
        if not exact:
            exact = [p for p in people if not p.pattern and any(_in(key, n) for key in _keys(p) for n in names)]
        found[submission["name"]] = exact
    return found


def _keys(person: Person) -> set[str]:
    return {key for key in (person.id, person.mail, person.mail.partition("@")[0]) if key}


def _in(key: str, name: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(key.casefold())}(?![^\W_])", name.casefold()) is not None
