"""From LaTeX to words: the first half of the reader.

`words(latex)` turns TeX into a flat list of typed words with positions, of which grammar.lark makes expressions. Here
live all the spellings: fonts, spaces, bars, sizes of brackets, environments, user macros, scripts. Brackets are matched
here, so that broken TeX is reported where it breaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from course.equations.reading.tree import GREEK, Index, Num, Range, Sym, latex

MAX_LENGTH = 20_000  # characters
MAX_WORDS = 4_000
MAX_NESTING = 40
MAX_DIGITS = 40


class ReadError(ValueError):
    """LaTeX that cannot be read. line and column (from 1) say where; expected and found say what."""

    def __init__(self, message: str, line: int = 1, column: int = 1, expected: tuple[str, ...] = (), found: str = ""):
        super().__init__(message)
        self.message, self.line, self.column, self.expected, self.found = message, line, column, expected, found

    def __str__(self) -> str:
        text = f"line {self.line}, column {self.column}: {self.message}"
        if self.expected:
            text += f" (expected {', '.join(self.expected)}" + (f"; found {self.found}" if self.found else "") + ")"
        return text


@dataclass(frozen=True)
class Raw:
    """One TeX token: a command (with its backslash) or one character."""

    text: str
    line: int
    column: int
    spaced: bool = False  # white space stands before it


@dataclass(frozen=True)
class Word:
    """One typed word. `text` is what stood in the input; value is the Sym, Num, operator ... it means."""

    type: str
    value: Any
    line: int
    column: int
    text: str


UNICODE = {
    "−": "-",
    "–": "-",
    "—": "-",
    "∼": r"\sim",
    "~": r"\sim",
    "ε": r"\epsilon",
    "ϵ": r"\epsilon",
    "∣": "|",
    "∥": r"\|",
    "‖": r"\|",
    "≥": r"\geq",
    "≤": r"\leq",
    "α": r"\alpha",
    "β": r"\beta",
    "θ": r"\theta",
    "φ": r"\phi",
    "ϕ": r"\phi",
    "μ": r"\mu",
    "σ": r"\sigma",
    "Σ": r"\Sigma",
    "∑": r"\sum",
    "∏": r"\prod",
    "∫": r"\int",
    "𝔼": r"\mathbb{E}",
    "’": "'",
    "′": "'",
    "·": r"\cdot",
    "×": r"\times",
    "√": r"\sqrt",
    "∇": r"\nabla",
    "→": r"\to",
}
SKIP = {
    "\\" + c
    for c in (
        ",",
        ";",
        ":",
        "!",
        " ",
        ">",
        "/",
        "quad",
        "qquad",
        "left",
        "right",
        "middle",
        "limits",
        "nolimits",
        "displaystyle",
        "textstyle",
        "scriptstyle",
        "nonumber",
        "notag",
        "hfill",
        "strut",
        "noindent",
        "thinspace",
        "medspace",
        "thickspace",
        "allowbreak",
        "rm",
        "bf",
        "it",
        "sf",
        "cal",
        "boldmath",
        "(",
        ")",
        "[",
        "]",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "bigm",
        "Bigl",
        "Bigr",
        "Bigm",
        "biggl",
        "biggr",
        "biggm",
        "Biggl",
        "Biggr",
        "Biggm",
        "hspace*",
        "relax",
        "cancel",
        "textnormal",
    )
}
SKIP |= set(re.findall(
    r"\\\w+",
    r"\tiny\scriptsize\footnotesize\small\normalsize\large\Large\LARGE\huge\Huge\displaylimits\mathopen\mathclose"
    r"\mathpunct\mathinner\centering\bfseries\itshape\par\smallskip\medskip\bigskip",
))
FONTS = {
    "\\" + c
    for c in (
        "mathbf",
        "boldsymbol",
        "bm",
        "mathrm",
        "mathit",
        "mathsf",
        "mathcal",
        "mathbb",
        "mathscr",
        "mathfrak",
        "pmb",
        "operatorname",
        "operatorname*",
        "text",
        "textbf",
        "textit",
        "textrm",
        "mathop",
        "mathnormal",
        "vec",
        "symbf",
        "mathtt",
        "textsf",
        "mbox",
        "ensuremath",
        "mathord",
        "bold",
        "texttt",
    )
}
ACCENTS = {r"\bar": "bar", r"\overline": "bar", r"\tilde": "tilde", r"\widetilde": "tilde", r"\hat": "hat", r"\widehat": "hat"}
ACCENTS |= {r"\Bar": "bar", r"\Tilde": "tilde", r"\Hat": "hat", r"\check": "hat", r"\breve": "hat", r"\dot": "dot"}
SPELT = {r"\intop": r"\int", r"\rvert": "|", r"\lvert": "|", r"\Expect": r"\E", r"\Exp": r"\E", r"\bbE": r"\E", r"\given": "|"}
SPELT[r"\giv"] = "|"
BOXES = {r"\underbrace", r"\overbrace", r"\boxed", r"\mathrel", r"\mathbin", r"\underline", r"\fbox", r"\mathstrut"}
RELATIONS = {
    "=": "=",
    r"\geq": ">=",
    r"\ge": ">=",
    r"\geqslant": ">=",
    r"\leq": "<=",
    r"\le": "<=",
    r"\leqslant": "<=",
    r"\gt": ">",
    r"\lt": "<",
    ">": ">",
    "<": "<",
    r"\equiv": "=",
    r"\triangleq": ":=",
    r"\defeq": ":=",
    r"\coloneqq": ":=",
    r"\coloneq": ":=",
    r"\eqqcolon": "=:",
    r"\approx": "~=",
    r"\simeq": "~=",
    r"\propto": "propto",
    r"\neq": "!=",
    r"\ne": "!=",
    r"\eqdef": ":=",
    r"\gneq": ">",
    r"\geqq": ">=",
    r"\leqq": "<=",
    r"\doteq": ":=",
    r"\stackrel{=}": "=",
}
MACROS = {
    r"\eps": "epsilon",
    r"\bI": "I",
    r"\mI": "I",
    r"\vI": "I",
    r"\beps": "epsilon",
    r"\veps": "epsilon",
    r"\varepsilon": "epsilon",
    r"\varphi": "phi",
    r"\vartheta": "theta",
    r"\varsigma": "sigma",
    r"\varrho": "rho",
    r"\varnothing": "emptyset",
    r"\Var": "Var",
    r"\ELBO": "ELBO",
    r"\SNR": "SNR",
    r"\Cov": "Cov",
    r"\bSigma": "Sigma",
    r"\mSigma": "Sigma",
}
for _letter in "xyzhuwvsc":
    MACROS["\\b" + _letter] = MACROS["\\v" + _letter] = MACROS["\\bf" + _letter] = _letter
for _greek in ("epsilon", "mu", "theta", "phi", "alpha", "beta", "sigma"):
    MACROS["\\b" + _greek] = MACROS["\\v" + _greek] = MACROS["\\bm" + _greek] = _greek
MACROS.pop(r"\bs", None)
ZEROS = {r"\bzero", r"\vzero", r"\bfzero"}
ENVIRONMENTS = {
    "align",
    "aligned",
    "equation",
    "split",
    "gather",
    "gathered",
    "multline",
    "eqnarray",
    "alignat",
    "alignedat",
    "flalign",
    "math",
    "displaymath",
    "dmath",
}
INDEX_LETTERS = set("tsijknmlTNKLM")
WORDS = ("Var", "Cov", "Log", "log", "ln", "exp", "NELBO", "ELBO", "VLB", "SNR", "KL", "argmax", "argmin", "max", "min")
REMARK = re.compile(
    r"\W*(since|because|by|as|where|using|with|due|from|note|i\.?e|which|hence|recall|constant in|up to|assuming|given)\b", re.I
)
STARS = re.compile(r"\((\\text)?\{?(\*|\\\*|\\ast|\\star|\\dagger)+\}?\)")  # a label such as (**)
CLOSES = {"(": ")", "[": "]", r"\{": r"\}"}


def tau(letter: str, shift: int) -> str:
    r"""The name of a step of a coarse grid, \\tau_i or \\tau_{i-1}: an index with an index."""
    return rf"\tau_{letter}" if not shift else rf"\tau_{{{letter}{shift:+d}}}"


def fail(at, message: str, expected: tuple[str, ...] = (), found: str = "") -> ReadError:
    return ReadError(message, at.line, at.column, expected, found)


# ------------------------------------------------------------------------------------------------------- TeX tokens


def raw_tokens(text: str) -> list[Raw]:
    """TeX tokens of the text, without white space, comments, dollars and block-quote marks."""
    lines = text.splitlines()
    first = next((x for x in lines if x.strip()), "")
    quoted = first.lstrip().startswith(">")
    out: list[Raw] = []
    for number, line in enumerate(lines, 1):
        i, spaced = 0, True
        if quoted:
            mark = re.match(r"\s*(>\s*)+", line)
            i = mark.end() if mark else 0
        while i < len(line):
            c = line[i]
            if c.isspace() or c in "\u00a0\u200b\u200c\u200d\u2060\ufeff":
                i, spaced = i + 1, True
                continue
            if c == "%":
                break
            if c == "$":
                i += 1
                continue
            column = i + 1
            if c == "\\":
                m = re.compile(r"\\(?:operatorname\*|hspace\*|[A-Za-z]+|\\\\\\|\\|.|$)").match(line, i)
                assert m is not None
                word = m.group()
                if word == r"\_":
                    word = "_"
                elif word == r"\*":
                    word = "*"
                elif word == "\\\\\\\\"[:4] or word == "\\\\":
                    word = r"\\"
                if word == "\\":
                    word = r"\ "
                out.append(Raw(SPELT.get(word, word), number, column, spaced))
                i = m.end()
            else:
                if not c.isprintable():
                    raise ReadError(
                        f"control character U+{ord(c):04X}", number, column, ("an ASCII character",), f"U+{ord(c):04X}"
                    )
                out.append(Raw(c, number, column, spaced))
                i += 1
            spaced = False
    # \\( ... \\) and \\[ ... \\] as display marks of Markdown processors
    if len(out) >= 2 and out[0].text == r"\\" and out[1].text in "([":
        close = CLOSES[out[1].text]
        if len(out) >= 4 and out[-1].text == close and out[-2].text == r"\\":
            out = out[2:-2]
    return out


def foreign(tok: Raw) -> ReadError:
    """The error for a character that is no LaTeX; in labels and texts any character may stand."""
    c = tok.text
    hint = f"; write {UNICODE[c]}" if c in UNICODE else ""
    expected = (UNICODE[c],) if c in UNICODE else ("an ASCII character",)
    return fail(tok, f"the character {c!r} (U+{ord(c):04X}) is not LaTeX{hint}", expected, c)


def match_braces(raw: list[Raw]) -> dict[int, int]:
    """Index of the partner of each brace."""
    stack: list[int] = []
    match: dict[int, int] = {}
    for i, tok in enumerate(raw):
        if tok.text == "{":
            stack.append(i)
            if len(stack) > MAX_NESTING:
                raise fail(tok, f"more than {MAX_NESTING} brackets are nested here")
        elif tok.text == "}":
            if not stack:
                raise fail(tok, "this } closes nothing", ("an opening { before it",), "}")
            j = stack.pop()
            match[i], match[j] = j, i
    if stack:
        raise fail(raw[stack[-1]], "this { is never closed", ("}",), "the end of the input")
    return match


# ------------------------------------------------------------------------------------------------------ typed words


# Commands that are one word by themselves: its type, and what is kept of it.
ONE = (
    {t: ("SIGN", t) for t in "-+"}
    | {"/": ("SLASH", "/"), ",": ("COMMA", ","), ";": ("SEMI", ";"), r"\sim": ("SIM", "~")}
    | {t: ("TIMES", t) for t in (r"\cdot", r"\times", "*", r"\odot", r"\ast", r"\bullet")}
    | {
        t: ("ROW", t)
        for t in (r"\Rightarrow", r"\implies", r"\iff", r"\therefore", r"\Leftrightarrow", r"\Longrightarrow", r"\because")
    }
    | {t: ("LPAR", kept) for t, kept in zip(("(", "[", r"\{", r"\lparen", r"\lbrack", r"\lbrace"), 2 * ("(", "[", r"\{"), strict=True)}
    | {t: ("RPAR", kept) for t, kept in zip((")", "]", r"\}", r"\rparen", r"\rbrack", r"\rbrace"), 2 * (")", "]", r"\}"), strict=True)}
    | {t: ("BAR", "|") for t in ("|", r"\mid", r"\vert", r"\given", r"\lvert", r"\rvert")}
    | {t: ("DBAR", r"\|") for t in (r"\|", r"\Vert", r"\parallel")}
    | {r"\lVert": ("NORMOPEN", r"\lVert"), r"\rVert": ("NORMCLOSE", r"\rVert")}
)


class Emitter:
    """Walks over the TeX tokens once and appends typed words to `out`."""

    def __init__(self, text: str):
        self.raw = raw_tokens(text)
        self.match = match_braces(self.raw)
        self.out: list[Word] = []
        self.notes: list[str] = []
        self.aside: list[Word] = []  # clauses after where in the middle of a statement: they come after it
        self.dropped: set[int] = set()  # braces that only group: TeX prints nothing for them
        self.integrals = 0
        self.environments: list[tuple[str, Raw]] = []
        self.depth = 0

    # -- small helpers

    def text_of(self, a: int, b: int) -> str:
        return "".join((" " if t.spaced and k else "") + t.text for k, t in enumerate(self.raw[a:b]))

    def add(self, type_: str, value: object, i: int, text: str | None = None) -> None:
        tok = self.raw[i]
        self.out.append(Word(type_, value, tok.line, tok.column, text or tok.text))
        if len(self.out) > MAX_WORDS:
            raise fail(tok, f"the formula has more than {MAX_WORDS} words")

    def argument(self, i: int, end: int, what: str) -> tuple[int, int, int]:
        """The TeX argument that begins at i: (first, last + 1, index after it)."""
        i = self.skip(i, end)
        if i >= end:
            raise fail(self.raw[min(i, len(self.raw)) - 1], f"{what} has no argument", ("an argument in braces",), "the end")
        tok = self.raw[i]
        if tok.text == "{":
            return i + 1, self.match[i], self.match[i] + 1
        if tok.text in FONTS | set(ACCENTS):
            j, marks = self.skip(i + 1, end), 1
            while j < end and self.raw[j].text in FONTS | set(ACCENTS):
                j, marks = self.skip(j + 1, end), marks + 1
            if marks > MAX_NESTING:
                raise fail(tok, f"more than {MAX_NESTING} accents and fonts on one symbol")
            after = self.argument(j, end, tok.text)[2]
            return i, after, after
        if tok.text in ("}", "&", r"\\", ")", "]", "_", "^"):
            raise fail(tok, f"{what} has no argument", ("an argument in braces",), tok.text)
        return i, i + 1, i + 1

    def skip(self, i: int, end: int) -> int:
        """Skip spacing commands."""
        while i < end and (self.raw[i].text in SKIP or self.raw[i].text == "~"):
            i += 1
        return i

    def strip(self, a: int, b: int) -> tuple[int, int]:
        """Strip spacing, fonts and braces around a..b when they enclose all of it."""
        while True:
            a = self.skip(a, b)
            while b > a and self.raw[b - 1].text in SKIP:
                b -= 1
            if a < b and self.raw[a].text == "{" and self.match[a] == b - 1:
                a, b = a + 1, b - 1
            elif a < b and self.raw[a].text in FONTS:
                x, y, after = self.argument(a + 1, b, self.raw[a].text)
                if after != b:
                    return a, b
                a, b = x, y
            else:
                return a, b

    def plain(self, a: int, b: int) -> str:
        """The text of a..b without fonts and braces: `{\\rm KL}` and `\\text{KL}` are KL."""
        return "".join(
            (" " if t.spaced and t.text.isalpha() else "") + t.text
            for t in self.raw[a:b]
            if t.text not in SKIP and t.text not in FONTS and t.text not in "{}"
        ).strip()

    def run(self, i: int, end: int) -> str:
        """The letters that stand together from i on, as far as they can matter."""
        j, end = i, min(end, i + 20)
        while j < end and len(self.raw[j].text) == 1 and self.raw[j].text.isalpha() and (j == i or not self.raw[j].spaced):
            j += 1
        return "".join(t.text for t in self.raw[i:j])

    # -- scripts

    def index(self, a: int, b: int) -> Index | None:
        """a..b as an index: t, t-1, T, 0; None if it is none."""
        a, b = self.strip(a, b)
        grid = re.fullmatch(r"\\tau_\{?([ijkn])([+-]\d)?\}?", self.text_of(a, b).replace(" ", ""))
        if grid:
            return Index(tau(grid[1], int(grid[2] or 0)), 0)
        text = self.plain(a, b).replace(" ", "").replace(r"\tau", "\x00")
        m = re.fullmatch(r"([tsijknmlTNKLMJD\x00])(?:([+-])(\d{1,3}))?|(\d{1,4})", text)
        if m is None:
            return None
        if m[4] is not None:
            return Index("", int(m[4]))
        return Index("tau" if m[1] == "\x00" else m[1], int(m[2] + m[3]) if m[2] else 0)

    def subscripts(self, a: int, b: int) -> tuple[list[Index | Range], list[str]]:
        """What stands below a symbol: indices and labels."""
        a, b = self.strip(a, b)
        indices: list[Index | Range] = []
        labels: list[str] = []
        start, depth = a, 0
        for i in range(a, b + 1):
            if i < b:
                depth += {"{": 1, "}": -1}.get(self.raw[i].text, 0)
            if i == b or (depth == 0 and self.raw[i].text in (",", ";")):
                self.subscript(start, i, indices, labels)
                start = i + 1
        return indices, labels

    def subscript(self, a: int, b: int, indices: list, labels: list) -> None:
        a, b = self.strip(a, b)
        if a >= b:
            raise fail(self.raw[min(a, len(self.raw) - 1)], "an empty subscript", ("an index such as t-1",), "nothing")
        tok = self.raw[a]
        one = self.index(a, b)
        if one is not None:
            indices.append(one)
            return
        if tok.text in ("<", r"\lt", r"\le", r"\leq", ">", r"\gt", r"\ge", r"\geq") and (bound := self.index(a + 1, b)):
            strict = tok.text in ("<", r"\lt", ">", r"\gt")
            if tok.text in ("<", r"\lt", r"\le", r"\leq"):
                indices.append(Range(None, replace(bound, shift=bound.shift - strict)))
            else:
                indices.append(Range(replace(bound, shift=bound.shift + strict), None))
            return
        colons = [i for i in range(a, b) if self.raw[i].text == ":"]
        if colons:
            low, high = self.index(a, colons[0]), self.index(colons[0] + 1, b)
            if low is None or high is None or len(colons) > 1:
                raise fail(
                    tok,
                    f"cannot read the subscript {self.text_of(a, b)}",
                    ("a range such as 1:T or 1:t-1",),
                    self.text_of(a, b),
                )
            indices.append(Range(low, high))
            return
        text = self.plain(a, b)
        barred = re.fullmatch(r"[A-Za-z0-9+-]{1,6}\|[A-Za-z0-9+-]{1,6}", text.replace(r"\mid", "|").replace(r"\vert", "|").replace(" ", ""))
        if barred:
            labels.append(barred[0])
        elif text in (r"\max", r"\min"):
            labels.append(text[1:])
        elif text.startswith("\\") and (MACROS.get(text) or text[1:]) in GREEK:
            labels.append(MACROS.get(text) or text[1:])
        elif re.fullmatch(r"[A-Za-z][A-Za-z0-9 -]*|\d\|[a-z]|[a-z]\|\d|[a-z]\|[a-z]|\d[a-z]", text) and not re.search(
            r"[a-zA-Z0-9][-+]\d", text
        ):
            labels.append(text)
        elif (found := self.symbol(a, b)) and found[2] == b and found[0].name != "cdot":
            above = "" if found[1] is None else "^{" + self.text_of(*found[1]) + "}"
            labels.append(latex(found[0]) + above)  # \theta', \theta_1, \theta^{old}: a label with scripts of its own
        else:
            raise fail(
                tok,
                f"cannot read the subscript {self.text_of(a, b)}",
                ("an index such as t-1", "a range such as 1:T", "a name"),
                self.text_of(a, b),
            )

    def scripts(self, i: int, end: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None, int, int]:
        """The scripts that follow at i: (sub slice, sup slice, number of primes, index after)."""
        sub = sup = None
        primes = 0
        while True:
            j = i
            while j < end and (
                self.raw[j].text in (r"\limits", r"\nolimits", r"\!", r"\,") or (j in self.dropped and self.raw[j].text == "}")
            ):
                j += 1
            if j >= end:
                return sub, sup, primes, i
            c = self.raw[j].text
            if c == "_":
                if sub is not None:
                    raise fail(self.raw[j], "a second subscript", ("one subscript",), "_")
                a, b, i = self.argument(j + 1, end, "the subscript")
                sub = (a, b)
            elif c == "^":
                if sup is not None:
                    raise fail(self.raw[j], "a second superscript", ("one superscript",), "^")
                a, b, i = self.argument(j + 1, end, "the superscript")
                sup = (a, b)
            elif c == "'":
                primes += 1
                i = j + 1
            else:
                return sub, sup, primes, i

    # -- symbols

    def symbol(self, i: int, end: int) -> tuple[Sym, tuple[int, int] | None, int] | None:
        """The symbol at i with its scripts: (symbol, slice of a power or None, index after); None if no symbol begins here."""
        if i >= end:
            return None
        tok = self.raw[i]
        text = tok.text
        marks: tuple[str, ...] = ()
        sub: tuple = ()
        labels: tuple[str, ...] = ()
        if text in ACCENTS or text in FONTS:
            a, b, after = self.argument(i + 1, end, text)
            a, b = self.strip(a, b)
            word = self.plain(a, b)
            inner = self.symbol(a, b)
            if inner and inner[1] is None and inner[2] == b:
                name, sub, marks, labels = inner[0].name, inner[0].sub, inner[0].marks, inner[0].labels
            elif text in FONTS and word == "0":
                return None
            elif text in FONTS and re.fullmatch(r"[A-Za-z]{2,}", word):
                name = word
            else:
                return None
            if text in ACCENTS:
                marks = (*marks, ACCENTS[text])
        elif len(text) == 1 and text.isalpha():
            run = self.run(i, end)
            word = next((w for w in WORDS if run.startswith(w)), "")
            name, after = word or text, i + (len(word) or 1)
        elif text in MACROS:
            name, after = MACROS[text], i + 1
        elif text[1:] in GREEK:
            name, after = text[1:], i + 1
        else:
            return None
        below, above, primes, after = self.scripts(after, end)
        power = None
        if above is not None:
            a, b = self.strip(*above)
            content = self.text_of(a, b).replace(" ", "")
            if re.fullmatch(r"\([A-Za-z0-9]{1,3}\)", content):
                labels = (*labels, content)
            elif re.fullmatch(r"(\\prime)+|'+", content):
                primes += content.count("prime") or len(content)
            elif content in ("*", r"\ast", r"\star"):
                marks = (*marks, "star")
            else:
                power = (a, b)
        if below is not None:
            more, names = self.subscripts(*below)
            sub, labels = (*sub, *more), (*labels, *names)
        marks = (*marks, *["prime"] * primes)
        if name in ("X", "Y", "Z"):
            name = name.lower()
        return Sym(name, sub, marks, labels), power, after

    def is_plain_symbol(self, i: int, end: int) -> bool:
        i = self.skip(i, end)
        found = self.symbol(i, end) if i < end else None
        return found is not None and found[0].name not in WORDS

    # -- the walk

    def emit(self, i: int, end: int) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise fail(self.raw[i - 1], f"more than {MAX_NESTING} brackets are nested here")
        while i < end:
            after = self.step(i, end)
            assert after > i
            i = after
        self.depth -= 1

    def group(self, a: int, b: int, at: int) -> None:
        """Emit a..b between GOPEN and GCLOSE."""
        self.add("GOPEN", "{", at, "{")
        self.emit(a, b)
        self.out.append(
            Word("GCLOSE", "}", self.raw[min(b, len(self.raw) - 1)].line, self.raw[min(b, len(self.raw) - 1)].column, "}")
        )

    def power(self, piece: tuple[int, int] | None, at: int) -> None:
        if piece is not None:
            self.add("SUP", "^", at, "^")
            self.group(*piece, at)

    def step(self, i: int, end: int) -> int:
        """Read the word that starts at place i; the place after it."""
        tok = self.raw[i]
        if not tok.text.isascii():
            raise foreign(tok)
        for way in self.WAYS:
            after = way(self, i, end, tok.text)
            if after is not None:
                return after
        found = self.symbol(i, end)
        return self.unknown(i, end) if found is None else self.named(found, i, end)

    def unknown(self, i: int, end: int) -> int:
        """What no way reads: the inside of a font command, or an error."""
        tok = self.raw[i]
        t = tok.text
        if t in FONTS and self.raw[i + 1 : i + 2] and self.raw[i + 1].text == "{":
            a, b, after = self.argument(i + 1, end, t)
            if b > a:
                self.emit(a, b)
                return after
        if t.startswith("\\"):
            hint = " (a condition is written | or \\mid)" if t == r"\vee" else ""
            raise fail(tok, f"the command {t} is not known{hint}", ("a symbol, a density or an operator",), t)
        raise fail(tok, f"cannot read {t!r} here", ("a symbol, a density or an operator",), t)

    def layout(self, i: int, end: int, t: str) -> int | None:
        """Spacing and braces."""
        tok = self.raw[i]
        last = self.out[-1].type if self.out else ""
        if t in (r"\left", r"\right") and i + 1 < end and self.raw[i + 1].text == ".":
            return i + 2
        if t in (r"\right", r"\left", r"\middle") and (i + 1 >= end):
            raise fail(tok, f"{t} without a bracket", ("a bracket",), "the end")
        if t in SKIP or t in ("&", "~"):
            wide = t in (r"\quad", r"\qquad") or (t in ("&", r"\ ") and i + 1 < end and self.raw[i + 1].text == t)
            if wide and self.claimed() and self.claims(i, end) and self.begins(i, end):
                self.add("ROW", t, i)
                return i + 1
            if t == r"\quad" or t == r"\qquad":
                # an equation number or dots set off at the end of a row
                m = re.match(
                    r"[\s&]*((\\quad|\\qquad|\\cdots|\\dots|\\ldots|\\hfill)[\s&]*)*(\(\d{1,3}[a-z]?\))?\s*[.,]?\s*(\\\\|$)",
                    self.text_of(i, end),
                )
                if m and (m[1] or m[3]):
                    j = i
                    while j < end and self.raw[j].text != r"\\":
                        j += 1
                    return j
            return i + 1
        if t == "{":
            alone = self.match[i] == i + 2 and not self.raw[i + 1].text.isalnum()  # \Big{[}
            if last in ("LOG", "EXP", "RSUB", "EXPECT", "OPT") and not alone:
                self.group(i + 1, self.match[i], i)
                return self.match[i] + 1
            self.dropped |= {i, self.match[i]}
            return i + 1
        if t == "}":
            if i in self.dropped:
                return i + 1
            raise fail(tok, "this } closes nothing here", ("an opening { before it",), "}")
        return None

    def row(self, i: int, end: int, t: str) -> int | None:
        """A number, the end of a row, an environment."""
        tok = self.raw[i]
        if t.isdigit() or (t == "." and i + 1 < end and self.raw[i + 1].text.isdigit() and not self.raw[i + 1].spaced):
            return self.number(i, end)
        if t in (r"\\", r"\cr", r"\newline", r"\&", r"\land", r"\wedge"):
            self.add("ROW", t, i)
            j = self.skip(i + 1, end)
            if t == r"\\":
                if j < end and self.raw[j].text == "*":
                    j += 1
                m = re.match(
                    r"\[\s*-?[\d.]+\s*(pt|em|ex|mm|cm|in|mu|\\jot|\\baselineskip)\s*\]", self.text_of(j, min(end, j + 20))
                )
                if m:
                    while self.raw[j].text != "]":
                        j += 1
                    return j + 1
            return i + 1
        if t in (r"\begin", r"\end"):
            a, b, after = self.argument(i + 1, end, t)
            name = self.text_of(a, b).replace(" ", "").rstrip("*")
            if name not in ENVIRONMENTS:
                raise fail(tok, f"the environment {name} is not a derivation", tuple(sorted(ENVIRONMENTS)[:6]), name)
            if t == r"\begin":
                self.environments.append((name, tok))
                if name in ("alignat", "alignedat"):
                    after = self.argument(after, end, name)[2]
            elif not self.environments or self.environments[-1][0] != name:
                raise fail(tok, f"\\end{{{name}}} closes nothing", (f"\\begin{{{name}}} before it",), f"\\end{{{name}}}")
            else:
                self.environments.pop()
            return after
        return None

    def set_aside(self, i: int, end: int, t: str) -> int | None:
        """Labels, boxes and colours: what they hold, or nothing."""
        if t in (
            r"\tag",
            r"\label",
            r"\vspace",
            r"\hspace",
            r"\hspace*",
            r"\phantom",
            r"\eqref",
            r"\ref",
            r"\color",
            r"\intertext",
            r"\shortintertext",
            r"\hphantom",
            r"\vphantom",
        ):
            after = i + 1
            if after < end and self.raw[after].text == "*":
                after += 1
            return self.argument(after, end, t)[2]
        if t == r"\textcolor":
            after = self.skip(self.argument(i + 1, end, t)[2], end)
            if after < end and self.raw[after].text == "{":
                self.dropped |= {after, self.match[after]}
                return after + 1
            return after
        if t in BOXES:
            a, b, after = self.argument(i + 1, end, t)
            self.emit(a, b)
            while after < end and self.raw[after].text in ("_", "^"):
                after = self.argument(after + 1, end, "the label")[2]
            return after
        return None

    def stacked(self, i: int, end: int, t: str) -> int | None:
        """One thing above or below another; fractions and roots."""
        if t in (r"\overset", r"\stackrel", r"\underset"):
            a, b, mid = self.argument(i + 1, end, t)
            c, d, after = self.argument(mid, end, t)
            c2, d2 = self.strip(c, d)
            if self.plain(c2, d2) == "E":
                below, above, _, after2 = self.scripts(after, end)
                self.add("EXPECT", "E", c2)
                self.law(a, b, i)
                return after2 if below is None and above is None else after
            if self.plain(c2, d2) in (r"\max", r"\min", "max", "min", r"\argmax", r"\argmin"):
                self.add("OPT", "max" if "max" in self.plain(c2, d2) else "min", i)
                return after
            if self.plain(c2, d2) in ("=",) and "def" in self.plain(a, b).lower():
                self.add("REL", ":=", i)
                return after
            self.emit(c, d)
            return after
        if t in (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"):
            a, b, mid = self.argument(i + 1, end, t)
            c, d, after = self.argument(mid, end, t)
            self.add("FRAC", "frac", i)
            self.group(a, b, i)
            self.group(c, d, i)
            return after
        if t == r"\sqrt":
            if i + 1 < end and self.raw[i + 1].text == "[":
                raise fail(self.raw[i + 1], "only square roots are read", (r"\sqrt{...}",), "[")
            a, b, after = self.argument(i + 1, end, t)
            self.add("SQRT", "sqrt", i)
            self.group(a, b, i)
            return after
        return None

    def operator(self, i: int, end: int, t: str) -> int | None:
        """Functions, sums, gradients, expectations, divergences."""
        tok = self.raw[i]
        if t in (r"\log", r"\ln", r"\exp", r"\max", r"\min", r"\arg", r"\argmax", r"\argmin", r"\sup", r"\inf"):
            return self.function(t[1:], i, i + 1, end)
        if t in (r"\sum", r"\prod", r"\int", r"\iint", r"\iiint"):
            return self.big(i, end)
        if t == r"\nabla":
            below, above, _, after = self.scripts(i + 1, end)
            var = None
            if below is not None:
                a, b = self.strip(*below)
                found = self.symbol(a, b)
                if not found or found[2] != b:
                    raise fail(
                        self.raw[a],
                        "the gradient's subscript is not a variable",
                        ("a variable such as x_t",),
                        self.text_of(a, b),
                    )
                var = found[0]
            if var is not None and var.name in ("theta", "phi") and not var.sub:
                raise fail(
                    tok,
                    "gradients in parameters are not read",
                    ("a gradient in a variable such as x_t",),
                    self.text_of(i, after),
                )
            self.add("GRAD", var, i)
            self.power(above, i)
            return after
        if t == r"\mathbb" or t == r"\mathop" or t == r"\operatorname" or (t in FONTS and self.peek_word(i, end) == "E"):
            a, b, after = self.argument(i + 1, end, t)
            a, b = self.strip(a, b)
            if t == r"\mathbb" and self.plain(a, b) == "V":
                self.add("SYM", Sym("Var"), i, r"\mathbb{V}")
                return after
            if a < b and self.raw[a].text == "E" and self.run(a, b) == "E":
                below, above, _, _ = self.scripts(a + 1, b)
                self.add("EXPECT", "E", i, r"\mathbb{E}")
                return self.expectation(below, after, end, i)
        if t in (r"\E", r"\Exp", r"\EE", r"\bE"):
            self.add("EXPECT", "E", i)
            return self.expectation(None, i + 1, end, i)
        if t == "E" and self.run(i, end) == "E":
            self.add("EXPECT", "E", i)
            return self.expectation(None, i + 1, end, i)
        if t == r"\KL" or t == r"\kl" or t == r"\DKL" or t == r"\infdiv" or t == r"\kld":
            j = self.skip(i + 1, end)
            if j < end and self.raw[j].text == "{":
                self.add("KLMACRO", "KL", i)
                a, b, mid = self.argument(j, end, t)
                c, d, after = self.argument(mid, end, t)
                self.group(a, b, j)
                self.group(c, d, mid)
                return after
            self.add("KL", "KL", i)
            return i + 1
        return None

    def relation(self, i: int, end: int, t: str) -> int | None:
        """Relations of two characters, and those of one."""
        if t == ":" and i + 1 < end and self.raw[i + 1].text == "=":
            self.add("REL", ":=", i, ":=")
            return i + 2
        if t == ":" and self.skip(i + 1, end) < end and self.raw[self.skip(i + 1, end)].text == "=":
            self.add("REL", ":=", i, ":=")
            return self.skip(i + 1, end) + 1
        if t in ("=", ">", "<") and i + 1 < end and self.raw[i + 1].text == ":" and t == "=":
            self.add("REL", "=:", i, "=:")
            return i + 2
        if t in (">", "<") and i + 1 < end and self.raw[i + 1].text == "=":
            self.add("REL", t + "=", i, t + "=")
            return i + 2
        if t in RELATIONS:
            self.add("REL", RELATIONS[t], i)
            return i + 1
        return None

    def arrow(self, i: int, end: int, t: str) -> int | None:
        """An arrow: a limit, a new row, or a remark."""
        if t in (r"\rightarrow", r"\to", r"\longrightarrow", r"\leftarrow", r"\Leftarrow"):
            j = self.row_end(i, end)
            rest = self.plain(i + 1, j)
            if re.fullmatch(r"[A-Za-z ,.()-]*", rest) and (not rest or re.search(r"[A-Za-z]{2}", rest)):
                self.notes.append(f'the remark "{rest}" is not judged')
                return j
            self.add("ROW" if self.claims(i + 1, end) and self.claimed() else "REL", "->", i)
            return i + 1
        return None

    def single(self, i: int, end: int, t: str) -> int | None:
        """A label such as (*), and words of one command."""
        if t == "(" and (stars := STARS.match(self.text_of(i, min(end, i + 24)).replace(" ", ""))):
            j, seen = i, 0
            while seen < len(stars[0]):
                seen += len(self.raw[j].text)
                j += 1
            self.dropped |= {k for k in range(i, j) if self.raw[k].text in "{}"}
            self.notes.append(f"the label {stars[0]} is left out")
            return j
        if t in ONE:
            self.add(*ONE[t], i)
            return i + 1
        return None

    def script(self, i: int, end: int, t: str) -> int | None:
        """A script that stands by itself."""
        tok = self.raw[i]
        if t == "^":
            a, b, after = self.argument(i + 1, end, "the superscript")
            self.power((a, b), i)
            return after
        if t == "_":
            before = [w.type for w in self.out]
            if before[-4:-2] == ["SUP", "GOPEN"] and before[-1:] == ["GCLOSE"]:
                before = before[:-4]  # the exponent was written first
            if before[-1:] in (["DBAR"], ["NORMCLOSE"]) or before[-2:] == ["BAR", "BAR"]:
                return self.argument(i + 1, end, "the subscript")[2]  # the 2 of the Euclidean norm
            raise fail(tok, "a subscript that belongs to nothing", ("a symbol before _",), "_")
        return None

    def stop(self, i: int, end: int, t: str) -> int | None:
        """Full stops, dots, and a bold zero."""
        tok = self.raw[i]
        if t == ".":
            rest = self.plain(i + 1, end)
            if not rest or rest.startswith(("\\\\", "\\end", "\\label", "\\tag", "\\nonumber", "\\notag", "&")):
                return i + 1
            if self.text_of(i, min(i + 3, end)) == "...":
                return self.dots(i, i + 3, end)
            factor = self.plain(i + 1, i + 2) in (r"\prod", r"\frac", r"\sum", r"\dfrac")
            if factor and self.out and self.out[-1].type in ("RPAR", "GCLOSE"):
                self.notes.append("the full stop between two factors is read as a sign of multiplication")
                self.add("TIMES", r"\cdot", i)
                return i + 1
            raise fail(tok, "a full stop inside the formula", ("an expression",), ".")
        if t in ZEROS or (t in FONTS and self.peek_word(i, end) == "0"):
            self.add("NUM", Num(Fraction(0)), i)
            return i + 1 if t in ZEROS else self.argument(i + 1, end, t)[2]
        if t in (r"\cdots", r"\ldots", r"\dots", r"\dotsc") or (t == "." and self.text_of(i, min(i + 3, end)) == "..."):
            after_run = self.run_of_variables(i if t != "." else i + 2, end)
            if after_run is not None:
                return after_run
        if t in (r"\cdots", r"\ldots", r"\dots", r"\dotsc"):
            rest = self.plain(i + 1, end)
            if re.match(r"\s*(\(\d+\))?\s*(\\end|$)", rest):
                return i + 1
            return self.dots(i, i + 1, end)
        if t == NEW_STATEMENT:
            self.add("ROW", t, i)
            return i + 1
        if t == r"\vdots" or (t == "!" and not self.plain(i + 1, self.row_end(i, end))):
            return i + 1
        return None

    def text(self, i: int, end: int, t: str) -> int | None:
        """Words, a measure such as dx, a remark; a capital Pi or Sigma with limits."""
        tok = self.raw[i]
        if t in (r"\text", r"\textrm", r"\textit", r"\mathrm", r"\mbox", r"\textbf", r"\textsf"):
            taken = self.words_in_text(i, end)
            if taken is not None:
                return taken
        if t == r"\infty":
            raise fail(tok, "infinity is not read here", ("a number or a symbol",), t)
        if t in (r"\d", r"\dd", r"\diff", r"\mathrm", r"\text", "d", r"\textrm", r"\rd"):
            after_d = self.measure(i, end)
            if after_d is not None:
                return after_d
        if t in (r"\forall", r"\in"):
            j = self.row_end(i, end)
            if t == r"\in" or any(x.text == r"\in" for x in self.raw[i:j]):
                self.notes.append(f'the remark "{self.text_of(i, j)[:80]}" is not judged')
                while self.out and t == r"\in" and self.out[-1].type in ("SYM", "COMMA"):
                    self.out.pop()
                return j
            self.add("ROW", t, i)
            return i + 1
        if t in (r"\Pi", r"\Sigma") and re.match(r"\\(Pi|Sigma)\s*_\{?[a-z]=", self.text_of(i, min(end, i + 5))):
            self.raw[i] = replace(tok, text=r"\prod" if t == r"\Pi" else r"\sum")
            return self.big(i, end)
        return None

    WAYS = (layout, row, set_aside, stacked, operator, relation, arrow, single, script, stop, text)

    def row_end(self, i: int, end: int) -> int:
        while i < end and self.raw[i].text not in (r"\\", r"\end"):
            i += 1
        return i

    def claims(self, i: int, end: int) -> bool:
        """Whether a relation stands between i and the end of its row."""
        return any(x.text in RELATIONS or x.text in (r"\sim", ":") for x in self.raw[i : self.row_end(i, end)])

    def goes_on(self, i: int) -> bool:
        """Whether the row after the one that ends at i begins with a relation, and so goes on with the statement before."""
        i += 1
        while i < len(self.raw) and (self.raw[i].text in SKIP or self.raw[i].text in ("&", "~", r"\\")):
            i += 1
        return i < len(self.raw) and (self.raw[i].text in RELATIONS or self.raw[i].text == r"\sim")

    def claimed(self) -> bool:
        """Whether the statement being read has a relation already, and is complete up to here."""
        depth = 0
        if not self.out or self.out[-1].type in ("REL", "SIM", "SIGN", "TIMES", "SLASH", "COMMA", "SEMI", "LOG", "EXP", "BIG", "INT"):
            return False
        for word in reversed(self.out):
            depth += (word.type in ("RPAR", "GCLOSE", "RSUB")) - (word.type in ("LPAR", "GOPEN", "LSUB"))
            if depth < 0:
                return False
            if depth == 0 and word.type == "ROW":
                return False
            if depth == 0 and word.type in ("REL", "SIM"):
                return True
        return False

    def begins(self, i: int, end: int) -> bool:
        """Whether a new statement can begin after the space at i: no operator, no relation, no closing bracket."""
        while i < end and (self.raw[i].text in SKIP or self.raw[i].text in ("&", "~")):
            i += 1
        closes = (")", "]", r"\}", "}", "+", "-", "/", "*", ",", ";", ".", "(", "[", "|", r"\|", r"\cdot", r"\times", r"\\", "_", "^")
        if i >= end or self.raw[i].text in closes or self.raw[i].text in RELATIONS or self.raw[i].text in (r"\sim", ":"):
            return False
        return self.raw[i].text not in (r"\text", r"\tag", r"\label", r"\mathrm", r"\left", r"\cdots", r"\dots", r"\ldots")

    def dots(self, i: int, after: int, end: int) -> int:
        r"""Dots between two relations stand for steps that are not written: = \dots = is one =. Else they join factors or terms."""
        j = after
        while j < end and (self.raw[j].text in SKIP or self.raw[j].text in ("&", "~", r"\\")):
            j += 1
        last = self.out[-1].type if self.out else "ROW"
        if last == "REL" and j > after and self.raw[j - 1 : j] and j < end and self.raw[j].text in RELATIONS:
            self.notes.append("the steps that dots stand for are not written: the sides of the dots are compared")
            return j + 1
        if last in ("REL", "ROW") and j < end and self.raw[j].text in RELATIONS:
            if last == "REL":
                self.notes.append("the steps that dots stand for are not written: the sides of the dots are compared")
                return j + 1
            return j
        if last == "COMMA" and j < end and self.raw[j].text == r"\sim":
            self.out.pop()  # epsilon_1, epsilon_2, ... ~ N(0, I)
            return after
        if last in ("REL", "ROW", "COMMA"):
            raise fail(self.raw[i], "dots are not a formula", (r"\prod or \sum with limits",), self.raw[i].text)
        self.add("DOTS", "dots", i)
        return after

    def run_of_variables(self, i: int, end: int) -> int | None:
        r"""The dots at i in z_1, \ldots, z_T, in dz_1 \cdots dz_T, \int\cdots\int or \sum_{z_1}\cdots\sum_{z_T}: what stands before
        and after becomes one z_{1:T}. None if these dots mean something else."""
        i = self.skip(i + 1, end)
        last = (
            self.out[-2]
            if self.out and self.out[-1].type == "COMMA" and len(self.out) > 1
            else self.out[-1]
            if self.out
            else None
        )
        if last is None or i >= end or last.type not in ("SYM", "INT", "INTSUM", "MEASURE"):
            return None
        comma = last is not self.out[-1]
        if comma != (last.type == "SYM") or (comma and self.raw[i].text != ","):
            return None
        if last.type == "INT":
            return i if self.raw[i].text == r"\int" else None
        kept = len(self.out)
        after = self.step(self.skip(i + 1, end) if comma else i, end)
        found = self.out[-1]
        first, final = (w.value[0] if isinstance(w.value, tuple) and w.value else w.value for w in (last, found))
        if (
            len(self.out) != kept + 1
            or found.type != last.type
            or not isinstance(first, Sym)
            or not isinstance(final, Sym)
            or replace(first, sub=()) != replace(final, sub=())
            or not all(len(s.sub) == 1 and isinstance(s.sub[0], Index) for s in (first, final))
        ):
            raise fail(self.raw[i - 1], "dots between different things", (r"z_1, \ldots, z_T",), r"\ldots")
        low, high = (i for s in (first, final) for i in s.sub if isinstance(i, Index))
        whole = replace(first, sub=(Range(low, high),))
        del self.out[kept - 1 if comma else kept :]
        self.out[-1] = replace(
            last, value=(whole,) if isinstance(last.value, tuple) else whole, text=last.text + "..." + found.text
        )
        return after

    def peek_word(self, i: int, end: int) -> str:
        a, b, _ = self.argument(i + 1, end, self.raw[i].text)
        a, b = self.strip(a, b)
        return self.plain(a, b) if b - a < 30 else ""

    def number(self, i: int, end: int) -> int:
        j = i
        while (
            j < end
            and (self.raw[j].text.isdigit() or (self.raw[j].text == "." and j + 1 < end and self.raw[j + 1].text.isdigit()))
            and (j == i or not self.raw[j].spaced)
        ):
            j += 1
        text = self.text_of(i, j)
        while (after := self.thousands(j, end)) and "." not in text and 0 < len(text) <= MAX_DIGITS and text[0] != "0":
            if len(text) > 3 and j - i == len(text):
                break
            text += self.text_of(after - 3, after)
            j = after
        if len(text) > MAX_DIGITS:
            raise fail(self.raw[i], f"a number of more than {MAX_DIGITS} digits")
        if text.count(".") > 1:
            raise fail(self.raw[i], f"{text} is not a number", ("a number",), text)
        self.add("NUM", Num(Fraction(text)), i, text)
        return j

    def thousands(self, i: int, end: int) -> int | None:
        r"""Index after a group of exactly three digits set off at i, as in 786\,432, 786{,}432 and 786,432."""
        mark = [t.text for t in self.raw[i : min(i + 3, end)]]
        j = i + 1 if mark[:1] in ([r"\,"], [","]) else i + 3 if mark == ["{", ",", "}"] else end
        digits = [t.text.isdigit() and not t.spaced for t in self.raw[j : min(j + 4, end)]]
        return j + 3 if digits[:3] == [True] * 3 and digits[3:] != [True] else None

    def law(self, a: int, b: int, at: int) -> None:
        self.add("LSUB", "_", at, "_")
        start = a
        for i in range(a, b):
            if self.raw[i].text == r"\sim":
                j, k = self.skip(start, i), self.skip(i + 1, b)
                if self.raw[j].text == "(" and self.raw[i - 1].text == ")":  # (x_0, x_T) ~ q(x_0, x_T)
                    self.emit(j + 1, i - 1)
                    start = i
                if k < b and self.raw[k].text == "[" and "]" in [x.text for x in self.raw[k:b]]:  # t ~ [1, T]
                    self.emit(start, i)
                    start = next(n for n in range(k, b) if self.raw[n].text == "]") + 1
        self.emit(start, b)
        self.out.append(
            Word("RSUB", "_", self.raw[min(b, len(self.raw) - 1)].line, self.raw[min(b, len(self.raw) - 1)].column, "}")
        )

    def expectation(self, inner: tuple[int, int] | None, i: int, end: int, at: int) -> int:
        below, above, _, after = self.scripts(i, end)
        sub = below or inner
        if below and inner:
            raise fail(self.raw[at], "an expectation with two laws", ("one subscript",), self.text_of(at, after))
        if sub is not None:
            self.law(*sub, at)
        if above is not None:
            raise fail(self.raw[at], "an expectation with a superscript", ("a subscript with its law",), "^")
        return after

    def function(self, name: str, at: int, i: int, end: int) -> int:
        below, above, _, after = self.scripts(i, end)
        if name in ("log", "ln", "exp"):
            if below is not None and self.plain(*below) != "e":
                raise fail(self.raw[at], "only natural logarithms are read", (r"\log without a base",), self.text_of(at, after))
            self.add("EXP" if name == "exp" else "LOG", name, at)
            if above is not None:
                raise fail(self.raw[at], f"write ({name} ...)^2 with brackets", (f"({name} ...)^2",), "^")
            return after
        if name == "arg":
            return after
        self.add("OPT", "max" if name in ("max", "argmax", "sup") else "min", at)
        return after

    def big(self, i: int, end: int) -> int:
        tok = self.raw[i]
        kind = tok.text
        below, above, _, after = self.scripts(i + 1, end)
        if kind.endswith("int"):
            over: tuple[Sym, ...] = ()
            if below is not None:
                over = self.variables(*below) or ()
            self.integrals += 1
            self.add("INT", over, i)
            return after
        name = "sum" if kind == r"\sum" else "prod"
        if below is None:
            raise fail(
                tok, f"{kind} does not say over what", (f"{kind}_{{t=1}}^T", f"{kind}_z"), self.text_of(i, min(end, i + 4))
            )
        limits = self.limits(*below)
        if limits is None:
            over = self.variables(*below) or ()
            if not over:
                raise fail(
                    self.raw[below[0]],
                    f"cannot read what {kind} runs over",
                    ("t=1", "t>1", "a variable such as z"),
                    self.text_of(*below),
                )
            if name == "prod":
                raise fail(tok, "a product over a variable is not read", (r"\prod_{t=1}^T",), self.text_of(i, after))
            self.add("INTSUM", over, i)
            return after
        var, low, high = limits
        if above is not None:
            top = self.index(*above)
            if top is None:
                raise fail(self.raw[above[0]], "cannot read the upper limit", ("T", "T-1", "a number"), self.text_of(*above))
            high = top
        if low is not None and high is not None and low.var and not high.var:
            low, high = high, low  # a product written downwards: t=T ... 1
        self.add("BIG", (name, var, low, high), i)
        return after

    def limits(self, a: int, b: int) -> tuple[str, Index | None, Index | None] | None:
        """(index letter, low, high) of `t=2`, `t>1`, `2 \\le t \\le T`, `t`; None if a..b is no index."""
        a, b = self.strip(a, b)
        pieces, rels, start = [], [], a
        for i in range(a, b):
            text = self.raw[i].text
            if text in ("=", "<", ">", r"\lt", r"\gt", r"\le", r"\leq", r"\ge", r"\geq", r"\leqslant", r"\geqslant"):
                pieces.append((start, i))
                rels.append(
                    {
                        r"\lt": "<",
                        r"\gt": ">",
                        r"\le": "<=",
                        r"\leq": "<=",
                        r"\ge": ">=",
                        r"\geq": ">=",
                        r"\leqslant": "<=",
                        r"\geqslant": ">=",
                    }.get(text, text)
                )
                start = i + 1
        pieces.append((start, b))
        found = [self.index(*p) for p in pieces]
        if any(f is None for f in found):
            return None
        indices = [f for f in found if f is not None]
        if not rels:
            only = indices[0]
            return (only.var, None, None) if only.var and not only.shift and only.var not in "TN" else None

        def shifted(x: Index, by: int) -> Index:
            return replace(x, shift=x.shift + by)

        low = high = None
        if len(rels) == 1:
            var, bound, rel = indices[0], indices[1], rels[0]
            if rel in ("=", ">", ">="):
                low = shifted(bound, rel == ">")
            else:
                high = shifted(bound, -(rel == "<"))
        elif len(rels) == 2 and all(r in ("<", "<=") for r in rels):
            low, var, high = shifted(indices[0], rels[0] == "<"), indices[1], shifted(indices[2], -(rels[1] == "<"))
        elif len(rels) == 2 and all(r in (">", ">=") for r in rels):
            high, var, low = shifted(indices[0], -(rels[0] == ">")), indices[1], shifted(indices[2], rels[1] == ">")
        else:
            return None
        if not var.var or var.shift:
            return None
        return var.var, low, high

    def variables(self, a: int, b: int) -> tuple[Sym, ...] | None:
        """a..b as a list of variables (z, or x_0, x_{1:T}); None if it is none."""
        out: list[Sym] = []
        i = a
        while i < b:
            i = self.skip(i, b)
            if i >= b:
                break
            if self.raw[i].text == ",":
                i += 1
                continue
            if self.raw[i].text in (r"\in", r"\sim"):
                return tuple(out)
            found = self.symbol(i, b)
            if found is None or found[1] is not None:
                return None
            out.append(found[0])
            i = found[2]
        return tuple(out)

    def measure(self, i: int, end: int) -> int | None:
        """`dz`, `\\mathrm{d}z`, `d_{x_{1:T}}` inside an integral."""
        if self.integrals <= 0:
            return None
        tok = self.raw[i]
        if tok.text in (r"\mathrm", r"\text", r"\textrm"):
            if self.peek_word(i, end) != "d":
                return None
            j = self.argument(i + 1, end, tok.text)[2]
        else:
            j = i + 1
        j = self.skip(j, end)
        while j < end and self.raw[j].text == "{":
            self.dropped |= {j, self.match[j]}
            j = self.skip(j + 1, end)
        if j < end and self.raw[j].text == "_":
            a, b, after = self.argument(j + 1, end, "the measure")
            over = self.variables(a, b)
            if not over:
                return None
            for s in over:
                self.add("MEASURE", s, i)
            return after
        found = self.symbol(j, end)
        if found is None or found[1] is not None or found[0].name in WORDS or found[0].name in ("p", "q"):
            return None
        self.add("MEASURE", found[0], i, self.text_of(i, found[2]))
        return found[2]

    def words_in_text(self, i: int, end: int) -> int | None:
        """A remark in \\text{...}: dropped, or ends the statement; None if it is a symbol after all."""
        t = self.raw[i].text
        a, b, after = self.argument(i + 1, end, t)
        content = self.text_of(a, b).strip()
        word = self.plain(a, b)
        if word in WORDS or re.fullmatch(r"[A-Za-z]", word) or word in ("Var", "Cov", "const", "const.", "data"):
            return None
        if after < end and self.raw[after].text in ("_", "^", "'"):
            return None
        if t == r"\mathrm" and re.fullmatch(r"[A-Za-z]+", word) and word not in ("where", "and", "with", "if", "for", "since"):
            return None
        k = after
        while k < end and self.raw[k].text in (*SKIP, "&", "~"):
            k += 1
        following = self.raw[k].text if k < end else ""
        starts = not self.out or self.out[-1].type == "ROW"
        if re.fullmatch(r"[A-Za-z]{2,20}", word) and (following == "(" or (starts and following in RELATIONS)):
            self.add("SYM", Sym(word), i, word)
            return after
        if word == "0":
            return None
        j = after
        while j < end and self.raw[j].text not in (r"\\", r"\end"):
            j += 1
        if REMARK.match(content):
            if self.claims(after, j):
                began = len(self.out)
                self.add("ROW", content, i)  # a clause after where, with or since is a claim like any other
                if self.goes_on(j):
                    self.emit(after, j)
                    self.aside += self.out[began:]
                    del self.out[began:]
                    return j
                return after
            rest = self.text_of(i, j)
            self.notes.append(f'the remark "{rest[:80]}" is not judged')
            return j
        if content.startswith(";") and not starts and not self.claims(after, j):
            self.notes.append(f'the remark "{self.text_of(i, j)[:80]}" is not judged')
            return j
        if re.fullmatch(r"\W*(if|for|when|and|for all|with)\W*", content):
            self.add("ROW", content, i)
            return after
        self.notes.append(f'the remark "{content[:80]}" is not judged')
        return after

    def named(self, found: tuple[Sym, tuple[int, int] | None, int], i: int, end: int) -> int:
        """Emit a symbol: density letters, KL, functions and plain symbols."""
        sym, power, after = found
        text = self.text_of(i, after)
        if sym.name == "Log":
            sym = replace(sym, name="log")
        if sym.name in ("log", "ln", "exp", "max", "min", "argmax", "argmin"):
            return self.function(sym.name, i, i + len(sym.name) if self.raw[i].text.isalpha() else after, end)
        if sym.name == "L" and "ELBO" in sym.labels:
            sym = replace(sym, name="ELBO", labels=tuple(x for x in sym.labels if x != "ELBO"))
        if sym.name == "KL" or (sym.name == "D" and any(x.replace(" ", "").upper() == "KL" for x in sym.labels)):
            self.add("KL", "KL", i, text)
            return after
        if sym.name in ("p", "q", "P", "Q") and "prime" not in sym.marks:
            kept = [x for x in sym.labels if x not in ("model",)]
            kept += [
                str(s.shift) if not s.var else s.var + (f"{s.shift:+d}" if s.shift else "")
                for s in sym.sub
                if isinstance(s, Index)
            ]
            kept += [m for m in sym.marks]
            self.add("DENS", (sym.name.lower(), tuple(kept)), i, text)
            self.power(power, i)
            return after
        if sym.name == "e" and power is not None and not sym.sub:
            self.add("EXP", "exp", i, text)
            self.group(*power, i)
            return after
        self.add("SYM", sym, i, text)
        if power is not None and sym.name in ("sigma", "Sigma", "mu", "beta", "alpha") and self.raw[after : after + 1]:
            called = re.match(r"\((t(-1)?|s|T|\\eta)\)", self.text_of(after, min(end, after + 7)).replace(" ", ""))
            if called and after < end:
                close = next(k for k in range(after, end) if self.raw[k].text == ")")
                self.emit(after, close + 1)
                after = close + 1
        self.power(power, i)
        return after


# ------------------------------------------------------------------------------------------- brackets and context

NEW_STATEMENT = r"\endlet"  # what stands after a let row, also where the text goes on with a minus
OPENERS = ("COVOPEN", "LPAR", "GOPEN", "NORMOPEN", "LSUB", "DENSOPEN", "KLOPEN", "NORMALOPEN", "APPLYOPEN", "INFOOPEN")
SHOWN = {"GOPEN": "{", "LSUB": "_{", "NORMOPEN": r"\|"}
FUNCTIONS = {"SNR", "mu", "Var", "Cov", "f", "g", "F", "score"}


def words(text: str) -> tuple[list[Word], list[str]]:
    """The typed words of a formula, brackets matched, and remarks that were left out.

    Raises ReadError with the place for what cannot be read.
    """
    if not isinstance(text, str):
        raise TypeError(f"a formula is text, not {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise ReadError(f"the formula has {len(text)} characters; the limit is {MAX_LENGTH}")
    emitter = Emitter(text)
    if not emitter.raw:
        raise ReadError("there is no formula", 1, 1, ("a statement such as p(x, z) = p(x|z) p(z)",), "nothing")
    emitter.emit(0, len(emitter.raw))
    if emitter.environments:
        name, tok = emitter.environments[-1]
        raise fail(tok, f"\\begin{{{name}}} is never closed", (f"\\end{{{name}}}",), "the end of the input")
    out = double_bars(emitter.out + emitter.aside)
    out, notes = stray_law_arguments(out)
    out = brackets(out)
    out, more = ends(rows(out), any(note.startswith("the label") for note in emitter.notes))
    notes += more
    out = integrals(out)
    if not out:
        raise ReadError("there is no formula", 1, 1, ("a statement such as p(x, z) = p(x|z) p(z)",), "nothing")
    return out, emitter.notes + notes


def double_bars(items: list[Word]) -> list[Word]:
    r"""Two bars of one kind are a double bar: || or \mid\mid, but not \mid|. Of three, the first is a condition: x | ||y||."""
    out: list[Word] = []
    for n, word in enumerate(items):
        three = n + 1 < len(items) and (items[n + 1].type, items[n + 1].text) == ("BAR", word.text)
        if word.type == "BAR" and out and (out[-1].type, out[-1].text) == ("BAR", word.text) and not three:
            out[-1] = replace(out[-1], type="DBAR", text="||")
        else:
            out.append(word)
    return out


def closing(items: list[Word], i: int) -> int:
    """Index of the RPAR that closes the LPAR at i, counting round and square brackets alike; -1 if there is none."""
    depth = 0
    for j in range(i, len(items)):
        if items[j].type == "LPAR":
            depth += 1
        elif items[j].type == "RPAR":
            depth -= 1
            if depth == 0:
                return j
    return -1


def stray_law_arguments(items: list[Word]) -> tuple[list[Word], list[str]]:
    r"""E_{q_\phi}(z|x) [...]: the law's arguments stand beside the subscript; they are moved into it, with a note."""
    out, notes, i = [], [], 0
    while i < len(items):
        pattern = [w.type for w in items[i : i + 5]]
        if pattern == ["EXPECT", "LSUB", "DENS", "RSUB", "LPAR"]:
            close = closing(items, i + 4)
            inside = items[i + 5 : close]
            if (
                close > 0
                and close + 1 < len(items)
                and items[close + 1].type == "LPAR"
                and all(w.type in ("SYM", "COMMA", "BAR") for w in inside)
                and any(w.type == "BAR" for w in inside)
            ):
                notes.append(
                    f"the arguments {''.join(w.text for w in items[i + 4 : close + 1])} stand beside the subscript of the "
                    "expectation; read as part of its law"
                )
                out += [items[i], items[i + 1], items[i + 2], *items[i + 4 : close + 1], items[i + 3]]
                i = close + 1
                continue
        out.append(items[i])
        i += 1
    return out, notes


