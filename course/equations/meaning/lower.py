r"""From a formula in a setting to the terms of the kernel, with T and the indices kept as letters.

This is the same reading as ground.Grounder's, written once for every T: expectations, divergences and entropies become sums
over variables. The kernel (kernel.py) judges what comes out of here, so these lines belong to what has to be believed about
the *reading* of a formula; that a proof is one is the kernel's business alone.
"""

from __future__ import annotations

from typing import Any

from course.equations.meaning.ground import INDEX_NAMES, Grounder, OutOfRange, decoration
from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import Model, Setting
from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Big,
    Chain,
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
    Num,
    Pow,
    Range,
    Sym,
    latex,
)

Term = list[Any]
Variable = list[Any]  # [base, None | [letter, shift] | [[letter, shift], [letter, shift]], mark]
PROBE = 6  # a length at which questions of the kind "is x_0 among x_{1:T}?" are answered


def minus(g: Term) -> Term:
    return ["mul", ["num", "-1"], g]


def index(i: Index) -> Term:
    return [i.var, i.shift]


def laws(setting: Setting) -> dict[str, list]:
    """The joint laws of a setting, as the kernel reads them."""

    def go(node: Node) -> list:
        match node:
            case Mul(factors):
                return [f for part in factors for f in go(part)]
            case Big("prod", var, low, high, body):
                return [["each", var, index(low or Index("", 1)), index(high or Index("T")), go(body)]]
            case Density(_, args, given):
                return [["d", [_variable(s) for s in args], [_variable(s) for s in given]]]
        raise NotDecidable(f"setting {setting.name}: a law must be a product of densities")

    return {letter: go(tree) for letter, tree in setting.trees.items()}


def _variable(sym: Sym) -> Variable:
    where: Any = None
    if sym.sub:
        at = sym.sub[0]
        where = index(at) if isinstance(at, Index) else [index(at.low or Index("", 0)), index(at.high or Index("T"))]
    return [sym.name, where, decoration(sym)]


