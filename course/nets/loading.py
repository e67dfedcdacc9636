"""Published weights into the networks of this folder, and these networks into everything that expects the libraries' own.

    nets = load("emoji")                     # or a folder, or a hub id such as CompVis/stable-diffusion-v1-4
    nets.unet(x, t, nets.text_encoder(ids))  # plain tensors in and out

    components = as_components(nets)         # for render_image and for diffusers' pipeline
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course.components import Components, load_components
from course.model_files import files_of, first_line, read_json, weights_among
from course.nets import autoencoder, bert, dit, text_encoder, unet
from course.nets.tokenizer import Tokenizer


class Nets(NamedTuple):
    """The five parts, as tensors-in-tensors-out networks of this folder; the scheduler is diffusers'."""

    vae: Any
    unet: Any
    tokenizer: Tokenizer
    text_encoder: Any
    scheduler: Any


class Kind(NamedTuple):
    """How one class of published part is read: what builds ours from its config, and its names turned into ours."""

    build: Callable[[Mapping[str, Any]], nn.Module]
    renames: tuple[tuple[str, str | None], ...]


# What a config calls itself (diffusers: _class_name, transformers: architectures) -> ours.
KINDS = {
    "AutoencoderKL": Kind(autoencoder.Autoencoder, autoencoder.RENAMES),
    "AutoencoderTiny": Kind(autoencoder.TinyAutoencoder, autoencoder.TINY_RENAMES),
    "UNet2DConditionModel": Kind(unet.UNet, unet.RENAMES),
    "DiT": Kind(dit.DiT, ()),
    "CLIPTextModel": Kind(text_encoder.TextEncoder, text_encoder.RENAMES),
    "BertModel": Kind(bert.Bert, bert.RENAMES),
    "BertForMaskedLM": Kind(bert.Bert, bert.RENAMES),
}
FILES = ("diffusion_pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.bin", "pytorch_model.bin")


def load(name: str | Path, device: str = "cpu", dtype: Any = None, **replacements: Any) -> Nets:
    """All five parts of "emoji", of a folder laid out like CompVis/stable-diffusion-v1-4, or of a hub id.

    The arguments are those of `course.components.load_components`, and so is what it raises; ValueError, naming the part, for
    weights or a config that are not Stable Diffusion 1's or 2's.
    """
    return Nets(*(getattr(part, "net", part) for part in load_components(name, device, dtype, nets="course", **replacements)))


def load_part(kind: str, folder: str | Path, dtype: torch.dtype = torch.float32) -> Any:
    """One part from its folder: a network with its `config` (what config.json says), or a Tokenizer.

    Raises FileNotFoundError for a folder without weights, ValueError for damaged or other ones.
    """
    folder = Path(folder)
    if kind == "tokenizer":
        in_pieces = (folder / "vocab.txt").is_file() or read_json(folder / "tokenizer.json").get("model", {}).get("type") == "WordPiece"
        return (bert.WordPieces if in_pieces else Tokenizer).from_folder(folder)
    names = [entry.name for entry in folder.iterdir()]
    chosen = weights_among(names)
    if chosen is None or not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no {'weights' if chosen is None else 'config.json'}")
    config = read_json(folder / "config.json")
    weights: dict[str, Tensor] = {}
    for name in files_of(chosen, names):
        weights |= {} if name.endswith(".json") else read_weights(folder / name)            # several files, and an index of them
    return build(config, weights, dtype)


