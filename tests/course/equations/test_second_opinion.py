"""A second opinion: accepted lines of the documentation, evaluated by sympy in small worlds with symbols for probabilities.

Nothing of the engine or the kernel works here: the tables, the marginals, the sums and the comparison are this file's own, on
sympy's expressions. Shared is only the lowered statement itself, which says what is claimed.
"""

import itertools
import math
import random
import types
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import test_gaussian

from course.equations import judge, judge_derivation, pages

DOCS = Path(__file__).parents[3] / "docs"
SYMBOLS = 2  # entries of tables that are symbols; the others are fractions, so that sympy stays quick


class SymbolicWorld:
    """Binary variables; every law is a table of fractions, two entries of which are symbols between 0 and 1."""

    def __init__(self, claim, T, rng):
        self.claim, self.T, self.joint = claim, T, {}
        factors = {letter: list(self.unrolled(laws, {"T": T})) for letter, laws in claim["laws"].items()}
        self.slots = sorted({s for f in factors.values() for args, given in f for s in (*args, *given)})
        entries = []
        for letter, parts in factors.items():
            own = [s for args, _ in parts for s in args]
            steps = [((s,), ()) for s in self.slots if s not in own]  # no law: any law will do
            steps += [((s,), (*given, *args[:k])) for args, given in parts for k, s in enumerate(args)]
            self.joint[letter] = {cell: sp.Integer(1) for cell in itertools.product(range(2), repeat=len(self.slots))}
            entries += [
                (letter, s, given, values) for (s,), given in steps for values in itertools.product(range(2), repeat=len(given))
            ]
        symbolic = set(map(str, rng.sample(entries, min(SYMBOLS, len(entries)))))
        self.unknown = []
        for entry in entries:
            letter, s, given, values = entry
            one = sp.Rational(rng.randint(1, 10), 11)
            if str(entry) in symbolic:
                one = sp.Symbol(f"u{len(self.unknown)}", positive=True)
                self.unknown.append(one)
            for cell in self.joint[letter]:
                at = dict(zip(self.slots, cell, strict=True))
                if tuple(at[g] for g in given) == values:
                    self.joint[letter][cell] *= one if at[s] else 1 - one

    def unrolled(self, laws, env):
        for f in laws:
            if f[0] == "each":
                for i in range(self.at(f[2], env), self.at(f[3], env) + 1):
                    yield from self.unrolled(f[4], {**env, f[1]: i})
            else:
                yield [s for v in f[1] for s in self.run(v, env)], [s for v in f[2] for s in self.run(v, env)]

    @staticmethod
    def at(index, env):
        return env.get(index[0], 0) + index[1]

    def run(self, variable, env):
        base, where, _ = variable
        if where is None:
            return [(base, None)]
        low, high = where if isinstance(where[0], list) else (where, where)
        found = [(base, i) for i in range(self.at(low, env), self.at(high, env) + 1)]
        alias = {(b, i): (c, j) for (b, i), (c, j) in self.claim.get("alias", [])}
        return [alias.get(s, s) for s in found]

    def probability(self, letter, values):
        cells = (c for c in self.joint[letter] if all(c[self.slots.index(s)] == v for s, v in values.items()))
        return sp.Add(*(self.joint[letter][c] for c in cells))

    def value(self, g, env, known):
        kind, *rest = g
        if kind == "num":
            return sp.Rational(rest[0])
        if kind == "at":
            return sp.Integer(self.at(rest[0], env))
        if kind in ("add", "mul"):
            return {"add": sp.Add, "mul": sp.Mul}[kind](*(self.value(p, env, known) for p in rest))
        if kind == "div":
            return self.value(rest[0], env, known) / self.value(rest[1], env, known)
        if kind == "pow":
            return self.value(rest[0], env, known) ** rest[1]
        if kind in ("log", "exp"):
            return {"log": self.log, "exp": sp.exp}[kind](self.value(rest[0], env, known))
        if kind == "each":
            how, letter, low, high, body = rest
            run = [self.value(body, {**env, letter: i}, known) for i in range(self.at(low, env), self.at(high, env) + 1)]
            return {"add": sp.Add, "mul": sp.Mul}[how](*run)
        if kind == "name":
            name, index = rest
            if index is None:
                return self.value(self.claim["names"][name], env, known)
            i = self.at(index, env)
            keys = [f"{name}_T"] * (i == self.T) + [f"{name}_{i}", f"{name}_s"]
            return self.value(next(self.claim["names"][k] for k in keys if k in self.claim["names"]), {**env, "s": i}, known)
        if kind in ("d", "w"):
            letter, args, given = rest
            one, two = ({s: known[s, v[2]] for v in part for s in self.run(v, env)} for part in (args, given))
            if kind == "d" and one.keys() & two.keys():
                raise KeyError("a variable before and behind the bar: no density for these indices")
            return sp.cancel(self.probability(letter, {**one, **two}) / self.probability(letter, two))
        assert kind == "sum", kind
        over, held, body = rest
        kept = {(s, v[2]) for v in held for s in self.run(v, env)}
        names = list(dict.fromkeys((s, v[2]) for v in over for s in self.run(v, env) if (s, v[2]) not in kept))
        cells = itertools.product(range(2), repeat=len(names))
        return sp.Add(*(self.value(body, env, {**known, **dict(zip(names, c, strict=True))}) for c in cells))

    @staticmethod
    def log(x):
        """log of a rational function as logs of its irreducible factors: then equal logarithms look equal."""
        out = sp.Integer(0)
        for part, sign in zip(sp.fraction(sp.cancel(x)), (1, -1), strict=True):
            constant, powers = sp.factor_list(part)
            for f, n in powers:
                first = sp.Poly(f).coeffs()[0]
                f, constant = (-f, constant * (-1) ** n) if first < 0 else (f, constant)
                out += sign * n * sp.Symbol(f"log({sp.expand(f)})")
            for p, n in sp.factorrat(sp.Rational(sp.Abs(constant))).items():
                out += sign * n * sp.Symbol(f"log({p})")
        return out


