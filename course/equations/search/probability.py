"""Is a relation between probabilities true in every model of its setting?

Nothing is ever accepted because it survived random tests, and nothing is accepted, or refuted, that the kernel (kernel.py) has
not confirmed from plain data: `Verdict.evidence`. What was found for some lengths T only is not accepted.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import lcm
from typing import Any

from course.equations import evidence
from course.equations.evidence import ACCEPTED, Evidence, Verdict
from course.equations.meaning import lower
from course.equations.meaning.closed_forms import PLAIN, Sense
from course.equations.meaning.ground import INDEX_NAMES, Ground, Grounder, OutOfRange, Undeclared, Var, shown
from course.equations.meaning.paths import FLOW, TWEEDIE, Paths
from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import Setting, settings, with_laws
from course.equations.meaning.settings import model as model_of
from course.equations.reading.tree import (
    Add,
    Big,
    Chain,
    Density,
    Div,
    Expect,
    Func,
    Grad,
    Index,
    Integral,
    Mul,
    Neg,
    Node,
    Num,
    Pow,
    Range,
    Sym,
    children,
    latex,
    rebuild,
    walk,
)
from course.equations.search import certificates
from course.equations.search.proof import Bounds, Form, Normaliser, plus
from course.equations.search.ratio import ratio
from course.equations.search.worlds import GLANCE, SEARCH, THOROUGH, Counterexample, Refuter, World, random_weights

LENGTHS = (2, 3, 4)
LONGEST = 7  # a statement that is not proved for all T is tried up to this length
MAX_INSTANCES = 120


@lru_cache(maxsize=256)
def _normaliser(setting: Setting, T: int, forget: frozenset[str] = frozenset(), extra: int = 0) -> Normaliser:
    return Normaliser(model_of(setting, T, forget, extra))


def _setting(setting: str | Setting) -> Setting | Paths:
    if isinstance(setting, Setting):
        return setting
    if setting not in settings:
        raise ValueError(f"there is no setting {setting!r}; known are {', '.join([*settings, 'gaussian'])}")
    return settings[setting]


# -------------------------------------------------------------------------------------------------- one relation


@dataclass
class Instance:
    """A claim in one model: for one T and one choice of the free indices."""

    T: int
    indices: dict[str, int]
    left: Ground
    right: Ground
    free: frozenset[Var]
    free_left: frozenset[Var]
    free_right: frozenset[Var]
    lints: tuple[str, ...]
    notes: tuple[str, ...]
    extra: int
    bare: bool
    bare_kl: bool
    index_value: bool
    division: bool
    form: Form | None = None

    @property
    def at(self) -> str:
        return ", ".join(f"{k} = {v}" for k, v in self.indices.items())


@dataclass(frozen=True)
class Claim:
    """left relation right in a setting; conditions restrict the free indices (t >= 2)."""

    setting: Setting
    left: Node
    relation: str
    right: Node
    conditions: tuple[Chain, ...] = ()
    joint: bool = False
    prior: bool = False

    def free_indices(self) -> list[str]:
        out: dict[str, None] = {}
        taken = {s[0] for s in model_of(self.setting, 2 if self.setting.indexed else 1).slots}

        def go(node: Node, bound: frozenset[str]) -> None:
            if isinstance(node, Index) and node.var and node.var != "T" and node.var not in bound:
                out[node.var] = None
            if (
                isinstance(node, Sym)
                and not node.sub
                and node.name in INDEX_NAMES
                and node.name not in ("T", *taken)
                and node.name not in bound
            ):
                out[node.name] = None
            if isinstance(node, Big):
                for limit in (node.low, node.high):
                    if limit is not None:
                        go(limit, bound)
                go(node.body, bound | {node.var})
                return
            for f in children(node):
                go(f, bound)

        go(self.left, frozenset())
        go(self.right, frozenset())
        return sorted(out)

    def instances(self, T: int, extra: int = 0) -> list[Instance]:
        model = model_of(self.setting, T, extra=extra)
        names = self.free_indices()
        out = []
        for values in product(range(1, T + 1 + extra), repeat=len(names)):
            indices = dict(zip(names, values, strict=True))
            if "s" in indices and "t" in indices and not indices["s"] < indices["t"]:
                continue
            if not all(_holds(c, indices, T) for c in self.conditions):
                continue
            g = Grounder(model, indices, self.joint, self.prior)
            try:
                left = g(self.left)
                free_left = frozenset(g.free)
                g.free = set()
                right = g(self.right)
            except OutOfRange:
                if names or extra == 0:
                    continue
                raise
            if names and "degenerate" in g.lints.values():
                continue
            out.append(
                Instance(
                    T,
                    indices,
                    left,
                    right,
                    free_left | g.free,
                    free_left,
                    frozenset(g.free),
                    tuple(g.lints),
                    tuple(g.notes),
                    extra,
                    g.used_bare_law,
                    g.used_bare_kl,
                    g.used_index_value,
                    g.used_division,
                )
            )
            if len(out) > MAX_INSTANCES:
                raise NotDecidable(f"more than {MAX_INSTANCES} combinations of free indices")
        return out

    def data(self) -> dict:
        """The claim as the kernel reads it; NotDecidable where it cannot be written for every T."""
        return _data(self)

    def difference(self, i: Instance, forget: frozenset[str] = frozenset()) -> Form:
        n = _normaliser(self.setting, i.T, forget, i.extra)
        return plus(n.form(i.left), n.form(i.right), -1)


@lru_cache(maxsize=256)
def _data(c: Claim) -> dict:
    relation = {":=": "=", "=:": "="}.get(c.relation, c.relation)
    return lower.claim(c.setting, c.left, relation, c.right, c.free_indices(), c.conditions, c.joint, c.prior)


def _number(node: Node, indices: dict[str, int], T: int) -> int | None:
    match node:
        case Num(v) if v.denominator == 1:
            return int(v)
        case Sym(name, (), ()) if name == "T" or name in indices:
            return T if name == "T" else indices[name]
        case Neg(body):
            inner = _number(body, indices, T)
            return None if inner is None else -inner
        case Add(terms):
            parts = [_number(t, indices, T) for t in terms]
            return None if any(p is None for p in parts) else sum(parts)  # type: ignore[arg-type]
    return None


def _is_condition(chain: Chain) -> bool:
    """t >= 2 and the like: only indices and numbers."""
    return (
        bool(chain.relations)
        and any(isinstance(n, Sym) and n.name in INDEX_NAMES and n.name != "T" for t in chain.terms for n in walk(t))
        and all(
            isinstance(n, Num | Neg | Add) or (isinstance(n, Sym) and n.name in INDEX_NAMES and not n.sub and not n.marks)
            for t in chain.terms
            for n in walk(t)
        )
    )


def _holds(chain: Chain, indices: dict[str, int], T: int) -> bool:
    values = [_number(t, indices, T) for t in chain.terms]
    for a, rel, b in zip(values, chain.relations, values[1:], strict=False):
        if a is None or b is None:
            continue
        if not {"=": a == b, ">=": a >= b, "<=": a <= b, ">": a > b, "<": a < b, "!=": a != b}.get(rel, True):
            return False
    return True


@lru_cache(maxsize=1024)
def decide(claim: Claim, search: bool = True) -> Verdict:
    """The verdict on one relation, without what explains it. search=False looks for a proof only, not for a counterexample."""
    if claim.relation in (":=", "=:"):
        claim = replace(claim, relation="=")
    if claim.relation == "propto":
        return _proportional(claim, search)
    if claim.relation in ("~", "->", "~=", "!="):
        what = {
            "~": '"distributed as" is no equation; write the density',
            "~=": "an approximation is no claim that can be decided",
            "->": "a limit is beyond this setting",
            "!=": '"not equal" is not decided',
        }
        return Verdict("undecided", reason=what[claim.relation])
    try:
        verdict, flags = _reading(claim, search)
        others = []
        if flags["bare"] and flags["averages"]:
            others.append((replace(claim, joint=True), "E_q over x_0 as well", "E_q given x_0"))
        if flags["bare_kl"]:
            others.append(
                (replace(claim, prior=True), "the right law of the KL as a prior", "the right law of the KL as a posterior")
            )
        for other, name, usual in others:
            second, _ = _reading(other, search)
            if second.kind == verdict.kind or second.kind == "undecided":
                continue
            if verdict.accepted and second.accepted:
                continue
            if verdict.kind == "undecided" and second.kind == "refuted":
                continue
            return Verdict(
                "undecided",
                reason=f"the answer depends on a reading: with {usual} it is {verdict.kind}, with {name} it is {second.kind}; "
                "write the law out",
                notes=verdict.notes,
            )
        return verdict
    except NotDecidable as e:
        return Verdict("outside" if isinstance(e, Undeclared) else "undecided", reason=str(e))
    except RecursionError:
        return Verdict("undecided", reason="the statement is nested too deeply")


def _proportional(claim: Claim, search: bool) -> Verdict:
    """left is proportional to right as a function of the variables of the left density: left(z) right(z') = left(z') right(z)."""
    if not isinstance(claim.left, Density) or not claim.left.args:
        return Verdict("undecided", reason="proportional as a function of what? Write a density alone on the left")
    names = {s.name for s in claim.left.args}
    others = {n for side in (claim.left, claim.right) for n in walk(side) if isinstance(n, Sym) and n.name in names}
    if any(isinstance(i, Range) for s in others - set(claim.left.args) for i in s.sub):
        return Verdict("undecided", reason="proportional as a function of some variables of a range: this is not decided")

    def other(node: Node) -> Node:
        if isinstance(node, Sym) and node in claim.left.args:  # type: ignore[attr-defined]
            return replace(node, marks=(*node.marks, "prime"))
        return rebuild(node, other)

    crossed = Mul((claim.left, other(claim.right))), Mul((other(claim.left), claim.right))
    verdict = decide(replace(claim, left=crossed[0], relation="=", right=crossed[1]), search)
    variables = ", ".join(map(latex, claim.left.args))
    reason = f"as functions of {variables}: {latex(Chain(crossed, ('=',)))}"
    return replace(verdict, reason=f"{reason}; {verdict.reason}" if verdict.reason else reason)


def _positive(node: Node) -> bool:
    """Is the term seen to be positive: made of densities and their averages?"""
    match node:
        case Num(v):
            return v > 0
        case Density():
            return bool(node.args)
        case Mul(parts):
            return all(map(_positive, parts))
        case Div(a, b):
            return _positive(a) and _positive(b)
        case Expect(_, body) | Integral(_, body) | Pow(body, _) | Big("prod", _, _, _, body):
            return _positive(body)
    return isinstance(node, Func) and node.name == "exp"


def _log(node: Node) -> Node:
    """The logarithm of a positive term."""
    if isinstance(node, Mul):
        return Add(tuple(map(_log, node.factors)))
    return node.body if isinstance(node, Func) and node.name == "exp" else Func("log", node)


def _logarithms(claim: Claim) -> Claim:
    return replace(claim, left=_log(claim.left), right=_log(claim.right))


def _reading(claim: Claim, search: bool = True) -> tuple[Verdict, dict]:
    setting = claim.setting
    lengths = LENGTHS if setting.indexed else (1,)
    instances = [i for T in lengths for i in claim.instances(T)]
    extra_note = ""
    if not instances:
        try:
            instances = [i for T in lengths for i in claim.instances(T, extra=1)]
        except OutOfRange:
            instances = []
        if not instances:
            deep = [i for T in range(5, 9) for i in claim.instances(T)] if setting.indexed else []
            if not deep:
                raise NotDecidable(
                    f"the statement uses variables that do not exist in the setting {setting.name}, for any T up to 8"
                )
            instances = deep
        else:
            extra_note = "the statement uses variables beyond those of the setting (an index runs too far)"
    lints = tuple(dict.fromkeys(x for i in instances for x in i.lints))
    notes = tuple(dict.fromkeys(x for i in instances for x in i.notes))
    flags = {
        "bare": any(i.bare for i in instances),
        "bare_kl": any(i.bare_kl for i in instances),
        "averages": not setting_observed(setting) and not any(_seen_free(i, claim) for i in instances),
    }
    for i in instances:
        i.form = claim.difference(i)
    open_ = [i for i in instances if i.form]
    relation = claim.relation
    if not open_:
        if relation in (">", "<"):
            return _strict_equal(claim, instances[0], lints), flags
        verdict = _proved(claim, evidence.same(claim.data()), instances, notes, search=search)
        if relation != "=" and verdict.accepted:
            verdict = replace(verdict, reason="both sides are even equal")
        return _with_lints(verdict, lints, extra_note), flags
    if relation == "=" and not search:
        return Verdict("undecided"), flags
    if relation == "=":
        exponential = any(isinstance(n, Func) and n.name == "exp" for side in (claim.left, claim.right) for n in walk(side))
        if exponential and _positive(claim.left) and _positive(claim.right):
            return _from_logarithms(claim, decide(_logarithms(claim))), flags
        for i in open_:
            cex = _refute(claim, i, "=", lints, SEARCH)
            if cex:
                return _refuted(claim, i, cex, lints, extra_note), flags
        for i in open_[:4]:
            cex = _refute(claim, i, "=", lints, THOROUGH)
            if cex:
                return _refuted(claim, i, cex, lints, extra_note), flags
        return Verdict("undecided", reason="no proof was found, and no counterexample", notes=notes), flags
    weak = {">": ">=", "<": "<="}.get(relation, relation)
    for i in open_ if search else ():
        cex = _refute(claim, i, weak, lints, GLANCE)
        if cex:
            return _refuted(claim, i, cex, lints, extra_note), flags
    found = _bounded(claim, weak, open_)
    if found is None and _positive(claim.left) and _positive(claim.right):
        verdict = _from_logarithms(claim, decide(replace(_logarithms(claim), relation=weak), False))
        if verdict.accepted and relation == weak:
            return replace(verdict, certificate=f"for the logarithms of both sides, {verdict.certificate}"), flags
    if found is None:
        for i, effort in [*((i, SEARCH) for i in open_), *((i, THOROUGH) for i in open_[:12])] if search else ():
            cex = _refute(claim, i, weak, lints, effort)
            if cex:
                return _refuted(claim, i, cex, lints, extra_note), flags
        return Verdict(
            "undecided",
            reason="no certificate was found for the inequality, and no counterexample",
            notes=notes,
        ), flags
    certificate, proof = found
    if relation in (">", "<") and not search:
        return Verdict("undecided"), flags
    if relation in (">", "<"):
        return _strict(claim, open_[0], lints, certificate), flags
    verdict = _proved(claim, proof, instances, notes, certificate, search)
    return _with_lints(verdict, lints, extra_note), flags


def _from_logarithms(claim: Claim, logs: Verdict) -> Verdict:
    """The verdict on positive sides out of that on their logarithms, re-checked as such."""
    if not logs.accepted:
        return logs
    found = evidence.of_logarithms(claim.data(), logs.evidence[0])
    known = evidence.earned(found)
    return replace(logs, evidence=(known,)) if known else Verdict("undecided", reason=evidence.refusal(found), notes=logs.notes)


def setting_observed(setting: Setting) -> bool:
    return bool(model_of(setting, 2 if setting.indexed else 1).observed["q"])


def _seen_free(i: Instance, claim: Claim) -> bool:
    """Is the first variable (x_0) free even when bare expectations average over it?"""
    if claim.joint:
        return False
    seen = model_of(claim.setting, i.T, extra=i.extra).seen
    try:
        other = [j for j in replace(claim, joint=True).instances(i.T, i.extra) if j.indices == i.indices]
    except NotDecidable:
        return True
    return any(v[:2] in seen for j in other for v in j.free)


def _with_lints(verdict: Verdict, lints: tuple[str, ...], extra_note: str) -> Verdict:
    if not lints and not extra_note:
        return verdict
    text = "; ".join([*lints, *([extra_note] if extra_note else [])])
    return Verdict("undecided", reason=f"{text}. (Read generously, the line would hold.)", notes=verdict.notes)


def _refute(
    claim: Claim, i: Instance, relation: str, lints: tuple, effort: int
) -> Counterexample | None:
    model = model_of(claim.setting, i.T, extra=i.extra)
    r = Refuter(model, i.left, i.right, i.free, relation, i.at, formal=bool(lints))
    world = r.search(effort)
    return r.exact(world) if world is not None else None


def _proved(claim: Claim, found: dict, instances: list[Instance], notes: tuple, certificate: str = "", search: bool = True) -> Verdict:
    """The verdict that this evidence earns: the kernel says the kind and the extent. Nothing else makes an accepted verdict."""
    known = evidence.earned(found)
    if known is None:
        lengths = sorted({i.T for i in instances})
        if claim.setting.indexed and search:
            return _only_computed(claim, instances, "T = " + ", ".join(map(str, lengths)), notes)
        return Verdict("undecided", reason=f"a proof was found, but the kernel rejects it: {evidence.refusal(found)}", notes=notes)
    reason = "both sides have the same normal form" if known.kind == "identity" else ""
    start = known.extent.removeprefix("every T >= ")
    proved_for = "" if not known.extent else "all T" if start == "2" else f"all T from {start}"
    return Verdict(
        known.kind,
        reason=reason,
        proved_for=proved_for,
        certificate=certificate,
        notes=notes,
        evidence=(known,),
    )


def _only_computed(claim: Claim, instances: list[Instance], lengths: str, notes: tuple) -> Verdict:
    """A statement that holds for the lengths tried and whose form proves nothing for longer ones: longer ones may refute it."""
    relation = {">": ">=", "<": "<="}.get(claim.relation, claim.relation)
    for T in range(max(i.T for i in instances) + 1, LONGEST + 1):
        try:
            for i in claim.instances(T):
                i.form = claim.difference(i)
                if i.form and (cex := _refute(claim, i, relation, (), SEARCH)):
                    return _refuted(claim, i, cex, (f"it holds for {lengths}, and not for T = {T}",), "")
        except NotDecidable:
            break
    return Verdict("undecided", reason=f"it holds for {lengths}; that it holds for every T was not proved", notes=notes)


def assumptions(claim: Claim, verdict: Verdict) -> tuple[tuple[str, ...], bool]:
    """What the proof of a claim used, in words, and whether a Markov property is among it."""
    out, kind = [], verdict.kind
    if verdict.evidence[0]["rule"] == "log":
        claim = _logarithms(claim)
    setting = claim.setting
    probe = next(filter(None, map(claim.instances, (3, 2, 4, 5, 6, 7, 8) if setting.indexed else (1,))))
    model = model_of(setting, probe[0].T)
    letters = [x for x in model.letters if len(model.canon(x, frozenset(model.slots))) > 1]

    def survives(forget: frozenset[str]) -> bool:
        for i in probe:
            form = claim.difference(i, forget)
            if not form:
                continue
            if kind == "identity":
                return False
            s = 1 if claim.relation in (">=", ">") else -1
            if Bounds(_normaliser(setting, i.T, forget, i.extra)).prove({k: s * v for k, v in form.items()}) is None:
                return False
        return True

    markov = bool(letters) and not survives(frozenset(letters))
    if markov:
        needed = [x for x in letters if len(letters) == 1 or not survives(frozenset([x]))] or letters
        out.append(f"the Markov property of {' and '.join(needed)}")
    if any(i.division for i in probe):
        out.append("positivity: every probability is greater than zero")
    return tuple(out), markov


def _refuted(claim: Claim, i: Instance, cex: Counterexample, lints: tuple, extra_note: str) -> Verdict:
    reasons = [*lints, *([extra_note] if extra_note else [])]
    for mine, other, side in ((i.free_left, i.free_right, "left"), (i.free_right, i.free_left, "right")):
        only = sorted(v for v in mine - other)
        if only and len(reasons) < 4 and not isinstance(claim.right, Num):
            names = ", ".join(shown(v) for v in only)
            reasons.append(
                f"{names} {'is' if len(only) == 1 else 'are'} free on the {side} only (an expectation or a sum over "
                f"{'it' if len(only) == 1 else 'them'} may be missing)"
            )
    model = model_of(claim.setting, i.T, extra=i.extra)
    if claim.relation == "=":
        reasons += ratio(model, _normaliser(claim.setting, i.T, extra=i.extra), i)
    if claim.setting.indexed and i.T > 2 and not reasons:
        reasons.append(f"it holds for T = 2 but not for T = {i.T}")
    confirmed = _confirmed(claim, i, cex)
    if confirmed is None:
        why = "; ".join(reasons) or "a counterexample was found"
        return Verdict("undecided", reason=f"{why}. (The kernel does not confirm a counterexample.)")
    return Verdict(
        "refuted",
        reason="; ".join(reasons) or "it fails in the model shown",
        codes=() if reasons else ("shown",),
        counterexample=cex,
        evidence=(confirmed,),
    )


def _longer(laws: Any, extra: int) -> Any:
    """Laws, as data, of a chain that ends at T + extra."""
    if isinstance(laws, dict):
        return {letter: _longer(factors, extra) for letter, factors in laws.items()}
    if isinstance(laws, list) and len(laws) == 2 and laws[0] == "T" and isinstance(laws[1], int):
        return ["T", laws[1] + extra]
    return [_longer(part, extra) for part in laws] if isinstance(laws, list) else laws


def _confirmed(claim: Claim, i: Instance, cex: Counterexample) -> Evidence | None:
    """The world of a counterexample as evidence, if the kernel's own evaluator finds the claim false there too."""
    try:
        data = claim.data()
    except NotDecidable:
        return None
    model = model_of(claim.setting, i.T, extra=i.extra)
    plain = [s for s in model.observed["q"] if s[1] < 0]
    for base in sorted({s[0] for s in model.slots if s[1] > 0}) if plain and i.lints else ():
        if (base, 0) not in model.slots:  # read generously, z_0 is x
            data = {**data, "alias": [*data["alias"], [[base, 0], list(plain[0])]]}
    if i.extra:  # the statement speaks of variables beyond the last: the chain goes on for it
        data = {**data, "laws": _longer(data["laws"], i.extra)}
    return evidence.earned(evidence.in_world(data, {"T": i.T, "index": dict(i.indices), **(cex.data or {})}))


