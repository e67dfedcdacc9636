r"""The kernel: all that has to be believed of a verdict. Plain Python, nothing installed, nothing of the course imported.

It is given a claim and evidence for it, as data, and either says what is proved or raises Rejected. Who found the evidence,
and how, does not matter.    python kernel.py FILE    checks a file written by `course prove --evidence FILE`.

LAWS      {"p": [FACTOR, ...], "q": ...}; FACTOR  ["d", ARGS, GIVEN] or ["each", letter, LOW, HIGH, [FACTOR, ...]]
VARIABLE  [base, null | INDEX | [INDEX, INDEX], mark]      INDEX  [letter or "", shift]; the letter T is the length
TERM      ["num", "3/4"]  ["at", INDEX]  ["add", a, ...]  ["mul", a, ...]  ["div", a, b]  ["pow", a, n]  ["log", a]  ["exp", a]
          ["name", name, INDEX | null]  ["each", "add" | "mul", letter, LOW, HIGH, a]: a sum or product over LOW, ..., HIGH
          ["d", law, ARGS, GIVEN], a density; ["w", ...], the same with what is given taken out of ARGS
          ["sum", OVER, HELD, a]: the sum (or integral) over all values of the variables OVER, except HELD
A claim with free indices speaks of all their values in 1..T at which its variables exist. Rules, for laws p and q:
    same      left - right has the empty normal form at every T up to the one that Scope computes: then it has for all T
    gibbs     left - right = sum of c * average of GIBBS(V, l, w) with c >= 0, as `same`, where
              GIBBS = sum_V l (log l - log w) + log sum_V w >= 0 whenever sum_V l = 1     (the only inequality there is)
    log       the logarithm is increasing: positive a, b are to each other as log a, log b
    world     one world of finitely many values, worked out in fractions: the claim fails there
    points    closed forms: the coefficients of both sides, as steps of exact arithmetic, agree at random points,
              and what was left out as zero is zero there
    letters   both sides are the same text
    differ    two numbers, made by steps of exact arithmetic, are not as claimed
    equal     a strict inequality fails: both sides are the same where q is p
What is proved holds for all positive laws that factorise as declared, whatever the alphabets, for densities too.
"""

import json
import random
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import combinations, permutations, product
from math import gcd, isqrt, prod
from typing import Any

UNIT: tuple = (frozenset(), frozenset(), frozenset())  # a term: bound variables, {(factor, exponent)}, {(factor, power of its log)}
MAX_PARTS, MAX_TERMS, MAX_T, MAX_CELLS, MAX_DIGITS = 200_000, 6_000, 24, 100_000, 600


class Rejected(Exception):
    """The evidence does not prove the claim; the message says what is missing."""


class Missing(Exception):
    """For these indices a variable does not exist, or a density is degenerate."""


def reject(why):
    raise Rejected(why)


def add(out, more, scale=1):
    for k, c in more.items():
        c = c if scale == 1 else -c if scale == -1 else scale * c
        out[k] = out[k] + c if k in out else c
        if not out[k]:
            del out[k]
    return out


def rational(text):
    if len(text) > MAX_DIGITS or not set(text) <= set("-0123456789/"):
        raise Rejected("a number is written with digits, up to 600 of them, and a bar")
    return Fraction(text)


def bounded(c):
    """The number itself, unless powers of powers have made it huge."""
    return c if abs(c.numerator) + c.denominator < 1 << 20_000 else reject("numbers of more than 20000 binary digits")


# ------------------------------------------------------------------------------------------------- terms, written out


def place(index, env):
    return (env[index[0]] if index[0] else 0) + int(index[1])


def places(variable, env):
    """The slots (index, base) that a variable stands for; -1 stands for no index."""
    base, where, _ = variable
    if where is None:
        return [(-1, base)]
    ends = where if isinstance(where[0], list) else [where, where]
    if abs(place(ends[0], env)) + abs(place(ends[1], env)) > 2 * MAX_T:
        raise Rejected(f"an index beyond {MAX_T}")
    return [(i if i >= 0 else i - 1, base) for i in range(place(ends[0], env), place(ends[1], env) + 1)]


