r"""One meaning for each letter of a text: what was once accepted or refuted because a letter was read anew in every relation."""

import random
import re
import sys

import pytest
from test_statements import CASES

from course.equations import judge, judge_derivation
from course.equations.meaning.settings import BadSetting, load

NOISE = r"\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon"
SQUARE = r"\mathbb{E}_q[\frac{1}{2\sigma_t^2}\|\tilde\mu_t(x_t,x_0)-\mu_\theta(x_t,t)\|^2]"

NEVER_ACCEPTED = [
    # epsilon is the noise of one step in the first relation, and of all steps in the second
    (
        "gaussian",
        r"x_{t-1} = \frac{1}{\sqrt{\alpha_t}}(x_t - \sqrt{\beta_t}\epsilon) = "
        r"\frac{1}{\sqrt{\alpha_t}}(x_t - \sqrt{\beta_t}\frac{x_t-\sqrt{\bar\alpha_t}x_0}{\sqrt{1-\bar\alpha_t}})",
    ),
    (
        "gaussian",
        r"x_t - \sqrt{1-\beta_t}\,x_{t-1} = \sqrt{\beta_t}\,\epsilon = "
        r"\sqrt{\beta_t}\,\frac{x_t-\sqrt{\bar\alpha_t}\,x_0}{\sqrt{1-\bar\alpha_t}}",
    ),
    ("gaussian", r"x_t = \sqrt{\alpha_t} x_{t-1} + \sqrt{\beta_t}\epsilon \\ \epsilon = \frac{x_t-\sqrt{\bar\alpha_t}x_0}{\sqrt{1-\bar\alpha_t}}"),
    # a letter without index gets another index in every relation
    ("gaussian", r"\bar\alpha_t = \bar\alpha = \bar\alpha_{t-1}"),
    ("gaussian", r"\bar\alpha_t = \bar\alpha = \bar\alpha_{t-2}"),
    ("gaussian", r"\bar\alpha = \bar\alpha_{t-1}"),
    ("gaussian", r"q(x_t|x_0) = \mathcal{N}(x_t; \sqrt{\bar\alpha}x_0, (1-\bar\alpha_t)I)"),
    # two noises are not one
    ("gaussian", r"\epsilon_t = \epsilon_{t-1}"),
    ("gaussian", r"\sqrt{\beta_t}\,\epsilon_1 = \sqrt{\beta_t}\,\epsilon_2"),
    # a constant that is there and gone
    ("gaussian", rf"L_{{t-1}} = {SQUARE} + C = {SQUARE}"),
    ("gaussian", rf"L_{{t-1}} = {SQUARE} \\ L_{{t-1}} = {SQUARE}"),
    # the label of a law is part of its name
    ("gaussian", r"\nabla_x\log p_0(x) = \nabla_x\log p_T(x)"),
    ("gaussian", r"\nabla_x \log p_t(x) = \nabla_x \log p_{t+1}(x)"),
    ("gaussian", r"\mathrm{KL}(q(x_T)\|p(x_T)) = 0"),
    ("gaussian", r"\mathrm{KL}(q(x_t)\|p(x_t)) = 0"),
    ("gaussian", r"q(x_t) = p(x_t)"),
    ("gaussian", r"\mathbb{E}_q\left[\log\frac{q(x_T)}{p(x_T)}\right] = 0"),
    ("vae", r"\log p(x;\theta)=\log p(x;\theta')"),
    ("vae", r"\log p(x;\theta_1) = \log p(x;\theta_2)"),
    ("vae", r"\log p_{\theta^{old}}(x) = \log p_\theta(x)"),
    ("vae", r"D_{KL}(p(x)\|p_\theta(x)) = 0"),
    ("vae", r"q_\phi(z|x) = q_\psi(z|x)"),
    ("vae", r"\log p_\theta(x) = \log p_{\theta'}(x,z) - \log p_{\theta'}(z|x)"),
    # a clause after where, with or since
    ("gaussian", rf"x_t = {NOISE} \text{{ where }} \bar\alpha_t = \prod_s \beta_s"),
    ("gaussian", rf"x_t = {NOISE} \quad\text{{with}}\quad \bar\alpha_t = \prod_{{s=1}}^{{t}}\beta_s"),
    ("gaussian", rf"x_t = {NOISE} \text{{ since }} \alpha_t = 1 + \beta_t"),
    ("vae", r"\log p(x) \ge \mathrm{ELBO} \text{ because } p(x) = p(x, z)"),
    # nothing is claimed
    ("gaussian", r"a_t = 1 \\ b_t = 2x_t"),
    ("gaussian", r"\begin{aligned} a_t &= 7 \\ b_t &= 3\,x_0 \end{aligned}"),
    ("vae", r"\mathcal{L} := p(x) = p(x, z)"),
]


