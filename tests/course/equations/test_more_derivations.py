r"""A second set of derivations: a right one of each kind, and the same with lines broken in ways that are known to be wrong.

Which lines are wrong follows from the right derivation: a changed term is wrong towards each neighbour it no longer equals.
"""

import pytest

from course.equations import judge_derivation

JENSEN = r"""\begin{align}
\log p(x) &= \log \int p(x,z)\,dz \\
 &= \log \int q(z|x) \frac{p(x,z)}{q(z|x)}\,dz \\
 &\ge \int q(z|x) \log \frac{p(x,z)}{q(z|x)}\,dz \\
 &= \mathbb{E}_{q(z|x)}[\log p(x,z)] + H(q(z|x)) =: \mathcal{L}(q)
\end{align}"""
GAP = r"""\begin{aligned}
D_{KL}(q(z|x)\|p(z|x)) &= \mathbb{E}_{q(z|x)}[\log q(z|x) - \log p(z|x)] \\
 &= \mathbb{E}_{q(z|x)}[\log q(z|x) - \log p(x,z) + \log p(x)] \\
 &= \log p(x) - \text{ELBO}
\end{aligned}"""
SURGERY = r"""\begin{aligned}
\text{ELBO} &= \mathbb{E}_{q(z|x)}[\log p(x|z) + \log p(z) - \log q(z|x)] \\
 &= \mathbb{E}_{q(z|x)}[\log p(x|z)] - D_{KL}(q(z|x)\|p(z)) \\
 &\le \mathbb{E}_{q(z|x)}[\log p(x|z)]
\end{aligned}"""
BAYES = r"""\begin{aligned}
q(x_t|x_{t-1}) &= q(x_t|x_{t-1},x_0) \\
 &= \frac{q(x_{t-1},x_t|x_0)}{q(x_{t-1}|x_0)} \\
 &= \frac{q(x_{t-1}|x_t,x_0)\,q(x_t|x_0)}{q(x_{t-1}|x_0)}
\end{aligned}, \quad t \ge 2"""
TELESCOPE = r"""\begin{aligned}
q(x_{1:T}|x_0) &= q(x_1|x_0) \prod_{t=2}^T q(x_t|x_{t-1}) \\
 &= q(x_1|x_0) \prod_{t=2}^T \frac{q(x_{t-1}|x_t,x_0)\,q(x_t|x_0)}{q(x_{t-1}|x_0)} \\
 &= q(x_1|x_0)\, \frac{q(x_T|x_0)}{q(x_1|x_0)} \prod_{t=2}^T q(x_{t-1}|x_t,x_0) \\
 &= q(x_T|x_0) \prod_{t=2}^T q(x_{t-1}|x_t,x_0)
\end{aligned}"""
HVAE = r"""\begin{aligned}
\log p(x) &\ge \mathbb{E}_q\left[\log\frac{p(x,z_1,\ldots,z_T)}{q(z_1,\ldots,z_T|x)}\right] \\
 &= \mathbb{E}_q\left[\log\frac{p(z_T)\,p(x|z_1)\prod_{t=2}^T p(z_{t-1}|z_t)}{q(z_1|x)\prod_{t=2}^T q(z_t|z_{t-1})}\right] \\
 &= \mathbb{E}_{q(z_{1:T}|x)}\left[\log p(x|z_1) + \log\frac{p(z_T)}{q(z_1|x)} + \sum_{t=2}^T \log\frac{p(z_{t-1}|z_t)}{q(z_t|z_{t-1})}\right]
\end{aligned}"""
TWEEDIE = r"""\begin{aligned}
\nabla_{x_t}\log q(x_t) &= \mathbb{E}_{q(x_0|x_t)}[\nabla_{x_t}\log q(x_t|x_0)] \\
 &= \frac{\sqrt{\bar\alpha_t}\,\mathbb{E}[x_0|x_t] - x_t}{1-\bar\alpha_t} \\
 &= -\frac{\mathbb{E}[\epsilon|x_t]}{\sqrt{1-\bar\alpha_t}}
\end{aligned}"""
GUIDANCE = r"""\begin{aligned}
\nabla_{x_t}\log p(x_t) + w \nabla_{x_t}\log p(y|x_t)
 &= \nabla_{x_t}\log p(x_t) + w\left(\nabla_{x_t}\log p(x_t|y) - \nabla_{x_t}\log p(x_t)\right) \\
 &= (1-w)\nabla_{x_t}\log p(x_t) + w \nabla_{x_t}\log p(x_t|y)
\end{aligned}"""
GUIDED = r"""\begin{aligned}
\tilde\epsilon &= \epsilon_\theta(x_t,\varnothing) + w(\epsilon_\theta(x_t,c) - \epsilon_\theta(x_t,\varnothing)) \\
 &= w\,\epsilon_\theta(x_t,c) + (1-w)\epsilon_\theta(x_t,\varnothing)
\end{aligned}"""
VARIANCE = r"""\begin{aligned}
\mathrm{Var}(x_t|x_0) &= \alpha_t \mathrm{Var}(x_{t-1}|x_0) + \beta_t I \\
 &= \alpha_t(1-\bar\alpha_{t-1})I + (1-\alpha_t)I \\
 &= (1-\bar\alpha_t)I
\end{aligned}"""

