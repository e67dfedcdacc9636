"""What has to be done before and after MkDocs builds the site.

Before: one notebook per chapter, the font of the social cards, and all that takes long, on every core: the model for browsers, the
verdicts on the formulas, the executed blocks. Each of them is kept in .cache until something that it depends on changes. After: the
formulas, drawn by KaTeX's own renderer where Node is installed, so that a page needs no script to show them (without Node each reader's
browser draws them), and the slides (course.slides).

A chapter is one Markdown file whose ```` ```python exec="on" ```` blocks run when the site is built, so no number, picture or
line of code on a page can go stale. `notebook` turns the same file into an .ipynb, with those blocks as its cells.

    python -m course.site               writes docs/notebooks, docs/assets/{runtimes,model,judge} and .cache, as `make docs` does first
    python -m course.site finish SITE   draws the formulas of a built site and cuts its slides, as `make docs` does last
"""

from __future__ import annotations

import html
import inspect
import json
import multiprocessing
import multiprocessing.connection
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import griffe
import jupytext

from course import blocks, browser, slides
from course.blocks import FENCE

ROOT = Path(__file__).resolve().parent.parent
BOX = re.compile(r"^(?:!!!|\?\?\?\+?) +(\w+)[^\"\n]*(?:\"(.*)\")? *\n((?:(?:    .*)?\n)*)", re.M)


SETUP = '''\
# This notebook runs inside a checkout of the course, with the package installed: pip install -e ".[docs]"
import os
import sys
from pathlib import Path

from IPython.display import HTML, Markdown, display

root = next((p for p in [Path.cwd(), *Path.cwd().parents] if (p / "docs" / "figures").is_dir()), None)
if root is None:
    raise FileNotFoundError(f"{Path.cwd()} is not inside a checkout of the course: clone it, and open this notebook from there")
os.chdir(root)


def show(text):
    """Draw a figure or a listing as the page draws it."""
    display(HTML(text) if text.lstrip().startswith("<") else Markdown(text))'''


