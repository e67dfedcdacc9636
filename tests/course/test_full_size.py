"""The full architecture of Stable Diffusion v1.4, with random weights, down the same path as the small models."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from course.components import Components
from course.nets.published import TEXT_1, UNET_1, VAE
from course.stable_diffusion import SD_V1, render_image


@pytest.mark.slow
def test_stable_diffusion_v1_4_at_full_size(byte_tokenizer):
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        components = Components(AutoencoderKL(**VAE), UNet2DConditionModel(**UNET_1), byte_tokenizer(77),
                                CLIPTextModel(CLIPTextConfig(**TEXT_1)), PNDMScheduler(**SD_V1))
    vae, unet, _, text_encoder, scheduler = components
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (unet, vae, text_encoder)]
    assert counts == [859_520_964, 83_653_863, 123_060_480]

    two_steps = render_image("a big bruin bear", *components[:4], "ddim", num_steps=2, progress=False)[0]
    wide = render_image("a big bruin bear", *components[:4], scheduler, height=512, width=768, num_steps=1, progress=False)[0]
    for picture, size in [(two_steps, (512, 512)), (wide, (768, 512))]:
        assert isinstance(picture, Image.Image)
        assert picture.size == size
        assert len(set(picture.resize((32, 32)).getdata())) > 100      # a picture, if not one of a bear
