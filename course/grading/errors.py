"""What a check can say about a student's work."""

from __future__ import annotations

CAUSES = (
    "wrong_value", "wrong_shape", "wrong_type", "not_finite", "mutated_input", "exception", "timeout", "memory",
    "crashed", "forbidden", "import_error", "unreadable", "grader_error",
)


KNOWN = ". This looks like a known mistake: "


class NotAttempted(Exception):
    """The task is still a stub: no file, no such function, `raise NotImplementedError`, or an empty answer."""


class CheckFailed(AssertionError):
    """A check was not met. `cause` is one of CAUSES; the message is written for the student.

    `mistake` is the known mistake that the message names after the words KNOWN, or None. `earned` is the share of this very
    check that was met all the same, from 0 to 1, as of a derivation some of whose lines are right.
    """

    def __init__(self, cause: str, message: str, earned: float = 0.0) -> None:
        if cause not in CAUSES:
            raise ValueError(f"unknown cause {cause!r}; one of {', '.join(CAUSES)}")
        if not 0 <= earned <= 1:
            raise ValueError(f"earned is a share from 0 to 1; got {earned}")
        super().__init__(message)
        self.cause = cause
        self.earned = earned
        self.mistake = message.partition(KNOWN)[2] or None


class StudentRaised(CheckFailed):
    """The student's function raised an exception.

    `names` are the names of the exception's class and of its bases, most derived first; `text` is what it said.
    """

    def __init__(self, message: str, names: tuple[str, ...], text: str) -> None:
        super().__init__("exception", message)
        self.names = names
        self.text = text
