"""Collect git repositories as they stood at a deadline, running nothing of theirs and not believing their clocks.

    course collect submissions/* https://github.com/class/hw-alice --out collected          # now, and again whenever you like
    course collect submissions/* --out collected --deadline '2026-11-30 23:59 +0100'

A repository in a folder is not used as one: its hooks and its configuration are the student's. Only its objects and refs,
which are data, are copied into a repository of our own. Each run notes which commit it found and when, by this machine's
clock. At a deadline the last commit that was found before it counts, or the last that GitHub says was pushed before it
(`--pushes`, a file as its activity API gives it). Dates inside commits are whatever the student typed: they count only with
`--trust-commit-dates`, and then it is said. What counts becomes NAME.tar, which `course grade` reads.
"""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course.grading.submission import MAX_ENTRIES, MAX_FILE, MAX_NOTEBOOK, fits, shown, submission_name
from course.grading.writers import save

MAX_REPOSITORY = 1 << 30          # bytes of objects
SECONDS = 300                     # for one git command
URL = re.compile(r"^(https?|ssh|git|file)://|^[\w.-]+@[\w.-]+:")
_OBJECT = re.compile(r"objects/([0-9a-f]{2}/[0-9a-f]{38}([0-9a-f]{24})?|pack/pack-[0-9a-f]+\.pack)")
_REF = re.compile(r"(HEAD|packed-refs|refs/(heads|tags|remotes)/[\w./+@-]+)")
_CONFIG = """[core]
    hooksPath = /dev/null
    fsmonitor = false
    symlinks = false
[transfer]
    fsckObjects = true
[protocol]
    allow = never
[protocol "file"]
    allow = always
[protocol "https"]
    allow = always
[protocol "http"]
    allow = always
[protocol "ssh"]
    allow = always
[gc]
    auto = 0
"""


class NotCollected(Exception):
    """Nothing can be taken from this source; the message says why."""


@dataclass(frozen=True)
class Collected:
    """What was taken from one source. `clock` says whose word the time is: ours, the server's or the student's."""

    name: str
    source: str
    commit: str = ""
    time: str = ""
    clock: str = ""
    note: str = ""


def deadline_of(text: str) -> datetime.datetime:
    """A moment with its time zone, such as '2026-11-30 23:59 +0100'. Raises ValueError without one."""
    for form in ("%Y-%m-%d %H:%M %z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"):
        try:
            return datetime.datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    raise ValueError(f"a deadline is written '2026-11-30 23:59 +0100', with its time zone; got {text!r}")


def collect(sources: Iterable[str], out: Path, wanted: Iterable[str], deadline: datetime.datetime | None = None,
            pushes: Path | None = None, trust_dates: bool = False, now: datetime.datetime | None = None) -> list[Collected]:
    """Take what counts from each source into `out`/NAME.tar; the list is also in `out`/collected.csv.

    `now` is this machine's time unless given. Raises ValueError for a file of pushes that cannot be read.
    """
    moment = now or datetime.datetime.now(datetime.UTC)
    pushed = _pushes(pushes) if pushes else {}
    store = out / ".collected"
    store.mkdir(parents=True, exist_ok=True)
    result: list[Collected] = []
    taken: dict[str, str] = {}
    for source in sources:
        name = submission_name(Path(source.rstrip("/").removesuffix(".git")))
        if taken.setdefault(name.casefold(), source) != source:
            result.append(Collected(name, shown(source), note=f"not collected: {shown(taken[name.casefold()])} has the same name"))
            continue
        try:
            result.append(_one(name, source, out, store, sorted(wanted), deadline, pushed, trust_dates, moment))
        except NotCollected as problem:
            (out / f"{name}.tar").unlink(missing_ok=True)          # of an earlier run: it no longer counts
            result.append(Collected(name, shown(source), note=f"not collected: {problem}"))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\r\n")
    rows.writerow(["name", "source", "commit", "time", "clock", "note"])
    for entry in result:
        rows.writerow([f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in vars(entry).values()])
    save(out / "collected.csv", table.getvalue())
    return result