@pytest.mark.parametrize(("setting", "text"), NEVER_ACCEPTED)
def test_a_letter_that_changes_its_meaning_proves_nothing(setting, text):
    verdict = judge(text, setting)
    assert not verdict.accepted, str(verdict)
    assert not judge_derivation(text, setting).holds


KINDS = [
    ("gaussian", r"\epsilon_t = \epsilon_{t-1}", "refuted"),
    ("gaussian", r"\bar\alpha_t = \bar\alpha = \bar\alpha_{t-2}", "refuted"),
    ("gaussian", r"a_t = 1 \\ b_t = 2x_t", "definition"),
    ("vae", r"\log p(x;\theta)=\log p(x;\theta')", "refuted"),
    ("vae", r"D_{KL}(p(x)\|p_\theta(x)) \geq 0", "bound"),
    ("vae", r"D_{KL}(p_{\theta_1}(x)\|p_{\theta_2}(x)) \geq 0", "bound"),
    ("vae", r"p_{\theta_1}(x|z) = \frac{p_{\theta_1}(x,z)}{p(z)}", "identity"),
    ("vae", r"\log p_\theta(x) \geq \mathbb{E}_{q_\phi(z|x)}[\log p_\theta(x|z)] - KL(q_\phi(z|x)\|p(z))", "bound"),
    ("vae", r"\log p_\theta(x) = \log p_{\theta'}(x,z) - \log p_{\theta'}(z|x)", "outside"),
    ("gaussian", rf"x_t = {NOISE} \text{{ where }} \epsilon \sim \mathcal{{N}}(0, I)", "identity"),
    ("gaussian", rf"x_t = {NOISE} \text{{ where }} \bar\alpha_t = \prod_{{s=1}}^t \alpha_s", "identity"),
    ("gaussian", r"x_t = \sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\bar z, \quad \bar z\sim\mathcal{N}(0,I)", "identity"),
    ("gaussian", rf"x_t = \sqrt{{\alpha_t}}\,x_{{t-1}}+\sqrt{{\beta_t}}\,\epsilon = {NOISE}", "identity"),
    ("gaussian", rf"x_t = \sqrt{{\alpha_t}}\,x_{{t-1}}+\sqrt{{\beta_t}}\,\epsilon \\ x_t = {NOISE}", "identity"),
    ("gaussian", r"\sigma_t^2 = \beta_t \\ p_\theta(x_{t-1}|x_t) = \mathcal{N}(x_{t-1};\mu_\theta(x_t,t),\beta_t I)", "identity"),
    ("gaussian", r"\sigma_t^2 = \beta_t \\ p_\theta(x_{t-1}|x_t) = \mathcal{N}(x_{t-1};\mu_\theta(x_t,t),\tilde\beta_t I)", "refuted"),
    (
        "gaussian",
        r"q(x_t|x_0) = \frac{1}{\sqrt{2\pi(1-\bar\alpha_t)}}\exp\Big(-\frac{(x_t-\sqrt{\bar\alpha_t}\,x_0)^2}{2(1-\bar\alpha_t)}\Big)",
        "identity",
    ),
    ("gaussian", r"z\sim\mathcal{N}(\mu,\sigma^2 I)", "definition"),
    ("gaussian", r"\tilde x = x + \sigma\,z", "definition"),
    ("vae", r"\mathcal{L}(\theta,\phi) = \mathbb{E}_q[\log p(x|z)] - KL(q(z|x)\|p(z)) \\ \log p(x) \ge \mathcal{L}(\phi,\theta)", "bound"),
]


