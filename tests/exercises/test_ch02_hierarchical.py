"""Checks of the written answers in exercises/ch02_hierarchical.md. course.equations is imported by the checks, not by this file."""

from course.grading import task
from course.grading.checks import expect
from course.grading.written import expect_choice, expect_statement

LEFT = r"\log p(x)"
DOWN = r"\prod_{t=2}^T p(z_{t-1} | z_t)"
UP = r"\prod_{t=2}^T q(z_t | z_{t-1})"
WRONG_DOWN = r"\prod_{t=2}^T p(z_t | z_{t-1})"         # the printed directions
WRONG_UP = r"\prod_{t=2}^T q(z_{t-1} | z_t)"
ELBO = r"\mathbb{E}_{q(z_{1:T}|x)}\left[\log \frac{p(x, z_{1:T})}{q(z_{1:T} | x)}\right]"


def factored(p=DOWN, q=UP, top=r"p(z_T) p(x | z_1)", bottom=r"q(z_1 | x)"):
    return rf"\mathbb{{E}}_q\left[\log \frac{{{top} {p}}}{{{bottom} {q}}}\right]"


@task("ch02.joint_p")
def test_joint_p(student):
    expect_statement(student.answer("ch02.joint_p"), "p(x, z_{1:T})", setting="hvae", must=("prod", "p(z_T)", "p(x|z_1)"), must_not=("p(x, z_{1:T})",), known={
        "the factors run up where the model runs down: it draws z_{t-1} when z_t is there":
            r"p(x, z_{1:T}) = p(z_T) p(x | z_1) \prod_{t=2}^T p(z_t | z_{t-1})",
        "p(x | z_1) is missing": rf"p(x, z_{{1:T}}) = p(z_T) {DOWN}",
        "p(z_T), where the model starts, is missing": rf"p(x, z_{{1:T}}) = p(x | z_1) {DOWN}",
        "the start is p(z_1); the model starts at the top, with z_T": rf"p(x, z_{{1:T}}) = p(z_1) p(x | z_1) {DOWN}",
        "x hangs on z_T here; its neighbour is z_1": rf"p(x, z_{{1:T}}) = p(z_T) p(x | z_T) {DOWN}",
        "the product starts at t = 3 (or stops at T - 1): one factor is missing":
            r"p(x, z_{1:T}) = p(z_T) p(x | z_1) \prod_{t=3}^T p(z_{t-1} | z_t)",
        "the product stops at T - 1: one factor is missing": r"p(x, z_{1:T}) = p(z_T) p(x | z_1) \prod_{t=2}^{T-1} p(z_{t-1} | z_t)",
        "the variables are taken as independent": r"p(x, z_{1:T}) = p(z_T) p(x | z_1) \prod_{t=2}^T p(z_{t-1})",
    })


@task("ch02.joint_q")
def test_joint_q(student):
    expect_statement(student.answer("ch02.joint_q"), "q(z_{1:T} | x)", setting="hvae", must=("prod", "q(z_1|x)"), must_not=("q(z_{1:T} | x)",), known={
        "the factors run down where the guess runs up: it draws z_t when z_{t-1} is there":
            r"q(z_{1:T} | x) = q(z_1 | x) \prod_{t=2}^T q(z_{t-1} | z_t)",
        "q(z_1 | x), where the guess starts, is missing": rf"q(z_{{1:T}} | x) = {UP}",
        "the start is q(z_T | x); the guess starts at z_1": rf"q(z_{{1:T}} | x) = q(z_T | x) {UP}",
        "the start is q(z_1), without x: the guess starts from the x that it is for": rf"q(z_{{1:T}} | x) = q(z_1) {UP}",
        "the model's factors p stand where the guess's q are meant": rf"q(z_{{1:T}} | x) = q(z_1 | x) {DOWN}",
        "the product stops at T - 1: one factor is missing": r"q(z_{1:T} | x) = q(z_1 | x) \prod_{t=2}^{T-1} q(z_t | z_{t-1})",
        "given x alone, the z_t are not independent of each other": r"q(z_{1:T} | x) = q(z_1 | x) \prod_{t=2}^T q(z_t | x)",
    })


@task("ch02.first_line")
def test_first_line(student):
    expect("no mistake" not in student.answer("ch02.first_line").lower(), "there is a mistake in this line; look at its relation")
    expect_statement(student.answer("ch02.first_line"), LEFT, (">=", "="), setting="hvae", equals=ELBO, must=("E",), must_not=("p(x)", "prod"), known={
        "this is the printed line: the two sides are not equal, the right one is only a lower bound": rf"\log p(x) = {ELBO}",
        "the inequality points the wrong way": rf"\log p(x) \le {ELBO}",
        "the fraction is upside down": r"\log p(x) \ge \mathbb{E}_q\left[\log \frac{q(z_{1:T} | x)}{p(x, z_{1:T})}\right]",
        "the divergence that was left out is subtracted; it has to be added":
            rf"\log p(x) = {ELBO} - D_{{KL}}(q(z_{{1:T}} | x) \| p(z_{{1:T}} | x))",
        "the divergence is from the prior p(z_{1:T}); it is the posterior p(z_{1:T} | x) that is left over":
            rf"\log p(x) = {ELBO} + D_{{KL}}(q(z_{{1:T}} | x) \| p(z_{{1:T}}))",
        "the joint p(x, z_{1:T}) has become p(z_{1:T})": r"\log p(x) \ge \mathbb{E}_q\left[\log \frac{p(z_{1:T})}{q(z_{1:T} | x)}\right]",
    }, wanted="the evidence lower bound")


