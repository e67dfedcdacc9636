"""The page "Which scheduler?": its table and its pictures, from facts that were measured once and are kept in docs/assets/schedulers.

    course observe --out out/observed.csv
    PYTHONPATH=docs python -m figures.schedulers out/observed.csv
"""

import csv
import inspect
import json
import math
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

from course.grids import exponential, from_ratio
from course.observe import ALL, CONFIGS, ELSEWHERE, NOT_HERE, their_scheduler
from course.pictures import save_picture, write_whole
from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule
from course.toy import ring

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "schedulers"
STEPS = (5, 10, 20)
PROMPT = "a bear above a horse on a white background"


def facts() -> dict:
    return json.loads((FOLDER / "facts.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ what the page shows


def grid_words(name: str) -> str:
    """How the sampler's grid is laid, in words."""
    sampler = ALL[name]
    if sampler.lay == "distilled":
        return "times of the distillation"
    if sampler.lay == "inverse":
        return "leading, backwards"
    words = "rounded " * (sampler.whole and sampler.spacing == "linspace") + sampler.spacing
    return words + (", ends at the smallest sigma" if sampler.fixed.get("final_sigmas_type") == "repeated" else "")


def table() -> str:
    """Every sampler that is here, as a Markdown table."""
    known = facts()["samplers"]
    lines = ["| name | also called | method | class in diffusers | calls | noise | grid | order, measured | equal | at steps "
             "| largest difference | speed ratio |", "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for name, sampler in ALL.items():
        fact = known[name]
        order = f"{fact['order']:.1f}" if fact["order"] is not None else "–"
        lines.append(f"| `{name}` | {', '.join(dict.fromkeys(sampler.also))} | {sampler.title} | {sampler.theirs} | {sampler.calls} | "
                     f"{'fresh' if sampler.draws else 'none'} | {grid_words(name)} | {order} | {fact['equal']} of {fact['compared']} | "
                     f"{', '.join(map(str, fact['steps']))} | "
                     f"{fact['largest']:.0e} | {fact['speed']:.2f} |")
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
    mine = len({sampler.theirs for sampler in ALL.values()}) + len(ELSEWHERE)
    pictures = mine + sum(pictures for pictures, _ in NOT_HERE.values())
    return (f"diffusers {known['diffusers']}: {known['comparisons']} comparisons of {known['pairs']} pairs of a sampler and a config; "
            f"{known['states'].get('equal', 0)} equal, {known['states'].get('explained', 0)} explained, "
            f"{known['states'].get('refused', 0)} refused in words, {known['states'].get('different', 0)} different. "
            f"{mine} of the {pictures} classes for pictures are here.")


# ------------------------------------------------------------------------------------------------ measuring


def order(name: str) -> float | None:
    """The order that shows: log2 of the ratio of two errors, 96 and 192 steps evenly spaced in log(sigma / alpha) from 5 to 0.3, on the
    ring of six bumps with its exact denoiser, against 6400 steps. None where noise is drawn or the grid is its own."""
    sampler = ALL[name]
    if sampler.draws or sampler.lay in ("distilled", "inverse"):
        return None
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


def speed(name: str, steps: int = 50, rounds: int = 7) -> float:
    """Processor time of ours over diffusers', per step on 1 x 4 x 64 x 64, with a network that costs nothing: the least of some rounds by
    turns. Processor time, so that a busy machine does not count."""
    config = {**CONFIGS["stable-diffusion-v1-4"], **({"beta_schedule": "squaredcos_cap_v2"} if name == "unclip" else {})}
    noise, schedule, scheduler = torch.randn(1, 4, 64, 64), NoiseSchedule.from_config(config), their_scheduler(name, config)
    takes = inspect.signature(scheduler.step).parameters
    extra = {"generator": torch.Generator()} if "generator" in takes else {}

    def theirs() -> None:
        scheduler.set_timesteps(steps)
        x = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(scheduler.scale_model_input(x, t) * 0.1, t, x, return_dict=False, **extra)[0]

    def ours() -> None:
        ALL[name].sample(lambda x, level: x * 0.1, noise, schedule, steps, torch.Generator())

    times: dict = {ours: [], theirs: []}
    for _ in range(rounds):
        for work, seen in times.items():
            start = time.process_time()
            work()
            seen.append(time.process_time() - start)
    return min(times[ours]) / min(times[theirs])


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
    for name in ALL:
        own = [row for row in rows if row["name"] == name]
        equal = [float(row["difference"]) for row in own if row["state"] == "equal"]
        found[name] = {"equal": len(equal), "compared": len(own), "largest": max(equal), "speed": round(speed(name), 2),
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
