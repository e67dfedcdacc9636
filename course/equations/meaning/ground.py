"""From a formula to what it means in a model of length T: indices become numbers, products and sums are written out,
expectations and KL divergences become sums over variables. The result has nine kinds of nodes, as tuples:

    ("num", Fraction)  ("d", letter, A, B)  ("add", parts)  ("mul", parts)  ("div", a, b)  ("pow", a, n)
    ("log", a)  ("exp", a)  ("sum", variables, body)

A variable is (base, index, tag): the slot, and which value of it. Free ones carry the decoration they are written with
(z' is ("z", -1, "'")), bound ones a fresh tag "#n".
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import MAX_T, Model, Slot, slots, value
from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Big,
    Density,
    Div,
    Expect,
    Func,
    Index,
    Info,
    Integral,
    Law,
    Mul,
    Neg,
    Node,
    Normal,
    Num,
    Pow,
    Range,
    Sym,
    latex,
)

Var = tuple[str, int, str]
Ground = tuple
MAX_NODES = 30_000
ONE: Ground = ("num", Fraction(1))
ZERO: Ground = ("num", Fraction(0))
INDEX_NAMES = frozenset("tsijknmlT") | {"tau"}


class Undeclared(NotDecidable):
    """The statement speaks of a letter that neither the text nor the setting declares."""

    def __init__(self, letter: str, setting: str):
        super().__init__(f"{letter} is declared neither here nor in the setting {setting}: say what it is")


class OutOfRange(NotDecidable):
    """An index leads to a variable that does not exist for this T."""


def shown(slot: Slot | Var) -> str:
    name = slot[0] if len(slot[0]) == 1 else "\\" + slot[0]
    tag = slot[2] if len(slot) > 2 and slot[2][:1] not in "#*!" else ""
    return name + (f"_{slot[1]}" if 0 <= slot[1] < 10 else f"_{{{slot[1]}}}" if slot[1] >= 0 else "") + tag


def decoration(sym: Sym) -> str:
    """What tells two values of one variable apart: z' and z, x^{(i)} and x."""
    return "".join({"prime": "'"}.get(m, m) for m in sym.marks) + "".join(sym.labels)


class PointMass(OutOfRange):
    """A density degenerates for this choice of indices."""


