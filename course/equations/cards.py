r"""What the documentation shows of a verdict: for each line its claim, its range, its evidence, and what breaks it.

A *card* is plain HTML below a formula, folded until somebody asks. "Break it" offers up to five slips, one of each kind (a sign, a
bar, an index, p for q, the relation ...), each judged when the site is built, each with the exact numbers that refute it.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator

# Kinds of slips in the order in which they are offered, and the words of repairs.py that belong to them.
SLIPS = {
    "relation": ("the relation changed",),
    "sign": ("a sign changed",),
    "bar": ("a bar left out", "a bar added", "a tilde left out"),
    "index": ("an index moved by one", "a limit moved by one"),
    "p and q": ("p and q exchanged", "the laws of the KL exchanged"),
    "condition": ("the sides of the bar exchanged", "a condition left out"),
    "root": ("a root left out", "a square left out", "a root added"),
    "factor": ("a factor left out", "a term left out"),
    "log": ("the logarithm left out",),
    "letters": ("alpha and beta exchanged", "the network exchanged with the noise"),
    "shape": ("sum and product exchanged", "the fraction turned over"),
}
MOST = 5
TRIES = 3  # edits of one kind that are judged until one of them is decided

SETTINGS = {
    "vae": "one hidden variable: any p(x, z), and any q(z|x)",
    "hvae": "hidden variables z_1 ... z_T; p walks down and q up, and each step knows only its neighbour",
    "chain": "hidden variables z_1 ... z_T, without the Markov property",
    "diffusion": "x_0 ... x_T: any data, any Markov q that adds noise, any Markov p that takes it away",
    "gaussian": "the Gaussian diffusion with any schedule of betas",
    "flow": "a straight line between data and noise",
    "levels": "any path of data and noise",
    "masked": "words that are masked for good",
    "edm": "data with noise of standard deviation sigma",
}


def slips(latex: str) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, what was changed, changed lines) of one relation, in the order of SLIPS; the lines are canonical LaTeX."""
    from course.equations.reading.reader import ReadError, read
    from course.equations.reading.tree import latex as written
    from course.equations.repairs import edits

    try:
        chains = read(latex).chains
    except ReadError:
        return
    if len(chains) != 1 or len(chains[0].relations) != 1:
        return
    by_word: dict[str, list[str]] = {}
    for what, changed in edits(chains[0]):
        text = written(changed)
        if text != latex and text not in by_word.setdefault(what, []):
            by_word[what].append(text)
    for kind, words in SLIPS.items():
        for word in words:
            if word in by_word:
                yield kind, word, by_word[word]
                break


def broken(latex: str, setting: str) -> list[dict[str, str]]:
    """Up to MOST slips of one line, judged: kind, what, latex, verdict ("refuted", "identity" or "bound"), numbers."""
    from course.equations import judge_derivation

    out = []
    for kind, what, candidates in slips(latex):
        for text in candidates[:TRIES]:
            try:
                steps = judge_derivation(text, setting, explain=False).steps
            except Exception:  # a slip that the judge cannot take is not offered; its own tests look for such faults
                continue
            if len(steps) == 1 and steps[0].kind in {"refuted", "identity", "bound"}:
                verdict = steps[0].verdict
                numbers = str(verdict.counterexample) if verdict.counterexample is not None else verdict.reason
                out.append({"kind": kind, "what": what, "latex": text, "verdict": verdict.kind, "numbers": numbers})
                break
        if len(out) == MOST:
            break
    return out


