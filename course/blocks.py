r"""What the executed blocks of the pages print, kept until something that they were made from changes.

The ```` ```python exec="on" ```` blocks of a page run in order, in a process of their own, several pages at a time. While they run, every
file and folder of the checkout that they ask for is written down: modules, weights, tables, the sources they show. A page runs again when
its blocks, one of these files, or the installed libraries are no longer the same; otherwise the site shows what was kept.

`python -m course.site` runs the pages that need it before MkDocs starts. As a Markdown extension (`course.blocks` in mkdocs.yml) this
module then stands between markdown-exec and Python. A block that is not kept, because nothing ran before the build or the page is being
edited, runs in the build, after the blocks of its page that had been skipped.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import markdown_exec
from markdown import Extension, Markdown

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".cache" / "blocks"
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})python(?P<options>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$",
                   re.M | re.S)
# Of the checkout: no caches, and nothing that is made.
OURS = re.compile(r"(?!\.|(?:.*/)?(?:__pycache__|[^/]*\.egg-info)(?:/|$)|(?:site|site-next|out)(?:/|$))")
formatters: Any = markdown_exec.formatters
theirs = formatters["python"]


def executed(text: str) -> list[tuple[str, str]]:
    """(session, code) of every block of a page's Markdown that runs when the site is built."""
    found = ((re.search(r'session="([^"]+)"', block["options"]), block) for block in FENCE.finditer(text)
             if re.search(r'exec="(true|1|yes|on)"', block["options"]))
    return [(session[1] if session else "", _plain(block["body"])) for session, block in found]


def _plain(code: str) -> str:
    return textwrap.dedent(code).strip("\n")


# ------------------------------------------------------------------------------------------------ what was kept, and whether it holds


@cache
def _libraries() -> str:
    names = sorted({f"{each.metadata['Name']} {each.version}" for each in importlib.metadata.distributions()})    # ours may be found twice
    return hashlib.sha256(json.dumps([sys.version, names]).encode()).hexdigest()


@cache
def _digest(name: str) -> str:
    """A file's content, a folder's names, or that there is no such thing."""
    path = ROOT / name
    if path.is_dir():
        return "folder " + hashlib.sha256("\n".join(sorted(filter(OURS.match, os.listdir(path)))).encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def _file(page: Path) -> Path:
    return KEPT / (page.resolve().relative_to(ROOT).as_posix().replace("/", ".") + ".json")


def kept(page: Path) -> list[str] | None:
    """What each block of a page prints, if that is still so; else None."""
    try:
        about = json.loads(_file(page).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = (about["blocks"] == [list(each) for each in executed(page.read_text(encoding="utf-8"))] and about["libraries"] == _libraries()
            and all(_digest(name) == digest for name, digest in about["made of"].items()))
    return about["prints"] if same else None


def _seconds(page: Path) -> float:
    """How long a page took when it ran last; unknown ones are taken for long."""
    try:
        return json.loads(_file(page).read_text(encoding="utf-8"))["seconds"]
    except (OSError, ValueError):
        return 1e9 + page.stat().st_size


# ------------------------------------------------------------------------------------------------ running


def watched() -> Callable[[], set[str]]:
    """Watch this process from now on; the function returned names all of the checkout that it has asked for, modules included."""
    seen: set[str] = set()

    def note(path: Any) -> None:
        if isinstance(path, (str, os.PathLike)):
            name = os.path.relpath(os.path.join(os.getcwd(), path), ROOT)
            if not name.startswith("..") and OURS.match(name):
                seen.add(name)

    def heard(event: str, arguments: tuple) -> None:
        if event in {"open", "os.listdir", "os.scandir"} and arguments:
            note(arguments[0])

    def looked(path: Any, *rest: Any, **options: Any) -> os.stat_result:          # exists() and is_file() open nothing
        note(path)
        return stat(path, *rest, **options)

    sys.addaudithook(heard)
    stat, os.stat = os.stat, looked

    def names() -> set[str]:
        os.stat = stat
        for module in list(sys.modules.values()):
            if module.__name__ not in {"course.site", "__main__"} and os.path.isabs(path := getattr(module, "__file__", None) or ""):
                note(path)
        return set(seen)

    return names


def run(page: Path) -> None:
    """Run a page's blocks in this process, which should be a fresh one, and keep what they print."""
    blocks = executed(page.read_text(encoding="utf-8"))
    began, names = time.time(), watched()
    os.chdir(ROOT)
    prints = [str(theirs(code=code, md=None, html=True, session=session)) for session, code in blocks]
    made_of = {name: _digest(name) for name in sorted(names())}
    if late := [name for name in made_of if (ROOT / name).is_file() and (ROOT / name).stat().st_mtime > began]:
        raise RuntimeError(f"{', '.join(late)} changed while {page.name} ran: once more, please")
    about = {"blocks": blocks, "libraries": _libraries(), "seconds": round(time.process_time(), 2), "prints": prints, "made of": made_of}
    from course.pictures import write_whole  # only now: a page that does not use it is not made of it

    write_whole(_file(page), lambda file: file.write_text(json.dumps(about), encoding="utf-8"))


def waiting(docs: Path = ROOT / "docs") -> list[tuple[float, Path]]:
    """(about how many seconds, page) for every page that has to run."""
    pages = [page for page in sorted(docs.rglob("*.md")) if executed(page.read_text(encoding="utf-8"))]
    return [(_seconds(page), page) for page in pages if kept(page) is None]


# ------------------------------------------------------------------------------------------------ in the build


class Shown:
    """Stands in for markdown-exec's formatter of Python: what was kept where it was, else theirs."""

    def __init__(self) -> None:
        self.known: dict[str, list[tuple[str, str]]] | None = None          # session -> code and what it prints
        self.at: dict[str, int] = defaultdict(int)
        self.live: set[str] = set()

    def __call__(self, *, code: str, session: str | None = None, **options: Any) -> Any:
        if self.known is None:
            self.known = dict(_all_kept())
        blocks = self.known.get(session or "", [])
        if session and session not in self.live and blocks:
            plain = _plain(code)
            at = self.at[session]
            if (at == len(blocks) or plain != blocks[at][0]) and plain == blocks[0][0]:
                at = 0                                                      # the page is built once more
            if at < len(blocks) and plain == blocks[at][0]:
                self.at[session], printed = at + 1, blocks[at][1]
                return markdown_exec.base_format(language="python", run=lambda *_, **__: printed, code=code, session=session, **options)
            self.live.add(session)
            for earlier, _ in blocks[:at]:
                theirs(code=earlier, md=None, html=True, session=session)
        return theirs(code=code, session=session, **options)


def _all_kept(docs: Path = ROOT / "docs") -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(session, its blocks and what they print) of every page whose blocks are all kept and share one session of their own."""
    for page in sorted(docs.rglob("*.md")):
        blocks = executed(page.read_text(encoding="utf-8"))
        sessions = {session for session, _ in blocks}
        if len(sessions) == 1 and "" not in sessions and (prints := kept(page)):
            yield sessions.pop(), [(code, text) for (_, code), text in zip(blocks, prints, strict=True)]


class KeptBlocks(Extension):
    """For mkdocs.yml: from here on markdown-exec shows what was kept."""

    def extendMarkdown(self, md: Markdown) -> None:
        if formatters["python"] is theirs:
            formatters["python"] = Shown()


def makeExtension(**options: Any) -> Extension:
    return KeptBlocks(**options)
