"""Chapter 9, the networks: blocks that the shipped weights fit into. `course check ch09_networks`. Do not change your arguments.

`weights` are always a dict, name -> tensor, with the names that the published files have. A linear layer is
x @ weight.T + bias, or torch.nn.functional.linear(x, weight, bias); a convolution torch.nn.functional.conv2d.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bpe_merge(symbols: list, merges: list) -> list:
    """Byte-pair encoding of one word (Sennrich et al. 2016, section 3.2): join neighbours until no pair is known.

    symbols   the word's letters, the last with its mark: ["b", "e", "a", "r</w>"]
    merges    pairs in the order in which they were learned: [["b", "e"], ["e", "a"], ...]

    Of all the neighbours that are in `merges`, the pair learned FIRST is joined, wherever it occurs, from left to right (of
    "a a a" the first two). Then the same again. Returns the symbols that are left, as a new list.
    """
    raise NotImplementedError


def token_ids(words: list, merges: list, vocabulary: dict, length: int) -> list:
    """What the text encoder reads of a prompt: `length` whole numbers.

    words        the prompt's words, lower case, letters of ASCII only: ["a", "bear"]
    vocabulary   symbol -> number, "<|startoftext|>" and "<|endoftext|>" among them

    The start, the words' symbols (yours: `bpe_merge`; the last letter of a word carries "</w>"), the end; then the end's number
    again up to `length`. If that is too much, words' symbols are lost behind, never the end mark.
    """
    raise NotImplementedError


def causal_attention(x: Tensor, weights: dict, heads: int) -> Tensor:
    """The attention of CLIP's text encoder: a token takes from itself and from those before it.

    weights: q_proj, k_proj, v_proj, out_proj, each with .weight (C, C) and .bias (C,). Head h owns the channels
    h * C / heads ... (h + 1) * C / heads - 1; the scores are divided by the root of its width.  x (B, L, C) -> (B, L, C)
    """
    raise NotImplementedError


def resnet_block(x: Tensor, time: Tensor, weights: dict, groups: int) -> Tensor:
    """A ResNet block of the U-Net, told the time.

        h = conv1(silu(norm1(x)))
        h = h + time_emb_proj(silu(time)), the same at every place
        result = skip(x) + conv2(silu(norm2(h)))

    norm1, norm2: group norm with `groups` groups and eps 1e-5. conv1, conv2: 3 x 3, padding 1. skip: the 1 x 1 convolution
    conv_shortcut if there are weights for it, else nothing.  x (B, C, h, w), time (B, T) -> (B, C', h, w)
    """
    raise NotImplementedError


def cross_attention(x: Tensor, context: Tensor, weights: dict, heads: int) -> Tensor:
    """How the picture reads the prompt: places ask, tokens answer.

    weights: to_q.weight (C, C), to_k.weight and to_v.weight (C, D), no biases; to_out.0.weight (C, C) and to_out.0.bias (C,).
    Heads as in `causal_attention`, no mask.  x (B, N, C), context (B, L, D) -> (B, N, C)
    """
    raise NotImplementedError


def geglu(x: Tensor, weights: dict) -> Tensor:
    """The feed-forward layer of the U-Net's transformers (Shazeer 2020, eq. 6, with one matrix for both halves).

    net.0.proj makes 8 C channels of C: the first half is the value, the second the gate. value * gelu(gate), the exact GELU,
    goes through net.2 back to C channels.  x (B, N, C) -> (B, N, C)
    """
    raise NotImplementedError


def down_and_up(x: Tensor, levels: int, layers: int, down, halve, middle, up, double) -> Tensor:
    """The frame of the U-Net: what the way down makes is kept, and laid beside the way up. x: what the first convolution made.

    down(level, i, x)    block i = 0 ... layers - 1 of a level, 0 the finest; halve(level, x), on all levels but the last
    middle(x)
    up(level, i, x)      block i = 0 ... layers, coarsest level first; double(level, x), on all levels but the finest

    Kept are: x itself, what each block of the way down makes, and each halved picture. Every block of the way up is given its
    input and, behind it along the channels, what was kept last and is not used yet. Returns what the last block makes.
    """
    raise NotImplementedError


def sample_latent(moments: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    """From what the encoder says to a latent for the diffusion (Kingma and Welling 2014, section 2.4).

    moments (B, 2 C, h, w): means, then log VARIANCES, which are kept between -30 and 20. A draw from that normal is made of
    `noise` (B, C, h, w), standard normal, in such a way that gradients pass; and then the scaling.  -> (B, C, h, w)
    """
    raise NotImplementedError


def adaln_zero(x: Tensor, time: Tensor, weights: dict, attention, mlp) -> Tensor:
    """A block of a diffusion transformer (Peebles and Xie 2023, section 3.2): the time says how much of everything.

    linear(silu(time)) is six pieces of C channels: shift, scale, gate for the attention, then shift, scale, gate for the mlp.

        x + gate * attention(norm(x) * (1 + scale) + shift),   then the same with the mlp

    norm: layer norm over the channels without weights, eps 1e-6. attention(x) and mlp(x) are given.
    weights: linear.weight (6 C, T), linear.bias (6 C,).  x (B, N, C), time (B, T) -> (B, N, C)
    """
    raise NotImplementedError


def word_map(shares: list, positions: list, height: int, width: int) -> Tensor:
    """Where in the picture a word is looked at.

    shares      one tensor (heads, N, L) per layer: how much place n takes from token l. N = h w places row by row, of a grid
                with the proportions of height x width, height / h the same whole number as width / w
    positions   the places of the word's tokens in the prompt

    For each layer: the mean over the heads, the sum over the word's tokens, put back on the grid, each cell repeated to fill
    height x width. Returns the mean over the layers, (height, width).
    """
    raise NotImplementedError
