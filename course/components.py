"""The five parts of Stable Diffusion: loading them, swapping one, and checking that they fit together.

    tokenizer      a prompt -> L whole numbers
    text_encoder   L numbers -> L vectors of width D
    unet           a noisy latent, a time, L vectors -> a guess at the noise
    vae            a latent (C, h, w) <-> a picture (3, f h, f w)
    scheduler      the noise schedule the U-Net was trained on (and diffusers' way of sampling it)

Each is loaded by the library it comes from, with `from_pretrained`, from the sub-folder of its own name.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from course.model_files import (
    HUB_ID,
    SINGLE_FILES,
    another_kind,
    fetched,
    first_line,
    instead,
    listing,
    read_json,
    single_file,
    weights_among,
)
from course.names import did_you_mean

NETS = ("diffusers", "course")
FLOW = "emoji-flow"             # the model that ships, with the U-Net that was trained as a flow
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Components(NamedTuple):
    """The five parts, in the order `render_image` takes them: render_image(prompt, *components)."""

    vae: Any
    unet: Any
    tokenizer: Any
    text_encoder: Any
    scheduler: Any


def load_components(name: str | os.PathLike[str], device: str = "auto", dtype: Any = None, nets: str = "diffusers",
                    **replacements: Any) -> Components:
    """Load the five components of a Stable Diffusion model.

    name           "emoji" (the model that ships with the course), "emoji-flow" (the same with a flow's U-Net), a folder laid out
                   like CompVis/stable-diffusion-v1-4, or such a model's id on the Hugging Face hub. Downloads stay in the hub's
                   usual cache; with HF_HUB_OFFLINE=1 only that cache is used.
    device         "auto" (CUDA, else Apple's MPS, else the CPU), or what torch calls it
    dtype          None or "auto" (float16 on CUDA, float32 elsewhere), "float32", "float16", "bfloat16" or a torch.dtype
    nets           "diffusers": the libraries' own networks; "course": ours, from course/nets, with the same weights
    replacements   another vae, unet, tokenizer, text_encoder or scheduler: a folder or a hub id (either of them with
                   "/subfolder" at the end if need be), or the object itself, which is moved to the device but keeps its dtype

    Raises FileNotFoundError when something is not there, ValueError when the parts do not fit together.
    """
    unknown = set(replacements) - set(Components._fields)
    if unknown:
        raise ValueError(f"there is no component {', '.join(sorted(unknown))}; there are {', '.join(Components._fields)}")
    if nets not in NETS:
        raise ValueError(f"unknown nets {nets!r}; there are {' and '.join(NETS)}")
    if name == FLOW:
        from course import emoji

        name, replacements = "emoji", {"unet": emoji.folder() / "unet_flow", "scheduler": emoji.folder() / "scheduler_flow", **replacements}
    device = pick_device(device)
    dtype = pick_dtype(dtype, device)
    own = [kind for kind in Components._fields if replacements.get(kind) is None]
    where = locate(name, own) if own else ""
    parts = {}
    for kind in Components._fields:
        part = replacements.get(kind)
        if part is None:
            part = _load(kind, Path(where), kind, dtype, nets)
        elif isinstance(part, str | os.PathLike):
            part = _load_replacement(kind, part, dtype, nets)
        if isinstance(part, torch.nn.Module):
            part = part.to(device).eval().requires_grad_(False)
        parts[kind] = part
    components = Components(**parts)
    check_fit(components)
    check_text(components.tokenizer, components.text_encoder)
    if isinstance(components.unet, torch.nn.Module):         # so that render_image knows it without the scheduler
        vars(components.unet)["trained_with"] = getattr(components.scheduler, "config", None)
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


def locate(name: str | os.PathLike[str], parts: Sequence[str] = Components._fields) -> str:
    """"emoji", a folder or a hub id -> the folder that holds these parts. A model on the hub is downloaded unless it is cached.

    Raises FileNotFoundError with what was found there and what to do instead."""
    if name == "emoji":
        from course import emoji

        return str(emoji.folder())
    path = Path(name).expanduser()
    if path.is_file():
        raise FileNotFoundError(single_file(path))
    if not path.is_dir():
        if path.suffix.lower() in SINGLE_FILES or not HUB_ID.fullmatch(str(name)):
            raise FileNotFoundError(f"no model {str(name)!r}{did_you_mean(name, ['emoji'], cutoff=0.6)} It is not emoji, not a folder "
                                    f"here, and not a hub id such as CompVis/stable-diffusion-v1-4.")
        path = fetched(str(name), parts)
    missing = [kind for kind in parts if not (path / kind).is_dir()]
    if missing:
        kind = another_kind(read_json(path / "model_index.json"))
        said = f"{name} is {kind}" if kind else (
            f"{name} is not a whole model: it has no sub-folder {', '.join(missing)}, only {listing(path)}. "
            f"{_sentence(instead(path))}A model folder holds {', '.join(Components._fields)}, like CompVis/stable-diffusion-v1-4 does")
        raise FileNotFoundError(said)
    return str(path)


def _load(kind: str, model: Path, subfolder: str, dtype: torch.dtype, nets: str) -> Any:
    """One part by its own library's from_pretrained, as the class that the model's index or the part's own config names; or,
    with nets "course", into a network of ours.

    Raises FileNotFoundError that names the files that are there, and the likely cause."""
    folder = model / subfolder
    try:
        if nets == "course" and kind != "scheduler":
            from course.nets import as_part, load_part

            return as_part(load_part(kind, folder, dtype))
        kind_of_weights = weights_among(entry.name for entry in folder.iterdir())
        part_class = class_of(kind, folder, read_json(model / "model_index.json") if subfolder == kind else {})
        options: dict[str, Any] = {}
        if kind_of_weights is not None and kind in ("vae", "unet", "text_encoder"):
            options = {"variant": kind_of_weights.variant, "use_safetensors": kind_of_weights.safetensors}
        if kind in ("vae", "unet"):
            return part_class.from_pretrained(str(folder), torch_dtype=dtype, **options)
        part = part_class.from_pretrained(str(folder), **options)
        return part.to(dtype) if isinstance(part, torch.nn.Module) else part
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:                       # of whatever type: the libraries raise a dozen of them
        if nets == "course" and isinstance(error, ValueError):
            raise ValueError(f"cannot load the {kind} from {folder} into the networks of the course: {error}") from error
        files = f"it holds {listing(folder)}" if folder.is_dir() else "there is no such folder"
        cause = _sentence(instead(folder) or instead(model)) or "The folder is incomplete or damaged; copy it again. "
        raise FileNotFoundError(f"cannot load the {kind} from {folder}: {files}. {cause}\n({first_line(error)})") from error


def _load_replacement(kind: str, source: str | os.PathLike[str], dtype: torch.dtype, nets: str) -> Any:
    """A folder or hub id that is the part itself, or a whole model that has one."""
    path = Path(source).expanduser()
    if path.is_file():
        raise FileNotFoundError(single_file(path, kind))
    inside = ""
    if not path.is_dir():
        if path.suffix.lower() in SINGLE_FILES or not HUB_ID.fullmatch(str(source)):
            raise FileNotFoundError(f"no {kind} at {str(source)!r}: it is neither a folder here nor a hub id (owner/name)")
        owner, repository, *rest = str(source).split("/")
        inside = "/".join(rest)
        path = fetched(f"{owner}/{repository}", [inside] if inside else ["", kind])
    if not inside and (path / kind).is_dir():
        inside = kind
    return _load(kind, path, inside, dtype, nets)


DEFAULTS = {"vae": "AutoencoderKL", "unet": "UNet2DConditionModel", "scheduler": "PNDMScheduler", "tokenizer": "AutoTokenizer",
            "text_encoder": "AutoModel"}
# A whole model of text and something else -> its text half.
TEXT_HALVES = {"clip": "CLIPTextModel", "CLIPTextModelWithProjection": "CLIPTextModel", "t5": "T5EncoderModel",
               "umt5": "UMT5EncoderModel", "mt5": "MT5EncoderModel", "siglip": "SiglipTextModel", "siglip2": "Siglip2TextModel",
               "chinese_clip": "ChineseCLIPTextModel"}


def class_of(kind: str, folder: Path, index: Mapping[str, Any]) -> Any:
    """The class of a part: what `model_index.json` says, as in diffusers' pipelines; else what the part's own config says, so
    that an AutoencoderTiny or a BertModel loads as what it is. A name from Flax means the same class in PyTorch, and of a model
    of text and pictures the text half is taken.

    Raises ValueError when both name classes that the libraries do not have."""
    import diffusers
    import transformers

    library: Any = transformers if kind in ("tokenizer", "text_encoder") else diffusers
    file = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}.get(kind, "config.json")
    config = read_json(folder / file)
    says = config.get({"tokenizer": "tokenizer_class"}.get(kind, "_class_name"))
    if kind == "text_encoder":
        says = (config.get("architectures") or [None])[0]
    names = [(index.get(kind) or [None, None])[1], says]
    for name in [n for n in names if isinstance(n, str)]:
        name = TEXT_HALVES.get(str(config.get("model_type")), TEXT_HALVES.get(name, name)) if kind == "text_encoder" else name
        found = getattr(library, name.removeprefix("Flax"), None)
        if found is not None and hasattr(found, "from_pretrained"):
            heads = kind == "text_encoder" and name not in TEXT_HALVES.values() and not name.endswith(("Model", "Encoder"))
            return library.AutoModel if heads else found                # BertForMaskedLM: without its head
    if kind in ("tokenizer", "text_encoder"):
        return getattr(library, DEFAULTS[kind])
    if any(names):
        raise ValueError(f"{folder / file} and model_index.json name the class {' and '.join(sorted({str(n) for n in names if n}))}, "
                         f"which diffusers {diffusers.__version__} does not have")
    return getattr(library, DEFAULTS[kind])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}. " if text else ""


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


# Settings of a U-Net that make it ask for something that no prompt can give: a class, a size, a picture, a guidance scale.
MORE_THAN_A_PROMPT = ("addition_embed_type", "class_embed_type", "num_class_embeds", "encoder_hid_dim", "encoder_hid_dim_type",
                      "time_cond_proj_dim")


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
    if hasattr(text_encoder, "vision_model") or (setting(text_encoder, "is_encoder_decoder") and hasattr(text_encoder, "decoder")):
        name = type(text_encoder).__name__
        half = TEXT_HALVES.get(str(setting(text_encoder, "model_type")), "its text half")
        problems.append(f"the text encoder is a whole {name}, which wants more than tokens; load {half} from the same folder")
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
    for extra in MORE_THAN_A_PROMPT:
        if setting(unet, extra) is not None:
            problems.append(f"the U-Net wants more than a prompt ({extra} is {setting(unet, extra)!r}); "
                            "this course renders models of Stable Diffusion 1 and 2")
    if problems:
        raise ValueError(_sentences(problems))


@torch.inference_mode()
def check_text(tokenizer: Any, text_encoder: Any) -> None:
    """Raise ValueError unless the text encoder turns the L tokens of a prompt into vectors (1, L, D): tried, with an empty one."""
    weights = next(text_encoder.parameters(), None) if isinstance(text_encoder, torch.nn.Module) else None
    if weights is None or weights.device.type == "meta":
        return
    length, name = prompt_length(tokenizer, text_encoder), type(text_encoder).__name__
    try:
        tokens = tokenizer([""], padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        vectors = text_encoder(tokens.to(weights.device))
        vectors = vectors if torch.is_tensor(vectors) else vectors[0]                     # (1, L) -> (1, L, D)
    except Exception as error:
        raise ValueError(_sentences([f"the text encoder, a {name}, does not answer to tokens alone ({first_line(error)})"])) from error
    if vectors is None or vectors.ndim != 3 or vectors.shape[:2] != (1, length):
        shape = None if vectors is None else tuple(vectors.shape)
        raise ValueError(_sentences([f"the text encoder, a {name}, answers {length} tokens with a tensor of shape {shape}, not with "
                                     f"(1, {length}, D): one vector for each token is needed"]))


def _sentences(problems: list[str]) -> str:
    return "these components do not fit together: " + "; ".join(problems)


# ------------------------------------------------------------------------------------------------ diffusers' own side

def diffusers_scheduler(name: str, config: Any) -> Any:
    """The diffusers scheduler that corresponds to one of our samplers, on the same noise schedule."""
    import diffusers

    from course.samplers import FLOWS, SAMPLERS

    if name in FLOWS:
        raise ValueError("diffusers has no pipeline for a Stable Diffusion that is a flow: leave out --engine diffusers and --compare")
    scheduler_class = getattr(diffusers, SAMPLERS[name].theirs)
    takes = inspect.signature(scheduler_class.__init__).parameters
    options = {option: value for option, value in SAMPLERS[name].fixed.items()
               if option in takes and not (option == "final_sigmas_type" or option == "variance_type")}
    # A config made for PNDM has no clip_sample, and some classes would fall back on True: latents are not pictures in [-1, 1].
    if "clip_sample" in takes and ("clip_sample" not in config or "clip_sample" in config.get("_use_default_values", ())):
        options["clip_sample"] = False
    try:
        return scheduler_class.from_config(config, **options)
    except ImportError:                                 # a stand-in, which diffusers has in the place of what needs another package
        missing = ", ".join(getattr(scheduler_class, "_backends", ["another package"]))
        raise ValueError(f"diffusers' {SAMPLERS[name].theirs} needs what is not installed here ({missing}): python -m pip install "
                         f"torchsde scipy, or paint {name} with the course's own, without --engine diffusers and --compare") from None


def diffusers_pipeline(components: Components, scheduler: Any = None) -> Any:
    """A StableDiffusionPipeline of these parts, which stay as they are; `scheduler` is an object, one of our names, or None: as it is."""
    import diffusers
    import transformers

    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()      # it would mourn the image processors of parts that are not used here
    _ = diffusers.StableDiffusionPipeline
    transformers.logging.set_verbosity(verbosity)
    if isinstance(scheduler, str):
        scheduler = diffusers_scheduler(scheduler, components.scheduler.config)
    # The pipeline corrects settings of what it is given (see tests/course/test_pipeline_corrections.py), and a scheduler keeps
    # the state of its last run: it gets copies, which share their weights.
    unet, scheduler = copy.copy(components.unet), copy.deepcopy(scheduler or components.scheduler)
    parts = components._replace(unet=unet, scheduler=scheduler)._asdict()
    pipeline: Any = diffusers.StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None,
                                                 image_encoder=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
