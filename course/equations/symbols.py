r"""What does each letter mean in this text? Decided once, for every relation of it.

A *table* holds, for one reading of a text: its statements, the names that the text itself defines, and the sense of the letters
that a setting leaves open (which noise a bare epsilon is, which index a letter without one has, which variance p has). Where a
text can be read in two ways that both make sense, there is one table for each, and every relation is judged by the same one: a
letter never changes its meaning between two relations.

Order of the sources: what the text declares (`let`, `where`, `:=`, `\sim`, a row of its own) before what the setting declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice

from course.equations.closed_forms import (
    PLAIN,
    START,
    Sense,
    in_one_dimension,
    index_of,
    is_noise,
    main_index,
    moved,
    name_of,
    rank,
    shifted,
    unindexed,
)
from course.equations.reader import Reading
from course.equations.settings import Setting
from course.equations.tree import (
    Apply,
    Chain,
    Density,
    Func,
    Index,
    Law,
    Node,
    Normal,
    Num,
    Pow,
    Sym,
    children,
    latex,
    parameter,
    rebuild,
    walk,
)

TWO = Num(Fraction(2))
MAX_ROUNDS = 4  # names defined by names defined by names ...
MAX_SAID, MAX_SAID_LENGTH = 12, 200
MAX_PARTS = 600  # of one definition with all names written out


@dataclass(frozen=True)
class Definition:
    """A name and what it stands for in this text."""

    name: Node
    meaning: Node

    def match(self, node: Node) -> Node | None:
        """What `node` stands for, if it is this name, perhaps with another index or other arguments."""
        if node == self.name:
            return self.meaning
        if isinstance(self.name, Apply) and isinstance(node, Sym) and node == self.name.head:
            return self.meaning
        if isinstance(node, Apply):
            return self._called(node)
        if isinstance(self.name, Sym) and isinstance(node, Sym):
            return self._at(self.name, node)
        if isinstance(self.name, Density) and isinstance(node, Density):
            return self._law(self.name, node)
        return None

    def _called(self, node: Apply) -> Node | None:
        if isinstance(self.name, Sym):
            plain = all(isinstance(a, Sym) and (parameter(a.name) or a.name in ("x", "q")) for a in node.args)
            return self.meaning if node.head == self.name and plain else None
        if not isinstance(self.name, Apply) or node.head != self.name.head or len(node.args) != len(self.name.args):
            return None
        out = self.meaning
        for formal, actual in zip(self.name.args, node.args, strict=True):
            if formal == actual or (isinstance(formal, Sym) and parameter(formal.name)):
                continue
            var, to = index_of(formal), index_of(actual)
            if var is not None and to is not None and var.var and not var.shift:
                out = moved(out, var.var, to)
            elif isinstance(formal, Sym):
                out = put(out, formal, actual)
            else:
                return None
        return out

    def _at(self, name: Sym, node: Sym) -> Node | None:
        """A name with a running index stands for the formula at any other index."""
        if replace(name, sub=()) != replace(node, sub=()) or len(name.sub) != 1 or len(node.sub) != 1:
            return None
        here, there = name.sub[0], node.sub[0]
        if not isinstance(here, Index) or not isinstance(there, Index) or here.var in ("", "T"):
            return None
        return moved(self.meaning, here.var, Index(there.var, there.shift - here.shift))

    @staticmethod
    def _law(name: Density, node: Density) -> Node | None:
        return None


def put(node: Node, old: Node, new: Node) -> Node:
    return new if node == old else rebuild(node, lambda child: put(child, old, new))


def written_out(node: Node, definitions: Iterable[Definition]) -> Node:
    """The formula with every defined name replaced by its meaning."""
    by_letter: dict[tuple, list[Definition]] = {}
    for d in definitions:
        by_letter.setdefault(_letter(d.name), []).append(d)

    def go(node: Node) -> Node:
        for d in by_letter.get(_letter(node), ()):
            found = d.match(node)
            if found is not None:
                return found
        return rebuild(node, go)

    return go(node) if by_letter else node


def _letter(node: Node) -> tuple:
    """What a name is looked up by: its letter with accents and labels, without indices and arguments."""
    head = node.head if isinstance(node, Apply) else node
    if isinstance(head, Sym):
        return (head.name, head.marks, head.labels)
    return ("density", head.letter) if isinstance(head, Density) else (type(head).__name__,)


@dataclass(frozen=True)
class Table:
    """One reading of a text.

    chains:   what is judged: the statements of the text, in its order.
    names:    what the text defines.
    givers:   the relations, as (chain, relation), that give a name its meaning and so claim nothing.
    foreign:  letters without a meaning in what a giver says, by its place.
    sense:    of the letters of the Gaussian setting.
    setting:  None for the Gaussian one.
    said:     the reading in words, for the reader.
    only_if:  words for a condition the text does not state: what holds in this table only is not accepted, but said.
    unsure:   a refutation in this table does not count: it is a guess at what was meant.
    """

    chains: tuple[Chain, ...]
    names: tuple[Definition, ...] = ()
    givers: frozenset[tuple[int, int]] = frozenset()
    foreign: tuple[tuple[tuple[int, int], str], ...] = ()
    sense: Sense = PLAIN
    setting: Setting | None = None
    said: tuple[str, ...] = ()
    only_if: str = ""
    unsure: bool = False
    origins: dict[str, str] = field(default_factory=dict, compare=False)  # how a renamed letter was written


def relations(chains: Iterable[Chain]) -> Iterator[tuple[int, int, Node, str, Node]]:
    """(chain, relation, left, relation sign, right) of a text."""
    for c, chain in enumerate(chains):
        for k, sign in enumerate(chain.relations):
            yield c, k, chain.terms[k], sign, chain.terms[k + 1]


# ---------------------------------------------------------------------------------------------------- laws


def several_laws(chains: Iterable[Chain]) -> dict[str, set[tuple[str, ...]]]:
    """Letters that are two laws in one relation: p_theta(x) and p_theta'(x), or p(x) and p_theta(x), of the same variables."""
    out: dict[str, set[tuple[str, ...]]] = {}
    for _, _, left, _, right in relations(chains):
        seen: dict[tuple, set[tuple[str, ...]]] = {}
        for side in (left, right):
            for n in walk(side):
                if isinstance(n, Density) and n.args:
                    key = (n.letter, frozenset(n.args), frozenset(n.given), tuple(x for x in n.labels if not parameter(x)))
                    seen.setdefault(key, set()).add(tuple(x for x in n.labels if parameter(x)))
        for (letter, *_), labels in seen.items():
            if any(_two_laws(a, b) for a in labels for b in labels):
                out.setdefault(letter, set()).update(labels)
    for n in (n for c in chains for n in walk(c)):
        if isinstance(n, Density) and n.letter in out:
            out[n.letter].add(tuple(x for x in n.labels if parameter(x)))
    return out


