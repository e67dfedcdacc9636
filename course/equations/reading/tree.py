"""The syntax tree of a formula: what the reader builds, what every judge works on, and how it is printed again.

All nodes are frozen dataclasses with tuples inside, so that trees can be compared, hashed and used as keys.
Meaning is not decided here: `p(z|x)` is a letter, its arguments and its conditions. What it stands for is a
matter of the setting (course.equations.meaning.settings, or course.equations.search.gaussian for the closed forms).

The reader drops what carries no meaning for any setting: fonts, spacing, the parameters theta and phi of p and q,
upper case of random variables (X_t is x_t), labels of underbraces, equation numbers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property


@dataclass(frozen=True)
class Node:
    """Any part of a formula."""

    @cached_property
    def below(self) -> tuple[Node, ...]:
        """The nodes directly below, in order."""
        out: list[Node] = []
        for f in fields(self):
            value = getattr(self, f.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Node):
                    out.append(part)
                elif isinstance(part, tuple):
                    out += (p for p in part if isinstance(p, Node))
        return tuple(out)

    @cached_property
    def everything(self) -> tuple[Node, ...]:
        """This node and all below it, outermost first."""
        out: list[Node] = []
        todo: list[Node] = [self]
        while todo:
            out.append(todo.pop())
            todo += reversed(out[-1].below)
        return tuple(out)


@dataclass(frozen=True)
class Index(Node):
    """An index `var + shift`: t-1 is Index("t", -1), T is Index("T", 0), the number 2 is Index("", 2)."""

    var: str = ""
    shift: int = 0


@dataclass(frozen=True)
class Range(Node):
    """The indices low..high inclusive, as in z_{1:T}. An end that is not written is None: z_{<t} is Range(None, t-1)."""

    low: Index | None
    high: Index | None


@dataclass(frozen=True)
class Num(Node):
    """An exact number."""

    value: Fraction


@dataclass(frozen=True)
class Sym(Node):
    r"""A symbol with its decorations: \bar\alpha_{t-1} is Sym("alpha", (Index("t", -1),), ("bar",)).

    name:   letter or word without backslash: "x", "alpha", "epsilon" (also for \varepsilon), "mu", "Sigma", "I", "SNR",
            "ELBO", "cdot" for the dot of q(\cdot|x).
    sub:    the indices below it, each an Index or a Range.
    marks:  from inside to outside: "bar", "tilde", "hat", "dot", "prime", "star".
    labels: other scripts, as text: "theta" in \epsilon_\theta, "(i)" in x^{(i)}, "simple" in L_{\text{simple}}.
    """

    name: str
    sub: tuple[Index | Range, ...] = ()
    marks: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Add(Node):
    """A sum of two or more terms; a - b is Add((a, Neg(b)))."""

    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Neg(Node):
    """-body."""

    body: Node


@dataclass(frozen=True)
class Mul(Node):
    """A product of two or more factors, in the order written."""

    factors: tuple[Node, ...]


@dataclass(frozen=True)
class Div(Node):
    """top / bottom, however written."""

    top: Node
    bottom: Node


@dataclass(frozen=True)
class Pow(Node):
    """base ** exponent. A squared norm is Pow(Func("norm", a), Num(2))."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Func(Node):
    """A named function of one argument: "log" (natural), "exp", "sqrt", "norm" (Euclidean), "max", "min"."""

    name: str
    body: Node


@dataclass(frozen=True)
class Apply(Node):
    r"""A symbol applied to arguments: \epsilon_\theta(x_t, t), \tilde\mu_t(x_t, x_0), SNR(t)."""

    head: Sym
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Grad(Node):
    r"""\nabla_{var} body; var is None when no variable is written."""

    var: Sym | None
    body: Node


