"""`course grade` as it is called: what it writes, how it ends, and that a class can be interrupted and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import pytest
from hostile_submissions import ATTACKS, HONEST

from course.grading.bulk import Options, grade_class, named
from course.grading.writers import validate

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
ROOT = Path(__file__).resolve().parents[3]


def course(*arguments, **kwargs):
    kwargs.setdefault("timeout", 300)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GITHUB_OUTPUT": ""} | kwargs.pop("env", {})
    return subprocess.run([sys.executable, "-m", "course.cli", "grade", *map(str, arguments)], capture_output=True, text=True,
                          env=environment, check=False, **kwargs)


def hand_in(folder, source=HONEST):
    folder.mkdir(parents=True)
    (folder / "ch03_forward.py").write_text(source)
    return folder


def test_one_submission(tmp_path, checks):
    done = course(hand_in(tmp_path / "alice"), "--checks", checks, "--out", tmp_path / "r.json", "--seed", 7)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r.json").read_text()
    validate(text, "native")
    report = json.loads(text)
    assert (report["score"], report["max_score"], report["seed"]) == (5.0, 6.0, 7)
    assert {t["id"]: t["status"] for t in report["tasks"]} == {
        "ch01.sum": "not_attempted", "ch03.alphas_cumprod": "passed", "ch03.add_noise": "passed"}
    assert report["sandbox"]["active"]
    schema = json.loads((ROOT / "course" / "grading" / "report.schema.json").read_text())
    jsonschema.validate(report, schema)
    assert set(report) <= set(schema["properties"])          # nothing in a report that is not documented
    assert all(set(t) <= set(schema["properties"]["tasks"]["items"]["properties"]) for t in report["tasks"])
    assert "isolation: " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_submission_is_not_imported_from(tmp_path, checks, jobs):
    """Called inside what a student hands in, as GitHub's graders do: modules that lie there are not for the grader."""
    here, word = hand_in(tmp_path / "alice"), tmp_path / "imported"
    (here / "ch01_words.md").write_text("```text ch01.sum\n4\n```\n")
    for name in ("course", "select", "torch", "resource", "joblib", "numpy", "json"):
        (here / name).mkdir()
        (here / name / "__init__.py").write_text(f"open({str(word)!r}, 'w').close()\n")
    command = [sys.executable, "-P", "-c", "from course.cli import main; main()", "grade", ".", *([str(here)] if jobs > 1 else []),
               "--checks", str(checks), "--out", str(tmp_path / "out" if jobs > 1 else tmp_path / "r.json"), "--jobs", str(jobs)]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "alice.json" if jobs > 1 else tmp_path / "r.json").read_text())
    assert report["score"] == 6
    assert not word.exists()


def test_what_is_wrong_with_the_call(tmp_path, checks, capsys):
    from course.grading.command import grade

    def called(paths, format="native", out=None, jobs=1, folder=checks):
        return grade(paths, format, out, jobs, 0, folder, None, False, "")

    alice = hand_in(tmp_path / "a")
    assert called([alice, tmp_path / "nobody"]) == 2
    assert "there is nothing at" in capsys.readouterr().err
    assert called([alice], format="yaml") == 2
    assert "one of native, gradescope" in capsys.readouterr().err
    assert called([alice], jobs=0) == 2
    assert called([alice], folder=tmp_path) == 2
    assert "no manifest" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert called([alice, alice], out=tmp_path / "file") == 2
    assert "need a folder" in capsys.readouterr().err
    for out in (tmp_path / "file" / "r.json", Path("/proc/nowhere/r.json"), Path("/dev/null/r.json")):
        assert called([alice], out=out) == called([alice, alice], out=out) == 2
        assert str(out) in (said := capsys.readouterr().err)
        assert "isolation" not in said          # said before the work, not after


def test_what_is_odd_is_said(tmp_path, checks, capsys):
    from course.grading.command import grade

    def called(paths, out):
        return grade(paths, "native", out, 1, 0, checks, None, False, ""), capsys.readouterr().err

    (tmp_path / "empty").mkdir()
    status, said = called([tmp_path / "empty"], tmp_path / "new" / "r.json")
    assert (status, json.loads((tmp_path / "new" / "r.json").read_text())["score"]) == (0, 0)
    assert "no exercise file was found" in said
    status, said = called([hand_in(tmp_path / "a" / "hw"), hand_in(tmp_path / "b" / "hw")], tmp_path / "out")
    assert scores(tmp_path / "out") == {"hw": 5, "hw-2": 5}
    assert f"{tmp_path / 'b' / 'hw'} is called hw-2" in said
    os.mkfifo(tmp_path / "pipe")          # as /dev/stdout may be one: written to, not replaced
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    called([tmp_path / "empty"], tmp_path / "pipe")
    validate(reader.communicate(timeout=60)[0], "native")