class Lowering:
    """Lowers the terms of one statement; joint and prior choose between readings, as in ground.Grounder."""

    def __init__(self, setting: Setting, joint: bool = False, prior: bool = False):
        self.setting, self.joint, self.prior = setting, joint, prior
        self.model = Model(setting, PROBE if setting.indexed else 1)
        self.probe = Grounder(self.model, {}, joint, prior)
        self.names: dict[str, Term] = {}

    # -- variables

    def variable(self, sym: Sym) -> Variable:
        """The symbol as a variable; open ends of a range become the first and last index that there is."""
        if sym.name not in self.probe.bases:
            raise NotDecidable(f"{latex(sym)} is not a variable of the setting {self.setting.name}")
        if len(sym.sub) > 1:
            raise NotDecidable(f"{latex(sym)} has more than one index")
        if sym.sub and isinstance(sym.sub[0], Range):
            own = [s[1] for s in self.model.slots if s[0] == sym.name and s[1] >= 0]
            r = sym.sub[0]
            sym = Sym(sym.name, (Range(r.low or Index("", min(own, default=1)), r.high or Index("T")),), sym.marks, sym.labels)
        return _variable(sym)

    def slots(self, v: Variable) -> set[tuple[str, int]]:
        """The slots of a variable at the probe's length, every other letter being 3."""
        base, where, _ = v

        def at(i):
            return ({"": 0, "T": self.model.T}.get(i[0], 3)) + i[1]

        if where is None:
            found = {(base, -1)}
        elif isinstance(where[0], list):
            found = {(base, i) for i in range(at(where[0]), at(where[1]) + 1)}
        else:
            found = {(base, at(where))}
        return {self.setting.alias_slots.get(s, s) for s in found}

    def block(self, slots: tuple) -> list[Variable]:
        """A set of slots at the probe's length as variables for every T: a run that reaches the last index ends at T."""
        out: list[Variable] = []
        for base in dict.fromkeys(s[0] for s in slots):
            run = sorted(s[1] for s in slots if s[0] == base)
            if run[0] < 0:
                out.append([base, None, ""])
                run = run[1:]
            if run and len(run) == run[-1] - run[0] + 1 and len(run) > 1:
                out.append([base, [["", run[0]], ["T", run[-1] - self.model.T]], ""])
            else:
                out += [[base, ["", i], ""] for i in run]
        return out

    def inside(self, slot: tuple[str, int], variables: list[Variable]) -> bool:
        return any(slot in self.slots(v) for v in variables if not v[2])

    # -- densities and laws

    def density(self, d: Density, kind: str = "d") -> Term:
        if not d.args:
            raise NotDecidable(f"{latex(d)} stands alone: write its variables")
        return [kind, self.probe.letter(d), [self.variable(s) for s in d.args], [self.variable(s) for s in d.given]]

    def law(self, law: Law, scope: list[Variable]) -> tuple[list[Variable], list[Variable], Term]:
        """(variables averaged over, those held, their weight)."""
        dist = law.dist
        if dist is None or (isinstance(dist, Density) and not dist.args):
            letter = "q" if dist is None else self.probe.letter(dist)
            average = self.joint and not self.model.observed[letter]
            seen = self.model.seen
            if law.vars:
                over = [self.variable(s) for s in law.vars]
            else:
                over = self.block(tuple(s for s in seen if average and not self.inside(s, scope)) + self.model.latent)
            fixed = tuple(s for s in seen if not self.inside(s, over) and (self.inside(s, scope) or not average))
            return over, [], ["w", letter, over, self.block(fixed)]
        factors = dist.factors if isinstance(dist, Mul) else (dist,)
        parts = [p for p in factors if isinstance(p, Density) and p.args]
        if len(parts) < len(factors):
            raise NotDecidable(f"cannot take an expectation over {latex(dist)}")
        over = [self.variable(s) for p in parts for s in p.args]
        held = [
            g
            for p in parts
            for g in map(self.variable, p.given)
            if len(parts) == 1 or any(self.slots(g) & self.slots(self.variable(a)) for a in p.args)
        ]
        weights = [self.density(p, "w") for p in parts]
        return over, held, weights[0] if len(weights) == 1 else ["mul", *weights]

    # -- everything

    def go(self, node: Node, letters: frozenset[str], scope: list[Variable]) -> Term:
        match node:
            case Num(v):
                return ["num", str(v)]
            case Neg(body):
                return minus(self.go(body, letters, scope))
            case Add(terms):
                return ["add", *(self.go(t, letters, scope) for t in terms)]
            case Mul(factors):
                return ["mul", *(self.go(f, letters, scope) for f in factors)]
            case Div(top, bottom):
                return ["div", self.go(top, letters, scope), self.go(bottom, letters, scope)]
            case Pow(base, exponent):
                return ["pow", self.go(base, letters, scope), self.probe.integer(exponent, {})]
            case Func("log" | "exp" as name, body):
                return [name, self.go(body, letters, scope)]
            case Density():
                return self.density(node)
            case Expect(laws_, body, given) if given:
                return self.conditional(laws_, body, given, letters, scope)
            case Expect(laws_, body):
                return self.expectation(laws_ or (Law((), Density("q")),), body, letters, scope)
            case KL(left, right):
                return self.kl(left, right, letters, scope)
            case Info():
                return self.info(node)
            case Integral(over, body):
                names = [self.variable(s) for s in over]
                return ["sum", names, [], self.go(body, letters, [*scope, *names])]
            case Big():
                return self.big(node, letters, scope)
            case Sym() if node.name in INDEX_NAMES and not node.sub and not node.marks and node.name not in self.probe.bases:
                if node.name == "T" or node.name in letters:
                    return ["at", [node.name, 0]]
        if isinstance(node, Sym | Apply):
            return self.name(node, letters)
        raise NotDecidable(f"{latex(node)} is beyond the setting {self.setting.name}")

    def expectation(self, laws_: tuple[Law, ...], body: Node, letters: frozenset[str], scope: list[Variable]) -> Term:
        if not laws_:
            return self.go(body, letters, scope)
        over, held, weight = self.law(laws_[0], scope)
        inner = self.expectation(laws_[1:], body, letters, [*scope, *over])
        return ["sum", over, held, ["mul", weight, inner]]

    def conditional(self, laws_: tuple[Law, ...], body: Node, given: tuple[Sym, ...], letters, scope) -> Term:
        """E_q[body | given]: the average over q(the other variables of the body | given)."""
        if len(laws_) != 1 or laws_[0].vars or not isinstance(laws_[0].dist, Density) or laws_[0].dist.args:
            raise NotDecidable("under which law? Write E_q[... | x] or E_p[... | x], or the law itself below E")
        held = [self.variable(s) for s in given]
        free = [v for v in self.free(self.go(body, letters, scope)) if not v[2]]
        over = [v for v in free if not any(self.slots(v) <= self.slots(h) for h in held)]
        weight = ["w", self.probe.letter(laws_[0].dist), over, held]
        return ["sum", over, held, ["mul", weight, self.go(body, letters, [*scope, *over])]]

    def free(self, g: Term) -> list[Variable]:
        """The variables of a term that it does not bind, those of a running index as a range."""
        match g:
            case ["d" | "w", _, args, given]:
                return [v for k, v in enumerate([*args, *given]) if v not in [*args, *given][:k]]
            case ["sum", over, held, body]:
                bound = [v for v in over if v not in held]
                ranges = {(v[0], v[2]) for v in bound if v[1] and isinstance(v[1][0], list)}
                return [v for v in self.free(body) if v not in bound and (v[0], v[2]) not in ranges]
            case ["each", _, letter, low, high, body]:
                return [self.widened(v, letter, low, high) for v in self.free(body)]
            case ["name", name, _]:
                return self.free(self.names[name]) if name in self.names else []
        out: list[Variable] = []
        for part in g[1:]:
            if isinstance(part, list) and part and isinstance(part[0], str):
                out += [v for v in self.free(part) if v not in out]
        return out

    @staticmethod
    def widened(v: Variable, letter: str, low: Term, high: Term) -> Variable:
        base, where, mark = v
        if where is None:
            return v
        a, b = where if isinstance(where[0], list) else (where, where)
        a = [low[0], low[1] + a[1]] if a[0] == letter else a
        b = [high[0], high[1] + b[1]] if b[0] == letter else b
        return [base, a if a == b else [a, b], mark]

    def name(self, node: Sym | Apply, letters: frozenset[str]) -> Term:
        sym = node.head if isinstance(node, Apply) else node
        keys = [k for k in self.setting.definitions if k == sym.name or (sym.sub and k.rpartition("_")[0] == sym.name)]
        if not keys or len(sym.sub) > 1:
            raise NotDecidable(f"{latex(node)} is not known in the setting {self.setting.name}")
        for k in keys:
            if k not in self.names:
                self.names[k] = []  # a definition that uses itself finds this, and the kernel rejects it
                self.names[k] = self.go(self.setting.definitions[k], frozenset("s"), [])
        at = sym.sub[0] if sym.sub else None
        if isinstance(at, Range):
            raise NotDecidable(f"{latex(node)} has a range as its index")
        return ["name", sym.name, index(at) if at else None]

    def big(self, node: Big, letters: frozenset[str], scope: list[Variable]) -> Term:
        inner = letters | {node.var}
        high = index(node.high) if node.high else ["T", 0]
        low = index(node.low) if node.low else ["", self.first(node, letters)]
        if any(i[0] not in (*letters, "", "T") for i in (low, high)):
            raise NotDecidable(f"the index in the limits of \\{node.kind} is not bound")
        return ["each", "add" if node.kind == "sum" else "mul", node.var, low, high, self.go(node.body, inner, scope)]

    def first(self, node: Big, letters: frozenset[str]) -> int:
        """Where a sum over "all t" starts: at the first index for which its variables exist."""
        start = self.model.T
        while start > 1:
            g = Grounder(self.model, dict.fromkeys(letters, 3), self.joint, self.prior)
            try:
                g.go(node.body, {**g.indices, node.var: start - 1}, {})
            except OutOfRange:
                break
            if g.lints:
                break
            start -= 1
        return start

    def kl(self, left: Node, right: Node, letters: frozenset[str], scope: list[Variable]) -> Term:
        if not isinstance(left, Density) or not isinstance(right, Density):

            def args(n: Node) -> list[Variable]:
                parts = n.factors if isinstance(n, Mul) else (n,)
                return [self.variable(s) for f in parts if isinstance(f, Density) for s in f.args]

            if not args(left) or not args(right):
                raise NotDecidable("a KL divergence compares two densities")
            over = args(left)
            a, b = (self.go(n, letters, [*scope, *over]) for n in (left, right))
        else:
            given: list[Variable]
            if left.args:
                over, given = [self.variable(s) for s in left.args], [self.variable(s) for s in left.given]
                a = self.density(left)
            else:
                over, given = self.block(self.model.latent), self.block(self.model.seen)
                a = ["d", self.probe.letter(left), over, given]
            b = self.density(right) if right.args else ["d", self.probe.letter(right), over, [] if self.prior else given]
        return ["sum", over, [], ["mul", a, ["add", ["log", a], minus(["log", b])]]]

    def info(self, node: Info) -> Term:
        """Entropy and mutual information under a letter's joint law."""
        letter = node.letter or ("p" if self.model.observed["q"] else "q")
        fixed = set(self.model.observed[letter])
        given = [self.variable(s) for s in node.given]
        groups = [[self.variable(s) for s in g] for g in node.groups]
        everything = [v for g in groups for v in g]
        if node.pointwise:
            over, held = groups[0], given
        else:
            if any(self.slots(v) & fixed for v in everything):
                raise NotDecidable(f"{latex(node)}: {letter} has no law for its observed variables")
            averaged = [v for v in given if not self.slots(v) & fixed]
            over, held = [*everything, *averaged], [v for v in given if v not in averaged]
        weight, both = ["w", letter, over, held], ["d", letter, everything, given]
        if node.kind == "H":
            return minus(["sum", over, [], ["mul", weight, ["log", both]]])
        parts = [["log", both], *(minus(["log", ["d", letter, g, given]]) for g in groups)]
        return ["sum", over, [], ["mul", weight, ["add", *parts]]]


