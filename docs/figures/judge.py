"""<eq-check>: the judge in the page, where the site was built with Pyodide."""

import html

from course.equations import settings

from .studio import weight

PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
FILES = (*(f"runtimes/pyodide/{name}" for name in PYODIDE), "judge/judge.zip")


def check(latex: str = "", setting: str = "vae", keep: str = "") -> str:
    """A box to write in, with a line to begin from. keep: a name under which the browser remembers what was written."""
    size, more = weight(FILES), weight(("judge/algebra.zip",))
    about = f'data-bytes="{size}" data-more="{more}"' if size and more else (
        'data-reason="This copy of the site was built without the judge for browsers; course prove on your machine answers the same."')
    names = " ".join([*settings, "gaussian"])
    line = f'setting="{setting}" latex="{html.escape(latex, quote=True)}" data-keep="{keep}"'
    return f'<eq-check {about} data-settings="{names}" {line}></eq-check>\n'
