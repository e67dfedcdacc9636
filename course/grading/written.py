r"""Checks for written answers: a true statement that answers the question, or a choice.

What a task asks for is data: `tests/exercises/answers/ch01_elbo.toml` holds, for each written task, the form of its answer (see
course.grading.forms), the mistakes that have a name, and the key of a choice.

    expect_written(student, "ch01.bound", ANSWERS)

Whether a line is true is course.equations' business; this file turns it into feedback that explains and does not give the answer
away.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from course.grading.errors import CheckFailed

LONGEST = 3000          # characters of one line of mathematics; more is not an answer to any of the questions
WORDS = 600             # characters of a choice, with its reasons


@lru_cache(maxsize=8)
def load_answers(folder: Path | str) -> dict[str, dict[str, Any]]:
    """What the written tasks ask for, by task id, from the files `ch*.toml` in `folder`, or their sealed copies `ch*.sealed`."""
    import tomllib

    from course.grading.sealed import unseal

    read: dict[str, Any] = {".toml": tomllib.loads, ".sealed": unseal}
    return {task: spec for path in sorted(Path(folder).glob("ch*")) if path.suffix in read
            for task, spec in read[path.suffix](path.read_text(encoding="utf-8")).items()}


def expect_written(student: Any, task: str, folder: Path | str) -> None:
    """The student's answer to a written task is right. Causes: unreadable, wrong_value."""
    check_written(student.answer(task), load_answers(folder)[task])


def graded(task: str, draft: str, folder: Path | str) -> tuple[str, str]:
    """The status of what stands in the block of a written task, "passed", "failed" or "not_attempted", and what is to be said about it. The
    page answers with this; `course check` reads the same block with the same functions."""
    from course.grading.answers import read_answer

    try:
        answer = read_answer(f"```text {task}\n{draft}\n```\n", task)
        if not answer:
            return "not_attempted", "There is no answer yet; lines that begin with % are remarks."
        check_written(answer, load_answers(folder)[task])
    except CheckFailed as failed:
        return "failed", str(failed)
    return "passed", "Right."


def check_written(answer: str, spec: Mapping[str, Any]) -> None:
    """`answer` is what a written task asks for. Causes: unreadable, wrong_value."""
    KINDS[spec.get("kind", "statement")](answer, spec)


def asked_in(latex: str, setting: str, folder: Path | str) -> str | None:
    """The written task that one line answers, of those in a setting; None if it answers none."""
    for task, spec in load_answers(folder).items():
        if spec.get("kind", "statement") == "statement" and spec.get("setting", "vae") == setting:
            with contextlib.suppress(CheckFailed):
                expect_statement(latex, spec)
                return task
    return None


# ------------------------------------------------------------------------------------------------------- statements


def expect_statement(answer: str, spec: Mapping[str, Any]) -> None:
    """`answer` is one statement that always holds in the setting and answers the question.

    left        the left sides it may have, the first for the feedback
    form        the forms it may have (course.grading.forms.misfit), each with its `relations`; with `equals`, LaTeX that its right
                side must be equal to, and `wanted`, which names that
    known       "what was done wrong" -> a wrong statement, compared with the answer by its meaning
    refuse      pattern of the answer's text -> what to say
    setting     of course.equations
    """
    from course.equations import judge
    from course.grading.forms import NoAnswer, solved

    if len(answer) > LONGEST:
        raise CheckFailed("unreadable", f"the answer has {len(answer)} characters; one line of mathematics is meant")
    for pattern, remark in (dict(spec.get("refuse", {})) | SLIPS).items():
        if re.search(pattern, _unbraced(answer), re.I):
            raise CheckFailed("wrong_value", remark)
    setting = spec.get("setting", "vae")
    verdict = judge(answer, setting)
    if verdict.kind == "unreadable":
        line, column = verdict.position or (1, 1)
        said = verdict.reason.removeprefix(f"line {line}, column {column}: ")
        raise CheckFailed("unreadable", f"line {line}, column {column} of your answer cannot be read: {said}")
    read_as = f"\nYour answer was read as\n  {verdict.reading}"
    if (chain := _chain(answer)) is None:
        raise CheckFailed("unreadable", f"one statement with a relation such as = or \\ge is asked for.{read_as}")
    with contextlib.suppress(NoAnswer):
        chain = solved(chain, spec["left"])
    if (mistake := _known(chain, setting, spec.get("known", {}), by_meaning=not verdict.accepted)) is not None:
        raise CheckFailed("wrong_value", f"{mistake}.{read_as}{_counterexample(verdict)}")
    if verdict.kind == "refuted":
        edits = [change for _, change in verdict.repairs]
        mended = f" A single edit would mend it, of this kind: {edits[0]}." if edits else ""
        why = "" if "shown" in verdict.codes else f": {verdict.reason}"
        raise CheckFailed("wrong_value", f"it does not always hold{why}.{mended}{read_as}{_counterexample(verdict)}")
    if not verdict.accepted:
        with contextlib.suppress(RecursionError):
            _no_content(chain, read_as)
        raise CheckFailed("wrong_value", f"it could not be shown to hold: {verdict.reason}.{read_as}")
    if (problem := _no_answer(chain, spec, setting)) is not None:
        raise CheckFailed("wrong_value", f"true, but no answer to this question: {problem}.{read_as}")


