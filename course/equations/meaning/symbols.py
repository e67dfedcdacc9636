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

from course.equations.meaning.closed_forms import (
    PLAIN,
    START,
    NotSaid,
    Sense,
    in_one_dimension,
    index_of,
    is_noise,
    learned,
    main_index,
    moved,
    name_of,
    rank,
    shifted,
    unindexed,
)
from course.equations.meaning.masked import Masked
from course.equations.meaning.paths import DATA, NOISE, Path, Paths, X
from course.equations.meaning.settings import Setting, model
from course.equations.reading.reader import Reading
from course.equations.reading.tree import (
    Add,
    Apply,
    Big,
    Chain,
    Density,
    Div,
    Expect,
    Func,
    Grad,
    Index,
    Info,
    Law,
    Mul,
    Neg,
    Node,
    Normal,
    Num,
    Pow,
    Range,
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


def without_ones(node: Node) -> Node:
    """The formula with 1 in place of every product of ones, however long."""
    one = Num(Fraction(1))
    return one if isinstance(node, Big) and node.kind == "prod" and node.body == one else rebuild(node, without_ones)


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
    joint: bool = False  # whether a bare E_q averages over the first variable too
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
        sides = [_labels_of(side) for side in (left, right)]
        both = {key: sides[0].get(key, set()) | sides[1].get(key, set()) for key in (*sides[0], *sides[1])}
        for (letter, *_), labels in (*sides[0].items(), *sides[1].items(), *both.items()):
            # across a relation, p(x) beside p_theta(x) is a label left out, not another law
            named = labels if labels in (*sides[0].values(), *sides[1].values()) else {x for x in labels if x}
            if any(_two_laws(a, b) for a in named for b in named):
                out.setdefault(letter, set()).update(labels)
    for n in (n for c in chains for n in walk(c)):
        if isinstance(n, Density) and n.letter in out:
            out[n.letter].add(tuple(x for x in n.labels if parameter(x)))
    return out


def _labels_of(side: Node) -> dict[tuple, set[tuple[str, ...]]]:
    """Every density of this side, by its letter and variables, with the parameters that it is written with."""
    seen: dict[tuple, set[tuple[str, ...]]] = {}
    for n in walk(side):
        if isinstance(n, Density) and n.args:
            key = (n.letter, frozenset(n.args), frozenset(n.given), tuple(x for x in n.labels if not parameter(x)))
            seen.setdefault(key, set()).add(tuple(x for x in n.labels if parameter(x)))
    return seen


def label_left_out(chains: Iterable[Chain]) -> str:
    """A letter that stands for the same density with a parameter and without, on the two sides of one relation, or ""."""
    for _, _, left, _, right in relations(chains):
        one, other = _labels_of(left), _labels_of(right)
        for key in one.keys() & other.keys():
            if () in one[key] | other[key] and any(one[key] | other[key]):
                return key[0]
    return ""


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
        if several and isinstance(right, Neg) and k == len(chains[c].relations) - 1 and isinstance(right.body, Sym | Apply):
            left, right = right.body, Neg(left)  # ... = -L says what L is
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
NOT_LETTERS = {*"IdetTCHzsijkn", "pi", "cdot", "sigmoid", "const", "tau", "theta", "phi"}


def known_letter(name: Node, other: Node) -> bool:
    """Does the Gaussian setting give this name a meaning? other: what it is put equal to."""
    s = _head(name)
    if isinstance(s, Density) and any(a.name not in ("x", "cdot") for a in s.args):
        return False  # q(z|x), p(z): laws that a text declares
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
    chains = tuple(Chain(tuple(map(_noise_for_law, c.terms)), c.relations, c.where) for c in chains)
    names, givers = names_of(chains, known_letter, conditions)
    schedule, at_schedule = _schedule(chains)
    names, givers = (*names, *schedule), givers | at_schedule
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
    others = (*_forward_marginal(base, text), *_variational_diffusion(base, text), *_alpha_for_bar(base, text))
    return [*_noise_tables(base, text), *others]


def path_tables(reading: Reading, paths: Paths, conditions: frozenset[int]) -> list[Table]:
    """One table for each way to read a text about a path, the likelier first."""
    out: list[Table] = []
    chains = reading.written
    text = Chain(tuple(t for c in chains for t in c.terms), ())
    one = True if in_one_dimension(text) else None
    steps = {c.terms[0] for c in chains if c.relations[:1] == (":=",) and isinstance(c.terms[0], Sym) and c.terms[0].name == "x"}
    steps -= {Sym("x"), X}  # x_{t'} := ... says what a step computes
    for path in paths.readings:
        told = path if path.only == "stated" and isinstance(path, Path) else None
        stating = frozenset((c, 0) for c, chain in enumerate(chains) if told and _states(chain, told))
        if path.only == "stated" and not stating:
            continue
        if path.only not in ("", "stated") and path.only not in {latex(n) for n in walk(text) if isinstance(n, Sym)}:
            continue
        if isinstance(path, Masked):
            sense = replace(PLAIN, path=path)
            names, givers = names_of(chains, lambda name, _, path=path: path.knows(name), conditions)
            return [Table(chains, names, givers, (), sense, None, (path.said, *said_of(names)))]
        names, givers = names_of(chains, lambda name, _, path=path: path.knows(name) and name not in steps, conditions)
        sense = replace(PLAIN, path=path, one=one, noise="text", tied=latex(NOISE))
        said = (f"{path.said}", *said_of(names)) if path.said else tuple(said_of(names))
        out.append(Table(chains, names, givers | stating, (), sense, None, said))  # which direction a path runs is no claim
    first, *others = sorted(out, key=lambda t: not t.sense.path.only)
    return [first, *(replace(t, unsure=True) for t in others)]


def _states(chain: Chain, path: Path) -> bool:
    """Does a chain begin by saying what x_t is, on this path?"""
    try:
        said = [path.normal(term) for term in chain.terms[:2]] if chain.relations[:1] in (("=",), (":=",)) else []
    except NotSaid:
        return False
    a, s = path.levels
    return len(said) == 2 and said[0] == X and said[1] in (Add((Mul((a, DATA)), Mul((s, NOISE)))), Add((Mul((s, NOISE)), Mul((a, DATA)))))


def _forward_marginal(base: Table, text: Chain) -> list[Table]:
    """The score literature's p(x_t): the forward marginal, where the text has no other law p, not the setting's p(x_T), and no q(x_t)
    beside it: that the two letters are one law is then a claim."""
    laws = [n for n in walk(text) if isinstance(n, Density) and n.letter == "p"]
    if any(n.letter == "q" and len(n.args) == 1 and not n.given for n in walk(text) if isinstance(n, Density)):
        return []
    if any(s.sub == (Index("T", 0),) for n in laws for s in n.args):
        return []
    if not laws or any(n.given or len(n.args) != 1 or n.labels or n.args[0].name != "x" or not n.args[0].sub for n in laws):
        return []

    def forward(node: Node) -> Node:
        return replace(node, letter="q") if isinstance(node, Density) and node.letter == "p" else rebuild(node, forward)

    chains = tuple(map(forward, base.chains))
    return [replace(base, chains=chains, said=(*base.said, "$p(x_t)$ is the forward marginal $q(x_t)$"), unsure=True)]  # type: ignore[arg-type]


def _variational_diffusion(base: Table, text: Chain) -> list[Table]:
    r"""alpha_t and sigma_t as the factors of x_0 and of the noise (Kingma et al. 2021): a guess that is said, not accepted."""
    symbols = [n for n in walk(text) if isinstance(n, Sym)]
    if any(s.name == "beta" or (s.name == "alpha" and s.marks) for s in symbols) or not {"alpha", "sigma"} <= {s.name for s in symbols}:
        return []

    def other(node: Node) -> Node:
        if isinstance(node, Sym) and node.name in ("alpha", "sigma") and node.sub and not node.marks and not node.labels:
            bar = Sym("alpha", node.sub, ("bar",))
            return Func("sqrt", bar if node.name == "alpha" else Add((Num(Fraction(1)), Neg(bar))))
        return rebuild(node, other)

    only_if = r"it holds if \alpha_t and \sigma_t mean \sqrt{\bar\alpha_t} and \sqrt{1 - \bar\alpha_t} here; say so"
    return [replace(base, chains=tuple(map(other, base.chains)), only_if=only_if, unsure=True)]  # type: ignore[arg-type]


def _alpha_for_bar(base: Table, text: Chain) -> list[Table]:
    r"""alpha for \bar\alpha (Song et al. 2021, DDIM), in texts about a coarse grid tau_i only: elsewhere a bar left out is a slip. A guess
    that is said, not accepted."""
    symbols = [n for n in walk(text) if isinstance(n, Sym) and n.name in ("alpha", "beta")]
    grid = any(r"\tau" in i.var for s in symbols for i in s.sub if isinstance(i, Index))
    if not grid or any(s.name == "beta" or s.marks or s.labels or not s.sub for s in symbols):
        return []

    def other(node: Node) -> Node:
        if isinstance(node, Sym) and node.name == "alpha":
            return replace(node, marks=("bar",))
        return rebuild(node, other)

    only_if = r"it holds if \alpha_t means \bar\alpha_t here, as in the DDIM paper; say so"
    return [replace(base, chains=tuple(map(other, base.chains)), only_if=only_if, unsure=True)]  # type: ignore[arg-type]


def _with_and_without_index(text: Chain) -> str:
    r"""A symbol of the schedule that the text writes with an index and without: \bar\alpha beside \bar\alpha_t."""
    symbols = [n for n in walk(text) if isinstance(n, Sym) and n.name in ("alpha", "beta", "SNR") and not n.labels]
    indexed = {replace(s, sub=()) for s in symbols if s.sub}
    return next((latex(s) for s in symbols if not s.sub and s in indexed), "")


def _symbol(text: Chain, name: str) -> Sym:
    return next(n for n in walk(text) if isinstance(n, Sym) and latex(n) == name)


def _schedule(chains: tuple[Chain, ...]) -> tuple[tuple[Definition, ...], frozenset[tuple[int, int]]]:
    r"""A schedule that the text declares, beta_t = a formula of t and letters of its own: alpha_t and \bar\alpha_t follow from it."""
    for c, k, left, sign, right in relations(chains):
        named = isinstance(left, Sym) and left.name == "beta" and left.sub == (Index("t", 0),) and not left.marks and not left.labels
        own = [n for n in walk(right) if isinstance(n, Sym)]
        if not named or sign not in ("=", ":=") or not own or any(n.sub or n.marks or n.name in ("alpha", "beta", "SNR", "x") for n in own):
            continue
        if not all(isinstance(n, Sym | Num | Add | Neg | Mul | Div | Pow | Index) for n in walk(right)):
            continue
        alpha = Add((Num(Fraction(1)), Neg(right)))
        index = (Index("t", 0),)
        bar = Big("prod", "s", Index("", 1), Index("t", 0), moved(alpha, "t", Index("s", 0)))
        return (
            Definition(left, right),  # type: ignore[arg-type]
            Definition(Sym("alpha", index), alpha),
            Definition(Sym("alpha", index, ("bar",)), bar),
        ), frozenset([(c, k)])
    return (), frozenset()


def _noise_for_law(term: Node) -> Node:
    r"""A sum in which a law N(0, v I) stands beside variables: noise of that variance, drawn for it."""
    if not isinstance(term, Add) or all(isinstance(t, Normal) for t in term.terms):
        return term

    def drawn(t: Node) -> Node:
        if not isinstance(t, Normal) or t.x is not None or t.mean != Num(Fraction(0)):
            return t
        factors = t.cov.factors if isinstance(t.cov, Mul) else (t.cov,)
        rest = tuple(f for f in factors if f != Sym("I")) or (Num(Fraction(1)),)
        return Mul((Func("sqrt", rest[0] if len(rest) == 1 else Mul(rest)), Sym("epsilon", labels=("new",))))

    return Add(tuple(map(drawn, term.terms)))


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
    if not noises:
        return [base]
    plain = next((latex(s) for s in symbols if is_noise(s) and not s.sub and not s.marks and not s.labels), None)
    tied = plain or (noises[0] if len(noises) == 1 else None)
    main = main_index(text)
    if tied != r"\epsilon_0" and r"\epsilon_0" in noises and len(noises) > 1:
        first = replace(base.sense, noise="text", tied=r"\epsilon_0", main=main)
        said = (*base.said, rf"$\epsilon_0$ is the noise between $x_0$ and ${name_of('x', main)}$, other noises are fresh")
        drawn = [replace(base, sense=first, said=said)]
    else:
        drawn = []
    if sum(len(c.relations) for c in base.chains) < 2:
        return [base, *drawn]
    steps = {i for s in symbols if s.name == "x" and not s.marks and not s.labels for i in s.sub if isinstance(i, Index)}
    out = []
    if tied:
        until = name_of("x", main)
        sense = replace(base.sense, noise="text", tied=tied, main=main)
        out.append(replace(base, sense=sense, said=(*base.said, f"${tied}$ is the noise between $x_0$ and ${until}$")))
        before = shifted(main, -1)
        earlier = [before] if before in steps else sorted((i for i in steps if rank(i) < rank(main) and i != START), key=rank)[-1:]
        for i in earlier:
            between = f"${tied}$ is the noise between ${name_of('x', i)}$ and ${until}$"
            out.append(replace(base, sense=replace(sense, origin=i), said=(*base.said, between)))
        if len(earlier) == 1 and START not in steps and not any("bar" in s.marks for s in symbols):
            out.reverse()
    own = "every line speaks of a noise of its own, and $x$ on its left has the law that it says"
    out.append(replace(base, said=(*base.said, own), sense=replace(base.sense, noise="line")))
    return [*out, *drawn]


def of_indices(terms: tuple[Node, ...], setting: Setting | None) -> str:
    """What is odd about the running indices of a line, in words: one that also stands outside of its sum or product, or one that
    begins where a variable does not exist; "" if nothing is."""

    def outside(node: Node, var: str) -> bool:
        if isinstance(node, Big) and node.var == var:
            return any(i is not None and i.var == var for i in (node.low, node.high))
        if node in (Index(var, 0), Sym(var)) or (isinstance(node, Index) and node.var == var):
            return True
        return any(outside(child, var) for child in children(node))

    for big in (n for term in terms for n in walk(term) if isinstance(n, Big)):
        sign = latex(replace(big, body=Num(Fraction(1)))).removesuffix(" 1")
        if any(outside(term, big.var) for term in terms):
            new = next(v for v in "sijk" if v != big.var and not any(outside(term, v) for term in terms))
            return (
                f"The index {big.var} of {sign} runs inside it, and {big.var} outside of it is another one; "
                f"with two letters the line says what is meant, such as {new} inside"
            )
        if big.low is not None and not big.low.var and (missing := _first_missing(big, setting)):
            start = big.low.shift
            return f"At {big.var} = {start}, where {sign} begins, it needs {missing}, which does not exist: begin at {start + 1}"
    return ""


def _first_missing(big: Big, setting: Setting | None) -> str:
    """A variable that the first factor of a sum or product needs, and that comes before the first one there is; "" if none does."""
    assert big.low is not None
    first = {"x": 0}
    if setting is not None:
        slots = [s for s in model(setting, 2).slots if s[1] >= 0] if setting.indexed else []
        first = {name: min(i for n, i in slots if n == name) for name, _ in slots}
    for s in (n for n in walk(big.body) if isinstance(n, Sym) and n.name in first and not n.marks):
        for i in s.sub:
            at = big.low.shift + i.shift if isinstance(i, Index) and i.var == big.var else first[s.name]
            if at < first[s.name]:
                return latex(replace(s, sub=(Index("", at),)))
    return ""


def chooses(left: Node, right: Node, table: Table) -> str:
    """What a refuted equation of the Gaussian setting chooses or names rather than claims, in words; "" if nothing."""
    for side, other in ((left, right), (right, left)):
        if isinstance(side, Pow | Apply) and any(isinstance(n, Apply) and n.head.name == "sigma" for n in (side, *children(side))):
            return f"another choice of {latex(side)}"
        alone = _alone(side)
        if alone is not None and isinstance(alone[0], Sym) and alone[0].name == "sigma" and any(d.name == alone[0] for d in table.names):
            return f"another choice of {latex(side)}"
        schedule = any(isinstance(n, Sym) and (n.name in ("alpha", "beta", "SNR", "sigma") or is_noise(n)) for n in walk(other))
        if side == Sym("v") and not schedule:
            return "v is another letter here than in the setting gaussian: taken as its definition"
        if alone is not None and isinstance(alone[0], Sym) and alone[0].name == "sigma" and r"\tau" in latex(alone[0]):
            return f"another choice of {latex(side)}, for the steps of a coarse grid"
    of_x = isinstance(left, Density) and not left.given and left.args == (Sym("x"),)
    if of_x and isinstance(right, Normal) and undeclared(left, right, table):
        return "taken as the law of x"
    undecided = table.sense.sigma is None
    if undecided and isinstance(left, Density) and left.letter == "p" and len(left.given) == 1 and isinstance(right, Normal):
        (given,) = left.given
        variance = Sym("sigma", given.sub)
        chosen = [n for n in walk(right.cov) if isinstance(n, Sym) and n.name not in ("I", "beta", "alpha")]
        mean = Apply(Sym("mu", labels=("theta",)), (given, Sym("t")))
        if not chosen and right.mean in (mean, replace(mean, head=Sym("mu", given.sub, labels=("theta",)))):
            return f"taken as the choice of {latex(Pow(variance, TWO))}"
    return ""


def undeclared(left: Node, right: Node, table: Table) -> list[str]:
    """Letters without a meaning that stand on one side only: values for them might make the line true, so nothing is refuted.
    A letter on both sides is a variable, and a line that fails for one of its values is false."""
    nodes = [n for side in (left, right) for n in walk(side)]
    names = {n.name for n in nodes if isinstance(n, Sym)}
    anchored = any(isinstance(n, Sym) and n.name in ("x", "alpha", "beta") and n.sub for n in nodes)

    only_tilde = not any(isinstance(n, Sym) and n.name == "sigma" and n.sub and not n.marks for n in nodes)

    def free(side: Node) -> set[str]:
        out = {latex(n) for n in walk(side) if isinstance(n, Apply) and n.head == Sym("C")}
        means = {m for n in walk(side) if isinstance(n, Apply) and n.head == Sym("H") for law in n.args if isinstance(law, Normal)
                 for m in walk(law.mean)}  # an entropy does not depend on the mean
        for n in walk(side):
            if not isinstance(n, Sym) or n.name in NOT_LETTERS or n in means:
                continue
            if is_noise(n):
                if not anchored and not n.sub:
                    out.add(latex(n))
            elif n.name == "eta":
                if "sigma" not in names and not any(isinstance(m, Sym) and m.name == "beta" for m in nodes):
                    out.add(latex(n))
            elif n.name == "sigma":
                if (not n.sub and not n.labels) or ("tilde" in n.marks and only_tilde):
                    out.add(latex(n))
            elif n.name == "x":
                if n.marks and not known_letter(n, n):
                    out.add(latex(n))
            elif n.name not in ("v", "L") and not known_letter(n, side) and not any(d.match(n) for d in table.names):
                out.add(latex(n))
        return out

    return sorted(free(left) ^ free(right))


def unknown_functions(left: Node, right: Node) -> list[str]:
    """Functions without a meaning in the Gaussian setting that stand on one side only, such as c_{skip}(sigma)."""
    ours = {"H", "sigmoid", "z", "f", "g"}

    def functions(side: Node) -> set[str]:
        heads = [n.head for n in walk(side) if isinstance(n, Apply) and n.head.name not in ours]
        return {latex(head) for head in heads if not known_letter(head, side)}

    return sorted(functions(left) ^ functions(right))


def strangers(left: Node, right: Node, table: Table) -> list[str]:
    """The same for a text about a path."""
    path = table.sense.path

    def letters(side: Node) -> set[str]:
        symbols = [n for n in walk(side) if isinstance(n, Sym) and not (n.name in NOT_LETTERS and not n.sub)]
        return {latex(n) for n in symbols if not path.knows(n) and not path.is_time(n) and not any(d.match(n) for d in table.names)}

    return sorted(letters(left) ^ letters(right))


def network_for_score(left: Node, right: Node) -> bool:
    """Does one side hold networks and the other the score of a law that the setting leaves open?"""

    def kind(side: Node) -> tuple[bool, bool]:
        nodes = list(walk(side))
        networks = any(isinstance(n, Sym) and learned(n) is not None for n in nodes)
        scores = any(isinstance(n, Grad) and any(isinstance(m, Density) for m in walk(n)) for n in nodes)
        return networks, scores

    (one, a), (two, b) = kind(left), kind(right)
    return (b and not a and one) or (a and not b and two)


def network_for_truth(left: Node, right: Node) -> bool:
    r"""Does one side hold a law of q and the other a normal law with a network's guess in it?"""

    def kind(side: Node) -> tuple[bool, bool]:
        nodes = list(walk(side))
        mine = isinstance(side, Density) and side.letter == "q" and len(side.given) == 2
        return mine, isinstance(side, Normal) and any(isinstance(n, Sym) and learned(n) is not None for n in nodes)

    return {kind(left), kind(right)} == {(True, False), (False, True)}


# ---------------------------------------------------------------------------------------------------- probability settings


def tables(reading: Reading, setting: Setting, conditions: frozenset[int], known) -> list[Table]:
    """The tables of a text in a setting with laws p and q."""
    if said := _whole_chain(reading, setting):
        written = tuple(_as_chain(c) for c in reading.written)
        read = tuple(_as_chain(c) for c in reading.chains)
        reading = replace(reading, chains=read, written=written)  # type: ignore[arg-type]
    if index := _one_index(reading, setting):
        reading = replace(reading, chains=_plainly(reading.chains), written=_plainly(reading.written))
        said = (*said, f"${index}$ is $x$")
    several = several_laws(reading.written)
    base = with_laws(reading.written, setting, several) if several else Table(reading.chains, setting=setting)
    names, givers = names_of(base.chains, known, conditions)
    said = (*base.said, *said, *said_of(names))
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
    elif not several and (letter := label_left_out(reading.written)):
        base = replace(base, only_if=f"it holds if {letter} with a parameter and without is one law; write it in one way")
    return [base, *_over_everything(base, reading), *_any_joint_law(base, setting), *_without_condition(base, setting)]


def _without_condition(base: Table, setting: Setting) -> list[Table]:
    """A text in which q never has a condition, q(z): any law of the hidden variables, for the x at hand. What holds for every q(z|x)
    holds for it; what fails is not refuted by it."""
    laws = [n for c in base.chains for n in walk(c) if isinstance(n, Density) and n.letter == "q" and n.args]
    observed = model(setting, 2 if setting.indexed else 1).observed["q"] if laws and not setting.indexed else ()
    if not observed or any(n.given or {s.name for s in n.args} & {s[0] for s in observed} for n in laws):
        return []
    given = tuple(Sym(name) for name, _ in observed)

    def at_hand(node: Node) -> Node:
        if isinstance(node, Density) and node.letter == "q" and node.args:
            return replace(node, given=given)
        return rebuild(node, at_hand)

    names = tuple(replace(d, meaning=at_hand(d.meaning)) for d in base.names)
    said = (*base.said, f"$q({', '.join(latex(s) for s in laws[0].args)})$ is any law of the hidden variables, for this {latex(given[0])}")
    return [replace(base, chains=tuple(map(at_hand, base.chains)), names=names, said=said, unsure=True)]  # type: ignore[arg-type]


def _one_index(reading: Reading, setting: Setting) -> str:
    """Where a setting has x without an index and the text writes x_0 throughout: how it writes x."""
    found = {n for c in reading.chains for n in walk(c) if isinstance(n, Sym) and n.name == "x"}
    plain = not setting.indexed and "x" not in {k for k in setting.aliases}
    (only, *more) = found or {Sym("x")}
    return latex(only) if plain and not more and only.sub == (START,) and not only.marks and not only.labels else ""


def _plainly(chains: tuple[Chain, ...]) -> tuple[Chain, ...]:
    def go(node: Node) -> Node:
        return Sym("x") if isinstance(node, Sym) and node.name == "x" else rebuild(node, go)

    return tuple(map(go, chains))  # type: ignore[arg-type]


def _whole_chain(reading: Reading, setting: Setting) -> tuple[str, ...]:
    """Where a setting has z_1, ..., z_T and the text writes z throughout: z is all of them."""
    used = {n for c in reading.chains for n in walk(c) if isinstance(n, Sym) and n.name == "z"}
    chained = setting.indexed and any(s[0] == "z" and s[1] > 0 for args, _ in setting.factors("p", 2) for s in args)
    return ("$z$ is all of $z_{1:T}$",) if chained and used and all(not s.sub for s in used) else ()


def _as_chain(node: Node) -> Node:
    if node == Sym("z"):
        return Sym("z", (Range(Index("", 1), Index("T", 0)),))
    return rebuild(node, _as_chain)


def _over_everything(base: Table, reading: Reading) -> list[Table]:
    """Where some expectation of the text averages over x_0, a bare E_q beside it does so too."""
    assert base.setting is not None
    first = next(iter(base.setting.alias_slots.values()), None)
    laws = [w.dist for c in reading.chains for t in c.terms for n in walk(t) if isinstance(n, Expect) for w in n.laws]
    bare = any(isinstance(d, Density) and not d.args for d in laws)
    whole = any(isinstance(d, Density) and d.args and not d.given for d in laws)
    marginal = [n for c in reading.chains for n in walk(c) if isinstance(n, Density) and n.letter == "q" and n.args and not n.given]
    whole |= any(s.name == "x" and s.sub != (START,) for n in marginal for s in n.args)  # KL(q(x_T) || p(x_T)): x_0 is drawn, too
    if first is None or not bare or not whole:
        return []
    return [replace(base, joint=True, said=(*base.said, r"$\mathbb{E}_q$ averages over $x_0$ as well"))]


def _any_joint_law(base: Table, setting: Setting) -> list[Table]:
    """Variables that the setting does not have, or laws written without variables (KL(p || q), H(p)): read as any joint laws p and q
    of the variables that the text names. What holds for any laws holds for the ones meant; what fails is not refuted by it."""
    text = [n for c in base.chains for t in c.terms for n in walk(t)]
    laws = [n for n in text if isinstance(n, Density) and n.args]
    bare = {n.letter for n in text if isinstance(n, Density) and not n.args} | {
        n.letter for n in text if isinstance(n, Info) and not n.groups[0]
    }
    names = sorted({s.name for n in laws for s in (*n.args, *n.given)})
    plain = all(not s.sub and not s.marks for n in laws for s in (*n.args, *n.given))
    if not laws or not plain or len(names) > 3 or setting.indexed or not all(len(n) == 1 and n.isalpha() for n in names):
        return []
    strange = set(names) - {s[0] for s in setting.factors("p", 1)[0][0]}
    if not strange and not bare:
        return []

    def whole(node: Node) -> Node:
        if isinstance(node, Density) and not node.args and node.letter in forms:
            return forms[node.letter]
        if isinstance(node, Apply) and node.head == Sym("H") and len(node.args) == 1 and isinstance(node.args[0], Density):
            return rebuild(node, whole)
        if isinstance(node, Info) and not node.groups[0]:
            law = forms.get(node.letter)
            return replace(node, groups=(law.args,), given=law.given) if law is not None else node
        return rebuild(node, whole)

    forms: dict[str, Density] = {}
    for letter in ("p", "q"):
        own = list(dict.fromkeys(n for n in laws if n.letter == letter))
        if len(own) == 1:
            forms[letter] = replace(own[0], labels=())
    variables = ", ".join(names)
    free = replace(setting, name=f"{setting.name} (any laws)", p=f"p({variables})", q=f"q({variables})", names={}, aliases={})
    chains = tuple(map(whole, base.chains))
    said = (*base.said, f"p and q are any joint laws of {variables}")
    return [replace(base, chains=chains, setting=free, said=said, unsure=True)]  # type: ignore[arg-type]


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
