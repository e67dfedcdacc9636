"""A student's own view: `course check`, `course hint` and `course watch`.

Everything is said in words; colour only repeats what the words say, so NO_COLOR, a pipe or a screen reader lose nothing.
The checks run in this process, on one's own files, and are not a sandbox: `course grade` is for the files of others.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from course.grading.apart import Lost, apart, in_a_child, no_writing
from course.grading.confine import limit_memory
from course.grading.errors import CheckFailed
from course.grading.manifest import CHECKS, EXERCISES, REPOSITORY, Task, load_tasks
from course.grading.run import Check, Result, load_checks, run_task
from course.names import did_you_mean

HINTS_SHOWN = REPOSITORY / ".cache" / "hints.json"      # {"ch03.add_noise": 2}: how many rungs of a ladder were shown
STYLES = {"passed": "green", "failed": "red", "not_attempted": "dim"}
PRINTED = 20          # lines of a task's own output that are shown
WORDS = {"passed": "passed", "failed": "FAILED", "not_attempted": "not attempted"}


# ------------------------------------------------------------------------------------------------------- running checks


def select(names: Sequence[str], tasks: dict[str, Task]) -> list[str]:
    """The ids of the tasks that `names` mean: a task ("ch03.add_noise" or "add_noise"), a chapter ("ch03", "3",
    "ch03_forward", "ch03_forward.py"), a track ("builder"), or nothing for all. Raises ValueError, with the closest names, for anything
    else."""
    chosen: dict[str, None] = {}
    for name in names:
        wanted = Path(name).name.removesuffix(".py").removesuffix(".md")
        if wanted.isdigit():
            wanted = f"ch{int(wanted):02d}"
        found = [task.id for task in tasks.values() if wanted in (task.id, *task.id.split("."), task.chapter, *task.tracks)]
        if not found:
            known = [*tasks, *{task.chapter for task in tasks.values()}, *{i.split(".")[0] for i in tasks}]
            near = did_you_mean(wanted, known, count=3, cutoff=0.5)
            chapters = ", ".join(sorted({i.split(".")[0] for i in tasks}))
            raise ValueError(f"there is no task or chapter {name!r}{near} Chapters are {chapters}")
        chosen |= dict.fromkeys(found)
    return list(chosen) if names else list(tasks)


def run(names: Sequence[str], folder: Path = EXERCISES, seed: int = 0, checks: Path = CHECKS,
        printed: dict[str, str] | None = None) -> dict[str, Result]:
    """The verdicts on the tasks with these ids, for the files in `folder`; each task runs in a process of its own where there
    are any. `printed` is filled with what the code of each task printed.
    """
    tasks, found = load_tasks(checks), load_checks(checks)
    if any(_written(tasks[name], folder) for name in names):
        import course.equations  # noqa: F401  (once, and not in every child)
    for name in names:
        if tasks[name].loads and _begun(tasks[name], folder):
            for module in tasks[name].loads:
                importlib.import_module(module)          # once, and not in every child
    results = {}
    for name in names:
        results[name], output = run_apart(tasks[name], found.get(name, []), folder, seed)
        if printed is not None and output.strip():
            printed[name] = output
    return results


def run_apart(task: Task, checks: Sequence[Check], folder: Path, seed: int) -> tuple[Result, str]:
    """The verdict on one task, and what its code printed."""
    from course.grading.student import DirectStudent

    def work() -> dict[str, Any]:
        if in_a_child() and not _written(task, folder):
            limit_memory(task.memory << 20)
            no_writing()
        with contextlib.nullcontext(lambda seconds: None) if in_a_child() else _time_limit() as limit:
            limit(task.timeout)
            return run_task(task, checks, lambda task, check: DirectStudent(task, check, seed, folder)).as_dict()

    try:
        result, output = apart(work, task.timeout + GRACE)
        return Result(**result), output
    except Lost as lost:
        words = str(lost).replace(f"{task.timeout + GRACE:g} seconds", f"{task.timeout:g} seconds")
        return Result(task.id, 0.0, float(task.points), "failed", lost.cause, words, extra=task.extra), ""


GRACE = 3.0          # seconds for the checks themselves, beside the time that a task has


def _begun(task: Task, folder: Path) -> bool:
    """Whether the function of a task is there and no stub any more."""
    path = folder / f"{task.chapter}.py"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    body = text.partition(f"def {task.id.split('.')[1]}(")[2].partition("\ndef ")[0]
    return bool(body) and "raise NotImplementedError" not in body


def _written(task: Task, folder: Path) -> bool:
    """Whether a task is answered in words, and something is written there."""
    path = folder / f"{task.chapter}.md"
    return path.exists() and f"{task.id}\n" in path.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def _time_limit() -> Iterator[Callable[[float], None]]:
    """limit(seconds) starts the clock (anew); when it runs out CheckFailed("timeout") is raised where the code stands.

    Where there is no SIGALRM (Windows, or not in the main thread) nothing is limited; Ctrl-C still works.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield lambda seconds: None
        return
    given = 0.0

    def limit(seconds: float) -> None:
        nonlocal given
        given = seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def ring(number: int, frame: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 1.0)       # once more, should the code swallow the exception
        raise CheckFailed("timeout", f"no answer after {given:g} seconds. Is there a loop that does not end?")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield limit
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --------------------------------------------------------------------------------------------------------------- check


