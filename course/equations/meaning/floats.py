"""The arithmetic of algebra.py in floating point: to throw out what is plainly false before proving anything."""

from __future__ import annotations

import math
from fractions import Fraction


class Floats:
    """The same interface as algebra.Algebra in floating point: to throw out what is plainly false before proving."""

    def __init__(self, positive: tuple[str, ...], free: tuple[str, ...] = (), logs: bool = False, seed: int = 0):
        self.names = {}
        state = seed * 7919 + 12345
        for n in (*positive, *free):
            state = (state * 1103515245 + 12345) % 2**31
            size = 0.1 if n.startswith("\\sigma") else 1.1  # small, so that 1 - \\bar\\alpha - sigma^2 has a root
            self.names[n] = size * (0.3 + state / 2**31)
        self.names["pi"] = math.pi
        self.zero, self.one = 0.0, 1.0
        self.assumed: list = []

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> float:
        return self.names[name]

    def number(self, value) -> float:
        return float(value)

    def sign(self, x: float) -> int:
        return (x > 1e-12) - (x < -1e-12)

    def zero_test(self, x: float) -> bool:
        return abs(x) < 1e-9

    def rational(self, x: float) -> Fraction | None:
        """x as a rational with a small denominator, or None."""
        f = Fraction(x).limit_denominator(64)
        return f if abs(f - Fraction(x)) < 1e-12 else None

    def divide(self, x: float, y: float) -> float:
        if abs(y) < 1e-12:
            raise ArithmeticError("division by zero")
        return x / y

    def sqrt(self, x: float) -> float:
        return math.sqrt(x) if x > -1e-12 and x >= 0 else self._bad() if x < -1e-12 else 0.0

    def log(self, x: float) -> float:
        return math.log(x) if x > 0 else self._bad()

    @staticmethod
    def _bad():
        raise ArithmeticError("the root or logarithm of a negative number")
