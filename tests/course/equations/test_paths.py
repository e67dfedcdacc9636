"""The settings about paths, flow and edm: statements, and an oracle of our own beside the judge for what is only algebra."""


import pytest
import sympy as sp

from course.equations import judge, judge_derivation, read
from course.equations.meaning.settings import BadSetting, load, settings
from course.equations.reading import tree
from course.equations.repairs import edits

FLOW = [
    (r"x_t = (1-t)\,x_0 + t\,\epsilon", "identity"),
    (r"x_t = t\,x_0 + \epsilon", "refuted"),
    (r"\frac{dx_t}{dt} = \epsilon - x_0", "identity"),
    (r"\frac{d}{dt} x_t = \frac{x_t - x_0}{t} = \frac{\epsilon - x_t}{1-t}", "identity"),
    (r"\dot{x}_t = \epsilon - x_0", "identity"),
    (r"\frac{dx_t}{dt} = x_0 - \epsilon", "refuted"),
    (r"s = 1 - t, \qquad \frac{dx}{ds} = x_0 - \epsilon = -\frac{dx}{dt}", "identity"),
    (r"s = 1 - t, \qquad \frac{dx}{ds} = \epsilon - x_0 = -\frac{dx}{dt}", "refuted"),
    (r"\epsilon = x_t + (1-t)\,v, \qquad x_0 = x_t - t\,v", "identity"),
    (r"\epsilon = x_t + t\,v", "refuted"),
    (r"x_s = x_t + (s - t) v", "identity"),
    (r"x_s = x_t + (t - s) v", "refuted"),
    (r"x_1 = \epsilon", "identity"),
    (r"\mathrm{SNR}(t) = \frac{(1-t)^2}{t^2}", "identity"),
    (r"\mathrm{SNR}(t) = \frac{1-t}{t}", "refuted"),
    (r"t' = \frac{n t}{1+(n-1) t}, \qquad \frac{t'}{1-t'} = n\,\frac{t}{1-t}", "identity"),
    (r"t' = \frac{n t}{1+(n+1) t}, \qquad \frac{t'}{1-t'} = n\,\frac{t}{1-t}", "refuted"),
    # laws and scores
    (r"q(x_t|x_0) = \mathcal{N}(x_t; (1-t) x_0, t^2 I)", "identity"),
    (r"q(x_t|x_0) = \mathcal{N}(x_t; (1-t) x_0, t I)", "refuted"),
    (r"x_t | x_0 \sim \mathcal{N}((1-t)x_0, t^2 I)", "identity"),
    (r"\mathrm{Var}(x_t|x_0) = t^2 I", "identity"),
    (r"\nabla_{x_t} \log q(x_t|x_0) = -\frac{\epsilon}{t}", "identity"),
    (r"\nabla_{x_t} \log q(x_t|x_0) = \frac{\epsilon}{t}", "refuted"),
    (r"q(x_0|x_t) = \frac{q(x_t|x_0) q(x_0)}{q(x_t)}", "identity"),
    (r"\mathrm{KL}(q(x_t|x_0)\|\mathcal{N}(0,I)) = \frac12 ((1-t)^2 \|x_0\|^2 + d(t^2 - 1 - 2\log t))", "identity"),
    (r"\mathbb{E}_{\epsilon}[\|x_t\|^2] = (1-t)^2 \|x_0\|^2 + t^2 d", "identity"),
    (r"\mathbb{E}_{\epsilon}[\|x_t\|^2] = (1-t)^2 \|x_0\|^2 + t d", "refuted"),
    # averages given x_t: the marginal velocity
    (r"v(x, t) = \mathbb{E}\left[\epsilon - x_0 \,\middle|\, x_t = x\right]", "identity"),
    (r"v(x, t) = \mathbb{E}\left[x_0 - \epsilon \,\middle|\, x_t = x\right]", "refuted"),
    (r"\mathbb{E}[v | x_t] = -\frac{x_t + t \nabla \log p_t(x_t)}{1-t}", "identity"),
    (r"\mathbb{E}[v | x_t] = -\frac{x_t - t \nabla \log p_t(x_t)}{1-t}", "refuted"),
    (r"\mathbb{E}[v | x_t] = v", "refuted"),
    (r"\nabla_x \log p_t(x) = -\frac{\mathbb{E}[\epsilon|x_t=x]}{t}", "identity"),
    (r"\mathbb{E}[x_0|x_t] = x_t - t\, \mathbb{E}[v|x_t] = \frac{x_t + t^2 \nabla\log p(x_t)}{1-t}", "identity"),
    (r"\frac{dx}{dt} = v(x, t)", "identity"),
    (r"\frac{dx}{dt} = -v(x, t)", "refuted"),
    (r"\frac{dx}{dt} = v_\theta(x, t)", "identity"),
    # one network, many names
    (r"\hat x_0 = x_t - t v_\theta(x_t,t)", "identity"),
    (r"\hat x_0 = x_t + t v_\theta(x_t,t)", "refuted"),
    (r"\epsilon_\theta(x_t,t) = x_t + (1-t) v_\theta(x_t,t)", "identity"),
    (r"s_\theta(x_t,t) = -\frac{x_t + (1-t) v_\theta(x_t,t)}{t}", "identity"),
    (r"\|\epsilon - \epsilon_\theta(x_t,t)\|^2 = (1-t)^2\|v - v_\theta(x_t,t)\|^2", "identity"),
    (r"\|\epsilon - \epsilon_\theta(x_t,t)\|^2 = t^2\|v - v_\theta(x_t,t)\|^2", "refuted"),
    (r"v_\theta(x_t,t) = v", "refuted"),
    # the other directions
    (r"x_t = t x_1 + (1-t) x_0, \quad v = x_1 - x_0", "identity"),
    (r"v = x_0 - x_1", "refuted"),
    (r"p_t(x|x_1) = \mathcal{N}(x; t x_1, (1-t)^2 I)", "identity"),
    (r"p_t(x|x_1) = \mathcal{N}(x; t x_1, (1-t) I)", "refuted"),
    (r"u_t(x) = \mathbb{E}[x_1 - x_0 | x_t = x]", "identity"),
    (r"x_t = t x_0 + (1-t)\epsilon, \quad v = x_0 - \epsilon", "identity"),
    (r"x_t = t x_0 + (1-t)\epsilon, \quad v = \epsilon - x_0", "refuted"),
    (r"x_t = t x_0 + (1-t)\epsilon", "definition"),
    # nothing is claimed, or not by letters of the setting
    (r"L = \mathbb{E}_{x_0,\epsilon,t}\left[\left\|\epsilon - x_0 - v_\theta(x_t, t)\right\|^2\right]", "definition"),
    (r"p_\theta(x_t) = q(x_t)", "undecided"),
    (r"x_t = (1-t) x_0 + t w", "undecided"),
]
LEVELS = [
    (r"\epsilon = \frac{x_t - \alpha_t\, x_0}{\sigma_t}", "identity"),
    (r"\epsilon = \frac{x_t - \sigma_t\, x_0}{\alpha_t}", "refuted"),
    (r"u = x_0 + r\, \epsilon", "identity"),
    (r"u = x_0 - r\, \epsilon", "refuted"),
    (r"\alpha_t^2 + \sigma_t^2 = 1", "refuted"),
    (r"q(x_t|x_0) = \mathcal{N}(x_t; \alpha_t x_0, \sigma_t^2 I)", "identity"),
    (r"\mathbb{E}[x_0|x_t] = \frac{x_t + \sigma_t^2\nabla\log q(x_t)}{\alpha_t}", "identity"),
    (r"\frac{x_{t'}}{\alpha_{t'}} = \frac{x_t}{\alpha_t} + (r_{t'} - r_t)\,\epsilon", "identity"),
    (r"\frac{x_{t'}}{\alpha_{t'}} = \frac{x_t}{\alpha_t} - (r_{t'} - r_t)\,\epsilon", "refuted"),
    (
        r"x_{t'} := \alpha_{t'} \hat x_0 + \sigma_{t'} \epsilon_\theta(x_t, t) "
        r"\\ \frac{x_{t'}}{\alpha_{t'}} = \frac{x_t}{\alpha_t} + (r_{t'} - r_t)\,\epsilon_\theta(x_t, t)",
        "identity",
    ),
    (
        r"x_{t'} := \alpha_{t'} \hat x_0 + \sigma_{t'} \epsilon_\theta(x_t, t) "
        r"\\ \frac{x_{t'}}{\alpha_{t'}} = \frac{x_t}{\alpha_t} + (r_t - r_{t'})\,\epsilon_\theta(x_t, t)",
        "refuted",
    ),
]
GRID = (r"\sigma_i = \left(\sigma_{\max}^{1/\rho} + \frac{i}{N-1}(\sigma_{\min}^{1/\rho}-\sigma_{\max}^{1/\rho})\right)^\rho, \quad ")
EDM = [
    (r"x = y + n", "identity"),
    (r"x = y + \sigma n", "refuted"),
    (r"c_{\text{skip}}(\sigma) = \frac{\sigma_{\text{data}}^2}{\sigma^2+\sigma_{\text{data}}^2}", "identity"),
    (r"c_{\text{in}}(\sigma) = \frac{1}{\sqrt{\sigma^2+\sigma_{\text{data}}^2}}, \quad c_{\text{noise}}(\sigma) = \frac14 \ln \sigma", "identity"),
    (r"c_{\text{in}}(\sigma) = \frac{1}{\sqrt{\sigma+\sigma_{\text{data}}}}", "refuted"),
    (r"\lambda(\sigma)\, c_{\text{out}}(\sigma)^2 = 1", "identity"),
    (r"D_\theta(x;\sigma) = c_{skip}(\sigma)\,x + c_{out}(\sigma)\,F_\theta(c_{in}(\sigma)\,x;\, c_{noise}(\sigma))", "identity"),
    (r"D_\theta(x;\sigma) = c_{out}(\sigma)\,x + c_{skip}(\sigma)\,F_\theta(c_{in}(\sigma)\,x;\, c_{noise}(\sigma))", "refuted"),
    (r"D_\theta(x;\sigma) = c_{skip}(\sigma)\,x + c_{out}(\sigma)\,F_\theta(x;\, c_{noise}(\sigma))", "undecided"),
    (r"\lambda(\sigma)\|D_\theta(x;\sigma) - y\|^2 = \|F_\theta - \frac{1}{c_{out}}(y - c_{skip} (y+n))\|^2", "identity"),
    (r"\nabla_x \log p(x;\sigma) = \frac{D(x;\sigma)-x}{\sigma^2}", "identity"),
    (r"\nabla_x \log p(x;\sigma) = \frac{x - D(x;\sigma)}{\sigma^2}", "refuted"),
    (r"\frac{dx}{d\sigma} = -\sigma \nabla_x \log p(x;\sigma) = \frac{x - D(x;\sigma)}{\sigma}", "identity"),
    (r"\frac{dx}{d\sigma} = \sigma \nabla_x \log p(x;\sigma)", "refuted"),
    (GRID + r"\sigma_0 = \sigma_{\max}", "identity"),
    (GRID + r"\sigma_{N-1} = \sigma_{\min}", "identity"),
    (GRID + r"\sigma_0 = \sigma_{\min}", "refuted"),
]


