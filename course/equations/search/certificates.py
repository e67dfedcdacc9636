"""From a combination of nonnegative terms found at one length to evidence for every length.

`Bounds.prove` finds, at T = 3 or 4, how the gap of an inequality is made of divergences. Here that is written with T in place of
the number: runs of variables get symbolic ends, and divergences that are shifts of each other become one sum over t. Several
ways of doing so are tried; whether one of them is right is decided by the kernel, which is given it as evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import groupby
from typing import Any

from course.equations.meaning.ground import Var
from course.equations.search.proof import Elemental, Piece

Ends = tuple[int, int]  # the first and last index of a run; (-1, -1) without index
Runs = tuple[tuple[str, str, Ends], ...]  # (base, mark, ends), in order
Index = list
LETTER = "u"  # the running index of a family


def mark(tag: str) -> str:
    """The kernel keeps marks that start with #, * or @ for itself."""
    return tag.replace("#", "n").replace("*", "b").replace("@", "a")


def runs(variables: frozenset[Var], apart: frozenset[tuple[str, int]]) -> Runs:
    """A set of variables as runs of consecutive indices; the slots of `apart` stay alone."""
    out: list[tuple[str, str, Ends]] = []
    for base, tag in sorted({(v[0], v[2]) for v in variables}):
        numbers = sorted(v[1] for v in variables if (v[0], v[2]) == (base, tag))
        alone = [i for i in numbers if i < 0 or (base, i) in apart]
        out += [(base, mark(tag), (i, i)) for i in alone]
        rest = [i for i in numbers if i not in alone]
        for _, group in groupby(enumerate(rest), lambda pair: pair[1] - pair[0]):
            found = [i for _, i in group]
            out.append((base, mark(tag), (found[0], found[-1])))
    return tuple(out)


Shape = tuple  # a piece with runs in place of sets of variables


def shape_of(piece: Piece, apart: frozenset[tuple[str, int]]) -> Shape:
    def term(t: tuple) -> tuple:
        return tuple((letter, runs(a, apart), runs(b, apart), e) for letter, a, b, e in t)

    outer = tuple((runs(over, apart), term(law)) for over, law in piece.outer)
    return outer, runs(piece.over, apart), term(piece.law), term(piece.weight)


def ends_of(x: Any) -> list[int]:
    """All ends of runs in a shape, in order."""
    if isinstance(x, tuple) and len(x) == 2 and all(type(i) is int for i in x):
        return list(x)
    return [i for part in x for i in ends_of(part)] if isinstance(x, tuple) else []


def skeleton(x: Any) -> Any:
    """A shape without its numbers."""
    if isinstance(x, tuple) and len(x) == 2 and all(type(i) is int for i in x):
        return "ends"
    return tuple(map(skeleton, x)) if isinstance(x, tuple) else x


def written(shape: Shape, at: Callable[[int], Index]) -> dict[str, Any]:
    """A shape as the kernel's data; at(k) is the index that stands for the k-th end of a run."""
    count = iter(range(10**6))

    def variable(run: tuple) -> list:
        base, tag, (low, _) = run
        a, b = at(next(count)), at(next(count))
        return [base, None if low == -1 else a if a == b else [a, b], tag]

    def term(t: tuple) -> list:
        parts = []
        for letter, args, given, e in t:
            d: list = ["d", letter, [variable(r) for r in args], [variable(r) for r in given]]
            parts.append(d if e == 1 else ["pow", d, e])
        return parts[0] if len(parts) == 1 else ["mul", *parts]

    outer, over, law, weight = shape
    written_outer = [[[variable(r) for r in o], [], term(w)] for o, w in outer]
    return {"outer": written_outer, "over": [variable(r) for r in over], "law": term(law), "weight": term(weight)}


def end(i: int, T: int, border: int, letters: dict[str, int]) -> Index:
    """An index as a constant (up to `border`), near a free letter, or counted from T."""
    for letter, n in letters.items():
        if abs(i - n) <= 1:
            return [letter, i - n]
    return ["", i] if i <= border else ["T", i - T]


def pieces_at(found: list[tuple[Fraction, Elemental]]) -> list[dict[str, Any]]:
    """The evidence at one length, with numbers as indices."""
    out = []
    for c, e in found:
        shape = shape_of(e.piece, frozenset())
        ends = ends_of(shape)
        out.append({"c": str(c), **written(shape, lambda k, ends=ends: ["", ends[k]])})  # type: ignore[misc]
    return out


