"""`make demo`: a few prompts with every sampler, ours beside diffusers', and one denoising as a strip.

    python -m course.demo [--model emoji|DIR|HUB_ID] [--out DIR] [--steps N] [--guidance G] [--seed S]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

PROMPTS = (
    "a bear above a horse on a white background",
    "a rocket left of a moon on a blue background",
    "a large pizza on a green background",
)
NEXT = """
What to try next
  course render "a cat above a car on a yellow background" --sampler heun --steps 20 --trace out/trace.png
  course render "a frog left of a crown on a white background" --seed 1 2 3 4
  course doctor          what this machine can run; with a GPU, add --model CompVis/stable-diffusion-v1-4 to the above
  make docs              the book: open site/index.html
"""


def main(model: str = "emoji", out: Path = Path("out/demo"), steps: int = 25, guidance: float = 3.0, seed: int = 42) -> None:
    """Render PROMPTS with each sampler and both engines, and write grid.png, trace.png and table.md into `out`."""
    import torch
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    from course.pictures import save_picture, write_whole
    from course.render import Recipe, largest_difference, quiet_libraries, render_ours, render_theirs
    from course.samplers import TAUGHT
    from course.stable_diffusion import Snapshot, load_components, trace_strip

    def timed(engine: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
        start = time.perf_counter()
        pictures = engine(*arguments)
        return time.perf_counter() - start, pictures

    quiet_libraries()
    console = Console()
    console.print(f"{len(PROMPTS)} prompts, {len(TAUGHT)} samplers, {steps} steps, guidance {guidance:g}, model {model}")
    components = load_components(model)
    prompts = list(PROMPTS)
    recipe = Recipe(prompts, model, "ddim", steps, guidance, seeds=[seed] * len(prompts))
    first = replace(recipe, prompt=prompts[:1], seeds=[seed])
    render_theirs(components, replace(first, steps=1))                              # loads what is loaded once
    rows: list[tuple[str, ...]] = []
    pictures: list[list[Image.Image]] = []
    for name in tqdm(TAUGHT, desc="samplers", leave=False):
        calls, their_calls = [0], [0]
        seconds, ours = timed(render_ours, components, replace(recipe, sampler=name), calls, None, False)
        their_seconds, theirs = timed(render_theirs, components, replace(recipe, sampler=name), their_calls)
        rows.append((name, f"{calls[0]}", f"{their_calls[0]}", f"{seconds:.2f}", f"{their_seconds:.2f}",
                     f"{largest_difference(ours, theirs)}/255"))
        pictures.append([picture for pair in zip(ours, theirs, strict=True) for picture in pair])

    snapshots: list[Snapshot] = []
    render_ours(components, first, trace=snapshots, progress=False)
    with torch.no_grad():
        strip = trace_strip(snapshots, components.vae)

    columns = ("sampler", "calls", "theirs", "seconds", "theirs", "largest difference")
    table = Table(*columns, box=None, title=f"{len(PROMPTS)} pictures, {steps} steps; theirs: diffusers'", title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    lines = [columns, ("---",) * len(columns), *rows]
    markdown = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    files = [
        save_picture(sheet([row[0] for row in rows], prompts, pictures), out / "grid.png"),
        save_picture(strip, out / "trace.png"),
        write_whole(out / "table.md", lambda path: path.write_text(markdown, encoding="utf-8")),
    ]
    console.print("Written: " + ", ".join(map(str, files)), highlight=False, soft_wrap=True)
    console.print(NEXT, highlight=False, soft_wrap=True)


def sheet(samplers: list[str], prompts: list[str], pictures: list[list[Image.Image]]) -> Image.Image:
    """All pictures on one sheet: a row per sampler; under each prompt ours on the left, diffusers' on the right."""
    from course.pictures import enlarged

    pictures = [[enlarged(picture) for picture in row] for row in pictures]
    wide, high = pictures[0][0].size
    left, top, gap = 118, 58, 12
    canvas = Image.new("RGB", (left + len(prompts) * (2 * wide + gap), top + len(samplers) * (high + 2)), "white")
    draw, font, bold = ImageDraw.Draw(canvas), ImageFont.load_default(13), ImageFont.load_default(14)
    for column, prompt in enumerate(prompts):
        x = left + column * (2 * wide + gap)
        lines = wrapped(prompt, font, 2 * wide)
        draw.multiline_text((x + wide, 4), lines, font=font, fill="black", anchor="ma", align="center")
        for half, engine in enumerate(("ours", "diffusers'")):
            draw.text((x + half * wide + wide // 2, top - 4), engine, font=font, fill="dimgray", anchor="ms")
    for row, (name, cells) in enumerate(zip(samplers, pictures, strict=True)):
        y = top + row * (high + 2)
        draw.text((6, y + high // 2), name, font=bold, fill="black", anchor="lm")
        for i, picture in enumerate(cells):
            column, half = divmod(i, 2)
            canvas.paste(picture, (left + column * (2 * wide + gap) + half * wide, y))
    return canvas


def wrapped(text: str, font: Any, width: int) -> str:
    """The text in lines no longer than `width` pixels, as far as its words allow."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


if __name__ == "__main__":
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        raise SystemExit(f"demo: {error}") from None
