r"""Reads probability LaTeX and Gaussian closed forms into the trees of course.equations.reading.tree.

    read(r"\log p(x) \ge \mathbb{E}_q[\log \frac{p(x,z)}{q(z|x)}]").chains[0]

How far operators reach, where LaTeX itself does not say (the reading is printed back, so that it can be checked):

* `\log a b / c` is log(ab/c): a logarithm takes the whole product that follows, up to +, -, a relation, or the next
  \log, \sum, \int, \mathbb{E} or KL. `\log(...)` takes its bracket.
* `\mathbb{E}_q` and `\int_z` without brackets take the whole product that follows.
* `\prod_t` takes the factors that follow, up to the last neighbour that mentions its index; `\sum_t` up to the last factor or
  divisor that mentions it, whatever stands between.
* a/b c is (a/b) c.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, UnexpectedToken, VisitError
from lark.lexer import Lexer

from course.equations.reading.tree import (
    KL,
    Add,
    Apply,
    Big,
    Chain,
    Covariance,
    Density,
    Div,
    Expect,
    Func,
    Grad,
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
    Sym,
    children,
    latex,
    one_law,
    parameter,
    rebuild,
    walk,
)
from course.equations.reading.words import MAX_NESTING, ReadError, Word, words

__all__ = ["ReadError", "Reading", "read", "read_statement"]


@dataclass(frozen=True)
class Reading:
    """What was read: one chain for each statement, and remarks on what was left out or moved.

    chains leave out the parameters of laws, p_theta is p; in `written` they stand.
    """

    chains: tuple[Chain, ...]
    notes: tuple[str, ...] = ()
    written: tuple[Chain, ...] = ()


@dataclass(frozen=True)
class Item:
    """One piece of a product before the reach of operators is settled."""

    kind: str  # "atom", "bracket", "given", "log", "exp", "opt", "big", "grad", "int", "expect", "slash", "times"
    value: Any
    at: Token
    powers: tuple[Node, ...] = ()


class _Token(Token):
    """A token that remembers its word."""

    word: Word


class _Words(Lexer):
    """Hands the words to lark; the text is split beforehand."""

    def __init__(self, conf):
        pass

    def lex(self, words):  # type: ignore[override]  # lark passes on whatever is parsed
        for word in words:
            token = _Token(word.type, word.text, line=word.line, column=word.column)
            token.word = word
            yield token


SHOWN = {
    "SYM": "a symbol",
    "NUM": "a number",
    "DENS": "a density",
    "DENSOPEN": "a density",
    "LPAR": "a bracket",
    "RPAR": "a closing bracket",
    "REL": "a relation",
    "SIM": r"\sim",
    "SIGN": "+ or -",
    "SLASH": "/",
    "TIMES": r"\cdot",
    "LOG": r"\log",
    "EXP": r"\exp",
    "BIG": r"\sum or \prod",
    "INTPRE": "an integral",
    "INTOPEN": "an integral",
    "EXPECT": r"\mathbb{E}",
    "KLOPEN": "a KL divergence",
    "KLSEP": r"\|",
    "FRAC": r"\frac",
    "SQRT": r"\sqrt",
    "NORMOPEN": "a norm",
    "NORMCLOSE": r"\|",
    "NORMALOPEN": r"\mathcal{N}(",
    "APPLYOPEN": "a function",
    "GRAD": r"\nabla",
    "COMMA": ",",
    "SEMI": ";",
    "BAR": "|",
    "ROW": "a new row",
    "GCLOSE": "}",
    "RSUB": "} of the subscript",
    "MEASURE": "a measure such as dz",
    "INFOOPEN": "an entropy",
    "COVOPEN": "a covariance",
    "SUP": "^",
    "$END": "the end",
    "OPT": r"\max",
    "KLMACRO": "a KL divergence",
    "GOPEN": "{",
    "LSUB": "_",
    "DOTS": "dots",
}
_STARTS = {
    "SYM",
    "NUM",
    "DENS",
    "DENSOPEN",
    "LPAR",
    "LOG",
    "EXP",
    "BIG",
    "INTPRE",
    "INTOPEN",
    "EXPECT",
    "KLOPEN",
    "FRAC",
    "SQRT",
    "NORMOPEN",
    "NORMALOPEN",
    "APPLYOPEN",
    "GRAD",
    "INFOOPEN",
    "COVOPEN",
    "OPT",
    "KLMACRO",
    "GOPEN",
}


def _unexpected(error: UnexpectedToken) -> ReadError:
    token = error.token
    wanted = set(error.accepts or error.expected)
    names = []
    if len(wanted & _STARTS) > 3:
        names.append("an expression")
        wanted -= _STARTS | {"SIGN", "TIMES", "SLASH"}
    names += sorted({SHOWN.get(w, w) for w in wanted})
    if token.type == "$END":
        line, column = (token.line or 1), (token.column or 1)
        return ReadError("the formula ends too early", line, column, tuple(names[:6]), "the end of the input")
    return ReadError(f"{token} does not fit here", token.line or 1, token.column or 1, tuple(names[:6]), str(token))


def read(latex: str) -> Reading:
    """Read LaTeX: one or several statements, each a chain of terms and relations.

    Raises ReadError (a ValueError) with line, column, what was expected and what was found.
    """
    try:
        items, notes = words(latex)
        chains: Any = _parser().parse(items)
    except UnexpectedToken as error:
        if error.token.type == "$END" and items:
            error.token.line, error.token.column = items[-1].line, items[-1].column + len(items[-1].text)
        raise _unexpected(error) from None
    except VisitError as error:
        if isinstance(error.orig_exc, ReadError):
            raise error.orig_exc from None
        raise
    except RecursionError:
        raise ReadError("the formula is nested too deeply") from None
    except UnexpectedInput as error:
        raise ReadError(str(error), getattr(error, "line", 1), getattr(error, "column", 1)) from None
    settled: Any = map(one_law, chains)
    return Reading(tuple(settled), tuple(notes), tuple(chains))


def read_statement(latex: str) -> Chain:
    """Read exactly one statement. Raises ReadError when there are several, or none."""
    chains = read(latex).chains
    if len(chains) != 1:
        line, column = chains[1].where[0] if chains[1].where else (1, 1)
        raise ReadError(
            f"one statement was expected, {len(chains)} were found", line, column, ("one statement",), f"{len(chains)}"
        )
    return chains[0]


@cache
def _parser() -> Lark:
    grammar = (Path(__file__).parent / "grammar.lark").read_text()
    return Lark(grammar, parser="lalr", lexer=_Words, transformer=_Build(), maybe_placeholders=False)


# ------------------------------------------------------------------------------------------------ reach of operators


def _error(at: Token, message: str, *expected: str) -> ReadError:
    return ReadError(message, at.line or 1, at.column or 1, expected, str(at))


def _raised(node: Node, powers: tuple[Node, ...]) -> Node:
    for p in powers:
        node = Pow(node, p)
    return node


def _mentions(node: Node, var: str) -> bool:
    if isinstance(node, Big) and node.var == var:
        return any(i is not None and i.var == var for i in (node.low, node.high))
    if isinstance(node, Sym) and node.name == var and not node.sub:
        return True
    if isinstance(node, Index) and node.var == var:
        return True
    return any(_mentions(child, var) for child in children(node))


def _has_density(node: Node) -> bool:
    return any(isinstance(n, Density | Normal) for n in walk(node))


def _stops(item: Item, kinds: tuple[str, ...]) -> bool:
    """Does a logarithm's product end before this item? kinds are kinds of items, "sum" for \\sum_t and "kl" for KL divergences."""
    if item.kind == "big":
        return "sum" in kinds and item.value[0] == "sum"
    return item.kind in kinds or ("kl" in kinds and item.kind == "atom" and isinstance(item.value, KL))


