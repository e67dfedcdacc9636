"""The checks themselves, checked: every planted mistake is rejected and named, every right variant passes.

`variants/first` and `variants/second` hold two differently written solutions of every exercise. `variants/wrong` holds
mistakes: each is one edit of the first solution (or a whole written answer) and the words its feedback must contain. A written
answer of the kind "no answer" is true and does not answer the question. `variants/spellings.toml` holds right answers to the written
tasks, each in ten spellings at least, a derivation in three.
Write-ups cite pictures of the model that ships, so `variants/ch11_writeup.py` makes theirs when the tests run.
"""

import ast
import re
import shutil
import sys
import tomllib
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from course.equations import judge
from course.grading.answers import read_answers
from course.grading.errors import CheckFailed
from course.grading.manifest import load_tasks
from course.grading.run import load_checks, run_task
from course.grading.student import DirectStudent
from course.grading.written import check_written, load_answers

HERE = Path(__file__).parent
VARIANTS = HERE / "variants"
EXERCISES = HERE.parent.parent / "exercises"
TASKS = load_tasks(HERE)
LEAST_MISTAKES = 5
_loader = SourceFileLoader("writeups", str(VARIANTS / "ch11_writeup.py"))
writeups = types.ModuleType("writeups")
writeups.__file__ = _loader.path
_loader.exec_module(writeups)


def verdict(task_id: str, folder: Path, seed: int = 0) -> str | None:
    """None if every check of the task passes for the files in `folder`; else the first feedback."""
    result = run_task(TASKS[task_id], load_checks()[task_id], lambda task, check: DirectStudent(task, check, seed, folder))
    return None if result.status == "passed" else f"[{result.cause or 'not attempted'}] {result.feedback}"


def source_of(task_id: str, folder: Path) -> Path:
    """The file of a task: .py if it defines the function, else .md."""
    chapter, name = TASKS[task_id].chapter, task_id.split(".")[1]
    path = folder / f"{chapter}.py"
    return path if path.exists() and f"\ndef {name}(" in "\n" + path.read_text() else folder / f"{chapter}.md"


def edited(text: str, name: str, old: str, new: str) -> str:
    """`text` with `old` replaced by `new`, which must occur exactly once inside the function `name`."""
    node = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name)
    lines = text.splitlines(keepends=True)
    body = "".join(lines[node.lineno - 1:node.end_lineno])
    assert body.count(old) == 1, f"{old!r} occurs {body.count(old)} times in {name}"
    return "".join(lines[:node.lineno - 1]) + body.replace(old, new) + "".join(lines[node.end_lineno:])


def mistakes() -> dict[str, list[dict]]:
    return {task_id: entries for path in sorted((VARIANTS / "wrong").glob("*.toml"))
            for task_id, entries in tomllib.loads(path.read_text()).items()}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """(a folder like VARIANTS with the right write-ups, the claims of the first, its rows)."""
    folder = tmp_path_factory.mktemp("writeups")
    return folder, *writeups.make(folder)


def right(task_id: str, variant: str, request) -> Path:
    """The folder with a right variant of the task."""
    return (request.getfixturevalue("made")[0] if task_id == "ch11.writeup" else VARIANTS) / variant


def planted(task_id: str, mistake: dict, folder: Path, request) -> None:
    """Write the file with one mistake in it into `folder`."""
    path = source_of(task_id, right(task_id, "first", request))
    for name in TASKS[task_id].weights:
        shutil.copy(path.with_name(name), folder)
    if "edit" in mistake:
        _, *first = request.getfixturevalue("made")
        (folder / path.name).write_text(writeups.wrong(*first, mistake["edit"]))
        return
    text = path.read_text()
    if "answer" in mistake:
        block = re.compile(rf"(```\w* {re.escape(task_id)}\n).*?(\n```)", re.S)
        text, count = block.subn(lambda m: m[1] + mistake["answer"].strip("\n") + m[2], text)
        assert count == 1, f"{path.name} has no block {task_id}"
    else:
        text = edited(text, task_id.split(".")[1], mistake["old"], mistake["new"])
    (folder / path.name).write_text(text)


MISTAKES = mistakes() | {"ch11.writeup": writeups.WRONG}
# Tasks whose verdict takes a second or more: so many of their mistakes are tried by `make test`, from all over the list; all by test-all.
HEAVY = {"ch02.terms": 4, "ch02.second_line": 6, "ch02.first_line": 6, "ch04.mean_noise": 4, "ch04.square": 4, "ch05.score": 4,
         "ch07.train": 3, "ch09.encode_prompts": 2, "ch11.writeup": 9}
QUICK_SPELLINGS = 4          # of the tasks of chapter 2