@task("ch02.second_line")
def test_second_line(student):
    expect("no mistake" not in student.answer("ch02.second_line").lower(), "there are mistakes in this line; look at the order of the variables")
    expect_statement(student.answer("ch02.second_line"), LEFT, (">=",), setting="hvae", equals=ELBO, must=("E", "prod", "p(z_T)"), must_not=("p(x)", "KL"), known={
        "both directions are put right, but the = of the first line is still there": rf"\log p(x) = {factored()}",
        "the factors of p still run up, and the = is still there": rf"\log p(x) = {factored(p=WRONG_DOWN)}",
        "the factors of p still run up: the model draws z_{t-1} when z_t is there": rf"\log p(x) \ge {factored(p=WRONG_DOWN)}",
        "the factors of q still run down: the guess draws z_t when z_{t-1} is there": rf"\log p(x) \ge {factored(q=WRONG_UP)}",
        "only the = was put right; look at the directions of the factors too":
            rf"\log p(x) \ge {factored(WRONG_DOWN, WRONG_UP)}",
        "this is the printed line": rf"\log p(x) = {factored(WRONG_DOWN, WRONG_UP)}",
        "the inequality points the wrong way": rf"\log p(x) \le {factored()}",
        "the fraction is upside down": rf"\log p(x) \ge \mathbb{{E}}_q\left[\log \frac{{q(z_1 | x) {UP}}}{{p(z_T) p(x | z_1) {DOWN}}}\right]",
        "p(x | z_1) is missing": rf"\log p(x) \ge {factored(top='p(z_T)')}",
    }, wanted="the evidence lower bound")


def three(relation=r"\ge", first=r"\mathbb{E}_q[\log p(x | z_1)]", top=r"- D_{KL}(q(z_T | x) \| p(z_T))",
          rest=r"- \sum_{t=2}^T \mathbb{E}_q[D_{KL}(q(z_{t-1} | z_t, x) \| p(z_{t-1} | z_t))]"):
    return rf"\log p(x) {relation} {first} {top} {rest}"


@task("ch02.terms")
def test_terms(student):
    expect_statement(student.answer("ch02.terms"), LEFT, (">=",), setting="hvae", equals=ELBO, must=("E", "KL", "sum", "p(x|z_1)"), must_not=("p(x)", "prod"), known={
        "this is an equality; the three terms are a lower bound": three("="),
        "the divergences are added where they are subtracted": three(
            top=r"+ D_{KL}(q(z_T | x) \| p(z_T))", rest=r"+ \sum_{t=2}^T \mathbb{E}_q[D_{KL}(q(z_{t-1} | z_t, x) \| p(z_{t-1} | z_t))]"),
        "q(z_{t-1} | z_t) lacks its x: going up, only q(z_{t-1} | z_t, x) is known": three(
            rest=r"- \sum_{t=2}^T \mathbb{E}_q[D_{KL}(q(z_{t-1} | z_t) \| p(z_{t-1} | z_t))]"),
        "the mean around the divergences of the sum is missing: z_t has no value there": three(
            rest=r"- \sum_{t=2}^T D_{KL}(q(z_{t-1} | z_t, x) \| p(z_{t-1} | z_t))"),
        "the laws of the divergences in the sum are swapped": three(
            rest=r"- \sum_{t=2}^T \mathbb{E}_q[D_{KL}(p(z_{t-1} | z_t) \| q(z_{t-1} | z_t, x))]"),
        "the divergence at the top is missing": three(top=""),
        "the sum starts at t = 3: one divergence is missing": three(
            rest=r"- \sum_{t=3}^T \mathbb{E}_q[D_{KL}(q(z_{t-1} | z_t, x) \| p(z_{t-1} | z_t))]"),
        "the sum compares q(z_t | z_{t-1}) with p(z_{t-1} | z_t), which are laws of different variables": three(
            rest=r"- \sum_{t=2}^T \mathbb{E}_q[D_{KL}(q(z_t | z_{t-1}) \| p(z_{t-1} | z_t))]"),
        "the inequality points the wrong way": three(r"\le"),
    }, wanted="the evidence lower bound")


@task("ch02.wrong_lines")
def test_wrong_lines(student):
    expect_choice(student.answer("ch02.wrong_lines"), ["2", "3"], {
        "1": "Jensen's inequality, as in chapter 1: this row is right.",
        "2": "Look at the factors of q: which way does the guess run?",
        "3": "It ends in the right place, but it has to undo a mistake of the row above to get there, so it does not follow from it.",
        "4": "The logarithm of a product is a sum; the mean of a sum is the sum of the means: this row is right.",
        "5": "Use q(z_t | z_{t-1}) = q(z_{t-1} | z_t, x) q(z_t | x) / q(z_{t-1} | x); the quotients telescope: this row is right.",
    }, "the wrong rows")
