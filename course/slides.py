"""Slides for the lectures: one deck for each chapter, cut from the chapter's built page, so that nothing is said in two places.

A slide is a heading, the first sentences of the paragraphs that lead to something to look at, and that thing: a figure (those that
move move), a formula with its mark, a listing, a table, a list. The whole paragraphs are the speaker's notes. Decks are reveal.js
documents that load nothing from elsewhere and open from a folder; without reveal.js, or without scripts, they are read from top to bottom.

    deck(page, at, to) -> the HTML of a deck              cut(article) -> its slides, in order
    cut_all(site)      writes SITE/slides/NN-name.html for each SITE/chapters/NN-name page (`python -m course.site finish` calls it)
"""

from __future__ import annotations

import html
import os.path
import re
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bs4 import BeautifulSoup, NavigableString, Tag

LEADS = 3                                       # sentences beside something to look at
SKIPPED = ("Exercises", "References")           # sections that are for reading: their headings are enough, or nothing
SHOWN = "figure, .moving, .toy, .arithmatex, .highlight, table, .admonition, pre"
PLACEHOLDER = ("<!doctype html><title>Slides</title><p>The slides are cut from the pages when the site is finished: "
               "python -m course.site finish SITE")


@dataclass
class Slide:
    """What is seen (HTML), and what the speaker reads."""

    title: str
    above: str = ""                             # the section it belongs to, where that is not its title
    leads: list[str] = field(default_factory=list)
    shown: str = ""
    after: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chapter: bool = False                       # begins a section: one column of slides for each


def cut(article: Tag) -> Iterator[Slide]:
    """The slides of a chapter's article. Its elements are changed: take a copy if you need them."""
    for useless in article.select(".headerlink, .chapter-tools, .formula-notes, .stacked, .katex-mathml annotation, script, paint-studio"):
        useless.decompose()
    begun = article.h1.decode_contents() if article.h1 else ""
    parts = [Part(begun, begun, False)]
    children = [child for child in article.find_all(recursive=False) if child.name != "h1"]
    for n, child in enumerate(children):
        if child.name in ("h2", "h3"):
            title, top = child.decode_contents().strip(), child.name == "h2"
            parts.append(Part(title, title if top else parts[-1].section, top))
        elif child.name == "p":
            parts[-1].rows.append((child, ""))
        elif shown := _shown(child, children[n + 1] if n + 1 < len(children) else None):
            parts[-1].rows.append((None, shown))
    for part in parts:
        if _plain(part.section) not in SKIPPED:
            yield from _of(part)


@dataclass
class Part:
    """What stands under one heading: paragraphs, and things to look at, in order. `top`: the heading begins a section."""

    title: str
    section: str
    top: bool
    rows: list[tuple[Tag | None, str]] = field(default_factory=list)


def _of(part: Part) -> Iterator[Slide]:
    """The slides of a part: one for each thing to look at, with what leads to it; what follows the last goes with it if it is short."""
    groups: list[tuple[list[Tag], list[str]]] = [([], [])]
    for paragraph, shown in part.rows:
        if paragraph is None and (not groups[-1][1] or _joins(groups[-1][1][-1], shown)):
            groups[-1][1].append(shown)
        elif paragraph is None:
            groups.append(([], [shown]))
        elif groups[-1][1]:
            groups.append(([paragraph], []))
        else:
            groups[-1][0].append(paragraph)
    after = groups.pop()[0] if len(groups) > 1 and not groups[-1][1] and len(groups[-1][0]) <= 2 else []
    slides = []
    for words, things in groups:
        first = words[:-LEADS] if things else words
        slides += [_slide(part, first[n:n + 5]) for n in range(0, len(first), 5)]
        if things:
            slides.append(_slide(part, words[len(first):], "".join(things)))
    if after:
        slides[-1].after += [first_sentence(p) for p in after]
        slides[-1].notes += [p.decode_contents() for p in after]
    if slides:
        slides[0].chapter = part.top
    yield from slides


def _joins(code: str, output: str) -> bool:
    """Whether two things stand on one slide: a program and what it printed, if they are short."""
    return "<pre" in code and "<pre" in output and code.count("\n") + output.count("\n") <= 26


def _slide(part: Part, words: list[Tag], shown: str = "") -> Slide:
    leads = [lead for lead in (first_sentence(p) for p in words) if lead]
    return Slide(part.title, "" if part.title == part.section else part.section, leads, shown, notes=[p.decode_contents() for p in words])


def _shown(child: Tag, after: Tag | None) -> str:
    """The HTML of something to look at; "" for what is none."""
    if child.name in ("ul", "ol", "dl", "blockquote"):
        return str(child)
    if child.name == "details":                      # folded on the page: too long for a wall, or taken with its formula
        return ""
    if not (child.css.match(SHOWN) or child.select_one(SHOWN)):
        return ""
    known = after.select_one("summary") if after is not None and after.css.match(".formula-card") else None
    for lost in child.select(".formula-card"):
        lost.decompose()
    return str(child) + (f'<p class="known">{known.decode_contents()}</p>' if known is not None else "")


