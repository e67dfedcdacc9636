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
model really gives (a few are rendered again), both sides have the same prompts and seeds, and the difference they show, with
its 95% interval, lies in the stated interval. Whether the prose around it is any good is for people to judge.

Rendered again, a picture is hardly ever the same to the last bit: a batch of another size is enough to change its sha256. So
a row carries a thumbnail, which rounding moves by a level at most and another seed by much more.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import random
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from course.lab.metrics import Interval, paired_interval
from course.lab.sweep import Setting, check, read_rows, setting_of

ABOUT = ("sampler", "steps", "guidance")
MEASURES = ("right", "saturation", "sharpness", "clipped")
COLUMNS = ("sampler", "steps", "guidance", "prompt", "seed", *MEASURES, "thumbnail")
FEWEST, MOST = 12, 24  # prompts that a claim needs; pairs of pictures that are cited
LONGEST = 4000         # characters of claims; TOML of hostile length takes minutes to read
MOST_STEPS = 100       # nobody's claim needs more, and every cited row may be rendered again


class Exchanged(ValueError):
    """A claim that can be read, and that has its two sides exchanged."""


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
    if len(text) > LONGEST:
        raise ValueError(f"the claims have {len(text)} characters; three tables need some 500, and at most {LONGEST} are read")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the claims are not TOML: {error}") from error
    missing = [about for about in ABOUT if about not in tables]
    unknown = [name for name in tables if name not in ABOUT]
    if missing or unknown:
        raise ValueError(f"there must be one table for each of {', '.join(ABOUT)}; "
                         + (f"[{missing[0]}] is missing" if missing else f"[{unknown[0]}] is none of them"))
    return [_read_claim(about, tables[about]) for about in ABOUT]


def _read_claim(about: str, table: Any) -> Claim:
    where = f"[{about}]"
    fixed = [name for name in ABOUT if name != about]
    keys = ("better", "worse", "measure", "by", *fixed)
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table with {', '.join(keys)}")
    for name in keys:
        if name not in table:
            raise ValueError(f"{where} lacks {name}")
    for name in table:
        if name not in keys:
            raise ValueError(f"{where} has {name[:40]!r}, and may have {', '.join(keys)} only; the model is the one that ships")
    if table["measure"] not in MEASURES:
        raise ValueError(f"{where}: measure is one of {', '.join(MEASURES)}; got {_short(table['measure'])}")
    by = table["by"]
    if not (isinstance(by, list) and len(by) == 2 and all(type(end) in (int, float) and abs(end) <= 100 for end in by)
            and by[0] < by[1]):
        raise ValueError(f"{where}: by = [low, high] says where the difference lies, low first, such as [0.05, 0.25]")
    try:
        better, worse = (_setting(**{about: table[side]}, **{name: table[name] for name in fixed}) for side in ("better", "worse"))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if better == worse:
        raise ValueError(f"{where} compares {_short(table['better'])} with itself")
    if table["measure"] == "right" and by[1] <= 0:
        raise Exchanged(f"{where} calls {_short(table['better'])} better and says that its pictures are right less often; exchange "
                         "the two sides")
    return Claim(about, better, worse, table["measure"], (float(by[0]), float(by[1])))


def _setting(sampler: Any, steps: Any, guidance: Any) -> Setting:
    """A setting of the shipped model. Raises ValueError for anything that is not rendered here, or not in a moment."""
    if type(sampler) is not str:
        raise ValueError(f'sampler is a name in quotes, such as "ddim"; got {_short(sampler)}')
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"steps is a whole number from 1 to {MOST_STEPS}; got {_short(steps)}")
    if type(guidance) not in (int, float) or not abs(guidance) <= 100:
        raise ValueError(f"guidance is a number from -100 to 100; got {_short(guidance)}")
    return check(Setting(sampler=sampler[:40], steps=steps, guidance=guidance))


def _short(value: Any) -> str:
    return repr(value)[:40]


