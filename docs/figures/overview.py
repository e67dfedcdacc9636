"""The overview of the chapters: one picture, one sentence, minutes and prerequisites each, from the head of each chapter's file."""

import importlib
import io
import re
from pathlib import Path

import cairosvg
import yaml
from PIL import Image

from course.grading.manifest import load_tasks

from .common import GREY, ROOT, data_address, picture, pictured

WORDS_A_MINUTE, FORMULAS_A_MINUTE = 180, 2
FIELDS = {"description": "one sentence", "needs": "what to read before, such as: 3, 4",
          "picture": "a function of docs/figures, such as: forward.to_noise"}


def head(path: Path) -> tuple[dict, str]:
    """A page's front matter and its text."""
    text = path.read_text(encoding="utf-8")
    found = re.match(r"---\n(.*?)\n---\n", text, re.S)
    return (yaml.safe_load(found[1]) or {}, text[found.end():]) if found else ({}, text)


def minutes(text: str) -> int:
    """How long a chapter takes to read: its words and its displayed formulas, rounded to five minutes."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    formulas = len(re.findall(r"^\$\$\n.*?^\$\$", prose, re.M | re.S))
    words = len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\$\$.*?\$\$|<!--.*?-->", "", prose, flags=re.S)))
    return max(5, 5 * round((words / WORDS_A_MINUTE + formulas / FORMULAS_A_MINUTE) / 5))


def thumbnail(drawn: str, width: int = 360) -> str:
    """The first picture of a figure's HTML, small, as a data address. Ink becomes a grey that is seen by day and night."""
    if found := pictured(drawn):
        image = found.convert("RGBA")
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    else:
        svg = re.search(r"<svg.*?</svg>", drawn, re.S)[0].replace("currentColor", GREY)
        svg = re.sub(r'style="[^"]*" (viewBox="0 0 ([\d.]+) ([\d.]+)")', r'width="\2" height="\3" \1', svg, count=1)
        image = Image.open(io.BytesIO(cairosvg.svg2png(bytestring=svg.encode(), output_width=width)))
    small = image.quantize(64).convert("RGBA")
    return f'<img alt="" loading="lazy" width="{small.width}" height="{small.height}" src="{data_address(small)}">'


def painted() -> str:
    """What chapter 10 ends with: one prompt, painted."""
    from .gallery import PROMPT, paint

    return picture(paint(PROMPT, (1,))[0].resize((180, 180), 0), "painted", PROMPT)


def cards(folder: Path = ROOT / "docs" / "chapters") -> str:
    """The list of the chapters as HTML."""
    tasks = [task.chapter for task in load_tasks().values()]
    items = []
    for path in sorted(folder.glob("[0-9]*.md")):
        about, text = head(path)
        if missing := FIELDS.keys() - about.keys():
            wanted = "\n".join(f"{name}: {FIELDS[name]}" for name in sorted(missing))
            raise ValueError(f"{path.relative_to(ROOT)} does not say in its first lines, between two lines of ---:\n{wanted}")
        number, title = re.search(r"^# (\w+)\. (.*)$", text, re.M).groups()
        module, _, function = about["picture"].partition(".")
        image = thumbnail(getattr(importlib.import_module(f"figures.{module}"), function)())
        files = re.findall(r'"(ch\d+\w*)"', " ".join(re.findall(r"exercises\((.*?)\)", text)))
        count = sum(chapter in files for chapter in tasks)
        exercises = f" · {count} exercise{'s' * (count != 1)}" if count else ""
        needs = str(about["needs"])
        needs = f"needs chapter{'s' * (',' in needs)} {needs}" if re.match(r"\d", needs) else f"needs {needs}"
        items.append(
            f'<li><a class="chapter-picture" href="{path.stem}/" tabindex="-1" aria-hidden="true">{image}</a>'
            f'<div><a class="chapter-title" href="{path.stem}/">{number}. {title}</a><p>{about["description"]}</p>'
            f'<p class="chapter-facts">about {minutes(text)} minutes{exercises} · {needs}</p></div></li>\n'
        )
    return f'<ol class="chapter-list">\n{"".join(items)}</ol>\n'
