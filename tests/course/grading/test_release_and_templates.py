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
from course.grading.release import _linked, _menu, _solutions, _squeezed, release
from course.grading.release import edition as edition_of
from course.grading.run import check_folder
from course.grading.writers import validate

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "docs" / "instructors" / "templates"
VARIANTS = ROOT / "tests" / "exercises" / "variants"


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition") / "student"
    assert release(folder) > 20
    return folder


def test_no_solution_is_left(edition):
    known = _solutions(ROOT)
    assert len(known) > 20
    for path in edition.rglob("*"):
        relative = path.relative_to(edition)
        assert not {"variants", "hidden", "instructors", "solutions", "__pycache__"} & set(relative.parts), relative
        # the course itself is the book the exercises go with; the exercises and checks must not hold an answer
        if path.is_file() and path.suffix in (".py", ".md", ".toml") and relative.parts[0] in ("exercises", "tests"):
            text = _squeezed(path.read_text())
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


@pytest.fixture
def checkout(tmp_path):
    """A small git checkout of the course: one chapter, one page."""
    source = tmp_path / "source"
    for part in ("exercises", "tests/exercises", "tests/exercises/variants/first"):
        (source / part).mkdir(parents=True)
        for path in (ROOT / part).glob("*ch03*"):
            (source / part / path.name).write_bytes(path.read_bytes())
    manifest = source / "tests" / "exercises" / "ch03_forward.toml"
    manifest.write_text(re.sub(r"needs = \[[^\]]*\]\n", "", manifest.read_text()))
    for name in ("course/schedule.py", "docs/index.md", "docs/instructors/index.md", "mkdocs.yml", "README.md", "CONTRIBUTING.md", "Makefile"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    for arguments in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *arguments], cwd=source, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"})
    return source


STRAY = ["exercises/ch03_forward_solution.py", "exercises/ch01_elbo_ANSWERS.md", "tests/exercises/exam_key.json", "docs/solutions.md", "docs/private/exam.md",
         "course/.env", "course/solutions.py", "tests/exercises/test_ch99_more.py", "exercises/ch03_forward.py.orig"]


