"""What every chapter page needs: the source of a function as it stands today, and a figure that is readable by day and night.

The chapters call these from executed code blocks. A block runs in the process that builds the site, at the
repository's root, so the first block of each page puts `docs` on the import path.
"""

import ast
import base64
import html
import io
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import markdown
import matplotlib

from course.grading.compare import listing, solved_by
from course.grading.manifest import load_tasks
from course.grading.written import load_answers

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.gridspec import GridSpec
from PIL import Image

# Mid-contrast colours: at least 3:1 against white and against the dark scheme's slate (WCAG 1.4.11, graphical objects).
BLUE, ORANGE, GREEN, PURPLE, RED, GREY = "#3b82c4", "#d9730d", "#2f9e58", "#9a62c9", "#dc4a4a", "#808894"
CYCLE = [BLUE, ORANGE, GREEN, PURPLE, RED, GREY, "#a3811c", "#1d96a0"]

# One colour and one marker for each sampler, in every figure of every chapter; a new sampler takes what is left, in order.
SAMPLER_STYLE = dict(zip(
    ("ddim", "euler", "pndm", "lms", "heun", "dpmpp_2m", "ddpm", "euler_ancestral"), zip(CYCLE, "osDv^<>P", strict=True), strict=True,
))
COLUMNS = 74     # of a listing: as much as is seen at once beside the table of contents on a screen of 1280 pixels

INK = "#010203"  # drawn in this colour, written out as `currentColor`: text and axes then follow the page's scheme

STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": matplotlib.cycler(color=CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "font.size": 10,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "path",
    "mathtext.fontset": "cm",
}


def source(module: str, name: str, docstring: bool = False, solves: str = "") -> str:
    """The lines of `module.name` (a function, class, method or constant) as a fenced Markdown code block.

    Nothing is copied into a chapter: if the name is gone, the build fails. What solves an exercise, by its manifest, comes folded.

    Args:
        module: importable name, such as "course.forward".
        name: dotted name inside the module.
        docstring: keep the docstrings. They repeat the formula printed beside the code, so they are dropped by default.
        solves: a task that this solves, where the manifests, which know the course's own modules, can't say it.
    """
    shown = listing(module, name, docstring)
    block = f'```python title="{shown.where}"\n{_narrow(shown.code)}\n```\n'
    tasks = [solves] if solves else solved_by(shown)
    if not tasks:
        return block
    words = " and ".join([", ".join(f"`{task}`" for task in tasks[:-1]), f"`{tasks[-1]}`"] if len(tasks) > 1 else [f"`{tasks[0]}`"])
    return f'??? solved "{words} solved? Compare: {shown.where}"\n\n' + textwrap.indent(block, "    ")


