"""Folders and archives as people hand them in, and as attackers do."""

import gzip
import io
import json
import os
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from course.grading import submission
from course.grading.submission import MAX_FILE, read_submission, submission_name

NAME = "ch03_forward.py"
WANTED = {NAME, "ch01_elbo.md"}


def read(path):
    return read_submission(path, WANTED)


@pytest.mark.parametrize("where", ["", "exercises", "my-homework", "my-homework/exercises", "a/b"])
def test_folders(tmp_path, where):
    folder = tmp_path / where
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_text("x = 1")
    (folder / "other.py").write_text("")
    (tmp_path / ".git").mkdir()
    assert read(tmp_path).files == {NAME: b"x = 1"}


def test_an_empty_folder_and_a_missing_one(tmp_path):
    assert read(tmp_path).notes
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


def test_two_students_are_never_mixed(tmp_path):
    for name in ("alice", "bob"):
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_text(name)
    assert read(tmp_path).files == {}


def test_links_pipes_devices_and_size(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    cases = {}
    for case in ("link", "pipe", "folder", "huge", "zeros", "unreadable", "hard", "sparse"):
        (tmp_path / case).mkdir()
        cases[case] = tmp_path / case / NAME
    cases["link"].symlink_to(secret)
    os.mkfifo(cases["pipe"])
    cases["folder"].mkdir()
    cases["huge"].write_bytes(b"#" * (MAX_FILE + 1))
    cases["zeros"].write_bytes(b"x = 1\0")
    cases["unreadable"].symlink_to("/dev/zero")
    os.link(secret, cases["hard"])
    with open(cases["sparse"], "wb") as handle:
        handle.truncate(1 << 40)
    words = {"link": "is a link", "pipe": "not a regular file", "folder": "not a regular file", "huge": "bytes", "zeros": "zero bytes",
             "unreadable": "link", "hard": "is a hard link", "sparse": "bytes"}
    for case, path in cases.items():
        found = read(path.parent)
        assert words[case] in found.problems[NAME], case
        assert found.files == {}


def test_a_linked_exercises_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / NAME).write_text("x")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "exercises").symlink_to(tmp_path / "real")
    assert not read(tmp_path / "s").files


def test_a_single_file(tmp_path):
    (tmp_path / NAME).write_text("x = 1")
    assert read(tmp_path / NAME).files == {NAME: b"x = 1"}
    assert "not a folder" in read_submission(_file(tmp_path / "notes.txt"), WANTED).notes[0]


def _file(path):
    path.write_text("hello")
    return path


# ---------------------------------------------------------------- archives

