"""The full architecture of Stable Diffusion v1.4, with random weights, down the same path as the small models."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from course.components import Components
from course.stable_diffusion import SD_V1, render_image

# The config.json files of CompVis/stable-diffusion-v1-4, without what equals the classes' defaults.
UNET = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "attention_head_dim": 8, "cross_attention_dim": 768,
}
VAE = {
    "sample_size": 512, "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "norm_num_groups": 32, "scaling_factor": 0.18215,
}
TEXT = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "max_position_embeddings": 77, "projection_dim": 768, "hidden_act": "quick_gelu",
    "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
}


@pytest.mark.slow
def test_stable_diffusion_v1_4_at_full_size(byte_tokenizer):
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        components = Components(AutoencoderKL(**VAE), UNet2DConditionModel(**UNET), byte_tokenizer(77),
                                CLIPTextModel(CLIPTextConfig(**TEXT)), PNDMScheduler(**SD_V1, skip_prk_steps=True))
    vae, unet, _, text_encoder, scheduler = components
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (unet, vae, text_encoder)]
    assert counts == [859_520_964, 83_653_863, 123_060_480]

    two_steps = render_image("a big bruin bear", *components[:4], "ddim", num_steps=2, progress=False)[0]
    wide = render_image("a big bruin bear", *components[:4], scheduler, height=512, width=768, num_steps=1, progress=False)[0]
    for picture, size in [(two_steps, (512, 512)), (wide, (768, 512))]:
        assert isinstance(picture, Image.Image)
        assert picture.size == size
        assert len(set(picture.resize((32, 32)).getdata())) > 100      # a picture, if not one of a bear