def brackets(items: list[Word]) -> list[Word]:
    """Match all brackets, name what each opens, and settle bars: condition, separator of a KL, or norm."""
    stack: list[int] = []  # positions in out
    out: list[Word] = []
    for n, word in enumerate(items):
        top = out[stack[-1]] if stack else None
        last = out[-1] if out else None
        if word.type == "LPAR":
            if (last is not None and last.type in ("DENS", "KL")) or (
                last is not None and last.type == "SYM" and opens_call(last, items, n)
            ):
                assert last is not None
                sym = last.value
                if last.type == "DENS":
                    kind = "DENSOPEN"
                elif last.type == "KL":
                    kind = "KLOPEN"
                elif isinstance(sym, Sym) and sym.name == "N":
                    kind = "NORMALOPEN"
                elif isinstance(sym, Sym) and sym.name in ("H", "I"):
                    kind = "INFOOPEN"
                elif isinstance(sym, Sym) and sym.name in ("Var", "Cov"):
                    kind = "COVOPEN"
                elif isinstance(sym, Sym) and sym.name == "D" and _between_laws(items, n):
                    kind = "KLOPEN"
                else:
                    kind = "APPLYOPEN"
                out[-1] = Word(kind, (last.value, word.value), last.line, last.column, last.text + word.text)
                stack.append(len(out) - 1)
            else:
                stack.append(len(out))
                out.append(word)
        elif word.type in ("GOPEN", "LSUB") or (word.type == "NORMOPEN" and not _separates(word, top, out, stack, items, n)):
            stack.append(len(out))
            out.append(word)
        elif word.type in ("NORMOPEN", "NORMCLOSE") and _separates(word, top, out, stack, items, n):
            out.append(replace(word, type="KLSEP"))  # \rVert or \lVert between the two laws of a KL
        elif word.type in ("RPAR", "GCLOSE", "RSUB", "NORMCLOSE"):
            if top is None:
                raise fail(word, f"this {word.text} closes nothing", ("an opening bracket before it",), word.text)
            want = wanted(top)
            if want != (word.value if word.type == "RPAR" else word.type):
                shown = {"GCLOSE": "}", "RSUB": "}", "NORMCLOSE": r"\|"}.get(want, want)
                raise fail(
                    word,
                    f"{top.text} from line {top.line}, column {top.column} is still open here, so the brackets cross",
                    (shown,),
                    word.text,
                )
            stack.pop()
            out.append(word)
        elif word.type == "DBAR":
            if top is not None and top.type == "KLOPEN" and not any(w.type == "KLSEP" for w in level(out, stack[-1])):
                out.append(replace(word, type="KLSEP"))
            elif top is not None and top.type == "NORMOPEN":
                stack.pop()
                out.append(replace(word, type="NORMCLOSE"))
            elif top is not None and top.type in ("DENSOPEN", "LSUB"):
                raise fail(
                    word,
                    f"{top.text} from line {top.line}, column {top.column} is still open before the separator of a KL",
                    (")" if top.type == "DENSOPEN" else "}",),
                    word.text,
                )
            else:
                stack.append(len(out))
                out.append(replace(word, type="NORMOPEN"))
        elif word.type in ("BAR", "COMMA", "SEMI") and top is not None and top.type == "KLOPEN":
            out.append(replace(word, type="KLSEP"))
        else:
            out.append(word)
        if len(stack) > MAX_NESTING:
            raise fail(word, f"more than {MAX_NESTING} brackets are nested here")
    if stack:
        top = out[stack[-1]]
        raise fail(top, f"{top.text} is never closed", (shown_close(top),), "the end of the input")
    for word in out:
        if word.type == "KL":
            raise fail(word, "KL without its two distributions", (r"KL(q \| p)",), word.text)
    return out


