r"""The spellings met in public notes: each is read, and read as the same thing. Broken TeX is located.

Every group is a canonical statement and the ways people write it.
"""

import pytest

from course.equations.reading.reader import ReadError, read, read_statement
from course.equations.reading.tree import latex

ELBO = r"\log p(x) \geq \mathbb{E}_{q(z|x)}\left[\log \frac{p(x,z)}{q(z|x)}\right]"
BODY = r"\left[\log \frac{p(x,z)}{q(z|x)}\right]"
KL_LINE = r"D_{\mathrm{KL}}(q(z|x) \| p(z)) \geq 0"
CHAIN = r"q(z_{1:T}|x) = q(z_1|x) \prod_{t=2}^{T} q(z_t|z_{t-1})"

SAME = {
    # expectations
    "01": (ELBO, r"\log p_\theta(x) \geq \mathbb{E}_{q_\phi(z|x)}[\log \frac{p_\theta(x,z)}{q_\phi(z|x)}]"),
    "02": (
        r"\mathbb{E}_{q(z|x^{(i)})}[\log p(x^{(i)}|z)] \leq 0",
        r"\mathbb E_{q_{\phi}(z \vert x^{(i)})} [\log p(x^{(i)}|z)] \leq 0",
    ),
    "03": (ELBO, r"\log p(x) \geq E_{q_{\phi}(z|x)}" + BODY),
    "04": (r"\log p(x) \geq E_{z \sim q}" + BODY, r"\log p(X) \geq E_{Z \sim q}[\log \frac{p(X,Z)}{q(Z|X)}]"),
    "05": (ELBO, r"\log p(x) \geq \mathbb{E}_{z \sim q_\phi(z|x)} [\log \frac{p(x,z)}{q(z|x)} ]"),
    "06": (
        r"\mathbb{E}_{x_{1:T} \sim q}[\log p(x_T)] = 0",
        r"\mathbb{E}_{\mathbf{x}_{1:T}\sim q}\left[\log p(\mathbf x_T)\right] = 0",
    ),
    "07": (r"\log p(x) \geq \mathbb{E}_q" + BODY, r"\log p(x) \geq \mathbb{E_q}" + BODY),
    "08": (
        ELBO,
        r"\log p(x) \geq \mathop{\mathbb{E}}_{q(z|x)}" + BODY,
        r"\log p(x) \geq \mathop{\mathbb{E}}\limits_{q(z|x)}" + BODY,
    ),
    "09": (ELBO, r"\log p(x) \geq \underset{z \sim q(z|x)}{\mathbb{E}}" + BODY),
    "10": (r"\mathbb{E}_{p}[\log p(z)] \leq 0", r"\mathbb{E}_{p}\left(\log p(z)\right) \leq 0"),
    "11": (
        ELBO,
        r"\log p(x) \geq \mathbb{E}_{q(z|x)} \Big{[}\log \frac{p(x,z)}{q(z|x)}\Big{]}",
        r"\log p(x) \geq \mathbb{E}_{q(z|x)} \Big[\log \frac{p(x,z)}{q(z|x)}\Big]",
    ),
    "12": (
        r"0 \geq \mathbb{E}_q[\log p(x|z) - \log q(z|x)]",
        "0 \\geq \\mathbb{E}_q\\Bigg[ & \\log p(x|z) \\\\ & - \\log q(z|x) \\Bigg]",
    ),
    "13": (ELBO, r"\log p(x) \geq \mathbb{E}_{q(z|x)}\!\left[\log \frac{p(x,z)}{q(z|x)}\right]"),
    "14": (
        r"\mathbb{E}_{q(x_0)}[\mathbb{E}_{q(x_{1:T}|x_0)}[\log p(x_T)]] = 0",
        r"\mathbb{E}_{x_0\sim q}\,\mathbb{E}_{x_{1:T}\sim q(x_{1:T}|x_0)}[\log p(x_T)] = 0".replace(
            r"x_0\sim q}", r"x_0\sim q(x_0)}"
        ),
    ),
    "15": (r"\mathbb{E}_q[\log p(x|z)] = 0", r"\mathbb{E}_q \log p(x|z) = 0"),
    # densities
    "16-19": (
        r"p(x|z) = 1",
        r"p(x \mid z) = 1",
        r"p(x \vert z) = 1",
        r"p(x \given z) = 1",
        r"p\left(x \middle| z\right) = 1",
        r"p\bigl(x\bigm|z\bigr) = 1",
    ),
    "20-23": (
        r"p(x|z) = q(x_{t-1})",
        r"p_{\boldsymbol\theta}(\boldsymbol{x}|\bm{z}) = q(\mathbf x_{t-1})",
        r"p(\bx | \bz) = q(\bx_{t-1})",
        r"p_{\theta}(\mathbf{x} | {\bf z}) = q(\vx_{t-1})",
    ),
    "24": (r"D_{KL}(q(z|x) \| p(z)) = 0", r"D_{KL}(q(\cdot|x) \| p(z)) = 0"),
    "25": (r"p_{\text{data}}(x) = 1", r"p_{\rm data}(x) = 1", r"p_{\mathrm{data}}(x) = 1", r"p_\text{data}(x) = 1"),
    "26": (r"p(x) = 1", r"p(x;\theta) = 1", r"p_\theta(x) = 1"),
    "27a": (r"p(x^{(i)}|z') = 1", r"p(x^{(i)} | z^\prime) = 1", r"p(x^{(i)} | z^{\prime}) = 1"),
    "27b": (r"p(\hat{x}|z) = 1", r"p(\hat x|z) = 1"),
    "28": (r"p(x_{1:T}) = 1", r"p(X_{1:T}) = 1"),
    "30": (r"p(x_{t-1}|x_{t:T}) = 1", r"p(\mathbf{x}_{t-1}\mid\mathbf{x}_{t:T}) = 1"),
    "31": (r"p(z_t|z_{\leq t-1}) = 1", r"p(z_t|z_{<t}) = 1", r"p(z_t|z_{\le t-1}) = 1", r"p(z_t | z_{\lt t}) = 1"),
    "32": (r"p(z_t|z_{1:t-1}) = 1", r"p(z_t|z_{1 : t - 1}) = 1"),
    "33": (r"q(x_t|x_{t-1}) = 1", r"q\left(\mathbf{x}_{t} \mid \mathbf{x}_{t-1}\right) = 1"),
    # KL
    "34-41": (
        KL_LINE,
        *(
            s + r"(q(z|x) \| p(z)) \geq 0"
            for s in (
                r"D_{KL}",
                r"D_{\text{KL}}",
                r"D_\text{KL}",
                r"D_{\mathrm{KL}}",
                r"D_{\rm KL}",
                r"\mathcal{D}_{\text{KL}}",
                r"\mathrm{KL}",
                r"\text{KL}",
                r"\operatorname{KL}",
                r"KL",
                r"\mathbb{D}_{KL}",
            )
        ),
        r"\KL{q(z|x)}{p(z)} \geq 0",
    ),
    "42-52": (
        KL_LINE,
        *(
            r"D_{KL}(q(z|x)" + s + r"p(z)) \geq 0"
            for s in ("||", r"\mid\mid ", r"\mid \mid ", r"\parallel ", r"\Vert ", r"\,\|\,", r"\ \| \ ", r" | ")
        ),
        r"D_{KL}\left(q(z|x)\,\middle\|\,p(z)\right) \geq 0",
        r"D_{KL}\left(q(z|x)\,\left\| p(z) \right. \right) \geq 0",
        r"D_{KL}\left[q(z|x)\,||\,p(z)\right] \geq 0",
    ),
    "53": (r"D_{KL}(q \| p) \geq 0", r"\mathrm{KL}(q || p) \geq 0"),
    # products and logarithms
    "54a": (r"\prod_{t \geq 2} p(x_{t-1}|x_t) = 1", r"\prod_{t>1} p(x_{t-1}|x_t) = 1", r"\prod_{t\ge 2} p(x_{t-1}|x_t) = 1"),
    "54b": (r"\sum_{t \geq 1} \log p(x_t) = 1", r"\sum_{t\ge1} \log p(x_t) = 1"),
    "55": (
        CHAIN,
        r"q(z_{1:T}|x) = q(z_1|x) \prod^{\mathrm{T}}_{t=2} q(z_t|z_{t-1})",
        r"q(z_{1:T}|x) = q(z_1|x) \prod_{t=2}^T q(z_t|z_{t-1})",
    ),
    "56": (r"\prod_{t=1}^{T} p(x_{t-1}|x_t) = 1", r"\prod_{t=T}^1 p(x_{t-1}|x_t) = 1"),
    "57": (CHAIN, r"q(z_{1:T}|x) = q(z_1|x) \prod\limits_{t=2}^T q(z_t|z_{t-1})"),
    "58a": (
        r"\prod_{t=2}^T \left(p(z_{t-1}|z_t) q(z_t|z_{t-1})\right) = 1",
        r"\prod_{t=2}^T p(z_{t-1}|z_t) q(z_t|z_{t-1}) = 1",
    ),
    "58b": (r"\left(\sum_{t=2}^T \log p(z_t)\right) + \log p(x) = 1", r"\sum_{t=2}^T \log p(z_t) + \log p(x) = 1"),
    "59": (r"\log (p(z)) = 1", r"log(p(z)) = 1", r"logp_\theta(z) = 1", r"\log p(z) = 1"),
    "60-61": (
        r"\log \frac{p(x,z)}{q(z|x)} = 1",
        r"\log{\frac{p(x,z)}{q(z|x)}} = 1",
        r"\log p(x,z)/q(z|x) = 1",
        r"\log\left(p(x,z)/q(z|x)\right) = 1",
    ),
    "62": (r"\log p(x) = 1", r"\ln p(x) = 1"),
    "63": (r"\frac{1}{2} p(x) = \frac{p(x)}{2}", r"\frac12 p(x) = \dfrac{p(x)}{2}", r"\tfrac{1}{2} p(x) = \frac{p(x)}2"),
    "63b": (r"\frac{p(x)}{\frac{p(x,z)}{p(z|x)}} = 1", r"\cfrac{p(x)}{\cfrac{p(x,z)}{p(z|x)}} = 1"),
    "64": (r"p(x|z) p(z) = 1", r"p(x|z) \cdot p(z) = 1", r"p(x|z) \times p(z) = 1", r"p(x|z) * p(z) = 1"),
    # relations and layout
    "65": (r"p(x) = 1", r"p(x) &= 1", r"p(x) =& 1", r"p(x) & = 1", r"\begin{aligned} p(x) &= 1 \end{aligned}"),
    "65b": (r"p(x) \geq 1", r"p(x) &\ge 1", r"p(x) \geqslant 1", r"p(x) >= 1"),
    "66": (r"L := p(x)", r"L \triangleq p(x)", r"L \defeq p(x)", r"L \coloneqq p(x)", r"L \overset{\text{def}}{=} p(x)"),
    "66b": (r"p(x) =: L", r"p(x) \eqqcolon L"),
    "67": (r"p(x) < 1", r"p(x) \lt 1"),
    "68": (
        r"p(x) \geq 1",
        r"p(x) \overset{\text{Jensen}}{\geq} 1",
        r"p(x) \stackrel{(a)}{\ge} 1",
        r"p(x) \underset{\text{Jensen}}{\geq} 1",
    ),
    "68b": (r"p(x) = 1", r"p(x) \overset{Bayes}{=} 1"),
    "69": (
        r"p(x) = p(x,z) = 1",
        "p(x) &= p(x,z) \\\\ &= 1",
        "p(x) &= p(x,z) \\\\[5pt] &= 1",
        "p(x) &= p(x,z) \\cr &= 1",
        "p(x) &= p(x,z) \\\\\\\\ &= 1",
    ),
    "70": (
        r"p(x) = 1",
        r"p(x) = 1 \tag{20}",
        r"\label{eq:a} p(x) = 1",
        r"p(x) = 1 &\quad \cdots \quad (1)",
        r"p(x) = 1 \qquad (3)",
        r"p(x) = 1 \nonumber",
    ),
    "71": (
        r"p(x) + p(z) = 1",
        r"\underbrace{p(x)}_{L_T} + \boxed{p(z)} = 1",
        r"\underbrace{p(x)}_{\text{reconstruction term}} + p(z) = 1",
    ),
    "72": (
        r"p(x) = 1",
        *(
            rf"\begin{{{e}}} p(x) = 1 \end{{{e}}}"
            for e in ("align", "align*", "aligned", "equation", "split", r"align\*", "equation*")
        ),
    ),
    "73": (r"p(x) = p(x,z) = 1", "> $$\n> \\begin{aligned}\n> p(x) &= p(x,z) \\\\\n> &= 1\n> \\end{aligned}\n> $$"),
    "74": (
        r"p(x_t) = 1",
        r"$p(x_t) = 1$",
        r"$$p(x_t) = 1$$",
        r"\\(p(x_t) = 1\\)",
        r"\\[p(x_t) = 1\\]",
        r"p(x\_t) = 1",
        r"\[p(x_t) = 1\]",
        r"\(p(x_t) = 1\)",
    ),
    "75": (r"p(x) \leq p(z) = p(x,z) =: L", r"p(x) &\le p(z) \\ &= p(x,z) =: L"),
    # integrals
    "76-78": (
        r"\int p(x,z) \, dz = p(x)",
        r"\int p(x,z)dz = p(x)",
        r"\int \mathrm{d}z\, p(x,z) = p(x)",
        r"\int p(x,z)\,\mathrm dz = p(x)",
        r"\int p(x,z) \text{d}z = p(x)",
        r"\int p(x,z) \, d\mathbf{z} = p(x)",
        r"\sum_z p(x,z) = p(x)",
        r"\int_z p(x,z) = p(x)",
        r"\int_{z} p(x,z)\,dz = p(x)",
        r"\int_{\mathcal{Z}} p(x,z)\,dz = p(x)",
        r"\sum_{z \in \mathcal{Z}} p(x,z) = p(x)",
    ),
    "79": (
        r"\int p(x_{0:T}) \, dx_{1:T} = p(x_0)",
        r"\int p(x_{0:T}) \,d_{x_{1:T}} = p(x_0)",
        r"\int p(x_{0:T})\,d\mathbf{x}_{1:T} = p(x_0)",
    ),
    # Gaussian closed forms
    "81": (
        r"q(x_t|x_0) = \mathcal{N}(x_t; x_0, I)",
        r"q(x_t|x_0) = \mathcal{N}(x_t\mid x_0, I)",
        r"q(x_t|x_0) = N(x_t; x_0, \mathbf{I})",
        r"q(x_t|x_0) = \mathcal{N}\left(x_t; x_0, \bI\right)",
    ),
    "82": (
        r"\bar{\alpha}_t = 1",
        r"\bar\alpha_t = 1",
        r"\bar{\alpha_t} = 1",
        r"\overline{\alpha}_t = 1",
        r"\overline{\alpha_t} = 1",
        r"{\bar \alpha}_t = 1",
    ),
    "83": (
        r"\epsilon = 1",
        r"\varepsilon = 1",
        r"\boldsymbol\epsilon = 1",
        r"\boldsymbol{\epsilon} = 1",
        r"\bm{\varepsilon} = 1",
    ),
    "84": (
        r"\|\epsilon\|^2 = 1",
        r"\lVert \epsilon \rVert^2 = 1",
        r"\lVert \epsilon \rVert_2^2 = 1",
        r"\left\| \epsilon \right\|^2 = 1",
        r"||\epsilon||^2 = 1",
        r"\left\lVert\epsilon\right\rVert_2^2 = 1",
    ),
    "85": (r"\nabla_{x_t} \log q(x_t) = 0", r"\nabla_{\mathbf{x}_t}\log q(\mathbf{x}_t) = 0"),
    "86": (
        r"(1 - \beta_t) I = 0",
        r"(1 - \beta_t) \mathbf I = 0",
        r"(1 - \beta_t) \bI = 0",
        r"(1-\beta_t)\mathbf{I} = \mathbf{0}",
    ),
    "87": (r"(1-\bar{\alpha}_t)I = 0", r"{(1-\bar{\alpha}_t})I = 0"),
}