class Walker:
    """Works a term out, given env (letter -> number) and scope (bound variable -> what stands for it). What numbers are, and
    what is done with them, is said by the three subclasses: normal forms, worlds, points."""

    num: Any
    plus: Any
    times: Any
    power: Any
    sum: Any
    density: Any

    def __init__(self, evidence, known=()):
        self.names, self.known, self.count = evidence.get("names", {}), set(known), 0
        self.alias = {(int(i), b): (int(j), c) for (b, i), (c, j) in evidence.get("alias", [])}

    def slots(self, variables, env):
        out = []
        for v in variables:
            if str(v[2])[:1] in "#*@" and v[2]:
                raise Rejected("marks that start with #, * or @ are the kernel's own")
            for s in places(v, env):
                s = self.alias.get(s, s)
                if s not in self.known:
                    raise Missing(f"{s[1]}_{s[0]} does not exist for T = {env['T']}")
                out.append((s, v[2]))
        return out

    def go(self, g, env, scope):
        self.count += 1
        if self.count > MAX_PARTS:
            raise Rejected(f"more than {MAX_PARTS} parts when sums and products are written out")
        match g:
            case ["num", str(c)]:
                return self.num(rational(c))
            case ["at", i]:
                return self.num(Fraction(place(i, env)))
            case ["add", *parts]:
                return reduce(self.plus, (self.go(p, env, scope) for p in parts), self.num(Fraction(0)))
            case ["mul", *parts]:
                return reduce(self.times, (self.go(p, env, scope) for p in parts), self.num(Fraction(1)))
            case ["div", a, b]:
                return self.times(self.go(a, env, scope), self.power(self.go(b, env, scope), -1))
            case ["pow", a, int(n)] if abs(n) <= 12:
                return self.power(self.go(a, env, scope), n)
            case ["log" | "exp" | "sqrt" as f, a]:
                return getattr(self, f)(self.go(a, env, scope))
            case ["each", "add" | "mul" as kind, letter, low, high, body] if letter != "T":
                run = (self.go(body, {**env, letter: i}, scope) for i in range(place(low, env), place(high, env) + 1))
                return reduce(self.plus if kind == "add" else self.times, run, self.num(Fraction(kind == "mul")))
            case ["name", name, None]:
                return self.go(self.names[name], env, scope)
            case ["name", name, index]:
                i = place(index, env)
                keys = [*([f"{name}_T"] if i == env["T"] else []), f"{name}_{i}", f"{name}_s"]
                return self.go(next(self.names[k] for k in keys if k in self.names), {**env, "s": i}, scope)
            case ["sum", over, held, body]:
                kept = self.slots(held, env)
                return self.sum([k for k in dict.fromkeys(self.slots(over, env)) if k not in kept], body, env, scope)
            case ["d" | "w" as kind, letter, args, given]:
                a, b = ([scope.get(k, (*k[0], k[1])) for k in self.slots(part, env)] for part in (args, given))
                if len({v[:2] for v in {*a, *b}}) < len({*a, *b}) or (kind == "d" and len({*a, *b}) < len(a) + len(b)):
                    raise Missing("a density in which a variable stands twice")
                return self.density(letter, frozenset(a) - frozenset(b), frozenset(b))
        return self.special(g, env, scope)

    def special(self, g, env, scope):
        raise Rejected(f"no term: {str(g)[:60]}")


# ------------------------------------------------------------------------------------------------- laws, independence


class Laws:
    """The laws at one length T: parents[letter][slot] is what the slot's factor is conditioned on."""

    def __init__(self, laws, T):
        self.memo: dict = {}
        self.settled: dict = {}
        self.parents: dict = {}
        lists = {letter: list(self.unrolled(factors, {"T": T})) for letter, factors in laws.items()}
        self.order = sorted({s for factors in lists.values() for pair in factors for part in pair for s in part})
        for letter, factors in lists.items():
            own: list = [s for args, _ in factors for s in args]
            known: list = []
            done: set = set()
            parents = self.parents[letter] = {}
            for s in self.order:
                if s not in own:  # what a law is only conditioned on gets any law: nothing proved depends on it
                    parents[s] = frozenset(known)
                    known.append(s)
            for args, given in factors:
                parents.update((s, frozenset((*given, *args[:k]))) for k, s in enumerate(args))
            while len(done) < len(parents):
                new = {s for s, up in parents.items() if s not in done and up <= done}
                if not new or len(set(own)) < len(own):
                    raise Rejected(f"the factors of {letter} are no law: they meet twice or go round in a circle")
                done |= new

    def unrolled(self, factors, env):
        for f in factors:
            if f[0] == "each":
                for i in range(place(f[2], env), min(place(f[3], env), 2 * MAX_T) + 1):
                    yield from self.unrolled(f[4], {**env, f[1]: i})
            else:
                yield tuple([s for v in part for s in places(v, env)] for part in f[1:3])

    def separated(self, letter, a, b, given):
        """Are a and b independent given `given`, whatever the tables? (d-separation, by the moral graph of the ancestors)"""
        parents, keep, todo = self.parents[letter], set(), [a, b, *given]
        while todo:
            if (s := todo.pop()) not in keep:
                keep.add(s)
                todo += parents[s]
        linked: dict = {s: set() for s in keep}
        for s in keep:
            for u, v in combinations((s, *parents[s]), 2):
                linked[u].add(v)
                linked[v].add(u)
        seen, todo = {a}, [a]
        while todo:
            for s in linked[todo.pop()] - seen - given:
                seen.add(s)
                todo.append(s)
        return b not in seen

    def split(self, letter, slots):
        """The marginal of `slots` as smaller ones: m(S) = m(S-a) m(S-b) / m(S-ab) where a, b are independent given the rest."""
        if (letter, slots) not in self.memo:
            out, row = {slots: 1} if slots else {}, sorted(slots)
            for a, b in ((row[i], row[i + gap]) for gap in range(len(row) - 1, 0, -1) for i in range(len(row) - gap)):
                if self.separated(letter, a, b, slots - {a, b}):
                    out = {}
                    for part, e in ((slots - {a}, 1), (slots - {b}, 1), (slots - {a, b}, -1)):
                        add(out, self.split(letter, part), e)
                    break
            self.memo[letter, slots] = out
        return self.memo[letter, slots]

    def marginal(self, letter, variables):
        at = {v[:2]: v for v in variables}
        return {("m", letter, frozenset(at[s] for s in part)): e for part, e in self.split(letter, frozenset(at)).items()}


@lru_cache(64)
def laws_at(text, T):
    return Laws(json.loads(text), T)


# ------------------------------------------------------------------------------------------------- the normal form


def variables(f):
    if f[0] == "m":
        return f[2]
    return frozenset().union(*(free(t) for t, _ in f[1])) if f[0] in ("val", "exp") else frozenset()


def free(term):
    return frozenset().union(*(variables(f) for part in term[1:] for f, _ in part)) - term[0]


def renamed(f, names):
    """A factor with other names for its free variables; what it binds itself stays."""
    if f[0] == "m":
        return "m", f[1], frozenset(names.get(v, v) for v in f[2])
    inner = () if f[0] == "n" else f[1]
    return f if not inner else (
        f[0], frozenset((rename(t, {v: w for v, w in names.items() if v not in t[0]}), c) for t, c in inner)
    )


