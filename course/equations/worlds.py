"""Small worlds: every variable gets a few values, every conditional table is filled with fractions. A statement that fails in
one world, computed exactly, is refuted. Many worlds at once are tried in floating point; only a hit is computed exactly.

Numbers that contain logarithms are kept as polynomials in log s_i with rational coefficients, and only compared at the end, to 60
digits, where the logarithm of decimal.Decimal is correctly rounded: a difference that is seen is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np

from course.equations.ground import Ground, NotDecidable, Var, shown
from course.equations.settings import Model, Slot

MAX_CELLS = 2_000_000
MAX_PRODUCTS = 4_000  # of logarithms, in one multiplication


class Logs:
    """A polynomial in logarithms of rational numbers, with rational coefficients: exact. terms maps a product of logarithms, as
    the sorted tuple of their arguments, to its coefficient; the empty product is 1."""

    __slots__ = ("terms",)

    def __init__(self, c: Fraction, logs: dict[Fraction, Fraction] | None = None):
        self.terms = {(s,): r for s, r in (logs or {}).items()}
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


_exact_log = np.frompyfunc(_log, 1, 1)
_exact_exp = np.frompyfunc(_exp, 1, 1)
_to_logs = np.frompyfunc(Logs.of, 1, 1)


class World:
    """Tables for the laws of a model: tables[letter][slot] is p(slot | parents), axes: batch, the parents in order, the slot.

    exact=True: one world of fractions; else a batch of float worlds.
    widths: where given, each value of the variable stands for an interval of this length, on which the density is constant.
    The tables stay probabilities; densities are divided by lengths and sums become integrals. Such worlds refute what is true
    only of finitely many values, such as p(x) <= 1.
    """

    def __init__(
        self,
        model: Model,
        weights: dict[str, dict[Slot, np.ndarray]],
        exact: bool = False,
        widths: dict[Slot, Fraction] | None = None,
    ):
        self.model, self.weights, self.exact, self.widths = model, weights, exact, widths or {}
        self.sizes = {s: weights["p"][s].shape[-1] for s in model.slots}
        self._marginals: dict = {}
        self._joint: dict[str, np.ndarray] = {}

    def table(self, letter: str, slot: Slot) -> np.ndarray:
        w = self.weights[letter][slot]
        if self.exact:
            w = np.vectorize(lambda n: Fraction(int(n)), otypes=[object])(w)
        return w / w.sum(axis=-1, keepdims=True)

    def joint(self, letter: str) -> np.ndarray:
        """The joint law: axes batch, then model.slots in order."""
        if letter not in self._joint:
            at = {s: i for i, s in enumerate(self.model.slots)}
            total = None
            for slot, parents in self.model.parents[letter].items():
                t = self.table(letter, slot)
                axes = [at[s] for s in (*parents, slot)]
                rank = np.argsort(axes)
                t = t.transpose(0, *(1 + r for r in rank))
                shape = [t.shape[0]] + [1] * len(at)
                for a, n in zip(sorted(axes), t.shape[1:], strict=True):
                    shape[1 + a] = n
                t = t.reshape(shape)
                total = t if total is None else total * t
            assert total is not None
            self._joint[letter] = total
        return self._joint[letter]

    def marginal(self, letter: str, over: frozenset[Slot]) -> np.ndarray:
        """p(over): axes batch, then the slots of `over` in the order of model.slots."""
        key = (letter, over)
        if key not in self._marginals:
            full = self.joint(letter)
            gone = tuple(1 + i for i, s in enumerate(self.model.slots) if s not in over)
            self._marginals[key] = full.sum(axis=gone) if gone else full
        return self._marginals[key]


def random_weights(model: Model, size: int, batch: int, rng: np.random.Generator, values: tuple[int, ...]) -> dict:
    """Integer weights for every table of the model; rows become probabilities when divided by their sum."""
    choice = np.array(values)
    return {
        letter: {
            slot: choice[rng.integers(0, len(choice), (batch, *([size] * len(parents)), size))]
            for slot, parents in model.parents[letter].items()
        }
        for letter in model.letters
    }


def depth(g: Ground) -> int:
    """How many bound variables are live at once, at most."""
    match g:
        case ("num", _) | ("d", _, _, _):
            return 0
        case ("sum", bound, body):
            return len(bound) + depth(body)
        case ("add" | "mul", parts):
            return max((depth(p) for p in parts), default=0)
        case ("div", a, b):
            return max(depth(a), depth(b))
        case _:
            return depth(g[1])


class Evaluator:
    """Values of ground terms in a world, for all values of the free variables at once (or for the fixed ones)."""

    def __init__(self, world: World, free: tuple[Var, ...], depth: int, fixed: dict[Var, int] | None = None):
        self.world, self.fixed = world, fixed or {}
        open_ = [v for v in free if v not in self.fixed]
        self.rank = 1 + len(open_) + depth
        if self.rank > 30:
            raise NotDecidable("too many variables at once for a small world")
        self.axes = {v: 1 + i for i, v in enumerate(open_)}
        self.next = 1 + len(open_)
        self.zero = Fraction(0) if world.exact else 0.0

    def number(self, c: Fraction) -> np.ndarray:
        out = np.empty((1,) * self.rank, dtype=object if self.world.exact else float)
        out[...] = c if self.world.exact else float(c)
        return out

    def density(self, letter: str, vs: frozenset[Var]) -> np.ndarray:
        by_slot = {v[:2]: v for v in vs}
        m = self.world.marginal(letter, frozenset(by_slot))
        order = [by_slot[s] for s in self.world.model.slots if s in by_slot]
        for i in range(len(order) - 1, -1, -1):
            if order[i] in self.fixed:
                m = m.take(self.fixed[order[i]], axis=1 + i)
        live = [v for v in order if v not in self.fixed]
        axes = [self.axes[v] for v in live]
        rank = np.argsort(axes)
        if len(axes) > 1:
            m = m.transpose(0, *(1 + r for r in rank))
        shape = [m.shape[0]] + [1] * (self.rank - 1)
        for a, n in zip(sorted(axes), m.shape[1:], strict=True):
            shape[a] = n
        m = m.reshape(shape)
        return m / self.number(self.volume(vs)) if self.world.widths else m

    def volume(self, vs: Iterable[Var]) -> Fraction:
        return prod((self.world.widths.get(v[:2], Fraction(1)) for v in vs), start=Fraction(1))

    def value(self, g: Ground) -> np.ndarray:
        match g:
            case ("num", c):
                return self.number(c)
            case ("d", letter, args, given):
                top = self.density(letter, args | given)
                return top / self.density(letter, given) if given else top
            case ("add", parts):
                return self.fold(parts, np.add, self.number(Fraction(0)))
            case ("mul", parts):
                return self.fold(parts, np.multiply, self.number(Fraction(1)))
            case ("div", a, b):
                return self.checked(self.value(a) / self.value(b))
            case ("pow", a, n):
                base = self.value(a)
                out = self.number(Fraction(1))
                for _ in range(abs(n)):
                    out = out * base
                return out if n >= 0 else self.number(Fraction(1)) / out
            case ("log", a):
                x = self.value(a)
                return _exact_log(x) if self.world.exact else np.log(x)
            case ("exp", a):
                x = self.value(a)
                return _exact_exp(x) if self.world.exact else np.exp(x)
            case ("sum", bound, body):
                start = self.next
                for v in bound:
                    self.axes[v] = self.next
                    self.next += 1
                x = self.value(body)
                self.next = start
                for v in bound:
                    axis = self.axes.pop(v)
                    n = self.world.sizes[v[:2]]
                    x = x.sum(axis=axis, keepdims=True) if x.shape[axis] == n else x * self.number(Fraction(n))
                return x * self.number(self.volume(bound)) if self.world.widths else x
        raise TypeError(g[0])

    def fold(self, parts, op, start: np.ndarray) -> np.ndarray:
        out = start
        for p in parts:
            out = self.checked(op(out, self.value(p)))
        return out

    def checked(self, x: np.ndarray) -> np.ndarray:
        if x.size > MAX_CELLS:
            raise NotDecidable("the statement needs too many values at once for a small world")
        return x


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
    lines = []
    for width in sorted(set(world.widths.values())):
        names = ", ".join(shown(s) for s in world.model.slots if world.widths[s] == width)
        lines.append(f"  each value of {names} stands for an interval of length {width}; a density is a probability by length")
    for letter in sorted(letters):
        observed = world.model.observed[letter]
        for slot, parents in world.model.parents[letter].items():
            if slot in observed and not formal:
                continue
            table = world.table(letter, slot)[0]
            for at in np.ndindex(*table.shape[:-1]):
                given = ", ".join(f"{shown(s)}={i}" for s, i in zip(parents, at, strict=True))
                row = ", ".join(str(x) for x in table[at])
                values = ",".join(str(i) for i in range(table.shape[-1]))
                lines.append(f"  {letter}({shown(slot)}={values}" + (f" | {given}" if given else "") + f") = {row}")
    return "\n".join(lines)


FLAT, MIXED, PEAKED = (1, 2, 3, 4, 5), (1, 2, 5, 9), (1, 1, 1, 12, 40)


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
        self.depth = max(depth(left), depth(right))
        self.seed = seed
        self.widths: dict[Slot, Fraction] = {}

    def gap(self, weights: dict) -> np.ndarray:
        """How badly the claim fails, positive where it does, relative to the size of the sides: axes batch, free values."""
        world = World(self.model, weights, widths=self.widths)
        e = Evaluator(world, self.free, self.depth)
        with np.errstate(all="ignore"):
            a, b = e.value(self.left), e.value(self.right)
            size = 1 + np.abs(a) + np.abs(b)
            if self.relation == "=":
                d = np.abs(a - b) / (np.minimum(np.abs(a), np.abs(b)) + 1e-3)
            else:
                d = (b - a if self.relation in (">=", ">") else a - b) / size
        d = np.where(np.isfinite(d), d, -1.0)
        shape = [d.shape[0]] + [1 if n == 1 else n for n in d.shape[1:]]
        return d.reshape(shape)

    def batch(self, weights: dict) -> np.ndarray:
        d = self.gap(weights)
        n = next(iter(weights["p"].values())).shape[0]
        d = np.broadcast_to(d, (n, *d.shape[1:])) if d.shape[0] != n else d
        return d.reshape(n, -1).max(axis=1)

    def agree(self, batch: int = 24) -> bool:
        """Does the claim survive a quick look? (No proof of anything.)"""
        rng = np.random.default_rng(self.seed)
        return bool(self.batch(random_weights(self.model, 2, batch, rng, MIXED)).max() < 1e-9)

    def search(self, thorough: bool = True) -> dict | None:
        """The weights of one failing world, or None."""
        rng = np.random.default_rng(self.seed)
        equal = self.relation == "="
        plan = [(2, 32, FLAT), (2, 64, PEAKED)] if equal else [(2, 96, FLAT), (2, 192, PEAKED)]
        if thorough and len(self.model.slots) <= 5:
            plan.append((3, 24, MIXED))
        best = None
        for size, batch, values in plan:
            weights = random_weights(self.model, size, batch, rng, values)
            score = self.batch(weights)
            i = int(score.argmax())
            if score[i] > 1e-9:
                return {k: {s: w[i : i + 1] for s, w in v.items()} for k, v in weights.items()}
            if best is None or score[i] > best[0]:
                best = (score[i], {k: {s: w[i : i + 1] for s, w in v.items()} for k, v in weights.items()})
        if equal or not thorough:
            return None
        first = self.model.seen
        for wide in product((Fraction(1, 8), Fraction(8)), repeat=2):
            self.widths = {s: wide[s not in first] for s in self.model.slots}
            for values in (FLAT, PEAKED):
                weights = random_weights(self.model, 2, 48, rng, values)
                score = self.batch(weights)
                i = int(score.argmax())
                if score[i] > 1e-9:
                    return {k: {s: w[i : i + 1] for s, w in v.items()} for k, v in weights.items()}
        self.widths = {}
        score, weights = best  # type: ignore[misc]
        for _ in range(40):  # climb: multiply some weights up and down
            trial = {k: {s: np.repeat(w, 48, axis=0) for s, w in v.items()} for k, v in weights.items()}
            for k in trial:
                for s, w in trial[k].items():
                    change = rng.random(w.shape) < 0.3
                    up = rng.integers(2, 5, w.shape)
                    w2 = np.where(change, np.where(rng.random(w.shape) < 0.5, w * up, np.maximum(1, w // up)), w)
                    trial[k][s] = np.minimum(w2, 5000)
            scores = self.batch(trial)
            i = int(scores.argmax())
            if scores[i] > score:
                score, weights = scores[i], {k: {s: w[i : i + 1] for s, w in v.items()} for k, v in trial.items()}
            if score > 1e-9:
                return weights
        return None

    def exact(self, weights: dict, strict_fails: bool = False) -> Counterexample | None:
        """The failing world computed exactly; None if it does not fail after all."""
        d = self.gap(weights)[0]
        where = np.unravel_index(int(d.argmax()), d.shape)
        fixed = {v: int(where[i]) for i, v in enumerate(self.free)}
        world = World(self.model, weights, True, self.widths)
        e = Evaluator(world, self.free, self.depth, fixed)
        a, b = Logs.of(e.value(self.left).reshape(-1)[0]), Logs.of(e.value(self.right).reshape(-1)[0])
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
        at = ", ".join(x for x in (self.at, values) if x)
        symbol = {">=": ">=", "<=": "<="}.get(self.relation, self.relation)
        return Counterexample(
            world_text(world, letters_used(self.left, self.right), self.formal),
            at,
            str(a),
            str(b),
            symbol,
            self.model.T if self.model.setting.indexed else None,
            world_data(world, fixed),
        )


def world_data(world: World, fixed: dict[Var, int]) -> dict:
    """A world of fractions as the kernel reads it."""
    model = world.model
    return {
        "sizes": [[s[0], s[1], world.sizes[s], str(world.widths.get(s, 1))] for s in model.slots],
        "tables": {
            letter: [
                [list(slot), [list(u) for u in parents], [str(x) for x in world.table(letter, slot).reshape(-1)]]
                for slot, parents in model.parents[letter].items()
            ]
            for letter in model.letters
        },
        "at": [[v[0], v[1], v[2], n] for v, n in fixed.items()],
    }
