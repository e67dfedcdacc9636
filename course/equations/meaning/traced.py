"""The exact arithmetic of algebra.py, keeping account of what it did: the steps that the kernel works out again at random points.

A traced number is a number of algebra.Algebra together with the step that makes it. What is decided (is it zero, which sign) is
decided by the algebra; that both sides of a line are then the same is for the kernel to find out by itself, from the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from course.equations.meaning.algebra import Algebra, At, Beyond, Number

Step = list[Any]
Coefficients = list[tuple[Any, int]]  # (key, step)
MAX_STEPS = 20_000


class Tracer:
    """The steps of one line, each once, and what was compared in it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.known: dict[str, int] = {}
        self.positive: dict[str, None] = {}
        self.free: dict[str, None] = {}
        self.compared: dict[str, Any] | None = None
        self.zeros: dict[int, None] = {}  # the numbers taken for zero

    def step(self, *step: Any) -> int:
        key = repr(step)
        if key not in self.known:
            if len(self.steps) >= MAX_STEPS:
                raise Beyond(f"more than {MAX_STEPS} steps of arithmetic")
            self.known[key] = len(self.steps)
            self.steps.append(list(step))
        return self.known[key]

    def room(self, roots: int) -> Callable[..., TracedAlgebra]:
        """Like closed_forms.room: what makes the arithmetic of one line, with room for this many roots."""
        return lambda positive, free, logs=False: TracedAlgebra(
            self, Algebra(positive, free, roots, roots + 4 if logs else 0), positive, free
        )

    def at(self, point: dict[str, Fraction]) -> TracedAlgebra:
        """The arithmetic with numbers in place of the unknowns; pi is itself."""
        return TracedAlgebra(self, At(point), ("pi",), ())

    def differ(self, left: Traced, relation: str, right: Traced) -> dict[str, Any]:
        """Evidence that a relation between two numbers does not hold."""
        self.compare({"": left}, {"": right})
        out = self.evidence(relation) or {}
        (((_, one),), _, ((_, two),)) = out["claim"]
        return {**out, "rule": "differ", "claim": [one, relation, two]}

    def compare(self, left: dict | None, right: dict | None, gap: dict[str, Any] | None = None) -> None:
        """Take note of two sides as {key: traced number}; the last ones noted are those that a verdict rests on."""
        if left is None or right is None:
            self.compared = None
            return
        sides = [[[_plain(k), x.step] for k, x in side.items()] for side in (left, right)]
        self.compared = {"left": sides[0], "right": sides[1], "gap": gap}

    def evidence(self, relation: str) -> dict[str, Any] | None:
        """The last comparison as evidence for the kernel, with the steps that it needs."""
        if self.compared is None:
            return None
        left, right, gap = (self.compared[k] for k in ("left", "right", "gap"))
        wanted = [*self.zeros, *(i for _, i in (*left, *right))]
        if gap:
            wanted += [i for i in [gap["number"]] if i is not None]
            wanted += [i for d, vector in gap["squares"] for i in (d, *(j for _, j in vector))]
        needed: set[int] = set()
        while wanted:
            i = wanted.pop()
            if i not in needed:
                needed.add(i)
                wanted += _inputs(self.steps[i])
        new = {old: k for k, old in enumerate(sorted(needed))}
        steps = []
        for old in sorted(needed):
            step = self.steps[old]
            inputs = [new[i] for i in _inputs(step)]
            steps.append([step[0], *inputs, *step[1 + len(inputs) :]])
        out: dict[str, Any] = {
            "format": 1,
            "rule": "points",
            "positive": list(self.positive),
            "free": [n for n in self.free if n not in self.positive],
            "steps": steps,
            "zeros": [new[i] for i in self.zeros],
            "claim": [[[k, new[i]] for k, i in left], relation, [[k, new[i]] for k, i in right]],
        }
        if gap:
            squares = [[new[d], [[n, new[i]] for n, i in vector]] for d, vector in gap["squares"]]
            out["gap"] = {"number": None if gap["number"] is None else new[gap["number"]], "squares": squares}
        return out


def _inputs(step: Step) -> list[int]:
    """The steps that a step uses."""
    return {"num": [], "var": [], "add": step[1:3], "mul": step[1:3]}.get(step[0], step[1:2])


def _plain(key: Any) -> Any:
    return [_plain(k) for k in key] if isinstance(key, tuple) else key