def _one(name: str, source: str, out: Path, store: Path, wanted: list[str], deadline: datetime.datetime | None,
         pushed: dict[str, datetime.datetime], trust_dates: bool, now: datetime.datetime) -> Collected:
    with tempfile.TemporaryDirectory(prefix="collect-") as folder:
        work = Path(folder)
        (work / "config").write_text(_CONFIG)
        mirror = store / f"{name}.git"
        if not mirror.exists():
            _git(work, "init", "--quiet", "--bare", "--template=", str(mirror))
        (mirror / "config").write_text("[core]\n    bare = true\n    repositoryformatversion = 0\n")
        where = source if URL.match(source) else str(_copied(Path(source), work))
        _git(work, "-C", str(mirror), "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force", "--no-recurse-submodules",
             where, "HEAD:refs/now")
        tip = _git(work, "-C", str(mirror), "rev-parse", "--verify", "--quiet", "refs/now^{commit}").strip()
        seen = _seen(work, mirror)
        if not seen or seen[-1][1] != tip:
            stamp = now.astimezone(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
            _git(work, "-C", str(mirror), "update-ref", f"refs/seen/{stamp}", tip)
            seen.append((now, tip))
        commit, time, clock, note = _which(work, mirror, tip, seen, deadline, pushed, trust_dates)
        _export(work, mirror, commit, out / f"{name}.tar", wanted)
    return Collected(name, shown(source), commit, time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), clock, note)


def _which(work: Path, mirror: Path, tip: str, seen: list[tuple[datetime.datetime, str]], deadline: datetime.datetime | None,
           pushed: dict[str, datetime.datetime], trust_dates: bool) -> tuple[str, datetime.datetime, str, str]:
    """(commit, time, whose clock, note) of what counts."""
    if deadline is None:
        return seen[-1][1], seen[-1][0], "ours", ""
    late = "" if seen[-1][0] <= deadline else "later work is there and does not count"
    known = {line.split()[0] for line in _git(work, "-C", str(mirror), "rev-list", "--max-count=100000", tip).splitlines()}
    server = sorted((time, commit) for commit, time in pushed.items() if commit in known and time <= deadline)
    ours = [(time, commit) for time, commit in seen if time <= deadline]
    if server and (not ours or server[-1][0] >= ours[-1][0]):
        return server[-1][1], server[-1][0], "server", late if server[-1][1] != tip else ""
    if ours:
        return ours[-1][1], ours[-1][0], "ours", late
    dates = []
    for line in _git(work, "-C", str(mirror), "rev-list", "--first-parent", "--max-count=100000", "--timestamp", tip).splitlines():
        stamp, commit = line.split()
        dates.append((datetime.datetime.fromtimestamp(min(int(stamp), 1 << 36), datetime.UTC), commit))
    before = next(((time, commit) for time, commit in dates if time <= deadline), None)
    if before is None:
        raise NotCollected("there is nothing from before the deadline, not even by the student's own clock")
    if not trust_dates:
        raise NotCollected(f"nothing shows that it was there before the deadline: it was first seen {_minute(seen[0][0])}. Its commits "
                           f"say {_minute(before[0])}, which the student can set; --trust-commit-dates believes that, --pushes FILE "
                           "asks the server")
    back = any(parent[0] > child[0] for child, parent in itertools.pairwise(dates))
    return before[1], before[0], "student", ("the only evidence is the date in the commit"
                                             + (", and dates go back in its history" if back else ""))


