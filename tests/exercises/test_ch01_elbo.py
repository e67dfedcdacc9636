"""Checks of the written answers in exercises/ch01_elbo.md. course.equations is imported by the checks, not by this file."""

from course.grading import task
from course.grading.written import expect_choice, expect_statement

ELBO = r"\mathbb{E}_{q(z|x)}\left[\log \frac{p(x, z)}{q(z|x)}\right]"
LEFT = r"\log p(x)"


@task("ch01.which")
def test_which(student):
    expect_choice(student.answer("ch01.which"), ["right"], {
        "left": "The left term has the joint p(x, z) in it: it is the lower bound itself, the part one can compute and maximise.",
        "right": "The right term compares two laws of z, q(z|x) and p(z|x), which is what a KL divergence does.",
        "both": "One of the terms stays what it is and is maximised; only one becomes a divergence.",
        "neither": "With its logarithm in the right place, one of the two is exactly a KL divergence.",
    }, "the answer")


@task("ch01.printed")
def test_printed(student):
    expect_statement(student.answer("ch01.printed"), LEFT, must=("E", "p(x,z)", "p(z|x)"), must_not=("KL", "p(x)"), known={
        "this is the printed line again, with its slip: the logarithm of a mean is not the mean of the logarithm":
            rf"\log p(x) = {ELBO} + \log \mathbb{{E}}_q\left[\frac{{q(z|x)}}{{p(z|x)}}\right]",
        "the logarithm is gone from the second term; it has to go inside the mean":
            rf"\log p(x) = {ELBO} + \mathbb{{E}}_q\left[\frac{{q(z|x)}}{{p(z|x)}}\right]",
        "the fraction in the second term is upside down": rf"\log p(x) = {ELBO} + \mathbb{{E}}_q\left[\log \frac{{p(z|x)}}{{q(z|x)}}\right]",
        "the second term is subtracted where it is added": rf"\log p(x) = {ELBO} - \mathbb{{E}}_q\left[\log \frac{{q(z|x)}}{{p(z|x)}}\right]",
        "the second term compares q(z|x) with the prior p(z); it is the posterior p(z|x) that is left over":
            rf"\log p(x) = {ELBO} + \mathbb{{E}}_q\left[\log \frac{{q(z|x)}}{{p(z)}}\right]",
        "changing = into an inequality does not mend the slip, it hides it":
            rf"\log p(x) \le {ELBO} + \log \mathbb{{E}}_q\left[\frac{{q(z|x)}}{{p(z|x)}}\right]",
    })


@task("ch01.full")
def test_full(student):
    expect_statement(student.answer("ch01.full"), LEFT, must=("E", "KL", "p(x,z)"), must_not=("p(x)",), known={
        "the divergence is subtracted where it is added": rf"\log p(x) = {ELBO} - D_{{KL}}(q(z|x) \| p(z|x))",
        "the two laws of the divergence are swapped": rf"\log p(x) = {ELBO} + D_{{KL}}(p(z|x) \| q(z|x))",
        "the divergence is from the prior p(z); it is the posterior p(z|x) that is left over": rf"\log p(x) = {ELBO} + D_{{KL}}(q(z|x) \| p(z))",
        "this is an inequality; with the divergence in it, the two sides are equal": rf"\log p(x) \ge {ELBO} + D_{{KL}}(q(z|x) \| p(z|x))",
        "this leaves the divergence out; then the two sides are no longer equal": rf"\log p(x) = {ELBO}",
        "the fraction in the lower bound is upside down":
            r"\log p(x) = \mathbb{E}_q\left[\log \frac{q(z|x)}{p(x, z)}\right] + D_{KL}(q(z|x) \| p(z|x))",
    })


@task("ch01.bound")
def test_bound(student):
    expect_statement(student.answer("ch01.bound"), LEFT, (">=",), equals=ELBO, must=("E",), must_not=("KL", "p(x)"), known={
        "without the divergence the two sides are not equal: it is never negative, so one side is larger": rf"\log p(x) = {ELBO}",
        "the inequality points the wrong way": rf"\log p(x) \le {ELBO}",
        "the logarithm stands outside the mean: then the mean is exactly p(x), and nothing was bounded":
            r"\log p(x) \ge \log \mathbb{E}_q\left[\frac{p(x, z)}{q(z|x)}\right]",
        "the fraction is upside down": r"\log p(x) \ge \mathbb{E}_q\left[\log \frac{q(z|x)}{p(x, z)}\right]",
        "this has p(z|x) where the joint p(x, z) is meant": r"\log p(x) \ge \mathbb{E}_q\left[\log \frac{p(z|x)}{q(z|x)}\right]",
        "q(z|x) below the joint is missing; without it the mean is no bound for densities": r"\log p(x) \ge \mathbb{E}_q[\log p(x, z)]",
        "the logarithm is missing": r"\log p(x) \ge \mathbb{E}_q\left[\frac{p(x, z)}{q(z|x)}\right]",
    }, wanted="the evidence lower bound")


@task("ch01.terms")
def test_terms(student):
    expect_statement(student.answer("ch01.terms"), LEFT, (">=",), equals=ELBO, must=("E", "KL", "p(x|z)"), must_not=("p(x,z)", "p(x)"), known={
        "this is an equality; what was dropped on the way makes it a lower bound": r"\log p(x) = \mathbb{E}_q[\log p(x|z)] - D_{KL}(q(z|x) \| p(z))",
        "the divergence is added where it is subtracted: being far from the prior costs something":
            r"\log p(x) \ge \mathbb{E}_q[\log p(x|z)] + D_{KL}(q(z|x) \| p(z))",
        "the two laws of the divergence are swapped": r"\log p(x) \ge \mathbb{E}_q[\log p(x|z)] - D_{KL}(p(z) \| q(z|x))",
        "the divergence is from the posterior p(z|x); in this form it is from the prior p(z)":
            r"\log p(x) \ge \mathbb{E}_q[\log p(x|z)] - D_{KL}(q(z|x) \| p(z|x))",
        "the reconstruction term has the joint p(x, z), so the prior is counted twice":
            r"\log p(x) \ge \mathbb{E}_q[\log p(x, z)] - D_{KL}(q(z|x) \| p(z))",
        "the mean of the reconstruction is missing, so z has no value": r"\log p(x) \ge \log p(x|z) - D_{KL}(q(z|x) \| p(z))",
        "the inequality points the wrong way": r"\log p(x) \le \mathbb{E}_q[\log p(x|z)] - D_{KL}(q(z|x) \| p(z))",
    }, wanted="the evidence lower bound")


@task("ch01.measure")
def test_measure(student):
    expect_choice(student.answer("ch01.measure"), ["A", "C", "D"], {
        "A": "Write the divergence out: it is the mean of log q(z|x) - log p(z|x), with z drawn from q.",
        "B": "The mean is taken over q only. Try two laws on two points: the two directions differ.",
        "C": "It is zero exactly where both laws agree.",
        "D": "Look at the full equation: log p(x) is the bound plus the divergence.",
        "E": "A single logarithm can be negative; its mean over q never is (Jensen).",
        "F": "It compares two laws of z for a given x. It never looks at a picture.",
    }, "the true statements")
