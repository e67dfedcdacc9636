"""The cards below formulas: the slips they offer are judged, and what they say of a verdict is all there."""

import html
import re

import pytest

from course.equations import judge
from course.equations.cards import MOST, SLIPS, broken, slips
from tests.course.equations.test_pages import CHAIN, FALSE, TRUE, convert, formula, page

LINES = {
    r"\log p(x) \geq \mathbb{E}_{q}\left[\log \frac{p(x, z)}{q(z \mid x)}\right]": "vae",
    r"\alpha_t \cdot \left(1 - \bar{\alpha}_{t-1}\right) + \beta_t = 1 - \bar{\alpha}_t": "gaussian",
    r"q(z_{1:T} \mid x) = q(z_1 \mid x) \, \prod_{t=2}^{T} q(z_t \mid z_{t-1})": "hvae",
}


@pytest.mark.parametrize("latex", LINES)
def test_every_slip_is_judged_and_shows_its_numbers(latex):
    found = broken(latex, LINES[latex])
    assert 3 <= len(found) <= MOST
    assert len({each["kind"] for each in found}) == len(found), "one slip of each kind"
    assert sum(each["verdict"] == "refuted" for each in found) >= 3
    for each in found:
        assert each["kind"] in SLIPS
        assert judge(each["latex"], LINES[latex]).kind == each["verdict"]
        if each["verdict"] == "refuted":
            assert re.search(r"\d|depends on|not defined", each["numbers"]), each


def test_what_cannot_be_read_or_is_no_single_line_has_no_slips():
    assert list(slips(r"\left( p(x")) == []
    assert list(slips("p(x)")) == []
    assert list(slips("p(x) = p(x) = p(x)")) == []
    assert broken("", "vae") == []


def test_a_card_says_what_the_judge_said():
    out = html.unescape(convert(page("# T", formula(CHAIN), formula(FALSE, "setting=vae wrong"), formula("a = b", 'cited="Ho 2020"'))))
    assert out.count('<details class="formula-card"') == 3
    assert out.count("<section id=") == 5
    assert "<dt>Claim</dt><dd>the inequality always holds, and is strict somewhere</dd>" in out
    assert "the gap is KL(q(z|x) || p(z|x))" in out
    assert "positivity: every probability is greater than zero" in out
    assert "<dt>Numbers that refute it</dt>" in out
    assert 'so "=" fails' in out
    assert "course prove --setting vae '" in out
    assert "<dt>How it is known</dt><dd>cited: Ho 2020</dd>" in out
    assert "title=" not in out, "what only a mouse can read is not shown"


def test_anchors_are_of_the_formula_and_differ_on_a_page():
    out = convert(page("# T", formula(TRUE), formula(TRUE), formula(CHAIN)))
    anchors = re.findall(r'<details class="formula-card" id="([^"]+)"', out)
    assert len(set(anchors)) == 3
    assert anchors[1] == anchors[0] + "x"
    assert re.findall(r'<details class="formula-card" id="([^"]+)"', convert(formula(TRUE)))[0] == anchors[0]


def test_latex_with_signs_of_html_is_only_text():
    out = convert(page("# T", formula(r"1 < 2 \quad \text{<img src=x>}", 'cited="<b>x</b>"')))
    assert "<img" not in out
    assert "<b>x" not in out


def test_paper_gets_a_note_for_each_formula():
    out = convert(page("# T", formula(TRUE), formula(FALSE, "setting=vae wrong")))
    notes = re.search(r'<section class="formula-notes".*?</section>', out, re.S)[0]
    assert notes.count("<li>") == 2
    assert "bound, proved (vae; " in notes
    assert "left side" in notes
    assert "formula-notes" not in convert("# T")
