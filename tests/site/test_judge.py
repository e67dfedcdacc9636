"""<eq-check>: the judge in the page gives the very text of `course prove`."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from course.equations import pages
from course.equations.command import report
from course.grading.answers import read_answers
from course.grading.sealed import seal, unseal
from course.grading.written import graded, load_answers
from tests.site.build import ROOT
from tests.site.conftest import DOCS

PAGE = "reference/judge/"
WRONG = r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x,z)}{q(z|x)}\right]"
QUICK = [
    (WRONG, "vae"), (WRONG.replace("=", r"\ge"), "vae"), (r"p(x) = \left( p(x", "vae"), (r"p(x) = \int p(x,z)\,dz \\ = 1", "vae"),
    (r"q(z_{1:T}|x) = q(z_1|x) \prod_{t=2}^T q(z_t|z_{t-1})", "chain"), (r"x_T \approx \epsilon", "diffusion"),
    ('__import__("os").system("x")', "vae"), (r"\alpha_t (1-\bar\alpha_{t-1}) + \beta_t = 1 - \bar\alpha_t", "gaussian"),
]


@pytest.fixture(scope="module")
def page_of_the_judge(contexts, served, site):
    if not (site / "assets" / "judge" / "judge.zip").exists() or not (site / "assets" / "runtimes" / "pyodide").exists():
        pytest.skip("this site was built without the judge for browsers: it needs npm")
    page = contexts["light"].new_page()
    page.goto(served + PAGE)
    page.wait_for_selector("eq-check[data-ready]")
    yield page
    page.close()


@pytest.fixture(scope="module")
def judge(page_of_the_judge):
    return lambda latex, setting: page_of_the_judge.evaluate("([latex, setting]) => courseJudge.judge(latex, setting)", [latex, setting])


def test_verdicts_are_the_very_text(judge):
    for latex, setting in QUICK:
        found = judge(latex, setting)
        assert (found["kind"], found["text"]) == report(latex, setting), latex


def test_answers_get_the_very_words_of_course_check(judge, page_of_the_judge, tmp_path):
    """Right and wrong answers of written tasks of every kind, remarks, nothing, and a fence inside an answer; against the student edition,
    whose keys are sealed, too."""
    answers = load_answers(ROOT / "tests" / "exercises" / "answers")
    (tmp_path / "ch.sealed").write_text(seal(answers), encoding="utf-8")
    right = r"\log p(x) = \mathbb{E}_q\left[\log \frac{p(x,z)}{q(z|x)}\right] + \mathbb{E}_q\left[\log\frac{q(z|x)}{p(z|x)}\right]"
    kinds = {answers[task].get("kind", "statement"): task for task in sorted(answers, reverse=True) if answers[task].get("setting", "vae") != "gaussian"}
    cases = [("ch01.printed", right), ("ch01.printed", f"% a remark\n{right}"), ("ch01.printed", WRONG), ("ch01.which", "right"), ("ch01.which", "left"),
             ("ch01.printed", "% only a remark"), ("ch01.printed", f"{right}\n```\n<img src=x>"), *((task, "x = 1") for task in kinds.values())]
    seen = set()
    for task, draft in cases:
        found = page_of_the_judge.evaluate("([task, draft]) => courseJudge.grade(task, draft, 'vae')", [task, draft])
        assert (found["kind"], found["text"]) == graded(task, draft, tmp_path), (task, draft)
        seen.add(found["kind"])
    assert seen == {"passed", "failed", "not_attempted"}
    assert set(kinds) == {"statement", "derivation", "choice", "claim", "numbers"}


def test_no_key_can_be_read_in_what_the_page_loads(site):
    """A reader who opens the archive sees no answer: keys travel sealed."""
    archive = zipfile.ZipFile(site / "assets" / "judge" / "judge.zip")
    sealed = archive.read("answers/ch.sealed")
    entries = load_answers(ROOT / "tests" / "exercises" / "answers")
    assert unseal(sealed.decode()) == json.loads(json.dumps(entries))
    words = {word for entry in entries.values() for form in entry.get("form", []) for word in str(form).split("'") if len(word) > 12}
    assert len(words) > 20
    assert not [word for word in words if word.encode() in sealed]


def test_the_file_to_hand_in_is_the_one_that_course_check_reads(visit):
    opened = visit()
    page = opened.open("chapters/01-elbo/")
    page.evaluate("document.querySelectorAll('article details').forEach(each => { each.open = true })")
    page.locator("eq-check[data-task='ch01.which'] textarea").fill("right")
    page.locator("eq-check[data-task='ch01.printed'] textarea").fill("% mine\n" + WRONG + "\n```")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ch01_elbo.md").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    template = (ROOT / "exercises" / "ch01_elbo.md").read_text(encoding="utf-8")
    found, before = read_answers(text), read_answers(template)
    assert download.value.suggested_filename == "ch01_elbo.md"
    assert found == {**before, "ch01.which": "right", "ch01.printed": WRONG}
    assert re.sub(r"^```\w+ ch.*?^```$", "", text, flags=re.M | re.S) == re.sub(r"^```\w+ ch.*?^```$", "", template, flags=re.M | re.S)
    assert not opened.wrong, opened.wrong


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
    page.wait_for_selector("eq-check[data-found=refuted]", timeout=120_000)
    assert 'so "=" fails' in box.locator(".eq-verdict").inner_text()
    box.locator("textarea").fill(WRONG.replace("=", r"\ge"))
    box.locator("button[type=submit]").press("Enter")
    page.wait_for_selector("eq-check[data-found=bound]", timeout=60_000)
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
