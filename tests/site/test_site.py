"""The site as a whole: search, links, the copy that works without a server, paper, weight, notebooks."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from course.site import notebook
from tests.site.build import build
from tests.site.conftest import DOCS, PAGES, ROOT, Visit, url_of

CHAPTERS = sorted((DOCS / "chapters").glob("[0-9]*.md"))


# ------------------------------------------------------------------------------------------------ search and links


def search(page, words: str) -> list[str]:
    """Type into the search box; the addresses it finds, best first."""
    page.keyboard.press("s")
    page.keyboard.type(words)
    page.wait_for_selector(".md-search-result__link")
    return page.eval_on_selector_all(".md-search-result__link", "links => links.map(link => link.href)")


@pytest.mark.parametrize(("words", "wanted"), [
    ("cfg", "/glossary/#classifier-free-guidance|/chapters/(08|15)"),
    ("black image", "/students/trouble/#the-image-is-black"),
    ("why is my image black", "/students/trouble/"),
    ("guidance scale", "/chapters/|/glossary/"),
    ("noise schedule", "/chapters/|/glossary/"),
    ("DDIM", "/chapters/|/glossary/"),
    ("v-prediction", "/chapters/|/glossary/"),
    ("alpha bar", "/chapters/|/glossary/|/students/"),
    ("vae", "/chapters/0[129]|/glossary/"),
])
def test_search_knows_the_words_of_the_field(visit, words, wanted):
    """What readers type, abbreviations and symptoms too; a chapter stands before the reference."""
    found = search(visit().open(""), words)
    found = [re.sub(r"\?h=[^#]*", "", address) for address in found]
    assert re.search(wanted, " ".join(found[:2])), found[:5]           # a page comes first, its section second


def test_search_finds_a_symbol(visit):
    opened = visit()
    found = search(opened.open(""), "renoise")
    assert any("course.samplers.basic.renoise" in address for address in found), found
    assert not opened.wrong, opened.wrong


def test_next_leads_through_the_course_in_reading_order(site):
    """The footer's links, followed from the first page to the last: the first hour, then the chapters by number, before the rest."""
    here, seen = "index.html", []
    while here and here not in seen:
        seen.append(here)
        found = re.search(r'<link rel="next" href="([^"]+)"', (site / here).read_text(encoding="utf-8"))
        here = urljoin("/" + here, found[1]).lstrip("/") + "index.html" if found else ""
    chapters = [page for page in seen if re.match(r"chapters/\d", page)]
    assert seen[:4] == ["index.html", "students/index.html", "students/trouble/index.html", "chapters/index.html"]
    assert chapters == seen[4 : 4 + len(chapters)] == sorted(chapters)
    assert {f"{path.stem}/index.html" for path in CHAPTERS} == {page.removeprefix("chapters/") for page in chapters}
    assert len(seen) == len(PAGES)


def test_the_overview_says_what_each_chapter_is(visit):
    page = visit().open("chapters/")
    cards = page.locator(".chapter-list li")
    assert cards.count() == len(CHAPTERS)
    for facts in page.locator(".chapter-facts").all_inner_texts():
        assert re.match(r"about \d+ minutes", facts)
        assert "needs " in facts
    blank = page.evaluate("""async () => { const blank = [];
        for (const image of document.querySelectorAll(".chapter-picture img")) {
            image.loading = "eager";
            await image.decode();
            const pen = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext("2d");
            pen.drawImage(image, 0, 0);
            if (new Set(new Uint32Array(pen.getImageData(0, 0, image.naturalWidth, image.naturalHeight).data.buffer)).size < 4) blank.push(image.src.slice(-20));
        }
        return blank; }""")
    assert not blank


def test_a_wrong_address_helps(visit, site):
    text = (site / "404.html").read_text(encoding="utf-8")
    for target in ("chapters/", "students/", "students/trouble/", "glossary/", "reference/"):
        assert f'href="/{target}"' in text.replace("https://example.org", ""), target
    assert "<kbd>s</kbd>" in text


def test_every_page_has_a_card_and_a_description_of_its_own(site):
    about = {}
    for source in PAGES:
        text = (site / url_of(source) / "index.html").read_text(encoding="utf-8")
        card = re.search(r'<meta property="og:image" content="[^"]*?/(assets/images/social/[^"]+)"', text)
        assert card, f"{source} has no card"
        assert (site / card[1]).is_file(), card[1]
        about[source] = re.search(r'<meta name="description" content="([^"]*)"', text)[1]
    twice = [source for source, text in about.items() if list(about.values()).count(text) > 1]
    assert not twice, f"these pages share a description: {twice}"


