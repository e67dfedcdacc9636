"""The write-up, with its evidence: claims in numbers, the rows they rest on, and a check that renders some of them again.

In exercises/ch11_writeup.md a student states three claims (sampler, steps, guidance), one TOML table each:

    [sampler]
    better = "heun"
    worse = "ddim"
    steps = 10                # what stays the same on both sides
    guidance = 7.5
    measure = "right"         # or saturation, sharpness, clipped
    by = [0.05, 0.25]         # from where to where the difference, better minus worse, lies

`course lab cite DIR` puts the rows of a sweep that the claims speak of beneath them. A claim holds when its rows are what the
model really gives (a few are rendered again), and the difference they show lies in the stated interval and on the stated side
of zero. Whether the prose around it is any good is for people to judge.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from course.lab.metrics import Interval, bootstrap
from course.lab.sweep import Setting, check

ABOUT = ("sampler", "steps", "guidance")
MEASURES = ("right", "saturation", "sharpness", "clipped")
COLUMNS = ("sampler", "steps", "guidance", "prompt", "seed", *MEASURES, "thumbnail")
FEWEST = 12            # pairs of pictures that a claim needs
MOST_STEPS = 200       # nobody's claim needs more, and every cited row may be rendered again


class Cited(NamedTuple):
    """One row under the claims: a picture of the emoji model, what was measured on it, and a thumbnail to know it again."""

    setting: Setting
    prompt: str
    seed: int
    measures: dict[str, float]
    thumbnail: str


class Claim(NamedTuple):
    """One table of the claims."""

    about: str
    better: Setting
    worse: Setting
    measure: str
    by: tuple[float, float]


def thumbnail(picture: Image.Image) -> str:
    """The picture as 4 x 4 cells of 16 levels of red, green and blue: 48 hexadecimal digits. Robust against the last bit."""
    cells = np.asarray(picture.convert("RGB").resize((4, 4), Image.Resampling.BOX), dtype=float) / 17    # (4, 4, 3)
    return "".join(f"{round(level):x}" for level in cells.flatten())


def alike(first: str, second: str) -> bool:
    """Whether two thumbnails are of the same picture, rounding apart."""
    if not len(first) == len(second) == 48:
        return False
    return all(abs(int(a, 16) - int(b, 16)) <= 1 for a, b in zip(first, second, strict=True))


# ------------------------------------------------------------------------------------------------ reading


def read_claims(text: str) -> list[Claim]:
    """The claims in a TOML text. Raises ValueError that names the table and what is wrong or missing in it."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the claims are not TOML: {error}") from error
    missing = [about for about in ABOUT if about not in tables]
    unknown = [name for name in tables if name not in ABOUT]
    if missing or unknown:
        raise ValueError(f"there must be one table for each of {', '.join(ABOUT)}; "
                         + (f"[{missing[0]}] is missing" if missing else f"[{unknown[0]}] is none of them"))
    return [_read_claim(about, tables[about]) for about in ABOUT]


def _read_claim(about: str, table: Any) -> Claim:
    where = f"[{about}]"
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table with better, worse, measure, by and what stays the same")
    fixed = [name for name in ABOUT if name != about]
    for name in ("better", "worse", "measure", "by", *fixed):
        if name not in table:
            raise ValueError(f"{where} lacks {name}")
    if table["better"] == table["worse"]:
        raise ValueError(f"{where} compares {table['better']!r} with itself")
    if table["measure"] not in MEASURES:
        raise ValueError(f"{where}: measure is one of {', '.join(MEASURES)}; got {str(table['measure'])[:40]!r}")
    by = table["by"]
    if not (isinstance(by, list) and len(by) == 2 and all(isinstance(end, int | float) and math.isfinite(end) for end in by)
            and by[0] < by[1]):
        raise ValueError(f"{where}: by = [low, high] says where the difference lies, low first")
    sides = []
    for side in ("better", "worse"):
        try:
            values = {about: table[side], **{name: table[name] for name in fixed}}
            sides.append(_limited(check(Setting(**values))))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from error
    return Claim(about, sides[0], sides[1], table["measure"], (float(by[0]), float(by[1])))


def _limited(setting: Setting) -> Setting:
    if setting.steps > MOST_STEPS or abs(setting.guidance) > 100:
        raise ValueError(f"at most {MOST_STEPS} steps and guidance 100 can be checked")
    return setting


def read_cited(text: str) -> list[Cited]:
    """The rows beneath the claims, in CSV. Raises ValueError that names the line."""
    from course.emoji.data import parse

    reader = csv.DictReader(io.StringIO(text.strip()))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"the first line of the rows must be {','.join(COLUMNS)}; let `course lab cite DIR` write it")
    rows = []
    for line, row in enumerate(reader, start=2):
        try:
            values: dict[str, Any] = {name: row[name] for name in ABOUT}
            setting = _limited(check(Setting(**values)))
            parse(row["prompt"])
            measures = {name: float(row[name]) for name in MEASURES}
            if not all(map(math.isfinite, measures.values())) or not re.fullmatch("[0-9a-f]{48}", row["thumbnail"]):
                raise ValueError("a number or the thumbnail is damaged")
            seed = int(row["seed"])
            if not 0 <= seed < 2**63:
                raise ValueError(f"seed {seed} is out of range")
            rows.append(Cited(setting, row["prompt"], seed, measures, row["thumbnail"]))
        except (TypeError, ValueError) as error:
            raise ValueError(f"line {line} of the rows: {error}") from error
    return rows