def read_cited(text: str) -> list[Cited]:
    """The rows beneath the claims, in CSV. Raises ValueError that names the line."""
    reader = csv.DictReader(io.StringIO(text.strip()))
    rows: list[Cited] = []
    seen: dict[Any, int] = {}
    try:
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"the first line must be {','.join(COLUMNS)}; let `course lab cite DIR` write it")
        for row in reader:
            cited, scene = _read_row(row)
            first = seen.setdefault((cited.setting, scene, cited.seed), reader.line_num)
            if first != reader.line_num:
                raise ValueError(f"the same picture as line {first}: one setting, one scene, one seed")
            rows.append(cited)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {max(reader.line_num, 1)} of the rows: {error}") from error
    return rows


def _read_row(row: dict[str, Any]) -> tuple[Cited, Any]:
    from course.emoji.data import parse

    if None in row or None in row.values():
        raise ValueError(f"there are {len(COLUMNS)} values in a row")

    def number(name: str) -> float:
        if not re.fullmatch(r"-?\d{1,4}(\.\d{1,9})?", row[name]):
            raise ValueError(f"{name} is a number such as 7.5; got {_short(row[name])}")
        return float(row[name])

    if not re.fullmatch(r"\d{1,18}", row["seed"]):
        raise ValueError(f"seed is a whole number, 0 or more; got {_short(row['seed'])}")
    steps = number("steps")
    setting = _setting(row["sampler"], int(steps) if steps.is_integer() else steps, number("guidance"))
    measures = {name: number(name) for name in MEASURES}
    if measures["right"] not in (0, 1) or not all(0 <= value <= 2 for value in measures.values()):
        raise ValueError("right is 0 or 1, and the other measures are shares")
    if not re.fullmatch("[0-9a-f]{48}", row["thumbnail"]):
        raise ValueError(f"the thumbnail is damaged; it has 48 hexadecimal digits, and {len(row['thumbnail'])} are here")
    return Cited(setting, row["prompt"], int(row["seed"]), measures, row["thumbnail"]), parse(row["prompt"])


# ------------------------------------------------------------------------------------------------ citing


