"""Checks of exercises/ch09_networks.py. What is right is said by formulas here, and by the course's networks with the shipped
weights, which are diffusers' and transformers' to the bit (tests/course/nets; the right variants beside hooks on theirs:
tests/course/nets/test_exercises.py)."""

import functools
import itertools
import math

import torch
import torch.nn.functional as F

from course.grading import task
from course.grading.checks import Counted, expect, expect_close, expect_equal, expect_tensor, expect_type

START, END = "<|startoftext|>", "<|endoftext|>"


@functools.cache
def shipped(part: str, block: str) -> dict:
    """The weights of one block of the shipped model, by the names after the block's own."""
    from safetensors.torch import load_file

    from course.emoji import folder

    weights = load_file(next((folder() / part).glob("*.safetensors")))
    return {name.removeprefix(block + "."): w.float() for name, w in weights.items() if name.startswith(block + ".")}


@functools.cache
def net(part: str):
    """A network of the shipped model, ours."""
    from course.emoji import folder
    from course.nets import load_part

    return load_part(part, folder() / part).eval().requires_grad_(False)


@functools.cache
def tokenizer():
    from course.emoji import folder
    from course.nets import load_part

    return load_part("tokenizer", folder() / "tokenizer")


def merges_of_the_model() -> list:
    rank = tokenizer().rank
    return [list(pair) for pair in sorted(rank, key=rank.get)]


# ------------------------------------------------------------------------------------------------ the tokenizer


def joined(symbols, pair, backwards=False):
    out, i = [], 0
    symbols = list(symbols)[::-1] if backwards else list(symbols)
    want = tuple(pair)[::-1] if backwards else tuple(pair)
    while i < len(symbols):
        both = tuple(symbols[i:i + 2]) == want
        out.append("".join(pair) if both else symbols[i])
        i += 2 if both else 1
    return out[::-1] if backwards else out


def merged(symbols, merges, choose=min, once=False, backwards=False, key=None):
    rank = {tuple(pair): i for i, pair in enumerate(merges)}
    symbols = list(symbols)
    while pairs := [p for p in itertools.pairwise(symbols) if p in rank]:
        symbols = joined(symbols, choose(pairs, key=key or rank.get), backwards)
        if once:
            break
    return symbols


def first_neighbours(symbols, merges):
    known, symbols = set(map(tuple, merges)), list(symbols)
    while True:
        at = next((i for i in range(len(symbols) - 1) if tuple(symbols[i:i + 2]) in known), None)
        if at is None:
            return symbols
        symbols[at:at + 2] = ["".join(symbols[at:at + 2])]


def forgetful(symbols, merges):
    """Joins pairs of letters, never what has been joined."""
    rank, out, symbols = {tuple(pair) for pair in merges}, [], list(symbols)
    while symbols:
        both = tuple(symbols[:2]) in rank
        out.append("".join(symbols[:2]) if both else symbols[0])
        symbols = symbols[2 if both else 1:]
    return out


def bpe_known(symbols, merges):
    return {
        "only one pair was joined; it should go on until no pair is known": lambda: merged(symbols, merges, once=True),
        "the pair learned LAST was joined first; it should be the one learned first": lambda: merged(symbols, merges, choose=max),
        "the first neighbours that are known were joined; it should be the pair learned first": lambda: first_neighbours(symbols, merges),
        "the longest pair was joined first; it should be the one learned first": lambda: merged(symbols, merges, max, key=lambda p: len(p[0] + p[1])),
        "pairs are joined from the right; of three equal letters the first two belong together": lambda: merged(symbols, merges, backwards=True),
        "what has been joined was not joined again: go on with the new symbols": lambda: forgetful(symbols, merges),
        "the end mark </w> got lost": lambda: [s.removesuffix("</w>") for s in merged(symbols, merges)],
        "nothing was joined": lambda: list(symbols),
        "all was made one string; symbols that no pair joins stay apart": lambda: ["".join(symbols)],
    }


@task("ch09.bpe_merge")
def test_bpe_merge_rules(student):
    for symbols, merges in (
        (["a", "b", "c", "d", "ee", "x", "y", "z"], [["b", "c"], ["d", "ee"], ["c", "d"], ["x", "y"], ["a", "b"], ["y", "z"]]),
        (["a", "a", "a"], [["a", "a"]]), (["a", "b", "c"], [["b", "c"], ["a", "b"]]),
        (["x", "y", "z", "x", "y", "z</w>"], [["y", "z"], ["x", "y"], ["x", "yz"], ["xy", "z</w>"]]),
        (["b", "e", "a", "r</w>"], [["a", "r</w>"], ["b", "e"], ["be", "ar</w>"]]),
        (["a", "b", "c", "d"], [["a", "b"], ["c", "d"], ["b", "c"], ["ab", "cd"]]), (["p", "q", "r", "s"], [["r", "s"], ["q", "rs"], ["p", "q"]]),
        (["h", "i</w>"], [["q", "z"]]), (["a</w>"], [["a", "b"]]),
    ):
        what = f"bpe_merge({symbols}, {merges})"
        expect_equal(student.bpe_merge(symbols, merges), merged(symbols, merges), what, bpe_known(symbols, merges))


