"""The rules, not only statements: every step of the kernel keeps the value in random worlds; independence against brute force;
accepted statements, changed at random, are accepted only where they are still true; and a search without its guards gets no
false statement past the kernel."""

import copy
import itertools
import math
import os
import random
from fractions import Fraction

import pytest
from test_gaussian import CASES as CLOSED
from test_statements import CASES

from course.equations import judge, kernel, read, settings
from course.equations.judge import _examined
from course.equations.meaning import algebra, lower
from course.equations.meaning.settings import Model
from course.equations.meaning.settings import model as model_of
from course.equations.search import gaussian, probability, proof
from course.equations.search.probability import Claim

TRUE = [c for c in CASES if c.kind in ("identity", "bound")]
FALSE = [c for c in CASES if c.kind == "refuted"]
FUZZ = bool(os.environ.get("COURSE_FUZZ"))  # `make fuzz`: new seeds each time; the test's name says which
SEEDS = [random.SystemRandom().randrange(10**9) for _ in range(60)] if FUZZ else range(60)
NETS = [random.SystemRandom().randrange(10**9) for _ in range(250)] if FUZZ else range(250)
pytestmark = [pytest.mark.fuzz] if FUZZ else []


def random_world(laws, T, rng):
    """A world of binary variables for these laws, as evidence, and the kernel's evaluator of it."""
    made = kernel.Laws(laws, T)
    tables = {}
    for letter, parents in made.parents.items():
        tables[letter] = []
        for (i, base), up in parents.items():
            flat = []
            for _ in range(2 ** len(up)):
                n = rng.randint(1, 11)
                flat += [f"{n}/12", f"{12 - n}/12"]
            tables[letter].append([[base, i], [[b, j] for j, b in sorted(up)], flat])
    world = {"T": T, "index": {}, "sizes": [[b, i, 2, "1"] for i, b in made.order], "tables": tables, "at": []}
    return made, kernel.World({"world": world}, made)


def value_of_form(form, world, at):
    """A normal form worked out in a world; `at` gives values to its free variables."""
    order = world.order

    def factor(f, values):
        if f[0] == "m":
            return float(world.marginal(f[1], {v[:2]: values[v] for v in f[2]}))
        if f[0] == "n":
            return float(f[1])
        inner = value_of_form(dict(f[1]), world, values)
        return math.exp(inner) if f[0] == "exp" else inner

    total = 0.0
    for (bound, mono, logs), c in form.items():
        names = sorted(bound)
        for values in itertools.product(range(2), repeat=len(names)):
            inside = {**at, **dict(zip(names, values, strict=True))}
            term = float(c)
            for f, e in mono:
                term *= factor(f, inside) ** e
            for f, e in logs:
                term *= math.log(factor(f, inside)) ** e
            total += term
    assert order
    return total


def random_term(rng, depth, slots, letters):
    """A term over these slots, as the kernel reads it, positive under logarithms and fraction bars."""

    def density():
        some = rng.sample(slots, rng.randint(1, min(3, len(slots))))
        cut = rng.randint(1, len(some))
        return [
            "d",
            rng.choice(letters),
            [[b, None if i < 0 else ["", i], ""] for i, b in some[:cut]],
            [[b, None if i < 0 else ["", i], ""] for i, b in some[cut:]],
        ]

    def positive(depth):
        kind = rng.choice(["d", "d", "mul", "div", "sum"]) if depth else "d"
        if kind == "d":
            return density()
        if kind == "sum":
            return ["sum", [variable()], [], positive(depth - 1)]
        if kind == "mul":
            return ["mul", positive(depth - 1), positive(depth - 1)]
        return ["div", positive(depth - 1), positive(depth - 1)]

    def variable():
        i, b = rng.choice(slots)
        return [b, None if i < 0 else ["", i], ""]

    kind = rng.choice(["log", "add", "mul", "sum", "pow", "exp", "positive"]) if depth else "positive"
    if kind == "positive":
        return positive(2)
    if kind == "log":
        return ["log", positive(2)]
    if kind == "exp":
        return ["exp", ["log", positive(1)]]
    if kind == "pow":
        return ["pow", random_term(rng, depth - 1, slots, letters), 2]
    if kind == "sum":
        return ["sum", [variable()], [], random_term(rng, depth - 1, slots, letters)]
    return [kind, random_term(rng, depth - 1, slots, letters), random_term(rng, depth - 1, slots, letters)]


def free_values(g, made, rng):
    return {((i, b), ""): (i, b, ("", rng.randrange(2))) for i, b in made.order}


