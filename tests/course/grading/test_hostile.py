"""Hostile submissions: no points for the attacked task, the right cause, and the honest neighbour keeps its points."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_more import MORE
from hostile_more import QUICK as CHOSEN
from hostile_submissions import ATTACKS, HONEST

from course.grading.sandbox import isolation
from course.grading.submission import Submission, read_submission

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")

# those that only end at the time limit are slow; a few of each kind stand for them in the quick suite
WAITING = {"endless_sleep", "endless_c", "regex", "swallow_everything", "slow_exception", "endless_callbacks", "endless_import",
           "thread_bomb", "stop_self", "memory_list", "memory_touch", "giant_frame", "real_tcp", "stderr_flood", "long_exception"}
SLOW = [a for a in ATTACKS if a.name in WAITING or (a in MORE and a.name not in CHOSEN)]
QUICK = [a for a in ATTACKS if a not in SLOW]


def verdicts(grader, tmp_path, attack):
    (tmp_path / "ch03_forward.py").write_bytes(attack.source.replace(b"{ROOT}", str(ROOT).encode()))
    report = grader.grade(read_submission(tmp_path, {"ch03_forward.py"}))
    tasks = {task["id"]: task for task in report["tasks"] if task["id"].startswith("ch03")}
    attacked = tasks.pop(attack.task)
    (neighbour,) = tasks.values()
    return attacked, neighbour


def judge(grader, tmp_path, attack):
    began = time.monotonic()
    attacked, neighbour = verdicts(grader, tmp_path, attack)
    seconds = time.monotonic() - began
    if "passed" in attack.causes and attacked["status"] == "passed":
        pass          # right, and only a nuisance for the task that comes after it
    else:
        assert attacked["score"] == 0 or "passed" in attack.causes, attacked
        assert (attacked["cause"] or "") in attack.causes, attacked
        assert attacked["status"] == ("failed" if attacked["cause"] else "not_attempted")
    assert (neighbour["status"] == "passed") is attack.neighbour, neighbour
    for task in (attacked, neighbour):
        assert task["feedback"].isascii()
        assert task["feedback"].isprintable()
    assert seconds < 20 * grader.tasks[attack.task].timeout, "a submission takes its time limit and little more"


@pytest.mark.parametrize("attack", QUICK, ids=lambda a: a.name)
def test_an_attack(grader, tmp_path, attack):
    judge(grader, tmp_path, attack)


@pytest.mark.slow
@pytest.mark.parametrize("attack", SLOW, ids=lambda a: a.name)
def test_a_slow_attack(grader, tmp_path, attack):
    judge(grader, tmp_path, attack)


def test_the_corpus_is_large():
    assert len(ATTACKS) >= 300
    assert len({a.name for a in ATTACKS}) == len(ATTACKS)


def ours() -> list[str]:
    """Processes with a user id of our workers, which nobody else has, or that run our zygote."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                uid, command = entry.stat().st_uid, (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if 1_000_000_000 <= uid < 3_000_000_000 or (b"zygote.py" in command and parent == os.getpid()):
                found.append(f"{entry.name} {uid} {command!r}")
    return found


def test_nothing_is_left_and_the_next_one_is_honest(grader, tmp_path):
    by_name = {a.name: a for a in ATTACKS}
    for name in ("double_fork_daemon", "fork_bomb", "write_tmp", "write_shm", "right_but_leaves_a_busy_thread"):
        verdicts(grader, tmp_path, by_name[name])
    report = grader.grade(Submission("next", {"ch03_forward.py": HONEST.encode()}))
    assert report["score"] == 5
    assert not Path("/tmp/stash").exists()
    assert not Path("/dev/shm/stash").exists()
    grader.zygote.close()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and ours():
        time.sleep(0.05)
    assert ours() == []


@pytest.mark.slow
@pytest.mark.parametrize("without", [("namespaces",), ("namespaces", "uid"), ("namespaces", "landlock")], ids="-".join)
def test_weaker_levels_hold_against_the_whole_corpus(tmp_path, checks, without):
    from course.grading.grade import Grader

    found = isolation(without)
    if found.missing:
        pytest.skip(found.words)
    with Grader(seed=1, checks=checks, found=found) as grader:
        for attack in ATTACKS:
            if "landlock" in without and "passed" not in attack.causes:          # no file opens: what torch imports late is refused
                attack = replace(attack, causes=(*attack.causes, "forbidden"))
            judge(grader, tmp_path, attack)
