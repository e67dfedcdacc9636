"""The instructors' pages are what they say: code on them is typed as printed, promises and tasks exist."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from course.grading.manifest import load_tasks
from course.grading.run import check_folder, load_checks

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "instructors"


def blocks(page: str, start: str, end: str) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks of a page between two headings."""
    text = (PAGES / page).read_text(encoding="utf-8")
    part = text[text.index(start):text.index(end)]
    return re.findall(r"(?m)^```(\w+)[^\n]*\n(.*?)^```$", part, re.S)


def test_a_task_as_the_page_says(tmp_path):
    """"Add to it", typed as printed into a copy of chapter 3: stub, entry, check, two right answers, five named mistakes."""
    stub, entry, check, first, second, wrong = (text for _, text in blocks("extend.md", "## A task", "## A setting"))
    checks = tmp_path / "checks"
    checks.mkdir()
    for name in ("ch03_forward.toml", "test_ch03_forward.py"):
        shutil.copy(ROOT / "tests" / "exercises" / name, checks)
    for path in (ROOT / "tests" / "exercises").glob("*.json"):
        shutil.copy(path, checks)
    manifest = checks / "ch03_forward.toml"
    manifest.write_text(re.sub(r"needs = \[[^\]]*\]\n", "", manifest.read_text()) + "\n" + entry)
    (checks / "test_ch03_forward.py").write_text((checks / "test_ch03_forward.py").read_text() + "\n\n" + check)
    task = load_tasks(checks)["ch03.snr"]
    assert 2 <= len(task.hints) <= 4
    assert sum(t.points for t in load_tasks(checks).values() if not t.extra) == sum(
        t.points for t in load_tasks().values() if t.chapter == "ch03_forward" and not t.extra)
    assert len(load_checks(checks)["ch03.snr"]) == 1

    def verdict(source, name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "ch03_forward.py").write_text("import torch\nfrom torch import Tensor\n\n\n" + source)
        return check_folder(folder, ["ch03.snr"], checks=checks)["ch03.snr"]

    assert verdict(stub, "stub").status == "not_attempted"
    assert verdict(first, "first").status == verdict(second, "second").status == "passed"
    mistakes = tomllib.loads(wrong)["ch03.snr"]
    assert len(mistakes) >= 5
    for number, mistake in enumerate(mistakes):
        assert mistake["old"] in first
        found = verdict(first.replace(mistake["old"], mistake["new"]), f"wrong{number}")
        assert found.status == "failed", mistake
        assert mistake["says"] in found.feedback, (mistake, found.feedback)


def test_a_sampler_and_a_setting_as_the_page_says(capsys):
    """The same page's other two additions: executed as one session."""
    names: dict = {}
    import sys

    sys.path.insert(0, str(ROOT / "docs"))
    try:
        for language, text in blocks("extend.md", "## A setting", "One caution"):
            if language == "python":
                exec(text, names)
    finally:
        sys.path.remove(str(ROOT / "docs"))
    said = capsys.readouterr().out
    assert "identity" in said
    assert "refuted" in said
    ratios = [float(r) for r in re.search(r"midpoint.*ratios \[([^\]]*)\]", said).group(1).split(",")]
    assert all(3.5 < ratio < 5 for ratio in ratios)          # of second order, as the page says


def test_the_entry_of_the_points_page_is_one():
    """change.md shows an entry; every key in it is one that a manifest may have."""
    (_, text), *_ = blocks("change.md", "## Points", "## Deadlines")
    from course.grading.manifest import _FIELDS

    (entry,) = tomllib.loads(text)["task"]
    assert set(entry) <= set(_FIELDS)


def test_the_assignment_of_the_page_is_one(tmp_path):
    from course.grading.assignment import read_assignment

    text = next(text for language, text in blocks("grade.md", "## 4. Grade", "A student's code runs") if language == "toml")
    (tmp_path / "hw.toml").write_text(text)
    hw = read_assignment(tmp_path / "hw.toml")
    assert sum(t.points for t in hw.choose(load_tasks()).values() if not t.extra) == pytest.approx(20)
    assert hw.percent_a_day == 10


def test_promises_and_what_assesses_them():
    """Every line of outcomes.toml speaks of a promise that a chapter makes, and of tasks that there are."""
    tasks = load_tasks()
    for chapter, promises in tomllib.loads((PAGES / "outcomes.toml").read_text(encoding="utf-8")).items():
        text = " ".join((ROOT / "docs" / "chapters" / f"{chapter}.md").read_text(encoding="utf-8").split("## ")[0].split())
        for words, names in promises.items():
            assert words in text, (chapter, words)
            assert set(names) <= set(tasks), (chapter, words)


def test_every_command_on_the_pages_has_these_options():
    """`course NAME --option` as printed: the option exists."""
    from typer.main import get_command

    from course.cli import app

    commands = get_command(app).commands
    seen = 0
    for page in PAGES.glob("*.md"):
        for name, rest in re.findall(r"(?m)^(?:\$ )?course ([\w-]+)(.*)$", page.read_text(encoding="utf-8")):
            assert name in commands, (page.name, name)
            known = {option for parameter in commands[name].params for option in parameter.opts}
            for option in re.findall(r"(?<!\S)(--[\w-]+)", rest.split("#")[0]):
                assert option in known, (page.name, name, option)
                seen += 1
    assert seen > 15


def test_the_lectures_name_every_deck_and_show_commands_that_exist():
    """Each chapter and its slides, twelve demonstrations; a command's options are read by the very parser of `course`."""
    from typer.main import get_command

    from course.cli import app

    text = (PAGES / "lectures.md").read_text(encoding="utf-8")
    assert re.findall(r"\(\.\./slides/(.*?)\.html\)", text) == sorted(p.stem for p in (ROOT / "docs" / "chapters").glob("[0-9]*.md"))
    assert [int(n) for n in re.findall(r"(?m)^### (\d+)\.", text)] == list(range(1, 13))
    commands = [shlex.split(line) for line in re.findall(r"(?m)^\$ course (.*)$", text)]
    assert len(commands) >= 12
    for name, *arguments in commands:
        command = get_command(app).commands[name]
        command.make_context(name, list(arguments))          # an option that is gone ends here


@pytest.mark.slow
def test_the_demonstrations_show_what_the_page_says(tmp_path, monkeypatch):
    """Every command of the page, run in the order of the lectures; what it prints has the words of *Show*."""
    from typer.testing import CliRunner

    from course.cli import app

    monkeypatch.chdir(tmp_path)
    text = (PAGES / "lectures.md").read_text(encoding="utf-8")
    said = {}
    for part in re.split(r"(?m)^### ", text)[1:]:
        for line in re.findall(r"(?m)^\$ course (.*)$", part):
            done = CliRunner().invoke(app, shlex.split(line))
            assert done.exit_code == (1 if "Refuted" in part else 0), (line, done.output[-500:])
            said[int(part.split(".")[0])] = done.output
    assert all(said[n].startswith("refuted") for n in (1, 2, 4))
    assert said[5].startswith("identity")
    assert "19 model calls" in said[8]
    assert int(re.search(r"largest difference: (\d+) of 255", said[8])[1]) <= 1
    assert (tmp_path / "out" / "trace.png").exists()
    assert "are yours" in said[11]
