r"""Checks every displayed formula of the documentation and shows, beside each line, how it is known.

In the Markdown a displayed formula is ordinary LaTeX with one comment before it, invisible on any viewer:

    <!-- check: setting=vae -->
    $$
    \log p(x) \ge \mathbb{E}_q\left[\log \frac{p(x,z)}{q(z|x)}\right]
    $$

    setting=NAME      every line is judged in that setting and must be an identity or a bound
    wrong             with a setting: the derivation is wrong on purpose, at least one of its lines must be refuted
    wrong=2,4         the same, and exactly these lines (1 is the first relation) must be the refuted ones
    cited="Author year, eq. n"   beyond the checker: the source is shown instead. With a setting, only lines that the checker
                      cannot decide are cited; a refuted line still fails
    let="A = B; C = D"    with a setting: what letters mean in this formula, or its laws p and q, as rows `let A = B` before it
    definition        something is introduced, nothing is claimed. With a setting, the line must agree with what the setting says

A displayed formula without such a comment fails. `python -m course.equations.pages docs/` prints a report and exits with 1 if
any line is not accepted. As a Python-Markdown extension (`course.equations.pages` in mkdocs.yml) the same code puts a mark
after every line of a derivation, and a note below it that unfolds into a card for each line (cards.py); a line that is not
accepted is logged as a warning of MkDocs, which `--strict` makes an error. `<!-- checked formulas: ../ -->` on a page is
replaced by the list of all of them; `../` leads from that page to the folder of the documentation.

Verdicts are kept in .cache/equations, under a hash of the formula and of the source of this package.
"""

from __future__ import annotations

import hashlib
import html
import json
import logging
import os
import re
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

from course.equations.cards import broken, card, note_on_paper
from course.equations.meaning.paths import TAKEN_OVER

CACHE = Path(".cache/equations")
log = logging.getLogger("mkdocs.equations")  # MkDocs counts warnings of its own loggers when it builds with --strict

