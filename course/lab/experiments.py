"""Two experiments that a world of drawn scenes allows: does an edit do what it was asked, and does one guidance differ from another?

Photographs have no truth to hold an edit against. Here the scene before and the scene wanted are known, and what had to stay is
known to the pixel. `edits()` and `guidance()` return rows for a table; `course lab edits` and `course lab guidance` write them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from course.components import Components, load_components
from course.editing import by_step, img2img, inpaint, invert, null_text, repaint, shared_attention, upwards
from course.emoji import folder
from course.emoji.data import CELL, OBJECTS, SIZE, Scene, caption, draw_batch, parse, place, random_scene
from course.emoji.probe import load_probe, targets, verdicts
from course.flow import FlowSchedule, euler, heun, off_flow
from course.guidance import (
    Pair,
    Scale,
    auto_guided,
    classifier_free,
    classifier_guided,
    interval,
    perturbed,
    plus_plus,
    projected,
    zero_star,
)
from course.lab.evaluate import features
from course.lab.metrics import diversity, mean_interval, wilson
from course.nets import as_part, load_part
from course.pictures import write_whole
from course.prediction import Denoise
from course.samplers import SAMPLERS
from course.schedule import Level, NoiseSchedule
from course.stable_diffusion import decode_pixels, encode_prompts, prediction_pair, prompted_network

STEPS = 25
SCALE = 3.0                     # guidance of all edits
BATCH = 20
SAMPLER = SAMPLERS["ddim"]


def predictions(parts: Components, prompts: Sequence[str], negatives: Sequence[str] | None = None) -> Pair:
    """pair(x, level) -> what the U-Net says without and with the prompts, in one call; `negatives` stand in the empty ones' place."""
    negatives = [""] * len(prompts) if negatives is None else negatives
    return prediction_pair(parts.unet, encode_prompts([*negatives, *prompts], parts.tokenizer, parts.text_encoder))


def alone(parts: Components, prompts: Sequence[str]) -> Denoise:
    """The prediction with the prompts, without guidance."""
    return prompted_network(parts.unet, encode_prompts(prompts, parts.tokenizer, parts.text_encoder))


def painted(z: Tensor, parts: Components) -> Tensor:
    """Latents -> pictures (B, 3, H, W) in [-1, 1]."""
    return decode_pixels(z, parts.vae).clamp(-1, 1)


# ------------------------------------------------------------------------------------------------ edits


def swaps(count: int, parts: Components, seed: int = 0) -> list[tuple[Scene, Scene]]:
    """Scenes of two objects, and the same with the first one exchanged for another whose name has as many tokens."""
    rng = Random(f"edits/{seed}")
    length = {name: len(parts.tokenizer(name)["input_ids"]) for name in OBJECTS}
    pairs: list[tuple[Scene, Scene]] = []
    while len(pairs) < count:
        scene = random_scene(rng, objects=2)
        others = [name for name in OBJECTS if name not in scene.objects and length[name] == length[scene.objects[0]]]
        if others and caption(scene).split()[0] == "a":
            wanted = replace(scene, objects=(rng.choice(others), scene.objects[1]))
            if caption(wanted).split()[0] == "a":
                pairs.append((scene, wanted))
    return pairs


