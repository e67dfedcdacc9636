"""The five parts of Stable Diffusion: loading them, swapping one, and checking that they fit together.

    tokenizer      a prompt -> L whole numbers
    text_encoder   L numbers -> L vectors of width D
    unet           a noisy latent, a time, L vectors -> a guess at the noise
    vae            a latent (C, h, w) <-> a picture (3, f h, f w)
    scheduler      the noise schedule the U-Net was trained on (and diffusers' way of sampling it)

Each is loaded by the library it comes from, with `from_pretrained`, from the sub-folder of its own name.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Components(NamedTuple):
    """The five parts, in the order `render_image` takes them: render_image(prompt, *components)."""

    vae: Any
    unet: Any
    tokenizer: Any
    text_encoder: Any
    scheduler: Any


def load_components(name: str | os.PathLike[str], device: str = "auto", dtype: Any = None, **replacements: Any) -> Components:
    """Load the five components of a Stable Diffusion model.

    name           "emoji" (the model that ships with the course), a folder laid out like CompVis/stable-diffusion-v1-4, or
                   such a model's id on the Hugging Face hub. Downloads stay in the hub's usual cache; with HF_HUB_OFFLINE=1
                   only that cache is used.
    device         "auto" (CUDA, else Apple's MPS, else the CPU), or what torch calls it
    dtype          None or "auto" (float16 on CUDA, float32 elsewhere), "float32", "float16", "bfloat16" or a torch.dtype
    replacements   another vae, unet, tokenizer, text_encoder or scheduler: a folder or a hub id (either of them with
                   "/subfolder" at the end if need be), or the object itself, which is moved to the device but keeps its dtype

    Raises FileNotFoundError when something is not there, ValueError when the parts do not fit together.
    """
    unknown = set(replacements) - set(Components._fields)
    if unknown:
        raise ValueError(f"there is no component {', '.join(sorted(unknown))}; there are {', '.join(Components._fields)}")
    device = pick_device(device)
    dtype = pick_dtype(dtype, device)
    where = None if len(replacements) == len(Components._fields) else locate(name)
    parts = {}
    for kind in Components._fields:
        part = replacements.get(kind)
        if part is None:
            part = _load(kind, where, kind, dtype)
        elif isinstance(part, str | os.PathLike):
            part = _load_replacement(kind, part, dtype)
        if isinstance(part, torch.nn.Module):
            part = part.to(device).eval().requires_grad_(False)
        parts[kind] = part
    components = Components(**parts)
    check_fit(components)
    return components


def pick_device(device: str = "auto") -> str:
    """"auto" is the fastest device that is here. Raises ValueError for one that is not."""
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.insert(0, "mps")
    if torch.cuda.is_available():
        here.insert(0, "cuda")
    if device in (None, "auto"):
        return here[0]
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = "unknown"
    if kind not in (*here, "meta"):
        raise ValueError(f"device {str(device)!r} is not on this machine; it has {', '.join(here)}")
    return str(device)


def pick_dtype(dtype: Any, device: str) -> torch.dtype:
    """float16 on CUDA, where it halves memory and doubles speed; float32 on the CPU, where it does neither, and on MPS,
    where float16 is known to turn pictures black."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype in (None, "auto"):
        return torch.float16 if torch.device(device).type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; choose auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


# ------------------------------------------------------------------------------------------------ finding and loading


def locate(name: str | os.PathLike[str]) -> str:
    """"emoji", a folder or a hub id -> what `from_pretrained` takes. Raises FileNotFoundError with what to do instead."""
    if name == "emoji":
        from course import emoji

        return str(emoji.folder())
    path = Path(name).expanduser()
    if path.is_dir():
        missing = [kind for kind in Components._fields if not (path / kind).is_dir()]
        if missing:
            raise FileNotFoundError(f"{path} is not a whole model: it has no sub-folder {', '.join(missing)}. A model folder "
                                    f"holds {', '.join(Components._fields)}, like CompVis/stable-diffusion-v1-4 does")
        return str(path)
    if HUB_ID.fullmatch(str(name)):
        return str(name)
    hint = " Did you mean emoji?" if difflib.get_close_matches(str(name).lower(), ["emoji"]) else ""
    raise FileNotFoundError(f"no model {str(name)!r}: it is not emoji, not a folder here, and not a hub id such as "
                            f"CompVis/stable-diffusion-v1-4.{hint}")


def _load(kind: str, where: str | None, subfolder: str, dtype: torch.dtype) -> Any:
    """One component by its own library's from_pretrained. The class comes from the part's own config, so that an
    AutoencoderTiny or a BertModel loads as what it is."""
    try:
        return _LOADERS[kind](where, subfolder, dtype)
    except (OSError, ValueError, KeyError) as error:
        place = f"{where}/{subfolder}" if subfolder else where
        if Path(str(where)).is_dir():
            advice = "The folder is incomplete or damaged; copy it again"
        elif os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
            advice = "HF_HUB_OFFLINE is set, so only what is cached can be used: unset it once to download the model"
        else:
            advice = "Check the name and the network (`course doctor` tests both), or use --model emoji, which is on disk"
        hub = "" if Path(str(where)).is_dir() else f" on the hub (there is no folder {where} here)"
        raise FileNotFoundError(f"cannot load the {kind} from {place}{hub}. {advice}.\n({_first_line(error)})") from error


def _load_replacement(kind: str, source: str | os.PathLike[str], dtype: torch.dtype) -> Any:
    """A folder or hub id that is the part itself, or a whole model that has one."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _load(kind, str(path), kind if (path / kind).is_dir() else "", dtype)
    if not HUB_ID.fullmatch(str(source)):
        raise FileNotFoundError(f"no {kind} at {str(source)!r}: it is neither a folder here nor a hub id (owner/name)")
    owner, repository, *inside = str(source).split("/")
    where = f"{owner}/{repository}"
    if inside:
        return _load(kind, where, "/".join(inside), dtype)
    try:
        return _load(kind, where, "", dtype)
    except FileNotFoundError:
        return _load(kind, where, kind, dtype)


def _by_class_name(default: str) -> Callable[..., Any]:
    def load(where: str, subfolder: str, dtype: torch.dtype) -> Any:
        import diffusers

        config = getattr(diffusers, default).load_config(where, subfolder=subfolder)
        options = {} if default.endswith("Scheduler") else {"torch_dtype": dtype}
        return getattr(diffusers, config.get("_class_name", default)).from_pretrained(where, subfolder=subfolder, **options)

    return load


def _by_transformers(auto_class: str) -> Callable[..., Any]:
    def load(where: str, subfolder: str, dtype: torch.dtype) -> Any:
        import transformers

        part = getattr(transformers, auto_class).from_pretrained(where, subfolder=subfolder)
        return part.to(dtype) if isinstance(part, torch.nn.Module) else part

    return load


_LOADERS: dict[str, Callable[..., Any]] = {
    "vae": _by_class_name("AutoencoderKL"),
    "unet": _by_class_name("UNet2DConditionModel"),
    "tokenizer": _by_transformers("AutoTokenizer"),
    "text_encoder": _by_transformers("AutoModel"),
    "scheduler": _by_class_name("PNDMScheduler"),
}


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


# ------------------------------------------------------------------------------------------------ do they fit?


def setting(part: Any, name: str, default: Any = None) -> Any:
    """A value from a component's config; `default` if it has no config or no such value."""
    return getattr(getattr(part, "config", None), name, default)


def vae_factor(vae: Any) -> int:
    """How many pixels wide one latent cell is: every level but the last halves the picture, 8 for Stable Diffusion."""
    channels = setting(vae, "block_out_channels")
    return 2 ** (len(channels) - 1) if channels else 8


def prompt_length(tokenizer: Any, text_encoder: Any) -> int:
    """How many tokens a prompt is padded or cut to: what the tokenizer says, if the text encoder can hold it."""
    return min(int(tokenizer.model_max_length), setting(text_encoder, "max_position_embeddings", 10**9))


def check_fit(components: Components) -> None:
    """Raise ValueError, in plain words, when two of the parts were not made for each other."""
    vae, unet, tokenizer, text_encoder, _ = components
    problems = []
    for kind, part, fits in [
        ("vae", vae, hasattr(vae, "decode") and not hasattr(vae, "model_max_length")), ("unet", unet, callable(unet)),
        ("tokenizer", tokenizer, callable(tokenizer) and hasattr(tokenizer, "model_max_length")),
        ("text_encoder", text_encoder, callable(text_encoder) and not hasattr(text_encoder, "model_max_length")),
    ]:
        if not fits:
            problems.append(f"the {kind} is a {type(part).__name__}, which is none; "
                            "the order is vae, unet, tokenizer, text_encoder, scheduler")
    if problems:
        raise ValueError(_sentences(problems))

    rows = setting(text_encoder, "vocab_size")
    if rows is not None and hasattr(tokenizer, "__len__") and len(tokenizer) > rows:
        problems.append(f"the tokenizer knows {len(tokenizer)} tokens but the text encoder has vectors for only {rows}")
    width, expected = setting(text_encoder, "hidden_size"), setting(unet, "cross_attention_dim")
    expected = set(expected) if isinstance(expected, list | tuple) else {expected}
    if width is not None and expected not in ({None}, {width}):
        problems.append(f"the text encoder makes vectors of width {width} but the U-Net's cross-attention reads width "
                        f"{', '.join(map(str, sorted(expected)))}")
    channels = setting(vae, "latent_channels")
    for side in ("in_channels", "out_channels"):
        if channels is not None and setting(unet, side, channels) != channels:
            problems.append(f"the VAE's latent has {channels} channels but the U-Net's {side} is {setting(unet, side)}")
    factor = setting(vae, "scaling_factor", 1.0)
    if not (isinstance(factor, int | float) and factor > 0):
        problems.append(f"the VAE's scaling_factor is {factor!r}; it must be a positive number")
    for extra in ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim"):
        if setting(unet, extra) is not None:
            problems.append(f"the U-Net wants more than a prompt ({extra} is {setting(unet, extra)!r}); "
                            "this course renders models of Stable Diffusion 1 and 2")
    if problems:
        raise ValueError(_sentences(problems))


def _sentences(problems: list[str]) -> str:
    return "these components do not fit together: " + "; ".join(problems)


# ------------------------------------------------------------------------------------------------ diffusers' own side

# Our name -> the diffusers scheduler that does the same.
DIFFUSERS = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "lms": "LMSDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
}


def diffusers_scheduler(name: str, config: Any) -> Any:
    """The diffusers scheduler that corresponds to one of our samplers, on the same noise schedule."""
    import diffusers

    # A config made for PNDM has no clip_sample, and DDPM and DDIM would fall back on True: latents are not pictures in [-1, 1].
    options = {"clip_sample": False} if name in ("ddpm", "ddim") else {}
    return getattr(diffusers, DIFFUSERS[name]).from_config(config, **options)


def diffusers_pipeline(components: Components, scheduler: Any = None) -> Any:
    """A StableDiffusionPipeline made of these very objects; `scheduler` is an object, one of our names, or None: as it is."""
    import diffusers
    import transformers

    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()      # it would mourn the image processors of parts that are not used here
    _ = diffusers.StableDiffusionPipeline
    transformers.logging.set_verbosity(verbosity)
    if isinstance(scheduler, str):
        scheduler = diffusers_scheduler(scheduler, components.scheduler.config)
    parts = components._replace(scheduler=scheduler or components.scheduler)._asdict()
    pipeline: Any = diffusers.StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None,
                                                 image_encoder=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
