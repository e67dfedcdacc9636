r"""The closed forms of the Gaussian diffusion: what each symbol means, and the value of a formula.

The setting declares, for 1 <= t <= T and a schedule 0 < beta_t < 1 (Ho et al. 2020, equations 2 to 12):

    alpha_t = 1 - beta_t,   \bar\alpha_t = alpha_1 ... alpha_t,   \bar\alpha_0 = 1,   SNR(t) = \bar\alpha_t / (1 - \bar\alpha_t)
    q(x_t | x_{t-1}) = N(x_t; sqrt(alpha_t) x_{t-1}, beta_t I)
    p(x_T) = N(x_T; 0, I),   p(x_{t-1} | x_t) = N(x_{t-1}; mu_theta(x_t, t), sigma_t^2 I)
    epsilon     the noise of x_t: x_t = sqrt(\bar\alpha_t) x_0 + sqrt(1 - \bar\alpha_t) epsilon   (a line that speaks of x_t and
                one earlier x but neither of x_0 nor of \bar\alpha means the noise of the way between those two)
    v           sqrt(\bar\alpha_t) epsilon - sqrt(1 - \bar\alpha_t) x_0                                 (Salimans and Ho 2022)
    \tilde\mu_t, \tilde\beta_t   mean and variance of q(x_{t-1} | x_t, x_0)
    mu_theta, \hat x_0 (also x_theta), v_theta, s_theta   four ways to say epsilon_theta(x_t, t), by the same conversions
    sigma_t     any positive numbers; with eta in the line, sigma_t = eta sqrt(\tilde\beta_t)             (Song et al. 2021)
    E[ | ], Var, Cov   under q; where no earlier x is given, E[x_0 | x_t] follows from the score of q(x_t)      (Tweedie's formula)
    p(x_t | y), p(y | x_t), p(x_t)   with a label y, or without a closed form: any smooth densities of one joint law
    H           the entropy of a Gaussian, in nats
    d           the dimension; without I and d in the line, the line is about d = 1

Every other letter is a free variable, and a line counts as true only if it holds for all its values, all schedules, all t >= 2
and all dimensions. Vectors are kept as linear combinations of the x's and of the network's outputs, squared norms as
combinations of their inner products, densities by their logarithms; the coefficients are decided exactly (algebra.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from course.equations.meaning.problems import NotDecidable
from course.equations.reading import tree
from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Big,
    Covariance,
    Density,
    Div,
    Expect,
    Func,
    Grad,
    Index,
    Info,
    Integral,
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

LETTERS = {"": 0, "s": 1, "tau": 2, "i": 4, "j": 4, "k": 4, "n": 4, "t": 6, "T": 7}  # 0 < s < t < T: how indices are ordered
LETTERS |= {rf"\tau_{{{x}-1}}": 3 for x in "ijkn"} | {rf"\tau_{x}": 4 for x in "ijkn"} | {rf"\tau_{{{x}+1}}": 5 for x in "ijkn"}
VECTORS = {"x", "y", "z", "u", "v", "m", "mu", "epsilon", "h"}
T0 = Index("t", 0)
START = Index("", 0)


class NotSaid(NotDecidable):
    """The line cannot be given a meaning here; the text says what is missing."""


class Concrete(NotDecidable):
    """The line holds a sum or product that has no closed form for general t; decide it for t = 2, 3, 4 instead."""


# ---------------------------------------------------------------------------------------------------- values

Key = tuple  # a product of atoms; an atom is (u, v) for the inner product <u, v>, or a longer tuple for averages of one


@dataclass(frozen=True)
class Scalar:
    """sum of coefficient * product of inner products; a plain number has the key () only. matrix: times the identity."""

    parts: dict[Key, Any]
    matrix: bool = False


@dataclass(frozen=True)
class Vector:
    """A linear combination of named vectors."""

    parts: dict[str, Any]


@dataclass(frozen=True)
class Positive:
    """A density or a product of densities, by its logarithm."""

    log: Scalar


@dataclass(frozen=True)
class Gaussian:
    """The law N(mean, variance I) of the variable `of` (None: not named)."""

    of: str | None
    mean: Vector
    variance: Any


def index_of(node: Node) -> Index | None:
    """The index that a formula such as t, t-1 or 3 denotes, else None."""
    match node:
        case Index():
            return node
        case Num(value) if value.denominator == 1:
            return Index("", int(value))
        case Sym(name, (), (), ()) if name in LETTERS:
            return Index(name, 0)
        case Sym("tau", (Index(),), (), ()) if (name := tree.latex(node)) in LETTERS:
            return Index(name, 0)
        case Add((Num(a), Num(b))) if (a + b).denominator == 1:
            return Index("", int(a + b))
        case Add((Num(a), Neg(Num(b)))) if (a - b).denominator == 1:
            return Index("", int(a - b))
        case Add((Sym(name, (), (), ()), Num(shift))) | Add((Num(shift), Sym(name, (), (), ()))):
            return Index(name, int(shift)) if name in LETTERS and shift.denominator == 1 else None
        case Add((Sym(name, (), (), ()), Neg(Num(shift)))) | Add((Neg(Num(shift)), Sym(name, (), (), ()))):
            return Index(name, -int(shift)) if name in LETTERS and shift.denominator == 1 else None
    return None


def shifted(i: Index, by: int) -> Index:
    return Index(i.var, i.shift + by)


def moved(node: Node, var: str, to: Index) -> Node:
    """The formula with `to` in place of the index var: var + k becomes to + k."""
    if isinstance(node, Index):
        return Index(to.var, to.shift + node.shift) if node.var == var else node
    i = index_of(node) if isinstance(node, Sym | Add) else None
    if i is not None and i.var == var:
        shift = i.shift + to.shift
        by = Num(Fraction(abs(shift)))
        if not to.var or not shift:
            return Sym(to.var) if to.var else Num(Fraction(shift))
        return Add((Sym(to.var), by if shift > 0 else Neg(by)))
    return tree.rebuild(node, lambda child: moved(child, var, to))


def rank(i: Index) -> tuple[int, int]:
    return LETTERS.get(i.var, 4), i.shift


def name_of(letter: str, i: Index | None = None) -> str:
    return tree.latex(Sym(letter, () if i is None else (i,)))


def learned(s: Sym) -> str | None:
    r"""The parameter a symbol carries, if it is a network: theta, \\theta_1, phi."""
    return next((x for x in s.labels if tree.parameter(x) and x.lstrip("\\").startswith(("theta", "phi", "psi"))), None)


def is_noise(s: Sym) -> bool:
    return s.name == "epsilon" and "hat" not in s.marks and learned(s) is None


@dataclass(frozen=True)
class Sense:
    """What letters mean throughout a text (symbols.py), where one line alone does not say.

    main:     the index of symbols that are written without one.
    noise:    "text": `tied` is the noise between x_origin and x_main in every line; "line": each line speaks of its own.
    one:      whether the text is about d = 1; None where that is the line's own matter.
    sigma:    the variance of p(x_{t-1} | x_t) that the text chose, as a formula of t.
    path:     the path (paths.py) that the letters are about, instead of a chain of steps.
    """

    main: Index | None = None
    noise: str = "line"
    tied: str | None = None
    origin: Index = START
    one: bool | None = None
    sigma: Node | None = None
    path: Any = None


PLAIN = Sense()


@dataclass(frozen=True)
class Line(tree.Chain):
    """A relation with the sense that its text gives to its letters."""

    sense: Sense = PLAIN


# ---------------------------------------------------------------------------------------------------- what a formula means


def indices(node: Node, main: Index, bound: frozenset[str] = frozenset()) -> Iterator[Index]:
    """The indices whose level (\\bar\\alpha) the formula needs, leaving out bound ones."""
    match node:
        case Sym(name, sub, marks):
            places = [i for i in sub if isinstance(i, Index)]
            if any(isinstance(i, Range) for i in sub):
                raise Concrete
            if not places and name in {"alpha", "beta", "mu", "epsilon", "v", "SNR", "sigma", "Sigma", "x", "s"}:
                places = [main]
            for i in places:
                if i.var not in bound:
                    yield i
                    if name in {"beta", "mu", "sigma", "Sigma"} or (name == "alpha" and "bar" not in marks):
                        yield shifted(i, -1)
            return
        case Apply(head, args):
            places = [i for i in map(index_of, args) if i]
            yield from (i for i in places if i.var not in bound)
            if head.name in {"mu", "sigma", "Sigma"}:
                yield from (shifted(i, -1) for i in places if i.var not in bound)
            if head.sub or not places:
                yield from indices(head, main, bound)
            for a in args:
                if not index_of(a):
                    yield from indices(a, main, bound)
            return
        case Big(_, var, low, high, body):
            if low is None or high is None:
                raise Concrete
            shifts = {i.shift for i in indices(body, main) if i.var == var} | {0}
            for k in shifts:
                yield from (shifted(low, k - 1), shifted(low, k), shifted(high, k - 1), shifted(high, k))
            yield from indices(body, main, bound | {var})
            return
        case Law(names, dist):
            for s in names:
                if s.name not in LETTERS and not _has_range(s):
                    yield from indices(s, main, bound)
            if dist is not None:
                yield from (i for part in tree.children(dist) if not _has_range(part) for i in indices(part, main, bound))
            return
    for child in tree.children(node):
        yield from indices(child, main, bound)


def _has_range(node: Node) -> bool:
    return isinstance(node, Sym) and any(isinstance(i, Range) for i in node.sub)


def unindexed(node: Node, names: frozenset[str] = frozenset({"alpha", "beta", "SNR", "sigma", "epsilon", "v"})) -> bool:
    """Whether a formula has a symbol of the schedule, a noise or a velocity without an index; SNR(t) has one."""
    if isinstance(node, Apply) and any(index_of(a) for a in node.args):
        return any(unindexed(a, names) for a in node.args if not index_of(a))
    if isinstance(node, Sym):
        return node.name in names and not node.sub and not node.labels
    return any(unindexed(child, names) for child in tree.children(node))


def in_one_dimension(node: Node) -> bool:
    """Whether a formula is about numbers, not vectors: it has a normal law or a square of an x, and neither I nor d nor a norm."""
    nodes = list(tree.walk(node))
    if any((isinstance(n, Sym) and n.name in {"I", "d"} and not n.labels) or (isinstance(n, Func) and n.name == "norm") for n in nodes):
        return False
    return any(isinstance(n, Normal | Covariance) for n in nodes) or _has_squares(nodes)


def _has_squares(nodes: list[Node]) -> bool:
    r"""Whether something is squared inside an exp, and \\pi is there without a d: the density of a number written out."""
    return any(isinstance(n, Sym) and n.name == "pi" for n in nodes) and any(isinstance(n, Pow) for n in nodes)


def main_index(node: Node) -> Index:
    """The index meant where none is written (epsilon, v): that of the text, or the latest x of the line, preferring t to others."""
    if isinstance(node, Line) and node.sense.main is not None and unindexed(node):
        return node.sense.main
    for names in ({"x"}, {"alpha", "beta", "epsilon", "mu", "v", "sigma", "SNR"}):
        found = [
            i
            for s in tree.walk(node)
            if isinstance(s, Sym) and s.name in names
            for i in s.sub
            if isinstance(i, Index) and (i.var or i.shift > 0)
        ]
        found = [i for i in found if i.var == "t"] or found
        if found:
            return max(found, key=rank)
    return T0


def main_points(line: Node) -> list[Index]:
    """The steps whose level matters to a line, in order; raises NotSaid when their order is not known."""
    main = main_index(line)
    points = set(indices(line, main)) | {main, shifted(main, -1)}
    if any(i.var == "" and i.shift < 0 for i in points - {Index("", -1)}):
        raise NotSaid("an index is negative")
    letters = {i.var for i in points}
    if unknown := letters - LETTERS.keys():
        raise NotSaid(f"{min(unknown)} is not an index of this setting (s, t, T are)")
    if len(letters & {"i", "j", "k", "n"}) > 1:
        raise NotSaid("which of the indices comes first is not said; use s < t < T")
    return sorted((i for i in points if i.var or i.shift > 0), key=rank)


def room(roots: int):
    """The exact arithmetic with room for this many roots."""
    from course.equations.meaning.algebra import Algebra

    return lambda positive, free, logs=False: Algebra(positive, free, roots, roots + 4 if logs else 0)


class Meaning:
    """Evaluates formulas of one line, in exact arithmetic or in floats (`algebra` is the class of either).

    world=True reads averages in one particular world, to refute them: the data are one point x_0, the network is linear,
    epsilon_theta(x, t) = kappa x. Otherwise averages over what is not known (data, network) stay unevaluated.
    """

    def __init__(self, line: Node, algebra, world: bool = False, **options):
        self.sense = sense = line.sense if isinstance(line, Line) else PLAIN
        self.main = main_index(line)
        self.world = world
        symbols = [s for s in tree.walk(line) if isinstance(s, Sym)]
        self.points = main_points(line)
        self.numbers = not any(isinstance(n, Func) and n.name == "norm" for n in tree.walk(line)) and not any(
            s.name in {"I", "d"} and not s.labels for s in symbols
        )  # a product of two x's, as people write it where they think of d = 1: read as the inner product
        self.dimension_one = sense.one if sense.one is not None else in_one_dimension(line)
        scalars = sorted({name for s in symbols if (name := self._free_name(s)) is not None})
        scalars += sorted({tree.latex(n) for n in tree.walk(line) if isinstance(n, Apply) and n.head == Sym("C")})
        nodes = set(map(type, tree.walk(line)))
        sigmas = {tree.latex(s) for s in symbols if s.name == "sigma" and "q" not in s.labels}
        if (
            any(s.name == "Sigma" for s in symbols)
            or any(isinstance(n, Density) and (n.letter == "p" or n.labels) for n in tree.walk(line))
            or any(s.name == "x" and rank(i) < rank(self.main) for s in symbols for i in s.sub if isinstance(i, Index))
        ):
            sigmas |= {name_of("sigma", i) for i in (self.main, *self.points)}
        self.eta = any(s.name == "eta" for s in symbols)
        logs = bool(nodes & {Density, Normal, KL, Info}) or any(
            isinstance(n, Func) and n.name in {"log", "exp"} for n in tree.walk(line)
        )
        names = (
            *(f"g{i}" for i in range(len(self.points))),
            *sorted(sigmas),
            *(
                ("d", "pi")
                if logs or "d" in {s.name for s in symbols} or any(s.name == "pi" for s in symbols) or Expect in nodes
                else ()
            ),
        )
        if logs:
            options = {"logs": True, **options}
        self.k = algebra(names, (*scalars, *(("kappa",) if world else ())), **options)
        self.free = scalars
        self.networks: dict[str, Vector] = {}  # name of a network output -> the x it is evaluated at
        self.points_of_networks: list[tuple[str, Vector]] = []  # points that are not an x_t
        self.open: dict[str, frozenset[str]] = {}  # name of a density that is left open -> the variables it depends on
        self.scores: dict[str, frozenset[str]] = {}  # name of the gradient of such a density -> the variables it depends on
        self.used: set[str] = set()  # the sigmas that a value needed
        self.marked = False  # whether an average was left unevaluated
        self.noises = sorted({tree.latex(s) for s in symbols if is_noise(s)})
        plain = [s for s in symbols if is_noise(s) and not s.sub and not s.marks]
        tied = plain or [s for s in symbols if is_noise(s)]
        self.tied = tree.latex(tied[0]) if tied and (plain or len(self.noises) == 1) else None
        if sense.noise == "text":
            self.tied = sense.tied if sense.tied in self.noises else None
        speaks = any(
            (s.name == "x" and (Index("", 0) in s.sub or s.marks or s.labels))
            or ({"bar", "tilde"} & set(s.marks) and not is_noise(s))
            or "theta" in s.labels
            or s.name == "v"
            for s in symbols
        )
        steps = {i for s in symbols if s.name == "x" and not s.marks and not s.labels for i in s.sub if isinstance(i, Index)}
        earlier = [i for i in steps if rank(i) < rank(self.main)]
        self.origin = earlier[0] if not speaks and len(earlier) == 1 and self.main in steps else START
        if sense.noise == "text":
            self.origin = sense.origin
        # The noise of x_t given x_0, both in the line, is a definite vector: its sign matters.
        extra = [s for s in symbols if s.name == "z"]
        self.determined = len(self.noises) == 1 and not extra and {self.main, self.origin} <= steps

    # ---- levels

    def _gap(self, i: Index):
        """alpha-like factor between the point before `i` in the list and `i`: 1/(1+g)."""
        return self.k.one / (self.k.one + self.k[f"g{self.points.index(i)}"])

    def bar(self, i: Index):
        if i == Index("", 0):
            return self.k.one
        if i not in self.points:
            raise NotSaid(f"there is no step {tree.latex(i)}")
        out = self.k.one
        for p in self.points[: self.points.index(i) + 1]:
            out *= self._gap(p)
        return out

    def alpha(self, i: Index):
        return self.between(shifted(i, -1), i)

    def between(self, low: Index, high: Index):
        """\\bar\\alpha_high / \\bar\\alpha_low for low <= high."""
        if rank(high) < rank(low):
            raise NotSaid(f"the step {tree.latex(low)} comes after {tree.latex(high)}")
        if low == Index("", 0):
            return self.bar(high)
        if low not in self.points or high not in self.points:
            raise NotSaid(f"there is no step {tree.latex(low if low not in self.points else high)}")
        out = self.k.one
        for p in self.points[self.points.index(low) + 1 : self.points.index(high) + 1]:
            out *= self._gap(p)
        return out

    def beta_tilde(self, i: Index):
        before = shifted(i, -1)
        return self.k.divide((self.k.one - self.bar(before)) * (self.k.one - self.alpha(i)), self.k.one - self.bar(i))

    # ---- vectors

    def x(self, i: Index) -> Vector:
        return Vector({name_of("x", i): self.k.one})

    def combine(self, *terms: tuple[Any, Vector]) -> Vector:
        out: dict[str, Any] = {}
        for c, v in terms:
            for name, a in v.parts.items():
                out[name] = out.get(name, self.k.zero) + c * a
        return Vector({n: a for n, a in out.items() if not self.k.zero_test(a)})

    def noise_of(self, i: Index, x: Vector | None = None, x0: Vector | None = None, origin: Index = START) -> Vector:
        """(x_i - sqrt(a) x_origin) / sqrt(1 - a) with a = \\bar\\alpha_i / \\bar\\alpha_origin."""
        a = self.between(origin, i)
        root = self.k.sqrt(self.k.one - a)
        return self.combine(
            (self.k.divide(self.k.one, root), x or self.x(i)), (self.k.divide(-self.k.sqrt(a), root), x0 or self.x(origin))
        )

    def clean_of(self, i: Index, eps: Vector, x: Vector | None = None) -> Vector:
        root = self.k.sqrt(self.bar(i))
        return self.combine(
            (self.k.divide(self.k.one, root), x or self.x(i)),
            (self.k.divide(-self.k.sqrt(self.k.one - self.bar(i)), root), eps),
        )

    def velocity(self, i: Index, eps: Vector, x0: Vector) -> Vector:
        return self.combine((self.k.sqrt(self.bar(i)), eps), (-self.k.sqrt(self.k.one - self.bar(i)), x0))

    def mu_tilde(self, i: Index, x: Vector | None = None, x0: Vector | None = None) -> Vector:
        before, rest = shifted(i, -1), self.k.one - self.bar(i)
        return self.combine(
            (self.k.divide(self.k.sqrt(self.bar(before)) * (self.k.one - self.alpha(i)), rest), x0 or self.x(Index("", 0))),
            (self.k.divide(self.k.sqrt(self.alpha(i)) * (self.k.one - self.bar(before)), rest), x or self.x(i)),
        )

    def network(self, i: Index, at: Vector | None = None, extra: tuple[str, ...] = (), label: str | None = None) -> Vector:
        """epsilon_theta at a point: a vector of its own for every different point and every different theta."""
        at = at or self.x(i)
        if self.world and label in (None, "theta"):
            return self.combine((self.k["kappa"], at))
        if not self.combine((self.k.one, at), (-self.k.one, self.x(i))).parts:
            where = name_of("x", i)
        else:
            known = [
                n for n, other in self.points_of_networks if not self.combine((self.k.one, at), (-self.k.one, other)).parts
            ]
            where = known[0] if known else f"point {len(self.points_of_networks) + 1}"
            if not known:
                self.points_of_networks.append((where, at))
        head = tree.latex(Sym("epsilon", (), (), (label or "theta",)))
        name = rf"{head}({', '.join((where, tree.latex(i), *extra))})".replace("_{\\theta}", r"_\theta")
        self.networks[name] = at
        return Vector({name: self.k.one})

    # ---- scalars

    def scalar(self, value) -> Scalar:
        return Scalar({(): value} if not self.k.zero_test(value) else {})

    def plus(self, *terms: tuple[Any, Scalar]) -> Scalar:
        out: dict[Key, Any] = {}
        for c, s in terms:
            for key, a in s.parts.items():
                out[key] = out.get(key, self.k.zero) + c * a
        return Scalar({key: a for key, a in out.items() if not self.k.zero_test(a)}, any(s.matrix for _, s in terms))

    def times(self, a: Scalar, b: Scalar) -> Scalar:
        out: dict[Key, Any] = {}
        for ka, va in a.parts.items():
            for kb, vb in b.parts.items():
                key = tuple(sorted(ka + kb))
                if len(key) > 4:
                    raise NotSaid("a product of more than four inner products")
                out[key] = out.get(key, self.k.zero) + va * vb
        return Scalar({key: v for key, v in out.items() if not self.k.zero_test(v)}, a.matrix or b.matrix)

    def inner(self, a: Vector, b: Vector) -> Scalar:
        out: dict[Key, Any] = {}
        for u, x in a.parts.items():
            for v, y in b.parts.items():
                key = (tuple(sorted((u, v))),)
                out[key] = out.get(key, self.k.zero) + x * y
        return Scalar({key: v for key, v in out.items() if not self.k.zero_test(v)})

    def number(self, value) -> Any:
        """The plain number that a value is; raises when it holds inner products."""
        if not isinstance(value, Scalar) or any(value.parts.keys() - {()}):
            raise NotSaid("a number is needed here, without vectors")
        return value.parts.get((), self.k.zero)

    def log_normal(self, difference: Vector, variance) -> Scalar:
        """-d/2 log(2 pi v) - |difference|^2 / (2 v)"""
        half = self.k.number(Fraction(1, 2))
        d = self.k.one if self.dimension_one else self.k["d"]
        return self.plus(
            (-half, self.scalar(d * self.k.log(self.k.number(2) * self.k["pi"] * variance))),
            (self.k.divide(-half, variance), self.inner(difference, difference)),
        )

    # ---- laws

    def step(self, letter: str, i: Index, sigma: bool = False) -> Gaussian:
        """p(x_{i-1} | x_i), as the law of x_{i-1}."""
        before = shifted(i, -1)
        return Gaussian(name_of("x", before), self.mu_theta(i), self.sigma(i) ** 2)

    def mu_theta(self, i: Index, x: Vector | None = None) -> Vector:
        eps = self.network(i, x)
        root = self.k.sqrt(self.alpha(i))
        beta = self.k.one - self.alpha(i)
        return self.combine(
            (self.k.divide(self.k.one, root), x or self.x(i)),
            (self.k.divide(-beta, root * self.k.sqrt(self.k.one - self.bar(i))), eps),
        )

    def sigma(self, i: Index):
        if self.sense.sigma is not None:
            return self.k.sqrt(self.number(self.value(moved(self.sense.sigma, "t", i))))
        if self.eta:
            return self.k["\\eta"] * self.k.sqrt(self.beta_tilde(i))
        self.used.add(name_of("sigma", i))
        return self.k[name_of("sigma", i)]

    def forward_law(self, i: Index, given: list[Index]) -> Gaussian:
        """q(x_i | x_j for j in given): the nearest earlier and the nearest later of them matter."""
        below = [j for j in given if rank(j) < rank(i)]
        above = [j for j in given if rank(j) > rank(i)]
        if i in given:
            raise NotSaid(f"x_{tree.latex(i)} is on both sides of the bar")
        if not below:
            raise NotSaid(
                f"q(x_{{{tree.latex(i)}}} | ...) without an earlier x depends on the data q(x_0), which is left open here"
            )
        b = max(below, key=rank)
        a = self.between(b, i)
        mean, variance = self.combine((self.k.sqrt(a), self.x(b))), self.k.one - a
        if above:
            c = min(above, key=rank)
            e = self.between(i, c)
            rest = self.k.one - self.between(b, c)
            mean = self.combine(
                (self.k.divide(self.k.one - e, rest), mean), (self.k.divide(self.k.sqrt(e) * variance, rest), self.x(c))
            )
            variance = self.k.divide(variance * (self.k.one - e), rest)
        return Gaussian(name_of("x", i), mean, variance)

    def places(self, symbols: tuple[Sym, ...]) -> list[Index]:
        out = []
        for s in symbols:
            if s.name != "x" or s.marks or s.labels:
                raise NotSaid(f"the laws of this setting are about x_0, ..., x_T, not {tree.latex(s)}")
            for i in s.sub or (Index("", 0),):
                if isinstance(i, Range):
                    raise Concrete
                out.append(i)
        if len(set(out)) < len(out):
            raise NotSaid("the same variable twice in one density")
        return out

    def joint(self, where: list[Index]) -> Scalar:
        """log q of some x's: the earliest is left open (an unknown density), the others follow by the chain rule."""
        where = sorted(where, key=rank)
        if not where:
            return Scalar({})
        out = Scalar({(("log q", name_of("x", where[0])),): self.k.one})
        for before, i in pairwise(where):
            law = self.forward_law(i, [before])
            out = self.plus(
                (self.k.one, out),
                (self.k.one, self.log_normal(self.combine((self.k.one, self.x(i)), (-self.k.one, law.mean)), law.variance)),
            )
        return out

    def density_law(self, d: Density) -> Gaussian:
        """The Gaussian that a density of one variable is."""
        where, given = self.places(d.args), self.places(d.given)
        if d.labels and d.labels != ("sigma",):
            raise NotSaid(f"{tree.latex(d)}: this setting has one law p and one law q")
        if len(where) != 1:
            raise NotSaid("the law of one variable is needed here")
        i = where[0]
        if d.letter == "q" and d.labels == ("sigma",):
            return self.ddim(i, given)
        if d.letter == "q":
            return self.forward_law(i, given)
        if not given:
            if i.var not in {"T", ""}:
                raise NotSaid(f"p(x_{{{tree.latex(i)}}}) has no closed form here")
            return Gaussian(name_of("x", i), Vector({}), self.k.one)
        if given != [shifted(i, 1)]:
            raise NotSaid("of p this setting declares p(x_T) and p(x_{t-1} | x_t)")
        return self.step("p", given[0])

    def ddim(self, i: Index, given: list[Index]) -> Gaussian:
        """q_sigma(x_{t-1} | x_t, x_0) (Song et al. 2021, equation 7)"""
        now = shifted(i, 1)
        if set(given) == {Index("", 0)}:
            return self.forward_law(i, given)
        if set(given) != {now, Index("", 0)}:
            raise NotSaid("of q_sigma this setting declares q_sigma(x_{t-1} | x_t, x_0)")
        variance = self.sigma(now) ** 2
        return Gaussian(name_of("x", i), self.ddim_mean(i, variance, self.x(Index("", 0)), self.noise_of(now)), variance)

    def ddim_mean(self, to: Index, variance, x0: Vector, eps: Vector) -> Vector:
        b = self.bar(to)
        return self.combine((self.k.sqrt(b), x0), (self.k.sqrt(self.k.one - b - variance), eps))

    # ---- the walk

    def _free_name(self, s: Sym) -> str | None:
        """The name under which a symbol without declared meaning is a free number, else None."""
        known = {"alpha", "beta", "sigma", "Sigma", "SNR", "I", "d", "pi", "e", "t", "T", "cdot", "theta", "phi", "s_theta"}
        odd = s.name in {"alpha", "beta"} and (set(s.marks) - {"bar", "tilde"} or s.labels)
        if (s.name in VECTORS or s.name in known or (s.name in LETTERS and not s.sub and not s.marks)) and not odd:
            return None
        if s.name == "s" and "theta" in s.labels:
            return None
        return tree.latex(s)

    def value(self, node: Node):
        method = getattr(self, "_" + type(node).__name__.lower(), None)
        if method is None:
            raise NotSaid(f"a {type(node).__name__} has no meaning among the Gaussian closed forms")
        return method(node)

    def _num(self, node: Num):
        return self.scalar(self.k.number(node.value))

    def _place(self, s: Sym, args: tuple[Node, ...] = ()) -> Index:
        found = [i for i in s.sub if isinstance(i, Index)] or [i for i in map(index_of, args) if i]
        if len(found) > 1 or any(isinstance(i, Range) for i in s.sub):
            raise NotSaid(f"{tree.latex(s)} has more than one index")
        if found:
            return found[0]
        xs = [
            i for a in args if isinstance(a, Sym) and a.name == "x" for i in a.sub if isinstance(i, Index) and i != Index("", 0)
        ]
        return xs[0] if len(xs) == 1 else self.main

    def _sym(self, s: Sym, args: tuple[Node, ...] = ()):
        k, labels, marks = self.k, set(s.labels), set(s.marks)
        theta = (
            learned(s) is not None
            or ("hat" in marks and s.name in {"epsilon", "v", "x"})
            or (s.name == "x" and marks == {"tilde"} and s.sub == (Index("", 0),))
        )
        if not args:
            match s.name:
                case "I":
                    return Scalar({(): k.one}, matrix=True)
                case "d":
                    return self.scalar(k["d"])
                case "pi":
                    return self.scalar(k["pi"])
        eta = Sym("eta") if s.name == "sigma" else None
        vectors = [self.value(a) for a in args if a != eta and not index_of(a) and not self._condition(a)]
        extra = tuple(tree.latex(a) for a in args if self._condition(a))
        if any(not isinstance(v, Vector) for v in vectors):
            raise NotSaid(f"{tree.latex(s)} is a function of x's here")
        if s.name == "epsilon" and theta:
            return self.network(self._when(s, args), self._x_of(vectors), extra, learned(s))
        if s.name in {"x", "v", "s", "mu"} and theta:
            i, at = self._when(s, args), self._x_of(vectors)
            eps = self.network(i, at, extra, learned(s))
            match s.name:
                case "x":
                    return self.clean_of(i, eps, at)
                case "v":
                    return self.velocity(i, eps, self.clean_of(i, eps, at))
                case "s":
                    return self.combine((k.divide(-k.one, k.sqrt(k.one - self.bar(i))), eps))
                case "mu":
                    return self.mu_theta(i, at)
        if s.name == "x" and not marks and not labels and len(args) == 2 and len(vectors) == 2 and s.sub:
            a = self.bar(self._place(s))
            return self.combine((k.sqrt(a), vectors[0]), (k.sqrt(k.one - a), vectors[1]))
        if s.name == "mu" and ("tilde" in marks or "q" in labels):
            x, x0 = self._two(args, vectors)
            if len(vectors) == 2 and (noise := next((a for a in args if isinstance(a, Sym) and is_noise(a)), None)) is not None:
                x0 = self.clean_of(self._place(s, args), self.value(noise), x)  # \tilde\mu_t(x_t, \epsilon)
            return self.mu_tilde(self._place(s, args), x, x0)
        if s.name == "SNR":
            i = self._place(s, args)
            return self.scalar(k.divide(self.bar(i), k.one - self.bar(i)))
        if s.name in {"sigma", "Sigma"} and ("q" in labels or "theta" in labels):
            i = self._place(s, args)
            square = self.beta_tilde(i) if "q" in labels else self.sigma(i) ** 2
            return self.scalar(k.sqrt(square)) if s.name == "sigma" else Scalar({(): square}, matrix=True)
        if s.name == "sigma" and (not args or any(tree.latex(a) == r"\eta" for a in args)):
            return self.scalar(self.sigma(self._place(s)) if self.eta and not marks else k[tree.latex(s)])
        if args:
            raise NotSaid(f"{tree.latex(s)} is not a function that this setting declares")
        return self._plain(s, labels, marks)

    def _plain(self, s: Sym, labels: set[str], marks: set[str]):
        """A symbol without arguments that is no network: of the schedule, an x, a noise, or a free variable."""
        k = self.k
        match s.name, marks:
            case "alpha", m if not m and not labels:
                return self.scalar(self.alpha(self._place(s)))
            case "alpha", m if m == {"bar"} and not labels:
                return self.scalar(self.bar(self._place(s)))
            case "beta", m if not m and not labels:
                return self.scalar(k.one - self.alpha(self._place(s)))
            case "beta", m if m == {"tilde"} and not labels:
                return self.scalar(self.beta_tilde(self._place(s)))
            case "beta", m if m == {"bar"} and not labels:
                return self.scalar(k.one - self.bar(self._place(s)))
            case "x", m if not m and not labels and len(s.sub) == 1:
                return self.x(self._place(s))
            case "v", m if not m and not labels:
                i = self._place(s)
                return self.velocity(i, self.noise_of(i), self.x(Index("", 0)))
            case "Sigma", _:
                raise NotSaid(r"a general covariance \Sigma; the laws here have covariance times I")
        if is_noise(s):
            name = tree.latex(s)
            if name == self.tied and not self.loose:
                return self.noise_of(self.main, origin=self.origin)
            return Vector({name: k.one})
        if s.name in VECTORS:
            return Vector({tree.latex(s): k.one})
        if self._free_name(s) is None and tree.latex(s) not in k:
            steps = s.name in LETTERS and not s.marks and not s.labels
            why = ": it counts steps here; where the time is a number, the setting is flow or edm" if steps else ""
            raise NotSaid(f"{tree.latex(s)} stands where a number is needed{why}")
        return self.scalar(k[tree.latex(s)])

    mixed = False  # True in a search for values: vectors are numbers, so that they may be added to numbers

    def as_number(self, value) -> Scalar:
        """A vector of one dimension as the number that it is."""
        return self.inner(value, Vector({"1": self.k.one})) if isinstance(value, Vector) else value

    loose = False  # True while reading a line in law: the noise symbols stand for themselves

    @staticmethod
    def _condition(a: Node) -> bool:
        """Whether an argument is a condition (a prompt), not an x or an index."""
        return isinstance(a, Sym) and a.name in {"c", "y", "emptyset", "varnothing"}

    def _when(self, s: Sym, args: tuple[Node, ...]) -> Index:
        if s.name == "x" and s.sub == (Index("", 0),):
            s = replace(s, sub=())
        return self._place(s, args)

    @staticmethod
    def _x_of(vectors: list[Vector]) -> Vector | None:
        if len(vectors) > 1:
            raise NotSaid("a network takes one x")
        return vectors[0] if vectors else None

    def _two(self, args: tuple[Node, ...], vectors: list[Vector]) -> tuple[Vector | None, Vector | None]:
        if not vectors:
            return None, None
        if len(vectors) != 2:
            raise NotSaid(r"\tilde\mu_t is a function of x_t and x_0")
        first = next(a for a in args if not index_of(a))
        clean = isinstance(first, Sym) and first.name == "x" and first.sub == (Index("", 0),)
        return (vectors[1], vectors[0]) if clean else (vectors[0], vectors[1])

    def _apply(self, node: Apply):
        if node.head == Sym("H") and isinstance(node.args[0], Normal):
            return self.entropy(self.law(node.args[0]))
        if node.head == Sym("C"):
            return self.scalar(self.k[tree.latex(node)])  # any function of what stands in its bracket
        if node.head == Sym("sigmoid") and isinstance(node.args[0], Func) and node.args[0].name == "log":
            odds = self.number(self.value(node.args[0].body))
            return self.scalar(self.k.divide(odds, self.k.one + odds))
        return self._sym(node.head, node.args)

    def _add(self, node: Add):
        return self.sum([self.value(t) for t in node.terms])

    def sum(self, terms: list):
        terms = [t for t in terms if not (isinstance(t, Scalar) and not t.parts)] or [Scalar({})]
        if all(isinstance(t, Vector) for t in terms):
            return self.combine(*((self.k.one, t) for t in terms))
        if all(isinstance(t, Scalar) for t in terms):
            if len({t.matrix for t in terms}) > 1:
                raise NotSaid("a number is added to a matrix")
            return self.plus(*((self.k.one, t) for t in terms))
        if len(terms) == 1:
            return terms[0]
        if self.mixed and all(isinstance(t, Scalar | Vector) for t in terms):
            return self.plus(*((self.k.one, self.as_number(t)) for t in terms))
        kinds = sorted({type(t).__name__.lower() for t in terms})
        raise NotSaid(f"a {kinds[0]} is added to a {kinds[-1]}" if len(kinds) > 1 else f"a sum of {kinds[0]} values")

    def _neg(self, node: Neg):
        return self.multiply(self.scalar(-self.k.one), self.value(node.body))

    def _mul(self, node: Mul):
        out = self.value(node.factors[0])
        for f in node.factors[1:]:
            out = self.multiply(out, self.value(f))
        return out

    def multiply(self, a, b):
        if isinstance(a, Positive) or isinstance(b, Positive):
            return Positive(self.plus((self.k.one, self.log_of(a)), (self.k.one, self.log_of(b))))
        if isinstance(a, Vector) and isinstance(b, Vector):
            if not self.dimension_one and not self.numbers:
                raise NotSaid("a product of two vectors")
            return self.inner(a, b)
        if isinstance(a, Scalar) and isinstance(b, Scalar):
            return self.times(a, b)
        if isinstance(b, Scalar):
            a, b = b, a
        if isinstance(b, Norm) and isinstance(a, Scalar) and self.k.sign(self.number(a)) == 1:
            return Norm(self.times(self.times(a, a), b.square))
        if not isinstance(b, Vector):
            raise NotSaid("a law cannot be multiplied")
        return self.combine((self.number(a), b))

    def _div(self, node: Div):
        if isinstance(node.top, Grad) and node.top.body == node.bottom and isinstance(node.bottom, Density):
            return self._grad(replace(node.top, body=Func("log", node.bottom)))  # \nabla p / p
        return self.quotient(self.value(node.top), self.value(node.bottom))

    def quotient(self, a, b):
        if isinstance(a, Positive) or isinstance(b, Positive):
            return Positive(self.plus((self.k.one, self.log_of(a)), (-self.k.one, self.log_of(b))))
        return self.multiply(self.scalar(self.k.divide(self.k.one, self.number(b))), a)

    def log_of(self, value) -> Scalar:
        if isinstance(value, Positive):
            return value.log
        return self.scalar(self.k.log(self.number(value)))

    def _pow(self, node: Pow):
        base = self.value(node.base)
        if node.exponent == Sym("T") and isinstance(base, Scalar) and base.matrix:
            return base  # the transpose of a multiple of I
        if isinstance(node.base, Sym) and node.base.name == "e":
            return Positive(self._scalar_of(self.value(node.exponent)))
        exponent = self.value(node.exponent)
        power = self._fraction(exponent)
        if isinstance(base, Vector) and power == 2:
            return self.inner(base, base)  # (a - b)^2 for |a - b|^2, as people write it
        if isinstance(base, Norm) and power == 2:
            return base.square
        if power is None or isinstance(base, Positive):
            return Positive(self.times(self._scalar_of(exponent), self.log_of(base)))
        if isinstance(base, Norm):
            raise NotSaid("a norm that is not squared")
        if not isinstance(base, Scalar):
            raise NotSaid("a power of a vector")
        if abs(power) > 12:
            raise NotSaid("a power beyond 12")
        if power.denominator == 2:
            root = self.k.sqrt(self.number(base))
            return self.scalar(self._int_power(root, power.numerator))
        if power.denominator != 1:
            raise NotSaid("a power that is neither whole nor half")
        if power >= 0:
            out = self.scalar(self.k.one)
            for _ in range(int(power)):
                out = self.times(out, base)
            return out
        return self.scalar(self._int_power(self.number(base), int(power)))

    def _int_power(self, x, n: int):
        return x**n if n >= 0 else self.k.divide(self.k.one, x**-n)

    def _scalar_of(self, value) -> Scalar:
        if self.mixed:
            value = self.as_number(value)
        if not isinstance(value, Scalar):
            raise NotSaid("a number is needed in the exponent")
        return value

    def _fraction(self, value) -> Fraction | None:
        """A value as a rational constant, or None."""
        if not isinstance(value, Scalar) or value.parts.keys() - {()}:
            return None
        x = value.parts.get((), self.k.zero)
        return self.k.rational(x)

    def _func(self, node: Func):
        powers_of_e, body = _without_e(node.body) if node.name == "log" else (0, node.body)
        body = self.value(body)
        match node.name:
            case "sqrt" if isinstance(body, Positive):
                return Positive(self.plus((self.k.number(Fraction(1, 2)), body.log)))
            case "sqrt":
                return replace(self.scalar(self.k.sqrt(self.number(body))), matrix=body.matrix)
            case "log":
                return self.plus((self.k.one, self.log_of(body)), (self.k.number(powers_of_e), self.scalar(self.k.one)))
            case "exp":
                return Positive(self._scalar_of(body))
            case "norm" if isinstance(body, Vector):
                return Norm(self.inner(body, body))
            case "norm" if isinstance(body, Scalar):
                return Norm(self.times(body, body))
        raise NotSaid(f"{node.name} of this has no meaning here")

    def _normal(self, node: Normal):
        mean = self.value(node.mean)
        mean = Vector({}) if isinstance(mean, Scalar) and not mean.parts else mean
        if not isinstance(mean, Vector):
            if self.dimension_one and isinstance(mean, Scalar) and not mean.parts.keys() - {()}:
                mean = Vector({"1": self.number(mean)})
            else:
                raise NotSaid("the mean of a normal must be a vector")
        variance = self.number(self.value(node.cov))
        if node.x is None:
            return Gaussian(None, mean, variance)
        x = self.value(node.x)
        if not isinstance(x, Vector):
            raise NotSaid("the variable of a normal density must be a vector")
        return Positive(self.log_normal(self.combine((self.k.one, x), (-self.k.one, mean)), variance))

    def _density(self, d: Density):
        if not d.args:
            raise NotSaid(f"{d.letter} of what?")
        if self._is_open(d):
            return self._open_density(d)
        if d.letter == "q" and not d.labels:
            a, b = self.places(d.args), self.places(d.given)
            if set(a) & set(b):
                raise NotSaid("the same variable before and after the bar")
            return Positive(self.plus((self.k.one, self.joint(a + b)), (-self.k.one, self.joint(b))))
        where = self.places(d.args)
        if d.letter == "p" and len(where) > 1:
            return self._joint_p(where, self.places(d.given))
        law = self.density_law(d)
        return Positive(self.log_normal(self.combine((self.k.one, self.x(where[0])), (-self.k.one, law.mean)), law.variance))

    @staticmethod
    def _is_open(d: Density) -> bool:
        """Whether a density speaks of a label y, or of an x whose law has no closed form."""
        if any(s.name != "x" or s.marks or s.labels or not s.sub for s in (*d.args, *d.given)):
            return True
        alone = d.letter == "p" and len(d.args) == 1 and not d.given
        return alone and d.args[0].sub[0] not in {Index("T", 0), *(Index("", k) for k in range(1, 99))}

    def _open_density(self, d: Density) -> Positive:
        both, given = ({tree.latex(s) for s in part} for part in ((*d.args, *d.given), d.given))
        if {s.name for s in (*d.args, *d.given)} - {"x", "y", "c"} or sum(s.name == "x" for s in (*d.args, *d.given)) > 1:
            raise NotSaid("the laws of this setting are about x_0, ..., x_T, and about one x with a label y or c")
        out = Scalar({})
        for names, sign in ((both, self.k.one), (given, -self.k.one)):
            if names:
                title = f"{tree.latex(Density(d.letter, labels=d.labels))}({', '.join(sorted(names))})"
                (only, *more) = sorted(names)
                title = only if d.letter == "q" and not d.labels and not more and only.startswith("x_") else title
                if title != only:
                    self.open[title] = frozenset(names)
                out = self.plus((self.k.one, out), (sign, Scalar({(("log q", title),): self.k.one})))
        return Positive(out)

    def _joint_p(self, where: list[Index], given: list[Index]) -> Positive:
        """p of a run of x's that ends at x_T or is given the next one."""
        where = sorted(where, key=rank)
        last = where[-1]
        steps = [shifted(i, 1) for i in where[:-1]]
        if steps != where[1:] or given not in ([], [shifted(last, 1)]):
            raise NotSaid("of p this setting declares p(x_T) and p(x_{t-1} | x_t)")
        out = self._density(Density("p", (Sym("x", (last,)),), tuple(Sym("x", (g,)) for g in given)))
        for i in where[:-1]:
            out = self.multiply(out, self._density(Density("p", (Sym("x", (i,)),), (Sym("x", (shifted(i, 1),)),))))
        return out

    def law(self, node: Node) -> Gaussian:
        """A node as a Gaussian law: a density of one variable, or N(...)."""
        if isinstance(node, Density):
            if not node.args:
                raise NotSaid(f"{node.letter} of what?")
            return self.density_law(node)
        if isinstance(node, Add) and all(isinstance(t, Normal) and t.x is None for t in node.terms):
            laws = [self.law(t) for t in node.terms]  # the sum of independent variables with these laws
            variance = self.k.zero
            for one in laws:
                variance = variance + one.variance
            return Gaussian(None, self.combine(*((self.k.one, one.mean) for one in laws)), variance)
        if isinstance(node, Normal):
            law = self._normal(replace(node, x=None))
            x = None if node.x is None else self.value(node.x)
            return replace(law, of=next(iter(x.parts)) if isinstance(x, Vector) and len(x.parts) == 1 else None)
        raise NotSaid("a law is needed here: q(...), p(...) or N(...)")

    def _kl(self, node: KL) -> Scalar:
        p, q = self.law(node.left), self.law(node.right)
        if p.of and q.of and p.of != q.of:
            raise NotSaid(f"a KL between laws of different variables, {p.of} and {q.of}")
        k, half = self.k, self.k.number(Fraction(1, 2))
        d = k.one if self.dimension_one else k["d"]
        ratio = k.divide(p.variance, q.variance)
        gap = self.combine((k.one, p.mean), (-k.one, q.mean))
        return self.plus(
            (half * d, self.scalar(ratio - k.one - k.log(ratio))), (k.divide(half, q.variance), self.inner(gap, gap))
        )

    def _grad(self, node: Grad) -> Vector:
        var = node.var
        if var is None:
            inside = next((n for n in tree.walk(node.body) if isinstance(n, Density) and n.args), None)
            if inside is None:
                raise NotSaid("a gradient with respect to what?")
            var = inside.args[0]
        target = self.value(var)
        if not isinstance(target, Vector) or len(target.parts) != 1:
            raise NotSaid(f"a gradient with respect to {tree.latex(var)}")
        name = next(iter(target.parts))
        body = self.value(node.body)
        if isinstance(body, Positive):
            raise NotSaid("the gradient of a density; take the gradient of its logarithm")
        return self.gradient(self._scalar_of(body), name)

    def gradient(self, body: Scalar, name: str) -> Vector:
        out: list[tuple[Any, Vector]] = []
        for key, c in body.parts.items():
            if not any(self._depends(n, name) for atom in key for n in atom):
                continue
            if len(key) != 1 or len(key[0]) != 2:
                raise NotSaid("the gradient of something this setting leaves open")
            u, v = key[0]
            if u == "log q":
                out.append((c, self.score(v, name)))
                continue
            if (u != name and self._depends(u, name)) or (v != name and self._depends(v, name)):
                raise NotSaid("the gradient through a network")
            out += [(c, Vector({v: self.k.one}))] * (u == name) + [(c, Vector({u: self.k.one}))] * (v == name)
        return self.combine(*out)

    def score(self, density: str, name: str) -> Vector:
        """The gradient of log q(x_t), or of another density that is left open, in one of its variables."""
        if self.world and density not in self.open:  # the data are one point
            i = next((p for p in self.points if name_of("x", p) == density), START)
            return self.combine((self.k.divide(-self.k.one, self.k.sqrt(self.k.one - self.bar(i))), self.noise_of(i)))
        title = density if density in self.open else f"q({density})"
        out = rf"\nabla_{{{name}}} \log {title}"
        self.scores[out] = self.open.get(density, frozenset([density]))
        return Vector({out: self.k.one})

    def mean_of_data(self, i: Index) -> Vector:
        """E[x_0 | x_i] = (x_i + (1 - \\bar\\alpha_i) score) / sqrt(\\bar\\alpha_i)   (Tweedie's formula)"""
        root, name = self.k.sqrt(self.bar(i)), name_of("x", i)
        return self.combine(
            (self.k.divide(self.k.one, root), self.x(i)),
            (self.k.divide(self.k.one - self.bar(i), root), self.score(name, name)),
        )

    def _depends(self, n: str, name: str) -> bool:
        return (
            n == name
            or (n in self.networks and name in self.networks[n].parts)
            or name in self.open.get(n, ())
            or name in self.scores.get(n, ())
        )

    # ---- averages

    def _expect(self, node: Expect):
        return Average(self, node).result()

    def _covariance(self, node: Covariance):
        """The factor before I in E[(left - E left)(right - E right)^T | given], under q."""
        given = self.places(node.given)
        left, right = (self.value(n) for n in (node.of[0], node.of[-1]))
        if not isinstance(left, Vector) or not isinstance(right, Vector):
            raise NotSaid("variances and covariances are of x's and noises here")
        total = self.k.zero
        noises = [self.independent(v, given, {*left.parts, *right.parts}) for v in (left, right)]
        for n in noises[0].keys() & noises[1].keys():
            total += noises[0][n] * noises[1][n]
        return replace(self.scalar(total), matrix=not self.dimension_one)

    def _info(self, node: Info) -> Scalar:
        if node.kind != "H" or not node.pointwise:
            raise NotSaid("of information this setting knows H(q(x_t | x_0)) and the like")
        return self.entropy(self.density_law(Density(node.letter, node.groups[0], node.given)))

    def entropy(self, law: Gaussian) -> Scalar:
        """d/2 (log(2 pi v) + 1)"""
        d = self.k.one if self.dimension_one else self.k["d"]
        volume = self.k.number(2) * self.k["pi"] * law.variance
        return self.scalar(self.k.number(Fraction(1, 2)) * d * (self.k.log(volume) + self.k.one))

    def independent(self, v: Vector, given: list[Index], names: set[str]) -> dict[str, Any]:
        """The parts of a vector that are random once some x's are given, as independent standard noises. names: all vectors that
        are drawn together with it."""
        at = {name_of("x", i): i for i in (START, *self.points)}
        out: dict[str, Any] = {}
        known = sorted(given, key=rank)
        start = known[0] if known else START
        pending = sorted((at[n] for n in names if n in at and at[n] not in given), key=rank)
        if pending and (not known or rank(pending[0]) < rank(start)):
            raise NotSaid(f"the variance of {name_of('x', pending[0])} depends on the data q(x_0), which is left open here")
        shares: dict[Index, Vector] = {}  # each x as noises, conditioning from the earliest on
        for i in pending:
            law = self.forward_law(i, known)
            mine = {f"noise of {name_of('x', i)}": self.k.sqrt(law.variance)}
            for n, c in law.mean.parts.items():
                for m, a in shares.get(at[n], Vector({})).parts.items():
                    mine[m] = mine.get(m, self.k.zero) + c * a
            shares[i] = Vector(mine)
            known.append(i)
        for n, c in v.parts.items():
            if n in at:
                if at[n] in shares:
                    for m, a in shares[at[n]].parts.items():
                        out[m] = out.get(m, self.k.zero) + c * a
            elif n in self.noises:
                out[n] = out.get(n, self.k.zero) + c
            else:
                raise NotSaid(f"the variance of {n}")
        return out

    def _integral(self, node: Integral):
        body = self.value(node.body)
        if not isinstance(body, Positive):
            raise NotSaid("an integral of something that is not a product of densities")
        log = body.log
        for s in node.vars:
            v = self.value(s)
            if not isinstance(v, Vector) or len(v.parts) != 1:
                raise NotSaid(f"an integral over {tree.latex(s)}")
            log = self.integrate(log, next(iter(v.parts)))
        return Positive(log)

    def integrate(self, log: Scalar, name: str) -> Scalar:
        """log of the integral over `name` of exp(log), for a Gaussian integrand: -P/2 |x|^2 + <h, x> + c."""
        k = self.k
        rest: dict[Key, Any] = {}
        precision, linear = k.zero, []
        for key, c in log.parts.items():
            inside = [atom for atom in key if any(self._depends(n, name) for n in atom)]
            if not inside:
                rest[key] = c
            elif len(key) > 1 or key[0][0] == "log q" or len(key[0]) > 2:
                raise NotSaid("an integral over a density this setting leaves open")
            elif key[0] == (name, name):
                precision -= k.number(2) * c
            else:
                u, v = key[0]
                other = v if u == name else u
                if self._depends(other, name) or name not in key[0]:
                    raise NotSaid("an integral through a network")
                linear.append((c, Vector({other: k.one})))
        if k.zero_test(precision):
            raise NotSaid("an integral that is infinite")
        h = self.combine(*linear)
        half = k.number(Fraction(1, 2))
        d = k.one if self.dimension_one else k["d"]
        return self.plus(
            (k.one, Scalar(rest)),
            (k.divide(half, precision), self.inner(h, h)),
            (half, self.scalar(d * k.log(k.divide(k.number(2) * k["pi"], precision)))),
        )

    # ---- products

    def _big(self, node: Big):
        """A product of alphas and \\bar\\alphas telescopes; every other sum or product is done for concrete t."""
        if node.kind != "prod" or node.low is None or node.high is None:
            raise Concrete
        inner = Meaning(node.body, room(5))
        if {i.var for i in inner.points} != {node.var}:
            raise Concrete
        body = inner.value(node.body)
        if not isinstance(body, Scalar):
            raise Concrete
        gaps = {}
        for f, power in inner.k.factors(inner.number(body)):
            place = next((j for j in range(len(inner.points)) if f == (inner.k.one + inner.k[f"g{j}"]).top), None)
            if not place or shifted(inner.points[place - 1], 1) != inner.points[place]:
                raise Concrete  # \bar\alpha itself, a constant, a beta: no closed form
            gaps[inner.points[place].shift] = -power
        out = self.k.one
        for shift, power in gaps.items():
            ratio = self.between(shifted(node.low, shift - 1), shifted(node.high, shift))
            whole = self.k.sqrt(ratio) if power.denominator == 2 else ratio
            out *= self._int_power(whole, power.numerator)
        return self.scalar(out)


