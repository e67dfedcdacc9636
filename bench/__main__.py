"""`make bench`: how fast, as ratios of two things measured in turns within one run. A loaded machine slows both alike.

    python -m bench              every measurement
    python -m bench samplers     those whose name contains a word
    python -m bench equations --corpus FILE    the judge on a JSON list of formulas with their truth (bench/equations.py)

A measurement is a function decorated with @measurement that yields Result(what, ours, theirs, goal): two durations in
seconds (or amounts of another kind) and the largest ratio ours / theirs that will do, or None. All bench/*.py are read.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import bench


def main(words: list[str]) -> int:
    """Run the measurements, print one line each; 1 if a goal was missed."""
    for module in pkgutil.iter_modules(bench.__path__):
        if module.name != "__main__":
            importlib.import_module(f"bench.{module.name}")
    if "--corpus" in words:
        return importlib.import_module("bench.equations").corpus(Path(words[words.index("--corpus") + 1]))
    missed = 0
    print(f"{'':44}{'ours':>11}{'theirs':>11}{'ratio':>8}{'goal':>7}")
    for name, measurement in bench.MEASUREMENTS.items():
        if words and not any(word in name for word in words):
            continue
        print(f"{name}: {(measurement.__doc__ or '').splitlines()[0]}")
        for what, ours, theirs, goal, unit in measurement():
            ratio = ours / theirs
            late = goal is not None and ratio > goal
            missed += late
            print(f"  {what:42}{bench.amount(ours, unit):>11}{bench.amount(theirs, unit):>11}{ratio:8.3f}"
                  f"{'' if goal is None else format(goal, '7.2f')}{'  MISSED' if late else ''}", flush=True)
    print("every goal met" if not missed else f"{missed} goals missed")
    return min(missed, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
