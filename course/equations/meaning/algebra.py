r"""Exact arithmetic with positive unknowns, their square roots and their logarithms.

A number here is a rational function, over the rationals, of

* positive unknowns a, b, ... (each ranges over all of (0, oo)) and unconstrained ones,
* roots r_1, r_2, ... with r_i^2 = f_i, where the f_i are *different irreducible* polynomials, positive everywhere,
* logarithms l_1, l_2, ... of such f_i and of primes.

Different irreducible polynomials are independent modulo squares, so adjoining their roots gives a field of full degree 2^k and
the form that is linear in every r_i is unique: a number is zero exactly when this form is zero. The logarithms are treated as
independent unknowns (Ostrowski-Ax for the f_i, unique factorisation for the primes), so the same test decides them.
That is a decision, not a search: nothing is ever "simplified", and no user text reaches sympy.

Every f_i must be *seen* to be positive: all its coefficients have one sign on the positive orthant. The caller therefore
writes levels as 1/(1+a), 1/((1+a)(1+b)), ... instead of constraining numbers between 0 and 1.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy
from sympy import QQ
from sympy.polys.rings import PolyElement, ring

from course.equations.meaning.problems import NotDecidable

DIGITS = 20_000  # binary digits of a coefficient beyond which we give up
SIZE = 4000  # terms of a polynomial beyond which we give up, so that a hostile formula cannot hang


class Beyond(NotDecidable):
    """The formula is readable but outside what the exact arithmetic covers; the text says why."""


class Full(NotDecidable):
    """More roots or logarithms are needed than were set aside; try again with more."""


class Undefined(NotDecidable):
    """The formula has no value: a division by zero, the root or logarithm of a negative number."""


class Number:
    """top / product of below: top is linear in every root; below maps irreducible polynomials without roots to exponents."""

    __slots__ = ("below", "k", "top")

    def __init__(self, k: Algebra, top: PolyElement, below: dict[PolyElement, int] | None = None):
        self.k, self.top, self.below = k, top, below or {}
        if len(top) > SIZE:
            raise Beyond("the formula grows too large to expand")

    def __add__(self, other: Number) -> Number:
        if not self.top or not other.top:
            return self if self.top else other
        below = {f: max(self.below.get(f, 0), other.below.get(f, 0)) for f in self.below | other.below}
        top = self.k.zero.top
        for x in (self, other):
            part = x.top
            for f, n in below.items():
                missing = n - x.below.get(f, 0)
                if missing:
                    self.k.check_size(part, f)
                    part = part * f**missing
            top = top + part
        return Number(self.k, top, below)

    def __neg__(self) -> Number:
        return Number(self.k, -self.top, self.below)

    def __sub__(self, other: Number) -> Number:
        return self + (-other)

    def __mul__(self, other: Number) -> Number:
        self.k.check_size(self.top, other.top)
        below = dict(self.below)
        for f, n in other.below.items():
            below[f] = below.get(f, 0) + n
        return self.k.cancel(self.k.reduce(self.top * other.top), below)

    def __truediv__(self, other: Number) -> Number:
        return self * self.k.inverse(other)

    def __pow__(self, n: int) -> Number:
        out, base = self.k.one, self if n >= 0 else self.k.inverse(self)
        for _ in range(abs(n)):
            out = out * base
        return out


class Algebra:
    """The numbers of one statement: `positive` unknowns range over (0, oo), `free` ones over all numbers. Every operation costs
    time for every unknown, so room is set aside for a few roots and logarithms only; `Full` is raised when it is used up."""

    def __init__(self, positive: tuple[str, ...], free: tuple[str, ...] = (), roots: int = 8, logs: int = 0):
        self.positive, self.free, self.roots, self.logs = positive, free, roots, logs
        names = (*positive, *free, *(f"r{i}" for i in range(roots)), *(f"l{i}" for i in range(logs)))
        self.ring, *gens = ring([sympy.Symbol(n, real=True) for n in names] or [sympy.Symbol("_")], QQ)
        self._gen = {n: Number(self, g) for n, g in zip(names, gens, strict=False)}
        self._at = {n: i for i, n in enumerate(names)}
        self._roots: dict = {}  # positive irreducible polynomial or prime -> name of its root
        self._logs: dict = {}  # positive irreducible polynomial or prime -> name of its logarithm
        self._square: dict[int, PolyElement] = {}  # position of a root -> the polynomial it squares to
        self._factored: dict[PolyElement, tuple] = {}
        self.assumed: list = []  # polynomials taken as positive because the formula has no value where they are not
        self.zero, self.one = Number(self, self.ring.zero), Number(self, self.ring.one)

    def __contains__(self, name: str) -> bool:
        return name in self._gen

    def __getitem__(self, name: str) -> Number:
        return self._gen[name]

    def number(self, value: Fraction | int) -> Number:
        value = Fraction(value)
        return Number(self, self.ring(QQ(value.numerator, value.denominator)))

    # ------------------------------------------------------------------------------------------ normal form

    @staticmethod
    def check_size(a: PolyElement, b: PolyElement) -> None:
        if len(a) * len(b) > 50 * SIZE or any(f and f.LC.numerator.bit_length() > DIGITS for f in (a, b)):
            raise Beyond("the formula grows too large to expand")

    def reduce(self, poly: PolyElement) -> PolyElement:
        """The same polynomial, linear in every root."""
        for position, square in self._square.items():
            if all(m[position] < 2 for m in poly):
                continue
            parts: dict[int, dict] = {}
            for m, c in poly.items():
                half, rest = divmod(m[position], 2)
                parts.setdefault(half, {})[(*m[:position], rest, *m[position + 1 :])] = c
            poly = self.ring.zero
            for half, terms in parts.items():
                poly += self.ring.from_dict(terms) * square**half
        return poly

    def cancel(self, top: PolyElement, below: dict[PolyElement, int]) -> Number:
        """top / below with the factors that divide top taken out."""
        if not top:
            return self.zero
        left = {}
        for f, n in below.items():
            while n and len(f) <= len(top):
                quotient, rest = top.div(f)
                if rest:
                    break
                top, n = quotient, n - 1
            if n:
                left[f] = n
        return Number(self, top, left)

    def zero_test(self, x: Number) -> bool:
        """Whether x is zero; a decision (see the top of the file)."""
        return not x.top

    def rational(self, x: Number) -> Fraction | None:
        """x as a rational constant, or None."""
        x = self.cancel(x.top, x.below)
        if not x.top:
            return Fraction(0)
        if x.below or not x.top.is_ground:
            return None
        return Fraction(int(x.top.LC.numerator), int(x.top.LC.denominator))

    def inverse(self, x: Number) -> Number:
        """1 / x; raises Undefined for 1/0."""
        top, bottom = self.ring.one, x.top
        if not bottom:
            raise Undefined("division by zero")
        for position in self._square:
            held = [m[position] for m in bottom]
            if all(held):  # r p  ->  multiply by r
                other = self.ring.gens[position]
            elif any(held):  # p + r q  ->  multiply by p - r q
                other = self.ring.from_dict({m: -c if m[position] else c for m, c in bottom.items()})
            else:
                continue
            self.check_size(bottom, other)
            top, bottom = self.reduce(top * other), self.reduce(bottom * other)
        constant, factors = self._factor(bottom)
        for f, n in x.below.items():
            top = top * f**n
        return self.cancel(top * (1 / constant), dict(factors))

    def divide(self, x: Number, y: Number) -> Number:
        return x * self.inverse(y)

    def _factor(self, poly: PolyElement) -> tuple:
        """(constant, ((irreducible polynomial with positive leading coefficient, exponent), ...)), without unused unknowns."""
        if poly not in self._factored:
            used = [i for i in range(self.ring.ngens) if any(m[i] for m in poly)]
            if not used:
                return poly.LC, ()
            small = ring([self.ring.symbols[i] for i in used], QQ)[0]
            constant, factors = small.from_dict({tuple(m[i] for i in used): c for m, c in poly.items()}).factor_list()
            out = []
            for f, n in factors:
                full = self.ring.zero
                for m, c in f.items():
                    place = [0] * self.ring.ngens
                    for i, e in zip(used, m, strict=True):
                        place[i] = e
                    full[tuple(place)] = c
                scale = full.LC  # one representative for each factor: leading coefficient 1
                constant *= scale**n
                out.append((full.monic(), n))
            self._factored[poly] = (constant, tuple(out))
        return self._factored[poly]

    # ------------------------------------------------------------------------------------------ signs

    def _poly_sign(self, poly: PolyElement) -> int | None:
        """+1 or -1 when all coefficients agree and only positive unknowns and roots occur; None when that is not seen."""
        if poly in self.assumed or -poly in self.assumed:
            return 1 if poly in self.assumed else -1
        allowed = len(self.positive)
        last = len(self.positive) + len(self.free)
        signs = set()
        for m, c in poly.items():
            if any(m[allowed:last]) or any(m[last + self.roots :]):
                return None
            signs.add(1 if c > 0 else -1)
        return signs.pop() if len(signs) == 1 else None

    def sign(self, x: Number) -> int | None:
        """+1, -1 or 0 when x has that sign for all values of the unknowns, as far as it is seen; else None."""
        x = self.cancel(x.top, x.below)
        if not x.top:
            return 0
        out = self._poly_sign(x.top)
        for f, n in x.below.items():
            found = self._poly_sign(f)
            out = out * found**n if out and found else None
        return out

    # ------------------------------------------------------------------------------------------ roots, logarithms

    def factors(self, x: Number) -> list[tuple[Any, Fraction]]:
        """x > 0 as a product of primes and positive irreducible polynomials with exponents (halves, where roots occur)."""
        if not x.top:
            raise Undefined("the root or logarithm of zero")
        out: dict[Any, Fraction] = {}
        unseen: dict[Any, int] = {}
        constant, above = self._factor(x.top)
        sign = 1 if constant > 0 else -1
        constant = abs(constant)
        for part, direction in ((int(constant.numerator), 1), (int(constant.denominator), -1)):
            for prime, n in sympy.factorint(part, limit=10**6).items():
                out[prime] = out.get(prime, Fraction(0)) + n * direction
        for f, n in (*above, *((f, -n) for f, n in x.below.items())):
            k = Fraction(n)
            root = next((i for i in self._square if f == self.ring.gens[i]), None)
            if root is not None:
                f, k = self._square[root], k / 2
                f = int(f.LC) if f.is_ground else f
            elif any(m[i] for m in f for i in self._square):
                raise Beyond("a root inside a root or logarithm")
            else:
                found = self._poly_sign(f)
                if found is None:
                    unseen[f] = unseen.get(f, 0) + n
                    continue
                if found < 0:
                    f, sign = -f, -sign if n % 2 else sign
            out[f] = out.get(f, Fraction(0)) + k
        # A factor whose sign is not seen: if it is the only one, the formula is only defined where that factor has the sign
        # that makes x positive; we work there.
        open_ = [(f, n) for f, n in unseen.items() if n]
        if [n % 2 for _, n in open_] == [1]:
            f, n = open_[0]
            f, sign = (f, 1) if sign > 0 else (-f, 1)
            self.assumed.append(f)
            out[f] = Fraction(n)
        elif open_:
            raise Beyond(f"the sign of {self._show(open_[0][0])} is not known, and it matters under a root or logarithm")
        if sign < 0:
            raise Undefined("the root or logarithm of a negative number")
        return [(f, k) for f, k in out.items() if k]

    def _show(self, f: PolyElement) -> str:
        return str(f.as_expr()).replace("**", "^")

    def _new(self, table: dict, key, prefix: str, most: int) -> str:
        if key not in table:
            if len(table) >= most:
                raise Full
            table[key] = f"{prefix}{len(table)}"
            if prefix == "r":
                self._square[self._at[table[key]]] = key if not isinstance(key, int) else self.ring(key)
        return table[key]

    def sqrt(self, x: Number) -> Number:
        """The root of x >= 0."""
        if not x.top:
            return self.zero
        out = self.one
        for f, k in self.factors(x):
            if k.denominator != 1:
                raise Beyond("a root inside a root")
            half, odd = divmod(int(k), 2)
            base = Number(self, self.ring(f)) if isinstance(f, int) else Number(self, f)
            if half:
                out *= base**half
            if odd:
                out *= self[self._new(self._roots, f, "r", self.roots)]
        return out

    def log(self, x: Number) -> Number:
        """The natural logarithm of x > 0."""
        out = self.zero
        for f, k in self.factors(x):
            out += self.number(k) * self[self._new(self._logs, f, "l", self.logs)]
        return out

    # ------------------------------------------------------------------------------------------ values at a point

    def value(self, x: Number, point: dict[str, Fraction]) -> sympy.Expr:
        """x at a rational point (a value for every unknown that occurs), as an exact sympy number."""
        numbers: dict[int, Fraction] = {self._at[n]: v for n, v in point.items() if n in self._at}
        surds: dict[int, sympy.Expr] = {}
        if "pi" in self._gen:
            surds[self._at["pi"]] = sympy.pi
        for table, function in ((self._roots, sympy.sqrt), (self._logs, sympy.log)):
            for key, name in table.items():
                f = Fraction(key) if isinstance(key, int) else self._number_at(key, numbers, surds)
                found = function(_sympy(f) if isinstance(f, Fraction) else f)
                if found.is_Rational:
                    numbers[self._at[name]] = Fraction(int(found.p), int(found.q))
                else:
                    surds[self._at[name]] = found
        bottom = sympy.Integer(1)
        for f, n in x.below.items():
            bottom *= _sympy(self._number_at(f, numbers, surds)) ** n
        if bottom == 0:
            raise Undefined("division by zero")
        return sympy.expand(_sympy(self._number_at(x.top, numbers, surds)) / bottom)

    def _number_at(self, poly, numbers: dict[int, Fraction], surds: dict[int, sympy.Expr]):
        """A polynomial at a point: a Fraction when nothing irrational occurs, else a sympy number."""
        parts: dict[tuple, Fraction] = {}
        for m, c in poly.items():
            term, rest = Fraction(int(c.numerator), int(c.denominator)), []
            for i, k in enumerate(m):
                if k and i in numbers:
                    term *= numbers[i] ** k
                elif k:
                    rest.append((i, k))
            parts[tuple(rest)] = parts.get(tuple(rest), Fraction(0)) + term
        if not parts.keys() - {()}:
            return parts.get((), Fraction(0))
        return sympy.Add(*(sympy.Mul(_sympy(c), *(surds[i] ** k for i, k in rest)) for rest, c in parts.items()))


def _sympy(x) -> sympy.Expr:
    return sympy.Rational(x.numerator, x.denominator) if isinstance(x, Fraction) else x


class At(Algebra):
    """The same arithmetic with numbers in place of the unknowns: exact values at one point."""

    def __init__(self, point: dict[str, Fraction], roots: int = 16, logs: int = 16):
        super().__init__(("pi",), (), roots, logs)
        self.point = point

    def __contains__(self, name: str) -> bool:
        return name in self.point or super().__contains__(name)

    def __getitem__(self, name: str) -> Number:
        return self.number(self.point[name]) if name in self.point else super().__getitem__(name)

    def exact(self, x: Number) -> sympy.Expr:
        """The number as sympy shows it."""
        return self.value(x, {})
