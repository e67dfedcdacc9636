"""Folders and archives as people hand them in, and as attackers do."""

import gzip
import io
import os
import stat
import tarfile
import time
import zipfile

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
        began = time.monotonic()
        found = read(path.parent)
        assert words[case] in found.problems[NAME], case
        assert found.files == {}
        assert time.monotonic() - began < 1


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
    began = time.monotonic()
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
    assert time.monotonic() - began < 20


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
    began = time.monotonic()
    assert "takes more" in read(tmp_path / "a.tar.gz").problems[NAME]
    assert time.monotonic() - began < 20


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
    ("alice", "alice"), ("a b/Ünï", "_n_"), ("x.tar.gz", "x"), ("..hidden", "hidden"), ("=cmd()", "_cmd__"), ("a" * 300, "a" * 100)])
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
