"""Solved? Compare: the course's own code for a task, shown when the student's passes.

Which code that is stands in the manifests, `compare = ["course.forward:add_noise"]`. The chapters fold the same lists
(docs/figures/common.py), so that a page does not give away what an exercise asks for.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from course.grading.manifest import EXERCISES, load_tasks
from course.grading.progress import run, select


class Listing(NamedTuple):
    """Lines of a module: its file ("course/forward.py"), the first and last of them, and the code."""

    file: str
    first: int
    last: int
    code: str

    @property
    def where(self) -> str:
        lines = f"lines {self.first} to {self.last}" if self.last > self.first else f"line {self.first}"
        return f"{self.file}, {lines}"


def listing(module: str, name: str, docstring: bool = False) -> Listing:
    """The lines of `module.name`: a function, class, method or constant, also one that the module only gathers.

    Docstrings are left out by default, what else stands there is not changed. Raises ValueError for what is not there.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        raise ValueError(f"there is no module {module!r}")
    text = Path(spec.origin).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        found = [child for child in getattr(node, "body", []) if part in _defines(child)]
        moved = [child for child in getattr(node, "body", []) if isinstance(child, ast.ImportFrom) and not child.level
                 and part in [alias.asname or alias.name for alias in child.names]]
        if not found and moved and isinstance(node, ast.Module):           # a package that gathers its parts
            return listing(str(moved[-1].module), name, docstring)
        if not found:
            raise ValueError(f"{module} has no {name!r}: was it renamed?")
        node = found[-1]
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])          # type: ignore[attr-defined]
    last = int(node.end_lineno or first)          # type: ignore[attr-defined]
    dropped = set() if docstring else _docstring_lines(node, text.splitlines())
    lines = [line for number, line in enumerate(text.splitlines(), 1) if first <= number <= last and number not in dropped]
    return Listing(f"{module.replace('.', '/')}.py", first, last, textwrap.dedent("\n".join(lines)))


def _defines(node: ast.AST) -> list[str]:
    """The names that a statement gives a meaning to."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _docstring_lines(node: ast.AST, lines: list[str]) -> set[int]:
    """The numbers of the lines of all docstrings inside `node`, with a blank line after each."""
    numbers: set[int] = set()
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner) is not None and len(inner.body) > 1:
            end = inner.body[0].end_lineno or 0
            numbers.update(range(inner.body[0].lineno, (end + 1 if not lines[end].strip() else end) + 1))
    return numbers


@cache
def _solutions() -> dict[tuple[str, int], tuple[str, ...]]:
    """The tasks whose `compare` names a listing, by its file and first line."""
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    for task in load_tasks().values():
        for shown in map(named, task.compare):
            key = shown.file, shown.first
            found[key] = (*found.get(key, ()), task.id)
    return found


def named(entry: str) -> Listing:
    """The listing that "module:name" in a manifest stands for."""
    module, _, name = entry.partition(":")
    return listing(module, name)


def solved_by(shown: Listing) -> list[str]:
    """The tasks that a listing solves."""
    return list(_solutions().get((shown.file, shown.first), ()))


def compare(name: str, folder: Path = EXERCISES, console: Console | None = None) -> None:
    """Print the course's own code for one task. Raises ValueError while the task does not pass, and for what is no task."""
    console = console or Console()
    tasks = load_tasks()
    chosen = select([name], tasks)
    if len(chosen) > 1:
        raise ValueError(f"{name} has {len(chosen)} tasks; compare one of them: {', '.join(chosen)}")
    task = tasks[chosen[0]]
    if not task.compare:
        raise ValueError(f"the course has no code of its own for {task.id}: there is nothing to compare with")
    result = run([task.id], folder)[task.id]
    if result.status != "passed":
        why = "it is not attempted yet" if result.status == "not_attempted" else f"it does not pass: course check {task.id}"
        raise ValueError(f"the course's own code for {task.id} is shown when yours passes, and {why}. Stuck? course hint {task.id}")
    console.print(f"[bold]{task.id}[/bold] {escape(task.title)}: yours passes. This is how the course does it. Its functions may "
                  "take their arguments in another form: a Level is a time with alpha = sqrt(alpha_bar) and sigma = sqrt(1 - alpha_bar).")
    for entry in task.compare:
        shown = named(entry)
        console.print(f"\n[dim]{escape(shown.where)}[/dim]")
        console.print(Syntax(shown.code, "python", theme="ansi_dark", background_color="default", word_wrap=True)
                      if console.is_terminal else escape(shown.code))
