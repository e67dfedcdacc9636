"""How long the course takes to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from bench import Result, in_turns, measurement


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@measurement
def startup() -> Iterator[Result]:
    """a fresh process, beside one that only imports torch"""
    nothing, package, usage, torch = in_turns(
        lambda: python("pass"), lambda: python("import course"),
        lambda: python("import sys; sys.argv = ['course', '--help']; from course.cli import app; app()"),
        lambda: python("import torch"), rounds=7)
    yield Result("python alone", nothing, torch)
    yield Result("import course", package, torch, 0.5)
    yield Result("course --help", usage, torch, 0.5)
