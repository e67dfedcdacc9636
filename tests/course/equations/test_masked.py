"""The setting masked: laws of words that are masked for good, against tables of probabilities of our own."""

import random
from fractions import Fraction

import pytest

from course.equations import judge, read
from course.equations.meaning.settings import BadSetting, load
from course.equations.reading import tree
from course.equations.repairs import edits

LAW = r"\frac{(1-\alpha_s) m + (\alpha_s-\alpha_t) x_0}{1-\alpha_t}"
CASES = [
    (r"q(x_t|x_0) = \mathrm{Cat}(x_t; \alpha_t x_0 + (1-\alpha_t) m)", "identity"),
    (r"q(x_t|x_0) = \mathrm{Cat}(x_t; (1-\alpha_t) x_0 + \alpha_t m)", "refuted"),
    (r"\mathbb{E}[x_t|x_0] = \alpha_t x_0 + (1-\alpha_t) m", "identity"),
    (r"q(x_t|x_s) = \mathrm{Cat}(x_t; \alpha_{t|s} x_s + (1-\alpha_{t|s}) m)", "identity"),
    (r"\alpha_{t|s} = \frac{\alpha_t}{\alpha_s}", "identity"),
    (r"\alpha_{t|s} = \frac{\alpha_s}{\alpha_t}", "refuted"),
    (rf"q(x_s|x_t=m, x_0) = \mathrm{{Cat}}\left(x_s; {LAW}\right)", "identity"),
    (r"q(x_s|x_t=m, x_0) = \mathrm{Cat}\left(x_s; \frac{(1-\alpha_t) m + (\alpha_s-\alpha_t) x_0}{1-\alpha_s}\right)", "refuted"),
    (r"q(x_s|x_t=x_0, x_0) = \mathrm{Cat}(x_s; x_0)", "identity"),
    (r"q(x_s|x_t, x_0) = \mathrm{Cat}(x_s; x_0)", "undecided"),
    (rf"q(x_s|x_t=m, x_0) = \mathrm{{Cat}}\left(x_t; {LAW}\right)", "undecided"),
    (r"q(x_t = m|x_0) = 1-\alpha_t", "identity"),
    (r"q(x_t = m|x_0) = \alpha_t", "refuted"),
    (r"q(x_t = m|x_s = m) = 1", "identity"),
    (r"q(x_s=x_0|x_t=m,x_0) = \frac{q(x_t=m|x_s=x_0)\, q(x_s=x_0|x_0)}{q(x_t=m|x_0)}", "identity"),
    (r"p_\theta(x_s|x_t=m) = \mathrm{Cat}\left(x_s; " + LAW.replace("x_0", r"x_\theta(x_t)") + r"\right)", "identity"),
    (r"p_\theta(x_s|x_t=m) = q(x_s|x_t=m,x_0)", "refuted"),
    (r"p_\theta(x_0|x_t=m) = p_\theta(x_0|x_t=x_0)", "refuted"),
    (r"q(x_0) = \mathrm{Cat}(x_0; m)", "undecided"),
    (r"q(x_t|x_0) = \mathrm{Cat}(x_t; \beta_t x_0 + (1-\beta_t)m)", "outside"),
]
TERM = r"\mathrm{KL}(q(x_s|x_t=m,x_0)\|p_\theta(x_s|x_t=m))"
CASES += [
    (TERM + r" = -\frac{\alpha_s-\alpha_t}{1-\alpha_t}\log p_\theta(x_0|x_t=m)", "identity"),
    (r"(1-\alpha_t)\," + TERM + r" = -(\alpha_s-\alpha_t)\log p_\theta(x_0|x_t=m)", "identity"),
    (TERM + r" = \frac{\alpha_s-\alpha_t}{1-\alpha_t}\log p_\theta(x_0|x_t=m)", "refuted"),
    (TERM + r" = -\frac{\alpha_s-\alpha_t}{1-\alpha_s}\log p_\theta(x_0|x_t=m)", "refuted"),
    (TERM + " = 0", "refuted"),
]


