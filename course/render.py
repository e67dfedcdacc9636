"""What `course render` does: load, render, compare, and write the files when everything is done."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from course.components import FLOW, Components, diffusers_pipeline
from course.flow import is_flow
from course.names import did_you_mean
from course.pictures import captioned, image_grid, save_picture
from course.stable_diffusion import Snapshot, load_components, pick_sampler, picture_size, render_image, trace_strip

ENGINES = ("course", "diffusers")


@dataclass(frozen=True)
class Recipe:
    """What is painted and how: a picture for each seed.

    prompt: one for all, or one for each; height, width: pixels, None for the model's own; sampler: "" for the one that suits the model.
    """

    prompt: str | Sequence[str]
    model: str = "emoji"
    sampler: str = "dpmpp_2m"
    steps: int = 50
    guidance: float = 7.5
    negative: str = ""
    seeds: Sequence[int] = (42,)
    height: int | None = None
    width: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    nets: str = "diffusers"

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] * len(self.seeds) if isinstance(self.prompt, str) else list(self.prompt)

    @property
    def options(self) -> dict[str, Any]:
        """What both engines take by the same names."""
        return {"guidance_scale": self.guidance, "height": self.height, "width": self.width}

    def about(self, *seeds: int) -> dict[str, Any]:
        """What is written into a picture's file."""
        return {"prompt": self.prompt, "negative": self.negative, "model": self.model, "sampler": self.sampler, "steps": self.steps,
                "guidance": self.guidance, "seed": " ".join(map(str, seeds or self.seeds))}

    def load(self, **other: str) -> Components:
        """The model. Raises what `load_components` raises."""
        return load_components(self.model, **{"device": self.device, "dtype": self.dtype, "nets": self.nets, **other})


def writable(*files: Path | None) -> None:
    """Raises ValueError for a file whose ending names no picture format."""
    for file in filter(None, files):
        if file.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f"{file} has no ending that names a picture format; .png is a good one")


def render_to_files(recipe: Recipe, out: Path, engine: str = "course", compare: bool = False, trace: Path | None = None) -> None:
    """Render a recipe into `out`, and say what was done. Nothing is written before all pictures are there. `compare`
    sets the course's sampler, on the networks of `recipe.nets`, beside diffusers' pipeline on diffusers' own networks.

    Raises what `load_components` and `render_image` raise, OSError when a file cannot be written.
    """
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}{did_you_mean(engine, ENGINES)} There are {', '.join(ENGINES)}")
    if recipe.sampler:
        pick_sampler(recipe.sampler)                                  # a typing error is told before the model is loaded
    writable(out, trace)
    if trace and engine == "diffusers":
        raise ValueError("--trace shows what the course's sampler does; leave out --engine diffusers")
    quiet_libraries()
    components = recipe.load()
    if not recipe.sampler:
        recipe = replace(recipe, sampler="flow_euler" if is_flow(components.scheduler.config) else Recipe.sampler)
    if recipe.model in ("emoji", FLOW):
        _say_what_is_unknown(recipe)

    pictures: dict[str, list[Image.Image]] = {}
    snapshots: list[Snapshot] = []
    for name in ENGINES if compare else (engine,):
        calls = [0]
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            if name == "course":
                pictures[name] = render_ours(components, recipe, calls, snapshots if trace else None)
            else:
                own = recipe.load(nets="diffusers") if compare and recipe.nets != "diffusers" else components
                pictures[name] = render_theirs(own, recipe, calls)
        for warning in {str(w.message) for w in said if issubclass(w.category, UserWarning)}:
            print(f"note: {warning}")
        print(f"{name}: {recipe.sampler}, {recipe.steps} steps, {calls[0]} model calls, {time.perf_counter() - start:.1f} s")

    if compare:
        print(f"largest difference: {largest_difference(*pictures.values())} of 255")
        whole = side_by_side(recipe, pictures)
    else:
        whole = image_grid(pictures[engine], *grid_shape(len(recipe.seeds)))
        save_each(recipe, pictures[engine], out)
    print(save_picture(whole, out, **recipe.about()))
    if trace:
        with torch.no_grad():
            print(save_picture(trace_strip(snapshots, components.vae), trace, **recipe.about()))


