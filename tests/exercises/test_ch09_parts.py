"""Checks of exercises/ch09_parts.py."""

import math
import types
from pathlib import Path

import torch

from course.grading import task
from course.grading.checks import (
    Counted,
    Part,
    expect,
    expect_calls,
    expect_close,
    expect_equal,
    expect_finite,
    expect_raises,
    expect_tensor,
    expect_type,
)
from course.grading.diffusers_numbers import diffusers_says
from course.grading.values import describe
from course.grading.written import expect_written

ANSWERS = Path(__file__).parent / "answers"


@task("ch09.timestep_embedding")
def test_timestep_embedding(student):
    # small times first, where rounding cannot blur a mistake that makes the angles large
    for dim, period, t in ((8, 100.0, torch.tensor([1.0, 2.25, 5.5, 12.0])), (32, 10000.0, torch.tensor([1.0, 20.3878, 500.0, 981.0]))):
        half = dim // 2
        k = torch.arange(half)

        def embed(frequencies, t=t, order=("cos", "sin")):
            angles = t[:, None].double() * frequencies.double()
            return torch.cat([getattr(angles, order[0])(), getattr(angles, order[1])()], 1).float()

        right = period ** (-k / half)
        what = f"timestep_embedding of {len(t)} times with dim = {dim} and max_period = {period:g}"
        got = student.timestep_embedding(t, dim, period)
        expect_tensor(got, (len(t), dim), torch.float32, what)
        expect_close(got, embed(right), what, {
            "the sines come first; Stable Diffusion puts the cosines first": lambda: embed(right, order=("sin", "cos")),
            "sines and cosines take turns; here all cosines come first":
                lambda: embed(right).unflatten(1, (2, half)).transpose(1, 2).flatten(1),
            "the frequencies fall over dim steps; they should fall over dim / 2": lambda: embed(period ** (-k / dim)),
            "the exponent is -k / (dim / 2 - 1); it should be -k / (dim / 2)": lambda: embed(period ** (-k / (half - 1))),
            "the frequencies grow where they fall: the sign of the exponent is missing": lambda: embed(period ** (k / half)),
            "max_period is fixed at 10000; it is an argument": lambda: embed(10000.0 ** (-k / half)),
            "the frequencies are evenly spaced; they should fall by equal factors": lambda: embed(1 - k / half),
            "t was rounded; fractions of timesteps count": lambda: embed(right, t=t.long()),
        }, rtol=2e-3, atol=5e-4)