def agrees(evidence, T, seed):
    """Whether sympy finds the claim true in one world, at every choice of the free indices it speaks of; None: of none."""
    left, relation, right = evidence["claim"]
    rng = random.Random(seed)
    world, seen = SymbolicWorld(evidence, T, rng), None
    marks = {v for v in ("", "'", "''") if f"'{v}'" in str(evidence["claim"]) or v in ("", "'")}
    known = {(s, m): rng.randrange(2) for s in world.slots for m in marks}
    for values in itertools.product(range(1, T + 1), repeat=len(evidence["free"])):
        env = {**dict(zip(evidence["free"], values, strict=True)), "T": T}
        if not all(
            {"<": a < b, "<=": a <= b, "=": a == b}[rel]
            for rel, a, b in ((r, world.at(x, env), world.at(y, env)) for r, x, y in evidence["where"])
        ):
            continue
        try:
            gap = world.value(left, env, known) - world.value(right, env, known)
        except KeyError:  # a variable that does not exist for these indices
            continue
        if relation == "=":
            seen = sp.cancel(sp.together(sp.expand(gap))) == 0
        else:
            names = {
                s: sp.log(sp.Abs(sp.sympify(str(s)[4:-1], {str(u): u for u in world.unknown})))
                for s in gap.free_symbols
                if str(s).startswith("log(")
            }
            number = gap.subs(names).subs({u: sp.Rational(rng.randint(1, 10), 11) for u in world.unknown}).evalf(30)
            seen = bool(number >= -1e-20) if relation == ">=" else bool(number <= 1e-20)
        if not seen:
            return False
    return seen


def proved_lines(folder):
    """(page, line, evidence) of everything that the documentation proves in a probability setting."""
    for path in pages.pages(folder):
        for block in pages.blocks(path.read_text(encoding="utf-8").splitlines()):
            setting = (block.options or {}).get("setting")
            if setting in ("vae", "hvae", "chain", "diffusion"):
                for step in judge_derivation(block.latex, setting).steps:
                    for e in step.verdict.evidence if step.verdict.accepted else ():
                        yield path.name, step.latex, e


@pytest.mark.parametrize(
    ("latex", "setting", "true"),
    [
        (r"\log p(x) = \mathrm{ELBO} + \mathrm{KL}(q(z|x) \| p(z|x))", "vae", True),
        (r"\log p(x) \ge \mathrm{ELBO}", "vae", True),
        (r"q(z_{1:T}|x) = q(z_T|x)\prod_{t=2}^T q(z_{t-1}|z_t,x)", "hvae", True),
        (r"q(x_{t-1}|x_t,x_0) = \frac{q(x_t|x_{t-1}) q(x_{t-1}|x_0)}{q(x_t|x_0)}", "diffusion", True),
        (r"\log p(x) = \mathrm{ELBO}", "vae", False),
        (r"q(x_{t-1}|x_t) = q(x_{t-1}|x_t,x_0)", "diffusion", False),
    ],
)
def test_sympy_agrees(latex, setting, true):
    verdict = judge(latex, setting, explain=False)
    assert verdict.accepted == true
    (evidence,) = verdict.evidence
    T = 3 if setting in ("hvae", "diffusion") and not true else 2
    assert agrees({"free": [], "where": [], **evidence}, T, 0) is true