def rename(term, names):
    bound, *parts = term
    return (frozenset(names.get(v, v) for v in bound), *(frozenset((renamed(f, names), e) for f, e in part) for part in parts))


def height(term):
    return 1 + max((height(t) for part in term[1:] for f, _ in part if f[0] in ("val", "exp") for t, _ in f[1]), default=0)


def key(x):
    return tuple(sorted(map(key, x))) if isinstance(x, frozenset) else tuple(map(key, x)) if isinstance(x, tuple) else (str(x),)


def canonical(term):
    """The term with its bound variables named by their place; up to three of one slot are tried in every order."""
    if not term[0]:
        return term
    level, row = height(term), sorted(term[0])
    groups: dict = {}
    for v in row:
        groups.setdefault(v[:2], []).append(v)
    orders = product(*(permutations(vs) if len(vs) < 4 else [tuple(vs)] for vs in groups.values()))
    named = (rename(term, {v: (*v[:2], f"*{level}.{i}") for vs in pick for i, v in enumerate(vs)}) for pick in orders)
    return next(named) if all(len(vs) == 1 for vs in groups.values()) else min(named, key=key)


def factors(powers, logs=()):
    return frozenset(), frozenset((f, e) for f, e in powers.items() if e), frozenset(logs)


def primes(c):
    out: dict = {}
    for n, sign in ((c.numerator, 1), (c.denominator, -1)):
        p = 2
        while n > 1:
            p = n if p * p > n or p > 2000 else p
            while n % p == 0:
                out[p], n = out.get(p, 0) + sign, n // p
            p += 1
    return out


def seen_positive(f):
    """Is a factor seen to be positive? Marginals, primes and exponentials are, and sums of such with positive coefficients."""
    return f[0] != "val" or all(c > 0 and not t[2] and all(seen_positive(g) for g, _ in t[1]) for t, c in f[1])


class Forms(Walker):
    """Normal forms {term: coefficient} under some laws. Each step keeps the value in every world."""

    def __init__(self, evidence, laws):
        super().__init__(evidence, laws.order)
        self.laws, self.depth = laws, 0

    def num(self, c):
        return {UNIT: c} if c else {}

    def density(self, letter, args, given):
        return {factors(add(self.laws.marginal(letter, args | given), self.laws.marginal(letter, given), -1)): Fraction(1)}

    def plus(self, a, b):
        return add(dict(a), b)

    def sum(self, keys, body, env, scope):
        self.depth += 1
        new = {k: (*k[0], f"#{self.depth}.{i}") for i, k in enumerate(keys)}
        inner, own = self.go(body, env, {**scope, **new}), frozenset(new.values())
        out: dict = {}
        self.depth -= 1
        for (bound, m, logs), c in inner.items():
            add(out, {self.settled((bound | own, m, logs)): c})
        return out

    def times(self, a, b):
        if len(a) * len(b) > MAX_TERMS:
            raise Rejected(f"more than {MAX_TERMS} terms when multiplied out")
        out: dict = {}
        if one := next((form for form, other in ((a, b), (b, a)) if other == {UNIT: 1}), None):
            return one
        for ta, ca in a.items():
            for tb, cb in b.items():
                if ta[0] and tb[0]:
                    tb = rename(tb, {v: (*v[:2], f"#.{i}") for i, v in enumerate(sorted(tb[0]))})
                joined = [frozenset(add(dict(x), dict(y)).items()) if x and y else x or y for x, y in zip(ta[1:], tb[1:], strict=True)]
                add(out, {self.settled((ta[0] | tb[0], *joined)): bounded(ca * cb)})
        return out

    def power(self, form, n):
        if n >= 0 or not form:
            return reduce(self.times, [form] * n, self.num(Fraction(1))) if n >= 0 else reject("a division by zero")
        if len(form) > 1:
            return {factors({("val", frozenset(form.items())): n}): Fraction(1)}
        ((term, c),) = form.items()
        outside, inside = self.parted(term)
        return {factors({f: n * e for f, e in (*outside, *inside)}): c**n}

    @staticmethod
    def parted(term):
        """Factors without bound variables, and the rest as one factor (or none). Logarithms stay inside."""
        bound, m, logs = term
        outside = [] if logs and not bound else [(f, e) for f, e in m if not variables(f) & bound]
        rest = (bound, m - frozenset(outside), logs)
        return outside, [] if rest == UNIT else [(("val", frozenset([(rest, Fraction(1))])), 1)]

    def log(self, form):
        whole = {factors({}, [(("val", frozenset(form.items())), 1)]): Fraction(1)}
        if len(form) != 1:
            return whole if form else reject("the logarithm of zero")
        ((term, c),) = form.items()
        outside, inside = self.parted(term)
        if c < 0 or not all(seen_positive(f) for f, _ in outside):
            return whole
        out: dict = {}
        for f, e in (*outside, *inside, *((("n", p), e) for p, e in primes(c).items())):
            add(out, dict(f[1]) if f[0] == "exp" else {factors({}, [(f, 1)]): Fraction(1)}, e)
        return out

    def exp(self, form):
        out: dict = {}
        scale = Fraction(1)
        for (bound, m, logs), c in form.items():
            if bound or m or len(logs) != 1 or c.denominator != 1 or next(iter(logs))[1] != 1 or abs(c) > 64:
                return {factors({("exp", frozenset(form.items())): 1}): Fraction(1)}
            ((f, _),) = logs
            if f[0] == "n":
                scale *= Fraction(f[1]) ** int(c)
            else:
                add(out, {f: int(c)})
        return {factors(out): scale}

    def settled(self, term):
        """Sum out every bound variable v that no logarithm sees and whose factors are those of one marginal m(S): together they
        are m(S) / rest, so the sum over v is m(S - v) / rest. Then name the bound variables canonically."""
        memo = self.laws.settled
        if len(memo) > 100_000:
            memo.clear()
        if term[0] and term not in memo:
            (bound, m, logs), again = term, True
            hidden = frozenset().union(*(variables(f) for f, _ in logs))
            while again:
                again = False
                for v in sorted(bound - hidden):
                    mine = {f: e for f, e in m if v in variables(f)}
                    if not mine or any(f[0] != "m" for f in mine) or len({f[1] for f in mine}) > 1:
                        continue
                    letter, whole = next(iter(mine))[1], frozenset().union(*(f[2] for f in mine))
                    parts = self.laws.marginal(letter, whole)
                    if len({u[:2] for u in whole}) < len(whole) or {f: e for f, e in parts.items() if v in f[2]} != mine:
                        continue
                    rest = add(add(dict(m), mine, -1), {f: e for f, e in parts.items() if v not in f[2]}, -1)
                    m, bound, again = frozenset(add(rest, self.laws.marginal(letter, whole - {v})).items()), bound - {v}, True
            memo[term] = canonical((bound, m, logs))
        return memo[term] if term[0] else term