def _separates(word: Word, top: Word | None, out: list[Word], stack: list[int], items: list[Word], n: int) -> bool:
    """Is this bar of a norm the separator of a KL? One that opens is, unless one closes it before the KL ends."""
    if top is None or top.type != "KLOPEN" or any(w.type == "KLSEP" for w in level(out, stack[-1])):
        return False
    if word.type == "NORMCLOSE":
        return True
    depth = 0
    for w in items[n + 1 :]:
        depth += (w.type == "LPAR") - (w.type == "RPAR")
        if depth < 0:
            return True
        if w.type == "NORMCLOSE":
            return False
    return True


def _between_laws(items: list[Word], n: int) -> bool:
    """Does the bracket at items[n] after a D hold two laws, as in D(q | p), or what a denoiser D is asked, as in D(x; sigma)?"""
    inside = items[n + 1 : max(closing(items, n), n + 1)]
    return any(w.type in ("DBAR", "DENS", "NORMOPEN") or (isinstance(w.value, Sym) and w.value.name == "N") for w in inside)


def level(out: list[Word], start: int) -> list[Word]:
    """The words directly inside the bracket that opened at `start`."""
    depth, inside = 0, []
    for word in out[start + 1 :]:
        if word.type in OPENERS:
            depth += 1
        elif word.type in ("RPAR", "GCLOSE", "RSUB", "NORMCLOSE"):
            depth -= 1
        elif depth == 0:
            inside.append(word)
    return inside