def _two_laws(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Do two labels name two laws? theta_1 is a part of theta, not another law."""
    if a == b:
        return False
    return not (a and b and any(_plain(x) == y for x in a for y in b) | any(_plain(y) == x for x in a for y in b))


def _plain(label: str) -> str:
    r"""theta for \theta_1 and \theta_t, but \theta' for \theta'."""
    return label.partition("_")[0].lstrip("\\") if "'" not in label and "^" not in label else label


def different_parameters(chains: Iterable[Chain]) -> str:
    """A letter that carries two different parameters in one text (theta and theta'), or ""."""
    seen: dict[str, set[tuple[str, ...]]] = {}
    for n in (n for c in chains for n in walk(c)):
        if isinstance(n, Density):
            labels = tuple(x for x in n.labels if parameter(x) and x != "sigma")
            if labels:
                seen.setdefault(n.letter, set()).add(labels)
    return next((a for a, labels in seen.items() if any(_two_laws(x, y) for x in labels for y in labels)), "")


def law_name(letter: str, labels: tuple[str, ...]) -> str:
    return latex(Density(letter, labels=labels))


def with_laws(chains: tuple[Chain, ...], setting: Setting, several: dict[str, set[tuple[str, ...]]]) -> Table:
    """The table in which each of the labels is a law of its own, with the factors that its letter has in the setting."""
    laws, said = [], []
    for letter, labels in sorted(several.items()):
        laws += [(law_name(letter, one), letter) for one in sorted(labels) if one]
        names = ", ".join(f"${law_name(letter, one)}$" for one in sorted(labels))
        said.append(f"{names} are different laws")

    def named(node: Node) -> Node:
        if isinstance(node, Density):
            mine = tuple(x for x in node.labels if parameter(x))
            rest = tuple(x for x in node.labels if not parameter(x))
            kept = mine if (law_name(node.letter, mine), node.letter) in laws and not rest else ()
            return replace(node, labels=kept or rest)
        return rebuild(node, named)

    return Table(tuple(map(named, chains)), setting=replace(setting, laws=tuple(laws)), said=tuple(said))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- what a text defines


def _alone(side: Node) -> tuple[Node, bool] | None:
    """The name that a side is, and whether it is the name's square: L, L(theta), sigma_t^2; None if it is no name."""
    if isinstance(side, Pow) and side.exponent == TWO and isinstance(side.base, Sym):
        return side.base, True
    return (side, False) if isinstance(side, Sym | Apply) else None


def _head(node: Node) -> Node:
    return node.head if isinstance(node, Apply) else node


def names_of(chains: tuple[Chain, ...], known, skip=frozenset()) -> tuple[tuple[Definition, ...], frozenset[tuple[int, int]]]:
    """What a text defines: names without a meaning in the setting, by the first relation that has one alone on a side, and
    whatever stands beside `:=` where the setting has nothing of that name. known(name, meaning) says what the setting declares."""
    out: list[Definition] = []
    places: dict[Node, tuple[int, int]] = {}
    several = sum(len(chain.relations) for n, chain in enumerate(chains) if n not in skip) > 1
    for c, k, left, sign, right in relations(chains):
        if c in skip or sign not in ("=", ":=", "=:"):
            continue
        for side, other in ((left, right), (right, left)) if several or sign != "=" else ((left, right),):
            if sign != "=" and side is not (left if sign == ":=" else right):
                continue
            alone = _alone(side)
            if alone is None and sign != "=" and isinstance(side, Density | Pow):
                alone = side, False
            if alone is None or known(alone[0], other) or any(d.match(alone[0]) is not None for d in out):
                continue
            if any(_head(n) == _head(alone[0]) for n in walk(other)):
                continue
            name, square = alone
            out.append(Definition(name, Func("sqrt", other) if square else other))
            places[name] = c, k
            break
    found = _resolved(out)
    letters = {_letter(d.name) for d in found}
    open_ = {d.name for d in found if letters & set(map(_letter, walk(d.meaning))) and written_out(d.meaning, found) != d.meaning}
    sound = tuple(d for d in found if d.name not in open_)  # what goes round in circles, or grows too long, defines nothing
    return sound, frozenset(places[d.name] for d in sound)


def said_of(names: tuple[Definition, ...]) -> Iterator[str]:
    """The names of a text in words, the first few of them."""
    for d in names[:MAX_SAID]:
        meaning = latex(d.meaning)
        yield f"${latex(d.name)}$ is ${meaning}$" if len(meaning) <= MAX_SAID_LENGTH else f"${latex(d.name)}$ is defined in the text"


def _resolved(definitions: list[Definition]) -> tuple[Definition, ...]:
    """The same names, their meanings without names."""
    for _ in range(MAX_ROUNDS):
        new = []
        for d in definitions:
            meaning = written_out(d.meaning, [e for e in definitions if e.name != d.name])
            new.append(replace(d, meaning=meaning) if sum(1 for _ in islice(walk(meaning), MAX_PARTS + 1)) <= MAX_PARTS else d)
        if new == definitions:
            break
        definitions = new
    return tuple(definitions)


# ---------------------------------------------------------------------------------------------------- the Gaussian setting

ALWAYS = {"I", "d", "pi", "e", "H", "sigmoid"}
LOSSES = {"L"}


def known_letter(name: Node, other: Node) -> bool:
    """Does the Gaussian setting give this name a meaning? other: what it is put equal to."""
    s = _head(name)
    if isinstance(s, Density):
        return not (s.letter == "p" and len(s.args) == 1 and not s.given and s.args[0].sub != (Index("T", 0),))
    if not isinstance(s, Sym):
        return True
    marks, learns = set(s.marks), any(parameter(x) and x != "sigma" for x in s.labels)
    match s.name:
        case "alpha" | "beta" | "SNR":
            return not (marks - {"bar", "tilde"} or s.labels)
        case "x":
            return "hat" in marks or learns or (bool(s.sub) and not s.labels and marks <= {"tilde"} and (not marks or s.sub == (START,)))
        case "epsilon":
            return not marks
        case "v":
            return True
        case "mu":
            return "tilde" in marks or learns or "q" in s.labels
        case "s":
            return learns
        case "sigma" | "Sigma":
            return "q" in s.labels or learns or any(isinstance(n, Sym) and n.name == "eta" for n in walk(other))
        case "L":
            simple = s.labels == ("simple",)
            return simple or (len(s.sub) == 1 and isinstance(s.sub[0], Index) and bool(s.sub[0].var) and not s.labels)
    return s.name in ALWAYS


def gaussian_tables(reading: Reading, conditions: frozenset[int]) -> list[Table]:
    chains, origins = _noises_by_declaration(reading.chains)
    names, givers = names_of(chains, known_letter, conditions)
    choice = next((d for d in names if isinstance(d.name, Sym) and d.name.name == "sigma" and not d.name.labels and not d.name.marks), None)
    sense = PLAIN
    said = list(said_of(names))
    if choice is not None and isinstance(choice.name, Sym):
        at = choice.name.sub[0] if choice.name.sub and isinstance(choice.name.sub[0], Index) else Index("t", 0)
        sense = replace(sense, sigma=_square(moved(choice.meaning, at.var, Index("t", -at.shift)) if at.var else choice.meaning))
    text = Chain(tuple(t for c in chains for t in c.terms), ())
    if unindexed(text):
        sense = replace(sense, main=main_index(text))
    if in_one_dimension(text):
        sense = replace(sense, one=True)
    elif any(map(in_one_dimension, (Chain(c.terms, ()) for c in chains))):
        sense = replace(sense, one=False)
    only_if = ""
    if twice := _with_and_without_index(text):
        full = latex(replace(_symbol(text, twice), sub=(main_index(text),)))
        only_if = f"it holds if {twice} without an index means {full}; write the index"
    base = Table(chains, names, givers, (), sense, None, tuple(said), only_if, origins=origins)
    return _noise_tables(base, text)


def _with_and_without_index(text: Chain) -> str:
    r"""A symbol of the schedule that the text writes with an index and without: \bar\alpha beside \bar\alpha_t."""
    symbols = [n for n in walk(text) if isinstance(n, Sym) and n.name in ("alpha", "beta", "SNR") and not n.labels]
    indexed = {replace(s, sub=()) for s in symbols if s.sub}
    return next((latex(s) for s in symbols if not s.sub and s in indexed), "")


def _symbol(text: Chain, name: str) -> Sym:
    return next(n for n in walk(text) if isinstance(n, Sym) and latex(n) == name)


def _square(node: Node) -> Node:
    return node.body if isinstance(node, Func) and node.name == "sqrt" else Pow(node, TWO)


def _noises_by_declaration(chains: tuple[Chain, ...]) -> tuple[tuple[Chain, ...], dict[str, str]]:
    r"""Letters that the text says are standard normal (\bar z \sim N(0, I)) become noises; how they were written is kept."""
    origins: dict[str, str] = {}
    renamed: dict[Node, Node] = {}
    for _, _, left, sign, right in relations(chains):
        if sign != "~" or not isinstance(left, Sym) or left.name in ("x", "epsilon") or left == Sym("z"):
            continue
        if isinstance(right, Normal) and right.x is None and right.mean == Num(Fraction(0)) and right.cov in (Sym("I"), Num(Fraction(1))):
            new = Sym("epsilon", left.sub, left.marks, (*left.labels, left.name))
            renamed[left], origins[latex(new)] = new, latex(left)

    def go(node: Node) -> Node:
        return renamed[node] if node in renamed else rebuild(node, go)

    return (tuple(map(go, chains)) if renamed else chains), origins  # type: ignore[arg-type]


def _noise_tables(base: Table, text: Chain) -> list[Table]:
    """The tables for what a bare epsilon may be: the noise between x_0 and x_t, that of one step, or that of each line by itself."""
    symbols = [n for n in walk(text) if isinstance(n, Sym)]
    noises = sorted({latex(s) for s in symbols if is_noise(s)})
    if not noises or sum(len(c.relations) for c in base.chains) < 2:
        return [base]
    plain = next((latex(s) for s in symbols if is_noise(s) and not s.sub and not s.marks and not s.labels), None)
    tied = plain or (noises[0] if len(noises) == 1 else None)
    main = main_index(text)
    steps = {i for s in symbols if s.name == "x" and not s.marks and not s.labels for i in s.sub if isinstance(i, Index)}
    out = []
    if tied:
        until = name_of("x", main)
        sense = replace(base.sense, noise="text", tied=tied, main=main)
        out.append(replace(base, sense=sense, said=(*base.said, f"${tied}$ is the noise between $x_0$ and ${until}$")))
        before = shifted(main, -1)
        earlier = [before] if before in steps else sorted((i for i in steps if rank(i) < rank(main) and i != START), key=rank)[-1:]
        for i in earlier:
            said = f"${tied}$ is the noise between ${name_of('x', i)}$ and ${until}$"
            out.append(replace(base, sense=replace(sense, origin=i), said=(*base.said, said)))
        if len(earlier) == 1 and START not in steps and not any("bar" in s.marks for s in symbols):
            out.reverse()
    said = "every line speaks of a noise of its own, and $x$ on its left has the law that it says"
    out.append(replace(base, said=(*base.said, said), sense=replace(base.sense, noise="line")))
    return out


# ---------------------------------------------------------------------------------------------------- probability settings


def tables(reading: Reading, setting: Setting, conditions: frozenset[int], known) -> list[Table]:
    """The tables of a text in a setting with laws p and q."""
    several = several_laws(reading.written)
    base = with_laws(reading.written, setting, several) if several else Table(reading.chains, setting=setting)
    names, givers = names_of(base.chains, known, conditions)
    said = (*base.said, *said_of(names))
    foreign = tuple(
        ((c, k), letter)
        for c, k, left, _, right in relations(base.chains)
        if (c, k) in givers
        for letter in [_foreign((left, right), names, known)]
        if letter
    )
    base = replace(base, names=names, givers=givers, foreign=foreign, said=said)
    letter = "" if several else different_parameters(reading.written)
    if letter:
        base = replace(base, only_if=f"it holds if the parameters of {letter} in it belong to one law; say so by writing one of them")
    return [base]


def _foreign(sides: tuple[Node, Node], names: tuple[Definition, ...], known) -> str:
    """A letter on these sides that is neither a name of the text nor known to the setting, or ""."""

    def letters(node: Node) -> Iterator[Node]:
        if isinstance(node, Density | Law):
            return
        if isinstance(node, Sym | Apply):
            yield node
            return
        for child in children(node):
            yield from letters(child)

    for side in sides:
        for n in letters(side):
            if not known(n, n) and not any(d.match(n) is not None or d.match(_head(n)) is not None for d in names):
                return latex(n)
    return ""