# --------------------------------------------------------------------------------------------------------- bounds


def _signed(form: Form, relation: str) -> Form:
    return dict(form) if relation == ">=" else {k: -v for k, v in form.items()}


def _bounded(claim: Claim, relation: str, open_: list[Instance]) -> tuple[str, dict] | None:
    """(certificate, evidence) if the inequality has a certificate at the lengths tried, else None. The evidence speaks of every
    length if one of the ways to write it so convinces the kernel; else it does not, and earns nothing."""
    setting, names = claim.setting, claim.free_indices()
    data = {**claim.data(), "rule": "gibbs"}
    data["claim"] = [data["claim"][0], relation, data["claim"][2]]
    texts: dict[str, None] = {}
    for i in sorted(open_, key=lambda i: (i.T != 3, i.T, i.indices.get("t") != 2)):
        n = _normaliser(setting, i.T, extra=i.extra)
        proof = Bounds(n).prove(_signed(i.form or {}, relation))
        if proof is None:
            return None
        gap = " + ".join(("" if c == 1 else f"{c} ") + e.text() for c, e in proof)
        if not setting.indexed:
            return f"the gap is {gap}", evidence.gibbs(data, certificates.pieces_at(proof))
        apart = frozenset(s for s in n.model.seen if s[1] <= 0)
        for pieces in certificates.general(proof, i.T, apart, {k: i.indices[k] for k in names}):
            found = evidence.gibbs(data, pieces)
            if known := evidence.earned(found):
                return f"the gap is {certificates.shown(pieces)}", known
        texts[f"T = {i.T}" + (f", {i.at}" if i.at else "") + f": {gap}"] = None
    return f"the gap is, for {'; '.join(list(texts)[:4])}", {**data, "rule": "none: found for some T only"}


