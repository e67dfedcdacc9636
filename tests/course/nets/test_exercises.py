"""The exercises of chapter 9's networks beside diffusers and transformers: the right variants give what their modules give, in use."""

from __future__ import annotations

import json
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

VARIANTS = Path(__file__).parents[2] / "exercises" / "variants"
PROMPTS = ["a bear above a horse on a white background", "a zebra above a horse", ""]


@pytest.fixture(params=["first", "second"], scope="module")
def variant(request):
    return SourceFileLoader(f"{request.param}_networks", str(VARIANTS / request.param / "ch09_networks.py")).load_module()


@pytest.fixture(scope="module")
def seen(theirs):
    """Input and output of every module of theirs while a noisy latent of a prompt is looked at and a picture is encoded."""
    calls: dict = {}

    def keep(name):
        return lambda module, args, kwargs, output: calls.__setitem__(name, (args, kwargs, output))

    draw = torch.Generator().manual_seed(0)
    hooks = [m.register_forward_hook(keep(f"{part}.{name}"), with_kwargs=True) for part in ("unet", "vae", "text_encoder")
             for name, m in getattr(theirs, part).named_modules()]
    with torch.no_grad():
        ids = theirs.tokenizer(PROMPTS, padding="max_length", truncation=True, max_length=24, return_tensors="pt").input_ids
        context = theirs.text_encoder(ids)[0]
        theirs.unet(torch.randn(3, 4, 8, 8, generator=draw), 601, context)
        theirs.vae.encode(torch.rand(2, 3, 64, 64, generator=draw) * 2 - 1)
    for hook in hooks:
        hook.remove()
    return calls


def weights(part, block):
    return {name: w.detach() for name, w in part.get_submodule(block).state_dict().items()}


def close(got, expected):
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


def test_numbers_of_a_prompt(variant, theirs):
    vocabulary, model = theirs.tokenizer.get_vocab(), json.loads(theirs.tokenizer.backend_tokenizer.to_str())["model"]
    for prompt in PROMPTS:
        expected = theirs.tokenizer(prompt, padding="max_length", truncation=True, max_length=24).input_ids
        assert variant.token_ids(prompt.split(), model["merges"], vocabulary, 24) == expected


def test_attention_of_the_text_encoder(variant, theirs, seen):
    _, kwargs, output = seen["text_encoder.encoder.layers.1.self_attn"]
    close(variant.causal_attention(kwargs["hidden_states"], weights(theirs.text_encoder, "encoder.layers.1.self_attn"), 4), output[0])


@pytest.mark.parametrize("name", ["down_blocks.1.resnets.0", "mid_block.resnets.1", "up_blocks.1.resnets.0"])
def test_resnet_blocks(variant, theirs, seen, name):
    (x, time), _, output = seen[f"unet.{name}"]
    close(variant.resnet_block(x, time, weights(theirs.unet, name), 16), output)


@pytest.mark.parametrize("name", ["down_blocks.0", "mid_block", "up_blocks.1"])
def test_cross_attention_and_geglu(variant, theirs, seen, name):
    block = f"{name}.attentions.0.transformer_blocks.0"
    (x,), kwargs, output = seen[f"unet.{block}.attn2"]
    close(variant.cross_attention(x, kwargs["encoder_hidden_states"], weights(theirs.unet, f"{block}.attn2"), 4), output)
    (x,), _, output = seen[f"unet.{block}.ff"]
    close(variant.geglu(x, weights(theirs.unet, f"{block}.ff")), output)


def test_the_frame(variant, theirs, seen):
    unet, time = theirs.unet, seen["unet.time_embedding"][2]
    context = seen["unet.mid_block"][1]["encoder_hidden_states"]

    def block(stack, i, x):
        x = stack.resnets[i](x, time)
        return stack.attentions[i](x, encoder_hidden_states=context, return_dict=False)[0] if hasattr(stack, "attentions") else x

    with torch.no_grad():
        got = variant.down_and_up(
            seen["unet.conv_in"][2], 2, 1, lambda level, i, x: block(unet.down_blocks[level], i, x),
            lambda level, x: unet.down_blocks[level].downsamplers[0](x), lambda x: unet.mid_block(x, time, encoder_hidden_states=context),
            lambda level, i, x: block(unet.up_blocks[1 - level], i, x), lambda level, x: unet.up_blocks[1 - level].upsamplers[0](x))
    close(got, seen["unet.conv_norm_out"][0][0])


def test_a_latent_of_the_encoder(variant, theirs, seen):
    moments = seen["vae.quant_conv"][2]
    expected = theirs.vae.config.scaling_factor * _distribution(moments).sample(torch.Generator().manual_seed(4))
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    close(variant.sample_latent(moments, noise, theirs.vae.config.scaling_factor), expected)


def _distribution(moments):
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    return DiagonalGaussianDistribution(moments)


def test_adaln_zero(variant):
    from diffusers.models.attention import BasicTransformerBlock

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        theirs = BasicTransformerBlock(32, 4, 8, num_embeds_ada_norm=10, norm_type="ada_norm_zero", norm_elementwise_affine=False,
                                       norm_eps=1e-6).eval()
        x, t, label = torch.randn(2, 6, 32), torch.tensor([3, 700]), torch.tensor([1, 4])
        got = variant.adaln_zero(x, theirs.norm1.emb(t, label), {f"linear.{k}": v for k, v in theirs.norm1.linear.state_dict().items()},
                                 theirs.attn1, theirs.ff)
        close(got, theirs(x, timestep=t, class_labels=label))


def test_the_map_of_a_word(variant, theirs, seen):
    """Shares from the queries and keys of their four cross-attentions."""
    shares = []
    for name in ("down_blocks.0.attentions.0", "mid_block.attentions.0", "up_blocks.1.attentions.0", "up_blocks.1.attentions.1"):
        layer = theirs.unet.get_submodule(f"{name}.transformer_blocks.0.attn2")
        (x,), kwargs, _ = seen[f"unet.{name}.transformer_blocks.0.attn2"]
        with torch.no_grad():
            q, k = (layer.head_to_batch_dim(f(y)) for f, y in ((layer.to_q, x), (layer.to_k, kwargs["encoder_hidden_states"])))
            shares.append(layer.get_attention_scores(q, k).unflatten(0, (3, 4))[0])
    expected = torch.stack([F.interpolate(s.mean(0)[:, 2].reshape(1, 1, int(len(s[0]) ** 0.5), -1), size=(8, 8))[0, 0] for s in shares]).mean(0)
    close(variant.word_map(shares, [2], 8, 8), expected)
    assert abs(sum(float(variant.word_map(shares, [i], 8, 8).mean()) for i in range(24)) - 1) < 1e-5
