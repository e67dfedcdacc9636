"""CLIP's text encoder: a causal transformer that turns L token numbers into L vectors.

    numbers --token and position embedding--> x
    x --(x + attention(norm x), x + mlp(norm x)), layer after layer--> x
    x --norm--> what the U-Net's cross-attention reads

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section 2.4; the norm before
each half is GPT-2's (Radford et al. 2019, section 2.3). Stable Diffusion 1 reads the last of 12 layers of ViT-L/14's text
half (quick-GELU). Stable Diffusion 2 reads the last but one of 24 layers of OpenCLIP's ViT-H/14 (GELU): its published weights
leave the last layer out, and `skip` does the same to a network that has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.nets.blocks import Attention, read_config

USED = {"vocab_size": ..., "hidden_size": ..., "intermediate_size": ..., "num_hidden_layers": ..., "num_attention_heads": ...,
        "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
# From the published names to ours. The first: old files wrap the network once more; the last: it is no weight.
RENAMES = ((r"^text_model\.", ""), (r"^(embeddings|encoder)\.", ""), (r"self_attn", "attention"), (r"(q|k|v|out)_proj", r"\1"),
           (r"layer_norm(\d)", r"norm\1"), (r"mlp\.", ""), (r"final_layer_norm", "norm_out"), (r"^position_ids$", None),
           (r"^text_projection\..*", None))

ACTIVATIONS = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": F.gelu}


class Layer(nn.Module):
    """x -> x + attention(norm(x)), then x -> x + mlp(norm(x)).  (B, L, C) -> (B, L, C)"""

    def __init__(self, o: Any) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(o.hidden_size, o.layer_norm_eps)
        self.attention = Attention(o.hidden_size, o.num_attention_heads, bias=True, causal=True)
        self.norm2 = nn.LayerNorm(o.hidden_size, o.layer_norm_eps)
        self.fc1 = nn.Linear(o.hidden_size, o.intermediate_size)
        self.fc2 = nn.Linear(o.intermediate_size, o.hidden_size)
        self.activation = ACTIVATIONS[o.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))


class TextEncoder(nn.Module):
    """text_encoder(ids) -> vectors.  ids (B, L) int64 -> (B, L, hidden_size)

    config: what text_encoder/config.json says. Raises ValueError for options that CLIP's text encoder does not have.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        o = read_config("text encoder", {name: config.get(name) for name in USED}, USED, {})    # the rest changes no vector
        if o.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act is {o.hidden_act!r}; a text encoder of CLIP has {' or '.join(ACTIVATIONS)}")
        self.token_embedding = nn.Embedding(o.vocab_size, o.hidden_size)
        self.position_embedding = nn.Embedding(o.max_position_embeddings, o.hidden_size)
        self.layers = nn.ModuleList(Layer(o) for _ in range(o.num_hidden_layers))
        self.norm_out = nn.LayerNorm(o.hidden_size, o.layer_norm_eps)

    def forward(self, ids: Tensor, skip: int = 0) -> Tensor:
        """skip: so many of the last layers are left out ("clip skip"); the last norm never is."""
        expect_tokens(ids, len(self.token_embedding.weight), len(self.position_embedding.weight))
        if not 0 <= skip < len(self.layers):
            raise ValueError(f"skip is {skip}; there are {len(self.layers)} layers, and one must be left")
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]      # (B, L, C)
        for layer in self.layers[: len(self.layers) - skip]:
            x = layer(x)
        return self.norm_out(x)


def expect_tokens(ids: Tensor, words: int, places: int) -> None:
    """Raise ValueError, in words, unless ids are (B, L) whole numbers of tokens that an encoder with so many words and places reads."""
    if not torch.is_tensor(ids) or ids.ndim != 2 or ids.is_floating_point():
        raise ValueError("the text encoder reads whole numbers of shape (B, L), from the tokenizer")
    if ids.shape[1] > places:
        raise ValueError(f"{ids.shape[1]} tokens are too many: the text encoder has places for {places}; cut the prompt")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < words:
        raise ValueError(f"token {int(ids.max()) if ids.max() >= words else int(ids.min())} is none of the {words} that the "
                         "text encoder knows: the tokenizer belongs to another model")
