"""Our networks beside diffusers' and transformers', with the same weights: block by block, whole, and in training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from course.nets import as_part, autoencoder, build, text_encoder, unet, watching
from course.nets.loading import rename

PROMPTS = ["a bear above a horse on a white background", "", "a small astronaut on a blue background"]


@pytest.fixture(scope="module")
def inputs(theirs):
    """What the networks see in use: latents, pictures, token numbers and their vectors."""
    draw = torch.Generator().manual_seed(0)
    ids = theirs.tokenizer(PROMPTS, padding="max_length", truncation=True, max_length=24, return_tensors="pt").input_ids
    with torch.no_grad():
        return {"x": torch.randn(3, 4, 8, 8, generator=draw), "picture": torch.rand(3, 3, 64, 64, generator=draw) * 2 - 1,
                "ids": ids, "context": theirs.text_encoder(ids)[0]}


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a share of the largest value (or of 1)."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1))


def outputs(network: nn.Module, run: Callable[[], Any], names: Callable[[str], str | None] = lambda name: name) -> dict[str, Tensor]:
    """What every module with weights answers while `run` runs, by its name in our words."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            seen[name] = (output if torch.is_tensor(output) else output[0]).clone()          # ours go on in place

        return hook

    hooks = [m.register_forward_hook(keep(new.rstrip("."))) for name, m in network.named_modules()
             if name and list(m.parameters()) and (new := names(name + ".")) is not None]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def both(theirs: Any, ours: Any, rules: Any, run: Callable[[Any], Any], folded: tuple[str, ...]) -> dict[str, float]:
    """Differences by module name, for every module that has a counterpart. `folded`: names that two of their modules get."""
    a = outputs(theirs, lambda: run(theirs), lambda name: rename(name, rules))
    b = outputs(ours, lambda: run(ours))
    shared = {name for name in a.keys() & b.keys() if not name.endswith(folded)}
    return {name: difference(b[name].reshape(a[name].shape), a[name]) for name in shared if b[name].numel() == a[name].numel()}


def test_every_block_of_the_unet(theirs, ours, inputs):
    def run(network: Any) -> None:
        network(inputs["x"], 500, inputs["context"])

    # their levels answer with the smaller picture and the pile; ours answer in another order, so levels are left to the whole
    found = both(theirs.unet, ours.unet, unet.RENAMES, run, ("down.0", "down.1", "up.0", "up.1", "attentions.0", "attentions.1"))
    assert len(found) > 100
    for part in ("resnets.0", "resnets.1.time", "self_attention", "cross_attention", "cross_attention.k", "feed_forward.wide",
                 "proj_out", "resize", "norm_out", "skip", "time.2", "mid"):
        assert any(name.endswith(part) for name in found), part
    assert max(found.values()) <= 1e-5, max(found, key=found.get)


def test_every_block_of_the_autoencoders(theirs, ours, tiny, inputs):
    def run(network: Any) -> None:
        network.decode(inputs["x"])
        network.encode(inputs["picture"])

    found = both(theirs.vae, ours.vae, autoencoder.RENAMES, run, ("mid.norm",))
    assert len(found) > 100
    assert {"encoder", "decoder", "encoder.mid.attention.q", "encoder.down.0.resize.conv", "decoder.up.3.resnets.1"} <= found.keys()
    light = both(*tiny, autoencoder.TINY_RENAMES, run, ("coder",))
    assert len(light) > 60
    assert max([*found.values(), *light.values()]) <= 1e-5


def test_every_block_of_the_text_encoder(theirs, ours, inputs):
    found = both(theirs.text_encoder, ours.text_encoder, text_encoder.RENAMES, lambda network: network(inputs["ids"]), ())
    assert {"layers.0", "layers.1.attention", "layers.1.fc2", "norm_out", "token_embedding"} <= found.keys()
    assert max(found.values()) <= 1e-5


@pytest.mark.parametrize("t", [0, 999, 20.39, torch.tensor(7), torch.tensor([0, 500, 999]), torch.tensor([0.5, 1.5, 2.5])], ids=str)
def test_the_whole_unet(theirs, ours, inputs, t):
    with torch.no_grad():
        assert difference(ours.unet(inputs["x"], t, inputs["context"]), theirs.unet(inputs["x"], t, inputs["context"]).sample) <= 1e-5


