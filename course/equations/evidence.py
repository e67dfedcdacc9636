"""What a verdict rests on, as plain data that the kernel has confirmed; and the verdicts.

    identity    both sides are equal, always                         (proved)
    bound       the inequality holds always, strictly somewhere      (proved)
    refuted     it fails in a model that is shown, computed exactly
    undecided   none of these could be shown; the reason says what is in the way
    unreadable  the LaTeX could not be read; the position says where
    definition  a name gets its meaning: nothing is claimed
    outside     it speaks of a letter that neither the text nor the setting declares; the reason says which

`Evidence` is a dictionary for kernel.check: the claim as lowered (lower.claim), a rule, and what the rule needs. There is none that
the kernel rejects, and no accepted or refuted Verdict without it: whoever makes one has gone through the kernel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from course.equations import kernel

KINDS = ("identity", "bound", "refuted", "undecided", "unreadable", "definition", "outside")
ACCEPTED = ("identity", "bound")
CODES = {  # what programs read of a verdict; its sentences are for people
    "condition": "a condition on an index, such as t >= 2: nothing is claimed",
    "from t = 2": "proved for every t >= 2",
    "in law": "both sides are random, with one law",
    "Markov": "the proof uses the Markov property of a law",
    "shown": "refuted by the world that is shown, and nothing more could be said",
}
Data = dict[str, Any]


class Evidence(dict):
    """Data that the kernel has confirmed; kind and extent are what it says that they prove. Raises kernel.Rejected."""

    def __init__(self, data: Data):
        super().__init__(data)
        found = kernel.check(self)
        self.kind: str = found["kind"]
        self.extent: str = found["extent"]


def earned(data: Data) -> Evidence | None:
    """The data as evidence, if the kernel confirms them."""
    try:
        return data if isinstance(data, Evidence) else Evidence(data)
    except kernel.Rejected:
        return None


def refusal(data: Data) -> str:
    """Why the kernel rejects the data; empty if it does not."""
    try:
        kernel.check(data)
    except kernel.Rejected as problem:
        return str(problem)
    return ""


def same(claim: Data) -> Data:
    return {**claim, "rule": "same"}


def gibbs(claim: Data, pieces: list) -> Data:
    return {**claim, "rule": "gibbs", "pieces": pieces}


def of_logarithms(claim: Data, then: Data) -> Data:
    """Evidence for a claim about positive sides out of evidence for the claim about their logarithms."""
    return {**then, "claim": claim["claim"], "rule": "log", "then": then["rule"]}


def in_world(claim: Data, world: dict) -> Data:
    return {**claim, "rule": "world", "world": world}


def written(pieces: Iterable[Data]) -> str:
    """Evidence as the text of a file that `python kernel.py FILE` reads."""
    return json.dumps(list(pieces), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


# ---------------------------------------------------------------------------------------------------- verdicts


@dataclass(frozen=True)
class Verdict:
    """What is known about a statement. kind is one of KINDS.

    reading: canonical LaTeX of what was read; tree: the same as indented text. reason: one or two sentences.
    counterexample: printable, for refuted statements. repairs: (LaTeX, what changed), best first. position: (line, column)
    of a reading error. assumptions: properties of the setting that the proof used. proved_for: "all T" or "all T from 3"; empty
    where no T occurs. certificate: what makes a bound true. notes: remarks of the reader. evidence: plain data, for each relation
    what kernel.check was given; for an accepted or refuted one the kernel has confirmed it. read_with: what letters mean in this
    text, where the setting alone does not say. codes: of CODES.
    """

    kind: str
    reading: str = ""
    reason: str = ""
    counterexample: object = None
    repairs: tuple[tuple[str, str], ...] = ()
    position: tuple[int, int] | None = None
    assumptions: tuple[str, ...] = ()
    proved_for: str = ""
    certificate: str = ""
    tree: str = ""
    notes: tuple[str, ...] = ()
    setting: str = ""
    evidence: tuple[Evidence, ...] = field(default=(), compare=False, repr=False)
    read_with: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """An accepted verdict, and a refutation, says what the kernel said of its evidence."""
        proved = {e.kind for e in self.evidence if isinstance(e, Evidence)}
        said = "refuted" if "refuted" in proved else "bound" if "bound" in proved else "identity" if proved else ""
        if self.kind in (*ACCEPTED, "refuted") and (self.kind != said or not all(isinstance(e, Evidence) for e in self.evidence)):
            raise ValueError(f"a verdict of kind {self.kind} without evidence that the kernel has confirmed")

    @property
    def accepted(self) -> bool:
        return self.kind in ACCEPTED

    def as_dict(self) -> dict:
        """Plain data for JSON."""
        out = {k: getattr(self, k) for k in ("kind", "reading", "reason", "proved_for", "certificate", "tree", "setting")}
        out |= {
            "assumptions": list(self.assumptions),
            "notes": list(self.notes),
            "read_with": list(self.read_with),
            "codes": list(self.codes),
            "position": list(self.position) if self.position else None,
            "counterexample": str(self.counterexample) if self.counterexample is not None else None,
            "repairs": [{"latex": a, "change": b} for a, b in self.repairs],
        }
        return out

    def __str__(self) -> str:
        lines = [f"{self.kind}" + (f" ({self.proved_for})" if self.proved_for else "")]
        if self.reading:
            lines.append(f"read as: {self.reading}")
        lines += [f"read with: {x}" for x in self.read_with]
        if self.reason:
            lines.append(self.reason)
        if self.certificate:
            lines.append(f"certificate: {self.certificate}")
        if self.assumptions:
            lines.append(f"assumes: {'; '.join(self.assumptions)}")
        lines += [f"note: {n}" for n in self.notes]
        if self.counterexample is not None:
            lines.append(f"counterexample:\n{self.counterexample}")
        lines += [f"would hold: {a}   ({b})" for a, b in self.repairs]
        return "\n".join(lines)


@dataclass(frozen=True)
class Step:
    """One relation of a derivation: its number from 1, its kind and verdict, its LaTeX, where it stands."""

    number: int
    latex: str
    verdict: Verdict
    position: tuple[int, int] = (1, 1)

    @property
    def kind(self) -> str:
        return self.verdict.kind

    @property
    def reason(self) -> str:
        return self.verdict.reason


@dataclass(frozen=True)
class Derivation:
    """A derivation judged relation by relation.

    wrong_steps: numbers (from 1) of the relations that are refuted. holds: every relation that claims something is an identity
    or a bound, and one does.
    conclusion: what first and last term are to each other by the steps that hold, or why nothing follows.
    compensating: wrong steps although the chain's end result is true.
    """

    steps: tuple[Step, ...]
    conclusion: str = ""
    compensating: bool = False
    error: Verdict | None = None
    notes: tuple[str, ...] = ()
    read_with: tuple[str, ...] = ()

    @property
    def wrong_steps(self) -> list[int]:
        return [s.number for s in self.steps if s.kind == "refuted"]

    @property
    def undecided_steps(self) -> list[int]:
        return [s.number for s in self.steps if s.kind not in (*ACCEPTED, "definition", "refuted")]

    @property
    def holds(self) -> bool:
        kinds = {s.kind for s in self.steps}
        return bool(kinds & set(ACCEPTED)) and kinds <= {*ACCEPTED, "definition"}

    def as_dict(self) -> dict:
        return {
            "holds": self.holds,
            "wrong_steps": self.wrong_steps,
            "undecided_steps": self.undecided_steps,
            "conclusion": self.conclusion,
            "read_with": list(self.read_with),
            "compensating": self.compensating,
            "notes": list(self.notes),
            "error": self.error.as_dict() if self.error else None,
            "steps": [{"number": s.number, "latex": s.latex, **s.verdict.as_dict()} for s in self.steps],
        }

    def __str__(self) -> str:
        if self.error:
            return str(self.error)
        lines = []
        for s in self.steps:
            lines.append(f"{s.number}. {s.kind}: {s.latex}" + (f"   [{s.verdict.reason}]" if s.verdict.reason else ""))
        return "\n".join([*lines, self.conclusion])