def wanted(top: Word) -> str:
    if top.type == "LPAR":
        return CLOSES[str(top.value)]
    if isinstance(top.value, tuple) and top.type.endswith("OPEN"):
        return CLOSES[str(top.value[1])]
    return {"GOPEN": "GCLOSE", "LSUB": "RSUB", "NORMOPEN": "NORMCLOSE"}[top.type]


def shown_close(top: Word) -> str:
    return {"GCLOSE": "}", "RSUB": "}", "NORMCLOSE": r"\|"}.get(wanted(top), wanted(top))


def opens_call(last: Word, items: list[Word], n: int) -> bool:
    """Does the bracket at items[n], right after the symbol `last`, hold the arguments of a function?"""
    sym = last.value
    assert isinstance(sym, Sym)
    close = closing(items, n)
    inside = items[n + 1 : close] if close > 0 else items[n + 1 :]
    flat, depth = [], 0
    for word in inside:
        depth += (word.type in ("LPAR", "GOPEN", "LSUB")) - (word.type in ("RPAR", "GCLOSE", "RSUB"))
        if depth == 0 or (depth == 1 and word.type in ("LPAR", "GOPEN", "LSUB")):
            flat.append(word)
    kinds = {w.type for w in flat}
    if sym.name == "N":
        return True
    if sym.name == "H":
        return True
    if sym.name == "I":
        return bool(kinds & {"SEMI", "COMMA", "BAR"})
    if sym.name == "D" and not sym.labels and "DBAR" in kinds:
        return True
    if sym.name in FUNCTIONS or {"theta", "phi", "vartheta"} & set(sym.labels) or sym.name in ("ELBO", "VLB", "NELBO"):
        return True
    if "COMMA" in kinds or "SEMI" in kinds or (len(sym.name) > 1 and sym.name not in GREEK):
        return True
    if sym.name in ("L", "F", "J") and len(inside) == 1 and inside[0].type == "DENS":
        return True
    only = inside[0].value if len(inside) == 1 else None
    if isinstance(only, Sym) and _named_function(sym, only):
        return True
    if isinstance(only, Sym) and only.name in ("x", "z") and {"hat", "tilde"} & set(sym.marks):
        return True
    return (isinstance(only, Sym) and not only.sub and only.name in ("t", "s", "T", "theta", "phi")) or (
        isinstance(only, Sym) and sym.name == "L" and only.name in ("x", "theta", "phi", "q")
    )


