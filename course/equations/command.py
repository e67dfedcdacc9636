"""`course prove`: a statement, or a derivation relation by relation, judged and printed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from course.equations import evidence
from course.equations.judge import judge, judge_derivation
from course.equations.meaning.paths import Paths
from course.equations.meaning.settings import BadSetting, Setting, load, settings
from course.equations.reading.words import MAX_LENGTH

EXIT = {"identity": 0, "bound": 0, "definition": 0, "refuted": 1, "undecided": 2, "outside": 2, "unreadable": 3}


def text_of(argument: str) -> str:
    """The LaTeX itself, or the contents of the file of that name, or of standard input for `-`."""
    if argument == "-":
        return sys.stdin.read(MAX_LENGTH + 1).removeprefix("\ufeff")
    try:
        path = Path(argument)
        if path.is_file():
            with path.open(encoding="utf-8-sig") as file:       # Windows editors put a byte order mark first
                return file.read(MAX_LENGTH + 1)
        if path.is_dir():
            raise IsADirectoryError(21, "is a folder, not a file", argument)
    except (PermissionError, IsADirectoryError, UnicodeDecodeError):
        raise
    except (OSError, ValueError):
        pass  # a name too long for a file name, or with a zero byte, is LaTeX
    return argument


def chosen(setting: str) -> str | Setting | Paths:
    """The setting of that name, or the one that the TOML file of that name declares. BadSetting says what is wrong with it."""
    if setting in (*settings, "gaussian"):
        return setting
    path = Path(setting)
    try:
        if setting.endswith(".toml") or path.is_file():
            return load(path)
    except OSError as error:
        raise BadSetting(f"the setting {setting} cannot be read: {error.strerror}") from None
    raise BadSetting(f"there is no setting {setting!r}; known are {', '.join([*settings, 'gaussian'])}, or a TOML file")


def run(argument: str, setting: str, as_json: bool, proof: Path | None = None, tree: bool = False,
        asked: Callable[[str, str], str | None] = lambda latex, setting: None) -> int:
    """Judge and print; the exit status: 0 identity, bound or definition, 1 refuted, 2 undecided or outside, 3 unreadable.

    proof: where to write the evidence, for `python kernel.py FILE` to re-check with nothing installed.
    asked: the exercise that a line in a setting answers, or None; of a repair that does, only the kind is said."""
    try:
        meant = chosen(setting)
    except BadSetting as error:
        print(f"course: {error}", file=sys.stderr)
        return 2
    try:
        latex = text_of(argument)
    except UnicodeDecodeError as error:
        print(f"course: {argument} is not a text file ({error.reason} at byte {error.start})", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"course: {argument} cannot be read: {error.strerror}", file=sys.stderr)
        return 3
    if not any(c in latex for c in "=<>\\") and argument.endswith((".tex", ".md", ".txt")):
        print(f"course: there is no file {argument}", file=sys.stderr)
        return 3
    kind, text = report(latex, meant, as_json, tree)
    if proof is not None and not write_evidence(proof, latex, meant):
        return 2
    print(text if as_json else re.sub(r"(?m)^would hold: (.*?)   \((.*)\)$", lambda line: _kept_back(line, setting, asked), text))
    return EXIT[kind]


def _kept_back(line: re.Match[str], setting: str, asked: Callable[[str, str], str | None]) -> str:
    task = asked(line[1], setting)
    return line[0] if task is None else f"would hold: what {task} asks for. An edit leads there, of this kind: {line[2]}"


def report(latex: str, setting: str | Setting | Paths, as_json: bool = False, tree: bool = False) -> tuple[str, str]:
    """The kind of the verdict on a text, and what is printed about it; the judge in the page shows the same."""
    verdict = judge(latex, setting)
    derivation = judge_derivation(latex, setting) if verdict.kind != "unreadable" else None  # the text is examined once
    claims = [s for s in derivation.steps if "condition" not in s.verdict.codes] if derivation else []
    if as_json:
        out = verdict.as_dict()
        if derivation and len(claims) > 1:
            out["derivation"] = derivation.as_dict()
        return verdict.kind, json.dumps(out, ensure_ascii=False, indent=2, sort_keys=True)
    parts = [str(verdict)]
    if verdict.tree and tree:
        parts.append("as a tree:\n" + "\n".join("  " + line for line in verdict.tree.splitlines()))
    if len(claims) > 1:
        parts.append(f"relation by relation:\n{derivation}")
    return verdict.kind, "\n\n".join(parts)


def write_evidence(path: Path, latex: str, setting: str | Setting | Paths) -> bool:
    """Write what the verdicts on these relations rest on, whole or not at all; False if the file cannot be written."""
    steps = judge_derivation(latex, setting).steps
    pieces = [{**e, "says": f"{s.kind}: {s.latex}"} for s in steps for e in s.verdict.evidence]
    if not pieces:
        print("course: nothing here was proved or refuted, so there is no evidence to write", file=sys.stderr)
        return True
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(evidence.written(pieces), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        print(f"course: the evidence cannot be written to {path}: {error.strerror}", file=sys.stderr)
        draft.unlink(missing_ok=True)
        return False
    kernel = Path(evidence.kernel.__file__)
    print(f"evidence for {len(pieces)} verdicts: {path} (re-check it with plain Python: python {kernel} {path})", file=sys.stderr)
    return True
