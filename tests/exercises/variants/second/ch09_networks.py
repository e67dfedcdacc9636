import torch
from torch.nn import functional


def bpe_merge(symbols, merges):
    word = tuple(symbols)
    for a, b in merges:                       # each pair is made of what was joined before it, so one pass is enough
        out = []
        for s in word:
            if out and out[-1] == a and s == b:
                out[-1] = a + b + "\0"        # a joined one is not joined again in this pass
            else:
                out.append(s)
        word = tuple(s.rstrip("\0") for s in out)
    return list(word)


def token_ids(words, merges, vocabulary, length):
    end = vocabulary["<|endoftext|>"]
    out = [end] * length
    out[0] = vocabulary["<|startoftext|>"]
    at = 1
    for w in words:
        for s in bpe_merge([*w[:-1], w[-1] + "</w>"], merges):
            if at < length - 1:
                out[at] = vocabulary[s]
                at += 1
    return out


def attend(q, k, v, heads, causal=False):
    q, k, v = (t.unflatten(-1, (heads, -1)).movedim(2, 1) for t in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=causal).movedim(1, 2).reshape(q.shape[0], q.shape[2], -1)


def causal_attention(x, weights, heads):
    def linear(name, y):
        return y @ weights[name + ".weight"].T + weights[name + ".bias"]

    return linear("out_proj", attend(linear("q_proj", x), linear("k_proj", x), linear("v_proj", x), heads, True))


def resnet_block(x, time, weights, groups):
    def part(name):
        own = {k[len(name) + 1:]: v for k, v in weights.items() if k.startswith(name + ".")}
        if name.startswith("norm"):
            def norm(y):                                   # by hand: (B, groups, everything of a group)
                g = y.reshape(len(y), groups, -1)
                g = (g - g.mean(-1, keepdim=True)) / (g.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
                return g.reshape(y.shape) * own["weight"].reshape(1, -1, 1, 1) + own["bias"].reshape(1, -1, 1, 1)
            return norm
        side = own["weight"].shape[-1] // 2
        return lambda y: functional.conv2d(functional.pad(y, (side, side, side, side)), **own)

    def swish(y):
        return y * torch.sigmoid(y)

    h = part("conv1")(swish(part("norm1")(x)))
    told = swish(time) @ weights["time_emb_proj.weight"].T + weights["time_emb_proj.bias"]
    h = part("conv2")(swish(part("norm2")(h + told.unsqueeze(-1).unsqueeze(-1))))
    return h + (part("conv_shortcut")(x) if any(k.startswith("conv_shortcut") for k in weights) else x)


def cross_attention(x, context, weights, heads):
    q, k, v = x @ weights["to_q.weight"].T, context @ weights["to_k.weight"].T, context @ weights["to_v.weight"].T
    return attend(q, k, v, heads) @ weights["to_out.0.weight"].T + weights["to_out.0.bias"]


def geglu(x, weights):
    wide = x @ weights["net.0.proj.weight"].T + weights["net.0.proj.bias"]
    half = wide.shape[-1] // 2
    gate = wide[..., half:]
    gelu = gate * 0.5 * (1 + torch.erf(gate / 2**0.5))
    return (wide[..., :half] * gelu) @ weights["net.2.weight"].T + weights["net.2.bias"]


def down_and_up(x, levels, layers, down, halve, middle, up, double):
    def level_of(level, x, kept):
        kept = [*kept, x]
        own = [x]
        for i in range(layers):
            own.append(down(level, i, own[-1]))
        y = own[-1]
        if level + 1 < levels:
            y = double(level + 1, level_of(level + 1, halve(level, y), []))
        else:
            y = middle(y)
        for i in range(layers + 1):
            y = up(level, i, torch.cat((y, own.pop()), 1))
        return y

    return level_of(0, x, [])


def sample_latent(moments, noise, scaling_factor):
    c = moments.shape[1] // 2
    variance = torch.exp(torch.clip(moments[:, c:], min=-30.0, max=20.0))
    return (moments[:, :c] + variance.sqrt() * noise) * scaling_factor


def adaln_zero(x, time, weights, attention, mlp):
    told = (time * torch.sigmoid(time)) @ weights["linear.weight"].T + weights["linear.bias"]
    told = told.unflatten(1, (2, 3, 1, x.shape[-1]))
    for i, part in enumerate((attention, mlp)):
        shift, scale, gate = told[:, i].unbind(1)
        centred = x - x.mean(-1, keepdim=True)
        y = centred / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        x = x + gate * part(y + y * scale + shift)
    return x


def word_map(shares, positions, height, width):
    total = torch.zeros(height, width)
    for layer in shares:
        seen = sum(layer[..., p] for p in positions).mean(0)
        h = int(round((len(seen) * height / width) ** 0.5))
        grid = seen.reshape(1, 1, h, -1)
        total = total + functional.interpolate(grid, size=(height, width), mode="nearest")[0, 0]
    return total / len(shares)