class _Fold:
    """Turns the flat items of a term into a tree."""

    def __init__(self, items: list[Item]):
        self.items, self.i, self.depth = items, 0, 0
        self.known: dict[tuple, tuple[Node, int]] = {}  # factors that were looked at and left

    def peek(self) -> Item | None:
        return self.items[self.i] if self.i < len(self.items) else None

    def body(self, stop: tuple[str, ...], kind: str, index: str) -> Node:
        """What a sum or product over `index` acts on (see the top of the file)."""
        if self.peek() is None:
            return self.product(stop)  # says what is missing
        out = self.factor(stop)
        waiting: list[tuple[bool, Node]] = []  # (divided by?, factor) seen since the last one that mentions the index
        end = self.i
        while (item := self.peek()) is not None and not _stops(item, stop):
            if item.kind in ("times", "slash"):
                self.i += 1
                if (after := self.peek()) is None or after.kind in ("times", "slash"):
                    break
            below = item.kind == "slash"
            factor = self.factor(stop)
            waiting.append((below, factor))
            if _mentions(factor, index):
                for divided, f in waiting:
                    out = _quotient(out, f) if divided else Mul((*out.factors, f) if isinstance(out, Mul) else (out, f))
                waiting, end = [], self.i
            elif kind == "prod":
                break
        self.i = end
        return out

    def product(self, stop: tuple[str, ...] = ()) -> Node:
        """Factors up to the end, or up to an operator in `stop`."""
        first = self.items[self.i - 1] if self.i else self.items[0]
        factors: list[Node] = []
        while (item := self.peek()) is not None:
            if item.kind == "times":
                self.i += 1
                if self.peek() is None or not factors:
                    raise _error(item.at, "a multiplication sign with nothing beside it", "a factor")
                continue
            if item.kind == "dots":
                self.i += 1
                if not factors or self.peek() is None:
                    raise _error(item.at, "dots with no factor beside them", "a factor")
                while (after := self.peek()) is not None and after.kind == "times":
                    self.i += 1
                factors.append(self.factor(stop))
                factors = _between(factors, item.at, "prod")
                continue
            if item.kind == "slash":
                self.i += 1
                if not factors:
                    raise _error(item.at, "a division with nothing above", "a factor")
                if (after := self.peek()) is None or after.kind in ("slash", "times"):
                    raise _error(item.at, "a division with nothing below", "a factor")
                below = self.factor(stop)
                above = factors[0] if len(factors) == 1 else Mul(tuple(factors))
                factors = [_quotient(above, below)]
                continue
            if factors and _stops(item, stop):
                break
            factors.append(self.factor(stop))
        if not factors:
            raise _error(first.at, f"{first.at} has nothing to act on", "an expression")
        return factors[0] if len(factors) == 1 else Mul(tuple(factors))

    def factor(self, stop: tuple[str, ...] = ()) -> Node:
        key = (self.i, stop)
        if key not in self.known:
            node = self.operand(stop)
            self.known[key] = node, self.i
        node, self.i = self.known[key]
        return node

    def operand(self, stop: tuple[str, ...]) -> Node:
        item = self.peek()
        assert item is not None
        self.i += 1
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise _error(item.at, f"more than {MAX_NESTING} operators act on each other here")
        out = self.applied(item, stop)
        self.depth -= 1
        return out

    def applied(self, item: Item, stop: tuple[str, ...]) -> Node:
        match item.kind:
            case "atom" | "bracket":
                return _raised(item.value, item.powers)
            case "log" | "exp":
                return self.function(item)
            case "opt":
                return Func(str(item.value), self.product(stop))
            case "big":
                kind, var, low, high = item.value
                return Big(kind, var, low, high, self.body(stop, kind, var))
            case "grad":
                body = self.factor(stop) if self.peek() else None
                if body is None:
                    raise _error(item.at, "a gradient of nothing", "an expression")
                return _raised(Grad(item.value, body), item.powers)
            case "int":
                return Integral(item.value, self.product(stop))
            case "expect":
                following = self.peek()
                if following is not None and following.kind == "given":
                    self.i += 1
                    body, given = following.value
                    return _raised(Expect(item.value, body, given), following.powers)
                if following is not None and following.kind == "bracket":
                    self.i += 1
                    return _raised(Expect(item.value, following.value), following.powers)
                return Expect(item.value, self.product(stop))
            case "given":
                raise _error(item.at, f"{item.at} does not fit here", "a closing bracket")
        raise _error(item.at, f"{item.at} does not fit here", "an expression")

    def function(self, item: Item) -> Node:
        name = str(item.value)
        following = self.peek()
        if following is not None and following.kind == "bracket":
            self.i += 1
            body: Node = following.value
            after = self.peek()
            if name == "log" and after is not None and after.kind == "slash" and _has_density(body):
                self.i += 1
                if self.peek() is None:
                    raise _error(after.at, "a division with nothing below", "a factor")
                body = _quotient(body, self.factor(("log", "int", "expect", "kl")))
            return _raised(Func(name, body), following.powers)
        return Func(name, self.product(("log", "exp", "int", "expect", "kl", "sum")))