# how people write: read as meant, and decided
WRITTEN = [
    ("gaussian", r"x_t = \sqrt{\alpha_t}\,x_{t-1}+\sqrt{\beta_t}\,\epsilon = \dots = " + NOISE, "identity"),
    ("gaussian", r"x_t = \sqrt{\alpha_t}\,x_{t-1}+\sqrt{\beta_t}\,\epsilon = \dots = \sqrt{\bar\alpha_t}\,x_0+\sqrt{\bar\alpha_t}\,\epsilon", "refuted"),
    ("diffusion", r"q(x_{1:T}|x_0) = q(x_1|x_0)\,q(x_2|x_1)\cdots q(x_T|x_{T-1})", "identity"),
    ("diffusion", r"q(x_{1:T}|x_0) = q(x_1|x_0)\,q(x_2|x_1)\cdots q(x_{T-1}|x_{T-2})", "refuted"),
    ("gaussian", r"\alpha_t\alpha_{t-1}\cdots\alpha_1 = \bar\alpha_t", "identity"),
    ("gaussian", r"\|\epsilon-\epsilon_\theta\|^2_2 = \|\epsilon_\theta-\epsilon\|_2^2", "identity"),
    ("vae", r"p(x) = \intop p(x,z)\,dz", "identity"),
    ("vae", r"p(\mathbf{x,z}) = p(\mathbf{x\mid z})\,p(\mathbf z)", "identity"),
    ("vae", r"KL(q(z|x),p(z)) = \mathbb{E}_{q(z|x)}[\log q(z|x)-\log p(z)]", "identity"),
    ("vae", r"KL(q(z|x)\rVert p(z)) = \mathbb{E}_{q(z|x)}[\log q(z|x)-\log p(z)]", "identity"),
    ("vae", r"\log\textcolor{red}{p_\theta}(x) = \log\textcolor{red}{p_\theta}(x,z) - \log p(z|x)", "identity"),
    ("vae", r"Log\,p(x) = Log\,p(x,z) - Log\,p(z|x)", "identity"),
    ("vae", r"\log p(x) = \underbrace{\mathbb{E}_q[\log p(x)]}_{期望}", "identity"),
    ("gaussian", r"\hat x_0 = \frac{x_{\tau_i}-\sqrt{1-\bar\alpha_{\tau_i}}\,\epsilon_\theta(x_{\tau_i},\tau_i)}{\sqrt{\bar\alpha_{\tau_i}}}", "identity"),
    ("gaussian", r"\nabla_x\log p(x|y) = \nabla_x\log p(x)+\nabla_x\log p(y|x).\label{eq:1}", "identity"),
    ("gaussian", r"\alpha_t = 1-\beta_t \quad \bar\alpha_t = \prod_{s=1}^t \alpha_s", "identity"),
    ("gaussian", r"\alpha_t = 1-\beta_t \quad \bar\alpha_t = \prod_{s=1}^t \beta_s", "refuted"),
    ("gaussian", r"\sigma_q^2(t) = \frac{(1-\alpha_t)(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}", "identity"),
    ("gaussian", rf"x_t(x_0,\epsilon) = {NOISE}", "identity"),
    ("gaussian", r"\tilde\mu_t(x_t,\epsilon) = \frac{x_t}{\sqrt{\alpha_t}} - \frac{\beta_t\,\epsilon}{\sqrt{\alpha_t(1-\bar\alpha_t)}}", "identity"),
    ("gaussian", r"(x_{t-1}-m)^2 = x_{t-1}^2 - 2\,m\,x_{t-1} + m^2", "identity"),
    ("gaussian", r"\mathbb{E}[x_0|x_t] = \frac{x_t+(1-\bar\alpha_t)\nabla_{x_t}\log p(x_t)}{\sqrt{\bar\alpha_t}}", "identity"),
    ("gaussian", r"p(x_t) := q(x_t|x_0)", "definition"),
    ("gaussian", r"v = x_1 - x_0", "definition"),
    ("gaussian", r"c_{skip}(\sigma)=\frac{\sigma_{data}^2}{\sigma^2+\sigma_{data}^2}", "definition"),
    ("gaussian", r"x_{k+1} = x_k + \frac{\delta}{2}\nabla_x\log p(x_k)+\sqrt{\delta}\,z", "outside"),
    ("vae", r"H(q) = -\int q(z|x)\log q(z|x)\,dz", "identity"),
    ("vae", r"D_{KL}(p\|q) = \int p(x)\log\frac{p(x)}{q(x)}\,dx", "identity"),
    ("vae", r"p(a|b) = \frac{p(b|a)\,p(a)}{p(b)}", "identity"),
    ("vae", r"p(a|b) = p(b|a)\,p(a)", "outside"),
    ("diffusion", r"\mathbb{E}_{q(x_{0:T})}[\log p(x_T)] = \mathbb{E}_q[\log p(x_T)]", "identity"),
    ("gaussian", r"\beta_t = c\,t \\ \bar\alpha_t = \prod_{s=1}^{t}(1-c\,s)", "identity"),
    ("gaussian", r"\beta_t = c\,t \\ \bar\alpha_t = \prod_{s=1}^{t}(1+c\,s)", "outside"),
    ("hvae", r"\mathrm{ELBO} = \mathbb{E}_{q(\mathbf z|\mathbf x)}\left[\log\frac{p(\mathbf x,\mathbf z)}{q(\mathbf z|\mathbf x)}\right]", "identity"),
    ("hvae", r"\log p(x) = \mathbb{E}_{q(z|x)}[\log p(x|z)]", "refuted"),
    ("vae", r"\log p_\theta(x) = \log\int p(x, z)\,dz = \log\int p_\theta(x, z)\,dz", "outside"),
    ("vae", r"\log p_\theta(x) = \log p(x)", "outside"),
    ("diffusion", r"q(x_{1:T}|x_0) = q(x_1|x_0).\prod_{t=2}^T q(x_t|x_{t-1})", "identity"),
    ("diffusion", r"q(x_{1:T}|x_0) = q(x_0).\prod_{t=1}^T q(x_t|x_{t-1})", "refuted"),
    ("vae", r"\log p(x_0) = \mathrm{ELBO} + \mathrm{KL}(q(z|x_0)\|p(z|x_0))", "identity"),
    ("vae", r"\log p(x_0) = \mathrm{ELBO} - \mathrm{KL}(q(z|x_0)\|p(z|x_0))", "refuted"),
    ("vae", r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] = \log p(x) - \mathrm{KL}(q(z|x)\|p(z|x)) = -F", "identity"),
    ("vae", r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right] = \log p(x) + \mathrm{KL}(q(z|x)\|p(z|x)) = -F", "refuted"),
    ("vae", r"\sum_{z\sim q(z|x)} q(z|x)\log\frac{q(z|x)}{p(z)} = \mathrm{KL}(q(z|x)\|p(z))", "identity"),
    ("vae", r"\sum_{z\sim q(z|x)} q(z|x)\log\frac{p(z)}{q(z|x)} = \mathrm{KL}(q(z|x)\|p(z))", "refuted"),
    (
        "diffusion",
        r"\mathbb{E}_{(x_0,x_t)\sim q(x_0,x_t)}[\log q(x_t|x_0)] = \mathbb{E}_{q(x_0)}\mathbb{E}_{q(x_t|x_0)}[\log q(x_t|x_0)]",
        "identity",
    ),
    ("gaussian", r"x_t = \sqrt{\alpha_t} x_{t-1} + \mathcal{N}(0, \beta_t I)", "identity"),
    ("gaussian", r"x_t = \sqrt{\alpha_t} x_{t-1} + \mathcal{N}(0, \alpha_t I)", "refuted"),
    (
        "gaussian",
        r"\sqrt{\alpha_t}\epsilon_1 + \sqrt{\beta_t}\epsilon_2 \sim \mathcal{N}(0, \alpha_t I) + \mathcal{N}(0, \beta_t I) \sim \mathcal{N}(0, I)",
        "identity",
    ),
    ("gaussian", r"\mathcal{N}(0, \alpha_t I) + \mathcal{N}(0, \beta_t I) \sim \mathcal{N}(0, 2I)", "refuted"),
    ("gaussian", r"\sqrt{\alpha_t}\epsilon_1 + \sqrt{\beta_t}\epsilon_1 \sim \mathcal{N}(0, I)", "refuted"),
    ("gaussian", r"x_{t} = \sqrt{\bar\alpha_{t}} \hat x_0(x_{t-1}) + \sqrt{1-\bar\alpha_{t}} \epsilon_\theta(x_{t-1}, t-1)", "identity"),
    ("gaussian", r"x_{t} = \sqrt{\bar\alpha_{t}} \hat x_0(x_{t-1}) + \sqrt{\bar\alpha_{t}} \epsilon_\theta(x_{t-1}, t-1)", "refuted"),
    ("gaussian", r"\nabla \log q(x_t) = \frac{\nabla q(x_t)}{q(x_t)}", "identity"),
    ("gaussian", r"\sigma_t^2(\eta) = \eta \tilde\beta_t", "definition"),
    ("gaussian", r"\sigma_t(\eta) = \eta \sqrt{\tilde\beta_t}", "identity"),
    ("gaussian", r"L = \mathbb{E}_{t \sim [1,T], x_0, \epsilon}\left[\|\epsilon - \epsilon_\theta(x_t,t)\|^2\right]", "definition"),
    ("gaussian", r"\frac{\tilde\mu_t^2}{\tilde\beta_t} = \frac{\sqrt{\alpha_t}}{\beta_t} x_t", "refuted"),
    ("gaussian", r"(1-\bar\alpha_t) I \cdot I^T = (1 - \bar\alpha_t) I", "identity"),
    ("gaussian", r"\frac{x_t}{2} x_{t-1} + C(x_t, x_0) = \frac12 x_t x_{t-1} + C(x_t,x_0)", "identity"),
    ("gaussian", r"x_t x_{t-1} + C(x_t, x_0) = \frac12 x_t x_{t-1} + C(x_t,x_0)", "refuted"),
    ("gaussian", r"x_t x_{t-1} = x_t x_{t-1} + C(x_t,x_0)", "outside"),
    ("gaussian", r"p(x) = \mathcal{N}(x;\mu,\sigma^2) \propto \exp\left(-\frac{(x-\mu)^2}{2\sigma^2}\right)", "identity"),
    ("gaussian", r"p(x) = \mathcal{N}(x;\mu,\sigma^2) \propto \exp\left(-\frac{(x-\mu)^2}{\sigma^2}\right)", "refuted"),
    (
        "gaussian",
        r"x_t &= \sqrt{\alpha_t} x_{t-1} + \sqrt{1-\alpha_t}\epsilon_{t-1} \text{ ;where } \epsilon_{t-1}, \epsilon_{t-2}, \dots "
        r"\sim \mathcal{N}(0, I) \\ &= \sqrt{\bar\alpha_t} x_0 + \sqrt{1-\bar\alpha_t}\epsilon",
        "identity",
    ),
    (
        "gaussian",
        r"x_t &= \sqrt{\alpha_t} x_{t-1} + \sqrt{1-\alpha_t}\epsilon_{t-1} \text{ ;where } \alpha_t = 1 + \beta_t "
        r"\\ &= \sqrt{\bar\alpha_t} x_0 + \sqrt{1-\bar\alpha_t}\epsilon",
        "refuted",
    ),
    ("vae", "p(x) = \\\\ = p(x)", "identity"),
    ("gaussian", r"x_t = \sqrt{\alpha_t} x_0 + \sqrt{1-\alpha_t} \epsilon", "refuted"),
    ("gaussian", r"q(x_t|x_0) = \mathcal{N}(x_t; \sqrt{\alpha_t} x_0, (1-\alpha_t) I)", "refuted"),
    ("gaussian", r"x_{t-1} = \sqrt{\alpha_{t-1}} \hat x_0 + \sqrt{1-\alpha_{t-1}}\, \epsilon_\theta(x_t, t)", "refuted"),
    ("hvae", r"p(x, z_{1:T}) = p(z_T)\, p(x|z_1)\, p(z_{1:T-1}|z_T) \prod_{t=2}^T 1", "identity"),
    ("hvae", r"p(x, z_{1:T}) = p(z_T)\, p(x|z_1) \prod_{t=2}^T 1", "refuted"),
    ("hvae", r"\log p(x) = \log p(x) + \log \prod_{t=2}^T 1", "identity"),
    ("hvae", r"p(x) = p(x)\prod_{t=2}^T 2", "refuted"),
    ("gaussian", r"q(x_t|x_{t-1}) \propto \exp\left(-\frac{x_t - \sqrt{\alpha_t} x_{t-1}}{2\beta_t}\right)", "refuted"),
    ("diffusion", r"\mathbb{E}_q\left[\log\frac{q(x_T)}{p(x_T)}\right] = \mathrm{KL}(q(x_T)\|p(x_T))", "identity"),
    ("diffusion", r"\mathbb{E}_q\left[\log\frac{q(x_T|x_0)}{p(x_T)}\right] = \mathrm{KL}(q(x_T)\|p(x_T))", "refuted"),
    ("vae", "let p = p(a) p(b|a) p(c|b)\np(c|a,b) = p(c|b)", "identity"),
    ("vae", "let p = p(a) p(b|a) p(c|b)\np(c|a) = p(c|b)", "refuted"),
    ("vae", "let p = p(a|\np(a) = p(a)", "unreadable"),
    (
        "gaussian",
        "let \\sigma_t^2 = \\tilde\\beta_t\n"
        r"D_{KL}(q(x_{t-1}|x_t,x_0)\|p_\theta(x_{t-1}|x_t)) = \frac12(\text{SNR}(t-1)-\text{SNR}(t))\|x_0-\hat x_0(x_t,t)\|^2",
        "identity",
    ),
]