# ------------------------------------------------------------------------------------------------- how long T must be tried


def landmarks(g, found, depth=0):
    """Into found: the largest constant index, the farthest one before T, the largest shift of a running one, the nesting."""
    if isinstance(g, list) and len(g) == 2 and isinstance(g[0], str) and type(g[1]) is int:
        which = 0 if not g[0] else 1 if g[0] == "T" else 2
        found[which] = max(found[which], abs(g[1]))
    elif isinstance(g, list):
        depth += g[:1] == ["each"]
        found[3] = max(found[3], depth)
        for part in g:
            landmarks(part, found, depth)
    return found


def shape(g, names):
    """(m, b, D, E, N) of a term: places of the chain in one term of its normal form, those of a block of variables, the degree in
    T and the places of its coefficients, and of its exponents, products that are added. Rejects what the argument for all T does
    not cover."""

    def fixed(a):
        m, b, D, E, N = shape(a, names)
        return (m, b, 0, E, 1) if not D and (not E or N == 1) else reject("T, or a sum by index, under a log or fraction bar")

    def joined(shapes, how=sum):
        ms, bs, Ds, Es, Ns = zip(*shapes, strict=True) if shapes else ([0], [0], [0], [0], [1])
        return how(ms), max(bs), how(Ds), how(Es), prod(Ns) if how is sum else sum(Ns)

    match g:
        case ["num", _]:
            return 0, 0, 0, 0, 1
        case ["at", _]:
            return 0, 0, 1, 0, 1
        case ["d" | "w", _, args, given]:
            return 0, int(any(v[1] and isinstance(v[1][0], list) for v in (*args, *given))), 0, 0, 1
        case ["add", *parts]:
            return joined([shape(p, names) for p in parts], max)
        case ["mul", *parts]:
            return joined([shape(p, names) for p in parts])
        case ["div", a, b]:
            return joined([shape(a, names), fixed(b)])
        case ["pow", a, int(n)]:
            return joined([shape(a, names) if n > 0 else fixed(a)] * abs(n))
        case ["log", a]:
            m, b, _, E, _ = fixed(a)
            return m + b, 0, E, 0, 1
        case ["exp", a]:
            m, b, D, E, _ = shape(a, names)
            return (m, b, 0, D, 1) if not E else reject("powers of powers")
        case ["sum", _, _, a]:
            return shape(a, names)
        case ["each", "add", _, _, _, a]:
            m, b, D, E, N = shape(a, names)
            return (m + 1, b, D + 1, 0, N) if not E else reject("a sum by index of products by index")
        case ["each", "mul", letter, _, _, a]:
            m, b, D, E, N = shape(a, names)
            loose = [v for d in densities(a) for v in (*d[2], *d[3]) if f"['{letter}'," not in str(v)]
            if D or N > 1 or any(f"'{word}'" in str(a) for word in ("num", "log", "sum", "name")):
                raise Rejected("a product by index of something else than densities")
            return m, 1, 0, E + bool(loose), 1
        case ["name", name, _]:
            return joined([shape(names[k], names) for k in names if name in (k, k.rpartition("_")[0])], max)
    raise Rejected(f"no term: {str(g)[:60]}")


def densities(g):
    return [g] if g[0] in ("d", "w") else [d for p in g if isinstance(p, list) and p for d in densities(p)]


def horizon(evidence, terms):
    """The T up to which claims made of these terms must be tried. In normal form a term sits at places of the chain; for each
    order of the places and the landmarks (constants, T minus a constant, a running index plus a shift) its coefficient is a
    polynomial in T and the places. Up to here every order occurs, and each polynomial has more zeros than its degree allows."""
    left, right, step, depth = landmarks([*terms, evidence.get("where", [])], [1, 0, 1, 1])
    for part in (list(evidence["laws"].values()), list(evidence.get("names", {}).values())):
        a, b, c, d = landmarks(part, [0, 0, 0, 0])
        left, right, step, depth = max(left, a), max(right, b), step + c, max(depth, d)
    m, b, D, E, N = (max(column) for column in zip(*(shape(g, evidence.get("names", {})) for g in terms), strict=True))
    if E and N > 2:
        raise Rejected("a sum of products by index")
    H = max(4, left + right + (m + b + len(evidence.get("free", []))) * (2 * (step - 1) * depth + 1) + D + E + 1)
    return H if H <= MAX_T else reject(f"T would have to be tried up to {H}, and {MAX_T} is the limit")