@dataclass(frozen=True)
class Density(Node):
    """letter(args | given): p(x, z_{1:T}), q(z_t | z_{t-1}). A bare `q` has no args. The letter is "p" or "q"; labels
    keep what is not a parameter, for instance ("data",). In "x_t | x_0 ~ N(...)" no letter is written: it is ""."""

    letter: str
    args: tuple[Sym, ...] = ()
    given: tuple[Sym, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Normal(Node):
    r"""\mathcal{N}(x; mean, cov): a density when x is written, else the law N(mean, cov)."""

    x: Node | None
    mean: Node
    cov: Node


@dataclass(frozen=True)
class Law(Node):
    """What an expectation averages over: variables and their distribution. vars is empty when they are those of the
    distribution itself; dist is None when only the variables are written, as in E_{x_0, epsilon}."""

    vars: tuple[Sym, ...]
    dist: Node | None


@dataclass(frozen=True)
class Expect(Node):
    r"""\mathbb{E}_{laws}[body | given]."""

    laws: tuple[Law, ...]
    body: Node
    given: tuple[Sym, ...] = ()


@dataclass(frozen=True)
class Covariance(Node):
    r"""Var(x | given), or Cov(x, y | given) of two different things; Var(x) and Cov(x) are the same."""

    of: tuple[Node, ...]
    given: tuple[Sym, ...] = ()


@dataclass(frozen=True)
class KL(Node):
    """The Kullback-Leibler divergence KL(left || right) of two distributions."""

    left: Node
    right: Node


@dataclass(frozen=True)
class Info(Node):
    """Entropy "H" (one group) or mutual information "I" (two groups) of variables under a letter's joint; letter is ""
    when not written. H(q(z|x)) is Info("H", "q", ((z,),), (x,), pointwise=True): at the given x, not averaged."""

    kind: str
    letter: str
    groups: tuple[tuple[Sym, ...], ...]
    given: tuple[Sym, ...] = ()
    pointwise: bool = False


@dataclass(frozen=True)
class Big(Node):
    r"""\sum or \prod over an index: kind "sum" or "prod", var = low..high inclusive; an end not written is None."""

    kind: str
    var: str
    low: Index | None
    high: Index | None
    body: Node


@dataclass(frozen=True)
class Integral(Node):
    r"""The integral over variables, however written: \int body dz, \sum_z body, \int_z body."""

    vars: tuple[Sym, ...]
    body: Node


@dataclass(frozen=True)
class Chain(Node):
    r"""terms[0] relations[0] terms[1] relations[1] ...: a statement or one derivation. Relations are "=", ">=", "<=", ">",
    "<", "!=", ":=", "=:", "~" (distributed as), "~=" (approximately), "propto", "->". `where[i]` is the (line, column) of
    relation i in the input; it does not take part in comparison."""

    terms: tuple[Node, ...]
    relations: tuple[str, ...]
    where: tuple[tuple[int, int], ...] = field(default=(), compare=False)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below `node`, in order."""
    return node.below


def walk(node: Node) -> Iterator[Node]:
    """`node` and everything below it, outermost first."""
    return iter(node.everything)


def rebuild(node: Node, change) -> Node:
    """A copy of `node` with `change(child)` in place of each direct child."""

    def new(value):
        if isinstance(value, Node):
            return change(value)
        return tuple(new(v) for v in value) if isinstance(value, tuple) else value

    return replace(node, **{f.name: new(getattr(node, f.name)) for f in fields(node) if f.compare and f.init})


# ---------------------------------------------------------------------------------------------------- printing

GREEK = {
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Pi",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "ell",
    "emptyset",
}
RELATION_LATEX = {
    "=": "=",
    ">=": r"\geq",
    "<=": r"\leq",
    ">": ">",
    "<": "<",
    "!=": r"\neq",
    ":=": ":=",
    "=:": "=:",
    "~": r"\sim",
    "~=": r"\approx",
    "propto": r"\propto",
    "->": r"\rightarrow",
}
_ACCENT = {"bar": r"\bar", "tilde": r"\tilde", "hat": r"\hat", "dot": r"\dot"}
_SUM, _TERM, _FACTOR, _ATOM = range(4)  # how tightly a printed piece holds together


def latex(node: Node) -> str:
    """Canonical LaTeX: one spelling for each tree; reading it back gives the same tree."""
    return _latex(node)[0]


def _index(i: Index | None) -> str:
    if i is None:
        return ""
    if not i.var:
        return str(i.shift)
    var = "\\" + i.var if i.var in GREEK else i.var
    return var + (f"{i.shift:+d}" if i.shift else "")


def _script(i: Index | Range) -> str:
    if isinstance(i, Index):
        return _index(i)
    if i.low is None:
        return r"\leq " + _index(i.high)
    if i.high is None:
        return r"\geq " + _index(i.low)
    return f"{_index(i.low)}:{_index(i.high)}"


def parameter(label: str) -> bool:
    r"""Is a label a parameter of a law, such as theta, \theta' or \theta_1?"""
    base = re.match(r"\\?([A-Za-z]+)", label)
    return bool(base) and base[1] in GREEK  # type: ignore[index]


def one_law(node: Node) -> Node:
    """The formula with the parameters of its laws left out: p_theta(x) is p(x)."""
    if isinstance(node, Density) and any(map(parameter, node.labels)):
        return replace(node, labels=tuple(x for x in node.labels if not parameter(x)))
    return rebuild(node, one_law)


def _label(label: str) -> str:
    if label.startswith("\\"):
        return label
    return "\\" + label if label in GREEK else label if len(label) == 1 else r"\text{" + label + "}"


def _sym(s: Sym) -> str:
    out = "\\" + s.name if s.name in GREEK or s.name == "cdot" else s.name if len(s.name) == 1 else r"\mathrm{" + s.name + "}"
    primes = 0
    for mark in s.marks:
        if mark in _ACCENT:
            out = f"{_ACCENT[mark]}{{{out}}}"
        elif mark == "prime":
            primes += 1
    said = "".join(f" {x[0]} {x[1:]}" for x in s.labels if x.startswith("="))  # x_t = m, where a word is given
    subs = [_label(x) for x in s.labels if not x.startswith(("(", "="))] + [_script(i) for i in s.sub]
    if subs:
        out += "_" + (subs[0] if len(subs) == 1 and len(subs[0]) == 1 else "{" + ", ".join(subs) + "}")
    sup = "".join(x for x in s.labels if x.startswith("(")) + ("*" if "star" in s.marks else "")
    return out + "'" * primes + (f"^{{{sup}}}" if sup else "") + said


def _args(items: tuple[Sym, ...]) -> str:
    return ", ".join(_sym(s) for s in items)


def _density(d: Density) -> str:
    head = d.letter + ("_{" + ", ".join(_label(x) for x in d.labels) + "}" if d.labels else "")
    if not d.args:
        return head
    if not d.letter:
        return rf"{_args(d.args)} \mid {_args(d.given)}"
    return f"{head}({_args(d.args)}" + (rf" \mid {_args(d.given)}" if d.given else "") + ")"


def _law(law: Law) -> str:
    dist = "" if law.dist is None else latex(law.dist)
    return dist if not law.vars else _args(law.vars) + (rf" \sim {dist}" if dist else "")


def _held(node: Node, need: int) -> str:
    text, level = _latex(node)
    return text if level >= need else rf"\left({text}\right)"


def _argument(node: Node) -> str:
    return rf"\left({_latex(node)[0]}\right)"


def _latex(node: Node) -> tuple[str, int]:
    match node:
        case Num(value):
            if value < 0:
                return f"-{latex(Num(-value))}", _SUM
            if value.denominator == 1:
                return str(value.numerator), _ATOM
            return rf"\frac{{{value.numerator}}}{{{value.denominator}}}", _ATOM
        case Sym():
            return _sym(node), _ATOM
        case Index() | Range():
            return _script(node), _ATOM
        case Density():
            return _density(node), _ATOM
        case Add(terms):
            out = _held(terms[0], _TERM) if not isinstance(terms[0], Neg) else latex(terms[0])
            for term in terms[1:]:
                out += f" - {_held(term.body, _TERM)}" if isinstance(term, Neg) else f" + {_held(term, _TERM)}"
            return out, _SUM
        case Neg(body):
            return "-" + _held(body, _TERM), _SUM
        case Mul(factors):
            return _product(factors), _TERM
        case Div(top, bottom):
            return rf"\frac{{{latex(top)}}}{{{latex(bottom)}}}", _ATOM
        case Pow(base, exponent):
            return f"{_held_base(base)}^{{{latex(exponent)}}}", _ATOM
        case Func("sqrt", body):
            return rf"\sqrt{{{latex(body)}}}", _ATOM
        case Func("norm", body):
            return rf"\left\lVert {latex(body)} \right\rVert", _ATOM
        case Func("log", body) if isinstance(body, Density | Div):
            return rf"\log {latex(body)}", _FACTOR
        case Func(name, body):
            return rf"\{name} {_argument(body)}", _ATOM
        case Apply(head, args):
            return f"{_sym(head)}({', '.join(latex(a) for a in args)})", _ATOM
        case Grad(var, body):
            return r"\nabla" + (f"_{{{_sym(var)}}}" if var else "") + " " + _held(body, _FACTOR), _FACTOR
        case Normal(x, mean, cov):
            return r"\mathcal{N}(" + (f"{latex(x)}; " if x is not None else "") + f"{latex(mean)}, {latex(cov)})", _ATOM
        case Law():
            return _law(node), _ATOM
        case Expect(laws, body, given):
            sub = ", ".join(_law(law) for law in laws)
            bar = rf" \mid {_args(given)}" if given else ""
            return r"\mathbb{E}" + (f"_{{{sub}}}" if sub else "") + rf"\left[{latex(body)}{bar}\right]", _ATOM
        case Covariance(of, given):
            bar = rf" \mid {_args(given)}" if given else ""
            name = "Var" if len(of) == 1 else "Cov"
            return rf"\mathrm{{{name}}}({', '.join(map(latex, of))}{bar})", _ATOM
        case KL(left, right):
            return rf"D_{{\mathrm{{KL}}}}\left({latex(left)} \,\|\, {latex(right)}\right)", _ATOM
        case Info(kind, letter, groups, given, True):
            return f"{kind}({_density(Density(letter, groups[0], given))})", _ATOM
        case Info(kind, letter, groups, given):
            bar = rf" \mid {_args(given)}" if given else ""
            return kind + (f"_{letter}" if letter else "") + f"({'; '.join(_args(g) for g in groups)}{bar})", _ATOM
        case Big(kind, _, _, _, body):
            return rf"\{kind}{_limits(node)} " + _held(body, _FACTOR), _FACTOR
        case Integral(over, body):
            return rf"\int {latex(body)} \, " + r" \, ".join("d" + _sym(s) for s in over), _ATOM
        case Chain(terms, relations):
            out = latex(terms[0])
            for relation, term in zip(relations, terms[1:], strict=True):
                out += f" {RELATION_LATEX[relation]} {latex(term)}"
            return out, _SUM
    raise TypeError(f"cannot print {type(node).__name__}")


def _product(factors: tuple[Node, ...]) -> str:
    parts = [_held(f, _FACTOR if i == len(factors) - 1 else _ATOM) for i, f in enumerate(factors)]
    out = parts[0]
    for before, after in itertools.pairwise(parts):
        dot = (before[-1:].isdigit() and after[:1].isdigit()) or after.startswith(r"\left")
        out += (r" \cdot " if dot else r" \, ") + after
    return out


def _limits(node: Big) -> str:
    name = "\\" + node.var if node.var in GREEK else node.var
    if node.low and node.high:
        return f"_{{{name}={_index(node.low)}}}^{{{_index(node.high)}}}"
    if node.low:
        return f"_{{{name} \\geq {_index(node.low)}}}"
    return f"_{{{name} \\leq {_index(node.high)}}}" if node.high else f"_{{{name}}}"


def _held_base(base: Node) -> str:
    plain = isinstance(base, Sym | Density | Expect | Func) and not (isinstance(base, Func) and base.name in ("log", "sqrt"))
    if isinstance(base, Func) and base.name in ("exp", "max", "min"):
        plain = False
    if isinstance(base, Num) and base.value >= 0 and base.value.denominator == 1:
        plain = True
    return (
        latex(base)
        if plain
        and "star" not in getattr(base, "marks", ())
        and not any(x.startswith("(") for x in getattr(base, "labels", ()))
        else _argument(base)
    )


def outline(node: Node, depth: int = 0) -> str:
    """The tree as indented text, one node a line; leaves are shown as LaTeX."""
    pad = "  " * depth
    match node:
        case Num() | Sym() | Density() | Index() | Range():
            return pad + latex(node)
        case Chain(terms, relations):
            lines = [pad + "statement"]
            for i, term in enumerate(terms):
                if i:
                    lines.append(f"{pad}  {relations[i - 1]}")
                lines.append(outline(term, depth + 2))
            return "\n".join(lines)
        case Big(kind, var, low, high):
            title = f"{kind} over {var} from {_index(low) or 'its first'} to {_index(high) or 'its last'}"
        case Integral(over):
            title = f"integral over {_args(over)}"
        case Expect(laws, _, given):
            title = "expectation over " + (", ".join(_law(law) for law in laws) or "everything")
            title += f" given {_args(given)}" if given else ""
        case Grad(var):
            title = f"gradient in {_sym(var) if var else '?'}"
        case Func(name):
            title = {"log": "logarithm", "sqrt": "square root", "exp": "exponential"}.get(name, name)
        case Info():
            return pad + latex(node)
        case Apply(head):
            title = f"{_sym(head)} of"
        case _:
            title = {
                Add: "sum",
                Neg: "minus",
                Mul: "product",
                Div: "quotient",
                Pow: "power",
                Covariance: "covariance",
                KL: "KL divergence",
                Normal: "normal density",
                Law: "law",
            }[type(node)]
    below = (
        [node.body]
        if isinstance(node, Big | Integral | Expect | Grad | Func)
        else list(node.args)
        if isinstance(node, Apply)
        else list(children(node))
    )
    return "\n".join([pad + title, *(outline(child, depth + 1) for child in below)])