@task("ch09.timestep_embedding")
def test_timestep_embedding_takes_integers(student):
    t = torch.tensor([0, 1, 999])
    got = student.timestep_embedding(t, 16)
    expect_tensor(got, (3, 16), torch.float32, "timestep_embedding of integer times")
    expect_close(got[0], torch.cat([torch.ones(8), torch.zeros(8)]), "timestep_embedding at t = 0")
    for kind, dim in ((torch.float64, 6), (torch.int32, 4), (torch.float16, 2)):
        other = student.timestep_embedding(torch.tensor([7, 30]).to(kind), dim)
        k = torch.arange(dim // 2, dtype=torch.float64)
        angles = torch.tensor([[7.0], [30.0]], dtype=torch.float64) * 10000.0 ** (-k / (dim // 2))
        expect_tensor(other, (2, dim), torch.float32, f"timestep_embedding of {str(kind)[6:]} times")
        expect_close(other, torch.cat([angles.cos(), angles.sin()], 1).float(), f"timestep_embedding of {str(kind)[6:]} times, dim = {dim},", rtol=2e-3, atol=5e-4)
    expect_close(got, student.timestep_embedding(t, 16, 10000.0), "timestep_embedding without max_period, which is 10000,", atol=5e-4)
    expect_close(got, student.timestep_embedding(t.float(), 16), "timestep_embedding of integer times, against the same times as floats,", atol=5e-4)


def softmax_attention(query, key, value, scale=None, axis=-1):
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return torch.softmax(query @ key.transpose(1, 2) * scale, axis) @ value


@task("ch09.attention")
def test_attention(student):
    for batch, n, m, d, e in ((2, 6, 6, 6, 6), (2, 5, 7, 4, 3)):      # the first so that a wrong axis cannot hide in a crash
        q, k, v = 2 * student.randn(batch, n, d), 2 * student.randn(batch, m, d), student.randn(batch, m, e)
        got = student.attention(q, k, v)
        known = {
            "the scores are not divided by sqrt(D)": lambda: softmax_attention(q, k, v, 1.0),
            "the scores are divided by D, not by its square root": lambda: softmax_attention(q, k, v, 1 / d),
            "the scores are multiplied by sqrt(D)": lambda: softmax_attention(q, k, v, d**0.5),
            "the softmax runs over the queries; it should run over the keys": lambda: softmax_attention(q, k, v, axis=1),
            "the softmax runs over the batch; it should run over the keys": lambda: softmax_attention(q, k, v, axis=0),
            "the softmax is missing": lambda: (q @ k.transpose(1, 2) / d**0.5) @ v,
            "the scores are not turned into shares: exp without the division by its sum": lambda: (q @ k.transpose(1, 2) / d**0.5).exp() @ v,
        }
        if n == m and d == e:
            known["query and key are swapped"] = lambda: softmax_attention(k, q, v)
            known["the keys were used as values"] = lambda: softmax_attention(q, k, k)
        expect_close(got, softmax_attention(q, k, v), f"attention with query {tuple(q.shape)}, key {tuple(k.shape)} and value {tuple(v.shape)}", known,
                     rtol=5e-4)


@task("ch09.attention")
def test_attention_with_large_scores(student):
    q, k, v = 40 * student.randn(1, 3, 4), 40 * student.randn(1, 5, 4), student.randn(1, 5, 2)
    got = student.attention(q, k, v)
    expect_tensor(got, (1, 3, 2), what="attention")
    expect_finite(got, "attention with scores of some hundreds (take the largest score away before exp, or use torch.softmax)")
    expect_close(got, softmax_attention(q, k, v), "attention with scores of some hundreds", rtol=1e-3)
    q, k, v = (student.randn(*shape).double() for shape in ((1, 1, 3), (1, 4, 3), (1, 4, 5)))
    expect_close(student.attention(q, k, v), softmax_attention(q, k, v), "attention of a single float64 query", rtol=1e-6)


def by_heads(query, key, value, split, join, scale=None):
    return join(softmax_attention(split(query), split(key), split(value), scale))


@task("ch09.multi_head_attention")
def test_multi_head_attention(student):
    for batch, n, m, d, heads in ((2, 6, 6, 12, 3), (2, 5, 7, 8, 2), (1, 4, 3, 8, 1)):
        q, k, v = 2 * student.randn(batch, n, d), 2 * student.randn(batch, m, d), student.randn(batch, m, d)
        width = d // heads

        def split(x, heads=heads):
            return x.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1)       # (B h, N, D / h)

        def join(x, heads=heads):
            return x.unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)

        def strided(x, heads=heads, width=width):                                   # head h takes channels h, h + heads, ...
            return x.unflatten(-1, (width, heads)).permute(0, 3, 1, 2).flatten(0, 1)

        def unstrided(x, heads=heads):
            return x.unflatten(0, (-1, heads)).permute(0, 2, 3, 1).flatten(2)

        def cut(x, heads=heads, width=width):                                       # view without transpose: tokens are mixed up
            return x.reshape(x.shape[0] * heads, x.shape[1], width)

        def uncut(x, batch=batch, d=d):
            return x.reshape(batch, -1, d)

        what = f"multi_head_attention with query {tuple(q.shape)}, key {tuple(k.shape)} and {heads} heads"
        known = {} if heads == 1 else {
            "this is a single head over all the channels": lambda: softmax_attention(q, k, v),
            "the scores are divided by sqrt(D); each head has its own sqrt(D / heads)": lambda: by_heads(q, k, v, split, join, d**-0.5),
            "the scores are not divided by sqrt(D / heads)": lambda: by_heads(q, k, v, split, join, 1.0),
            "head h takes every heads-th channel; it takes a run of D / heads neighbours": lambda: by_heads(q, k, v, strided, unstrided),
            "reshape cut through the tokens: split the channels first, then move the heads beside the batch (transpose)":
                lambda: by_heads(q, k, v, cut, uncut),
            "the heads are joined in the wrong order": lambda: by_heads(q, k, v, split, unstrided),
            "the heads' outputs are averaged; put them side by side": lambda: join(softmax_attention(split(q), split(k), split(v)))
                .unflatten(-1, (heads, -1)).mean(2).repeat(1, 1, heads),
        }
        expect_close(student.multi_head_attention(q, k, v, heads), by_heads(q, k, v, split, join), what, known, rtol=5e-4)


@task("ch09.multi_head_attention")
def test_multi_head_attention_with_large_scores(student):
    q, k, v = 60 * student.randn(1, 3, 8), 60 * student.randn(1, 5, 8), student.randn(1, 5, 8)
    what = "multi_head_attention with scores of some hundreds"
    right = torch.cat([softmax_attention(q[..., i:i + 4], k[..., i:i + 4], v[..., i:i + 4]) for i in (0, 4)], -1)
    for dtype in (torch.float32, torch.float64):
        got = student.multi_head_attention(q.to(dtype), k.to(dtype), v.to(dtype), 2)
        expect_tensor(got, (1, 3, 8), dtype, what)
        expect_finite(got, f"{what} (take the largest score away before exp, or use torch.softmax)")
        expect_close(got, right.to(dtype), what, rtol=2e-3, atol=1e-4)


@task("ch09.latent_shape")
def test_latent_shape(student):
    for args in ((512, 512), (512, 768), (64, 128, 3), (96, 32, 2, 16, 16), (8, 8), (21, 35, 1, 4, 7), (5, 3, 1, 1, 1)):
        height, width, batch, channels, factor = (*args, *(1, 4, 8)[len(args) - 2:])
        right = (batch, channels, height // factor, width // factor)
        got = student.latent_shape(*args)
        what = f"latent_shape{args}"
        expect(type(got) is tuple, f"{what} should be a tuple, and is a {type(got).__name__}", "wrong_type")
        for side in got:
            expect_type(side, int, f"an entry of {what}")
        expect_equal(got, right, what, {
            "the latent of Stable Diffusion has 4 channels, not 3 like the image": (batch, 3, height // factor, width // factor),
            "height and width are swapped": (batch, channels, width // factor, height // factor),
            "the channels come last; torch puts them second": (batch, height // factor, width // factor, channels),
            "the batch is missing": right[1:],
            "factor is fixed at 8; it is an argument": (batch, channels, height // 8, width // 8),
            "the sides are not divided": (batch, channels, height, width),
            "the sides are divided by factor squared": (batch, channels, height // factor**2, width // factor**2),
        })


@task("ch09.latent_shape")
def test_latent_shape_refuses_odd_sizes(student):
    for args, side in (((500, 512), "height"), ((512, 500), "width"), ((0, 512), "height"), ((512, -8), "width")):
        expect_raises(student.latent_shape, *args, what=f"latent_shape{args}, whose {side} is not a positive multiple of 8,", says=side)
    expect_raises(student.latent_shape, 512, 24, 1, 4, 16, what="latent_shape(512, 24, 1, 4, 16), whose width is not a multiple of 16,", says="width")


def parts(name):
    """One of the real parts of the model that ships, loaded at its first use."""
    from course.components import load_components

    return getattr(load_components("emoji", device="cpu"), name)


class FakeTokens:
    """What stands in for the two parts while it is found out whether the task has been begun: loading the real ones takes seconds."""

    @staticmethod
    def tokenizer(prompts, padding=None, max_length=None, truncation=None, return_tensors=None):
        return types.SimpleNamespace(input_ids=torch.zeros(len(prompts), 5, dtype=torch.int64))

    @staticmethod
    def text_encoder(ids):
        return types.SimpleNamespace(last_hidden_state=torch.zeros(*ids.shape, 3), pooler_output=torch.zeros(len(ids), 3))


@task("ch09.encode_prompts")
def test_encode_prompts(student):
    student.encode_prompts(Part(call=FakeTokens.tokenizer, model_max_length=5), FakeTokens.text_encoder, ["a"])
    tokenizer, encoder = parts("tokenizer"), parts("text_encoder")
    length = tokenizer.model_max_length
    for prompts in (["a bear above a horse on a white background", ""], ["a small cat"], ["a bear " * 60, "a dog", "x"]):
        def ask(texts, padding=False, max_length=None, truncation=False, return_tensors=None):
            if return_tensors != "pt":
                raise ValueError("return_tensors should be 'pt', for tensors of torch")
            return types.SimpleNamespace(**tokenizer(list(texts), padding=padding, max_length=max_length, truncation=truncation, return_tensors="pt"))

        def encode(input_ids):
            with torch.no_grad():
                answer = encoder(input_ids)
            return types.SimpleNamespace(last_hidden_state=answer.last_hidden_state, pooler_output=answer.pooler_output)

        asked, encoded = Counted(ask), Counted(encode)
        got = student.encode_prompts(Part(call=asked, model_max_length=length), encoded, prompts)
        what = f"encode_prompts of {len(prompts)} prompt{'s' * (len(prompts) > 1)}"
        expect_calls(asked, 1, f"{what}: the tokenizer (\"the model\" here)", {"all prompts go into one call": len(prompts)})
        expect_calls(encoded, 1, f"{what}: the text encoder (\"the model\" here)", {"all prompts go into one call": len(prompts)})
        ids = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        shown = encoded.calls[0][0]
        expect(isinstance(shown, torch.Tensor) and shown.shape == ids.shape, f"{what}: the encoder should be shown ids of shape {tuple(ids.shape)}: pad and "
               f"cut off to model_max_length; it was shown {describe(shown)}", "wrong_shape")
        expect_close(shown, ids, f"{what}: the ids that the encoder is shown")
        expect_close(got, encode(ids).last_hidden_state, what, rtol=1e-3, atol=1e-4)


@task("ch09.memory_ratio")
def test_memory_ratio(student):
    for image, latent in (((3, 512, 512), (4, 64, 64)), ((3, 96, 64), (8, 12, 8)), ((1, 28, 28), (1, 7, 7)), ((3, 100, 100), (4, 12, 12)), ((1, 4, 4), (16, 2, 2))):
        right = math.prod(image) / math.prod(latent)
        sides = image[1] * image[2] / (latent[1] * latent[2])
        expect_close(student.memory_ratio(image, latent), right, f"memory_ratio({image}, {latent})", {
            "this is the homework's 64: the pixels are counted, but not the channels, and the latent has 4 of them": sides,
            "the channels count the wrong way round": sides * latent[0] / image[0],
            "the fraction was cut to a whole number": float(math.prod(image) // math.prod(latent)),
            "the fraction is upside down": 1 / right,
            "this is the ratio of one side; both sides shrink": image[1] / latent[1],
        })


@task("ch09.timestep_embedding")
def test_timestep_embedding_in_diffusers(student):
    arguments, right = diffusers_says("timestep_embedding")
    expect_close(student.timestep_embedding(*arguments), right, "timestep_embedding, against diffusers' get_timestep_embedding,", rtol=2e-3, atol=5e-4)


@task("ch09.predict")
def test_predicted_and_measured(student):
    expect_written(student, "ch09.predict", ANSWERS)