def test_the_whole_autoencoders_and_the_text_encoder(theirs, ours, tiny, inputs):
    with torch.no_grad():
        expected, said = theirs.vae.encode(inputs["picture"]).latent_dist, ours.vae.encode(inputs["picture"])
        for name in ("mean", "logvar", "std"):
            assert difference(getattr(said, name), getattr(expected, name)) <= 1e-5
        draws = [g.sample(torch.Generator().manual_seed(3)) for g in (said, expected)]
        assert difference(*draws) <= 1e-5
        assert difference(said.kl(), expected.kl()) <= 1e-5
        assert torch.equal(said.mode(), said.mean)
        for shape in ((1, 4, 8, 8), (2, 4, 3, 5)):
            assert difference(ours.vae.decode(torch.ones(shape)), theirs.vae.decode(torch.ones(shape)).sample) <= 1e-5
        assert difference(tiny[1].decode(inputs["x"]), tiny[0].decode(inputs["x"]).sample) <= 1e-5
        assert difference(tiny[1].encode(inputs["picture"]), tiny[0].encode(inputs["picture"]).latents) <= 1e-5
        assert difference(ours.text_encoder(inputs["ids"]), inputs["context"]) <= 1e-5
        assert difference(ours.text_encoder(inputs["ids"][:, :7]), theirs.text_encoder(inputs["ids"][:, :7])[0]) <= 1e-5


def test_the_last_layer_but_one(theirs, ours, inputs):
    with torch.no_grad():
        hidden = theirs.text_encoder(inputs["ids"], output_hidden_states=True).hidden_states[-2]
        expected = theirs.text_encoder.final_layer_norm(hidden)
        assert difference(ours.text_encoder(inputs["ids"], skip=1), expected) <= 1e-5
        assert difference(ours.text_encoder(inputs["ids"]), expected) > 0.1


SMALL = {  # the options of Stable Diffusion 2.1's U-Net and text encoder, narrow
    "unet": {"sample_size": 8, "block_out_channels": (32, 64, 64, 64), "attention_head_dim": [2, 4, 8, 8], "cross_attention_dim": 48,
             "use_linear_projection": True, "upcast_attention": True, "layers_per_block": 2, "norm_num_groups": 8},
    "text": {"vocab_size": 100, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
             "hidden_act": "gelu", "projection_dim": 32, "bos_token_id": 98, "eos_token_id": 99, "pad_token_id": 0},
}


def test_the_options_of_stable_diffusion_2():
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        network, text = UNet2DConditionModel(**SMALL["unet"]), CLIPTextModel(CLIPTextConfig(**SMALL["text"])).eval()
        x, ids = torch.randn(2, 4, 16, 24), torch.randint(0, 100, (2, 77))
        ours = build({"_class_name": "UNet2DConditionModel", **network.config}, network.state_dict())
        encoder = build({**text.config.to_dict(), "architectures": ["CLIPTextModel"]}, text.state_dict())
        words = text(ids)[0]
        assert difference(encoder(ids), words) <= 1e-5
        assert difference(ours(x, 3, words), network(x, 3, words).sample) <= 1e-5


@pytest.mark.parametrize("name", ["unet", "vae", "text_encoder", "tiny"])
def test_one_step_of_training_makes_the_same_update(theirs, ours, tiny, inputs, name):
    draw = torch.Generator().manual_seed(5)
    pair = tiny if name == "tiny" else (getattr(theirs, name), getattr(ours, name))
    theirs, ours = (copy.deepcopy(network).train().requires_grad_(True) for network in pair)
    target = torch.randn(3, 4, 8, 8, generator=draw)

    def loss(network: Any) -> Tensor:
        call = network if isinstance(network, nn.Module) and hasattr(network, "dtype") else as_part(network)
        if name == "unet":
            return (call(inputs["x"], torch.tensor([1, 400, 900]), inputs["context"]).sample - target).square().mean()
        if name == "text_encoder":
            return (call(inputs["ids"]).last_hidden_state - 1).square().mean()
        said = call.encode(inputs["picture"])
        z = said.latents if name == "tiny" else said.latent_dist.sample(torch.Generator().manual_seed(6))
        return (call.decode(z).sample - inputs["picture"]).square().mean()

    rules = {"unet": unet.RENAMES, "vae": autoencoder.RENAMES, "tiny": autoencoder.TINY_RENAMES,
             "text_encoder": text_encoder.RENAMES}[name]
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    for network in (theirs, ours):
        loss(network).backward()
        torch.optim.SGD(network.parameters(), lr=1e-2).step()
    after = ours.state_dict()
    expected = {rename(k, rules): v for k, v in theirs.state_dict().items()}
    assert expected.keys() == after.keys()
    assert any(not torch.equal(before[k], after[k]) for k in after)
    assert max(difference(after[k], v.reshape(after[k].shape)) for k, v in expected.items()) <= 1e-5
    gradients = {rename(k, rules): p.grad for k, p in theirs.named_parameters()}
    assert max(difference(p.grad, gradients[k]) for k, p in ours.named_parameters()) <= 1e-5


