"""A whole text, judged: a statement, or a derivation relation by relation.

What its letters mean is settled first (symbols.py): one table for each way in which the text can be read. The first table in
which every relation holds is the verdict's; if there is none, the text is as wrong as its best reading.
"""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from course.equations import repairs
from course.equations.evidence import ACCEPTED, Derivation, Step, Verdict
from course.equations.meaning import symbols
from course.equations.meaning.closed_forms import is_noise
from course.equations.meaning.coordinates import one_coordinate
from course.equations.meaning.paths import Paths
from course.equations.meaning.problems import NotDecidable
from course.equations.meaning.settings import BadSetting, Setting, checked, model, with_laws
from course.equations.meaning.symbols import Table
from course.equations.reading.reader import ReadError, Reading, read
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
    Integral,
    Law,
    Mul,
    Neg,
    Node,
    Normal,
    Num,
    Range,
    Sym,
    latex,
    outline,
    walk,
)
from course.equations.reading.words import NEW_STATEMENT
from course.equations.search.gaussian import CONSTANTS
from course.equations.search.probability import (
    Claim,
    _closed_form,
    _is_condition,
    _setting,
    combine,
    decide,
)

MAX_RELATIONS = 100  # of one input
MAX_EXPLAINED = 6  # refuted relations of one input for which repairs are sought
CLAIMS_NOTHING = ("definition",)


class NotThisReading(Exception):
    """A table under which a letter would be two things: a noise of its own here, and of another line there."""


@dataclass(frozen=True)
class Examined:
    """A text with what is known about it: its reading, the table that was used, its relations."""

    reading: Reading
    table: Table
    steps: tuple[Step, ...]


def judge(latex_text: str, setting: str | Setting | Paths = "vae", explain: bool = True) -> Verdict:
    """Is the statement true in every model of the setting?

    latex_text: one statement (or several rows); setting: a name in course.equations.meaning.settings.settings, "gaussian", or a Setting;
    explain: whether repairs are sought for what is refuted. A chain of relations is as true as its weakest link.
    ValueError for an unknown setting, TypeError for a non-string; anything else that goes wrong inside is `undecided`.
    """
    name, chosen = _named(latex_text, setting)
    try:
        found = _examined(*declared(latex_text, chosen), explain)
    except BadSetting as e:
        return Verdict("unreadable", reason=str(e), position=(1, 1), setting=name)
    except ReadError as e:
        return Verdict("unreadable", reason=str(e), position=(e.line, e.column), setting=name)
    except Exception as e:
        return replace(_unexpected(e, latex_text), setting=name)
    chains = found.table.chains if found.table.setting is not None and found.table.setting.laws else found.reading.chains
    shown = r" \\ ".join(map(latex, chains))
    tree = "\n".join(outline(c) for c in found.reading.chains)
    verdict = _combined([s for s in found.steps if "condition" not in s.verdict.codes])
    notes = (*found.reading.notes, *verdict.notes)
    return replace(verdict, reading=shown, tree=tree, notes=notes, setting=name, read_with=found.table.said)


def judge_derivation(latex_text: str, setting: str | Setting | Paths = "vae", explain: bool = True) -> Derivation:
    """Judge every relation of a derivation (rows of an aligned environment, chains), each against its own left neighbour."""
    name, chosen = _named(latex_text, setting)
    try:
        found = _examined(*declared(latex_text, chosen), explain)
        conclusion, compensating = _conclusion(found, chosen)
    except BadSetting as e:
        error = Verdict("unreadable", reason=str(e), position=(1, 1), setting=name)
        return Derivation((), error=error, conclusion="the declarations cannot be read")
    except ReadError as e:
        error = Verdict("unreadable", reason=str(e), position=(e.line, e.column), setting=name)
        return Derivation((), error=error, conclusion="the derivation cannot be read")
    except Exception as e:
        return Derivation((), error=replace(_unexpected(e, latex_text), setting=name), conclusion="the derivation was not judged")
    return Derivation(found.steps, conclusion, compensating, notes=found.reading.notes, read_with=found.table.said)


