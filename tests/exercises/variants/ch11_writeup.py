"""Right and wrong write-ups, made when they are needed: their rows are pictures of the model that ships, and that one changes.

A tiny sweep gives the rows. A claim's interval is what its rows show; so these stay right, and the planted mistakes wrong, whatever
the weights are.
"""

import csv
import io
import json
import math
from pathlib import Path

from course.lab import sweep, writeup
from course.lab.sweep import Setting

STUB = Path(__file__).resolve().parents[3] / "exercises" / "ch11_writeup.md"
SETTINGS = [Setting(sampler="heun", steps=4), Setting(sampler="ddim", steps=4), Setting(sampler="ddim", steps=1),
            Setting(sampler="ddim", steps=4, guidance=1.0)]
WIDE = [-1, 1]

CLAIMS = {"sampler": {"better": "heun", "worse": "ddim", "steps": 4, "guidance": 7.5, "measure": "right", "by": WIDE},
          "steps": {"better": 4, "worse": 1, "sampler": "ddim", "guidance": 7.5, "measure": "sharpness", "by": WIDE},
          "guidance": {"better": 7.5, "worse": 1.0, "sampler": "ddim", "steps": 4, "measure": "saturation", "by": WIDE}}
OTHERS = {"sampler": {"better": "ddim", "worse": "heun", "steps": 4, "guidance": 7.5, "measure": "clipped", "by": WIDE},
          "steps": {"better": 1, "worse": 4, "sampler": "ddim", "guidance": 7.5, "measure": "saturation", "by": WIDE},
          "guidance": {"better": 1, "worse": 7.5, "sampler": "ddim", "steps": 4, "measure": "right", "by": WIDE}}


# ------------------------------------------------------------------------------------------------ writing


def toml(claims):
    return "".join(f"[{about}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in claim.items()) + "\n"
                   for about, claim in claims.items())


