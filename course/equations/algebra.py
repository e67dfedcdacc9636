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

import sympy
from sympy import QQ
from sympy.polys.fields import field

SIZE = 4000  # terms of a polynomial beyond which we give up, so that a hostile formula cannot hang


class Beyond(Exception):
    """The formula is readable but outside what the exact arithmetic covers; the text says why."""


class Full(Exception):
    """More roots or logarithms are needed than were set aside; try again with more."""


class Undefined(Exception):
    """The formula has no value: a division by zero, the root or logarithm of a negative number."""


class Algebra:
    """A field for one statement: `positive` unknowns range over (0, oo), `free` ones over all numbers. Every operation costs
    time for every unknown, so room is set aside for a few roots and logarithms only; `Full` is raised when it is used up."""

    def __init__(self, positive: tuple[str, ...], free: tuple[str, ...] = (), roots: int = 5, logs: int = 0):
        self.positive, self.free, self.roots, self.logs = positive, free, roots, logs
        names = (*positive, *free, *(f"r{i}" for i in range(roots)), *(f"l{i}" for i in range(logs)))
        self.field, *gens = field([sympy.Symbol(n, real=True) for n in names], QQ)
        self.ring = self.field.ring
        self._gen = dict(zip(names, gens, strict=True))
        self._at = {n: i for i, n in enumerate(names)}
        self._roots: dict = {}  # positive irreducible polynomial or prime -> name of its root
        self._logs: dict = {}  # positive irreducible polynomial or prime -> name of its logarithm
        self._square: dict[int, object] = {}  # position of a root -> the polynomial it squares to
        self.assumed: list = []  # polynomials taken as positive because the formula has no value where they are not
        self.zero, self.one = self.field.zero, self.field.one

    def __getitem__(self, name: str):
        return self._gen[name]

    def number(self, value: Fraction | int):
        value = Fraction(value)
        return self.field(QQ(value.numerator, value.denominator))

    # ------------------------------------------------------------------------------------------ normal form

    def _reduce(self, poly):
        """The same polynomial, linear in every root."""
        while True:
            if len(poly) > SIZE:
                raise Beyond("the formula grows too large to expand")
            high = [(m, i) for m in poly for i in self._square if m[i] > 1]
            if not high:
                return poly
            position = high[0][1]
            square, out = self._square[position], self.ring.zero
            parts: dict[int, dict] = {}
            for m, c in poly.items():
                half, rest = divmod(m[position], 2)
                parts.setdefault(half, {})[(*m[:position], rest, *m[position + 1 :])] = c
            for half, terms in parts.items():
                out += self.ring.from_dict(terms) * square**half
            poly = out

    def zero_test(self, x) -> bool:
        """Whether x is zero; a decision (see the top of the file)."""
        return not self._reduce(x.numer)

    def tidy(self, x):
        """The same number with no root in the denominator and roots at most linear; raises Undefined for 1/0."""
        top, bottom = self._reduce(x.numer), self._reduce(x.denom)
        if not bottom:
            raise Undefined("division by zero")
        for position in self._square:
            if any(m[position] for m in bottom):
                other = self.ring.from_dict({m: -c if m[position] else c for m, c in bottom.items()})
                top, bottom = self._reduce(top * other), self._reduce(bottom * other)
                if not bottom:
                    raise Undefined("division by zero")
        return self.field.new(top, bottom) if len(top) + len(bottom) < SIZE else self._too_large()

    @staticmethod
    def _too_large():
        raise Beyond("the formula grows too large to expand")

    def divide(self, x, y):
        if self.zero_test(y):
            raise Undefined("division by zero")
        return x / y

    # ------------------------------------------------------------------------------------------ signs

    def _poly_sign(self, poly) -> int | None:
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

    def sign(self, x) -> int | None:
        """+1, -1 or 0 when x has that sign for all values of the unknowns, as far as it is seen; else None."""
        x = self.tidy(x)
        if not x.numer:
            return 0
        top, bottom = self._poly_sign(x.numer), self._poly_sign(x.denom)
        return top * bottom if top and bottom else None

    # ------------------------------------------------------------------------------------------ roots, logarithms

    def factors(self, x) -> list[tuple[object, Fraction]]:
        """x > 0 as a product of primes and positive irreducible polynomials with exponents (halves, where roots occur)."""
        x = self.tidy(x)
        if not x.numer:
            raise Undefined("the root or logarithm of zero")
        out: dict[object, Fraction] = {}
        sign, unseen = 1, []
        for poly, power in ((x.numer, 1), (x.denom, -1)):
            constant, factors = poly.factor_list()
            sign *= 1 if constant > 0 else -1
            constant = abs(constant)
            for part, direction in ((int(constant.numerator), power), (int(constant.denominator), -power)):
                for prime, k in sympy.factorint(part, limit=10**6).items():
                    out[prime] = out.get(prime, Fraction(0)) + k * direction
            for f, k in factors:
                root = next((i for i in self._square if f == self.ring.gens[i]), None)
                if root is not None:
                    f, k = self._square[root], Fraction(k, 2)
                    f = int(f.LC) if f.is_ground else f
                elif any(m[i] for m in f for i in self._square):
                    raise Beyond("a root inside a root or logarithm")
                else:
                    found = self._poly_sign(f)
                    if found is None:
                        unseen.append((f, k * power))
                        continue
                    f, sign = (f, sign) if found > 0 else (-f, -sign if k % 2 else sign)
                out[f] = out.get(f, Fraction(0)) + k * power
        # A factor whose sign is not seen: if it is the only one, the formula is only defined where that factor has the sign
        # that makes x positive; we work there.
        if [k % 2 for _, k in unseen] == [1]:
            f, k = unseen[0]
            f, sign = (f, 1) if sign > 0 else (-f, 1)
            self.assumed.append(f)
            out[f] = Fraction(k)
        elif unseen:
            raise Beyond(f"the sign of {self._show(unseen[0][0])} is not known, and it matters under a root or logarithm")
        if sign < 0:
            raise Undefined("the root or logarithm of a negative number")
        return [(f, k) for f, k in out.items() if k]

    def _show(self, f) -> str:
        return str(f.as_expr()).replace("**", "^")

    def _new(self, table: dict, key, prefix: str, most: int) -> str:
        if key not in table:
            if len(table) >= most:
                raise Full
            table[key] = f"{prefix}{len(table)}"
            if prefix == "r":
                self._square[self._at[table[key]]] = key if not isinstance(key, int) else self.ring(key)
        return table[key]

    def sqrt(self, x):
        """The root of x >= 0."""
        if self.zero_test(x):
            return self.zero
        out = self.one
        for f, k in self.factors(x):
            whole, rest = divmod(k, 1)
            if rest.denominator != 1:
                raise Beyond("a root inside a root")
            half, odd = divmod(int(whole), 2)
            base = self.field(self.ring(f)) if isinstance(f, int) else self.field(f)
            out *= base**half
            if odd:
                out *= self[self._new(self._roots, f, "r", self.roots)]
        return out

    def log(self, x):
        """The natural logarithm of x > 0."""
        out = self.zero
        for f, k in self.factors(x):
            out += self.number(k) * self[self._new(self._logs, f, "l", self.logs)]
        return out

    # ------------------------------------------------------------------------------------------ values at a point

    def value(self, x, point: dict[str, Fraction]) -> sympy.Expr:
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
        bottom = _sympy(self._number_at(x.denom, numbers, surds))
        if bottom == 0:
            raise Undefined("division by zero")
        return sympy.expand(_sympy(self._number_at(x.numer, numbers, surds)) / bottom)

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

    def __getitem__(self, name: str):
        return self.number(self.point[name]) if name in self.point else super().__getitem__(name)

    def exact(self, x) -> sympy.Expr:
        """The number as sympy shows it."""
        return self.value(x, {})
