"""`render_image` beside StableDiffusionPipeline, on a small model of the same classes; and what it does with bad input."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch

from course.components import diffusers_pipeline, diffusers_scheduler
from course.samplers import SAMPLERS, TAUGHT
from course.stable_diffusion import load_components, render_image, trace_strip

PROMPTS = ["a bear", "the dog on the hill", "x"]


@pytest.fixture(scope="module")
def tiny(tiny_model_dir):
    return load_components(tiny_model_dir, device="cpu")


def render(prompt, components, scheduler, **options):
    vae, unet, tokenizer, text_encoder, _ = components
    options = {"num_steps": 4, "progress": False, **options}
    return render_image(prompt, vae, unet, tokenizer, text_encoder, scheduler, **options)


def diffusers(components, scheduler, prompt, seed, **options):
    """The pipeline's pictures; seed may be a list."""
    pipeline = diffusers_pipeline(components, scheduler)
    generator = [torch.Generator().manual_seed(each) for each in ([seed] if isinstance(seed, int) else seed)]
    generator = generator[0] if isinstance(seed, int) else generator
    return pipeline(prompt, generator=generator, **{"num_inference_steps": 4, **options}).images


def assert_same_pictures(ours, theirs):
    """Identical, but for one grey level in fewer than one value in a thousand, where sums are taken in another order."""
    assert [image.size for image in ours] == [image.size for image in theirs]
    a, b = (np.stack([np.asarray(image, dtype=int) for image in images]) for images in (ours, theirs))
    assert a.std() > 10                                                # a picture, not a flat field
    assert np.abs(a - b).max() <= 1
    assert (a != b).mean() < 1e-3


# ------------------------------------------------------------------------------------------------ the same picture


@pytest.mark.parametrize("guidance", [1, 7.5])
@pytest.mark.parametrize(("size", "count"), [((64, 64), 1), ((64, 96), 3), ((80, 48), 1)])
@pytest.mark.parametrize("name", TAUGHT)
def test_same_picture_as_the_pipeline(tiny, name, size, count, guidance):
    height, width = size
    common = {"height": height, "width": width, "guidance_scale": guidance}
    theirs = diffusers(tiny, name, PROMPTS[:count], 3, num_inference_steps=5, **common)
    assert_same_pictures(render(PROMPTS[:count], tiny, name, num_steps=5, seed=3, **common), theirs)
    scheduler = diffusers_scheduler(name, tiny.scheduler.config)
    before = str(vars(scheduler))
    assert_same_pictures(render(PROMPTS[:count], tiny, scheduler, num_steps=5, seed=3, **common), theirs)
    assert str(vars(scheduler)) == before                             # it was copied, not used up


