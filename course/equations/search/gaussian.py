r"""Whether a line about the Gaussian diffusion is true. What its symbols mean is declared in closed_forms.py.

An equation is an *identity* when both sides are the same number, vector or log-density in exact arithmetic (algebra.py), for
every schedule, every t >= 2, all x and all dimensions. A sum is proved by induction where it can be; where a sum or product
has no closed form, the line is computed for t = 2, 3, 4 (or as far as its indices reach), and the outcome says so. It is
*refuted* only by exact numbers at which the sides differ.

Two sides that differ as formulas may still say the same about distributions: "x_t = sqrt(alpha_t) x_{t-1} + sqrt(beta_t) z".
Such a line is true *in law*: both sides are Gaussian with the same mean and variance given the variables on the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from course.equations.meaning.closed_forms import (
    LETTERS,
    PLAIN,
    Concrete,
    Gaussian,
    Line,
    Meaning,
    Norm,
    NotSaid,
    Positive,
    Scalar,
    Sense,
    Vector,
    is_noise,
    main_points,
    moved,
    name_of,
    rank,
    shifted,
)
from course.equations.meaning.coordinates import SUMS, one_coordinate
from course.equations.meaning.masked import MaskedMeaning
from course.equations.meaning.paths import PathMeaning, meaning
from course.equations.meaning.problems import NotDecidable
from course.equations.reading import tree
from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Big,
    Density,
    Div,
    Expect,
    Func,
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
)

# ---------------------------------------------------------------------------------------------------- deciding


MAX_NODES = 600  # parts of one line
MAX_BIGS = 24  # sums and products in one line
SCHEDULED = {"alpha", "beta", "epsilon", "v", "mu", "SNR", "x", "s"}  # symbols whose values depend on the schedule
DIFFERENT = "the two sides differ at these values"
NOISES = "noises of different names are independent and standard normal"
DDIM = "q(x_{t-1} | x_t, x_0) is that of the family q_sigma of DDIM, not of the forward chain"
CONSTANTS = {"C", r"\mathrm{const}", r"\mathrm{const.}"}


@dataclass(frozen=True)
class Outcome:
    """What is known about one relation. kind: "identity", "bound", "refuted" or "undecided".

    steps: None when the proof is for every t, else the values of t (or T) for which the line was decided.
    indexed: whether the line speaks of t (or s, T) at all.
    where: at a refutation, what each symbol was set to; left, right: the exact values of the two sides there.
    evidence: what the kernel re-checks before any of this is shown.
    assumes: what the reading of the line takes for granted.
    """

    kind: str
    reason: str
    steps: tuple[int, ...] | None = None
    indexed: bool = True
    where: dict[str, str] = field(default_factory=dict)
    left: str = ""
    right: str = ""
    evidence: tuple[dict, ...] = ()
    assumes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    @property
    def proved_for(self) -> str:
        """The range of a proof in words; empty where there is no index."""
        return "" if not self.indexed else "t = " + ", ".join(map(str, self.steps)) if self.steps else "all t"


@lru_cache(maxsize=1024)
def decide(left: Node, relation: str, right: Node, sense: Sense = PLAIN) -> Outcome:
    """Whether `left relation right` holds for all schedules, all t >= 2, all x, all dimensions, read in this sense."""
    from course.equations.meaning.algebra import Beyond, Full, Undefined

    if relation in {"~=", "->"}:
        return Outcome("undecided", "an approximation or a limit is not a claim this checker can decide")
    if relation in {"=:", ":="}:
        relation = "="
    nodes = [n for side in (left, right) for n in tree.walk(side)]
    if len(nodes) > MAX_NODES or sum(isinstance(n, Big) for n in nodes) > MAX_BIGS:
        return Outcome("undecided", f"the line is too long: more than {MAX_NODES} parts, or {MAX_BIGS} sums and products")
    if sense.path is None and (one := one_coordinate(left, right)) is not None:
        found = decide(one[0], relation, one[1], replace(sense, one=True))
        where = {one[2].get(name, name): value for name, value in found.where.items()}
        where = {"the number of coordinates": "1", **where} if found.kind == "refuted" else {}
        return replace(found, where=where, assumes=(SUMS, *found.assumes), indexed=False)
    try:
        same = left == right
        if sense.path is None:
            averaged = any(isinstance(n, Expect) for side in (left, right) for n in tree.walk(side))
            left, right = _losses(left, averaged), _losses(right, averaged)
            same = left == right
        else:
            left, right = sense.path.both(left, right)
        line = Line((left, right), (relation,), sense=sense)
        if same and relation == "=":
            text = tree.latex(left)
            letters = {"format": 1, "rule": "letters", "claim": [text, "=", text]}
            return Outcome("identity", "both sides are the same, letter by letter", evidence=(letters,))
        for roots in (5, 10, 24):
            try:
                found = _decide(line, roots)
                bound = {n.var for n in tree.walk(line) if isinstance(n, Big)}
                several = sorted({i.var for i in _needed(line)} - bound - {""}, key=lambda v: (LETTERS.get(v, 3), v))
                if len(several) > 1 and sense.path is None and found.kind in {"identity", "bound"}:
                    found = replace(found, reason=f"{found.reason}, for {' < '.join(several)}")
                return found
            except Concrete:
                return _concretely(line, 2 * roots)
            except Full:
                continue
        raise Beyond("more than 24 different roots or logarithms")
    except NotSaid as problem:
        numbers = None if sense.path is not None else _refute_numbers(Line((left, right), (relation,), sense=sense))
        return numbers or Outcome("undecided", str(problem))
    except (Beyond, Full, RecursionError) as problem:
        return Outcome("undecided", f"beyond the exact arithmetic: {problem or 'too many different roots or logarithms'}")
    except Undefined as problem:
        return Outcome("undecided", f"the line has no value: {problem}")


def _losses(node: Node, averaged: bool) -> Node:
    r"""The formula with the named losses of Ho et al. 2020 written out: L_T and L_{t-1} (equation 5; as the divergence itself, or
    its average over q if the line averages anything) and L_simple (equation 14)."""
    head = node.head if isinstance(node, Apply) else node
    if not isinstance(head, Sym) or head.name != "L" or head.marks:
        return tree.rebuild(node, lambda child: _losses(child, averaged))
    zero, t = Sym("x", (Index("", 0),)), Sym("x", (Index("t", 0),))
    if head.labels == ("simple",):
        noise = Sym("epsilon")
        net = Apply(Sym("epsilon", labels=("theta",)), (t, Sym("t")))
        square = Pow(Func("norm", Add((noise, Neg(net)))), Num(Fraction(2)))
        return Expect((Law((Sym("t"), zero, noise), None),), square)
    if len(head.sub) != 1 or not isinstance(head.sub[0], Index) or not head.sub[0].var or head.labels:
        return node
    here = Sym("x", head.sub)
    after = Sym("x", (replace(head.sub[0], shift=head.sub[0].shift + 1),))
    if head.sub[0] == Index("T", 0):
        out: Node = KL(Density("q", (here,), (zero,)), Density("p", (here,)))
    else:
        out = KL(Density("q", (here,), (after, zero)), Density("p", (here,), (after,)))
    return Expect((Law((), Density("q")),), out) if averaged else out


def _sides(m: Meaning, line: tree.Chain):
    """Both sides as values of one kind."""
    left, right = line.terms
    bare = [isinstance(n, Normal) and n.x is None for n in (left, right)]
    if any(bare) and line.relations[0] != "~":
        return m.law(left), m.law(right)
    a, b = m.value(left), m.value(right)
    a, b = (Vector({}) if isinstance(o, Vector) and isinstance(v, Scalar) and not v.parts else v for v, o in ((a, b), (b, a)))
    if isinstance(a, Norm) and isinstance(b, Norm):
        a, b = a.square, b.square
    if isinstance(a, Positive) or isinstance(b, Positive):
        return Positive(m.log_of(a)), Positive(m.log_of(b))
    if m.dimension_one and {type(a), type(b)} == {Scalar, Vector}:
        raise NotSaid("a mean or an x stands alone where a number is needed; write squares, or I and d")
    if type(a) is not type(b):
        raise NotSaid(f"a {type(a).__name__.lower()} is compared with a {type(b).__name__.lower()}")
    return a, b


def _difference(m: Meaning, a, b) -> dict:
    """The coefficients of left - right that are not zero; empty when the sides are equal."""
    _note(m, _parts(a), _parts(b))
    if isinstance(a, Gaussian):
        out = dict(m.combine((m.k.one, a.mean), (-m.k.one, b.mean)).parts)
        return out if m.k.zero_test(a.variance - b.variance) else {**out, "variance": a.variance - b.variance}
    if isinstance(a, Vector):
        return m.combine((m.k.one, a), (-m.k.one, b)).parts
    if isinstance(a, Positive):
        a, b = a.log, b.log
    elif a.parts and b.parts and a.matrix != b.matrix:
        return {"I": m.k.one}
    return m.plus((m.k.one, a), (-m.k.one, b)).parts


def _decide(line: tree.Chain, roots: int) -> Outcome:
    found = _with_evidence(line, roots)
    if found.kind == "refuted" and (other := _ddim_densities(line)) != line:
        again = _with_evidence(other, roots)
        if again.kind == "identity":
            return replace(again, reason="true of the family q_sigma of DDIM (Song et al. 2021, equation 7), not of q", assumes=(DDIM,))
    return found


def _with_evidence(line: tree.Chain, roots: int) -> Outcome:
    """The outcome, and the steps of arithmetic from which the kernel finds out by itself that the sides agree."""
    from course.equations.meaning.traced import Tracer

    tracer = Tracer()
    found = _decide_as_written(line, tracer.room(roots))
    if found.kind not in {"identity", "bound"}:
        return found
    strict = found.kind == "bound" and line.relations[0] in "<>"
    proof = tracer.evidence("=" if found.kind == "identity" else ">" if strict else ">=")
    return replace(found, evidence=(proof,) if proof else ())


def _note(m: Meaning, left: dict | None, right: dict | None, gap: dict | None = None) -> None:
    """Keep what is compared for the kernel, where the arithmetic keeps account (traced.py)."""
    if hasattr(m.k, "tracer"):
        m.k.tracer.compare(left, right, gap)


def _parts(side) -> dict:
    """The coefficients of a value, by what they stand before."""
    if isinstance(side, Gaussian):
        return {**side.mean.parts, "variance": side.variance}
    return side.log.parts if isinstance(side, Positive) else side.parts


def _ddim_densities(line: tree.Chain) -> tree.Chain:
    """In a line that speaks of sigma_t: q(x_{t-1} | x_t, x_0) read as DDIM's q_sigma."""
    if not any(isinstance(n, Sym) and n.name == "sigma" and not n.labels for n in tree.walk(line)):
        return line

    def change(node: Node) -> Node:
        if (
            isinstance(node, Density)
            and node.letter == "q"
            and len(node.args) == 1
            and len(node.given) == 2
            and not node.labels
        ):
            return replace(node, labels=("sigma",))
        return tree.rebuild(node, change)

    return replace(line, terms=tuple(change(t) for t in line.terms))


