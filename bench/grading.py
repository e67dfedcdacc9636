"""How many submissions a minute: graded in confined workers, beside one pytest process for each submission."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import Result, measurement

ROOT = Path(__file__).resolve().parent.parent
CHECKS = ROOT / "tests" / "exercises"
CHAPTER = "ch03_forward"


def one_chapter(folder: Path) -> Path:
    """The checks of one chapter with its manifest, as a folder of its own."""
    for path in [CHECKS / "conftest.py", *CHECKS.glob(f"*{CHAPTER}*"), *CHECKS.glob("*.json")]:
        (folder / path.name).write_bytes(path.read_bytes())
    manifest = folder / f"{CHAPTER}.toml"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if not line.startswith("needs")))
    return folder


@measurement
def grading() -> Iterator[Result]:
    """Seconds for each submission; chapter 3 with all its checks, isolation as strong as this machine allows."""
    from course.grading.bulk import Options, open_grader
    from course.grading.sandbox import SandboxError, WeakIsolation
    from course.grading.submission import Submission

    solution = (CHECKS / "variants" / "first" / f"{CHAPTER}.py").read_bytes()
    with tempfile.TemporaryDirectory() as where:
        checks, student = Path(where, "checks"), Path(where, "student")
        checks.mkdir()
        student.mkdir()
        one_chapter(checks)
        (student / f"{CHAPTER}.py").write_bytes(solution)
        try:
            grader = open_grader(Options(seed=1, checks=str(checks)))
        except (WeakIsolation, SandboxError) as error:
            print(f"    left out: {error}")
            return
        ours: list[float] = []
        theirs: list[float] = []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks), "--student", str(student)]
        with grader:
            submission = Submission("student", {f"{CHAPTER}.py": solution})
            report = grader.grade(submission)          # both ways must give all the points
            assert report["score"] == report["max_score"], report
            for _ in range(3):          # by turns, so that what else the machine does slows both alike
                began = time.perf_counter()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                theirs.append(time.perf_counter() - began)
                for _ in range(10):
                    began = time.perf_counter()
                    grader.grade(submission)
                    ours.append(time.perf_counter() - began)
        mean = sum(ours) / len(ours), sum(theirs) / len(theirs)
        yield Result("a submission, against one pytest", *mean, goal=1 / 40)
        yield Result("submissions a minute", 60 / mean[0], 60 / mean[1], None, "/min")
        yield Result("a submission, best of all turns", min(ours), min(theirs), None)