def _say_what_is_unknown(recipe: Recipe) -> None:
    from course.emoji.data import parse

    for prompt in filter(None, dict.fromkeys(recipe.prompts)):
        try:
            parse(prompt)
        except ValueError as reason:
            print(f"note: outside what the emoji model has learned, so it will draw something else: {reason}")


def side_by_side(recipe: Recipe, pictures: dict[str, list[Image.Image]]) -> Image.Image:
    """A row for each seed, a column for each of the named lists of pictures."""
    cells = [captioned(pictures[name][i], f"{name}, seed {seed}") for i, seed in enumerate(recipe.seeds) for name in pictures]
    return image_grid(cells, len(recipe.seeds), len(pictures))


def save_each(recipe: Recipe, pictures: list[Image.Image], out: Path) -> None:
    """Several pictures as OUT-SEED.png each."""
    for seed, picture in zip(recipe.seeds, pictures, strict=True) if len(pictures) > 1 else ():
        print(save_picture(picture, out.with_name(f"{out.stem}-{seed}{out.suffix}"), **recipe.about(seed)))


def render_ours(components: Components, recipe: Recipe, calls: list[int] | None = None, trace: list[Snapshot] | None = None,
                progress: bool = True) -> list[Image.Image]:
    """The course's way: one picture per seed; calls[0] counts the calls of the U-Net."""
    def count(i: int, t: float, x: Any) -> None:
        if calls is not None:
            calls[0] += 1

    vae, unet, tokenizer, text_encoder, scheduler = components
    return render_image(recipe.prompts, vae, unet, tokenizer, text_encoder, recipe.sampler, num_steps=recipe.steps, seed=list(recipe.seeds),
                        schedule=scheduler.config, callback=count, trace=trace, negative_prompt=recipe.negative, progress=progress,
                        **recipe.options)


def render_theirs(components: Components, recipe: Recipe, calls: list[int] | None = None) -> list[Image.Image]:
    """diffusers' way, with the same components, seeds and schedule."""
    def count(module: Any, arguments: Any) -> None:
        if calls is not None:
            calls[0] += 1

    pipeline = diffusers_pipeline(components, recipe.sampler)
    height, width = picture_size(recipe.height, recipe.width, components.unet, components.vae)
    hook = components.unet.register_forward_pre_hook(count)
    try:
        return pipeline(recipe.prompts, num_inference_steps=recipe.steps, guidance_scale=recipe.guidance, height=height, width=width,
                        generator=[torch.Generator().manual_seed(seed) for seed in recipe.seeds],
                        negative_prompt=[recipe.negative] * len(recipe.seeds)).images
    finally:
        hook.remove()


def edit_file(picture: Path, recipe: Recipe, out: Path, mask: Path | None = None, strength: float = 0.7) -> None:
    """`edit_image` on files, for the recipe's first seed; what is read is checked before a model is loaded. Raises ValueError in words."""
    from course.editing import edit_image, tail

    tail([], strength)
    writable(out)
    image, marked = _opened(picture), _opened(mask) if mask else None
    quiet_libraries()
    edited = edit_image(image, recipe.prompts[0], recipe.load(), mask=marked, strength=strength, sampler=recipe.sampler,
                        num_steps=recipe.steps, guidance_scale=recipe.guidance, negative_prompt=recipe.negative, seed=recipe.seeds[0])[0]
    print(save_picture(edited, out, **recipe.about(), strength=strength))


def _opened(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise ValueError(f"there is no picture {file}") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as a picture: {error}") from None


def largest_difference(ours: list[Image.Image], theirs: list[Image.Image]) -> int:
    """The largest difference of any colour value, in steps of 1/255. Raises ValueError for pictures of two sizes."""
    if [picture.size for picture in ours] != [picture.size for picture in theirs]:
        raise ValueError(f"pictures of two sizes cannot be compared: {' x '.join(map(str, ours[0].size))} and "
                         f"{' x '.join(map(str, theirs[0].size))}")
    pairs = zip(ours, theirs, strict=True)
    return max(int(np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max()) for a, b in pairs)


def grid_shape(count: int) -> tuple[int, int]:
    """Rows and columns of the most nearly square grid that `count` pictures fill exactly."""
    rows = max(r for r in range(1, int(count**0.5) + 1) if count % r == 0)
    return rows, count // rows


def quiet_libraries() -> None:
    """Loading bars and deprecation notes of the libraries would bury what the course has to say."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=UserWarning, module="huggingface_hub")