def _strict_equal(claim: Claim, i: Instance, lints: tuple) -> Verdict:
    model = model_of(claim.setting, i.T, extra=i.extra)
    r = Refuter(model, i.left, i.right, i.free, claim.relation, i.at)
    weights = random_weights(model, 2, random.Random(0), (1, 2, 3))
    found = evidence.earned({**claim.data(), "rule": "equal", "like": {}})
    return Verdict(
        "refuted" if found else "undecided",
        reason="; ".join([*lints, "both sides are always equal, so the strict inequality never holds"]),
        counterexample=r.exact((2, weights, {}), strict_fails=True, at=(0,) * len(r.free)),
        evidence=(found,) if found else (),
    )


def _strict(claim: Claim, i: Instance, lints: tuple, certificate: str) -> Verdict:
    """A strict inequality whose weak form is proved: it fails if both sides are equal where q is p."""
    model = model_of(claim.setting, i.T, extra=i.extra)
    found = evidence.earned({**claim.data(), "rule": "equal", "like": {letter: "p" for letter in model.letters if letter != "p"}})
    if found is None:
        return Verdict(
            "undecided",
            reason="the inequality without strictness is proved; whether equality can occur was not decided",
            certificate=certificate,
        )
    weights = random_weights(model, 2, random.Random(0), (1, 2, 3))
    world = World(model, 2, weights, exact=True)
    for slot, parents in model.parents["q"].items():
        rows = world.density("p", frozenset([slot]), frozenset(parents))
        order = tuple(s for s in model.slots if s in (slot, *parents))
        scale = lcm(*(x.denominator for x in rows))
        weights["q"][slot] = [int(rows[k] * scale) for k in _transposed(order, (*parents, slot))]
    r = Refuter(model, i.left, i.right, i.free, claim.relation, i.at)
    return Verdict(
        "refuted",
        reason="; ".join(
            [*lints, "equality occurs (for instance where q is the posterior of p), so the inequality is not strict"]
        ),
        counterexample=r.exact((2, weights, {}), strict_fails=True, at=(0,) * len(r.free)),
        evidence=(found,),
    )