def _named_function(sym: Sym, of: Sym) -> bool:
    r"""lambda(sigma), u_t(x), D(x), c_{skip}(sigma): letters that no text multiplies with such a bracket."""
    if sym.name == "c":
        return any(len(x) > 1 for x in sym.labels)
    if of == Sym("eta"):
        return sym.name == "sigma"
    return (sym.name in ("lambda", "w") and of == Sym("sigma")) or (sym.name in ("u", "D") and of.name == "x")


def rows(items: list[Word]) -> list[Word]:
    """Keep a ROW word only where a new statement begins: not inside brackets, not before or after an operator."""
    out: list[Word] = []
    depth = 0
    for n, word in enumerate(items):
        if word.type in OPENERS:
            depth += 1
        elif word.type in ("RPAR", "GCLOSE", "RSUB", "NORMCLOSE"):
            depth -= 1
        if depth == 0 and word.type in ("COMMA", "SEMI"):
            word = replace(word, type="ROW")
        if word.type == "REL" and n and items[n - 1].type == "ROW" and out and out[-1].type == "REL" and out[-1].value == word.value:
            continue  # a = at the end of a row, and again at the beginning of the next
        if word.type == "ROW":
            following = next((w for w in items[n + 1 :] if w.type not in ("ROW", "COMMA", "SEMI")), None)
            if (
                depth
                or not out
                or out[-1].type in ("ROW", "REL", "SIM", "SIGN", "TIMES", "SLASH")
                or following is None
                or (word.value != NEW_STATEMENT and following.type in ("REL", "SIM", "SIGN", "TIMES", "SLASH"))
            ):
                continue
        out.append(word)
    return out


