"""Our networks against diffusers' and transformers', with the same weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench import Result, in_turns, measurement

# One process for each, so that the peak is its own.
ALONE = """
import resource
import sys

import course
import torch
from course.components import load_components
torch.set_num_threads(1)
parts = load_components("emoji", device="cpu", nets=sys.argv[1])
ids = parts.tokenizer(["a bear"] * 32, padding="max_length", max_length=24, truncation=True, return_tensors="pt").input_ids
with torch.no_grad():
    words = parts.text_encoder(ids)[0]
    for _ in range(3):
        parts.unet(torch.randn(32, 4, 8, 8), 500, words)
        parts.vae.decode(torch.randn(32, 4, 8, 8))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@measurement
def networks() -> Iterator[Result]:
    """one call of each network of the shipped model, ours beside theirs"""
    from course.components import load_components
    from course.emoji import folder
    from course.render import quiet_libraries

    quiet_libraries()
    torch.set_num_threads(1)
    theirs, ours = (load_components("emoji", device="cpu", nets=nets) for nets in ("diffusers", "course"))
    tiny = [load_components("emoji", device="cpu", nets=nets, vae=folder() / "vae_tiny").vae for nets in ("diffusers", "course")]
    for count in (1, 8):
        x, picture = torch.randn(count, 4, 8, 8), torch.rand(count, 3, 64, 64) * 2 - 1
        texts = ["a bear above a horse on a white background"] * count
        options: dict[str, Any] = {"padding": "max_length", "max_length": 24, "truncation": True, "return_tensors": "pt"}
        ids = theirs.tokenizer(texts, **options).input_ids
        with torch.no_grad():
            words = theirs.text_encoder(ids)[0]
        calls: dict[str, Callable[[Any, Any], Any]] = {
            "U-Net": lambda parts, light, x=x, words=words: parts.unet(x, 500, encoder_hidden_states=words),
            "text encoder": lambda parts, light, ids=ids: parts.text_encoder(ids),
            "autoencoder, decode": lambda parts, light, x=x: parts.vae.decode(x),
            "autoencoder, encode": lambda parts, light, picture=picture: parts.vae.encode(picture),
            "light autoencoder, decode": lambda parts, light, x=x: light.decode(x),
        }
        for name, call in calls.items():
            with torch.inference_mode():
                mine, other = in_turns(lambda c=call: c(ours, tiny[1]), lambda c=call: c(theirs, tiny[0]), rounds=9)
            yield Result(f"{name}, batch of {count}", mine, other, 1.0)


@measurement
def network_memory() -> Iterator[Result]:
    """peak memory of a process that loads the shipped model and calls every network"""
    peaks = [float(subprocess.run([sys.executable, "-c", ALONE, nets], capture_output=True, text=True, check=True).stdout)
             for nets in ("course", "diffusers")]
    unit = 1e6 if sys.platform == "darwin" else 1e3                               # ru_maxrss: bytes there, KiB elsewhere
    yield Result("peak of the process", peaks[0] / unit, peaks[1] / unit, 1.0, unit="MB")


@measurement
def full_size_unet() -> Iterator[Result]:
    """Stable Diffusion 1.4's U-Net with random weights, 32 x 32 latents, ours beside diffusers' on the same tensors"""
    from diffusers import UNet2DConditionModel

    from course.nets import as_part, build
    from course.nets.published import UNET_1

    torch.set_num_threads(1)
    theirs = UNet2DConditionModel(**UNET_1).eval()
    ours = as_part(build({"_class_name": "UNet2DConditionModel", **theirs.config}, theirs.state_dict()))
    x, words = torch.randn(1, 4, 32, 32), torch.randn(1, 77, 768)
    with torch.inference_mode():
        yield Result("one call", *in_turns(lambda: ours(x, 500, words), lambda: theirs(x, 500, words), rounds=3), 1.0)