def test_instant_navigation_keeps_formulas(visit, site, served):
    opened = visit()
    here = (site / "sitemap.xml").read_text(encoding="utf-8")
    here = re.sub(r"<loc>https?://[^/]*/", f"<loc>{served}", here)      # the theme compares ports, and ours is a free one
    opened.page.route("**/sitemap.xml", lambda route: route.fulfill(body=here, content_type="application/xml"))
    page = opened.open("chapters/03-forward-process/")
    page.evaluate("window.stayed = true")
    page.locator(".md-footer__link--next").click()
    page.wait_for_url("**/04-reverse-process/")
    page.wait_for_selector("article .katex")
    assert page.evaluate("window.stayed"), "the page was loaded anew: instant navigation is off"
    assert page.locator(".arithmatex:not([data-drawn])").count() == 0
    assert not opened.wrong, opened.wrong


class Links(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if attrs.get("id"):
            self.ids.add(attrs["id"])
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        for name in ("src", "href"):
            passive = tag == "link" and attrs.get("rel") in ("canonical", "next", "prev", "alternate")
            if tag not in ("a", "use", "area") and not passive and attrs.get(name) and not attrs[name].startswith("#"):
                self.loads.append(attrs[name])


def test_links_and_anchors_are_whole(site):
    """Raw HTML and generated links included, which `mkdocs --strict` does not see."""
    pages = {"/" + str(path.relative_to(site)): Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for address, page in pages.items():
        if address == "/404.html":
            continue                                        # its links start at the site's own address
        broken += [f"{address} loads {load} from elsewhere" for load in page.loads if re.match(r"(https?:)?//", load)]
        for link in page.links + page.loads:
            if re.match(r"[a-z]+:|//", link):
                continue
            parts = urlsplit(urljoin(address, link))
            target = unquote(parts.path) + ("index.html" if parts.path.endswith("/") else "")
            if not (site / target.lstrip("/")).is_file():
                broken.append(f"{address} -> {link}")
            elif parts.fragment and target in pages and not parts.fragment.startswith(("toy:", "__")) \
                    and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{address} -> {link}: no such anchor")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("manifest", sorted((ROOT / "tests" / "exercises").glob("*.toml")), ids=lambda path: path.stem)
def test_exercises_point_to_real_pages(manifest):
    for task in tomllib.loads(manifest.read_text(encoding="utf-8")).get("task", []):
        assert (DOCS / task["docs"].split("#")[0]).is_file(), f"{task['id']} points to docs/{task['docs']}"


# ------------------------------------------------------------------------------------------------ without a server, on paper


def test_works_from_a_folder(tmp_path_factory, contexts):
    """OFFLINE=1 builds a copy for file://, where math and search must work too. A few pages are enough to see it."""
    root = tmp_path_factory.mktemp("offline")
    docs = root / "docs"
    (docs / "reference").mkdir(parents=True)
    for shared in ("assets", "javascripts", "stylesheets", "overrides"):
        (docs / shared).symlink_to(DOCS / shared)
    for page in ("schedule.md",):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\.md\)", r"\1", (DOCS / "reference" / page).read_text(encoding="utf-8"))
        (docs / "reference" / page).write_text(text, encoding="utf-8")
    (docs / "index.md").write_text("# Home\n\n$$ x_t = \\alpha_t x_0 $$\n\n[Schedule](reference/schedule.md)\n", encoding="utf-8")
    config = root / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nsite_dir: site\ntheme:\n  custom_dir: docs/overrides\nnav: null\n",
                      encoding="utf-8")
    out = build(root / "site", config, OFFLINE="true")
    opened = Visit(contexts["light"].new_page(), out.as_uri() + "/")
    page = opened.open("index.html")
    assert page.locator(".katex").count() == 1
    assert any("schedule.html" in address for address in search(page, "gather"))
    page.keyboard.press("Escape")
    page.locator("article a[href$='schedule.html']").click()
    opened.ready()
    assert page.locator("article .katex").count() > 0
    assert not opened.wrong, opened.wrong
    page.close()


