"""Every page, in three views: nothing breaks, nothing is fetched from elsewhere, everybody can read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site.conftest import PAGES, url_of

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page, rules: list[str]) -> list[str]:
    """What axe-core objects to, one line per rule with the first elements it found.

    Left out: the thousands of boxes inside a formula or a drawing. They are hidden from screen readers, which get MathML or the
    label, and they have the colour of the text around them.
    """
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("rules => axe.run({exclude: [['.katex'], ['figure svg *']]}, {runOnly: rules, resultTypes: ['violations']})",
                          rules)
    return ["\n    ".join([f"{v['id']}: {v['help']}"] + [f"{n['html'][:160]}  {n['any'][0]['message'] if n['any'] else ''}" for n in v["nodes"][:4]])
            for v in found["violations"]]


@pytest.mark.parametrize("view", ["light", "dark", "phone"])
@pytest.mark.parametrize("source", PAGES)
def test_page(visit, source, view):
    opened = visit(view)
    page = opened.open(url_of(source))
    assert page.locator(".math-error").count() == 0, page.locator(".math-error").first.inner_text()
    assert page.locator("article h1").count() == 1
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room, f"{source} is {width} px wide on a screen of {room}"
    assert not opened.wrong, opened.wrong
    if view != "phone":
        found = violations(page, RULES if view == "light" else ["color-contrast"])      # in the dark only colours differ
        assert not found, "\n".join(found)
