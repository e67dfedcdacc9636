"""`course compare` shows the course's own code for a task that passes, and to nobody else."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from course.grading.compare import compare, listing, named, solved_by
from course.grading.manifest import EXERCISES, REPOSITORY, load_tasks

FIRST = REPOSITORY / "tests" / "exercises" / "variants" / "first"


def compared(name: str, folder: Path) -> str:
    out = io.StringIO()
    compare(name, folder, Console(file=out, width=200))
    return out.getvalue()


def test_what_the_manifests_name_is_there():
    for task in load_tasks().values():
        for entry in task.compare:
            shown = named(entry)
            assert shown.code.strip(), entry
            assert task.id in solved_by(shown)


def test_a_solved_task_shows_the_courses_code():
    said = compared("ch03.add_noise", FIRST)
    assert "course/forward.py, line" in said
    assert "return level.alpha * x0 + level.sigma * eps" in said
    assert '"""' not in said


@pytest.mark.parametrize(("body", "why"), [("raise NotImplementedError", "not attempted yet"), ("return x0", "does not pass")])
def test_an_unsolved_task_shows_nothing(body, why, tmp_path):
    text = (EXERCISES / "ch03_forward.py").read_text()
    head, after = text.split("def add_noise", 1)
    (tmp_path / "ch03_forward.py").write_text(f"{head}def add_noise{after.replace('raise NotImplementedError', body, 1)}")
    with pytest.raises(ValueError, match=why):
        compared("add_noise", tmp_path)


@pytest.mark.parametrize(("name", "why"), [("ch03", "compare one of them"), ("ch11.mislabelled", "no code of its own"), ("nothing", "no task")])
def test_what_cannot_be_compared_is_said(name, why):
    with pytest.raises(ValueError, match=why):
        compared(name, FIRST)


def test_listings_are_found_wherever_they_stand():
    assert listing("course.samplers", "ddim").file == "course/samplers/basic.py"          # gathered by the package
    assert listing("course.schedule", "Level.snr").code.startswith("@property")
    with pytest.raises(ValueError, match="was it renamed"):
        listing("course.forward", "nothing")
    with pytest.raises(ValueError, match="no module"):
        listing("course.nothing", "nothing")


def test_no_chapter_shows_a_solution_unfolded(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs"))
    common = pytest.importorskip("figures.common")
    monkeypatch.setattr(common, "_narrow", lambda code: code)          # how long its lines are is another question
    folded = 0
    for page in sorted((REPOSITORY / "docs" / "chapters").glob("*.md")):
        for module, name in re.findall(r'source\("([\w.]+)", "([\w.]+)"\)', page.read_text(encoding="utf-8")):
            if solved_by(listing(module, name)):
                folded += 1
                assert common.source(module, name).startswith("??? solved"), f"{page.name}: {name}"
    assert folded > 20
    assert common.source("course.schedule", "Level").startswith("```python")