def test_print(visit, tmp_path):
    opened = visit()
    page = opened.open("chapters/01-elbo/")
    page.emulate_media(media="print")
    assert not page.locator(".md-header").is_visible()
    assert not page.locator(".md-sidebar--primary").is_visible()
    assert page.locator("article .katex").first.is_visible()
    pdf = page.pdf(path=str(tmp_path / "chapter.pdf"))
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3
    page.emulate_media(media="screen")


def test_paper_is_white_in_the_dark(visit):
    """A reader with dark colours prints black on white: nothing of the dark scheme is left."""
    page = visit("dark").open("chapters/03-forward-process/")
    page.add_style_tag(content="* { transition: none !important }")
    page.emulate_media(media="print", color_scheme="dark")
    colours = page.evaluate("""() => Array.from(document.querySelectorAll("article h1, article h2, article p, article a, .known li, article code span"))
        .map(e => [e.tagName, getComputedStyle(e).color.match(/[\\d.]+/g).slice(0, 3).map(Number)])""")
    light = [each for each in colours if sum(each[1]) > 3 * 160]
    assert not light, light[:5]
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    page.emulate_media(media="screen")


def test_keyboard_reaches_the_text(visit):
    opened = visit()
    page = opened.open("chapters/01-elbo/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.classList.contains('md-skip')")
    page.keyboard.press("Enter")
    assert "#" in page.url
    named = page.evaluate("""() => { const wide = Array.from(document.querySelectorAll("[role=group][tabindex='0']")).filter(e => e.checkVisibility());
        return wide.map(box => { box.focus(); return document.activeElement === box && Boolean(box.getAttribute("aria-label")) }) }""")
    assert all(named), named


# ------------------------------------------------------------------------------------------------ weight


TEXT = (".html", ".js", ".css", ".json", ".svg", "")


@pytest.mark.parametrize("source", PAGES)
def test_weight(site, source):
    """Under 1 MB over the wire, with text compressed as every static host does it; search is counted, pictures are too."""
    page = site / url_of(source) / "index.html"
    loads = {(page.parent / load).resolve() for load in Links(page.read_text(encoding="utf-8")).loads if not load.startswith("data:")}
    loads |= {page, site / "search" / "search_index.json", *(site / "assets" / "katex" / "fonts").glob("*.woff2")}
    weight = sum(len(gzip.compress(path.read_bytes())) if path.suffix in TEXT else path.stat().st_size for path in loads if path.is_file())
    assert weight < 1_000_000, f"{source}: {weight} bytes"


def test_widget_is_small():
    assert (DOCS / "javascripts" / "toy-flow.js").stat().st_size < 40_000


def test_what_the_site_loads_is_listed_with_its_licence():
    listed = (DOCS / "reference" / "loads.md").read_text(encoding="utf-8")
    made = {"runtimes", "model", "judge"}                   # by course/browser.py, from what npm installs and from the package
    for folder in (path for path in (DOCS / "assets").iterdir() if path.is_dir() and (path.name in made or any(path.rglob("*.js")))):
        assert folder.name in made or (folder / "LICENSE").is_file(), f"{folder} has no LICENSE"
        assert f"assets/{folder.name}" in listed, f"{folder.name} is not on docs/reference/loads.md"


# ------------------------------------------------------------------------------------------------ notebooks


def test_notebook_of_a_small_chapter():
    text = ('# Title\n\n<!-- check: setting=vae -->\n$$ a = b $$\n\n```python exec="on" html="on"\nprint(f())\n```\n\n'
            '```python exec="on" result="text"\nprint(1)\n```\n\n```python\nnot run\n```\n\n!!! warning "Mind"\n\n    the gap\n')
    cells = json.loads(notebook(text))["cells"]
    kinds = [cell["cell_type"] for cell in cells]
    sources = ["".join(cell["source"]) for cell in cells]
    assert kinds == ["markdown", "code", "markdown", "code", "code", "markdown", "markdown"]
    assert sources[3:5] == ["show(f())", "print(1)"]
    assert "check:" not in sources[2]
    assert sources[5] == "```python\nnot run\n```"
    assert "> **Mind**" in sources[6]
    assert notebook(text) == notebook(text)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_notebook_compiles_and_is_on_the_site(site, chapter):
    published = site / "notebooks" / f"{chapter.stem}.ipynb"
    assert published.read_text(encoding="utf-8") == notebook(chapter.read_text(encoding="utf-8"))
    cells = json.loads(published.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), chapter.name, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_notebook_runs(chapter):
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.reads(notebook(chapter.read_text(encoding="utf-8")), as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
