r"""Does a true line answer the question? Its parts are taken apart and held against a list of what may stand there.

`\mathbb{E}_q[\log \frac{p(x, z)}{q(z|x)}] + D_{KL}(q(z|x) \| p(z|x))` has three signed parts: the logarithms `+ p(x, z)` and
`- q(z|x)`, and the divergence `+ KL(q(z|x), p(z|x))`. A form says which parts an answer has, each with its sign; an index t in
it stands for any index. Nothing else may occur, so that a line which is true for a reason of its own (the question restated,
zero times the answer, something added and taken away again) earns nothing. Truth is course.equations' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import lru_cache
from itertools import permutations
from typing import Any

from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Big,
    Chain,
    Density,
    Div,
    Expect,
    Func,
    Index,
    Info,
    Integral,
    Mul,
    Neg,
    Node,
    Normal,
    Num,
    Pow,
    Sym,
    latex,
    walk,
)

ANY_INDEX = "t"          # the index of a pattern that stands for any other
MIRRORED = {"<=": ">=", ">=": "<=", "<": ">", ">": "<", "=:": ":=", ":=": "=:"}


class NoAnswer(Exception):
    """A line, true or not, with something in it that no answer has; the message says what."""


@dataclass(frozen=True)
class Part:
    """`sign` times a logarithm, a divergence ("KL") or, in a product, a factor. `group`: the logarithm it stands in."""

    sign: int
    kind: str
    atom: Node
    group: int = 0


# ---------------------------------------------------------------------------------------------------- taking apart


def number(node: Node) -> Fraction | None:
    """The value of a formula of plain numbers; None if it holds anything else."""
    match node:
        case Num(value):
            return value
        case Neg(body):
            inner = number(body)
            return None if inner is None else -inner
        case Add(terms):
            values = [number(t) for t in terms]
            known = [v for v in values if v is not None]
            return sum(known, Fraction(0)) if len(known) == len(values) else None
        case Mul(factors):
            out = Fraction(1)
            for factor in map(number, factors):
                if factor is None:
                    return None
                out *= factor
            return out
        case Div(top, bottom):
            a, b = number(top), number(bottom)
            return None if a is None or not b else a / b
        case Pow(base, Num(exponent)) if exponent.denominator == 1 and abs(exponent) <= 8:
            a = number(base)
            return None if a is None or (a == 0 and exponent < 0) else a ** int(exponent)
    return None


def empties(node: Node, derivation: bool = False) -> None:
    """Raises NoAnswer for what has no content wherever it stands: an empty product or sum, a zero coefficient, a divergence of a
    law from itself, something added and taken away again. In a `derivation` the last, and dividing by the same, are steps."""
    for n in walk(node):
        text = latex(n)
        if isinstance(n, Big):
            empty = n.low and n.high and n.low.var == n.high.var and n.low.shift > n.high.shift
            if empty or number(n.body) is not None:
                raise NoAnswer(f"{text} is an empty {'product' if n.kind == 'prod' else 'sum'}: there is nothing in it")
        elif isinstance(n, KL) and _plain(n.left) == _plain(n.right):
            raise NoAnswer(f"{text} is the divergence of a law from itself, which is 0")
        elif isinstance(n, Mul) and any(number(f) == 0 for f in n.factors):
            raise NoAnswer(f"{text} has a factor of zero: it is not there")
        elif isinstance(n, Div) and ((_plain(n.top) == _plain(n.bottom) and not derivation) or number(n.top) == 0):
            raise NoAnswer(f"{text} is a number, however it is written")
        elif isinstance(n, Pow) and number(n.exponent) == 0:
            raise NoAnswer(f"{text} has an exponent of zero: it is 1")
        elif isinstance(n, Func) and n.name in ("log", "exp", "sqrt") and number(n.body) is not None and number(n.body) in (0, 1):
            raise NoAnswer(f"{text} is a number, however it is written")
        elif isinstance(n, Func) and n.name == "log" and isinstance(n.body, Div) and _factors_of(n.body.top) == _factors_of(n.body.bottom):
            raise NoAnswer(f"{text} is the logarithm of 1")
        elif isinstance(n, Add):
            terms = [(t.body, -1) if isinstance(t, Neg) else (t, 1) for t in n.terms]
            if any(number(body) == 0 for body, _ in terms):
                raise NoAnswer("a zero is added: it says nothing")
            signs = {(_plain(body), sign) for body, sign in terms}
            if derivation and not all((body, -sign) in signs for body, sign in signs):
                continue          # completing a square adds and takes away; a sum in which everything goes is a zero
            for body, sign in terms:
                if (_plain(body), -sign) in signs:
                    raise NoAnswer(f"{latex(body)} is added and taken away again")


def _factors_of(node: Node) -> list[str]:
    return sorted(repr(_plain(factor)) for factor in (node.factors if isinstance(node, Mul) else (node,)))


def parts(node: Node, product: bool = False) -> list[Part]:
    """The signed parts of an expression; `product`: the factors of a product. Raises NoAnswer for what is not made of such parts."""
    empties(node)
    found = signed(node, product)
    for part in found:
        if any(p.group == part.group and p.kind == part.kind and p.sign == -part.sign and _plain(p.atom) == _plain(part.atom)
               for p in found if part.group):
            raise NoAnswer(f"{latex(part.atom)} stands above and below, or is added and taken away again")
    return found


def signed(node: Node, product: bool = False) -> list[Part]:
    """The parts as they stand, also those that cancel."""
    return list(_factors(node, 1, 0) if product else _linear(node, 1, iter(range(1, 10_000))))


def _linear(node: Node, sign: int, groups: Iterator[int]) -> Iterator[Part]:
    """The parts of a sum of means of logarithms and of divergences."""
    match node:
        case Add(terms):
            for term in terms:
                yield from _linear(term, sign, groups)
        case Neg(body):
            yield from _linear(body, -sign, groups)
        case Mul(factors) if sum(number(f) is None for f in factors) == 1:
            for f in factors:
                sign = -sign if (number(f) or 0) < 0 else sign
            yield from _linear(next(f for f in factors if number(f) is None), sign, groups)
        case Div(top, bottom) if (value := number(bottom)) is not None:
            yield from _linear(top, -sign if value < 0 else sign, groups)
        case Expect(_, body, _):
            group = next(groups)
            yield from (Part(p.sign, p.kind, p.atom, group if p.kind == "log" else 0) for p in _linear(body, sign, groups))
        case Big("sum", _, _, _, body):
            yield from _linear(body, sign, groups)
        case Integral(_, body):
            laws, rest = _law_of_integral(body)
            if laws != 1 or len(rest) != 1:
                yield Part(sign, "other", node)
            else:
                group = next(groups)
                yield from (Part(p.sign, p.kind, p.atom, group if p.kind == "log" else 0) for p in _linear(rest[0], sign, groups))
        case Func("log", body):
            group = next(groups)
            yield from (Part(p.sign, "log", p.atom, group) for p in _factors(body, sign, group))
        case KL():
            yield Part(sign, "KL", node)
        case Info("H", letter, (variables,), given, True):          # an entropy is the mean of - log
            yield Part(-sign, "log", Density(letter or "q", variables, given), next(groups))
        case _:
            yield Part(sign, "other", node)


def _factors(node: Node, sign: int, group: int) -> Iterator[Part]:
    """The parts of a product: each factor, with -1 if it stands below."""
    match node:
        case Mul(factors):
            for f in factors:
                yield from _factors(f, sign, group)
        case Div(top, bottom):
            yield from _factors(top, sign, group)
            yield from _factors(bottom, -sign, group)
        case Big("prod", _, _, _, body):
            yield from _factors(body, sign, group)
        case Pow(base, exponent) if (value := number(exponent)) is not None:
            yield from _factors(base, sign if value > 0 else -sign, group)
        case Func("sqrt", body):
            yield from _factors(body, sign, group)
        case Func("exp", body):
            yield from (Part(p.sign, p.kind, p.atom, group) for p in _linear(body, sign, iter([group] * 100)))
        case _ if number(node) is not None:
            return
        case _:
            yield Part(sign, "factor", node, group)


def _law_of_integral(body: Node) -> tuple[int, list[Node]]:
    """(how many densities multiply the integrand, its other factors but for numbers)"""
    factors = body.factors if isinstance(body, Mul) else (body,)
    rest = [f for f in factors if not isinstance(f, Density) and number(f) is None]
    return sum(isinstance(f, Density) for f in factors), rest


@lru_cache(maxsize=4096)
def _plain(node: Node) -> Node:
    """The tree with what does not matter for comparing removed: the order of the variables of a density."""
    from dataclasses import replace

    from course.equations.reading.tree import rebuild

    node = rebuild(node, _plain)
    if isinstance(node, Density):
        return replace(node, args=tuple(sorted(node.args, key=repr)), given=tuple(sorted(node.given, key=repr)))
    return node


# ------------------------------------------------------------------------------------------------------- comparing


def same(pattern: Any, node: Any, bound: dict[str, tuple[str, int]] | None = None) -> bool:
    """Is `node` the pattern, its index t standing for any one index, its variables in any order?"""
    return _unify(pattern, node, {} if bound is None else bound) is not None


def _unify(pattern: Any, node: Any, bound: dict) -> dict | None:
    if isinstance(pattern, Index) and pattern.var == ANY_INDEX and isinstance(node, Index):
        value = (node.var, node.shift - pattern.shift)
        return {**bound, ANY_INDEX: value} if bound.get(ANY_INDEX, value) == value else None
    if type(pattern) is not type(node):
        return None
    if isinstance(pattern, tuple):
        if len(pattern) != len(node):
            return None
        for one, other in zip(pattern, node, strict=True):
            if (bound := _unify(one, other, bound)) is None:          # type: ignore[assignment]
                return None
        return bound
    if not isinstance(pattern, Node):
        return bound if pattern == node else None
    if isinstance(pattern, Density):
        if (pattern.letter, pattern.labels, len(pattern.args), len(pattern.given)) != (
                node.letter, node.labels, len(node.args), len(node.given)) or max(len(node.args), len(node.given)) > 4:
            return None
        for args in permutations(node.args):
            for given in permutations(node.given):
                found = _unify((pattern.args, pattern.given), (args, given), bound)
                if found is not None:
                    return found
        return None
    return _unify(tuple(getattr(pattern, f.name) for f in fields(pattern) if f.compare),
                  tuple(getattr(node, f.name) for f in fields(node) if f.compare), bound)


@lru_cache(maxsize=1024)
def pattern(text: str) -> tuple[int, str, Node]:
    r"""(sign, kind, atom) of a part as it is written in a form: `+\log p(x, z)`, `-D_{KL}(...)`, `p(z_T)`."""
    from course.equations import read

    sign = -1 if text.lstrip().startswith("-") else 1
    node = read(text.strip().lstrip("+-") + " = 0").chains[0].terms[0]
    if isinstance(node, Func):
        return sign, "log", node.body
    return sign, "KL" if isinstance(node, KL) else "factor", node


def term(text: str) -> Node:
    r"""A term as the reader reads it; also `x_t | x_0`, which stands before \sim only."""
    from course.equations import ReadError, read

    try:
        return read(f"{text} = 0").chains[0].terms[0]
    except ReadError:
        return read(rf"{text} \sim q").chains[0].terms[0]


# ----------------------------------------------------------------------------------------------------- whole answers


def solved(chain: Chain, lefts: Sequence[str]) -> Chain:
    """The chain with one of `lefts` alone on its left: turned round if it stands at the end, and with what stands beside it taken to the
    other side. Raises NoAnswer if it stands at neither end."""
    allowed = [_plain(term(left)) for left in lefts]
    terms, relations = chain.terms, chain.relations

    def stands(node: Node) -> bool:
        return _plain(node) in allowed or (isinstance(node, Add) and sum(_plain(t) in allowed for t in node.terms) == 1)

    if not stands(terms[0]) and stands(terms[-1]):
        terms, relations = terms[::-1], tuple(MIRRORED.get(r, r) for r in relations[::-1])
    if not stands(terms[0]):
        raise NoAnswer(f"the left side must be {lefts[0]}")
    if isinstance(terms[0], Add) and _plain(terms[0]) not in allowed:
        rest = [t.body if isinstance(t, Neg) else Neg(t) for t in terms[0].terms if _plain(t) not in allowed]
        terms = (next(t for t in terms[0].terms if _plain(t) in allowed),
                 *(Add((*(t.terms if isinstance(t, Add) else (t,)), *rest)) for t in terms[1:]))
    return Chain(terms, relations)


def sides(chain: Chain, lefts: Sequence[str]) -> list[tuple[tuple[str, ...], Node]]:
    """[(the relations up to it, a right side)] of a `solved` chain; names put at the end (`=: ELBO`) are no right sides. Raises NoAnswer
    if the left side stands on the right again."""
    allowed = [_plain(term(left)) for left in lefts]
    terms, relations = chain.terms, chain.relations
    if len(terms) == 2 and _plain(terms[1]) in allowed:
        raise NoAnswer("both sides are the same")
    for t in terms[1:]:
        if any(_plain(n) in allowed for n in walk(t)):
            raise NoAnswer(f"{lefts[0]}, the left side, stands on the right again; write the right side without it")
    found = [(relations[:i], t) for i, t in enumerate(terms) if i and not isinstance(t, Sym | Apply)]
    if not found:
        raise NoAnswer("the right side is only a name; write out what it stands for")
    return found


def averages(node: Node, law: str) -> None:
    """Raises NoAnswer if no mean of an answer says over what it is taken, or if one is taken over another law than `law`."""
    means = [n for n in walk(node) if isinstance(n, Expect)]
    laws = [law_.dist for mean in means for law_ in mean.laws if law_.dist is not None]
    for dist in laws:
        if isinstance(dist, Density) and dist.letter != law:
            raise NoAnswer(f"a mean is taken over {latex(dist)}; the means of this answer are over {law}")
    for n in walk(node):
        if isinstance(n, Integral):
            factors = n.body.factors if isinstance(n.body, Mul) else (n.body,)
            laws += (weights := [f for f in factors if isinstance(f, Density)])
            for dist in weights:
                if dist.letter != law:
                    raise NoAnswer(f"a mean is taken over {latex(dist)}; the means of this answer are over {law}")
    if means and not laws:
        raise NoAnswer(rf"a mean without its law says nothing: write \mathbb{{E}}_{{{law}(...)}}, at least once")


def misfit(node: Node, form: Mapping[str, Any]) -> str:
    """What keeps a right side from having the form; empty if it has.

    parts       tables with `called`, what a part is in words that do not give it away, and `one_of`, lists of parts (see `pattern`),
                one of which must be there in full
    product     these are factors of a product
    law         the letter that means are over
    remarks     tables with `of`, a part that may be written by mistake, and what it `says` to that
    symbols     for closed forms, see `_formula`
    """
    try:
        if "symbols" in form:
            return _formula(node, form)
        found = parts(node, form.get("product", False))
        missing, used = [], set()
        for group in form["parts"]:
            done = False
            for alternative in group["one_of"]:
                hits = [_hits(found, pattern(text)) for text in alternative]
                if all(hits):
                    used |= set().union(*hits)
                    done = True
            if not done:
                missing.append(group["called"])
        extra = [part for i, part in enumerate(found) if i not in used]
        problem = _words(missing, extra, form)
        if not problem and "law" in form:
            averages(node, form["law"])
        return problem
    except NoAnswer as reason:
        return str(reason)


def _hits(found: Sequence[Part], wanted: tuple[int, str, Node]) -> set[int]:
    sign, kind, atom = wanted
    return {i for i, part in enumerate(found) if part.sign == sign and part.kind == kind and same(atom, part.atom)}


def _words(missing: Sequence[str], extra: Sequence[Part], form: Mapping[str, Any]) -> str:
    said = []
    for part in extra:
        said += [remark["says"] for remark in form.get("remarks", []) if same(pattern(remark["of"])[2], part.atom)][:1]
    if missing:
        said.append(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if extra and len(said) == bool(missing):
        names = {"log": r"\log ", "KL": "", "factor": "", "other": ""}
        shown = dict.fromkeys(("-" if p.sign < 0 and p.kind != "factor" else "") + names[p.kind] + latex(p.atom) for p in extra)
        said.append(f"{', '.join(list(shown)[:3])} does not belong in the answer")
    return "; ".join(dict.fromkeys(said))


def _formula(node: Node, form: Mapping[str, Any]) -> str:
    r"""A closed form: only the letters of `symbols` (a list of names, "x_0" or "alpha") may occur, each of `must` has to, and with
    `normal` it is one \mathcal{N}."""
    empties(node)
    if form.get("normal"):
        if not isinstance(node, Normal):
            return r"one normal law with its mean and its variance is asked for: \mathcal{N}(...)"
        inside: list[Node] = [node.mean, node.cov]
    else:
        inside = [node]
    seen = set()
    for n in (m for part in inside for m in walk(part)):
        if isinstance(n, Sym):
            if (name := letter(n)) not in form["symbols"]:
                return f"{latex(n)} does not belong in the answer; it is made of {form['letters']}"
            seen.add(name)
        elif not isinstance(n, Add | Neg | Mul | Div | Pow | Num | Func | Big | Index):
            return f"{latex(n)} does not belong in the answer; it is made of {form['letters']}"
    lost = [name for name in form.get("must", []) if name not in seen]
    return f"{' and '.join(lost)} must occur on the right; {form['why']}" if lost else ""


def letter(sym: Sym) -> str:
    """A symbol's name with its marks but for the bar; of x also whether it is x_0 or another: "x_0", "x_t", "tilde beta"."""
    name = " ".join([*(mark for mark in sym.marks if mark != "bar"), sym.name])
    if name == "x":
        name += "_0" if sym.sub == (Index("", 0),) else "_t"
    return name
