"""Chapter 14: editing. `course check ch14` tells how far you are. Do not change your arguments.

A noise level is given by its alpha_bar, a float: x = sqrt(alpha_bar) z + sqrt(1 - alpha_bar) noise. A grid is a list of them from
noisy to clean.
"""

from torch import Tensor


def img2img(denoise, z: Tensor, noise: Tensor, grid: list[float], strength: float) -> Tensor:
    """SDEdit (Meng et al. 2022): noise the clean latent z part of the way up, and walk back down with DDIM.

    Of the n = len(grid) - 1 steps the last int(n * strength) are walked, from z noised to the level where they begin; with none
    left, z comes back. At strength 1 the walk starts from `noise` itself and z is not looked at.

    denoise: (B, C, h, w), float alpha_bar -> eps. z, noise: (B, C, h, w). Raises ValueError if strength is not in [0, 1].
    """
    raise NotImplementedError


def known_noise(eps: Tensor, x: Tensor, z: Tensor, mask: Tensor, alpha_bar: float) -> Tensor:
    """The prediction of an inpainting denoiser: the network's eps where the mask is 1, and where it is 0 the noise that x must hold
    if the clean latent there is z.

    eps, x, z: (B, C, h, w). mask: (B, 1, h, w) of zeros and ones. 0 < alpha_bar < 1. Returns a tensor like x.
    """
    raise NotImplementedError


def invert(denoise, z: Tensor, grid: list[float]) -> Tensor:
    """DDIM inversion: walk the grid upwards, from the clean end grid[-1] to grid[0].

    A step from alpha_bar `now` up to `next` uses denoise(x, now) at the x where it stands. At the clean end (alpha_bar 1) there is no
    noise to ask for: there, the network is asked at the level the step goes to, with z times the square root of its alpha_bar.

    denoise: (B, C, h, w), float alpha_bar -> eps, asked once for each step. Returns a tensor like z: noise, if grid[0] is small.
    """
    raise NotImplementedError
