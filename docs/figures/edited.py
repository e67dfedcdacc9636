"""Chapters 14 and 15: edits of one drawn scene, attention, anagrams; the tables of the lab."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from course.components import Components, load_components
from course.editing import anagram, by_step, edit_image, hybrid, invert, null_text, swap_words, upwards
from course.emoji.data import Scene, render
from course.guidance import classifier_free
from course.lab.experiments import SCALE, alone, painted, predictions
from course.pictures import captioned, enlarged, image_grid
from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule
from course.stable_diffusion import decode, encode_prompts

from .common import CYCLE, axes, figure, picture

LAB = Path(__file__).resolve().parents[1] / "assets" / "lab"
BEFORE = Scene(("bear", "horse"), "above", "white")
WANTED = "a cat above a horse on a white background"


@cache
@torch.inference_mode(False)
def parts() -> Components:
    return load_components("emoji", device="cpu", nets="course")


def box() -> Image.Image:
    """The upper half, where the bear is: white may change."""
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 0, 48, 32))
    return mask


def strip(cells: list[tuple[str, Image.Image]], name: str, alt: str, caption: str) -> str:
    drawn = [captioned(enlarged(image), text) for text, image in cells]
    return picture(image_grid(drawn, 1, len(drawn)), name, alt, caption, least=96 * len(drawn))


def strengths() -> str:
    scene = render(BEFORE)
    cells = [("drawn", scene)]
    for strength in (0.0, 0.4, 0.6, 0.8, 1.0):
        done = edit_image(scene, WANTED, parts(), strength=strength, guidance_scale=SCALE, num_steps=25, seed=3, progress=False)[0]
        cells.append((f"strength {strength:g}", done))
    return strip(
        cells, "strengths",
        "Six pictures: a bear above a horse; almost the same four times with a growing change of the upper animal; and a new picture.",
        "“a cat above a horse on a white background”, asked of a picture of a bear above a horse. "
        "At strength 0 it only went through the autoencoder.")


def inpainted() -> str:
    scene, mask = render(BEFORE), box()
    options = {"guidance_scale": SCALE, "num_steps": 25, "seed": 3, "progress": False}
    cells = [("drawn", scene), ("may change", mask.convert("RGB")),
             ("inpainted", edit_image(scene, WANTED, parts(), mask=mask, strength=1.0, **options)[0]),
             ("not pasted", edit_image(scene, WANTED, parts(), mask=mask, strength=1.0, paste=False, **options)[0])]
    return strip(
        cells, "inpainted", "Four pictures: a bear above a horse, a white box on black, and twice a cat above the same horse.",
        "The latent outside the box is kept exactly. In the last picture its pixels are what the decoder makes of it; in the "
        "third they are the "
        "drawing's own.")


@torch.no_grad()
def there_and_back() -> tuple[str, list[tuple[str, float]]]:
    """Invert a drawn scene and paint it again, in several ways: the pictures, and PSNR against the autoencoder's round trip."""
    from course.emoji.data import caption, draw_batch

    words = [caption(BEFORE)]
    x = torch.from_numpy(draw_batch([BEFORE]))
    z = parts().vae.encode(x).latent_dist.mean * parts().vae.config.scaling_factor
    grid = SAMPLERS["ddim"].grid(NoiseSchedule.from_config(parts().scheduler.config), 25)
    plain, empty_and_words = alone(parts(), words), predictions(parts(), words)
    path = upwards(plain, z, grid)
    empty, context = encode_prompts(["", *words], parts().tokenizer, parts().text_encoder).chunk(2)
    stand_ins = null_text(parts().unet, empty, context, path, grid, 7.5, rounds=4)
    guided = {scale: classifier_free(empty_and_words, scale) for scale in (3.0, 7.5)}
    ways = {
        "1, both ways": (path[-1], plain),
        "3, both ways": (invert(guided[3.0], z, grid), guided[3.0]),
        "7.5, both ways": (invert(guided[7.5], z, grid), guided[7.5]),
        "up at 1, down at 7.5": (path[-1], guided[7.5]),
        "... against its own words": (path[-1], classifier_free(predictions(parts(), words, words), 7.5)),
        "... against stand-ins": (path[-1], classifier_free(by_step(parts().unet, stand_ins, context, grid), 7.5)),
    }
    trip, cells, rows = painted(z, parts()), [("round trip", decode(z, parts().vae)[0])], []
    for name, (noise, denoise) in ways.items():
        back = SAMPLERS["ddim"].run(denoise, noise, grid, lambda: z)
        rows.append((name, float(10 * torch.log10(4 / (painted(back, parts()) - trip).square().mean()))))
        if len(cells) < 5:
            cells.append((name, decode(back, parts().vae)[0]))
    drawn = strip(
        cells, "there-and-back", "Five pictures of a bear above a horse; the one guided at 7.5 both ways is a smear on yellow.",
        "Up to the noise by DDIM inversion and down again, with the same words. Above each picture, the guidance.")
    return drawn, rows


