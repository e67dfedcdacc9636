"""What the documentation pages call while they are built, and what has to be on disk before the build.

A chapter is one Markdown file. Its ```` ```python exec="true" ```` blocks run when the site is built (markdown-exec), so no
number, picture or line of code on a page can go stale. In those blocks `code` shows source from the package and `figure` shows
a picture. The same file becomes a notebook (`notebook`), where both show their result in the cell.

    python -m course.site        writes docs/notebooks/*.ipynb and .cache/plugin/social/fonts, as `make docs` does first
"""

from __future__ import annotations

import base64
import html
import inspect
import io
import re
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})python(?P<options>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$", re.M | re.S)
BOX = re.compile(r"^(?:!!!|\?\?\?\+?) +(\w+)[^\"\n]*(?:\"(.*)\")? *\n((?:(?:    .*)?\n)*)", re.M)
DOCSTRING = re.compile(r'\n *[rRuU]?("""|\'\'\').*?\1(?= *\n)', re.S)


def _show(markdown: str) -> None:
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        ipython.display.display(ipython.display.Markdown(markdown.strip()))
    else:
        print(f"\n\n{markdown.strip()}\n\n")


def code(*things: Any, doc: bool = False) -> None:
    """Show the source of functions or classes as they stand in the package now; without their docstrings unless `doc`."""
    for thing in things:
        lines, start = inspect.getsourcelines(thing)
        source = inspect.cleandoc("".join(lines))
        if not doc:
            source = DOCSTRING.sub("", source)
        where = f"{Path(inspect.getsourcefile(thing) or '').resolve().relative_to(ROOT)}, line {start}"
        ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", source)), default=0))
        _show(f'{ticks}python title="{where}"\n{source}\n{ticks}')


def figure(picture: Any, alt: str, caption: str = "", kind: str = "svg", dpi: int = 130, width: int | None = None) -> None:
    """Show a Matplotlib figure or a PIL image.

    Args:
        alt: what can be seen, for readers who cannot see it. ValueError when empty.
        caption: a sentence or two below the picture, HTML allowed, no formulas.
        kind: "svg" for lines; "png" for figures made of many points or pixels. A PIL image is always a PNG.
        width: in CSS pixels; None for the picture's own. A PIL image shown at twice its size or more keeps its pixels sharp.
    """
    if not alt.strip():
        raise ValueError("figure(): alt must describe the picture")
    if hasattr(picture, "savefig"):
        import matplotlib.pyplot as plt

        width = width or round(picture.get_size_inches()[0] * 96)
        inside = _svg(picture, alt) if kind == "svg" else _img(_png(picture, dpi), alt, width)
        plt.close(picture)
    else:
        out = io.BytesIO()
        picture.save(out, format="PNG", optimize=True)
        sharp = width is not None and width >= 2 * picture.width
        inside = _img(out.getvalue(), alt, width or picture.width, "pixels" if sharp else "")
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    _show(f'<figure class="computed" style="width: {width or picture.width}px">{inside}{below}</figure>')


def _img(png: bytes, alt: str, width: int, css: str = "") -> str:
    css = f' class="{css}"' if css else ""
    return f'<img{css} src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{html.escape(alt)}" width="{width}">'


def _png(drawn: Any, dpi: int) -> bytes:
    from PIL import Image

    out, small = io.BytesIO(), io.BytesIO()
    drawn.savefig(out, format="png", dpi=dpi, facecolor="white")
    Image.open(out).convert("RGB").quantize(200).save(small, format="PNG", optimize=True)
    return small.getvalue()


def _svg(drawn: Any, alt: str) -> str:
    """Inline SVG whose black is the page's own ink, so that one drawing serves light, dark and paper."""
    import matplotlib

    for axes in drawn.axes:
        axes.patch.set_alpha(0)
        if legend := axes.get_legend():
            legend.get_frame().set_facecolor("none")
    out = io.StringIO()
    name = f"f{zlib.crc32(alt.encode()):08x}"                                  # ids are per page, and the same in every build
    with matplotlib.rc_context({"svg.hashsalt": name}):
        drawn.savefig(out, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = svg.replace("#000000", "currentColor")
    svg = svg.replace(' id="', f' id="{name}-').replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" fill="currentColor" aria-label="{html.escape(alt)}"', 1)
    return re.sub(r"\s*\n\s*", " ", svg)                                        # a blank line would end the HTML block in Markdown


def notebook(markdown: str) -> str:
    """One chapter's Markdown as the text of an .ipynb (jupytext): blocks that run at build are cells, all else is prose."""
    import jupytext

    def cell(match: re.Match[str]) -> str:
        runs = re.search(r'exec="(true|1|yes|on)"', match["options"])
        body = inspect.cleandoc("\n" + match["body"])
        return f"```python{'' if runs else ' .noeval'}\n{body}\n```"

    text = FENCE.sub(cell, markdown)
    text = BOX.sub(_quote, text)
    text = re.sub(r"^<!--.*?-->\n", "", text, flags=re.M | re.S)                # `<!-- check: ... -->` is for the page's builder
    text = re.sub(r"\{ ?[.:#][^{}\n$]*\}(?=$|\s)", "", text, flags=re.M)        # `{ .class #id }` is for the page's style
    book = jupytext.reads(text, fmt="md")
    for number, entry in enumerate(book.cells):
        entry["id"] = f"cell-{number}"                                          # the same chapter gives the same bytes
        entry["metadata"] = {}
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
    """Write the notebooks and the fonts. Files that would not change are not touched, so `mkdocs serve` stays calm."""
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

    import matplotlib

    fonts = cache / "plugin" / "social" / "fonts" / "DejaVu Sans"               # where the social plugin looks before it downloads
    fonts.mkdir(parents=True, exist_ok=True)
    for style, name in {"Regular": "DejaVuSans.ttf", "Bold": "DejaVuSans-Bold.ttf"}.items():
        shutil.copyfile(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, fonts / f"{style}.ttf")


if __name__ == "__main__":
    prepare()
