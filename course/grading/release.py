"""The student edition: what students get to work with, copied from a list of what is allowed and nothing else.

In: the stubs, the public checks with their manifests and hints, the course and its pages. Out: right and wrong variants,
hidden checks, the tests of the course, the instructors' pages. A folder is complete or it is not there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from course.grading.manifest import REPOSITORY, load_tasks
from course.grading.run import check_folder

FILES = ("README.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt", "mkdocs.yml", ".gitignore",
         "tests/conftest.py", "tests/exercises/conftest.py")
PATTERNS = ("exercises/ch*.py", "exercises/ch*.md", "exercises/README.md", "tests/exercises/ch*.toml",
            "tests/exercises/answers/ch*.toml", "tests/exercises/*.json", "tests/exercises/test_ch*.py", "course/**/*", "docs/**/*")
NEVER = {"variants", "hidden", "solutions", "mutants", "instructors", "__pycache__", ".git", ".ipynb_checkpoints"}


def edition(source: Path) -> Iterator[Path]:
    """The files of the student edition, relative to `source`."""
    found = {source / name for name in FILES}
    for pattern in PATTERNS:
        found.update(source.glob(pattern))
    for path in sorted(found):
        relative = path.relative_to(source)
        if path.is_file() and not path.is_symlink() and not NEVER & set(relative.parts) and path.suffix not in (".pyc", ".part"):
            yield relative


def release(folder: Path | str, source: Path | str = REPOSITORY) -> int:
    """Write the student edition of the repository `source` into `folder`, which must be new or empty; the number of files.

    Raises ValueError if `folder` is in use, if `source` is no checkout of the course, or if an exercise in it is solved.
    """
    folder, source = Path(folder), Path(source)
    checks, stubs = source / "tests" / "exercises", source / "exercises"
    if not stubs.is_dir() or not checks.is_dir():
        raise ValueError(f"{source} is not a checkout of the course: exercises/ or tests/exercises/ is missing")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; name a new folder")
    if folder.resolve().is_relative_to((source / "course").resolve()) or folder.resolve().is_relative_to((source / "docs").resolve()):
        raise ValueError(f"{folder} lies inside what is to be copied; name a folder elsewhere")
    tried = [name for name, result in check_folder(stubs, load_tasks(checks), checks=checks).items()
             if result.status != "not_attempted"]
    if tried:
        raise ValueError(f"these exercises in {stubs} are not stubs: {', '.join(tried)}; put the stubs back first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        count = 0
        for relative in edition(source):
            target = work / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            if relative.name == "mkdocs.yml":          # its menu without the pages that are not there
                lines = (source / relative).read_text(encoding="utf-8").splitlines(keepends=True)
                target.write_text("".join(line for line in lines if "instructors/" not in line), encoding="utf-8")
            else:
                shutil.copy2(source / relative, target)
            count += 1
        os.chmod(work, 0o755)
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return count