def _decide_as_written(line: tree.Chain, algebra) -> Outcome:
    relation = line.relations[0]
    nodes = list(tree.walk(line))
    functions = {tree.latex(n.head) for n in nodes if isinstance(n, Apply)}  # C(x_t, x_0) is no free constant
    constants = CONSTANTS & {tree.latex(n) for n in nodes if isinstance(n, Sym)} - functions
    if relation == "=" and not constants and plausible(line) is False and (found := _refute(line, "=")):
        return found
    m = meaning(line, algebra)
    if relation == "~":
        return _distributed(m, line)
    a, b = _sides(m, line)
    gap = _difference(m, a, b)
    real = " where its roots are real" if m.k.assumed else ""
    if relation == "propto":
        return _proportional(m, line, gap)
    if relation in {"=", "!="} and constants:
        rest = {key for key in gap if _with_network(m, key)}
        if not m.networks:
            return Outcome("undecided", f"{min(constants)} is a free constant, so the line says nothing")
        if not rest:
            nets = [{key: c for key, c in _parts(v).items() if _with_network(m, key)} for v in (a, b)]
            _note(m, *nets)
            return Outcome(
                "identity", f"both sides differ by something that does not depend on the network, called {min(constants)}"
            )
    if relation == "=" and not gap:
        indexed = any(i.var for n in tree.walk(line) for i in _all_indices(n))
        general = indexed and not (isinstance(line, Line) and line.sense.path is not None)
        reason = f"both sides are the same formula{' for every t >= 2' if general else ''}{real}"
        return Outcome("identity", reason, indexed=indexed, codes=("from t = 2",) if general else ())
    if relation == "=" and isinstance(a, Vector) and (law := _in_law(line, algebra)):
        return Outcome("identity", law, assumes=(NOISES,), codes=("in law",) if law.startswith("equal in law") else ())
    if relation in {">=", "<=", ">", "<"}:
        return _bound(m, line, a, b, gap, algebra)
    if relation == "!=":
        if gap:
            return Outcome("undecided", "inequality of formulas is not decided")
        return replace(_refute(line, "!=") or Outcome("undecided", ""), reason="the sides are equal")
    return _refute(line, "=") or Outcome(
        "undecided", "the sides are different formulas, and no values were found at which they differ"
    )


