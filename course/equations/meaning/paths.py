r"""Paths from data to noise: x_t = a(t) x_0 + s(t) epsilon with a standard normal epsilon, for a time t that is a number.

A path is declared in a TOML file: the letters of data, noise and time, the two factors, and whatever else has a name, each a formula
in LaTeX (flow.toml and edm.toml, beside this file). From these lines follow

    q(x_t | x_0) = N(x_t; a x_0, s^2 I),   E[a x_0 + s epsilon | x_t] = x_t,   E[x_0 | x_t] = (x_t + s^2 \nabla log q(x_t)) / a
    A_theta(x_t, t)   the formula of A with the network's guesses for x_0 and epsilon in place of them; all guesses at one point are
                      one network's: a \hat x_0 + s \hat\epsilon = x_t
    A(x_t, t)         the average of A given x_t
    dA/dt             the derivative of A along the line of one x_0 and one epsilon

The third equation is Tweedie's formula (Efron 2011); it is taken over. `normal` writes a formula of a text in the letters of this
list, and PathMeaning gives these their values: everything else is as in closed_forms.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from course.equations.meaning.closed_forms import (
    START,
    Gaussian,
    Line,
    Meaning,
    NotSaid,
    Positive,
    Vector,
    in_one_dimension,
    is_noise,
    learned,
    name_of,
)
from course.equations.meaning.masked import Masked, MaskedMeaning
from course.equations.reading import tree
from course.equations.reading.reader import read
from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Covariance,
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
    Sym,
)

NOW = Index("t", 0)
X, DATA, NOISE, TIME = Sym("x", (NOW,)), Sym("x", (START,)), Sym("epsilon"), Sym("t")
ZERO, ONE, TWO = (Num(Fraction(n)) for n in (0, 1, 2))
FLOW = (
    "the theorem of flow matching: the flow whose velocity at x_t is the mean of dx_t/dt there has the densities of the path "
    "(Lipman et al. 2023); it is taken over, not proved"
)
TWEEDIE = r"Tweedie's formula: E[x_0 | x_t] follows from the score of q(x_t); it is taken over, not proved"
TAKEN_OVER = (FLOW, TWEEDIE)


def formula(text: str) -> Node:
    """A formula of a setting file."""
    return read(text + " = 0").written[0].terms[0]


@dataclass(frozen=True)
class Path:
    r"""One way to read the letters of a text about a path.

    data, noise, time: the letters; signal, level: the factors a and s, as formulas of the time; upto: where the time ends (1), or None.
    letters:  further names and what they stand for, in these letters.
    at:       where a network of a letter is asked, if not at x_t and t: ("F", "c_{in} x, c_{noise}").
    positive: further numbers that are positive.
    said:     the reading in words. only: "x_1" if a text must write this letter to be read so, "stated" if it must say what x_t is.
    """

    data: str
    noise: str
    time: str
    signal: str
    level: str
    upto: int | None = None
    letters: tuple[tuple[str, str], ...] = ()
    at: tuple[tuple[str, str], ...] = ()
    positive: tuple[str, ...] = ()
    said: str = ""
    only: str = ""

    @cached_property
    def own(self) -> dict[Node, Node]:
        """The letters of the setting by their plain symbols, as formulas in x_t, x_0, epsilon and t."""
        out: dict[Node, Node] = {_plain(formula(self.data)): DATA, _plain(formula(self.noise)): NOISE}
        for name, meaning in self.letters:
            out[_plain(formula(name))] = self._in(formula(meaning), out)
        return out

    @cached_property
    def levels(self) -> tuple[Node, Node]:
        return self._in(formula(self.signal), {}), self._in(formula(self.level), {})

    @cached_property
    def asked(self) -> dict[str, tuple[Node, ...]]:
        return {name: tuple(self._in(formula(part), self.own) for part in where.split(";")) for name, where in self.at}

    @cached_property
    def clock(self) -> Sym:
        time = formula(self.time)
        assert isinstance(time, Sym)
        return time

    def check(self) -> None:
        """Read everything once. Raises ReadError or NotSaid."""
        if not isinstance(formula(self.time), Sym):
            raise NotSaid(f"the time {self.time} must be one letter")
        _ = self.own, self.levels, self.asked
        for part in self.levels:
            if odd := next((n for n in tree.walk(part) if isinstance(n, Sym) and n != TIME and n.sub != (NOW,)), None):
                raise NotSaid(f"signal and level are formulas of the time {self.time}, without {tree.latex(odd)}")

    @property
    def range(self) -> str:
        return f"every 0 < {self.time} < {self.upto}" if self.upto else f"every {self.time} > 0"

    def knows(self, name: Node) -> bool:
        """Does the setting give this name a meaning?"""
        head = name.head if isinstance(name, Apply) else name
        if not isinstance(head, Sym):
            return True
        if head.labels == ("t'",):
            head = _primed(head)
        if tree.latex(head) in self.positive:
            return True
        if head.name == self.clock.name:
            return head == self.clock  # and not a step of a grid, sigma_data or t'
        if self.is_level(head):
            return True
        known = head.name in ("x", "d", "I", "pi", "e", "SNR") or (head.name == "s" and learned(head) is not None)
        return known or _plain(head) in self.own

    def is_level(self, s: Sym) -> bool:
        """alpha_t and sigma_t, at any time, where the path leaves them open."""
        s = _primed(s) if s.labels == ("t'",) else s
        names = {n.name for p in self.levels for n in tree.walk(p) if isinstance(n, Sym) and n.sub == (NOW,)}
        return s.name in names and len(s.sub) == 1 and not s.marks and not s.labels

    @staticmethod
    def is_time(s: Sym) -> bool:
        """t, s and t' are times, as numbers."""
        return s.name in {"t", "s"} and not s.sub and not s.labels and s.marks in ((), ("prime",))

    # ---- a text's formula in the letters of this file

    def normal(self, node: Node) -> Node:
        return self._in(node, self.own)

    def both(self, left: Node, right: Node) -> tuple[Node, Node]:
        """Two sides of a relation. A derivative beside what is known from x_t alone is the velocity of the flow through x_t: the mean
        of the velocities there, or, beside a network, what the network's guesses make of it."""
        out = [self.normal(left), self.normal(right)]
        moving = [self.moving(side) for side in (left, right)]
        if moving[0] != moving[1]:
            n = moving.index(True)
            if any(isinstance(m, Apply) and m.head.labels == ("theta",) for m in tree.walk(out[1 - n])):
                out[n] = self._guess(out[n], None, ZERO, self.own)
            elif not _of_one_line(out[1 - n]) and any(isinstance(m, Expect | Grad) for m in tree.walk(out[1 - n])):
                out[n] = Expect((), out[n], (X,))
        return out[0], out[1]

    @staticmethod
    def moving(side: Node) -> bool:
        """Does a side of a relation hold a derivative?"""
        return any(
            (isinstance(n, Div) and _differential(n.bottom) is not None and (_differential(n.top) is not None or n.top == Sym("d")))
            or (isinstance(n, Sym) and n.marks == ("dot",))
            for n in tree.walk(side)
        )

    def _in(self, node: Node, own: dict[Node, Node]) -> Node:
        match node:
            case Div(top, bottom) if (by := _differential(bottom)) is not None and (of := _differential(top)) is not None:
                return self.derivative(self._in(of, own), self._in(by, own))
            case Mul((Div(Sym("d", (), (), ()), bottom), *rest)) if rest and (by := _differential(bottom)) is not None:
                of = rest[0] if len(rest) == 1 else Mul(tuple(rest))
                return self.derivative(self._in(of, own), self._in(by, own))
            case Apply(Sym("SNR"), args):
                return self._at(Div(Pow(self.levels[0], TWO), Pow(self.levels[1], TWO)), args)
            case Apply(head, args):
                return self._named(head, args, own) or replace(node, args=tuple(self._in(a, own) for a in args))
            case Sym(_, _, ("dot",), _):
                return self.derivative(self._in(replace(node, marks=()), own), TIME)
            case Sym(_, _, _, ("t'",)):
                return self._letter(_primed(node), own)
            case Sym():
                return self._letter(node, own)
            case Density():
                return self._density(node)
            case Expect(laws, body, given):
                kept = tuple(self._law(law) for law in laws)
                return Expect(kept, self._in(body, own), tuple(self._variable(s) for s in given))
            case Covariance(of, given):
                return Covariance(tuple(self._in(n, own) for n in of), tuple(self._variable(s) for s in given))
            case Grad(var, body):
                return Grad(None if var is None else self._variable(var), self._in(body, own))
        return tree.rebuild(node, lambda child: self._in(child, own))

    def _letter(self, s: Sym, own: dict[Node, Node]) -> Node:
        if s == self.clock:
            return TIME
        if self.clock.name == "t" and s == Sym("t", (), ("prime",)):
            return s
        if (found := self._named(s, None, own)) is not None:
            return found
        return self._variable(s) if s.name == "x" else s

    def _variable(self, s: Sym) -> Sym:
        """x, x_t, the letter of the data or of the noise, in the letters of this file."""
        plain = _plain(s)
        if plain == _plain(formula(self.data)):
            return DATA
        if plain == _plain(formula(self.noise)):
            return NOISE
        if s == self.clock:
            return TIME
        if s.name != "x" or s.marks or s.labels not in ((), (self.clock.name,), ("t'",)):
            return s
        if s.labels == ("t'",):
            return replace(s, labels=(), sub=(Index("t'", 0),))
        (i, *more) = s.sub or (NOW,)
        if not isinstance(i, Index) or more:
            return s
        if self.upto and i == Index("", 1):
            return NOISE if self.signal_ends() else DATA
        if i == START:  # the other end of a path that runs from noise to data
            return DATA if self.signal_ends() else NOISE
        return replace(s, sub=(NOW if i.var == self.clock.name else i,), labels=())

    def signal_ends(self) -> bool:
        """Is the data at time 0?"""
        return self.signal in ("1 - t", "1")

    def _law(self, law: Law) -> Law:
        dist = None if law.dist is None else self._density(law.dist) if isinstance(law.dist, Density) else law.dist
        return Law(tuple(self._variable(s) for s in law.vars), dist)

    def _density(self, d: Density) -> Density:
        """p and q are one law here, that of the path; a label of the time is the index of x."""
        args, given = (tuple(self._variable(s) for s in part) for part in (d.args, d.given))
        labels = tuple(x for x in d.labels if x not in (self.clock.name, "data"))
        if "data" in d.labels and args != (DATA,):
            labels = d.labels
        return Density("q" if not labels and d.letter in "pq" else d.letter, args, given, labels)

    def _named(self, head: Sym, args: tuple[Node, ...] | None, own: dict[Node, Node]) -> Node | None:
        """What a letter of the setting stands for: itself, a guess of the network, or its average given x_t; None if it is none."""
        guess = learned(head) is not None or "hat" in head.marks
        plain = _plain(head)
        if plain == Sym("s") and guess:
            return Neg(Div(self._guess(NOISE, args, plain, own), self.levels[1]))
        if plain not in own and guess and plain == Sym("x"):
            plain = _plain(formula(self.data))
        if plain not in own:
            return None
        meaning = own[plain]
        if guess:
            return self._guess(meaning, args, plain, own)
        xs = [a for a in args or () if any(isinstance(n, Sym) and n.name == "x" for n in tree.walk(a))]
        if any(self._in(a, own) != X for a in xs):
            return None
        random = any(n in (DATA, NOISE) for n in tree.walk(meaning))
        if xs and random:
            return Expect((), meaning, (X,))
        at = head.sub if len(head.sub) == 1 and head.name not in ("x", "epsilon") else ()
        return self._at(meaning, (*(args or ()), *at)) if not xs else None

    def _at(self, meaning: Node, places: tuple[Node, ...]) -> Node:
        """A formula of t at the time that is written: nothing, t itself, or another one."""
        times = [p for p in places if p not in (self.clock, Index(self.clock.name, 0))]
        if not times:
            return meaning
        (to, *more) = times
        if isinstance(to, Index) and to.var and not more:
            return _moved(meaning, to)
        if more or any(n in (DATA, NOISE, X) for n in tree.walk(meaning)):
            raise NotSaid(f"{tree.latex(times[0])} where a time is needed")
        return _put(meaning, {TIME: _time(to) if isinstance(to, Index) else to})

    def _guess(self, meaning: Node, args: tuple[Node, ...] | None, plain: Node, own: dict[Node, Node]) -> Node:
        where = tuple(self._in(a, own) for a in args or ())
        if tree.latex(plain) in self.asked:
            if where and where != self.asked[tree.latex(plain)]:
                raise NotSaid(f"{tree.latex(plain)} is asked at {dict(self.at)[tree.latex(plain)]} in this setting")
            where = ()
        if where and where[0] == TIME:
            where = where[1:]
        point = where or (X, TIME)
        eps = Apply(Sym("epsilon", labels=("theta",)), point)
        return _put(meaning, {DATA: Apply(Sym("x", labels=("theta",)), point), NOISE: eps})

    # ---- derivatives

    def derivative(self, node: Node, by: Node) -> Node:
        """The derivative of a formula along the path of one x_0 and one epsilon."""
        if not any(n == TIME for n in tree.walk(by)):
            raise NotSaid(f"a derivative in {tree.latex(by)}, which is no function of the time here")
        top, bottom = self._d(node), self._d(by)
        return top if bottom == ONE else Div(top, bottom)

    def _d(self, node: Node) -> Node:
        match node:
            case Num():
                return ZERO
            case Sym() if node == TIME:
                return ONE
            case Sym(_, (i,)) if i == NOW and node != X:
                raise NotSaid(f"the derivative of {tree.latex(node)}, which is left open")
            case Sym() if node == X:
                return Add((Mul((self._d(self.levels[0]), DATA)), Mul((self._d(self.levels[1]), NOISE))))
            case Sym():
                return ZERO
            case Add(terms):
                return Add(tuple(map(self._d, terms)))
            case Neg(body):
                return Neg(self._d(body))
            case Mul(factors):
                parts = [Mul((*factors[:i], self._d(f), *factors[i + 1 :])) for i, f in enumerate(factors) if self._moves(f)]
                return ZERO if not parts else parts[0] if len(parts) == 1 else Add(tuple(parts))
            case Div(top, bottom):
                if not self._moves(bottom):
                    return Div(self._d(top), bottom)
                return Div(Add((Mul((self._d(top), bottom)), Neg(Mul((top, self._d(bottom)))))), Pow(bottom, TWO))
            case Pow(base, Num(n)):
                return Mul((Num(n), Pow(base, Num(n - 1)), self._d(base)))
            case Func("sqrt", body):
                return Div(self._d(body), Mul((TWO, node)))
            case Func("log", body) if not any(isinstance(n, Density) for n in tree.walk(body)):
                return Div(self._d(body), body)
        raise NotSaid("the derivative of a network, a density or an average")

    @staticmethod
    def _moves(node: Node) -> bool:
        return not isinstance(node, Num) and any(n in (TIME, X) or not isinstance(n, Sym | Num | Index) for n in tree.walk(node))


