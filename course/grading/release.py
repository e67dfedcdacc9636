"""The student edition: what students get to work with, copied from a list of what is allowed and nothing else.

In: the stubs, the public checks with their manifests and hints, the course and its pages. Out: right and wrong variants,
hidden checks, the tests of the course, the instructors' pages, and every file that git does not know. Links to what is left
out become plain words. A folder is complete or it is not there.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from course.grading.manifest import REPOSITORY, load_tasks
from course.grading.prose import load_questions
from course.grading.run import check_folder
from course.grading.sealed import permuted, permuted_text, seal
from course.grading.written import load_answers

FILES = frozenset({"README.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt", "mkdocs.yml", ".gitignore", "assignment.toml",
                   "exercises/README.md", "tests/conftest.py", "tests/exercises/conftest.py"})
NEVER = frozenset({"variants", "hidden", "solutions", "mutants", "instructors", "__pycache__", ".git", ".ipynb_checkpoints"})
AGENTS = Path(__file__).with_name("templates") / "AGENTS.md"          # asks assistants to tutor, at the top of the edition
# words in the name of a file that students should not have; of the course's own modules only the first row speaks
SECRET = frozenset({"secret", "secrets", "private", "password", "passwords", "credentials", "env", "solutions", "solution"})
ANSWERS = frozenset({"answer", "answers", "exam", "exams", "marks", "grades"})
TOKEN = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY|\bgh[pousr]_[A-Za-z0-9]{30}|\bgithub_pat_\w{30}|\bhf_[A-Za-z0-9]{30}"
                   rb"|\bAKIA[A-Z0-9]{16}\b|\bsk-[A-Za-z0-9_-]{32}|\bglpat-[\w-]{20}|\bxox[bp]-[\w-]{20}")


def edition(source: Path) -> tuple[list[Path], list[Path]]:
    """(the files of the student edition, those that lie where they would be copied from and that git does not know)."""
    chapters = {task.chapter for task in load_tasks(source / "tests" / "exercises").values()}
    read = load_questions(source / "tests" / "exercises")          # prose that people read has a page without a manifest
    chapters |= {path.stem for path in (source / "exercises").glob("ch*.md") if any(f" {i}\n" in path.read_text("utf-8") for i in read)}
    here = {p.relative_to(source) for top in ("exercises", "tests", "course", "docs") for p in (source / top).rglob("*") if p.is_file()}
    here |= {Path(name) for name in FILES if (source / name).is_file()}
    allowed = {p for p in here if _allowed(p, chapters) and not (source / p).is_symlink()}
    known = _known_to_git(source)
    unknown = [] if known is None else sorted(p for p in allowed if p not in known)
    return sorted(allowed - set(unknown)), unknown


def _allowed(path: Path, chapters: set[str]) -> bool:
    if NEVER & set(path.parts) or path.suffix in (".pyc", ".part"):
        return False
    if path.as_posix() in FILES or path.parts[0] in ("course", "docs"):
        return True
    if path.parts[0] == "exercises":
        return len(path.parts) == 2 and path.stem in chapters and path.suffix in (".py", ".md")
    if path.parts[:2] != ("tests", "exercises"):
        return False
    if path.suffix == ".py" or (len(path.parts) == 3 and path.suffix == ".toml"):
        return len(path.parts) == 3 and path.stem.removeprefix("test_") in chapters
    return path.suffix in (".toml", ".json", ".txt")          # numbers and words that the checks read


def _known_to_git(source: Path) -> set[Path] | None:
    """What `git ls-files` lists; None if `source` is no git checkout of its own."""
    if not (source / ".git").exists():
        return None
    done = subprocess.run(["git", "-c", "core.fsmonitor=false", "-C", str(source), "ls-files", "-z"], capture_output=True, check=False)
    if done.returncode:
        raise ValueError(f"git cannot list the files of {source}: {done.stderr.decode(errors='replace').strip()}")
    return {Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name}


def suspects(source: Path, files: Iterable[Path]) -> list[str]:
    """What students should not get, in words: files by their name, secrets and solutions by their content."""
    found, bodies = [], _solutions(source)
    for path in files:
        words = set(re.split(r"[^a-z]+", path.as_posix().lower()))
        where = path.as_posix()
        data = (source / path).read_bytes()
        if words & SECRET or (words & ANSWERS and path.parts[0] != "course" and path.parent.as_posix() != "tests/exercises/answers"):
            found.append(f"{where} (its name)")
        elif TOKEN.search(data):
            found.append(f"{where} (a key or token)")
        elif path.parts[0] in ("exercises", "tests") and path.suffix in (".py", ".md", ".toml"):
            text = _squeezed(data.decode("utf-8", "replace"))
            found += [f"{where} (the solution of {name})" for name, body in bodies.items() if body in text][:1]
    return found


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _solutions(source: Path) -> dict[str, str]:
    """The bodies of the right answers, without docstring and white space, those of more than a few signs."""
    found = {}
    variants = source / "tests" / "exercises" / "variants"
    for path in [*variants.glob("first/*.py"), *variants.glob("second/*.py")]:
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
                squeezed = _squeezed("\n".join(ast.get_source_segment(text, n) or "" for n in body))
                if len(squeezed) > 60:
                    found[f"{path.parent.name}/{path.name}:{node.name}"] = squeezed
    return found


def release(folder: Path | str, source: Path | str = REPOSITORY, order: str | None = None) -> int:
    """Write the student edition of the repository `source` into `folder`, which must be new or empty; the number of files.

    What the written tasks ask for is sealed (course.grading.sealed). `order`: a word, for which the lettered options of the choices
    come in an order of their own.

    Raises ValueError if `folder` is in use, if `source` is no checkout of the course, if an exercise in it is solved, or if a
    file looks as if it were not for students.
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
    files, _ = edition(source)
    if bad := suspects(source, files):
        raise ValueError("these files look as if they were not for students; move them out of the way, or to a folder hidden/ or "
                         f"instructors/: {', '.join(bad[:10])}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        there = frozenset(p.as_posix() for p in files)
        for relative in files:
            target = work / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / relative, target)
            if relative.parts[:3] == ("tests", "exercises", "answers"):
                entries = tomllib.loads((source / relative).read_text(encoding="utf-8"))
                target.unlink()
                target.with_suffix(".sealed").write_text(seal(permuted(entries, order) if order else entries), encoding="utf-8")
            elif relative.suffix == ".md" or relative.name in ("mkdocs.yml", "Makefile"):
                text = (source / relative).read_text(encoding="utf-8")
                if order and relative.parts[0] == "exercises":
                    text = permuted_text(text, load_answers(checks / "answers"), order)
                put_right = {"mkdocs.yml": _menu, "Makefile": _makefile, "README.md": _readme}.get(relative.name, _linked)
                target.write_text(put_right(text, relative, there), encoding="utf-8")
        shutil.copyfile(AGENTS, work / "AGENTS.md")
        os.chmod(work, 0o755)
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return len(files) + 1