def _with_network(m: Meaning, key) -> bool:
    return isinstance(key, tuple) and any(n in m.networks for atom in key for n in atom)


def _concretely(line: tree.Chain, roots: int) -> Outcome:
    """Decide the line for several numbers of steps, every sum and product written out."""
    from course.equations.meaning.algebra import Beyond

    sense = line.sense if isinstance(line, Line) else PLAIN
    shorter, lemmas = _telescoped(line, sense)
    if shorter != line:
        found = decide(shorter.terms[0], shorter.relations[0], shorter.terms[1], sense)
        return replace(found, evidence=(*lemmas, *found.evidence)) if found.kind == "identity" else found
    names = {i.var for n in tree.walk(line) for i in _all_indices(n)} | {
        n.name for n in tree.walk(line) if isinstance(n, Sym) and n.name in LETTERS and not n.sub and not n.marks
    }
    bound = {n.var for n in tree.walk(line) if isinstance(n, Big)}
    free = sorted((names & LETTERS.keys()) - bound - {""}, key=lambda v: LETTERS[v])
    if not free:
        raise NotSaid("a sum or product without a limit")
    outcomes, steps = [], []
    everywhere = [i for n in tree.walk(line) for i in _all_indices(n)]
    first = max([2, *(1 - i.shift for i in everywhere if i.var in free)])
    last = max((i.shift for i in everywhere if not i.var), default=0)  # a sum from 6 on is empty until t = 6
    if last > 12 or first > 12:
        raise NotSaid("indices beyond 12, in a line that has to be computed step by step")
    for low in dict.fromkeys((first, first + 1, first + 2, max(first, last), max(first, last + 1), first + 3)):
        values = {v: low + k for k, v in enumerate(free)}
        grounded: Any = _ground(line, values)
        try:
            outcome = _decide(grounded, roots)
        except Concrete:
            raise NotSaid("a sum or product whose limits are not said") from None
        except Beyond:
            break  # too large to expand: what the shorter ones say stands
        if outcome.kind == "refuted":
            said = ", ".join(f"{v} = {n}" for v, n in values.items())
            return replace(
                outcome,
                where={**{v: str(n) for v, n in values.items()}, **outcome.where},
                reason=f"at {said}: {outcome.reason}",
                steps=(low,),
            )
        outcomes.append(outcome)
        steps.append(values[free[-1]])
    if not outcomes:
        raise NotSaid("a sum or product too large to write out")
    kinds = {o.kind for o in outcomes}
    if "undecided" in kinds:
        return next(o for o in outcomes if o.kind == "undecided")
    if kinds == {"identity"} and len(free) == 1 and (proof := _by_induction(line, free[0])):
        base = tuple(e for o in outcomes for e in o.evidence)
        reason = f"by induction on {free[0]}: true for 2, and from {free[0]} - 1 to {free[0]}"
        return Outcome("identity", reason, evidence=base + proof)
    said = ", ".join(map(str, sorted(steps)))
    return Outcome("undecided", f"it holds for {free[-1]} = {said}; that it holds for every {free[-1]} was not proved")


def _telescoped(line: tree.Chain, sense: Sense) -> tuple[tree.Chain, tuple[dict, ...]]:
    r"""The line with every product of alphas inside a sum as a quotient of two \bar\alpha, and the evidence that it is one."""
    lemmas: list[dict] = []

    def change(node: Node, inside: bool) -> Node:
        node = tree.rebuild(node, lambda child: change(child, inside or isinstance(node, Big)))
        if not inside or not isinstance(node, Big) or node.kind != "prod" or node.low is None or node.high is None:
            return node
        alpha = Sym("alpha", (Index(node.var, 0),))
        if node.body not in (alpha, Add((Num(Fraction(1)), Neg(replace(alpha, name="beta"))))):
            return node
        ends = (Sym("alpha", (i,), ("bar",)) for i in (node.high, shifted(node.low, -1)))
        quotient = Div(*ends)
        found = decide(node, "=", quotient, sense)
        if found.kind != "identity":
            return node
        lemmas.extend(found.evidence)
        return quotient

    return replace(line, terms=tuple(change(t, False) for t in line.terms)), tuple(lemmas)


