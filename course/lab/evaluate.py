"""Measure the small Stable Diffusion and write its model card: `course train emoji --evaluate`."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from course.components import load_components
from course.emoji.data import Scene, caption, draw_batch, random_scene
from course.emoji.probe import Probe, load_probe, verdicts
from course.emoji.train import MISTAKEN, sample
from course.lab.metrics import bootstrap, diversity, frechet_distance, frechet_infinity, mean_interval, saturation, wilson

GUIDANCES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5)             # tried on prompts of their own to find the best one


@dataclass(frozen=True)
class Figure:
    """One row of the card: a value, its 95% interval, out of how many, and the goal it is held against (or None)."""

    name: str
    value: float
    low: float
    high: float
    count: int
    goal: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool:
        return self.goal is None or self.value >= self.goal


def share(name: str, hits: Tensor, goal: float | None = None) -> Figure:
    value, low, high = (100 * end for end in wilson(int(hits.sum()), len(hits)))
    return Figure(name, value, low, high, len(hits), goal, "%")


def psnr(y: Tensor, x: Tensor) -> Tensor:
    """10 log10(1 / mean squared error) per picture, in dB; y, x (B, 3, H, W) in [-1, 1], compared on [0, 1]."""
    return -10 * torch.log10((y - x).square().mean((1, 2, 3)) / 4)


def ssim(y: Tensor, x: Tensor) -> Tensor:
    """Structural similarity per picture (Wang et al. 2004, eq. 13; Gaussian window of 11 pixels, deviation 1.5).

    y, x (B, 3, H, W) in [-1, 1], compared on [0, 1] channel by channel -> (B,).
    """
    line = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = torch.outer(line, line)
    window = (window / window.sum())[None, None]

    def blur(v: Tensor) -> Tensor:
        return F.conv2d(v.flatten(0, 1)[:, None], window)                                 # (3 B, 1, H - 10, W - 10)

    y, x = (y + 1) / 2, (x + 1) / 2
    my, mx = blur(y), blur(x)
    vy, vx, c = blur(y * y) - my**2, blur(x * x) - mx**2, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mx * my + c1) * (2 * c + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return value.mean((1, 2, 3)).view(len(x), -1).mean(1)


def draw_scenes(name: str, count: int, **options: Any) -> tuple[list[Scene], Tensor]:
    """`count` scenes and their jittered pictures (count, 3, SIZE, SIZE), from a stream that training never uses."""
    rng = Random(f"evaluate/{name}")
    scenes = [random_scene(rng, **options) for _ in range(count)]
    return scenes, torch.from_numpy(draw_batch(scenes, rng))


@torch.no_grad()
def reconstruct(vae: Any, x: Tensor) -> Tensor:
    """Picture -> latent -> picture, with the mean of the posterior (or AutoencoderTiny's only latent)."""
    out = []
    for part in x.split(64):
        code = vae.encode(part)
        z = code.latent_dist.mean if hasattr(code, "latent_dist") else code.latents
        out.append(vae.decode(z).sample.clamp(-1, 1))
    return torch.cat(out)


def features(probe: Probe, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return torch.cat([probe(part) for part in x.split(256)]).double().numpy()


def evaluate(weights: Path, scale: float = 1.0, show: Path | None = None) -> dict:
    """All figures, as a dict of JSON values. scale shrinks every count (for a quick look); show gets picture grids."""
    from course.emoji.train import save_grid

    def n(count: int) -> int:
        return max(int(count * scale), 4)

    parts = load_components(str(weights), device="cpu", dtype="float32")
    probe = load_probe(weights / "probe")
    figures: list[Figure] = []
    note: dict[str, Any] = {"machine": f"{torch.get_num_threads()} CPU threads, {platform.machine()}",
                            "versions": {"torch": torch.__version__, "python": platform.python_version()}}

    def generate(scenes: list[Scene], *, seed: int, words: Random | None = None, **options: Any) -> Tensor:
        swapped = {k: options.pop(k) for k in ("vae", "text_encoder", "tokenizer") if k in options}
        p = parts._replace(**swapped)
        return sample([caption(s, words) for s in scenes], p.vae, p.unet, p.tokenizer, p.text_encoder, seed=seed, **options)

    # ---- the autoencoder
    real = draw_scenes("autoencoder", n(1000), pairs="any")[1]
    back = reconstruct(parts.vae, real)
    figures += [
        Figure("autoencoder PSNR", *mean_interval(psnr(back, real).numpy()), len(real), 28.0, " dB"),
        Figure("autoencoder PSNR of the mean error", *bootstrap(lambda e: float(-10 * np.log10(e.mean() / 4)),
               (back - real).square().mean((1, 2, 3)).numpy()), len(real), 28.0, " dB"),
        Figure("autoencoder SSIM", *mean_interval(ssim(back, real).numpy()), len(real)),
    ]
    if show:
        save_grid(torch.stack([real[:32], back[:32]], 1).flatten(0, 1), show / "autoencoder.png", 16)

    # ---- the probe
    scenes, pictures = draw_scenes("probe", n(4000), pairs="any")
    right = verdicts(probe, pictures, scenes)
    figures += [share(f"probe on real scenes: {name}", right[name], 99.0) for name in ("objects", "relation", "colour")]
    reference = features(probe, pictures)

    # ---- the best guidance, on prompts of its own
    tuning = [*draw_scenes("tune singles", n(48), objects=1)[0], *draw_scenes("tune pairs", n(72), objects=2)[0]]
    by_guidance = {}
    for g in tqdm(GUIDANCES, desc="guidance"):
        by_guidance[g] = verdicts(probe, generate(tuning, seed=11, guidance=g), tuning)["all"].float().mean().item()
    best = max(by_guidance, key=lambda g: by_guidance[g])
    note["best guidance"], note["tuning"] = best, {str(g): round(v, 4) for g, v in by_guidance.items()}

    # ---- prompts
    singles = draw_scenes("singles", n(300), objects=1)[0]
    pairs = draw_scenes("pairs", n(300), objects=2)[0]
    held_out = draw_scenes("held out", n(300), objects=2, pairs="held out")[0]
    made = {name: generate(s, seed=21 + i, guidance=best)
            for i, (name, s) in enumerate((("singles", singles), ("pairs", pairs), ("held out", held_out)))}
    said = {name: verdicts(probe, made[name], s)
            for name, s in (("singles", singles), ("pairs", pairs), ("held out", held_out))}
    figures += [
        share("right object, single prompts", said["singles"]["objects"], 95.0),
        share("right size, single prompts", said["singles"]["size"]),
        share("both objects and relation, training pairs", said["pairs"]["all"], 85.0),
        share("both objects and relation, held-out pairs", said["held out"]["all"], 70.0),
        share("background colour", torch.cat([v["colour"] for v in said.values()]), 98.0),
    ]
    other = verdicts(probe, generate(pairs[:n(150)], seed=31, guidance=best, words=Random("paraphrases")), pairs[:n(150)])
    figures.append(share("both objects and relation, training pairs in other words", other["all"]))
    if show:
        for name in made:
            save_grid(made[name][:64], show / f"{name.replace(' ', '_')}.png", 16)

    # ---- Fréchet distances, on the probe's features
    asked, fresh = draw_scenes("frechet", n(2400))
    generated = features(probe, generate(asked, seed=61, guidance=best))
    floors = {"reconstructions": features(probe, reconstruct(parts.vae, fresh)), "fresh real scenes": features(probe, fresh)}
    for label, made_of in {"generated": generated, **floors}.items():
        interval = bootstrap(lambda f: frechet_distance(f, reference), made_of, repeats=60, centred=True)
        figures += [Figure(f"Fréchet distance, {label}", *interval, len(made_of)),
                    Figure(f"Fréchet distance extrapolated to endless pictures, {label}",
                           frechet_infinity(made_of, reference), float("nan"), float("nan"), len(made_of))]
    ratio = bootstrap(lambda a, b: frechet_distance(a, reference) / frechet_distance(b, reference), generated,
                      floors["reconstructions"], repeats=60, centred=True)
    figures.append(Figure("ratio of generated to reconstructions", *ratio, len(generated)))

    # ---- what guidance does
    few = [*singles[:n(60)], *pairs[:n(60)]]
    note["guidance"] = {}
    for g in (1.0, 2.0, 3.0, 5.0, 7.5, 15.0, 25.0):
        pictures = generate(few * 2, seed=41, guidance=g)
        note["guidance"][str(g)] = {
            "adherence": round(verdicts(probe, pictures, few * 2)["everything"].float().mean().item(), 3),
            "diversity": round(diversity(features(probe, pictures), [i % len(few) for i in range(2 * len(few))]), 3),
            "saturation": round(float(saturation(((pictures + 1) / 2).permute(0, 2, 3, 1).numpy()).mean()), 4),
        }
        if show:
            save_grid(pictures[::4][:32], show / f"guidance_{g}.png", 16)

    # ---- parts to swap in
    note["swapped"] = {}
    few = [*singles[:n(50)], *pairs[:n(50)]]
    whole = verdicts(probe, generate(few, seed=51, guidance=best), few)["all"].float().mean().item()
    note["swapped"]["as shipped"] = round(whole, 3)
    if (weights / "vae_tiny").exists():
        from diffusers import AutoencoderTiny
        tiny = AutoencoderTiny.from_pretrained(weights / "vae_tiny", torch_dtype=torch.float32)
        figures.append(Figure("light autoencoder PSNR", *mean_interval(psnr(reconstruct(tiny, real), real).numpy()), len(real), None,
                              " dB"))
        note["swapped"]["vae_tiny"] = round(
            verdicts(probe, generate(few, seed=51, guidance=best, vae=tiny), few)["all"].float().mean().item(), 3)
    if (weights / "text_encoder_bert").exists():
        from transformers import BertModel, BertTokenizer
        bert = BertModel.from_pretrained(weights / "text_encoder_bert")
        bert_tokenizer = BertTokenizer.from_pretrained(weights / "tokenizer_bert")
        note["swapped"]["text_encoder_bert"] = round(
            verdicts(probe, generate(few, seed=51, guidance=best, text_encoder=bert, tokenizer=bert_tokenizer),
                     few)["all"].float().mean().item(), 3)

    # ---- time
    note["seconds"] = _seconds(lambda: generate(pairs[:1], seed=1, guidance=7.5, steps=50))
    return {"figures": [asdict(f) for f in figures], **note}


def _seconds(action: Callable[[], Any]) -> dict:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        action()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            action()
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return {"50 steps, guided, 2 threads": [round(t, 2) for t in sorted(times)]}


# ---------------------------------------------------------------------------------------------------------- the card

CARD = """# The small Stable Diffusion of this course

This file is written by `course train emoji --evaluate`; do not edit it by hand.

A latent diffusion model with the five components and the folder layout of `CompVis/stable-diffusion-v1-4`, small enough to
draw on a laptop's processor. It knows {objects} objects on {colours} backgrounds, one (large or small) or two (one above,
or left of, the other), and nothing else. Pictures are 64 x 64, latents 4 x 8 x 8.

## How good it is

| figure | value | 95% interval | pictures | goal |
|---|---|---|---|---|
{rows}

{missed}

Written by `course train emoji --evaluate` with torch {torch}, Python {python}, {machine}. Guidance {best:g} was the best of
{tried} on prompts of their own ({tuning}).

Prompts and scenes are drawn by `random.Random("evaluate/NAME")` with a NAME for each figure; the noise of the pictures has the
seeds 11 (tuning), 21 to 23 (single, training, held-out prompts), 31 (other words), 41 (guidance), 51 (swapped parts) and 61
(Fréchet). Training draws from `Random("SEED/STAGE/STEP/PROCESS")`: no stream is used twice. 25 steps of `dpmpp_2m` throughout.
Shares have Wilson intervals, means normal ones, Fréchet distances bootstrap ones, centred on the value. Objects, relation and
colour are judged by the probe, a classifier whose own errors on real scenes are in the table. Fréchet distances are on the
probe's {features} features against {reference:,} fresh scenes; "reconstructions" are real scenes through the autoencoder, the
floor for anything drawn through it, and "fresh real scenes" is what the number of pictures, and the held-out pairs among
the reference, make of zero.

The last run of the denoiser gave {mistaken:.0%} of the captions one mistake (another object, colour, size or relation), as captions
on the web have them. So without guidance even a perfect model would draw something else in {mistaken:.0%} of the pictures, and
guidance mends that; too much of it breaks pictures:

| guidance | prompt obeyed (objects, relation, size, colour) | diversity (feature distance between two seeds) | saturation |
|---|---|---|---|
{guidance}

| with this part swapped in | prompt obeyed |
|---|---|
{swapped}

One picture of 50 guided steps with 2 threads took {seconds} seconds (five runs on 2 CPU cores).

## How it was made

| stage | steps | minutes | parameters | final loss | seed |
|---|---|---|---|---|---|
{stages}

Minutes are wall time of one thread on 2 CPU cores that other programs were using too. A second line of a stage is a run from the
weights of the first (`--from-shipped`, at half the learning rate). Runs with a budget in minutes follow the clock, and the
first ones were stopped, resumed and cut short by hand: **the shipped weights cannot be made again bit for bit from their
seed**. Runs with `--steps` can, on one machine. Weights: {megabytes:.1f} MB, U-Net and autoencoders in float16, text encoders in
float32.

The flow's U-Net (`unet_flow` and `scheduler_flow`: it answers the velocity noise - x_0) goes on from the denoiser's weights, with
the same text encoder; the diffusion transformer (`dit`) starts from nothing. What they reach is measured by `course lab flows`
(docs/assets/lab/flows.csv: 96 pictures a row, with intervals) and in chapter 9b, where the transformer's honest gap is.
`classifier` is a second probe, begun elsewhere and shown other scenes: it guides where the probe judges (`course lab guidance`). On 500
scenes drawn with jitter that neither had seen, both answered every question rightly.

Choices that were measured on the way (one thread of a shared 2-core machine):

* **64 x 64 or 32 x 32.** After 300 steps of batch 16 the autoencoder had 19.7 dB at 64 x 64 (16, 32, 64, 64 channels, 0.31 s a
  step) and 18.5 dB at 32 x 32 (16, 32, 64 channels, 0.27 s a step). The larger picture costs little more, is the better one,
  and has Stable Diffusion's own four levels and factor 8.
* **Sprites on the grid of latent cells.** Every sprite lies at whole latent cells (8 pixels), so the autoencoder meets each at
  one offset and not at 64. Jitter moves sprites by a cell and shades the background.
* **Muon.** Orthogonalised momentum for the hidden matrices had 18.5 dB where AdamW had 14.5 dB (300 steps, 32 x 32).
* **Loss.** 2 MSE + 0.3 L1 + 0.3 gradient, and a Kullback-Leibler weight of 3e-4 that leaves each latent about 5% noise of its
  own: latents the U-Net need not hit exactly.
* **Arithmetic.** bfloat16 (0.31 s a step instead of 0.30) and channels-last (0.30) gained nothing on this processor;
  `torch.compile` with bfloat16 gained a quarter but took minutes to start.
* **U-Net.** Batch 32, each batch's times spread evenly over the schedule, min-SNR weights, half of the captions paraphrased.
  With right captions only, a run of 13,151 steps obeyed 100% of its prompts at guidance 1, and 1 to 7.5 looked all the same.

## Going on

    course train emoji --out runs/emoji --resume --minutes 60       from the checkpoints in runs/emoji, if you have them
    course train emoji --stage denoiser --stage bert --from-shipped --minutes 60
                                                                    from the weights in the package (bert imitates the text
                                                                    encoder: train it again whenever the denoiser changes)
    course train emoji --stage flow --from-shipped --minutes 90     the U-Net of the flow, from the weights in the package
    course train emoji --stage classifier --steps 1500              the classifier
    course train emoji --minutes 130                                everything from nothing
    course train emoji --evaluate                                   these figures again

## Licences

The drawings are Noto Emoji (Copyright Google Inc., Apache License 2.0, see `sprites/LICENSE` and `sprites/NOTICE`). The
weights, trained on nothing but those, are under the same licence.
"""


def runs(record: dict) -> list[dict]:
    """The runs that made a stage's weights, the first one first."""
    return [*(runs(record["after"]) if "after" in record else []), record]


def write_card(results: dict, weights: Path, file: Path) -> None:
    """The model card from the results of `evaluate` and the records of training."""
    from course.emoji.data import COLOURS, OBJECTS
    from course.emoji.probe import FEATURES

    def number(value: float, unit: str) -> str:
        return f"{value:.1f}{unit}" if unit else f"{value:.3f}"

    figures = [Figure(**f) for f in results["figures"]]
    rows = "\n".join(
        f"| {f.name} | **{number(f.value, f.unit)}** | "
        + (f"{number(f.low, f.unit)} to {number(f.high, f.unit)}" if f.low == f.low else "")
        + f" | {f.count} | {(f'{f.goal:g}{f.unit}' + ('' if f.reached else ', **not reached**')) if f.goal else ''} |"
        for f in figures)
    missed = [f.name for f in figures if not f.reached]
    records = json.loads((weights / "training.json").read_text())
    size = sum(f.stat().st_size for f in weights.rglob("*") if f.is_file())
    file.write_text(CARD.format(
        objects=len(OBJECTS), colours=len(COLOURS), rows=rows, features=FEATURES, best=results["best guidance"],
        tried=", ".join(f"{g:g}" for g in GUIDANCES),
        tuning=", ".join(f"{g}: {100 * v:.0f}%" for g, v in results["tuning"].items()),
        missed=("Not reached: " + "; ".join(missed) + ". What limits them is training time." if missed
                else "Every goal is reached."),
        guidance="\n".join(f"| {g} | {100 * v['adherence']:.0f}% | {v['diversity']:.2f} | {v['saturation']:.3f} |"
                           for g, v in results["guidance"].items()),
        swapped="\n".join(f"| {name} | {100 * v:.0f}% |" for name, v in results["swapped"].items()),
        seconds=", ".join(str(t) for t in results["seconds"]["50 steps, guided, 2 threads"]),
        reference=next(f.count for f in figures if f.name.startswith("probe on real scenes")),
        stages="\n".join(f"| {s} | {r['steps']:,} | {r['minutes']} | {r['parameters']:,} | {r['loss']} | {r['seed']} |"
                         for s, record in records.items() for r in runs(record)),
        mistaken=MISTAKEN, machine=results["machine"], **results["versions"],
        megabytes=size / 1e6,
    ), "utf-8")


def evaluate_and_write(weights: Path | None = None, out: Path = Path("runs/emoji"), threads: int = 0,
                       scale: float = 1.0) -> Path:
    """Measure the model folder (default: what ships), write its card, and return where the card is.

    The shipped model's card is course/emoji/MODEL_CARD.md; another's lies in `out`. Grids of pictures and the raw numbers
    go to out/evaluation.
    """
    from course.emoji import WEIGHTS, folder

    if threads:
        torch.set_num_threads(threads)
    weights = weights or folder()
    shipped = weights.resolve() == WEIGHTS.resolve()
    pictures = out / "evaluation"
    pictures.mkdir(parents=True, exist_ok=True)
    results = evaluate(weights, scale, pictures)
    (pictures / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    card = WEIGHTS.parent / "MODEL_CARD.md" if shipped else out / "MODEL_CARD.md"
    write_card(results, weights, card)
    return card