def _plain(s: Node) -> Node:
    """A letter without hat, network's parameter and, but for x, index of the time: v for v_theta and v_t."""
    if not isinstance(s, Sym):
        return s
    labels = tuple(x for x in s.labels if not (tree.parameter(x) and x.lstrip("\\").startswith(("theta", "phi", "psi"))))
    timed = s.name != "x" and len(s.sub) == 1 and isinstance(s.sub[0], Index) and bool(s.sub[0].var)
    return Sym(s.name, () if timed else s.sub, tuple(m for m in s.marks if m != "hat"), labels)


def _of_one_line(node: Node) -> bool:
    """Does a formula speak of one x_0 or one epsilon, outside of averages?"""
    if isinstance(node, Expect | Density):
        return False
    return node in (DATA, NOISE) or any(map(_of_one_line, tree.children(node)))


def _differential(node: Node) -> Node | None:
    """X where a formula is d X."""
    if isinstance(node, Mul) and node.factors[0] == Sym("d") and len(node.factors) > 1:
        rest = node.factors[1:]
        return rest[0] if len(rest) == 1 else Mul(rest)
    return None


def _put(node: Node, new: dict[Node, Node]) -> Node:
    return new[node] if node in new else tree.rebuild(node, lambda child: _put(child, new))


@dataclass(frozen=True)
class Paths:
    """A setting about a path: the ways to read a text about it, the first one first."""

    name: str
    readings: tuple[Path | Masked, ...]
    note: str = ""


