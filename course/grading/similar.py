"""Hand-ins that resemble each other: a hint for a conversation, never a verdict.

Most of a right answer is given by the exercise, so what many share says nothing. A file becomes a series of tokens with the
names forgotten; of its runs of RUN tokens those count that at most a few of the class have; two files are alike by the share of
these that they have in common (Jaccard; fingerprints of runs after Schleimer, Wilkerson and Aiken, "Winnowing", SIGMOD 2003).
"""

from __future__ import annotations

import collections
import keyword
import re
import zlib
from collections.abc import Iterable, Mapping

import numpy as np

RUN = 12          # tokens
RARE = 0.05       # of the class, and at least RARE_COUNT hand-ins, may share a run that still counts
RARE_COUNT = 4
LEAST = 25        # rare runs a file must have to be compared at all
ALIKE = 0.5
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|[^\s\w]")
_QUIET = re.compile(r'("""|\'\'\')[\s\S]*?\1|#[^\n]*')
_KEPT = frozenset(keyword.kwlist)


def identical(hashes: Mapping[str, Mapping[str, str]], handed_out: Mapping[str, str] = {}) -> list[tuple[str, list[str]]]:
    """(file, names) for every file that several hand-ins have byte for byte. `hashes` name -> file -> SHA-256; those
    in `handed_out` are the untouched exercises."""
    same: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for name, files in hashes.items():
        for file, digest in files.items():
            if handed_out.get(file) != digest:
                same[file, digest].append(name)
    return sorted(((file, sorted(names)) for (file, _), names in same.items() if len(names) > 1), key=lambda f: (-len(f[1]), f))


def alike(files: Mapping[str, bytes]) -> list[tuple[float, str, str, int]]:
    """(share, one, other, rare runs in common), the most alike first, for the versions of one exercise file by name."""
    runs = {name: _runs(data) for name, data in files.items()}
    count = collections.Counter(run for found in runs.values() for run in found)
    most = max(RARE_COUNT, int(RARE * len(files)))
    rare = {name: frozenset(run for run in found if count[run] <= most) for name, found in runs.items()}
    rare = {name: found for name, found in rare.items() if len(found) >= LEAST}
    where: dict[int, list[str]] = collections.defaultdict(list)
    for name in sorted(rare):
        for run in rare[name]:
            where[run].append(name)
    common: collections.Counter[tuple[str, str]] = collections.Counter()
    for names in where.values():
        common.update((a, b) for n, a in enumerate(names) for b in names[n + 1:])
    found = [(shared / (len(rare[a]) + len(rare[b]) - shared), a, b, shared) for (a, b), shared in common.items() if shared >= LEAST]
    return sorted((entry for entry in found if entry[0] >= ALIKE), key=lambda e: (-e[0], e[1:]))


def _runs(data: bytes) -> frozenset[int]:
    """Fingerprints of all runs of tokens in a Python file, names and layout forgotten."""
    text = _QUIET.sub(" ", data.decode("utf-8", "replace"))
    ids = np.fromiter((_number(token) for token in _TOKEN.findall(text)), dtype=np.uint64)
    if len(ids) < RUN:
        return frozenset()
    windows = np.lib.stride_tricks.sliding_window_view(ids, RUN)
    powers = np.power(np.uint64(1_000_003), np.arange(RUN, dtype=np.uint64))
    return frozenset((windows * powers).sum(1, dtype=np.uint64).tolist())


def _number(token: str, cache: dict[str, int] = {}) -> int:      # noqa: B006
    found = cache.get(token)
    if found is None:
        word = "name" if (token[0].isalpha() or token[0] == "_") and token not in _KEPT else token
        found = cache[token] = zlib.crc32(word.encode())
        if len(cache) > 100_000:
            cache.clear()
    return found


def among(submissions: Iterable[tuple[str, Mapping[str, bytes]]]) -> list[tuple[float, str, str, str]]:
    """(share, file, one, other) over all exercise files of a class; bytes that several have are compared once, as one."""
    by_file: dict[str, dict[str, bytes]] = collections.defaultdict(dict)
    seen: set[tuple[str, bytes]] = set()
    for name, files in submissions:
        for file, data in files.items():
            if file.endswith(".py") and (file, data) not in seen:
                seen.add((file, data))
                by_file[file][name] = data
    return sorted(((share, file, a, b) for file, versions in by_file.items() for share, a, b, _ in alike(versions)),
                  key=lambda e: (-e[0], e[1:]))
