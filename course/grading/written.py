r"""Checks for written answers: a true statement of the form asked for, or a choice.

    expect_statement(student.answer("ch01.bound"), left=r"\log p(x)", relations=(">=",), equals=r"\mathbb{E}_q[...]",
                     known={"this is an upper bound": r"\log p(x) \le ..."})

The verdict is course.equations'; this file turns it into feedback that explains and does not give the answer away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from course.grading.errors import CheckFailed

LONGEST = 3000          # characters of one line of mathematics; more is not an answer to any of the questions


def expect_statement(answer: str, left: str, relations: Sequence[str] = ("=",), setting: str = "vae", equals: str | None = None,
                     must: Sequence[str] = (), must_not: Sequence[str] = (), known: Mapping[str, str] | None = None,
                     wanted: str = "the expression asked for") -> None:
    """`answer` is one statement that always holds in the setting and answers the question.

    left, relations, must, must_not   the form, see course.equations.Required
    equals                            LaTeX that the right side of an inequality must be equal to; `wanted` names it
    known                             "what was done wrong" -> a wrong statement, compared with the answer by its meaning
    Causes: unreadable, wrong_value.
    """
    from course.equations import Required, judge

    if len(answer) > LONGEST:
        raise CheckFailed("unreadable", f"the answer has {len(answer)} characters; one line of mathematics is meant")
    verdict = judge(answer, setting)
    if verdict.kind == "unreadable":
        line, column = verdict.position or (1, 1)
        said = verdict.reason.removeprefix(f"line {line}, column {column}: ")
        raise CheckFailed("unreadable", f"line {line}, column {column} of your answer cannot be read: {said}")
    read_as = f"\nYour answer was read as\n  {verdict.reading}"
    if (chain := _chain(answer)) is None:
        raise CheckFailed("unreadable", f"one statement with a relation such as = or \\ge is asked for.{read_as}")
    if (mistake := _known(chain, setting, known or {}, by_meaning=not verdict.accepted)) is not None:
        raise CheckFailed("wrong_value", f"{mistake}.{read_as}{_counterexample(verdict)}")
    if verdict.kind == "refuted":
        edits = [change for _, change in verdict.repairs]
        mended = f" A single edit would mend it, of this kind: {edits[0]}." if edits else ""
        why = "" if verdict.reason == "it fails in the model shown" else f": {verdict.reason}"
        raise CheckFailed("wrong_value", f"it does not always hold{why}.{mended}{read_as}{_counterexample(verdict)}")
    if verdict.kind == "undecided":
        raise CheckFailed("wrong_value", f"it could not be shown to hold: {verdict.reason}.{read_as}")
    formed = judge(answer, setting, form=Required(left, tuple(relations), tuple(must), tuple(must_not)))
    if not formed.accepted:
        raise CheckFailed("wrong_value", f"{_softened(formed.reason)}.{read_as}")
    if equals is not None and not _is_equation(answer) and not _same(_right(answer), _right(f"0 = {equals}"), setting):
        raise CheckFailed("wrong_value", f"true, but its right side is not {wanted}.{read_as}")


def expect_choice(answer: str, right: Sequence[str], notes: Mapping[str, str], what: str = "the answer") -> None:
    """`answer` names exactly the options in `right`, in any order and any case; `notes` says about each option why it does
    or does not belong there. Words that are no options are skipped. Causes: unreadable, wrong_value."""
    options = {option.lower(): option for option in notes}
    named = [options[word] for word in re.findall(r"\w+", answer.lower()) if word in options]
    if not named:
        raise CheckFailed("unreadable", f"{what} should name one or more of {', '.join(notes)}, and names none of them")
    for option in notes:
        if option in named and option not in right:
            raise CheckFailed("wrong_value", f"{what}: {option} does not belong there. {notes[option]}")
    for option in right:
        if option not in named:
            raise CheckFailed("wrong_value", f"{what}: {option} is missing. {notes[option]}")


@lru_cache(maxsize=512)
def _chain(text: str) -> Any:
    """The one chain of relations of a statement, or None if there are none or several."""
    from course.equations import ReadError, read

    try:
        chains = [chain for chain in read(text).chains if chain.relations]
    except ReadError:
        return None
    return chains[0] if len(chains) == 1 else None


def _right(text: str) -> Any:
    chain = _chain(text)
    return chain.terms[-1] if chain else None


def _is_equation(text: str) -> bool:
    chain = _chain(text)
    return chain is not None and set(chain.relations) <= {"=", ":="}


def _same(one: Any, other: Any, setting: str) -> bool:
    """Two expressions are always equal; False also where that could not be decided."""
    if one is None or other is None:
        return False
    if setting == "gaussian":
        from course.equations import judge
        from course.equations.tree import latex

        return judge(f"{latex(one)} = {latex(other)}", setting).kind == "identity"
    from course.equations.judging import Claim, decide
    from course.equations.settings import settings

    return decide(Claim(settings[setting], one, "=", other), explaining=False).kind == "identity"


def _known(chain: Any, setting: str, known: Mapping[str, str], by_meaning: bool) -> str | None:
    """The first known mistake whose statement has the answer's relation and right side: as written, or also by meaning."""
    from course.equations.judging import combine

    for text, statement in known.items():
        wrong = _chain(statement)
        if combine(list(wrong.relations)) != combine(list(chain.relations)):
            continue
        if _spelt(wrong.terms[-1]) == _spelt(chain.terms[-1]) or (by_meaning and _same(chain.terms[-1], wrong.terms[-1], setting)):
            return text
    return None


def _spelt(node: Any) -> str:
    """Canonical LaTeX, with the law of every expectation written as plain q."""
    from course.equations.tree import latex

    return re.sub(r"\\mathbb\{E\}_\{q(\([^\[]*?\))?\}\\left\[", lambda m: r"\mathbb{E}_{q}\left[", latex(node))


def _counterexample(verdict: Any) -> str:
    return f"\nA case in which it fails:\n{verdict.counterexample}" if verdict.counterexample is not None else ""


PARTS = {"KL": "a KL divergence", "E": "an expectation", "log": "a logarithm", "prod": "a product", "sum": "a sum"}


def _softened(reason: str) -> str:
    """Form problems in words: what course.equations calls E or >= is an expectation or \\ge to a student."""
    reason = re.sub(r": (KL|E|log|prod|sum) must", lambda m: f": {PARTS[m[1]]} must", reason)
    return reason.replace(" <=", r" \le").replace(" >=", r" \ge")