@pytest.mark.parametrize("setting", ["vae", "hvae", "diffusion"])
def test_every_rule_keeps_the_value_in_random_worlds(setting):
    laws, T = lower.laws(settings[setting]), 2 if settings[setting].indexed else 1
    tried = 0
    for seed in SEEDS:
        rng = random.Random(seed)
        made, world = random_world(laws, T, rng)
        g = random_term(rng, 3, made.order, list(laws))
        at = free_values(g, made, rng)
        try:
            form = kernel.Forms({}, made).go(g, {"T": T}, {})
            want = float(world.go(g, {"T": T}, at))
        except (kernel.Missing, kernel.Rejected):
            continue
        tried += 1
        values = {(i, b, ""): v[2][1] for ((i, b), _), v in at.items()}
        got = value_of_form(form, world, values)
        assert math.isclose(got, want, rel_tol=1e-9, abs_tol=1e-9), (seed, g)
    assert tried > len(SEEDS) // 2


# ------------------------------------------------------------------------------------------- independence, by brute force


def random_net(rng, n=5):
    """The parents of n variables: a directed acyclic graph."""
    return {k: tuple(j for j in range(k) if rng.random() < 0.45) for k in range(n)}


def brute_force_independent(net, tables, a, b, given):
    """Is p(a, b | given) = p(a | given) p(b | given) in the world of these tables? Added up cell by cell, in fractions."""
    joint = {}
    for cell in itertools.product(range(2), repeat=len(net)):
        p = Fraction(1)
        for k, up in net.items():
            one = tables[k][tuple(cell[j] for j in up)]
            p *= one if cell[k] else 1 - one
        joint[cell] = p

    def mass(**fixed):
        want = {int(k[1:]): v for k, v in fixed.items()}
        return sum(p for cell, p in joint.items() if all(cell[k] == v for k, v in want.items()))

    for values in itertools.product(range(2), repeat=len(given)):
        held = {f"v{g}": v for g, v in zip(given, values, strict=True)}
        for x, y in itertools.product(range(2), repeat=2):
            both = mass(**held, **{f"v{a}": x, f"v{b}": y}) * mass(**held)
            if both != mass(**held, **{f"v{a}": x}) * mass(**held, **{f"v{b}": y}):
                return False
    return True


def test_d_separation_against_brute_force_on_250_random_nets():
    """What the kernel calls independent is so in a random world, and what it does not is not (almost surely)."""
    yes = 0
    for seed in NETS:
        rng = random.Random(seed)
        net = random_net(rng)
        tables = {
            k: {v: Fraction(rng.randint(1, 96), 97) for v in itertools.product(range(2), repeat=len(up))}
            for k, up in net.items()
        }
        variable = lambda k: ["v", ["", k], ""]  # noqa: E731
        laws = kernel.Laws({"p": [["d", [variable(k)], [variable(j) for j in up]] for k, up in net.items()]}, 1)
        a, b, *rest = rng.sample(range(len(net)), len(net))
        given = rest[: rng.randint(0, 3)]
        found = laws.separated("p", (a, "v"), (b, "v"), frozenset((g, "v") for g in given))
        assert found == brute_force_independent(net, tables, a, b, given), (seed, net, a, b, given)
        yes += found
    assert 20 < yes < 230


# ------------------------------------------------------------------------------------------- changed at random


def spots(x, path=()):
    """Every place of a lowered claim with something to change."""
    if isinstance(x, list):
        yield path
        for k, part in enumerate(x):
            yield from spots(part, (*path, k))


def perturbed(evidence, rng):
    """The evidence with one random change in its claim: another law, index, operation, condition or number."""
    out = copy.deepcopy(evidence)
    for _ in range(40):
        at = out["claim"]
        path = rng.choice([p for p in spots(at) if p])
        for k in path:
            at = at[k]
        match at:
            case ["d" | "w", "p" | "q", _, _]:
                what = rng.choice(["law", "drop", "swap"])
                if what == "law":
                    at[1] = {"p": "q", "q": "p"}[at[1]]
                elif what == "drop" and at[3]:
                    at[3].pop(rng.randrange(len(at[3])))
                elif what == "swap" and at[3]:
                    at[2], at[3] = at[3], at[2]
                else:
                    continue
            case ["log", _]:
                at[0] = "exp"
            case ["add", *_]:
                at[0] = "mul"
            case ["num", c]:
                at[1] = str(Fraction(c) + 1)
            case [str(), int()]:
                at[1] += rng.choice((-1, 1))
            case _:
                continue
        return out
    return out


def holds_in_worlds(evidence):
    """Whether the claim holds in random worlds at T = 2 and 3, wherever it speaks of anything; None where it does nowhere."""
    left, relation, right = evidence["claim"]
    seen = None
    for seed, T in itertools.product(range(3), (2, 3) if "'T'" in str(evidence["laws"]) else (1,)):
        rng = random.Random(seed)
        made, world = random_world(evidence["laws"], T, rng)
        world.names, world.alias = evidence.get("names", {}), kernel.Walker(evidence).alias
        for env in kernel.instances(evidence, T):
            marks = {v[2] for v in _variables(evidence["claim"])} | {""}
            at = {((i, b), m): (i, b, (m, rng.randrange(2))) for (i, b) in made.order for m in marks}
            try:
                world.count = 0
                a, b = (float(world.go(side, env, at)) for side in (left, right))
            except (kernel.Missing, kernel.Rejected, OverflowError, ArithmeticError):
                continue
            close = math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
            seen = close or {"=": False, ">=": a > b, "<=": a < b}[relation]
            if not seen:
                return False
    return seen


