"""The report of a sweep: measured tables, charts and picture grids, and what they say about the original homework's claims.

`measure` turns a results folder into numbers, `claims` into verdicts; `write` makes report.html (one file, nothing loaded
from elsewhere) and report.md with its pictures beside it.
"""

from __future__ import annotations

import base64
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from course.lab.metrics import (
    Interval,
    as_array,
    bootstrap,
    clipped,
    diversity,
    frechet_distance,
    kernel_distance,
    paired_interval,
    saturation,
    sharpness,
    wilson,
)
from course.lab.sweep import Setting, read_rows, setting_of
from course.samplers import TAUGHT

ADHERENCE = ("objects", "relation", "colour", "size", "everything")


# ------------------------------------------------------------------------------------------------ from pictures to numbers


@dataclass
class Pictures:
    """All pictures of one setting, in the order of (prompt, seed), with what was measured on each."""

    setting: Setting
    pairs: list[tuple[str, int]]
    files: list[Path]
    hashes: list[str]
    seconds: np.ndarray
    model_calls: int
    measures: dict[str, np.ndarray]      # name -> (N,): saturation, sharpness, clipped, and adherence where it is known
    features: np.ndarray | None = None   # (N, D)

    def share(self, what: str = "everything") -> Interval | None:
        """How many pictures show what was asked for, with its interval; None when that cannot be told."""
        values = self.measures.get(what)
        return None if values is None else wilson(int(values.sum()), len(values))

    @cached_property
    def spread(self) -> float | None:
        """Mean feature distance between pictures of the same prompt with different seeds; None without features."""
        if self.features is None or len(self.pairs) == len({prompt for prompt, _ in self.pairs}):
            return None
        return diversity(self.features, [prompt for prompt, _ in self.pairs])


@dataclass
class Results:
    """A measured sweep."""

    folder: Path
    rows: list[dict[str, str]]
    sets: dict[Setting, Pictures]
    feature_name: str | None
    reference: np.ndarray | None = None                      # features of real pictures, (M, D)
    floor: float | None = None                               # Fréchet distance of real pictures from other real pictures
    distances: dict[Setting, float] = field(default_factory=dict)
    kernels: dict[Setting, float] = field(default_factory=dict)

    def select(self, **wanted: Any) -> list[Pictures]:
        """The settings with these values, in order."""
        return [p for s, p in self.sets.items() if all(getattr(s, name) == value for name, value in wanted.items())]

    def values(self, name: str) -> list[Any]:
        """All values of one field that were swept."""
        return sorted({getattr(setting, name) for setting in self.sets})


