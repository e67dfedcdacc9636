"""Written answers: fenced blocks with an id in a Markdown file.

    ```latex ch01.q1
    \\log p(x) = ...
    ```

The file is data and is never run. Lines that begin with `%` are remarks; a block with nothing else is not an answer yet.
"""

from __future__ import annotations

import re

from course.grading.errors import CheckFailed

MAX_ANSWER = 40_000          # characters; a page of mathematics has about 3000, the rows under a write-up up to 24,000
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*(.*)$")


def read_answers(text: str, name: str = "the answer file") -> dict[str, str]:
    """The answers in a Markdown text, by id; those left empty come out as "".

    Raises CheckFailed("unreadable") for an unclosed block, an id used twice, or an answer above MAX_ANSWER characters.
    """
    answers: dict[str, str] = {}
    fence = identity = None
    start, lines = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if fence is None:
            if match and (ids := re.findall(r"ch\d\d\.\w+", match[2])):
                fence, identity, start, lines = match[1], ids[0], number, []
            elif match:
                fence, identity, start, lines = match[1], None, number, []
        elif match and not match[2] and match[1].startswith(fence):
            if identity is not None:
                if identity in answers:
                    raise CheckFailed("unreadable", f"{name}, line {start}: the id {identity} is used twice")
                answer = "\n".join(lines).strip()
                if len(answer) > MAX_ANSWER:
                    raise CheckFailed("unreadable", f"{name}: the answer {identity} has {len(answer)} characters; "
                                                    f"at most {MAX_ANSWER} are read")
                answers[identity] = answer
            fence = None
        elif not line.lstrip().startswith("%"):
            lines.append(line)
    if fence is not None and identity is not None:
        raise CheckFailed("unreadable", f"{name}, line {start}: the block {identity} is not closed; end it with {fence}")
    return answers
