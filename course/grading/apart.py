"""Run a piece of work in a process of its own, so that a loop without end, a crash or an exit ends that process and no other.

It is a fork of this one: nothing has to be imported again, and breakpoints, debuggers and the terminal stay with the parent.
It confines nothing: it is for one's own code. Where there is no fork to rely on (Windows, macOS) the work is done here.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from course.grading.confine import landlock, landlock_ruleset

CAN_FORK = sys.platform.startswith("linux")
PRINTED = 4000          # characters of what the work printed that are kept
_child = False


def no_writing() -> None:
    """From here on this process, a child, writes no file, not even through a library that Python does not see (torch.save)."""
    with contextlib.suppress(OSError):
        landlock(landlock_ruleset(["/"]))


def in_a_child() -> bool:
    """Whether this process is one that `apart` made."""
    return _child


class Lost(Exception):
    """The process ended without an answer; `cause` is "timeout", "memory" or "crashed"."""

    def __init__(self, cause: str, words: str) -> None:
        super().__init__(words)
        self.cause = cause


def apart(work: Callable[[], Any], seconds: float, capture: bool = True) -> tuple[Any, str]:
    """(what `work()` returns, which must be JSON, what it printed). `capture` False leaves its output where it goes.

    Raises Lost if there is no answer within `seconds`, or the process dies.
    """
    if not CAN_FORK:
        return work(), ""
    read, write = os.pipe()
    with tempfile.TemporaryFile() if capture else contextlib.nullcontext() as log:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _work(work, write, log.fileno() if log else None)
        os.close(write)
        try:
            data = _answer(read, time.monotonic() + seconds)
        except TimeoutError:
            raise Lost("timeout", f"no answer after {seconds:g} seconds. Is there a loop that does not end?") from None
        finally:
            os.close(read)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        printed = ""
        if log is not None:
            log.seek(0)
            printed = log.read(4 * PRINTED).decode("utf-8", "replace")[:PRINTED]
    if data.endswith(b"\n"):
        return json.loads(data), printed
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        name = signal.Signals(os.WTERMSIG(status)).name
        raise Lost("crashed", f"the process that ran it was ended by the signal {name}")
    raise Lost("crashed", "the process that ran it ended before there was a result (os._exit?)")


def _answer(fd: int, deadline: float) -> bytes:
    data = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise TimeoutError
        piece = os.read(fd, 1 << 16)
        if not piece:
            return data
        data += piece
        if data.endswith(b"\n"):
            return data


def _work(work: Callable[[], Any], write: int, log: int | None) -> None:
    """The child: never returns."""
    global _child
    _child = True
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)          # Ctrl-C is for the parent, which then ends us
        signal.setitimer(signal.ITIMER_REAL, 0)
        if log is not None:
            os.dup2(log, 1)
            os.dup2(log, 2)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            sys.stdin = os.fdopen(0, closefd=False)
            sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False, errors="replace")
            sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="replace")
        import torch

        torch.set_num_threads(1)          # threads of the parent do not exist here
        data = json.dumps(work()).encode() + b"\n"
        sys.stdout.flush()
        while data:
            data = data[os.write(write, data):]
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(70)
    os._exit(0)
