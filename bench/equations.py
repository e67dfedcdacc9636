"""How long a verdict takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import Result, measurement


@measurement
def equations() -> Iterator[Result]:
    """CPU time of a verdict over the tests' own statements, beside what a reader waits for without noticing"""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "course" / "equations"))
    from test_statements import CASES

    from course.equations import judge

    judge("p(x) = p(x)")          # builds the parser
    times = []
    for case in CASES:
        start = time.process_time()
        judge(case.latex, case.setting)
        times.append(time.process_time() - start)
    times.sort()
    yield Result("a statement: median, 50 ms", times[len(times) // 2], 0.05, 1.0)
    yield Result("a statement: worst, 500 ms", times[-1], 0.5, 1.0)
