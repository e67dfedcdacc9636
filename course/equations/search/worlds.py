"""Small worlds: every variable gets a few values, every conditional table is filled with fractions. A statement that fails in
one world, computed exactly, is refuted. Many worlds are tried in floating point; only a hit is computed exactly.

A pair of ground terms becomes one Python expression over tables of conditional probabilities (`Program`), which floats and
exact numbers run through alike. Numbers that contain logarithms are kept as polynomials in log s_i with rational coefficients,
and only compared at the end, to 60 digits, where the logarithm of decimal.Decimal is correctly rounded: a difference that is
seen is there.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any

from course.equations.meaning.ground import Ground, Var, shown
from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import Model, Slot

MAX_CELLS = 200_000  # values of variables, all at once
MAX_PRODUCTS = 4_000  # of logarithms, in one multiplication
MAX_BOUND = 22  # variables that are summed over, one inside the other
SEEN = 1e-9  # a relative difference that floating point does not make by itself


class Logs:
    """A polynomial in logarithms of rational numbers, with rational coefficients: exact. terms maps a product of logarithms, as
    the sorted tuple of their arguments, to its coefficient; the empty product is 1."""

    __slots__ = ("terms",)

    def __init__(self, c: Fraction, logs: dict[Fraction, Fraction] | None = None):
        self.terms: dict[tuple[Fraction, ...], Fraction] = {(s,): r for s, r in (logs or {}).items()}
        if c:
            self.terms[()] = c

    @staticmethod
    def of(x) -> Logs:
        return x if isinstance(x, Logs) else Logs(Fraction(x))

    @staticmethod
    def made(terms: dict[tuple, Fraction]) -> Logs:
        out = Logs(Fraction(0))
        out.terms = {k: r for k, r in terms.items() if r}
        return out

    @property
    def c(self) -> Fraction:
        return self.terms.get((), Fraction(0))

    @property
    def logs(self) -> dict[tuple, Fraction]:
        return {k: r for k, r in self.terms.items() if k}

    def __add__(self, other) -> Logs:
        terms = dict(self.terms)
        for k, r in Logs.of(other).terms.items():
            terms[k] = terms.get(k, Fraction(0)) + r
        return Logs.made(terms)

    __radd__ = __add__

    def __neg__(self) -> Logs:
        return Logs.made({k: -r for k, r in self.terms.items()})

    def __sub__(self, other) -> Logs:
        return self + (-Logs.of(other))

    def __mul__(self, other) -> Logs:
        other = Logs.of(other)
        if len(self.terms) * len(other.terms) > MAX_PRODUCTS:
            raise NotDecidable("a product of sums of logarithms with too many terms")
        terms: dict[tuple, Fraction] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                k = tuple(sorted(a + b)) if a and b else a or b
                terms[k] = terms.get(k, Fraction(0)) + x * y
        return Logs.made(terms)

    __rmul__ = __mul__

    def __truediv__(self, other) -> Logs:
        other = Logs.of(other)
        if other.logs:
            raise NotDecidable("a division by a logarithm")
        return self * Logs(1 / other.c)

    def __rtruediv__(self, other) -> Logs:
        return Logs.of(other) / self

    def decimal(self) -> tuple[Decimal, Decimal]:
        """The value to about 60 digits, and the size of the numbers that were added; call inside a decimal context."""
        total = size = Decimal(0)
        for k, r in self.terms.items():
            term, bound = _decimal(r), abs(_decimal(r))
            for s in k:
                term, bound = term * _decimal(s).ln(), bound * (abs(_decimal(s).ln()) + 1)
            total, size = total + term, size + bound
        return total, size

    def __str__(self) -> str:
        with localcontext() as context:
            context.prec = 60
            value, _ = self.decimal()
        if not self.logs:
            return f"{self.c}" if self.c.denominator < 10**9 else f"{float(self.c):.12g}"
        named = sorted(self.logs.items(), key=lambda kr: (len(kr[0]), kr[0]))
        parts = [f"{'' if r == 1 else f'{r} '}{' '.join(f'log({s})' for s in k)}" for k, r in named]
        exact = " + ".join(([str(self.c)] if self.c else []) + parts).replace("+ -", "- ")
        return (
            f"{exact} = {value:.9f}"
            if len(exact) <= 120
            else f"{value:.12f} ({len(parts)} logarithms of fractions, kept exactly)"
        )


def _decimal(x: Fraction) -> Decimal:
    return Decimal(x.numerator) / Decimal(x.denominator)


def sign(x: Logs) -> int:
    """The sign of an exact number; 0 only means: not distinguished from zero with 60 digits."""
    if not x.logs:
        return (x.c > 0) - (x.c < 0)
    with localcontext() as context:
        context.prec = 60
        value, size = x.decimal()
        return 0 if abs(value) <= size * Decimal(10) ** -50 else (1 if value > 0 else -1)


def _log(x) -> Logs:
    x = Logs.of(x)
    if x.logs:
        raise NotDecidable("the logarithm of a logarithm")
    if x.c <= 0:
        raise NotDecidable("the logarithm of a number that is not positive")
    return Logs(Fraction(0), {x.c: Fraction(1)} if x.c != 1 else {})


def _exp(x) -> Logs:
    x = Logs.of(x)
    if x.c:
        raise NotDecidable("the exponential of a fraction")
    out = Fraction(1)
    for k, r in x.logs.items():
        (s, *more) = k
        if more or r.denominator != 1 or abs(r) > 50:
            raise NotDecidable("the exponential of a fraction of a logarithm")
        out *= s ** int(r)
    return Logs(out)


# ---------------------------------------------------------------------------------------------------------- worlds

Weights = dict[str, dict[Slot, list[int]]]  # of every law and slot: whole numbers, parents in order, then the slot itself


class World:
    """Tables for the laws of a model, filled with whole weights: a row divided by its sum is a distribution.

    exact: fractions, else floats.
    widths: where given, each value of the variable stands for an interval of this length, on which the density is constant.
    The tables stay probabilities; densities are divided by lengths and sums become integrals. Such worlds refute what is true
    only of finitely many values, such as p(x) <= 1.
    """

    def __init__(
        self, model: Model, size: int, weights: Weights, exact: bool = False, widths: dict[Slot, Fraction] | None = None
    ):
        self.model, self.size, self.weights, self.exact, self.widths = model, size, weights, exact, widths or {}
        self._joint: dict[str, list] = {}
        self._tables: dict = {}

    def table(self, letter: str, slot: Slot) -> list:
        """letter(slot | parents), flat: the parents in order, then the slot."""
        out: list = []
        w, n = self.weights[letter][slot], self.size
        for k in range(0, len(w), n):
            total = sum(w[k : k + n])
            out += [Fraction(x, total) if self.exact else x / total for x in w[k : k + n]]
        return out

    def joint(self, letter: str) -> list:
        """The joint law, flat: model.slots in order."""
        if letter not in self._joint:
            slots, n = self.model.slots, self.size
            if n ** len(slots) > MAX_CELLS:
                raise NotDecidable("the statement needs too many values at once for a small world")
            values = [Fraction(1) if self.exact else 1.0] * n ** len(slots)
            for slot, parents in self.model.parents[letter].items():
                table = self.table(letter, slot)
                values = [v * table[k] for v, k in zip(values, places(slots, (*parents, slot), n), strict=True)]
            self._joint[letter] = values
        return self._joint[letter]

    def marginal(self, letter: str, over: tuple[Slot, ...]) -> list:
        """The law of these slots (in the order of model.slots), flat."""
        key = (letter, over)
        if key not in self._tables:
            out = [Fraction(0) if self.exact else 0.0] * self.size ** len(over)
            for value, k in zip(self.joint(letter), places(self.model.slots, over, self.size), strict=True):
                out[k] += value
            self._tables[key] = out
        return self._tables[key]

    def density(self, letter: str, args: frozenset[Slot], given: frozenset[Slot]) -> list:
        """letter(args | given), flat: the slots of both in the order of model.slots."""
        key = (letter, args, given)
        if key not in self._tables:
            both = tuple(s for s in self.model.slots if s in args or s in given)
            held = tuple(s for s in both if s in given)
            top, bottom = self.marginal(letter, both), self.marginal(letter, held) if held else None
            volume: Any = math.prod(self.widths.get(s, Fraction(1)) for s in args)
            volume = volume if self.exact else float(volume)
            if bottom:
                top = [v / bottom[k] for v, k in zip(top, places(both, held, self.size), strict=True)]
            self._tables[key] = top if volume == 1 else [v / volume for v in top]
        return self._tables[key]


_PLACES: dict = {}


def places(slots: tuple[Slot, ...] | list[Slot], some: tuple[Slot, ...], n: int) -> list[int]:
    """For every cell of `slots`, in order, the place of its values in a flat table over `some`."""
    key = (tuple(slots), some, n)
    if key not in _PLACES:
        if len(_PLACES) > 4000:
            _PLACES.clear()
        out = [0]
        scale = {s: n ** (len(some) - 1 - i) for i, s in enumerate(some)}
        for s in slots:
            out = [k + v * scale.get(s, 0) for k in out for v in range(n)]
        _PLACES[key] = out
    return _PLACES[key]


def random_weights(model: Model, size: int, rng: random.Random, values: tuple[int, ...]) -> Weights:
    """Integer weights for every table of the model; rows become probabilities when divided by their sum."""
    return {
        letter: {
            slot: [rng.choice(values) for _ in range(size ** (len(parents) + 1))]
            for slot, parents in model.parents[letter].items()
        }
        for letter in model.letters
    }


@lru_cache(maxsize=32)
def _sampled(model: Model, size: int, values: tuple[int, ...]) -> tuple[random.Random, list[World]]:
    return random.Random(0), []


def worlds(model: Model, size: int, values: tuple[int, ...], count: int) -> list[World]:
    """The first `count` random worlds of this kind, the same ones for every claim: their tables are made once."""
    rng, made = _sampled(model, size, values)
    while len(made) < count:
        made.append(World(model, size, random_weights(model, size, rng, values)))
    return made[:count]


class Program:
    """Two ground terms as one Python expression. It reads the tables C[0], C[1], ... of conditional densities, the numbers K[0],
    K[1], ..., and the values x[0], x[1], ... of the free variables."""

    def __init__(self, model: Model, left: Ground, right: Ground, free: tuple[Var, ...], size: int):
        self.model, self.free, self.size = model, free, size
        self.tables: dict[tuple, int] = {}
        self.numbers: list[Fraction] = []
        self.volumes: list[tuple[int, tuple[Slot, ...]]] = []  # numbers that are volumes of the variables summed over
        names = {v: f"x[{i}]" for i, v in enumerate(free)}
        self.depth = self.names = 0
        text = f"lambda C, K, x, log, exp, power: ({self.text(left, names)}, {self.text(right, names)})"
        try:
            self.run = eval(compile(text, "<two ground terms>", "eval"), {"__builtins__": {}, "sum": sum, "range": range})
        except (SyntaxError, MemoryError, RecursionError):
            raise NotDecidable("the statement is nested too deeply for a small world") from None

    def number(self, c: Fraction) -> str:
        self.numbers.append(c)
        return f"K[{len(self.numbers) - 1}]"

    def text(self, g: Ground, names: dict[Var, str]) -> str:
        match g:
            case ("num", c):
                return self.number(c)
            case ("d", letter, args, given):
                both = sorted(args | given, key=lambda v: self.model.slots.index(v[:2]))
                key = (letter, frozenset(v[:2] for v in args), frozenset(v[:2] for v in given))
                at = "+".join(f"{self.size ** (len(both) - 1 - i)}*{names[v]}" for i, v in enumerate(both))
                return f"C[{self.tables.setdefault(key, len(self.tables))}][{at}]"
            case ("add" | "mul" as kind, parts):
                if not parts:
                    return self.number(Fraction(kind == "mul"))
                return "(" + {"add": "+", "mul": "*"}[kind].join(self.text(p, names) for p in parts) + ")"
            case ("div", a, b):
                return f"({self.text(a, names)}/{self.text(b, names)})"
            case ("pow", a, n):
                return f"power({self.text(a, names)}, {n})"
            case ("log" | "exp" as kind, a):
                return f"{kind}({self.text(a, names)})"
            case ("sum", bound, body):
                if not bound:
                    return self.text(body, names)
                self.depth += len(bound)
                if self.depth > MAX_BOUND or self.size**self.depth > MAX_CELLS:
                    raise NotDecidable("too many variables at once for a small world")
                inner = dict(names)
                for v in bound:
                    self.names += 1
                    inner[v] = f"v{self.names}"
                loops = " ".join(f"for {inner[v]} in range({self.size})" for v in bound)
                text = f"sum([{self.text(body, inner)} {loops}])"
                self.depth -= len(bound)
                self.volumes.append((len(self.numbers), tuple(v[:2] for v in bound)))
                return f"({self.number(Fraction(1))}*{text})"
        raise TypeError(g[0])

    def arguments(self, world: World) -> tuple:
        """C, K and the functions, for one world."""
        kept = list(self.numbers)
        for k, over in self.volumes if world.widths else ():
            kept[k] = math.prod((world.widths.get(s, Fraction(1)) for s in over), start=Fraction(1))
        tables = [world.density(*key) for key in self.tables]
        if world.exact:
            return tables, kept, _log, _exp, _power
        return tables, [float(c) for c in kept], math.log, math.exp, pow

    def values(self, world: World, at: tuple[int, ...]):
        """Both sides, with the free variables at these values."""
        C, K, log, exp, power = self.arguments(world)
        return self.run(C, K, at, log, exp, power)

    def everywhere(self, world: World):
        """(values of the free variables, left, right) for all their values at which both sides are finite numbers."""
        C, K, log, exp, power = self.arguments(world)
        for at in product(range(self.size), repeat=len(self.free)):
            try:
                a, b = self.run(C, K, at, log, exp, power)
            except (ValueError, ArithmeticError):
                continue
            if math.isfinite(a) and math.isfinite(b):
                yield at, a, b


def _power(x, n: int):
    out = Logs(Fraction(1)) if isinstance(x, Logs) else Fraction(1)
    for _ in range(abs(n)):
        out = out * x
    return out if n >= 0 else 1 / out


@dataclass(frozen=True)
class Counterexample:
    """One world in which the statement fails, and how.

    world: the tables of the laws the statement uses, as text; at: the values of free variables and indices;
    left, right: both sides, exact where short; T: the length, None where there is none; relation: what was claimed.
    """

    world: str
    at: str
    left: str
    right: str
    relation: str
    T: int | None = None
    data: dict | None = field(default=None, compare=False, repr=False)  # the world, as kernel.World reads it

    def __str__(self) -> str:
        where = ", ".join(x for x in ((f"T = {self.T}" if self.T else ""), self.at) if x)
        return (
            f"{self.world}\n"
            + (f"At {where}:\n" if where else "")
            + f"  left side  = {self.left}\n  right side = {self.right}\n"
            f'so "{self.relation}" fails'
        )


def letters_used(*grounds: Ground) -> set[str]:
    out: set[str] = set()
    stack = list(grounds)
    while stack:
        g = stack.pop()
        if g[0] == "d":
            out.add(g[1])
        elif g[0] in ("add", "mul"):
            stack += g[1]
        elif g[0] == "sum":
            stack.append(g[2])
        elif g[0] == "div":
            stack += [g[1], g[2]]
        elif g[0] in ("log", "exp", "pow"):
            stack.append(g[1])
    return out


def world_text(world: World, letters: set[str], formal: bool = False) -> str:
    """The tables as text, one line for each row; formal=True also shows the laws that the setting does not have."""
    lines, n = [], world.size
    for width in sorted(set(world.widths.values())):
        names = ", ".join(shown(s) for s in world.model.slots if world.widths[s] == width)
        lines.append(f"  each value of {names} stands for an interval of length {width}; a density is a probability by length")
    for letter in sorted(letters):
        observed = world.model.observed[letter]
        for slot, parents in world.model.parents[letter].items():
            if slot in observed and not formal:
                continue
            table = world.table(letter, slot)
            for k, at in enumerate(product(range(n), repeat=len(parents))):
                given = ", ".join(f"{shown(s)}={i}" for s, i in zip(parents, at, strict=True))
                row = ", ".join(str(x) for x in table[k * n : (k + 1) * n])
                values = ",".join(map(str, range(n)))
                lines.append(f"  {letter}({shown(slot)}={values}" + (f" | {given}" if given else "") + f") = {row}")
    return "\n".join(lines)


def world_data(world: World, fixed: dict[Var, int]) -> dict:
    """A world of fractions as the kernel reads it."""
    model = world.model
    return {
        "sizes": [[s[0], s[1], world.size, str(world.widths.get(s, 1))] for s in model.slots],
        "tables": {
            letter: [
                [list(slot), [list(u) for u in parents], [str(x) for x in world.table(letter, slot)]]
                for slot, parents in model.parents[letter].items()
            ]
            for letter in model.letters
        },
        "at": [[v[0], v[1], v[2], n] for v, n in fixed.items()],
    }


FLAT, MIXED, PEAKED = (1, 2, 3, 4, 5), (1, 2, 5, 9), (1, 1, 1, 12, 40)
GLANCE, SEARCH, THOROUGH = range(3)  # how many worlds are tried
Found = tuple[int, Weights, dict[Slot, Fraction]]  # size, weights, widths


class Refuter:
    """Looks for a world in which `left relation right` fails. Deterministic: the seed is fixed."""

    def __init__(
        self,
        model: Model,
        left: Ground,
        right: Ground,
        free: frozenset[Var],
        relation: str,
        at: str,
        formal: bool = False,
        seed: int = 0,
    ):
        self.model, self.left, self.right, self.relation, self.at, self.formal = model, left, right, relation, at, formal
        self.free = tuple(sorted(free))
        self.rng = random.Random(seed)
        self.programs: dict[int, Program] = {}

    def program(self, size: int) -> Program:
        if size not in self.programs:
            self.programs[size] = Program(self.model, self.left, self.right, self.free, size)
        return self.programs[size]

    def badness(self, a: float, b: float) -> float:
        """How badly the claim fails, positive where it does, relative to the size of the sides."""
        if self.relation == "=":
            return abs(a - b) / (min(abs(a), abs(b)) + 1e-3)
        return (b - a if self.relation in (">=", ">") else a - b) / (1 + abs(a) + abs(b))

    def worst(self, world: World) -> tuple[float, tuple[int, ...]]:
        """The worst value of the free variables in a world of floats, and where."""
        cells = ((self.badness(a, b), at) for at, a, b in self.program(world.size).everywhere(world))
        return max(cells, default=(-1.0, (0,) * len(self.free)))

    def search(self, effort: int = THOROUGH) -> Found | None:
        """One failing world, or None."""
        equal = self.relation == "="
        few = equal or effort == GLANCE
        plan: list[tuple[int, int, tuple[int, ...]]] = [(2, 8 if few else 32, FLAT), (2, 8 if few else 64, PEAKED)]
        if effort == THOROUGH:
            plan = [(size, 3 * count, values) for size, count, values in plan]
        if effort == THOROUGH and len(self.model.slots) <= 5:
            plan.append((3, 12, MIXED))
        best: tuple[float, Found] | None = None
        for size, count, values in plan:
            for world in worlds(self.model, size, values, count):
                score, _ = self.worst(world)
                if score > SEEN:
                    return size, world.weights, {}
                if best is None or score > best[0]:
                    best = score, (size, world.weights, {})
        if equal or effort != THOROUGH or best is None:
            return None
        return self.in_intervals() or self.climb(*best)

    def in_intervals(self) -> Found | None:
        """A failing world whose values are short or long intervals."""
        first = self.model.seen
        for wide in product((Fraction(1, 8), Fraction(8)), repeat=2):
            widths = {s: wide[s not in first] for s in self.model.slots}
            for values in (FLAT, PEAKED):
                for _ in range(12):
                    weights = random_weights(self.model, 2, self.rng, values)
                    if self.worst(World(self.model, 2, weights, widths=widths))[0] > SEEN:
                        return 2, weights, widths
        return None

    def climb(self, score: float, found: Found) -> Found | None:
        """From the best world so far: multiply some weights up and down, keep what is better."""
        rng = self.rng
        size, weights, widths = found
        for _ in range(300):
            trial = {
                k: {
                    s: [
                        min(5000, x * rng.randint(2, 4) if rng.random() < 0.5 else max(1, x // rng.randint(2, 4)))
                        if rng.random() < 0.3
                        else x
                        for x in w
                    ]
                    for s, w in v.items()
                }
                for k, v in weights.items()
            }
            new, _ = self.worst(World(self.model, size, trial, widths=widths))
            if new > score:
                score, weights = new, trial
            if score > SEEN:
                return size, weights, widths
        return None

    def exact(self, found: Found, strict_fails: bool = False, at: tuple[int, ...] | None = None) -> Counterexample | None:
        """The failing world computed exactly; None if it does not fail after all."""
        size, weights, widths = found
        at = self.worst(World(self.model, size, weights, widths=widths))[1] if at is None else at
        fixed = dict(zip(self.free, at, strict=True))
        world = World(self.model, size, weights, True, widths)
        a, b = map(Logs.of, self.program(size).values(world, at))
        s = sign(a - b)
        fails = {
            "=": s != 0,
            ">=": s < 0,
            "<=": s > 0,
            ">": s < 0 or (strict_fails and s == 0),
            "<": s > 0 or (strict_fails and s == 0),
        }
        if not fails[self.relation]:
            return None
        values = ", ".join(f"{shown(v)} = {i}" for v, i in sorted(fixed.items(), key=lambda p: (p[0][1], p[0][0])))
        return Counterexample(
            world_text(world, letters_used(self.left, self.right), self.formal),
            ", ".join(x for x in (self.at, values) if x),
            str(a),
            str(b),
            self.relation,
            self.model.T if self.model.setting.indexed else None,
            world_data(world, fixed),
        )