def notebook(markdown: str) -> str:
    """One chapter's Markdown as the text of an .ipynb (jupytext): blocks that run at build are cells, all else is prose."""
    def cell(match: re.Match[str]) -> str:
        body = inspect.cleandoc("\n" + match["body"])
        if not re.search(r'exec="(true|1|yes|on)"', match["options"]):
            return f"```python .noeval\n{body}\n```"
        if 'result="text"' not in match["options"]:                             # what it prints is HTML or Markdown
            body = re.sub(r"^( *)print\(", r"\1show(", body, flags=re.M)
        return f"```python\n{body}\n```"

    text = FENCE.sub(cell, re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.S))        # the head of the page is for the builder
    text = re.sub(r"^```(?!python\b)(\w+)\b.*$", r"```\1 .noeval", text, flags=re.M)   # jupytext would make cells of bash, too
    text = BOX.sub(_quote, text)
    text = re.sub(r"^<!--.*?-->\n", "", text, flags=re.M | re.S)                # `<!-- check: ... -->` is for the builder
    text = re.sub(r"\{ ?[.:#][^{}\n$]*\}(?=$|\s)", "", text, flags=re.M)        # `{ .class #id }` is for the page's style
    title, _, rest = text.lstrip().partition("\n")
    book = jupytext.reads(f"{title}\n\n```python\n{SETUP}\n```\n{rest}", fmt="md")
    for number, entry in enumerate(book.cells):
        entry["id"] = f"cell-{number}"                                          # the same chapter gives the same bytes
        entry["metadata"] = {}
        entry["source"] = re.sub(r"^```(\w+) \.noeval$", r"```\1", entry["source"], flags=re.M)
    book.metadata = {
        "jupytext": {"formats": "ipynb,md"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return jupytext.writes(book, fmt="ipynb")


def _quote(match: re.Match[str]) -> str:
    """A box of the page becomes a block quote: notebooks know no boxes."""
    kind, title, body = match.groups()
    lines = [f"**{title or kind.capitalize()}**", "", *inspect.cleandoc("\n" + body).splitlines()]
    return "".join(f"> {line}".rstrip() + "\n" for line in lines) + "\n"


def prepare(docs: Path = ROOT / "docs", cache: Path = ROOT / ".cache") -> None:
    """Write the notebooks, the fonts and what .cache keeps. Files that would not change are not touched, so `mkdocs serve` stays calm."""
    chapters = sorted((docs / "chapters").glob("[0-9]*.md"))
    if not chapters:
        raise FileNotFoundError(f"no chapters in {docs / 'chapters'}: is this a checkout of the course?")
    target = docs / "notebooks"
    target.mkdir(exist_ok=True)
    for stale in {path.name for path in target.glob("*.ipynb")} - {f"{path.stem}.ipynb" for path in chapters}:
        (target / stale).unlink()
    for chapter in chapters:
        path, text = target / f"{chapter.stem}.ipynb", notebook(chapter.read_text(encoding="utf-8"))
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")

    decks = docs / "slides"                                                     # so that links to them are checked; `finish` fills them
    shutil.rmtree(decks, ignore_errors=True)
    decks.mkdir()
    for chapter in chapters:
        (decks / f"{chapter.stem}.html").write_text(slides.PLACEHOLDER, encoding="utf-8")

    import matplotlib

    fonts = cache / "plugin" / "social" / "fonts" / "DejaVu Sans"               # looked for here before any download
    fonts.mkdir(parents=True, exist_ok=True)
    for style, name in {"Regular": "DejaVuSans.ttf", "Bold": "DejaVuSans-Bold.ttf"}.items():
        shutil.copyfile(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, fonts / f"{style}.ttf")

    formulas = [path for path in sorted(docs.rglob("*.md")) if "<!-- check:" in path.read_text(encoding="utf-8")]
    shares = 2 * (os.cpu_count() or 1)
    side_by_side([("for browsers", for_browsers, (docs, cache)),
                  *((f"formulas, {k + 1} of {shares}", judge, (formulas[k::shares],)) for k in range(shares))])
    if waiting := blocks.waiting(docs):                                         # pages say how much the model weighs: it is there now
        _load_libraries()
        side_by_side([(os.path.relpath(page, docs), blocks.run, (page,)) for _, page in sorted(waiting, reverse=True)])


def _load_libraries() -> None:
    """Once, for all processes that are forked from here: what takes seconds to import, and nothing of the course itself, since each page
    writes down what it uses of that."""
    import matplotlib.pyplot
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

    matplotlib.pyplot.switch_backend("agg")
    torch.set_num_threads(1)


def for_browsers(docs: Path, cache: Path) -> None:
    """The runtimes, the model and the judge that the interactive pages load; what is left out is said."""
    for problem in browser.prepare(docs, cache):
        print(problem, flush=True)


def judge(pages: list[Path]) -> None:
    """Judge all formulas of some pages and their slips; course.equations keeps the verdicts."""
    from course.equations.pages import check_page, note_html

    for page in pages:
        for checked in check_page(page):
            note_html(checked, set())


def side_by_side(tasks: list[tuple[str, Callable[..., None], tuple]]) -> None:
    """Each (name, function, arguments) in a process of its own, as many at a time as there are cores. One that fails is left to the
    build, which says where."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    running: dict[Any, tuple] = {}
    tasks = tasks[::-1]
    while tasks or running:
        while tasks and len(running) < (os.cpu_count() or 1):
            name, function, arguments = tasks.pop()
            process = context.Process(target=function, args=arguments)
            process.start()
            running[process.sentinel] = process, name, time.perf_counter()
        for sentinel in multiprocessing.connection.wait(list(running)):
            process, name, began = running.pop(sentinel)
            process.join()
            failed = ", failed: left to the build" if process.exitcode else ""
            print(f"{name}: {time.perf_counter() - began:.1f} s{failed}", flush=True)


class Docstrings(griffe.Extension):
    """For the reference pages: paragraphs of a docstring that are laid out with spaces keep their layout."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = "\n\n".join(map(_keep_layout, re.split(r"\n{2,}", inspect.cleandoc(obj.docstring.value))))


def _keep_layout(paragraph: str) -> str:
    aligned = re.search(r"\S {2,}\S|^ {2,}\S", paragraph, re.M) and not re.match(r" {4}|```|\s*(?:[-*>]|\d+\.) ", paragraph)
    return f"```text\n{paragraph}\n```" if aligned else paragraph


# ------------------------------------------------------------------------------------------------ after the build

FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">(?P<latex>[^<]*)</(?P=tag)>')
RENDER = """
const katex = require(process.argv[1]);
const draw = ([latex, displayMode, output]) => {
    try { return [katex.renderToString(latex, {displayMode, output, throwOnError: true, strict: "ignore"}), ""]; }
    catch (error) { return ["", String(error.message)]; }
};
process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0, "utf8")).map(draw)));
"""


def drawn(formulas: list[tuple[str, bool, str]], katex: Path) -> dict[tuple[str, bool, str], str]:
    """Each (LaTeX, displayed?, "htmlAndMathml" or "mathml") as HTML, by KaTeX in one run of Node. ValueError for wrong LaTeX."""
    wanted = sorted(set(formulas))
    done = subprocess.run(["node", "-e", RENDER, str(katex.resolve())], input=json.dumps(wanted), capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"KaTeX in Node failed:\n{done.stderr[-2000:]}")
    out = dict(zip(wanted, json.loads(done.stdout), strict=True))
    if wrong := [f"{latex}: {problem}" for (latex, _, _), (_, problem) in out.items() if problem]:
        raise ValueError("formulas that cannot be drawn:\n" + "\n".join(wrong))
    return {key: text for key, (text, _) in out.items()}


def finish(site: Path) -> str:
    """Draw the formulas of all pages of a built site, take LaTeX out of its search index, and cut the slides. Returns what was done."""
    formulas = _draw(site)
    return f"{formulas} {slides.cut_all(site)} decks of slides cut."


def _draw(site: Path) -> str:
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    if not pages:
        raise FileNotFoundError(f"there is no built site in {site}")
    if not shutil.which("node"):
        return "Node is not installed: each reader's browser draws the formulas."

    def key(match: re.Match[str]) -> tuple[str, bool, str]:
        text = html.unescape(match["latex"]).strip()
        return text[2:-2], text.startswith("\\["), "htmlAndMathml"

    index = site / "search" / "search_index.json"
    raw = re.compile(r"\\\((.*?)\\\)|\\\[(.*?)\\\]", re.S)
    entries = json.loads(index.read_text(encoding="utf-8")) if index.exists() else {"docs": []}

    def plain(match: re.Match[str]) -> tuple[str, bool, str]:
        return html.unescape(match[1] or match[2]), False, "mathml"

    short = re.compile(r'<span class="md-ellipsis">[^<]*\\\([^<]*</span>', re.S)              # names of sections in the navigation
    asked = [key(match) for text in pages.values() for match in FORMULA.finditer(text)]
    asked += [plain(match) for text in pages.values() for name in short.finditer(text) for match in raw.finditer(name[0])]
    asked += [plain(match) for entry in entries["docs"] for name in ("title", "text") for match in raw.finditer(entry[name])]
    pictures = drawn(asked, site / "assets" / "katex" / "katex.min.js")
    for path, text in pages.items():
        new = FORMULA.sub(lambda m: f'<{m["tag"]} class="arithmatex" data-drawn="yes">{pictures[key(m)]}</{m["tag"]}>', text)
        new = short.sub(lambda name: raw.sub(lambda m: pictures[plain(m)], name[0]), new)
        if new != text:
            path.write_text(new, encoding="utf-8")
    for entry in entries["docs"]:
        for name in ("title", "text"):
            entry[name] = raw.sub(lambda m: _letters(pictures[plain(m)]), entry[name])
    if entries["docs"]:
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
        index.write_text(text, encoding="utf-8")
        if (inlined := index.with_suffix(".js")).exists():                      # the copy for file://
            inlined.write_text(f"var __index = {text}", encoding="utf-8")
    return f"{len(asked)} formulas drawn."


def _letters(mathml: str) -> str:
    """The letters of a formula, for the search: x_t becomes xt."""
    return re.sub(r"<[^>]*>", "", re.sub(r"<annotation.*?</annotation>", "", mathml, flags=re.S))


if __name__ == "__main__":
    if sys.argv[1:2] == ["finish"] and len(sys.argv) == 3:
        print(finish(Path(sys.argv[2])))
    elif len(sys.argv) == 1:
        prepare()
    else:
        raise SystemExit(f"usage: {__doc__.strip().splitlines()[-2].strip()}, or python -m course.site")
