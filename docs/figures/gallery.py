"""The gallery: the emoji model at fixed seeds. Nothing here is chosen by eye."""

from collections.abc import Sequence
from functools import cache
from random import Random

import torch
from PIL import Image

from course.emoji.data import COLOURS, HELD_OUT_PAIRS, OBJECTS, Scene, caption
from course.pictures import captioned, image_grid
from course.samplers import TAUGHT
from course.stable_diffusion import load_components, render_image

from .common import picture

PROMPT = "a bear above a horse on a white background"


@cache
def model():
    torch.set_num_threads(1)
    return load_components("emoji", device="cpu")


def paint(prompts: str | Sequence[str], seeds: Sequence[int], sampler: str = "dpmpp_2m", num_steps: int = 20,
          **options) -> list[Image.Image]:
    return render_image(prompts, *model()[:4], sampler, num_steps=num_steps, seed=list(seeds), progress=False, **options)


def sheet(rows: Sequence[Sequence[Image.Image]], labels: Sequence[str], side: int = 64) -> Image.Image:
    """Rows of pictures, `labels` above the first, in 256 colours: a page of pictures should stay light."""
    first = [image.resize((side, side), 0) for image in rows[0]]
    above = [captioned(image, text, 11) for image, text in zip(first, labels, strict=True)] if labels else first
    parts = [image_grid(above, 1, len(above))]
    if rest := [image.resize((side, side), 0) for row in rows[1:] for image in row]:
        below = image_grid(rest, len(rows) - 1, len(above))
        parts.append(below.resize((parts[0].width, round(below.height * parts[0].width / below.width)), 0))
    whole = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), "white")
    for k, part in enumerate(parts):
        whole.paste(part, (0, parts[0].height * k))
    return whole.quantize(256)


def samplers() -> str:
    rows = [paint(PROMPT, (1,), name, guidance_scale=3.0) + paint(PROMPT, (1,), name) for name in TAUGHT]
    return picture(sheet(list(zip(*rows, strict=True)), [name.replace("euler_ancestral", "euler_a") for name in TAUGHT], 84), "samplers",
                   f"Two rows of eight small pictures, one column for each sampler: {PROMPT}.",
                   f"“{PROMPT}”, 20 steps, seed 1. Above guidance 3, below guidance 7.5.")


def steps() -> str:
    counts = (1, 2, 3, 5, 8, 12, 20, 50)
    rows = [paint(PROMPT, (1, 2), num_steps=n) for n in counts]
    return picture(sheet(list(zip(*rows, strict=True)), [f"{n}" for n in counts], 84), "steps",
                   "Two rows of eight small pictures, from 1 step on the left to 50 on the right. They get clear after a few steps.",
                   f"“{PROMPT}”, DPM-Solver++ (2M), guidance 7.5, seeds 1 and 2; the number of steps above.")


def guidance() -> str:
    scales = (0, 1, 2, 4, 7.5, 12, 20)
    rows = [paint(PROMPT, (1, 2, 3), guidance_scale=float(w)) for w in scales]
    return picture(sheet(list(zip(*rows, strict=True)), [f"{w}" for w in scales], 84), "guidance",
                   "Three rows of seven small pictures, guidance growing from 0 on the left to 20 on the right.",
                   f"“{PROMPT}”, 20 steps of DPM-Solver++ (2M), seeds 1 to 3; the guidance scale above.")


def objects() -> str:
    prompts = [caption(Scene((name,), None, COLOURS[k % len(COLOURS)], "large")) for k, name in enumerate(OBJECTS)]
    return picture(sheet(_rows(paint(prompts, [7] * len(prompts)), 10), ()),
                   "objects", f"A grid of forty small pictures, one for each object: {', '.join(OBJECTS)}.",
                   "One picture for each object, large, on the eight backgrounds in turn, all from seed 7. In reading order: "
                   + ", ".join(OBJECTS) + ".", width=640)


def _rows(images: list[Image.Image], columns: int) -> list[list[Image.Image]]:
    return [images[k : k + columns] for k in range(0, len(images), columns)]


def held_out() -> str:
    rng = Random(0)
    pairs = rng.sample(sorted(HELD_OUT_PAIRS), 8)
    scenes = [Scene(pair, rng.choice(("above", "left of")), rng.choice(COLOURS)) for pair in pairs]
    prompts = [caption(scene) for scene in scenes]
    return picture(sheet([paint(prompts, [1] * 8), paint(prompts, [2] * 8)], (), 84), "held-out",
                   "Two rows of eight small pictures of pairs of objects: " + "; ".join(prompts) + ".",
                   "Eight pairs drawn at random from those never seen together, seeds 1 and 2. From left to right: "
                   + "; ".join(prompts) + ".",
                   width=672)


def unknown() -> str:
    prompts = ["a unicorn on a blue background", "three cats on a red background",
               "a bear above a horse above a cat", "a purple house on a yellow background", "qwertz uiop"]
    return picture(sheet([paint(prompts, [1] * len(prompts)), paint(prompts, [2] * len(prompts))], (), 100), "unknown",
                   "Two rows of five small pictures that do not show what the prompts ask for.",
                   "Prompts outside of its world, seeds 1 and 2. From left to right: " + "; ".join(f"“{p}”" for p in prompts) + ".")