def build(config: Mapping[str, Any], weights: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network of ours from a published config and published weights (names and tensors).

    Names are turned into ours by the rules beside each network; missing and surplus ones raise ValueError that names them,
    and so do wrong shapes, weights that are no floating point numbers, and NaN. The tensors are taken over, not copied, where
    their dtype is right.
    """
    name = config.get("_class_name") or next(iter(config.get("architectures") or []), "a network that it does not name")
    if name not in KINDS:
        raise ValueError(f"the config is that of {name}; there are readable networks for {', '.join(KINDS)}")
    kind = KINDS[name]
    with torch.device("meta"):                          # no memory and no random numbers for what is replaced at once
        net = kind.build(config)
    wanted = net.state_dict()
    ours = {new: tensor for old, tensor in weights.items() if (new := rename(old, kind.renames)) is not None}
    missing, surplus = sorted(wanted.keys() - ours.keys()), sorted(ours.keys() - wanted.keys())
    if missing or surplus:
        raise ValueError(f"these weights are not those of the {name} that the config describes: "
                         + "; ".join(f"{len(names)} {what}, such as {', '.join(names[:3])}"
                                     for what, names in [("are missing", missing), ("are too many", surplus)] if names))
    for key, want in wanted.items():
        tensor = ours[key]
        if tensor.ndim == want.ndim + 2:                # a 1 x 1 convolution is a linear map of the channels
            tensor = tensor.flatten(1) if tensor.shape[2:] == (1, 1) else tensor
        if tensor.shape != want.shape or not tensor.is_floating_point():
            raise ValueError(f"{key} of the {name} is {tuple(tensor.shape)} of {tensor.dtype}; the config wants floating point "
                             f"numbers of shape {tuple(want.shape)}")
        if not tensor.isfinite().all():
            raise ValueError(f"{key} of the {name} holds NaN or infinity: the file is damaged, or training went wrong")
        ours[key] = tensor.to(dtype)
    net.load_state_dict(ours, assign=True)
    net.config = dict(config)                           # type: ignore[assignment]
    return net


def rename(name: str, rules: Iterable[tuple[str, str | None]]) -> str | None:
    """A published name in our words: every rule, a regular expression and what replaces it, in turn. None: not a weight."""
    for pattern, replacement in rules:
        if replacement is None and re.search(pattern, name):
            return None
        name = re.sub(pattern, replacement or "", name)
    return name


def read_weights(file: Path) -> dict[str, Tensor]:
    """A .safetensors or .bin file as names and tensors; of a .bin only tensors are read, never code."""
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file.name} is damaged: {error}") from error
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{file} is damaged, or holds more than tensors: {first_line(error)}") from error
    if not isinstance(content, dict) or not all(torch.is_tensor(value) for value in content.values()):
        raise ValueError(f"{file} does not hold names and tensors")
    return content


# ------------------------------------------------------------------------------------------------ in place of the libraries' own


class Sample(NamedTuple):
    """What diffusers' U-Net and decoder return: read as .sample or as [0]."""

    sample: Tensor


class Hidden(NamedTuple):
    last_hidden_state: Tensor


class Encoding(NamedTuple):
    latent_dist: autoencoder.Gaussian


class Latents(NamedTuple):
    latents: Tensor


class Part(nn.Module):
    """A network of ours behind the interface of the libraries: `.config`, `.dtype`, `.device`, and records for answers."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.config = SimpleNamespace(**net.config)     # type: ignore[arg-type]

    @property
    def dtype(self) -> torch.dtype:
        return next(self.net.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device


class UNetPart(Part):
    def forward(self, x: Tensor, t: Any, encoder_hidden_states: Tensor, return_dict: bool = True, **more: Any) -> Sample:
        _refuse(more)
        return Sample(self.net(x, t, encoder_hidden_states))


class TextPart(Part):
    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, **more: Any) -> Hidden:
        _refuse({**more, "attention_mask": attention_mask})
        return Hidden(self.net(ids))


class VaePart(Part):
    def encode(self, picture: Tensor, return_dict: bool = True) -> Encoding | Latents:
        said: Any = self.net.encode(picture)            # type: ignore[operator]
        return Latents(said) if torch.is_tensor(said) else Encoding(said)

    def decode(self, latent: Tensor, return_dict: bool = True, generator: Any = None) -> Sample:
        return Sample(self.net.decode(latent))          # type: ignore[operator]


def as_part(net: Any) -> Any:
    """One network of ours as what diffusers and `render_image` call in its place; a Tokenizer is that already."""
    if not isinstance(net, nn.Module):
        return net
    kinds = {unet.UNet: UNetPart, dit.DiT: UNetPart, text_encoder.TextEncoder: TextPart, bert.Bert: TextPart}
    return kinds.get(type(net), VaePart)(net)           # type: ignore[arg-type]


def as_components(nets: Nets) -> Components:
    """Nets -> what `render_image(prompt, *components)`, sweeps and `diffusers_pipeline(components)` take."""
    return Components(*map(as_part, nets))


def _refuse(more: Mapping[str, Any]) -> None:
    wanted = [name for name, value in more.items() if value is not None and value is not False]
    if wanted:
        raise ValueError(f"the networks of course.nets have no {', '.join(wanted)}: they are the plain ones of Stable Diffusion 1 and 2")
