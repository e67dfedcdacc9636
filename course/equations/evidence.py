"""What a verdict rests on, as plain data that the kernel re-checks.

Evidence is a dictionary for kernel.check: the claim as lowered (lower.claim), a rule, and what the rule needs. `earned` is the
only way to an accepted verdict: it hands the evidence to the kernel and takes the kind and the extent from the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from course.equations import kernel

Evidence = dict[str, Any]


def earned(evidence: Evidence) -> tuple[str, str] | None:
    """(kind, extent) as the kernel proves them from this evidence, or None; the kinds are identity, bound, refuted."""
    try:
        found = kernel.check(evidence)
    except kernel.Rejected:
        return None
    return found["kind"], found["extent"]


def refusal(evidence: Evidence) -> str:
    """Why the kernel rejects the evidence; empty if it does not."""
    try:
        kernel.check(evidence)
    except kernel.Rejected as problem:
        return str(problem)
    return ""


def same(claim: Evidence) -> Evidence:
    return {**claim, "rule": "same"}


def gibbs(claim: Evidence, pieces: list) -> Evidence:
    return {**claim, "rule": "gibbs", "pieces": pieces}


def of_logarithms(claim: Evidence, then: Evidence) -> Evidence:
    """Evidence for a claim about positive sides out of evidence for the claim about their logarithms."""
    return {**then, "claim": claim["claim"], "rule": "log", "then": then["rule"]}


def in_world(claim: Evidence, world: dict) -> Evidence:
    return {**claim, "rule": "world", "world": world}


def written(pieces: Iterable[Evidence]) -> str:
    """Evidence as the text of a file that `python kernel.py FILE` reads."""
    return json.dumps(list(pieces), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
