"""The functions of a Jupyter notebook as a Python file, for students who hand in ch03_forward.ipynb.

What a file of functions has is kept: imports, functions, classes and plain constants. Experiments between them (plots,
loops, prints) and magics are left out: they are not what was asked for, and would run, or fail, when the file is loaded.
"""

from __future__ import annotations

import ast
import re

_KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MAGIC = re.compile(r"^\s*(%|!|\?|\w[\w.]*\?+\s*$)")


def source_of(data: bytes, notes: list[str]) -> bytes | str:
    """The Python source in the notebook `data`; or, as text, what is wrong with it. `notes` gets what was left out."""
    import nbformat

    try:
        notebook = nbformat.reads(data.decode("utf-8-sig"), as_version=4)
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    except (Exception, RecursionError) as error:
        return f"is not a Jupyter notebook that can be read ({type(error).__name__})"
    pieces, left_out = [], 0
    for cell in cells:
        if cell.lstrip().startswith("%%"):
            left_out += 1
            continue
        lines = ["pass  # " + line.strip() if _MAGIC.match(line) else line for line in cell.split("\n")]
        text = "\n".join(lines)
        try:
            body = ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pieces.append(text)          # Python itself says what is wrong, when the file is loaded
            continue
        kept = [node for node in body if isinstance(node, _KEPT) or _constant(node)]
        left_out += len(body) - len(kept)
        pieces += [_segment(text, node) for node in kept]
    if left_out:
        notes.append(f"of the notebook, imports, functions and constants were taken; {left_out} other statements were left out")
    return "\n\n".join(pieces).encode() + b"\n"


def _segment(text: str, node: ast.stmt) -> str:
    """The lines of a statement, decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(text.split("\n")[first - 1:node.end_lineno])


def _constant(node: ast.stmt) -> bool:
    """An assignment that computes nothing but what torch and math give."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return False
    roots = []
    for call in ast.walk(node.value):
        if isinstance(call, ast.Call):
            root = call.func
            while isinstance(root, ast.Attribute):
                root = root.value
            roots.append(getattr(root, "id", ""))
    return all(root in ("torch", "math", "np", "numpy", "float", "int", "range", "tuple", "list") for root in roots)