def _transposed(order: tuple, wanted: tuple) -> list[int]:
    """For each cell of binary variables in the wanted order, its place in a flat table over them in `order`."""
    out = []
    for values in product(range(2), repeat=len(wanted)):
        at = dict(zip(wanted, values, strict=True))
        out.append(sum(at[s] << (len(order) - 1 - k) for k, s in enumerate(order)))
    return out


# ---------------------------------------------------------------------------------------------- the closed forms


@dataclass(frozen=True)
class Numbers:
    """A counterexample in the Gaussian setting: what each symbol was set to, and both sides there."""

    where: dict
    left: str
    right: str
    relation: str

    def __str__(self) -> str:
        table = "\n".join(f"  {k} = {v}" for k, v in self.where.items())
        return f'{table}\n  left side  = {self.left}\n  right side = {self.right}\nso "{self.relation}" fails'


def _closed_form(left: Node, relation: str, right: Node, sense: Sense = PLAIN) -> Verdict:
    """The verdict of course.equations.search.gaussian, as far as the kernel confirms what it rests on."""
    from course.equations.search import gaussian

    found = gaussian.decide(left, relation, right, sense)
    if found.kind == "undecided":
        return Verdict("undecided", reason=found.reason)
    proof = found.evidence
    if found.kind == "bound" and not proof:
        proof = _of_any_laws(left, relation, right)
    known = tuple(e for e in map(evidence.earned, proof) if e)
    if not proof or len(known) < len(proof):
        why = next(filter(None, map(evidence.refusal, proof)), "there is no evidence that it can check")
        return Verdict("undecided", reason=f"{found.reason}; but the kernel does not confirm that it is {found.kind}: {why}")
    borrowed: tuple[str, ...] = ()
    if found.kind in ACCEPTED:
        meant = (left, right) if sense.path is None else sense.path.both(left, right)
        flows = sense.path is not None and meant != (sense.path.normal(left), sense.path.normal(right))
        borrowed = (*_borrowed(*meant), *((FLOW,) if flows else ()), *found.assumes)
    cex = Numbers(found.where, found.left, found.right, relation) if found.kind == "refuted" else None
    return Verdict(
        found.kind,
        reason=found.reason,
        counterexample=cex,
        proved_for="" if found.kind not in ACCEPTED else "all t" if sense.path is None else sense.path.range,
        assumptions=borrowed,
        codes=found.codes,
        evidence=known,
    )