def _between(parts: list[Node], at: Token, kind: str) -> list[Node]:
    r"""Factors or terms with dots before the last one: f_2 \cdots f_T becomes a product over an index. What the index runs over is
    read off the two parts beside the dots, and off the part before them where there is one."""
    *before, first, last = parts
    places = list(zip(_indices(first), _indices(last), strict=False))
    if _shape(first) != _shape(last) or len(_indices(first)) != len(_indices(last)) or not places:
        raise _error(at, "dots between different things", r"a first and a last factor of one form", r"\prod or \sum with limits")
    moving = [(a, b) for a, b in places if a != b]
    if not moving or len({_apart(a, b) for a, b in moving}) != 1:
        raise _error(at, "what the dots stand for is not clear", r"\prod or \sum with limits")
    var = next(v for v in "isjkn" if not any(i.var == v for p in parts for i in _indices(p)))
    (low, high), down = moving[0], _downwards(*moving[0])
    shifts = iter([_shift(a, low) if a != b else None for a, b in places])
    body = _with_indices(first, lambda i: i if (s := next(shifts)) is None else Index(var, s))
    if before and _shape(before[-1]) == _shape(first):
        step = {_shift(a, b) for (a, _), b in zip(places, _indices(before[-1]), strict=True) if a != b and a.var == b.var}
        if step and step != {-1 if down else 1}:
            raise _error(at, "the parts before the dots do not go on in steps of one", r"\prod or \sum with limits")
    return [*before, Big(kind, var, high if down else low, low if down else high, body)]