def card(number: int, total: int, line, setting: str, anchor: str, slipped: list[dict[str, str]]) -> str:
    """One line of a formula as HTML: what is claimed and for what, how it is known, how it breaks, how to use it."""
    about = line.about
    claims = {"identity": "both sides are equal", "bound": "the inequality always holds, and is strict somewhere", "refuted": "it is false",
              "definition": "it gives a name and claims nothing"}
    facts: list[tuple[str, str]] = []
    if about:
        range_ = f", for {about['range']}" if about["range"] else ""
        facts.append(("Claim", _text(claims.get(about["kind"], about["kind"]) + range_)))
        facts.append(("Setting", f"<code>{_text(setting)}</code>: {_text(SETTINGS.get(setting, 'a setting of this course'))}"))
    facts.append(("Read as" if about else "Formula", later(line.latex)))
    if about:
        evidence = ". ".join(part for part in (about["why"], about["certificate"]) if part)
        facts.append(("Evidence", _text(evidence or "the proof has been found and checked")))
        if about.get("read_with"):
            facts.append(("Read with", "; ".join(map(_with_formulas, about["read_with"]))))
        if about["assumptions"]:
            facts.append(("Assumes", "; ".join(map(_text, about["assumptions"]))))
        if about["counterexample"]:
            facts.append(("Numbers that refute it", _numbers(about["counterexample"])))
        if about["repairs"]:
            facts.append(("Would hold", "".join(f"{later(text)}<small>{_text(what)}</small>" for text, what in about["repairs"])))
    else:
        facts.append(("How it is known", _text(line.note)))
    if slipped:
        facts.append(("Break it", "".join(_chip(each, f"{anchor}-{number}") for each in slipped)))
    uses = f'<a href="#{anchor}-{number}">link to this line</a>'
    if about:
        command = f"course prove --setting {setting} {shlex.quote(line.latex)}"
        uses += f'<code class="formula-command">{_text(command)}</code>'
    facts.append(("Use it", uses))
    title = f"<p class=\"formula-line\">Line {number} of {total}</p>" if total > 1 else ""
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    data = f'data-setting="{setting}" data-latex="{html.escape(line.latex, quote=True)}"'
    return f'<section id="{anchor}-{number}" {data}>{title}<dl>{rows}</dl></section>'


def later(latex: str) -> str:
    """A formula that is drawn when its card is opened."""
    return f'<div class="formula-later">\\({_text(" ".join(latex.split()))}\\)</div>' if latex else ""


def _chip(slip: dict[str, str], group: str) -> str:
    verdict = "refuted" if slip["verdict"] == "refuted" else "still true"
    same = "<p>This one is true as well.</p>"
    numbers = _numbers(slip["numbers"]) if slip["verdict"] == "refuted" else same
    return (
        f'<details class="formula-chip" name="{group}"><summary>{_text(slip["kind"])}</summary>'
        f"<p><strong>{verdict}</strong>: {_text(slip['what'])}</p>{later(slip['latex'])}{numbers}</details>"
    )


def _numbers(text: str) -> str:
    return f'<pre class="formula-numbers">{_text(text)}</pre>'


def _with_formulas(text: str) -> str:
    """Words with formulas between dollars."""
    inside = '<span class="formula-later" style="display: inline">\\({}\\)</span>'
    return "".join(inside.format(_text(part)) if n % 2 else _text(part) for n, part in enumerate(text.split("$")))


def _text(text: str) -> str:
    return html.escape(text, quote=False)


def note_on_paper(lines, setting: str) -> str:
    """What a printed page says of one formula: how each line is known, on what evidence, under which assumptions."""
    parts = []
    for n, line in enumerate(lines, 1):
        where = f"line {n}: " if len(lines) > 1 else ""
        about = line.about or {}
        more = [part for part in (about.get("why"), about.get("certificate")) if part]
        if about.get("assumptions"):
            more.append("assumes " + " and ".join(re.sub(r":.*", "", each) for each in about["assumptions"]))
        if about.get("counterexample"):
            more.append("; ".join(part.strip() for part in about["counterexample"].splitlines()[:8]))
        parts.append(where + line.note + (f" ({setting}; {'; '.join(more)})" if more else ""))
    merged: list[str] = []
    for part in parts:
        if not merged or re.sub(r"^line \d+: ", "", merged[-1]) != re.sub(r"^line \d+: ", "", part):
            merged.append(part)
    return f"<li>{_text('. '.join(merged))}</li>"