def zipped(path, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def tarred(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for info, data in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("prefix", ["", "exercises/", "repo-main/", "repo-main/exercises/", "./"])
def test_archives(tmp_path, prefix):
    entries = {prefix + NAME: b"x = 1", "__MACOSX/" + prefix + NAME: b"junk", prefix + "._" + NAME: b"junk"}
    assert read(zipped(tmp_path / "a.zip", **entries)).files == {NAME: b"x = 1"}
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2")):
        assert read(tarred(tmp_path / f"a{suffix}", list(entries.items()), mode)).files == {NAME: b"x = 1"}


@pytest.mark.parametrize("name", ["../" + NAME, "a/../../" + NAME, "/etc/" + NAME, "..\\" + NAME, "C:\\" + NAME])
def test_paths_that_lead_outside(tmp_path, name):
    before = sorted(tmp_path.parent.rglob("*.py"))
    found = read(zipped(tmp_path / "a.zip", **{name: b"x", "exercises/" + NAME: b"y"}))
    assert "leads outside" in found.problems[NAME]
    assert not found.files
    assert sorted(tmp_path.parent.rglob("*.py")) == before


def test_twice_the_same_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(NAME, "x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(NAME, "y")
    assert "more than once" in read(tmp_path / "a.zip").problems[NAME]


def test_links_in_archives(tmp_path):
    info = tarfile.TarInfo(NAME)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert "link" in read(tarred(tmp_path / "a.tar", [(info, b"")], "w")).problems[NAME]
    info = tarfile.TarInfo(NAME)
    info.type, info.linkname = tarfile.LNKTYPE, "../secret"
    assert "link" in read(tarred(tmp_path / "b.tar", [(info, b"")], "w")).problems[NAME]
    info = tarfile.TarInfo(NAME)
    info.type = tarfile.FIFOTYPE
    assert "link or a device" in read(tarred(tmp_path / "c.tar", [(info, b"")], "w")).problems[NAME]
    entry = zipfile.ZipInfo(NAME)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "link" in read(zipped(tmp_path / "a.zip", **{}) if not _zip_entry(tmp_path / "d.zip", entry) else tmp_path / "d.zip"
                          ).problems[NAME]


def _zip_entry(path, entry):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return path


def test_bombs(tmp_path, monkeypatch):
    began = time.process_time()
    assert "bytes" in read(zipped(tmp_path / "a.zip", **{NAME: bytes(50 << 20)})).problems[NAME]
    monkeypatch.setattr(submission, "MAX_UNPACKED", 8 << 20)          # so below in this process, not in one of its own
    bomb = tmp_path / "b.tar.gz"
    with gzip.open(bomb, "wb") as handle:
        for _ in range(20):
            handle.write(bytes(1 << 20))
    assert not read(bomb).files
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("filler")
        info.size = 20 << 20
        archive.addfile(info, io.BytesIO(bytes(20 << 20)))
    assert "unpacks to more than" in submission._unpack(tmp_path / "c.tar.gz", WANTED)["unreadable"]
    monkeypatch.setattr(submission, "MAX_ENTRIES", 100)
    many = zipped(tmp_path / "d.zip", **{f"{i}": b"" for i in range(101)})
    assert "more than 100 entries" in submission._unpack(many, WANTED)["unreadable"]
    assert time.process_time() - began < 20


def header(kind, data):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME], ids=["digits", "name"])
def test_an_archive_that_keeps_its_reader_busy(tmp_path, monkeypatch, kind):
    """Headers that take the standard library hours (a pattern that backtracks), or memory."""
    monkeypatch.setattr(submission, "UNPACK_SECONDS", 3)
    with gzip.open(tmp_path / "a.tar.gz", "wb", 1) as handle:
        handle.write(header(kind, b"1" * ((5 if kind == tarfile.XHDTYPE else 200) << 20)) + header(tarfile.REGTYPE, b"") + bytes(1024))
    assert "takes more" in read(tmp_path / "a.tar.gz").problems[NAME]


@pytest.mark.parametrize("at", [4, 12], ids=["options", "data"])
def test_a_damaged_member_is_a_problem_of_that_file(tmp_path, at):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(NAME, "x = 1\n" * 1000)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    start = data.find(NAME.encode()) + len(NAME) + at
    data[start:start + 5] = b"\xff" * 5
    (tmp_path / "a.zip").write_bytes(data)
    assert "cannot be unpacked" in read(tmp_path / "a.zip").problems[NAME]


def test_a_zip_that_lies_about_its_size(tmp_path):
    path = zipped(tmp_path / "a.zip", **{NAME: bytes(3 << 20)})
    data = path.read_bytes()
    small = (100).to_bytes(4, "little")
    path.write_bytes(data.replace((3 << 20).to_bytes(4, "little"), small))
    found = read(path)
    assert not found.files
    assert NAME in found.problems


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x1f\x8b\x08", b"BZh9", os.urandom(3000)])
@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar"])
def test_broken_archives(tmp_path, data, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    found = read(path)
    assert not found.files
    assert found.problems or found.notes


@pytest.mark.parametrize(("path", "name"), [
    ("alice", "alice"), ("a b/Ünï", "Ünï"), ("U\u0308nal", "Ünal"), ("张伟", "张伟"), ("अमित", "अमित"), ("Jane Müller", "Jane_Müller"),
    ("x\x1b]0;X\x07", "x__0_X_"), ("a\u202eb", "a_b"), ("張" * 300, "張" * 53), ("\u0301x", "_\u0301x"), ("???", "___"), ("x.tar.gz", "x"), ("..hidden", "hidden"), ("=cmd()", "_cmd__"), ("a" * 300, "a" * 100)])
def test_names(tmp_path, path, name):
    assert submission_name(tmp_path / path) == name


def test_the_digest_changes_with_what_was_handed_in(tmp_path):
    digests = set()
    for text in ("x", "y", ""):
        (tmp_path / NAME).write_text(text)
        digests.add(read(tmp_path).digest)
    (tmp_path / NAME).unlink()
    digests.add(read(tmp_path).digest)
    assert len(digests) == 4


# ---------------------------------------------------------------- where the files lie, and how they are called

def tree(root, **files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def both_ways(tmp_path, files):
    """The same tree as a folder and as a zip: one rule for both."""
    tree(tmp_path / "folder", **files)
    zipped(tmp_path / "a.zip", **files)
    for path in (tmp_path / "folder", tmp_path / "a.zip"):
        yield read_submission(path, WANTED, stubs={NAME: b"# the stub\n"})


@pytest.mark.parametrize("files", [
    {"HW3/" + NAME: "x", "HW3/data/y.csv": "", "data/z.csv": ""}, {"a/b/c/d/e/" + NAME: "x"}, {"ch03/" + NAME: "x", "ch01/ch01_elbo.md": "y"},
    {"homework 3/" + NAME: "x", "homework 1/ch01_elbo.md": "y"}, {NAME: "x", "old/tests/" + NAME: "z"}, {"exercises/" + NAME: "x", NAME: "# the\r\nstub "},
    {"exercises/" + NAME: "# the stub\n", NAME: "x"}, {"exercises/" + NAME: "x", NAME: "x"}, {".venv/" + NAME: "z", "me/" + NAME: "x"}])
def test_one_rule_for_folders_and_archives(tmp_path, files):
    for found in both_ways(tmp_path, files):
        assert found.files[NAME] == b"x", found
        assert not found.problems


@pytest.mark.parametrize("name", ["Ch03_Forward.py", "ch03_forward (1).py", "ch03_forward - Copy.py", "CH03-FORWARD.PY", "ch03_forward.py.txt",
                                  "muellerjane_123_456_ch03_forward.py", "muellerjane_LATE_123_456_ch03_forward-2.py",
                                  "HW3_jm12_attempt_2026-11-30-23-59-00_ch03_forward.py", "Copy of ch03_forward.py", "ch03 forward.py"])
def test_a_name_that_is_nearly_right_is_taken_and_said(tmp_path, name):
    for found in both_ways(tmp_path, {name: "x", "ch01_elbo.md": "y"}):
        assert found.files == {NAME: b"x", "ch01_elbo.md": b"y"}
        assert any(name in note and f"taken for {NAME}" in note for note in found.notes)
    assert read(tmp_path / "folder" / name).files == {NAME: b"x"}


@pytest.mark.parametrize("name", ["ch03_forward_final.py", "ch03.py", "ch03_forward.docx", "my_ch03_forward.py"])
def test_a_name_that_only_looks_right_is_named(tmp_path, name):
    for found in both_ways(tmp_path, {name: "x", "ch01_elbo.md": "y"}):
        assert NAME not in found.files
        assert found.near[NAME] == name
        assert f"there is no {NAME}; {name} looks like it" in found.lacks(NAME)


def test_the_checks_of_the_course_are_no_answers(tmp_path):
    for found in both_ways(tmp_path, {"tests/exercises/test_ch03_forward.py": "x", "tests/exercises/variants/first/" + NAME: "y"}):
        assert not found.files
        assert not found.near


def test_two_that_differ(tmp_path):
    for found in both_ways(tmp_path, {"ch03_forward (1).py": "x", "ch03_forward (2).py": "y"}):
        assert "more than once" in found.problems[NAME]
    for found in both_ways(tmp_path / "b", {NAME: "x", "exercises/" + NAME: "y"}):
        assert (found.files[NAME], "they differ" in found.notes[0]) == (b"x", True)


@pytest.mark.parametrize("files", [{"alice/" + NAME: "x", "bob/" + NAME: "y"}, {"alice/" + NAME: "x", "bob/ch01_elbo.md": "y"}])
def test_two_students_in_one_submission_get_nothing_and_are_told(tmp_path, files):
    for found in both_ways(tmp_path, files):
        assert not found.files
        assert "alice/ and bob/" in found.problems[NAME]


def test_archives_in_folders_and_in_archives(tmp_path):
    inner = zipped(tmp_path / "homework.zip", **{NAME: "x"})
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "homework.zip").write_bytes(inner.read_bytes())
    found = read(tmp_path / "s")
    assert (found.files, found.notes) == ({NAME: b"x"}, ("the exercises are in homework.zip",))
    found = read(zipped(tmp_path / "outer.zip", **{"homework.zip": inner.read_bytes()}))
    assert not found.files
    assert any("archive in the archive" in note for note in found.notes)
    assert read(tarred(tmp_path / "a.tar.xz", [("hw/" + NAME, b"x")], "w:xz")).files == {NAME: b"x"}
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "hw.7z").write_bytes(b"7z")
    assert any("hand in a .zip" in note for note in read(tmp_path / "r").notes)


def test_too_many_files_of_that_name(tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "MAX_KEPT", 100)
    for n in range(5):
        tree(tmp_path / "s", **{f"d{n}/" + NAME: "x" * 40})
    assert not read(tmp_path / "s").files
    assert "too many" in submission._unpack(zipped(tmp_path / "a.zip", **{f"d{n}/" + NAME: "x" * 40 for n in range(5)}), sorted(WANTED))["unreadable"]


# ---------------------------------------------------------------- notebooks

def notebook(*cells, **more):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
        {"cell_type": kind, "metadata": {}, "source": text, "id": f"c{n}", **({"outputs": [], "execution_count": None} if kind == "code" else {})}
        for n, (kind, text) in enumerate(cells)], **more})