def check(names: Sequence[str], folder: Path = EXERCISES, console: Console | None = None, seed: int = 0) -> int:
    """Print the progress table for tasks or chapters; 1 if something that was attempted fails, else 0."""
    console = console or Console()
    tasks = load_tasks()
    chosen = select(names, tasks)
    printed: dict[str, str] = {}
    if console.is_terminal:
        console.print("[dim]Running the checks ...[/dim]")
    results = run(chosen, folder, seed, printed=printed)
    show(console, tasks, results, by_chapter=not names, printed=printed if names else {})
    return int(any(result.status == "failed" for result in results.values()))


def show(console: Console, tasks: dict[str, Task], results: dict[str, Result], by_chapter: bool = False,
         printed: dict[str, str] | None = None) -> None:
    """The table, then the feedback of what failed, then the total and what to do next."""
    console.print(_chapter_table(tasks, results) if by_chapter else _task_table(tasks, results))
    for name, output in (printed or {}).items():
        lines = output.rstrip().splitlines()
        console.print(f"[dim]{name} printed:[/dim]")
        more = [f"... and {len(lines) - PRINTED} lines more"] if len(lines) > PRINTED else []
        console.print(Padding(Text("\n".join([*lines[:PRINTED], *more])), (0, 0, 1, 4)))
    said: set[str] = set()
    for result in results.values():
        if result.status == "failed" and not (result.cause == "import_error" and result.feedback in said):
            others = [r.id for r in results.values() if r.feedback == result.feedback and r.id != result.id] \
                if result.cause == "import_error" else []
            said.add(result.feedback)
            console.print(f"[red]{result.id}[/red] [bold]{escape(tasks[result.id].title)}[/bold] "
                          f"({escape((result.cause or '').replace('_', ' '))}{', and so ' + ', '.join(others) if others else ''})")
            console.print(Padding(Text(result.feedback), (0, 0, 1, 4)))
        elif result.status == "not_attempted" and "has no function" in result.feedback:
            console.print(Padding(Text(f"{result.id}: {result.feedback}"), (0, 0, 0, 0)))
    score, most, beyond = total(results.values())
    done = sum(r.status == "passed" for r in results.values())
    console.print(f"[bold]{points(score, most, beyond)}[/bold], {done} of {len(results)} tasks  {bar(score, most)}")
    if (task := next_task(tasks, results)) is not None:
        console.print(f"Next: [bold]{task.id}[/bold], {escape(task.title)}, in exercises/{_file(task)}. "
                      f"Stuck? [bold]course hint {task.id}[/bold]")
    elif done == len(tasks):
        console.print("Everything is done. [bold]course render --mine \"a bear above a horse\"[/bold] paints with it.")