def _indices(node: Node) -> list[Index]:
    return [n for n in walk(node) if isinstance(n, Index)]


def _shape(node: Node) -> Node:
    return _with_indices(node, lambda _: Index())


def _with_indices(node: Node, change) -> Node:
    return change(node) if isinstance(node, Index) else rebuild(node, lambda child: _with_indices(child, change))


def _shift(a: Index, b: Index) -> int:
    return a.shift - b.shift


def _apart(a: Index, b: Index) -> tuple[str, str, int]:
    return a.var, b.var, b.shift - a.shift


def _downwards(first: Index, last: Index) -> bool:
    """Do the indices run downwards from the first part to the last?"""
    return (bool(first.var) and not last.var) or (first.var == last.var and first.shift > last.shift)


@dataclass(frozen=True)
class _Dots:
    """Dots that stand where a term would."""

    at: Token


def _quotient(top: Node, bottom: Node) -> Node:
    if isinstance(top, Num) and isinstance(bottom, Num) and bottom.value:
        return Num(top.value / bottom.value)
    return Div(top, bottom)


# --------------------------------------------------------------------------------------------------- building nodes


def _word(token: Any) -> Word:
    return token.word


class _Args(tuple):
    """Arguments of a density."""


class _Build(Transformer):
    def start(self, parts):
        return [p for p in parts if isinstance(p, Chain)]

    def relation(self, parts):
        return parts[0]

    def chain(self, parts):
        rels = [p for p in parts if isinstance(p, Token)]
        for n, p in enumerate(parts):
            if isinstance(p, _Conditional) and (n or not rels or rels[0].type != "SIM"):
                raise _error(p.bar, f"{p.bar} does not fit here", r"p(x \mid z)", r"x \mid z \sim ...")
        terms = tuple(p.law if isinstance(p, _Conditional) else p for p in parts if isinstance(p, Node | _Conditional))
        return Chain(terms, tuple(str(_word(r).value) for r in rels), tuple((r.line or 1, r.column or 1) for r in rels))

    def expr(self, parts):
        terms: list[Node] = []
        sign, dots = "+", None
        for p in parts:
            if isinstance(p, Token):
                sign = str(p)
            elif isinstance(p, _Dots):
                dots = p.at
                if not terms:
                    raise _error(dots, "dots with no term before them", "a term")
            else:
                terms.append(Neg(p) if sign == "-" else p)
                if dots is not None:
                    terms = _between(terms, dots, "sum")
                sign, dots = "+", None
        if dots is not None:
            raise _error(dots, "dots with no term after them", "a term")
        return terms[0] if len(terms) == 1 else Add(tuple(terms))

    def term(self, parts):
        if [p.kind for p in parts] == ["dots"]:
            return _Dots(parts[0].at)
        fold = _Fold(parts)
        node = fold.product()
        return node

    def item(self, parts):
        head, powers = parts[0], tuple(p.node for p in parts[1:] if isinstance(p, _Power))
        if isinstance(head, Item):
            return replace(head, powers=powers) if powers else head
        kind = {
            "SLASH": "slash",
            "TIMES": "times",
            "DOTS": "dots",
            "LOG": "log",
            "EXP": "exp",
            "OPT": "opt",
            "BIG": "big",
            "GRAD": "grad",
            "INTPRE": "int",
        }[head.type]
        return Item(kind, _word(head).value if kind != "log" else "log", head, powers)

    def expect(self, parts):
        laws = next((p for p in parts if isinstance(p, _Laws)), _Laws(()))
        return Item("expect", laws.laws, parts[0])

    def power(self, parts):
        return _Power(parts[2])

    def atom(self, parts):
        value = _word(parts[0]).value
        return Item("atom", value, parts[0])

    def bracket(self, parts):
        return Item("bracket", parts[1], parts[0])

    def given(self, parts):
        return Item("given", (parts[1], tuple(parts[3])), parts[2])

    def conditional(self, parts):
        return _Conditional(Density("", (_word(parts[0]).value,), tuple(parts[2])), parts[1])

    def covariance(self, parts):
        name = _word(parts[0]).value[0].name
        nodes = [p for p in parts if isinstance(p, Node)]
        if len(nodes) > 1 and name == "Var":
            raise _error(parts[0], "a variance is of one thing", r"\mathrm{Var}(x)", r"\mathrm{Cov}(x, y)")
        given = next((tuple(p) for p in parts if isinstance(p, _Args)), ())
        return Item("atom", Covariance(tuple(nodes), given), parts[0])

    def entropy(self, parts):
        head = _word(parts[0]).value[0]
        if head.name != "H":
            raise _error(parts[0], "mutual information has two groups of variables", "I(x; z)")
        return Item("atom", Apply(Sym("H"), (_normal(parts[2:-1]),)), parts[0])

    def args(self, parts):
        return _Args(p for p in parts if isinstance(p, Sym))

    def arg(self, parts):
        word = _word(parts[0])
        return word.value if word.type == "SYM" else Sym("cdot")

    def value(self, parts):
        r"""A condition x_t = x: x stands for x_t there and everywhere."""
        name, sign, to = (_word(p) for p in parts)
        if sign.value == "=" and to.value in (Sym("m"), Sym("x", (Index("", 0),))):
            return replace(name.value, labels=(*name.value.labels, f"={latex(to.value)}"))  # masked, or still the word of the data
        if sign.value != "=" or to.value != Sym(name.value.name):
            raise _error(parts[1], f"a condition {name.text} {sign.text} {to.text}", f"{name.text} = {name.value.name}", name.text)
        return name.value

    def density(self, parts):
        return Item("atom", _density(parts), parts[0])

    def kl(self, parts):
        left, right = (p for p in parts if isinstance(p, Node))
        return Item("atom", KL(*_same_dot(left, right)), parts[0])

    def normal(self, parts):
        return Item("atom", _normal(parts), parts[0])

    def apply(self, parts):
        head = _word(parts[0]).value[0]
        return Item("atom", Apply(head, tuple(p for p in parts if isinstance(p, Node))), parts[0])

    def information(self, parts):
        sym = _word(parts[0]).value[0]
        letter = next((x for x in sym.labels if x in ("p", "q")), "")
        inner = parts[1]
        if isinstance(inner, Density):
            if sym.name != "H":
                raise _error(parts[0], "mutual information has two groups of variables", "I(x; z)")
            return Item("atom", Info("H", inner.letter, (inner.args,), inner.given, True), parts[0])
        groups, given = inner
        if (sym.name == "H" and len(groups) != 1) or (sym.name == "I" and len(groups) != 2):
            raise _error(parts[0], f"{sym.name} of {len(groups)} groups of variables", "H(x) or I(x; z)")
        return Item("atom", Info(sym.name, letter, tuple(tuple(g) for g in groups), tuple(given)), parts[0])

    def variables(self, parts):
        groups, given, bar = [], (), False
        for p in parts:
            if isinstance(p, Token):
                bar = p.type == "BAR"
            elif bar:
                given = p
            else:
                groups.append(p)
        return groups, given

    def cross(self, parts):
        if _word(parts[0]).value[0].name != "H":
            raise _error(parts[0], "mutual information has two groups of variables", "I(x; z)")
        return Item("atom", Neg(Expect((Law((), parts[1]),), Func("log", parts[3]))), parts[0])

    def law_density(self, parts):
        return _density(parts)

    def law_of(self, parts):
        return _density(parts)

    def fraction(self, parts):
        top, bottom = (p for p in parts if isinstance(p, Node))
        return Item("atom", _quotient(top, bottom), parts[0])

    def root(self, parts):
        return Item("atom", Func("sqrt", parts[2]), parts[0])

    def norm(self, parts):
        return Item("atom", Func("norm", parts[1]), parts[0])

    def integral(self, parts):
        return Item("atom", Integral(_word(parts[2]).value, parts[1]), parts[0])

    # laws of expectations

    def dist(self, parts):
        return _dist(parts)

    def unnamed(self, parts):
        return Law((), parts[0])

    def named(self, parts):
        return Law((_word(parts[0]).value,), parts[2])

    def bare(self, parts):
        return Law((_word(parts[0]).value,), None)

    def laws(self, parts):
        out: list[Law] = []
        waiting: list[Sym] = []
        for p in parts:
            if isinstance(p, Token):
                continue
            law = p if isinstance(p, Law) else Law((), p)
            if law.dist is None:
                waiting += law.vars
                continue
            if law.vars:
                law, waiting = Law((*waiting, *law.vars), law.dist), []
            elif waiting:
                out.append(Law(tuple(waiting), None))
                waiting = []
            out.append(_law(law))
        if waiting:
            out.append(Law(tuple(waiting), None))
        return _Laws(tuple(out))