def _by_induction(line: tree.Chain, letter: str) -> tuple[dict, ...]:
    """Whether an equation with one sum up to `letter` follows from itself one step earlier.

    With S the sum one step earlier, the claim there is D0(S) = 0 and here D1(S) = 0, both linear in S. The second follows from
    the first when D1(0) (D0(1) - D0(0)) = (D1(1) - D1(0)) D0(0) and D0 depends on S at all. Returns the evidence for these
    equations, nothing where the induction does not go through.
    """
    sums = [n for n in tree.walk(line) if isinstance(n, Big)]
    if len(sums) != 1 or sums[0].kind != "sum" or not _linear_in(line, sums[0]):
        return ()
    (total,) = sums
    if total.low is None or total.low.var or total.high is None or total.high.var != letter:
        return ()
    low, high = total.low, total.high
    if low.shift - high.shift > 3:
        return ()  # the sum is still empty where the induction starts

    proof: list[dict] = []

    def equal(left: Node, right: Node) -> bool:
        found = decide(left, "=", right, line.sense if isinstance(line, Line) else PLAIN)
        if found.kind == "identity":
            proof.extend(found.evidence)
        return found.kind == "identity"

    before = Index(letter, -1)
    body, earlier = total.body, moved(total.body, letter, before)
    somewhere: Node = Num(Fraction(1))
    if body != earlier:
        somewhere = moved(Div(body, earlier), total.var, Index("", max(total.low.shift, 1)))
        if not equal(Div(body, earlier), somewhere):
            return ()

    def difference(value: int, step_back: bool) -> Node:
        """left - right with S = value."""
        s: Node = Num(Fraction(value))
        here = s if step_back else Add((Mul((somewhere, s)), moved(body, total.var, high)))
        left, right = (_put(term, total, here if not step_back else Sym("S_earlier")) for term in line.terms)
        out: Node = Add((left, Neg(right)))
        return _put(moved(out, letter, before), Sym("S_earlier"), s) if step_back else out

    d0, d1 = ([difference(v, back) for v in (0, 1)] for back in (True, False))
    slope0, slope1 = (Add((d[1], Neg(d[0]))) for d in (d0, d1))
    if equal(slope0, Num(Fraction(0))) or not equal(Mul((d1[0], slope0)), Mul((slope1, d0[0]))):
        return ()
    return tuple(proof)


def _put(node: Node, old: Node, new: Node) -> Node:
    return new if node == old else tree.rebuild(node, lambda child: _put(child, old, new))


def _linear_in(node: Node, part: Node) -> bool:
    """Whether `part` occurs in `node` only in sums and products, as a factor of the first degree."""
    if node == part or not any(n == part for n in tree.walk(node)):
        return True
    if isinstance(node, Mul):
        return sum(any(n == part for n in tree.walk(f)) for f in node.factors) == 1 and all(
            _linear_in(f, part) for f in node.factors
        )
    if isinstance(node, Div):
        return not any(n == part for n in tree.walk(node.bottom)) and _linear_in(node.top, part)
    return isinstance(node, Add | Neg | tree.Chain) and all(_linear_in(c, part) for c in tree.children(node))


def _all_indices(node: Node) -> Iterator[Index]:
    if isinstance(node, Index):
        yield node
    if isinstance(node, Range | Big):
        yield from (i for i in (node.low, node.high) if i)


def _ground(node: Node, values: dict[str, int]) -> Node:
    """The formula with numbers for the letters, ranges, sums and products written out."""

    def index(i: Index) -> Index:
        return Index("", values[i.var] + i.shift) if i.var in values else i

    def spread(s: Sym) -> tuple[Sym, ...]:
        for at, i in enumerate(s.sub):
            if isinstance(i, Range) and i.low and i.high:
                low, high = index(i.low), index(i.high)
                if low.var or high.var:
                    raise NotSaid("a range without numbers")
                return tuple(
                    replace(s, sub=(*s.sub[:at], Index("", k), *s.sub[at + 1 :])) for k in range(low.shift, high.shift + 1)
                )
        return (replace(s, sub=tuple(index(i) if isinstance(i, Index) else i for i in s.sub)),)

    match node:
        case Sym(name, (), (), ()) if name in values:
            return Num(Fraction(values[name]))
        case Sym():
            return spread(node)[0] if len(spread(node)) == 1 else node
        case Law(names, dist):
            return Law(
                tuple(
                    s if s.name in values and not s.sub else g for s in names for g in ((s,) if s.name in values else spread(s))
                ),
                None if dist is None else _ground(dist, values),
            )
        case Density(letter, args, given, labels):
            return Density(
                letter, tuple(g for s in args for g in spread(s)), tuple(g for s in given for g in spread(s)), labels
            )
        case Big(kind, var, low, high, body):
            if low is None or high is None:
                raise NotSaid("a sum or product whose limits are not said")
            low, high = index(low), index(high)
            if low.var or high.var or high.shift - low.shift > 12:
                raise NotSaid("a sum or product whose limits are not said")
            parts = tuple(_ground(body, {**values, var: k}) for k in range(low.shift, high.shift + 1))
            if not parts:
                return Num(Fraction(0 if kind == "sum" else 1))
            return parts[0] if len(parts) == 1 else Add(parts) if kind == "sum" else Mul(parts)
    return tree.rebuild(node, lambda child: _ground(child, values))


def _laws(m: Meaning, line: tree.Chain) -> tuple[Gaussian, Gaussian]:
    """x ~ law: the law that the setting gives x, given the x's that the mean mentions, and the law of the line."""
    left, right = line.terms
    law = _law_of(m, right)
    if isinstance(left, Add | Mul | Normal):
        return _law_of(m, left), law
    if isinstance(left, Density):
        try:
            return m.density_law(replace(left, letter=left.letter or "q")), law
        except NotSaid:
            if left.letter:
                raise
            return m.density_law(replace(left, letter="p")), law
    if not isinstance(left, Sym):
        raise NotSaid("on the left of ~ stands one variable")
    if is_noise(left) or left.name == "z":
        return Gaussian(None, Vector({}), m.k.one), law
    where = m.places((left,))[0]
    if isinstance(right, Density):
        if law.of != name_of("x", where):
            raise NotSaid(f"this is the law of {law.of}")
        return law, law
    given = [i for i in (Index("", 0), *m.points) if name_of("x", i) in law.mean.parts]
    known = Density("q", (left,), tuple(Sym("x", (i,)) for i in given)) if given else Density("p", (left,))
    return m.density_law(known), law


