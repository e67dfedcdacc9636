"""Read what students hand in: a folder, a git checkout, a zip or a tar, or one file. Nothing is unpacked to disk.

Only files that the manifests name are read, as bytes, and those whose names are nearly right: Ch03_Forward.py,
"ch03_forward (1).py", ch03_forward.ipynb, the prefixes that Canvas and Blackboard add. One rule serves folders and
archives: the exercises lie in one folder, at whatever depth, or in exercises/ or chapter folders below it. What was not
taken as it lay there is said in `notes`, and what could not be taken in `near`. Links, devices, pipes, paths that lead
outside, and archives that unpack to too much become `problems`; they never stop the grading of other files.

An archive is read in a process of its own (`python submission.py ARCHIVE NAMES`, this very file), limited in time and
memory: a few kilobytes are enough to keep a reader of zip or tar busy for hours.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import re
import stat
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

MAX_FILE = 1 << 20
MAX_NOTEBOOK = 16 << 20          # with the pictures in it
MAX_WEIGHTS = 200_000            # of a network that was trained for a task
MAX_KEPT = 48 << 20              # bytes of all files with a fitting name together
MAX_ARCHIVE = 100 << 20          # bytes, packed
MAX_UNPACKED = 400 << 20         # bytes read through while looking for the files
MAX_ENTRIES = 20_000
MAX_DEPTH = 12
UNPACK_SECONDS = 30             # of which a third may be processor time
UNPACK_MEMORY = 512 << 20
ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.gz|tar\.bz2|tar\.xz)$", re.IGNORECASE)
OTHER_ARCHIVE = re.compile(r"\.(7z|rar|zst|gz|bz2|xz|lz)$", re.IGNORECASE)
NAME_BYTES = 160                 # of a report's name, so that NAME.classroom50.json fits every file system


@dataclass(frozen=True)
class Submission:
    """The files of one student: `files` by name, `problems` by name with what is wrong, `near` by name with what lies there
    instead, `notes` for everybody. `path` is where it was read, for the instructor."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    near: dict[str, str] = field(default_factory=dict)
    path: str = ""
    paths: dict[str, str] = field(default_factory=dict)          # where in the submission each file lay

    @property
    def digest(self) -> str:
        """A SHA-256 of what was handed in."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(f"{name}\0{len(self.files[name])}\0".encode() + self.files[name])
        for name in sorted(self.problems):
            digest.update(f"{name}\0{self.problems[name]}\0".encode())
        return digest.hexdigest()

    def lacks(self, name: str) -> str:
        """What to say about an exercise that is not there."""
        return f"there is no {name}" + (f"; {self.near[name]} looks like it: rename it to {name}" if name in self.near else "")


def read_submission(path: Path | str, wanted: Iterable[str], name: str | None = None,
                    stubs: Mapping[str, bytes] | None = None) -> Submission:
    """The submission at `path`. `wanted` are the file names to look for, such as "ch03_forward.py"; `stubs` the exercises
    as they were handed out, so that an untouched one is not preferred to an answer elsewhere.

    Raises FileNotFoundError if there is nothing at `path`; everything else that is wrong becomes a problem or a note.
    """
    path = Path(path)
    wanted = sorted(set(wanted))
    if not os.path.lexists(path):
        raise FileNotFoundError(f"there is no submission at {shown(path)}")
    name = name or submission_name(path)
    where = shown(os.path.abspath(path), 4000)
    notes: list[str] = []
    try:
        if path.is_dir():
            entries = _folder_entries(path, wanted, notes)
        elif fits(path.name, wanted) is not None:
            entries = [(path.name, _contents(lambda limit: _read_file(path, limit), path.name))]
        elif ARCHIVE.search(path.name):
            entries = _archive_entries(path, wanted, notes)
        else:
            raise Unreadable("is not a folder, a .zip, a .tar, .tar.gz, .tar.bz2 or .tar.xz, or an exercise file")
        files, problems, near, paths = choose(entries, wanted, stubs or {}, notes)
    except Unreadable as problem:
        what = f"the submission {problem}"
        return Submission(name, {}, dict.fromkeys(wanted, f"could not be read: {what}"), (what,), {}, where)
    if not files and not problems:
        notes.insert(0, "no exercise file was found" + "".join(f"; {target} is missing, and there is {found}"
                                                               for target, found in sorted(near.items())[:3]))
    return Submission(name, files, problems, tuple(notes[:20]), near, where, paths)


class Unreadable(Exception):
    """A file or an archive cannot be used; the message completes a sentence that begins with its name."""


def shown(path: Any, limit: int = 300) -> str:
    """A path or name for people: letters of every script as they are; whatever steers a terminal or a log, escaped."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii", "replace")
                   for c in unicodedata.normalize("NFC", str(path)))
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[:limit - 3] + "..."


