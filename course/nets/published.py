"""The config.json files of Stable Diffusion 1.4 and 2.1, without what equals the classes' defaults: sizes to count and to test with.

CompVis/stable-diffusion-v1-4 and stabilityai/stable-diffusion-2-1 on the hub; their autoencoders have the same layout. Any of
them is what `UNet`, `Autoencoder` or `TextEncoder` takes, and diffusers' or transformers' class of that part, too.
"""

from __future__ import annotations

from typing import Any

UNET_1: dict[str, Any] = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "attention_head_dim": 8, "cross_attention_dim": 768,
}
UNET_2 = {**UNET_1, "sample_size": 96, "attention_head_dim": (5, 10, 20, 20), "cross_attention_dim": 1024,
          "use_linear_projection": True, "upcast_attention": True}
VAE: dict[str, Any] = {
    "sample_size": 512, "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "norm_num_groups": 32, "scaling_factor": 0.18215,
}
TEXT_1: dict[str, Any] = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "max_position_embeddings": 77, "projection_dim": 768, "hidden_act": "quick_gelu",
    "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
}
TEXT_2 = {**TEXT_1, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
          "projection_dim": 512, "hidden_act": "gelu"}