@pytest.mark.parametrize(("name", "latex", "kind"), [*(("flow", *case) for case in FLOW), *(("edm", *case) for case in EDM), *(("levels", *case) for case in LEVELS)])
def test_statement(name, latex, kind):
    verdict = judge(latex, name, explain=False)
    assert verdict.kind == kind, verdict.reason
    assert verdict.kind not in ("identity", "bound", "refuted") or verdict.evidence


def test_what_is_taken_over_is_listed():
    score = judge(r"\mathbb{E}[x_0|x_t] = \frac{x_t + t^2 \nabla\log p(x_t)}{1-t}", "flow")
    assert [a.partition(":")[0] for a in score.assumptions] == ["Tweedie's formula"]
    flow = judge(r"\frac{dx}{dt} = v(x, t)", "flow")
    assert "taken over" in flow.assumptions[0]
    assert flow.proved_for == "every 0 < t < 1"
    assert not judge(r"\frac{dx_t}{dt} = \epsilon - x_0", "flow").assumptions


def test_the_direction_is_echoed():
    assert "data $x_0$ at $t = 1$" in judge(r"x_t = t x_0 + (1-t)\epsilon", "flow").read_with[0]
    assert "data $x_0$ at $t = 0$" in judge(r"x_t = (1-t) x_0 + t\epsilon", "flow").read_with[0]