def test_the_scheduler_makes_a_difference(tiny):
    """Otherwise the test above could compare any two samplers."""
    pictures = [np.asarray(render("a bear", tiny, name, num_steps=5)[0], dtype=int) for name in TAUGHT]
    differ = [np.abs(a - b).max() for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(differ) > 1


@pytest.mark.parametrize("name", ["ddim", "ddpm", "euler_ancestral"])
def test_one_seed_per_picture(tiny, name):
    theirs = diffusers(tiny, name, PROMPTS, [5, 6, 7])
    ours = render(PROMPTS, tiny, name, seed=[5, 6, 7])
    assert_same_pictures(ours, theirs)
    alone = render(PROMPTS[1], tiny, name, seed=6)
    assert_same_pictures(alone, ours[1:2])                            # in whatever batch


def test_seeds_and_prompts_pair_up(tiny):
    a, b = render("a bear", tiny, "ddim", seed=[1, 2])
    assert_same_pictures([a], render("a bear", tiny, "ddim", seed=1))
    assert np.any(np.asarray(a) != np.asarray(b))
    same = render(["a bear", "a bear"], tiny, "ddim", seed=[1])
    assert_same_pictures(same[:1], same[1:])
    other = render(["a bear", "a bear"], tiny, "ddim", seed=1)        # one stream for both
    assert np.any(np.asarray(other[0]) != np.asarray(other[1]))


@pytest.mark.parametrize("negative", ["blue", ["blue", "red", ""]])
def test_negative_prompt_and_rescale(tiny, negative):
    common = {"guidance_scale": 9.0, "guidance_rescale": 0.7}
    theirs = diffusers(tiny, "ddim", PROMPTS, 0, negative_prompt=[negative] * 3 if negative == "blue" else negative, **common)
    ours = render(PROMPTS, tiny, "ddim", negative_prompt=negative, seed=0, **common)
    assert_same_pictures(ours, theirs)
    plain = render(PROMPTS, tiny, "ddim", seed=0, **common)
    assert np.any(np.asarray(plain[0]) != np.asarray(ours[0]))


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m"])
def test_v_prediction(tiny, name):
    config = {**tiny.scheduler.config, "prediction_type": "v_prediction"}
    config["_use_default_values"] = ["timestep_spacing"]
    theirs = diffusers(tiny, diffusers_scheduler(name, config), "a bear", 0)
    ours = render("a bear", tiny, name, seed=0, schedule=config)
    assert_same_pictures(ours, theirs)
    eps = render("a bear", tiny, name, seed=0)
    assert np.any(np.asarray(eps[0]) != np.asarray(ours[0]))


def test_ddim_with_eta(tiny):
    theirs = diffusers(tiny, "ddim", "a bear", 0, eta=0.5)
    assert_same_pictures(render("a bear", tiny, "ddim", seed=0, eta=0.5), theirs)
    scheduler = diffusers_scheduler("ddim", tiny.scheduler.config)
    assert_same_pictures(render("a bear", tiny, scheduler, seed=0, eta=0.5), theirs)


def test_guidance_zero_is_the_negative_prompt_alone(tiny):
    """diffusers renders the prompt unguided here, as for any scale up to 1; the formula leaves only the negative prompt."""
    ours = render("a bear", tiny, "ddim", guidance_scale=0, negative_prompt="blue")
    assert_same_pictures(ours, render("blue", tiny, "ddim", guidance_scale=1))
    theirs = [diffusers(tiny, "ddim", "a bear", 42, guidance_scale=scale) for scale in (0, 1)]
    assert_same_pictures(*theirs)


def test_guidance_one_costs_one_network_call_per_step(tiny):
    batches = []
    hook = tiny.unet.register_forward_pre_hook(lambda module, args: batches.append(len(args[0])))
    try:
        render(["a", "b"], tiny, "ddim", guidance_scale=1)
        render(["a", "b"], tiny, "ddim", guidance_scale=2)
    finally:
        hook.remove()
    assert batches == [2] * 4 + [4] * 4


# ------------------------------------------------------------------------------------------------ other components


def test_small_autoencoder(tiny):
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    vae = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                          num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4).eval()
    components = tiny._replace(vae=vae)
    theirs = diffusers(components, "euler", "a bear", 0)
    ours = render("a bear", components, "euler", seed=0)
    a, b = (np.asarray(images[0], dtype=int) for images in (ours, theirs))
    assert a.shape == (64, 64, 3)
    assert np.abs(a - b).max() <= 1


@pytest.fixture(scope="module")
def bert_dir(tmp_path_factory, tiny):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    BertModel(BertConfig(vocab_size=600, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                         max_position_embeddings=12)).save_pretrained(folder)
    return folder