@task("ch09.bpe_merge")
def test_bpe_merge_with_the_model(student):
    merges = merges_of_the_model()
    for word in ("bear", "astronaut", "background", "helicopter", "aaaa", "sunflowers"):
        symbols = [*word[:-1], word[-1] + "</w>"]
        expect_equal(student.bpe_merge(symbols, merges), tokenizer().tokenize(word), f"the symbols of {word!r} with the model's own pairs",
                     bpe_known(symbols, merges))


@task("ch09.token_ids")
def test_token_ids(student):
    vocabulary, merges, pad = tokenizer().vocabulary, merges_of_the_model(), tokenizer().end
    start = tokenizer().start
    long = ["a", "bear", "above", "a", "horse", "and", "a", "cat", "left", "of", "a", "dog", "on", "a", "white", "background", "with", "seven", "penguins", "far", "away"]
    for words, length in ((["a", "bear"], 24), (["a", "zebra", "above", "a", "horse"], 16), (long, 24), (long, 5), ([], 6), (["helicopters"], 9)):
        bare = [n for word in words for n in tokenizer().encode(word)]
        kept = bare[:length - 2]
        right = [start, *kept, pad] + [pad] * (length - 2 - len(kept))
        spelled = [vocabulary.get(s, pad) for word in words for s in merged(list(word), merges)]
        known = {
            "the padding is on the left; it should be on the right": lambda k=kept, n=length: [pad] * (n - 2 - len(k)) + [start, *k, pad],
            "the padding is 0; it should be the end's number": lambda k=kept, n=length: [start, *k, pad] + [0] * (n - 2 - len(k)),
            "the padding is the start's number; it should be the end's": lambda k=kept, n=length: [start, *k, pad] + [start] * (n - 2 - len(k)),
            "the end mark was cut off with the words": lambda b=bare, n=length: ([start, *b, pad] + [pad] * n)[:n],
            "there is no start mark": lambda b=bare, n=length: [*b[:n - 1], pad] + [pad] * (n - 1 - len(b[:n - 1])),
            "there is no padding": lambda k=kept: [start, *k, pad],
            "nothing was cut off: there are more than `length`": lambda b=bare, n=length: [start, *b, pad] + [pad] * (n - 2 - len(b)),
            "words were lost in front; what is too much is lost behind":
                lambda b=bare, n=length: [start, *b[len(b) - min(len(b), n - 2):], pad] + [pad] * (n - 2 - len(b)),
            "the last letter of a word does not carry </w>": lambda s=spelled, n=length: [start, *s[:n - 2], pad] + [pad] * (n - 2 - len(s[:n - 2])),
        }
        expect_equal(student.token_ids(words, merges, vocabulary, length), right, f"the {length} numbers of {' '.join(words)!r}", known)


# ------------------------------------------------------------------------------------------------ attention


# (B, L, C) to (B, heads, L, C / heads): as it should be, and the two ways that have the right shape and the wrong channels.
SPLITS = {
    "": lambda y, heads: y.unflatten(-1, (heads, -1)).transpose(1, 2),
    "every": lambda y, heads: y.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2),
    "straight": lambda y, heads: y.reshape(len(y), heads, y.shape[1], -1),
}


