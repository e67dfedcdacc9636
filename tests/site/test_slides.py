"""The decks of slides in a browser: every slide fits, nothing is fetched from elsewhere, and without scripts a deck is read."""

from __future__ import annotations

import pytest

from tests.site.conftest import DOCS, Visit

DECKS = [path.stem for path in sorted((DOCS / "chapters").glob("[0-9]*.md"))]
QUICK = ("01-elbo", "06-samplers")
WALK = """async () => {
    const { deck, fit } = window.course, wrong = [];
    let seen = 0;
    for (const slide of deck.getSlides()) {
        const at = deck.getIndices(slide);
        deck.slide(at.h, at.v);
        fit(slide);
        seen += 1;
        if (slide.scrollHeight > 721 || Number(slide.dataset.zoom) < 0.5) wrong.push(`${at.h}/${at.v}: ${slide.scrollHeight} pixels at ${slide.dataset.zoom}`);
    }
    return { seen, wrong, controls: getComputedStyle(document.body).overflow };
}"""


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DECKS])
def test_every_slide_fits(contexts, served, name):
    opened = Visit(contexts["dark"].new_page(), served)
    opened.page.goto(f"{served}slides/{name}.html")
    opened.page.wait_for_function("window.course")
    found = opened.page.evaluate(WALK)
    opened.page.close()
    assert found["seen"] >= 8
    assert not found["wrong"]
    assert not opened.wrong, opened.wrong


def test_a_deck_is_read_without_scripts_and_from_a_folder(browser, site):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto((site / "slides" / "01-elbo.html").as_uri())
    assert page.locator("h2").first.is_visible()
    assert page.locator("aside.notes").first.is_visible()              # the words of the speaker are read along
    context.close()
    assert not failed
