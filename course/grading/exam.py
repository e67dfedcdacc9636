"""An exam bank without end: `course exam --seed 7 --tasks 6` writes a paper, its key, and a form that is marked by machine.

Three kinds of question, in turn. *Lines*: four formulas of which one is true; the three slips are single edits of true lines,
one of each of three classes (a sign or a term; an index, a bar or a tilde; a root, a square or two things exchanged), so that
another seed asks for the same eye. *Numbers*: a fresh small world, computed exactly. *Code*: ten lines with one slip in them.

Nothing enters a paper unjudged: the true line is proved, each slip refuted by a counterexample that is in the key, each slip in
code is run beside the right code and gives something else.
"""

from __future__ import annotations

import html
import json
import math
import os
import random
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from course.grading.values import plain
from course.grading.writers import save

TRUE = (          # all in the setting `gaussian`; each is proved again whenever it is used
    r"\bar\alpha_t = \alpha_t \bar\alpha_{t-1}",
    r"x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1-\bar\alpha_t} \epsilon",
    r"\tilde\beta_t = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t} \beta_t",
    r"\tilde\mu_t = \frac{\sqrt{\bar\alpha_{t-1}}\beta_t}{1-\bar\alpha_t} x_0 + \frac{\sqrt{\alpha_t}(1-\bar\alpha_{t-1})}{1-\bar\alpha_t} x_t",
    r"\tilde\mu_t = \frac{1}{\sqrt{\alpha_t}}\left(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\epsilon\right)",
    r"x_0 = \frac{x_t - \sqrt{1-\bar\alpha_t}\epsilon}{\sqrt{\bar\alpha_t}}",
    r"\nabla_{x_t}\log q(x_t|x_0) = -\frac{\epsilon}{\sqrt{1-\bar\alpha_t}}",
    r"v = \sqrt{\bar\alpha_t}\epsilon - \sqrt{1-\bar\alpha_t}x_0",
    r"x_0 = \sqrt{\bar\alpha_t}x_t - \sqrt{1-\bar\alpha_t}v",
    r"\epsilon = \sqrt{1-\bar\alpha_t}x_t + \sqrt{\bar\alpha_t}v",
)
CLASSES = {"sign or term": ("a sign", "a term", "a factor"), "index or mark": ("an index", "a bar", "a tilde", "bars"),
           "root, square or exchange": ("a root", "a square", "the coefficients", "x_0 written", "another x", "the network", "the fraction")}
KINDS = ("lines", "numbers", "code")
TOLERANCE = 0.01


@dataclass(frozen=True)
class Question:
    """What is asked, the options if it has any, the key (a letter or a number), and why the key is right, as plain data."""

    kind: str
    text: str
    options: tuple[str, ...] = ()
    key: str | float = ""
    why: tuple[Any, ...] = field(default_factory=tuple)


