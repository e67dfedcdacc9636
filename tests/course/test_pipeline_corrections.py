"""What StableDiffusionPipeline of the installed diffusers does to the parts it is given, before and during a run, and that
`render_image` gives its picture all the same, or says what is different. In the order of the pipeline's own code."""

from __future__ import annotations

import copy
import json
import shutil
import warnings

import numpy as np
import pytest
import torch

from course.components import diffusers_pipeline, diffusers_scheduler, load_components
from course.render import largest_difference
from course.stable_diffusion import as_in_the_pipeline, picture_size, render_image, spelled_out

pytestmark = pytest.mark.filterwarnings("ignore:at guidance_scale")


@pytest.fixture(scope="module")
def tiny(tiny_model_dir):
    return load_components(tiny_model_dir, device="cpu")


def theirs(parts, scheduler=None, prompt="a bear", **options):
    """A pipeline that is given the very objects, and may spoil them: copies."""
    from diffusers import StableDiffusionPipeline

    parts = copy.deepcopy(parts._replace(scheduler=scheduler or parts.scheduler))
    pipeline = StableDiffusionPipeline(**parts._asdict(), safety_checker=None, feature_extractor=None,
                                       requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(prompt, generator=torch.Generator().manual_seed(42), **{"num_inference_steps": 4, **options}).images


def ours(parts, scheduler, prompt="a bear", **options):
    return render_image(prompt, *parts[:4], scheduler, **{"num_steps": 4, "progress": False, **options})


# ------------------------------------------------------------------------------------------------ __init__


SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize(("name", "options"), [
    ("DDIMScheduler", {}),                                             # clip_sample is True, steps_offset 0 by default
    ("DDIMScheduler", {"clip_sample": True, "steps_offset": 3}),
    ("DDPMScheduler", {}), ("PNDMScheduler", {}), ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 0}),
    ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}), ("LMSDiscreteScheduler", {"steps_offset": 5}),
    ("HeunDiscreteScheduler", {"clip_sample": True}), ("UniPCMultistepScheduler", {"timestep_spacing": "leading"}),
    ("LCMScheduler", {}), ("TCDScheduler", {}), ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
])
def test_steps_offset_and_clip_sample_of_a_scheduler_object(tiny, name, options):
    """Both are overwritten before the run; the caller's object stays as it was."""
    import diffusers

    scheduler = getattr(diffusers, name)(**SCALED, **options)
    before = str(vars(scheduler))
    assert largest_difference(ours(tiny, scheduler), theirs(tiny, scheduler)) <= 1
    assert str(vars(scheduler)) == before


@pytest.mark.parametrize("name", ["ddim", "ddpm", "pndm"])
@pytest.mark.parametrize("config", [{}, {"steps_offset": 0}, {"steps_offset": 7, "clip_sample": True}])
def test_steps_offset_and_clip_sample_of_a_config(tiny, name, config):
    """The same for the model's own scheduler config, whichever sampler then reads it."""
    config = {**SCALED, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True, **config}
    assert largest_difference(ours(tiny, name, schedule=config), theirs(tiny, diffusers_scheduler(name, config))) <= 1


def test_a_schedule_object_is_taken_at_its_word():
    """Corrected is what comes from a config file; a NoiseSchedule is the caller's own."""
    assert as_in_the_pipeline({"steps_offset": 0, "clip_sample": True})["steps_offset"] == 1
    assert as_in_the_pipeline({"steps_offset": 0, "clip_sample": True})["clip_sample"] is False


@pytest.mark.parametrize(("version", "size", "trained"), [
    ("0.8.0.dev0", 32, 64), ("0.8.1", 8, 64), ("0.9.0.dev0", 8, 8), ("0.10.0", 32, 32), ("0.8.0", 96, 96), ("0.6.0", 64, 64),
    ("0.8.0", [16, 8], [16, 8]), (None, 32, 32),
])
def test_sample_size_of_old_unets(tiny_model_dir, tmp_path, version, size, trained):
    """A U-Net config of before 0.9 that says less than 64 is not believed, unless it is a pair."""
    from diffusers import UNet2DConditionModel

    folder = shutil.copytree(tiny_model_dir / "unet", tmp_path / "unet")
    config = json.loads((folder / "config.json").read_text())
    config.pop("_diffusers_version")
    config |= {"sample_size": size} | ({"_diffusers_version": version} if version else {})
    (folder / "config.json").write_text(json.dumps(config))
    parts = load_components(tiny_model_dir, device="cpu", unet=UNet2DConditionModel.from_pretrained(folder))
    height, width = [8 * cells for cells in (trained if isinstance(trained, list) else [trained] * 2)]
    assert picture_size(None, None, parts.unet, parts.vae) == (height, width)
    before = dict(parts.unet.config)
    pipeline = diffusers_pipeline(parts)
    assert pipeline.unet.config.sample_size == (tuple(trained) if isinstance(pipeline.unet.config.sample_size, tuple) else trained)
    assert dict(parts.unet.config) == before                           # diffusers_pipeline gives it a copy


def test_two_sizes_are_not_compared(tiny):
    small, wide = (ours(tiny, "ddim", num_steps=1, width=width) for width in (64, 72))
    with pytest.raises(ValueError, match="two sizes cannot be compared: 64 x 64 and 72 x 64"):
        largest_difference(small, wide)