@cache
def _narrow(code: str) -> str:
    """The same code in lines that are seen whole (ruff), with comments that make a line too long on a line of their own."""
    if all(len(line) <= COLUMNS for line in code.splitlines()):
        return code
    done = subprocess.run([sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={COLUMNS}", "-"], input=code,
                          capture_output=True, text=True)
    lines = (done.stdout if done.returncode == 0 else code).rstrip("\n").split("\n")
    out = []
    for line in lines:
        head, mark, comment = line.rpartition("  #")
        if len(line) > COLUMNS and mark and head.strip():
            out.append(" " * (len(head) - len(head.lstrip())) + "#" + comment)
            line = head.rstrip()
        out.append(line)
    return "\n".join(out)


def figure(drawn: plt.Figure, name: str, alt: str, caption: str = "", stack: bool = False) -> str:
    """The figure as inline SVG in a `<figure>`, its text in the page's own colour, its ids prefixed with `name`.

    A drawing never shrinks below one pixel per point, so that its letters stay readable; on a phone it then scrolls sideways in a
    box of its own. Panels side by side can be stacked there instead.

    Args:
        drawn: a matplotlib figure; it is closed.
        name: unique on the page, letters, digits and hyphens.
        alt: what the picture shows, for those who cannot see it.
        caption: one or two sentences under the picture (HTML; formulas are not rendered in it).
        stack: draw it once more for phones, one panel below the other.
    """
    drawings = [f'<div class="drawing">\n{_svg(drawn, name, alt)}\n</div>']
    if stack:
        _stack(drawn)
        drawings.append(f'<div class="drawing stacked" hidden="">\n{_svg(drawn, name + "-stacked", alt)}\n</div>')
    plt.close(drawn)
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="computed" id="fig-{name}">\n' + "\n".join(drawings) + f"\n{below}\n</figure>\n"


def _svg(drawn: plt.Figure, name: str, alt: str) -> str:
    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name}):
        drawn.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = svg.replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = re.sub(r'width="([\d.]+)pt" height="[\d.]+pt"', lambda m: f'style="min-width:{float(m[1]):.0f}px;height:auto"', svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt, quote=True)}"', 1)
    svg = re.sub(r' (?:d|x|y)="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)  # a hundredth of a point is enough
    svg = re.sub(r"\n\s*", "\n", svg)  # blank lines and indents would end an HTML block in Markdown
    return re.sub(r"\n+", "\n", svg).strip()


def _stack(drawn: plt.Figure, width: float = 4.7) -> None:
    """Move the panels of a row below each other, as wide as a phone (358 px of 390), each with about the shape it had."""
    panels = drawn.axes
    drawn.canvas.draw()
    shapes = [ax.get_position().height * drawn.get_figheight() / (ax.get_position().width * drawn.get_figwidth()) for ax in panels]
    heights = [min(max(shape * width, 2.1), 2.9) for shape in shapes]
    drawn.set_size_inches(width, sum(heights) + 0.5 * len(panels))
    for ax, cell in zip(panels, GridSpec(len(panels), 1, figure=drawn, height_ratios=heights), strict=True):
        ax.set_subplotspec(cell)
        if ax is not panels[0] and panels[0].get_shared_y_axes().joined(panels[0], ax):      # each needs its own labels now
            ax.tick_params(labelleft=True)
            ax.set_ylabel(panels[0].get_ylabel())


def picture(image, name: str, alt: str, caption: str = "", width: int | None = None, least: int | None = None) -> str:
    """A PIL image as a `<figure>` with the picture inside the page. `width` in CSS pixels; the image's own if None.

    With `least`, for pictures with words in them, it scrolls in a box of its own rather than become narrower than that.
    """
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    style = f' style="min-width:{least}px"' if least else ""
    return (
        f'<figure class="computed" id="fig-{name}"><div class="drawing"><img{style} alt="{html.escape(alt, quote=True)}" '
        f'width="{width or image.width}" src="{data_address(image)}"></div>{below}</figure>\n'
    )


def data_address(image: Image.Image) -> str:
    """A picture as a data address: WebP without loss, the very pixels in some three quarters of a PNG's bytes. Method 6 would save three
    hundredths more and take two hundred times as long."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=True, quality=100, method=4, exact=True)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pictured(html: str) -> Image.Image | None:
    """The first picture that lies in a page's HTML as a data address; None if there is none."""
    found = re.search(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", html)
    return Image.open(io.BytesIO(base64.b64decode(found[1]))) if found else None


def exercises(*files: str) -> str:
    """The tasks of some exercise files ("ch03_forward") as HTML: for each its question, a box to try a line of LaTeX in, and its hints,
    one behind the other."""
    from .judge import check, hand_in

    answers = load_answers(ROOT / "tests" / "exercises" / "answers")

    parts = []
    for file in files:
        tasks = [task for task in load_tasks().values() if task.chapter == file]
        if not tasks:
            raise ValueError(f"no tasks for {file!r}: is there a manifest tests/exercises/{file}.toml?")
        written = [f"exercises/{file}{end}" for end in (".py", ".md") if (ROOT / "exercises" / f"{file}{end}").exists()]
        names = " and ".join(f"<code>{name}</code>" for name in written)
        points = sum(task.points for task in tasks)
        count = f"{len(tasks)} task{'s' * (len(tasks) != 1)}"
        how = "Open a task for its question; the hints are folded inside, one behind the other. Written answers are checked here, too."
        parts.append(f"<p>In {names}, {count}, {points:g} points. {how}</p>\n")
        for task in tasks:
            hints = ""
            for number, hint in reversed(list(enumerate(task.hints, 1))):
                title = f"{'One more hint' if number > 1 else 'A hint'} ({number} of {len(task.hints)})"
                hints = f'<details class="hint"><summary>{title}</summary><p>{_inline(hint)}</p>{hints}</details>'
            text, answer = question(task)
            box = ""
            if answer in ("latex", "text") and task.id in answers:
                box = check("", answers[task.id].get("setting", "vae"), task.id, answer)
            parts.append(
                f"<details><summary>{_inline(task.title)} (<code>{task.id}</code>, {task.points:g}&nbsp;"
                f"{'point' if task.points == 1 else 'points'})</summary>{text}{box}{hints}</details>\n"
            )
        path = ROOT / "exercises" / f"{file}.md"
        if path.exists() and any(task.id in answers for task in tasks):
            parts.append(hand_in(path.name, path.read_text(encoding="utf-8")))
    return "".join(parts)


def question(task) -> tuple[str, str]:
    """What a task asks, as HTML, and the kind of its answer: "latex", "text", "python" or "".

    From the very file that the student edits: the docstring of the function, or the words above the fence."""
    name = task.id.partition(".")[2]
    for end in (".md", ".py"):
        path = ROOT / "exercises" / f"{task.chapter}{end}"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if end == ".md" and (found := re.search(rf"^### {re.escape(task.id)}\n(.*?)^```(\w+) {re.escape(task.id)}$", text, re.M | re.S)):
            return _markdown(found[1]), found[2]
        if end == ".py" and text:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name and ast.get_docstring(node):
                    signature = f"{'class' if isinstance(node, ast.ClassDef) else 'def'} {name}"
                    if isinstance(node, ast.FunctionDef):
                        signature += f"({ast.unparse(node.args)})"
                    return f"<pre><code>{html.escape(signature)}</code></pre>" + _markdown(ast.get_docstring(node)), "python"
    return "", ""


def _markdown(text: str) -> str:
    """A question's Markdown as HTML, its formulas for KaTeX."""
    extensions = ["tables", "fenced_code", "sane_lists", "pymdownx.arithmatex"]
    made = markdown.markdown(text, extensions=extensions, extension_configs={"pymdownx.arithmatex": {"generic": True}})
    return re.sub(r"\n\s*\n", "\n", made)                  # a blank line would end the HTML block that this goes into


def _inline(text: str) -> str:
    """A line of text with Markdown's `code` and formulas between dollars, as HTML."""
    return re.sub(r"^<p>|</p>$", "", _markdown(text))


def axes(rows: int = 1, columns: int = 1, width: float = 7.0, height: float = 2.8, **options):
    """`plt.subplots` in the course's style: (figure, axes)."""
    plt.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


ROOT = Path(__file__).resolve().parents[2]