def test_another_text_encoder(tiny, tiny_model_dir, bert_dir):
    """BERT's last hidden layer in the place of CLIP's; a prompt is padded to what BERT can hold."""
    components = load_components(tiny_model_dir, device="cpu", text_encoder=bert_dir)
    assert type(components.text_encoder).__name__ == "BertModel"
    contexts = []
    hook = components.unet.register_forward_pre_hook(
        lambda module, args, kwargs: contexts.append(kwargs["encoder_hidden_states"]), with_kwargs=True)
    try:
        picture = render("a bear", components, "ddim", guidance_scale=1)[0]
    finally:
        hook.remove()
    tokens = tiny.tokenizer(["a bear"], padding="max_length", max_length=12, return_tensors="pt").input_ids
    torch.testing.assert_close(contexts[0], components.text_encoder(tokens).last_hidden_state)
    assert np.any(np.asarray(picture) != np.asarray(render("a bear", tiny, "ddim", guidance_scale=1)[0]))


def test_replacements_by_object_folder_and_subfolder(tiny, tiny_model_dir):
    from diffusers import DDIMScheduler

    vae = copy.deepcopy(tiny.vae)
    loaded = load_components(tiny_model_dir, device="cpu", vae=vae, unet=str(tiny_model_dir / "unet"),
                             text_encoder=tiny_model_dir, scheduler=DDIMScheduler())
    assert loaded.vae is vae
    assert isinstance(loaded.scheduler, DDIMScheduler)
    for ours, theirs in [(loaded.unet, tiny.unet), (loaded.text_encoder, tiny.text_encoder)]:
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_replacement_keeps_its_dtype(tiny, tiny_model_dir):
    """The cure for a VAE that overflows in float16 is a VAE in float32, so loading must not turn it back."""
    loaded = load_components(tiny_model_dir, device="cpu", dtype="float16", vae=copy.deepcopy(tiny.vae))
    assert loaded.unet.dtype == loaded.text_encoder.dtype == torch.float16
    assert loaded.vae.dtype == torch.float32
    picture = render("a bear", loaded, "euler")[0]                    # the parts work together all the same
    exact = render("a bear", tiny, "euler")[0]
    assert np.abs(np.asarray(picture, dtype=int) - np.asarray(exact, dtype=int)).mean() < 4


def test_loads_what_the_folder_says(tiny, tiny_model_dir):
    names = ["AutoencoderKL", "UNet2DConditionModel", "CLIPTokenizer", "CLIPTextModel", "PNDMScheduler"]
    assert [type(part).__name__ for part in tiny] == names
    for part in tiny:
        if isinstance(part, torch.nn.Module):
            assert not part.training
            assert part.dtype == torch.float32
            assert part.device.type == "cpu"
            assert not any(weight.requires_grad for weight in part.parameters())


# ------------------------------------------------------------------------------------------------ parts that do not fit


@pytest.mark.parametrize(("kind", "config", "message"), [
    ("unet", {"cross_attention_dim": 24}, "vectors of width 32 but the U-Net's cross-attention reads width 24"),
    ("unet", {"in_channels": 8}, "latent has 4 channels but the U-Net's in_channels is 8"),
    ("unet", {"addition_embed_type": "text_time"}, "wants more than a prompt"),
    ("vae", {"latent_channels": 16}, "latent has 16 channels"),
    ("vae", {"scaling_factor": 0}, "scaling_factor is 0"),
    ("text_encoder", {"vocab_size": 99}, "519 tokens but the text encoder has vectors for only 99"),
])
def test_misfits_are_named(tiny, kind, config, message):
    part = copy.deepcopy(getattr(tiny, kind))
    if kind == "text_encoder":
        part.config.update(config)
    else:
        part.register_to_config(**config)
    broken = tiny._replace(**{kind: part})
    with pytest.raises(ValueError, match=message):
        render("a bear", broken, "ddim")
    with pytest.raises(ValueError, match=message):
        load_components("anything", device="cpu", **broken._asdict())


def test_parts_in_the_wrong_order(tiny):
    with pytest.raises(ValueError, match="the order is vae, unet, tokenizer, text_encoder, scheduler"):
        render_image("a bear", tiny.unet, tiny.vae, tiny.tokenizer, tiny.text_encoder, "ddim")