CASES = [
    ("vae", JENSEN, [], []),
    ("vae", JENSEN, [(r"&\ge \int", r"&= \int")], [3]),
    ("vae", JENSEN, [("+ H(q(z|x))", "- H(q(z|x))")], [4]),
    ("vae", JENSEN, [(r"q(z|x) \frac{p(x,z)}{q(z|x)}\,dz", r"q(z|x) \frac{p(x|z)}{q(z|x)}\,dz")], [2, 3]),
    ("vae", GAP, [], []),
    ("vae", GAP, [(r"+ \log p(x)]", r"- \log p(x)]")], [2, 3]),
    ("vae", GAP, [(r"- \log p(z|x)]", r"- \log p(x|z)]")], [1, 2]),
    ("vae", GAP, [(r"\log p(x) - \text{ELBO}", r"\log p(x) + \text{ELBO}")], [3]),
    ("vae", SURGERY, [], []),
    ("vae", SURGERY, [(r"] - D_{KL}", r"] + D_{KL}")], [2, 3]),
    ("vae", SURGERY, [(r"\le \mathbb", r"\ge \mathbb")], [3]),
    ("diffusion", BAYES, [], []),
    ("diffusion", BAYES, [(r"q(x_t|x_{t-1},x_0) \\", r"q(x_t|x_0) \\")], [1, 2]),
    ("diffusion", BAYES, [(r"\frac{q(x_{t-1}|x_t,x_0)\,", r"\frac{q(x_{t-1}|x_t)\,")], [3]),
    ("diffusion", TELESCOPE, [], []),
    ("diffusion", TELESCOPE, [(r"\frac{q(x_T|x_0)}{q(x_1|x_0)}", r"\frac{q(x_1|x_0)}{q(x_T|x_0)}")], [3, 4]),
    ("diffusion", TELESCOPE, [(r"= q(x_T|x_0) \prod_{t=2}", r"= q(x_T|x_0) \prod_{t=3}")], [4]),
    ("diffusion", TELESCOPE, [(r"q(x_{t-1}|x_t,x_0)\,q(x_t|x_0)", r"q(x_{t-1}|x_t)\,q(x_t|x_0)")], [2, 3]),
    ("hvae", HVAE, [], []),
    ("hvae", HVAE, [(r"&\ge", "&=")], [1]),
    ("hvae", HVAE, [(r"\prod_{t=2}^T q(z_t|z_{t-1})", r"\prod_{t=2}^T q(z_{t-1}|z_t)")], [2, 3]),
    ("hvae", HVAE, [(r"\log\frac{p(z_T)}{q(z_1|x)} + ", r"\log\frac{p(z_T)}{q(z_T|x)} + ")], [3]),
    ("gaussian", TWEEDIE, [], []),
    ("gaussian", TWEEDIE, [(r"- x_t}{1-\bar\alpha_t}", r"+ x_t}{1-\bar\alpha_t}")], [2, 3]),
    ("gaussian", TWEEDIE, [(r"= -\frac{\mathbb{E}[\epsilon", r"= \frac{\mathbb{E}[\epsilon")], [3]),
    ("gaussian", GUIDANCE, [], []),
    ("gaussian", GUIDANCE, [("(1-w)", "(1+w)")], [2]),
    ("gaussian", GUIDED, [], []),
    ("gaussian", VARIANCE, [], []),
    ("gaussian", VARIANCE, [(r"= \alpha_t \mathrm{Var}", r"= \sqrt{\alpha_t} \mathrm{Var}")], [1, 2]),
    ("gaussian", VARIANCE, [(r"(1-\alpha_t)I", r"(1-\bar\alpha_t)I")], [2, 3]),
]


@pytest.mark.parametrize(("setting", "text", "changes", "wrong"), CASES)
def test_wrong_lines(setting, text, changes, wrong):
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    found = judge_derivation(text, setting)
    assert found.wrong_steps == wrong, str(found)
    assert found.undecided_steps == []
    assert found.holds == (not wrong)


def test_a_wrong_line_with_a_letter_that_nobody_declared_is_not_accepted():
    """w and c are nobody's letters here: the line is outside, with the words to declare them; it is neither proved nor refuted."""
    found = judge_derivation(GUIDED.replace("(1-w)", "(1+w)"), "gaussian")
    assert not found.holds
    assert found.undecided_steps == [2]
    assert "declared" in found.steps[1].verdict.reason