def instances(evidence, T):
    """Every choice of the free indices in 1..T, with T, that the conditions allow."""
    names = evidence.get("free", [])
    for values in product(range(1, T + 1), repeat=len(names)):
        env = {**dict(zip(names, values, strict=True)), "T": T}
        tests = [(rel, place(a, env), place(b, env)) for rel, a, b in evidence.get("where", [])]
        if all({"=": a == b, "<=": a <= b, "<": a < b, "!=": a != b}[rel] for rel, a, b in tests):
            yield env


# ------------------------------------------------------------------------------------------------- the rules


def minus(g):
    return ["mul", ["num", "-1"], g]


def positive(g):
    """Is a term made of densities, by products, quotients, powers, sums and averages: positive in every world?"""
    match g:
        case ["d" | "w" | "exp", *_]:
            return True
        case ["num", c]:
            return rational(c) > 0
        case ["add" | "mul", *parts]:
            return bool(parts) and all(map(positive, parts))
        case ["div", a, b]:
            return positive(a) and positive(b)
        case ["pow", a, _] | ["sum", _, _, a] | ["each", "mul", _, _, _, a]:
            return positive(a)
    return False


def gibbs(piece):
    """The term that is never negative: around[...] outer averages of sum_V l (log l - log w) + log sum_V w."""
    law, weight, over = piece["law"], piece["weight"], piece["over"]
    if not all(map(positive, (law, weight, *(d for _, _, d in piece.get("outer", []))))) or rational(piece["c"]) < 0:
        raise Rejected("a negative coefficient, or a weight not seen to be positive")
    gap = ["add", ["sum", over, [], ["mul", law, ["add", ["log", law], minus(["log", weight])]]], ["log", ["sum", over, [], weight]]]
    for v, held, density in reversed(piece.get("outer", [])):
        gap = ["sum", v, held, ["mul", density, gap]]
    gap, one = ["mul", ["num", piece["c"]], gap], ["add", ["sum", over, [], law], ["num", "-1"]]
    for letter, low, high in reversed(piece.get("each", [])):
        gap = ["each", "add", letter, low, high, gap]
        one = ["each", "add", letter, low, high, ["pow", one, 2]]  # zero only if every one of them is
    return gap, one


def proved(evidence):
    """Checks an identity or a bound; returns (kind, extent)."""
    (left, relation, right), rule = evidence["claim"], evidence["rule"]
    if rule == "log":
        if not (positive(left) and positive(right)):
            raise Rejected("not seen to be positive")
        return proved({**evidence, "claim": [["log", left], relation, ["log", right]], "rule": evidence["then"]})
    if relation == "<=":
        left, right = right, left
    pieces = [gibbs(p) for p in evidence["pieces"]] if rule == "gibbs" and relation in ("<=", ">=") else []
    if rule != "same" and not pieces:
        raise Rejected(f"no rule {str(rule)[:20]!r} for {str(relation)[:20]!r}")
    zero = [["add", left, minus(right), *(minus(gap) for gap, _ in pieces)], *(one for _, one in pieces)]
    indexed = "'T'" in str(evidence["laws"])
    H, first = (horizon(evidence, zero), None) if indexed else (1, 1)
    for T in range(2 if indexed else 1, H + 1):
        laws, found = laws_at(json.dumps(evidence["laws"]), T), 0
        for env in instances(evidence, T):
            forms = Forms(evidence, laws)
            try:
                if any(forms.go(g, env, {}) for g in zero):
                    at = ", ".join(f"{k} = {v}" for k, v in env.items())
                    raise Rejected(f"the two sides have different normal forms at {at}")
                found += 1
            except Missing as problem:
                if not evidence.get("free") and first is not None:
                    raise Rejected(str(problem)) from None
        first = T if found and first is None else first
        if not found and first is not None:
            raise Rejected(f"no choice of the indices is possible at T = {T}")
    if first is None:
        raise Rejected(f"the claim speaks of variables that do not exist up to T = {H}")
    return ("bound" if pieces else "identity"), (f"every T >= {first}" if indexed else "")


# ------------------------------------------------------------------------------------------------- refutations


def decimal(x):
    return x if isinstance(x, Decimal) else Decimal(x.numerator) / Decimal(x.denominator)


