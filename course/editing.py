"""Editing pictures with the model there is: nothing is trained, nothing is fine-tuned.

Everything here is one of two things. Either a different *start*: noise a picture only half way and walk back (`img2img`),
or walk the ODE up from a picture to the noise that belongs to it (`invert`). Or a different *denoiser*, made of the one there is:
one that knows the answer outside a mask (`known_outside`), that listens to several pictures of one canvas (`anagram`,
`hybrid`), or whose attention is copied from another prompt's (`shared_attention`). The samplers stay as they are.

Latents are z (B, C, h, w), scaled as the U-Net sees them; masks (B or 1, 1, h, w), 1 where the picture may change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from course.components import Components, check_fit, setting, vae_factor
from course.forward import add_noise, diffuse
from course.guidance import Pair
from course.prediction import Denoise, as_eps, eps_from_x0
from course.samplers import SAMPLERS, TAUGHT, Draw, Sampler, renoise, transfer
from course.schedule import Level, NoiseSchedule
from course.stable_diffusion import decode, encode_prompts, guided_network, pick_sampler, prediction_pair, watched_network

# ------------------------------------------------------------------------------------------------ pictures and masks


def encode(images: Sequence[Image.Image], vae: Any, generator: torch.Generator | None = None) -> Tensor:
    """Pictures -> latents (B, C, h, w), scaled. With a generator a draw from the encoder's normal, as diffusers' pipelines take;
    without one its mean. Sides must be multiples of the VAE's factor; ValueError says which is not."""
    factor = vae_factor(vae)
    if not images:
        raise ValueError("give at least one picture")
    if len({image.size for image in images}) > 1:
        raise ValueError("the pictures of one batch must have one size")
    for name, side in zip(("width", "height"), images[0].size, strict=True):
        if side % factor:
            raise ValueError(f"{name} {side} is not a multiple of {factor}, the VAE's factor; {side // factor * factor} and "
                             f"{(side // factor + 1) * factor} are: crop or resize the picture first")
    pixels = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in images]) / 127.5 - 1
    weight = next(vae.parameters())
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(weight)                            # (B, 3, H, W) in [-1, 1]
    answer = vae.encode(x)
    if hasattr(answer, "latent_dist"):
        z = answer.latent_dist.mean if generator is None else answer.latent_dist.sample(generator)
    else:
        z = answer.latents                                     # AutoencoderTiny: no normal, and scaled by itself
    return (setting(vae, "scaling_factor", 1.0) * z).float()


def latent_mask(mask: Image.Image, size: tuple[int, int]) -> Tensor:
    """A black and white picture -> (1, 1, h, w) of 0 and 1 for latents of size (h, w): white may change, black is kept.

    The nearest pixel decides for each latent cell, as in diffusers. Raises ValueError when nothing may change.
    """
    grey = torch.from_numpy(np.asarray(mask.convert("L"), np.float32) / 255)[None, None]    # (1, 1, H, W)
    cells = (torch.nn.functional.interpolate((grey >= 0.5).float(), size=size) >= 0.5).float()
    if not cells.any():
        raise ValueError("the mask is black everywhere: nothing may change. White marks what is to be painted anew")
    return cells


# ------------------------------------------------------------------------------------------------ another start


