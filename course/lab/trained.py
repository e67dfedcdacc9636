"""Two experiments that have to train: noise or velocity at equal training, and one step of reflow.

Both networks start from the same numbers, and see the same scenes, words, noise and times in the same order; the text encoder is the
shipped one and stays as it is. What differs is the path, what is asked, and what an error costs: the loss that belongs to each.
`course lab trained` writes the rows. A run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from course.components import Components, load_components
from course.emoji import folder
from course.emoji.data import caption, random_scene
from course.emoji.probe import load_probe
from course.emoji.train import BATCH, latents_and_words, loss_by_words, new_unet, token_ids
from course.emoji.training import fit
from course.flow import FlowSchedule, couple, euler
from course.guidance import classifier_free
from course.lab.experiments import SAMPLER, SCALE, alone, crowd, drawn_by, judged, predictions
from course.schedule import NoiseSchedule
from course.training import denoising_loss

CALLS = (4, 8, 16, 32)
GENTLY: dict[str, Any] = {"lr": 1e-2, "adam_lr": 1e-3}      # from weights that are good already
PAIR_STEPS = 8                  # of Heun's method, for the pairs of reflow


def flow_unet() -> Any:
    """The shipped U-Net that answers a velocity, in float32, as diffusers' class: to be trained on."""
    return UNet2DConditionModel.from_pretrained(folder() / "unet_flow").float().eval()


def equally_trained(parts: Components, steps: int, out: Path, seed: int = 0, cached: int = 3200,
                    from_nothing: bool = False) -> dict[str, Components]:
    """Two U-Nets: one answers the noise (min-SNR), one a flow's velocity; `steps` of Muon and AdamW each, with batches of 32. Both go on
    from the shipped U-Net, which answers the noise: a head start for the first. from_nothing: both from the same random numbers."""
    found = {}
    for name, schedule, loss in (("eps", NoiseSchedule.from_config(parts.scheduler.config), "min_snr"),
                                 ("flow", FlowSchedule(), "flow_prediction")):
        torch.manual_seed(seed)
        unet = new_unet()
        if not from_nothing:
            unet.load_state_dict(parts.unet.state_dict())
        with torch.no_grad():
            draw = latents_and_words(parts.vae, cached, seed)
        # the stage has one name, so that every step draws the same for both
        fit("unet", {"unet": unet}, loss_by_words(unet, draw, schedule, parts.text_encoder, parts.tokenizer, loss), out=out / name,
            steps=steps, seed=seed, resume=True, **({} if from_nothing else GENTLY))
        found[name] = parts._replace(unet=unet.requires_grad_(False))
    return found


def reflowed(parts: Components, steps: int, out: Path, pairs: int = 512, seed: int = 0) -> Components:
    """One step of reflow: the flow paints `pairs` pictures at guidance 3, and is trained on straight lines between each noise and its own
    picture. The guidance goes into the pairs, so the new flow needs none (one call a step in the place of two)."""
    straight, flow, rng = parts._replace(unet=flow_unet()), FlowSchedule(), Random(f"{seed}/reflow")
    captions = [caption(random_scene(rng), rng) for _ in range(pairs)]
    file = out / "reflow" / f"pairs-{pairs}-{seed}.pt"
    if file.exists():
        x0, eps = torch.load(file, weights_only=True)
    else:
        noise = torch.randn((pairs, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            made = [couple(classifier_free(predictions(straight, captions[i:i + 64]), SCALE), noise[i:i + 64], flow.levels(PAIR_STEPS))
                    for i in range(0, pairs, 64)]
        x0, eps = (torch.cat(part) for part in zip(*made, strict=True))
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save((x0, eps), file)
    unet = straight.unet.requires_grad_(True)

    def loss(step: int, rng: Random) -> Tensor:
        chosen = [rng.randrange(pairs) for _ in range(BATCH)]
        with torch.no_grad():
            words = parts.text_encoder(token_ids(parts.tokenizer, [captions[i] for i in chosen]))[0]     # (B, LENGTH, TEXT_WIDTH)
        level = flow.gather((torch.arange(BATCH) + torch.rand(BATCH)).div(BATCH).mul(len(flow)).long(), 4)
        return denoising_loss(lambda x, level: unet(x, level.t, words).sample, x0[chosen], eps[chosen], level, "flow_prediction",
                              "flow_prediction")

    fit("reflow", {"unet": unet}, loss, out=out, steps=steps, seed=seed, resume=True, **GENTLY)
    return straight._replace(unet=unet.requires_grad_(False))


def trained(steps: int, out: Path, reflow_steps: int | None = None, from_nothing: bool = False, prompts: int = 24, seeds: int = 4,
            seed: int = 0, progress: bool = True) -> Iterator[dict[str, Any]]:
    """One row for each network and number of calls, as in `flows`: right and variety, on scenes and noise of that experiment.

    eps, flow      `equally_trained`, at guidance 3 (two evaluations of the U-Net in each call)
    shipped flow   the U-Net that ships, with and without guidance, at as few calls
    reflow         `reflowed` from it, without guidance
    """
    parts, probe, scenes = load_components("emoji", device="cpu"), load_probe(), crowd(prompts, seeds)
    curve, flow = NoiseSchedule.from_config(parts.scheduler.config), FlowSchedule()
    made = equally_trained(parts, steps, out, seed, from_nothing=from_nothing)
    shipped = parts._replace(unet=flow_unet())
    again = reflowed(parts, steps if reflow_steps is None else reflow_steps, out, seed=seed)

    def guided(parts: Components, z: Tensor, texts: list[str], calls: int) -> Tensor:
        return euler(classifier_free(predictions(parts, texts), SCALE), z, flow.levels(calls))

    def plain(parts: Components, z: Tensor, texts: list[str], calls: int) -> Tensor:
        return euler(alone(parts, texts), z, flow.levels(calls))

    def ddim(parts: Components, z: Tensor, texts: list[str], calls: int) -> Tensor:
        return SAMPLER.sample(classifier_free(predictions(parts, texts), SCALE), z, curve, calls)

    ways: list[tuple[str, Callable[..., Tensor], float, tuple[int, ...]]] = [
        ("eps", partial(ddim, made["eps"]), SCALE, CALLS), ("flow", partial(guided, made["flow"]), SCALE, CALLS),
        ("shipped flow", partial(guided, shipped), SCALE, (1, 2, 4)), ("shipped flow", partial(plain, shipped), 1.0, (1, 2, 4)),
        ("reflow", partial(plain, again), 1.0, (1, 2, 4))]
    for name, sample, scale, counts in ways:
        for calls in counts:
            with torch.inference_mode():
                y = drawn_by(partial(sample, calls=calls), scenes, parts, f"{name} {scale:g} {calls}", progress)
                found = judged(probe, y, scenes, seeds)
            done = {"shipped flow": 0, "reflow": reflow_steps or steps}.get(name, steps)
            yield {"model": name, "guidance": scale, "calls": calls, **found, "steps": done, "pictures": len(scenes)}