class World(Walker):
    """One world: tables of fractions for every law. Values are fractions, and decimals of many digits behind a logarithm.
    A variable with a width stands for a density that is constant on intervals of that width."""

    def __init__(self, evidence, laws):
        super().__init__(evidence, laws.order)
        world, self.joint, self.memo = evidence["world"], {}, {}
        self.order, self.sizes, self.widths = laws.order, {}, {}
        for base, i, n, width in world["sizes"]:
            self.sizes[i, base], self.widths[i, base] = int(n), rational(width)
        if set(self.sizes) != set(laws.order) or min(self.sizes.values()) < 1 or min(self.widths.values()) <= 0:
            raise Rejected("the sizes of the world are not those of the variables")
        if prod(self.sizes.values()) > MAX_CELLS:
            raise Rejected(f"a world of more than {MAX_CELLS} cells")
        for letter, parents in laws.parents.items():
            tables = {(i, b): ([(j, c) for c, j in up], list(map(rational, flat))) for (b, i), up, flat in world["tables"][letter]}
            for s, up in parents.items():
                given, flat = tables[s]
                n = self.sizes[s]
                rows = [flat[k : k + n] for k in range(0, len(flat), n)]
                if set(given) != up or len(given) != len(up) or len(rows) != prod(self.sizes[u] for u in up):
                    raise Rejected(f"the table of {s[1]}_{s[0]} in {letter} is not one for its factor")
                if any(sum(row) != 1 or min(row) <= 0 for row in rows):
                    raise Rejected("a row of a table does not sum to one, or is not positive")
            self.joint[letter] = [
                (cell, prod((tables[s][1][self.at(cell, (*tables[s][0], s))] for s in parents), start=Fraction(1)))
                for cell in product(*(range(self.sizes[s]) for s in laws.order))
            ]

    def at(self, cell, slots):
        where, out = dict(zip(self.order, cell, strict=True)), 0
        for s in slots:
            out = out * self.sizes[s] + where[s]
        return out

    def marginal(self, letter, values):
        slots = tuple(sorted(values))
        if (letter, slots) not in self.memo:
            table = self.memo[letter, slots] = {}
            places_ = [self.order.index(s) for s in slots]
            for cell, value in self.joint[letter]:
                k = tuple(cell[i] for i in places_)
                table[k] = table.get(k, 0) + value
        return self.memo[letter, slots][tuple(values[s] for s in slots)] / prod(self.widths[s] for s in slots)

    def num(self, c):
        return c

    def density(self, letter, args, given):
        both, held = ({v[:2]: v[2][1] for v in part} for part in (args | given, given))
        return self.marginal(letter, both) / self.marginal(letter, held)

    def sum(self, keys, body, env, scope):
        total = Fraction(0)
        for values in product(*(range(self.sizes[k[0]]) for k in keys)):
            inner = {k: (*k[0], (k[1], n)) for k, n in zip(keys, values, strict=True)}
            total = self.plus(total, self.go(body, env, {**scope, **inner}))
        return self.times(total, prod((self.widths[k[0]] for k in keys), start=Fraction(1)))

    def plus(self, a, b):
        return a + b if isinstance(a, Fraction) and isinstance(b, Fraction) else decimal(a) + decimal(b)

    def times(self, a, b):
        return bounded(a * b) if isinstance(a, Fraction) and isinstance(b, Fraction) else decimal(a) * decimal(b)

    def power(self, a, n):
        return a**n if a or n >= 0 else reject("a division by zero")

    def log(self, a):
        return (decimal(a).ln() if a != 1 else Fraction(0)) if a > 0 else reject("the logarithm of what is not positive")

    def exp(self, a):
        return decimal(a).exp() if a else Fraction(1)


def refuted(evidence):
    """Checks that the claim fails in the world given; returns the values of both sides there."""
    (left, relation, right), world = evidence["claim"], evidence["world"]
    T, index = int(world["T"]), world["index"]
    if T > MAX_T or {**index, "T": T} not in list(instances(evidence, T)):
        raise Rejected("indices of which the claim does not speak")
    laws, found = Laws(evidence["laws"], T), []
    for digits in (60, 90):
        with localcontext() as context:
            context.prec = digits
            w = World(evidence, laws)
            at = {((i, b), mark): (i, b, (mark, int(n))) for b, i, mark, n in world["at"]}
            try:
                found.append([w.go(side, {**index, "T": T}, at) for side in (left, right)])
            except Missing as problem:
                raise Rejected(str(problem)) from None
    (a, b), (c, d) = found
    with localcontext() as context:
        context.prec = 90
        gap, scale = decimal(c) - decimal(d), 1 + abs(decimal(c)) + abs(decimal(d))
        drift = abs(decimal(a) - decimal(c)) + abs(decimal(b) - decimal(d))
        exact = isinstance(c, Fraction) and isinstance(d, Fraction)
        if (not exact and abs(gap) < scale * Decimal(10) ** -30) or drift > scale * Decimal(10) ** -40:
            raise Rejected("the two sides cannot be told apart in this world")
        fails = {"=": gap != 0, ">=": gap < 0, "<=": gap > 0, ">": gap <= 0, "<": gap >= 0}[relation]
    return (c, d) if fails else reject("the claim holds in this world")


def attained(evidence):
    """Checks that a strict inequality fails because both sides are equal in every world whose laws are tied by `like`, such as
    {"q": "p"}; there are such worlds if p is independent wherever q must be."""
    (left, relation, right), like, T = evidence["claim"], evidence["like"], 2 if "'T'" in str(evidence["laws"]) else 1
    laws = laws_at(json.dumps(evidence["laws"]), T)
    for one, other in like.items():
        done: list = []
        while len(done) < len(laws.order):
            s = next(s for s in laws.order if s not in done and laws.parents[one][s] <= set(done))
            if any(not laws.separated(other, s, u, laws.parents[one][s]) for u in set(done) - laws.parents[one][s]):
                raise Rejected(f"{one} need not be able to equal {other}")
            done.append(s)

    def tied(g):
        if isinstance(g, list) and g[:1] in (["d"], ["w"]):
            return [g[0], like.get(g[1], g[1]), *g[2:]]
        return [tied(part) for part in g] if isinstance(g, list) else g

    known = {**evidence, "names": {k: tied(g) for k, g in evidence.get("names", {}).items()}}
    for env in instances(evidence, T):
        if relation in ("<", ">") and not Forms(known, laws).go(["add", tied(left), minus(tied(right))], env, {}):
            return True
    raise Rejected("the two sides are not seen to be equal there")


# ------------------------------------------------------------------------------------------------- closed forms, at points