def _law_of(m: Meaning, node: Node) -> Gaussian:
    """The law that stands on a side of ~: a density, a normal law, a sum of such, or that of a sum of independent noises."""
    if isinstance(node, Density | Normal) or (isinstance(node, Add) and any(isinstance(t, Normal) for t in node.terms)):
        return m.law(node)
    m.loose = True
    drawn = m.value(node)
    m.loose = False
    if not isinstance(drawn, Vector) or not drawn.parts or drawn.parts.keys() - set(m.noises):
        return m.law(node)
    variance = m.k.zero
    for c in drawn.parts.values():
        variance = variance + c * c
    return Gaussian(None, Vector({}), variance)


def _distributed(m: Meaning, line: tree.Chain) -> Outcome:
    if not _difference(m, *_laws(m, line)):
        drawn = sum(isinstance(n, Sym) and is_noise(n) for n in tree.walk(line)) + sum(isinstance(n, Normal) for n in tree.walk(line))
        return Outcome("identity", "the mean and the variance are the ones of the setting", assumes=(NOISES,) if drawn > 1 else ())
    return _refute(line, "~", _laws) or Outcome("undecided", "the laws differ, but no values were found that show it")


def _proportional(m: Meaning, line: tree.Chain, gap: dict) -> Outcome:
    first = next((n for n in tree.walk(line) if isinstance(n, Density | Normal) and (isinstance(n, Normal) or n.args)), None)
    bare = next((n for n in tree.walk(line) if n == Sym("x")), None)
    of = (first.x if isinstance(first, Normal) else first.args[0]) if first else bare
    of = m.value(of) if of else None
    if not isinstance(of, Vector) or len(of.parts) != 1:
        raise NotSaid("proportional as a function of what?")
    (name,) = of.parts
    left = {key for key in gap if any(m._depends(n, name) for atom in key for n in atom)}
    if not left:
        sides = line.terms
        both = [m.log_of(m.value(n)).parts for n in sides]
        _note(m, *({k: c for k, c in parts.items() if any(m._depends(n, name) for at in k for n in at)} for parts in both))
        return Outcome("identity", f"the sides differ by a factor without {name}")
    return _refute_ratio(line, name) or Outcome("undecided", f"the ratio of the sides still depends on {name}")




def _bound(m: Meaning, line: tree.Chain, a, b, gap: dict, algebra) -> Outcome:
    relation = line.relations[0]
    if isinstance(a, Vector | Gaussian):
        raise NotSaid("vectors are not ordered")
    if any(not i.var for i in m.points) and any(i.var for i in _needed(line)):
        raise NotSaid("an inequality between fixed steps and t: whether t is the later one is not said")
    if not gap:
        if relation in "<>":
            return replace(_refute(line, relation) or Outcome("undecided", ""), reason="the sides are equal")
        return Outcome("identity", "both sides are equal")
    up = relation in {">=", ">"}
    large, small = line.terms if up else line.terms[::-1]
    if relation in {">=", "<="} and isinstance(large, KL) and small == Num(Fraction(0)):
        _note(m, None, None)  # the proof is one about all laws, see judging
        return Outcome("bound", "a KL divergence is never negative (Gibbs)")
    if isinstance(a, Positive):
        a, b = a.log, b.log
    a, b = (a, b) if up else (b, a)
    form = m.plus((m.k.one, a), (-m.k.one, b))
    positive = _never_negative(m, form)
    if positive is not None and (relation in {">=", "<="} or m.k.sign(form.parts.get((), m.k.zero)) == 1):
        _note(m, a.parts, b.parts, positive)
        return Outcome("bound", "the difference of the sides is a sum of positive terms")
    return _refute(line, relation) or Outcome("undecided", "neither a proof nor values at which it fails were found")


def _needed(line: tree.Chain) -> set[Index]:
    """The indices that are written in a line."""
    return {i for n in tree.walk(line) for i in _all_indices(n)}


def _never_negative(m: Meaning, form: Scalar) -> dict | None:
    """Constant + quadratic form in the vectors as a positive number plus squares of vectors with positive weights, by Gaussian
    elimination, pivot by pivot: what the kernel is shown of it, or None where this is not seen."""
    parts = dict(form.parts)
    number = parts.pop((), m.k.zero)
    if m.k.sign(number) not in {0, 1} or any(len(key) != 1 or len(key[0]) != 2 or key[0][0] == "log q" for key in parts):
        return None
    names = sorted({n for ((u, v),) in parts for n in (u, v)})
    half = m.k.number(Fraction(1, 2))
    rows = {
        u: {
            v: parts.get(((u, u),), m.k.zero) if u == v else half * parts.get((tuple(sorted((u, v))),), m.k.zero) for v in names
        }
        for u in names
    }
    traced = hasattr(m.k, "tracer")
    gap: dict = {"number": m.k.seen_positive(number) if traced and m.k.sign(number) == 1 else None, "squares": []}
    while names:
        pivot = names.pop(0)
        sign = m.k.sign(rows[pivot][pivot])
        if sign == 0 and all(m.k.zero_test(rows[pivot][v]) for v in names):
            continue
        if sign != 1:
            return None
        row = {v: m.k.divide(rows[pivot][v], rows[pivot][pivot]) for v in names}
        if traced:
            vector = [[pivot, m.k.one.step], *([v, c.step] for v, c in row.items() if not m.k.zero_test(c))]
            gap["squares"].append([m.k.seen_positive(rows[pivot][pivot]), vector])
        for u in names:
            for v in names:
                rows[u][v] = rows[u][v] - row[u] * rows[pivot][v]
    return gap