def tail(grid: Sequence[Level], strength: float) -> Sequence[Level]:
    """The last int(strength * steps) steps of a grid, at least none and at most all: what is left to walk from a picture that was
    noised to its first level. Raises ValueError outside [0, 1]."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is a share between 0 (keep the picture) and 1 (forget it); got {strength}")
    steps = len(grid) - 1
    return grid[steps - min(int(steps * strength), steps):]


def _begin(z: Tensor, noise: Tensor, sampler: Sampler, schedule: NoiseSchedule, steps: int,
           strength: float) -> tuple[Sequence[Level], Tensor]:
    """The part of the grid that is left to walk, and the x to begin it with: the noise alone if that is all of it, else z noised to
    its first level. Raises ValueError for a sampler that needs its whole grid, or another one."""
    if not any(sampler == SAMPLERS[name] for name in TAUGHT):
        raise ValueError(f"edits walk a part of the grid, with one of {', '.join(TAUGHT)}; other samplers need the whole of it")
    grid = sampler.grid(schedule, steps)
    rest = tail(grid, strength)
    return rest, sampler.start(noise, schedule, grid[0]) if len(rest) == len(grid) else add_noise(z, noise, rest[0])


def img2img(denoise: Denoise, z: Tensor, noise: Tensor, sampler: Sampler, schedule: NoiseSchedule, steps: int,
            strength: float, draw: Draw | None = None) -> Tensor:
    """Noise a picture to a level part of the way up, and walk back down (Meng et al. 2022, "SDEdit").

    strength 0 gives z back; at 1 the picture is forgotten: the walk starts from the noise alone, as text-to-image does.
    z, noise (B, C, h, w) -> (B, C, h, w).
    """
    rest, start = _begin(z, noise, sampler, schedule, steps, strength)
    if len(rest) == 1:
        return z
    return sampler.run(denoise, start, rest, draw or (lambda: torch.randn_like(z)))


def upwards(denoise: Denoise, z: Tensor, grid: Sequence[Level], corrections: int = 0) -> list[Tensor]:
    """Walk the ODE upwards: the point at each level of the grid on the way that DDIM takes down to z (Song et al. 2021a).

    Upwards, a step needs eps at a point it has not reached, and takes it where it stands; coming down, eps is asked for at the
    upper end. The two differ by the change of eps within a step: small at guidance 1, ruinous at 7.5. `corrections` asks again
    at the point reached and steps anew, a fixed-point iteration for the step that DDIM would undo exactly; each costs one call.
    grid: noisy to clean, as for sampling. z (B, ...) -> as many points (B, ...) as the grid has levels, from z to its noise.
    """
    path = [z]
    for next, now in zip(grid[-2::-1], grid[:0:-1], strict=True):
        x = path[-1]
        eps = denoise(x, now) if now.sigma else denoise(next.alpha * x, next)      # a clean picture has no noise to ask for
        ahead = transfer(x, eps, now, next)
        for _ in range(corrections):
            ahead = transfer(x, denoise(ahead, next), now, next)
        path.append(ahead)
    return path


def invert(denoise: Denoise, z: Tensor, grid: Sequence[Level], corrections: int = 0) -> Tensor:
    """The noise from which DDIM on this grid would paint z: where `upwards` ends."""
    return upwards(denoise, z, grid, corrections)[-1]


def null_text(unet: Any, empty: Tensor, words: Tensor, path: Sequence[Tensor], grid: Sequence[Level], guidance_scale: float,
              rounds: int = 10, lr: float = 0.01) -> list[Tensor]:
    """A stand-in for the empty prompt at each step, with which guided DDIM comes down the way that inversion at guidance 1 went up.

    path            what `upwards` gave with `words` and without guidance, from z to its noise
    empty, words    (B, L, D): where the search starts, and the prompt that describes z
    rounds, lr      steps of Adam on || guided step - path ||^2 for each step of the grid; each is a call there and back

    Returns one (B, L, D) for each step, for `by_step`. The network and the words stay as they are (Mokady et al. 2023).
    """
    x, stand_ins, free = path[-1], [], empty
    for (now, next), wanted in zip(pairwise(grid), path[-2::-1], strict=True):
        with torch.inference_mode(False), torch.enable_grad():
            free, here, context = free.detach().clone().requires_grad_(True), x.clone(), words.clone()
            search = torch.optim.Adam([free], lr)
            for _ in range(rounds):
                eps = guided_network(unet, torch.cat([free, context]), guidance_scale)(here, now)
                off = (transfer(here, eps, now, next) - wanted).square().flatten(1).mean(1).sum()
                search.zero_grad()
                off.backward()
                search.step()
        stand_ins.append(free.detach())
        x = transfer(x, guided_network(unet, torch.cat([stand_ins[-1], words]), guidance_scale)(x, now), now, next)
    return stand_ins


def by_step(unet: Any, negatives: Sequence[Tensor], words: Tensor, grid: Sequence[Level]) -> Pair:
    """pair(x, level) with another negative context (B, L, D) at each step of the grid. KeyError at a level that is not one of them."""
    told = {level.t: torch.cat([negative, words]) for level, negative in zip(grid[:-1], negatives, strict=True)}
    return lambda x, level: prediction_pair(unet, told[level.t])(x, level)


# ------------------------------------------------------------------------------------------------ another denoiser


def known_outside(denoise: Denoise, z: Tensor, mask: Tensor) -> Denoise:
    """Inpainting: where the mask is 0 the clean picture z is known, and so is the noise, eps = (x - alpha z) / sigma.

    A sampler that is told so moves the known part along its straight line to z and ends there; nothing has to be pasted back
    between steps. For deterministic samplers this is the blending of diffusers' inpainting pipeline.
    """
    def inside(x: Tensor, level: Level) -> Tensor:
        return mask * denoise(x, level) + (1 - mask) * eps_from_x0(z, x, level)

    return inside


def inpaint(denoise: Denoise, z: Tensor, noise: Tensor, mask: Tensor, sampler: Sampler, schedule: NoiseSchedule, steps: int,
            strength: float = 1.0, draw: Draw | None = None) -> Tensor:
    """Paint anew where mask is 1; keep z where it is 0, exactly. z, noise (B, C, h, w), mask (B or 1, 1, h, w).

    At strength 1 the inside starts from noise, below it from the noised picture.
    """
    rest, inside = _begin(z, noise, sampler, schedule, steps, strength)
    if len(rest) == 1:
        return z
    start = mask * inside + (1 - mask) * add_noise(z, noise, rest[0])
    painted = sampler.run(known_outside(denoise, z, mask), start, rest, draw or (lambda: torch.randn_like(z)))
    return mask * painted + (1 - mask) * z


def back_and_forth(steps: int, resamplings: int, jump: int = 1) -> list[int]:
    """The levels that RePaint visits, as places in a grid of `steps` steps: down to the end, but every `jump` steps, counted from the end,
    up again by as many, `resamplings` - 1 times (Lugmayr et al. 2022, figure 9). Raises ValueError below 1."""
    if resamplings < 1 or jump < 1:
        raise ValueError(f"each step has to be taken at least once, and a jump is of at least one step; got {resamplings} and {jump}")
    left = dict.fromkeys(range(steps, jump, -jump), resamplings - 1)
    path = [0]
    while path[-1] < steps:
        path.append(path[-1] + 1)
        if left.get(path[-1]):
            left[path[-1]] -= 1
            path += range(path[-1] - 1, path[-1] - jump - 1, -1)
    return path


def repaint(denoise: Denoise, z: Tensor, mask: Tensor, x: Tensor, grid: Sequence[Level], draw: Draw, resamplings: int = 5, jump: int = 1,
            eta: float = 1.0) -> Tensor:
    """Inpainting with second thoughts: a grid that goes up again, with fresh noise, so that the inside can agree with an outside that was
    chosen without it (Lugmayr et al. 2022). Where the mask is 0 the picture is the known one, noised to each level.

    x (B, C, h, w) noise at grid[0]; one call for each step down of `back_and_forth`. eta: as in `ddim`; 1 in the paper.
    """
    for one, other in pairwise(back_and_forth(len(grid) - 1, resamplings, jump)):
        now, next = grid[one], grid[other]
        if other < one:
            x = diffuse(x, draw(), now, next)
        else:
            noise = draw()
            inside = renoise(x, denoise(x, now), now, next, noise, eta)
            x = mask * inside + (1 - mask) * add_noise(z, noise, next)
    return x


def anagram(denoisers: Sequence[Denoise], views: Sequence[Callable[[Tensor], Tensor]],
            undo: Sequence[Callable[[Tensor], Tensor]]) -> Denoise:
    """One canvas, several pictures: eps is the mean of what each denoiser says of its own view of x, turned back
    (Geng et al. 2024, "Visual Anagrams"). views[k] must keep noise white: a turn, a flip, a shuffle; undo[k] reverses it."""
    if not len(denoisers) == len(views) == len(undo) > 0:
        raise ValueError(f"each view needs a denoiser and a way back; got {len(denoisers)}, {len(views)} and {len(undo)}")

    def denoise(x: Tensor, level: Level) -> Tensor:
        parts = [back(one(view(x), level)) for one, view, back in zip(denoisers, views, undo, strict=True)]
        return torch.stack(parts).mean(0)

    return denoise


def hybrid(far: Denoise, near: Denoise, blur: Callable[[Tensor], Tensor]) -> Denoise:
    """One picture from afar, another from near: low frequencies of eps from one denoiser, the rest from the other
    (Geng et al. 2024, "Factorized Diffusion"). blur: a linear low-pass filter that keeps the shape."""
    def denoise(x: Tensor, level: Level) -> Tensor:
        a, b = far(x, level), near(x, level)
        return blur(a) + (b - blur(b))

    return denoise


def shared_attention(unet: Any, share: float = 1.0) -> Callable[[Denoise, int], Denoise]:
    """Prompt-to-prompt: the second picture of each pair attends to its words as the first does to its own
    (Hertz et al. 2023, word swap). Returns wrap(denoise, steps): a denoiser in whose first `share` of the steps the cross-attention
    maps of every odd entry of the batch are those of the entry before it.

    unet is one of course.nets (`as_components`). The two prompts must have their words at the same places.
    """
    from course.nets import watching

    if not 0 <= share <= 1:
        raise ValueError(f"share is the part of the steps with shared attention, between 0 and 1; got {share}")

    def copy(name: str, shares: Tensor) -> Tensor:                                          # (B, heads, h w, L)
        if len(shares) % 2:
            raise ValueError("shared attention works on pairs: give the pictures before and after, one after the other")
        return shares[0::2].repeat_interleave(2, 0)

    def wrap(denoise: Denoise, steps: int) -> Denoise:
        calls = 0

        def paired(x: Tensor, level: Level) -> Tensor:
            nonlocal calls
            calls += 1
            if calls > share * steps:
                return denoise(x, level)
            with watching(unet, copy):
                return denoise(x, level)

        return paired

    return wrap


# ------------------------------------------------------------------------------------------------ from picture to picture


@torch.inference_mode()
def edit_image(images: Image.Image | Sequence[Image.Image], prompt: str, components: Components, *, mask: Image.Image | None = None,
               strength: float = 0.8, sampler: str = "ddim", guidance_scale: float = 7.5, num_steps: int = 50, seed: int = 42,
               negative_prompt: str = "", schedule: NoiseSchedule | None = None, paste: bool = True,
               progress: bool = True) -> list[Image.Image]:
    """img2img, or inpainting when there is a mask, with the components of a Stable Diffusion: pictures -> pictures of the same size.

    mask             white where the picture may change, of the pictures' size; the latent is kept exactly everywhere else
    paste            put the pictures' own pixels back outside the mask. A kept latent is not a kept pixel: the decoder normalises
                     over the whole picture and has attention in its middle, so new colours inside tint what is outside
    strength         share of the steps that are walked: 0 returns the picture through the autoencoder, 1 forgets it (its inside)
    The latent is drawn from the encoder's normal and the noise after it, by one generator, as diffusers' pipelines do: with the
    same seed and strength below 1 the pictures are theirs. (At 1 StableDiffusionInpaintPipeline shows the network pure noise
    outside the mask in its first call, StableDiffusionImg2ImgPipeline a trace of the picture; here 1 means text-to-image inside.)

    Raises ValueError for anything that cannot be done, in words.
    """
    batch = [images] if isinstance(images, Image.Image) else list(images)
    check_fit(components)
    chosen = pick_sampler(sampler)
    if not isinstance(chosen, Sampler):
        raise ValueError(f"edits are made with one of our samplers, by name: {', '.join(TAUGHT)}")
    curve = schedule or NoiseSchedule.from_config(components.scheduler.config)
    generator = torch.Generator().manual_seed(seed)
    z = encode(batch, components.vae, generator)                                            # (B, C, h, w)
    if mask is not None and mask.size != batch[0].size:
        raise ValueError(f"the mask is {mask.width} x {mask.height} pixels and the picture {batch[0].width} x {batch[0].height}; "
                         "they must agree")
    noise = torch.randn(z.shape, generator=generator)
    context = encode_prompts([prompt] * len(z), components.tokenizer, components.text_encoder)
    if guidance_scale != 1:
        negative = encode_prompts([negative_prompt] * len(z), components.tokenizer, components.text_encoder)
        context = torch.cat([negative, context])                                            # (2B, L, D)
    draw = lambda: torch.randn(z.shape, generator=generator)                                # noqa: E731
    with tqdm(total=len(tail(chosen.grid(curve, num_steps), strength)) - 1, disable=not progress) as bar:
        network = watched_network(guided_network(components.unet, context, guidance_scale), bar)
        denoise = as_eps(network, curve.prediction_type)
        if mask is None:
            painted = img2img(denoise, z, noise, chosen, curve, num_steps, strength, draw)
        else:
            cells = latent_mask(mask, (z.shape[2], z.shape[3]))
            painted = inpaint(denoise, z, noise, cells, chosen, curve, num_steps, strength, draw)
        bar.update(bar.total - bar.n)
    pictures = decode(painted, components.vae)
    if mask is None or not paste:
        return pictures
    return [Image.composite(new, old.convert("RGB"), mask.convert("L").point(lambda grey: 255 * (grey >= 128)))
            for new, old in zip(pictures, batch, strict=True)]


@torch.inference_mode()
def swap_words(before: str, after: str, components: Components, *, share: float = 0.8, sampler: str = "ddim", guidance_scale: float = 7.5,
               num_steps: int = 50, seed: int = 42) -> tuple[Image.Image, Image.Image]:
    """Two pictures from one noise: `before`, and `after` painted with the layout of the first, by sharing its cross-attention maps
    in the first `share` of the steps (`shared_attention`). The prompts must have equally many tokens."""
    lengths = [len(ids) for ids in components.tokenizer([before, after])["input_ids"]]
    if lengths[0] != lengths[1]:
        raise ValueError(f"the prompts have {lengths[0] - 2} and {lengths[1] - 2} tokens; attention can be shared between words at "
                         "the same places only: swap a word for one of the same length in tokens")
    chosen = pick_sampler(sampler)
    curve = NoiseSchedule.from_config(components.scheduler.config)
    context = torch.cat([encode_prompts([""] * 2, components.tokenizer, components.text_encoder),
                         encode_prompts([before, after], components.tokenizer, components.text_encoder)])      # (4, L, D)
    generator = torch.Generator().manual_seed(seed)
    size = setting(components.unet, "sample_size") or 64
    noise = torch.randn((1, setting(components.unet, "in_channels", 4), size, size), generator=generator).repeat(2, 1, 1, 1)
    network = as_eps(guided_network(components.unet, context, guidance_scale), curve.prediction_type)
    shared = shared_attention(components.unet, share)(network, num_steps)
    first, second = decode(chosen.sample(shared, noise, curve, num_steps, generator), components.vae)
    return first, second