class Exact:
    """Exact numbers at one point: {(roots, logarithms): fraction}. A root is the place of its radicand in `roots`, no product of
    which is a square, so different sets of roots are independent over the fractions; a logarithm is that of a whole number."""

    def __init__(self):
        self.roots = []

    def times(self, a, b):
        out: dict = {}
        for (ra, la), ca in a.items():
            for (rb, lb), cb in b.items():
                both = prod((self.roots[i] for i in ra & rb), start=Fraction(1))
                add(out, {(ra ^ rb, tuple(sorted(la + lb))): bounded(ca * cb * both)})
        return out

    def power(self, a, n):
        if n < 0 and not a:
            raise ZeroDivisionError
        if n < 0:
            top: dict = {(frozenset(), ()): Fraction(1)}
            while len(a) > 1 or any(r for r, _ in a):
                if any(logs for _, logs in a):
                    raise Rejected("a division by a logarithm")
                i = max(i for r, _ in a for i in r)
                turned = {(r, logs): -c if i in r else c for (r, logs), c in a.items()}
                turned = turned if any(i not in r for r, _ in a) else {(frozenset([i]), ()): Fraction(1)}
                top, a = self.times(top, turned), self.times(a, turned)
            return self.power(self.times(top, {k: 1 / c for k, c in a.items()}), -n)
        return reduce(self.times, [a] * n, {(frozenset(), ()): Fraction(1)})

    def single(self, a):
        """(roots, coefficient) of a number that is one fraction times roots."""
        if not a:
            return frozenset(), Fraction(0)
        ((roots, logs), c), *more = a.items()
        return (roots, c) if not more and not logs else reject("the root or logarithm of a sum with roots")

    def sqrt(self, a):
        roots, c = self.single(a)
        if roots or c < 0:
            raise (Rejected("a root inside a root") if roots else ZeroDivisionError)
        for size in range(len(self.roots) + 1):
            for some in combinations(range(len(self.roots)), size):
                scaled = c * prod((self.roots[i] for i in some), start=Fraction(1))
                root = Fraction(isqrt(scaled.numerator), isqrt(scaled.denominator))
                if root * root == scaled:
                    return {(frozenset(some), ()): root / prod(self.roots[i] for i in some)} if c else {}
        self.roots.append(c)
        return {(frozenset([len(self.roots) - 1]), ()): Fraction(1)} if len(self.roots) < 12 else reject("too many roots")

    def log(self, a):
        roots, c = self.single(a)
        if c <= 0:
            raise ZeroDivisionError
        out: dict = {}
        for x, half in ((c, Fraction(1)), *((self.roots[i], Fraction(1, 2)) for i in roots)):
            add(out, {(frozenset(), (n,)): half * e for n, e in ((x.numerator, 1), (x.denominator, -1)) if n > 1})
        return out

    def decimal(self, a):
        terms = (decimal(c) * prod(decimal(self.roots[i]).sqrt() for i in r) * prod(Decimal(n).ln() for n in k) for (r, k), c in a.items())
        return sum(terms, Decimal(0))

    def zero(self, a):
        """Is it zero? Logarithms of coprime numbers are independent, so all are written by a coprime base first."""
        base: list = []
        for n in {n for _, logs in a for n in logs}:
            todo = [n]
            while todo:
                n = todo.pop()
                for b in base if n > 1 else ():
                    if (g := gcd(n, b)) > 1:
                        base.remove(b)
                        todo += [g, n // g, b // g] if g < max(n, b) else []
                        base += [g] if g == n == b else []
                        break
                else:
                    base += [n] if n > 1 else []
        total: dict = {}
        for (roots, logs), c in a.items():
            terms = {(): c}
            for n in logs:
                split: dict = {}
                for b in base:
                    while n % b == 0:
                        add(split, {tuple(sorted((*k, b))): v for k, v in terms.items()})
                        n //= b
                terms = split
            add(total, {(roots, k): v for k, v in terms.items()})
        return not total


def at_point(evidence, unknown):
    """The values of all steps where the unknowns have these values; ZeroDivisionError where one has none."""
    exact = Exact()
    out: list = []
    unknown = {name: {(frozenset(), ()): c} for name, c in unknown.items()}
    for step in evidence["steps"]:
        match step:
            case ["num", str(c)]:
                value: dict = {(frozenset(), ()): rational(c)} if rational(c) else {}
            case ["var", name]:
                value = unknown[name]
            case ["add", int(i), int(j)] if min(i, j) >= 0:
                value = add(dict(out[i]), out[j])
            case ["mul", int(i), int(j)] if min(i, j) >= 0:
                value = exact.times(out[i], out[j])
            case ["pow", int(i), int(n)] if i >= 0 and abs(n) <= 12:
                value = exact.power(out[i], n)
            case ["sqrt" | "log" as f, int(i)] if i >= 0:
                value = getattr(exact, f)(out[i])
            case _:
                raise Rejected(f"no step: {str(step)[:40]}")
        if len(value) > 4000:
            raise Rejected("a number of more than 4000 terms")
        out.append(value)
    return exact, out


def degrees(steps):
    """For each step a bound on the degree of the rational function it is, above and below the bar."""
    out = []
    for step in steps:
        match step:
            case ["num", _]:
                out.append(0)
            case ["add" | "mul", i, j]:
                out.append(out[i] + out[j])
            case ["pow", i, n]:
                out.append(abs(n) * out[i])
            case ["sqrt" | "log", i]:
                out.append(out[i])
            case _:
                out.append(1)
    return out


def surely_positive(steps, positive):
    """For each step: is it positive by its form, whatever the unknowns?"""
    out = []
    for step in steps:
        match step:
            case ["num", c]:
                out.append(rational(c) > 0)
            case ["var", name]:
                out.append(name in positive)
            case ["add" | "mul", i, j]:
                out.append(out[i] and out[j])
            case ["pow" | "sqrt", i, *_]:
                out.append(out[i])
            case _:
                out.append(False)
    return out


def taken_for_zero(evidence, exact, values):
    """Rejects a number that was left out as zero and is none."""
    if not all(exact.zero(values[i]) for i in evidence.get("zeros", [])):
        raise Rejected("what was left out as zero is not zero")


def at_points(evidence):
    """Checks that the coefficients of both sides, as {product of inner products or vector: step}, agree at random exact points;
    for an inequality, that left - right is a positive number plus squares of vectors with positive weights."""
    left, relation, right = evidence["claim"]
    gaps, steps, found, bits = evidence.get("gap"), evidence["steps"], 0, 0
    if not (relation == "=" and gaps is None) and not (relation in (">=", ">") and gaps is not None):
        raise Rejected("an inequality needs a gap, an equation none")
    if gaps is not None:
        sure = surely_positive(steps, evidence["positive"])
        weights = [*([gaps["number"]] if gaps["number"] is not None else []), *(d for d, _ in gaps["squares"])]
        if not all(sure[i] for i in weights) or (relation == ">" and gaps["number"] is None):
            raise Rejected("the gap is not seen to be positive")
    rng = random.SystemRandom()
    for _ in range(400):
        try:
            point = {n: Fraction(rng.randrange(1, 1 << 61), 1 << rng.randrange(52, 68)) for n in (*evidence["positive"], *evidence["free"])}
            exact, values = at_point(evidence, {n: rng.choice((c, -c)) if n in evidence["free"] else c for n, c in point.items()})
        except ZeroDivisionError:
            continue
        taken_for_zero(evidence, exact, values)
        gap: dict = {}
        for sign, side in ((1, left), (-1, right)):
            for k, i in side:
                gap[json.dumps(k)] = add(gap.get(json.dumps(k), {}), values[i], sign)
        for d, vector in gaps["squares"] if gaps else ():
            for (u, i), (v, j) in product(vector, repeat=2):
                k = json.dumps([sorted((u, v))])
                gap[k] = add(gap.get(k, {}), exact.times(values[d], exact.times(values[i], values[j])), -1)
        if gaps and gaps["number"] is not None:
            gap["[]"] = add(gap.get("[]", {}), values[gaps["number"]], -1)
        if not all(map(exact.zero, gap.values())):
            raise Rejected("the two sides differ at a random point")
        found, bits = found + 1, max(bits, len(exact.roots))
        if found == 2:  # a false identity of degree D survives one point with probability below 2^roots D / 2^61
            degree = degrees(steps)
            error = 2 * (61 - bits - (2 * sum(degree[i] for side in (left, right) for _, i in side) + 1).bit_length())
            if error < 20:
                raise Rejected("formulas of so high a degree that two points say too little")
            return ("identity" if relation == "=" else "bound"), f"all values, with an error below 2^-{error}"
    raise Rejected("no point was found at which both sides have a value")


def differ(evidence):
    """Checks that a relation between two numbers, made by steps of exact arithmetic, does not hold."""
    left, relation, right = evidence["claim"]
    pi = Fraction("3141592653589793238462643383279502884197169399375105820974944592/1" + 63 * "0")
    exact, values = at_point(evidence, {"pi": pi})
    taken_for_zero(evidence, exact, values)
    with localcontext() as context:
        context.prec = 60
        a, b = exact.decimal(values[left]), exact.decimal(values[right])
        same = exact.zero(add(dict(values[left]), values[right], -1))
        if not same and abs(a - b) < Decimal(10) ** -25 * (1 + abs(a) + abs(b)):
            raise Rejected("the two sides cannot be told apart at this point")
        below, above = a < b and not same, a > b and not same
        fails = {"=": not same, "!=": same, ">=": below, ">": not above, "<=": above, "<": not below}[relation]
    return (a, b) if fails else reject("the relation holds at this point")


# ------------------------------------------------------------------------------------------------- the door


def check(evidence):
    """What the evidence proves, as {"kind", "extent"}: identity, bound or refuted. Rejected for anything else, however made."""
    try:
        if evidence.get("format") != 1:
            raise Rejected("this is no evidence of format 1")
        if evidence["rule"] in ("world", "differ"):
            left, right = refuted(evidence) if evidence["rule"] == "world" else differ(evidence)
            return {"kind": "refuted", "extent": "", "left": str(left)[:70], "right": str(right)[:70]}
        if evidence["rule"] == "equal":
            return {"kind": "refuted", "extent": ""} if attained(evidence) else {}
        if evidence["rule"] == "letters":
            (left, relation, right), words = evidence["claim"], "letter by letter"
            return {"kind": "identity", "extent": words} if relation == "=" and left == right else reject("not the same")
        kind, extent = at_points(evidence) if evidence["rule"] == "points" else proved(evidence)
        return {"kind": kind, "extent": extent}
    except (Rejected, Missing) as problem:
        raise Rejected(str(problem)) from None
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, StopIteration) as problem:
        raise Rejected(f"the evidence is not well formed ({type(problem).__name__}: {str(problem)[:80]})") from None


def main(path):
    """Re-check every piece of evidence in a file; the number that is rejected."""
    with open(path, encoding="utf-8") as file:
        text = file.read(20_000_001)
    try:
        pieces = json.loads(text if len(text) <= 20_000_000 else "[]")
        pieces = pieces if isinstance(pieces, list) and pieces else [{}]
    except (ValueError, RecursionError):
        pieces = [{}]
    bad = 0
    for k, evidence in enumerate(pieces, 1):
        try:
            found = check(evidence if isinstance(evidence, dict) else {})
            print(f"{k}. {found['kind']}{' for ' + found['extent'] if found['extent'] else ''}: {str(evidence.get('says', ''))[:200]}")
        except Rejected as problem:
            bad += 1
            print(f"{k}. rejected: {problem}")
    return bad


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1]), 1) if len(sys.argv) == 2 else "usage: python kernel.py FILE")