def _no_content(chain: Any, read_as: str) -> None:
    """Raises CheckFailed for an empty product and the like, whatever the line is worth."""
    from course.grading.forms import NoAnswer, empties

    try:
        for node in chain.terms[1:]:
            empties(node)
    except NoAnswer as reason:
        raise CheckFailed("wrong_value", f"no answer to this question: {reason}.{read_as}") from None


def _no_answer(chain: Any, spec: Mapping[str, Any], setting: str) -> str | None:
    """What a true statement lacks to be the answer; None if it is one. Of several forms, what the nearest one says."""
    from course.equations.reading.tree import latex
    from course.grading.forms import NoAnswer, misfit, sides, solved

    try:
        candidates = sides(solved(chain, spec["left"]), spec["left"])
    except NoAnswer as reason:
        return str(reason)
    problems: list[str] = []
    for relations, right in reversed(candidates):
        for form in spec["form"]:
            claimed, allowed = _combined(relations), form["relations"]
            if claimed not in allowed:
                problems.append(f"the relation must be {' or '.join(map(_shown, allowed))}, not {_shown(claimed)}")
            elif problem := misfit(right, form):
                problems.append(problem)
            elif "equals" in form and not _same(latex(right), form["equals"], setting):
                problems.append(f"its right side is not {form['wanted']}")
            else:
                return None
    forms = len(spec["form"])
    return min(problems[:forms], key=lambda p: (p.startswith("the relation"), p.count("missing") + p.count(" and "), len(p)))


_TWO_BARS = r"KL\}*\(((?!\\\||\|\||\\parallel|\\Vert|\\mid\\mid|\\vert\\vert|\\rVert|\\lVert|[(),;]).|\((?:[^()])*\))*\)"
SLIPS = {
    r"E\}?_(\{q\}|q)\([^()\[\]\\]*(\\mid|\\vert)?[^()\[\]\\]*\)(\\[lL]eft|\\[bB]igg?l?)?[\[\\(]":
        r"\mathbb{E}_q(z|x)[...] hangs the (z|x) beside the mean, as if it were multiplied with something; the law of the mean "
        r"belongs below it in full: \mathbb{E}_{q(z|x)}[...]",
    _TWO_BARS: r"the two laws of a divergence stand on either side of two bars: D_{KL}(q \| p). One bar is the bar of a condition",
}


_SPACING = (r"\\left(?![a-z])|\\right(?![a-z])|\\[bB]igg?[lrm]?(?![a-z])|\\[,;:! ]|\\quad|\s|\\operatorname|\\mathrm"
            r"|\\text(?![a-z])")


def _unbraced(text: str) -> str:
    r"""The text without what only spaces it: blanks, \left, \right, \, and the like."""
    return re.sub(_SPACING, "", text)


@lru_cache(maxsize=512)
def _chain(text: str) -> Any:
    """The one chain of relations of a statement, or None if there are none or several. A name that a chain of its own gives a meaning,
    as in `... = L + D, L = E`, is replaced by it."""
    from course.equations import ReadError, read
    from course.equations.reading.tree import Apply, Sym, rebuild

    try:
        chains = [chain for chain in read(text).chains if chain.relations]
    except ReadError:
        return None
    named = {c.terms[0]: c.terms[1] for c in chains if isinstance(c.terms[0], Sym | Apply) and c.relations in (("=",), (":=",))}
    if len(chains) == 1 or len(named) != len(chains) - 1:
        return chains[0] if len(chains) == 1 else None

    def meant(node: Any) -> Any:
        return named[node] if node in named else rebuild(node, meant)

    return meant(next(c for c in chains if c.terms[0] not in named))