def _borrowed(left: Node, right: Node) -> tuple[str, ...]:
    """The facts that the setting gaussian takes over rather than proves, where a line rests on them: an average of the data given
    a later x, beside a score."""
    nodes = [n for side in (left, right) for n in walk(side)]
    scores = any(isinstance(n, Grad) and any(isinstance(m, Density) for m in walk(n)) for n in nodes)
    given = [(*n.given, *(s for w in n.laws if isinstance(w.dist, Density) for s in w.dist.given)) for n in nodes if isinstance(n, Expect)]
    late = any(g and Sym("x", (Index("", 0),)) not in g for g in given)
    return (TWEEDIE,) if scores and late else ()


def _of_any_laws(left: Node, relation: str, right: Node) -> tuple[dict, ...]:
    """The evidence that an inequality between divergences holds for all laws, Gaussian ones among them; empty if it does not."""
    verdict = decide(Claim(with_laws("diffusion"), left, relation, right), False)
    return verdict.evidence if verdict.accepted else ()


def combine(relations: list[str]) -> str | None:
    """The relation of first and last term that a chain of relations gives: = and >= make >=; >= and <= make nothing."""
    strict = any(r in (">", "<") for r in relations)
    up = any(r in (">=", ">") for r in relations)
    down = any(r in ("<=", "<") for r in relations)
    if (up and down) or any(r not in ("=", ":=", "=:", ">=", "<=", ">", "<") for r in relations):
        return None
    return (">" if strict else ">=") if up else ("<" if strict else "<=") if down else "="