# ---------------------------------------------------------------------------------------------------- in law


def _in_law(line: tree.Chain, algebra) -> str:
    """The reason why both sides are equal in law, or "" when they are not."""
    from course.equations.meaning.algebra import Beyond, Undefined

    for loose in (True, False):
        m = meaning(line, algebra)
        if loose and (m.determined or (m.tied and m.sense.noise == "text")):
            continue
        m.loose = loose
        try:
            a, b = (m.value(n) for n in line.terms)
            if isinstance(a, Vector) and isinstance(b, Vector):
                found = _same_law(m, a, b) or _same_law(m, b, a)
                if found:
                    return found
        except (NotSaid, Beyond, Undefined):
            continue
    return ""


def _same_law(m: Meaning, a: Vector, b: Vector) -> str:
    k = m.k
    noise = {n for n in (*a.parts, *b.parts) if n in m.noises or n.split("_")[0] == "z"}
    equal = {n for n in a.parts.keys() & b.parts.keys() if k.zero_test(a.parts[n] - b.parts[n])}
    left, right = ({n: c for n, c in v.parts.items() if n not in equal} for v in (a, b))
    if left.keys() & right.keys() & noise:
        return ""
    counts = [len(noise & side.keys()) for side in (left, right)]
    variances = []
    for side in (left, right):
        total = k.zero
        for n in noise & side.keys():
            total += side.pop(n) ** 2
        variances.append(total)
    at = {name_of("x", i): i for i in (Index("", 0), *m.points)}
    if not left and not right:
        if counts[0] == counts[1]:
            return ""  # two names for one noise are not one noise
        _note(m, *({**{n: v.parts[n] for n in equal}, "variance": x} for v, x in zip((a, b), variances, strict=True)))
        return "equal in law: the noises add up to the same variance" if k.zero_test(variances[0] - variances[1]) else ""
    if len(left) != 1 or next(iter(left)) not in at or not right:
        return ""
    ((name, c),) = left.items()
    i, given = at[name], [at[n] for n in right if n in at]
    nets = [n for n in right if n not in at]
    if any(n not in m.networks for n in nets):
        return ""
    target = Vector(right)
    if not nets and (all(rank(g) < rank(i) for g in given) or Index("", 0) in given):
        law = m.forward_law(i, given)
        if not _difference(
            m,
            replace(law, mean=m.combine((c, law.mean)), variance=c * c * law.variance + variances[0]),
            Gaussian(name, target, variances[1]),
        ):
            known = ", ".join(name_of("x", g) for g in given)
            return f"equal in law: both sides are Gaussian with the same mean and variance given {known}"
    later = [g for g in given if rank(g) > rank(i)]
    now = later[0] if len(later) == 1 else given[0] if nets and len(given) == 1 else shifted(i, 1)
    if now not in at.values() or not k.zero_test(variances[0]) or not set(given) <= {now, Index("", 0)}:
        return ""
    # c x_i = target + noise: divide by c
    variance, target = k.divide(variances[1], c * c), m.combine((k.divide(k.one, c), target))
    if nets:
        eps = m.network(now)
        if set(nets) != set(eps.parts):
            return ""
        clean = m.clean_of(now, eps)
        with_sigma = m.eta or name_of("sigma", now) in k
        equals = []
        if now == shifted(i, 1):
            choices = (m.sigma(now) ** 2 if with_sigma else m.beta_tilde(now), k.one - m.alpha(now), m.beta_tilde(now))
            equals = [v for v in choices if k.zero_test(variance - v)]
        law = Gaussian(name, target, variance)
        if equals and not _difference(m, law, Gaussian(name, m.mu_theta(now), equals[0])):
            return "the sampling step of DDPM: mean mu_theta and variance sigma_t^2, as the setting declares p(x_{t-1} | x_t)"
    elif set(given) == {now, Index("", 0)}:
        eps, clean = m.noise_of(now), m.x(Index("", 0))
    else:
        return ""
    if not _difference(m, target, m.ddim_mean(i, variance, clean, eps)):
        if rank(now) < rank(i):
            return "the step of DDIM with its two levels exchanged (Song et al. 2021)"
        return "the step of DDIM with this variance (Song et al. 2021, equation 12)"
    return ""


# ---------------------------------------------------------------------------------------------------- counterexamples

ROOTS_OF_BAR = (("24/25", "4/5", "3/5", "5/13", "7/25", "8/65"), ("15/17", "12/13", "8/17", "20/101", "9/41", "1/9"))


# numbers for vectors, in the order in which they are needed; the later ones only serve inequalities
PATTERNS = ((1, 2, -1, 3, -2, 5, 4, -3), (1, -1, 2, -3), (1,), (1, 10, -10))


