"""Read what students hand in: a folder, a git checkout, a zip or a tar, or one file. Nothing is unpacked to disk.

Only the files that the manifests name are read, as bytes, up to MAX_FILE each. They are looked for at the top, in a
folder `exercises/`, or below one single wrapping folder. Links, devices, pipes, paths that lead outside, and archives
that unpack to too much become `problems`, which the report shows; they never stop the grading of other files.

An archive is read in a process of its own (`python submission.py ARCHIVE NAMES`, this very file), limited in time and
memory: a few kilobytes are enough to keep a reader of zip or tar busy for hours.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

MAX_FILE = 1 << 20
MAX_ARCHIVE = 100 << 20          # bytes, packed
MAX_UNPACKED = 400 << 20         # bytes read through while looking for the files
MAX_ENTRIES = 20_000
UNPACK_SECONDS = 30             # of which a third may be processor time
UNPACK_MEMORY = 512 << 20
ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|tar\.gz|tar\.bz2)$", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """The files of one student: `files` by name, `problems` by name with what is wrong, `notes` for the instructor."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A SHA-256 of what was handed in."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(f"{name}\0{len(self.files[name])}\0".encode() + self.files[name])
        for name in sorted(self.problems):
            digest.update(f"{name}\0{self.problems[name]}\0".encode())
        return digest.hexdigest()


def read_submission(path: Path | str, wanted: Iterable[str], name: str | None = None) -> Submission:
    """The submission at `path`. `wanted` are the file names to look for, such as "ch03_forward.py".

    Raises FileNotFoundError if there is nothing at `path`; everything else that is wrong becomes a problem or a note.
    """
    path = Path(path)
    wanted = set(wanted)
    if not os.path.lexists(path):
        raise FileNotFoundError(f"there is no submission at {path}")
    name = name or submission_name(path)
    try:
        if path.is_dir():
            files, problems = _from_folder(path, wanted)
        elif path.name in wanted:
            files, problems = {path.name: _read_file(path)}, {}
        elif ARCHIVE.search(path.name):
            files, problems = _from_archive(path, wanted)
        else:
            raise Unreadable("is not a folder, a .zip, a .tar, .tar.gz or .tar.bz2, or an exercise file")
    except Unreadable as problem:
        what = f"the submission {problem}"
        return Submission(name, {}, dict.fromkeys(sorted(wanted), f"could not be read: {what}"), (what,))
    notes = () if files or problems else ("no exercise file was found at the top, in exercises/, or in a single folder",)
    return Submission(name, files, problems, notes)


class Unreadable(Exception):
    """A file or an archive cannot be used; the message completes a sentence that begins with its name."""


def submission_name(path: Path) -> str:
    """A name for reports, from a file name: letters, digits, dot, dash and underscore only."""
    stem = path.resolve().name if path.name in ("", ".", "..") else path.name
    stem = re.sub(r"\.(py|md)$", "", ARCHIVE.sub("", stem), flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem).strip(".")[:100] or "submission"


# ---------------------------------------------------------------- folders