def _combined(relations: Sequence[str]) -> str | None:
    """What a chain of relations says about its ends: = and >= make >=, >= and <= make nothing."""
    up, down = any(r in (">=", ">") for r in relations), any(r in ("<=", "<") for r in relations)
    if (up and down) or any(r not in ("=", ":=", "=:", ">=", "<=", ">", "<", "~") for r in relations):
        return None
    strict = "" if not any(r in (">", "<") for r in relations) else "strict "
    return "~" if relations == ("~",) else strict + (">=" if up else "<=" if down else "=")


def _shown(relation: str | None) -> str:
    names = {">=": r"\ge", "<=": r"\le", "~": r"\sim", "strict >=": ">", "strict <=": "<", None: "several directions"}
    return names.get(relation, relation or "=")


@lru_cache(maxsize=512)
def _same(one: str, other: str, setting: str) -> bool:
    """Two expressions are always equal; False also where that could not be decided."""
    from course.equations import judge

    return judge(f"{one} = {other}", setting, explain=False).kind == "identity"


def _known(chain: Any, setting: str, known: Mapping[str, str], by_meaning: bool) -> str | None:
    """The first known mistake whose statement has the answer's relation and right side: as written, or also by meaning."""
    from course.equations.reading.tree import latex

    for text, statement in known.items():
        wrong = _chain(statement)
        if _combined(wrong.relations) != _combined(chain.relations):
            continue
        mine, theirs = chain.terms[-1], wrong.terms[-1]
        if _spelt(mine) == _spelt(theirs) or (by_meaning and _same(latex(mine), latex(theirs), setting)):
            return text
    return None


def _spelt(node: Any) -> str:
    """Canonical LaTeX, with the law of every expectation written as plain q."""
    from course.equations.reading.tree import latex

    return re.sub(r"\\mathbb\{E\}_\{q(\([^\[]*?\))?\}\\left\[", lambda m: r"\mathbb{E}_{q}\left[", latex(node))


def _counterexample(verdict: Any) -> str:
    return f"\nA case in which it fails:\n{verdict.counterexample}" if verdict.counterexample is not None else ""


def expect_claim(answer: str, spec: Mapping[str, Any]) -> None:
    """`answer` says true or false in its first line, and proves it below by one statement: `claim`, and what expect_statement takes."""
    said, _, proof = answer.strip().partition("\n")
    word = said.strip().rstrip(".!").lower()
    if word not in ("true", "false"):
        raise CheckFailed("unreadable", "the first line of the answer should be true or false, the line of mathematics below it the reason")
    if not proof.strip():
        raise CheckFailed("wrong_value", "a claim without its reason is a guess: write the line that proves it below")
    expect_statement(proof.strip(), spec)
    if (word == "true") != spec["claim"]:
        raise CheckFailed("wrong_value", f"your line holds and is the right one; read the claim once more beside it: is it {word}?", 0.5)


# ---------------------------------------------------------------------------------------------------------- choices


NEGATIONS = {"not", "no", "never", "neither", "nor", "except", "without", "than", "instead", "cannot"}
CUTS = {".", ";", "\n", "but", "while", "whereas", "so", "hence", "therefore", "because", "since", "rather"}
FILLING = {"and", "or", "row", "rows", "line", "lines", "the", "term", "also", "both", "option", "options", "statement", "statements"}


def expect_choice(answer: str, spec: Mapping[str, Any]) -> None:
    """`answer` names exactly the options in `key`, in any order, in a list (`A, C`, `ACD`) or in sentences.

    notes      option -> why it does or does not belong there
    also       other word -> the option it means ("second" -> "right")
    yes, no    words that say of the options in their clause that they are, or are not, meant ("wrong"; "fine"): a clause with a
               negation turns them round, and a negation without such a word excludes
    what       the answer in words
    Causes: unreadable, wrong_value.
    """
    notes, key, what = spec["notes"], spec["key"], spec.get("what", "the answer")
    if len(answer) > WORDS:
        raise CheckFailed("unreadable", f"{what} has {len(answer)} characters; name the options, with a sentence at most")
    named, excluded = chosen(answer, list(notes), spec.get("also", {}), spec.get("yes", ()), spec.get("no", ()))
    if both := [o for o in named if o in excluded]:
        raise CheckFailed("unreadable", f"{what}: {both[0]} is named once as part of the answer and once as not; say it once")
    if not named:
        only = f" It only says what is not the answer ({', '.join(excluded)})." if excluded else ""
        raise CheckFailed("unreadable", f"{what} should name one or more of {', '.join(notes)}, and names none of them.{only}")
    for option in notes:
        if option in named and option not in key:
            raise CheckFailed("wrong_value", f"{what}: {option} does not belong there. {notes[option]}")
    for option in key:
        if option not in named:
            raise CheckFailed("wrong_value", f"{what}: {option} is missing. {notes[option]}")