def test_what_cannot_be_loaded(tmp_path, tiny_model_dir):
    with pytest.raises(FileNotFoundError, match=r"not a whole model.*vae"):
        load_components(tmp_path, device="cpu")
    with pytest.raises(FileNotFoundError, match="did you mean 'emoji'"):
        load_components("emojis")
    with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE is set"):
        load_components("nobody/has-this-model", device="cpu")
    with pytest.raises(FileNotFoundError, match=r"vae at 'nowhere'"):
        load_components(tiny_model_dir, device="cpu", vae="nowhere")
    with pytest.raises(ValueError, match="no component clip"):
        load_components(tiny_model_dir, clip="x")
    with pytest.raises(ValueError, match="device 'tpu'"):
        load_components(tiny_model_dir, device="tpu")
    with pytest.raises(ValueError, match="unknown dtype 'half'"):
        load_components(tiny_model_dir, device="cpu", dtype="half")
    for kind in ("vae", "unet", "tokenizer", "text_encoder", "scheduler"):
        (tmp_path / kind).mkdir()
    with pytest.raises(FileNotFoundError, match="incomplete or damaged"):
        load_components(tmp_path, device="cpu")


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(("options", "message"), [
    ({"height": 60}, "height 60 is not a multiple of 8, the VAE's factor; 56 and 64 are"),
    ({"width": 100.0}, "width must be a whole number"),
    ({"width": 0}, "width must be a whole number"),
    ({"num_steps": 0}, "num_steps must be a whole number from 1 to 1000; got 0"),
    ({"num_steps": 1001}, "num_steps"),
    ({"num_steps": 2.5}, "num_steps"),
    ({"seed": -1}, "seed must be a whole number"),
    ({"seed": True}, "seed must be a whole number"),
    ({"seed": []}, "do not pair"),
    ({"seed": [1, 2], "prompt": ["a", "b", "c"]}, "3 prompts and 2 seeds do not pair"),
    ({"prompt": []}, "prompt must be a string or a list of strings, at least one"),
    ({"prompt": [3]}, "prompt must be a string"),
    ({"prompt": None}, "prompt must be a string"),
    ({"negative_prompt": ["a", "b"]}, "2 negative prompts for 1 pictures"),
    ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
    ({"guidance_rescale": 2}, "guidance_rescale is a share"),
    ({"scheduler": "dpm++"}, r"unknown sampler 'dpm\+\+', did you mean 'ddpm'"),
    ({"scheduler": "Eular"}, "did you mean 'euler'"),
    ({"scheduler": 3}, "must be the name of a sampler or a diffusers scheduler; got a int"),
])
def test_bad_arguments(tiny, options, message):
    options = {"prompt": "a bear", "scheduler": "ddim", **options}
    with pytest.raises(ValueError, match=message):
        render(options.pop("prompt"), tiny, options.pop("scheduler"), **options)


def test_long_prompts_are_cut_and_said_so(tiny):
    long = "the bear " * 5 + "zebra"
    with pytest.warns(UserWarning, match="this part is ignored: .*z e b r a|this part is ignored: .*zebra"):
        cut = render(long, tiny, "ddim")
    assert_same_pictures(cut, diffusers(tiny, "ddim", long, 42))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render("a bear", tiny, "ddim")


@pytest.mark.parametrize(("kind", "weight", "message"), [
    ("unet", "conv_out.weight", r"the U-Net answered NaN or infinity at t = 751\. Its weights"),
    ("vae", "decoder.conv_out.weight", "the VAE decoded the latent to NaN or infinity; its weights"),
])
def test_nan_is_named(tiny, kind, weight, message):
    part = copy.deepcopy(getattr(tiny, kind))
    part.get_parameter(weight).data[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match=message):
        render("a bear", tiny._replace(**{kind: part}), "ddim")


def test_float16_vae_is_named(tiny):
    vae = copy.deepcopy(tiny.vae).half()
    vae.decoder.conv_out.weight.data.mul_(6e4)
    with pytest.raises(FloatingPointError, match=r"float16, which is the usual cause: give it float32"):
        render("a bear", tiny._replace(vae=vae), "ddim")


