"""The diffusion transformer: its block beside diffusers' adaLN-zero block, how it starts, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from course.components import Components
from course.nets import as_part, load_part
from course.nets.dit import Block, DiT, from_patches, patches, places
from course.stable_diffusion import render_image

CONFIG = {"_class_name": "DiT", "sample_size": 8, "in_channels": 4, "out_channels": 4, "patch_size": 2, "width": 32, "num_layers": 2,
          "num_attention_heads": 4, "cross_attention_dim": 128}


@pytest.fixture
def dit():
    """With random numbers where a new one has zeros."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DiT(CONFIG)
        for p in network.parameters():
            if not p.any():
                torch.nn.init.normal_(p, std=0.1)
    network.config = CONFIG
    return network.requires_grad_(False)


def test_the_block_is_that_of_diffusers():
    from diffusers.models.attention import BasicTransformerBlock

    width, draw = 32, torch.Generator().manual_seed(0)
    theirs = BasicTransformerBlock(width, 4, 8, num_embeds_ada_norm=10, norm_type="ada_norm_zero", norm_elementwise_affine=False,
                                   attention_bias=True, activation_fn="gelu-approximate", norm_eps=1e-6).eval()
    ours = Block(width, 4, context=16, time=width)
    for a, b in [(ours.time, theirs.norm1.linear), (ours.self_attention.q, theirs.attn1.to_q), (ours.self_attention.k, theirs.attn1.to_k),
                 (ours.self_attention.v, theirs.attn1.to_v), (ours.self_attention.out, theirs.attn1.to_out[0]),
                 (ours.mlp[0], theirs.ff.net[0].proj), (ours.mlp[2], theirs.ff.net[2])]:
        a.load_state_dict(b.state_dict())                  # the cross-attention is new, and adds nothing: it ends in zeros
    x, context = torch.randn(2, 6, width, generator=draw), torch.randn(2, 5, 16, generator=draw)
    t, label = torch.tensor([3, 700]), torch.tensor([1, 4])
    with torch.no_grad():
        time = torch.nn.functional.silu(theirs.norm1.emb(t, label))
        expected = theirs(x, timestep=t, class_labels=label)
        assert (ours(x, time, context) - expected).abs().max() <= 1e-5
        torch.nn.init.normal_(ours.cross_attention.out.weight)
        assert (ours(x, time, context) - expected).abs().max() > 0.1


def test_a_new_one_answers_zero_and_every_block_lets_all_through():
    network = DiT(CONFIG)
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 24, 128)
    with torch.no_grad():
        assert not network(x, 500, context).any()
        tokens = torch.randn(2, 16, 32)
        assert torch.equal(network.blocks[0](tokens, torch.randn(2, 128), context), tokens)


def test_patches_and_their_places():
    x = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    assert torch.equal(from_patches(patches(x, 2), 2, 4), x)
    assert torch.equal(patches(x, 2)[0, 1], x[0, :, :2, 2:4].flatten())      # the second patch is to the right of the first
    where = places(3, 5, 32)[0]
    assert len(torch.unique(where.round(decimals=5), dim=0)) == 15
    assert torch.equal(where[2, :16], where[4, :16])                         # one row
    assert torch.equal(where[2, 16:], where[7, 16:])                         # one column


def test_it_hears_the_time_the_words_and_where_things_are(dit):
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 24, 128)
    said = dit(x, 500, context)
    for other in (dit(x, 501, context), dit(x, 500, context.flip(0)), dit(x.flip(-1), 500, context).flip(-1)):
        assert (other - said).abs().max() > 1e-4
    assert torch.allclose(dit(x, torch.tensor([500, 20]), context)[1], dit(x[1:], 20, context[1:])[0], atol=1e-5)
    assert dit(torch.randn(2, 4, 6, 10), 1, context).shape == (2, 4, 6, 10)


def test_in_the_place_of_the_unet(dit, theirs, tmp_path):
    (tmp_path / "config.json").write_text(str(CONFIG).replace("'", '"'), "utf-8")
    save_file({k: v.half() for k, v in dit.state_dict().items()}, tmp_path / "model.safetensors")
    again = load_part("unet", tmp_path)
    assert (again(torch.ones(1, 4, 8, 8), 5, torch.ones(1, 24, 128)) - dit(torch.ones(1, 4, 8, 8), 5, torch.ones(1, 24, 128))).abs().max() < 1e-2
    parts = Components(theirs.vae, as_part(again), *theirs[2:])
    (picture,) = render_image("a bear", *parts[:4], "ddim", num_steps=2, progress=False)
    assert picture.size == (64, 64)


def test_what_it_refuses(dit):
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 24, 128)
    for call, message in [
        (lambda: dit(x[..., :7], 1, context), "8 x 7 and is cut into patches of 2 x 2"), (lambda: dit(x[:, :3], 1, context), r"\(B, 4, h, w\)"),
        (lambda: dit(x, 1, context[..., :3]), r"\(2, L, 128\)"), (lambda: dit(x, torch.ones(3), context), "each of the 2 latents; got 3"),
        (lambda: dit(x[0], 1, context), r"got \(4, 8, 8\)"), (lambda: dit(None, 1, context), "got a NoneType"),
        (lambda: DiT({**CONFIG, "num_attention_heads": 5}), "32 channels cannot be shared out"), (lambda: DiT({**CONFIG, "width": None}), "does not say width"),
        (lambda: DiT({**CONFIG, "qk_norm": True}), "qk_norm"), (lambda: DiT({**CONFIG, "width": 34, "num_attention_heads": 2}), "width is 34; .* multiple of 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_the_one_that_ships_has_learned_something(theirs):
    """Not much, as chapter 9b says: it had a twelfth of the U-Net's training. But grounds are nearly always right."""
    from random import Random

    from course.emoji import folder
    from course.emoji.data import caption, random_scene
    from course.emoji.probe import load_probe, verdicts
    from course.emoji.train import sample

    network = load_part("unet", folder() / "dit")
    assert sum(p.numel() for p in network.parameters()) == 2_954_320
    scenes = [random_scene(Random(i), objects=2) for i in range(16)]
    pictures = sample([caption(scene) for scene in scenes], theirs.vae, as_part(network), theirs.tokenizer, theirs.text_encoder, steps=10)
    right = verdicts(load_probe(), pictures, scenes)
    assert right["colour"].float().mean() >= 0.75
    assert right["objects"].float().mean() >= 0.2          # of 40 by 40 pairs, chance finds hardly any
