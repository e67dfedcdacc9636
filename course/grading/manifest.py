"""The tasks as data: one `chNN_topic.toml` per chapter, beside its checks in `tests/exercises/`.

    [[task]]
    id = "ch03.add_noise"          # chapter number, dot, name
    title = "Add noise in one step"
    points = 2
    difficulty = 1                 # 1 to 3
    hints = ["first rung", "second rung"]
    needs = ["ch03.alphas_cumprod"]
    docs = "chapters/03-forward.md"
    minutes = 10                   # how long a median student takes: an estimate, nobody has measured it
    tracks = ["builder"]           # the ways through the course that it lies on, see TRACKS; what it needs lies on them, too
    extra = true                   # beyond the 100 points: adds to the score, not to what can be reached, optional
    loads = ["diffusers"]          # heavy modules that its checks import: loaded once, before the task runs, optional
    compare = ["course.forward:add_noise"]      # the course's own code for it: `course compare`, and folded in the chapters, optional
    weights = ["ch07_weights.safetensors"]      # trained networks that are handed in for it, optional
    timeout = 10                   # seconds for one call, optional
    memory = 1024                  # MiB a call may use beyond what torch needs, optional

The file's stem names the student's file: `ch03_forward.toml` belongs to `exercises/ch03_forward.py` and `.md`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import course

REPOSITORY = Path(course.__file__).resolve().parent.parent
CHECKS = REPOSITORY / "tests" / "exercises"
EXERCISES = REPOSITORY / "exercises"
TRACKS = ("mathematics", "builder")          # two ways through the course: what is true, and what paints
HELPERS = "helpers.py"


@dataclass(frozen=True)
class Task:
    id: str
    title: str
    points: float
    chapter: str                    # the stem of the manifest and of the student's file: "ch03_forward"
    difficulty: int = 1
    hints: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    docs: str = ""
    timeout: float = 10.0
    memory: int = 1024
    minutes: int = 0
    loads: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    extra: bool = False


def wanted_files(tasks: dict[str, Task]) -> set[str]:
    """The names of all files that a student may hand in: the exercises, the one file of helpers they may share, and trained weights."""
    files = {f"{task.chapter}{suffix}" for task in tasks.values() for suffix in (".py", ".md")} | {HELPERS}
    return files | {name for task in tasks.values() for name in task.weights}


def stub_files(tasks: dict[str, Task]) -> dict[str, bytes]:
    """These files as they are handed out, where they are known."""
    return {name: path.read_bytes() for name in sorted(wanted_files(tasks))
            if not name.endswith(".safetensors") and (path := EXERCISES / name).is_file()}


def load_tasks(folder: Path | str = CHECKS) -> dict[str, Task]:
    """Every task of the manifests in `folder`, by id, in the order of the chapters.

    Raises ValueError, naming file and task, for a manifest that cannot be used.
    """
    tasks: dict[str, Task] = {}
    for path in sorted(Path(folder).glob("ch*.toml")):
        for task in read_manifest(path):
            if task.id in tasks:
                raise ValueError(f"{path.name}: task {task.id} is already defined in {tasks[task.id].chapter}.toml")
            tasks[task.id] = task
    for task in tasks.values():
        for need in task.needs:
            if need not in tasks:
                raise ValueError(f"{task.chapter}.toml: {task.id} needs {need!r}, and there is no such task")
    return tasks


def read_manifest(path: Path) -> list[Task]:
    """The tasks of one manifest file."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    if set(data) != {"task"} or not isinstance(data["task"], list):
        raise ValueError(f"{path.name}: expected [[task]] tables and nothing else")
    return [_task(entry, path) for entry in data["task"]]


_FIELDS = {"id": str, "title": str, "points": (int, float), "difficulty": int, "hints": list, "needs": list,
           "docs": str, "timeout": (int, float), "memory": int, "minutes": int, "extra": bool, "loads": list,
           "compare": list, "tracks": list, "weights": list}


def _task(entry: dict, path: Path) -> Task:
    where = f"{path.name}: task {entry.get('id', '?')}"
    for key in ("id", "title", "points"):
        if key not in entry:
            raise ValueError(f"{where}: {key} is missing")
    for key, value in entry.items():
        kind = _FIELDS.get(key)
        if kind is None:
            raise ValueError(f"{where}: unknown key {key!r}; one of {', '.join(_FIELDS)}")
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):  # type: ignore[arg-type]
            raise ValueError(f"{where}: {key} = {value!r} has the wrong type")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ValueError(f"{where}: {key} must be a list of strings")
    if not re.fullmatch(r"ch\d\d\.\w+", entry["id"]) or not path.stem.startswith(entry["id"][:4]):
        raise ValueError(f"{where}: an id looks like ch03.add_noise and begins with the chapter of its file")
    if unknown := [track for track in entry.get("tracks", ()) if track not in TRACKS]:
        raise ValueError(f"{where}: unknown track {unknown[0]!r}; one of {', '.join(TRACKS)}")
    if not entry["points"] > 0:
        raise ValueError(f"{where}: points must be above zero")
    entry = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Task(chapter=path.stem, **entry)
