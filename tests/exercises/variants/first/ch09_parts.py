import math

import torch


def timestep_embedding(t, dim, max_period=10000.0):
    half = dim // 2
    k = torch.arange(half, dtype=torch.float32)
    frequencies = torch.exp(-math.log(max_period) * k / half)
    angles = t[:, None].float() * frequencies[None]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)


def attention(query, key, value):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    weights = torch.softmax(scores, dim=-1)
    return weights @ value


def multi_head_attention(query, key, value, heads):
    width = query.shape[-1] // heads
    outputs = []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        outputs.append(attention(query[..., part], key[..., part], value[..., part]))
    return torch.cat(outputs, dim=-1)


def latent_shape(height, width, batch=1, channels=4, factor=8):
    for name, side in (("height", height), ("width", width)):
        if side <= 0 or side % factor != 0:
            raise ValueError(f"{name} must be a positive multiple of {factor}; got {side}")
    return (batch, channels, height // factor, width // factor)


def memory_ratio(image_shape, latent_shape):
    return math.prod(image_shape) / math.prod(latent_shape)


def encode_prompts(tokenizer, text_encoder, prompts):
    tokens = tokenizer(prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
    return text_encoder(tokens.input_ids).last_hidden_state