def chosen(answer: str, options: Sequence[str], also: Mapping[str, str], yes: Sequence[str],
           no: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the options that an answer names as meant, those that it excludes), in the order of `options`.

    The words are read in order. Options wait for the next word of `yes` or `no`, or for the end of the clause; a negation turns
    round what it stands before.
    """
    if match := re.match(r"(?is)\s*(?:all|everything|every one)\b[^.;\n]*?\b(?:but|except|without|other than)\b(.*)", answer):
        excluded, _ = chosen(match[1], options, also, (), ())          # "all but B and E"
        return [o for o in options if o not in excluded], excluded
    words = _words(answer, options, also)
    said: dict[bool, set[str]] = {True: set(), False: set()}
    waiting: set[str] = set()
    negated, leading, last = False, True, True

    def settle(meant: bool) -> None:
        nonlocal waiting, negated
        said[meant != negated].update(waiting)
        waiting, negated = set(), False

    for i, (word, found) in enumerate(words):
        following = next(((w, f) for w, f in words[i + 1:] if w not in FILLING), ("", set()))
        if found:
            waiting |= found
        elif word in CUTS or (word == "," and not following[1] and following[0] not in NEGATIONS):
            settle(leading)
            leading = True if word != "," else leading
            negated = word == "rather"
        elif word in NEGATIONS or word.endswith(("'t", "’t")):
            if waiting and following[1]:
                settle(leading)
            elif waiting and following[0] not in yes and following[0] not in no:          # "1 and 4 follow; 2 and 3 don't"
                settle(not last)
                continue
            negated = True
        elif word in yes or word in no:
            last = word in yes
            if waiting:
                settle(last)
            else:
                leading, negated = last != negated, False
    settle(leading)
    return [o for o in options if o in said[True]], [o for o in options if o in said[False]]


def _words(answer: str, options: Sequence[str], also: Mapping[str, str]) -> list[tuple[str, set[str]]]:
    """[(a word or a mark, the options that it names)]"""
    meaning = {o.lower(): o for o in options} | {word.lower(): o for word, o in also.items()}
    letters = all(len(o) == 1 for o in options)
    capitals = letters and re.search(r"(?<![A-Za-z])[A-Z]+(?![A-Za-z'’])", answer) is not None          # then small letters are words
    if capitals:          # "A divergence": the article, not the option
        answer = re.sub(r"\bA(?=\s+(?!(?:and|or|is|are|not|but|because|since|holds)\b)[a-z])", "", answer)
    out: list[tuple[str, set[str]]] = []
    for word in re.findall(r"[A-Za-z]+(?:['’][a-z]+)?|\d+|[,.;\n]|\((?=[A-Za-z]{2})", answer):
        low = word.lower()
        small = capitals and word.isalpha() and word != word.upper()
        found = {meaning[low]} if low in meaning and not small else set()
        packed = letters and len(word) > 1 and len(set(low)) == len(low) and set(low) <= set(meaning)
        if packed and (word == word.upper() or word == answer.strip()):          # ACD, 23: several options in one word
            found = {meaning[c] for c in low}
        out.append((";" if word == "(" else low, found))
    return out


def _derivation(answer: str, spec: Mapping[str, Any]) -> None:
    from course.grading.derivations import expect_derivation

    expect_derivation(answer, spec)


def _numbers(answer: str, spec: Mapping[str, Any]) -> None:
    from course.grading.numbers import expect_numbers

    expect_numbers(answer, spec)


KINDS = {"statement": expect_statement, "claim": expect_claim, "choice": expect_choice, "derivation": _derivation, "numbers": _numbers}