def _point(points: list[Index], names: tuple[str, ...], attempt: int) -> dict[str, Fraction]:
    """Rational values for the unknowns of a line, most roots of which are rational: sqrt(\\bar\\alpha) from Pythagorean triples."""
    roots = [Fraction(r) for r in ROOTS_OF_BAR[attempt % 2]]
    n = len(points)
    if n > len(roots):
        roots = [Fraction(n + 2 - i, n + 3) for i in range(n)]
    elif n < 4:
        roots = roots[3 - n :] if attempt % 2 == 0 else roots
    out, before = {"d": Fraction(1 + attempt // 2 % 2)}, Fraction(1)
    for j, root in enumerate(sorted(roots, reverse=True)[:n]):
        out[f"g{j}"] = before / root**2 - 1
        before = root**2
    rest = [name for name in names if name not in out and name != "pi"]
    for j, name in enumerate(n for n in rest if n.startswith("\\sigma")):
        out[name] = Fraction(1, 2 + j)
    for j, name in enumerate(n for n in rest if not n.startswith("\\sigma")):
        out[name] = Fraction(2 + j + attempt, 3)
    return out


class Values:
    """Exact numbers for every symbol of a line: `sides` are what `build` makes of the line at this point."""

    def __init__(self, line: tree.Chain, build, attempt: int = 0, world: bool = False):
        from course.equations.meaning.traced import Tracer

        self.tracer = Tracer()
        self.names: tuple[str, ...] = ()
        self.point: dict[str, Fraction] = {}

        about_path = isinstance(line, Line) and line.sense.path is not None

        def algebra(positive, free, logs=False):
            self.names = (*positive, *free)
            self.point = _point([] if about_path else main_points(line), self.names, attempt)
            return self.tracer.at(self.point)

        self.m = meaning(line, algebra, world=world)
        self.shown: dict[str, str] = {}
        before = Fraction(1)
        speaks = not about_path and any(isinstance(n, Sym) and n.name in SCHEDULED for n in tree.walk(line))
        if isinstance(self.m, PathMeaning | MaskedMeaning):
            self.shown |= self.m.shown_times()
        for j, i in enumerate(self.m.points if speaks else ()):
            before /= 1 + self.point[f"g{j}"]
            self.shown[tree.latex(Sym("alpha", (i,), ("bar",)))] = str(before)
        for s in dict.fromkeys(n for n in tree.walk(line) if isinstance(n, Sym) and n.name in {"alpha", "beta"}):
            if not about_path and not s.labels and len(s.sub) == 1 and isinstance(s.sub[0], Index) and s.sub[0] in self.m.points:
                value = self.m.value(s)
                self.shown[tree.latex(s)] = str(self.m.k.exact(self.m.number(value)))
        self.number, self.attempt = 0, attempt
        self.sides = build(self.m, line)

    def scalar(self, s: Scalar):
        """The exact value; vectors are numbers here (or lie on one line, when d > 1)."""
        k, total = self.m.k, self.m.k.zero
        for key, c in s.parts.items():
            term = c
            for atom in key:
                if atom[0] == "log q" and atom[1] in self.m.open:
                    term *= k.number(self.of(rf"\log {atom[1]}"))
                elif atom[0] == "log q":
                    # the data are standard normal, and then so is every x_t
                    square, d = self.of(atom[1]) ** 2, self.point["d"]
                    term *= k.number(Fraction(-1, 2)) * (k.number(square) + k.number(d) * k.log(k.number(2) * k["pi"]))
                elif len(atom) == 2:
                    term *= k.number(self.of(atom[0]) * self.of(atom[1]))
                else:
                    raise NotSaid("an average over what is not known")
            total += term
        return total

    def vector(self, v: Vector):
        total = self.m.k.zero
        for n, c in v.parts.items():
            total += c * self.m.k.number(self.of(n))
        return total

    def of(self, name: str) -> Fraction:
        """The number that a named vector is."""
        if name == "1":
            return Fraction(1)
        if name not in self.shown:
            self.number += 1
            pattern = PATTERNS[self.attempt // 4 % len(PATTERNS)]
            self.shown[name] = str(pattern[(self.number - 1) % len(pattern)])
        return Fraction(self.shown[name])

    def everything(self, line: tree.Chain) -> dict[str, str]:
        """Every symbol that got a number, also those that the line does not write: the sigma_t of p(x_{t-1} | x_t)."""
        used = {tree.latex(s) for s in tree.walk(line) if isinstance(s, Sym)}
        sigmas = {n for n in self.names if n.startswith("\\sigma") and n in self.m.used}
        return {**self.shown, **{n: str(self.point[n]) for n in self.names if n in used | sigmas and n in self.point}}

    def pair(self):
        """Both sides in exact arithmetic, logarithms for densities; of two laws the part that differs."""
        a, b = self.sides
        if isinstance(a, Gaussian):
            same = self.m.k.zero_test(a.variance - b.variance)
            return (self.vector(a.mean), self.vector(b.mean)) if same else (a.variance, b.variance)
        if isinstance(a, Vector):
            return self.vector(a), self.vector(b)
        if isinstance(a, Positive):
            return self.scalar(a.log), self.scalar(b.log)
        return self.scalar(a), self.scalar(b)


def show(x) -> str:
    """An exact sympy number as text: rationals and short surds exactly, with decimals beside anything that is not rational."""
    if x.is_Rational and max(abs(x.p), x.q).bit_length() < 500:
        return str(x)
    decimals = str(x.evalf(6))
    text = str(x) if x.count_ops() < 60 else ""
    return f"{text} = {decimals}..." if 0 < len(text) <= 60 else decimals + "..."


def _refute(line: tree.Chain, relation: str, build=_sides) -> Outcome | None:
    """Exact values at which the relation fails."""
    import sympy

    from course.equations.meaning.algebra import Undefined

    for world in (False, True):
        for attempt in range(4 if relation in "=~" else 4 * len(PATTERNS)):
            try:
                values = Values(line, build, attempt, world)
                a, b = values.sides
                if values.m.marked:
                    break
                if isinstance(a, Scalar) and a.parts and b.parts and a.matrix != b.matrix:
                    both = [show(values.m.k.exact(values.scalar(side))) + (" I" if side.matrix else "") for side in (a, b)]
                    where = {"d": "2", **values.shown}
                    beside = values.scalar(b if a.matrix else a)  # a number, and what stands beside the diagonal of a matrix
                    proof = values.tracer.differ(values.m.k.zero, "=", beside)
                    reason = "one side is a number, the other a matrix"
                    return Outcome("refuted", reason, where=where, left=both[0], right=both[1], evidence=(proof,))
                x, y = values.pair()
                equal = values.m.k.zero_test(x - y)
                proof = values.tracer.differ(x, "=" if relation == "~" else relation, y)
                if equal and relation not in ("<", ">", "!="):
                    continue
                gap = values.m.k.exact(x - y).evalf(30)
                x, y = values.m.k.exact(x), values.m.k.exact(y)
            except Undefined:
                continue
            if not gap.is_real or (abs(gap) < 1e-20 and not equal):
                continue
            if not {"=": True, "~": True, "!=": equal, ">=": gap < 0, ">": gap <= 0, "<=": gap > 0, "<": gap >= 0}[relation]:
                continue
            if isinstance(a, Positive):
                x, y = sympy.exp(x), sympy.exp(y)
            shown = values.everything(line)
            if values.point["d"] > 1:
                shown = {"d": "2 (all vectors along one axis)", **shown}
            if world:
                shown = {"data": "the single point x_0", r"\epsilon_\theta(x, t)": f"{values.point['kappa']} x", **shown}
            reason = DIFFERENT
            if isinstance(a, Gaussian):
                reason = "the " + ("mean" if values.m.k.zero_test(a.variance - b.variance) else "variance") + " is another one"
            if reason == DIFFERENT and build is _sides and (more := _difference_in_words(line)):
                reason = f"{reason}: {more}"
            return Outcome("refuted", reason, where=shown, left=show(x), right=show(y), evidence=(proof,))
    return None


def _difference_in_words(line: tree.Chain) -> str:
    """In what two sides differ: the mean or the variance of two normal laws, the factors of some vectors, a term without vectors."""
    from course.equations.meaning.algebra import Beyond, Full, Undefined
    from course.equations.meaning.floats import Floats

    try:
        m = meaning(line, Floats)
        if all(isinstance(n, Normal) or (isinstance(n, Density) and n.args) for n in line.terms):
            laws = [m.law(n) for n in line.terms]
            other_mean = bool(m.combine((m.k.one, laws[0].mean), (-m.k.one, laws[1].mean)).parts)
            other_variance = not m.k.zero_test(laws[0].variance - laws[1].variance)
            which = [w for w, differs in (("mean", other_mean), ("variance", other_variance)) if differs]
            same = [w for w in ("mean", "variance") if w not in which]
            return f"the {' and the '.join(which)} of the laws" + (f", not the {same[0]}" if same else "") if which else ""
        a, b = _sides(m, line)
        gap = _difference(m, a, b)
        if isinstance(a, Vector) and gap:
            agree = sorted((a.parts.keys() | b.parts.keys()) - gap.keys())
            return f"the factor of {' and that of '.join(sorted(gap))}" + (f", not that of {' and '.join(agree)}" if agree else "")
        if isinstance(a, Scalar) and isinstance(b, Scalar) and gap and (a.parts.keys() | b.parts.keys()) != {()}:
            if gap.keys() == {()}:
                return "the term without vectors, and no other"
            return "" if () in gap else "terms with vectors, not the one without"
    except (NotSaid, ArithmeticError, Concrete, KeyError, Beyond, Full, Undefined):
        pass
    return ""


def _refute_numbers(line: tree.Chain) -> Outcome | None:
    """Values at which a line fails that adds or compares numbers and vectors: where d = 1 all of them are numbers."""
    from course.equations.meaning.algebra import Beyond, Full, Undefined

    if line.relations[0] not in ("=", "propto") or any(isinstance(n, Sym) and n.name in ("I", "d") for n in tree.walk(line)):
        return None

    def numbers(m: Meaning, line: tree.Chain):
        if "d" in m.k and not m.k.zero_test(m.k["d"] - m.k.one):
            raise Undefined("d = 1 is meant")
        if m.noises and not m.determined:
            raise NotSaid("a noise that nothing else in the line determines")
        m.mixed = True
        sides = [m.value(n) for n in line.terms]
        if not all(isinstance(s, Scalar | Vector | Positive) for s in sides):
            raise NotSaid("a law is compared with a number")
        if any(isinstance(s, Positive) for s in sides):
            return tuple(Positive(s.log if isinstance(s, Positive) else m.log_of(m.as_number(s))) for s in sides)
        return tuple(m.as_number(s) for s in sides)

    try:
        if line.relations[0] == "propto":
            of = next((n.args[0] for n in tree.walk(line) if isinstance(n, Density) and n.args), Sym(""))
            found = _refute_ratio(line, tree.latex(of), numbers) if of.name == "x" and of.sub else None
        else:
            found = _refute(line, "=", numbers)
    except (NotSaid, Beyond, Full, Concrete):
        return None
    return found and replace(found, reason=f"read for d = 1, where vectors are numbers: {found.reason}")


def _refute_ratio(line: tree.Chain, name: str, build=_sides) -> Outcome | None:
    """Exact values of `name` at which the ratio of both sides is not the same."""
    from course.equations.meaning.algebra import Undefined

    for attempt in range(4):
        try:
            values = Values(line, build, attempt)
            logs = []
            for number in ("2", "3"):
                values.shown[name] = number
                a, b = values.pair()
                logs.append(a - b)
            if values.m.marked or values.m.k.zero_test(logs[0] - logs[1]):
                continue
            exact = [values.m.k.exact(x) for x in logs]
            proof = values.tracer.differ(logs[0], "=", logs[1])
            where = {**values.everything(line), name: "2, and then 3"}
            return Outcome(
                "refuted",
                f"the ratio of the sides still depends on {name}",
                where=where,
                left=f"log of the ratio at {name} = 2: {show(exact[0])}",
                right=f"log of the ratio at {name} = 3: {show(exact[1])}",
                evidence=(proof,),
            )
        except (Undefined, ArithmeticError):
            continue
    return None


def plausible(line: tree.Chain) -> bool | None:
    """Whether a line survives floating point in one world, which costs little; None where it has no value there."""
    from course.equations.meaning.floats import Floats

    try:
        m = meaning(line, Floats)
        a, b = _sides(m, line)
        if line.relations[0] != "=":
            return True
        return not _difference(m, a, b) or bool(isinstance(a, Vector) and _in_law(line, Floats))
    except (NotDecidable, ArithmeticError):
        return None