def meaning(line: Node, algebra, **options) -> Meaning:
    """What evaluates a line: about a path, or about the chain of the Gaussian diffusion."""
    about = line.sense.path if isinstance(line, Line) else None
    kind = Meaning if about is None else MaskedMeaning if isinstance(about, Masked) else PathMeaning
    return kind(line, algebra, **options)


class PathMeaning(Meaning):
    """The values of formulas about a path, in the letters that Path.normal writes: x_t and x_0 are the vectors, and the noise is what
    lies between them; x at any other time lies on the same line."""

    def __init__(self, line: Node, algebra, world: bool = False, **options):
        self.sense = line.sense if isinstance(line, Line) else self.sense
        path = self.sense.path
        assert isinstance(path, Path)
        self.path, self.world, self.main, self.origin, self.points = path, world, NOW, START, [NOW]
        nodes = list(tree.walk(line))
        symbols = [n for n in nodes if isinstance(n, Sym)]
        places = {replace(i, shift=0) for n in symbols if n.name == "x" for i in n.sub if isinstance(i, Index) and i.var}
        self.clocks = sorted({tree.latex(n) for n in {TIME, *filter(path.is_time, symbols), *map(_time, places)}})
        bounded = [f"time {n}" for n in self.clocks]
        self.numbers = not any(isinstance(n, Func) and n.name == "norm" for n in nodes) and not any(s.name in {"I", "d"} for s in symbols)
        self.dimension_one = self.sense.one if self.sense.one is not None else in_one_dimension(line)
        scalars = sorted({name for s in symbols if (name := self._free_name(s)) is not None})
        level = {tree.latex(s) for s in symbols if path.is_level(s)}
        for i in (NOW, *places):
            level |= {tree.latex(n) for p in path.levels for n in tree.walk(_moved(p, i)) if isinstance(n, Sym) and path.is_level(n)}
        positive = sorted(level | {n for n in scalars if n in path.positive})
        self.free = [n for n in scalars if n not in positive]
        powers = [n for n in nodes if isinstance(n, Pow)]
        positive += sorted({tree.latex(n) for n in powers if any(isinstance(m, Sym) and self._free_name(m) for m in tree.walk(n.exponent))})
        self.powers: list[tuple] = []  # (power, base, exponent)
        logs = any(isinstance(n, Density | Normal | KL) or (isinstance(n, Func) and n.name in {"log", "exp"}) for n in nodes)
        d = ("d", "pi") if logs or any(isinstance(n, Expect) for n in nodes) or any(s.name in {"d", "pi"} for s in symbols) else ()
        if logs:
            options = {"logs": True, **options}
        self.k = algebra((*bounded, *positive, *d), (*self.free, *(("kappa",) if world else ())), **options)
        self.networks, self.points_of_networks, self.open, self.scores = {}, [], {}, {}
        self.used, self.marked, self.eta = set(), False, False
        self.noises = sorted({tree.latex(s) for s in symbols if is_noise(s)})
        self.tied = tree.latex(NOISE) if tree.latex(NOISE) in self.noises else None
        self.determined = True

    def _free_name(self, s: Sym) -> str | None:
        if self.path.is_time(s) or is_noise(s) or learned(s) is not None:
            return None
        return None if s.name in {"x", "y", "z", "I", "d", "pi", "e", "cdot", "epsilon"} else tree.latex(s)

    # ---- time and levels

    def time(self, name: str):
        """A time as a number: between 0 and the end of time, 1 / (1 + g), or any positive one, g."""
        g = self.k[f"time {name}"]
        return self.k.divide(self.k.one, self.k.one + g) if self.path.upto else g

    def level(self, i: Index):
        """The factors of x_0 and of the noise at x_i."""
        if i == NOW:
            return tuple(self.number(self.value(n)) for n in self.path.levels)
        there = _time(i)
        return tuple(self.number(self.value(_moved(n, i) if i.var else _put(n, {TIME: there}))) for n in self.path.levels)

    def x(self, i: Index) -> Vector:
        if i in (NOW, START):
            return Vector({name_of("x", i): self.k.one})
        a, s = self.level(i)
        return self.combine((a, self.x(START)), (s, self.noise_of(NOW)))

    def noise_of(self, i: Index, x: Vector | None = None, x0: Vector | None = None, origin: Index = START) -> Vector:
        a, s = self.level(i)
        return self.combine((self.k.divide(self.k.one, s), x or self.x(i)), (self.k.divide(-a, s), x0 or self.x(START)))

    def clean_of(self, i: Index, eps: Vector, x: Vector | None = None) -> Vector:
        a, s = self.level(i)
        return self.combine((self.k.divide(self.k.one, a), x or self.x(i)), (self.k.divide(-s, a), eps))

    def forward_law(self, i: Index, given: list[Index]) -> Gaussian:
        if i != NOW or given != [START]:
            raise NotSaid("of this path the setting declares the law of x_t given the data")
        a, s = self.level(i)
        return Gaussian(name_of("x", i), self.combine((a, self.x(START))), s * s)

    def mean_of_data(self, i: Index) -> Vector:
        a, s = self.level(i)
        name = name_of("x", i)
        return self.combine((self.k.divide(self.k.one, a), self.x(i)), (self.k.divide(s * s, a), self.score(name, name)))

    def score(self, density: str, name: str) -> Vector:
        if self.world and density not in self.open:  # the data are one point
            return self.combine((self.k.divide(-self.k.one, self.level(NOW)[1]), self.noise_of(NOW)))
        return super().score(density, name)

    def shown_times(self) -> dict[str, str]:
        """The times at a point, for a counterexample."""
        return {n if n != "t" else self.path.time: str(self.k.exact(self.time(n))) for n in self.clocks}

    # ---- powers

    def _pow(self, node: Pow):
        """A power with an exponent that is no number, a^rho, is a number of its own; (a^{1/rho})^rho is a."""
        if tree.latex(node) not in self.k or node.base == Sym("e"):
            return super()._pow(node)
        base, exponent = (self.number(self.value(n)) for n in (node.base, node.exponent))
        for root, of, by in self.powers:
            if self.k.zero_test(base - root) and self.k.zero_test(exponent * by - self.k.one):
                return self.scalar(of)
        out = self.k[tree.latex(node)]
        self.powers.append((out, base, exponent))
        self.marked = True  # what is known of these numbers is not all: nothing is refuted by values for them
        return self.scalar(out)

    # ---- letters

    def _sym(self, s: Sym, args: tuple[Node, ...] = ()):
        if self.path.is_time(s) and not args:
            return self.scalar(self.time(tree.latex(s)))
        if s.name == "x" and not s.marks and not s.labels and len(s.sub) == 1 and not args:
            return self.x(self._place(s))
        if s == NOISE and not args and not self.loose:
            return self.noise_of(NOW)
        if s.name in {"x", "epsilon"} and learned(s) is not None:
            return super()._sym(s, args)
        if s.name in {"I", "d", "pi"} or is_noise(s) or s.name in {"y", "z"}:
            return super()._sym(s, args)
        if args:
            raise NotSaid(f"{tree.latex(s)} is not a function that this setting declares")
        if self._free_name(s) is None:
            raise NotSaid(f"{tree.latex(s)} has no meaning in this setting")
        return self.scalar(self.k[tree.latex(s)])

    def _place(self, s: Sym, args: tuple[Node, ...] = ()) -> Index:
        found = [i for i in s.sub if isinstance(i, Index)]
        if learned(s) is not None:
            return NOW
        return found[0] if found else NOW

    def places(self, symbols: tuple[Sym, ...]) -> list[Index]:
        out = super().places(symbols)
        if other := [i for i in out if i not in (START, NOW)]:
            raise NotSaid(f"the laws of this setting are about x_t and the data, not x at {tree.latex(other[0])}")
        return out

    def _density(self, d: Density) -> Positive:
        if d.labels:
            raise NotSaid(f"{tree.latex(d)} is another law than that of the path")
        return super()._density(d)


def _primed(s: Sym) -> Sym:
    """A letter at the time t', which is read as a label."""
    return replace(s, labels=(), sub=(Index("t'", 0),))


def _moved(node: Node, to: Index) -> Node:
    """A formula of t at another time: t and every letter with the index t become those of that time."""
    if node == TIME:
        return _time(to)
    if isinstance(node, Sym) and node.sub == (NOW,):
        return replace(node, sub=(to,))
    return tree.rebuild(node, lambda child: _moved(child, to))


def _time(i: Index) -> Node:
    """The time that an index of x is, as a formula."""
    if not i.var:
        return Num(Fraction(i.shift))
    clock = Sym("t", (), ("prime",)) if i.var == "t'" else Sym(i.var)
    return clock if not i.shift else Add((clock, Num(Fraction(i.shift))))
