"""Deadlines: hostile repositories run nothing here, and no clock of theirs is believed."""

import csv
import datetime
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from course.grading.collect import collect, deadline_of
from course.grading.submission import read_submission

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
WANTED = {"ch03_forward.py"}
DEADLINE = deadline_of("2026-11-30 23:59 +0100")
BEFORE, AFTER = DEADLINE - datetime.timedelta(hours=1), DEADLINE + datetime.timedelta(hours=1)


def git(folder, *arguments, date="2026-11-30 12:00 +0100"):
    environment = {**os.environ, "GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false", *arguments], cwd=folder,
                          env=environment, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder, text, date="2026-11-30 12:00 +0100", file="ch03_forward.py"):
    (folder / file).write_text(text)
    git(folder, "add", "-A", date=date)
    git(folder, "commit", "-qm", "x", date=date)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "in" / "alice"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    commit(folder, "x = 1\n")
    return folder


def taken(out, name="alice"):
    return read_submission(out / f"{name}.tar", WANTED).files.get("ch03_forward.py", b"").decode()


def run(out, *sources, **more):
    found = collect([str(s) for s in sources], out, WANTED, **more)
    with open(out / "collected.csv", newline="", encoding="utf-8") as handle:
        assert [row["name"] for row in csv.DictReader(handle)] == [entry.name for entry in found]
    return found


def test_what_was_seen_before_the_deadline_counts(tmp_path, repository):
    out = tmp_path / "out"
    (first,) = run(out, repository, now=BEFORE)
    assert (first.clock, taken(out)) == ("ours", "x = 1\n")
    commit(repository, "late = 1\n", date="2026-11-30 23:00 +0100")          # back-dated: the commit says it was in time
    (entry,) = run(out, repository, now=AFTER, deadline=DEADLINE)
    assert (entry.commit, entry.clock, taken(out)) == (first.commit, "ours", "x = 1\n")
    assert "does not count" in entry.note
    (entry,) = run(out, repository, now=AFTER)          # without a deadline: what is there now
    assert taken(out) == "late = 1\n"
    git(repository, "reset", "-q", "--hard", first.commit)          # history rewritten afterwards changes nothing
    commit(repository, "other = 1\n")
    (entry,) = run(out, repository, now=AFTER, deadline=DEADLINE)
    assert (entry.commit, taken(out)) == (first.commit, "x = 1\n")


def test_without_evidence_nothing_is_taken_unless_the_teacher_says_so(tmp_path, repository):
    out = tmp_path / "out"
    commit(repository, "late = 1\n", date="2026-12-01 12:00 +0100")
    (entry,) = run(out, repository, now=AFTER, deadline=DEADLINE)
    assert not entry.commit
    assert "nothing shows that it was there before the deadline" in entry.note
    assert not (out / "alice.tar").exists()
    (entry,) = run(out, repository, now=AFTER, deadline=DEADLINE, trust_dates=True)
    assert (entry.clock, taken(out)) == ("student", "x = 1\n")
    assert "the only evidence is the date" in entry.note
    late = tmp_path / "in" / "late"
    late.mkdir()
    git(late, "init", "-q")
    commit(late, "x\n", date="2026-12-02 12:00 +0100")
    commit(late, "y\n", date="2026-12-01 12:00 +0100")
    _, entry = run(out, repository, late, now=AFTER, deadline=DEADLINE, trust_dates=True)
    assert entry.note == "not collected: there is nothing from before the deadline, not even by the student's own clock"


def test_the_server_knows_when_it_was_pushed(tmp_path, repository):
    first = git(repository, "rev-parse", "HEAD")
    second = commit(repository, "late = 1\n", date="2026-11-30 23:00 +0100")
    (tmp_path / "pushes.json").write_text(f'[{{"after": "{first}", "timestamp": "2026-11-30T20:00:00Z", "activity_type": "push"}}]\n'
                                          f'[{{"after": "{second}", "timestamp": "2026-11-30T23:30:00Z"}}, {{"after": "{"0" * 40}", "timestamp": "2026-11-30T22:00:00Z"}}]')
    (entry,) = run(tmp_path / "out", repository, now=AFTER, deadline=DEADLINE, pushes=tmp_path / "pushes.json")
    assert (entry.commit, entry.clock, taken(tmp_path / "out")) == (first, "server", "x = 1\n")
    (tmp_path / "pushes.json").write_text("[{}]")
    with pytest.raises(ValueError, match="is not what `gh api"):
        run(tmp_path / "out", repository, pushes=tmp_path / "pushes.json")


