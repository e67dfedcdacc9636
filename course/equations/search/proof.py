"""Proofs. Every statement is brought to a normal form: a combination of terms

    coefficient * sum over bound variables of (product of marginals) * (product of logarithms of marginals),

where marginals are split by the independences that the setting declares and every bound variable that can be summed out
is. The rules used hold for all alphabets, for densities as well, and for all positive laws, so that a difference whose
normal form is empty is an identity: that is the certificate. (Two different normal forms prove nothing.)

A bound is proved by writing the difference as a combination with nonnegative coefficients of conditional KL divergences and
of Jensen gaps. The coefficients are found by nonnegative least squares, made rational, and checked again exactly.
(The idea of linear certificates for information inequalities: R. Yeung, "A framework for linear information
inequalities", 1997; here with two laws instead of one.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import combinations, permutations, product

from course.equations.meaning.ground import Ground, Var, difference, shown
from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import Model

Factor = tuple  # ("m", letter, frozenset of variables) or ("o", kind, frozenset of (term, coefficient)) or ("n", prime)
Term = tuple[frozenset, frozenset, frozenset]  # bound variables, {(factor, exponent)}, {(factor, power of its logarithm)}
Form = dict[Term, Fraction | int]
UNIT: Term = (frozenset(), frozenset(), frozenset())
MAX_TERMS = 3000
MAX_KEPT = 20_000  # entries of a cache


def constant(c: Fraction | int) -> Form:
    """A number as a form. Whole coefficients are kept as int: most are, and it is quicker."""
    if not c:
        return {}
    return {UNIT: int(c) if c.denominator == 1 else c}


def plus(a: Form, b: Form, scale: Fraction | int = 1) -> Form:
    out = dict(a)
    for k, v in b.items():
        new = out.get(k, 0) + scale * v
        if new:
            out[k] = new
        else:
            out.pop(k, None)
    return out


def _join(a: frozenset, b: frozenset) -> frozenset:
    if not a or not b:
        return a or b
    out = dict(a)
    for k, v in b:
        out[k] = out.get(k, 0) + v
    return frozenset((k, v) for k, v in out.items() if v)


def factor_variables(f: Factor) -> frozenset[Var]:
    if f[0] == "m":
        return f[2]
    return _opaque_variables(f) if f[0] == "o" else frozenset()


@cache
def _opaque_variables(f: Factor) -> frozenset[Var]:
    out: set[Var] = set()
    for (bound, mono, logs), _ in f[2]:
        for g, _ in (*mono, *logs):
            out |= factor_variables(g) - bound
    return frozenset(out)


def _height(term: Term) -> int:
    return 1 + max((max((_height(t) for t, _ in f[2]), default=0) for f, _ in (*term[1], *term[2]) if f[0] == "o"), default=0)


def rename_factor(f: Factor, names: dict[Var, Var]) -> Factor:
    if f[0] == "m":
        return ("m", f[1], frozenset(names.get(v, v) for v in f[2]))
    if f[0] == "o":
        return ("o", f[1], frozenset((_rename(t, names), c) for t, c in f[2]))
    return f


def _rename(term: Term, names: dict[Var, Var]) -> Term:
    bound, mono, logs = term
    return (
        frozenset(names.get(v, v) for v in bound),
        frozenset((rename_factor(f, names), e) for f, e in mono),
        frozenset((rename_factor(f, names), e) for f, e in logs),
    )


def order(x) -> tuple:
    """A total order on nested structures, the same in every process."""
    if isinstance(x, frozenset):
        return ("set", *sorted(order(y) for y in x))
    if isinstance(x, tuple):
        return ("tuple", *(order(y) for y in x))
    return (type(x).__name__, str(x))


class Normaliser:
    """Normal forms in one model."""

    def __init__(self, model: Model):
        self.model = model
        self._fresh = 0
        self._cache: dict[Term, Term] = {}
        self._densities: dict = {}
        self.elementals: dict = {}  # of Bounds, kept here so that they are computed once
        self.averages: dict = {}

    def marginal(self, letter: str, variables: frozenset[Var]) -> dict[Factor, int]:
        """The marginal of these variables, split by independence."""
        by_slot = {v[:2]: v for v in variables}
        return {
            ("m", letter, frozenset(by_slot[s] for s in part)): e
            for part, e in self.model.canon(letter, frozenset(by_slot)).items()
        }

    def density(self, letter: str, args: frozenset[Var], given: frozenset[Var]) -> dict[Factor, int]:
        """letter(args | given) as marginals with exponents."""
        key = (letter, args, given)
        if key not in self._densities:
            if len(self._densities) > MAX_KEPT:
                self._densities.clear()
            out = self.marginal(letter, args | given)
            for k, v in self.marginal(letter, given).items():
                out[k] = out.get(k, 0) - v
            self._densities[key] = {k: v for k, v in out.items() if v}
        return self._densities[key]

    def form(self, g: Ground) -> Form:
        match g:
            case ("num", c):
                return constant(c)
            case ("d", letter, args, given):
                return {(frozenset(), frozenset(self.density(letter, args, given).items()), frozenset()): 1}
            case ("add", parts):
                out: Form = {}
                for p in parts:
                    out = plus(out, self.form(p))
                return out
            case ("mul", parts):
                out = constant(1)
                for p in parts:
                    out = self.times(out, self.form(p))
                return out
            case ("div", a, b):
                return self.times(self.form(a), self.inverse(self.form(b)))
            case ("pow", a, n):
                base = self.form(a) if n >= 0 else self.inverse(self.form(a))
                out = constant(1)
                for _ in range(abs(n)):
                    out = self.times(out, base)
                return out
            case ("log", a):
                return self.log(self.form(a))
            case ("exp", a):
                return self.exp(self.form(a))
            case ("sum", bound, body):
                out = {}
                for (b, mono, logs), c in self.form(body).items():
                    out = plus(out, {self.settled((b | frozenset(bound), mono, logs)): c})
                return out
        raise TypeError(g[0])

    def times(self, a: Form, b: Form) -> Form:
        if len(a) * len(b) > MAX_TERMS:
            raise NotDecidable(f"the statement has more than {MAX_TERMS} terms when it is multiplied out")
        out: Form = {}
        for ta, ca in a.items():
            for tb, cb in b.items():
                if ta[0] and tb[0]:
                    tb = self.apart(tb)
                term = (ta[0] | tb[0], _join(ta[1], tb[1]), _join(ta[2], tb[2]))
                out = plus(out, {term: ca * cb}) if len(out) > 64 else _put(out, term, ca * cb)
        if any(t[0] for t in out):
            settled: Form = {}
            for t, c in out.items():
                _put(settled, self.settled(t) if t[0] else t, c)
            return settled
        return out

    def apart(self, term: Term) -> Term:
        """The term with its bound variables renamed to new names."""
        names = {}
        for v in term[0]:
            self._fresh += 1
            names[v] = (v[0], v[1], f"#n{self._fresh}")
        return _rename(term, names)

    def inverse(self, a: Form) -> Form:
        if not a:
            raise NotDecidable("a division by zero")
        if len(a) == 1:
            (((bound, mono, logs), c),) = a.items()
            if not bound and not logs:
                return {(frozenset(), frozenset((f, -e) for f, e in mono), frozenset()): Fraction(1) / c}
            if not logs:
                outside, inside = self.outside(bound, mono)
                return {
                    (
                        frozenset(),
                        frozenset(
                            [
                                *((f, -e) for f, e in outside),
                                (("o", "val", frozenset([((bound, inside, logs), 1)])), -1),
                            ]
                        ),
                        frozenset(),
                    ): Fraction(1) / c
                }
        return {(frozenset(), frozenset([(("o", "val", frozenset(a.items())), -1)]), frozenset()): 1}

    def outside(self, bound: frozenset, mono: frozenset) -> tuple[list, frozenset]:
        out = [(f, e) for f, e in mono if not factor_variables(f) & bound]
        return out, mono - frozenset(out)

    def log(self, a: Form) -> Form:
        if not a:
            raise NotDecidable("the logarithm of zero")
        if len(a) > 1:
            return {_log_term(("o", "val", frozenset(a.items()))): 1}
        (((bound, mono, logs), c),) = a.items()
        if logs:
            return {_log_term(("o", "val", frozenset(a.items()))): 1}
        if c < 0:
            raise NotDecidable("the logarithm of a negative number")
        out: Form = {}
        for prime, e in _primes(Fraction(c)).items():
            out[_log_term(("n", prime))] = Fraction(e)
        outside, inside = self.outside(bound, mono)
        for f, e in outside:
            _put(out, _log_term(f), e)
        if bound:
            _put(out, _log_term(("o", "val", frozenset([((bound, inside, frozenset()), 1)]))), 1)
        return out

    def exp(self, a: Form) -> Form:
        mono: dict[Factor, int] = {}
        scale = Fraction(1)
        for (bound, weight, logs), c in a.items():
            if bound or weight or len(logs) != 1 or c.denominator != 1:
                return {(frozenset(), frozenset([(("o", "exp", frozenset(a.items())), 1)]), frozenset()): 1}
            ((f, power),) = logs
            if power != 1:
                return {(frozenset(), frozenset([(("o", "exp", frozenset(a.items())), 1)]), frozenset()): 1}
            if f[0] == "n":
                scale *= Fraction(f[1]) ** int(c)
            else:
                mono[f] = mono.get(f, 0) + int(c)
        return {(frozenset(), frozenset(mono.items()), frozenset()): scale}

    def settled(self, term: Term) -> Term:
        """Sum out what can be summed out, and give bound variables their canonical names."""
        if term in self._cache:
            return self._cache[term]
        if len(self._cache) > MAX_KEPT:
            self._cache.clear()
        bound, mono, logs = term
        in_logs = frozenset(v for f, _ in logs for v in factor_variables(f))
        changed = True
        while changed:
            changed = False
            for v in sorted(bound - in_logs):
                parts = {f: e for f, e in mono if v in factor_variables(f)}
                if not parts or any(f[0] != "m" for f in parts) or len({f[1] for f in parts}) != 1:
                    continue
                letter = next(iter(parts))[1]
                union = frozenset().union(*(f[2] for f in parts))
                if len({u[:2] for u in union}) != len(union):
                    continue
                whole = self.marginal(letter, union)
                if {f: e for f, e in whole.items() if v in f[2]} != parts:
                    continue
                new = dict(mono)
                for f in parts:
                    del new[f]
                for f, e in self.marginal(letter, union - {v}).items():
                    new[f] = new.get(f, 0) + e
                for f, e in whole.items():
                    if v not in f[2]:
                        new[f] = new.get(f, 0) - e
                mono = frozenset((f, e) for f, e in new.items() if e)
                bound = bound - {v}
                changed = True
                break
        out = self.named((bound, mono, logs))
        self._cache[term] = out
        return out

    def named(self, term: Term) -> Term:
        if not term[0]:
            return term
        height = _height(term)
        by_slot: dict[tuple, list[Var]] = {}
        for v in sorted(term[0]):
            by_slot.setdefault(v[:2], []).append(v)
        choices = [list(permutations(vs)) if 1 < len(vs) <= 3 else [tuple(vs)] for vs in by_slot.values()]
        best = None
        for pick in product(*choices):
            names = {v: (v[0], v[1], f"*{height}.{i}") for vs in pick for i, v in enumerate(vs)}
            # two steps, so that a permutation of existing names cannot collide
            candidate = _rename(
                _rename(term, {v: (v[0], v[1], f"#t{v[2]}") for v in names}),
                {(v[0], v[1], f"#t{v[2]}"): w for v, w in names.items()},
            )
            if len(choices) == sum(len(vs) for vs in by_slot.values()):
                return candidate
            if best is None or order(candidate) < order(best):
                best = candidate
        assert best is not None
        return best


def _put(out: Form, term: Term, c: Fraction | int) -> Form:
    new = out.get(term, 0) + c
    if new:
        out[term] = new
    else:
        out.pop(term, None)
    return out


def _log_term(f: Factor) -> Term:
    return (frozenset(), frozenset(), frozenset([(f, 1)]))


def _primes(c: Fraction) -> dict[int, int]:
    out: dict[int, int] = {}
    for number, sign in ((c.numerator, 1), (c.denominator, -1)):
        n, p = number, 2
        while n > 1 and p < 2000:
            while n % p == 0:
                out[p] = out.get(p, 0) + sign
                n //= p
            p += 1
        if n > 1:
            out[n] = out.get(n, 0) + sign
    return {p: e for p, e in out.items() if e}


# ------------------------------------------------------------------------------------------------------------ bounds


@dataclass(frozen=True)
class Piece:
    """GIBBS(over, law, weight) = sum_V l (log l - log w) + log sum_V w, averaged over `outer`. A law or weight is a tuple of
    (letter, args, given, exponent)."""

    outer: tuple[tuple[frozenset[Var], tuple], ...]
    over: frozenset[Var]
    law: tuple
    weight: tuple

    def averaged(self, over: frozenset[Var], law: tuple) -> Piece:
        return replace(self, outer=((over, law), *self.outer))


class Elemental:
    """A quantity that is never negative: E KL(law(A | B, given) || other(A | C)), or what `jensen` says in words."""

    def __init__(
        self,
        form: Form,
        letter: str,
        a: frozenset[Var],
        b: frozenset[Var],
        given: frozenset[Var],
        other: str,
        c: frozenset[Var],
        jensen: str = "",
        made: Piece | None = None,
    ):
        self.form, self.letter, self.a, self.b, self.given, self.other, self.c, self.jensen = (
            form,
            letter,
            a,
            b,
            given,
            other,
            c,
            jensen,
        )
        self.made = made

    @property
    def piece(self) -> Piece:
        """The same as the kernel's inequality."""
        if self.made:
            return self.made
        outer = ((self.b, ((self.letter, self.b, self.given, 1),)),) if self.b else ()
        law = ((self.letter, self.a, self.b | self.given, 1),)
        return Piece(outer, self.a, law, ((self.other, self.a, self.c, 1),))

    def named(self, text: str, made: Piece | None = None) -> Elemental:
        """The same, under another description."""
        return Elemental(self.form, self.letter, self.a, self.b, self.given, self.other, self.c, text, made or self.made)

    def text(self) -> str:
        if self.jensen:
            return self.jensen

        def density(letter, args, given):
            names = lambda vs: ", ".join(shown(v) for v in sorted(vs, key=lambda v: (v[1], v[0])))  # noqa: E731
            return f"{letter}({names(args)}" + (f"|{names(given)}" if given else "") + ")"

        kl = f"KL({density(self.letter, self.a, self.b | self.given)} || {density(self.other, self.a, self.c)})"
        return f"E_{density(self.letter, self.b, self.given)}[{kl}]" if self.b else kl