class Traced:
    """A number and the step that makes it."""

    __slots__ = ("k", "step", "x")

    def __init__(self, k: TracedAlgebra, x: Number, step: int):
        self.k, self.x, self.step = k, x, step

    def made(self, x: Number, *step: Any) -> Traced:
        return Traced(self.k, x, self.k.tracer.step(*step))

    def __add__(self, other: Traced) -> Traced:
        return self.made(self.x + other.x, "add", self.step, other.step)

    def __neg__(self) -> Traced:
        return self.made(-self.x, "mul", self.k.minus, self.step)

    def __sub__(self, other: Traced) -> Traced:
        return self + (-other)

    def __mul__(self, other: Traced) -> Traced:
        return self.made(self.x * other.x, "mul", self.step, other.step)

    def __truediv__(self, other: Traced) -> Traced:
        inverse = self.k.tracer.step("pow", other.step, -1)
        return self.made(self.x / other.x, "mul", self.step, inverse)

    def __pow__(self, n: int) -> Traced:
        return self.made(self.x**n, "pow", self.step, n)

    @property
    def top(self):
        return self.x.top

    @property
    def below(self):
        return self.x.below


class TracedAlgebra:
    """algebra.Algebra on traced numbers."""

    def __init__(self, tracer: Tracer, k: Algebra, positive: tuple[str, ...], free: tuple[str, ...]):
        self.tracer, self.k = tracer, k
        tracer.positive.update(dict.fromkeys(positive))
        tracer.free.update(dict.fromkeys(free))
        self.minus = tracer.step("num", "-1")
        self.zero, self.one = self.number(0), self.number(1)

    @property
    def assumed(self) -> list:
        return self.k.assumed

    def __contains__(self, name: str) -> bool:
        return name in self.k

    def __getitem__(self, name: str) -> Traced:
        if isinstance(self.k, At) and name in self.k.point:
            return self.number(self.k.point[name])
        return Traced(self, self.k[name], self.tracer.step("var", name))

    def number(self, value: Fraction | int) -> Traced:
        return Traced(self, self.k.number(value), self.tracer.step("num", str(Fraction(value))))

    def zero_test(self, x: Traced) -> bool:
        """Is it zero? That it is, the kernel finds out again."""
        zero = self.k.zero_test(x.x)
        if zero and self.tracer.steps[x.step] != ["num", "0"]:
            self.tracer.zeros[x.step] = None
        return zero

    def sign(self, x: Traced) -> int | None:
        return self.k.sign(x.x)

    def rational(self, x: Traced) -> Fraction | None:
        return self.k.rational(x.x)

    def factors(self, x: Traced) -> list[tuple[object, Fraction]]:
        return self.k.factors(x.x)

    def divide(self, x: Traced, y: Traced) -> Traced:
        return x / y

    def sqrt(self, x: Traced) -> Traced:
        return Traced(self, self.k.sqrt(x.x), self.tracer.step("sqrt", x.step))

    def log(self, x: Traced) -> Traced:
        return Traced(self, self.k.log(x.x), self.tracer.step("log", x.step))

    def exact(self, x: Traced):
        """The number as sympy shows it, at a point."""
        return self.k.exact(x.x)  # type: ignore[attr-defined]

    def seen_positive(self, x: Traced) -> int | None:
        """A step with the value of x that is positive by its form: a polynomial with positive coefficients over such ones."""
        if self.k.sign(x.x) != 1:
            return None
        exact = self.k.cancel(x.x.top, x.x.below)
        turned = self.k._poly_sign(exact.top)  # top and the factors below may all be negative
        out = self._polynomial(exact.top if turned == 1 else -exact.top)
        for f, n in exact.below.items():
            part = self._polynomial(f if self.k._poly_sign(f) == 1 else -f)
            out = self.tracer.step("mul", out, self.tracer.step("pow", part, -n))
        return out

    def _polynomial(self, poly) -> int:
        """The steps of a polynomial in the unknowns and roots."""
        step, names = self.tracer.step, {i: n for n, i in self.k._at.items()}
        total = None
        for monomial, c in poly.items():
            out = step("num", str(Fraction(int(c.numerator), int(c.denominator))))
            for i, n in enumerate(monomial):
                if not n:
                    continue
                root = self.k._square.get(i)
                base = step("var", names[i]) if root is None else step("sqrt", self._polynomial(root))
                out = step("mul", out, base if n == 1 else step("pow", base, n))
            total = out if total is None else step("add", total, out)
        return step("num", "0") if total is None else total
