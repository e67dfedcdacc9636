"""What `course render` does: load, render, compare, and write the files when everything is done."""

from __future__ import annotations

import difflib
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from course.components import Components, diffusers_pipeline
from course.pictures import captioned, image_grid, save_picture
from course.stable_diffusion import Snapshot, load_components, pick_sampler, picture_size, render_image, trace_strip

ENGINES = ("course", "diffusers")


def render_to_files(prompt: str, model: str, sampler: str, engine: str, compare: bool, steps: int, guidance: float,
                    negative: str, seeds: list[int], height: int | None, width: int | None, device: str, dtype: str,
                    out: Path, trace: Path | None, nets: str = "diffusers") -> None:
    """Render `prompt` once per seed into `out`, and say what was done. Nothing is written before all pictures are there. `compare`
    sets the course's sampler, on the networks of `nets`, beside diffusers' pipeline on diffusers' own networks.

    Raises what `load_components` and `render_image` raise, OSError when a file cannot be written.
    """
    if engine not in ENGINES:
        close = difflib.get_close_matches(engine, ENGINES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"unknown engine {engine!r}; {hint}There are {', '.join(ENGINES)}")
    pick_sampler(sampler)                                             # a typing error is told before the model is loaded
    for file in filter(None, [out, trace]):
        if file.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f"{file} has no ending that names a picture format; .png is a good one")
    if trace and engine == "diffusers":
        raise ValueError("--trace shows what the course's sampler does; leave out --engine diffusers")
    quiet_libraries()
    components = load_components(model, device=device, dtype=dtype, nets=nets)
    if model == "emoji" and prompt:
        from course.emoji.data import parse

        try:
            parse(prompt)
        except ValueError as reason:
            print(f"note: outside what the emoji model has learned, so it will draw something else: {reason}")
    prompts = [prompt] * len(seeds)
    options: dict[str, Any] = {"guidance_scale": guidance, "height": height, "width": width, "negative_prompt": negative}
    about = {"prompt": prompt, "negative": negative, "model": model, "sampler": sampler, "steps": steps, "guidance": guidance}

    pictures: dict[str, list[Image.Image]] = {}
    snapshots: list[Snapshot] = []
    for name in ENGINES if compare else (engine,):
        calls = [0]
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            if name == "course":
                watch = snapshots if trace else None
                pictures[name] = render_ours(components, prompts, sampler, steps, seeds, calls, watch, options)
            else:
                own = load_components(model, device=device, dtype=dtype) if compare and nets != "diffusers" else components
                pictures[name] = render_theirs(own, prompts, sampler, steps, seeds, calls, options)
        for warning in {str(w.message) for w in said if issubclass(w.category, UserWarning)}:
            print(f"note: {warning}")
        print(f"{name}: {sampler}, {steps} steps, {calls[0]} model calls, {time.perf_counter() - start:.1f} s")

    if compare:
        print(f"largest difference: {largest_difference(*pictures.values())} of 255")
        cells = [captioned(pictures[name][i], f"{name}, seed {seed}") for i, seed in enumerate(seeds) for name in pictures]
        whole = image_grid(cells, len(seeds), 2)
    else:
        whole = image_grid(pictures[engine], *grid_shape(len(seeds)))
        if len(seeds) > 1:
            for seed, picture in zip(seeds, pictures[engine], strict=True):
                print(save_picture(picture, out.with_name(f"{out.stem}-{seed}{out.suffix}"), **about, seed=seed))
    print(save_picture(whole, out, **about, seed=" ".join(map(str, seeds))))
    if trace:
        with torch.no_grad():
            print(save_picture(trace_strip(snapshots, components.vae), trace, **about, seed=" ".join(map(str, seeds))))


def render_ours(components: Components, prompts: str | list[str], sampler: str, steps: int, seeds: list[int], calls: list[int],
                trace: list[Snapshot] | None, options: dict[str, Any]) -> list[Image.Image]:
    """The course's way: one picture per prompt, each with its seed; calls[0] counts the calls of the U-Net."""
    def count(i: int, t: float, x: Any) -> None:
        calls[0] += 1

    vae, unet, tokenizer, text_encoder, scheduler = components
    return render_image(prompts, vae, unet, tokenizer, text_encoder, sampler, num_steps=steps, seed=seeds,
                        schedule=scheduler.config, callback=count, trace=trace, **options)


def render_theirs(components: Components, prompts: list[str], sampler: str, steps: int, seeds: list[int], calls: list[int],
                  options: dict[str, Any]) -> list[Image.Image]:
    """diffusers' way, with the same components, seeds and schedule."""
    def count(module: Any, arguments: Any) -> None:
        calls[0] += 1

    pipeline = diffusers_pipeline(components, sampler)
    height, width = picture_size(options.get("height"), options.get("width"), components.unet, components.vae)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    options = {**options, "height": height, "width": width, "negative_prompt": [options.get("negative_prompt", "")] * len(seeds)}
    hook = components.unet.register_forward_pre_hook(count)
    try:
        return pipeline(prompts, num_inference_steps=steps, generator=generators, **options).images
    finally:
        hook.remove()


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