def test_what_git_does_not_know_stays_behind(checkout, tmp_path):
    for name in (*STRAY, "docs/draft.md"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("stray = 1\n")
    release(tmp_path / "edition", checkout)
    assert Path("docs/draft.md") in edition_of(checkout)[1]
    assert not [p for p in (tmp_path / "edition").rglob("*") if p.is_file() and "stray" in p.read_text()]


@pytest.mark.parametrize("name", [*STRAY[2:7], "docs/chapters/exam-2026.md"])
def test_a_committed_file_that_is_not_for_students_stops_it(checkout, tmp_path, name):
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("x\n")
    subprocess.run(["git", "add", "-fA"], cwd=checkout, check=True)
    with pytest.raises(ValueError, match=re.escape(name)):
        release(tmp_path / "edition", checkout)
    assert not (tmp_path / "edition").exists()


def test_solutions_and_secrets_are_found_by_what_they_say(checkout, tmp_path):
    page, stub = checkout / "docs" / "index.md", checkout / "exercises" / "ch03_forward.py"
    page.write_text("token: " + "ghp_" + "a1B2" * 9)
    with pytest.raises(ValueError, match=r"docs/index.md \(a key or token\)"):
        release(tmp_path / "edition", checkout)
    page.write_text("# fine\n")
    right = (VARIANTS / "first" / "ch03_forward.py").read_text()
    node = next(n for n in ast.parse(right).body if isinstance(n, ast.FunctionDef) and f"first/ch03_forward.py:{n.name}" in _solutions(checkout))
    stub.write_text(stub.read_text() + "\n\ndef old_attempt():\n    " + "\n    ".join(
        line for n in node.body if not isinstance(n, ast.Expr) for line in (ast.get_source_segment(right, n) or "").splitlines()) + "\n")
    with pytest.raises(ValueError, match=r"the solution of first/ch03_forward\.py"):
        release(tmp_path / "edition", checkout)


def links(folder):
    """(page, target) of every relative link in the Markdown of a folder, also those written as HTML."""
    for path in folder.rglob("*.md"):
        text = re.sub(r"(?ms)^```.*?^```\s*$|`[^`\n]*`", "", path.read_text())
        for target in [*re.findall(r"\]\(([^()\s]+)", text), *re.findall(r"href=\"([^\"]*)\"", text)]:
            if not re.match(r"[a-z]+:|#|/", target) and "{" not in target:
                yield path, target.split("#")[0].split("?")[0]


def test_no_link_leads_to_what_is_left_out(edition):
    pages = {p.relative_to(edition / "docs").with_suffix("").as_posix().removesuffix("index").rstrip("/") for p in (edition / "docs").rglob("*.md")}
    count = 0
    for path, target in links(edition):
        count += 1
        assert "instructors" not in target, (path, target)
        assert "CONTRIBUTING" not in target, (path, target)
        if edition / "docs" not in path.parents:
            assert (path.parent / target).exists(), (path, target)
        elif target.endswith("/"):          # the address of a page
            assert os.path.normpath(Path(path.parent.relative_to(edition / "docs")) / target) .removeprefix("../") in pages, (path, target)
    assert count > 50
    assert "instructors/" not in (edition / "mkdocs.yml").read_text()
    assert "bench" not in (edition / "Makefile").read_text()
    assert "tutor" in (edition / "AGENTS.md").read_text()
    assert subprocess.run(["make", "-n", "help"], cwd=edition, check=False, capture_output=True).returncode == 0


def test_menus_and_links_are_mended():
    menu = "nav:\n  - Home: index.md\n  - Teach:\n    - instructors/index.md\n    - Grade: instructors/grade.md\n  - Learn:\n    - chapters/a.md\nextra: {}\n"
    assert _menu(menu, Path("mkdocs.yml"), frozenset()) == "nav:\n  - Home: index.md\n  - Learn:\n    - chapters/a.md\nextra: {}\n"
    there = frozenset({"docs/index.md", "docs/a/b.md", "README.md"})
    assert _linked("[x](instructors/y.md) [b](a/b.md#z) <a href=\"instructors/\">T</a> <a href='q'>", Path("docs/index.md"), there) == "x [b](a/b.md#z) T <a href='q'>"
    assert _linked("[C](CONTRIBUTING.md) `[C](CONTRIBUTING.md)` [d](docs/index.md) [w](https://a.b/c)", Path("README.md"), there) == \
        "C `[C](CONTRIBUTING.md)` [d](docs/index.md) [w](https://a.b/c)"


# ---------------------------------------------------------------- templates

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")


@pytest.fixture
def command(tmp_path, checks):
    """A `course` command that grades with the checks of these tests."""
    path = tmp_path / "course"
    path.write_text(f'#!/bin/sh\n[ "$1" = grade ] && set -- "$@" --checks {checks}\nexec {sys.executable} -m course.cli "$@"\n')
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
    validate((work / "release-body.md").read_text(), "markdown")
    failed = subprocess.run([sys.executable, script], cwd=work, env={**environment, "COURSE": "/bin/false"}, check=False)
    assert failed.returncode != 0


@linux
def test_the_github_workflow(tmp_path, command):
    """Its steps, run here in the layout that its checkouts make, the refusals first."""
    yaml = pytest.importorskip("yaml")
    caller = yaml.safe_load((TEMPLATES / "github" / "grade.yml").read_text())
    workflow = yaml.safe_load((TEMPLATES / "github" / "grade-submission.yml").read_text())
    called = workflow[True]["workflow_call"]          # YAML reads the key `on` as true
    assert caller["permissions"] == workflow["permissions"] == {"contents": "read"}
    assert "steps" not in caller["jobs"]["grade"]          # nothing in a student's file but the call
    assert set(caller["jobs"]["grade"]["with"]) <= set(called["inputs"])
    steps = workflow["jobs"]["grade"]["steps"]
    assert all(step["with"]["persist-credentials"] is False for step in steps if "checkout" in step.get("uses", ""))
    guard = next(step for step in steps if "run" in step)
    assert steps.index(guard) == 0
    for course, status in (("", 1), ("me/hw", 1), ("ME/HW", 1), ("a b/c", 1), ("x/y/../z", 1), ("prof/course", 0)):
        done = subprocess.run(["bash", "-ec", guard["run"]], env={"COURSE": course, "SUBMISSION": "me/hw", "PATH": os.environ["PATH"]}, check=False,
                              capture_output=True, text=True)
        assert done.returncode == status, course
        assert ("::error title=Nothing was graded::" in done.stdout) == bool(status)
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission" / "ch03_forward.py").write_text(HONEST)
    (tmp_path / "course-repository").mkdir()
    summary, said = tmp_path / "summary.md", ""
    for step in steps:
        if step.get("working-directory") == "course":
            said += subprocess.run(["bash", "-ec", step["run"]], cwd=tmp_path / "course-repository", capture_output=True, text=True, check=True,
                                   timeout=240, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary)}).stdout
    validate(said, "github")
    validate((tmp_path / "results.xml").read_text(), "junit")
    validate((tmp_path / "feedback.html").read_text(), "html")
    validate(summary.read_text(), "markdown")


def test_torch_is_pinned_wherever_it_is_installed():
    """One torch, the one of constraints.txt, in every template: never the newest, then another."""
    for path in (TEMPLATES / "github" / "grade-submission.yml", TEMPLATES / "gradescope" / "setup.sh"):
        text = path.read_text()
        installs = [line for line in re.sub(r"\\?\n\s+-", " -", text).splitlines() if ("download.pytorch.org" in line and "install" in line) or "$cpu" in line]
        assert installs
        for line in installs:
            assert "constraints.txt" in line or '"torch==$torch"' in line, line