def submission_name(path: Path) -> str:
    """A name for reports, from a file name: letters and digits of every script (normalised), dot, dash and underscore.

    Two paths can have one name; `bulk.named` tells them apart.
    """
    stem = path.resolve().name if path.name in ("", ".", "..") else path.name
    stem = unicodedata.normalize("NFC", re.sub(r"\.(py|md|ipynb)$", "", ARCHIVE.sub("", stem), flags=re.IGNORECASE))
    name = "".join(c if c in "._-" or unicodedata.category(c)[0] in "LMN" else "_" for c in stem).strip(".")
    name = f"_{name}" if unicodedata.combining(name[:1] or "x") else name
    return name[:100].encode()[:NAME_BYTES].decode("utf-8", "ignore").strip(".") or "submission"


# ---------------------------------------------------------------- which file is which exercise

_COPIES = r"(?:_?\(\w+\)|_copy|_kopie|_copie|_\d+)*"          # what browsers and file managers add
_PLATFORM = r"(?:copy_of_|[^/]*_\d+_\d+_|[^/]*_attempt_[\d_]+_)?"          # Canvas and Blackboard: student_1_22_NAME
_ENDINGS = {".py": r"\.(?:py|ipynb|py\.txt)", ".md": r"\.(?:md|markdown|md\.txt)", ".safetensors": r"\.safetensors"}
_NOT_OURS = re.compile(r"^(__MACOSX|\.|\._|__pycache__|node_modules|site-packages|venv|env|tests?|variants|solutions)")
_CHAPTERS = re.compile(r"(exercises|(ch|chapter|week|hw|homework|ex|exercise|sheet|part|task)[ _-]?\d+.*)", re.IGNORECASE)


def _squeezed(name: str) -> str:
    return re.sub(r"[ _+-]+", "_", unicodedata.normalize("NFKC", name).lower())


def fits(name: str, wanted: Iterable[str]) -> tuple[str, int] | None:
    """(exercise, how well) for a file name: 0 it is the name, 1 it can be taken for it, 2 it looks like it. Else None."""
    if name in wanted:
        return name, 0
    squeezed = _squeezed(name)
    if len(name) > 255 or squeezed.startswith(("test_", ".")):
        return None
    best = None
    for target in wanted:
        stem, suffix = os.path.splitext(target)
        stem = re.escape(_squeezed(stem))
        if re.fullmatch(f"{_PLATFORM}{stem}{_COPIES}{_ENDINGS[suffix]}", squeezed):
            return target, 1
        if re.search(rf"{stem}.*\.\w+$|^{re.escape(target[:4])}(?!\d).*{_ENDINGS[suffix]}$", squeezed):
            best = best or (target, 2)
    return best


Entry = tuple[str, "bytes | str"]          # a path in the submission, and its contents or what is wrong with it


def choose(entries: Iterable[Entry], wanted: Iterable[str], stubs: Mapping[str, bytes],
           notes: list[str]) -> tuple[dict[str, bytes], dict[str, str], dict[str, str], dict[str, str]]:
    """(files, problems, near, paths) of a submission: for each exercise the file in the shallowest folder that has it.

    Two folders side by side that both hold exercises may be two students: then nothing is taken, and it is said.
    """
    places: dict[str, dict[int, list[tuple[tuple[str, ...], str, bytes | str]]]] = {}
    for raw, contents in entries:
        path = PurePosixPath(raw.replace("\\", "/"))
        match = fits(path.name, wanted)
        if match is None:
            continue
        target, how = match
        base = list(path.parts[:-1])
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", raw):
            base, contents = [], "has a path in the archive that leads outside of it"
        base = [part for part in base if part != "."]
        if any(_NOT_OURS.match(part) for part in path.parts if part != "." and part != ".."):
            continue
        while base and _CHAPTERS.fullmatch(base[-1]):
            base.pop()
        places.setdefault(target, {}).setdefault(how, []).append((tuple(base), shown(path), contents))
    sides = {base for kinds in places.values() for base, _, _ in kinds.get(0, [])}
    shallow = sorted(base for base in sides if len(base) == min(map(len, sides)))
    if len(shallow) > 1:
        folders = " and ".join(shown("/".join(base), 80) + "/" for base in shallow[:3])
        notes.append(f"exercises lie in {folders}: a submission is one folder")
        return {}, {target: f"is not alone: exercises lie in {folders}; hand in one folder" for target in sorted(places)}, {}, {}
    files: dict[str, bytes] = {}
    problems: dict[str, str] = {}
    near: dict[str, str] = {}
    paths: dict[str, str] = {}
    for target in sorted(places):
        kinds = places[target]
        how = min(kinds)
        depth = min(len(base) for base, _, _ in kinds[how])
        found = [(path, contents) for base, path, contents in kinds[how] if len(base) == depth]
        if how == 2:
            near[target] = " and ".join(path for path, _ in found[:3])
            continue
        place, value = _one_of(target, found, stubs, notes)
        paths[target] = place
        if how == 1 and place:
            notes.append(f"{place} was taken for {target}")
        elif shallow and place and depth > len(shallow[0]):
            notes.append(f"{target} was found in {os.path.dirname(place)}/")
        if isinstance(value, bytes) and place.lower().endswith(".ipynb"):
            from course.grading.notebook import source_of

            value = source_of(value, notes)
        if isinstance(value, bytes):
            files[target] = value
        else:
            problems[target] = value
    return files, problems, near, {target: path for target, path in paths.items() if path}