def ends(items: list[Word], labelled: bool) -> tuple[list[Word], list[str]]:
    """Relations with nothing on one side: the = that a display starts with belongs to the display before; the one that it ends
    with, to a label (**) that stood there."""
    out, notes = list(items), []
    if len(out) > 1 and out[0].type in ("REL", "SIM"):
        notes.append(
            f"the left side is missing: the display starts with {out[0].text} and continues another one; write what stands left of it"
        )
        out = out[1:]
    if labelled and out and out[-1].type == "REL":
        out = out[:-1]
    return out, notes


def integrals(items: list[Word]) -> list[Word]:
    r"""Pair each \int with its measures: INTOPEN ... MEASURE, or INTPRE when the measure (or \int_z) comes first."""
    out: list[Word] = []
    open_: list[list[int]] = [[]]  # per bracket depth, positions in out of integrals without measure

    def settle() -> None:
        for k in open_[-1]:
            if not out[k].value:
                raise fail(out[k], "this integral does not say over what", ("a measure such as dz",), "the end of the term")
            out[k] = replace(out[k], type="INTPRE")
        open_[-1].clear()

    i = 0
    while i < len(items):
        word = items[i]
        if word.type in OPENERS:
            open_.append([])
            out.append(word)
        elif word.type in ("RPAR", "GCLOSE", "RSUB", "NORMCLOSE"):
            settle()
            if len(open_) > 1:
                open_.pop()
            out.append(word)
        elif word.type in ("REL", "SIM", "ROW") and len(open_) == 1:
            settle()
            out.append(word)
        elif word.type == "INTSUM":
            out.append(replace(word, type="INTPRE"))
        elif word.type == "INT":
            j = i + 1
            while j < len(items) and items[j].type == "INT":
                j += 1
            measures = []
            k = j
            while k < len(items) and items[k].type == "MEASURE":
                measures.append(items[k].value)
                k += 1
            if measures:
                out.append(replace(word, type="INTPRE", value=tuple(measures)))
                i = k
                continue
            open_[-1].append(len(out))
            out.append(word)
            i = j
            continue
        elif word.type == "MEASURE":
            k = i
            while k < len(items) and items[k].type == "MEASURE":
                k += 1
            run = items[i:k]
            if not open_[-1]:
                raise fail(word, f"{word.text} belongs to no integral", (r"\int before it",), word.text)
            while run:
                at = open_[-1].pop()
                share = len(run) if not open_[-1] else 1
                out[at] = replace(out[at], type="INTOPEN")
                out.append(replace(run[0], value=tuple(w.value for w in run[:share])))
                run = run[share:]
            i = k
            continue
        else:
            out.append(word)
        i += 1
    settle()
    return out