def swapped() -> str:
    first, plain = swap_words("a large cat on a blue background", "a large dog on a blue background", parts(), share=0.0,
                              guidance_scale=SCALE, num_steps=25, seed=3)
    _, shared = swap_words("a large cat on a blue background", "a large dog on a blue background", parts(), share=0.8,
                           guidance_scale=SCALE, num_steps=25, seed=3)
    return strip([("a large cat", first), ("a large dog", plain), ("with the cat's maps", shared)], "swapped-words",
                 "Three pictures: a cat, a dog, and a dog painted with the attention of the cat.",
                 "One noise, two prompts. Right: the dog's words, with the attention maps of the cat's in the first four "
                  "fifths of the steps.")


@torch.inference_mode()
def two_in_one() -> str:
    """An anagram by turning upside down, and a hybrid of near and far."""
    schedule = NoiseSchedule.from_config(parts().scheduler.config)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(4))

    def of(text: str):
        return classifier_free(predictions(parts(), [text]), SCALE)

    turn = lambda x: x.flip((2, 3))                                                         # noqa: E731
    upright, turned = of("a large apple on a white background"), of("a large cat on a white background")
    z = SAMPLERS["ddim"].sample(anagram([upright, turned], [lambda x: x, turn], [lambda x: x, turn]), noise, schedule, 50)
    both = decode(z, parts().vae)[0]
    pad = torch.nn.functional.pad
    blur = lambda x: torch.nn.functional.avg_pool2d(pad(x, (1,) * 4, "replicate"), 3, 1)    # noqa: E731
    far, near = of("a large bear on a white background"), of("a small rocket on a white background")
    mixed = decode(SAMPLERS["ddim"].sample(hybrid(far, near, blur), noise, schedule, 50), parts().vae)[0]
    return strip([("an anagram", both), ("turned round", both.rotate(180)), ("a hybrid", mixed)], "two-in-one",
                 "Three small pictures: one, the same upside down, and a mixture of two.",
                 "One canvas, two denoisers. The latent is what is turned; a decoder trained on upright pictures makes of it what it can.")


def rows(name: str) -> list[dict[str, str]]:
    """A table that `course lab NAME` wrote."""
    with (LAB / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def share(row: dict[str, str], key: str) -> str:
    return f"{100 * float(row[key]):.0f}% ({100 * float(row[key + '_low']):.0f} to {100 * float(row[key + '_high']):.0f})"


def edits_table() -> str:
    head = "| way of editing | new object | other object kept | ground kept | all of it | outside, dB |\n|---|---|---|---|---|---|\n"
    lines = []
    for row in rows("edits"):
        shares = " | ".join(share(row, key) for key in ("changed", "kept", "ground", "all"))
        low, value, high = (float(row[key]) for key in ("psnr_low", "psnr", "psnr_high"))
        fewer = "" if row["scenes"] == "200" else f" ({row['scenes']} scenes)"
        lines.append(f"| {row['method']}{fewer} | {shares} | {value:.1f} ({low:.1f} to {high:.1f}) |\n")
    return head + "".join(lines)


def guidance_table() -> str:
    head = "| guidance | scale | everything right | variety | burnt pixels, more than drawn |\n|---|---|---|---|---|\n"
    return head + "".join(f"| {row['kind']} | {row['scale']} | {share(row, 'right')} | {float(row['variety']):.1f} | "
                          f"{100 * float(row['burnt']):+.1f}% |\n" for row in rows("guidance"))


def trade() -> str:
    """Adherence against variety, one line for each kind of guidance."""
    drawn, ax = axes(width=6.6, height=4.4)
    kinds = list(dict.fromkeys(row["kind"] for row in rows("guidance") if row["kind"] != "a classifier, no prompt"))
    for i, kind in enumerate(kinds):
        colour, marker = CYCLE[i % len(CYCLE)], "os^"[i // len(CYCLE)]
        own = [row for row in rows("guidance") if row["kind"] == kind]
        x, y = [float(row["variety"]) for row in own], [100 * float(row["right"]) for row in own]
        error = [[100 * (float(row["right"]) - float(row["right_low"])) for row in own],
                 [100 * (float(row["right_high"]) - float(row["right"])) for row in own]]
        ax.errorbar(x, y, yerr=error, marker=marker, ms=4, lw=1.1, ls=("-", ":", "--")[i // len(CYCLE)], elinewidth=0.6,
                    color=colour, label=kind)
        for at, row in zip(zip(x, y, strict=True), own, strict=True):
            ax.annotate(row["scale"], at, textcoords="offset points", xytext=(3, 3), fontsize=7, color=colour)
    ax.set(xlabel="variety: distance between two pictures of one caption", ylabel="everything right, %", ylim=(42, 103))
    ax.legend(loc="lower left", fontsize=7)
    return figure(drawn, "trade", f"Adherence over variety for {len(kinds)} kinds of guidance; the numbers are in the table below.",
                  "Up is more obedient, right is more varied. The numbers beside the dots are scales. Bars are 95% Wilson intervals. A "
                  "classifier without the prompt would lie far below.")
