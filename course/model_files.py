"""A model's files: where they are, which of them to load, and what they are instead when they are no such model.

A model is a folder of sub-folders, one for each part, with `model_index.json` beside them that names each part's class. On the
hub it has an id; its files then lie in the hub's cache, which is such a folder once the main revision is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|pytorch_model|model)(?P<v>\.\w+)?(?:-\d+-of-\d+)?(?P<w>\.\w+)?\."
                     r"(?P<format>safetensors|bin)(?:\.index(?P<x>\.\w+)?\.json)?")
CONVERT = ('python -c "from diffusers import StableDiffusionPipeline as P; '
           "P.from_single_file('{file}').save_pretrained('{folder}')\"")


class Weights(NamedTuple):
    """The files that hold a part's weights: `variant` as from_pretrained calls it, None for the plain ones."""

    variant: str | None
    safetensors: bool


def weights_among(names: Iterable[str]) -> Weights | None:
    """Which weights to load from a folder of these files: the plain ones before fp16 before other variants, safetensors
    before pickles. None when there are none."""
    found = set()
    for name in names:
        match = WEIGHTS.fullmatch(name)
        if match:
            variant = next((match[group][1:] for group in "vwx" if match[group]), None)
            found.add(Weights(variant, match["format"] == "safetensors"))
    rank = {None: 0, "fp16": 1, "ema": 2}
    return min(found, key=lambda w: (rank.get(w.variant, 3), not w.safetensors, w.variant or ""), default=None)


def files_of(weights: Weights, names: Iterable[str]) -> list[str]:
    """The names that belong to these weights, their index of shards among them."""
    found = []
    for name in names:
        match = WEIGHTS.fullmatch(name)
        if match and weights == Weights(next((match[g][1:] for g in "vwx" if match[g]), None), match["format"] == "safetensors"):
            found.append(name)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; {} if there is none. A byte order mark is passed over. Raises ValueError that names the file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, where a JSON object was expected")
    return content


# ------------------------------------------------------------------------------------------------ the hub


def cached(repository: str) -> Path | None:
    """The folder of the hub's cache with the main revision of a repository; None if that was never fetched. Some of its files
    may be missing: a cache holds what was asked for."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    try:
        commit = (storage / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    folder = storage / "snapshots" / commit
    return folder if folder.is_dir() else None


def fetched(repository: str, parts: Sequence[str]) -> Path:
    """A folder that holds these sub-folders of a repository on the hub ("" for its root): from the cache when offline or when
    the hub does not answer, else downloaded into the cache as far as it is not there, and only the files that will be read.

    Raises FileNotFoundError with what to do.
    """
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    folder = cached(repository)
    if constants.HF_HUB_OFFLINE:
        if folder is None:
            raise FileNotFoundError(f"{repository} is not in the hub's cache ({constants.HF_HUB_CACHE}){_other_revisions(repository)}. "
                                    "HF_HUB_OFFLINE is set, so only what is cached can be used: unset it once to download the "
                                    "model")
        return folder
    try:
        names = HfApi().list_repo_files(repository)
        return Path(snapshot_download(repository, allow_patterns=wanted(names, parts)))
    except errors.GatedRepoError as error:
        raise FileNotFoundError(f"{repository} is gated: accept its licence on https://huggingface.co/{repository}, then run "
                                "`hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(f"there is no model {repository} on the hub (and no folder {repository} here), or it is private: "
                                "check the name; `hf auth login` for a private one") from error
    except OSError as error:
        if getattr(error, "errno", None) in (28, 122):                  # no space, over quota
            raise
        problem: Exception = error
    except Exception as error:                                          # the hub's client has errors of its own libraries
        problem = error
    if folder is not None:
        return folder
    raise FileNotFoundError(f"cannot fetch {repository} from the hub: check the name and the network (`course doctor` tests "
                            f"both), or use --model emoji, which is on disk.\n({first_line(problem)})") from problem


def wanted(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Of all files of a repository, those that loading its parts will read."""
    chosen = [name for name in names if name == "model_index.json"]
    for part in parts:
        prefix = f"{part}/" if part else ""
        inside = [name[len(prefix):] for name in names if name.startswith(prefix) and "/" not in name[len(prefix):]]
        weights = weights_among(inside)
        keep = [name for name in inside if name.endswith((".json", ".txt", ".model")) and not WEIGHTS.fullmatch(name)]
        chosen += [prefix + name for name in keep + (files_of(weights, inside) if weights else [])]
    return chosen


def _other_revisions(repository: str) -> str:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    refs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    known = sorted(str(file.relative_to(refs / "refs")) for file in (refs / "refs").rglob("*") if file.is_file()) or sorted(
        folder.name for folder in (refs / "snapshots").glob("*"))
    return f", which has other revisions of it only: {', '.join(known)}" if known else ""


# ------------------------------------------------------------------------------------------------ what is it instead?


def first_line(error: BaseException) -> str:
    """The first line that an error says anything in, or its name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def listing(folder: Path, most: int = 8) -> str:
    """The names of a folder's entries, for a message."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir() if not entry.name.startswith("."))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) if names else "nothing"