def _one_of(target: str, found: list[tuple[str, bytes | str]], stubs: Mapping[str, bytes],
            notes: list[str]) -> tuple[str, bytes | str]:
    """The one file for an exercise among those of one folder. An untouched stub gives way to an answer."""
    if len(found) == 1:
        return found[0]
    if bad := [f for f in found if isinstance(f[1], str) and "leads outside" in f[1]]:
        return bad[0]
    if len({path for path, _ in found}) < len(found):
        return "", "is in the archive more than once"
    stub = stubs.get(target, b"").split()
    answers = [f for f in found if not (isinstance(f[1], bytes) and f[1].split() == stub)] or found[:1]
    names = " and ".join(path for path, _ in found[:3])
    if len({contents for _, contents in answers}) == 1:
        if len(answers) < len(found):
            notes.append(f"there are {names}; {answers[0][0]} was taken, since the other is as it was handed out")
        return answers[0]
    exact = [f for f in answers if f[0] == target]
    if exact:
        notes.append(f"there are {names}, and they differ; {target} was taken")
        return exact[0]
    return "", f"is there more than once, and the files differ: {names}; keep one of them"


# ---------------------------------------------------------------- folders

def _folder_entries(root: Path, wanted: list[str], notes: list[str]) -> list[Entry]:
    """The files below `root` with a fitting name, breadth first. If there is none and one archive, those in the archive."""
    found: list[Entry] = []
    archives: list[Path] = []
    level, seen, kept = [(root, "")], 0, 0
    for _ in range(MAX_DEPTH):
        below = []
        for folder, prefix in level:
            try:
                inside = sorted(os.scandir(folder), key=lambda e: e.name)
            except OSError as error:
                if folder == root:
                    raise Unreadable(f"has a folder that cannot be listed: {error.strerror}") from error
                notes.append(f"the folder {shown(prefix)} cannot be listed")
                continue
            seen += len(inside)
            for entry in inside:
                relative = prefix + entry.name
                if fits(entry.name, wanted) is not None:
                    contents = _contents(lambda limit, path=folder / entry.name: _read_file(path, limit), entry.name)  # type: ignore[misc]
                    kept += len(contents)
                    found.append((relative, contents if kept <= MAX_KEPT else "comes with too many others of that name"))
                elif entry.is_symlink():
                    if entry.name == "exercises":
                        raise Unreadable("has a link in place of the folder exercises/")
                elif entry.is_dir(follow_symlinks=False):
                    if not _NOT_OURS.match(entry.name):
                        below.append((folder / entry.name, f"{relative}/"))
                elif ARCHIVE.search(entry.name):
                    archives.append(folder / entry.name)
                elif OTHER_ARCHIVE.search(entry.name):
                    notes.append(f"{shown(relative)} cannot be unpacked here; hand in a .zip")
        level = below
        if seen > MAX_ENTRIES:
            notes.append(f"only the first {seen} files were looked at")
            break
    if not found and len(archives) == 1:
        notes.append(f"the exercises are in {shown(archives[0].name)}")
        return _archive_entries(archives[0], wanted, notes)
    if not found and archives:
        notes.append("there are several archives: " + ", ".join(shown(a.name, 80) for a in archives[:3]) + "; hand in one")
    return found


def _limit(name: str) -> int:
    name = name.lower()
    return MAX_NOTEBOOK if name.endswith(".ipynb") else MAX_WEIGHTS if name.endswith(".safetensors") else MAX_FILE