def test_nothing_of_theirs_runs(tmp_path, repository):
    """Hooks, settings that name programs, filters, attributes, an included configuration, a promisor remote."""
    word = tmp_path / "RAN"
    script = tmp_path / "run.sh"
    script.write_text(f"#!/bin/sh\ntouch {word}\n")
    script.chmod(0o755)
    hooks = repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "post-merge", "pre-auto-gc", "reference-transaction", "post-index-change", "fsmonitor-watchman", "post-update",
                 "pre-receive", "update", "post-rewrite", "push-to-checkout", "proc-receive"):
        shutil.copy(script, hooks / hook)
    commit(repository, "x = 2\n")
    (repository / ".gitattributes").write_text("* filter=evil export-subst text ident diff=evil\n")
    git(repository, "add", "-A")
    git(repository, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "attributes")
    word.unlink(missing_ok=True)
    with open(repository / ".git" / "config", "a") as handle:
        handle.write(f"""
[core]
    fsmonitor = {script}
    sshCommand = {script}
    pager = {script}
    alternateRefsCommand = {script}
    worktree = {tmp_path}
    hooksPath = {hooks}
[uploadpack]
    packObjectsHook = {script}
[filter "evil"]
    smudge = {script}
    clean = {script}
    required = true
[remote "origin"]
    url = ext::{script}
    promisor = true
    partialclonefilter = blob:none
[extensions]
    partialClone = origin
[include]
    path = /etc/passwd
[alias]
    fetch = !{script}
""")
    (entry,) = run(tmp_path / "out", repository, now=BEFORE)
    assert entry.commit, entry.note
    assert taken(tmp_path / "out") == "x = 2\n"
    assert not word.exists()


def pointer(folder, other):
    shutil.rmtree(folder / ".git")
    (folder / ".git").write_text(f"gitdir: {other}/.git\n")


def link(folder, other):
    shutil.rmtree(folder / ".git")
    (folder / ".git").symlink_to(other / ".git")


def linked_ref(folder, other):
    head = next((folder / ".git" / "refs" / "heads").iterdir())
    head.unlink()
    head.symlink_to(next((other / ".git" / "refs" / "heads").iterdir()))


def alternates(folder, other):
    (folder / ".git" / "objects" / "info" / "alternates").write_text(f"{other}/.git/objects\n")
    next((folder / ".git" / "refs" / "heads").iterdir()).write_text(git(other, "rev-parse", "HEAD") + "\n")


def common(folder, other):
    (folder / ".git" / "commondir").write_text(f"{other}/.git\n")


def missing(folder, other):
    next((folder / ".git" / "refs" / "heads").iterdir()).write_text(git(other, "rev-parse", "HEAD") + "\n")


def pipe(folder, other):
    os.mkfifo(folder / ".git" / "packed-refs")


def damaged(folder, other):
    for path in (folder / ".git" / "objects").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(b"not an object")


@pytest.mark.parametrize("trick", [pointer, link, linked_ref, alternates, common, missing, pipe, damaged], ids=lambda t: t.__name__)
def test_nobody_hands_in_the_work_of_another(tmp_path, repository, trick):
    other = tmp_path / "in" / "bob"
    other.mkdir()
    git(other, "init", "-q")
    commit(other, "bobs = 1\n", date="2026-11-30 12:34 +0100")
    trick(repository, other)
    mine, his = run(tmp_path / "out", repository, other, now=BEFORE)
    assert not mine.commit, mine
    assert mine.note.startswith("not collected: ")
    assert not (tmp_path / "out" / "alice.tar").exists()
    assert taken(tmp_path / "out", "bob") == "bobs = 1\n"
    assert his.commit


def test_packed_bare_and_odd_repositories(tmp_path, repository):
    (repository / "link.py").symlink_to("/etc/passwd")
    (repository / "big").mkdir()
    commit(repository, "#" * (1 << 21), file="big/ch03_forward.py")
    git(repository, "gc", "-q")
    git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
    _, bare, empty, none = run(tmp_path / "out", repository, tmp_path / "bare.git", _empty(tmp_path / "empty"), _folder(tmp_path / "none"))
    assert taken(tmp_path / "out") == taken(tmp_path / "out", "bare") == "x = 1\n"
    assert bare.name == "bare"
    with tarfile.open(tmp_path / "out" / "alice.tar") as archive:
        assert archive.getnames() == ["ch03_forward.py"]          # no link, nothing too big, nothing else
    assert not empty.commit
    assert "no git repository here" in none.note
    assert list(Path(tmp_path / "out").glob("*.tar*")) == [tmp_path / "out" / n for n in os.listdir(tmp_path / "out") if n.endswith(".tar")]


def _empty(folder):
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def _folder(folder):
    folder.mkdir()
    return folder


def test_two_of_one_name_and_the_ext_protocol(tmp_path, repository):
    twin = tmp_path / "other" / "alice"
    shutil.copytree(repository, twin)
    one, two = run(tmp_path / "out", repository, twin, now=BEFORE)
    assert one.commit
    assert "has the same name" in two.note
    (entry,) = run(tmp_path / "out2", f"ext::sh -c touch% {tmp_path}/RAN")
    assert not entry.commit
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("text", ["2026-11-30", "2026-11-30 23:59", "tomorrow", ""])
def test_a_deadline_has_a_time_zone(text):
    with pytest.raises(ValueError, match="with its time zone"):
        deadline_of(text)