@pytest.mark.parametrize("name", SAME)
def test_spellings_are_read_as_the_same(name):
    canonical, *others = SAME[name]
    want = read_statement(canonical)
    for spelling in others:
        assert read_statement(spelling) == want, (
            f"{spelling}\n  read as {latex(read_statement(spelling))}\n  not as  {latex(want)}"
        )


@pytest.mark.parametrize("name", SAME)
def test_the_printed_reading_reads_back(name):
    for spelling in SAME[name]:
        tree = read_statement(spelling)
        assert read_statement(latex(tree)) == tree
        assert latex(read_statement(latex(tree))) == latex(tree)


def test_joint_in_another_order_and_spelling_means_the_same():
    from course.equations import judge

    assert judge(r"p(x_0, x_{1:T}) = p(x_{0:T})", "diffusion").kind == "identity"
    assert judge(r"p(z_2, x, z_1, z_{3:T}) = p(x, z_{1:T})", "chain").kind == "identity"


BROKEN = {
    "88": (r"D_{KL}(q(z|x^{(i)}||p(z))", 1, 19),
    "89": (r"\left(\mathbb{E}[ \log p(x) \right) \right] = 0", 1, 35),
    "90 minus": ("p(x) − 1 = 0", 1, 6),
    "90 sim": (r"\mathbb{E}_{z ∼ q}[\log p(x)] = 0", 1, 15),
    "90 epsilon": ("x_t = x_0 + ε", 1, 13),
    "open brace": (r"\frac{p(x)}{q(x) = 1", 1, 12),
    "stray brace": (r"p(x)} = 1", 1, 5),
    "open round": (r"p(x = 1", 1, 1),
    "stray round": (r"p(x)) = 1", 1, 5),
    "open environment": (r"\begin{aligned} p(x) = 1", 1, 1),
    "wrong end": (r"\begin{aligned} p(x) = 1 \end{align}", 1, 26),
    "second row": ("p(x) &= p(x,z) \\\\\n &= \\frac{p(x)}{", 2, 16),
    "crossed with a group": (r"\frac{(p(x)}{q(x))} = 1", 1, 12),
    "unknown command": (r"p(x \vee z) = 1", 1, 5),
    "no relation's right": (r"p(x) =", 1, 7),
    "two relations": (r"p(x) = = 1", 1, 8),
    "sum over nothing": (r"\sum p(x) = 1", 1, 1),
    "integral without measure": (r"\int p(x) = 1", 1, 1),
    "measure without integral in row": (r"\int p(x) dx dz \int q(x) = 1", 1, 17),
    "dots": (r"p(z_1) p(x) \cdots p(z_T) = 1", 1, 13),
    "dots before nothing": (r"p(z_1) p(z_2) \cdots = 1", 1, 15),
    "double subscript": (r"x_t_s = 1", 1, 4),
    "KL of one": (r"D_{KL}(q(z|x)) = 0", 1, 14),
    "empty": ("", 1, 1),
    "only spaces": ("  \n ", 1, 1),
    "tab control": ("p(x)\x07 = 1", 1, 5),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_tex_is_located(name):
    text, line, column = BROKEN[name]
    with pytest.raises(ReadError) as caught:
        read(text)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert caught.value.message
    assert str(caught.value).startswith(f"line {line}, column {column}: ")
