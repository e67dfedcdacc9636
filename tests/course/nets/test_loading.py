"""Weights into our networks: old and new names, what is no such model, and our parts where the libraries' own are expected."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from course.components import diffusers_pipeline, load_components
from course.emoji import folder
from course.nets import as_components, build, load, load_part
from course.render import largest_difference
from course.stable_diffusion import render_image

PROMPT = "a bear above a horse on a white background"


def published(part: str):
    """Config and weights as they lie on the disk."""
    where = folder() / part
    weights = next(where.glob("*.safetensors"))
    return json.loads((where / "config.json").read_text("utf-8")), load_file(weights)


# ------------------------------------------------------------------------------------------------ in place of theirs


@pytest.mark.parametrize("sampler", ["pndm", "dpmpp_2m"])
def test_pictures_are_the_same(theirs, ours, sampler):
    parts = as_components(ours)
    options = {"num_steps": 8, "seed": [1, 2], "schedule": parts.scheduler.config, "progress": False}
    mine = render_image(PROMPT, *parts[:4], sampler, **options)
    assert largest_difference(mine, render_image(PROMPT, *theirs[:4], sampler, **options)) <= 1
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    pipeline = diffusers_pipeline(parts, sampler)
    assert largest_difference(mine, pipeline([PROMPT] * 2, num_inference_steps=8, generator=generators).images) <= 1


def test_each_part_can_be_swapped_alone(theirs, ours):
    parts = as_components(ours)._asdict()
    wanted = render_image(PROMPT, *theirs[:4], "ddim", num_steps=4, progress=False)
    for kind in ("vae", "unet", "tokenizer", "text_encoder"):
        mixed = theirs._replace(**{kind: parts[kind]})
        assert largest_difference(render_image(PROMPT, *mixed[:4], "ddim", num_steps=4, progress=False), wanted) <= 1


def test_the_light_autoencoder_and_a_long_prompt_with_a_negative_one(theirs, tiny):
    where = folder() / "vae_tiny"
    mine = load_components("emoji", device="cpu", nets="course", vae=where)
    long = "a bear above a horse on a white background, " * 3
    options = {"num_steps": 4, "negative_prompt": "a Café!", "progress": False}
    with pytest.warns(UserWarning, match="only 22 fit"):
        mine = render_image(long, *mine[:4], "ddim", **options)
    with pytest.warns(UserWarning, match="only 22 fit"):
        assert largest_difference(mine, render_image(long, *theirs._replace(vae=tiny[0])[:4], "ddim", **options)) <= 1


def test_what_their_parts_can_and_ours_cannot_is_refused(ours):
    parts = as_components(ours)
    x, ids = torch.randn(1, 4, 8, 8), torch.zeros(1, 24, dtype=torch.long)
    words = parts.text_encoder(ids)[0]
    assert parts.unet(x, 1, words, timestep_cond=None, cross_attention_kwargs=None, added_cond_kwargs=None, return_dict=False)[0].shape == x.shape
    with pytest.raises(ValueError, match="no timestep_cond"):
        parts.unet(x, 1, words, timestep_cond=x)
    with pytest.raises(ValueError, match="no output_hidden_states"):
        parts.text_encoder(ids, output_hidden_states=True)
    with pytest.raises(ValueError, match="no attention_mask"):
        parts.text_encoder(ids, attention_mask=ids)


# ------------------------------------------------------------------------------------------------ names and files


def test_names_of_older_files(theirs, ours):
    config, weights = published("vae")
    old = {k.replace("to_q.", "query.").replace("to_k.", "key.").replace("to_v.", "value.").replace("to_out.0.", "proj_attn."): v
           for k, v in weights.items()}
    assert old.keys() != weights.keys()
    old = {k: v[:, :, None, None] if "query.weight" in k else v for k, v in old.items()}      # a 1 x 1 convolution, as in the first files
    again = build(config, old)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in ours.vae.state_dict().items())
    config, weights = published("text_encoder")
    old = {f"text_model.{k}": v for k, v in weights.items()} | {"text_model.embeddings.position_ids": torch.arange(24)[None]}
    assert all(torch.equal(v, ours.text_encoder.state_dict()[k]) for k, v in build(config, old).state_dict().items())


def test_a_bin_file_and_another_dtype(tmp_path, ours):
    for name in ("unet", "vae"):
        config, weights = published(name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config), "utf-8")
        torch.save(weights, tmp_path / name / "diffusion_pytorch_model.bin")
        part = load_part(name, tmp_path / name, torch.bfloat16)
        assert {v.dtype for v in part.state_dict().values()} == {torch.bfloat16}
        again = load_part(name, tmp_path / name)
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in getattr(ours, name).state_dict().items())


class Trap:
    def __reduce__(self):
        return print, ("code from a weights file ran",)


def test_files_that_are_no_weights(tmp_path, capsys):
    shutil.copytree(folder() / "vae", tmp_path / "vae")
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"\.safetensors is damaged"):
        load_part("vae", tmp_path / "vae")
    file.unlink()
    with pytest.raises(FileNotFoundError, match="vae holds no weights"):
        load_part("vae", tmp_path / "vae")
    for content, words in [({"conv": Trap()}, "damaged, or holds more than tensors"), ([1], "does not hold names and tensors")]:
        torch.save(content, file.with_suffix(".bin"))
        with pytest.raises(ValueError, match=words):
            load_part("vae", tmp_path / "vae")
    file.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged"):
        load_part("vae", tmp_path / "vae")
    (tmp_path / "vae" / "config.json").write_text("[1]", "utf-8")
    with pytest.raises(ValueError, match="holds a list, where a JSON object"):
        load_part("vae", tmp_path / "vae")
    assert "ran" not in capsys.readouterr().out


def test_weights_that_do_not_fit_their_config():
    config, weights = published("unet")

    def without(name: str) -> dict:
        return {k: v for k, v in weights.items() if k != name}

    name = "mid_block.resnets.0.conv1.weight"
    nan = weights[name].clone()
    nan[0, 0, 0, 0] = float("nan")
    for given, words in [
        (without(name), r"1 are missing, such as mid\.resnets\.0\.conv1\.weight"),
        (weights | {"lora.up": nan}, "1 are too many, such as lora"), ({}, "are missing"),
        (weights | {name: weights[name][:5]}, r"mid\.resnets\.0\.conv1\.weight of the UNet2DConditionModel is \(5, 128, 3, 3\)"),
        (weights | {name: weights[name].int()}, r"torch\.int32; the config wants floating point"),
        (weights | {name: nan}, r"mid\.resnets\.0\.conv1\.weight .* holds NaN"),
        (published("vae")[1], "are missing, .*are too many"),
    ]:
        with pytest.raises(ValueError, match=words):
            build(config, given)


@pytest.mark.parametrize(("part", "changes", "words"), [
    ("unet", {"_class_name": "SD3Transformer2DModel"}, "that of SD3Transformer2DModel; there are readable networks for"),
    ("unet", {"_class_name": None}, "a network that it does not name"),
    ("unet", {"addition_embed_type": "text_time"}, "addition_embed_type = 'text_time', which no Stable Diffusion 1 or 2 has"),
    ("unet", {"transformer_layers_per_block": [1, 2]}, "transformer_layers_per_block"), ("unet", {"act_fn": "gelu"}, "act_fn = 'gelu'"),
    ("unet", {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"]}, "levels of CrossAttnDownBlock2D or DownBlock2D"),
    ("unet", {"up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}, "the same way up"), ("unet", {"block_out_channels": None}, "does not say"),
    ("unet", {"attention_head_dim": 5}, "64 channels cannot be shared out among 5 heads"), ("unet", {"something_new": 3}, "something_new"),
    ("unet", {"norm_num_groups": 48}, "must be divisible by num_groups"),
    ("vae", {"down_block_types": ["AttnDownEncoderBlock2D"] * 4}, "only DownEncoderBlock2D"), ("vae", {"use_quant_conv": False}, "use_quant_conv"),
    ("text_encoder", {"hidden_act": "relu"}, "'relu'; a text encoder of CLIP has quick_gelu or gelu"),
    ("text_encoder", {"architectures": ["T5EncoderModel"]}, "that of T5EncoderModel"), ("text_encoder", {"hidden_size": None}, "does not say hidden_size"),
])
def test_configs_of_other_models(part, changes, words):
    config, weights = published(part)
    with pytest.raises(ValueError, match=words):
        build({**config, **changes}, weights)


def test_loading_says_which_part_and_where(tmp_path):
    with pytest.raises(ValueError, match="unknown nets 'ours'; there are diffusers and course"):
        load_components("emoji", nets="ours")
    model = tmp_path / "model"
    shutil.copytree(folder(), model)
    config = json.loads((model / "unet" / "config.json").read_text("utf-8"))
    (model / "unet" / "config.json").write_text(json.dumps({**config, "act_fn": "gelu"}), "utf-8")
    with pytest.raises(ValueError, match=r"cannot load the unet from .*unet into the networks of the course: .*act_fn"):
        load(model)
    (model / "unet" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot load the unet from [\s\S]*holds no config\.json"):
        load(model)
    (model / "tokenizer" / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot load the tokenizer from [\s\S]*merges\.txt"):
        load(model, unet=folder() / "unet")


def test_inputs_that_do_not_fit(ours):
    x, words, ids = torch.randn(2, 4, 8, 8), torch.randn(2, 24, 128), torch.zeros(2, 24, dtype=torch.long)
    for call, message in [
        (lambda: ours.unet(x.double(), 1, words), r"latent is torch\.float64 and the weights are torch\.float32"),
        (lambda: ours.unet(x, 1, words.half()), r"context is torch\.float16"),
        (lambda: ours.unet(x[0], 1, words), r"latent must have the shape \(B, 4, h, w\); got \(4, 8, 8\)"),
        (lambda: ours.unet(x[:, :3], 1, words), r"shape \(B, 4, h, w\)"), (lambda: ours.unet(x, 1, words[:1]), r"context must have the shape \(2, L, 128\)"),
        (lambda: ours.unet(x, 1, words[..., :64]), r"\(2, L, 128\); got \(2, 24, 64\)"),
        (lambda: ours.unet(torch.randn(2, 4, 9, 8), 1, words), "latent is 9 x 8 and is halved 1 times"),
        (lambda: ours.unet(x[..., :0], 1, words), "multiples of 2"), (lambda: ours.unet(x, torch.ones(3), words), "each of the 2 latents; got 3"),
        (lambda: ours.unet("x", 1, words), "must be a tensor; got a str"), (lambda: ours.unet(x.to("meta"), 1, words), "on meta and the weights are on cpu"),
        (lambda: ours.vae.encode(torch.zeros(1, 3, 60, 64)), "picture is 60 x 64 and is halved 3 times"),
        (lambda: ours.vae.encode(torch.zeros(1, 1, 64, 64)), r"\(B, 3, H, W\)"), (lambda: ours.vae.decode(x[:, :2]), r"\(B, 4, h, w\)"),
        (lambda: ours.text_encoder(ids.float()), "whole numbers"), (lambda: ours.text_encoder(ids[0]), r"\(B, L\)"),
        (lambda: ours.text_encoder(torch.zeros(1, 25, dtype=torch.long)), "25 tokens are too many: the text encoder has places for 24"),
        (lambda: ours.text_encoder(ids + 747), "token 747 is none of the 747"), (lambda: ours.text_encoder(ids - 1), "token -1"),
        (lambda: ours.text_encoder(ids, skip=2), "one must be left"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