def another_kind(index: dict[str, Any]) -> str:
    """What a model is whose `model_index.json` names a pipeline with other parts than Stable Diffusion 1 and 2; "" if it is
    theirs."""
    name = str(index.get("_class_name", ""))
    others = sorted(part for part, value in index.items()
                    if part in ("transformer", "prior", "text_encoder_2", "decoder", "movq", "vqvae", "bert", "image_processor",
                                "vocoder", "controlnet", "mel") and isinstance(value, list) and value and value[0])
    if not name or (not others and "unet" in index and "vae" in index):
        return ""
    return (f"another kind of model: a {name}" + (f", with {', '.join(others)}" if others else "") +
            ". This course renders models of Stable Diffusion 1 and 2, which have vae, unet, tokenizer, text_encoder, scheduler")


def single_file(path: Path, kind: str = "") -> str:
    """What to do with one file where a folder is wanted. `kind`: the part it was given for, "" for a whole model."""
    what = what_tensors(path)
    if what:
        return f"{path} is {what}"
    if kind:
        loader = "AutoencoderKL" if kind == "vae" else "UNet2DConditionModel"
        convert = (f'python -c "from diffusers import {loader} as C; C.from_single_file(\'{path}\').save_pretrained(\'{path.stem}\')"'
                   if kind in ("vae", "unet") else "save it with save_pretrained by the program that made it")
        return f"{path} is one file; the {kind} is loaded from a folder. Convert it: {convert}"
    return (f"{path} is a checkpoint in a single file; a model is loaded from a folder. Convert it: "
            f"{CONVERT.format(file=path, folder=path.with_suffix('').name)} and pass --model {path.with_suffix('').name}")


def what_tensors(path: Path) -> str:
    """What a safetensors file holds that is no model, told from the names in it; "" when it may be one."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        start = file.read(1 << 20)
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of git-lfs and not the file itself: run `git lfs pull` in its folder"
    if not start:
        return "an empty file: copy it again"
    if path.suffix == ".gguf":
        return "a quantised model (GGUF), which the course does not load: use the model it was made from"
    if path.suffix != ".safetensors":
        return ""
    length = int.from_bytes(start[:8], "little")
    header = start[8:].decode("utf-8", "replace")
    if not header.startswith("{") or length > path.stat().st_size:
        return "damaged (it is no whole safetensors file): copy it again"
    if re.search(r'"[^"]*(lora_|\.lora\.|lora\.(up|down)|_lora)', header):
        return ("a LoRA, which changes a model and is none: put it into one with diffusers (pipeline.load_lora_weights, "
                "pipeline.fuse_lora, pipeline.save_pretrained) and load that folder")
    if re.match(r'\{\s*("__metadata__":\{[^}]*\},)?\s*"(emb_params|<[^"]*>|clip_[lg])"', header):
        return ("a textual inversion, new words for a model: put it into one with diffusers (pipeline.load_textual_inversion, "
                "pipeline.save_pretrained) and load that folder")
    return ""


def instead(folder: Path) -> str:
    """What a folder is, as far as its files tell, when it is not what was wanted; "" when they tell nothing."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()

    def some(test: Callable[[str], bool]) -> str | None:
        return next((name for name in sorted(names) if test(name)), None)

    if names & {"pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin", "adapter_config.json"}:
        return ("these are the weights of a LoRA, which changes a model and is none: put it into one with diffusers "
                f"(pipeline.load_lora_weights({str(folder)!r}), pipeline.fuse_lora(), pipeline.save_pretrained(FOLDER)) and load "
                "FOLDER")
    if some(lambda n: n.startswith("learned_embeds")):
        return ("this is a textual inversion, new words for a model: put it into one with diffusers "
                f"(pipeline.load_textual_inversion({str(folder)!r}), pipeline.save_pretrained(FOLDER)) and load FOLDER")
    if weights_among(names) is None:
        for ending, what in [(".msgpack", "Flax, which diffusers no longer loads: take the model's safetensors files, or convert it "
                                          "with an older diffusers (0.34 or before, from_pretrained(..., from_flax=True))"),
                             (".onnx", "ONNX: take the model's safetensors files"), (".xml", "OpenVINO: take the model's "
                                                                                     "safetensors files"),
                             (".h5", "TensorFlow: take the model's safetensors files")]:
            if some(lambda n, e=ending: n.endswith(e)):                 # type: ignore[misc]
                return f"the weights are for {what}"
    try:
        index = another_kind(read_json(folder / "model_index.json"))
    except ValueError as error:
        return str(error)
    if index:
        return f"{folder} is {index}"
    for name in sorted(names):
        said = what_tensors(folder / name) if name.endswith(SINGLE_FILES) else ""
        if said:
            return f"{name} is {said}"
    alone = some(lambda n: n.endswith((".safetensors", ".ckpt")) and not WEIGHTS.fullmatch(n))
    return single_file(folder / alone) if alone else ""