def total(results: Iterable[Result]) -> tuple[float, float, float]:
    """(points earned, points that can be reached, points of extra tasks, which come on top)."""
    results = list(results)
    core = [r for r in results if not r.extra]
    return (round(sum(r.score for r in core), 2), sum(r.max_score for r in core), round(sum(r.score for r in results if r.extra), 2))


def points(score: float, most: float, beyond: float) -> str:
    """The three of `total` in words."""
    return f"{score:g} of {most:g} points" + (f" and {beyond:g} extra" if beyond else "")


def bar(score: float, most: float, width: int = 25) -> str:
    """A progress bar of plain characters, which look the same everywhere."""
    filled = min(width, int(width * score / most)) if most else 0
    return escape("[" + "#" * filled + "." * (width - filled) + "]")


def next_task(tasks: dict[str, Task], results: dict[str, Result]) -> Task | None:
    """What to work on: the first task that failed, else the first whose prerequisites (of those looked at) are all passed."""
    open_ = [r for r in results.values() if r.status != "passed"]
    for result in open_:
        if result.status == "failed":
            return tasks[result.id]
    for result in open_:
        if all(need not in results or results[need].status == "passed" for need in tasks[result.id].needs):
            return tasks[result.id]
    return tasks[open_[0].id] if open_ else None


def _file(task: Task) -> str:
    path = EXERCISES / f"{task.chapter}.md"          # the block of a written answer is asked for; a function may be renamed
    return path.name if path.exists() and f"{task.id}\n" in path.read_text(encoding="utf-8", errors="replace") else f"{task.chapter}.py"


def _chapter_table(tasks: dict[str, Task], results: dict[str, Result]) -> Table:
    table = Table("chapter", "points", "passed", "failed", "not attempted", title="Progress", title_justify="left")
    table.columns[0].no_wrap = True
    for chapter in dict.fromkeys(task.chapter for task in tasks.values()):
        rows = [r for r in results.values() if tasks[r.id].chapter == chapter]
        if not rows:
            continue
        counts = {s: sum(r.status == s for r in rows) for s in WORDS}
        score, most, beyond = total(rows)
        reached = f"{score:g} / {most:g}" + (f" + {beyond:g}" if beyond else "")
        table.add_row(chapter, reached, f"[green]{counts['passed']}[/green]" if counts["passed"] else "-",
                      f"[red]{counts['failed']}[/red]" if counts["failed"] else "-", str(counts["not_attempted"] or "-"))
    return table


def _task_table(tasks: dict[str, Task], results: dict[str, Result]) -> Table:
    table = Table("task", "title", "points", "difficulty", "status")
    table.columns[0].no_wrap = table.columns[4].no_wrap = True
    for result in results.values():
        task = tasks[result.id]
        style = STYLES[result.status]
        table.add_row(task.id, escape(task.title), f"{result.score:g} / {result.max_score:g}", "*" * task.difficulty,
                      f"[{style}]{WORDS[result.status]}[/{style}]")
    return table


# ---------------------------------------------------------------------------------------------------------------- hint


