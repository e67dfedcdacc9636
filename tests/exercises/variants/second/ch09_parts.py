import numpy as np
import torch
import torch.nn.functional as F


def timestep_embedding(t, dim, max_period=10000.0):
    half = dim // 2
    frequencies = torch.tensor([max_period ** (-k / half) for k in range(half)])
    angles = torch.outer(t.to(torch.float32), frequencies)
    result = torch.empty(len(t), dim)
    result[:, :half] = angles.cos()
    result[:, half:] = angles.sin()
    return result


def attention(query, key, value):
    scores = torch.einsum("bnd,bmd->bnm", query, key) * query.shape[-1] ** -0.5
    scores = scores - scores.max(dim=-1, keepdim=True).values
    weights = scores.exp()
    return torch.bmm(weights / weights.sum(-1, keepdim=True), value)


def multi_head_attention(query, key, value, heads):
    def split(x):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    out = F.scaled_dot_product_attention(split(query), split(key), split(value))
    return out.transpose(1, 2).flatten(2)


def latent_shape(height, width, batch=1, channels=4, factor=8):
    if height < 1 or height % factor:
        raise ValueError(f"height {height}")
    if width < 1 or width % factor:
        raise ValueError(f"width {width}")
    return batch, channels, int(height / factor), int(width / factor)


def memory_ratio(image_shape, latent_shape):
    return float(np.prod(image_shape) / np.prod(latent_shape))


def encode_prompts(tokenizer, text_encoder, prompts):
    ids = tokenizer(list(prompts), return_tensors="pt", truncation=True, padding="max_length",
                    max_length=tokenizer.model_max_length).input_ids
    answer = text_encoder(ids)
    return answer.last_hidden_state