def _contents(read: Any, name: str) -> bytes | str:
    """What `read(limit)` gives, or what is wrong with it."""
    try:
        data = read(_limit(name))
    except Unreadable as problem:
        return str(problem)
    if b"\0" in data and not name.lower().endswith(".safetensors"):
        return "is not text (it holds zero bytes; if it is UTF-16, save it as UTF-8)"
    return data


def _read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """The bytes of a regular file of at most `limit`, never following a link and never waiting for a pipe."""
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
        if status.st_size > limit:
            raise Unreadable(f"has {status.st_size} bytes; at most {limit} are read")
        data = b""
        while len(data) <= limit and (piece := os.read(fd, limit + 1 - len(data))):
            data += piece
        return _whole(data, limit)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)


def _whole(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise Unreadable(f"has more than the {limit} bytes that are read")
    return data


# ---------------------------------------------------------------- archives

Member = tuple[str, "IO[bytes] | str"]          # a path in the archive, and its contents or what is wrong with it


def _archive_entries(path: Path, wanted: list[str], notes: list[str]) -> list[Entry]:
    command = [sys.executable, "-I", "-S", "-B", __file__, str(path.absolute()), json.dumps(wanted)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=UNPACK_SECONDS, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise Unreadable("takes more time or memory to unpack than exercises need") from error
    if "unreadable" in found:
        raise Unreadable(found["unreadable"])
    notes += [shown(note) for note in found["notes"]]
    return [(name, text.encode("latin-1") if text is not None else problem) for name, text, problem in found["entries"]]


def _unpack(path: Path, wanted: list[str]) -> dict[str, Any]:
    """What the process for an archive says about it, as data."""
    entries: list[tuple[str, str | None, str]] = []
    notes: list[str] = []
    kept = 0
    try:
        for name, contents in _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path):
            last = PurePosixPath(name.replace("\\", "/")).name
            if fits(last, wanted) is None:
                if ARCHIVE.search(last) and len(notes) < 5:
                    notes.append(f"{name} is an archive in the archive and was not unpacked; hand in one archive of files")
                continue
            value = contents if isinstance(contents, str) else _member(contents, last)
            kept += len(value)
            if kept > MAX_KEPT or len(entries) > 2000:
                return {"unreadable": "holds too many files with the names of exercises"}
            entries.append((name, None, value) if isinstance(value, str) else (name, value.decode("latin-1"), ""))
    except Unreadable as problem:
        return {"unreadable": str(problem)}
    except MemoryError:
        return {"unreadable": "takes more memory to unpack than exercises need"}
    except Exception as error:
        return {"unreadable": f"cannot be unpacked: {type(error).__name__}"}
    return {"entries": entries, "notes": notes}


def _member(stream: IO[bytes], name: str) -> bytes | str:
    def read(limit: int) -> bytes:
        return _whole(stream.read(limit + 1), limit)

    try:
        return _contents(read, name)
    except Exception as error:          # every way of packing has errors of its own
        return f"cannot be unpacked: {type(error).__name__}"


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


def _zip_members(path: Path) -> Iterator[Member]:
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
                    elif info.file_size > _limit(info.filename):
                        yield info.filename, f"has {info.file_size} bytes; at most {_limit(info.filename)} are read"
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


def _tar_members(path: Path) -> Iterator[Member]:
    with _open_archive(path) as handle:
        magic = handle.read(4)
        handle.seek(0)
        stream: IO[bytes] = handle
        if magic[:2] == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=handle)      # type: ignore[assignment]
        elif magic[:3] == b"BZh":
            stream = bz2.BZ2File(handle)      # type: ignore[assignment]
        elif magic == b"\xfd7zX":
            stream = lzma.LZMAFile(handle)      # type: ignore[assignment]  # noqa: SIM115
        try:
            with tarfile.open(fileobj=_Counted(stream), mode="r|") as archive:      # type: ignore[call-overload]
                for number, info in enumerate(archive):
                    if number > MAX_ENTRIES:
                        raise Unreadable(f"has more than {MAX_ENTRIES} entries")
                    if info.isdir():
                        continue
                    if not info.isreg():
                        yield info.name, "is a link or a device in the archive"
                    elif info.size > _limit(info.name):
                        yield info.name, f"has {info.size} bytes; at most {_limit(info.name)} are read"
                    elif (member := archive.extractfile(info)) is not None:
                        yield info.name, member
        except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, RecursionError) as error:
            raise Unreadable(f"is not a readable tar file: {error}") from error


if __name__ == "__main__":
    if sys.platform.startswith("linux"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (UNPACK_MEMORY, UNPACK_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (UNPACK_SECONDS // 3, UNPACK_SECONDS // 3))
    print(json.dumps(_unpack(Path(sys.argv[1]), json.loads(sys.argv[2]))))