def general(
    found: list[tuple[Fraction, Elemental]], T: int, apart: frozenset[tuple[str, int]], letters: dict[str, int]
) -> Iterator[list[dict[str, Any]]]:
    """Ways to write the evidence found at length T for every length, the likeliest first."""
    shapes = [(c, shape_of(e.piece, apart)) for c, e in found]
    tried: list = []
    for family in (True, False):
        for border in sorted(range(T), key=lambda b: abs(b - (1 if T < 4 else 2))):
            out = _symbolic(shapes, T, border, letters, family)
            if out not in tried:
                tried.append(out)
                yield out


def _symbolic(shapes: list[tuple[Fraction, Shape]], T: int, border: int, letters: dict[str, int], family: bool) -> list:
    out: list[dict[str, Any]] = []
    left = list(shapes)
    while left:
        c, first = left.pop(0)
        members, moving = _family(c, first, left) if family else ([first], [])
        left = [(d, s) for d, s in left if not (d == c and s in members)]
        ends = ends_of(members[0])
        if len(members) == 1:
            piece = written(first, lambda k, ends=ends: end(ends[k], T, border, letters))  # type: ignore[misc]
            out.append({"c": str(c), **piece})
            continue
        start = max(i for i, moves in zip(ends, moving, strict=True) if moves)  # the letter is the largest index that moves

        def at(k: int, ends=ends, moving=moving, start=start) -> Index:
            return [LETTER, ends[k] - start] if moving[k] else end(ends[k], T, border, letters)

        last = start + len(members) - 1
        out.append({"c": str(c), "each": [[LETTER, ["", start], ["T", last - T]]], **written(members[0], at)})
    return out


def _family(c: Fraction, first: Shape, others: list[tuple[Fraction, Shape]]) -> tuple[list[Shape], list[bool]]:
    """The longest row of shapes with one coefficient in which some ends grow by one from each to the next: (shapes, which ends)."""
    alike = [s for d, s in others if d == c and skeleton(s) == skeleton(first)]
    best: tuple[list[Shape], list[bool]] = ([first], [])
    for one in [first, *alike]:
        for two in [first, *alike]:
            steps = [b - a for a, b in zip(ends_of(one), ends_of(two), strict=True)]
            if set(steps) - {0, 1} or not any(steps):
                continue
            row, at = [one], ends_of(one)
            by_ends = {tuple(ends_of(s)): s for s in (first, *alike)}
            while (after := tuple(i + d for i, d in zip(at, steps, strict=True))) in by_ends:
                row.append(by_ends[after])
                at = list(after)
            if first in row and len(row) > len(best[0]):
                best = row, [bool(d) for d in steps]
    return best


def shown(pieces: list[dict[str, Any]]) -> str:
    """The gap in words: sums and averages of divergences."""
    return " + ".join(map(_shown, pieces))


def _shown(piece: dict[str, Any]) -> str:
    def number(i: Index) -> str:
        letter = "t" if i[0] == LETTER else i[0]
        return f"{letter}{i[1]:+d}" if letter and i[1] else letter or str(i[1])

    def variable(v: list) -> str:
        name = v[0] if len(v[0]) == 1 else "\\" + v[0]
        tag = v[2] if v[2][:1] == "'" else ""
        if v[1] is None:
            return name + tag
        where = f"{number(v[1][0])}:{number(v[1][1])}" if isinstance(v[1][0], list) else number(v[1])
        return f"{name}_{where if len(where) == 1 else '{' + where + '}'}{tag}"

    def law(g: list) -> str:
        if g[0] != "d":
            return "the law averaged over"
        names = lambda vs: ", ".join(map(variable, vs))  # noqa: E731
        return f"{g[1]}({names(g[2])}" + (f"|{names(g[3])}" if g[3] else "") + ")"

    out = f"KL({law(piece['law'])} || {law(piece['weight'])})"
    if piece["weight"][0] != "d":
        out = f"Jensen gap of log E over {law(piece['law'])}"
    for _, _, density in reversed(piece["outer"]):
        out = f"E_{law(density)}[{out}]"
    for _, low, high in piece.get("each", []):
        out = f"sum_{{t={number(low)}}}^{{{number(high)}}} {out}"
    return out if piece["c"] == "1" else f"{piece['c']} {out}"
