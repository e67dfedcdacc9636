"""How long a verdict takes."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
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


# What a verdict must be for the truth that a person wrote beside a formula. A definition claims nothing, so any verdict that neither
# refutes it nor fails is right; of what is outside of every setting nothing may be claimed.
RIGHT = {
    "identity": {"identity"},
    "bound": {"bound"},
    "refuted": {"refuted"},
    "definition": {"definition", "outside", "undecided", "identity", "bound"},
    "outside": {"outside", "undecided", "definition", "unreadable"},
    "broken": {"unreadable"},
}
CRASHED = "the checker failed"


def corpus(path: Path) -> int:
    """Print how the judge does on a file of formulas with their truth: a JSON list of {"latex", "setting", "truth"}; 1 if something
    false is accepted, something true refuted, or the checker fails."""
    from course.equations import evidence, judge

    judge("p(x) = p(x)")          # builds the parser
    entries = json.loads(path.read_text(encoding="utf-8"))
    count: Counter[str] = Counter()
    times = []
    for entry in entries:
        start = time.process_time()
        verdict = judge(entry["latex"], entry["setting"])
        times.append(time.process_time() - start)
        truth = entry["truth"]
        count["right"] += verdict.kind in RIGHT[truth]
        count["false accepted"] += verdict.accepted and truth == "refuted"
        count["true refuted"] += verdict.kind == "refuted" and truth in ("identity", "bound")
        count["failed"] += CRASHED in verdict.reason
        count["foreign refuted"] += verdict.kind == "refuted" and truth in ("definition", "outside")
        count["accepted"] += verdict.accepted
        count["re-checked"] += verdict.accepted and bool(verdict.evidence) and all(map(evidence.earned, verdict.evidence))
    times.sort()
    bad = [count[k] for k in ("false accepted", "true refuted", "failed")]
    print(f"right                                          {count['right']} of {len(entries)}")
    print(f"false accepted / true refuted / failures       {bad[0]} / {bad[1]} / {bad[2]}")
    print(f"definitions and foreign notation refuted       {count['foreign refuted']}")
    print(f"accepted, and re-checked by the kernel         {count['accepted']}, {count['re-checked']}")
    middle, high = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(f"CPU time of a verdict: median, p99, worst      {middle * 1e3:.1f} ms, {high * 1e3:.0f} ms, {times[-1]:.2f} s")
    return min(sum(bad), 1)