def measure(folder: str | os.PathLike[str], progress: bool = True) -> Results:
    """Read a results folder and measure every picture.

    On the emoji model, prompts are parsed and the probe says whether each picture shows what its prompt asks for. Raises
    ValueError for an empty or damaged folder, naming the file.
    """
    from tqdm.auto import tqdm

    folder, rows = Path(folder), read_rows(folder)
    if not rows:
        raise ValueError(f"{folder} holds no finished pictures yet; run `course sweep --out {folder}`")
    groups: dict[Setting, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[setting_of(row)].append(row)
    judge = _emoji_judge(rows)
    sets = {}
    for setting in tqdm(sorted(groups), desc="measuring", unit="setting", disable=not progress):
        group = sorted(groups[setting], key=lambda row: (row["prompt"], int(row["seed"])))
        files = [folder / row["picture"] for row in group]
        array = as_array([_open(file) for file in files])                                # (N, H, W, 3)
        measures = {"saturation": saturation(array), "sharpness": sharpness(array), "clipped": clipped(array)}
        features = None
        if judge:
            said, features = judge(array, [row["prompt"] for row in group])
            measures.update(said)
        sets[setting] = Pictures(setting, [(row["prompt"], int(row["seed"])) for row in group], files,
                                 [row["sha256"] for row in group], np.array([float(row["seconds"]) for row in group]),
                                 int(group[0]["model_calls"]), measures, features)
    results = Results(folder, rows, sets, "emoji probe" if judge else None)
    several = [len(pictures.pairs) for pictures in sets.values() if len(pictures.pairs) > 1]
    if judge and several:                            # one picture has a place among the features, but no distribution
        prompts = [row["prompt"] for row in rows]
        results.reference, other = (_real_features(judge, prompts, seed) for seed in (1, 2))
        results.floor = frechet_distance(other[: several[0]], results.reference)
        results.distances = {s: frechet_distance(p.features, results.reference) for s, p in sets.items()
                             if p.features is not None and len(p.pairs) > 1}
        results.kernels = {s: kernel_distance(sets[s].features, results.reference) for s in results.distances}    # type: ignore[arg-type]
    return results


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the picture {file} ({error}); delete it and run the same sweep again") from error


def _emoji_judge(rows: Sequence[dict[str, str]]) -> Callable[..., Any] | None:
    """(pictures, prompts) -> adherence by name, features; None when these are not emoji pictures."""
    try:
        from course.emoji.data import parse

        for prompt in {row["prompt"] for row in rows}:
            parse(prompt)
        _probe()
    except (ImportError, ValueError, OSError):
        return None
    return judge_emoji


@cache
def _probe() -> Any:
    from course.emoji.probe import load_probe

    return load_probe()


def judge_emoji(array: np.ndarray, prompts: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Pictures (N, H, W, 3) in [0, 1] and their prompts -> whether each shows what was asked, by name (N,), and the probe's
    features (N, D)."""
    import torch

    from course.emoji.data import SIZE, parse
    from course.emoji.probe import verdicts

    pictures = torch.from_numpy(array).float().permute(0, 3, 1, 2) * 2 - 1               # (N, 3, H, W)
    if pictures.shape[-1] != SIZE or pictures.shape[-2] != SIZE:
        pictures = torch.nn.functional.interpolate(pictures, (SIZE, SIZE), mode="area")
    with torch.no_grad():
        said = verdicts(_probe(), pictures, [parse(prompt) for prompt in prompts])
        return {name: said[name].numpy() for name in ADHERENCE}, _probe()(pictures).double().numpy()


def _real_features(judge: Callable[..., Any], prompts: Sequence[str], seed: int, count: int = 2000) -> np.ndarray:
    """Features of freshly drawn scenes with the same captions as the sweep: what a perfect model would make."""
    import random

    from course.emoji.data import draw, parse

    rng = random.Random(seed)
    drawn = [prompts[i % len(prompts)] for i in range(count)]
    array = np.stack([draw(parse(prompt), rng) for prompt in drawn]) / 255.0
    return judge(array, drawn)[1]


# ------------------------------------------------------------------------------------------------ comparing


def paired(a: Pictures, b: Pictures, value: Callable[[Pictures], np.ndarray]) -> Interval:
    """Mean of value(a) - value(b), measures in [0, 1], over the prompts and seeds both have: the same noise on both sides. Its interval
    draws whole prompts again."""
    index = {pair: i for i, pair in enumerate(b.pairs)}
    common = [(i, index[pair]) for i, pair in enumerate(a.pairs) if pair in index]
    if not common:
        raise ValueError(f"{a.setting.label()} and {b.setting.label()} have no prompt and seed in common")
    mine, theirs = map(list, zip(*common, strict=True))
    difference = value(a)[mine].astype(float) - value(b)[theirs].astype(float)
    return paired_interval(difference, [a.pairs[i][0] for i in mine])


def verdict(difference: Interval, claimed: float = 1) -> str:
    """"holds" when the whole interval lies on the claimed side of 0, "does not hold" when on the other, else neither."""
    low, high = (difference.low, difference.high) if claimed > 0 else (-difference.high, -difference.low)
    return "holds" if low > 0 else "does not hold" if high < 0 else "cannot be told apart"


def pixels_apart(a: Pictures, b: Pictures) -> Interval:
    """Mean absolute difference of two settings' pictures with the same prompt and seed, in levels of 0 to 255."""
    index = {pair: i for i, pair in enumerate(b.pairs)}
    common = [pair for pair in a.pairs if pair in index]
    apart = [np.abs(np.asarray(_open(a.files[a.pairs.index(pair)]), float) - np.asarray(_open(b.files[index[pair]]), float)).mean() / 255
             for pair in common]
    return Interval(*(max(255 * end, 0.0) for end in paired_interval(apart, [prompt for prompt, _ in common])))


def best(results: Results) -> tuple[Pictures, list[Pictures]] | None:
    """The setting with the most adherent pictures (fewest model calls among equals), and all settings that are not
    significantly worse on the same prompts and seeds. None without adherence."""
    known = [p for p in results.sets.values() if "everything" in p.measures]
    if not known:
        return None
    first = max(known, key=lambda p: (p.measures["everything"].mean(), -p.model_calls))
    rivals = [p for p in known if p is not first and paired(first, p, lambda q: q.measures["everything"]).low <= 0]
    return first, sorted(rivals, key=lambda p: p.model_calls)


class Claim(NamedTuple):
    """A sentence of the original homework, what the sweep says about it, and the numbers."""

    text: str
    verdict: str
    evidence: str


def claims(results: Results) -> list[Claim]:
    """The original homework's claims, each tried on this sweep; "not tested" where the sweep has nothing to say."""
    tests: list[tuple[str, Callable[[Results], tuple[str, str] | None]]] = [
        ("The sampler with the fastest run time is DPM-Solver++, at 50 steps", _fastest),
        ("More steps change the picture much between 10 and 50, little between 50 and 100", _steps),
        ("PNDM gives unappealing pictures, at 50 steps", _pndm),
        ("Too little guidance leads away from the prompt", _little_guidance),
        ("Too much guidance makes pictures look like cartoons (more saturated)", _much_guidance),
        ("The best setting is DPM-Solver++, 50 steps, guidance 7.5", _best_setting),
        ("The picture in the section called LMS is LMS's (the code passed the Heun scheduler)", _lms),
    ]
    found = []
    for text, test in tests:
        answer = test(results)
        found.append(Claim(text, *(answer or ("not tested", "this sweep has no pictures that tell"))))
    return found


def _near(results: Results, **wanted: Any) -> Pictures | None:
    """The plain setting (own VAE and text encoder, our engine) with these values; guidance 7.5 unless wanted otherwise."""
    values = {"vae": "", "text_encoder": "", "engine": "course", "guidance": 7.5, **wanted}
    return next(iter(results.select(**values)), None)


def _fastest(results: Results) -> tuple[str, str] | None:
    found = [p for p in (_near(results, steps=50, sampler=name) for name in results.values("sampler")) if p]
    fastest = next((p for p in found if p.setting.sampler == "dpmpp_2m"), None)
    if fastest is None or len(found) < 2:
        return None
    others = [p for p in found if p is not fastest]
    rival = min(others, key=lambda p: p.seconds.mean())
    gap = (rival.seconds.mean() - fastest.seconds.mean()) / rival.seconds.mean()
    per = ", ".join(f"{p.setting.sampler} {p.model_calls} calls {p.seconds.mean():.3f} s" for p in found)
    equal = [p.setting.sampler for p in others if p.model_calls == fastest.model_calls]
    said = "does not hold" if equal and gap < 0.05 else "holds" if gap >= 0.05 else "cannot be told apart"
    return said, (f"a picture costs its model calls, and {', '.join(equal) or 'none'} make as many as dpmpp_2m; "
                  f"measured: {per}")


def _steps(results: Results) -> tuple[str, str] | None:
    name = "dpmpp_2m" if _near(results, sampler="dpmpp_2m", steps=50) else (results.values("sampler") or [""])[0]
    ten, fifty, hundred = (_near(results, sampler=name, steps=n) for n in (10, 50, 100))
    if not (ten and fifty and hundred):
        return None
    early, late = pixels_apart(ten, fifty), pixels_apart(fifty, hundred)
    said = "holds" if early.low > late.high else "does not hold" if early.high < late.low else "cannot be told apart"
    return said, f"mean pixel change with {name}: {early} levels of 255 from 10 to 50 steps, {late} from 50 to 100"


def _pndm(results: Results) -> tuple[str, str] | None:
    pndm, rivals = _near(results, sampler="pndm", steps=50), [_near(results, sampler=n, steps=50) for n in
                                                              ("dpmpp_2m", "ddim", "heun")]
    rival = next((p for p in rivals if p), None)
    if pndm is None or rival is None or "everything" not in pndm.measures:
        return None
    worse = paired(rival, pndm, lambda p: p.measures["everything"])
    said = verdict(worse)
    return said, f"{rival.setting.sampler} minus pndm in right pictures: {worse}{_distances(results, pndm, rival)}"


def _distances(results: Results, first: Pictures, second: Pictures) -> str:
    """The Fréchet distances of two settings in words: with the number of pictures, intervals, and what real pictures would have."""
    if first.setting not in results.distances or second.setting not in results.distances:
        return ""
    reference = results.reference
    ends = [bootstrap(lambda f: frechet_distance(f, reference), p.features, repeats=100, centred=True) for p in (first, second)]    # type: ignore[arg-type]
    return (f"; Fréchet distance of {len(first.pairs)} pictures {ends[0].value:.0f} ({ends[0].low:.0f} to {ends[0].high:.0f}) against "
            f"{ends[1].value:.0f} ({ends[1].low:.0f} to {ends[1].high:.0f}), where as many real scenes have {results.floor:.0f}")


def _little_guidance(results: Results) -> tuple[str, str] | None:
    name = "dpmpp_2m" if "dpmpp_2m" in results.values("sampler") else results.values("sampler")[0]
    steps = 50 if _near(results, sampler=name, steps=50) else results.values("steps")[-1]
    low, usual = (_near(results, sampler=name, steps=steps, guidance=g) for g in (1.0, 7.5))
    if not (low and usual) or "everything" not in low.measures:
        return None
    difference = paired(usual, low, lambda p: p.measures["everything"])
    return verdict(difference), f"right pictures at guidance 7.5 minus 1 ({name}, {steps} steps): {difference}"


def _much_guidance(results: Results) -> tuple[str, str] | None:
    name = "dpmpp_2m" if "dpmpp_2m" in results.values("sampler") else results.values("sampler")[0]
    steps = 50 if _near(results, sampler=name, steps=50) else results.values("steps")[-1]
    much, usual = (_near(results, sampler=name, steps=steps, guidance=g) for g in (25.0, 7.5))
    if not (much and usual):
        return None
    difference = paired(much, usual, lambda p: p.measures["saturation"])
    burnt = paired(much, usual, lambda p: p.measures["clipped"])
    return verdict(difference), f"at guidance 25 minus 7.5 ({name}, {steps} steps): saturation {difference}, clipped {burnt}"


def _best_setting(results: Results) -> tuple[str, str] | None:
    found, theirs = best(results), _near(results, sampler="dpmpp_2m", steps=50)
    if found is None or theirs is None or "everything" not in theirs.measures:
        return None
    first, rivals = found
    behind = paired(first, theirs, lambda p: p.measures["everything"])
    said = "does not hold" if behind.low > 0 else "cannot be told apart"
    return said, (f"most right pictures: {first.setting.label(['model'])} ({first.share()}); it leads theirs by {behind}; "
                  f"{len(rivals)} of {len(results.sets) - 1} other settings cannot be told from the best")


def _lms(results: Results) -> tuple[str, str] | None:
    lms, heun = _near(results, sampler="lms", steps=50), _near(results, sampler="heun", steps=50)
    if not (lms and heun):
        return None
    same = len(set(lms.hashes) & set(heun.hashes))
    apart = pixels_apart(lms, heun)
    return "does not hold", (f"a run that passes Heun's scheduler gives Heun's picture; LMS's own are others: {same} of "
                             f"{len(lms.hashes)} are equal to Heun's, {apart} levels of 255 apart on average")


# ------------------------------------------------------------------------------------------------ charts

INK = "#707070"      # read well on white and on black; the HTML page swaps it for its own text colour


def _figure(width: float = 7.0, height: float = 3.6) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(INK)
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(alpha=0.25)
    return figure, axes


COLOURS = dict(zip(TAUGHT, ("#9a6324", "#2f7fd1", "#c2255c", "#2b8a3e", "#7048e8", "#0c9ba8", "#e8590c", "#b08900"), strict=True))
MARKERS = dict(zip(COLOURS, "osDv^<>P", strict=True))


def quality_chart(results: Results, against: str, guidance: float) -> Any | None:
    """Share of right pictures (or Fréchet distance) of each sampler against "steps", "model_calls" or "seconds"."""
    label = {"steps": "steps", "model_calls": "model calls", "seconds": "seconds a picture"}[against]
    lines = []
    for name in results.values("sampler"):
        points = sorted(results.select(sampler=name, guidance=guidance, vae="", text_encoder="", engine="course"),
                        key=lambda p: p.setting.steps)
        if len(points) > 1:
            lines.append((name, points))
    if not lines or not all("everything" in p.measures for _, points in lines for p in points):
        return None
    figure, axes = _figure()
    for name, points in lines:
        x = [{"steps": p.setting.steps, "model_calls": p.model_calls, "seconds": p.seconds.mean()}[against] for p in points]
        shares = [share for p in points if (share := p.share()) is not None]
        axes.plot(x, [s.value for s in shares], color=COLOURS.get(name), marker=MARKERS.get(name), label=name, markersize=5)
        axes.fill_between(x, [s.low for s in shares], [s.high for s in shares], color=COLOURS.get(name), alpha=0.08)
    axes.set_xscale("log")
    ticks = sorted({p.setting.steps if against == "steps" else p.model_calls for _, points in lines for p in points})
    if against != "seconds":
        kept = [t for i, t in enumerate(ticks) if i == 0 or t / ticks[i - 1] > 1.3]
        axes.set_xticks(kept, [str(t) for t in kept])
        axes.minorticks_off()
    axes.set(xlabel=label, ylabel="right pictures", ylim=(-0.02, 1.02))
    axes.legend(labelcolor=INK, framealpha=0, fontsize=8, ncols=2, loc="lower right")
    return figure


def guidance_chart(results: Results, sampler: str, steps: int) -> Any | None:
    """Right pictures against variety, one point for each guidance scale."""
    points = sorted(results.select(sampler=sampler, steps=steps, vae="", text_encoder="", engine="course"),
                    key=lambda p: p.setting.guidance)
    points = [p for p in points if p.spread is not None and "everything" in p.measures]
    if len(points) < 2:
        return None
    figure, axes = _figure(height=3.2)
    shares = [share for p in points if (share := p.share()) is not None]
    bars = np.array([[s.value - s.low, s.high - s.value] for s in shares]).T
    axes.errorbar([p.spread for p in points], [s.value for s in shares], yerr=bars, color="#2f7fd1", marker="o", capsize=3)
    for p, share in zip(points, shares, strict=True):
        axes.annotate(f"{p.setting.guidance:g}", (p.spread, share.value), textcoords="offset points", xytext=(7, 5),
                      color=INK)
    axes.set(xlabel="variety: mean feature distance between seeds", ylabel="right pictures")
    axes.margins(0.12)
    return figure


def svg(figure: Any, ink: str = "currentColor") -> str:
    """The figure as SVG text to put into a page; its ink takes the page's text colour, or the one given."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "course"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, ink)


# ------------------------------------------------------------------------------------------------ picture grids


def labelled_grid(cells: Sequence[Sequence[Image.Image | None]], rows: Sequence[str], columns: Sequence[str],
                  zoom: int = 2) -> Image.Image:
    """Pictures in a grid with a name for each row and column; small pictures are magnified, missing ones left blank."""
    size = next(picture.size for row in cells for picture in row if picture is not None)
    width, height = (side * (zoom if side < 128 else 1) for side in size)
    font = ImageFont.load_default(13)
    left = max(int(font.getlength(text)) for text in rows) + 12
    sheet = Image.new("RGB", (left + len(columns) * (width + 2), 22 + len(rows) * (height + 2)), "white")
    pen = ImageDraw.Draw(sheet)
    for c, text in enumerate(columns):
        pen.text((left + c * (width + 2) + width / 2, 11), text, "black", font, anchor="mm")
    for r, text in enumerate(rows):
        top = 22 + r * (height + 2)
        pen.text((left - 8, top + height / 2), text, "black", font, anchor="rm")
        for c, picture in enumerate(cells[r]):
            if picture is not None:
                sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left + c * (width + 2), top))
    return sheet


def picture_grid(results: Results, down: str, across: str, pair: tuple[str, int], **fixed: Any) -> Image.Image | None:
    """One prompt and seed under two varying fields. None when fewer than two pictures are there."""
    fixed = {"vae": "", "text_encoder": "", "engine": "course", **fixed}
    fixed = {name: value for name, value in fixed.items() if name not in (down, across)}
    rows, columns = results.values(down), results.values(across)
    cells: list[list[Image.Image | None]] = []
    for r in rows:
        cells.append([])
        for c in columns:
            found = [p for p in results.select(**fixed, **{down: r, across: c}) if pair in p.pairs]
            cells[-1].append(_open(found[0].files[found[0].pairs.index(pair)]) if found else None)
    if sum(picture is not None for row in cells for picture in row) < 2:
        return None
    kept = [i for i, row in enumerate(cells) if any(row)]
    return labelled_grid([cells[i] for i in kept], [_name(down, rows[i]) for i in kept], [_name(across, c) for c in columns])


def _name(what: str, value: Any) -> str:
    if what in ("vae", "text_encoder"):
        return str(value or "its own")
    return f"{value:g} steps" if what == "steps" else f"guidance {value:g}" if what == "guidance" else str(value)


def sample_sheet(results: Results, pictures: Pictures, columns: int = 7, most: int = 28) -> Image.Image:
    """The first pictures of one setting, in the order of its prompts and seeds: no picking."""
    shown = [_open(file) for file in pictures.files[:most]]
    shown += [Image.new("RGB", shown[0].size, "white")] * (-len(shown) % columns)
    rows = [shown[i : i + columns] for i in range(0, len(shown), columns)]
    return labelled_grid(rows, [""] * len(rows), [""] * columns)


# ------------------------------------------------------------------------------------------------ the pages


@dataclass
class Section:
    """A heading, a paragraph, and any of: a table (its first row the heads), a chart, a picture with its description."""

    title: str
    text: str
    table: list[list[str]] | None = None
    chart: Any = None
    picture: Image.Image | None = None
    alt: str = ""


def sections(results: Results) -> list[Section]:
    """The report's content."""
    from statistics import mode

    first = results.rows[0]
    versions = f"course {first['course_version']}, torch {first['torch_version']}, diffusers {first['diffusers_version']}"
    prompts, seeds = ({row[name] for row in results.rows} for name in ("prompt", "seed"))
    out = [Section("What was rendered", f"{len(results.rows)} pictures: {len(results.sets)} settings, {len(prompts)} prompts, "
                   f"{len(seeds)} seeds, on {first['device']} in {first['dtype']} with {versions}. Intervals are 95%.")]
    found = best(results)
    if found:
        leader, rivals = found
        cheapest = min([leader, *rivals], key=lambda p: p.model_calls)
        text = (f"Most right pictures: {leader.setting.label(['model'])}, {leader.share()}. "
                f"{len(rivals)} other settings cannot be told apart from it on the same prompts and seeds.")
        if cheapest is not leader:
            text += f" The cheapest of those makes {cheapest.model_calls} model calls: {cheapest.setting.label(['model'])}."
        out.append(Section("The best setting, and how sure we are", text, picture=sample_sheet(results, leader),
                           alt=f"The first pictures rendered with {leader.setting.label()}"))
    out.append(Section("The original homework's claims", "Each claim is tried on this sweep. It holds, or does not, when the "
                       "95% interval says so; otherwise the two sides cannot be told apart with this many pictures.",
                       [["claim", "here", "numbers"], *([c.text, c.verdict, c.evidence] for c in claims(results))]))

    guidance = 7.5 if 7.5 in results.values("guidance") else mode(p.setting.guidance for p in results.sets.values())
    for against, title, text in (
        ("steps", "Quality at equal steps", "What a user sets. Heun makes 2N - 1 model calls for N steps and PNDM N + 1, so "
                                            "this view flatters Heun."),
        ("model_calls", "Quality at equal work", "The same points, moved to the model calls they cost: Heun's shift right."),
        ("seconds", "Quality against time", "The same once more, in measured seconds a picture on this machine."),
    ):
        chart = quality_chart(results, against, guidance)
        if chart:
            out.append(Section(title, f"{text} Guidance {guidance:g}.", chart=chart,
                               alt=f"Share of right pictures against {against} for each sampler"))
    pair = next(iter(results.sets.values())).pairs[0]
    picture = picture_grid(results, "sampler", "steps", pair, guidance=guidance)
    if picture:
        out.append(Section("Samplers and steps", f"“{pair[0]}”, seed {pair[1]}, guidance {guidance:g}.", picture=picture,
                           alt="Rows are samplers, columns are numbers of steps"))
    sampler = "dpmpp_2m" if "dpmpp_2m" in results.values("sampler") else results.values("sampler")[0]
    swept = [p.setting.steps for p in results.select(sampler=sampler)]
    steps = 50 if 50 in swept else max(swept)
    chart = guidance_chart(results, sampler, steps)
    if chart:
        out.append(Section("What guidance trades", "Right pictures against variety between seeds. "
                           f"{sampler}, {steps} steps; the number beside a point is the guidance scale.", chart=chart,
                           alt="Share of right pictures against variety between seeds"))
    picture = picture_grid(results, "guidance", "sampler", pair, steps=steps)
    if picture:
        out.append(Section("Guidance and samplers", f"“{pair[0]}”, seed {pair[1]}, {steps} steps.", picture=picture,
                           alt="Rows are guidance scales, columns are samplers"))
    for part, title in (("vae", "Another VAE"), ("text_encoder", "Another text encoder")):
        if len(results.values(part)) > 1:
            out.append(_part_section(results, part, title))
    out.append(_table(results))
    return out


def _part_section(results: Results, part: str, title: str) -> Section:
    """Settings that differ in this part only, compared on the same prompts and seeds."""
    table = [["part", "setting", "right pictures", "its own minus it", "Fréchet distance"]]
    for other in [value for value in results.values(part) if value]:
        for theirs in results.select(**{part: other}):
            own = results.sets.get(Setting(**{**theirs.setting._asdict(), part: ""}))
            if own is not None and "everything" in own.measures:
                table.append([other, theirs.setting.label(["model", "vae", "text_encoder"]), str(theirs.share()),
                              str(paired(own, theirs, lambda p: p.measures["everything"])),
                              f"{results.distances.get(theirs.setting, float('nan')):.2f}"])
    pair = results.select(**{part: results.values(part)[-1]})[0].pairs[0]
    setting = results.select(**{part: results.values(part)[-1]})[0].setting
    picture = picture_grid(results, part, "guidance", pair, sampler=setting.sampler, steps=setting.steps)
    return Section(title, "The same U-Net behind another part, same prompts, same seeds.", table if len(table) > 1 else None,
                   picture=picture, alt=f"Rows are the {part}, columns are guidance scales")


def _table(results: Results) -> Section:
    heads = ["setting", "model calls", "seconds a picture", "pictures"]
    known = results.reference is not None
    heads += ["right pictures", "objects", "colour", "Fréchet distance", "kernel distance", "variety"] if known else []
    heads += ["saturation", "sharpness"]
    rows = [heads]
    for setting, p in results.sets.items():
        row = [setting.label(["model"]), str(p.model_calls), f"{p.seconds.mean():.3f}", str(len(p.pairs))]
        if known and p.features is not None:
            row += [str(p.share()), f"{p.measures['objects'].mean():.2f}", f"{p.measures['colour'].mean():.2f}",
                    f"{results.distances.get(setting, float('nan')):.2f}",
                    f"{results.kernels.get(setting, float('nan')):.3f}", "" if p.spread is None else f"{p.spread:.2f}"]
        rows.append([*row, f"{p.measures['saturation'].mean():.3f}", f"{p.measures['sharpness'].mean():.4f}"])
    note = ""
    if results.reference is not None:
        note = (f" Fréchet and kernel distances are on {results.feature_name} features (not Inception's: not to be compared "
                f"with published FIDs) against {len(results.reference)} freshly drawn scenes. The Fréchet distance falls as "
                f"more pictures are taken: one setting's number of real scenes is itself {results.floor:.2f} away.")
    return Section("Every setting", f"All numbers behind this page.{note}", rows)


def numbers(results: Results) -> list[dict[str, Any]]:
    """What was measured on each setting, one row each; empty where it cannot be told."""
    rows = []
    for setting, p in results.sets.items():
        right = p.share()
        rows.append({
            **setting._asdict(), "model_calls": p.model_calls, "seconds": round(p.seconds.mean(), 4), "pictures": len(p.pairs),
            **{name: "" if right is None else round(getattr(right, of), 4)
               for name, of in (("right", "value"), ("right_low", "low"), ("right_high", "high"))},
            **{name: round(p.measures[name].mean(), 4) if name in p.measures else "" for name in ADHERENCE[:-1]},
            "frechet": round(results.distances[setting], 3) if setting in results.distances else "",
            "kernel": round(results.kernels[setting], 4) if setting in results.kernels else "",
            "variety": "" if p.spread is None else round(p.spread, 3),
            **{name: round(p.measures[name].mean(), 4) for name in ("saturation", "sharpness", "clipped")},
        })
    return rows


def write(folder: str | os.PathLike[str], progress: bool = True) -> tuple[Path, Path]:
    """Measure `folder` and write report.html and report.md into it; -> their paths. Files are written whole or not at all."""
    return write_pages(measure(folder, progress), Path(folder))


def write_pages(results: Results, out: Path) -> tuple[Path, Path]:
    """Write report.html (self-contained), report.md and the numbers behind both (settings.csv, claims.csv) from measured results.

    The charts and pictures of report.md lie in report/, each named by the heading it stands under.
    """
    import csv
    import re

    import jinja2

    from course.pictures import save_picture, write_whole

    content = sections(results)
    template = jinja2.Environment(autoescape=True).from_string((Path(__file__).parent / "report.html").read_text("utf-8"))
    page = template.render(title=f"Sweep report: {out.resolve().name}", sections=content, svg=svg, png=_data_url)
    html = write_whole(out / "report.html", lambda file: file.write_text(page, encoding="utf-8"))
    lines = [f"# Sweep report: {out.resolve().name}", ""]
    for section in content:
        lines += [f"## {section.title}", "", section.text, ""]
        if section.table:
            lines += [*_markdown_table(section.table), ""]
        name = "report/" + re.sub(r"\W+", "-", section.title.lower()).strip("-")
        if section.chart is not None:
            drawing = svg(section.chart, ink=INK)
            write_whole(out / f"{name}.svg", partial(Path.write_text, data=drawing, encoding="utf-8"))
            lines += [f"![{section.alt}]({name}.svg)", ""]
        if section.picture is not None:
            save_picture(section.picture, out / f"{name}.png")
            lines += [f"![{section.alt}]({name}.png)", ""]
    for name, rows in (("settings", numbers(results)), ("claims", [claim._asdict() for claim in claims(results)])):
        def put(file: Path, rows: Any = rows) -> None:
            with file.open("w", encoding="utf-8", newline="") as opened:
                writer = csv.DictWriter(opened, rows[0], lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)

        write_whole(out / f"{name}.csv", put)
    text = "\n".join(lines)
    return html, write_whole(out / "report.md", lambda file: file.write_text(text, encoding="utf-8"))


def _markdown_table(table: Sequence[Sequence[str]]) -> Iterable[str]:
    for i, row in enumerate(table):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        if i == 0:
            yield "|" + " --- |" * len(row)


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


__all__ = ["Claim", "Pictures", "Results", "best", "claims", "measure", "paired", "sections", "verdict", "write"]