@pytest.mark.parametrize(("setting", "text", "kind"), WRITTEN)
def test_what_people_write(setting, text, kind):
    verdict = judge(text, setting)
    assert verdict.kind == kind, str(verdict)


def test_a_display_that_starts_with_a_relation_says_so():
    verdict = judge(r"= \mathbb{E}_q[\log p(x|z)] - KL(q(z|x)\|p(z))")
    assert not verdict.accepted
    assert "the left side is missing" in verdict.notes[0]


def test_a_fact_that_is_taken_over_is_an_assumption():
    tweedie = judge(r"\mathbb{E}[x_0|x_t] = \frac{x_t+(1-\bar\alpha_t)\nabla_{x_t}\log q(x_t)}{\sqrt{\bar\alpha_t}}", "gaussian")
    assert tweedie.kind == "identity"
    assert "Tweedie" in tweedie.assumptions[0]
    assert judge(r"\mathbb{E}[x_t|x_0] = \sqrt{\bar\alpha_t} x_0", "gaussian").assumptions == ()


def test_a_setting_is_a_file(tmp_path):
    file = tmp_path / "hmm.toml"
    file.write_text(
        "p = 'p(z_1) \\prod_{t=2}^T p(z_t|z_{t-1}) \\prod_{t=1}^T p(x_t|z_t)'\nq = 'q(z_{1:T}|x_{1:T})'\n", encoding="utf-8"
    )
    assert judge(r"p(x_t|z_{1:T}) = p(x_t|z_t)", load(file)).kind == "identity"
    for text, problem in {
        "p = [": "is not TOML",
        "p = 'p(x)'": "q is missing",
        "p = 3\nq = 'q(x)'": "p must be text",
        "p = 'p(x'\nq = 'q(x)'": "p: line 1, column 1",
        "p = 'p(x) + 1'\nq = 'q(x)'": "do not factorise",
        "p = 'p(x)'\nq = 'q(x)'\nlaw = 'x'": "the key law is not known",
        "p = 'p(x)'\nq = 'q(x)'\n[names]\nE = 3": "E must be text",
    }.items():
        file.write_text(text, encoding="utf-8")
        with pytest.raises(BadSetting, match=re.escape(problem)):
            load(file)


