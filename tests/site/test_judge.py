"""<eq-check>: the judge in the page gives the very text of `course prove`."""

from __future__ import annotations

import re

import pytest

from course.equations import pages
from course.equations.command import report
from tests.site.conftest import DOCS

PAGE = "reference/judge/"
WRONG = r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x,z)}{q(z|x)}\right]"
QUICK = [
    (WRONG, "vae"), (WRONG.replace("=", r"\ge"), "vae"), (r"p(x) = \left( p(x", "vae"), (r"p(x) = \int p(x,z)\,dz \\ = 1", "vae"),
    (r"q(z_{1:T}|x) = q(z_1|x) \prod_{t=2}^T q(z_t|z_{t-1})", "chain"), (r"x_T \approx \epsilon", "diffusion"),
    ('__import__("os").system("x")', "vae"), (r"\alpha_t (1-\bar\alpha_{t-1}) + \beta_t = 1 - \bar\alpha_t", "gaussian"),
]


@pytest.fixture(scope="module")
def judge(contexts, served, site):
    if not (site / "assets" / "judge" / "judge.zip").exists() or not (site / "assets" / "runtimes" / "pyodide").exists():
        pytest.skip("this site was built without the judge for browsers: it needs npm")
    page = contexts["light"].new_page()
    page.goto(served + PAGE)
    page.wait_for_selector("eq-check[data-ready]")
    yield lambda latex, setting: page.evaluate("([latex, setting]) => courseJudge.judge(latex, setting)", [latex, setting])
    page.close()


def test_verdicts_are_the_very_text(judge):
    for latex, setting in QUICK:
        found = judge(latex, setting)
        assert (found["kind"], found["text"]) == report(latex, setting), latex


@pytest.mark.slow
def test_verdicts_of_all_formulas_of_the_site_are_the_very_text(judge):
    times = []
    for page in pages.pages(DOCS):
        for block in pages.blocks(page.read_text(encoding="utf-8").splitlines()):
            if setting := (block.options or {}).get("setting"):
                found = judge(block.latex, setting)
                times.append(found["milliseconds"])
                assert (found["kind"], found["text"]) == report(block.latex, setting), block.latex
    assert len(times) > 80


def test_by_keyboard_alone_on_a_phone(visit, judge):
    opened = visit("phone")
    page = opened.open(PAGE)
    box = page.locator("eq-check[data-ready]")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "pyodide" in request.url else None)
    assert re.search(r"Load the judge \(\d+ MB", box.locator("button[type=submit]").inner_text()), "the click says what it loads"
    assert not asked
    box.locator("textarea").focus()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("eq-check[data-kind=refuted]", timeout=120_000)
    assert 'so "=" fails' in box.locator(".eq-verdict").inner_text()
    box.locator("textarea").fill(WRONG.replace("=", r"\ge"))
    box.locator("button[type=submit]").press("Enter")
    page.wait_for_selector("eq-check[data-kind=bound]", timeout=60_000)
    box.locator(".eq-shown .katex").wait_for()
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room
    assert not opened.wrong, opened.wrong


def test_an_address_brings_its_line_and_is_only_text(visit):
    opened = visit()
    page = opened.open(PAGE + "#judge:setting=gaussian&latex=%3Cimg+src%3Dx%3E+%3D+1")
    assert page.locator("eq-check textarea").input_value() == "<img src=x> = 1"
    assert page.locator("eq-check select").input_value() == "gaussian"
    assert page.locator("eq-check img").count() == 0
    assert not opened.wrong, opened.wrong
