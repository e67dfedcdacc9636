"""Grade one submission or a whole class: in parallel, resumable, each result on disk as soon as it is there.

`grade_class` writes NAME.json for each submission and class.csv. A run that was interrupted goes on where it stopped, and
after a change only those tasks are run whose verdict can be another: see course/grading/digest.py.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from course.grading.assignment import Assignment
from course.grading.digest import task_digests
from course.grading.grade import Grader
from course.grading.manifest import CHECKS, Task, load_tasks, stub_files, wanted_files
from course.grading.progress import select
from course.grading.prose import saved_points
from course.grading.sandbox import Isolation, SandboxError, isolation, require, self_test
from course.grading.submission import Submission, read_submission, shown, submission_name
from course.grading.writers import SUFFIX, class_csv, number, safe, save, validate, write


@dataclass(frozen=True)
class Options:
    """What a grading process needs to know; plain data, so that it can be sent to another machine."""

    seed: int | None = None
    checks: str = str(CHECKS)
    accepted: str = ""          # the open points of a weak sandbox that the caller has repeated
    assignment: Assignment = field(default_factory=Assignment)          # which tasks, and for how many points


def open_grader(options: Options, found: Isolation | None = None) -> Grader:
    """A grader whose sandbox has been tried. Raises WeakIsolation or SandboxError before any student's code runs."""
    found = found or isolation()
    require(found, options.accepted)
    grader = Grader(options.seed, options.checks, found, options.assignment.choose(load_tasks(options.checks)))
    try:
        self_test(grader.zygote)
    except SandboxError as error:
        grader.close()
        if "namespaces" not in found.layers:
            raise
        # some machines grant namespaces and then not what is needed to set one up: the other layers are enough
        without = isolation(("namespaces",))
        return open_grader(options, replace(without, inactive={**without.inactive, "namespaces": str(error)[-300:]}))
    except BaseException:
        grader.close()
        raise
    return grader


_here = threading.local()


def _grade(submission: Submission, kept: dict[str, Any] | None, options: Options) -> dict[str, Any]:
    """Grade in a pool's process, which keeps its grader and its zygote from one submission to the next."""
    if getattr(_here, "options", None) != options:
        _here.grader, _here.options = open_grader(options), options
    return _here.grader.grade(submission, kept=kept)


ENDINGS = tuple(suffix.removesuffix(".json") for suffix in SUFFIX.values() if suffix != ".json" and suffix.endswith(".json"))


def named(paths: Iterable[Path], out: Path | None = None) -> list[tuple[str, Path]]:
    """A name for every path, each different, in the order given. A path that has a report in `out` keeps its name.

    So no later submission takes over the report of an earlier one, whatever the two are called and in whatever order they
    come. A report whose submission is no longer where it was (the class folder has been moved) gives its name up.
    """
    owners: dict[str, str] = {"class": ""}          # by name without case, as some file systems see it
    names: dict[str, str] = {}
    for name, report in reports_in(out).items():
        path = report.get("submission", {}).get("path", "")
        if path and os.path.lexists(path):
            owners[name.casefold()], names[path] = path, name
    result = []
    for path in paths:
        where = shown(os.path.abspath(path), 4000)
        name = names.get(where) or ""
        if not name:
            base = name = submission_name(path)
            count = 2
            while owners.get(name.casefold(), where) != where or name.lower().endswith(ENDINGS):
                name, count = f"{base}-{count}", count + 1          # x.gradescope.json is x's, not x.gradescope's
        owners[name.casefold()], names[where] = where, name
        result.append((name, path))
    return result


def reports_in(out: Path | None) -> dict[str, dict[str, Any]]:
    """The reports in the folder `out`, by name. What is no report is left alone."""
    found = {}
    for path in sorted(out.glob("*.json")) if out is not None and out.is_dir() else ():
        name = unicodedata.normalize("NFC", path.name.removesuffix(".json"))
        if name.startswith(".") or name.lower().endswith(ENDINGS):
            continue
        try:
            text = path.read_text(encoding="utf-8")
            validate(text, "native")
            report = json.loads(text)
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            continue
        if isinstance(report.get("submission"), dict) and report["submission"].get("name") == name:
            found[name] = report
    return found


