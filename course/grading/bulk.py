"""Grade one submission or a whole class: in parallel, resumable, each result on disk as soon as it is there.

`grade_class` writes NAME.json for each submission and class.csv. A run that was interrupted goes on where it stopped:
a NAME.json is kept if it was made of the same files, by the same checks and versions, and with the seed asked for.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from course.grading.grade import Grader
from course.grading.manifest import CHECKS
from course.grading.sandbox import Isolation, SandboxError, isolation, require, self_test
from course.grading.submission import Submission, read_submission, submission_name
from course.grading.writers import SUFFIX, class_csv, save, validate, write


@dataclass(frozen=True)
class Options:
    """What a grading process needs to know; plain data, so that it can be sent to another machine."""

    seed: int | None = None
    checks: str = str(CHECKS)
    accepted: str = ""          # the open points of a weak sandbox that the caller has repeated


def open_grader(options: Options, found: Isolation | None = None) -> Grader:
    """A grader whose sandbox has been tried. Raises WeakIsolation or SandboxError before any student's code runs."""
    found = found or isolation()
    require(found, options.accepted)
    grader = Grader(options.seed, options.checks, found)
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


def _grade(submission: Submission, options: Options) -> dict[str, Any]:
    """Grade in a pool's process, which keeps its grader and its zygote from one submission to the next."""
    if getattr(_here, "options", None) != options:
        _here.grader, _here.options = open_grader(options), options
    return _here.grader.grade(submission)


def named(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """A name for every path, each different, in the order given."""
    taken = {"class"}
    endings = tuple(suffix.removesuffix(".json") for suffix in SUFFIX.values() if suffix != ".json" and suffix.endswith(".json"))
    result = []
    for path in paths:
        base = name = submission_name(path)
        count = 2
        while name.lower() in taken or name.lower().endswith(endings):          # x.gradescope.json is x's, not x.gradescope's
            name, count = f"{base}-{count}", count + 1
        taken.add(name.lower())
        result.append((name, path))
    return result


def grade_class(paths: Iterable[Path], out: Path, options: Options, format: str = "native", jobs: int = 1,
                dask: str | None = None, again: bool = False,
                done: Callable[[dict[str, Any], bool], None] | None = None) -> list[dict[str, Any]]:
    """Grade every submission into the folder `out`; the reports. `done(report, kept)` is called after each of them.

    `jobs` processes of this machine work at the same time, or those of the Dask scheduler at the address `dask`.
    """
    with open_grader(options) as grader:
        wanted = wanted_files(grader)
        versions = grader.versions
        reports: dict[str, dict[str, Any]] = {}
        waiting: list[Submission] = []
        for name, path in named(paths):
            submission = read_submission(path, wanted, name)
            before = None if again else _kept(out / f"{name}.json", submission, versions, options.seed)
            if before is None:
                waiting.append(submission)
            else:
                reports[name] = before
                if done is not None:
                    done(before, True)
        written = 0.0
        try:
            for report in _results(waiting, options, grader, jobs, dask):
                name = report["submission"]["name"]
                if format != "native":
                    save(out / f"{name}{SUFFIX[format]}", write(report, format))
                save(out / f"{name}.json", write(report, "native"))
                reports[name] = report
                if time.monotonic() - written > 1:
                    save(out / "class.csv", class_csv(reports.values()))
                    written = time.monotonic()
                if done is not None:
                    done(report, False)
        finally:
            save(out / "class.csv", class_csv(reports.values()))
    return list(reports.values())


def wanted_files(grader: Grader) -> set[str]:
    """The names of all files that a student may hand in."""
    return {f"{task.chapter}{suffix}" for task in grader.tasks.values() for suffix in (".py", ".md")}


def _kept(path: Path, submission: Submission, versions: dict[str, str], seed: int | None) -> dict[str, Any] | None:
    """The report at `path`, if grading the submission again would be the same work."""
    try:
        text = path.read_text(encoding="utf-8")
        validate(text, "native")
        report = json.loads(text)
    except (OSError, ValueError):
        return None
    same = (report.get("submission", {}).get("sha256") == submission.digest and report["versions"] == versions
            and (seed is None or report["seed"] == seed)
            and not any(task["cause"] == "grader_error" for task in report["tasks"]))
    return report if same else None


def _results(submissions: list[Submission], options: Options, grader: Grader, jobs: int,
             dask: str | None) -> Iterator[dict[str, Any]]:
    """The reports as they come, in any order."""
    if dask:
        from dask.distributed import Client, as_completed

        with Client(dask) as client:
            futures = [client.submit(_grade, submission, options, pure=False) for submission in submissions]
            for future in as_completed(futures):
                yield future.result()
                future.release()
    elif jobs == 1 or len(submissions) < 2:
        for submission in submissions:
            yield grader.grade(submission)
    else:
        import joblib
        from joblib.externals.loky import get_reusable_executor
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        left = {submission.name: submission for submission in submissions}
        try:
            for report in parallel(joblib.delayed(_grade)(submission, options) for submission in submissions):
                del left[report["submission"]["name"]]
                yield report
        except TerminatedWorkerError:          # a process of the pool is gone, killed for its memory perhaps: go on without
            for submission in left.values():
                yield grader.grade(submission)
        finally:
            get_reusable_executor().shutdown(wait=True, kill_workers=True)


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
        submission = read_submission(path, wanted_files(grader))
        report = grader.grade(submission, progress)
    if out is not None:
        save(out, write(report, format))
    return report


__all__ = ["Options", "grade_class", "grade_one", "named", "open_grader"]