def cite(folder: str | os.PathLike[str], file: str | os.PathLike[str] = "exercises/ch11_writeup.md") -> int:
    """Write the rows that the claims in `file` speak of, from the sweep in `folder`, into its block ch11.rows; -> how many.

    The first prompts of the sweep, each with all its seeds, the same for every setting, MOST pairs at most. Raises ValueError
    when the claims cannot be read or the sweep lacks one of their settings.
    """
    from course.grading.answers import read_answers
    from course.grading.errors import CheckFailed
    from course.pictures import write_whole

    folder, file = Path(folder), Path(file)
    text = file.read_text(encoding="utf-8-sig")
    try:
        answer = read_answers(text, file.name).get("ch11.writeup", "")
    except CheckFailed as error:
        raise ValueError(str(error)) from error
    if not answer:
        raise ValueError(f"{file} has no claims yet: fill in its block ```toml ch11.writeup first")
    wanted = list(dict.fromkeys(side for claim in read_claims(answer) for side in (claim.better, claim.worse)))
    pictures: dict[Setting, dict[tuple[str, int], dict[str, str]]] = {setting: {} for setting in wanted}
    for row in read_rows(folder):
        if (setting := setting_of(row)) in pictures:
            pictures[setting][row["prompt"], int(row["seed"])] = row
    for setting, rows in pictures.items():
        if not rows:
            raise ValueError(f"{folder} has no pictures with {setting.label()}; sweep them first: course sweep --out {folder} --device "
                             f"cpu --sampler {setting.sampler} --steps {setting.steps} --guidance {setting.guidance:g} --scenes 12")
        if halves := {row["dtype"] for row in rows.values()} - {"float32"}:
            raise ValueError(f"{folder} has pictures in {min(halves)}, and they are checked in float32, which gives others; sweep into "
                             "a new folder with --device cpu")
    order = list(pictures[wanted[0]])
    seeds = list(dict.fromkeys(seed for _, seed in order))[:MOST]
    prompts = [prompt for prompt in dict.fromkeys(prompt for prompt, _ in order)
               if all((prompt, seed) in rows for seed in seeds for rows in pictures.values())][:MOST // len(seeds)]
    if len(prompts) < FEWEST:
        raise ValueError(f"{folder} has {len(prompts)} prompts with the same {len(seeds)} seeds in all settings of the claims, and "
                         f"{FEWEST} prompts are needed, in {MOST} pictures of a setting at most; sweep all settings with the same "
                         "--scenes 12 and two seeds or one")
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    for setting in wanted:
        for prompt, seed in itertools.product(prompts, seeds):
            with Image.open(folder / pictures[setting][prompt, seed]["picture"]) as picture:
                measures = measured(picture, prompt)
                numbers = [int(measures["right"]), *(f"{measures[name]:.4f}" for name in MEASURES[1:])]
                writer.writerow([setting.sampler, setting.steps, f"{setting.guidance:g}", prompt, seed, *numbers, thumbnail(picture)])
    block = re.compile(r"(^```csv ch11\.rows[ \t]*\n).*?(^```[ \t]*$)", re.M | re.S)
    if not block.search(text):
        raise ValueError(f"{file} has lost its block ```csv ch11.rows; put it back (an empty one will do)")
    new = block.sub(lambda match: match[1] + lines.getvalue() + match[2], text)
    write_whole(file, lambda temporary: temporary.write_text(new, encoding="utf-8"))
    return len(wanted) * len(prompts) * len(seeds)


# ------------------------------------------------------------------------------------------------ checking


def differences(claim: Claim, rows: Sequence[Cited]) -> dict[tuple[str, int], float]:
    """Better minus worse for each (prompt, seed).

    Raises ValueError unless both sides have the same prompts and seeds, every prompt with every seed, FEWEST prompts at least.
    """
    where, sides = f"[{claim.about}]", []
    for setting in (claim.better, claim.worse):
        side = {(row.prompt, row.seed): row.measures[claim.measure] for row in rows if row.setting == setting}
        if not side:
            raise ValueError(f"{where} speaks of {setting.label(['model'])}, and no row does; run `course lab cite DIR` "
                             "again whenever a claim has changed")
        sides.append(side)
    better, worse = sides
    if apart := sorted(better.keys() ^ worse.keys()):
        raise ValueError(f"{where} compares different pictures: {apart[0][0]!r} with seed {apart[0][1]} is cited for one side only. "
                         "Both sides need the same prompts and seeds")
    prompts, seeds = ({pair[i] for pair in better} for i in (0, 1))
    if missing := sorted(set(itertools.product(prompts, seeds)) - better.keys()):
        raise ValueError(f"{where} rests on chosen pictures: {missing[0][0]!r} is cited without seed {missing[0][1]}, which other "
                         "prompts have. Every prompt needs every seed")
    if len(prompts) < FEWEST:
        raise ValueError(f"{where} rests on {len(prompts)} prompt{'s' * (len(prompts) != 1)}; it needs at least {FEWEST}: more seeds of "
                         "one prompt say little about others. Sweep more scenes, then `course lab cite DIR`")
    return {pair: better[pair] - worse[pair] for pair in sorted(better)}


def difference(claim: Claim, rows: Sequence[Cited]) -> tuple[Interval, int]:
    """What the rows show: the mean of better minus worse with its 95% interval, over prompts, and over how many pairs."""
    found = differences(claim, rows)
    return paired_interval(list(found.values()), [prompt for prompt, _ in found]), len(found)


def fault(claim: Claim, rows: Sequence[Cited]) -> str | None:
    """Why the rows do not bear the claim out, or None if they do."""
    seen, pairs = difference(claim, rows)
    low, high = claim.by
    width = seen.high - seen.low
    what = f"[{claim.about}] {claim.measure}, better minus worse, over {pairs} pairs: {seen}"
    stated = f"the interval you state, {low:g} to {high:g}"
    if (low > 0 and seen.high < 0) or (high < 0 and seen.low > 0):
        return f"{what}. The rows say the opposite: the claim has the wrong direction"
    if (low > 0 and seen.low <= 0) or (high < 0 and seen.high >= 0):
        return f"{what}. Its interval reaches 0: these rows cannot tell the two apart, and a claim may not say they do"
    if not low <= seen.value <= high:
        return f"{what}. That is outside {stated}"
    if low > seen.low + width / 10 or high < seen.high - width / 10:
        return f"{what}. This reaches beyond {stated}: you claim to know more than these rows show"
    if high - low > 4 * max(width, 0.1 if claim.measure == "right" else 0.03):
        return f"{what}. Then {stated}, is so wide that it says nothing"
    return None


def sample(claims: Sequence[Claim], rows: Sequence[Cited], seed: int) -> list[Cited]:
    """The rows to render again: for each claim both sides of one pair, drawn from those that speak for it.

    To make a claim hold that does not, one forges pairs of this kind.
    """
    rng, chosen = random.Random(seed), []
    for claim in claims:
        values = differences(claim, rows)
        sign = (claim.by[0] > 0) - (claim.by[1] < 0)
        pair = rng.choice([pair for pair, value in values.items() if value * sign > 0] or list(values))
        chosen += [row for row in rows if row.setting in (claim.better, claim.worse) and (row.prompt, row.seed) == pair]
    return list({(row.setting, row.prompt, row.seed): row for row in chosen}.values())


def measured(picture: Image.Image, prompt: str, wavering: bool = False) -> dict[str, float]:
    """The MEASURES of one picture.

    Rounding can tip the probe's verdict on a picture at the border. With `wavering`, "right" is the mean of three verdicts, on the
    picture and with every value one level of 255 darker and lighter: 0 or 1 where the probe is sure.
    """
    from course.lab.metrics import as_array, clipped, saturation, sharpness
    from course.lab.report import judge_emoji

    array = as_array([picture])                                                           # (1, H, W, 3)
    judged = np.concatenate([array, array - 1 / 255, array + 1 / 255]).clip(0, 1) if wavering else array
    said, _ = judge_emoji(judged, [prompt] * len(judged))
    return {"right": float(said["everything"].mean()), "saturation": float(saturation(array)[0]),
            "sharpness": float(sharpness(array)[0]), "clipped": float(clipped(array)[0])}


def render_again(rows: Sequence[Cited]) -> list[Cited]:
    """The same rows, rendered and measured here with the shipped model."""
    from course.lab.sweep import components
    from course.stable_diffusion import render_image

    parts, again = components("emoji", "", "", "cpu"), []
    for row in rows:
        (picture,) = render_image(row.prompt, parts.vae, parts.unet, parts.tokenizer, parts.text_encoder, row.setting.sampler,
                                  guidance_scale=row.setting.guidance, num_steps=row.setting.steps, seed=[row.seed],
                                  schedule=parts.scheduler.config, progress=False)
        again.append(row._replace(measures=measured(picture, row.prompt, wavering=True), thumbnail=thumbnail(picture)))
    return again


def forged(row: Cited, again: Cited) -> str | None:
    """How a cited row differs from what the model gives, or None if it does not.

    Thumbnails may differ by one level of 16 in every cell, the measures by 0.01, and "right" where the probe is not sure.
    """
    where = f"{row.setting.label(['model'])}, {row.prompt!r}, seed {row.seed}"
    if not alike(row.thumbnail, again.thumbnail):
        return f"rendered again, this row gives another picture: {where}. Is it from another model, or in half precision?"
    for name in MEASURES[1:]:
        if abs(row.measures[name] - again.measures[name]) > 0.01:
            return f"rendered again, this row has {name} {again.measures[name]:.4f}, not {row.measures[name]:.4f}: {where}"
    if abs(row.measures["right"] - again.measures["right"]) == 1:
        return f"rendered again, this picture is {'right' if again.measures['right'] else 'not right'}: {where}"
    return None