def test_a_derivation_in_the_flow_setting_names_its_wrong_line():
    wrong = judge_derivation(r"\frac{dx_t}{dt} &= \epsilon - x_0 \\ &= \epsilon - (x_t - t v) \\ &= \epsilon - x_t - t v", "flow")
    assert wrong.wrong_steps == [3]


# ---- an oracle: numbers for x_0, epsilon, t and s, and derivatives by sympy

T, S, X0, EPS = sp.symbols("t s x_0 epsilon")


def value(node):
    """The formula in sympy, for what is only algebra in one dimension."""
    match node:
        case tree.Num(n):
            return sp.Rational(n.numerator, n.denominator)
        case tree.Sym("x", (tree.Index(var, 0),)) if var in ("t", "s"):
            t = {"t": T, "s": S}[var]
            return (1 - t) * X0 + t * EPS
        case tree.Sym("x", (tree.Index("", n),)) if n in (0, 1):
            return (X0, EPS)[n]
        case tree.Sym(name, (), (), ()) if name in ("t", "s", "epsilon", "v"):
            return {"t": T, "s": S, "epsilon": EPS, "v": EPS - X0}[name]
        case tree.Add(terms):
            return sum(map(value, terms))
        case tree.Neg(body):
            return -value(body)
        case tree.Mul(factors):
            return sp.prod(map(value, factors))
        case tree.Div(tree.Mul((tree.Sym("d"), of)), tree.Mul((tree.Sym("d"), tree.Sym("t")))):
            return sp.diff(value(of), T)
        case tree.Div(top, bottom):
            return value(top) / value(bottom)
        case tree.Pow(base, exponent):
            return value(base) ** value(exponent)
    raise LookupError(node)


