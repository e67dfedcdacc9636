"""Loading what people have: the hub's cache in its layouts, half-precision folders, classes of other names, parts that are given;
and what is said about folders and files that are no such model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from course import doctor
from course.components import load_components
from course.model_files import Weights, files_of, wanted, weights_among
from course.stable_diffusion import render_image

COMMIT = "133a221b8aa7292a167afc5127cb63fb5005638b"
HUB = "CompVis/stable-diffusion-v1-4"


@pytest.fixture
def tiny(tiny_model_dir, tmp_path):
    """A copy of the small model to spoil."""
    return shutil.copytree(tiny_model_dir, tmp_path / "tiny")


def edit(file, **values):
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **values}))


def rendered(name, **replacements):
    parts = load_components(name, device="cpu", **replacements)
    return render_image("a bear", *parts[:4], "ddim", num_steps=2, progress=False)[0].tobytes()


# ------------------------------------------------------------------------------------------------ the hub's cache


def cache(home, model, links=True, ref="main", leave_out=()):
    """The model as the hub's client leaves it: blobs, and a snapshot of links (of files, where links are not allowed)."""
    storage = home / "hub" / f"models--{HUB.replace('/', '--')}"
    for file in sorted(file for file in model.rglob("*") if file.is_file()):
        name = file.relative_to(model)
        if any(part in leave_out for part in name.parts):
            continue
        target = storage / "snapshots" / COMMIT / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if links:
            blob = storage / "blobs" / str(abs(hash(name)))
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(file, blob)
            target.symlink_to(os.path.relpath(blob, target.parent))
        else:
            shutil.copy(file, target)
    (storage / "refs").mkdir(parents=True, exist_ok=True)
    (storage / "refs" / ref).write_text(COMMIT)