def test_a_notebook_is_read_as_its_functions(tmp_path):
    text = notebook(("markdown", "# Answer"), ("code", "%pip install torch\n!ls\nimport torch\nEPS = 1e-5\nx = torch.zeros(2)"),
                    ("code", "%%timeit\nloop()"), ("code", "import functools\n@functools.cache\ndef f(a):\n    return a\nprint(f(1))\nfor i in range(9**9): pass\nplot = f(2)"))
    for found in both_ways(tmp_path, {"ch03_forward.ipynb": text}):
        source = found.files[NAME].decode()
        assert source.split("\n\n") == ["import torch", "EPS = 1e-5", "x = torch.zeros(2)", "import functools",
                                        "@functools.cache\ndef f(a):\n    return a\n"]
        assert any("left out" in note for note in found.notes)


@pytest.mark.parametrize("text", ["{", "[]", "null", "1e999", '{"cells": 3}', '{"nbformat": 9}', "[" * 100_000, '{"nbformat": 4, "cells": [{"cell_type": "code"}]}'])
def test_a_broken_notebook_is_a_problem(tmp_path, text):
    (tmp_path / "ch03_forward.ipynb").write_text(text)
    found = read(tmp_path)
    assert "not a Jupyter notebook" in found.problems[NAME]


def test_a_cell_with_a_mistake_says_so_when_it_is_loaded(tmp_path):
    (tmp_path / "ch03_forward.ipynb").write_text(notebook(("code", "def f(:\n  pass"), ("code", "def g():\n    return 1")))
    with pytest.raises(SyntaxError):
        compile(read(tmp_path).files[NAME], "x", "exec")


