"""A class over a term: whose mark is whose, what is graded again and what is kept."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hostile_submissions import HONEST

from course.grading.assignment import Assignment
from course.grading.bulk import Options, grade_class, named
from course.grading.digest import closure, task_digests
from course.grading.manifest import load_tasks
from course.grading.run import load_checks

ROOT = Path(__file__).resolve().parents[3]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
WRONG = HONEST.replace("1 - betas", "betas")


def hand_in(folder, source=HONEST):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ch03_forward.py").write_text(source)
    return folder


def grade(paths, out, checks, **more):
    said = []
    grade_class(paths, out, Options(seed=3, checks=str(checks)), done=lambda r, kept: said.append((r["submission"]["name"], kept)), **more)
    return dict(said)


def table(out):
    with open(out / "class.csv", encoding="utf-8", newline="") as handle:
        return {row["name"]: row for row in csv.DictReader(handle)}


# ---------------------------------------------------------------- whose mark it is

def test_names_keep_their_letters_and_their_owners(tmp_path):
    def names(*paths):
        return [name for name, _ in named([tmp_path / p for p in paths], tmp_path / "out")]

    assert names("Ünal", "Önal", "张伟", "李娜", "O'Neill", "a b") == ["Ünal", "Önal", "张伟", "李娜", "O_Neill", "a_b"]
    assert names("x/hw", "y/hw", "z/HW", "y/hw") == ["hw", "hw-2", "HW-3", "hw-2"]


@linux
def test_a_later_submission_never_takes_a_report_over(tmp_path, checks):
    """Whatever the order, and whoever comes later: the mark stays with the path it was made of, which the report names."""
    out = tmp_path / "out"
    second = hand_in(tmp_path / "b" / "hw", WRONG)
    grade([second], out, checks)
    first = hand_in(tmp_path / "a" / "hw")
    grade([first, second], out, checks)
    rows = table(out)
    assert {name: (row["score"], row["path"]) for name, row in rows.items()} == {"hw": ("3", str(second)), "hw-2": ("5", str(first))}
    for name, row in rows.items():
        report = json.loads((out / f"{name}.json").read_text())
        assert report["submission"]["path"] == row["path"]
        assert report["submission"]["sha256"] == row["sha256"]
        assert set(report["submission"]["files"]) == {"ch03_forward.py"}


@linux
def test_class_csv_has_everybody_who_has_a_report(tmp_path, checks):
    out = tmp_path / "out"
    grade([hand_in(tmp_path / "in" / n) for n in ("01", "02")], out, checks)
    (out / "notes.json").write_text('{"mine": 1}')          # not a report: left alone, and no row
    (out / "damaged.json").write_text('{"version": 1, "sub')
    grade([hand_in(tmp_path / "in" / "03", WRONG)], out, checks)
    assert {name: row["score"] for name, row in table(out).items()} == {"01": "5", "02": "5", "03": "3"}
    shutil.move(tmp_path / "in", tmp_path / "moved")          # the class folder gets another name: still three students
    assert grade(sorted((tmp_path / "moved").iterdir()), out, checks) == {"01": True, "02": True, "03": True}
    assert {row["path"] for row in table(out).values()} == {str(tmp_path / "moved" / n) for n in ("01", "02", "03")}


# ---------------------------------------------------------------- what is graded again

@pytest.fixture
def own_checks(tmp_path, checks):
    return shutil.copytree(checks, tmp_path / "checks")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_digest_changes_with_what_can_change_a_verdict_and_with_nothing_else(own_checks):
    def now():
        return task_digests(load_tasks(own_checks), own_checks)

    check, manifest, before = own_checks / "test_ch03_forward.py", own_checks / "ch03_forward.toml", now()
    check.write_text("# a comment\n" + check.read_text() + "\n\n\n")
    edit(manifest, "title = ", "hints = [\"a\", \"b\"]\ntitle = ") if "hints" not in manifest.read_text() else None
    (own_checks / "variants").mkdir()
    (own_checks / "variants" / "x.toml").write_text("a = 1")
    assert now() == before
    text = check.read_text()
    check.write_text(text + '\n\n@task("ch03.add_noise")\ndef test_more(student):\n    assert True\n')
    assert {name for name, digest in now().items() if digest != before[name]} == {"ch03.add_noise"}
    check.write_text(text + "\n\nLIMIT = 3\n")          # a helper belongs to all of its file
    assert {name for name, digest in now().items() if digest != before[name]} == {"ch03.add_noise", "ch03.alphas_cumprod"}
    check.write_text(text)
    (own_checks / "ch03_numbers.json").write_text("{}")
    assert {name for name, digest in now().items() if digest != before[name]} == {"ch03.add_noise", "ch03.alphas_cumprod"}
    (own_checks / "hidden").mkdir()
    (own_checks / "hidden" / "test_ch01_more.py").write_text('@task("ch01.sum")\ndef test_hidden(student):\n    assert False\n')
    assert now()["ch01.sum"] != before["ch01.sum"]
    assert task_digests(load_tasks(own_checks), own_checks, "another sandbox")["ch01.sum"] != now()["ch01.sum"]


def test_what_the_course_computes_with_is_in_the_digest():
    """Every module that a check or the grader can lead to, also by an import inside a function."""
    from_checks = closure(("course.samplers",))
    assert {"course.samplers", "course.schedule", "course", "torch"} <= from_checks
    assert "course.grading.writers" not in closure(("course.grading.grade", "course.grading.judging"))
    assert {"course.equations.search.probability", "course.grading.submission", "sympy"} <= closure(("course.grading.judging", "course.grading.grade"))


SCRIPT = """
import json, sys
sys.path.insert(0, {source!r})
import course
assert course.__file__.startswith({source!r})
from pathlib import Path
from course.grading.digest import task_digests
from course.grading.manifest import load_tasks
print(json.dumps(task_digests(load_tasks({checks!r}), Path({checks!r}))))
"""


def test_a_change_in_the_course_regrades(tmp_path, own_checks):
    """The reference answer of a check lives in the course: when it changes, kept marks are wrong marks."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "course", source / "course", ignore=shutil.ignore_patterns("weights", "__pycache__", "sprites"))
    check = own_checks / "test_ch03_forward.py"
    check.write_text("from course.forward import add_noise\n" + check.read_text())

    def run():
        done = subprocess.run([sys.executable, "-c", SCRIPT.format(source=str(source), checks=str(own_checks))], capture_output=True, text=True,
                              check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    before = run()
    edit(source / "course" / "forward.py", "def add_noise", "# only a comment\ndef add_noise")
    edit(source / "course" / "cli.py", "Diffusion models, with nothing taken on trust.", "No verdict depends on this")
    assert run() == before
    text = (source / "course" / "forward.py").read_text()
    (source / "course" / "forward.py").write_text(text + "\n\nCHANGED = 1\n")
    after = run()
    assert {name for name in after if after[name] != before[name]} == {"ch03.add_noise", "ch03.alphas_cumprod"}
    assert {part for part, value in after["ch03.add_noise"].items() if value != before["ch03.add_noise"][part]} == {"course"}


@linux
def test_only_what_changed_is_run(tmp_path, own_checks, monkeypatch):
    from course.grading.grade import Grader

    ran = []
    task = Grader._task
    monkeypatch.setattr(Grader, "_task", lambda self, t, seed, session: ran.append(t.id) or task(self, t, seed, session))
    paths, out = [hand_in(tmp_path / "in" / n) for n in ("a", "b")], tmp_path / "out"
    grade(paths, out, own_checks)
    assert len(ran) == 6
    ran.clear()
    words = own_checks / "test_ch01_words.py"
    words.write_text(words.read_text() + "\n\nX = 1\n")          # nobody handed chapter 1 in
    assert grade(paths, out, own_checks) == {"a": True, "b": True}
    assert ran == []
    (paths[0] / "ch01_words.md").write_text("```text ch01.sum\n4\n```\n")
    assert grade(paths, out, own_checks) == {"a": False, "b": True}
    assert ran == ["ch01.sum"]
    assert table(out)["a"]["score"] == "6"


@linux
def test_one_task_is_graded_again_and_the_rest_kept(tmp_path, own_checks, monkeypatch):
    from course.grading.grade import Grader

    paths, out = [hand_in(tmp_path / "in" / n) for n in ("a", "b")], tmp_path / "out"
    grade(paths, out, own_checks)
    ran = []
    task = Grader._task
    monkeypatch.setattr(Grader, "_task", lambda self, t, seed, session: ran.append(t.id) or task(self, t, seed, session))
    grade(paths, out, own_checks, regrade=["ch03.add_noise"])
    assert ran == ["ch03.add_noise"] * 2
    assert not (out / "changes.csv").exists()          # run again, and nothing became another
    (own_checks / "test_ch03_forward.py").write_text((own_checks / "test_ch03_forward.py").read_text() +
                                                     '\n\n@task("ch03.add_noise")\ndef test_more(student):\n    assert False, "no"\n')
    edit(paths[0] / "ch03_forward.py", "1 - betas", "betas")
    load_checks.cache_clear()
    grade(paths, out, own_checks)
    with open(out / "changes.csv", newline="") as handle:
        rows = {(row["name"], row["task"]): row for row in csv.DictReader(handle)}
    assert set(rows) == {("a", "ch03.alphas_cumprod"), ("a", "ch03.add_noise"), ("b", "ch03.add_noise")}
    assert (rows["b", "ch03.add_noise"]["before"], rows["b", "ch03.add_noise"]["after"]) == ("passed", "failed")
    assert rows["b", "ch03.add_noise"]["why"] == "its checks changed"
    assert rows["a", "ch03.alphas_cumprod"]["why"] == "the submission changed, its checks changed" or \
        rows["a", "ch03.alphas_cumprod"]["why"] == "the submission changed"


@linux
def test_an_assignment_chooses_tasks_and_points(tmp_path, checks):
    assignment = Assignment(tasks=("ch03",), total=20, points={"ch03.add_noise": 1})
    (report,) = grade_class([hand_in(tmp_path / "a", WRONG)], tmp_path / "out", Options(seed=3, checks=str(checks), assignment=assignment))
    assert {t["id"]: t["max_score"] for t in report["tasks"]} == {"ch03.alphas_cumprod": pytest.approx(40 / 3), "ch03.add_noise": pytest.approx(20 / 3)}
    assert (report["score"], report["max_score"]) == (pytest.approx(20 / 3), pytest.approx(20))
    words = Assignment(tasks=("ch01.sum",), total=50)          # judged in a process that knows the manifest's points only
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "ch01_words.md").write_text("```text ch01.sum\n4\n```\n")
    (report,) = grade_class([tmp_path / "b"], tmp_path / "out2", Options(seed=3, checks=str(checks), assignment=words))
    assert (report["score"], report["max_score"]) == (50, 50)


# ---------------------------------------------------------------- processes

@linux
@pytest.mark.slow
def test_a_killed_grader_leaves_no_process(tmp_path, checks):
    for n in range(8):
        hand_in(tmp_path / "in" / f"s{n}", "def alphas_cumprod(betas):\n    while True: pass\n")
    command = [sys.executable, "-m", "course.cli", "grade", *map(str, (tmp_path / "in").iterdir()), "--jobs", "2", "--checks", str(checks),
               "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    us = psutil.Process(process.pid)
    deadline = time.monotonic() + 240
    while len(list((tmp_path / "out").glob("*.json"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    family = us.children(recursive=True)
    assert len(family) >= 4
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
def test_a_scheduler_without_workers_is_said(tmp_path, checks, monkeypatch):
    distributed = pytest.importorskip("dask.distributed")
    from course.grading import bulk

    monkeypatch.setattr(bulk, "DASK_SECONDS", 1.0)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster, \
            pytest.raises(OSError, match="has had no worker for 1 seconds"):
        grade_class([hand_in(tmp_path / "a")], tmp_path / "out", Options(seed=1, checks=str(checks)), dask=cluster.scheduler_address)
