"""Random trees, printed in random spellings, read back as the same trees; random text never crashes or hangs the reader."""

import contextlib
import random
import string
import time
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from course.equations import judge, judge_derivation
from course.equations.evidence import KINDS
from course.equations.reading.reader import ReadError, read, read_statement
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
    Grad,
    Index,
    Integral,
    Law,
    Mul,
    Neg,
    Normal,
    Num,
    Pow,
    Range,
    Sym,
    latex,
    outline,
)

# shrinking such trees takes minutes; the spelling that failed is printed instead
SLOW = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

# --------------------------------------------------------------------------------------------------- random trees

indices = st.one_of(
    st.builds(Index, st.just(""), st.integers(0, 5)),
    st.builds(Index, st.sampled_from(["t", "T", "s"]), st.integers(-2, 2)),
)
scripts = st.one_of(indices, st.builds(Range, indices, indices))
variables = st.builds(
    Sym,
    st.sampled_from(["x", "z"]),
    st.one_of(st.just(()), st.tuples(scripts)),
    st.sampled_from([(), (), (), ("prime",), ("hat",)]),
    st.sampled_from([(), (), (), ("(i)",)]),
)
quantities = st.builds(
    Sym,
    st.sampled_from(["alpha", "beta", "sigma", "epsilon", "mu"]),
    st.one_of(st.just(()), st.tuples(indices)),
    st.sampled_from([(), ("bar",), ("tilde",)]),
)


@st.composite
def densities(draw):
    args = draw(st.lists(variables, min_size=1, max_size=3, unique=True))
    given = draw(st.lists(variables, max_size=2, unique=True))
    return Density(draw(st.sampled_from("pq")), tuple(args), tuple(g for g in given if g not in args))


numbers = st.builds(lambda n, d: Num(Fraction(n, d)), st.integers(0, 30), st.sampled_from([1, 1, 1, 2, 3]))
leaves = st.one_of(densities(), densities(), quantities, numbers)


def fraction(top, bottom):
    return (
        Num(top.value / bottom.value) if isinstance(top, Num) and isinstance(bottom, Num) and bottom.value else Div(top, bottom)
    )


def extend(inner):
    return st.one_of(
        st.builds(lambda ts: Add(tuple(ts)), st.lists(st.one_of(inner, st.builds(Neg, inner)), min_size=2, max_size=3)),
        st.builds(lambda fs: Mul(tuple(fs)), st.lists(inner, min_size=2, max_size=3)),
        st.builds(fraction, inner, inner),
        st.builds(Pow, inner, st.builds(Num, st.integers(2, 4).map(Fraction))),
        st.builds(Func, st.sampled_from(["log", "exp", "sqrt"]), inner),
        st.builds(
            Func, st.just("norm"), st.one_of(densities(), quantities)
        ),  # a norm right inside a norm has no clear spelling
        st.builds(lambda d, b: Expect((Law((), d),), b), densities(), inner),
        st.builds(lambda s, b: Expect((Law((s,), None),), b), variables, inner),
        st.builds(KL, densities(), densities()),
        st.builds(Normal, variables, inner, inner),
        st.builds(Grad, variables, inner),
        st.builds(lambda a: Apply(Sym("epsilon", (), (), ("theta",)), (a, Sym("t"))), variables),
        st.builds(
            lambda k, low, high, body: Big(k, "t", low, high, body),
            st.sampled_from(["sum", "prod"]),
            st.builds(Index, st.just(""), st.integers(0, 3)),
            st.one_of(st.none(), st.builds(Index, st.just("T"), st.integers(-1, 0))),
            inner,
        ),
        st.builds(lambda vs, b: Integral(tuple(vs), b), st.lists(variables, min_size=1, max_size=2, unique=True), inner),
    )


trees = st.recursive(leaves, extend, max_leaves=8)
RELATIONS = ["=", ">=", "<=", ">", "<", ":=", "~="]
chains = st.builds(
    lambda ts, rs: Chain(tuple(ts), tuple(rs[: len(ts) - 1])),
    st.lists(trees, min_size=2, max_size=3),
    st.lists(st.sampled_from(RELATIONS), min_size=2, max_size=2),
)


# --------------------------------------------------------------------------------------------- random spellings


