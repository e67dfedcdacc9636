"""The page "Which scheduler?": its table and its pictures, from facts that were measured once and are kept in docs/assets/schedulers.

    course observe --out out/observed.csv
    PYTHONPATH=docs:. python -m figures.schedulers out/observed.csv
"""

import csv
import json
import math
import sys
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

from course.grids import exponential, from_ratio
from course.observe import ALL, ELSEWHERE, EVERY, NOT_HERE
from course.pictures import save_picture, write_whole
from course.samplers import SAMPLERS, WALKS
from course.toy import ring

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "schedulers"
STEPS = (5, 10, 20)
PROMPT = "a bear above a horse on a white background"


def facts() -> dict:
    return json.loads((FOLDER / "facts.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ what the page shows


GRIDS = {"flow_levels": "a flow's", "edm_levels": "Karras or exponential", "ve_levels": "geometric",
         "distilled_edm_levels": "Karras, of 40 times", "circle_levels": "even on a circle", "cosine_levels": "cosine",
         "sine_levels": "sine squared"}


def grid_words(name: str) -> str:
    """How the sampler's grid is laid, in words."""
    if name in WALKS:
        return GRIDS[WALKS[name].lay.__name__]
    sampler = ALL[name]
    if sampler.lay == "distilled":
        return "times of the distillation"
    if sampler.lay.startswith("inverse"):
        return f"{sampler.spacing}, backwards"
    words = "rounded " * (sampler.whole and sampler.spacing == "linspace") + sampler.spacing
    return words + (", ends at the smallest sigma" if sampler.fixed.get("final_sigmas_type") == "repeated" else "")


def table() -> str:
    """Every sampler that is here, as a Markdown table."""
    known = facts()["samplers"]
    lines = ["| name | also called | method | class in diffusers | calls | noise | grid | order, measured | equal | at steps "
             "| largest difference | speed ratio |", "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for name, sampler in EVERY.items():
        fact = known[name]
        order, speed = (fact[key] if fact[key] is None else f"{fact[key]:{form}}" for key, form in (("order", ".1f"), ("speed", ".2f")))
        lines.append(f"| `{name}` | {', '.join(dict.fromkeys(sampler.also))} | {sampler.title} | {sampler.theirs} | {sampler.calls} | "
                     f"{'fresh' if sampler.draws else 'none'} | {grid_words(name)} | {order or '–'} | "
                     f"{fact['equal']} of {fact['compared']} | {', '.join(map(str, fact['steps']))} | {fact['largest']:.0e} | "
                     f"{speed or '–'} |")
    return "\n".join(lines)


def options() -> str:
    """What of a scheduler config each sampler takes and refuses."""
    lines = ["| name | takes from a config | refuses |", "|---|---|---|"]
    for name, sampler in ALL.items():
        takes = [option for option in {**sampler.defaults(), **sampler.takes}
                 if option not in sampler.fixed and option != "flow_sigmas_from_one"]
        fixed = [f"{key} = {value}" for key, value in sampler.fixed.items() if key not in ("ancestral", "correct")]
        lines.append(f"| `{name}`{' (' + ', '.join(fixed) + ')' if fixed else ''} | {', '.join(takes) or '–'} | "
                     f"{', '.join(sampler.refuses) or '–'} |")
    lines += [f"| `{name}` | {', '.join(walk.takes) or '–'} | – |" for name, walk in WALKS.items()]
    return "\n".join(lines)


def others() -> str:
    """The classes that have no name here."""
    lines = ["| class in diffusers | for pictures | here |", "|---|---|---|"]
    lines += [f"| {name} | yes | {where} |" for name, where in sorted(ELSEWHERE.items())]
    lines += [f"| {name} | {'yes' if pictures else 'no'} | no: {reason} |" for name, (pictures, reason) in sorted(NOT_HERE.items())]
    return "\n".join(lines)


def reasons() -> str:
    """Why some numbers of diffusers are not ours."""
    return "\n".join(f"- {reason} ({times} comparisons)" for reason, times in facts()["explained"].items())


def summary() -> str:
    """What was compared."""
    known = facts()
    mine = len({sampler.theirs for sampler in EVERY.values()}) + len(ELSEWHERE)
    pictures = mine + sum(pictures for pictures, _ in NOT_HERE.values())
    return (f"diffusers {known['diffusers']}: {known['comparisons']} comparisons of {known['pairs']} pairs of a sampler and a config; "
            f"{known['states'].get('equal', 0)} equal, {known['states'].get('explained', 0)} explained, "
            f"{known['states'].get('refused', 0)} refused in words, {known['states'].get('different', 0)} different. "
            f"{mine} of the {pictures} classes for pictures are here.")


# ------------------------------------------------------------------------------------------------ measuring


def order(name: str) -> float | None:
    """The order that shows: log2 of the ratio of two errors, 96 and 192 steps evenly spaced in log(sigma / alpha) from 5 to 0.3, on the
    ring of six bumps with its exact denoiser, against 6400 steps. None where noise is drawn or the grid is its own."""
    if name not in SAMPLERS or SAMPLERS[name].draws or SAMPLERS[name].lay == "distilled":
        return None
    sampler = SAMPLERS[name]
    world, x = ring(), torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    arguments = {key: value for key, value in sampler.fixed.items() if key not in ("final_sigmas_type", "variance_type")}
    if name in ("dpm2",):
        arguments["inside"] = lambda ratio: from_ratio(0.0, ratio)

    def end(steps: int, run, arguments: dict) -> torch.Tensor:
        return run(world.denoise, x, [from_ratio(0.0, float(r)) for r in exponential(0.3, 5.0, steps + 1)], None, **arguments)

    exact = end(6400, SAMPLERS["heun"].run, {})
    # whole blocks of two and of three
    errors = [(end(steps, sampler.run, arguments) - exact).abs().mean().item() for steps in (96, 192)]
    return math.log2(errors[0] / errors[1])


def speed(name: str) -> float | None:
    """Our processor time per step over diffusers', as `python -m bench samplers` finds it. None for a walk."""
    from bench.sampling import beside

    if name in WALKS:
        return None
    ours, theirs = beside(name)
    return ours / theirs


def strips() -> Image.Image:
    """A row for each sampler: the same prompt and seed at 5, 10 and 20 steps."""
    from course.pictures import captioned, image_grid

    from .gallery import paint

    rows = []
    for name in SAMPLERS:
        pictures = [paint(PROMPT, (1,), name, num_steps=steps, guidance_scale=3.0)[0].resize((64, 64), 0) for steps in STEPS]
        rows.append(captioned(image_grid(pictures, 1, len(STEPS)), name))
    blank = Image.new("RGB", rows[0].size, "white")
    rows += [blank] * (-len(rows) % 4)
    return image_grid(rows, len(rows) // 4, 4).convert("P", palette=Image.Palette.ADAPTIVE)


def measure(observed: Path) -> None:
    """Write facts.json and strips.png from the CSV of `course observe`."""
    import diffusers

    with observed.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for name in EVERY:
        own = [row for row in rows if row["name"] == name]
        equal = [float(row["difference"]) for row in own if row["state"] == "equal"]
        found[name] = {"equal": len(equal), "compared": len(own), "largest": max(equal),
                       "speed": None if (ratio := speed(name)) is None else round(ratio, 2),
                       "steps": sorted({int(row["steps"]) for row in own}),
                       "order": None if (value := order(name)) is None else round(value, 2)}
        print(name, found[name], flush=True)
    explained = Counter(row["note"] for row in rows if row["state"] == "explained")
    content = {"diffusers": diffusers.__version__, "comparisons": len(rows), "pairs": len({(row["name"], row["config"]) for row in rows}),
               "states": Counter(row["state"] for row in rows), "explained": dict(explained.most_common()), "samplers": found}
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_whole(FOLDER / "facts.json", lambda path: path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))
    save_picture(strips(), FOLDER / "strips.png", prompt=PROMPT)


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