def box(scene: Scene) -> Tensor:
    """1 on the latent cells of the first object, (1, h, w)."""
    _, pixels, x, y = place(scene)[0]
    mask = torch.zeros(1, SIZE // CELL, SIZE // CELL)
    mask[:, y // CELL:(y + pixels) // CELL, x // CELL:(x + pixels) // CELL] = 1
    return mask


Edit = Callable[[Components, NoiseSchedule, Tensor, list[str], list[str], Tensor, torch.Generator], Tensor]


def _half_way(strength: float) -> Edit:
    def edit(parts: Components, curve: NoiseSchedule, z: Tensor, before: list[str], after: list[str], mask: Tensor,
             generator: torch.Generator) -> Tensor:
        denoise = classifier_free(predictions(parts, after), SCALE)
        return img2img(denoise, z, torch.randn(z.shape, generator=generator), SAMPLER, curve, STEPS, strength)

    return edit


def _inside(parts: Components, curve: NoiseSchedule, z: Tensor, before: list[str], after: list[str], mask: Tensor,
            generator: torch.Generator) -> Tensor:
    denoise = classifier_free(predictions(parts, after), SCALE)
    return inpaint(denoise, z, torch.randn(z.shape, generator=generator), mask, SAMPLER, curve, STEPS)


def _second_thoughts(parts: Components, curve: NoiseSchedule, z: Tensor, before: list[str], after: list[str], mask: Tensor,
                     generator: torch.Generator) -> Tensor:
    denoise = classifier_free(predictions(parts, after), SCALE)
    draw = lambda: torch.randn(z.shape, generator=generator)                                # noqa: E731
    return repaint(denoise, z, mask, draw(), SAMPLERS["ddpm"].grid(curve, STEPS), draw, resamplings=2)


def _up_and_down(scale: float, shared: float = 0.0, corrections: int = 0) -> Edit:
    """Invert with the old words at guidance 1, come down with the new ones; `shared`: with the attention of the old."""
    def edit(parts: Components, curve: NoiseSchedule, z: Tensor, before: list[str], after: list[str], mask: Tensor,
             generator: torch.Generator) -> Tensor:
        grid = SAMPLER.grid(curve, STEPS)
        noise = invert(alone(parts, before), z, grid, corrections)
        if not shared:
            return SAMPLER.run(classifier_free(predictions(parts, after), scale), noise, grid, lambda: noise)
        both = [text for pair in zip(before, after, strict=True) for text in pair]
        denoise = classifier_free(predictions(parts, both), scale)
        start = noise.repeat_interleave(2, 0)
        return SAMPLER.run(shared_attention(parts.unet, shared)(denoise, STEPS), start, grid, lambda: start)[1::2]

    return edit


def _untouched(parts: Components, curve: NoiseSchedule, z: Tensor, before: list[str], after: list[str], mask: Tensor,
               generator: torch.Generator) -> Tensor:
    return z


def _against_the_old(parts: Components, curve: NoiseSchedule, z: Tensor, before: list[str], after: list[str], mask: Tensor,
                     generator: torch.Generator) -> Tensor:
    """Negative-prompt inversion: coming down, the old words stand where the empty prompt did (Miyake et al. 2023)."""
    grid = SAMPLER.grid(curve, STEPS)
    noise = invert(alone(parts, before), z, grid)
    return SAMPLER.run(classifier_free(predictions(parts, after, before), SCALE), noise, grid, lambda: noise)


def _null_text(parts: Components, curve: NoiseSchedule, z: Tensor, before: list[str], after: list[str], mask: Tensor,
               generator: torch.Generator) -> Tensor:
    """Null-text inversion: stand-ins for the empty prompt that lead back to the picture with the old words; then the new words."""
    grid = SAMPLER.grid(curve, STEPS)
    empty, old, new = encode_prompts([*[""] * len(before), *before, *after], parts.tokenizer, parts.text_encoder).chunk(3)
    path = upwards(alone(parts, before), z, grid)
    stand_ins = null_text(parts.unet, empty, old, path, grid, SCALE, rounds=4)
    return SAMPLER.run(classifier_free(by_step(parts.unet, stand_ins, new, grid), SCALE), path[-1], grid, lambda: path[-1])


EDITS: dict[str, Edit] = {
    "none: through the autoencoder": _untouched,
    "img2img, strength 0.4": _half_way(0.4),
    "img2img, strength 0.6": _half_way(0.6),
    "img2img, strength 0.8": _half_way(0.8),
    "inpainting the object's box": _inside,
    "RePaint, 2 resamplings": _second_thoughts,
    "inversion, new words at guidance 1": _up_and_down(1.0),
    "inversion, new words at guidance 3": _up_and_down(SCALE),
    "inversion, new words against the old": _against_the_old,
    "null-text inversion, new words": _null_text,
    "inversion and shared attention": _up_and_down(SCALE, shared=0.8),
}


@torch.no_grad()
def edits(count: int = 200, seed: int = 0, methods: Sequence[str] | None = None, progress: bool = True) -> Iterator[dict[str, Any]]:
    """One row for each way of editing: exchange the first of two objects, keep the second and the ground; `count` drawn scenes.

    changed     share of pictures with the new object where the old one was, judged by the probe
    kept        share in which the other object is still there; ground: share with the old background colour
    all         share with all of it
    psnr        of the picture outside the object's box against the picture it was made from, in dB
    Shares have Wilson intervals, the PSNR a normal one, each 95%.
    """
    parts, probe = load_components("emoji", device="cpu", nets="course"), load_probe()
    curve = NoiseSchedule.from_config(parts.scheduler.config)
    pairs = swaps(count, parts, seed)
    for name in methods or EDITS:
        results: dict[str, list[Tensor]] = {key: [] for key in ("changed", "kept", "ground", "psnr")}
        for start in tqdm(range(0, count, BATCH), desc=name, disable=not progress):
            chunk = pairs[start:start + BATCH]
            x = torch.from_numpy(draw_batch([scene for scene, _ in chunk]))                 # (B, 3, H, W)
            z = parts.vae.encode(x).latent_dist.mean * parts.vae.config.scaling_factor
            mask = torch.stack([box(scene) for scene, _ in chunk])                          # (B, 1, h, w)
            generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
            texts = [[caption(scene) for scene in column] for column in zip(*chunk, strict=True)]
            y = painted(EDITS[name](parts, curve, z, texts[0], texts[1], mask, generator), parts)
            for key, value in _held(probe, y, x, chunk, mask).items():
                results[key].append(value)
        values = {key: torch.cat(value) for key, value in results.items()}
        row: dict[str, Any] = {"method": name}
        shares = {key: values[key] for key in ("changed", "kept", "ground")}
        shares["all"] = values["changed"] & values["kept"] & values["ground"]
        for key, hits in shares.items():
            found = wilson(int(hits.sum()), len(hits))
            row |= {key: round(found.value, 4), f"{key}_low": round(found.low, 4), f"{key}_high": round(found.high, 4)}
        level = mean_interval(values["psnr"].tolist())
        yield {**row, "psnr": round(level.value, 2), "psnr_low": round(level.low, 2), "psnr_high": round(level.high, 2), "scenes": count}


def _held(probe: Any, y: Tensor, x: Tensor, chunk: Sequence[tuple[Scene, Scene]], mask: Tensor) -> dict[str, Tensor]:
    """What was asked of an edit, picture by picture."""
    wanted = [after for _, after in chunk]
    said = probe.answers(y)
    asked = {key: [list(words).index(word) for word in column] for key, words, column in (
        ("first", OBJECTS, [scene.objects[0] for scene in wanted]), ("second", OBJECTS, [scene.objects[1] for scene in wanted]))}
    right = verdicts(probe, y, wanted)
    outside = 1 - torch.nn.functional.interpolate(mask, size=x.shape[-2:])                  # (B, 1, H, W)
    error = ((y - x).square() * outside).sum((1, 2, 3)) / (3 * outside.sum((1, 2, 3)))
    return {"changed": said["first"].argmax(1) == torch.tensor(asked["first"]),
            "kept": said["second"].argmax(1) == torch.tensor(asked["second"]),
            "ground": right["colour"], "psnr": 10 * torch.log10(4 / error.clamp(min=1e-8))}


# ------------------------------------------------------------------------------------------------ guidance


def _scaled(scale: Scale, **options: Any) -> Callable[..., Denoise]:
    """Classifier-free guidance with a scale that may depend on the level."""
    return lambda parts, prompts, grid: classifier_free(predictions(parts, prompts), scale, **options)


def _plus_plus(share: float) -> Callable[..., Denoise]:
    return lambda parts, prompts, grid: classifier_free(predictions(parts, prompts), plus_plus(share, grid))


def _projected(scale: float, **options: Any) -> Callable[..., Denoise]:
    return lambda parts, prompts, grid: projected(predictions(parts, prompts), scale, **options)


def _attention(scale: float) -> Callable[..., Denoise]:
    def build(parts: Components, prompts: list[str], grid: Sequence[Level]) -> Denoise:
        network = alone(parts, prompts)
        return auto_guided(perturbed(network, parts.unet), network, 1 + scale)

    return build


@cache
def other(name: str) -> Any:
    """Another network that ships with the model, in the U-Net's place: "unet_flow" or "dit"."""
    return as_part(load_part("unet", folder() / name))


def _auto(scale: float) -> Callable[..., Denoise]:
    """Away from the transformer that ships, which is smaller and was trained a twelfth as long."""
    def build(parts: Components, prompts: list[str], grid: Sequence[Level]) -> Denoise:
        return auto_guided(alone(parts._replace(unet=other("dit")), prompts), alone(parts, prompts), scale)

    return build


def _classified(scale: float, told: bool) -> Callable[..., Denoise]:
    """Towards what a classifier calls the scene asked for, from the prediction with the prompt (told) or without any. The
    classifier is not the probe that judges: who is guided by a judge can please it without being right."""
    def build(parts: Components, prompts: list[str], grid: Sequence[Level]) -> Denoise:
        classifier, wanted = load_probe(folder() / "classifier"), targets([parse(prompt) for prompt in prompts])

        def log_prob(z: Tensor) -> Tensor:                                                  # (B, C, h, w) -> (B,)
            said = classifier.answers(decode_pixels(z, parts.vae))
            return -sum(cross_entropy(said[q], wanted[q], reduction="none") for q in said)  # type: ignore[return-value]

        return classifier_guided(alone(parts, prompts if told else [""] * len(prompts)), log_prob, scale)

    return build


def _flowing(rule: Callable[[Pair, float], Denoise], scale: float) -> Callable[..., Denoise]:
    """The flow's network, asked on the same grid: a rule that is linear is the same rule for a velocity."""
    def build(parts: Components, prompts: list[str], grid: Sequence[Level]) -> Denoise:
        return off_flow(rule(predictions(parts._replace(unet=other("unet_flow")), prompts), scale))

    return build


KINDS: dict[str, dict[str, Callable[..., Denoise]]] = {
    "none": {"1": lambda parts, prompts, grid: alone(parts, prompts)},
    "classifier-free": {f"{g:g}": _scaled(g) for g in (2.0, 3.0, 7.5, 15.0)},
    "limited interval": {f"{g:g}": _scaled(interval(g, 0.5, 5.0)) for g in (3.0, 7.5, 15.0)},
    "CFG++": {f"{s:g}": _plus_plus(s) for s in (0.2, 0.5, 1.0)},
    "APG": {f"{g:g}": _projected(g, most=5.0, momentum=-0.5) for g in (3.0, 7.5, 15.0)},
    "rescaled by 0.7": {f"{g:g}": _scaled(g, guidance_rescale=0.7) for g in (7.5, 15.0)},
    "perturbed attention": {f"{s:g}": _attention(s) for s in (1.0, 3.0)},
    "autoguidance": {f"{g:g}": _auto(g) for g in (1.5, 2.0, 3.0)},
    "a classifier, no prompt": {f"{s:g}": _classified(s, False) for s in (0.3, 1.0)},
    "a classifier and the prompt": {f"{s:g}": _classified(s, True) for s in (0.1, 0.3, 1.0)},
    "flow, classifier-free": {f"{g:g}": _flowing(classifier_free, g) for g in (3.0, 7.5)},
    "flow, CFG-Zero*": {f"{g:g}": _flowing(zero_star, g) for g in (3.0, 7.5)},
}


def crowd(prompts: int, seeds: int) -> list[Scene]:
    """The scenes of both experiments: `prompts` of them, each as often as there are seeds."""
    rng = Random("guidance")
    return [scene for i in range(prompts) for scene in [random_scene(rng, objects=1 + i % 2)] * seeds]


def drawn_by(sample: Callable[[Tensor, list[str]], Tensor], scenes: Sequence[Scene], parts: Components, name: str,
             progress: bool) -> Tensor:
    """Pictures (N, 3, H, W) of the scenes, from the same noise in every experiment: sample(noise, captions) -> latents."""
    noise, pictures = torch.randn((len(scenes), 4, 8, 8), generator=torch.Generator().manual_seed(0)), []
    for start in tqdm(range(0, len(scenes), BATCH), desc=name, disable=not progress):
        chunk = slice(start, start + BATCH)
        pictures.append(painted(sample(noise[chunk], [caption(scene) for scene in scenes[chunk]]), parts))
    return torch.cat(pictures)


def judged(probe: Any, y: Tensor, scenes: Sequence[Scene], seeds: int) -> dict[str, float]:
    """The share of pictures with everything right, with its Wilson interval, and the variety among the pictures of one caption."""
    hits = verdicts(probe, y, scenes)["everything"]
    found = wilson(int(hits.sum()), len(hits))
    variety = diversity(features(probe, y), np.repeat(np.arange(len(scenes) // seeds), seeds))
    return {"right": round(found.value, 4), "right_low": round(found.low, 4), "right_high": round(found.high, 4),
            "variety": round(variety, 2)}


@torch.no_grad()
def guidance(prompts: int = 24, seeds: int = 4, kinds: Sequence[str] | None = None, progress: bool = True) -> Iterator[dict[str, Any]]:
    """One row for each kind and scale, at equal calls: 50 evaluations of a network a picture (25 steps of DDIM with two each, or 50
    with one; a classifier's step is a call and its gradient), the same prompts and the same noise.

    right       share with everything asked for, judged by the probe, with a Wilson interval
    variety     mean distance of two pictures of one prompt in the probe's features
    burnt       share of pixels within 2% of black or white, against the same share in drawn scenes of the same captions
    """
    parts, probe = load_components("emoji", device="cpu", nets="course"), load_probe()
    curve = NoiseSchedule.from_config(parts.scheduler.config)
    scenes = crowd(prompts, seeds)
    drawn = _burnt(torch.from_numpy(draw_batch(scenes)))
    for kind in kinds or KINDS:
        for scale, build in KINDS[kind].items():
            grid = SAMPLER.grid(curve, 2 * STEPS if kind == "none" else STEPS)

            def sample(noise: Tensor, texts: list[str], build: Callable[..., Denoise] = build, grid: Sequence[Level] = grid) -> Tensor:
                return SAMPLER.run(build(parts, texts, grid), noise, grid, lambda: noise)

            y = drawn_by(sample, scenes, parts, f"{kind} {scale}", progress)
            yield {"kind": kind, "scale": scale, **judged(probe, y, scenes, seeds), "burnt": round(_burnt(y) - drawn, 4),
                   "prompts": prompts, "pictures": len(scenes)}


# ------------------------------------------------------------------------------------------------ flows


@torch.inference_mode()
def flows(prompts: int = 24, seeds: int = 4, progress: bool = True) -> Iterator[dict[str, Any]]:
    """The flow-trained U-Net beside the one that answers eps, at guidance 3 and equal calls, each with a first-order and a second-order
    method: right and variety as in `guidance`. Not at equal training: the model card says how long each was trained."""
    parts, probe = load_components("emoji", device="cpu", nets="course"), load_probe()
    curve, flow, scenes = NoiseSchedule.from_config(parts.scheduler.config), FlowSchedule(), crowd(prompts, seeds)
    straight = parts._replace(unet=other("unet_flow"))

    def by(sampler: str) -> Callable[[int], Callable[[Tensor, list[str]], Tensor]]:
        return lambda calls: lambda z, texts: SAMPLERS[sampler].sample(classifier_free(predictions(parts, texts), SCALE), z, curve, calls)

    def along(method: Callable[..., Tensor], cost: int) -> Callable[[int], Callable[[Tensor, list[str]], Tensor]]:
        return lambda calls: lambda z, texts: method(classifier_free(predictions(straight, texts), SCALE), z, flow.levels(calls // cost))

    ways = {("eps", "ddim"): by("ddim"), ("eps", "dpmpp_2m"): by("dpmpp_2m"),
            ("flow", "euler"): along(euler, 1), ("flow", "heun"): along(heun, 2)}
    for (model, sampler), sample in ways.items():
        for calls in (4, 8, 16, 32):
            y = drawn_by(sample(calls), scenes, parts, f"{model} {sampler} {calls}", progress)
            yield {"model": model, "sampler": sampler, "calls": calls, **judged(probe, y, scenes, seeds), "prompts": prompts,
                   "pictures": len(scenes)}


def _burnt(x: Tensor) -> float:
    return float((x.abs() > 0.98).float().mean())


def write_table(rows: Iterator[dict[str, Any]], file: Path) -> Path:
    """Print each row when it is known, and write all that are known to a CSV, whole each time: a run that is stopped keeps its rows.

    Raises ValueError if there are none.
    """
    kept: list[dict[str, Any]] = []
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items() if not key.endswith(("_low", "_high"))), flush=True)
        kept.append(row)
        text = io.StringIO()
        table = csv.DictWriter(text, list(row), lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
        write_whole(file, partial(Path.write_text, data=text.getvalue(), encoding="utf-8"))
    if not kept:
        raise ValueError("the experiment gave no numbers to write")
    return file
