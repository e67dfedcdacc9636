r"""Derivations that a student writes line by line: judged relation by relation, with points for every step.

A task gives the first line, the last line and the letters that may occur. What lies between is free: any lines that hold, as long as
they pass the places where something happens (the guess multiplied in, the logarithm taken apart). Each of these places and the end
are one step. A wrong row ends the count, a jump over a place loses its step; either is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from course.equations.reading.tree import Add, Chain, Density, Expect, Func, Law, Mul, Node, Sym, children, latex, rebuild
from course.grading.errors import CheckFailed
from course.grading.forms import NoAnswer, empties, letter, parts, pattern, same, signed, term

LONGEST = 8000          # characters; the longest reference has 900


def expect_derivation(answer: str, spec: Mapping[str, Any]) -> None:
    """`answer` leads from `first` to one of `last`, and every relation in it holds in `setting`.

    relations   what first and last are to each other by the whole chain, such as [">="]
    atoms       the densities that may occur, an index t in them standing for any
    symbols     the other letters that may occur (course.grading.forms names them: x_0, x_t, epsilon); any unless given
    steps       tables with `called`, what happens there, and `one_of`, lists of parts; a line between first and last must have all
                parts of one list, those written with a sign with that sign when everything has cancelled, and `groups` separate
                logarithms at least
    Causes: unreadable, wrong_value with the share of the steps that were reached.
    """
    from course.equations import judge_derivation

    if len(answer) > LONGEST:
        raise CheckFailed("unreadable", f"the derivation has {len(answer)} characters; at most {LONGEST} are read")
    chain = _one_chain(answer, spec)
    problems = _bounds(chain, spec)
    derivation = judge_derivation(latex(chain), spec.get("setting", "vae"))
    if derivation.error is not None:
        raise CheckFailed("unreadable", f"the derivation cannot be read: {derivation.error.reason}")
    bad = next((step for step in derivation.steps if not step.verdict.accepted), None)
    right = len(chain.relations) if bad is None else bad.number - 1          # relations that hold, from the first on
    index = {"t": ("t", 0)} if spec.get("setting") == "gaussian" else None          # there t is the t of the first line
    ends = [term(last) for last in spec["last"]]
    met = [_passes(chain.terms[1:right + 1], step, ends, index) for step in spec["steps"]]
    total, reached = len(met) + 1, sum(met) + (bad is None and not problems)
    share = reached / total if right and problems[:1] != ["first"] else 0.0
    said = _about(chain, bad, problems, spec, met)
    if said:
        count = f"{reached if share else 0} of {total} steps are there."
        raise CheckFailed("wrong_value", f"{said}\n{count}", earned=min(share, (total - 1) / total))


def _about(chain: Chain, bad: Any, problems: Sequence[str], spec: Mapping[str, Any], met: Sequence[bool]) -> str:
    """What is wrong with a derivation, in words; empty if nothing is."""
    if bad is not None:
        return _wrong_row(chain, bad)
    if problems:
        return problems[-1]
    lost = [step["called"] for step, passed in zip(spec["steps"], met, strict=True) if not passed]
    if _moves(chain) < 2:
        between = lost[0] if lost else "a line"
        return f"every row holds, but this jumps from the first line to the last. Write what happens between: {between}."
    if lost:
        return f"every row holds, but a step is missing: {lost[0]}."
    return ""


def _wrong_row(chain: Chain, bad: Any) -> str:
    verdict, row = bad.verdict, bad.number
    where = "the first line" if row == 1 else f"row {row - 1}"
    what = f"row {row} does not follow from {where}: {bad.latex}"
    if verdict.kind != "refuted":
        return f"row {row} could not be shown to follow from {where} ({verdict.reason}): {bad.latex}"
    edits = [change for _, change in verdict.repairs]
    near = f"\nIt is near: a single edit would mend it, of this kind: {edits[0]}." if edits else ""
    case = f"\nA case in which it fails:\n{verdict.counterexample}" if verdict.counterexample is not None else ""
    return f"{what}{near}{case}"


def _one_chain(answer: str, spec: Mapping[str, Any]) -> Chain:
    """The answer as one chain of relations. Rows that begin with the first line, or with the end of the row before, are joined."""
    from course.equations import ReadError, read

    try:
        chains = [chain for chain in read(answer).chains if chain.relations]
    except ReadError as error:
        raise CheckFailed("unreadable", f"line {error.line}, column {error.column} of your derivation cannot be read: "
                                        f"{str(error).removeprefix(f'line {error.line}, column {error.column}: ')}") from None
    if not chains:
        raise CheckFailed("unreadable", "a derivation is a chain of lines with = or \\ge between them")
    first = _ordered(term(spec["first"]))
    terms, relations = list(chains[0].terms), list(chains[0].relations)
    for number, chain in enumerate(chains[1:], 2):
        begins = _ordered(chain.terms[0])
        if begins not in (first, _ordered(terms[-1])):
            raise CheckFailed("unreadable", f"chain {number} of your lines begins with {latex(chain.terms[0])}, which is neither the first "
                                            "line nor the end of the row before. Write one chain: A = B, then = C in the next row")
        terms += chain.terms[1:]
        relations += chain.relations
    return Chain(tuple(terms), tuple(relations))


def _bounds(chain: Chain, spec: Mapping[str, Any]) -> list[str]:
    """What is wrong with a chain besides its truth: its beginning (then "first" comes first), its end, its letters."""
    from course.grading.written import _combined, _shown

    if _ordered(chain.terms[0]) != _ordered(term(spec["first"])):
        return ["first", f"the first line should be {spec['first']}, as the task gives it; yours is {latex(chain.terms[0])}"]
    for row, line in enumerate(chain.terms[1:], 1):
        try:
            empties(line, derivation=True)
        except NoAnswer as reason:
            return [f"in row {row}: {reason}"]
        if stray := _stray(line, spec):
            return [f"in row {row}, {stray}"]
    if _ordered(chain.terms[-1]) not in [_ordered(term(last)) for last in spec["last"]]:
        return [f"every row may hold, but the last line is not the one that the task gives; yours is {latex(chain.terms[-1])}"]
    if (claimed := _combined(chain.relations)) not in spec["relations"]:
        allowed = " or ".join(map(_shown, spec["relations"]))
        return [f"the relations together say {_shown(claimed)} of first and last line; it should be {allowed}"]
    return []


def _stray(line: Node, spec: Mapping[str, Any]) -> str:
    """A letter in a line that the task does not allow, in words; empty if there is none."""
    atoms = [pattern(text)[2] for text in (*spec.get("atoms", ()), spec["first"], *spec["last"])]
    allowed = [n for atom in atoms for n in _inside(atom, laws=True) if isinstance(n, Density)]
    for n in _inside(line, laws=True):
        if isinstance(n, Density) and n.args and not any(same(atom, n) for atom in allowed):
            return f"{latex(n)} is none of the laws that this derivation is made of: {', '.join(spec.get('atoms', ()))}"
    for n in _inside(line, laws=True, densities=False):
        if isinstance(n, Sym) and "symbols" in spec and letter(n) not in spec["symbols"]:
            return f"{latex(n)} is none of the letters that this derivation is made of"
    return ""


def _passes(lines: Sequence[Node], step: Mapping[str, Any], ends: Sequence[Node], index: dict | None) -> bool:
    """Does one of the lines, other than the end that the task gives in any spelling, have all parts of one list of the step?"""
    for line in lines:
        if any(_ordered(line) == _ordered(end) or _respelt(line, end) for end in ends):
            continue
        here = list(_inside(line))
        if sum(isinstance(n, Func) and n.name == "log" for n in here) < step.get("groups", 0):
            continue
        for wanted in step["one_of"]:
            if all(_net(line, part) if part[0] in "+-" else any(same(pattern(part)[2], n, index) for n in here) for part in wanted):
                return True
    return False


def _net(line: Node, wanted: str) -> bool:
    """Is a part, `+\\log p(x, z)` or `+q(z_t|x)`, there with this sign after what stands above and below has cancelled?"""
    sign, kind, atom = pattern(wanted)
    return sign * sum(part.sign for part in signed(line, kind == "factor") if part.kind == kind and same(atom, part.atom)) > 0


def _respelt(one: Node, other: Node) -> bool:
    """Are two lines the same but for the grouping and order of their parts?"""
    for product in (False, True):
        try:
            a, b = ([(p.sign, p.kind, _ordered(p.atom)) for p in parts(n, product)] for n in (one, other))
        except NoAnswer:
            continue
        if sorted(map(repr, a)) == sorted(map(repr, b)) and not any(p[1] == "other" for p in a):
            return True
    return False


def _moves(chain: Chain) -> int:
    """How many relations of a chain change more than the order of things."""
    return sum(_ordered(a) != _ordered(b) and not _respelt(a, b) for a, b in zip(chain.terms, chain.terms[1:], strict=False))


def _inside(node: Node, laws: bool = False, densities: bool = True) -> Iterator[Node]:
    """`node` and everything below it; without the laws that means are over, and without what is inside a density, unless asked."""
    yield node
    if isinstance(node, Density) and not densities:
        return
    for child in children(node):
        if laws or not isinstance(child, Law):
            yield from _inside(child, laws, densities)


def _ordered(node: Node) -> Node:
    """The tree with sums, products and the variables of densities in one order, and the law of every mean written as plain q."""
    node = rebuild(node, _ordered)
    if isinstance(node, Density):
        return replace(node, args=tuple(sorted(node.args, key=repr)), given=tuple(sorted(node.given, key=repr)))
    if isinstance(node, Add | Mul):
        (name,) = (f.name for f in fields(node) if f.compare)
        parts: dict[str, Any] = {name: tuple(sorted(getattr(node, name), key=repr))}
        return replace(node, **parts)
    if isinstance(node, Expect) and len(node.laws) == 1 and isinstance(node.laws[0].dist, Density) and node.laws[0].dist.letter == "q":
        return replace(node, laws=(Law((), Density("q")),))
    return node
