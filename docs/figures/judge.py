"""<eq-check>: the judge in the page, where the site was built with Pyodide."""

import html

from course.equations import settings

from .studio import weight

PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
FILES = (*(f"runtimes/pyodide/{name}" for name in PYODIDE), "judge/judge.zip")


def check(latex: str = "", setting: str = "vae", task: str = "", kind: str = "latex") -> str:
    """A box to write in, with a line to begin from. task: the written task whose block this is; the browser remembers what was written.
    kind: of the block, "latex" or "text"."""
    size, more = weight(FILES), weight(("judge/algebra.zip",))
    about = f'data-bytes="{size}" data-more="{more}"' if size and more else (
        'data-reason="This copy of the site was built without the judge for browsers; course check and course prove on your machine '
        'answer the same."')
    names = " ".join([*settings, "gaussian"])
    block = f' data-task="{task}" data-kind="{kind}" data-keep="{task}"' if task else ""
    return f'<eq-check {about} data-settings="{names}" setting="{setting}" latex="{html.escape(latex, quote=True)}"{block}></eq-check>\n'


def hand_in(file: str, text: str) -> str:
    """A button that gives the file of exercises with what was written in the boxes of the page."""
    lines = html.escape(text, quote=True).replace("\n", "&#10;")              # a blank line would end the HTML block
    return f'<eq-hand-in data-file="{file}" data-text="{lines}"></eq-hand-in>\n'