def test_a_weak_sandbox_ends_with_three(tmp_path, checks, monkeypatch, capsys):
    from course.grading import bulk, command, sandbox

    weak = sandbox.isolation(("namespaces", "seccomp"))
    monkeypatch.setattr(bulk, "isolation", lambda: weak)
    monkeypatch.setattr(command, "isolation", lambda: weak)
    alice = hand_in(tmp_path / "alice")
    assert command.grade([alice], "native", tmp_path / "r.json", 1, 0, checks, None, False, "") == 3
    assert "NOT ENFORCED: network, processes, kernel surface" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()
    words = "network,processes,kernel surface"
    assert command.grade([alice], "native", tmp_path / "r.json", 1, 0, checks, None, False, words) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["score"] == 5
    assert report["sandbox"]["inactive"]["seccomp"]


@pytest.fixture
def class_of_four(tmp_path):
    hand_in(tmp_path / "in" / "alice")
    hand_in(tmp_path / "in" / "bob" / "exercises", HONEST.replace("1 - betas", "betas"))
    with zipfile.ZipFile(tmp_path / "in" / "carol.zip", "w") as archive:
        archive.writestr("carol-main/exercises/ch03_forward.py", HONEST)
    attack = next(a for a in ATTACKS if a.name == "os_exit_real")
    hand_in(tmp_path / "in" / "mallory", attack.source.decode())
    return sorted((tmp_path / "in").iterdir())


SCORES = {"alice": 5, "bob": 3, "carol": 5, "mallory": 3}


def scores(folder):
    return {p.stem: json.loads(p.read_text())["score"] for p in folder.glob("*.json") if p.suffixes == [".json"]}


def test_a_class_is_graded_and_taken_up_again(tmp_path, checks, class_of_four):
    out, seen = tmp_path / "out", []
    options = Options(seed=3, checks=str(checks))
    grade_class(class_of_four[:2], out, options, "gradescope", done=lambda r, kept: seen.append((r["submission"]["name"], kept)))
    assert scores(out) == {"alice": 5, "bob": 3}
    validate((out / "alice.gradescope.json").read_text(), "gradescope")
    (out / "bob.json").write_text((out / "bob.json").read_text()[:100])          # as if the machine had gone down
    hand = class_of_four[0] / "ch03_forward.py"
    hand.write_text(hand.read_text() + "\n# handed in again\n")
    grade_class(class_of_four, out, options, done=lambda r, kept: seen.append((r["submission"]["name"], kept)))
    assert scores(out) == SCORES
    assert [name for name, kept in seen if kept] == []
    grade_class(class_of_four, out, options, done=lambda r, kept: seen.append((r["submission"]["name"], kept)))
    assert sorted(name for name, kept in seen if kept) == sorted(SCORES)
    table = (out / "class.csv").read_bytes().decode()
    validate(table, "csv")
    assert [row.split(",")[:2] for row in table.split("\r\n")[1:5]] == [[n, str(s)] for n, s in sorted(SCORES.items())]


@pytest.mark.slow
def test_in_parallel(tmp_path, checks, class_of_four):
    done = course(*class_of_four, "--checks", checks, "--out", tmp_path / "out", "--jobs", 2, "--format", "junit")
    assert done.returncode == 0, done.stderr
    assert scores(tmp_path / "out") == SCORES
    validate((tmp_path / "out" / "mallory.junit.xml").read_text(), "junit")


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_there(tmp_path, checks, class_of_four):
    for n in range(20):
        hand_in(tmp_path / "in" / f"slow{n}", "import torch\ndef alphas_cumprod(betas):\n    while True: pass\n")
    paths = sorted((tmp_path / "in").iterdir())
    command = [sys.executable, "-m", "course.cli", "grade", *map(str, paths), "--checks", str(checks), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while len(scores(tmp_path / "out")) < 5 and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "goes on from there" in said
    assert "Traceback" not in said
    assert SCORES.items() <= scores(tmp_path / "out").items()
    validate((tmp_path / "out" / "class.csv").read_bytes().decode(), "csv")


@pytest.mark.slow
def test_on_a_dask_cluster(tmp_path, checks, class_of_four):
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        reports = grade_class(class_of_four, tmp_path / "out", Options(seed=1, checks=str(checks)), dask=cluster.scheduler_address)
    assert {r["submission"]["name"]: r["score"] for r in reports} == SCORES


def test_names_are_made_different():
    names = [name for name, _ in named(map(Path, ["a/hw", "b/hw", "c/HW", "class", "x.zip", "x", "x.gradescope"]))]
    assert names == ["hw", "hw-2", "HW-3", "class-2", "x", "x-2", "x.gradescope-2"]


def test_the_github_step_gets_its_payload(tmp_path, checks, monkeypatch, capsys):
    from course.grading.command import grade

    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "github_output"))
    assert grade([hand_in(tmp_path / "alice")], "github", None, 1, 0, checks, None, False, "") == 0
    validate(capsys.readouterr().out, "github")
    assert (tmp_path / "github_output").read_text().startswith("result=")
