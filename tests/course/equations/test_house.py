"""The house of course.equations: a layer imports what is below it, nothing imports in a circle, the kernel imports nothing of the course."""

import ast
import sys
from pathlib import Path

import course.equations

HOME = Path(course.equations.__file__).parent
LAYERS = [
    ["kernel"],
    ["reading"],
    ["meaning"],
    ["evidence"],
    ["search"],
    ["repairs"],
    ["judge"],
    ["__init__"],
    ["command", "cards"],
    ["pages"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """Each module by its name below course.equations ("meaning.ground"; "reading" for the docstring of a folder)."""
    named = {path: ".".join(path.relative_to(HOME).with_suffix("").parts) for path in sorted(HOME.rglob("*.py"))}
    return {name.removesuffix(".__init__"): path for path, name in named.items()}


def imported(path: Path) -> set[str]:
    """The modules of course.equations that a file imports, also inside a function."""
    known, out = modules(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("course.equations.") in known else node.module for name in names]
        else:
            continue
        for name in names:
            if name == "course.equations" or name.startswith("course.equations."):
                out.add(name.removeprefix("course.equations").removeprefix(".") or "__init__")
    return out


def test_every_module_has_its_layer():
    assert {name.split(".")[0] for name in modules()} == LEVEL.keys()


def test_no_import_runs_up():
    level = {name: LEVEL[name.split(".")[0]] for name in modules()} | {"__init__": LEVEL["__init__"]}
    up = [f"{name} imports {other}" for name, path in modules().items() for other in imported(path) if level[other] > level[name]]
    assert not up


def test_no_import_runs_in_a_circle():
    needs = {name: imported(path) - {name} for name, path in modules().items()}
    while free := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in free:
            del needs[name]
    assert not needs


def test_the_kernel_imports_the_standard_library_alone():
    for node in ast.walk(ast.parse((HOME / "kernel.py").read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_no_function_is_longer_than_eighty_lines():
    functions = [(name, node) for name, path in modules().items() for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert len(functions) > 500
    assert not [f"{name}.{f.name}" for name, f in functions if f.end_lineno - f.lineno + 1 > 80]