@dataclass(frozen=True)
class _Power:
    node: Node


@dataclass(frozen=True)
class _Conditional:
    """x | z on the left of a \\sim."""

    law: Density
    bar: Token


@dataclass(frozen=True)
class _Laws:
    laws: tuple[Law, ...]


def _density(parts) -> Density:
    head = _word(parts[0])
    if head.type == "DENS":
        letter, labels = head.value
        return Density(letter, (), (), labels)
    letter, labels = head.value[0]
    args: tuple = ()
    given: tuple = ()
    where = "args"
    for p in parts[1:]:
        if isinstance(p, Token):
            where = {"BAR": "given", "SEMI": "parameters"}.get(p.type, where)
        elif isinstance(p, _Args):
            if where == "args":
                args = tuple(p)
            elif where == "given":
                given = tuple(s for s in p if s.name not in ("theta", "phi"))
                labels += tuple(_parameter(s) for s in p if s.name in ("theta", "phi"))
            elif any(not parameter(s.name) and s.name not in ("w", "W") for s in p):
                raise _error(parts[0], "a variable after ; in a density (only parameters such as \\theta stand there)", "|")
            else:
                labels += tuple(_parameter(s) for s in p if parameter(s.name))
    return Density(letter, args, given, tuple(dict.fromkeys(labels)))