def condition(node: Node) -> Term:
    """An index or a number as [letter, shift]."""
    match node:
        case Num(v) if v.denominator == 1:
            return ["", int(v)]
        case Neg(Num(v)) if v.denominator == 1:
            return ["", -int(v)]
        case Sym(name, (), ()):
            return [name, 0]
        case Add(terms):
            parts = [condition(t) for t in terms]
            if sum(bool(p[0]) for p in parts) <= 1:
                return ["".join(p[0] for p in parts), sum(p[1] for p in parts)]
    raise NotDecidable(f"the condition {latex(node)} is not one on an index")


def claim(
    setting: Setting,
    left: Node,
    relation: str,
    right: Node,
    free: list[str],
    conditions: tuple[Chain, ...] = (),
    joint: bool = False,
    prior: bool = False,
) -> dict[str, Any]:
    """left relation right as the kernel reads it: everything but the evidence."""
    low = Lowering(setting, joint, prior)
    letters = frozenset(free)
    sides = [low.go(left, letters, []), relation, low.go(right, letters, [])]
    where = []
    for chain in conditions:
        for a, rel, b in zip(chain.terms, chain.relations, chain.terms[1:], strict=False):
            one, two = condition(a), condition(b)
            where.append([rel.replace(">", "<"), two, one] if rel in (">", ">=") else [rel, one, two])
    where = [w for w in where if {w[1][0], w[2][0]} <= {*free, "", "T"}]
    if {"s", "t"} <= letters:
        where.append(["<", ["s", 0], ["t", 0]])
    alias = [[[a, i], [b, j]] for (a, i), (b, j) in setting.alias_slots.items()]
    return {
        "format": 1,
        "laws": laws(setting),
        "names": low.names,
        "alias": alias,
        "claim": sides,
        "free": list(free),
        "where": where,
    }