def hint(name: str | None, again: bool = False, folder: Path = EXERCISES, console: Console | None = None,
         shown_file: Path = HINTS_SHOWN) -> None:
    """Show the next rung of a task's ladder of hints; without a name, of the task that comes next. `again`: from the first.

    Raises ValueError for a name that is no task.
    """
    console = console or Console()
    tasks = load_tasks()
    if name is None:
        task = next_task(tasks, run(list(tasks), folder))
        if task is None:
            console.print("Everything is done; there is nothing left to hint at.")
            return
    else:
        chosen = select([name], tasks)
        if len(chosen) > 1:
            raise ValueError(f"{name} has {len(chosen)} tasks; a hint is for one: {', '.join(chosen)}")
        task = tasks[chosen[0]]
    shown = _read_shown(shown_file)
    count = 1 if again else min(shown.get(task.id, 0) + 1, len(task.hints))
    console.print(f"[bold]{task.id}[/bold] {escape(task.title)}, {task.points:g} point{'s' * (task.points != 1)}")
    if task.needs:
        console.print(f"It builds on {', '.join(task.needs)}.")
    if not task.hints:
        console.print("There is no hint for this one.")
    else:
        console.print(f"Hint {count} of {len(task.hints)}: {escape(task.hints[count - 1])}")
        console.print(f"There is one more: [bold]course hint {task.id}[/bold]" if count < len(task.hints) else
                      f"That was the last. Read docs/{task.docs}, or start over with course hint {task.id} --again")
    try:
        shown_file.parent.mkdir(parents=True, exist_ok=True)
        shown_file.write_text(json.dumps({**shown, task.id: count}, indent=1), encoding="utf-8")
    except OSError as error:
        console.print(f"(The rung could not be remembered: {escape(str(error))})")


def _read_shown(path: Path) -> dict[str, int]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in data.items() if type(v) is int and v >= 0} if isinstance(data, dict) else {}


# --------------------------------------------------------------------------------------------------------------- watch


def watch(names: Sequence[str], folder: Path = EXERCISES, console: Console | None = None, interval: float = 0.5) -> None:
    """Check what changes, when it is saved, until q is pressed.

    Looks at the files' times again and again, which works on network drives, in containers and under WSL where
    notifications of changes get lost.
    """
    console = console or Console()
    tasks = load_tasks()
    chosen = select(names, tasks)
    results = run(chosen, folder)
    show(console, tasks, results, by_chapter=not names)
    before = stamps(folder)
    with _keys() as pressed:
        console.print(f"Watching {folder}. Save a file to check it; " + ("r checks everything, h gives a hint, q quits."
                      if sys.stdin.isatty() else "Ctrl-C quits."))
        while True:
            key = pressed(interval)
            now = stamps(folder)
            changed = {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}
            before = now
            if key == "q":
                console.print("Bye.")
                return
            if key == "h" and (task := next_task(tasks, results)) is not None:
                hint(task.id, folder=folder, console=console)
                continue
            files = {Path(path).name for path in changed}
            again = chosen if key == "r" else [
                name for name in chosen if files & {f"{tasks[name].chapter}.py", f"{tasks[name].chapter}.md", *tasks[name].weights}]
            if not again:
                continue
            console.rule(time.strftime("%H:%M:%S ") + (", ".join(sorted(Path(p).name for p in changed)) or "everything"))
            fresh = run(again, folder)
            results |= fresh
            show(console, tasks, fresh)
            if len(results) > len(fresh):
                score, most, beyond = total(results.values())
                console.print(f"Altogether {points(score, most, beyond)}  {bar(score, most)}")


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Time and size of every exercise file; a file that vanishes while we look is left out."""
    found = {}
    for path in sorted(folder.glob("ch*")):
        if path.suffix in (".py", ".md", ".safetensors"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return found


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """pressed(seconds) waits that long and returns the key that was pressed, or ""; without a terminal it only waits."""
    if not sys.stdin.isatty():
        def wait(seconds: float) -> str:
            time.sleep(seconds)
            return ""
        yield wait
    elif sys.platform == "win32":
        import msvcrt

        def windows(seconds: float) -> str:
            time.sleep(seconds)
            return msvcrt.getwch().lower() if msvcrt.kbhit() else ""
        yield windows
    else:
        import select as waiting
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)

        def unix(seconds: float) -> str:
            ready, _, _ = waiting.select([sys.stdin], [], [], seconds)
            if not ready:
                return ""
            return sys.stdin.read(1).lower() or "q"          # an empty read is the end of the input
        try:
            yield unix
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
