"""The student edition has no solution in it; the templates for graders run here as far as a machine without them can."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hostile_submissions import HONEST

from course.grading.manifest import load_tasks
from course.grading.release import release
from course.grading.run import check_folder
from course.grading.writers import validate

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "docs" / "instructors" / "templates"
VARIANTS = ROOT / "tests" / "exercises" / "variants"


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def solutions() -> dict[str, str]:
    """The body of every function of the right variants, without docstring and white space, if it is more than a few signs."""
    found = {}
    for path in [*VARIANTS.glob("first/*.py"), *VARIANTS.glob("second/*.py")]:
        source = path.read_text()
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
                text = squeezed("\n".join(ast.get_source_segment(source, n) or "" for n in body))
                if len(text) > 60:
                    found[f"{path.parent.name}/{path.name}:{node.name}"] = text
    return found


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition") / "student"
    assert release(folder) > 20
    return folder


def test_no_solution_is_left(edition):
    known = solutions()
    assert len(known) > 20
    for path in edition.rglob("*"):
        relative = path.relative_to(edition)
        assert not {"variants", "hidden", "instructors", "solutions", "__pycache__"} & set(relative.parts), relative
        # the course itself is the book the exercises go with; the exercises and checks must not hold an answer
        if path.is_file() and path.suffix in (".py", ".md", ".toml") and relative.parts[0] in ("exercises", "tests"):
            text = squeezed(path.read_text())
            for name, body in known.items():
                assert body not in text, f"{relative} holds the solution {name}"
    for path in (VARIANTS / "wrong").glob("*.toml"):
        assert not list(edition.rglob("wrong"))
        assert tomllib.loads(path.read_text())


def test_the_edition_works(edition):
    assert load_tasks(edition / "tests" / "exercises").keys() == load_tasks().keys()
    results = check_folder(edition / "exercises", checks=edition / "tests" / "exercises")
    assert {r.status for r in results.values()} == {"not_attempted"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/exercises/test_ch03_forward.py"],
                          cwd=edition, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "skipped" in done.stdout


def test_where_it_may_not_go(tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x").write_text("")
    with pytest.raises(ValueError, match="not empty"):
        release(tmp_path / "used")
    with pytest.raises(ValueError, match="not a checkout"):
        release(tmp_path / "new", source=tmp_path)
    with pytest.raises(ValueError, match="elsewhere"):
        release(ROOT / "docs" / "edition")


def test_a_solved_exercise_is_not_released(tmp_path):
    source = tmp_path / "source"
    for part in ("exercises", "tests/exercises"):
        (source / part).mkdir(parents=True)
        for path in (ROOT / part).glob("*03*"):
            (source / part / path.name).write_bytes(path.read_bytes())
    manifest = source / "tests" / "exercises" / "ch03_forward.toml"
    manifest.write_text(re.sub(r"needs = \[[^\]]*\]\n", "", manifest.read_text()))
    secret = "the_secret_of_the_hidden_check"
    for name in ("tests/exercises/hidden/test_ch03_hidden.py", "tests/exercises/hidden/numbers.json", "exercises/solutions/ch03.py",
                 "docs/instructors/marks.md", "course/grading/hidden/x.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"# {secret}\n")
    release(tmp_path / "fine", source)
    assert not [p for p in (tmp_path / "fine").rglob("*") if p.is_file() and secret in p.read_text()]
    (source / "exercises" / "ch03_forward.py").write_bytes((VARIANTS / "first" / "ch03_forward.py").read_bytes())
    with pytest.raises(ValueError, match="not stubs"):
        release(tmp_path / "new", source)
    assert not (tmp_path / "new").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


# ---------------------------------------------------------------- templates

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")


@pytest.fixture
def command(tmp_path, checks):
    """A `course` command that grades with the checks of these tests."""
    path = tmp_path / "course"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m course.cli "$@" --checks {checks}\n')
    path.chmod(0o755)
    return path


@linux
def test_gradescope(tmp_path, command):
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission" / "ch03_forward.py").write_text(HONEST)
    script = TEMPLATES / "gradescope" / "run_autograder"
    environment = {**os.environ, "AUTOGRADER_ROOT": str(tmp_path), "COURSE": str(command)}
    subprocess.run(["bash", script], env=environment, check=True, timeout=120)
    text = (tmp_path / "results" / "results.json").read_text()
    validate(text, "gradescope")
    assert json.loads(text)["score"] == 5
    # a grader that fails must still leave a file that Gradescope accepts
    subprocess.run(["bash", script], env={**environment, "COURSE": "/bin/false"}, check=True, timeout=120)
    text = (tmp_path / "results" / "results.json").read_text()
    validate(text, "gradescope")
    assert json.loads(text)["score"] == 0


def test_the_gradescope_zip(tmp_path):
    for script in (TEMPLATES / "gradescope").iterdir():
        subprocess.run(["bash", "-n", script], check=True)
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    out = tmp_path / "autograder.zip"
    subprocess.run([TEMPLATES / "gradescope" / "make_zip.sh", out], check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(out) as archive:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
    assert modes.keys() == {"setup.sh", "run_autograder", "course.tar.gz"}
    assert modes["run_autograder"] & 0o111


@linux
def test_classroom_fifty(tmp_path, command):
    work = tmp_path / "checkout"
    work.mkdir()
    (work / "ch03_forward.py").write_text(HONEST)
    environment = {**os.environ, "COURSE": str(command), "OWNER": "octocat", "SUBMISSION_TAG": "submit/1", "CLASSROOM": "fall"}
    script = TEMPLATES / "classroom50" / "autograder.py"
    subprocess.run([sys.executable, script], cwd=work, env=environment, check=True, capture_output=True, timeout=120)
    text = (work / "result.json").read_text()
    validate(text, "classroom50")
    assert json.loads(text)["owner"] == "octocat"
    failed = subprocess.run([sys.executable, script], cwd=work, env={**environment, "COURSE": "/bin/false"}, check=False)
    assert failed.returncode != 0


@linux
def test_the_github_workflow(tmp_path, command):
    """Its grading steps, run here in the layout that its checkouts make."""
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((TEMPLATES / "github" / "grade.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["grade"]["steps"]
    assert all(step["with"]["persist-credentials"] is False for step in steps if "checkout" in step.get("uses", ""))
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission" / "ch03_forward.py").write_text(HONEST)
    (tmp_path / "course-repository").mkdir()
    said = {}
    for step in steps:
        if step.get("working-directory") == "course":
            done = subprocess.run(step["run"], shell=True, cwd=tmp_path / "course-repository", capture_output=True, text=True,
                                  check=True, timeout=120, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
            said[step["name"]] = done.stdout
    validate(said["Grade"], "github")
    validate((tmp_path / "results.xml").read_text(), "junit")