def _named(text: str, setting: str | Setting | Paths) -> tuple[str, Setting | Paths | None]:
    if not isinstance(text, str):
        raise TypeError(f"a formula is text, not {type(text).__name__}")
    name = setting if isinstance(setting, str) else setting.name
    if isinstance(setting, Paths):
        return name, setting
    return name, None if name == "gaussian" else _setting(setting)


LET = re.compile(r"^\s*(?:\\text\{)?\s*let\b\s*\}?\s*(?P<name>[^=]+?)\s*(?P<sign>:?=)\s*(?P<meaning>.+?)\s*(?:\\\\)?\s*$", re.I)


def declared(text: str, setting: Setting | Paths | None) -> tuple[str, Setting | Paths | None]:
    r"""The text without the `let` rows at its top, and the setting that they make.

    `let p = p(a) p(b|a)` and `let q = ...` declare the joint laws; any other `let NAME = MEANING` becomes the row NAME := MEANING,
    on the same line, so that places in the text stay what they are. Raises BadSetting.
    """
    lines, laws = text.split("\n"), {}
    for n, line in enumerate(lines):
        if not line.strip():
            continue
        row = LET.match(line)
        if row is None:
            break
        if row["name"] in ("p", "q"):
            laws[row["name"]] = row["meaning"]
            lines[n] = ""
        else:
            lines[n] = f"{row['name']} := {row['meaning']} {NEW_STATEMENT}"
    if laws:
        p = laws.get("p") or re.sub(r"\bq(?=\()", "p", laws["q"])  # a law that is not declared has the factors of the other
        q = laws.get("q") or re.sub(r"\bp(?=\()", "q", laws["p"])
        setting = checked(Setting("the text", p, q), "let")
    return "\n".join(lines), setting


