"""Our networks in the full architectures of Stable Diffusion 1.4 and 2.1, with random weights, beside diffusers' and transformers'.

One part at a time, and ours is built from the very tensors of theirs, so that no more than one set of weights is in memory.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from course.nets import as_part, build
from course.nets.published import TEXT_1, TEXT_2, UNET_1, UNET_2, VAE

PARTS = {
    "unet-1.4": (UNET_1, 859_520_964), "unet-2.1": (UNET_2, 865_910_724), "vae": (VAE, 83_653_863),
    "text-1.4": (TEXT_1, 123_060_480), "text-2.1": (TEXT_2, 340_387_840),
}


def pair(name: str) -> tuple[Any, Any]:
    """Theirs with random weights, and ours with the same."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    kind = name.split("-")[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "text":
            theirs = CLIPTextModel(CLIPTextConfig(**PARTS[name][0])).eval()
            config = {**theirs.config.to_dict(), "architectures": ["CLIPTextModel"]}
        else:
            made = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[kind]
            theirs = made(**PARTS[name][0]).eval()
            config = {"_class_name": made.__name__, **theirs.config}
    return theirs, build(config, theirs.state_dict())


def run(network: Any, name: str, draw: torch.Generator, dtype: torch.dtype = torch.float32, device: str = "cpu") -> torch.Tensor:
    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw).to(device, dtype)

    with torch.no_grad():
        if name.startswith("unet"):
            return network(noise(1, 4, 64, 64), torch.tensor(501, device=device), noise(1, 77, PARTS[name][0]["cross_attention_dim"]))[0]
        if name.startswith("text"):
            return network(torch.randint(0, 49408, (2, 77), generator=draw).to(device))[0]
        return torch.cat([network.decode(noise(1, 4, 32, 32)).sample.flatten(), network.encode(noise(1, 3, 256, 256)).latent_dist.mean.flatten()])


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_full_size(name):
    theirs, ours = pair(name)
    part, parameters = as_part(ours), PARTS[name][1]
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == parameters
    expected = run(theirs, name, torch.Generator().manual_seed(1))
    said = run(part, name, torch.Generator().manual_seed(1))
    assert expected.isfinite().all()
    assert (said - expected).abs().max() <= 1e-4 * expected.abs().max()
    del theirs, ours, part
    gc.collect()


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("name", PARTS)
def test_full_size_in_float16_on_a_gpu(name):
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA, and there is none here")
    theirs, ours = pair(name)
    expected = run(theirs.to("cuda", torch.float16), name, torch.Generator().manual_seed(1), torch.float16, "cuda")
    said = run(as_part(ours.to("cuda", torch.float16)), name, torch.Generator().manual_seed(1), torch.float16, "cuda")
    assert said.dtype == torch.float16
    assert expected.isfinite().all()
    assert (said - expected).abs().max() <= 1e-2 * expected.abs().max()
