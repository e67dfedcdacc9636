"""Derivations: points for every step, the first wrong row, a missing step, and lines that nobody expected."""

import pytest

from course.grading.derivations import expect_derivation
from course.grading.errors import CheckFailed
from course.grading.manifest import CHECKS
from course.grading.written import load_answers

TASKS = load_answers(CHECKS / "answers")
GAP = TASKS["ch01.gap"]
ELBO = r"\mathbb{E}_q\left[\log \frac{p(x, z)}{q(z|x)}\right]"
END = ELBO + r" + D_{KL}(q(z|x) \| p(z|x))"
POSTERIOR = r"\mathbb{E}_q\left[\log \frac{p(x, z)}{p(z|x)}\right]"
APART = ELBO + r" + \mathbb{E}_q\left[\log \frac{q(z|x)}{p(z|x)}\right]"


def chain(*lines, relation=" = "):
    return relation.join(lines)


def failure(answer, spec=GAP):
    with pytest.raises(CheckFailed) as failed:
        expect_derivation(answer, spec)
    return failed.value


def test_a_right_derivation_passes_however_its_rows_are_written():
    expect_derivation(chain(r"\log p(x)", POSTERIOR, APART, END), GAP)
    expect_derivation(rf"\log p(x) = {POSTERIOR} \\ {POSTERIOR} = {APART} \\ {APART} = {END}", GAP)
    expect_derivation(rf"\log p(x) = {POSTERIOR} \\ \log p(x) = {APART} \\ \log p(x) = {END}", GAP)
    expect_derivation(chain(r"\log p(x)", APART, END), GAP)          # a row that takes two rules at once is allowed


@pytest.mark.parametrize(("lines", "earned", "said"), [
    ((r"\log p(x)", END), 1 / 3, "jumps from the first line to the last"),
    ((r"\log p(x)", POSTERIOR, END), 2 / 3, "a step is missing: the guess slipped in"),
    ((r"\log p(x)", POSTERIOR, APART), 2 / 3, "the last line is not the one"),
    ((r"\log p(x)", POSTERIOR, APART, ELBO + r" - D_{KL}(q(z|x) \| p(z|x))"), 2 / 3, "row 3 does not follow from row 2"),
    ((r"\log p(x)", POSTERIOR, ELBO + r" + \mathbb{E}_q\left[\log \frac{p(z|x)}{q(z|x)}\right]", END), 1 / 3, "row 2 does not follow from row 1"),
    ((r"\log p(x)", ELBO, APART, END), 0, "row 1 does not follow from the first line"),
    ((r"\mathbb{E}_q[\log p(x)]", POSTERIOR, APART, END), 0, "the first line should be"),
    ((r"\log p(x)", r"\log p(x) + 0 \log p(z)", POSTERIOR, APART, END), 2 / 3, "factor of zero"),
])
def test_every_step_earns_its_part(lines, earned, said):
    failed = failure(chain(*lines))
    assert said in str(failed)
    assert failed.earned == pytest.approx(earned)


def test_a_wrong_row_comes_with_a_case_and_with_what_is_near():
    said = str(failure(chain(r"\log p(x)", POSTERIOR, APART, ELBO + r" + D_{KL}(p(z|x) \| q(z|x))")))
    assert "A case in which it fails" in said
    assert "single edit would mend it" in said
    assert END not in said                                           # the row that would be right is not given away


def test_a_respelt_end_is_no_step():
    """The last line in another order, or with its logarithms apart, is still the last line: the jump stays a jump."""
    split = TASKS["ch01.split"]
    again = r"-D_{KL}(q(z|x) \| p(z)) + \mathbb{E}_{q(z|x)}[\log p(x|z)]"
    assert "jumps" in str(failure(chain(ELBO, again, r"\mathbb{E}_q[\log p(x|z)] - D_{KL}(q(z|x) \| p(z))"), split))
    jensen = TASKS["ch01.jensen"]
    assert "jumps" in str(failure(rf"\log p(x) \ge \mathbb{{E}}_q[\log p(x, z) - \log q(z|x)] = {ELBO}", jensen))


@pytest.mark.parametrize("junk", [
    r"\log p(x) + \mathbb{E}_q\left[\log \frac{p(x, z) q(z|x)}{q(z|x) p(x, z)}\right]",
    r"\mathbb{E}_q\left[\log \frac{p(x) p(x, z) q(z|x) p(z|x)}{p(x, z) q(z|x) p(z|x)}\right]",
    r"\log p(x) + \mathbb{E}_q[\log p(x, z) - \log p(x, z)] + \mathbb{E}_q[\log q(z|x) - \log q(z|x)]",
    r"\mathbb{E}_q[\log p(x) + \log p(x, z) - \log p(z|x) + \log q(z|x) - \log p(x, z) + \log p(z|x) - \log q(z|x)]",
])
def test_letters_that_come_and_go_in_one_line_are_no_step(junk):
    """A line with every letter in it from which nothing follows: the jump behind it stays a jump."""
    assert failure(chain(r"\log p(x)", junk, END)).earned < 0.5


def test_letters_that_do_not_belong():
    prior = r"\mathbb{E}_q\left[\log \frac{p(x, z) p(z)}{p(z|x) p(z)}\right]"
    assert r"p(z) is none of the laws" in str(failure(chain(r"\log p(x)", prior, APART, END), {**GAP, "atoms": ["p(x, z)", "p(z|x)", "q(z|x)"]}))
    score = TASKS["ch05.score"]
    stray = (r"\nabla_{x_t} \log q(x_t | x_0) = -\frac{x_t - \sqrt{\bar\alpha_t} x_0}{1 - \bar\alpha_t} + \sigma_t x_t - \sigma_t x_t"
             r" = -\frac{\epsilon}{\sqrt{1 - \bar\alpha_t}}")
    assert r"\sigma_t is none of the letters" in str(failure(stray, score))


@pytest.mark.parametrize("answer", ["", "?", r"\log p(x)", "TODO", r"\frac{", "x" * 9000, r"\log p(x) = \\ = 1", r"1 = 2 \\ 3 = 4",
                                    r"\log p(x) = \input{answers}", "=" * 50, r"\log p(x) \sim q"])
def test_what_is_no_derivation(answer):
    failed = failure(answer)
    assert failed.cause in ("unreadable", "wrong_value")
    assert failed.earned == 0