@pytest.mark.parametrize(("latex", "kind"), CASES)
def test_statement(latex, kind):
    verdict = judge(latex, "masked", explain=False)
    assert verdict.kind == kind, verdict.reason
    assert verdict.kind not in ("identity", "refuted") or verdict.evidence
    assert all(0 < Fraction(v) < 1 for k, v in getattr(verdict.counterexample, "where", {}).items() if "p_theta" in k or "alpha" in k)


class World:
    """Three words, one of them the mask; x_0, x_s, x_t by their table of probabilities, s < t."""

    def __init__(self, seed):
        draw = random.Random(seed)
        self.s = Fraction(draw.randint(50, 90), 100)
        self.t = Fraction(draw.randint(10, 45), 100)

    def joint(self, x0, xs, xt):
        keep, stay = self.s, self.t / self.s
        first = keep if xs == x0 else 1 - keep if xs == "m" else 0
        then = (1 if xt == "m" else 0) if xs == "m" else stay if xt == xs else 1 - stay if xt == "m" else 0
        return first * then

    def posterior(self, x0, xt):
        whole = sum(self.joint(x0, x, xt) for x in ("a", "b", "m"))
        return {x: self.joint(x0, x, xt) / whole for x in ("a", "b", "m")}


def law(node, world):
    """The law that a formula of alpha_s, alpha_t, x_0 = a and m gives to the words."""
    match node:
        case tree.Num(n):
            return n
        case tree.Sym("alpha", (tree.Index(var, 0),)):
            return {"s": world.s, "t": world.t}[var]
        case tree.Sym("x", (tree.Index("", 0),)):
            return {"a": 1, "b": 0, "m": 0}
        case tree.Sym("m"):
            return {"a": 0, "b": 0, "m": 1}
        case tree.Add(terms):
            parts = [law(t, world) for t in terms]
            if all(isinstance(p, dict) for p in parts):
                return {w: sum(p[w] for p in parts) for w in parts[0]}
            if not any(isinstance(p, dict) for p in parts):
                return sum(parts)
        case tree.Neg(body):
            part = law(body, world)
            return {w: -c for w, c in part.items()} if isinstance(part, dict) else -part
        case tree.Mul((one, other)):
            a, b = law(one, world), law(other, world)
            if isinstance(b, dict) and not isinstance(a, dict):
                return {w: a * c for w, c in b.items()}
        case tree.Div(top, bottom):
            a, b = law(top, world), law(bottom, world)
            if not isinstance(b, dict) and b:
                return {w: c / b for w, c in a.items()} if isinstance(a, dict) else a / b
    raise LookupError(node)


def test_variations_of_the_posterior_against_tables():
    line = read(rf"q(x_s|x_t=m, x_0) = \mathrm{{Cat}}(x_s; {LAW})").chains[0]
    seen = set()
    for candidate in [line, *(c for _, c in edits(line))]:
        if candidate.terms[0] != line.terms[0] or not isinstance(candidate.terms[1], tree.Apply):
            continue
        if candidate.terms[1].args[0] != line.terms[1].args[0]:
            continue
        worlds = [World(seed) for seed in range(3)]
        try:
            true = all(law(candidate.terms[1].args[1], w) == w.posterior("a", "m") for w in worlds)
        except LookupError:
            continue
        verdict = judge(tree.latex(candidate), "masked", explain=False)
        assert not (verdict.accepted and not true), tree.latex(candidate)
        assert not (verdict.kind == "refuted" and true), tree.latex(candidate)
        seen.add(verdict.kind)
    assert {"identity", "refuted"} <= seen


def test_a_file_of_masked_words_is_checked(tmp_path):
    (tmp_path / "a.toml").write_text("[mask]\nletter = 'm'\n")
    with pytest.raises(BadSetting, match="the key letter is not known"):
        load(tmp_path / "a.toml")