class Grounder:
    """Grounds terms of one statement for one model and one choice of the free indices.

    joint: whether a bare E_q also averages over the first variable, where q has a law for it.
    prior: whether the right side of a bare KL(q || p) is the prior.
    """

    def __init__(self, model: Model, indices: dict[str, int], joint: bool = False, prior: bool = False):
        self.model, self.indices, self.joint, self.prior = model, indices, joint, prior
        self.slots = set(model.slots)
        self.bases = {s[0] for s in model.slots} | {s[0] for s in model.setting.alias_slots}
        self.free: set[Var] = set()
        self.lints: dict[str, str] = {}  # what is odd, in words -> "degenerate" where other indices are meant
        self.notes: dict[str, None] = {}
        self.used_bare_law = self.used_bare_kl = self.used_index_value = self.used_division = False
        self.count = 0
        self.fresh = 0

    # -- variables

    def variables(self, sym: Sym, env: dict[str, int], scope: dict) -> list[Var]:
        """The variables that a symbol stands for here."""
        if sym.name not in self.bases:
            raise Undeclared(latex(sym), self.model.setting.name)
        if len(sym.sub) > 1:
            raise NotDecidable(f"{latex(sym)} has more than one index")
        name = decoration(sym)
        if sym.sub and isinstance(sym.sub[0], Range) and (sym.sub[0].low is None or sym.sub[0].high is None):
            own = [s[1] for s in self.slots if s[0] == sym.name and s[1] >= 0]
            r = sym.sub[0]
            sym = Sym(sym.name, (Range(r.low or Index("", min(own, default=1)), r.high or Index("", self.model.T)),))
        try:
            found = slots(sym, env, self.model.T)
        except KeyError as e:
            raise NotDecidable(f"the index {e.args[0]} of {latex(sym)} is not bound") from None
        if len(found) > MAX_T + 2:
            raise NotDecidable(f"{latex(sym)} stands for {len(found)} variables; the limit is {MAX_T}")
        out = []
        for slot in found:
            slot = self.model.setting.alias_slots.get(slot, slot)
            if slot not in self.slots:
                indexed = any(s[0] == slot[0] and s[1] >= 0 for s in self.slots)
                plain = [s for s in self.model.observed["q"] if s[1] < 0]
                if slot[1] == 0 and plain and indexed:
                    self.lints[
                        f"{shown(slot)} is not defined in the setting {self.model.setting.name} "
                        f"(taking it for {shown(plain[0])})"
                    ] = "degenerate"
                    slot = plain[0]
                elif indexed and slot[1] != -1:
                    raise OutOfRange(f"{latex(sym)} does not exist for T = {self.model.T}")
                else:
                    raise NotDecidable(f"{latex(sym)} is not a variable of the setting {self.model.setting.name}")
            key = (slot, name)
            var = scope.get(key)
            if var is None:
                var = (*slot, name)
                self.free.add(var)
            out.append(var)
        return out

    def slots_of(self, sym: Sym, env: dict[str, int]) -> list[Slot]:
        """The slots of a symbol, without taking note of it as a free variable."""
        kept = set(self.free)
        found = [v[:2] for v in self.variables(sym, env, {})]
        self.free = kept
        return found

    def named(self, syms: tuple[Sym, ...], env: dict) -> list[tuple[Slot, str]]:
        """Slot and decoration of every variable that the symbols stand for."""
        return [(slot, decoration(sym)) for sym in syms for slot in self.slots_of(sym, env)]

    def bind(
        self, syms: tuple[Sym, ...], env: dict, scope: dict, held: frozenset = frozenset()
    ) -> tuple[tuple[Var, ...], dict]:
        """Fresh variables for the symbols, and the scope in which they are known. Those in `held` stay what they were."""
        new = dict(scope)
        bound: dict[tuple[Slot, str], Var] = {}
        for key in self.named(syms, env):
            if key in bound:
                self.lints[f"{shown(key[0])} is bound twice at once"] = "odd"
            elif key not in held:
                bound[key] = self.binding(*key, new)
        return tuple(bound.values()), new

    def binding(self, slot: Slot, name: str, scope: dict) -> Var:
        self.fresh += 1
        var = (*slot, f"#{self.fresh}")
        scope[(slot, name)] = var
        return var

    def bind_slots(self, over: tuple[Slot, ...], scope: dict) -> tuple[tuple[Var, ...], dict]:
        new = dict(scope)
        return tuple(self.binding(s, "", new) for s in over), new

    # -- densities

    def density(self, d: Density, env: dict, scope: dict, law: bool = False) -> Ground:
        letter = self.letter(d)
        if not d.args:
            raise NotDecidable(f"{latex(d)} stands alone: write its variables")
        a = [v for s in d.args for v in self.variables(s, env, scope)]
        b = [v for s in d.given for v in self.variables(s, env, scope)]
        return self.atom(letter, a, b, latex(d), law, d.labels == ("data",))

    def letter(self, d: Density) -> str:
        kept = tuple(x for x in d.labels if x not in ("x", "z"))
        if not kept:
            return d.letter
        if kept == ("data",):
            return "q"
        if (name := latex(Density(d.letter, labels=kept))) in self.model.letters:
            return name
        raise NotDecidable(f"{latex(d)}: the setting {self.model.setting.name} has one law p and one law q")

    def atom(self, letter: str, a: list[Var], b: list[Var], text: str, law: bool = False, data: bool = False) -> Ground:
        seen: dict[Slot, Var] = {}
        for v in [*a, *b]:
            if seen.setdefault(v[:2], v) != v:
                raise PointMass(f"{text} uses two values of {shown(v[:2])} at once")
        given = frozenset(b)
        args = frozenset(a) - given
        if len(set(a)) != len(a):
            self.lints[f"{text} names a variable twice"] = "degenerate"
        if args != frozenset(a) and not law:
            self.lints[f"{text} has the same variable before and behind the bar for T = {self.model.T}: it is no density"] = (
                "degenerate"
            )
        if not args:
            return ONE
        if given:
            self.used_division = True
        self.defined(letter, args, given, text, data)
        return ("d", letter, args, given)

    def defined(self, letter: str, args: frozenset[Var], given: frozenset[Var], text: str, data: bool) -> None:
        """Lint a density that depends on the law of a variable the setting has no law for."""
        observed = frozenset(self.model.observed[letter])
        if not observed:
            return
        a, b = frozenset(v[:2] for v in args), frozenset(v[:2] for v in given)
        if data and a <= observed:
            return
        names = ", ".join(shown(s) for s in sorted(observed))
        if a & observed:
            self.lints[f"{text} is not defined in the setting {self.model.setting.name}: {letter} has no law for {names}"] = (
                "odd"
            )
        elif not observed <= b and difference(self.model, letter, a | b, b) != difference(
            self.model, letter, a | b | observed, b | observed
        ):
            self.lints[f"{text} is not defined without {names}"] = "odd"

    # -- laws

    def law(self, law: Law, env: dict, scope: dict) -> tuple[tuple[Var, ...], Ground, dict]:
        """(bound variables, their density, the scope inside)."""
        dist = law.dist
        if isinstance(dist, Normal):
            raise NotDecidable("normal laws belong to the setting gaussian")
        if dist is None or (isinstance(dist, Density) and not dist.args):
            letter = "q" if dist is None else self.letter(dist)
            average = self.joint and not self.model.observed[letter]  # of two readings, the one that averages over x_0 too
            self.used_bare_law = True
            if law.vars:
                bound, new = self.bind(law.vars, env, scope)
            else:
                first = [s for s in self.model.seen if average and (s, "") not in scope]
                bound, new = self.bind_slots((*first, *self.model.latent), scope)
            inside = {v[:2] for v in bound}
            held = [s for s in self.model.seen if s not in inside and ((s, "") in scope or not average)]
            given = [new.get((s, "")) or self.note_free((*s, "")) for s in held]
            if letter == "p" and not law.vars:
                self.notes["E_p is taken over p(latents | observed)"] = None
            text = latex(replace(dist, args=law.vars)) if isinstance(dist, Density) else letter
            return bound, self.atom(letter, list(bound), given, text), new
        factors = dist.factors if isinstance(dist, Mul) else (dist,)
        parts = [p for p in factors if isinstance(p, Density) and p.args]
        if len(parts) < len(factors):
            raise NotDecidable(f"cannot take an expectation over {latex(dist)}")
        kept: set = set()  # E over q(x_0, x_2|x_0): x_0 is given, and stays what it is
        for p in parts:
            kept |= set(self.named(p.args, env)) & set(self.named(p.given, env))
        names = tuple(s for p in parts for s in p.args)
        bound, new = self.bind(names, env, scope, frozenset(kept))
        densities = [self.density(p, env, new, law=True) for p in parts]
        return bound, times(densities), new

    def note_free(self, var: Var) -> Var:
        self.free.add(var)
        return var

    # -- everything

    def __call__(self, node: Node, env: dict[str, int] | None = None, scope: dict | None = None) -> Ground:
        return self.go(node, {**self.indices, **(env or {})}, scope or {})

    def go(self, node: Node, env: dict[str, int], scope: dict) -> Ground:
        self.count += 1
        if self.count > MAX_NODES:
            raise NotDecidable(f"the statement grows beyond {MAX_NODES} parts when its sums and products are written out")
        match node:
            case Num(v):
                return ("num", v)
            case Neg(body):
                return times([("num", Fraction(-1)), self.go(body, env, scope)])
            case Add(terms):
                return ("add", tuple(self.go(t, env, scope) for t in terms))
            case Mul(factors):
                return times([self.go(f, env, scope) for f in factors])
            case Div(top, bottom):
                self.used_division = True
                return ("div", self.go(top, env, scope), self.go(bottom, env, scope))
            case Pow(base, exponent):
                n = self.integer(exponent, env)
                return ("pow", self.go(base, env, scope), n)
            case Func("log", body):
                self.used_division = True
                return ("log", self.go(body, env, scope))
            case Func("exp", body):
                return ("exp", self.go(body, env, scope))
            case Func("max" | "min" as name, body):
                raise NotDecidable(
                    f"\\{name} of {latex(body)}: the checker does not optimise; state the equation that holds for "
                    f"every model, without \\{name}"
                )
            case Density():
                return self.density(node, env, scope)
            case Expect(laws, body, given) if given:
                return self.conditional(laws, body, given, env, scope)
            case Expect(laws, body):
                bound: tuple[Var, ...] = ()
                weights = []
                for law in laws or (Law((), Density("q")),):
                    more, weight, scope = self.law(law, env, scope)
                    bound += more
                    weights.append(weight)
                return ("sum", bound, times([*weights, self.go(body, env, scope)]))
            case KL(left, right):
                return self.kl(left, right, env, scope)
            case Info():
                return self.info(node, env, scope)
            case Integral(over, body):
                bound, new = self.bind(over, env, scope)
                return ("sum", bound, self.go(body, env, new))
            case Big(kind, var, low, high, body):
                return self.big(kind, var, low, high, body, env, scope)
            case Sym() if node.name in INDEX_NAMES and not node.sub and not node.marks and node.name not in self.bases:
                if node.name == "T":
                    self.used_index_value = True
                    return ("num", Fraction(self.model.T))
                if node.name in env:
                    self.used_index_value = True
                    return ("num", Fraction(env[node.name]))
            case Sym() | Apply():
                return self.name(node, env, scope)
        if isinstance(node, Sym):
            raise Undeclared(latex(node), self.model.setting.name)
        raise NotDecidable(f"{latex(node)} is beyond the setting {self.model.setting.name}")

    def conditional(self, laws: tuple[Law, ...], body: Node, given: tuple[Sym, ...], env: dict, scope: dict) -> Ground:
        """E_q[body | given]: the average over q(the other variables of the body | given)."""
        bare = len(laws) == 1 and not laws[0].vars and isinstance(laws[0].dist, Density) and not laws[0].dist.args
        if not bare:
            raise NotDecidable("under which law? Write E_q[... | x] or E_p[... | x], or the law itself below E")
        letter = self.letter(laws[0].dist)  # type: ignore[arg-type]
        held = [v for s in given for v in self.variables(s, env, scope)]
        probe = Grounder(self.model, self.indices, self.joint, self.prior)
        probe.go(body, env, scope)
        over = tuple(sorted(v[:2] for v in probe.free if not v[2] and v not in held))
        bound, new = self.bind_slots(over, scope)
        weight = self.atom(letter, list(bound), held, f"{letter}({', '.join(map(shown, over))} | ...)")
        return ("sum", bound, times([weight, self.go(body, env, new)]))

    def integer(self, node: Node, env: dict) -> int:
        sign = 1
        if isinstance(node, Neg):
            node, sign = node.body, -1
        if isinstance(node, Num) and node.value.denominator == 1 and abs(node.value) <= 8:
            return sign * int(node.value)
        raise NotDecidable(f"the power {latex(node)} is not a whole number up to 8")

    def name(self, node: Sym | Apply, env: dict, scope: dict) -> Ground:
        sym = node.head if isinstance(node, Apply) else node
        definitions = self.model.setting.definitions
        key = sym.name
        if len(sym.sub) == 1 and isinstance(sym.sub[0], Index):
            try:
                i = value(sym.sub[0], env, self.model.T)
            except KeyError as e:
                raise NotDecidable(f"the index {e.args[0]} of {latex(sym)} is not bound") from None
            for key, inner in (
                (f"{sym.name}_T" if i == self.model.T else "", {}),
                (f"{sym.name}_{i}", {}),
                (f"{sym.name}_s", {"s": i}),
            ):
                if key in definitions:
                    return self.go(definitions[key], {**env, **inner}, scope)
        elif key in definitions and not sym.sub:
            return self.go(definitions[key], env, scope)
        if sym.name in self.bases:
            raise NotDecidable(f"{latex(node)} is a variable; a statement is about densities of it")
        raise Undeclared(latex(node), self.model.setting.name)

    def big(self, kind: str, var: str, low: Index | None, high: Index | None, body: Node, env: dict, scope: dict) -> Ground:
        try:
            last = value(high, env, self.model.T)
            first = value(low, env, self.model.T) if low is not None else None
        except KeyError as e:
            raise NotDecidable(f"the index {e.args[0]} in the limits of \\{kind} is not bound") from None
        if first is None:  # \prod_t: every t for which the variables exist
            self.notes[f"\\{kind} over {var} runs over every {var} for which its variables exist"] = None
            first = last + 1
            while first > 1:
                try:
                    lints = dict(self.lints)
                    self.go(body, {**env, var: first - 1}, scope)
                    if len(self.lints) > len(lints):
                        self.lints = lints
                        break
                except OutOfRange:
                    break
                first -= 1
        if last - first > MAX_T + 4:
            raise NotDecidable(f"\\{kind} with {last - first + 1} terms; the limit is {MAX_T}")
        parts = [self.go(body, {**env, var: i}, scope) for i in range(first, last + 1)]
        if kind == "prod":
            return times(parts)
        return ("add", tuple(parts)) if parts else ZERO

    def kl(self, left: Node, right: Node, env: dict, scope: dict) -> Ground:
        if isinstance(left, Normal) or isinstance(right, Normal):
            raise NotDecidable("normal laws belong to the setting gaussian")
        if not isinstance(left, Density) or not isinstance(right, Density):
            if isinstance(left, Mul | Density) and isinstance(right, Mul | Density):

                def args(n):
                    return tuple(
                        s for f in (n.factors if isinstance(n, Mul) else (n,)) if isinstance(f, Density) for s in f.args
                    )

                if args(left) and args(right):
                    bound, new = self.bind(args(left), env, scope)
                    if {v[:2] for v in self.bind(args(right), env, scope)[0]} != {v[:2] for v in bound}:
                        self.lints["the two laws of a KL are over different variables"] = "odd"
                    a, b = self.go(left, env, new), self.go(right, env, new)
                    return ("sum", bound, times([a, ("add", (("log", a), times([("num", Fraction(-1)), ("log", b)])))]))
            raise NotDecidable("a KL divergence compares two densities")
        self.used_division = True
        if not left.args:
            self.used_bare_kl = True
            bound, new = self.bind_slots(self.model.latent, scope)
            given = [scope.get((s, "")) or self.note_free((*s, "")) for s in self.model.seen]
            a = self.atom(self.letter(left), list(bound), given, latex(left))
        else:
            bound, new = self.bind(left.args, env, scope)
            a = self.density(left, env, new)
            given = [v for s in left.given for v in self.variables(s, env, new)]
        if not right.args:
            self.used_bare_kl = True
            b = self.atom(self.letter(right), list(bound), [] if self.prior else given, latex(right))
        else:
            over = [v[:2] for v in self.bind(right.args, env, scope)[0]]
            if set(over) != {v[:2] for v in bound}:
                self.lints[
                    f"{latex(left)} and {latex(right)} are laws of different variables: there is no KL divergence between them"
                ] = "odd"
            b = self.density(right, env, new)
        if a == ONE:
            raise PointMass(f"{latex(left)} is a point mass for T = {self.model.T}: it has no KL divergence from a density")
        return ("sum", bound, times([a, ("add", (("log", a), times([("num", Fraction(-1)), ("log", b)])))]))

    def info(self, node: Info, env: dict, scope: dict) -> Ground:
        self.used_division = True
        observed = self.model.observed
        letter = node.letter or ("p" if observed["q"] else "q")
        if not node.letter:
            self.notes[f"{latex(node)} is under {letter}"] = None
        if node.pointwise:
            over, held = node.groups[0], node.given
        else:
            over = tuple(s for g in node.groups for s in g)
            held = ()
            fixed = set(observed[letter])
            if any(v in fixed for s in over for v in self.slots_of(s, env)):
                raise NotDecidable(f"{latex(node)}: {letter} has no law for its observed variables")
            averaged = tuple(s for s in node.given if not any(v in fixed for v in self.slots_of(s, env)))
            held = tuple(s for s in node.given if s not in averaged)
            over = (*over, *averaged)
        bound, new = self.bind(over, env, scope)
        given = [v for s in held for v in self.variables(s, env, new)]
        weight = self.atom(letter, list(bound), given, latex(node))
        conditions = [v for s in node.given for v in self.variables(s, env, new)]
        groups = [[v for s in g for v in self.variables(s, env, new)] for g in node.groups]
        both = self.atom(letter, [v for g in groups for v in g], conditions, latex(node))
        minus = ("num", Fraction(-1))
        if node.kind == "H":
            return ("sum", bound, times([minus, weight, ("log", both)]))
        parts = [("log", both), *(times([minus, ("log", self.atom(letter, g, conditions, latex(node)))]) for g in groups)]
        return ("sum", bound, times([weight, ("add", tuple(parts))]))


def times(parts: list[Ground]) -> Ground:
    flat = [p for part in parts for p in (part[1] if part[0] == "mul" else (part,)) if p != ONE]
    return flat[0] if len(flat) == 1 else ("mul", tuple(flat)) if flat else ONE


def difference(model: Model, letter: str, top: frozenset[Slot], bottom: frozenset[Slot]) -> dict:
    """The density letter(top minus bottom | bottom) as marginals with exponents."""
    out = dict(model.canon(letter, top))
    for k, v in model.canon(letter, bottom).items():
        out[k] = out.get(k, 0) - v
    return {k: v for k, v in out.items() if v}
