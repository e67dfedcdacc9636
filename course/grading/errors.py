"""What a check can say about a student's work."""

from __future__ import annotations

CAUSES = (
    "wrong_value", "wrong_shape", "wrong_type", "not_finite", "mutated_input", "exception", "timeout", "memory",
    "crashed", "forbidden", "import_error", "unreadable", "grader_error",
)


class NotAttempted(Exception):
    """The task is still a stub: no file, no such function, `raise NotImplementedError`, or an empty answer."""


class CheckFailed(AssertionError):
    """A check was not met. `cause` is one of CAUSES; the message is written for the student."""

    def __init__(self, cause: str, message: str) -> None:
        if cause not in CAUSES:
            raise ValueError(f"unknown cause {cause!r}; one of {', '.join(CAUSES)}")
        super().__init__(message)
        self.cause = cause


class StudentRaised(CheckFailed):
    """The student's function raised an exception.

    `names` are the names of the exception's class and of its bases, most derived first; `text` is what it said.
    """

    def __init__(self, message: str, names: tuple[str, ...], text: str) -> None:
        super().__init__("exception", message)
        self.names = names
        self.text = text