@pytest.mark.parametrize(("setting", "text", "kind"), KINDS)
def test_kinds(setting, text, kind):
    verdict = judge(text, setting)
    assert verdict.kind == kind, str(verdict)


def test_what_letters_mean_is_said():
    own = judge(rf"x_t = {NOISE} = \sqrt{{\bar\alpha_t}}\,x_0+\epsilon\sqrt{{1-\bar\alpha_t}}", "gaussian")
    assert own.read_with == (r"$\epsilon$ is the noise between $x_0$ and $x_t$",)
    assert r"read with: $\epsilon$ is the noise between $x_0$ and $x_t$" in str(own)
    laws = judge(r"\log p(x;\theta)=\log p(x;\theta')", "vae")
    assert "are different laws" in laws.read_with[0]
    assert r"p_{\theta'}" in laws.reading


# ---- nothing that is refuted lacks its numbers


@pytest.mark.parametrize(
    "text",
    [
        r"q(x_{t-1}|x_t,x_0) \propto q(x_t|x_{t-1})",
        r"\alpha_t < \alpha_t",
        r"\alpha_t \neq 1-\beta_t",
        r"\tilde\beta_t I = \tilde\beta_t",
        r"\mathrm{Var}(x_t|x_0) = 2(1-\bar\alpha_t)I",
        r"p_\theta(x_{t-1}|x_t) = \mathcal{N}(x_{t-1};\mu_\theta(x_t,t),2\sigma_t^2 I)",
    ],
)
def test_every_refutation_shows_numbers(text):
    verdict = judge(text, "gaussian")
    assert verdict.kind == "refuted", str(verdict)
    assert verdict.counterexample.left
    assert verdict.counterexample.right
    assert verdict.counterexample.left != verdict.counterexample.right or "are equal" in verdict.reason


