"""What a verdict depends on, as a digest: results with the same digest need not be made again, all others do.

For a task that is: the checks of that task (their syntax tree: comments and layout do not count) with the helpers and data
files beside them, the task's entry in the manifest, every module of the course that these and the grader import, the
versions of the packages those import, Python's version, and what confines student code. Imports are followed in the
source, also those inside functions; nothing here runs the checks.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import Any

import course
from course.grading.manifest import Task

PACKAGE = Path(course.__file__).resolve().parent
# what runs between a hand-in and its verdict; the two that are started by path are named
GRADER = ("course.grading.grade", "course.grading.judging", "course.grading.zygote", "course.grading.confine",
          "course.grading.values", "course.grading.rules", "course.grading.notebook")
NOT_IN_VERDICTS = frozenset({"id", "title", "hints", "difficulty", "docs", "needs", "minutes"})


def task_digests(tasks: dict[str, Task], checks: Path, isolation: str = "") -> dict[str, dict[str, str]]:
    """For every task, what its verdict depends on besides the submission and the seed: a short name for each part.

    task: its entry in the manifest; checks: the checks of this task; course: the code behind them, and the packages; sandbox.
    """
    grader = closure(GRADER)
    chapters = {chapter: (_course_of(chapter, checks, grader), _check_files(chapter, checks), _data_of(chapter, checks))
                for chapter in {task.chapter for task in tasks.values()}}
    pieces = {path: _pieces(path) for _, paths, _ in chapters.values() for path in paths}
    return {name: {
        "task": _digest({key: value for key, value in vars(task).items() if key not in NOT_IN_VERDICTS}),
        "checks": _digest([[text for path in chapters[task.chapter][1] for owner, text in pieces[path] if owner in ("", name)],
                           chapters[task.chapter][2]]),
        "course": _digest([chapters[task.chapter][0], platform.python_version()]), "sandbox": _digest(isolation)}
        for name, task in tasks.items()}


def closure(modules: tuple[str, ...]) -> frozenset[str]:
    """The modules that importing these can lead to: course modules by their dotted name, others by their top name."""
    found, waiting = set(modules), list(modules)
    while waiting:
        for name in _imports(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return frozenset(found)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _file(module: str) -> Path | None:
    if module.partition(".")[0] != "course":
        return None
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


@functools.cache
def _imports(module: str) -> frozenset[str]:
    path = _file(module)
    return frozenset() if path is None else _imported(ast.parse(path.read_bytes()), module)


def _imported(tree: ast.AST, module: str = "") -> frozenset[str]:
    """Everything that the import statements in `tree` may load."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.split(".")[:-node.level] if module else []
                base = ".".join([*parent, base]).strip(".")
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    result = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "course":
            result.add(parts[0])
        else:          # with the packages on the way, whose __init__ runs too
            result.update(m for n in range(1, len(parts) + 1) if _file(m := ".".join(parts[:n])) is not None)
    return frozenset(result)


def _source(path: Path) -> str:
    """A Python file without comments and layout; any other file as it is."""
    data = path.read_bytes()
    if path.suffix == ".py":
        return hashlib.sha256(ast.dump(ast.parse(data)).encode()).hexdigest()
    return hashlib.sha256(data).hexdigest()


_module_source = functools.cache(_source)          # of the course as it is loaded; the checks are read anew each time


@functools.cache
def _course(modules: frozenset[str]) -> str:
    """A digest of these modules: sources and data files of the course, versions of other packages."""
    files = {m: path for m in modules if (path := _file(m)) is not None}
    folders = {path.parent for path in files.values()}
    data = [p for folder in folders for p in folder.iterdir()
            if p.is_file() and p.suffix in (".json", ".toml", ".lark", ".txt", ".safetensors")]
    data += [p for m in files if files[m].name == "__init__.py" and m != "course"
             for p in files[m].parent.rglob("*") if p.suffix in (".safetensors", ".json") and p.is_file()]
    others = sorted(m for m in modules if m.partition(".")[0] != "course" and m not in sys.stdlib_module_names)
    return _digest([{m: _module_source(path) for m, path in files.items()},
                    {str(p.relative_to(PACKAGE)): _source(p) for p in data}, {m: _version(m) for m in others}])


def _version(module: str) -> str:
    for name in (module, {"PIL": "pillow", "yaml": "pyyaml"}.get(module, "")):
        try:
            return importlib.metadata.version(name) if name else ""
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _check_files(chapter: str, checks: Path) -> list[Path]:
    name = f"test_{chapter}.py"
    return [p for p in (checks / name, *sorted(checks.glob("hidden/test_ch*.py"))) if p.is_file()
            and (p.name == name or p.name.startswith(f"test_{chapter[:4]}"))]


def _course_of(chapter: str, checks: Path, grader: frozenset[str]) -> str:
    wanted: set[str] = set()
    for path in _check_files(chapter, checks):
        wanted |= _imported(ast.parse(path.read_bytes()))
    return _course(grader | closure(tuple(sorted(wanted))))


def _data_of(chapter: str, checks: Path) -> dict[str, str]:
    """The data files that the checks of a chapter may read."""
    folders = (checks, *(d for d in checks.iterdir() if d.is_dir() and d.name not in ("variants", "hidden", "__pycache__")))
    return {str(p.relative_to(checks)): _source(p) for folder in folders for p in sorted(folder.iterdir())
            if p.is_file() and p.suffix in (".json", ".toml", ".txt", ".sealed")
            and not (folder == checks and p.suffix == ".toml" and p.name.startswith("ch"))          # the manifests
            and (not p.name.startswith("ch") or p.name.startswith(chapter[:4]))}


def _pieces(path: Path) -> list[tuple[str, str]]:
    """The statements of a file of checks as (the task a check belongs to or "", its syntax tree in words)."""
    return [(_owner(node), ast.dump(node)) for node in ast.parse(path.read_bytes()).body]


def _owner(node: ast.stmt) -> str:
    """The task of a function marked with `@task("ch03.add_noise")`; "" for everything else."""
    for d in getattr(node, "decorator_list", []):
        if isinstance(d, ast.Call) and d.args and isinstance(d.args[0], ast.Constant) and (
                getattr(d.func, "id", "") == "task" or getattr(d.func, "attr", "") == "task"):
            return str(d.args[0].value)
    return ""
