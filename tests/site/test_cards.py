"""What is behind a formula: by keyboard, by tap, by address, on paper, without scripts."""

from __future__ import annotations

import pytest

PAGE = "chapters/03-forward-process/"


@pytest.fixture
def chapter(visit):
    opened = visit("phone")
    yield opened.open(PAGE)
    assert not opened.wrong, opened.wrong


def test_by_keyboard_alone(chapter):
    card = chapter.locator("details.formula-card").nth(4)
    card.locator("> summary").focus()
    chapter.keyboard.press("Enter")
    chapter.wait_for_function("document.querySelectorAll('details.formula-card')[4].open")
    first = card.locator("> section").first
    assert "both sides are equal, for every t ≥ 2" in first.inner_text()
    first.locator(".katex").first.wait_for()
    chip = first.locator(".formula-chip > summary").first
    chip.focus()
    chapter.keyboard.press("Enter")
    assert "refuted" in first.locator(".formula-chip[open]").inner_text()
    assert "left side" in first.locator(".formula-chip[open] .formula-numbers").inner_text()
    chapter.keyboard.press("Tab")
    assert chapter.evaluate("document.activeElement.closest('section') !== null")


def test_a_tap_on_a_line_opens_the_card_of_that_line(chapter):
    formula = chapter.locator("div.arithmatex.has-card:has(.mtable)").first     # a derivation of three lines
    height = formula.bounding_box()["height"]
    formula.click(position={"x": 150, "y": height / 2})
    here = chapter.locator(".formula-here")
    assert here.locator(".formula-line").inner_text() == "Line 2 of 3"
    assert chapter.locator("details.formula-card[open]").count() == 1


def test_an_address_opens_its_line(chapter, served):
    anchor = chapter.evaluate("document.querySelectorAll('details.formula-card section')[6].id")
    chapter.goto("about:blank")
    chapter.goto(f"{served}{PAGE}#{anchor}")
    chapter.wait_for_function("anchor => document.getElementById(anchor).closest('details').open", arg=anchor)
    chapter.wait_for_function("anchor => { const b = document.getElementById(anchor).getBoundingClientRect(); return b.top < innerHeight && b.bottom > 0 }",
                              arg=anchor)


def test_paper_has_notes_and_no_cards(chapter):
    notes = chapter.locator(".formula-notes")
    assert not notes.is_visible()
    chapter.emulate_media(media="print")
    assert notes.is_visible()
    assert notes.locator("li").count() == chapter.locator("details.formula-card").count()
    assert not chapter.locator("details.formula-card > section").first.is_visible()
    chapter.emulate_media(media="screen")


def test_without_scripts_a_card_still_opens(browser, served):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(served + PAGE)
        page.locator("details.formula-card > summary").first.click()
        assert page.locator("details.formula-card > section").first.is_visible()