@pytest.fixture
def home(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "home"


@pytest.mark.parametrize("layout", [
    {}, {"links": False}, {"leave_out": ["model_index.json"]},                    # hf download; Windows; parts one by one
])
def test_a_cached_model_loads_offline(home, tiny, layout):
    cache(home, tiny, **layout)
    (finding,) = doctor.hub()
    assert finding.state == doctor.GOOD                                            # doctor and the loader agree
    assert rendered(HUB) == rendered(tiny)


def test_doctor_and_the_loader_agree_on_a_cache_in_part(home, tiny):
    cache(home, tiny, leave_out=["unet"])
    (finding,) = doctor.hub()
    assert finding.state == doctor.NOTE
    with pytest.raises(FileNotFoundError, match=r"no sub-folder unet, only .*vae/"):
        load_components(HUB, device="cpu")
    assert rendered(HUB, unet=tiny / "unet") == rendered(tiny)                     # what is given need not be there


def test_a_cache_with_another_revision_only(home, tiny):
    cache(home, tiny, ref="fp16")
    with pytest.raises(FileNotFoundError, match="other revisions of it only: fp16"):
        load_components(HUB, device="cpu")


def test_the_same_words_as_the_pipeline_with_the_network_cut(home, tiny):
    """In a process of its own, by the command line and with the real environment variable."""
    cache(home, tiny)
    script = f"""
import json, torch
from diffusers import StableDiffusionPipeline
from course.components import load_components
ours = load_components({HUB!r}, device="cpu")
theirs = StableDiffusionPipeline.from_pretrained({HUB!r}, safety_checker=None)
print(json.dumps([part("a bear on the hill").input_ids for part in (ours.tokenizer, theirs.tokenizer)]))
assert [type(part) for part in ours] == [type(getattr(theirs, name)) for name in ours._fields]
"""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = json.loads(done.stdout.splitlines()[-1])
    assert ours == theirs
    assert len(ours) > 5


def test_the_hub_does_not_answer(home, tiny, monkeypatch):
    """Not told to be offline, but without a network: what is cached is used; what is not says so."""
    import huggingface_hub
    from huggingface_hub import constants

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", unreachable)
    with pytest.raises(FileNotFoundError, match=r"check the name and the network[\s\S]*no route to host"):
        load_components(HUB, device="cpu")
    cache(home, tiny)
    assert rendered(HUB) == rendered(tiny)


def test_a_repository_that_is_not_there_or_gated(home, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants, errors

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for error, message in [(errors.RepositoryNotFoundError, "there is no model"), (errors.GatedRepoError, "hf auth login")]:
        def refuse(*_, error=error, **__):
            raise error.__new__(error)

        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", refuse)
        with pytest.raises(FileNotFoundError, match=message):
            load_components(HUB, device="cpu")


def test_only_what_is_read_is_downloaded():
    """The files of CompVis/stable-diffusion-v1-4 and its like: 4 GB of pickles, halves and Flax stay where they are."""
    names = ["README.md", "model_index.json", "sd-v1-4.ckpt", "v1-variants-scores.jpg", "vae/config.json", "unet/config.json",
             "safety_checker/model.safetensors", "scheduler/scheduler_config.json"]
    for stem in ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "diffusion_pytorch_model.non_ema"):
        names += [f"unet/{stem}.safetensors", f"unet/{stem}.bin", "unet/diffusion_flax_model.msgpack"]
    assert wanted(names, ["unet", "scheduler"]) == ["model_index.json", "unet/config.json",
                                                    "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"]


@pytest.mark.parametrize(("names", "weights"), [
    (["model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"], Weights(None, True)),
    (["model.fp16.safetensors", "pytorch_model.bin"], Weights(None, False)),
    (["model.fp16.safetensors", "pytorch_model.fp16.bin", "model.non_ema.safetensors"], Weights("fp16", True)),
    (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"], Weights(None, True)),
    (["diffusion_pytorch_model.fp16-00001-of-00002.safetensors"], Weights("fp16", True)),
    (["diffusion_pytorch_model.non_ema.safetensors"], Weights("non_ema", True)),
    (["diffusion_flax_model.msgpack", "model.onnx", "config.json"], None),
])
def test_which_weights(names, weights):
    assert weights_among(names) == weights
    if weights and len(names) == 3 and names[2].endswith("index.json"):
        assert files_of(weights, names) == names


# ------------------------------------------------------------------------------------------------ folders


@pytest.mark.parametrize("variant", ["fp16", "ema"])
def test_half_precision_only(tiny, variant):
    for file in [*tiny.rglob("*.safetensors")]:
        file.rename(file.with_suffix(f".{variant}.safetensors"))
    parts = load_components(tiny, device="cpu")
    assert parts.unet.dtype == parts.text_encoder.dtype == torch.float32


def test_pickled_weights_only(tiny):
    from safetensors.torch import load_file

    for file in [*tiny.rglob("*.safetensors")]:
        stem = "pytorch_model" if file.stem == "model" else file.stem
        torch.save(load_file(file), file.with_name(f"{stem}.bin"))
        file.unlink()
    assert load_components(tiny, device="cpu").unet.dtype == torch.float32


@pytest.mark.parametrize("name", ["FlaxDDIMScheduler", "DDIMScheduler"])
def test_the_index_names_the_class_as_in_the_pipeline(tiny, name):
    """SD 2.x saved by Flax: the config's class is not diffusers', the index's is."""
    from diffusers import StableDiffusionPipeline

    edit(tiny / "scheduler" / "scheduler_config.json", _class_name=name)
    ours = load_components(tiny, device="cpu").scheduler
    assert type(ours) is type(StableDiffusionPipeline.from_pretrained(tiny, safety_checker=None).scheduler)
    (tiny / "model_index.json").unlink()
    assert type(load_components(tiny, device="cpu").scheduler).__name__ == "DDIMScheduler"


@pytest.mark.parametrize(("file", "name"), [("scheduler/scheduler_config.json", "TeleportScheduler"),
                                            ("unet/config.json", "UNetOfTomorrow"), ("vae/config.json", "NoSuchVAE")])
def test_a_class_that_nobody_has(tiny, file, name):
    edit(tiny / file, _class_name=name)
    (tiny / "model_index.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"name the class {name}, which diffusers .* does not have"):
        load_components(tiny, device="cpu")


def test_json_with_a_byte_order_mark_or_none_at_all(tiny):
    index = tiny / "model_index.json"
    index.write_bytes(b"\xef\xbb\xbf" + index.read_bytes())
    rendered(tiny)
    index.write_text("{")
    with pytest.raises(FileNotFoundError, match=r"model_index.json is not readable as JSON"):
        load_components(tiny, device="cpu")


# ------------------------------------------------------------------------------------------------ text encoders


def test_a_whole_clip_gives_its_text_half(tiny, tmp_path):
    from transformers import CLIPConfig, CLIPModel

    text = load_components(tiny, device="cpu").text_encoder
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
             "patch_size": 16}
    clip = CLIPModel(CLIPConfig(text_config=text.config.to_dict(), vision_config=small, projection_dim=32))
    clip.text_model.load_state_dict(text.state_dict(), strict=False)
    clip.save_pretrained(tmp_path / "clip")
    loaded = load_components(tiny, device="cpu", text_encoder=tmp_path / "clip").text_encoder
    assert type(loaded).__name__ == "CLIPTextModel"
    assert loaded.config.hidden_size == 32
    with pytest.raises(ValueError, match="a whole CLIPModel, which wants more than tokens; load CLIPTextModel"):
        load_components(tiny, device="cpu", text_encoder=clip)


def test_a_t5_gives_its_encoder(tiny, tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration, T5Model

    config = T5Config(vocab_size=600, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    assert type(load_components(tiny, device="cpu", text_encoder=tmp_path / "t5").text_encoder).__name__ == "T5EncoderModel"
    with pytest.raises(ValueError, match="a whole T5Model"):
        load_components(tiny, device="cpu", text_encoder=T5Model(config))


def test_a_text_encoder_that_cannot_do_the_job(tiny):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    class Pooled(torch.nn.Linear):
        def forward(self, tokens):
            return super().forward(tokens.float())

    for wrong, message in [(Pooled(16, 32), r"shape \(1, 32\), not with \(1, 16, D\)"),
                           (CLIPVisionModel(CLIPVisionConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                                                             num_attention_heads=2, image_size=32, patch_size=16)),
                            "does not answer to tokens alone")]:
        with pytest.raises(ValueError, match=message):
            load_components(tiny, device="cpu", text_encoder=wrong)


@pytest.mark.parametrize("extra", [{"num_class_embeds": 3}, {"class_embed_type": "timestep"}, {"encoder_hid_dim": 32},
                                   {"time_cond_proj_dim": 8}, {"addition_embed_type": "text"}])
def test_a_unet_that_wants_more_than_a_prompt(tiny, extra):
    from diffusers import UNet2DConditionModel

    config = json.loads((tiny / "unet" / "config.json").read_text())
    unet = UNet2DConditionModel.from_config({**config, **extra})
    with pytest.raises(ValueError, match="wants more than a prompt"):
        load_components(tiny, device="cpu", unet=unet)


# ------------------------------------------------------------------------------------------------ what is given need not be there


def test_what_is_replaced_need_not_be_there(tiny, tiny_model_dir):
    from diffusers import DDIMScheduler

    for part in ("scheduler", "text_encoder", "tokenizer"):
        shutil.rmtree(tiny / part)
    given = load_components(tiny_model_dir, device="cpu")
    loaded = load_components(tiny, device="cpu", scheduler=DDIMScheduler(), text_encoder=given.text_encoder,
                             tokenizer=tiny_model_dir)
    assert loaded.text_encoder is given.text_encoder
    with pytest.raises(FileNotFoundError, match=r"no sub-folder scheduler, only model_index\.json, unet/, vae/"):
        load_components(tiny, device="cpu", text_encoder=given.text_encoder, tokenizer=given.tokenizer)


# ------------------------------------------------------------------------------------------------ no such model


@pytest.mark.parametrize(("index", "parts"), [
    ({"_class_name": "StableDiffusion3Pipeline", "transformer": ["diffusers", "SD3Transformer2DModel"],
      "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, ["transformer", "vae", "scheduler"]),
    ({"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}, ["transformer", "vae"]),
    ({"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
      "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, ["unet"]),
    ({"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]},
     ["unet", "scheduler"]),
])
def test_other_kinds_of_models(tmp_path, index, parts):
    for part in parts:
        (tmp_path / part).mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match=f"another kind of model: a {index['_class_name']}.*Stable Diffusion 1 and 2"):
        load_components(tmp_path, device="cpu")


def safetensors(file, *names):
    from safetensors.torch import save_file

    save_file({name: torch.zeros(2) for name in names}, file)
    return file


@pytest.mark.parametrize(("name", "tensors", "message"), [
    ("anything-v3.safetensors", ["model.diffusion_model.out.2.bias"], "single file; a model is loaded from a folder. Convert it: "
                                                                      "python -c"),
    ("style.safetensors", ["lora_unet_down_blocks_0.lora_up.weight"], "a LoRA, which changes a model"),
    ("words.safetensors", ["emb_params"], "a textual inversion"),
])
def test_one_file_instead_of_a_folder(tiny, tmp_path, name, tensors, message):
    file = safetensors(tmp_path / name, *tensors)
    with pytest.raises(FileNotFoundError, match=message):
        load_components(file, device="cpu")
    with pytest.raises(FileNotFoundError, match="Convert it" if "LoRA" not in message and "textual" not in message else message):
        load_components(tiny, device="cpu", vae=file)
    with pytest.raises(FileNotFoundError, match=r"not a folder here|neither a folder here"):
        load_components(tiny, device="cpu", vae="models/gone.safetensors")


def test_damaged_files(tiny, tmp_path):
    weights = tiny / "vae" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for content, message in [(whole[:5000], "damaged"), (b"", "an empty file"),
                             (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 334643276\n", "git lfs pull")]:
        weights.write_bytes(content)
        with pytest.raises(FileNotFoundError, match=f"cannot load the vae from .*it holds config.json, diffusion.*{message}"):
            load_components(tiny, device="cpu")
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"it holds config\.json"):
        load_components(tiny, device="cpu")


@pytest.mark.parametrize(("file", "message"), [
    ("pytorch_lora_weights.safetensors", "LoRA"), ("learned_embeds.safetensors", "textual inversion"),
    ("diffusion_flax_model.msgpack", "for Flax"), ("model.onnx", "for ONNX"), ("v1-5-pruned.ckpt", "checkpoint in a single file"),
])
def test_folders_of_something_else(tmp_path, file, message):
    (tmp_path / file).write_bytes(b"\x00" * 64)
    with pytest.raises(FileNotFoundError, match=message):
        load_components(tmp_path, device="cpu")


def test_flax_weights_of_one_part(tiny):
    (tiny / "unet" / "diffusion_pytorch_model.safetensors").rename(tiny / "unet" / "diffusion_flax_model.msgpack")
    with pytest.raises(FileNotFoundError, match=r"cannot load the unet .*diffusion_flax_model.msgpack.*for Flax"):
        load_components(tiny, device="cpu")