def _parameter(s: Sym) -> str:
    """The label that a parameter among the arguments of a density is: p(x; theta) is p_theta(x)."""
    return s.name if s == Sym(s.name) else latex(s)


def _normal(parts) -> Normal:
    nodes = [p for p in parts if isinstance(p, Node)]
    if len(nodes) == 2:
        if any(isinstance(p, Token) and p.type in ("SEMI", "BAR") for p in parts):
            raise _error(parts[0], "a normal density has a mean and a covariance", r"\mathcal{N}(x; \mu, \Sigma)")
        return Normal(None, *nodes)
    if len(nodes) == 3:
        return Normal(*nodes)
    raise _error(parts[0], f"a normal density with {len(nodes)} arguments", r"\mathcal{N}(x; \mu, \Sigma)")


def _dist(parts) -> Node:
    """One density, a product of densities, or a normal law, from the flat parts of `dist`."""
    out: list[Node] = []
    piece: list = []
    for p in [*parts, None]:
        if p is None or (isinstance(p, Token) and p.type in ("DENS", "DENSOPEN", "NORMALOPEN")):
            if piece:
                out.append(_normal(piece) if piece[0].type == "NORMALOPEN" else _density(piece))
            piece = []
        if p is not None:
            piece.append(p)
    return out[0] if len(out) == 1 else Mul(tuple(out))


def _law(law: Law) -> Law:
    """z ~ q(.|x) is q(z|x), and z ~ q(z|x) is just q(z|x)."""
    dist = law.dist
    if isinstance(dist, Density) and law.vars and dist.args == (Sym("cdot"),):
        dist = replace(dist, args=law.vars)
    if isinstance(dist, Density) and set(dist.args) == set(law.vars):
        return Law((), dist)
    return Law(law.vars, dist)


def _same_dot(left: Node, right: Node) -> tuple[Node, Node]:
    """KL(q(.|x) || p(z)): the dot stands for the variables of the other side."""
    dot = (Sym("cdot"),)
    if isinstance(left, Density) and isinstance(right, Density):
        if left.args == dot and right.args and right.args != dot:
            left = replace(left, args=right.args)
        elif right.args == dot and left.args and left.args != dot:
            right = replace(right, args=left.args)
    return left, right