def first_sentence(paragraph: Tag) -> str:
    """The first sentence of a paragraph as HTML, formulas and emphasis kept whole. A bold beginning is a sentence of its own."""
    out = []
    for child in paragraph.children:
        if not isinstance(child, NavigableString):
            out.append(str(child))
            if isinstance(child, Tag) and child.name == "strong" and re.search(r"[.?!]$", child.get_text().strip()) and len(out) == 1:
                break
            continue
        end = re.search(r"(?<!e\.g)(?<!i\.e)(?<!eq)(?<!\bvs)[.?!][\")\u201d]?(?=\s|$)", child)
        out.append(html.escape(child[:end.end()] if end else child, quote=False))
        if end:
            break
    return " ".join("".join(out).split()).removesuffix(":")


def _plain(text: str) -> str:
    return BeautifulSoup(text, "html.parser").get_text().strip()


# ------------------------------------------------------------------------------------------------ a deck

def deck(page: str, at: PurePosixPath, to: PurePosixPath) -> str:
    """The deck of a built chapter page. `at`: where the page lies in the site; `to`: where the deck will, for relative addresses.

    Raises ValueError for a page without an article or a title.
    """
    soup = BeautifulSoup(page, "html.parser")
    article = soup.select_one("article")
    heading = article.h1 if article else None
    if article is None or heading is None:
        raise ValueError(f"{at} is not a chapter's page: it has no article with a title")
    for element in article.find_all(True):
        for name in ("href", "src"):
            if element.has_attr(name):
                element[name] = _moved(str(element[name]), at, to)
    for lost in heading.select(".headerlink"):
        lost.decompose()
    title, about = heading.decode_contents().strip(), soup.select_one('meta[name="description"]')
    first = f'<h1>{title}</h1><p class="about">{html.escape(str(about["content"])) if about else ""}</p>'
    columns = [[f"<section>{first}</section>"]]
    for slide in cut(copy(article)):
        if slide.chapter:
            columns.append([])
        columns[-1].append(_section(slide))
    body = "\n".join(column[0] if len(column) == 1 else "<section>\n" + "\n".join(column) + "\n</section>" for column in columns)
    scripts = [src for src in (str(script["src"]) for script in soup.select("script[src]"))
               if re.search(r"/(samplers|toy-flow|paint|figures)\.js$", src)]
    return PAGE.format(title=html.escape(_plain(title)), body=body, root=_up(to),
                       scripts="".join(f'<script src="{_moved(src, at, to)}"></script>' for src in scripts))


def _section(slide: Slide) -> str:
    leads, after = ("".join(f"<p>{text}</p>" for text in texts) for texts in (slide.leads, slide.after))
    after = f'<div class="after">{after}</div>' if after else ""
    head = f'<p class="above">{slide.above}</p>' if slide.above else ""
    title = f"<h2>{slide.title}</h2>" if slide.title else ""
    notes = "".join(f"<p>{text}</p>" for text in slide.notes)
    notes = f'<aside class="notes">{notes}</aside>' if notes else ""
    return f'<section>{head}{title}<div class="fit"><div class="leads">{leads}</div>{slide.shown}{after}</div>{notes}</section>'


def _moved(address: str, at: PurePosixPath, to: PurePosixPath) -> str:
    """A relative address of one page as an address of another."""
    if re.match(r"[a-z][a-z0-9+.-]*:|//|/", address):
        return address
    path, mark, rest = re.split(r"([?#].*)", address, maxsplit=1, flags=re.S) if re.search("[?#]", address) else (address, "", "")
    if not path and at == to:
        return address
    target = os.path.normpath((at.parent / path).as_posix() if path else at.as_posix())
    moved = os.path.relpath(target, to.parent.as_posix())
    return moved + ("/" if path.endswith("/") or path.endswith("..") else "") + mark + rest


def _up(to: PurePosixPath) -> str:
    return "../" * (len(to.parts) - 1)


def cut_all(site: Path) -> int:
    """Write the deck of every chapter of a built site; the number of decks."""
    found = sorted(p for p in [*site.glob("chapters/*/index.html"), *site.glob("chapters/*.html")] if re.match(r"\d", _stem(p)))
    for path in found:
        to = site / "slides" / f"{_stem(path)}.html"
        to.parent.mkdir(exist_ok=True)
        text = deck(path.read_text(encoding="utf-8"), PurePosixPath(path.relative_to(site).as_posix()), PurePosixPath("slides", to.name))
        to.write_text(text, encoding="utf-8")
    return len(found)


def _stem(path: Path) -> str:
    return path.parent.name if path.name == "index.html" else path.stem


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: slides</title>
<link rel="stylesheet" href="{root}assets/katex/katex.min.css">
<link rel="icon" href="{root}assets/favicon.svg">
<link rel="stylesheet" href="{root}stylesheets/slides.css">
</head>
<body>
<main class="reveal"><div class="slides">
{body}
</div></main>
{scripts}<script src="{root}assets/runtimes/reveal/reveal.js"></script>
<script src="{root}assets/runtimes/reveal/notes.js"></script>
<script src="{root}javascripts/slides.js"></script>
</body>
</html>
"""
