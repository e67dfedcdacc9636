"""What `course grade` prints and how it ends. Reports go to standard output or to files, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from course.grading.assignment import Assignment, read_assignment
from course.grading.bulk import Options, grade_class, grade_one, named
from course.grading.manifest import CHECKS, load_tasks
from course.grading.progress import select
from course.grading.sandbox import SandboxError, WeakIsolation, isolation
from course.grading.submission import shown, submission_name
from course.grading.values import plain
from course.grading.writers import FORMATS, classroom_payload, number, save, validate, write


def grade(paths: list[Path], format: str, out: Path | None, jobs: int, seed: int | None, checks: Path | None,
          dask: str | None, again: bool, accepted: str, prose: Path | None = None,
          only: Sequence[str] = (), assignment: Path | None = None, regrade: Sequence[str] = ()) -> int:
    """The exit status: 0 grading ran; 2 the call was wrong; 3 the sandbox is too weak or does not start."""

    def say(text: str) -> None:
        print(*(shown(line, 4000) for line in text.split("\n")), sep="\n", file=sys.stderr, flush=True)

    if format not in FORMATS:
        say(f"course grade: unknown format {format!r}; one of {', '.join(FORMATS)}")
        return 2
    missing = [shown(p) for p in paths if not os.path.lexists(p)]
    if missing:
        say(f"course grade: there is nothing at {', '.join(missing)}")
        return 2
    if jobs == 0 or jobs < -1:
        say("course grade: --jobs is a number of processes, or -1 for one on each core")
        return 2
    folder = (checks or CHECKS).resolve()
    if not any(folder.glob("ch*.toml")):
        say(f"course grade: there is no manifest chNN_topic.toml in {shown(folder)}; say where the checks are with --checks DIR")
        return 2
    if prose is not None:
        from course.grading.prose import command

        grades = out or Path("grades")
        if problem := next(filter(None, map(_unwritable, (prose, grades))), ""):
            say(f"course grade: nothing can be written to {shown(prose)} or {shown(grades)}: {problem}")
            return 2
        return command(paths, prose, grades, folder, say)
    if not paths:
        say("course grade: name at least one submission")
        return 2
    try:
        asked = read_assignment(assignment) if assignment else Assignment()
        asked = replace(asked, tasks=tuple(only)) if only else asked
        chosen = asked.choose(load_tasks(folder))
        select(regrade, chosen)
    except ValueError as error:
        say(f"course grade: {error}")
        return 2
    options = Options(seed, str(folder), accepted, asked)
    os.environ["PYTHONSAFEPATH"] = "1"          # no process started here imports from the current folder, a student's perhaps
    several = len(paths) > 1 or bool(regrade) or (out is not None and out.is_dir())
    if several:
        out = out or Path("grades")
    if several and out is not None and out.exists() and not out.is_dir():
        say(f"course grade: {shown(out)} is a file; several submissions need a folder")
        return 2
    if out is not None and (problem := _unwritable(out if several else out.parent)):
        say(f"course grade: nothing can be written to {shown(out)}: {problem}")
        return 2
    say(f"isolation: {isolation().words}")
    for name, why in isolation().inactive.items():
        say(f"  not active: {name} ({why})")
    try:
        if several:
            assert out is not None
            return _several(paths, out, options, format, jobs, dask, again, regrade, say)
        report = grade_one(paths[0], options, out, format)
    except (WeakIsolation, SandboxError) as error:
        say(f"course grade: {error}")
        return 3
    except (ValueError, OSError) as error:
        say(f"course grade: {error}")
        return 2
    if out is None:
        sys.stdout.write(write(report, format))
    if format == "github":
        _for_github(report)
    say(_line(report) + (f" -> {shown(out)}" if out else ""))
    return 0


def show(path: Path, format: str, out: Path | None) -> None:
    """Write the report at `path` in another format. Raises ValueError for what is no report, or no format."""
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; one of {', '.join(FORMATS)}")
    text = path.read_text(encoding="utf-8-sig")
    try:
        validate(text, "native")
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"{shown(path)} is not a report of `course grade`: {error}") from None
    report = json.loads(text)
    written = write(report, format)
    if out is None:
        sys.stdout.write(written)
    else:
        save(out, written)
    if format == "github":
        _for_github(report)


def _for_github(report: dict[str, Any]) -> None:
    """The step's output and summary: files of this process, never the student's."""
    for variable, text in (("GITHUB_OUTPUT", f"result={classroom_payload(report)}\n"), ("GITHUB_STEP_SUMMARY", write(report, "markdown"))):
        if os.environ.get(variable):
            with open(os.environ[variable], "a", encoding="utf-8") as handle:
                handle.write(text)


def _unwritable(folder: Path) -> str:
    """Why no file can be made in the folder, which is made if it is not there; "" if one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def _several(paths: list[Path], out: Path, options: Options, format: str, jobs: int, dask: str | None, again: bool,
             regrade: Sequence[str], say: Any) -> int:
    began, count = time.monotonic(), 0
    for name, path in named(paths, out):
        if name != submission_name(path):
            say(f"the submission {shown(path)} is called {name}, since there is another {submission_name(path)}")

    def done(report: dict[str, Any], kept: bool) -> None:
        nonlocal count
        count += 1
        say(f"[{count}/{len(paths)}] {_line(report)}{' (kept from an earlier run)' if kept else ''}")

    try:
        reports = grade_class(paths, out, options, format, jobs, dask, again, regrade, done)
    except KeyboardInterrupt:
        say(f"interrupted: {count} of {len(paths)} are in {shown(out)}; the same command goes on from there")
        return 130
    say(f"{len(reports)} submissions in {time.monotonic() - began:.1f} s -> {shown(out / 'class.csv')}")
    return 0


def _line(report: dict[str, Any]) -> str:
    causes = sorted({t["cause"] for t in report["tasks"] if t["cause"]})
    return (f"{report['submission']['name']}: {number(report['score'])} of {number(report['max_score'])}"
            + (f" ({', '.join(causes)})" if causes else "") + "".join(f"; {plain(note)}" for note in report["notes"]))