def grade_class(paths: Iterable[Path], out: Path, options: Options, format: str = "native", jobs: int = 1,
                dask: str | None = None, again: bool = False, regrade: Iterable[str] = (),
                done: Callable[[dict[str, Any], bool], None] | None = None) -> list[dict[str, Any]]:
    """Grade every submission into the folder `out`; their reports. `done(report, kept)` is called after each of them.

    class.csv gets everybody who has a report in the folder, whoever was graded now. Of a submission that was graded before,
    only the tasks are run whose verdict can have changed, and those named in `regrade`; changes.csv says what became of them
    and why they were run. `jobs` processes of this machine work at the same time, or those
    of the Dask scheduler at the address `dask`.
    """
    with open_grader(options) as grader:
        wanted, stubs = wanted_files(grader.tasks), stub_files(grader.tasks)
        digests = task_digests(grader.tasks, Path(options.checks), grader.isolation.words)
        everybody = reports_in(out)
        reports: dict[str, dict[str, Any]] = {}
        waiting: list[tuple[Submission, dict[str, Any] | None]] = []
        of_task: dict[str, dict[str, dict[str, str]]] = {}
        forced = set(select(list(regrade), grader.tasks)) if regrade else set()
        changes: list[dict[str, Any]] = []
        for name, path in dict(named(paths, out)).items():          # a path given twice is one submission
            submission = read_submission(path, wanted, name, stubs)
            of_task[name] = {task.id: _digest_of(task, submission, digests[task.id]) for task in grader.tasks.values()}
            earlier = everybody.get(name)
            before = None if again else _valid(earlier, of_task[name], options.seed, forced)
            if before is not None and len(before["tasks"]) == len(grader.tasks):
                report = grader.grade(submission, kept=before)          # nothing runs: titles, notes and paths are renewed
                report["seconds"] = before.get("seconds", 0.0)
                reports[name] = everybody[name] = _finished(report, of_task[name])
                save(out / f"{name}.json", write(report, "native"))
                _save_as(out, report, format)
                if done is not None:
                    done(report, True)
            else:
                waiting.append((submission, before))
        written = 0.0
        try:
            for report in _results(waiting, options, grader, jobs, dask):
                name = report["submission"]["name"]
                changes += changed(everybody.get(name), _finished(report, of_task[name]), forced, again)
                _save_as(out, _finished(report, of_task[name]), format)
                save(out / f"{name}.json", write(report, "native"))
                reports[name] = everybody[name] = report
                if time.monotonic() - written > 1:
                    save(out / "class.csv", class_csv(everybody.values(), saved_points(out)))
                    written = time.monotonic()
                if done is not None:
                    done(report, False)
        finally:
            save(out / "class.csv", class_csv(everybody.values(), saved_points(out)))
            if changes:
                save(out / "changes.csv", changes_csv(changes))
    return list(reports.values())


def update_class(out: Path) -> None:
    """Write class.csv anew from the reports in the folder, and from what people gave the prose."""
    save(out / "class.csv", class_csv(reports_in(out).values(), saved_points(out)))


def _save_as(out: Path, report: dict[str, Any], format: str) -> None:
    if format != "native":
        save(out / f"{report['submission']['name']}{SUFFIX[format]}", write(report, format))


def _finished(report: dict[str, Any], digests: dict[str, dict[str, str]]) -> dict[str, Any]:
    for entry in report["tasks"]:
        entry["made_of"] = digests[entry["id"]]
    return report


def changed(before: dict[str, Any] | None, after: dict[str, Any], forced: set[str], again: bool) -> list[dict[str, Any]]:
    """The tasks whose verdict or points are no longer what they were in an earlier report, with why they were run again."""
    earlier = {entry["id"]: entry for entry in before["tasks"]} if before else {}
    found = []
    for entry in after["tasks"]:
        old = earlier.get(entry["id"])
        if old is not None and (old["status"], old["cause"], old["score"], old["max_score"]) != (
                entry["status"], entry["cause"], entry["score"], entry["max_score"]):
            parts = [WHY[part] for part, value in entry["made_of"].items() if old.get("made_of", {}).get(part) != value]
            why = ", ".join(parts) or ("asked for" if again or entry["id"] in forced else "the grader could not finish it, or another seed")
            found.append({"name": after["submission"]["name"], "task": entry["id"], "before": old["status"], "after": entry["status"],
                          "score_before": number(old["score"]), "score_after": number(entry["score"]), "why": why})
    return found


WHY = {"submission": "the submission changed", "task": "the task's points or limits changed", "checks": "its checks changed",
       "course": "the course or a package changed", "sandbox": "another sandbox"}


def changes_csv(changes: Iterable[dict[str, Any]]) -> str:
    """A row for every verdict that a run changed."""
    out = io.StringIO()
    rows = csv.DictWriter(out, ["name", "task", "before", "after", "score_before", "score_after", "why"], lineterminator="\r\n")
    rows.writeheader()
    rows.writerows({key: safe(value) for key, value in change.items()} for change in changes)
    return out.getvalue()