class Bounds:
    """Certificates for `form >= 0` in one model."""

    def __init__(self, normaliser: Normaliser):
        self.n, self.model = normaliser, normaliser.model
        self._atoms = normaliser.averages

    def laws(self, target: Form) -> list[tuple[str, frozenset[Var]]]:
        """The laws that the target averages over: (letter, what it is conditioned on)."""
        out: dict[tuple[str, frozenset[Var]], None] = {}
        for bound, mono, _ in target:
            letters = {f[1] for f, _ in mono if f[0] == "m"}
            if bound and len(letters) == 1 and all(f[0] == "m" for f, _ in mono):
                given = frozenset(v for f, _ in mono for v in f[2]) - bound
                out[(letters.pop(), given)] = None
        return sorted(out, key=order)

    def free(self, target: Form) -> frozenset[Var]:
        out: set[Var] = set()
        for bound, mono, logs in target:
            for f, _ in (*mono, *logs):
                out |= factor_variables(f) - bound
        return frozenset(out)

    def average(self, law: tuple[str, frozenset[Var]], hidden: frozenset[Var], logged: Factor) -> Term:
        """The term E_law[log marginal]."""
        key = (law, hidden, logged)
        if key not in self._atoms:
            letter, given = law
            if logged[0] == "m" and not logged[2] & hidden:
                self._atoms[key] = _log_term(logged)
            else:
                need = factor_variables(logged) & hidden
                mono = self.n.density(letter, need, given)
                self._atoms[key] = self.n.settled((need, frozenset(mono.items()), frozenset([(logged, 1)])))
        return self._atoms[key]

    def expected(self, law, hidden, density: dict[Factor, int], out: Form, sign: int) -> None:
        for f, e in density.items():
            _put(out, self.average(law, hidden, f), sign * e)

    def elementals(self, target: Form) -> list[Elemental]:
        """The conditional KL divergences that could add up to the target: under each of its laws, for every choice of
        variables, and compared with every law of p and q with fewer conditions."""
        gaps = self.jensen(target)
        seen = [target, *(g.form for g in gaps)]
        free = frozenset(v for form in seen for v in self.free(form))
        out: dict[frozenset, Elemental] = {}
        for law in dict.fromkeys(law for form in seen for law in self.laws(form)):
            blocked = {v[:2] for v in free}
            averaged = {v[:2] for form in seen for b, m, _ in form for v in b if m}
            fixed = {g[:2] for g in law[1]}
            hidden = frozenset((*s, "!") for s in self.model.slots if s not in fixed and (s not in blocked or s in averaged))
            outer = frozenset(v for v in free if v[:2] not in {h[:2] for h in hidden})
            key = (law, hidden, outer)
            if key not in self.n.elementals:
                if len(self.n.elementals) > 30:
                    self.n.elementals.clear()
                    self.n.averages.clear()
                self.n.elementals[key] = self.under(law, hidden, outer)
            for k, e in self.n.elementals[key].items():
                out.setdefault(k, e)
        return [*out.values(), *gaps, *self.mixed(target)]

    def under(
        self, law: tuple[str, frozenset[Var]], hidden: frozenset[Var], outer: frozenset[Var]
    ) -> dict[frozenset, Elemental]:
        """Those under one law, without repetitions, blocks of variables first."""
        letter, given = law
        out: dict[frozenset, Elemental] = {}
        names = sorted(hidden, key=lambda v: (v[1], v[0]))
        pieces: list[tuple[frozenset, frozenset]] = []
        for r in range(1, len(names) + 1):
            for some in combinations(names, r):
                rest = [v for v in names if v not in some]
                for k in range(len(rest) + 1) if r == 1 else (0, len(rest)):
                    pieces += [(frozenset(some), frozenset(b)) for b in combinations(rest, k)]
        pieces.sort(key=lambda ab: (-len(ab[0]), len(ab[1]), order(ab)))
        for a, b in pieces:
            base: Form = {}
            self.expected(law, hidden, self.n.density(letter, a, b | given), base, 1)
            conditions = sorted(b | outer | given)
            if len(a) > 1:
                subsets: list[frozenset] = [b | given | outer, b | given, b, b | (given & outer)]
            else:
                subsets = [frozenset(c) for k in range(len(conditions), -1, -1) for c in combinations(conditions, k)]
            for c in subsets:
                if len({v[:2] for v in a | c}) != len(a | c):
                    continue
                for other in self.n.model.letters:
                    form = dict(base)
                    self.expected(law, hidden, self.n.density(other, a, c), form, -1)
                    if form:
                        out.setdefault(frozenset(form.items()), Elemental(form, letter, a, b, given, other, c))
            if len(out) > 6000:
                break
        return out

    def jensen(self, target: Form) -> list[Elemental]:
        """log sum_V W >= E_l[log W - log l] for every law l of V at hand."""
        out: list[Elemental] = []
        inner = {f for _, _, logs in target for f, _ in logs if f[0] == "o" and f[1] == "val" and len(f[2]) == 1}
        for f in sorted(inner, key=order):
            (((bound, mono, logs), _c),) = f[2]
            if logs or not bound or any(g[0] != "m" for g, _ in mono):
                continue
            outside = factor_variables(f)
            for letter in self.n.model.letters:
                for given in {frozenset(outside), frozenset()} | {frozenset([v]) for v in outside}:
                    if {v[:2] for v in given} & {v[:2] for v in bound}:
                        continue
                    law = self.n.density(letter, bound, given)
                    form: Form = {_log_term(f): 1}
                    for g, e in [*mono, *((k, -v) for k, v in law.items())]:
                        term = (
                            (bound, frozenset(law.items()), frozenset([(g, 1)]))
                            if factor_variables(g) & bound
                            else _log_term(g)
                        )
                        _put(form, self.n.settled(term) if term[0] else term, -e)
                    if len(form) > 1:
                        names = ", ".join(shown(v) for v in sorted(bound))
                        cond = ", ".join(shown(v) for v in sorted(given))
                        out.append(
                            Elemental(
                                form,
                                letter,
                                bound,
                                frozenset(),
                                given,
                                letter,
                                frozenset(),
                                f"Jensen gap of log E over {letter}({names}{'|' + cond if cond else ''})",
                                Piece((), bound, ((letter, bound, given, 1),), _powers(mono)),
                            )
                        )
        return out

    def prove(self, target: Form) -> list[tuple[Fraction, Elemental]] | None:
        """Nonnegative coefficients with sum = target, checked exactly; None if none are found."""
        if any(len(logs) != 1 for _, _, logs in target):
            return None
        return self.combined(target, self.elementals(target)) or self.averaged(target)

    def averaged(self, target: Form) -> list[tuple[Fraction, Elemental]] | None:
        """The same for an average: what is never negative for each value of some variables is not negative on average."""
        shared = frozenset.intersection(*(frozenset(v[:2] for v in bound) for bound, _, _ in target)) if target else frozenset()
        for slots in (frozenset([s]) for s in sorted(shared)):
            for letter in self.n.model.letters:
                inside: Form = {}
                for (bound, mono, logs), c in target.items():
                    mine = {v: (*v[:2], "#each") for v in bound if v[:2] in slots}
                    term = _rename((bound - mine.keys(), mono, logs), mine) if len(mine) == len(slots) else None
                    if term is None:
                        break
                    law = self.n.marginal(letter, frozenset(mine.values()))
                    term = (term[0], _join(term[1], frozenset((f, -e) for f, e in law.items())), term[2])
                    _put(inside, self.n.settled(term) if term[0] else term, c)
                else:
                    found = self.combined(inside, self.elementals(inside))
                    if found:
                        over = f"the average over {letter}({', '.join(map(shown, sorted(slots)))}) of "
                        each = frozenset((*v, "#each") for v in slots)
                        average: tuple = ((letter, each, frozenset(), 1),)
                        return [
                            (c, e.named(over + e.text().replace("#each", ""), e.piece.averaged(each, average))) for c, e in found
                        ]
        return None

    def mixed(self, target: Form) -> list[Elemental]:
        """KL(w || p) for every product w of densities that the target averages over and that is itself a joint law."""
        out: list[Elemental] = []
        for bound, mono in sorted({t[:2] for t in target if t[0] and all(f[0] == "m" for f, _ in t[1])}, key=order):
            if len({f[1] for f, _ in mono} | {str(e) for _, e in mono if e != 1}) == 1 and len(mono) == 1:
                continue  # a marginal of one law: among the others already
            if len({v[:2] for v in bound}) < len(bound) or self.n.settled((bound, mono, frozenset())) != UNIT:
                continue
            for other in self.n.model.letters:
                form: Form = {}
                for f, e in (*mono, *((f, -e) for f, e in self.n.marginal(other, bound).items())):
                    _put(form, self.n.settled((bound, mono, frozenset([(f, 1)]))), e)
                names = ", ".join(shown(v) for v in sorted(bound))
                text = f"KL(the law averaged over || {other}({names}))"
                if form:
                    made = Piece((), bound, _powers(mono), ((other, bound, frozenset(), 1),))
                    out.append(Elemental(form, other, bound, frozenset(), frozenset(), other, frozenset(), text, made))
        return out

    def combined(self, target: Form, elementals: list[Elemental]) -> list[tuple[Fraction, Elemental]] | None:
        """Nonnegative coefficients with which the elementals add up to the target."""
        wanted = set(target)
        reach = True
        # only elementals all of whose atoms can cancel matter; drop those with an atom no other one has
        while reach:
            count: dict[Term, int] = {}
            for e in elementals:
                for t in e.form:
                    count[t] = count.get(t, 0) + 1
            kept = [e for e in elementals if all(count[t] > 1 or t in wanted for t in e.form)]
            reach = len(kept) != len(elementals)
            elementals = kept
        if not elementals:
            return None
        for e in elementals:  # the common case: one term
            some = next(iter(e.form))
            ratio = Fraction(target.get(some, 0)) / e.form[some]
            if ratio > 0 and len(e.form) == len(target) and all(target.get(k) == ratio * v for k, v in e.form.items()):
                return [(ratio, e)]
        keys = sorted(wanted | {t for e in elementals for t in e.form}, key=order)
        at = {k: i for i, k in enumerate(keys)}
        columns = [{at[k]: float(v) for k, v in e.form.items()} for e in elementals]
        found = nonnegative(columns, [float(target.get(k, 0)) for k in keys])
        if found is None:
            return None
        out = [(Fraction(x).limit_denominator(1000), elementals[j]) for j, x in found.items() if x > 1e-9]
        total: Form = {}
        for c, e in out:
            total = plus(total, e.form, c)
        return out if total == target and all(c >= 0 for c, _ in out) else None