def attended(x, context, w, names, heads, *, mask=None, scale=None, split="", merge="", axis=-1, bias=True, out=True, out_bias=True, swap=""):
    def linear(name, y, on=True):
        return F.linear(y, w[name + ".weight"], w.get(name + ".bias") if on else None)

    q, k, v, o = names
    q, k, v = linear(q, x, bias), linear(k, context, bias), linear(v, context, bias)
    q, k, v = {"": (q, k, v), "qk": (k, q, v), "kv": (q, v, k), "vk": (q, k, k)}[swap]
    q, k, v = (SPLITS[split](y, heads) for y in (q, k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    n, m = scores.shape[-2:]
    if mask is not None:
        scores = scores.masked_fill(mask(torch.ones(n, m, dtype=torch.bool)), -math.inf)
    shares = torch.nan_to_num(scores.softmax(axis))
    mixed = shares @ v
    mixed = {"": lambda: mixed.transpose(1, 2).flatten(2), "every": lambda: mixed.permute(0, 2, 3, 1).flatten(2),
             "straight": lambda: mixed.reshape(len(x), n, -1)}[merge]()
    return linear(o, mixed, out_bias) if out else mixed


def attention_known(call, width, heads):
    return {
        "the heads take every heads-th channel; a head owns channels that lie side by side": lambda: call(split="every", merge="every"),
        "the heads took every heads-th channel and gave them back side by side": lambda: call(split="every"),
        "the channels were reshaped straight to (B, heads, L, C / heads): split the last axis, then swap two": lambda: call(split="straight"),
        "the channels were reshaped straight to (B, heads, L, C / heads) and back: a head then sees a part of the tokens":
            lambda: call(split="straight", merge="straight"),
        "the scores are not divided by the root of a head's width": lambda: call(scale=1.0),
        "the scores are divided by the root of C; it should be the root of one head's width": lambda: call(scale=width**-0.5),
        "the scores are divided by the width, not by its square root": lambda: call(scale=heads / width),
        "there is one head over all channels": lambda: call(one=True),
        "the softmax runs over those who ask; it should run over those who answer": lambda: call(axis=-2),
        "the heads were put side by side without bringing them next to the channels first: reshape does not swap axes": lambda: call(merge="straight"),
        "the last linear layer is missing": lambda: call(out=False),
        "the last layer's bias is missing": lambda: call(out_bias=False),
        "query and key are swapped": lambda: call(swap="qk"), "key and value are swapped": lambda: call(swap="kv"),
        "the keys were used as values": lambda: call(swap="vk"),
    }


def random_weights(student, shapes):
    return {name: 0.3 * student.randn(*shape) for name, shape in shapes.items()}


TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


def expect_causal(student, x, w, heads, what, right=None):
    width = x.shape[-1]

    def call(one=False, mask=lambda all_: all_.triu(1), **change):
        return attended(x, x, w, TEXT, 1 if one else heads, mask=mask, **change)

    got = student.causal_attention(x, w, heads)
    expect_close(got, call() if right is None else right, what, {
        "the causal mask is missing: a token must not hear what comes after it": lambda: call(mask=None),
        "the mask hides the token itself, too": lambda: call(mask=lambda all_: all_.triu(0)),
        "the mask is turned round: it hides what came before": lambda: call(mask=lambda all_: all_.tril(-1)),
        "the biases of q, k and v are missing": lambda: call(bias=False),
        **attention_known(call, width, heads),
    }, rtol=1e-3, atol=1e-4)


@task("ch09.causal_attention")
def test_causal_attention(student):
    for width, heads, length in ((12, 3, 12), (8, 2, 5), (6, 1, 4)):
        w = random_weights(student, {f"{n}.{kind}": (width, width) if kind == "weight" else (width,) for n in TEXT for kind in ("weight", "bias")})
        expect_causal(student, 1.5 * student.randn(2, length, width), w, heads, f"causal_attention with {heads} heads of {width // heads}")


@task("ch09.causal_attention")
def test_causal_attention_with_the_model(student):
    for i in (0, 1):
        x = student.randn(2, 24, 128)
        with torch.no_grad():
            right = net("text_encoder").layers[i].attention(x)
        expect_causal(student, x, shipped("text_encoder", f"encoder.layers.{i}.self_attn"), 4, f"the attention of layer {i} of the text encoder", right)


CROSS = ("to_q", "to_k", "to_v", "to_out.0")


def expect_cross(student, x, context, w, heads, what, right=None):
    def call(one=False, other=None, **change):
        return attended(x, context if other is None else other, w, CROSS, 1 if one else heads, **change)

    known = attention_known(call, x.shape[-1], heads)
    if x.shape[1:] != context.shape[1:]:
        known.pop("query and key are swapped")
    else:
        known["the picture attends to itself: keys and values come from the context"] = lambda: call(other=x)
        known["the tokens ask and the picture answers; it is the other way round"] = lambda: attended(context, x, w, CROSS, heads)
        known["keys come from the context, values from x"] = lambda: mixed_sources(x, context, w, heads)
    known["tokens behind were hidden; cross-attention has no mask"] = lambda: call(mask=lambda all_: all_.triu(1))
    expect_close(student.cross_attention(x, context, w, heads), call() if right is None else right, what, known, rtol=1e-3, atol=1e-4)


def mixed_sources(x, context, w, heads):
    q, k = (SPLITS[""](F.linear(y, w[n]), heads) for y, n in ((x, "to_q.weight"), (context, "to_k.weight")))
    v = SPLITS[""](F.linear(x, w["to_v.weight"]), heads)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return F.linear(mixed, w["to_out.0.weight"], w["to_out.0.bias"])


@task("ch09.cross_attention")
def test_cross_attention(student):
    for width, depth, heads, n, m in ((12, 12, 3, 6, 6), (12, 10, 3, 9, 5), (8, 6, 2, 4, 7)):     # first such that no mistake can crash
        w = random_weights(student, {"to_q.weight": (width, width), "to_k.weight": (width, depth), "to_v.weight": (width, depth),
                                     "to_out.0.weight": (width, width), "to_out.0.bias": (width,)})
        what = f"cross_attention of {n} places to {m} tokens with {heads} heads"
        expect_cross(student, 1.5 * student.randn(2, n, width), 1.5 * student.randn(2, m, depth), w, heads, what)


@task("ch09.cross_attention")
def test_cross_attention_with_the_model(student):
    for ours, theirs, width in (("mid", "mid_block", 128), ("up.1", "up_blocks.1", 64)):
        x, context = student.randn(2, 9, width), student.randn(2, 24, 128)
        with torch.no_grad():
            right = net("unet").get_submodule(f"{ours}.attentions.0.cross_attention")(x, context)
        w = shipped("unet", f"{theirs}.attentions.0.transformer_blocks.0.attn2")
        expect_cross(student, x, context, w, 4, f"the cross-attention of {theirs}", right)


# ------------------------------------------------------------------------------------------------ the ResNet block and GEGLU


def block(x, time, w, groups, *, at="between", silu=F.silu, time_silu=True, eps=1e-5, skip="conv", order="norm first", told=True):
    def norm(name, y):
        return F.group_norm(y, groups, w[name + ".weight"], w[name + ".bias"], eps)

    def conv(name, y, padding=1):
        return F.conv2d(y, w[name + ".weight"], w[name + ".bias"], padding=padding)

    t = F.linear(F.silu(time) if time_silu else time, w["time_emb_proj.weight"], w["time_emb_proj.bias"])[:, :, None, None]
    t = t if told else 0 * t
    if at == "before" and x.shape[1] == t.shape[1]:
        x = x + t
    if order == "norm first":
        h = conv("conv1", silu(norm("norm1", x)))
    elif order == "silu first":
        h = conv("conv1", norm("norm1", silu(x)))
    h = h + t if at == "between" else h
    h = norm("norm2", h)
    h = h + t if at == "after the norm" else h
    h = silu(h) if order == "norm first" else h
    h = conv("conv2", h)
    h = h + t if at == "end" else h
    x = conv("conv_shortcut", x, 0) if "conv_shortcut.weight" in w else x
    return h if skip == "none" else x + h


def expect_block(student, x, time, w, groups, what, right=None):
    c, new = x.shape[1], w["conv1.weight"].shape[0]

    def call(**change):
        return block(x, time, w, change.pop("groups", groups), **change)

    known = {
        "the time is added after the second norm; it should be added before it, to what the first convolution made": lambda: call(at="after the norm"),
        "the time is added at the very end": lambda: call(at="end"), "the time is left out": lambda: call(told=False),
        "silu(time) is missing: the time goes through silu before its linear layer": lambda: call(time_silu=False),
        "the activation is relu; it should be silu": lambda: call(silu=F.relu), "the activation is gelu; it should be silu": lambda: call(silu=F.gelu),
        "the activation is missing": lambda: call(silu=lambda y: y),
        "there is one group for all channels; there are `groups`": lambda: call(groups=1),
        "every channel is a group of its own; there are `groups`": lambda: call(groups=math.gcd(c, new)),
        "silu comes before the norm; the norm comes first": lambda: call(order="silu first"),
        "the way past the block is missing: x is added to what the convolutions make": lambda: call(skip="none"),
    }
    if c == new:
        known["the time is added to x, before the first norm; it comes in after the first convolution"] = lambda: call(at="before")
    if groups != 32 and c % 32 == 0 and new % 32 == 0:
        known["there are always 32 groups; there are `groups`"] = lambda: call(groups=32)
    expect_close(student.resnet_block(x, time, w, groups), call() if right is None else right, what, known, rtol=1e-3, atol=2e-4)


def block_shapes(c, new, time):
    shapes = {"norm1.weight": (c,), "norm1.bias": (c,), "conv1.weight": (new, c, 3, 3), "conv1.bias": (new,), "time_emb_proj.weight": (new, time),
              "time_emb_proj.bias": (new,), "norm2.weight": (new,), "norm2.bias": (new,), "conv2.weight": (new, new, 3, 3), "conv2.bias": (new,)}
    return shapes | ({} if c == new else {"conv_shortcut.weight": (new, c, 1, 1), "conv_shortcut.bias": (new,)})


@task("ch09.resnet_block")
def test_resnet_block(student):
    for c, new, groups in ((8, 8, 2), (8, 4, 4), (64, 64, 4)):
        w = random_weights(student, block_shapes(c, new, 6))
        what = f"resnet_block from {c} to {new} channels in {groups} groups"
        expect_block(student, 2 * student.randn(2, c, 4, 5), 2 * student.randn(2, 6), w, groups, what)
        quiet = {**w, "conv1.weight": 0.002 * w["conv1.weight"], "conv1.bias": 0 * w["conv1.bias"], "time_emb_proj.weight": 0 * w["time_emb_proj.weight"],
                 "time_emb_proj.bias": 0 * w["time_emb_proj.bias"]}          # so quiet that the norms' eps is heard
        expect_block(student, 0.003 * student.randn(2, c, 4, 5), student.randn(2, 6), quiet, groups, f"{what} on a quiet picture")


@task("ch09.resnet_block")
def test_resnet_block_with_the_model(student):
    for ours, theirs, c in (("mid.resnets.0", "mid_block.resnets.0", 128), ("up.1.resnets.1", "up_blocks.1.resnets.1", 128)):
        x, time = student.randn(2, c, 4, 4), student.randn(2, 256)
        with torch.no_grad():
            right = net("unet").get_submodule(ours)(x, F.silu(time))        # there, silu is taken once for all blocks
        expect_block(student, x, time, shipped("unet", theirs), 16, f"{theirs} of the shipped U-Net", right)


def gated(x, w, act=F.gelu, halves=lambda y: y.chunk(2, -1), mix=lambda value, gate: value * gate, out=True):
    value, gate = halves(F.linear(x, w["net.0.proj.weight"], w["net.0.proj.bias"]))
    y = mix(value, act(gate))
    return F.linear(y, w["net.2.weight"], w["net.2.bias"]) if out else y


@task("ch09.geglu")
def test_geglu(student):
    cases = [(1.5 * student.randn(2, 5, 4), random_weights(student, {"net.0.proj.weight": (32, 4), "net.0.proj.bias": (32,), "net.2.weight": (4, 16),
                                                                    "net.2.bias": (4,)}), "geglu of 4 channels", None)]
    x = student.randn(2, 7, 128)
    with torch.no_grad():
        right = net("unet").mid.attentions[0].feed_forward(x)
    cases.append((x, shipped("unet", "mid_block.attentions.0.transformer_blocks.0.ff"), "geglu with weights of the shipped U-Net", right))
    for x, w, what, right in cases:
        expect_close(student.geglu(x, w), gated(x, w) if right is None else right, what, {
            "the halves are swapped: the first is the value, the second the gate": lambda x=x, w=w: gated(x, w, halves=lambda y: y.chunk(2, -1)[::-1]),
            "the gate goes through sigmoid; it should be gelu": lambda x=x, w=w: gated(x, w, torch.sigmoid),
            "the gate goes through silu; it should be gelu": lambda x=x, w=w: gated(x, w, F.silu),
            "the gate goes through relu; it should be gelu": lambda x=x, w=w: gated(x, w, F.relu),
            "the gate goes through tanh; it should be gelu": lambda x=x, w=w: gated(x, w, torch.tanh),
            "the gate goes through nothing; it should be gelu": lambda x=x, w=w: gated(x, w, lambda y: y),
            "gelu goes over both halves; only the gate gets it": lambda x=x, w=w: gated(x, w, mix=lambda value, gate: F.gelu(value) * gate),
            "value and gate are added; they should be multiplied": lambda x=x, w=w: gated(x, w, mix=lambda value, gate: value + gate),
            "value and gate take turns; the first half of the channels is the value": lambda x=x, w=w: gated(x, w, halves=lambda y: (y[..., ::2], y[..., 1::2])),
            "gelu is its tanh approximation; it should be the exact one": lambda x=x, w=w: gated(x, w, lambda y: F.gelu(y, approximate="tanh")),
        }, rtol=1e-4, atol=6e-5)


# ------------------------------------------------------------------------------------------------ the frame of the U-Net


def frame(x, levels, layers, parts, *, take=-1, first="x", keep_x=True, keep_halved=True, before=False, last_halved=False, finest_doubled=False,
          middle=True, extra=1, upwards=False, keep_blocks=True):
    """The right frame, and with other arguments a wrong one; None where it cannot go on."""
    kept = [x] if keep_x else []
    for level in range(levels):
        for i in range(layers):
            if keep_blocks and before:
                kept.append(x)
            x = parts["down"](level, i, x)
            if keep_blocks and not before:
                kept.append(x)
        if level < levels - 1 or last_halved:
            x = parts["halve"](level, x)
            if keep_halved:
                kept.append(x)
    x = parts["middle"](x) if middle else x
    for level in range(levels) if upwards else reversed(range(levels)):
        for i in range(layers + extra):
            if not kept:
                return None
            other = kept.pop(take)
            x = parts["up"](level, i, torch.cat([x, other] if first == "x" else [other, x], 1))
        if level > 0 or finest_doubled:
            x = parts["double"](level, x)
    return x


FRAME_KNOWN = {
    "what was kept first was used first; it should be what was kept LAST": {"take": 0},
    "what was kept stands before the input along the channels; it comes behind it": {"first": "kept"},
    "x itself, what the first convolution made, was not kept": {"keep_x": False},
    "the halved pictures were not kept": {"keep_halved": False},
    "each block's input was kept; it should be what the block makes": {"before": True},
    "the last level was halved, too": {"last_halved": True}, "the finest level was doubled, too": {"finest_doubled": True},
    "the middle was left out": {"middle": False}, "the way up has one block more on each level than the way down": {"extra": 0},
    "the way up begins at the finest level; it begins at the coarsest": {"upwards": True},
    "x was kept in place of what blocks make": {"keep_blocks": False},
}


def toy_parts(student, channels):
    """Parts that change no size, so that wrong frames run to their end and can be told from their numbers."""
    numbers = {name: student.rand(8, 8, low=0.5, high=1.5) for name in ("down", "halve", "up", "double")}
    weight = student.randn(channels, 2 * channels)

    def up(level, i, x):
        expect_tensor(x, (*x.shape[:1], 2 * channels, *x.shape[2:]), what=f"what up({level}, {i}, ...) was given")
        return torch.einsum("oc,bchw->bohw", weight, x) * numbers["up"][level, i] / channels**0.5

    return {"down": lambda level, i, x: torch.tanh(x * numbers["down"][level, i] + i), "halve": lambda level, x: x * numbers["halve"][level, 0] - level,
            "middle": lambda x: torch.sin(x), "up": up, "double": lambda level, x: x.roll(1, 1) * numbers["double"][level, 1]}


@task("ch09.down_and_up")
def test_down_and_up(student):
    for levels, layers in ((3, 2), (2, 1), (1, 2)):
        x, parts = student.randn(2, 3, 2, 2), toy_parts(student, 3)
        counted = {name: Counted(part) for name, part in parts.items()}
        got = student.down_and_up(x, levels, layers, *(counted[name] for name in ("down", "halve", "middle", "up", "double")))
        what = f"down_and_up with {levels} levels of {layers} layers"
        known = {text: lambda c=change: frame(x, levels, layers, parts, **c) for text, change in FRAME_KNOWN.items()}
        expect_close(got, frame(x, levels, layers, parts), what, known, rtol=1e-3, atol=1e-4)
        calls = {name: c.count for name, c in counted.items()}
        right = {"down": levels * layers, "halve": levels - 1, "middle": 1, "up": levels * (layers + 1), "double": levels - 1}
        expect(calls == right, f"{what} should call its parts so often: {right}; and called them {calls}")


@task("ch09.down_and_up")
def test_down_and_up_with_the_model(student):
    unet, x, time, context = net("unet"), student.randn(1, 64, 8, 8), student.randn(1, 256), student.randn(1, 24, 128)
    with torch.no_grad():
        kept = [x]
        y = x
        for down in unet.down:
            y = down(y, time, context, kept)
        y = unet.mid(y, time, context)
        for up in unet.up:
            y = up(y, time, context, kept)

        def no_grad(function):
            return lambda *args: function(*args).detach()

        got = student.down_and_up(
            x, 2, 1, no_grad(lambda level, i, x: unet.down[level].block(i, x, time, context)), no_grad(lambda level, x: unet.down[level].resize(x)),
            no_grad(lambda x: unet.mid(x, time, context)), no_grad(lambda level, i, x: unet.up[1 - level].block(i, x, time, context)),
            no_grad(lambda level, x: unet.up[1 - level].resize(x)))
    expect_close(got, y, "the shipped U-Net's blocks in your frame", rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------------------------------ autoencoder and transformer


@task("ch09.sample_latent")
def test_sample_latent(student):
    with torch.no_grad():
        vae = net("vae")
        real = vae.quant_conv(vae.encoder(student.rand(2, 3, 64, 64, low=-1.0, high=1.0)))
    wild = 3 * student.randn(2, 4, 3, 2)
    wild[0, 2:, 0], wild[1, 2:, 0] = 60.0, -90.0
    for moments, scaling, what in ((3 * student.randn(2, 4, 3, 2), 1.7, "sample_latent"), (real, 0.70555, "sample_latent of the shipped encoder's moments"),
                                   (wild, 0.5, "sample_latent with log variances of 60 and -90")):
        noise = student.randn(len(moments), moments.shape[1] // 2, *moments.shape[2:])
        mean, logvar = moments.chunk(2, 1)

        deviation = (0.5 * logvar.clamp(-30, 20)).exp()

        def draw(mean=mean, std=deviation, noise=noise):
            return mean + std * noise

        expect_close(student.sample_latent(moments, noise, scaling), scaling * draw(), what, {
            "the log variance was not kept between -30 and 20": lambda: scaling * draw(std=(0.5 * logvar).exp()),
            "exp(logvar) is the variance; the deviation is its root": lambda: scaling * draw(std=logvar.clamp(-30, 20).exp()),
            "the log variance itself was used as the deviation": lambda: scaling * draw(std=logvar.clamp(-30, 20)),
            "means and log variances are swapped: the means come first": lambda: scaling * draw(logvar, (0.5 * mean.clamp(-30, 20)).exp()),
            "the noise was left out: that is the mean": lambda: scaling * mean,
            "the latent was divided by the scaling factor; it should be multiplied": lambda: draw() / scaling,
            "the scaling is missing": draw, "only the mean was scaled": lambda: scaling * mean + draw(mean=0 * mean),
            "the log variance was kept between -30 and 20 after it was halved": lambda: scaling * draw(std=(0.5 * logvar).clamp(-30, 20).exp()),
            "means and log variances take turns; the means are the first half of the channels": lambda: scaling * draw(
                moments[:, ::2], (0.5 * moments[:, 1::2].clamp(-30, 20)).exp()),
        }, rtol=1e-3)


@task("ch09.sample_latent")
def test_gradients_pass(student):
    moments, noise = student.randn(2, 4, 3, 2), student.randn(2, 2, 3, 2)
    _, gradient = student.gradient("sample_latent", moments, noise, 2.0)
    expect(gradient is not None, "no gradient comes back from sample_latent: it was cut off, and the encoder could not learn")
    logvar = moments[:, 2:]
    right = torch.cat([torch.full_like(noise, 2.0), noise * (0.5 * logvar).exp()], 1)
    expect_close(gradient, right, "the gradient of sample_latent", {
        "no gradient reaches the log variances": lambda: torch.cat([right[:, :2], 0 * noise], 1),
        "no gradient reaches the means": lambda: torch.cat([0 * noise, right[:, 2:]], 1),
    }, rtol=1e-3)


def told_block(x, time, w, attention, mlp, *, one=1.0, order=(0, 1, 2, 3, 4, 5), silu=True, gates=True, residual=True, norm=True, parallel=False, turns=False):
    told = F.linear(F.silu(time) if silu else time, w["linear.weight"], w["linear.bias"])
    pieces = told.unflatten(1, (-1, 6)).unbind(2) if turns else told.chunk(6, 1)
    shift1, scale1, gate1, shift2, scale2, gate2 = (pieces[i][:, None] if gates or i % 3 != 2 else torch.ones(()) for i in order)

    def normed(y, shift, scale):
        return (F.layer_norm(y, y.shape[-1:], eps=1e-6) if norm else y) * (one + scale) + shift

    y = gate1 * attention(normed(x, shift1, scale1)) + (x if residual else 0)
    return gate2 * mlp(normed(x if parallel else y, shift2, scale2)) + (y if residual else 0)


@task("ch09.adaln_zero")
def test_adaln_zero(student):
    for width in (8, 6):
        x, time = 2 * student.randn(2, 5, width) + 1, student.randn(2, 4)
        w = random_weights(student, {"linear.weight": (6 * width, 4), "linear.bias": (6 * width,)})
        a, b, c = student.randn(width, width), student.randn(width, width), student.randn(5, 5)

        def attention(y, a=a, c=c):
            return torch.tanh(c @ y @ a / 3)

        def mlp(y, b=b):
            return torch.sin(y @ b / 2)

        got = student.adaln_zero(x, time, w, Counted(attention), Counted(mlp))
        known = {
            "scale multiplies; it should be 1 + scale, so that a new block changes nothing": {"one": 0.0},
            "shift and scale are swapped: the shift comes first": {"order": (1, 0, 2, 4, 3, 5)},
            "the gate comes first; the order is shift, scale, gate": {"order": (1, 2, 0, 4, 5, 3)},
            "the mlp's pieces were taken for the attention": {"order": (3, 4, 5, 0, 1, 2)},
            "the attention's pieces were used twice": {"order": (0, 1, 2, 0, 1, 2)},
            "silu(time) is missing": {"silu": False}, "the gates are missing": {"gates": False},
            "x is not added to what the parts make": {"residual": False}, "the norm is missing": {"norm": False},
            "the mlp was given the old x; it comes after the attention": {"parallel": True},
            "the six pieces take turns; each is C channels that lie side by side": {"turns": True},
        }
        expect_close(got, told_block(x, time, w, attention, mlp), f"adaln_zero of {width} channels", {
            text: lambda ch=change, x=x, time=time, w=w, at=attention, m=mlp: told_block(x, time, w, at, m, **ch) for text, change in known.items()},
            rtol=1e-3, atol=1e-4)
        hushed = 0.001 * student.randn(2, 5, width)
        for first in (attention, torch.zeros_like):
            expect_close(student.adaln_zero(hushed, time, w, first, mlp), told_block(hushed, time, w, first, mlp),
                         f"adaln_zero of {width} channels on numbers so small that the norm's eps is heard", rtol=1e-3, atol=1e-4)
        zero = {name: torch.zeros_like(v) for name, v in w.items()}
        expect_close(student.adaln_zero(x, time, zero, attention, mlp), x, "adaln_zero with weights of zero, which must let x through,")


# ------------------------------------------------------------------------------------------------ looking


def mapped(shares, positions, height, width, *, heads=lambda y: y.mean(0), tokens=lambda y: y.sum(1), turned=False, layers=lambda y: y.mean(0), shift=0,
           fill="repeat"):
    maps = []
    for layer in shares:
        cells = tokens(heads(layer)[:, [min(p + shift, layer.shape[-1] - 1) for p in positions]])
        times = round(math.sqrt(height * width / len(cells)))
        grid = cells.reshape(width // times, height // times).T if turned else cells.reshape(height // times, width // times)
        if fill == "tile":
            maps.append(grid.repeat(times, times))
        elif fill == "smooth":
            maps.append(F.interpolate(grid[None, None], size=(height, width), mode="bilinear")[0, 0])
        else:
            maps.append(grid.repeat_interleave(times, 0).repeat_interleave(times, 1))
    return layers(torch.stack(maps))


def expect_map(student, shares, positions, height, width, what):
    def call(**change):
        return mapped(shares, positions, height, width, **change)

    got = student.word_map(shares, positions, height, width)
    expect_type(got, torch.Tensor, what)
    expect_close(got, call(), what, {
        "rows and columns are swapped: places are counted row by row": lambda: call(turned=True),
        "the heads were added up; it should be their mean": lambda: call(heads=lambda y: y.sum(0)),
        "the largest head was taken; it should be their mean": lambda: call(heads=lambda y: y.amax(0)),
        "only the first head was looked at": lambda: call(heads=lambda y: y[0]),
        "the mean over the word's tokens was taken; their shares add up": lambda: call(tokens=lambda y: y.mean(1)),
        "only the first of the word's tokens was looked at": lambda: call(tokens=lambda y: y[:, 0]),
        "only the last of the word's tokens was looked at": lambda: call(tokens=lambda y: y[:, -1]),
        "the tokens are one too far to the right": lambda: call(shift=1), "the tokens are one too far to the left": lambda: call(shift=-1),
        "the layers were added up; it should be their mean": lambda: call(layers=lambda y: y.sum(0)),
        "only the first layer was looked at": lambda: call(layers=lambda y: y[0]),
        "only the last layer was looked at": lambda: call(layers=lambda y: y[-1]),
        "the coarse map was tiled; each of its cells is repeated": lambda: call(fill="tile"),
        "the coarse map was smoothed; each of its cells is repeated": lambda: call(fill="smooth"),
    }, rtol=1e-3, atol=1e-6)


@task("ch09.word_map")
def test_word_map(student):
    for height, width, sizes, positions in ((4, 6, ((4, 6), (2, 3)), [2, 3]), (6, 4, ((6, 4), (3, 2), (6, 4)), [1]), (8, 8, ((4, 4), (8, 8)), [3, 1, 4])):
        shares = [(2 * student.randn(3, h * w, 7)).softmax(-1) for h, w in sizes]
        expect_map(student, shares, positions, height, width, f"word_map on {height} x {width} of {len(shares)} layers, tokens {positions}")


@task("ch09.word_map")
def test_word_map_with_the_model(student):
    from course.nets import watching

    ids = tokenizer()(["a bear above a horse on a white background"], padding="max_length", truncation=True, return_tensors="pt").input_ids
    shares = []
    with torch.no_grad(), watching(net("unet"), lambda name, seen: shares.append(seen[0])):
        net("unet")(student.randn(1, 4, 8, 8), 700, net("text_encoder")(ids))
    expect_map(student, shares, [2], 8, 8, "the map of 'bear' in 'a bear above a horse on a white background'")
