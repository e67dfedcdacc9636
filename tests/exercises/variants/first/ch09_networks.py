import math

import torch
import torch.nn.functional as F


def bpe_merge(symbols, merges):
    rank = {tuple(pair): i for i, pair in enumerate(merges)}
    symbols = list(symbols)
    while True:
        pairs = [pair for pair in zip(symbols, symbols[1:]) if pair in rank]
        if not pairs:
            return symbols
        best = min(pairs, key=rank.get)
        joined, i = [], 0
        while i < len(symbols):
            if tuple(symbols[i:i + 2]) == best:
                joined.append(symbols[i] + symbols[i + 1])
                i += 2
            else:
                joined.append(symbols[i])
                i += 1
        symbols = joined


def token_ids(words, merges, vocabulary, length):
    ids = []
    for word in words:
        letters = list(word)
        letters[-1] += "</w>"
        ids += [vocabulary[symbol] for symbol in bpe_merge(letters, merges)]
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    ids = [start] + ids[:length - 2] + [end]
    return ids + [end] * (length - len(ids))


def split(y, heads):
    B, N, C = y.shape
    return y.reshape(B, N, heads, C // heads).transpose(1, 2)


def causal_attention(x, weights, heads):
    q, k, v = (split(F.linear(x, weights[f"{n}_proj.weight"], weights[f"{n}_proj.bias"]), heads) for n in "qkv")
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, -math.inf)
    mixed = scores.softmax(-1) @ v
    mixed = mixed.transpose(1, 2).flatten(2)
    return F.linear(mixed, weights["out_proj.weight"], weights["out_proj.bias"])


def resnet_block(x, time, weights, groups):
    def norm(name, y):
        return F.group_norm(y, groups, weights[name + ".weight"], weights[name + ".bias"], eps=1e-5)

    def conv(name, y, padding=1):
        return F.conv2d(y, weights[name + ".weight"], weights[name + ".bias"], padding=padding)

    h = conv("conv1", F.silu(norm("norm1", x)))
    told = F.linear(F.silu(time), weights["time_emb_proj.weight"], weights["time_emb_proj.bias"])
    h = h + told[:, :, None, None]
    h = conv("conv2", F.silu(norm("norm2", h)))
    skip = conv("conv_shortcut", x, 0) if "conv_shortcut.weight" in weights else x
    return skip + h


def cross_attention(x, context, weights, heads):
    q = split(F.linear(x, weights["to_q.weight"]), heads)
    k = split(F.linear(context, weights["to_k.weight"]), heads)
    v = split(F.linear(context, weights["to_v.weight"]), heads)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return F.linear(mixed, weights["to_out.0.weight"], weights["to_out.0.bias"])


def geglu(x, weights):
    value, gate = F.linear(x, weights["net.0.proj.weight"], weights["net.0.proj.bias"]).chunk(2, dim=-1)
    return F.linear(value * F.gelu(gate), weights["net.2.weight"], weights["net.2.bias"])


def down_and_up(x, levels, layers, down, halve, middle, up, double):
    kept = [x]
    for level in range(levels):
        for i in range(layers):
            x = down(level, i, x)
            kept.append(x)
        if level < levels - 1:
            x = halve(level, x)
            kept.append(x)
    x = middle(x)
    for level in reversed(range(levels)):
        for i in range(layers + 1):
            x = up(level, i, torch.cat([x, kept.pop()], dim=1))
        if level > 0:
            x = double(level, x)
    return x


def sample_latent(moments, noise, scaling_factor):
    mean, logvar = moments.chunk(2, dim=1)
    std = torch.exp(0.5 * logvar.clamp(-30, 20))
    return scaling_factor * (mean + std * noise)


def adaln_zero(x, time, weights, attention, mlp):
    told = F.linear(F.silu(time), weights["linear.weight"], weights["linear.bias"])[:, None]
    shift1, scale1, gate1, shift2, scale2, gate2 = told.chunk(6, dim=-1)
    y = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale1) + shift1
    x = x + gate1 * attention(y)
    y = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale2) + shift2
    return x + gate2 * mlp(y)


def word_map(shares, positions, height, width):
    maps = []
    for layer in shares:
        cells = layer.mean(0)[:, positions].sum(1)
        times = round(math.sqrt(height * width / len(cells)))
        grid = cells.reshape(height // times, width // times)
        maps.append(grid.repeat_interleave(times, 0).repeat_interleave(times, 1))
    return torch.stack(maps).mean(0)