# ------------------------------------------------------------------------------------------------ attention, seen and changed


def test_attention_can_be_watched_without_changing_anything(ours, inputs):
    maps: dict[str, Tensor] = {}
    with torch.no_grad():
        plain = ours.unet(inputs["x"], 10, inputs["context"])
        with watching(ours.unet, lambda name, shares: maps.__setitem__(name, shares)):
            watched = ours.unet(inputs["x"], 10, inputs["context"])
    assert difference(watched, plain) <= 1e-5
    assert {name: tuple(m.shape) for name, m in maps.items()} == {
        "down.0.attentions.0.cross_attention": (3, 4, 64, 24), "mid.attentions.0.cross_attention": (3, 4, 16, 24),
        "up.1.attentions.0.cross_attention": (3, 4, 64, 24), "up.1.attentions.1.cross_attention": (3, 4, 64, 24)}
    for shares in maps.values():
        assert torch.allclose(shares.sum(-1), torch.ones(()), atol=1e-5)
        assert shares.min() >= 0


def test_their_attention_has_the_same_shares(theirs, ours, inputs):
    layer = theirs.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    seen, maps = {}, {}
    with layer.register_forward_hook(lambda m, a, k, o: seen.update(x=a[0], context=k["encoder_hidden_states"]), with_kwargs=True), \
            torch.no_grad():
        theirs.unet(inputs["x"], 10, inputs["context"])
        with watching(ours.unet, lambda name, shares: maps.__setitem__(name, shares)):
            ours.unet(inputs["x"], 10, inputs["context"])
        q, k = (layer.head_to_batch_dim(f(y)) for f, y in ((layer.to_q, seen["x"]), (layer.to_k, seen["context"])))
        expected = layer.get_attention_scores(q, k).unflatten(0, (3, 4))
    assert difference(maps["mid.attentions.0.cross_attention"], expected) <= 1e-5


def test_attention_can_be_changed_and_is_left_alone_afterwards(ours, inputs):
    with torch.no_grad():
        plain = ours.unet(inputs["x"], 10, inputs["context"])
        with watching(ours.unet, lambda name, shares: torch.full_like(shares, 1 / 24)):
            assert difference(ours.unet(inputs["x"], 10, inputs["context"]), plain) > 1e-2
        assert torch.equal(ours.unet(inputs["x"], 10, inputs["context"]), plain)
        with pytest.raises(KeyError), watching(as_part(ours.unet), lambda name, shares: {}[name]):
            ours.unet(inputs["x"], 10, inputs["context"])
        assert torch.equal(ours.unet(inputs["x"], 10, inputs["context"]), plain)
    with pytest.raises(ValueError, match="no attention whose name ends in 'cross_attention'"), watching(ours.vae, lambda *_: None):
        pass


def test_a_token_hears_only_those_before_it(ours, inputs):
    maps: dict[str, Tensor] = {}
    with torch.no_grad(), watching(ours.text_encoder, lambda name, shares: maps.__setitem__(name, shares), kind="attention"):
        watched = ours.text_encoder(inputs["ids"])
        changed = inputs["ids"].clone()
        changed[:, 5:] = 3
        later = ours.text_encoder(changed)
    assert difference(watched, inputs["context"]) <= 1e-5
    assert maps.keys() == {"layers.0.attention", "layers.1.attention"}
    assert maps["layers.0.attention"].triu(1).abs().max() == 0
    assert torch.equal(later[:, :5], watched[:, :5])
    assert difference(later[:, 5:], watched[:, 5:]) > 0.1
