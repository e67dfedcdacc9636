"""Chapter 10: the whole pipeline. `course check ch10` tells how far you are; `course render --mine` paints with it.

Do not change your arguments.
"""

import torch
from torch import Tensor


def initial_noise(seeds: list[int], shape: tuple) -> Tensor:
    """Standard normal noise for a batch in which every image has a seed of its own: the same seed gives the same image whatever
    else is in the batch. The numbers are those of a CPU generator with that seed. The global generator stays as it is.

    shape: (C, H, W). Returns float32 (len(seeds), C, H, W).
    """
    raise NotImplementedError


def to_uint8(images: Tensor) -> Tensor:
    """From the autoencoder's output to pixels: -1 becomes 0 and 1 becomes 255, *rounded*; values outside are clipped.

    images: (B, C, H, W), floats. Returns uint8 (B, H, W, C), the layout of PIL and matplotlib.
    """
    raise NotImplementedError


def image_grid(images: Tensor, rows: int, columns: int) -> Tensor:
    """Images side by side, row by row from the top left.

    images: uint8 (rows * columns, H, W, C). Returns uint8 (rows * H, columns * W, C).
    Raises ValueError if the number of images is not rows * columns.
    """
    raise NotImplementedError


def decode_latents(vae, latents: Tensor) -> Tensor:
    """Pixels from latents by the real autoencoder, diffusers' AutoencoderKL, as uint8 (B, H, W, 3).

    The sampler's latents are scaled so that their variance is about 1; the autoencoder's own are not. By how much is written in
    its config, and differs from model to model: `vae.config.scaling_factor`. `vae.decode(z)` answers with `.sample`, images in
    [-1, 1]; ask it once.

    latents: (B, C, h, w), the sampler's.
    """
    raise NotImplementedError


def scheduler_loop(scheduler, denoise, x: Tensor) -> Tensor:
    """A sampler by a real scheduler, any of diffusers': the one loop that all of them fit into.

    The scheduler has `timesteps`, already set, `init_noise_sigma`, `scale_model_input(x, t)` and `step(eps, t, x)`, which answers
    with `.prev_sample`. x: (B, C, h, w), standard normal noise. denoise(x, t) -> eps: the network, asked once in each step, with what
    the scheduler makes of x for it and with the timestep as the scheduler has it. Returns the last sample.
    """
    raise NotImplementedError


def render_image(prompt: str, encode, denoise, decode, noise: Tensor, grid: list[float], scale: float, scaling_factor: float) -> Tensor:
    """The loop of the homework: text, guided DDIM steps, autoencoder, pixels.

    encode(texts): a list of two strings -> contexts (2, L, D). Encode the empty text and the prompt, in this order, once.
    denoise(x, alpha_bar, contexts): predicted noise (2, C, h, w) for x (2, C, h, w), in the order of the contexts.
    decode(latents): images (1, 3, H, W) in [-1, 1] for latents (1, C, h, w), those that the autoencoder knows. Decode once.
    scaling_factor: the sampler's latents are this many times the autoencoder's.
    noise: (1, C, h, w), where to start. grid: alpha_bars as in chapter 6, one more than there are steps.
    scale: of the guidance, in Stable Diffusion's convention. One call of denoise per step, with both halves in one batch.

    Returns uint8 (1, H, W, 3).
    """
    raise NotImplementedError
