"""`course check`, `course hint` and `course watch`, as a student meets them."""

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from course.cli import app
from course.grading import progress
from course.grading.manifest import EXERCISES, load_tasks
from course.grading.run import Result

FIRST = Path(__file__).parent / "variants" / "first"
TASKS = load_tasks()
CHAPTER_3 = [task for task in TASKS.values() if task.chapter == "ch03_forward" and not task.extra]
MOST, LOST, TASKS_3 = sum(task.points for task in CHAPTER_3), TASKS["ch03.add_noise"].points, len(CHAPTER_3)


@pytest.fixture
def folder(tmp_path):
    return begun(tmp_path)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Every task of such a folder, run once."""
    return progress.run(list(TASKS), begun(tmp_path_factory.mktemp("begun")))


def begun(tmp_path):
    """Stubs, with chapter 3 solved but for one mistake."""
    for path in EXERCISES.glob("ch*"):
        shutil.copy(path, tmp_path)
    text = (FIRST / "ch03_forward.py").read_text()
    (tmp_path / "ch03_forward.py").write_text(text.replace("(1 - a).sqrt() * noise", "(1 - a) * noise"))
    (tmp_path / "ch03_forward.md").write_bytes((FIRST / "ch03_forward.md").read_bytes())
    return tmp_path


def said(work, width=100, **options):
    """What `work(console)` prints, on a console without a terminal."""
    console = Console(file=io.StringIO(), width=width, **options)
    result = work(console)
    return console.file.getvalue(), result


def test_check_says_what_is_wrong_and_counts_points(folder):
    text, status = said(lambda console: progress.check(["ch03"], folder, console))
    assert status == 1
    assert "FAILED" in text
    assert "square root of the noise's factor is missing" in " ".join(text.split())
    assert f"{MOST - LOST:g} of {MOST:g} points, {TASKS_3 - 1} of {TASKS_3} tasks" in text
    assert "course hint ch03.add_noise" in " ".join(text.split())
    assert "Traceback" not in text
    assert "\x1b" not in text                              # no colour codes where there is no terminal


def test_check_of_everything_has_a_line_for_each_chapter(folder, verdicts, monkeypatch):
    monkeypatch.setattr(progress, "run", lambda names, *_, **__: {name: verdicts[name] for name in names})
    text, status = said(lambda console: progress.check([], folder, console))
    assert status == 1
    for chapter in {task.chapter for task in TASKS.values()}:
        assert chapter in text
    assert f"{MOST - LOST:g} of 100 points" in text


def test_untouched_stubs_are_no_failure(tmp_path):
    text, status = said(lambda console: progress.check(["ch05"], tmp_path, console))
    assert status == 0
    assert "not attempted" in text
    assert f"0 of {sum(t.points for t in TASKS.values() if t.id.startswith('ch05.') and not t.extra):g} points" in text


def passed(names):
    return {name: Result(name, TASKS[name].points, TASKS[name].points, "passed", None, "", extra=TASKS[name].extra) for name in names}


ONE_EACH = sorted({task.chapter: name for name, task in TASKS.items() if task.chapter not in ("ch07_training", "ch11_writeup")}.values())


@pytest.mark.parametrize("names", [ONE_EACH, pytest.param([name for name in TASKS if name != "ch11.writeup"], marks=pytest.mark.slow)],
                         ids=["one of each chapter", "all"])
def test_right_answers_pass_each_in_a_process_of_its_own(names):
    """In this process, all of them: test_variants.py."""
    results = progress.run(names, FIRST)
    assert [name for name, result in results.items() if result.status != "passed"] == []


def test_a_finished_student_is_told_so(monkeypatch):
    results = passed(TASKS)
    monkeypatch.setattr(progress, "run", lambda *_, **__: results)
    text, status = said(lambda console: progress.check([], FIRST, console))
    assert status == 0
    beyond = sum(task.points for task in TASKS.values() if task.extra)
    assert f"100 of 100 points and {beyond:g} extra" in text
    assert "--mine" in text


def test_the_feedback_keeps_its_brackets(folder):
    text, _ = said(lambda console: progress.check(["ch03.add_noise"], folder, console), width=300)
    assert "index [0, 0, 0, 0]" in text                    # not eaten as markup


def test_colour_only_repeats_the_words(folder):
    plain, _ = said(lambda console: progress.check(["ch03"], folder, console))
    colour, _ = said(lambda console: progress.check(["ch03"], folder, console), force_terminal=True, color_system="truecolor")
    assert "\x1b[3" in colour
    for word in ("FAILED", "passed"):
        assert plain.count(word) == colour.count(word)


@pytest.mark.parametrize("name", ["ch03", "3", "03", "ch03_forward", "exercises/ch03_forward.py"])
def test_a_chapter_has_many_names(name):
    assert progress.select([name], TASKS) == [t for t in TASKS if t.startswith("ch03.")]


def test_an_unknown_name_brings_the_closest(folder):
    with pytest.raises(ValueError, match=r"no task or chapter 'ch03.addnoise', did you mean 'ch03.add_noise'"):
        progress.check(["ch03.addnoise"], folder)


def test_an_endless_loop_is_cut_off(folder, monkeypatch):
    (folder / "ch08_guidance.py").write_text("def guide(unconditional, conditional, scale):\n    while True:\n        pass\n")
    monkeypatch.setattr(progress, "load_tasks", lambda *a: {k: t.__class__(**{**vars(t), "timeout": 0.3}) for k, t in TASKS.items()})
    text, status = said(lambda console: progress.check(["ch08.guide"], folder, console))          # and comes back at all
    assert status == 1
    assert "loop that does not end" in " ".join(text.split())


def test_hints_come_one_at_a_time(tmp_path):
    shown = tmp_path / "deep" / "hints.json"
    task = TASKS["ch03.add_noise"]

    def ask(**options):
        text, _ = said(lambda console: progress.hint("ch03.add_noise", console=console, shown_file=shown, **options), width=300)
        return text

    for rung in (1, 2, 3, 3):
        text = ask()
        assert task.hints[rung - 1] in text
        assert f"Hint {rung} of 3" in text
        assert all(hint not in text for i, hint in enumerate(task.hints) if i != rung - 1)
    assert "Hint 1 of 3" in ask(again=True)
    shown.write_text("{broken")
    assert "Hint 1 of 3" in ask()


def test_a_hint_is_for_one_task(tmp_path):
    with pytest.raises(ValueError, match="a hint is for one"):
        progress.hint("ch03", shown_file=tmp_path / "hints.json")


def test_a_hint_without_a_name_is_for_what_comes_next(folder, tmp_path, verdicts, monkeypatch):
    monkeypatch.setattr(progress, "run", lambda names, *_, **__: {name: verdicts[name] for name in names})
    text, _ = said(lambda console: progress.hint(None, folder=folder, console=console, shown_file=tmp_path / "h.json"))
    assert "ch03.add_noise" in text                        # it fails, so it comes before what was not begun


def test_the_commands(tmp_path):
    def course(*args):
        return CliRunner().invoke(app, args, env={"NO_COLOR": "1", "COLUMNS": "100"}, catch_exceptions=False)

    unknown = course("check", "ch99")
    assert unknown.exit_code == 1
    assert "no task or chapter 'ch99'" in unknown.output
    assert "Traceback" not in unknown.output
    assert "difficulty" in course("check", "ch08").output


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
def test_watch_checks_what_is_saved_and_q_quits(folder):
    import pty
    import select

    parent, child = pty.openpty()
    code = f"from pathlib import Path; from course.grading.progress import watch; watch(['ch03'], Path({str(folder)!r}), interval=0.1)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=child, stdout=child, stderr=child, close_fds=True,
                               env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"})
    os.close(child)
    seen = ""

    def until(words, seconds=60):
        nonlocal seen
        end = time.monotonic() + seconds
        while words not in seen and time.monotonic() < end:
            if select.select([parent], [], [], 0.2)[0]:
                try:
                    seen += os.read(parent, 65536).decode(errors="replace")
                except OSError:
                    break
        assert words in seen, seen
        seen = seen.split(words, 1)[1]

    try:
        until(f"{MOST - LOST:g} of {MOST:g} points")
        until("q quits")
        shutil.copy(FIRST / "ch03_forward.py", folder / "ch03_forward.py")
        until(f"{MOST:g} of {MOST:g} points")
        (folder / "ch05_losses.py").write_text("x = 1\n")               # another chapter: not looked at
        (folder / "ch03_forward.py").write_text("def alphas_cumprod(betas):\n    return betas +\n")
        until("import error")
        os.write(parent, b"q")
        until("Bye.")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(parent)
