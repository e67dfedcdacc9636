"""`course check`, `course watch`, pytest and `course grade` say the same about the same file, on a hundred odd files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from odd_files import ODD

from course.grading import rules
from course.grading.manifest import EXERCISES, wanted_files
from course.grading.progress import run
from course.grading.submission import read_submission

ROOT = Path(__file__).resolve().parents[3]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
TASK = "ch03.alphas_cumprod"
CASES = [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in ODD]


def written(case, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in case.files.items():
        (folder / name).write_bytes(data)
    return folder


def said(result) -> str:
    return result["cause"] or result["status"]


@linux
@pytest.mark.parametrize("case", CASES)
def test_checked_and_graded_alike(case, checks, grader, tmp_path):
    folder = written(case, tmp_path / "s")
    checked = run([TASK], folder, 1, checks)[TASK].as_dict()
    report = grader.grade(read_submission(folder, wanted_files(grader.tasks) | {"ch05_losses.py"}))
    graded = next(task for task in report["tasks"] if task["id"] == TASK)
    assert said(checked) in case.causes, checked["feedback"]
    assert said(graded) in case.causes, graded["feedback"]
    assert said(checked) == said(graded)
    assert checked["score"] == graded["score"]
    for result in (checked, graded):
        assert case.says in result["feedback"], result["feedback"]
    assert not list(folder.glob("*.png"))
    assert not Path("/tmp/odd-file-of-a-student").exists()      # nor written by whatever Python does not see


def test_there_are_about_a_hundred_and_none_twice():
    assert len(ODD) >= 100
    assert len({case.name for case in ODD}) == len(ODD)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ODD])
def test_pytest_says_the_same(case, checks, tmp_path):
    folder = written(case, tmp_path / "s")
    (tmp_path / "t").mkdir()
    for path in checks.glob("*03*"):
        shutil.copy(path, tmp_path / "t")
    shutil.copy(ROOT / "tests" / "exercises" / "conftest.py", tmp_path / "t")
    text = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--student", str(folder), "-k", "alphas",
                           str(tmp_path / "t" / "test_ch03_forward.py")], capture_output=True, text=True, check=False, cwd=tmp_path,
                          timeout=300, env=dict(os.environ, OMP_NUM_THREADS="1"), stdin=subprocess.DEVNULL).stdout
    if case.causes == ("passed",):
        assert " failed" not in text, text
        assert " passed" in text, text
    elif case.causes == ("not_attempted",):
        assert "not attempted" in text, text
        assert " failed" not in text, text
    else:
        causes = {found.replace(" ", "_") for found in re.findall(rf"^{re.escape(TASK)}: (.+)$", text, re.MULTILINE)}
        assert causes & set(case.causes), text


def test_the_readme_lists_what_may_be_done_from_the_same_table():
    readme = " ".join((EXERCISES / "README.md").read_text(encoding="utf-8").split())
    for what, happens in rules.ROWS:
        assert " ".join(f"| {what} | {happens} |".split()) in readme, what
