"""The guards of the measures and of the grader, taken out one at a time: for each, some test of the same module must fail.

A guard is an `if` that does nothing but raise, or a `_require(...)`. The mutant lives in a forked child: it is compiled into the module
that is loaded there, and the module's own tests are run on it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTED = {
    "course.lab.metrics": "lab/test_metrics.py",
    "course.grading.manifest": "grading/test_manifest_and_answers.py",
    "course.grading.checks": "grading/test_checks.py",
}


def guards(source: str) -> list[int]:
    """The lines of the guards in a module."""
    return [node.lineno for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.If) and not node.orelse and len(node.body) == 1 and isinstance(node.body[0], ast.Raise)]


def without(source: str, line: int) -> ast.Module:
    """The module with the guard in that line never true."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and node.lineno == line:
            node.test = ast.copy_location(ast.Constant(False), node.test)
    return tree


def passes_on(name: str, tree: ast.Module, tests: Path) -> bool:
    """Whether the tests pass on the mutant, in a child."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            module = importlib.import_module(name)
            before = dict(vars(module))
            exec(compile(tree, module.__file__, "exec"), vars(module))
            for key, old in before.items():                  # others hold the old functions and classes: they get the new bodies
                new = vars(module)[key]
                pairs = [(vars(old).get(n), f) for n, f in vars(new).items()] if isinstance(old, type) else [(old, new)]
                for here, there in pairs:
                    if hasattr(here, "__code__") and hasattr(there, "__code__"):
                        here.__code__ = there.__code__
                vars(module)[key] = old
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:playwright", str(tests)]))
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a fork is needed")
@pytest.mark.parametrize("name", TESTED)
def test_every_guard_is_missed(name):
    path = Path(importlib.import_module(name).__file__)
    source = path.read_text(encoding="utf-8")
    found = guards(source)
    assert len(found) >= 4
    assert passes_on(name, ast.parse(source), HERE / TESTED[name]), "the tests fail without any mutation"
    unmissed = [f"{path.name}:{line}: {source.splitlines()[line - 1].strip()}" for line in found
                if passes_on(name, without(source, line), HERE / TESTED[name])]
    assert not unmissed


def test_a_guard_is_found_and_taken_out():
    source = "def f(x):\n    if x < 0:\n        raise ValueError\n    if x:\n        return 1\n    return x\n"
    assert guards(source) == [2]
    names = {}
    exec(compile(without(source, 2), "f", "exec"), names)
    assert names["f"](-1) == 1