@pytest.mark.slow
def test_sympy_agrees_with_every_proved_line_of_the_documentation():
    tried = 0
    for page, line, evidence in proved_lines(DOCS):
        found = agrees({"free": [], "where": [], **evidence}, 2, tried)
        if found is None:
            found = agrees({"free": [], "where": [], **evidence}, 3, tried)
        assert found, (page, line)
        tried += 1
    assert tried >= 40


# ------------------------------------------------------------------------------------------------------ the Gaussian setting


class SymbolicSchedule(test_gaussian.World):
    """One dimension; every level, x and sigma is a symbol: beta_i = g_i / (1 + g_i), so that all levels are between 0 and 1."""

    def __init__(self, t):
        self.t, self.d = t, 1
        growth = [sp.Symbol(f"g{i}", positive=True) for i in range(1, t + 2)]
        self.beta = [None, *(g / (1 + g) for g in growth)]
        self.x = [np.array([sp.Symbol(f"x{i}", real=True)], dtype=object) for i in range(t + 2)]
        self.sigma = [None, *(sp.Symbol(f"s{i}", positive=True) for i in range(1, t + 2))]
        self.mu1, self.mu2 = (np.array([sp.Symbol(n, real=True)], dtype=object) for n in ("m1", "m2"))
        self.s1, self.s2 = sp.symbols("S1 S2", positive=True)

    def net(self, x=None, k=0):
        raise TypeError("a network is a function of numbers here")

    def posterior(self, x=None, x0=None):
        """Mean and variance of x_{t-1} given x_t and x_0, by completing the square of q(x_t|x_{t-1}) q(x_{t-1}|x_0)."""
        x, x0 = self.xt if x is None else x, self.x0 if x0 is None else x0
        before, al, be = 1 - self.ab(-1), self.al(), self.be()
        variance = sp.factor(1 / (al / be + 1 / before))
        return variance * (root(al) * x / be + root(self.ab(-1)) * x0 / before), variance


def root(x):
    """The square root of a factored positive number: of each factor by itself."""
    return sp.sqrt(sp.factor(x))


def logarithm(x):
    return sp.expand_log(sp.log(sp.factor(x)))


def vanishes(gap):
    """By expanding what is above the bar, with all symbols."""
    return sp.expand(sp.fraction(sp.together(gap))[0]) == 0


def is_something(gap, rng):
    """Seen at one point of fractions, to thirty digits."""
    point = {s: sp.Rational(rng.randint(1, 30), rng.randint(1, 30)) for s in gap.free_symbols}
    return abs(gap.subs(point).evalf(30)) > 1e-12


@pytest.mark.slow
def test_sympy_agrees_about_the_closed_forms(monkeypatch):
    """Lines of the Gaussian setting whose sides sympy can work out with symbols alone: true ones are equal, false ones are not."""
    plain = types.SimpleNamespace(sqrt=root, log=logarithm, exp=sp.exp, pi=sp.pi, prod=math.prod)
    for name, value in (
        ("math", plain), ("sq", root), ("D", 1), ("gradient", lambda f, x: np.array([sp.diff(f(x), s) for s in x])),
    ):
        monkeypatch.setattr(test_gaussian, name, value)
    tried, rng = {True: 0, False: 0}, random.Random(0)
    for text, truth, left, right in test_gaussian.CASES:
        world = SymbolicSchedule(2 if truth else 3)
        try:
            gaps = np.atleast_1d(np.asarray(left(world) - right(world), dtype=object)).ravel()
        except (TypeError, AttributeError, ValueError):  # networks: numbers only
            continue
        if any(isinstance(gap, float) for gap in gaps):  # quadratures
            continue
        tried[truth] += 1
        if truth:
            assert all(vanishes(sp.sympify(gap)) for gap in gaps), text
        else:
            assert any(is_something(sp.sympify(gap), rng) for gap in gaps), text
        assert judge(text, "gaussian", explain=False).accepted == truth
    assert tried[True] >= 25
    assert tried[False] >= 30