# ------------------------------------------------------------------------------------------------ side effects and hooks


def test_the_global_random_state_is_left_alone(tiny):
    before = torch.get_rng_state()
    np_before = np.random.get_state()[1].copy()
    for name in ("ddpm", diffusers_scheduler("euler_ancestral", tiny.scheduler.config)):
        render("a bear", tiny, name)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], np_before)
    torch.rand(1)
    a = render("a bear", tiny, "ddpm")
    assert_same_pictures(a, render("a bear", tiny, "ddpm"))           # and does not matter


@pytest.mark.parametrize(("name", "calls"), [("ddim", 4), ("pndm", 5), ("heun", 7)])
def test_callback_sees_every_model_call(tiny, name, calls):
    seen = []
    render("a bear", tiny, name, callback=lambda i, t, x: seen.append((i, t, x.shape)))
    assert [i for i, _, _ in seen] == list(range(calls))
    assert seen[0][2] == (1, 4, 8, 8)
    theirs = []
    scheduler = diffusers_scheduler(name, tiny.scheduler.config)
    render("a bear", tiny, scheduler, callback=lambda i, t, x: theirs.append((i, t, x.shape)))
    assert seen == theirs


def test_a_callback_cannot_change_the_picture(tiny):
    def vandal(i, t, x):
        x.zero_()

    assert_same_pictures(render("a bear", tiny, "ddim", callback=vandal), render("a bear", tiny, "ddim"))


def test_what_is_handed_out_are_ordinary_tensors(tiny):
    kept, trace = [], []
    render("a bear", tiny, "ddim", callback=lambda i, t, x: kept.append(x), trace=trace)
    for x in (*kept, trace[0].x, trace[0].x0):
        (x.requires_grad_() ** 2).sum().backward()
        assert x.grad.shape == x.shape


def test_trace(tiny):
    ours, theirs = [], []
    picture = render("a bear", tiny, "euler", trace=ours)
    render("a bear", tiny, diffusers_scheduler("euler", tiny.scheduler.config), trace=theirs)
    assert [s.t for s in ours] == [s.t for s in theirs] == [999, 666, 333, 0]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.x, b.x, atol=5e-4, rtol=1e-4)
        torch.testing.assert_close(a.x0, b.x0, atol=5e-3, rtol=1e-4)  # divided by alpha, 0.07 at the start
    from course.stable_diffusion import decode

    with torch.no_grad():
        assert_same_pictures(decode(ours[-1].x0, tiny.vae), picture)  # Euler ends on the last prediction
        strip = trace_strip(ours, tiny.vae, columns=3)
    assert strip.width >= 3 * 64
    assert strip.height > 2 * 64
    with pytest.raises(ValueError, match="the trace is empty"):
        trace_strip([], tiny.vae)


def test_interrupting_passes_through(tiny):
    def interrupt(i, t, x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render("a bear", tiny, "ddim", callback=interrupt)


def test_latents_are_not_clipped():
    """A PNDM scheduler made in code has no clip_sample, and diffusers' DDPM and DDIM would clip latents to [-1, 1]."""
    from diffusers import PNDMScheduler

    config = PNDMScheduler(skip_prk_steps=True).config
    assert not any(diffusers_scheduler(name, config).config.get("clip_sample", False) for name in SAMPLERS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_in_float16(tiny, tiny_model_dir):
    there = load_components(tiny_model_dir)
    assert there.unet.dtype == torch.float16
    assert there.unet.device.type == "cuda"
    for name in TAUGHT:
        picture = np.asarray(render("a bear", there, name)[0], dtype=int)
        exact = np.asarray(render("a bear", tiny, name)[0], dtype=int)
        assert np.abs(picture - exact).mean() < 4                      # the same noise, so the same picture but for rounding