def _minute(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _seen(work: Path, mirror: Path) -> list[tuple[datetime.datetime, str]]:
    """What earlier runs found, in the order of time."""
    lines = _git(work, "-C", str(mirror), "for-each-ref", "--format=%(refname) %(objectname)", "refs/seen/").splitlines()
    found = [line.split() for line in lines]
    return sorted((datetime.datetime.strptime(ref.split("/")[-1], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC), commit)
                  for ref, commit in found)


def _pushes(path: Path) -> dict[str, datetime.datetime]:
    """Commit -> the moment GitHub received it, from the output of `gh api repos/OWNER/NAME/activity` (one or many, joined)."""
    try:
        text, decoder = path.read_text(encoding="utf-8-sig").strip(), json.JSONDecoder()
        found: dict[str, datetime.datetime] = {}
        while text:
            entries, end = decoder.raw_decode(text)
            text = text[end:].strip()
            for entry in entries:
                time = datetime.datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00"))
                found[entry["after"]] = min(time, found.get(entry["after"], time))
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{shown(path)} is not what `gh api repos/OWNER/NAME/activity` prints: {error}") from error


# ---------------------------------------------------------------- a repository of somebody else's, as data

def _copied(path: Path, work: Path) -> Path:
    """The objects and refs of the repository at `path` in a repository of our own: no hook, no setting, no link of theirs."""
    root = path if (path / "objects").is_dir() and (path / "HEAD").is_file() else path / ".git"
    if root.is_symlink() or path.is_symlink() or not root.is_dir():
        raise NotCollected("is not a git repository with its own folder .git (a link or a pointer to another place is not followed)"
                           if os.path.lexists(root) else "there is no git repository here; grade it as it is")
    if (root / "objects" / "info" / "alternates").exists() or (root / "commondir").exists():
        raise NotCollected("its objects lie in another repository")
    files, size, count, refs = [], 0, 0, []
    for folder, folders, names in os.walk(root, followlinks=False):
        relative = Path(folder).relative_to(root)
        if any((Path(folder) / name).is_symlink() for name in (*folders, *names)):
            raise NotCollected(f"there is a link in {shown(relative)} of its .git")
        count += len(names)
        for name in names:
            inside = (relative / name).as_posix()
            if _OBJECT.fullmatch(inside) or (_REF.fullmatch(inside) and ".." not in inside):
                file = root / inside
                if not file.is_file():
                    raise NotCollected(f"{shown(inside)} of its .git is not a file")
                size += file.stat().st_size
                files.append(inside)
                refs += [inside] if _REF.fullmatch(inside) else []
        if size > MAX_REPOSITORY or count > 20 * MAX_ENTRIES:
            raise NotCollected(f"has more than {MAX_REPOSITORY >> 20} MB or {20 * MAX_ENTRIES} files of git objects")
    if any((root / ref).stat().st_size > (1 << 20) for ref in refs):
        raise NotCollected("has refs of more than a megabyte")
    text = "".join((root / ref).read_text(encoding="utf-8", errors="replace") for ref in refs)
    target = work / "copy.git"
    kind = "sha256" if re.search(r"\b[0-9a-f]{64}\b", text) else "sha1"
    _git(work, "init", "--quiet", "--bare", "--template=", f"--object-format={kind}", str(target))
    for inside in files:
        place = target / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / inside, place, follow_symlinks=False)
    for pack in target.glob("objects/pack/*.pack"):          # the index is made anew: theirs could lie about what is where
        _git(work, "-C", str(target), "index-pack", "--strict", str(pack))
    return target


def _export(work: Path, mirror: Path, commit: str, path: Path, wanted: list[str]) -> None:
    """The files of a commit with a fitting name, as a tar, read object by object: no checkout, no filters, no attributes."""
    listing = _git(work, "-C", str(mirror), "ls-tree", "-r", "-z", "--long", "--full-tree", commit)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as handle, tarfile.open(fileobj=handle, mode="w") as archive:
            for entry in [e for e in listing.split("\0") if e][:MAX_ENTRIES]:
                head, name = entry.split("\t", 1)
                mode, kind, blob, size = head.split()
                last = name.rpartition("/")[2]
                limit = MAX_NOTEBOOK if last.lower().endswith(".ipynb") else MAX_FILE
                if kind != "blob" or mode not in ("100644", "100755") or fits(last, wanted) is None or int(size) > limit:
                    continue
                data = _git(work, "-C", str(mirror), "cat-file", "blob", blob, text=False)
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _git(work: Path, *arguments: str, text: bool = True) -> Any:
    """The output of a git command under our configuration only. Raises NotCollected with what git says."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": str(work / "config"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
                    "GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C.UTF-8", "GIT_ATTR_NOSYSTEM": "1",
                    "GIT_PROTOCOL_FROM_USER": "0"}
    try:
        done = subprocess.run(["git", *arguments], cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=SECONDS, check=True)
    except subprocess.TimeoutExpired:
        raise NotCollected(f"git {arguments[-1]} took more than {SECONDS} seconds") from None
    except subprocess.CalledProcessError as error:
        said = shown(error.stderr.decode("utf-8", "replace").strip().replace("\n", " "), 300)
        raise NotCollected(said or "git finds no commit there") from error
    except FileNotFoundError:
        raise OSError("git is not installed; `course collect` needs it") from None
    return done.stdout.decode("utf-8", "surrogateescape") if text else done.stdout


CLOCKS = {"ours": "this machine's", "server": "the server's", "student": "the student's own"}


def command(sources: list[str], out: Path, deadline: str | None, pushes: Path | None, trust_dates: bool) -> int:
    """`course collect`: 0 everything was collected, 1 something was not."""
    from course.grading.manifest import load_tasks, wanted_files

    found = collect(sources, out, wanted_files(load_tasks()), deadline_of(deadline) if deadline else None, pushes, trust_dates)
    for entry in found:
        said = [f"{entry.commit[:10]}, {entry.time} by {CLOCKS[entry.clock]} clock"] if entry.commit else []
        print(f"{entry.name}: {'; '.join([*said, *filter(None, [entry.note])])}", file=sys.stderr)
    missing = sum(not entry.commit for entry in found)
    print(f"{len(found) - missing} of {len(found)} collected; next: course grade {shown(out)}/*.tar", file=sys.stderr)
    return 1 if missing else 0
