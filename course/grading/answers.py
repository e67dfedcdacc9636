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
    answers, problems = _blocks(text, name)
    for problem in problems.values():
        raise CheckFailed("unreadable", problem)
    return answers


def read_answer(text: str, identity: str, name: str = "the answer file") -> str:
    """One answer, "" if it is empty or missing. Raises CheckFailed("unreadable") for what is wrong with its own block."""
    answers, problems = _blocks(text, name)
    if identity in problems:
        raise CheckFailed("unreadable", problems[identity])
    return answers.get(identity, "")


def _blocks(text: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The answers and what is wrong, each by id."""
    answers: dict[str, str] = {}
    problems: dict[str, str] = {}
    fence = identity = None
    start = 0
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        ids = re.findall(r"ch\d\d\.\w+", match[2]) if match else []
        if fence is None or (identity is not None and ids):
            if fence is not None:          # the next answer begins, so this one was not ended
                problems[str(identity)] = f"{name}, line {start}: the block {identity} is not closed; end it with {fence}"
            if match:
                fence, identity, start, lines = match[1], (ids[0] if ids else None), number, []
        elif match and not match[2] and match[1].startswith(fence):
            if identity is not None:
                answer = "\n".join(lines).strip()
                if identity in answers:
                    problems[identity] = f"{name}, line {start}: the id {identity} is used twice"
                elif len(answer) > MAX_ANSWER:
                    problems[identity] = (f"{name}: the answer {identity} has {len(answer)} characters; "
                                          f"at most {MAX_ANSWER} are read")
                answers[identity] = answer
            fence = None
        elif not line.lstrip().startswith("%"):
            lines.append(line)
    if fence is not None and identity is not None:
        problems[identity] = f"{name}, line {start}: the block {identity} is not closed; end it with {fence}"
    return answers, problems