def test_the_sigma_of_p_is_in_the_counterexample():
    verdict = judge(r"p_\theta(x_{t-1}|x_t) = \mathcal{N}(x_{t-1};\tilde\mu_t(x_t,x_0),\tilde\beta_t I)", "gaussian")
    assert verdict.kind == "refuted"
    assert r"\sigma_t = " in str(verdict.counterexample)


def test_a_line_without_a_value_is_not_refuted():
    verdict = judge(r"q(x_t | x_0) = q(x_t|x_0) + 0 \mathcal{N}(x_t; x_0, I)", "gaussian")
    assert verdict.kind == "undecided"


def test_repairs_are_sought_for_the_first_refuted_lines_only():
    text = r" \\ ".join([r"p(x, z) = p(x) p(x|z)"] * 9)
    found = judge_derivation(text, "vae")
    assert found.wrong_steps == list(range(1, 10))
    assert [bool(s.verdict.repairs) for s in found.steps] == [True] * 6 + [False] * 3


# ---- no statement makes the checker fail


def mutated(rng: random.Random, text: str) -> str:
    """The text with a few pieces left out, doubled, exchanged or put elsewhere."""
    pieces = re.findall(r"\\[A-Za-z]+|\\.|\S", text)
    for _ in range(rng.randint(1, 4)):
        i, j = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        match rng.randrange(5):
            case 0 if len(pieces) > 4:
                del pieces[i]
            case 1:
                pieces.insert(j, pieces[i])
            case 2:
                pieces[i], pieces[j] = pieces[j], pieces[i]
            case 3:
                pieces[i] = rng.choice([r"\|", "^2", "|", r"\alpha_t", "x_t", "T", r"\epsilon", "p(x)", "+ C", r"\mathbb{E}_q"])
            case _:
                pieces.insert(j, rng.choice(["0", "-", r"\log", r"\sqrt{}", r"\sum_{t=1}^T", "(x)", r"\text{ where }", ":="]))
    return " ".join(pieces)