class Speller:
    """Writes a tree as LaTeX, choosing among the ways people write it."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def any(self, *choices):
        return self.r.choice(choices)

    def space(self):
        return self.any("", " ", " ", r"\,", r"\; ", r"\quad ")

    def name(self, name):
        if name == "epsilon":
            return self.any(r"\epsilon", r"\varepsilon", r"\boldsymbol\epsilon", r"\bm{\epsilon}")
        if name == "t":
            return name
        if len(name) > 1:
            return "\\" + name
        return self.any(
            name, name, rf"\mathbf{{{name}}}", rf"\mathbf {name}", rf"\boldsymbol{{{name}}}", rf"\b{name}", name.upper()
        )

    def index(self, i):
        if not i.var:
            return str(i.shift)
        sign = self.any("", " ")
        return i.var + (f"{sign}{'+' if i.shift > 0 else '-'}{sign}{abs(i.shift)}" if i.shift else "")

    def script(self, i):
        return self.index(i) if isinstance(i, Index) else f"{self.index(i.low)}{self.any(':', ' : ')}{self.index(i.high)}"

    def sym(self, s):
        out = self.name(s.name)
        for mark in s.marks:
            if mark == "bar":
                out = self.any(rf"\bar{{{out}}}", rf"\overline{{{out}}}")
            elif mark in ("tilde", "hat"):
                out = self.any(rf"\{mark}{{{out}}}", rf"\wide{mark}{{{out}}}")
        sub = [*s.labels, *s.sub]
        text = ", ".join("\\theta" if x == "theta" else self.script(x) for x in sub if not (isinstance(x, str) and x[0] == "("))
        below = (f"_{text}" if len(text) == 1 and self.r.random() < 0.5 else f"_{{{text}}}") if text else ""
        sup = "(i)" if "(i)" in s.labels else ""
        above = f"^{{{sup}}}" if sup else ""
        prime = self.any("'", r"^\prime", r"^{\prime}") if "prime" in s.marks else ""
        if prime and above:
            prime = "'"
        return out + self.any(below + above + prime if not (prime and above) else below + prime + above, below + prime + above)

    def args(self, items):
        return self.any(",", ", ").join(self.sym(s) for s in items)

    def open(self, a, b):
        return self.any((a, b), (rf"\left{a}", rf"\right{b}"), (rf"\big{a}", rf"\big{b}"), (rf"\Bigl{a}", rf"\Bigr{b}"))

    def density(self, d):
        a, b = self.open("(", ")")
        head = d.letter + self.any("", r"_\theta", r"_{\phi}", r"_{\boldsymbol\theta}")
        bar = self.any("|", r"\mid ", r"\,|\,", r"\vert ", r" \given ")
        return f"{head}{a}{self.args(d.args)}" + (bar + self.args(d.given) if d.given else "") + b

    def bracket(self, node):
        kind = self.any(("(", ")"), ("[", "]"), (r"\{", r"\}"))
        a, b = self.open(*kind)
        return f"{a}{self.spell(node)}{b}"

    def tight(self, node):
        """A spelling that holds together beside anything."""
        if isinstance(node, Density | Sym | KL | Normal | Apply | Div):
            return self.spell(node)
        if isinstance(node, Num):
            return self.spell(node)
        return self.bracket(node)

    def law(self, law):
        if law.dist is None:
            return self.args(law.vars)
        d = law.dist
        return self.density(d) if self.r.random() < 0.6 else rf"{self.args(d.args)} \sim {self.density(d)}"

    def spell(self, node):
        s = self.space
        match node:
            case Num(v):
                return (
                    str(v)
                    if v.denominator == 1
                    else self.any(rf"\frac{{{v.numerator}}}{{{v.denominator}}}", rf"\dfrac{{{v.numerator}}}{{{v.denominator}}}")
                )
            case Sym():
                return self.sym(node)
            case Density():
                return self.density(node)
            case Add(terms):
                out = ""
                for k, t in enumerate(terms):
                    negative = isinstance(t, Neg)
                    body = (
                        self.bracket(t.body)
                        if negative and isinstance(t.body, Add | Neg)
                        else self.term(t.body if negative else t)
                    )
                    out += f"{s()}-{s()}{body}" if negative else (f"{s()}+{s()}{body}" if k else body)
                return out
            case Neg(body):
                return "-" + (self.bracket(body) if isinstance(body, Add | Neg) else self.term(body))
            case Mul(factors):
                parts = [self.tight(f) for f in factors]
                out = parts[0]
                for before, after, node_before, node_after in zip(parts, parts[1:], factors, factors[1:], strict=False):
                    digits = isinstance(node_before, Num) and isinstance(node_after, Num)
                    call = isinstance(node_before, Sym)  # a symbol before a bracket could be read as a function
                    out += (
                        self.any(r" \cdot ", r"\times ") if digits or call else self.any(" ", r" \cdot ", r"\,", " * ")
                    ) + after
                    del before
                return out
            case Div(top, bottom):
                head = self.any(r"\frac", r"\dfrac", r"\tfrac")
                return f"{head}{{{self.spell(top)}}}{s()}{{{self.spell(bottom)}}}"
            case Pow(base, exponent):
                e = self.spell(exponent)
                return f"{self.bracket(base)}^{e if len(e) == 1 and self.r.random() < 0.5 else '{' + e + '}'}"
            case Func("sqrt", body):
                return rf"\sqrt{{{self.spell(body)}}}"
            case Func("norm", body):
                a, b = self.any((r"\|", r"\|"), (r"\lVert ", r"\rVert "), (r"\left\|", r"\right\|"), ("||", "||"))
                return f"{a}{self.spell(body)}{b}" + self.any("", "_2")
            case Func(name, body):
                return self.any("\\" + name, "\\" + ("ln" if name == "log" else name)) + s() + self.bracket(body)
            case Apply(head, args):
                return f"{self.sym(head)}({', '.join(self.spell(a) for a in args)})"
            case Grad(var, body):
                return rf"\nabla_{{{self.sym(var)}}} {self.bracket(body)}"
            case Normal(x, mean, cov):
                sep = self.any(";", r"\mid ", "|", ",") if not isinstance(x, Density) else ";"
                head = self.any(r"\mathcal{N}", r"\mathcal N", "N")
                return f"{head}({self.spell(x)}{sep} {self.spell(mean)}, {self.spell(cov)})"
            case Expect(laws, body):
                e = self.any(r"\mathbb{E}", r"\mathbb E", "E", r"\mathop{\mathbb{E}}")
                sub = ", ".join(self.law(x) for x in laws)
                if self.r.random() < 0.15:
                    return rf"\underset{{{sub}}}{{\mathbb{{E}}}}{self.bracket(body)}"
                gap = self.any("", " ", r"\!")
                return f"{e}_{{{sub}}}{gap}{self.bracket(body)}"
            case KL(left, right):
                if self.r.random() < 0.1:
                    return rf"\KL{{{self.spell(left)}}}{{{self.spell(right)}}}"
                head = self.any("D_{KL}", r"D_{\mathrm{KL}}", r"\mathrm{KL}", "KL", r"D_\text{KL}", r"\mathcal{D}_{\rm KL}")
                a, b = self.any(("(", ")"), ("[", "]"), (r"\left(", r"\right)"))
                bars = self.any("||", r"\| ", r" \parallel ", r" \,\|\, ", r"\Vert ", r" \mid\mid ")
                return f"{head}{a}{self.spell(left)}{bars}{self.spell(right)}{b}"
            case Big(kind, var, low, high, body):
                start = self.any(
                    f"{var}={self.index(low)}",
                    f"{var} \\geq {self.index(low)}",
                    f"{var}>{low.shift - 1}" if low.shift else f"{var}=0",
                )
                limits = [f"_{{{start}}}", f"^{{{self.index(high)}}}" if high else ""]
                if self.r.random() < 0.3:
                    limits.reverse()
                return "\\" + kind + self.any("", r"\limits") + "".join(limits) + " " + self.bracket(body)
            case Integral(over, body):
                d = self.any("d", r"\mathrm{d}", r"\,d", r"\text{d}", r"\mathrm d ")
                measure = " ".join(d + self.any("", " ") + self.sym(v) for v in over)
                if self.r.random() < 0.3:
                    return rf"\int {measure}\, {self.bracket(body)}"
                return rf"\int {self.bracket(body)}\, {measure}"
            case Chain(terms, relations):
                tex = {
                    "=": ["=", "&=", "=&"],
                    ">=": [r"\geq", r"\ge", r"&\geqslant", r"\overset{\text{Jensen}}{\geq}"],
                    "<=": [r"\leq", r"\le"],
                    ">": [">", r"\gt"],
                    "<": ["<", r"\lt"],
                    ":=": [":=", r"\triangleq", r"\coloneqq"],
                    "~=": [r"\approx"],
                }
                out = self.spell(terms[0])
                for relation, term in zip(relations, terms[1:], strict=True):
                    out += self.any(" ", "\n ", " \\\\\n ") + self.r.choice(tex[relation]) + " " + self.spell(term)
                env = self.any("", "aligned", "align*", "split")
                return rf"\begin{{{env}}} {out} \end{{{env}}}" if env else out
        raise TypeError(type(node))

    def term(self, node):
        return self.bracket(node) if isinstance(node, Add | Neg) else self.spell(node)


@SLOW
@given(chains, st.integers(0, 10**6))
def test_random_trees_in_random_spellings_read_back(chain, seed):
    text = Speller(seed).spell(chain)
    assert read_statement(text) == chain, f"{text}\nread as {latex(read_statement(text))}"


@SLOW
@given(chains)
def test_canonical_print_reads_back(chain):
    assert read_statement(latex(chain)) == chain
    assert outline(chain)


PIECES = [
    "\\log", "\\frac", "{", "}", "(", ")", "[", "]", "p", "q", "x", "z", "_", "^", "|", "\\|", "||", "\\mathbb{E}", "\\int", "dz", "\\sum",
    "\\prod", "_{t=2}", "^T", "=", "\\geq", "+", "-", "/", ",", ";", "\\left", "\\right", ".", "\\text{by Bayes}", "\\begin{aligned}",
    "\\end{aligned}", "\\\\", "&", "D_{KL}", "KL", "p(x|z)", "q(z|x)", "z_{1:T}", "x_{t-1}", "\\bar", "\\alpha", "\\mathcal{N}", "\\sqrt", "2", "1",
    "\\underbrace", "\\overset", "\\nabla", "'", "\\mid", "\\mathrm", "\\mathbf", "\\max", "\\exp", "e^", "H", "I", "d", "E_", "\\sim", "$", "\\", " ", "%", "\n",
    "\\tag", "\\cdots", "\\KL", "\\quad", "\\Big", "\\to", ":=", "\\rm", "N", "L_T", "~", "<", ">",
]  # fmt: skip


def assert_located(e):
    assert e.line >= 1
    assert e.column >= 1
    assert e.message


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_pieces_of_tex_are_read_or_located(pieces):
    for text in ("".join(pieces), " ".join(pieces)):
        try:
            reading = read(text)
        except ReadError as e:
            assert_located(e)
        else:
            for chain in reading.chains:
                assert read_statement(latex(chain)) == chain


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_random_text_never_crashes(text):
    verdict = judge(text)
    assert verdict.kind in KINDS
    if verdict.kind == "unreadable":
        assert verdict.position is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=16), st.sampled_from(["vae", "hvae", "chain", "diffusion"]))
def test_judging_pieces_never_crashes(pieces, setting):
    text = " ".join(["\\log p(x)", "\\geq", *pieces])
    start = time.process_time()
    assert judge(text, setting).kind in KINDS
    judge_derivation(text, setting)
    assert time.process_time() - start < 20


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chains, st.integers(0, 10**9))
def test_many_random_trees(chain, seed):
    assert read_statement(Speller(seed).spell(chain)) == chain


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes(seed):
    r = random.Random(seed)
    text = "".join(r.choice(string.printable) for _ in range(r.randrange(400)))
    with contextlib.suppress(ReadError):
        read(text)


@pytest.mark.parametrize("bar", ["|", r"\mid ", r"\mid  ", r"\vert "])
def test_a_norm_may_follow_a_condition(bar):
    """Found by the many random trees: a condition and a norm's two bars are not a divergence's separator and a bar."""
    plain = read_statement(r"\mathcal{N}(x; \lVert x_0 \rVert, 1) = 1")
    assert read_statement(rf"\mathcal{{N}}(x{bar}||x_0||, 1) = 1") == plain