def _digest_of(task: Task, submission: Submission, parts: dict[str, str]) -> dict[str, str]:
    """What a task's verdict on one submission was made of: `parts`, and the files of its chapter."""
    names = [f"{task.chapter}.py", f"{task.chapter}.md"]
    for name in names:          # what its code may import counts, too; the list grows while it is read
        source = submission.files.get(name, b"")
        names += sorted(n for n in submission.files if n.endswith(".py") and n not in names and n[:-3].encode() in source)
    words = [*(hashlib.sha256(submission.files[n]).hexdigest() if n in submission.files else "" for n in names),
             *(f"{submission.problems.get(n)} {submission.near.get(n)}" for n in names)]
    mine = {"submission": hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]}
    if not any(n in submission.files or n in submission.problems for n in names):
        return {**mine, "task": f"{task.points:g}"}          # nothing to check: no check can change that
    return {**mine, **parts}


def _valid(report: dict[str, Any] | None, digests: dict[str, dict[str, str]], seed: int | None,
           forced: set[str]) -> dict[str, Any] | None:
    """The report with those of its tasks that grading again would give the same verdict; None if there are none."""
    if report is None or (seed is not None and report["seed"] != seed):
        return None
    tasks = [entry for entry in report["tasks"] if entry.get("made_of") is not None and entry["id"] not in forced
             and digests.get(entry["id"]) == entry["made_of"] and entry["cause"] != "grader_error"]
    return {**report, "tasks": tasks} if tasks else None


Work = list[tuple[Submission, "dict[str, Any] | None"]]


def _results(work: Work, options: Options, grader: Grader, jobs: int, dask: str | None) -> Iterator[dict[str, Any]]:
    """The reports as they come, in any order."""
    if dask:
        yield from _on_dask(work, options, dask)
    elif jobs == 1 or len(work) < 2:
        for submission, kept in work:
            yield grader.grade(submission, kept=kept)
    else:
        import joblib
        from joblib.externals.loky import get_reusable_executor
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs",
                                   initializer=_end_with_parent, initargs=(os.getpid(),))
        left = {submission.name: (submission, kept) for submission, kept in work}
        try:
            for report in parallel(joblib.delayed(_grade)(submission, kept, options) for submission, kept in work):
                del left[report["submission"]["name"]]
                yield report
        except TerminatedWorkerError:          # a process of the pool is gone, killed for its memory perhaps: go on without
            for submission, kept in left.values():
                yield grader.grade(submission, kept=kept)
        finally:
            get_reusable_executor().shutdown(wait=True, kill_workers=True)


DASK_SECONDS = 30.0          # to wait for a first worker, or for another when the last one is gone


def _on_dask(work: Work, options: Options, address: str) -> Iterator[dict[str, Any]]:
    from dask.distributed import Client, wait

    with Client(address) as client:
        def workers() -> None:
            try:
                client.wait_for_workers(1, timeout=DASK_SECONDS)
            except TimeoutError:
                raise OSError(f"the Dask scheduler at {address} has had no worker for {DASK_SECONDS:g} seconds; start some with "
                              f"`dask worker {address}`, and run this again: what is graded is kept") from None

        workers()
        left = {client.submit(_grade, submission, kept, options, pure=False) for submission, kept in work}
        while left:
            try:
                finished = wait(left, timeout=DASK_SECONDS, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                workers()
                continue
            for future in finished:
                left.remove(future)
                yield future.result()
                future.release()


def _end_with_parent(parent: int) -> None:
    """In a process of the pool: end when the grader has ended, however it did. A pool would stay for minutes."""
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def grade_one(path: Path, options: Options, out: Path | None = None, format: str = "native") -> dict[str, Any]:
    """Grade one submission. If `out` is given it is written as results come, at most once a second, and at the end.

    A pipe or a device gets the end only.
    """
    written = time.monotonic()

    def progress(report: dict[str, Any]) -> None:
        nonlocal written
        if out is not None and time.monotonic() - written > 1 and (out.is_file() or not out.exists()):
            save(out, write(report, format))
            written = time.monotonic()

    with open_grader(options) as grader:
        submission = read_submission(path, wanted_files(grader.tasks), stubs=stub_files(grader.tasks))
        report = grader.grade(submission, progress)
    if out is not None:
        save(out, write(report, format))
    return report


__all__ = ["Options", "grade_class", "grade_one", "named", "open_grader"]