# ---------------------------------------------------------------- what the copies say about what is not there

def _menu(text: str, path: Path, there: frozenset[str]) -> str:
    """mkdocs.yml without the pages that are not there, and without headings that have no page left."""
    lines = [line for line in text.splitlines(keepends=True) if "instructors/" not in line]
    for n in range(len(lines) - 1, -1, -1):
        head = re.match(r"( *)- [^#{\[]*:\s*$", lines[n])
        below = next((line for line in lines[n + 1:] if line.strip()), "")
        if head and len(below) - len(below.lstrip()) <= len(head.group(1)):
            del lines[n]
    return "".join(lines)


def _makefile(text: str, path: Path, there: frozenset[str]) -> str:
    """The Makefile without the measurements, whose code is not there."""
    text = re.sub(r"\nbench:.*\n(?:\t.*\n)+", "\n", text)
    text = re.sub(r"\t@echo \"make bench .*\n", "", text)
    return re.sub(r"(?m)^(\.PHONY:.*) bench\b", r"\1", text)


def _readme(text: str, path: Path, there: frozenset[str]) -> str:
    """A README without the sentence that sends the reader to a page that is not there."""
    sentence = r"\s*To add [^.]*\[CONTRIBUTING\]\(CONTRIBUTING\.md\)\."
    return _linked(re.sub(sentence, "", text) if "CONTRIBUTING.md" not in there else text, path, there)


def _linked(text: str, path: Path, there: frozenset[str]) -> str:
    """A page whose links to what is not there are plain words."""
    def markdown(match: re.Match[str]) -> str:
        return match.group() if _present(match.group(2), path, there) else match.group(1)

    def html(match: re.Match[str]) -> str:
        target = match.group(1)
        inside = path.parts[0] == "docs" and not target.endswith(".md")
        if inside:          # the address of a page: docs/a/b.md is a/b/, docs/a/index.md is a/
            base = PurePosixPath(*path.parts[:-1], *([] if path.name in ("index.md", "README.md") else [path.stem]))
            plain = re.split(r"[?#]", target)[0].rstrip("/")
            where = _normal(base / plain) if plain else path.as_posix()
            known = {where, f"{where}.md", f"{where}/index.md"} & there or any(p.startswith(f"{where}/") for p in there)
            return match.group() if known or _foreign(target) else match.group(2)
        return match.group() if _present(target, path, there) else match.group(2)

    parts = re.split(r"(?ms)(^```.*?^```\s*$|`[^`\n]*`)", text)          # not inside code
    for n in range(0, len(parts), 2):
        parts[n] = re.sub(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)", markdown, parts[n])
        parts[n] = re.sub(r"(?s)<a\s[^>]*href=\"([^\"]*)\"[^>]*>(.*?)</a>", html, parts[n])
    return "".join(parts)


def _foreign(target: str) -> bool:
    return bool(re.match(r"[a-z][a-z0-9+.-]*:|//|#", target)) or "{" in target


def _normal(path: PurePosixPath) -> str:
    return os.path.normpath(path.as_posix())


def _present(target: str, path: Path, there: frozenset[str]) -> bool:
    """Whether a relative link leads to a file or folder of the edition, or to something that is made when the site is built."""
    if _foreign(target):
        return True
    plain = re.split(r"[?#]", target)[0]
    where = _normal(PurePosixPath(*path.parent.parts) / plain) if plain else path.as_posix()
    return where in there or any(p.startswith(f"{where}/") for p in there) or ("instructors" not in where and where.startswith("docs/"))