@pytest.mark.parametrize("part", range(4))
def test_no_mutated_statement_makes_the_checker_fail(part):
    rng = random.Random(part)
    for case in CASES[part::4]:
        text = mutated(rng, case.latex)
        verdict = judge(text, case.setting, explain=False)
        assert "the checker failed" not in verdict.reason, (case.setting, text, verdict.reason)


def test_a_fault_inside_is_undecided_and_can_be_reported(monkeypatch):
    def broken(*_):
        raise KeyError("planted")

    monkeypatch.setattr(sys.modules["course.equations.judge"], "decide", broken)
    verdict = judge(r"p(x, z) = p(z) p(x|z) + 0", "vae")
    assert verdict.kind == "undecided"
    assert re.search(r"the checker failed on this \(KeyError.*reference [0-9a-f]{8}", verdict.reason)


DIVERGENCE = r"\mathrm{KL}(\mathcal{N}(\mu, \mathrm{diag}(\sigma^2))\|\mathcal{N}(0,I))"
LAWS = "let q(z|x) = \\mathcal{N}(z;\\mu,\\mathrm{diag}(\\sigma^2))\nlet p(z) = \\mathcal{N}(z;0,I)\n"


@pytest.mark.parametrize(
    ("latex", "kind"),
    [
        (DIVERGENCE + r" = \frac12\sum_{j=1}^J(\mu_j^2+\sigma_j^2-1-\log\sigma_j^2)", "identity"),
        ("-" + DIVERGENCE + r" = \frac12\sum_{j=1}^J\left(1+\log(\sigma_j^2)-\mu_j^2-\sigma_j^2\right)", "identity"),
        (DIVERGENCE + r" = \frac12\left(\|\mu\|^2 + \sum_{j=1}^J(\sigma_j^2-1-\log\sigma_j^2)\right)", "identity"),
        (DIVERGENCE + r" = \frac12\sum_{j=1}^J(\mu_j^2+\sigma_j^2-\log\sigma_j^2) - \frac{J}{2}", "identity"),
        (DIVERGENCE + r" = \frac12\sum_{j=1}^J(\mu_j^2+\sigma_j^2-1-\log\sigma_j)", "refuted"),
        (DIVERGENCE + r" = \frac12\sum_{j=1}^J(\mu_j^2+\sigma_j^2+1-\log\sigma_j^2)", "refuted"),
        (DIVERGENCE + r" = -\frac12\sum_{j=1}^J(\mu_j^2+\sigma_j^2-1-\log\sigma_j^2)", "refuted"),
        # no sum over coordinates, or not over all of them: never accepted
        (DIVERGENCE + r" = \frac12\sum_{j=1}^J(\mu_j^2+\sigma_j^2-\log\sigma_j^2) - \frac{1}{2}", "outside"),
        (DIVERGENCE + r" = \frac12\sum_{j=1}^J(\mu_j^2+\sigma_j^2-\log\sigma_j^2) - \frac{d}{2}", "outside"),
        (DIVERGENCE + r" = \frac12\prod_{j=1}^J(\mu_j^2+\sigma_j^2-1-\log\sigma_j^2)", "outside"),
        (DIVERGENCE + r" = \frac12\sum_{j=2}^J(\mu_j^2+\sigma_j^2-1-\log\sigma_j^2)", "outside"),
        (LAWS + r"-\mathrm{KL}(q(z|x)\|p(z)) = \frac12\sum_{j=1}^J(1+\log\sigma_j^2-\mu_j^2-\sigma_j^2)", "identity"),
        (LAWS + r"\mathrm{KL}(q(z|x)\|p(z)) = \frac12\sum_{j=1}^J(1+\log\sigma_j^2-\mu_j^2-\sigma_j^2)", "refuted"),
    ],
)
def test_the_divergence_of_a_variational_autoencoder(latex, kind):
    verdict = judge(latex, "gaussian", explain=False)
    assert verdict.kind == kind, verdict.reason
    if kind == "identity":
        assert "sums over them" in verdict.assumptions[0]
    if kind == "refuted":
        assert r"\mu_1" in str(verdict.counterexample)