def _variables(x):
    if isinstance(x, list):
        if len(x) == 3 and isinstance(x[0], str) and isinstance(x[2], str) and (x[1] is None or isinstance(x[1], list)):
            yield x
        for part in x:
            yield from _variables(part)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_accepted_statements_changed_at_random_are_accepted_only_if_true(seed):
    rng = random.Random(seed)
    accepted = changed = 0
    for c in TRUE:
        for original in judge(c.latex, c.setting).evidence:
            other = perturbed(original, rng)
            changed += other != original
            try:
                kernel.check(other)
            except kernel.Rejected:
                continue
            accepted += 1
            assert holds_in_worlds(other) is not False, (c.latex, other["claim"])
    assert changed > len(TRUE) // 2
    assert accepted < changed


# ------------------------------------------------------------------------------------------- the search without its guards


def no_moralisation(self, letter, a, b, given):
    """d-separation with the moral edges between parents forgotten."""
    parents, seen, todo = self.parents[letter], {a}, [a]
    while todo:
        s = todo.pop()
        for n in {*parents[s], *(c for c, up in parents.items() if s in up)}:
            if n == b:
                return False
            if n not in seen and n not in given:
                seen.add(n)
                todo.append(n)
    return True


def careless_combination(self, target, elementals):
    """The first elemental, whatever it adds up to."""
    return [(Fraction(1), elementals[0])] if elementals else None


GUARDS = {
    "d-separation without moral edges": (Model, "separated", no_moralisation),
    "everything is independent": (Model, "separated", lambda self, letter, a, b, given: True),
    "every normal form is empty": (Claim, "difference", lambda self, i, forget=frozenset(): {}),
    "a sum over a variable just drops it": (
        proof.Normaliser,
        "settled",
        lambda self, term: (frozenset(), frozenset(f for f in term[1] if not proof.factor_variables(f[0]) & term[0]), term[2]),
    ),
    "logarithms of products are forgotten": (proof.Normaliser, "log", lambda self, a: {}),
    "divisions are forgotten": (proof.Normaliser, "inverse", lambda self, a: proof.constant(1)),
    "any combination is a certificate": (proof.Bounds, "combined", careless_combination),
    "coefficients may be negative": (proof, "nonnegative", lambda columns, right: {0: -1.0} if columns else None),
    "lints are ignored": (probability, "_with_lints", lambda verdict, lints, extra_note: verdict),
    "no world is ever found": (probability, "_refute", lambda *args, **options: None),
    "every side is positive": (probability, "_positive", lambda node: True),
    "densities ignore their conditions": (
        proof.Normaliser,
        "density",
        lambda self, letter, args, given: self.marginal(letter, args),
    ),
    "chains are looked at for T = 2 alone": (probability, "LENGTHS", (2,)),
}


def nothing_differs(m, a, b):
    gaussian._note(m, gaussian._parts(a), gaussian._parts(b))
    return {}


CLOSED_GUARDS = {
    "every number is zero": (algebra.Algebra, "zero_test", lambda self, x: True),
    "no coefficients differ": (gaussian, "_difference", nothing_differs),
    "every number is positive": (algebra.Algebra, "sign", lambda self, x: 1),
    "no numbers refute": (gaussian, "_refute", lambda *args, **options: None),
    "floats see nothing": (gaussian, "plausible", lambda line: True),
}


def forget_caches():
    for cached in (model_of, probability._normaliser, probability._data, probability.decide, gaussian.decide, _examined):
        cached.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*GUARDS, *CLOSED_GUARDS])
def test_a_search_without_a_guard_gets_nothing_false_past_the_kernel(name, monkeypatch):
    """Each guard is broken on purpose; then no false statement is accepted, whatever else goes wrong."""
    owner, attribute, broken = (GUARDS | CLOSED_GUARDS)[name]
    forget_caches()
    monkeypatch.setattr(owner, attribute, broken)
    false = [(c.latex, c.setting) for c in FALSE] if name in GUARDS else [(c[0], "gaussian") for c in CLOSED if not c[1]]
    assert len(false) > 50
    try:
        for latex, setting in false:
            verdict = judge(latex, setting, explain=False)
            assert not verdict.accepted, (name, latex, str(verdict))
    finally:
        monkeypatch.undo()
        forget_caches()
    assert read(FALSE[0].latex)