def _unexpected(error: Exception, text: str) -> Verdict:
    """A fault of the checker: never a verdict on the statement, and never a traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "equations" in f.filename]
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    reference = hashlib.sha256(f"{type(error).__name__} {where} {text}".encode()).hexdigest()[:8]
    return Verdict(
        "undecided",
        reason=f"the checker failed on this ({type(error).__name__} at {where}): please report it with the formula, "
        f"reference {reference}",
    )


@lru_cache(maxsize=256)
def _examined(text: str, setting: Setting | Paths | None, explain: bool) -> Examined:
    """Every relation of the text, judged by its best table; setting None is the Gaussian one."""
    reading = read(text)
    conditions = frozenset(n for n, c in enumerate(reading.chains) if _is_condition(c) and not isinstance(setting, Paths))
    if setting is None:
        tables = symbols.gaussian_tables(reading, conditions)
    elif isinstance(setting, Paths):
        tables = symbols.path_tables(reading, setting, conditions)
    else:
        tables = symbols.tables(reading, setting, conditions, lambda name, _: _known(name, setting))
    tried: list[tuple[Table, list[Step]]] = []
    for table in tables:
        try:
            steps = _steps(reading, table, conditions, False)
        except NotThisReading:
            continue
        if all(s.kind in (*ACCEPTED, *CLAIMS_NOTHING) for s in steps):
            if table.only_if:
                steps = [replace(s, verdict=_only_if(s.verdict, table.only_if)) for s in steps]
            return Examined(reading, table, tuple(_steps(reading, table, conditions, explain) if not table.only_if else steps))
        tried.append((table, steps))
    table = min((t for t in tried if not t[0].unsure), key=lambda t: _badness(t[1]))[0]
    return Examined(reading, table, tuple(_steps(reading, table, conditions, explain)))


def _badness(steps: list[Step]) -> tuple[int, int]:
    """How wrong a text is under one table: how many relations are refuted, and how early the first."""
    wrong = [s.number for s in steps if s.kind == "refuted"]
    return len(wrong), -wrong[0] if wrong else 0


def _only_if(verdict: Verdict, condition: str) -> Verdict:
    return replace(verdict, kind="outside", reason=condition) if verdict.accepted else verdict


def _known(name: Node, setting: Setting) -> bool:
    """Does the setting give this symbol a meaning, as a variable, an index or a named quantity?"""
    from course.equations.meaning.ground import INDEX_NAMES

    head = name.head if isinstance(name, Apply) else name
    if not isinstance(head, Sym):
        return True
    bases = {s[0] for s in model(setting, 2 if setting.indexed else 1).slots} | {s[0] for s in setting.alias_slots}
    if head.name in bases or (head.name in INDEX_NAMES and not head.sub):
        return True
    return any(k == head.name if not head.sub else k.startswith(f"{head.name}_") for k in setting.definitions)


# ---------------------------------------------------------------------------------------------------- relation by relation


def _steps(reading: Reading, table: Table, conditions: frozenset[int], explain: bool) -> list[Step]:
    steps: list[Step] = []
    name = table.setting.name if table.setting else "gaussian" if table.sense.path is None else "path"
    restrictions = tuple(reading.chains[n] for n in sorted(conditions))
    for c, chain in enumerate(table.chains):
        written = chain if table.setting is not None and table.setting.laws else reading.chains[c]
        if not chain.relations and not _declared_beside(table.chains, c):
            verdict = Verdict("undecided", reason="this is an expression, not a statement: it has no relation", setting=name)
            steps.append(Step(len(steps) + 1, latex(written), verdict, (1, 1)))
        sound = True  # whether every relation of this chain so far holds
        for k, sign in enumerate(chain.relations):
            text = latex(Chain(written.terms[k : k + 2], (sign,)))
            explained = explain and sum(s.kind == "refuted" for s in steps) < MAX_EXPLAINED
            if c in conditions:
                verdict = Verdict("definition", reason="a condition on an index", codes=("condition",))
            elif len(steps) >= MAX_RELATIONS:
                verdict = Verdict("undecided", reason=f"only the first {MAX_RELATIONS} relations of an input are judged")
            else:
                verdict = _guarded(lambda: _relation(table, c, k, restrictions, explained, sound), text)  # noqa: B023
            sound &= verdict.accepted or verdict.kind in CLAIMS_NOTHING
            where = chain.where[k] if k < len(chain.where) else (1, 1)
            if verdict.kind in ("refuted", "undecided") and (hint := symbols.of_indices(chain.terms[k : k + 2], table.setting)):
                verdict = replace(verdict, reason=f"{verdict.reason}. {hint}")
            verdict = _as_written(replace(verdict, reading=text, setting=name), table.origins)
            steps.append(Step(len(steps) + 1, text, verdict, where))
    return steps


def _guarded(judged: Callable[[], Verdict], text: str) -> Verdict:
    try:
        return judged()
    except NotThisReading:
        raise
    except NotDecidable as e:
        return Verdict("undecided", reason=str(e))
    except Exception as e:
        return _unexpected(e, text)


def _as_written(verdict: Verdict, origins: dict[str, str]) -> Verdict:
    """The verdict with renamed letters as the text has them."""
    if not origins:
        return verdict

    def back(text: str) -> str:
        for new, old in origins.items():
            text = text.replace(new, old)
        return text

    return replace(verdict, reason=back(verdict.reason), repairs=tuple((back(a), b) for a, b in verdict.repairs))


def _declared_beside(chains: tuple[Chain, ...], c: int) -> bool:
    r"""Is this a letter alone in a list that a \sim or an \argmin declares: a, b \sim N(0, I)?"""
    if not isinstance(chains[c].terms[0], Sym):
        return False
    following = chains[c + 1] if c + 1 < len(chains) else None
    if following is None:
        return False
    least = bool(following.relations) and isinstance(following.terms[1], Func) and following.terms[1].name in ("argmin", "argmax")
    return following.relations[:1] == ("~",) or least or (not following.relations and _declared_beside(chains, c + 1))


def _relation(table: Table, c: int, k: int, conditions: tuple[Chain, ...], explain: bool, sound: bool) -> Verdict:
    """The verdict on relation k of chain c; sound says whether all earlier ones of the chain hold."""
    chain = table.chains[c]
    left, sign, right = chain.terms[k], chain.relations[k], chain.terms[k + 1]
    if letter := dict(table.foreign).get((c, k)):
        return Verdict("outside", reason=f"{letter} is declared neither here nor in the setting {table.setting.name}: say what it is")  # type: ignore[union-attr]
    if (c, k) in table.givers:
        name = next((d.name for d in table.names if d.name in (left, right) or _squared(d.name, (left, right))), left)
        return Verdict("definition", reason=f"taken as the definition of {latex(name)}")
    if sign in (":=", "=:") and table.setting is None:
        name, meaning = (left, right) if sign == ":=" else (right, left)
        if isinstance(name, Sym | Apply) and not symbols.known_letter(name, meaning):
            return Verdict("undecided", reason=f"{latex(name)} is defined before, in a circle, or at too great a length")
    if table.setting is not None:
        sides = [symbols.without_ones(symbols.written_out(side, table.names)) for side in (left, right)]
        claim = Claim(table.setting, sides[0], sign, sides[1], conditions, joint=table.joint)
        return repairs.explained(claim, decide(claim)) if explain else decide(claim)
    if sign == "~" and _declares(left, right):
        return Verdict("definition", reason=f"taken as the law of {latex(left)}")
    if k and (earlier := _without_constant(chain, k)) is not None:
        left = earlier
    if table.sense.noise == "line" and sound and _noisy(chain):
        return _of_own_noise(table, c, k, explain)
    return _line(table, left, sign, right, explain)


def _without_constant(chain: Chain, k: int) -> Node | None:
    """Where a free constant (+ C) is gone on the right of a relation: the last term before it that has none either, for the
    constant is one number all along the chain."""

    def constant(term: Node) -> bool:
        return any(isinstance(n, Sym) and latex(n) in CONSTANTS for n in walk(term))

    if set(chain.relations[: k + 1]) != {"="} or not constant(chain.terms[k]) or constant(chain.terms[k + 1]):
        return None
    return next((t for t in reversed(chain.terms[:k]) if not constant(t)), None)


def _squared(name: Node, sides: tuple[Node, Node]) -> bool:
    return any(symbols._alone(side) == (name, True) for side in sides)


def _declares(left: Node, right: Node) -> bool:
    r"""Is `left \sim right` the declaration of a letter that the setting does not know?"""
    if not isinstance(left, Sym) or not isinstance(right, Normal):
        return False
    if is_noise(left):
        return bool(left.labels)
    return left.name != "x" or bool(left.marks) or (not left.sub and right.mean != Num(0))  # type: ignore[arg-type]


def _noisy(chain: Chain) -> bool:
    return any(isinstance(n, Sym) and is_noise(n) for t in chain.terms for n in walk(t))


def _of_own_noise(table: Table, c: int, k: int, explain: bool) -> Verdict:
    """A later relation of a chain in which every line has a noise of its own: its right side must be a way to say the chain's
    first term, so that nothing is claimed about two noises of one name."""
    chain = table.chains[c]
    first, right = chain.terms[0], chain.terms[k + 1]
    drawn = isinstance(first, Sym) and first.name == "x" and not is_noise(first)
    signs = set(chain.relations[: k + 1])
    if signs != {"="}:
        return _closed_line(table, chain.terms[k], chain.relations[k], right, explain)
    whole = _line(table, first, "=", right, explain)
    if drawn or not whole.accepted:
        return whole
    mine = {latex(n) for t in chain.terms for n in walk(t) if isinstance(n, Sym) and is_noise(n)}
    others = {
        latex(n)
        for d in table.chains
        if d is not chain and set(d.relations) != {"~"}
        for t in d.terms
        for n in walk(t)
        if isinstance(n, Sym) and is_noise(n)
    }
    step = _closed_line(table, chain.terms[k], "=", right, explain)
    if step.accepted and mine & others:
        raise NotThisReading
    return step


def _closed_line(table: Table, left: Node, sign: str, right: Node, explain: bool) -> Verdict:
    """The verdict on a line of the Gaussian setting. A symbol such as sigma_t is free and may be defined in another line: a line
    must then hold with the definition, or without it."""
    free = _closed_form(left, sign, right, table.sense)
    meant = [symbols.written_out(side, table.names) for side in (left, right)]
    if meant != [left, right] and not free.accepted:
        defined = _closed_form(meant[0], sign, meant[1], table.sense)
        if defined.accepted or free.kind != "refuted" or defined.kind == "refuted":
            free, left, right = defined, *meant
    if explain and free.kind == "refuted":
        return replace(free, repairs=tuple(repairs.of_closed_forms(left, sign, right, table.sense)))
    return free


def _line(table: Table, left: Node, sign: str, right: Node, explain: bool) -> Verdict:
    """The verdict on a line of the Gaussian setting, with what lies outside of it told apart from what is false."""
    verdict = _closed_line(table, left, sign, right, explain)
    if verdict.kind == "undecided" and sign in ("=", ":=", "=:", ">=", "<=") and _densities_only(left, right):
        general = decide(Claim(with_laws("diffusion"), left, sign, right))
        if general.accepted:
            return replace(general, notes=(*general.notes, "it holds for every chain with these factors, not only for Gaussian ones"))
    if verdict.kind == "undecided" and table.sense.path is None and (letters := symbols.unknown_functions(left, right)):
        return _undeclared(letters, "the setting gaussian")
    if verdict.kind != "refuted":
        return verdict
    if one_coordinate(*(symbols.written_out(side, table.names) for side in (left, right))) is not None:
        return verdict  # means and variances of any value
    if table.sense.path is not None:
        letters = symbols.strangers(left, right, table)
        return _undeclared(letters, "the setting") if letters else verdict
    if sign == "=" and (said := symbols.chooses(left, right, table)):
        return Verdict("definition", reason=said)
    if letters := symbols.undeclared(left, right, table):
        return _undeclared(letters, "the setting gaussian")
    if symbols.network_for_truth(left, right):
        return Verdict("outside", reason="a network's guess stands for what it guesses: whether it learned it exactly is not said")
    if symbols.network_for_score(left, right):
        return Verdict("outside", reason="a network is put equal to a score: whether it learned it exactly is not said")
    return verdict


def _undeclared(letters: list[str], where: str) -> Verdict:
    one = len(letters) == 1
    says = f"what {', '.join(letters)} stand{'s' * one} for is declared neither here nor in {where}"
    return Verdict("outside", reason=f"{says}: say what {'it is' if one else 'they are'}")


def _densities_only(left: Node, right: Node) -> bool:
    kinds = (Density, Mul, Div, Big, Index, Range, Num, Chain, Neg, Add, Func, Expect, Law, KL, Integral)
    return all(
        isinstance(n, kinds) or (isinstance(n, Sym) and n.name in ("x", "t", "T")) for side in (left, right) for n in walk(side)
    ) and not any(isinstance(n, Func) and n.name not in ("log", "exp") for side in (left, right) for n in walk(side))


# ---------------------------------------------------------------------------------------------------- all together


def _combined(steps: list[Step]) -> Verdict:
    if not steps:
        return Verdict("undecided", reason="there is no statement, only conditions on indices")
    if len(steps) == 1:
        return steps[0].verdict
    for kind in ("refuted", "undecided", "outside"):
        bad = [s for s in steps if s.kind == kind]
        if bad:
            s = bad[0]
            return replace(s.verdict, reason=f"relation {s.number}, {s.latex}: {s.verdict.reason}")
    claims = [s for s in steps if s.kind in ACCEPTED]
    if not claims:
        return Verdict("definition", reason=f"all {len(steps)} relations are definitions: nothing is claimed")
    kind = "bound" if any(s.kind == "bound" for s in claims) else "identity"
    one_after_another = lambda steps: tuple(x for s in steps for x in s.verdict.evidence)  # noqa: E731
    one = lambda field_: tuple(dict.fromkeys(x for s in claims for x in getattr(s.verdict, field_)))  # noqa: E731
    ranges = list(dict.fromkeys(s.verdict.proved_for for s in claims if s.verdict.proved_for))
    weakest = next((r for r in ranges if r not in ("all T", "all t")), ranges[0] if ranges else "")
    given = len(steps) - len(claims)
    return Verdict(
        kind,
        reason=f"all {len(claims)} relations hold" + (f"; {given} more only define" if given else ""),
        assumptions=one("assumptions"),
        proved_for=weakest,
        certificate="; ".join(f"{s.number}: {s.verdict.certificate}" for s in claims if s.verdict.certificate),
        notes=one("notes"),
        codes=one("codes"),
        evidence=one_after_another(claims),
    )


def _conclusion(found: Examined, setting: Setting | Paths | None) -> tuple[str, bool]:
    """What each chain as a whole proves, and whether wrong steps cancel out."""
    table = found.table
    conditions = tuple(c for c in found.reading.chains if _is_condition(c) and table.sense.path is None)

    def decide_end(left: Node, relation: str, right: Node) -> Verdict:
        sides = [symbols.written_out(side, table.names) for side in (left, right)]
        if table.setting is None:
            return _closed_form(sides[0], relation, sides[1], table.sense)
        return decide(Claim(table.setting, sides[0], relation, sides[1], conditions))

    out, at, compensating = [], 0, False
    numbered = iter(found.steps)
    for written, chain in zip(found.reading.chains, table.chains, strict=True):
        count = len(chain.relations) or (0 if _declared_beside(table.chains, at) else 1)
        mine = [next(numbered) for _ in range(count)]
        at += 1
        if not chain.relations or (_is_condition(written) and table.sense.path is None):
            continue
        text, cancels = _end_of(chain, written, mine, decide_end)
        out.append(text)
        compensating |= cancels
    return "; ".join(out), compensating


def _end_of(chain: Chain, written: Chain, mine: Iterable[Step], decide_end) -> tuple[str, bool]:
    first, last = chain.terms[0], chain.terms[-1]
    claimed = combine(list(chain.relations))
    wrong = [s.number for s in mine if s.kind == "refuted"]
    unknown = [s.number for s in mine if s.kind not in (*ACCEPTED, *CLAIMS_NOTHING, "refuted")]
    ends = latex(Chain((written.terms[0], written.terms[-1]), (claimed,))) if claimed else ""
    if not wrong and not unknown:
        if all(s.kind in CLAIMS_NOTHING for s in mine):
            return f"defined: {ends or latex(written)}", False
        if claimed:
            return f"proved: {ends}", False
        return "every step holds, but the relations point both ways: nothing follows for the ends", False
    if wrong:
        which = f"step{'s' if len(wrong) > 1 else ''} {', '.join(map(str, wrong))} {'are' if len(wrong) > 1 else 'is'} wrong"
    else:
        which = f"step {', '.join(map(str, unknown))} could not be decided"
    if claimed and len(chain.relations) > 1:
        end = decide_end(first, claimed, last)
        if end.accepted and wrong:
            cancels = len(wrong) > 1
            return f"{which}, yet the end result is true: {ends}" + ("; the errors compensate" if cancels else ""), cancels
        if end.kind == "refuted":
            weaker = next((r for r in (">=", "<=") if claimed == "=" and decide_end(first, r, last).accepted), None)
            true = f" (true is {latex(Chain((written.terms[0], written.terms[-1]), (weaker,)))})" if weaker else ""
            return f"{which}, and the end result is false{true}", False
    return f"{which}: nothing follows for the ends of the chain", False


__all__ = ["Examined", "judge", "judge_derivation"]
