"""Single edits of a formula about the Gaussian diffusion: the slips people make, and therefore the repairs to offer.

Each edit changes one place: a sign, a bar, a tilde, a root, a square, an index, alpha for beta, top for bottom, two
variables or two laws for each other, one limit of a sum or product, one factor, one relation sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from fractions import Fraction
from itertools import combinations

from course.equations.reading.tree import (
    KL,
    Add,
    Big,
    Chain,
    Density,
    Div,
    Func,
    Grad,
    Index,
    Law,
    Mul,
    Neg,
    Node,
    Normal,
    Num,
    Pow,
    Range,
    Sym,
    rebuild,
    walk,
)

SCHEDULE = {"alpha", "beta", "sigma", "SNR"}
INDEXED = SCHEDULE | {"x", "epsilon", "mu", "z", "s", "v"}
ONE, TWO = Num(Fraction(1)), Num(Fraction(2))


def edits(node: Node, rooted: bool = False) -> Iterator[tuple[str, Node]]:
    """All formulas that differ from `node` in one place, with a word on what was changed. rooted: node stands in a root."""
    yield from _here(node, rooted)
    if isinstance(node, Law | Index | Range):
        return
    for f in fields(node):
        value = getattr(node, f.name)
        if isinstance(value, tuple) and f.compare:
            for i, part in enumerate(value):
                if isinstance(part, Node):
                    for what, new in edits(part, False):
                        yield what, replace(node, **{f.name: (*value[:i], new, *value[i + 1 :])})
        elif isinstance(value, Node):
            for what, new in edits(value, isinstance(node, Func) and node.name == "sqrt"):
                yield what, replace(node, **{f.name: new})


def _is_schedule(node: Node) -> bool:
    """Whether a formula holds only symbols of the schedule and numbers."""
    leaves = [n for n in walk(node) if isinstance(n, Sym)]
    return bool(leaves) and all(s.name in SCHEDULE for s in leaves)


def _here(node: Node, rooted: bool) -> Iterator[tuple[str, Node]]:
    match node:
        case Sym(name):
            yield from _symbol(node)
            if name in {"alpha", "beta"} and not rooted:
                yield "a root added", Func("sqrt", node)
                yield "a square added", Pow(node, TWO)
        case Add(terms):
            for i, t in enumerate(terms):
                yield "a sign changed", Add((*terms[:i], t.body if isinstance(t, Neg) else Neg(t), *terms[i + 1 :]))
            for i in range(len(terms)):
                rest = (*terms[:i], *terms[i + 1 :])
                yield "a term left out", rest[0] if len(rest) == 1 else Add(rest)
            if not rooted and _is_schedule(node):
                yield "a root added", Func("sqrt", node)
            yield from _swapped(node)
        case Neg(body):
            yield "a sign changed", body
        case Div(top, bottom):
            yield "the fraction turned over", Div(bottom, top)
            if not rooted and _is_schedule(node):
                yield "a root added", Func("sqrt", node)
            if not isinstance(bottom, Num):
                yield "a square added below", Div(top, Pow(bottom, TWO))
        case Mul(factors):
            for i in range(len(factors)):
                rest = (*factors[:i], *factors[i + 1 :])
                yield "a factor left out", rest[0] if len(rest) == 1 else Mul(rest)
        case Func("sqrt", body):
            yield "a root left out", body
        case Func("log", body):
            yield "the logarithm left out", body
        case Pow(base, Num(value)) if value == 2:
            yield "a square left out", base
        case Num(value) if value not in (0, 1) and value.denominator in (1, 2):
            yield "a number changed", Num(1 / value)
            yield "a number changed", ONE
        case KL(left, right):
            yield "the laws of the KL exchanged", KL(right, left)
        case Normal(x, mean, cov) if _is_schedule(cov):
            yield "a root added to the variance", Normal(x, mean, Func("sqrt", cov))
        case Density(letter, args, given, labels):
            if given:
                yield "the sides of the bar exchanged", Density(letter, given, args, labels)
            for i in range(len(given)):
                yield "a condition left out", Density(letter, args, (*given[:i], *given[i + 1 :]), labels)
            if all(s.name == "x" and Sym("x", (Index("", 0),)) != s for s in (*args, *given)):
                yield "a condition added", Density(letter, args, (*given, Sym("x", (Index("", 0),))), labels)
            yield "p and q exchanged", Density("p" if letter == "q" else "q", args, given, labels)
        case Big(kind, var, low, high, body):
            for by in (-1, 1):
                if low is not None:
                    yield "a limit moved by one", Big(kind, var, replace(low, shift=low.shift + by), high, body)
                if high is not None:
                    yield "a limit moved by one", Big(kind, var, low, replace(high, shift=high.shift + by), body)
            yield "sum and product exchanged", Big("sum" if kind == "prod" else "prod", var, low, high, body)
        case Grad(var, body):
            yield "a sign changed", Neg(Grad(var, body))
        case Chain(terms, relations) if len(relations) == 1:
            for i in (1, 0):
                barred = _all_barred(terms[i])
                if barred != terms[i]:
                    yield "bars added throughout", replace(node, terms=tuple(barred if j == i else t for j, t in enumerate(terms)))
            for other in {"=": (), ">=": ("<=", "="), "<=": (">=", "=")}.get(relations[0], ()):
                yield "the relation changed", replace(node, relations=(other,))
            for i in (0, 1):
                if not isinstance(terms[i], Add | Neg | Num):
                    yield "a sign changed", replace(node, terms=tuple(Neg(t) if j == i else t for j, t in enumerate(terms)))


def _all_barred(node: Node) -> Node:
    if isinstance(node, Sym):
        return replace(node, marks=("bar",)) if node.name == "alpha" and not node.marks and not node.labels else node
    return rebuild(node, _all_barred)


def _symbol(s: Sym) -> Iterator[tuple[str, Node]]:
    if s.name == "alpha" and not s.labels:
        yield ("a bar left out", replace(s, marks=())) if s.marks else ("a bar added", replace(s, marks=("bar",)))
    if s.name == "beta" and not s.labels:
        yield ("a tilde left out", replace(s, marks=())) if s.marks else ("a tilde added", replace(s, marks=("tilde",)))
    if s.name in {"alpha", "beta"} and not s.marks and not s.labels:
        yield "alpha and beta exchanged", replace(s, name="beta" if s.name == "alpha" else "alpha")
    if s.name in INDEXED and len(s.sub) == 1 and isinstance(s.sub[0], Index):
        i = s.sub[0]
        for by in (-1, 1):
            if i.var or i.shift + by >= 0:
                yield "an index moved by one", replace(s, sub=(replace(i, shift=i.shift + by),))
        if s.name == "x" and i != Index("", 0) and not s.marks:
            yield "x_0 written for another x", replace(s, sub=(Index("", 0),))
        if s == Sym("x", (Index("", 0),)):
            yield "another x written for x_0", replace(s, sub=(Index("t", 0),))
    if s.name == "epsilon":
        theta = "theta" in s.labels
        yield ("the network exchanged with the noise",
               replace(s, labels=tuple(x for x in s.labels if x != "theta") if theta else (*s.labels, "theta")))


def _swapped(node: Add) -> Iterator[tuple[str, Node]]:
    """The last factors (the vectors) of two terms exchanged."""

    def split(t: Node):
        sign, body = (True, t.body) if isinstance(t, Neg) else (False, t)
        return sign, (body.factors[:-1], body.factors[-1]) if isinstance(body, Mul) else None

    for i, j in combinations(range(len(node.terms)), 2):
        (sign_i, one), (sign_j, two) = split(node.terms[i]), split(node.terms[j])
        if one and two and one[1] != two[1]:
            new = list(node.terms)
            for at, sign, head, last in ((i, sign_i, one[0], two[1]), (j, sign_j, two[0], one[1])):
                product = Mul((*head, last))
                new[at] = Neg(product) if sign else product
            yield "the coefficients exchanged", Add(tuple(new))