def table(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, writeup.COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def page(claims, rows):
    """The stub with its two blocks filled in."""
    start, rest = STUB.read_text().split("```toml ch11.writeup\n")
    between, end = rest.split("```csv ch11.rows\n")
    return f"{start}```toml ch11.writeup\n{claims}```{between.split('```', 1)[1]}```csv ch11.rows\n{rows}{end}"


def measured(claims, rows):
    """The claims with the interval that the rows show, rounded outwards; the sides exchanged if the other one is right more often."""
    cited, done = writeup.read_cited(table(rows)), {}
    for claim in writeup.read_claims(toml(claims)):
        seen, _ = writeup.difference(claim, cited)
        low, high = math.floor(seen.low * 1e4 - 1) / 1e4, math.ceil(seen.high * 1e4 + 1) / 1e4
        done[claim.about] = told = {**claims[claim.about], "by": [low, high]}
        if claim.measure == "right" and high <= 0:
            told.update(better=told["worse"], worse=told["better"], by=[-high, -low])
    return done


def make(folder):
    """Sweep, then write first/ch11_writeup.md and second/ch11_writeup.md below `folder`; -> (claims, rows) of the first."""
    sweep.run(folder / "sweep", SETTINGS, sweep.scene_prompts(12), [42, 70], device="cpu", progress=False)
    first, second = (folder / name / "ch11_writeup.md" for name in ("first", "second"))
    for path in (first, second):
        path.parent.mkdir(exist_ok=True)
    first.write_text(page(toml(CLAIMS), ""))
    writeup.cite(folder / "sweep", first)
    rows = list(csv.DictReader(first.read_text().split("```csv ch11.rows\n")[1].split("```")[0].splitlines()))
    claims = measured(CLAIMS, rows)
    first.write_text(page(toml(claims), table(rows)))
    inline = "".join(f"{about} = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in claim.items())} }}   # one line each\n"
                     for about, claim in measured(OTHERS, rows).items())
    second.write_text(f"No headings here.\n~~~~ toml ch11.writeup\n{inline}~~~~\nProse, ```code```.\n\n"
                      f"~~~~ csv ch11.rows\n{table(rows[::-1])}~~~~\n")
    return claims, rows


# ------------------------------------------------------------------------------------------------ mistakes
# Each is a function (claims, rows) -> (claims, rows), or (TOML, CSV) where it breaks the form, on copies of the first variant.


def changed(about, **values):
    return lambda claims, rows: ({**claims, about: {**claims[about], **values}}, rows)


def without(about, key):
    return lambda claims, rows: ({**claims, about: {k: v for k, v in claims[about].items() if k != key}}, rows)


def each_row(change):
    """The same change to every row, and the claims measured on what comes of it."""
    def edit(claims, rows):
        rows = [{**row, **change(row)} for row in rows]
        return measured({about: {**claim, "by": WIDE} for about, claim in claims.items()}, rows), rows
    return edit


def turned(claims, rows):
    """The steps claim with its sides exchanged, and still by more than nothing."""
    by = claims["steps"]["by"]
    size = sorted(abs(end) for end in by)
    sides = ("worse", "better") if by[1] > 0 else ("better", "worse")
    return changed("steps", better=CLAIMS["steps"][sides[0]], worse=CLAIMS["steps"][sides[1]], by=size)(claims, rows)


def undecided(claims, rows):
    """Heun right in 13 of 24, DDIM in the 11 others: a difference of a twelfth that 12 prompts cannot show."""
    count = {"heun": 0, "ddim": 0}
    rows = [dict(row) for row in rows]
    for row in rows:
        if row["steps"] == "4" and row["guidance"] == "7.5":
            count[row["sampler"]] += 1
            row["right"] = int((count[row["sampler"]] <= 13) == (row["sampler"] == "heun"))
    return changed("sampler", by=[0.05, 0.6])(claims, rows)


def narrow(claims, rows):
    seen, _ = writeup.difference(writeup.read_claims(toml(claims))[1], writeup.read_cited(table(rows)))
    return changed("steps", by=[seen.value - 1e-6, seen.value + 1e-6])(claims, rows)


def exaggerated(claims, rows):
    return changed("steps", by=[3 * end for end in claims["steps"]["by"]])(claims, rows)


def other_thumbnails(claims, rows):
    """Those of the negatives: of other prompts or seeds they can be alike by chance."""
    return claims, [{**row, "thumbnail": "".join(f"{15 - int(level, 16):x}" for level in row["thumbnail"])} for row in rows]


def none_of(sampler):
    return lambda claims, rows: (claims, [row for row in rows if row["sampler"] != sampler])


def other_seeds(claims, rows):
    return claims, [{**row, "seed": int(row["seed"]) + (row["sampler"] == "heun")} for row in rows]


def other_prompts(claims, rows):
    return claims, [{**row, "prompt": row["prompt"].replace("a ", "the ", 1) if row["sampler"] == "heun" else row["prompt"]} for row in rows]


def one_prompt_less(claims, rows):
    return claims, [row for row in rows if row["prompt"] != rows[0]["prompt"]]


def one_pair_less(claims, rows):
    return claims, [row for row in rows if (row["prompt"], row["seed"]) != (rows[0]["prompt"], rows[0]["seed"])]


WRONG = [
    {"edit": turned, "says": "the claim has the wrong direction"},
    {"edit": undecided, "says": "these rows cannot tell the two apart"},
    {"edit": exaggerated, "says": "outside the interval you state"},
    {"edit": narrow, "says": "you claim to know more than these rows show"},
    {"edit": changed("guidance", by=[-3, 3]), "says": "so wide that it says nothing"},
    {"edit": other_thumbnails, "says": "rendered again, this row gives another picture"},
    {"edit": each_row(lambda row: {"seed": int(row["seed"]) + 1}), "says": "rendered again, this row"},
    {"edit": each_row(lambda row: {"saturation": 0.9 if row["guidance"] == "7.5" else 0.1}), "says": "rendered again, this row has saturation"},
    {"edit": each_row(lambda row: {"right": 1 - int(row["right"])}), "says": "rendered again, this picture is"},
    {"edit": none_of("heun"), "says": "speaks of heun, 4 steps, guidance 7.5, and no row does"},
    {"edit": other_seeds, "says": "is cited for one side only. Both sides need the same prompts and seeds"},
    {"edit": other_prompts, "says": "is cited for one side only. Both sides need the same prompts and seeds"},
    {"edit": one_prompt_less, "says": "rests on 11 prompts; it needs at least 12"},
    {"edit": one_pair_less, "says": "rests on chosen pictures"},
    {"edit": lambda claims, rows: (claims, rows + rows[:1]), "says": "line 98 of the rows: the same picture as line 2"},
    {"edit": changed("sampler", better="huen"), "says": "[sampler]: unknown sampler 'huen', did you mean 'heun'"},
    {"edit": changed("sampler", better="heun", worse="heun"), "says": "[sampler] compares 'heun' with itself"},
    {"edit": changed("sampler", better="ddim", worse="heun", by=[-0.9, -0.1]), "says": "right less often; exchange the two sides"},
    {"edit": changed("steps", measure="beauty"), "says": "[steps]: measure is one of"},
    {"edit": changed("steps", by=[0.2, 0.1]), "says": "low first"},
    {"edit": without("guidance", "steps"), "says": "[guidance] lacks steps"},
    {"edit": lambda claims, rows: ({k: v for k, v in claims.items() if k != "steps"}, rows), "says": "[steps] is missing"},
    {"edit": lambda claims, rows: (toml(claims).replace("= [", "= "), table(rows)), "says": "the claims are not TOML"},
    {"edit": lambda claims, rows: (toml(claims), ""), "says": "course lab cite DIR"},
    {"edit": lambda claims, rows: (toml(claims), table(rows).split("\n", 1)[1]), "says": "the first line must be"},
]


def wrong(claims, rows, edit):
    """A whole page with one mistake in it."""
    claims, rows = edit(claims, rows)
    return page(claims if isinstance(claims, str) else toml(claims), rows if isinstance(rows, str) else table(rows))
