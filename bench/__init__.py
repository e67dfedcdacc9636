"""Measuring by turns. See bench/__main__.py for how to run this and how to add to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Result(NamedTuple):
    """ours and theirs in seconds (or what `unit` says); goal is the largest ratio that will do."""

    what: str
    ours: float
    theirs: float
    goal: float | None = None
    unit: str = "s"


MEASUREMENTS: dict[str, Callable[[], Iterator[Result]]] = {}


def measurement(function: Callable[[], Iterator[Result]]) -> Callable[[], Iterator[Result]]:
    """Register a measurement under its name."""
    MEASUREMENTS[function.__name__] = function
    return function


def in_turns(*works: Callable[[], Any], rounds: int = 15, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """The shortest seconds of each, run in turns again and again: what each takes when nothing else disturbs it.

    clock: time.process_time counts this process's work only, for what runs in one thread on a machine that others use, too."""
    for work in works:
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(rounds):
        pairs = list(zip(works, seconds, strict=True))
        for work, times in pairs if turn % 2 else reversed(pairs):
            start = clock()
            work()
            times.append(clock() - start)
    return [min(times) for times in seconds]


def amount(value: float, unit: str) -> str:
    """12.3 ms, 45 us, 1.2 s; other units as they are."""
    if unit != "s":
        return f"{value:.3g} {unit}"
    for factor, name in [(1, "s"), (1e3, "ms"), (1e6, "us")]:
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"