# ------------------------------------------------------------------------------------------------ citing


def cite(folder: str | os.PathLike[str], file: str | os.PathLike[str] = "exercises/ch11_writeup.md") -> int:
    """Write the rows that the claims in `file` speak of, from the sweep in `folder`, into its block ch11.rows; -> how many.

    Raises ValueError when the claims cannot be read or the sweep lacks one of their settings.
    """
    from course.grading.answers import read_answers
    from course.lab.report import measure
    from course.pictures import write_whole

    file = Path(file)
    text = file.read_text(encoding="utf-8")
    claims = read_claims(read_answers(text, file.name).get("ch11.writeup", ""))
    results = measure(folder)
    wanted = list(dict.fromkeys(side for claim in claims for side in (claim.better, claim.worse)))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for setting in wanted:
        pictures = results.sets.get(setting)
        if pictures is None:
            raise ValueError(f"{folder} has no pictures with {setting.label()}; sweep them first: course sweep --out {folder} "
                             f"--sampler {setting.sampler} --steps {setting.steps} --guidance {setting.guidance:g} --scenes 24")
        if "everything" not in pictures.measures:
            raise ValueError("the claims are checked on the emoji model, and these are other pictures")
        for i, (prompt, seed) in enumerate(pictures.pairs[:24]):
            with Image.open(pictures.files[i]) as picture:
                small = thumbnail(picture)
            numbers = [int(pictures.measures["everything"][i]), *(f"{pictures.measures[name][i]:.4f}" for name in MEASURES[1:])]
            writer.writerow([setting.sampler, setting.steps, f"{setting.guidance:g}", prompt, seed, *numbers, small])
            count += 1
    block = re.compile(r"(^```csv ch11\.rows[ \t]*\n).*?(^```[ \t]*$)", re.M | re.S)
    if not block.search(text):
        raise ValueError(f"{file} has lost its block ```csv ch11.rows; put it back (an empty one will do)")
    new = block.sub(lambda match: match[1] + lines.getvalue() + match[2], text)
    write_whole(file, lambda temporary: temporary.write_text(new, encoding="utf-8"))
    return count


# ------------------------------------------------------------------------------------------------ checking


def difference(claim: Claim, rows: Sequence[Cited]) -> tuple[Interval, int]:
    """What the rows show: better minus worse over the prompts and seeds that both have, and how many those are."""
    sides = [{(row.prompt, row.seed): row.measures[claim.measure] for row in rows if row.setting == side}
             for side in (claim.better, claim.worse)]
    pairs = sorted(sides[0].keys() & sides[1].keys())
    if len(pairs) < FEWEST:
        raise ValueError(f"[{claim.about}] rests on {len(pairs)} pairs of pictures with the same prompt and seed; "
                         f"it needs at least {FEWEST}. `course lab cite DIR` adds them")
    return bootstrap(np.mean, np.array([sides[0][pair] - sides[1][pair] for pair in pairs])), len(pairs)


def fault(claim: Claim, rows: Sequence[Cited]) -> str | None:
    """Why the rows do not bear the claim out, or None if they do."""
    seen, pairs = difference(claim, rows)
    low, high = claim.by
    what = f"[{claim.about}] {claim.measure}, better minus worse, over {pairs} pairs: {seen}"
    if not low <= seen.value <= high:
        return f"{what}. That is outside the interval you state, {low:g} to {high:g}"
    if low > 0 and seen.low <= 0:
        return f"{what}. Its interval reaches 0: these rows cannot tell the two apart, and a claim may not say they do"
    if high - low > 4 * max(seen.high - seen.low, 0.03):
        return f"{what}. The interval you state, {low:g} to {high:g}, is so wide that it says nothing"
    return None


def render_again(rows: Sequence[Cited]) -> list[Cited]:
    """The same rows, rendered and measured here."""
    from course.lab.metrics import as_array, clipped, saturation, sharpness
    from course.lab.report import judge_emoji
    from course.lab.sweep import components
    from course.stable_diffusion import render_image

    parts, again = components("emoji", "", "", "cpu"), []
    for row in rows:
        picture = render_image(row.prompt, parts.vae, parts.unet, parts.tokenizer, parts.text_encoder, row.setting.sampler,
                               guidance_scale=row.setting.guidance, num_steps=row.setting.steps, seed=[row.seed],
                               schedule=parts.scheduler.config, progress=False)
        array = as_array(picture)
        said, _ = judge_emoji(array, [row.prompt])
        measures = {"right": float(said["everything"][0]), "saturation": float(saturation(array)[0]),
                    "sharpness": float(sharpness(array)[0]), "clipped": float(clipped(array)[0])}
        again.append(row._replace(measures=measures, thumbnail=thumbnail(picture[0])))
    return again


def forged(row: Cited, again: Cited) -> str | None:
    """How a cited row differs from what the model gives, or None if it does not."""
    where = f"{row.setting.label(['model'])}, {row.prompt!r}, seed {row.seed}"
    if not alike(row.thumbnail, again.thumbnail):
        return f"rendered again, this row gives another picture: {where}"
    for name in MEASURES[1:]:
        if abs(row.measures[name] - again.measures[name]) > 0.01:
            return f"rendered again, this row has {name} {again.measures[name]:.4f}, not {row.measures[name]:.4f}: {where}"
    if row.measures["right"] != again.measures["right"]:
        return f"rendered again, this picture is {'right' if again.measures['right'] else 'not right'}: {where}"
    return None