def test_the_pipeline_leaves_our_parts_alone(tiny):
    """As we make it: also the state of the scheduler, over a whole run."""
    before = str(vars(tiny.scheduler)), dict(tiny.unet.config), dict(tiny.vae.config)
    pipeline = diffusers_pipeline(tiny)
    pipeline("a bear", num_inference_steps=2)
    assert (str(vars(tiny.scheduler)), dict(tiny.unet.config), dict(tiny.vae.config)) == before
    assert next(pipeline.unet.parameters()) is next(tiny.unet.parameters())


# ------------------------------------------------------------------------------------------------ __call__


def test_height_without_width(tiny):
    """The pipeline takes both from the U-Net when one is missing; we keep what was asked for, and `--compare` tells it both."""
    assert theirs(tiny, height=96)[0].size == (64, 64)
    assert ours(tiny, "ddim", height=96)[0].size == (64, 96)


def test_tokens_with_several_vectors(tiny):
    """A textual inversion of several vectors is spelled out: WORD becomes WORD WORD_1 WORD_2. In prompts and negative prompts."""
    parts = copy.deepcopy(tiny)
    words = ["<blob>", "<blob>_1", "<blob>_2"]
    parts.tokenizer.add_tokens(words)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts.text_encoder.resize_token_embeddings(len(parts.tokenizer), mean_resizing=False)
        parts.text_encoder.get_input_embeddings().weight[-3:] = torch.randn(3, 32) * 5
    options = {"negative_prompt": "a <blob>", "guidance_scale": 3.0}
    assert largest_difference(ours(parts, parts.scheduler, "<blob> the <blob>", **options),
                              theirs(parts, prompt="<blob> the <blob>", **options)) <= 1
    assert spelled_out("<blob> on", parts.tokenizer) == "<blob> <blob>_1 <blob>_2 on"
    assert spelled_out("a bear on", parts.tokenizer) == "a bear on"


def test_attention_mask(tiny):
    """A text encoder whose config says use_attention_mask is given the mask, else not."""
    parts = copy.deepcopy(tiny)
    parts.text_encoder.config.use_attention_mask = True
    masked = ours(parts, parts.scheduler)
    assert largest_difference(masked, theirs(parts)) <= 1
    assert largest_difference(masked, ours(tiny, tiny.scheduler)) > 1


def test_the_unets_dtype_is_the_text_encoders(tiny):
    """The noise is drawn in the dtype of the text vectors, which is the text encoder's; the U-Net must have the same there."""
    from course.stable_diffusion import encode_prompts

    assert encode_prompts(["a"], tiny.tokenizer, tiny.text_encoder).dtype == tiny.text_encoder.dtype


@pytest.mark.parametrize("scale", [1.0, 1.5, 7.5])
def test_guidance_from_one_on(tiny, scale):
    assert largest_difference(ours(tiny, tiny.scheduler, guidance_scale=scale), theirs(tiny, guidance_scale=scale)) <= 1


@pytest.mark.parametrize(("scale", "message"), [(0, "the prompt has no influence"), (0.5, "every scale up to 1 as 1")])
def test_guidance_below_one_is_different_and_says_so(tiny, scale, message):
    """The pipeline takes it as 1. Ours is the formula, and a warning."""
    assert largest_difference(theirs(tiny, guidance_scale=scale), theirs(tiny, guidance_scale=1)) == 0
    with pytest.warns(UserWarning, match=message):
        mixed = ours(tiny, "ddim", guidance_scale=scale)
    assert np.any(np.asarray(mixed[0]) != np.asarray(ours(tiny, "ddim", guidance_scale=1)[0]))


def test_what_has_no_influence_is_named(tiny):
    with pytest.warns(UserWarning, match="negative_prompt and guidance_rescale have no influence"):
        ours(tiny, "ddim", guidance_scale=1, negative_prompt="blue", guidance_rescale=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours(tiny, "ddim", guidance_scale=2, negative_prompt="blue")
        ours(tiny, "ddim", guidance_scale=1)


def test_options_that_the_scheduler_does_not_take(tiny):
    """The pipeline drops eta without a word for a class that has none."""
    with pytest.raises(ValueError, match=r"EulerDiscreteScheduler.step takes no eta; it takes .*s_churn"):
        ours(tiny, diffusers_scheduler("euler", SCALED), eta=0.5)


# ------------------------------------------------------------------------------------------------ the model's own schedule


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m"])
def test_the_model_knows_how_it_was_trained(tiny_model_dir, tmp_path, name):
    """`render_image(p, *load_components(model)[:4], NAME)` leaves the scheduler out; a v-prediction model stays one."""
    folder = shutil.copytree(tiny_model_dir, tmp_path / "v")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prediction_type": "v_prediction", "beta_end": 0.02}))
    parts = load_components(folder, device="cpu")
    right = theirs(parts, diffusers_scheduler(name, parts.scheduler.config))
    assert largest_difference(ours(parts, name), right) <= 1
    assert largest_difference(ours(parts, name, schedule={**SCALED}), right) > 20


def test_a_config_without_betas_is_no_noise_schedule(tiny_model_dir, tmp_path):
    folder = shutil.copytree(tiny_model_dir, tmp_path / "flow")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}))
    (folder / "model_index.json").unlink()
    parts = load_components(folder, device="cpu")
    with pytest.raises(ValueError, match="euler walks a schedule of betas, and this model is a flow: take flow_euler"):
        ours(parts, "euler")
    with pytest.raises(ValueError, match="EDMEulerScheduler says nothing about betas"):
        ours(parts, "euler", schedule={"_class_name": "EDMEulerScheduler", "sigma_max": 80.0})
