"""Written answers are judged in a process of their own, so that no answer can hold up the grader.

An answer is data and is never run, but deciding an equation is work that a hostile one could make long. The grader sends
the text of the student's Markdown file; the process runs the very same checks and sends back a verdict. It is our own code
on a stranger's text, so it is limited in time and memory and not confined further.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from course.grading.manifest import REPOSITORY, Task, load_tasks
from course.grading.run import Result, load_checks, run_task
from course.grading.student import Student

MEMORY = 4 << 30          # bytes of address space
START = 120.0             # seconds to import the equation checker


class AnswerStudent(Student):
    """A student of whom only written answers are known."""

    def __init__(self, task: Task, check: str, seed: int, text: str) -> None:
        super().__init__(task, check, seed)
        self._answers = text

    def _text(self, name: str) -> str | None:
        return self._answers

    def _call(self, name: str, args: tuple, kwargs: dict, wrt: int | None = None, free: bool = False) -> Any:
        raise TypeError("one check uses both a function and a written answer; make it two tasks")


class WrittenAnswer(BaseException):
    """Raised by `student.answer` in the grader: this check is to be run by the judging process instead.

    Not an Exception, so that no check takes it for an error of the student's.
    """


class Judging:
    """The process; started at the first written answer, and again after one that had to be stopped."""

    def __init__(self, checks: str) -> None:
        self._checks = checks
        self._process: subprocess.Popen | None = None

    def _start(self) -> None:
        # not from the current folder, which may be a student's
        here = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONSAFEPATH="1", PYTHONPATH=here)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "course.grading.judging", self._checks], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
        if self._line(START) != "ready":
            self.close()
            raise OSError("the process that judges written answers did not start")

    def judge(self, task: Task, text: str, seed: int, most: float = math.inf) -> Result:
        """The verdict on one task whose answer is in the Markdown `text`, in the task's time limit and at most `most` seconds."""
        seconds = min(task.timeout, most)

        def failed(cause: str, feedback: str) -> Result:
            return Result(task.id, 0.0, float(task.points), "failed", cause, feedback, extra=task.extra)

        try:
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"task": task.id, "text": text, "seed": seed}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._line(seconds)
        except OSError as error:
            self.close()
            return failed("grader_error", f"the answer could not be judged ({type(error).__name__}); please report this")
        if line is None:
            self.close()
            return failed("timeout", f"the answer could not be judged in {seconds:g} seconds; write it more simply")
        if not line:
            self.close()
            return failed("memory", "judging this answer needs more memory than there is for it; write it more simply")
        return Result(**json.loads(line))

    def _line(self, seconds: float) -> str | None:
        """The next line of the process; None after `seconds`, "" when it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline, data, fd = time.monotonic() + seconds, b"", self._process.stdout.fileno()
        while not data.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                return None
            piece = os.read(fd, 1 << 16)
            if not piece:
                return ""
            data += piece
        return data.decode().strip()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main() -> None:
    """Read requests from standard input, a JSON object a line; write verdicts to what was standard output."""
    if sys.platform.startswith("linux"):
        import resource

        from course.grading.confine import PR_SET_PDEATHSIG, prctl

        prctl(PR_SET_PDEATHSIG, 9)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)          # whatever a library prints is not an answer
    import course.equations  # noqa: F401  (it takes seconds, and they are not the student's)

    tasks, checks = load_tasks(sys.argv[1]), load_checks(sys.argv[1])
    if sys.platform.startswith("linux"):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", file=out)
    for line in sys.stdin:
        request = json.loads(line)
        task, text, seed = tasks[request["task"]], request["text"], request["seed"]
        result = run_task(task, checks.get(task.id, []), lambda t, check: AnswerStudent(t, check, seed, text))      # noqa: B023
        print(json.dumps(asdict(result)), file=out)


if __name__ == "__main__":
    main()
