"""The shipped model folder: whole, laid out like Stable Diffusion v1.4, and it draws what it is asked for."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from course import emoji
from course.emoji.data import Scene, caption

WEIGHTS = emoji.WEIGHTS


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(WEIGHTS, tmp_path / "weights")


def test_every_file_has_a_sum_and_every_sum_a_file():
    count = emoji.verify()
    assert count == sum(f.is_file() and f.name != emoji.SUMS for f in WEIGHTS.rglob("*"))
    assert emoji.folder() == WEIGHTS


def test_everything_together_is_small():
    assert sum(f.stat().st_size for f in WEIGHTS.rglob("*") if f.is_file()) <= 40e6


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt", "vae/config.json"])
def test_a_damaged_or_missing_file_is_named(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name} is damaged.*git checkout"):
        emoji.verify(copy)
    (copy / name).write_bytes(data[:-1])
    with pytest.raises(ValueError, match="damaged"):
        emoji.verify(copy)
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing"):
        emoji.verify(copy)


@pytest.mark.parametrize(("text", "message"), [("", "empty"), ("abc  unet\n", "line 1"), (f"{'0' * 64} unet\n", "line 1")])
def test_damaged_sums_are_noticed(copy, text, message):
    (copy / emoji.SUMS).write_text(text)
    with pytest.raises(ValueError, match=message):
        emoji.verify(copy)


def test_no_model_at_all_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="course train emoji"):
        emoji.verify(tmp_path)


def test_looking_for_the_model_loads_no_torch():
    code = "import sys, course.emoji; course.emoji.folder(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_layout_is_that_of_stable_diffusion():
    index = json.loads((WEIGHTS / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert {k: v for k, v in index.items() if isinstance(v, list) and v[0]} == {
        "vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"]}
    scheduler = json.loads((WEIGHTS / "scheduler" / "scheduler_config.json").read_text())
    for key, value in {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
                       "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
                       "steps_offset": 1}.items():
        assert scheduler[key] == value
    for part in ("vae", "unet"):
        assert (WEIGHTS / part / "diffusion_pytorch_model.safetensors").exists()


def test_diffusers_own_pipeline_takes_the_folder():
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(emoji.folder(), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    assert {p.dtype for m in (pipe.unet, pipe.vae, pipe.text_encoder) for p in m.parameters()} == {torch.float32}
    picture = pipe("a large apple on a blue background", num_inference_steps=2).images[0]
    assert picture.size == (64, 64)


def test_the_latents_have_deviation_one():
    from course.components import load_components
    from course.lab.evaluate import draw_scenes

    vae = load_components("emoji", device="cpu").vae
    with torch.no_grad():
        z = vae.encode(draw_scenes("scale", 32)[1]).latent_dist.mean * vae.config.scaling_factor
    assert z.std().item() == pytest.approx(1, abs=0.05)


def test_it_draws_what_it_is_asked_for():
    """Sixteen pictures in ten steps: a quick version of the figures in MODEL_CARD.md."""
    from course.components import load_components
    from course.emoji.probe import load_probe, verdicts
    from course.emoji.train import sample

    scenes = [Scene((name,), None, colour, "large") for name, colour in (
        ("apple", "blue"), ("bear", "green"), ("rocket", "yellow"), ("tree", "white"), ("panda", "red"), ("frog", "pink"),
        ("ghost", "black"), ("car", "grey"))] + [
        Scene(("bear", "pizza"), "above", "white"), Scene(("cat", "rocket"), "left of", "pink"),
        Scene(("camera", "tree"), "left of", "white"), Scene(("moon", "house"), "above", "black"),
        Scene(("apple", "banana"), "left of", "blue"), Scene(("panda", "car"), "above", "green"),
        Scene(("sunflower", "cactus"), "left of", "red"), Scene(("crown", "lion"), "above", "yellow")]
    parts = load_components("emoji", device="cpu", dtype="float32")
    pictures = sample([caption(s) for s in scenes], parts.vae, parts.unet, parts.tokenizer, parts.text_encoder, steps=10,
                      guidance=3.0, seed=3)
    right = verdicts(load_probe(), pictures, scenes)
    assert right["colour"].sum() >= 15
    assert right["all"].sum() >= 11