def slow_one(task_id: str, i: int, entry: dict) -> bool:
    step = -(-len(MISTAKES[task_id]) // HEAVY.get(task_id, len(MISTAKES[task_id])))
    return entry.get("slow", False) or i % step != 0


CASES = [pytest.param(task_id, entry, id=f"{task_id}-{i + 1}", marks=[pytest.mark.slow] * slow_one(task_id, i, entry))
         for task_id, entries in MISTAKES.items() for i, entry in enumerate(entries)]
caught: list[bool] = []


@pytest.mark.parametrize(("task_id", "mistake"), CASES)
def test_the_mistake_is_rejected_and_named(task_id, mistake, tmp_path, request):
    planted(task_id, mistake, tmp_path, request)
    feedback = verdict(task_id, tmp_path)
    caught.append(feedback is not None)
    assert feedback is not None, "the mistake passed every check"
    assert mistake["says"].lower() in feedback.lower(), f"the feedback is: {feedback}"


@pytest.mark.parametrize(("task_id", "mistake"), [
    pytest.param(*case.values, id=case.id, marks=[pytest.mark.slow] if i % 40 or TASKS[case.values[0]].timeout > 30 else [])
    for i, case in enumerate(CASES) if "old" in case.values[1]])
def test_the_mistake_is_rejected_whatever_numbers_are_drawn(task_id, mistake, tmp_path, request):
    planted(task_id, mistake, tmp_path, request)
    passed = [seed for seed in range(50) if verdict(task_id, tmp_path, seed) is None]
    assert not passed, f"the mistake passes with the seeds {passed}"


@pytest.mark.parametrize("variant", ["first", "second"])
@pytest.mark.parametrize("task_id", TASKS)
def test_the_right_variant_passes(task_id, variant, request):
    folder = right(task_id, variant, request)
    path = source_of(task_id, folder)
    for seed in range(3 if path.suffix == ".py" and TASKS[task_id].timeout <= 30 else 1):
        assert verdict(task_id, folder, seed) is None


STYLES = tomllib.loads((VARIANTS / "styles.toml").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("task_id", "style"), [(task_id, name) for task_id, styles in STYLES.items() for name in styles])
def test_every_honest_style_passes_whatever_numbers_are_drawn(task_id, style, tmp_path):
    """Tasks that are measured: other choices that a student may make (each some edits of the first solution), with twenty seeds."""
    path = source_of(task_id, VARIANTS / "first")
    text = path.read_text()
    for old, new in STYLES[task_id][style]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / path.name).write_text(text)
    refused = {seed: said for seed in range(20) if (said := verdict(task_id, tmp_path, seed)) is not None}
    assert not refused


def written(task_id: str) -> dict:
    return load_answers(HERE / "answers").get(task_id, {})


SPELLINGS = tomllib.loads((VARIANTS / "spellings.toml").read_text())
LEAST_SPELLINGS, LEAST_NO_ANSWERS = 10, 3


@pytest.mark.parametrize(("task_id", "count"), [
    *((task_id, QUICK_SPELLINGS if task_id.startswith("ch02.") else None) for task_id in load_answers(HERE / "answers")),
    *(pytest.param(task_id, None, marks=pytest.mark.slow) for task_id in load_answers(HERE / "answers") if task_id.startswith("ch02."))])
def test_right_answers_pass_in_every_spelling(task_id, count):
    assert len(set(SPELLINGS[task_id])) >= (3 if written(task_id).get("kind") in ("derivation", "numbers") else LEAST_SPELLINGS)
    refused = {}
    for answer in SPELLINGS[task_id][:count]:
        try:
            check_written(answer, written(task_id))
        except CheckFailed as failed:
            refused[answer] = str(failed)
    assert not refused


@pytest.mark.parametrize("task_id", load_answers(HERE / "answers"))
def test_true_lines_that_answer_nothing_are_planted(task_id):
    """That they are rejected and named is tested with the other mistakes; here, that they are true."""
    answers = [entry["answer"] for entry in MISTAKES[task_id] if entry.get("kind") == "no answer"]
    assert len(answers) >= LEAST_NO_ANSWERS
    if written(task_id).get("kind", "statement") in ("statement", "derivation"):
        kinds = {answer: judge(answer, written(task_id).get("setting", "vae"), explain=False).kind for answer in answers}
        assert "refuted" not in kinds.values(), kinds
        assert sum(kind in ("identity", "bound") for kind in kinds.values()) >= LEAST_NO_ANSWERS, kinds


def test_every_task_has_five_mistakes_and_the_share_caught_is_all(capsys):
    few = {task_id: len(MISTAKES.get(task_id, [])) for task_id in TASKS if len(MISTAKES.get(task_id, [])) < LEAST_MISTAKES}
    assert not few, f"tasks with fewer than {LEAST_MISTAKES} planted mistakes: {few}"
    assert set(MISTAKES) == set(TASKS)
    if len(caught) >= len(CASES):                          # all of them ran before this test
        with capsys.disabled():
            print(f"\n{len(TASKS)} tasks, {len(CASES)} planted mistakes, {sum(caught)} of {len(caught)} runs rejected"
                  f" = {100 * sum(caught) / len(caught):.1f} %")
        assert all(caught)