def _from_folder(root: Path, wanted: set[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    for _ in range(4):
        files: dict[str, bytes] = {}
        problems: dict[str, str] = {}
        for folder in (root, root / "exercises"):
            try:
                if folder.is_symlink() and folder != root:
                    raise Unreadable("has a link in place of the folder exercises/")
                present = set(os.listdir(folder)) & wanted if folder.is_dir() else set()
            except OSError as error:
                raise Unreadable(f"has a folder that cannot be listed: {error.strerror}") from error
            for name in sorted(present - set(files)):
                try:
                    files[name] = _read_file(folder / name)
                    problems.pop(name, None)
                except Unreadable as problem:
                    problems[name] = str(problem)
        if files or problems:
            return files, problems
        inner = [root / p for p in sorted(os.listdir(root))]
        inner = [p for p in inner if p.name[0] not in "._" and p.is_dir() and not p.is_symlink()]
        if len(inner) != 1:
            break
        root = inner[0]
    return {}, {}


def _read_file(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_FILE, never following a link and never waiting for a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        if path.is_symlink():
            raise Unreadable("is a link, and only the file itself is accepted") from error
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is not a regular file")
        if status.st_nlink > 1:
            raise Unreadable("is a hard link, another name of some other file; only a copy is accepted")
        if status.st_size > MAX_FILE:
            raise Unreadable(f"has {status.st_size} bytes; at most {MAX_FILE} are read")
        data = b""
        while len(data) <= MAX_FILE and (piece := os.read(fd, MAX_FILE + 1 - len(data))):
            data += piece
        return _text(data)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)


def _text(data: bytes) -> bytes:
    if len(data) > MAX_FILE:
        raise Unreadable(f"has more than the {MAX_FILE} bytes that are read")
    if b"\0" in data:
        raise Unreadable("is not text (it holds zero bytes; if it is UTF-16, save it as UTF-8)")
    return data


# ---------------------------------------------------------------- archives

Entry = tuple[str, "IO[bytes] | str"]          # a path in the archive, and its contents or what is wrong with it


def _from_archive(path: Path, wanted: set[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    command = [sys.executable, "-I", "-S", "-B", __file__, str(path.absolute()), json.dumps(sorted(wanted))]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=UNPACK_SECONDS, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise Unreadable("takes more time or memory to unpack than exercises need") from error
    if "unreadable" in found:
        raise Unreadable(found["unreadable"])
    return {name: text.encode("latin-1") for name, text in found["files"].items()}, found["problems"]


def _unpack(path: Path, wanted: set[str]) -> dict[str, Any]:
    """What the process for an archive says about it, as data."""
    try:
        files, problems = _choose(_zip_entries(path) if path.name.lower().endswith(".zip") else _tar_entries(path), wanted)
    except Unreadable as problem:
        return {"unreadable": str(problem)}
    except MemoryError:
        return {"unreadable": "takes more memory to unpack than exercises need"}
    except Exception as error:
        return {"unreadable": f"cannot be unpacked: {type(error).__name__}"}
    return {"files": {name: data.decode("latin-1") for name, data in files.items()}, "problems": problems}


def _choose(entries: Iterator[Entry], wanted: set[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """The wanted files of an archive: those in the shallowest folder that has any."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for raw, contents in entries:
        path = PurePosixPath(raw.replace("\\", "/"))
        if path.name not in wanted or any(part.startswith(("__MACOSX", "._")) for part in path.parts):
            continue
        parts = [p for p in path.parts[:-1] if p not in (".", "exercises")]
        depth = 2 * len(parts) + ("exercises" in path.parts)
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", raw):
            value: bytes | str = "has a path in the archive that leads outside of it"
            depth = 0
        elif isinstance(contents, str):
            value = contents
        else:
            try:
                value = _text(contents.read(MAX_FILE + 1))
            except Unreadable as problem:
                value = str(problem)
            except Exception as error:          # every way of packing has errors of its own
                value = f"cannot be unpacked: {type(error).__name__}"
        before = found.get(path.name)
        if before is None or depth < before[0]:
            found[path.name] = (depth, value)
        elif depth == before[0]:
            found[path.name] = (depth, "is in the archive more than once")
    return ({n: v for n, (_, v) in found.items() if isinstance(v, bytes)},
            {n: v for n, (_, v) in found.items() if isinstance(v, str)})


def _open_archive(path: Path) -> IO[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ARCHIVE:
        os.close(fd)
        raise Unreadable(f"is not a regular file of at most {MAX_ARCHIVE >> 20} MB")
    return os.fdopen(fd, "rb")


def _zip_entries(path: Path) -> Iterator[Entry]:
    with _open_archive(path) as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                entries = archive.infolist()
                if len(entries) > MAX_ENTRIES:
                    raise Unreadable(f"has more than {MAX_ENTRIES} entries")
                for info in entries:
                    if info.is_dir():
                        continue
                    mode = info.external_attr >> 16
                    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                        yield info.filename, "is a link or a device in the archive"
                    elif info.flag_bits & 1:
                        yield info.filename, "is encrypted"
                    elif info.file_size > MAX_FILE:
                        yield info.filename, f"has {info.file_size} bytes; at most {MAX_FILE} are read"
                    elif PurePosixPath(info.filename.replace("\\", "/")).name:
                        try:
                            with archive.open(info) as member:
                                yield info.filename, member
                        except (NotImplementedError, RuntimeError, zipfile.BadZipFile, OSError, EOFError) as error:
                            yield info.filename, f"cannot be unpacked: {type(error).__name__}"
        except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, ValueError, RuntimeError, IndexError) as error:
            raise Unreadable(f"is not a readable zip file: {error}") from error


class _Counted:
    """A stream that gives up after MAX_UNPACKED bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._left = stream, MAX_UNPACKED

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, 1 << 20) if size >= 0 else 1 << 20)
        self._left -= len(data)
        if self._left < 0:
            raise Unreadable(f"unpacks to more than {MAX_UNPACKED >> 20} MB")
        return data


def _tar_entries(path: Path) -> Iterator[Entry]:
    with _open_archive(path) as handle:
        magic = handle.read(4)
        handle.seek(0)
        stream: IO[bytes] = handle
        if magic[:2] == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=handle)      # type: ignore[assignment]
        elif magic[:3] == b"BZh":
            stream = bz2.BZ2File(handle)      # type: ignore[assignment]
        try:
            with tarfile.open(fileobj=_Counted(stream), mode="r|") as archive:      # type: ignore[call-overload]
                for number, info in enumerate(archive):
                    if number > MAX_ENTRIES:
                        raise Unreadable(f"has more than {MAX_ENTRIES} entries")
                    if info.isdir():
                        continue
                    if not info.isreg():
                        yield info.name, "is a link or a device in the archive"
                    elif info.size > MAX_FILE:
                        yield info.name, f"has {info.size} bytes; at most {MAX_FILE} are read"
                    elif (member := archive.extractfile(info)) is not None:
                        yield info.name, member
        except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
            raise Unreadable(f"is not a readable tar file: {error}") from error


if __name__ == "__main__":
    if sys.platform.startswith("linux"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (UNPACK_MEMORY, UNPACK_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (UNPACK_SECONDS // 3, UNPACK_SECONDS // 3))
    print(json.dumps(_unpack(Path(sys.argv[1]), set(json.loads(sys.argv[2])))))