OPTIONS = {"setting", "wrong", "cited", "definition", "let"}
MARKS = {
    "proved": r"\checkmark",
    "computed": r"\checkmark",
    "cited": r"\dagger",
    "wrong": r"\boldsymbol{\times}",
    "failed": "?",
}
_COMMENT = re.compile(r"^[ \t>]*<!--\s*check:(.*?)-->\s*$")
_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})")
_OPEN = re.compile(r"^(?P<indent>[ \t>]*)(?P<mark>\$\$|\\\[)(?P<rest>.*)$")
_LIST = re.compile(r"^<!--\s*checked formulas(?::\s*(?P<root>[./]*))?\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    """One displayed formula: the lines it is on (from 0, delimiters included), its LaTeX and its comment's options."""

    first: int
    last: int
    indent: str
    latex: str
    options: dict[str, str] | None
    problem: str = ""


@dataclass(frozen=True)
class Line:
    """What is known about one relation of a formula.

    how: "proved", "computed" (for some T only), "cited", "definition", "wrong" (refuted, as it should be), "right" (a true
    line of a derivation that is wrong elsewhere) or "failed". row: which row of the formula it stands in, from 0.
    """

    how: str
    note: str
    row: int = 0
    latex: str = ""
    reason: str = ""
    about: dict | None = None  # what the judge said, see _about; None where nothing was judged


@dataclass(frozen=True)
class Checked:
    """A block with what is known about its lines."""

    block: Block
    lines: tuple[Line, ...] = ()
    problems: tuple[str, ...] = field(default=())


# ---------------------------------------------------------------------------------------------------- reading pages


def blocks(lines: list[str]) -> Iterator[Block]:
    """The displayed formulas of a Markdown text, outside code."""
    fence, options, comment_at, at = "", None, -1, 0
    problem = ""
    while at < len(lines):
        line = lines[at]
        if fenced := _FENCE.match(line):
            mark = fenced[1]
            if not fence:
                fence = mark
            elif mark[0] == fence[0] and len(mark) >= len(fence) and not line.strip(" \t>" + mark[0]):
                fence = ""
        elif fence:
            pass
        elif found := _COMMENT.match(line):
            if comment_at >= 0:
                yield Block(comment_at, comment_at, "", "", None, "a check comment with no formula after it")
            options, problem = _options(found[1])
            comment_at = at
        elif opened := _OPEN.match(line):
            close = "$$" if opened["mark"] == "$$" else r"\]"
            body, last = _body(lines, at, opened, close)
            if last is None:
                yield Block(at, at, opened["indent"], "", options, f"the formula is not closed with {close}")
            else:
                if not problem and options is None:
                    problem = 'no check comment before this formula; it needs one of: setting=NAME, cited="...", definition'
                yield Block(at, last, opened["indent"], body, options, problem)
                at = last
            options, comment_at, problem = None, -1, ""
        elif line.strip(" \t>") and comment_at >= 0:
            yield Block(comment_at, comment_at, "", "", None, "a check comment with no formula after it")
            options, comment_at, problem = None, -1, ""
        at += 1
    if comment_at >= 0:
        yield Block(comment_at, comment_at, "", "", None, "a check comment with no formula after it")


def _body(lines: list[str], at: int, opened: re.Match, close: str) -> tuple[str, int | None]:
    """The text up to the closing delimiter, and the line it is on; the indent or quote mark before each line is left out."""
    parts, indent = [], opened["indent"]
    for last in range(at, len(lines)):
        text = lines[last]
        text = opened["rest"] if last == at else text[len(indent) :] if text.startswith(indent) else text.lstrip(" \t>")
        if close in text:
            parts.append(text[: text.index(close)])
            return "\n".join(parts).strip("\n"), last
        if last > at and not text.strip():
            return "", None  # Markdown ends the paragraph here
        parts.append(text)
    return "", None


def _options(text: str) -> tuple[dict[str, str], str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        return {}, f"the check comment cannot be read: {error}"
    options = dict(word.partition("=")[::2] for word in words)
    if unknown := options.keys() - OPTIONS:
        return {}, f"the check comment has an unknown option {min(unknown)}; known are {', '.join(sorted(OPTIONS))}"
    if not options:
        return {}, "the check comment is empty"
    if "let" in options and not options.get("setting"):
        return {}, "let needs a setting, whose letters it declares"
    if "wrong" in options and not options.get("setting"):
        return {}, "wrong needs a setting in which the line is refuted"
    if "wrong" in options and not re.fullmatch(r"(\d+(,\d+)*)?", options["wrong"]):
        return {}, "wrong=... takes line numbers, such as wrong=2,4"
    if "cited" in options and not options["cited"].strip():
        return {}, "cited needs a source"
    return options, ""


# ---------------------------------------------------------------------------------------------------- judging


@cache
def engine() -> str:
    """A hash of everything a verdict depends on besides the formula: this package's source and the libraries' versions."""
    from importlib.metadata import version

    digest = hashlib.sha256(f"{version('sympy')} {version('lark')} {sys.version_info[:2]}".encode())
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in {".py", ".lark", ".toml"}:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def judged(latex: str, setting: str, let: str = "") -> list[dict]:
    """One entry for each relation: kind, latex, reason, note, row, about. From the cache when the engine has not changed."""
    rows = "".join(f"let {row.strip()}\n" for row in let.split(";") if row.strip())
    return _kept("line", _judge, rows + latex, setting)


def _kept(what: str, compute: Callable[[str, str], list[dict]], latex: str, setting: str) -> list[dict]:
    """compute(latex, setting), remembered on disk under `what`, the arguments and the engine."""
    key = hashlib.sha256(json.dumps([what, latex, setting]).encode()).hexdigest()[:32]
    path = CACHE / engine() / f"{key}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    out = compute(latex, setting)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(out, file)
        os.replace(temporary, path)
    except OSError:
        pass  # a folder that cannot be written only costs time
    return out


def _judge(latex: str, setting: str) -> list[dict]:
    from course.equations import judge_derivation

    found = judge_derivation(latex, setting)
    if found.error:
        return [{"kind": "unreadable", "latex": "", "reason": found.error.reason, "note": "", "row": 0}]
    declared = next((n for n, line in enumerate(latex.split("\n")) if not line.startswith("let ")), 0)  # rows of the comment
    latex = "\n".join(latex.split("\n")[declared:])
    starts = [0]
    for line in latex.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    spans = rows(latex)
    out = []
    for step in found.steps:
        at_line, column = step.position[0] - declared, step.position[1]
        if at_line < 1:
            continue
        offset = starts[min(at_line, len(starts) - 1) - 1] + column - 1
        row = max((k for k, (start, _, _) in enumerate(spans) if start <= offset), default=0)
        out.append(
            {"kind": step.kind, "latex": step.latex, "reason": _reason(step.verdict), "note": _note(step.verdict), "row": row,
             "about": {**_about(step.verdict), "read_with": list(found.read_with)}}
        )
    return out


def _about(verdict) -> dict:
    """What a card says of a verdict, as plain data."""
    return {
        "kind": verdict.kind, "range": _range(verdict), "why": verdict.reason, "certificate": verdict.certificate,
        "assumptions": list(verdict.assumptions), "repairs": [list(each) for each in verdict.repairs[:2]],
        "counterexample": "" if verdict.counterexample is None else str(verdict.counterexample),
    }


def _note(verdict) -> str:
    """How an accepted line is known, in a few words."""
    if verdict.kind == "definition":
        return "definition"
    if verdict.kind not in {"identity", "bound"}:
        return ""
    known = _range(verdict)
    for_ = f" for {known}" if known else ""
    proof = "bound, proved" if verdict.kind == "bound" else "proved"
    how = f"{proof}{for_}" if not known or "every" in known else f"computed exactly{for_}"
    if "in law" in verdict.codes:
        how += ", in law"
    used = verdict.assumptions[:1] if "Markov" in verdict.codes else ()
    return how + "".join(f", uses {a}" for a in (*used, *(a.partition(":")[0] for a in verdict.assumptions if a in TAKEN_OVER)))


def _range(verdict) -> str:
    """For which T or t a line was shown: chains are judged from T = 2 on, schedules from t = 2 on (1/(1 - alpha_bar_0) is 1/0)."""
    known = verdict.proved_for
    if found := re.fullmatch(r"all T(?: from (\d+))?", known):
        return f"every T ≥ {found[1] or 2}"
    if known == "all t":
        return "every t ≥ 2" if "from t = 2" in verdict.codes else ""
    return known


def _reason(verdict) -> str:
    parts = [verdict.reason, f"gap: {verdict.certificate}" if verdict.certificate else ""]
    if verdict.counterexample is not None:
        parts.append("; ".join(str(verdict.counterexample).splitlines()))
    parts += [f"would hold: {latex} ({what})" for latex, what in verdict.repairs[:2]]
    return ". ".join(p for p in parts if p)


def check(block: Block) -> Checked:
    """Judge one block as its comment asks."""
    options = block.options or {}
    if block.problem:
        return Checked(block, (), (block.problem,))
    if "setting" not in options:
        kind = "definition" if "definition" in options else "cited"
        note = f"cited: {options['cited']}" if kind == "cited" else "definition"
        return Checked(block, tuple(Line(kind, note, k) for k, _ in enumerate(rows(block.latex)))[:1])
    try:
        found = judged(block.latex, options["setting"], options.get("let", ""))
    except Exception as error:  # an unknown setting, or a fault of the checker: either way the page must not build
        return Checked(block, (), (f"could not be judged: {error}",))
    lines, problems = [], []
    refuted = [n for n, f in enumerate(found, 1) if f["kind"] == "refuted"]
    for n, f in enumerate(found, 1):
        how, note = _how(f, options)
        if how == "failed":
            problems.append(f"line {n}: {f['kind']}: {f['latex']}: {f['reason']}")
        lines.append(Line(how, note, f["row"], f["latex"], f["reason"], f.get("about")))
    if not found:
        problems.append("there is no relation in this formula; say `definition` if it only introduces something")
    if "wrong" in options:
        asked = sorted(int(n) for n in options["wrong"].split(",") if n)
        if not refuted:
            problems.append("marked wrong, but no line of it is refuted")
        elif asked and asked != refuted:
            problems.append(f"marked wrong in lines {asked}, but refuted in lines {refuted}")
    return Checked(block, tuple(lines), tuple(problems))


def _how(found: dict, options: dict[str, str]) -> tuple[str, str]:
    if found["kind"] == "definition":
        return "definition", "definition"
    if found["kind"] in {"identity", "bound"}:
        if "definition" in options:
            return "definition", "definition, agrees with the setting"
        how = {"computed": "computed", "definition": "definition"}.get(found["note"].split()[0], "proved")
        return how, found["note"]
    if found["kind"] == "refuted":
        return ("wrong", "refuted, as it should be") if "wrong" in options else ("failed", "refuted")
    if options.get("cited"):
        return "cited", f"cited: {options['cited']}"
    return "failed", found["kind"]


# ---------------------------------------------------------------------------------------------------- showing


def rows(latex: str) -> list[tuple[int, int, int]]:
    r"""The rows of a formula as (start, end, columns): those of its outermost aligned environment, or all of it as one row."""
    opened = re.search(r"\\begin\{(aligned|align\*?|split|gathered|gather\*?)\}", latex)
    if not opened:
        return [(0, len(latex), 0)]
    out, start, depth, columns, at = [], opened.end(), 0, 1, opened.end()
    while at < len(latex):
        if latex.startswith("\\\\", at) and depth == 0:
            out.append((start, at, columns))
            skip = re.match(r"\\\\\*?(\s*\[[^\]]*\])?", latex[at:])
            at += skip.end() if skip else 2
            start, columns = at, 1
            continue
        if latex.startswith("\\end{", at) and depth == 0:
            break
        if latex[at] == "\\":
            depth += latex.startswith("\\begin{", at) - latex.startswith("\\end{", at)
            at += 2
            continue
        depth += (latex[at] == "{") - (latex[at] == "}")
        columns += latex[at] == "&" and depth == 0
        at += 1
    if latex[start:at].strip():
        out.append((start, at, columns))
    return out


def marked(latex: str, lines: Iterable[Line]) -> str:
    r"""The LaTeX with a mark at the end of every row of an aligned formula: \checkmark, \dagger, or a cross."""
    spans = rows(latex)
    if len(spans) < 2:
        return latex
    most = max(columns for _, _, columns in spans)
    signs: dict[int, list[str]] = {}
    for line in (line for line in lines if line.how != "definition"):           # nothing is claimed, nothing to tick
        signs.setdefault(line.row, []).append(MARKS.get(line.how, MARKS["proved"]))
    for row in range(len(spans) - 1, -1, -1):
        start, end, columns = spans[row]
        if row in signs:
            text = latex[start:end].rstrip()
            sign = "&" * (most - columns + 1) + r"\quad {\scriptstyle " + " ".join(signs[row]) + "}"
            latex = latex[:start] + text + " " + sign + latex[start + len(text) : end] + latex[end:]
    return latex


def note_html(checked: Checked, seen: set[str]) -> str:
    """The note below a formula: how each line is known, and behind it a card for each line. seen: anchors of the page so far."""
    if checked.problems:
        items = "".join(f"<li>{html.escape(p)}</li>" for p in checked.problems)
        return f'<ul class="known known-failed">{items}</ul>'
    word = "line" if len({line.row for line in checked.lines}) == len(checked.lines) else "step"
    groups: list[tuple[int, int, Line]] = []
    for n, line in enumerate(checked.lines, 1):
        if groups and (groups[-1][2].how, groups[-1][2].note) == (line.how, line.note):
            groups[-1] = (groups[-1][0], n, line)
        else:
            groups.append((n, n, line))
    parts = []
    for first, last, line in groups:
        where = "" if len(groups) == 1 else f"{word} {first}: " if first == last else f"{word}s {first} to {last}: "
        if len(groups) == 1 and last > 1:
            where = f"all {last} {word}s: "
        parts.append(f'<span class="known-{line.how}">{where}{html.escape(line.note)}</span>')
    latex = " ".join(checked.block.latex.split())
    anchor = "f-" + hashlib.sha256(latex.encode()).hexdigest()[:8]
    while anchor in seen:
        anchor += "x"
    seen.add(anchor)
    setting = (checked.block.options or {}).get("setting", "")
    cards = []
    for n, line in enumerate(checked.lines, 1):
        alone = line.how in {"proved", "computed"} and "let" not in (checked.block.options or {})  # a slip is judged by itself
        slips = _kept("slips", broken, line.latex, setting) if alone else []
        shown = line if line.latex else replace(line, latex=latex)
        cards.append(card(n, len(checked.lines), shown, setting, anchor, slips))
    return (
        f'<details class="formula-card" id="{anchor}" data-search-exclude><summary class="known">{"".join(parts)}</summary>'
        f'{"".join(cards)}</details>'
    )


class _Marks(Preprocessor):
    """Puts marks into formulas and notes below them. Runs after fenced code has been set aside."""

    def __init__(self, md: Markdown, docs: Path):
        super().__init__(md)
        self.docs = docs

    def run(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        on_paper: list[str] = []
        seen: set[str] = set()
        before = 0
        for block in blocks(lines):
            if block.options is None and not block.latex.strip():
                continue
            comment = block.first - 1
            while comment >= before and not _COMMENT.match(lines[comment]):
                comment -= 1
            if block.options is None or comment < before:
                continue  # not ours to show: the check of the folder reports it
            checked = check(block)
            for problem in checked.problems:
                log.warning("formula %r: %s", " ".join(block.latex.split())[:80], problem)
            out += lines[before:comment] + lines[comment + 1 : block.first]
            prefix = block.indent
            shown = marked(block.latex, checked.lines)
            out += ["", f"{prefix}$$", *(prefix + text for text in shown.split("\n")), f"{prefix}$$", ""]
            out += [prefix + self.md.htmlStash.store(note_html(checked, seen)), ""]
            on_paper.append(note_on_paper(checked.lines, (block.options or {}).get("setting", "")))
            before = block.last + 1
        out += lines[before:]
        if on_paper:
            notes = f"<p>How the formulas are known</p><ol>{''.join(on_paper)}</ol>"
            notes = f'<section class="formula-notes" data-search-exclude>{notes}</section>'
            out += ["", self.md.htmlStash.store(notes), ""]
        listed = [(line, _LIST.match(line)) for line in out]
        return [text for line, found in listed for text in (report_markdown(self.docs, found["root"]) if found else [line])]


class CheckedFormulas(Extension):
    """Marks and notes for displayed formulas; the option `docs` is the folder whose formulas the list shows."""

    def __init__(self, **kwargs):
        self.config = {"docs": ["docs", "the folder of the documentation"]}
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(_Marks(md, Path(self.getConfig("docs"))), "checked-formulas", 22)


def makeExtension(**kwargs) -> CheckedFormulas:
    return CheckedFormulas(**kwargs)


# ---------------------------------------------------------------------------------------------------- the whole folder


def pages(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return sorted(p for p in folder.rglob("*.md") if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def check_page(path: Path) -> list[Checked]:
    return [check(block) for block in blocks(path.read_text(encoding="utf-8").splitlines())]


def count(checked: Iterable[Checked]) -> Counter:
    return Counter(line.how for c in checked for line in c.lines)


def report_markdown(folder: Path, root: str | None = None) -> list[str]:
    """The list of all checked formulas, as Markdown: totals, then every line by page. root: where the folder is, for links."""
    found = {page: check_page(page) for page in pages(folder)}
    total = count(c for all_of in found.values() for c in all_of)
    words = {
        "proved": "proved",
        "computed": "computed exactly for some T, not proved for all",
        "cited": "cited from a source",
        "wrong": "wrong on purpose, and refuted",
        "definition": "definitions, which claim nothing",
        "failed": "not accepted",
    }
    out = ["", "| lines | how they are known |", "|--:|:--|"]
    out += [f"| {total[how]} | {text} |" for how, text in words.items() if total[how]]
    for page, all_of in found.items():
        lines = [line for c in all_of for line in c.lines]
        if not lines:
            continue
        title = next((t[2:].strip() for t in page.read_text(encoding="utf-8").splitlines() if t.startswith("# ")), page.stem)
        link = f"[{title}]({root}{page.relative_to(folder).as_posix()})" if root is not None else title
        out += ["", f"## {link}", "", "| line | how it is known |", "|:--|:--|"]
        for c in all_of:
            for line in c.lines:
                formula = " ".join((line.latex or c.block.latex).split())
                formula = formula.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
                out.append(f"| ${formula}$ | {line.note.replace('|', ' ')} |")
    return [*out, ""]


def main(arguments: list[str] | None = None) -> int:
    """Check folders or pages; 0 when every line is accepted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    targets = [Path(a) for a in arguments] or [Path("docs")]
    if missing := [t for t in targets if not t.exists()]:
        print(f"there is no {missing[0]}", file=sys.stderr)
        return 2
    total: Counter = Counter()
    bad = 0
    for target in targets:
        for page in pages(target):
            found = check_page(page)
            total += count(found)
            for c in found:
                for problem in c.problems:
                    bad += 1
                    print(f"{page}:{c.block.first + 1}: {problem}")
    print(
        ", ".join(f"{n} {how}" for how, n in sorted(total.items())) or "no formulas",
        f"in {len(targets)} folders" if len(targets) > 1 else "",
    )
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
