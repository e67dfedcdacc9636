"""What to say to a name that nobody knows: the nearest one that somebody does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, *known: Iterable[str], count: int = 1, cutoff: float = 0.4) -> str:
    """`, did you mean 'ddim'?` with at most `count` names like `word`, from the first of the lists that has any; `.` if none has.

    Both end the sentence that complains about `word`.

    cutoff: how alike, from 0 (anything) to 1 (the same), as `difflib.get_close_matches` measures it; capitals do not count.
    """
    for names in known:
        folded = {name.lower(): name for name in reversed(list(names))}
        if near := difflib.get_close_matches(str(word)[:100].lower(), folded, n=count, cutoff=cutoff):
            return f", did you mean {' or '.join(repr(folded[name]) for name in near)}?"
    return "."