def exam(seed: int, tasks: int) -> list[Question]:
    """The questions of a paper. Raises ValueError for a number of tasks below 1."""
    if not 1 <= tasks <= 100:
        raise ValueError(f"an exam has 1 to 100 tasks, not {tasks}")
    rng = random.Random(f"course exam {seed}")
    makers: dict[str, Callable[[random.Random, int], Question]] = {"lines": lines, "numbers": numbers, "code": code}
    offset = rng.randrange(100)          # where the rounds through the worlds and the code begin
    return [makers[KINDS[n % 3]](rng, offset + n // 3) for n in range(tasks)]


# ---------------------------------------------------------------- lines

def lines(rng: random.Random, turn: int = 0) -> Question:
    """One true line and three slips, one of each class, all of different formulas."""
    from course.equations import judge

    chosen = rng.sample(TRUE, len(TRUE))
    proof = judge(chosen[0], "gaussian", explain=False)
    if not proof.accepted:
        raise RuntimeError(f"the judge does not accept {chosen[0]}: {proof.reason}")
    options: list[tuple[str, bool, dict[str, Any]]] = [(chosen[0], True, {"verdict": proof.kind, "reason": proof.reason})]
    rest = chosen[1:]
    for name, starts in CLASSES.items():
        line, slip = next((line, slip) for line in rest if (slip := _slip(rng, line, starts)) is not None)
        rest.remove(line)
        options.append((slip[0], False, {"class": name, **slip[1], "true line": line}))
    rng.shuffle(options)
    letter = "abcd"[[true for _, true, _ in options].index(True)]
    return Question("lines", "Exactly one of these lines is true for every schedule and all x. Which one?",
                    tuple(line for line, _, _ in options), letter, tuple(why for _, _, why in options))


def _slip(rng: random.Random, line: str, starts: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """A single edit of the line that the judge refutes, with its counterexample; None if there is none of this class."""
    from course.equations import judge
    from course.equations.reading.reader import read_statement
    from course.equations.reading.tree import latex
    from course.equations.repairs import edits

    found = [(what, new) for what, new in edits(read_statement(line)) if what.startswith(tuple(starts))]
    for what, new in rng.sample(found, len(found)):
        text = latex(new)
        verdict = judge(text, "gaussian", explain=False)
        if verdict.kind == "refuted":
            return text, {"verdict": "refuted", "edit": what, "counterexample": str(verdict.counterexample)}
    return None


# ---------------------------------------------------------------- numbers

def numbers(rng: random.Random, turn: int = 0) -> Question:
    """A small world with fresh numbers; the answer to within one part in a hundred."""
    text, answer, why = WORLDS[turn % len(WORLDS)](rng)
    return Question("numbers", text + " Give a decimal number.", (), round(float(answer), 6), (why,))


def _alpha_bar(rng: random.Random) -> tuple[str, Any, str]:
    betas = [Fraction(rng.randrange(5, 50), 100) for _ in range(4)]
    return (f"A schedule has the betas {_list(betas)}. What is alpha_bar_4, the share of the clean picture's variance that is left after four "
            "steps?", math.prod(1 - b for b in betas), "the product of 1 - beta")


def _clean(rng: random.Random) -> tuple[str, Any, str]:
    a, b, c = rng.choice([(3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25)])
    x, eps = Fraction(rng.randrange(-20, 21), 10), Fraction(rng.randrange(-20, 21), 10)
    alpha_bar = Fraction(a * a, c * c)
    return (f"alpha_bar_t = {_dec(alpha_bar)}, x_t = {_dec(x)} (one number), and the network answers epsilon = {_dec(eps)}. Which x_0 does it "
            "believe in?", (x - Fraction(b, c) * eps) / Fraction(a, c), f"(x_t - {_dec(Fraction(b, c))} epsilon) / {_dec(Fraction(a, c))}")


def _ddim(rng: random.Random) -> tuple[str, Any, str]:
    (a, b, c), (d, e, f) = rng.sample([(3, 4, 5), (5, 12, 13), (8, 15, 17), (20, 21, 29)], 2)
    x, eps = Fraction(rng.randrange(-20, 21), 10), Fraction(rng.randrange(-20, 21), 10)
    value = Fraction(d, f) * (x - Fraction(b, c) * eps) / Fraction(a, c) + Fraction(e, f) * eps
    return (f"One DDIM step from alpha_bar = {_dec(Fraction(a * a, c * c))} to alpha_bar = {_dec(Fraction(d * d, f * f))}; x = {_dec(x)} and the "
            f"network answers epsilon = {_dec(eps)}. What is x after the step?", value, "believe in x_0, then noise it to the new level")


def _guide(rng: random.Random) -> tuple[str, Any, str]:
    u, c, w = Fraction(rng.randrange(-30, 31), 10), Fraction(rng.randrange(-30, 31), 10), Fraction(rng.randrange(4, 21), 2)
    return (f"Without the prompt the network answers epsilon = {_dec(u)}, with it {_dec(c)}; the guidance scale is {_dec(w)} (1 is no guidance). "
            "Which epsilon does the sampler get?", u + w * (c - u), "without + scale (with - without)")


def _kl(rng: random.Random) -> tuple[str, Any, str]:
    m, n = rng.randrange(-3, 4), rng.randrange(-3, 4)
    s, r = rng.choice([Fraction(1, 2), Fraction(1), Fraction(2)]), rng.choice([Fraction(1, 2), Fraction(1), Fraction(2)])
    value = math.log(r / s) + float((s * s + (m - n) ** 2) / (2 * r * r)) - 0.5
    return (f"KL(N({m}, {_dec(s * s)}) || N({n}, {_dec(r * r)})) in nats; the second number of each is the variance.", value,
            "log(r/s) + (s^2 + (m-n)^2)/(2 r^2) - 1/2")


WORLDS = (_alpha_bar, _clean, _ddim, _guide, _kl)


def _dec(value: Fraction) -> str:
    return f"{float(value):.6g}"


def _list(values: Sequence[Fraction]) -> str:
    return ", ".join(map(_dec, values))


# ---------------------------------------------------------------- code

PROGRAMS: tuple[tuple[str, str, str, tuple[tuple[int, str], ...]], ...] = (
    ("the share of variance that is left, for every step", "f(betas)", """def f(betas):
    result = []
    product = 1.0
    for beta in betas:
        product = product * (1 - beta)
        result.append(product)
    return result""", ((3, "    product = 0.9"), (5, "        product = product * beta"), (5, "        product = product - beta"),
                       (6, "        result.append(1 - product)"))),
    ("a DDIM step on lists of numbers, at levels 0 < alpha_bar < 1", "f(x, eps, now, next)", """def f(x, eps, now, next):
    result = []
    for value, noise in zip(x, eps):
        clean = value - (1 - now) ** 0.5 * noise
        clean = clean / now ** 0.5
        result.append(next ** 0.5 * clean + (1 - next) ** 0.5 * noise)
    return result""", ((4, "        clean = value - (1 - next) ** 0.5 * noise"), (5, "        clean = clean / next ** 0.5"), (5, "        clean = clean / now"),
                       (6, "        result.append(next ** 0.5 * clean + (1 - now) ** 0.5 * noise)"))),
    ("the guided noise for many pairs", "f(without, with_, scale)", """def f(without, with_, scale):
    result = []
    for u, c in zip(without, with_):
        direction = c - u
        result.append(u + scale * direction)
    return result""", ((4, "        direction = u - c"), (5, "        result.append(c + scale * direction)"), (5, "        result.append(scale * u + direction)"))),
    ("the mean of q(x_{t-1} | x_t, x_0), for one number", "f(x, clean, beta, before)", """def f(x, clean, beta, before):
    alpha = 1 - beta
    now = alpha * before
    left = before ** 0.5 * beta / (1 - now)
    right = alpha ** 0.5 * (1 - before) / (1 - now)
    return left * clean + right * x""", ((2, "    alpha = 1 + beta"), (3, "    now = alpha + before"), (4, "    left = now ** 0.5 * beta / (1 - now)"),
                                         (5, "    right = alpha ** 0.5 * (1 - now) / (1 - now)"),
                                         (6, "    return left * x + right * clean"))),
)


def code(rng: random.Random, turn: int = 0) -> Question:
    """A function with one wrong line; the answer is the number of the line."""
    what, call, right, slips = PROGRAMS[turn % len(PROGRAMS)]
    line, wrong = rng.choice(slips)
    text = right.split("\n")
    shown = [*text[:line - 1], wrong, *text[line:]]
    arguments = _arguments(rng, call)
    good, bad = run(right, arguments), run("\n".join(shown), arguments)
    if good == bad:
        raise RuntimeError(f"the slip {wrong!r} changes nothing on {arguments}")
    return Question("code", f"This function should compute {what}. One line of it is wrong. Give its number.", tuple(shown), str(line),
                    ({"right line": text[line - 1].strip(), "arguments": arguments, "should give": good, "gives": bad},))


def _arguments(rng: random.Random, call: str) -> list[Any]:
    def numbers(least: float, most: float) -> list[float]:
        return [round(rng.uniform(least, most), 3) for _ in range(3)]

    names = call[2:-1].split(", ")
    made = {"betas": lambda: numbers(0.05, 0.4), "now": lambda: round(rng.uniform(0.1, 0.4), 3), "next": lambda: round(rng.uniform(0.5, 0.9), 3),
            "beta": lambda: round(rng.uniform(0.1, 0.5), 3), "before": lambda: round(rng.uniform(0.4, 0.9), 3),
            "scale": lambda: round(rng.uniform(3, 9), 1), "clean": lambda: round(rng.uniform(0.5, 2), 3)}
    one = "[" not in call and names[0] == "x" and "clean" in names
    return [made[n]() if n in made else round(rng.uniform(-2, -0.5), 3) if one else numbers(-2, 2) for n in names]


def run(source: str, arguments: Sequence[Any]) -> Any:
    """What a program of PROGRAMS (ours, never a student's) returns."""
    names: dict[str, Any] = {}
    exec(source, names)
    value = names["f"](*arguments)
    return [round(v, 9) for v in value] if isinstance(value, list) else round(value, 9)


# ---------------------------------------------------------------- paper, key and form

def paper(questions: Sequence[Question], title: str) -> str:
    """The paper as one HTML page without scripts: formulas are MathML. Any browser prints it, or saves it as PDF."""
    import latex2mathml.converter

    parts = []
    for n, q in enumerate(questions, 1):
        if q.kind == "code":
            body = "<ol class='code'>" + "".join(f"<li><code>{html.escape(line)}</code></li>" for line in q.options) + "</ol>"
        else:
            body = "".join(f"<p class='option'><b>{'abcd'[i]})</b> {latex2mathml.converter.convert(line)}</p>" for i, line in enumerate(q.options))
        parts.append(f"<section><h2>{n}.</h2><p>{html.escape(q.text)}</p>{body}<p class='answer'>Answer:</p></section>")
    return ("<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
            f"<title>{html.escape(title)}</title><style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}"
            "section{break-inside:avoid;margin:1.5rem 0}h2{font-size:1rem;margin:0}.answer{border-bottom:1px solid;width:16rem}"
            ".code code{white-space:pre}math{font-size:1.1rem}</style></head><body><main>"
            f"<h1>{html.escape(title)}</h1><p>Name:</p><p>The letters are those of the course: x_t is the picture after t steps, alpha_bar_t the "
            "share of its variance that is left, epsilon the noise in it.</p>" + "".join(parts) + "</main></body></html>\n")


def form(questions: Sequence[Question], seed: int) -> str:
    """The file a student fills in."""
    hint = {"lines": "a letter", "numbers": "a number", "code": "the number of a line"}
    return (f"# Answers to the paper with seed {seed}. Write between the quotes.\n[answers]\n"
            + "".join(f'{n} = ""          # {hint[q.kind]}\n' for n, q in enumerate(questions, 1)))


def mark(questions: Sequence[Question], text: str) -> list[bool]:
    """Which answers in a filled-in form are right. Raises ValueError for a file that is no form."""
    try:
        answers = tomllib.loads(text)["answers"]
        given = [str(answers.get(str(n), "")).strip().lower().rstrip(").") for n in range(1, len(questions) + 1)]
    except (tomllib.TOMLDecodeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a filled-in form: {error}") from error
    return [_right(q, answer) for q, answer in zip(questions, given, strict=True)]


def _right(question: Question, answer: str) -> bool:
    if question.kind != "numbers":
        return answer == question.key
    try:
        value, key = float(answer.replace(",", ".")), float(question.key)
    except ValueError:
        return False
    return math.isfinite(value) and abs(value - key) <= TOLERANCE * max(abs(key), TOLERANCE)


def write_exam(folder: Path, seed: int, tasks: int, pdf: bool = False) -> list[Path]:
    """Write paper.html, key.json and answers.toml into the folder; with `pdf` paper.pdf, too. Raises what `print_pdf` raises."""
    questions = exam(seed, tasks)
    files = {"paper.html": paper(questions, f"Exam {seed}"), "answers.toml": form(questions, seed),
             "key.json": json.dumps({"seed": seed, "questions": [asdict(q) for q in questions]}, indent=1, ensure_ascii=False) + "\n"}
    for name, text in files.items():
        save(folder / name, text)
    return [folder / name for name in files] + ([print_pdf(folder / "paper.html")] if pdf else [])


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def print_pdf(page: Path) -> Path:
    """Print a page into the PDF beside it, by the browser of this machine. The variable CHROMIUM names another one.

    Raises ValueError if there is no browser, or if it did not print; a PDF from before is then as it was.
    """
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ValueError(f"no Chromium or Chrome here to print with: install one, name it in the variable CHROMIUM, or open {page} and print it")
    with tempfile.TemporaryDirectory(dir=page.parent) as work:
        made = Path(work) / "made.pdf"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={work}/profile", "--no-pdf-header-footer",
                   f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, errors="replace")
            said = done.stderr.strip().splitlines()[-1:]
        except (OSError, subprocess.TimeoutExpired) as error:
            said = [str(error)]
        if not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
            raise ValueError(f"{browser} did not print {page}: {plain(said[0] if said else 'it said nothing', 300)}")
        return made.replace(page.with_suffix(".pdf"))


def marks_of(paths: Sequence[Path], seed: int, tasks: int) -> str:
    """A line for each filled-in form: its name, the right answers, and which."""
    questions = exam(seed, tasks)
    out = ["file,right,of," + ",".join(str(n) for n in range(1, tasks + 1))]
    for path in paths:
        right = mark(questions, path.read_text(encoding="utf-8-sig"))
        out.append(f"{path.name.replace(',', '_')},{sum(right)},{tasks}," + ",".join("1" if r else "0" for r in right))
    return "\n".join(out)
