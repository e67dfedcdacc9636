"""Every page, by day, in the dark and on a phone: nothing breaks, nothing is fetched from elsewhere, everybody can read it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tests.site.conftest import DOCS, PAGES, VIEWS, url_of

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RULES = {                                       # in the dark only colours differ; on a phone boxes scroll and shrink
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "dark": ["color-contrast"],
    "phone": ["scrollable-region-focusable", "target-size", "landmark-unique", "label", "button-name", "link-name", "aria-hidden-focus"],
}
# Every folded box, but of the cards below formulas, which are all alike, the first two.
UNFOLD = """() => document.querySelectorAll("article details").forEach(box => {
    const card = box.closest(".formula-card");
    if (card && Array.from(document.querySelectorAll(".formula-card")).indexOf(card) > 1) return;
    box.removeAttribute("name");
    box.open = true; })"""


def violations(page, rules: list[str]) -> list[str]:
    """What axe-core objects to, one line per rule with the first elements it found.

    Left out: the thousands of boxes inside a formula or a drawing. They are hidden from screen readers, which get MathML or the
    label, and they have the colour of the text around them.
    """
    found = page.evaluate("rules => axe.run({exclude: [['.katex'], ['figure svg *']]}, {runOnly: rules, resultTypes: ['violations']})",
                          rules)
    return ["\n    ".join([f"{v['id']}: {v['help']}"] + [f"{n['html'][:160]}  {n['any'][0]['message'] if n['any'] else ''}" for n in v["nodes"][:4]])
            for v in found["violations"]]


@pytest.mark.parametrize("source", PAGES)
def test_page(visit, source):
    """One visit: by day with every box unfolded, then the same page in the dark, then as narrow as a phone."""
    opened = visit("light")
    page = opened.open(url_of(source))
    assert page.locator(".math-error").count() == 0, page.locator(".math-error").first.inner_text()
    assert page.locator("article h1").count() == 1
    assert not opened.wrong, opened.wrong
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room, f"{source} is {width} px wide on a screen of {room}"
    page.add_style_tag(content="* { transition: none !important }")
    page.evaluate(UNFOLD)
    page.wait_for_function("!document.querySelector('article .formula-card[open] > section .formula-later')")
    opened.ready()
    assert page.locator(".math-error").count() == 0, page.locator(".math-error").first.inner_text()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for view, rules in RULES.items():
        page.set_viewport_size(VIEWS[view]["viewport"])
        page.evaluate("scheme => new Promise(done => { document.body.dataset.mdColorScheme = scheme; requestAnimationFrame(() => requestAnimationFrame(done)) })",
                      "slate" if view == "dark" else "default")
        width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= room, f"{source}, unfolded, is {width} px wide on a screen of {room} ({view})"
        cut = page.evaluate("Array.from(document.querySelectorAll('.language-python pre > code')).filter(c => c.offsetParent"
                            " && c.scrollWidth > c.clientWidth + 1).map(c => c.textContent.slice(0, 80))")
        assert not cut, f"listings that are not seen whole ({view}): {cut}"
        found = violations(page, rules)
        assert not found, f"{view}\n" + "\n".join(found)
    assert not opened.wrong, opened.wrong
    if re.search(r"figures\.common import .*\bsource\b", (DOCS / source).read_text(encoding="utf-8")):
        assert page.locator(".language-python pre > code").count(), "no listing is known as Python"


WIDTHS = {"screen": {"viewport": {"width": 1280, "height": 900}}, "tablet": {"viewport": {"width": 768, "height": 900}},
          "phone": {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 2}}
GATHER = """async pages => {
    const found = [];
    for (const page of pages) {
        const text = await (await fetch(page)).text();
        const parsed = new DOMParser().parseFromString(text, "text/html");
        parsed.querySelectorAll("div.arithmatex").forEach(formula => found.push([page, formula]));
    }
    const article = document.querySelector("article");
    article.replaceChildren(...found.map(([, formula]) => document.importNode(formula, true)));
    courseMath();
    await document.fonts.ready;
    return found.map(([page, formula]) => `${page}: ${formula.textContent.trim().slice(0, 90)}`);
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_formula_is_cut_at_its_edge(browser, served, width):
    """A bar above a letter that falls off is another formula. All displayed formulas of the site on one page: nothing
    may appear above or below their boxes when what reaches over them is shown."""
    with browser.new_context(**WIDTHS[width]) as context:
        page = context.new_page()
        page.goto(served + "chapters/03-forward-process/")
        page.wait_for_function("document.documentElement.dataset.math === 'ready'")
        names = page.evaluate(GATHER, [served + url_of(source) for source in PAGES if source.startswith("chapters/")])
        assert len(names) > 100
        page.add_style_tag(content=".md-header, .md-tabs, .md-sidebar, .md-top { display: none !important }"
                                   " .is-wide { background-image: none !important }"
                                   " .md-typeset :is(div.arithmatex, .katex-display) { display: flow-root !important }")      # as hidden overflow does
        edges = page.evaluate("Array.from(document.querySelectorAll('article div.arithmatex')).map(f => [f, ...f.querySelectorAll('.katex-display')]"
                              ".flatMap(e => { const b = e.getBoundingClientRect(); return [b.top + scrollY - 6, b.bottom + scrollY] }))")
        shown = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")
        page.add_style_tag(content=".md-typeset :is(div.arithmatex, .katex-display) { overflow-x: clip !important; overflow-y: visible !important }")
        whole = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")
        assert shown.size == whole.size
        scale = WIDTHS[width].get("device_scale_factor", 1)
        spilled = ImageChops.difference(shown, whole)           # just above and just below each box
        cut = [name for name, tops in zip(names, edges, strict=True)
               if any(spilled.crop((0, round(scale * top), whole.width, round(scale * (top + 6)))).getextrema()[1] > 24 for top in tops)]
        assert not cut, "\n".join(cut)
