"""What the written tasks ask for, as it travels in the student edition: unreadable at a glance, and in another order for everyone.

A sealed file has one line for each task: its id, and its entry compressed and added to a stream of bytes that SHAKE-256 makes of
the id. That keeps a key from being read by accident, by a search through the folder, or by an assistant that was pointed at it. It
keeps nothing from somebody who wants to know: the checks run on the student's machine and have to open it, with this very file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

HEAD = "# Sealed by `course release`; course/grading/sealed.py opens it."


def seal(entries: Mapping[str, Any]) -> str:
    """The text of a sealed file. `entries`: task id -> plain data."""
    lines = [HEAD]
    for task, entry in entries.items():
        data = zlib.compress(json.dumps(entry, ensure_ascii=False, sort_keys=True).encode(), 9)
        lines.append(f"{task} {base64.b85encode(_added(data, task)).decode()}")
    return "\n".join(lines) + "\n"


def unseal(text: str) -> dict[str, Any]:
    """What `seal` was given. Raises ValueError for a line that is damaged, naming its task."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        task, _, body = line.partition(" ")
        try:
            found[task] = json.loads(zlib.decompress(_added(base64.b85decode(body), task)))
        except (ValueError, zlib.error) as error:
            raise ValueError(f"the sealed entry of {task[:40]} is damaged ({error}); restore the file as it was handed out") from None
    return found


def _added(data: bytes, task: str) -> bytes:
    stream = hashlib.shake_256(task.encode()).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


# ------------------------------------------------------------------------------------------------------ another order


def order(task: str, options: list[str], word: str) -> dict[str, str]:
    """option as it is printed -> the letter it gets in the edition of this word; the same for the same word."""
    drawn = sorted(options, key=lambda option: hashlib.sha256(f"{word}\0{task}\0{option}".encode()).digest())
    return dict(zip(drawn, sorted(options), strict=True))


def permuted(entries: Mapping[str, Any], word: str) -> dict[str, Any]:
    """The entries with the lettered options of every choice in the order of `word`."""
    out = dict(entries)
    for task, entry in entries.items():
        if _lettered(entry):
            letters = order(task, list(entry["notes"]), word)
            out[task] = {**entry, "key": sorted(letters[option] for option in entry["key"]),
                         "notes": dict(sorted((letters[option], note) for option, note in entry["notes"].items()))}
    return out


def permuted_text(text: str, entries: Mapping[str, Any], word: str) -> str:
    """An exercise file with the same lists of options in the same order. Raises ValueError if a list is not found."""
    for task, entry in entries.items():
        if not _lettered(entry) or f"### {task}\n" not in text:
            continue
        start = text.index(f"### {task}\n")
        end = text.find("\n```", start)
        items = list(re.finditer(r"(?ms)^- \*\*([A-Z])\.\*\* (.*?)(?=^- \*\*[A-Z]\.|^\s*$|\Z)", text[start:end]))
        if sorted(item[1] for item in items) != sorted(entry["notes"]):
            raise ValueError(f"the options of {task} are not listed as - **A.** ... below its heading")
        letters = order(task, list(entry["notes"]), word)
        lines = sorted(f"- **{letters[item[1]]}.** {item[2].rstrip()}\n" for item in items)
        text = text[:start + items[0].start()] + "".join(lines) + text[start + items[-1].end():]
    return text


def _lettered(entry: Any) -> bool:
    return entry.get("kind") == "choice" and all(re.fullmatch("[A-Z]", option) for option in entry["notes"])
