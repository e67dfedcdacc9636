"""What is wrong with a refuted statement, and which small change repairs it.

`ratio` looks at the quotient (or difference) of both sides: which variables it still depends on, and whether it is one
known density: then that factor is missing. `repairs` tries every single edit a student may have meant, throws away at once
what fails in a few random worlds, and proves the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

from course.equations.meaning.ground import NotDecidable, shown
from course.equations.meaning.settings import Model
from course.equations.meaning.settings import model as model_of
from course.equations.reading.tree import (
    KL,
    Add,
    Big,
    Chain,
    Density,
    Div,
    Expect,
    Func,
    Index,
    Law,
    Mul,
    Neg,
    Node,
    Num,
    Range,
    Sym,
    children,
    latex,
    walk,
)
from course.equations.search.proof import Form, Normaliser, factor_variables, plus
from course.equations.search.worlds import MIXED, SEEN, Program
from course.equations.search.worlds import worlds as sampled

MAX_EDITS = 220
MAX_PAIRS = 160
MAX_SHOWN = 8
WORK = 8_000  # parts of candidates that may be looked at for the repairs of one claim ...
PROOF, BOUND = 6, 30  # ... where the search for a proof, or for a certificate of a bound, counts as so many looks


def ratio(model: Model, n: Normaliser, instance) -> list[str]:
    """Sentences on the quotient of both sides of a product statement."""
    try:
        form = plus(n.form(("log", instance.left)), n.form(("log", instance.right)), -1)
    except NotDecidable:
        return []
    if not form or any(b or m or len(logs) != 1 or next(iter(logs))[0][0] != "m" for b, m, logs in form):
        return []
    variables = sorted({v for _, _, logs in form for f, _ in logs for v in factor_variables(f)}, key=lambda v: (v[1], v[0]))
    names = ", ".join(shown(v) for v in variables)
    out = [f"the ratio of both sides still depends on {names}" + (f" (T = {instance.T})" if model.setting.indexed else "")]
    found = _density_with(form, n, variables)
    if found:
        out.append(found)
    return out


def _density_with(form: Form, n: Normaliser, variables) -> str:
    for letter in n.model.letters:
        for size in range(1, min(4, len(variables)) + 1):
            for vs in combinations(variables, size):
                for k in range(size):
                    for given in combinations(vs, k):
                        args = frozenset(vs) - frozenset(given)
                        want: Form = {}
                        for f, e in n.density(letter, args, frozenset(given)).items():
                            want = plus(want, {(frozenset(), frozenset(), frozenset([(f, 1)])): e})
                        text = (
                            f"{letter}({', '.join(map(shown, sorted(args)))}"
                            + (f"|{', '.join(map(shown, given))}" if given else "")
                            + ")"
                        )
                        if want == form:
                            return f"the factor {text} is missing on the right"
                        if {t: -c for t, c in want.items()} == form:
                            return f"the factor {text} is missing on the left"
    return ""


# ----------------------------------------------------------------------------------------------------------- edits

Edit = tuple[Node, str, int]  # the changed tree, what changed, rank


def edits(node: Node, setting, symbols: list[Sym]) -> Iterator[Edit]:
    """All single edits of a tree: here, and in every child."""
    yield from _here(node, setting, symbols)
    for k, child in enumerate(children(node)):
        for new, what, rank in edits(child, setting, symbols):
            yield _replaced(node, k, new), what, rank


def _replaced(node: Node, position: int, new: Node) -> Node:
    """`node` with its child number `position` (in the order of tree.children) replaced."""
    from dataclasses import fields

    count = 0
    for f in fields(node):
        value = getattr(node, f.name)
        if isinstance(value, Node):
            if count == position:
                return replace(node, **{f.name: new})
            count += 1
        elif isinstance(value, tuple):
            for i, part in enumerate(value):
                if isinstance(part, Node):
                    if count == position:
                        return replace(node, **{f.name: (*value[:i], new, *value[i + 1 :])})
                    count += 1
                elif isinstance(part, tuple):
                    for j, inner in enumerate(part):
                        if isinstance(inner, Node):
                            if count == position:
                                return replace(
                                    node, **{f.name: (*value[:i], (*part[:j], new, *part[j + 1 :]), *value[i + 1 :])}
                                )
                            count += 1
    raise IndexError(position)


def _shifted(s: Sym, by: int) -> Sym:
    def move(i):
        if isinstance(i, Index):
            return Index(i.var, i.shift + by)
        return Range(i.low, i.high)

    return replace(s, sub=tuple(move(i) for i in s.sub))


def _here(node: Node, setting, symbols: list[Sym]) -> Iterator[Edit]:
    match node:
        case Density(letter, args, given):
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
        case KL(left, right):
            yield KL(right, left), "the two laws of the KL divergence exchanged", 3
            free = {s for n in (left, right) if isinstance(n, Density) for s in n.given} - set(symbols[:1])
            seen = tuple(s for s in symbols[:1])
            for s in sorted(free, key=repr):
                if s not in seen:
                    law = Law((), Density("q", (s,), tuple(x for x in seen if x != s)))
                    yield Expect((law,), node), f"the expectation over {latex(s)} added around the KL divergence", 2
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
                        yield replace(node, **{name: moved}), f"the {which} limit of \\{kind} becomes {latex(moved)}", 4
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
            self.worlds.append((T, sampled(model_of(claim.setting, T), 2, MIXED, 4)))

    def __call__(self, left: Node, right: Node) -> str | None:
        """ "=", ">=", "<=" if that held everywhere tried, else None."""
        signs: set[int] = set()
        candidate = replace(self.claim, left=left, right=right)
        for T, worlds in self.worlds:
            try:
                found = candidate.instances(T)
                if not found:
                    return None
                for i in found:
                    if i.lints or (i.free_right - i.free_left and i.free_left - i.free_right):
                        return None
                    free = tuple(sorted(i.free))
                    program = Program(worlds[0].model, i.left, i.right, free, 2)
                    for world in worlds:
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


def repairs(claim, decide: Callable) -> list[tuple[str, str]]:
    """Every single edit that makes the statement true, best first; pairs of edits if no single one does."""
    symbols = _symbols(claim)
    screen = _Screen(claim)
    found: list[tuple[int, int, str, str]] = []
    seen: set = set()
    left_over, size = WORK, sum(1 for side in (claim.left, claim.right) for _ in walk(side))

    def consider(left: Node, relation: str, right: Node, what: str, rank: int) -> bool:
        nonlocal left_over
        left_over -= (PROOF if relation == "=" else BOUND) * size
        verdict = decide(replace(claim, left=left, relation=relation, right=right), False)
        if verdict.accepted and left != right:
            found.append((rank, len(found), latex(Chain((left, right), (relation,))), what))
            return True
        return False

    status = screen(claim.left, claim.right)
    for relation, what in _relations(claim.relation):
        if status in (relation, "=") or claim.relation in "><":
            consider(claim.left, relation, claim.right, what, 2)
    pool: list[tuple[Node, Node, str, int]] = []
    for new, what, rank in edits(claim.right, claim.setting, symbols):
        pool.append((claim.left, new, what, rank))
    for new, what, rank in edits(claim.left, claim.setting, symbols):
        pool.append((new, claim.right, what, rank + 1))
    for term, text in _terms(claim.setting):
        for new, sign in ((Neg(term), "-"), (term, "+")):
            whole = Add((*claim.right.terms, new)) if isinstance(claim.right, Add) else Add((claim.right, new))
            pool.append((claim.left, whole, f"the term {sign} {text} added", 4))
    pool.sort(key=lambda p: p[3])
    good = {"=": ("=",), ">=": ("=", ">="), "<=": ("=", "<="), ">": (), "<": ()}[claim.relation]
    for left, right, what, rank in pool[:MAX_EDITS]:
        if (left, right) in seen or isinstance(right, Num):
            continue
        if left_over <= 0:
            break
        seen.add((left, right))
        left_over -= size
        if screen(left, right) in good:
            consider(left, claim.relation, right, what, rank)
            if len(found) >= (MAX_SHOWN if claim.relation == "=" else 4):
                break
    if not found:
        small = [p for p in pool if p[3] <= 4 and p[0] is claim.left]
        tried = 0
        for _, right, what, rank in small[:14]:
            again = [(n, w, r) for n, w, r in edits(right, claim.setting, symbols) if r <= 3]
            for new, what2, rank2 in again:
                tried += 1
                if tried > MAX_PAIRS or found or left_over <= 0:
                    break
                if (claim.left, new) in seen:
                    continue
                seen.add((claim.left, new))
                left_over -= size
                status = screen(claim.left, new)
                if status is None or (claim.relation != "=" and status not in good):
                    continue
                softened = (
                    ""
                    if status == claim.relation or status in good
                    else f", and = becomes \\{'geq' if status == '>=' else 'leq'}"
                )
                consider(
                    claim.left, claim.relation if not softened else status, new, f"{what}; {what2}{softened}", rank + rank2 + 5
                )
    found.sort()
    return [(text, what) for _, _, text, what in found[:MAX_SHOWN]]


def _terms(setting) -> list[tuple[Node, str]]:
    """Terms that are easily forgotten, as far as they can be written in the setting."""
    from course.equations.reading.reader import read_statement

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
