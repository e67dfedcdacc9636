"""The slips people make, and therefore the repairs to offer: every formula that differs in one place, tried and proved.

Each edit changes one place: a sign, a bar, a tilde, a root, a square, an index, alpha for beta, top for bottom, two variables or two
laws for each other, one limit of a sum or product, one factor, one relation sign. What fails in a few small worlds is thrown away at
once; the rest is decided like any other claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

from course.equations.evidence import ACCEPTED, Verdict
from course.equations.meaning.closed_forms import PLAIN, Line, Sense
from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import model
from course.equations.reading.reader import read_statement
from course.equations.reading.tree import (
    KL,
    Add,
    Big,
    Chain,
    Density,
    Div,
    Expect,
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
    latex,
    rebuild,
    walk,
)
from course.equations.search import gaussian
from course.equations.search.probability import Claim, assumptions, decide
from course.equations.search.worlds import MIXED, SEEN, Program, worlds

SCHEDULE = {"alpha", "beta", "sigma", "SNR"}
INDEXED = SCHEDULE | {"x", "epsilon", "mu", "z", "s", "v"}
ONE, TWO = Num(Fraction(1)), Num(Fraction(2))
MAX_EDITS = 220
MAX_PAIRS = 160
MAX_SHOWN = 8
WORK = 8_000  # parts of candidates that may be looked at for the repairs of one claim about laws ...
PROOF, BOUND = 6, 30  # ... where the search for a proof, or for a certificate of a bound, counts as so many looks
MAX_REPAIRED = 150  # parts of a line of closed forms for which repairs are sought
MAX_LOOKED_AT = 12_000  # parts of all the candidates for its repair
Change = tuple[Node, str, int]  # the changed part, what changed, rank


def everywhere(node: Node, here: Callable[[Node, bool], Iterable], stop: tuple = (), rooted: bool = False) -> Iterator[tuple]:
    """What `here(part, rooted)` yields for every part of a formula, (changed part, ...), with the whole formula in its place.
    rooted: the part stands in a root. Parts below nodes of the types `stop` stay as they are."""
    yield from here(node, rooted)
    if isinstance(node, stop):
        return
    for k, child in enumerate(node.below):
        for new, *more in everywhere(child, here, stop, isinstance(node, Func) and node.name == "sqrt"):
            yield _replaced(node, k, new), *more


def _replaced(node: Node, position: int, new: Node) -> Node:
    """`node` with its child number `position` (in the order of `below`) replaced."""
    count = iter(range(len(node.below)))
    return rebuild(node, lambda child: new if next(count) == position else child)


def edits(node: Node) -> Iterator[tuple[str, Node]]:
    """All formulas that differ from `node` in one place, with a word on what was changed."""
    yield from ((what, new) for new, what in everywhere(node, lambda *at: (pair[::-1] for pair in _here(*at)), (Law, Index, Range)))


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


# ---------------------------------------------------------------------------------------------------- statements about laws


def explained(claim: Claim, verdict: Verdict) -> Verdict:
    """The verdict on a claim about laws with what a reader wants beside it: the assumptions of a proof, the repairs of what is
    refuted."""
    if claim.relation == "propto":
        return verdict
    claim = replace(claim, relation={":=": "=", "=:": "="}.get(claim.relation, claim.relation))
    if verdict.kind == "refuted":
        return replace(verdict, repairs=tuple(of_laws(claim)))
    if not verdict.accepted:
        return verdict
    said, markov = assumptions(claim, verdict)
    return replace(verdict, assumptions=said, codes=(*verdict.codes, *(("Markov",) if markov else ())))


def _shifted(s: Sym, by: int) -> Sym:
    def move(i):
        if isinstance(i, Index):
            return Index(i.var, i.shift + by)
        return Range(i.low, i.high)

    return replace(s, sub=tuple(move(i) for i in s.sub))


def _of_laws(node: Node, symbols: list[Sym]) -> Iterator[Change]:
    """The edits of one node of a statement about laws."""
    match node:
        case Density():
            yield from _of_density(node, symbols)
        case KL():
            yield from _of_divergence(node, symbols)
        case Func("log", Expect(laws, body, ())):
            yield Expect(laws, Func("log", body)), "the logarithm moved inside the expectation", 1
        case Expect(laws, Func("log", body), ()):
            yield Func("log", Expect(laws, body)), "the logarithm moved outside the expectation", 1
        case Expect(_, body):
            yield body, "the expectation dropped", 8
        case Big(kind, _, low, high, _):
            for name, limit in (("low", low), ("high", high)):
                if limit is not None:
                    for by in (1, -1):
                        moved = Index(limit.var, limit.shift + by)
                        which = "lower" if name == "low" else "upper"
                        changed = replace(node, low=moved) if name == "low" else replace(node, high=moved)
                        yield changed, f"the {which} limit of \\{kind} becomes {latex(moved)}", 4
            yield (
                replace(node, kind="prod" if kind == "sum" else "sum"),
                f"\\{kind} replaced by \\{'prod' if kind == 'sum' else 'sum'}",
                6,
            )
        case Div(top, bottom):
            yield Div(bottom, top), "numerator and denominator exchanged", 4
        case Add(terms):
            for k, t in enumerate(terms):
                new = t.body if isinstance(t, Neg) else Neg(t)
                yield (
                    Add((*terms[:k], new, *terms[k + 1 :])),
                    f"the sign of {latex(t.body if isinstance(t, Neg) else t)} changed",
                    4,
                )
                rest = (*terms[:k], *terms[k + 1 :])
                yield rest[0] if len(rest) == 1 else Add(rest), f"{latex(t)} dropped", 8
        case Mul(factors):
            for k, f in enumerate(factors):
                rest = (*factors[:k], *factors[k + 1 :])
                yield rest[0] if len(rest) == 1 else Mul(rest), f"the factor {latex(f)} dropped", 8


def _of_density(node: Density, symbols: list[Sym]) -> Iterator[Change]:
    letter, args, given = node.letter, node.args, node.given
    if args and given:
        yield replace(node, args=given, given=args), f"{latex(node)}: both sides of the bar exchanged", 3
    if args:
        yield (
            replace(node, letter="q" if letter == "p" else "p"),
            f"{latex(node)}: {letter} replaced by {'q' if letter == 'p' else 'p'}",
            5,
        )
    for s in given:
        yield replace(node, given=tuple(g for g in given if g != s)), f"{latex(node)}: condition {latex(s)} dropped", 6
        yield (
            replace(node, args=(*args, s), given=tuple(g for g in given if g != s)),
            f"{latex(node)}: {latex(s)} moved before the bar",
            7,
        )
    if len(args) > 1:
        for s in args:
            yield (
                replace(node, args=tuple(a for a in args if a != s), given=(*given, s)),
                f"{latex(node)}: {latex(s)} moved behind the bar",
                7,
            )
            yield replace(node, args=tuple(a for a in args if a != s)), f"{latex(node)}: {latex(s)} dropped", 7
    for s in symbols:
        if args and s not in args and s not in given:
            yield replace(node, given=(*given, s)), f"{latex(node)}: condition {latex(s)} added", 6
            if not s.sub and len(args) == 1 and not args[0].sub:
                yield replace(node, args=(s,)), f"{latex(node)}: {latex(args[0])} replaced by {latex(s)}", 6
    for by in (1, -1):
        for k, s in enumerate(args):
            if s.sub and isinstance(s.sub[0], Index):
                yield (
                    replace(node, args=(*args[:k], _shifted(s, by), *args[k + 1 :])),
                    f"{latex(node)}: {latex(s)} becomes {latex(_shifted(s, by))}",
                    4,
                )
        for k, s in enumerate(given):
            if s.sub and isinstance(s.sub[0], Index):
                yield (
                    replace(node, given=(*given[:k], _shifted(s, by), *given[k + 1 :])),
                    f"{latex(node)}: {latex(s)} becomes {latex(_shifted(s, by))}",
                    4,
                )


def _of_divergence(node: KL, symbols: list[Sym]) -> Iterator[Change]:
    left, right = node.left, node.right
    yield KL(right, left), "the two laws of the KL divergence exchanged", 3
    free = {s for n in (left, right) if isinstance(n, Density) for s in n.given} - set(symbols[:1])
    seen = tuple(s for s in symbols[:1])
    for s in sorted(free, key=repr):
        if s not in seen:
            law = Law((), Density("q", (s,), tuple(x for x in seen if x != s)))
            yield Expect((law,), node), f"the expectation over {latex(s)} added around the KL divergence", 2


def _relations(relation: str) -> list[tuple[str, str]]:
    if relation == "=":
        return [(">=", r"= becomes \geq"), ("<=", r"= becomes \leq")]
    turned = {">=": "<=", "<=": ">=", ">": "<", "<": ">"}[relation]
    out = [(turned, "the inequality turned round")]
    return [({">": ">=", "<": "<="}[relation], "the inequality made weak"), *out] if relation in "><" else out


class _Screen:
    """A quick look at many candidates in a few fixed worlds."""

    def __init__(self, claim):
        self.claim = claim
        self.worlds = []
        for T in (2, 3) if claim.setting.indexed else (1,):
            self.worlds.append((T, worlds(model(claim.setting, T), 2, MIXED, 4)))

    def __call__(self, left: Node, right: Node) -> str | None:
        """ "=", ">=", "<=" if that held everywhere tried, else None."""
        signs: set[int] = set()
        candidate = replace(self.claim, left=left, right=right)
        for T, tried in self.worlds:
            try:
                found = candidate.instances(T)
                if not found:
                    return None
                for i in found:
                    if i.lints or (i.free_right - i.free_left and i.free_left - i.free_right):
                        return None
                    free = tuple(sorted(i.free))
                    program = Program(tried[0].model, i.left, i.right, free, 2)
                    for world in tried:
                        seen = [(a - b) / (1 + abs(a) + abs(b)) for _, a, b in program.everywhere(world)]
                        if len(seen) < 2 ** len(free):
                            return None
                        signs |= {1} if max(seen) > SEEN else set()
                        signs |= {-1} if min(seen) < -SEEN else set()
                        if len(signs) == 2:
                            return None
            except NotDecidable:
                return None
        return "=" if not signs else ">=" if signs == {1} else "<="


class _Search:
    """The repairs of one claim: candidates are looked at in small worlds, and what survives is proved, until the work is done."""

    def __init__(self, claim: Claim):
        self.claim, self.screen = claim, _Screen(claim)
        self.size = len(claim.left.everything) + len(claim.right.everything)
        self.work = WORK
        self.seen: set[tuple[Node, Node]] = set()
        self.found: list[tuple[int, int, str, str]] = []

    def look(self, left: Node, right: Node) -> str | None:
        """What the sides are to each other in the worlds tried; None for nothing, or for sides that were looked at before."""
        if (left, right) in self.seen or left == right or self.work <= 0:
            return None
        self.seen.add((left, right))
        self.work -= self.size
        return self.screen(left, right)

    def consider(self, left: Node, relation: str, right: Node, what: str, rank: int) -> None:
        self.work -= (PROOF if relation == "=" else BOUND) * self.size
        if left != right and decide(replace(self.claim, left=left, relation=relation, right=right), False).accepted:
            self.found.append((rank, len(self.found), latex(Chain((left, right), (relation,))), what))


def of_laws(claim: Claim) -> list[tuple[str, str]]:
    """Every single edit that makes a statement about laws true, best first; pairs of edits if no single one does."""
    symbols, search = _symbols(claim), _Search(claim)
    status = search.look(claim.left, claim.right)
    for relation, what in _relations(claim.relation):
        if status in (relation, "=") or claim.relation in "><":
            search.consider(claim.left, relation, claim.right, what, 2)
    pool = _single(claim, symbols)
    good = {"=": ("=",), ">=": ("=", ">="), "<=": ("=", "<="), ">": (), "<": ()}[claim.relation]
    for left, right, what, rank in pool[:MAX_EDITS]:
        if not isinstance(right, Num) and search.look(left, right) in good:
            search.consider(left, claim.relation, right, what, rank)
            if len(search.found) >= (MAX_SHOWN if claim.relation == "=" else 4):
                break
    if not search.found:
        _pairs(search, [p for p in pool if p[3] <= 4 and p[0] is claim.left][:14], symbols, good)
    return [(text, what) for _, _, text, what in sorted(search.found)[:MAX_SHOWN]]


def _single(claim: Claim, symbols: list[Sym]) -> list[tuple[Node, Node, str, int]]:
    """(left, right, what was changed, rank) of all single edits, the likeliest first; those of the left side come later."""
    here = lambda part, _: _of_laws(part, symbols)  # noqa: E731
    pool = [(claim.left, new, what, rank) for new, what, rank in everywhere(claim.right, here)]
    pool += [(new, claim.right, what, rank + 1) for new, what, rank in everywhere(claim.left, here)]
    for term, text in _terms(claim.setting):
        for new, sign in ((Neg(term), "-"), (term, "+")):
            whole = Add((*claim.right.terms, new)) if isinstance(claim.right, Add) else Add((claim.right, new))
            pool.append((claim.left, whole, f"the term {sign} {text} added", 4))
    return sorted(pool, key=lambda p: p[3])


def _pairs(search: _Search, pool: list[tuple[Node, Node, str, int]], symbols: list[Sym], good: tuple[str, ...]) -> None:
    """Look for two edits of the right side that mend it, perhaps with another relation."""
    claim, tried = search.claim, 0
    for _, right, what, rank in pool:
        for new, what2, rank2 in everywhere(right, lambda part, _: _of_laws(part, symbols)):
            if rank2 > 3:
                continue
            tried += 1
            if tried > MAX_PAIRS or search.found:
                return
            status = search.look(claim.left, new)
            if status is None or (claim.relation != "=" and status not in good):
                continue
            soft = status != claim.relation and status not in good
            softened = f", and = becomes \\{'geq' if status == '>=' else 'leq'}" if soft else ""
            search.consider(claim.left, status if soft else claim.relation, new, f"{what}; {what2}{softened}", rank + rank2 + 5)


def _terms(setting) -> list[tuple[Node, str]]:
    """Terms that are easily forgotten, as far as they can be written in the setting."""
    out = []
    for latex_text, uses in (
        (r"\mathrm{KL}(q(z|x) \| p(z|x))", "vae"),
        (r"\mathrm{KL}(q(z|x) \| p(z))", "vae"),
        (r"\mathrm{KL}(q(z_{1:T}|x) \| p(z_{1:T}|x))", "hvae chain"),
        (r"\mathrm{KL}(q(z_T|x) \| p(z_T))", "hvae chain"),
        (r"\mathrm{KL}(q(x_{1:T}|x_0) \| p(x_{1:T}|x_0))", "diffusion"),
        (r"\mathrm{KL}(q(x_T|x_0) \| p(x_T))", "diffusion"),
        (r"\mathbb{E}_{q(x_1|x_0)}[\log p(x_0|x_1)]", "diffusion"),
        (r"\mathbb{E}_{q(z_1|x)}[\log p(x|z_1)]", "hvae"),
    ):
        if setting.name in uses.split():
            out.append((read_statement(f"{latex_text} = 0").terms[0], latex_text))
    return out


def _symbols(claim) -> list[Sym]:
    """The variables that occur, the observed ones first."""
    out: dict[Sym, None] = {}
    nodes = [n for side in (claim.left, claim.right) for n in walk(side)]
    for n in nodes:
        if isinstance(n, Density):
            for s in (*n.args, *n.given):
                if s.name != "cdot" and not (s.sub and isinstance(s.sub[0], Range)):
                    out[s] = None
    observed = ("x", ())

    def key(s: Sym):
        return (not ((s.name, s.sub) == observed or s.sub == (Index("", 0),)), bool(s.sub), latex(s))

    return sorted(out, key=key)[:6]


# ---------------------------------------------------------------------------------------------------- closed forms


def of_closed_forms(left: Node, relation: str, right: Node, sense: Sense = PLAIN, most: int = 6) -> list[tuple[str, str]]:
    """The single edits that make a false line of the Gaussian setting true, those of the right side first."""
    line = Line((left, right), (relation,), sense=sense)
    found: list[tuple[str, str]] = []
    size = len(line.everything)
    if size > MAX_REPAIRED:
        return found
    seen: set[Node] = {line}
    with_constant = Add((*(right.terms if isinstance(right, Add) else (right,)), Sym("C")))
    if relation == "=" and sense.path is None and gaussian.decide(left, relation, with_constant, sense).kind in ACCEPTED:
        found.append((latex(Line((left, with_constant), (relation,))), "a constant C added: both sides differ by what no network changes"))
    ordered = sorted(edits(line), key=lambda e: e[1].terms[0] != left)  # type: ignore[attr-defined]
    for what, candidate in ordered[: MAX_LOOKED_AT // size]:
        if not isinstance(candidate, Line) or candidate in seen or candidate.terms[0] == candidate.terms[1]:
            continue
        seen.add(candidate)
        sides = candidate.terms[0], candidate.relations[0], candidate.terms[1]
        if gaussian.plausible(candidate) and gaussian.decide(*sides, sense).kind in ACCEPTED:
            found.append((latex(candidate), what))
            if len(found) == most:
                break
    return found