ALGEBRA = [
    r"x_t = (1-t)\,x_0 + t\,\epsilon",
    r"\frac{dx_t}{dt} = \epsilon - x_0",
    r"\epsilon = x_t + (1-t)\,v",
    r"x_0 = x_t - t\,v",
    r"v = \frac{x_t - x_0}{t}",
    r"\frac{\epsilon - x_t}{1-t} = v",
    r"x_s = x_t + (s - t) v",
    r"x_s = \frac{1-s}{1-t} x_t + \frac{s-t}{1-t} \epsilon",
    r"\frac{x_t}{1-t} = x_0 + \frac{t}{1-t} \epsilon",
]


@pytest.mark.parametrize("latex", ALGEBRA)
def test_no_false_variation_is_accepted(latex):
    """Every single edit of a true line, against the oracle: what is accepted is true, what is refuted is false."""
    line = read(latex).chains[0]
    tried = [line, *(candidate for _, candidate in list(edits(line))[:40])]
    seen = set()
    for candidate in tried:
        try:
            left, right = map(value, candidate.terms)
        except LookupError:
            continue
        verdict = judge(tree.latex(candidate), "flow", explain=False)
        true = sp.cancel(left - right) == 0
        assert not (verdict.accepted and not true), tree.latex(candidate)
        assert not (verdict.kind == "refuted" and true), tree.latex(candidate)
        seen.add(verdict.kind)
    assert seen >= {"identity", "refuted"}


# ---- the files

LINE = """
[[path]]
data = 'a'
noise = 'b'
time = 'h'
upto = 1
signal = '1 - h'
level = 'h'
[path.letters]
w = 'b - a'
"""


def test_a_path_of_ones_own(tmp_path):
    (tmp_path / "line.toml").write_text(LINE)
    line = load(tmp_path / "line.toml")
    assert judge(r"x = (1-h) a + h b", line).kind == "identity"
    assert judge(r"\frac{dx}{dh} = w", line).kind == "identity"
    assert judge(r"\frac{dx}{dh} = -w", line).kind == "refuted"


@pytest.mark.parametrize(("old", "new", "says"), [
    ("data = 'a'\n", "", "data is missing"),
    ("upto = 1", "upto = 2", "upto must be 1"),
    ("upto = 1", "until = 1", "the key until is not known"),
    ("signal = '1 - h'", r"signal = '1 - \alpha'", "formulas of the time"),
    ("signal = '1 - h'", "signal = '1 - ('", "never closed"),
    ("time = 'h'", "time = 'h + 1'", "must be one letter"),
    ("w = 'b - a'", "w = 3", "w must be text in quotes"),
])
def test_a_file_that_declares_no_path_is_explained(tmp_path, old, new, says):
    assert old in LINE
    (tmp_path / "line.toml").write_text(LINE.replace(old, new))
    with pytest.raises(BadSetting, match=says):
        load(tmp_path / "line.toml")


def test_shipped_paths_are_sound():
    for name in ("flow", "levels", "edm"):
        assert [path.check() for path in settings[name].readings]