def test_the_points_add_up_to_100():
    assert len(TASKS) >= 40
    assert len({task.chapter for task in TASKS.values()}) >= 10
    assert sum(task.points for task in TASKS.values() if not task.extra) == 100


@pytest.mark.parametrize("task_id", TASKS)
def test_the_stub_is_not_attempted(task_id, tmp_path):
    assert verdict(task_id, tmp_path).startswith("[not attempted]")       # no file at all
    path = source_of(task_id, EXERCISES)
    if path.suffix == ".md":
        untouched = not read_answers(path.read_text())[task_id]
    else:
        untouched = "raise NotImplementedError" in ast.unparse(function_of(path, task_id))
    if not untouched:
        pytest.skip("worked on in exercises/")
    assert verdict(task_id, EXERCISES).startswith("[not attempted]")


def function_of(path: Path, task_id: str) -> ast.FunctionDef:
    return next(n for n in ast.parse(path.read_text()).body if getattr(n, "name", "") == task_id.split(".")[1])


@pytest.mark.parametrize("task_id", TASKS)
def test_the_manifest_is_complete(task_id):
    task = TASKS[task_id]
    assert 2 <= len(task.hints) <= 4, "a hint ladder has 2 to 4 rungs"
    assert task.difficulty in (1, 2, 3)
    assert task.minutes > 0
    assert task.tracks, "it lies on no track"
    assert [need for need in task.needs for track in task.tracks if track not in TASKS[need].tracks] == [], "a track lacks what it needs"
    assert re.fullmatch(r"chapters/[\w-]+\.md(#[\w-]+)?", task.docs)
    path = source_of(task_id, EXERCISES)
    if path.suffix == ".md":
        assert task_id in read_answers(path.read_text())
    else:
        assert ast.get_docstring(function_of(path, task_id))


# ------------------------------------------------------------------------- the same through `course grade`, confined


@pytest.fixture(scope="module")
def grader():
    from course.grading.bulk import Options, open_grader
    from course.grading.sandbox import SandboxError, WeakIsolation

    try:
        grader = open_grader(Options(seed=3, checks=str(HERE)))
    except (WeakIsolation, SandboxError) as error:
        pytest.skip(f"this machine cannot confine student code: {error}")
    with grader:
        yield grader


def graded(grader, folder: Path) -> dict[str, dict]:
    from course.grading.manifest import wanted_files
    from course.grading.submission import read_submission

    return {task["id"]: task for task in grader.grade(read_submission(folder, wanted_files(grader.tasks)))["tasks"]}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["first", "second"])
def test_a_right_variant_gets_all_points_confined(grader, variant, made, tmp_path):
    shutil.copytree(VARIANTS / variant, tmp_path / variant)
    shutil.copy(made[0] / variant / "ch11_writeup.md", tmp_path / variant)
    lost = {name: task["feedback"] for name, task in graded(grader, tmp_path / variant).items() if task["score"] != task["max_score"]}
    assert not lost


@pytest.mark.slow
@pytest.mark.parametrize("chapter", sorted({task.chapter for task in TASKS.values()}))
def test_the_mistakes_are_rejected_and_named_confined(grader, chapter, tmp_path, request):
    missed = {}
    for task_id, entries in MISTAKES.items():
        if TASKS[task_id].chapter == chapter:
            for i, mistake in enumerate(entries):
                folder = tmp_path / f"{task_id}-{i + 1}"
                folder.mkdir()
                planted(task_id, mistake, folder, request)
                task = graded(grader, folder)[task_id]
                if task["score"] >= task["max_score"] or task["status"] != "failed" or mistake["says"].lower() not in task["feedback"].lower():
                    missed[folder.name] = f"{task['status']}: {task['feedback']}"
    assert not missed


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
@pytest.mark.parametrize("without", [(), ("namespaces",), ("landlock",), ("namespaces", "landlock")], ids=lambda w: "+".join(w) or "all")
def test_right_answers_pass_at_every_level_of_the_sandbox(without):
    """Also where the kernel has no Landlock and nothing can be opened: what answers use is loaded before."""
    from course.grading.bulk import Options, open_grader
    from course.grading.sandbox import isolation
    from course.grading.submission import Submission

    found = isolation(without)
    if found.missing:
        pytest.skip(found.words)
    with open_grader(Options(seed=3), found) as grader:
        for variant in ("first", "second"):
            files = {path.name: path.read_bytes() for path in (HERE / "variants" / variant).glob("*.py")}
            report = grader.grade(Submission(variant, files))
            assert [t for t in report["tasks"] if t["status"] == "failed"] == []
            assert sum(t["status"] == "passed" for t in report["tasks"]) > 30