def _without_e(node: Node) -> tuple[int, Node]:
    """(n, rest) where the formula is e^n times rest, with Euler's number written as a factor."""
    if node == Sym("e"):
        return 1, Num(Fraction(1))
    if isinstance(node, Mul):
        pieces = [_without_e(f) for f in node.factors]
        return sum(n for n, _ in pieces), Mul(tuple(f for _, f in pieces))
    return 0, node


@dataclass(frozen=True)
class Norm:
    """A norm; only its square is a value here."""

    square: Scalar


class Average:
    """One expectation: draws Gaussian variables by substitution, leaves averages over data, network and t unevaluated.

    An inner product left unevaluated carries the names of what it is averaged over: (u, v, draw, ...). Two sides are then
    equal if they average the same thing over the same laws; that they differ is never concluded from such atoms alone.
    """

    def __init__(self, meaning: Meaning, node: Expect):
        self.m, self.node, self.k = meaning, node, meaning.k
        self.draws: list[tuple[str, Gaussian]] = []
        self.open: list[tuple[str, Index | None]] = []  # variables of unknown law: x_0, and the x that it is given
        self.over_t = False
        self.body = meaning.value(node.body)
        if isinstance(self.body, Norm):
            raise NotSaid("the average of a norm that is not squared")
        for law in node.laws if not node.given else ():
            self._law(law)
        given = meaning.places(node.given)
        if given and any(law.vars or not isinstance(law.dist, Density) or law.dist.args for law in node.laws):
            raise NotSaid("an average with a law and a condition besides; write one of them")
        if given:
            self._everything(given)
        elif not node.laws:
            self._everything([])

    def _names(self) -> set[str]:
        """The vectors that occur in the body, also inside networks."""
        if isinstance(self.body, Vector):
            names = set(self.body.parts)
        else:
            scalar = self.body.log if isinstance(self.body, Positive) else self.body
            names = {n for key in scalar.parts for atom in key for n in atom}
        return names | {n for net in names & self.m.networks.keys() for n in self.m.networks[net].parts}

    def _everything(self, given: list[Index]) -> None:
        names = self._names()
        where = [i for i in (Index("", 0), *self.m.points) if name_of("x", i) in names and i not in given]
        self._draw(where, given, always_start=not given)

    def _draw(self, where: list[Index], given: list[Index], always_start: bool = False) -> None:
        known = list(given)
        zero = Index("", 0)
        late = bool(known) and any(rank(i) < min(map(rank, known)) for i in where)  # x_{t-1} | x_t: by way of x_0 | x_t
        if (always_start or late) and zero not in known:
            self.open.append((name_of("x", zero), min(known, key=rank) if known else None))
            known.append(zero)
        for i in sorted(where, key=rank):
            if i in known:
                continue
            if i == zero:
                self.open.append((name_of("x", zero), None))
            else:
                self.draws.append((name_of("x", i), self.m.forward_law(i, known)))
            known.append(i)

    def _law(self, law: Law) -> None:
        m, zero = self.m, Index("", 0)
        names = [s for s in law.vars if not (s.name in LETTERS and not s.sub)]
        self.over_t |= len(names) < len(law.vars)
        dist = law.dist
        if dist is None or (isinstance(dist, Density) and not dist.args):
            if not law.vars:
                return self._everything([])
            xs = [s for s in names if s.name == "x" and not s.marks]
            if any(isinstance(i, Range) for s in xs for i in s.sub):
                return self._everything([] if any(self._starts(s) for s in xs) else [zero])
            where = m.places(tuple(xs))
            if zero in where:
                self.open.append((name_of("x", zero), None))
            self._draw([i for i in where if i != zero], [zero])
            for s in names:
                if s not in xs:
                    self._noise(s, Gaussian(None, Vector({}), self.k.one))
        elif isinstance(dist, Density) and dist.letter == "q":
            args = dist.args
            given = m.places(dist.given)
            if any(isinstance(i, Range) for s in args for i in s.sub):
                return self._everything(given)
            where = m.places(args)
            self._draw(where, given, always_start=not given)
        elif isinstance(dist, Density):
            found = m.density_law(dist)
            self.draws.append((found.of or "", found))
        elif isinstance(dist, Normal) and dist.x is None and len(names) == 1:
            self._noise(names[0], m.law(dist))
        elif names or dist is None:
            raise NotSaid("an average over a law this setting does not declare")
        return None

    @staticmethod
    def _starts(s: Sym) -> bool:
        return any(isinstance(i, Range) and i.low == Index("", 0) for i in s.sub)

    def _noise(self, s: Sym, law: Gaussian) -> None:
        m = self.m
        standard = not law.mean.parts and m.k.zero_test(law.variance - m.k.one)
        if is_noise(s) and tree.latex(s) == m.tied and standard:
            self.draws.append((name_of("x", m.main), m.forward_law(m.main, [m.origin])))
            return
        value = m.value(s)
        if not isinstance(value, Vector) or len(value.parts) != 1:
            raise NotSaid(f"an average over {tree.latex(s)}")
        self.draws.append((next(iter(value.parts)), law))

    def result(self):
        out = self.body
        if isinstance(out, Positive):
            raise NotSaid("the average of a density")
        for name, law in reversed(self.draws):
            out = self._over(out, name, law)
        if not self.m.world:
            for name, given in self.open:
                out = self._over(out, name, None, given)
            if self.over_t and isinstance(out, Scalar):
                self.m.marked = True
                out = Scalar(
                    {
                        (*key, ("over t",)) if key or self.m._fraction(Scalar({(): c})) is None else key: c
                        for key, c in out.parts.items()
                    },
                    out.matrix,
                )
        return out

    def _over(self, value, name: str, law: Gaussian | None, given: Index | None = None):
        """Average over one variable: of the given law, or of unknown law (None): that of the data, or of the data given an x."""
        m, k = self.m, self.k
        if given and isinstance(value, Vector) and not any(self._reaches(n, name) for n in value.parts):
            rest = {n: c for n, c in value.parts.items() if n != name}
            return m.combine((k.one, Vector(rest)), (value.parts.get(name, k.zero), m.mean_of_data(given)))
        noise = f"noise of {name}"
        draw = f"{name} | {', '.join(sorted(law.mean.parts))}" if law else f"{name} ~ data"
        draw = f"{name} | {name_of('x', given)}" if given else draw
        new = (
            Vector({name: k.one})
            if law is None
            else m.combine((k.one, law.mean), (k.sqrt(law.variance), Vector({noise: k.one})))
        )
        touched = {n for n in m.networks if self._reaches(n, name)}

        def random(n: str) -> bool:
            return n in touched or (law is None and n == name) or n == noise

        if isinstance(value, Vector):
            out = Vector({})
            for n, c in value.parts.items():
                if n == name and law is not None:
                    out = m.combine((k.one, out), (c, law.mean))
                elif n in touched or n == name or self._reaches(n, name):
                    m.marked = True
                    out = m.combine((k.one, out), (c, Vector({f"mean of {n} over {draw}": k.one})))
                else:
                    out = m.combine((k.one, out), (c, Vector({n: k.one})))
            return out
        d = k.one if m.dimension_one else k["d"]
        total = Scalar({})
        for key, c in m._scalar_of(value).parts.items():
            part = m.scalar(k.one)
            hit = [atom for atom in key if any(n == name or self._reaches(n, name) for n in atom)]
            if len(hit) > 1:
                raise NotSaid("the average of a product of inner products")
            for atom in key:
                if atom not in hit:
                    part = m.times(part, Scalar({(atom,): k.one}))
                    continue
                if atom[0] == "log q":
                    m.marked = True
                    part = m.times(part, Scalar({((*atom, draw),): k.one}))
                    continue
                u, v, *before = atom
                pieces = m.inner(new if u == name else Vector({u: k.one}), new if v == name else Vector({v: k.one}))
                averaged = Scalar({})
                for ((a, b),), w in pieces.parts.items():
                    if (a, b) == (noise, noise):
                        term = m.scalar(d)
                    elif noise in (a, b) and not (a in touched or b in touched):
                        continue
                    elif before or random(a) or random(b):
                        m.marked = True
                        term = Scalar({((a, b, *sorted({*before, draw})),): k.one})
                    else:
                        term = Scalar({((a, b),): k.one})
                    averaged = m.plus((k.one, averaged), (w, term))
                part = m.times(part, averaged)
            total = m.plus((k.one, total), (c, part))
        return replace(total, matrix=value.matrix)

    def _reaches(self, n: str, name: str) -> bool:
        """Whether the vector n, or a law already averaged over, depends on `name`."""
        if n in self.m.scores:
            return name in self.m.scores[n]
        if n in self.m.networks:
            return any(self._reaches(x, name) or x == name for x in self.m.networks[n].parts)
        if " | " in n:
            return name in n.split(" | ")[1].split(", ")
        return False