def _powers(mono: frozenset) -> tuple:
    """A product of marginals as (letter, args, given, exponent)."""
    return tuple((f[1], f[2], frozenset(), e) for f, e in sorted(mono, key=order))


def nonnegative(columns: list[dict[int, float]], right: list[float]) -> dict[int, float] | None:
    """x >= 0 with sum_j x_j columns[j] = right, as {j: x_j}, or None (C. Lawson and R. Hanson, Solving Least Squares Problems,
    1974, chapter 23). The columns are sparse: {row: value}."""
    x: dict[int, float] = {}  # the active set, with its values
    for _ in range(4 * len(columns) + 10):
        rest = list(right)
        for j, value in x.items():
            for i, a in columns[j].items():
                rest[i] -= a * value
        if max(map(abs, rest), default=0.0) < 1e-10:
            return x
        gains = ((sum(a * rest[i] for i, a in c.items()), -j) for j, c in enumerate(columns) if j not in x)
        gain, j = max(gains, default=(0.0, 0))
        if gain < 1e-9:
            return None
        x[-j] = 0.0
        while True:
            names = list(x)
            best = least_squares([columns[k] for k in names], right)
            low = [(x[k], b, k) for k, b in zip(names, best, strict=True) if b <= 1e-12]
            if not low:
                x = dict(zip(names, best, strict=True))
                break
            step = min((v / (v - b) if v != b else 0.0) for v, b, _ in low)
            moved = {k: x[k] + step * (b - x[k]) for k, b in zip(names, best, strict=True)}
            x = {k: v for k, v in moved.items() if v > 1e-12}
            if not x:
                break
    return None


def least_squares(columns: list[dict[int, float]], right: list[float]) -> list[float]:
    """The least-squares solution by the normal equations, with pivots; a column that depends on others gets 0."""
    n = len(columns)
    rows = [
        [sum(a * other.get(i, 0.0) for i, a in c.items()) for other in columns] + [sum(a * right[i] for i, a in c.items())]
        for c in columns
    ]
    used: list[tuple[int, int]] = []  # (row, column) of the pivots
    for _ in range(n):
        free = [i for i in range(n) if i not in {r for r, _ in used}]
        taken = {c for _, c in used}
        size, i, j = max(((abs(rows[i][j]), i, j) for i in free for j in range(n) if j not in taken), default=(0.0, 0, 0))
        if size < 1e-9:
            break
        used.append((i, j))
        for k in range(n):
            if k != i and rows[k][j]:
                scale = rows[k][j] / rows[i][j]
                rows[k] = [a - scale * b for a, b in zip(rows[k], rows[i], strict=True)]
    out = [0.0] * n
    for i, j in used:
        out[j] = rows[i][n] / rows[i][j]
    return out


__all__ = ["Bounds", "Elemental", "Form", "Normaliser", "difference", "plus"]