REASONS = [
    ("gaussian", r"\bar\alpha_t = \prod_{t=1}^T \alpha_t", r"The index t of \prod_{t=1}^{T} runs inside it, and t outside of it is another one"),
    ("diffusion", r"\log p(x_{t-1}|x_t) = \sum_{t=1}^T \log p(x_{t-1}|x_t)", "with two letters the line says what is meant, such as s inside"),
    ("diffusion", r"q(x_{1:T}|x_0) = \prod_{t=0}^T q(x_t|x_{t-1})", r"At t = 0, where \prod_{t=0}^{T} begins, it needs x_{-1}"),
    ("hvae", r"p(x,z_{1:T}) = p(z_T)p(x|z_1)\prod_{t=1}^T p(z_{t-1}|z_t)", "it needs z_0, which does not exist: begin at 2"),
    ("gaussian", r"q(x_t|x_0) = \mathcal{N}(x_t;\bar\alpha_t x_0,(1-\bar\alpha_t) I)", "the mean of the laws, not the variance"),
    ("gaussian", r"q(x_t|x_0) = \mathcal{N}(x_t;\sqrt{\bar\alpha_t} x_0,\sqrt{1-\bar\alpha_t} I)", "the variance of the laws, not the mean"),
    ("gaussian", r"\tilde\mu_t(x_t,x_0) = \frac{\sqrt{\bar\alpha_{t-1}}\beta_t}{1-\bar\alpha_t}x_0 + \sqrt{\alpha_t} x_t", "the factor of x_t, not that of x_0"),
    ("gaussian", rf"L_{{t-1}} = {SQUARE}", "the term without vectors, and no other"),
    ("gaussian", r"x_t = (1-t) x_0 + t \epsilon", "where the time is a number, the setting is flow or edm"),
]


@pytest.mark.parametrize(("setting", "latex", "says"), REASONS)
def test_the_reason_names_the_cause(setting, latex, says):
    verdict = judge(latex, setting, explain=False)
    assert verdict.kind in ("refuted", "undecided")
    assert says in verdict.reason, verdict.reason


@pytest.mark.parametrize("latex", [r"\prod_{s=1}^t \alpha_s", r"\prod_{s=1}^{t-1} \alpha_s"])
def test_an_index_that_only_bounds_another_is_no_clash(latex):
    assert "runs inside" not in judge(rf"\bar\alpha_{{t+1}} = {latex}", "gaussian", explain=False).reason


def test_a_missing_constant_is_offered():
    assert judge(rf"L_{{t-1}} = {SQUARE}", "gaussian").repairs[0][0].endswith("+ C")


def test_what_a_reading_takes_for_granted_is_listed():
    law = judge(r"x_t = \sqrt{\alpha_t} x_{t-1} + \sqrt{\beta_t} z", "gaussian")
    assert law.kind == "identity"
    assert "independent" in law.assumptions[0]
    ddim = judge(
        r"q(x_{t-1}|x_t,x_0) = \mathcal{N}(x_{t-1}; \sqrt{\bar\alpha_{t-1}}x_0 + \sqrt{1-\bar\alpha_{t-1}-\sigma_t^2}"
        r"\frac{x_t-\sqrt{\bar\alpha_t}x_0}{\sqrt{1-\bar\alpha_t}}, \sigma_t^2 I)",
        "gaussian",
    )
    assert ddim.kind == "identity"
    assert "family q_sigma of DDIM" in ddim.assumptions[0]