def test_trained_weights_are_binary_and_small(tmp_path):
    name = "ch07_weights.safetensors"
    for size, problem in ((150_000, None), (200_001, "at most 200000 are read")):
        (tmp_path / name).write_bytes(bytes(size))
        found = read_submission(tmp_path, ["ch07_training.py", name])
        assert (name in found.files) == (problem is None)
        assert problem is None or problem in found.problems[name]
    (tmp_path / "ch07_training.py").write_bytes(b"x = 1\0")
    assert "is not text" in read_submission(tmp_path, ["ch07_training.py", name]).problems["ch07_training.py"]


def test_weights_that_are_none_are_refused_in_words(tmp_path):
    from course.grading.run import check_folder

    text = (Path(__file__).parents[2] / "exercises" / "variants" / "first" / "ch07_training.py").read_text()
    (tmp_path / "ch07_training.py").write_text(text)
    assert check_folder(tmp_path, ["ch07.weights"])["ch07.weights"].status == "not_attempted"
    (tmp_path / "ch07_weights.safetensors").write_bytes(b"\xff" * 1000)
    result = check_folder(tmp_path, ["ch07.weights"])["ch07.weights"]
    assert (result.status, result.cause) == ("failed", "unreadable")
    assert "is not a file of safetensors" in result.feedback
