"""Checks of exercises/ch14_editing.py."""

import math
from itertools import pairwise

import torch

from course.grading import task
from course.grading.checks import Counted, expect_calls, expect_close, expect_raises, expect_type
from course.samplers import transfer
from course.schedule import Level

GRIDS = ([0.00466, 0.1, 0.4, 0.8, 1.0], [0.02, 0.9985], [0.005, 0.03, 0.11, 0.24, 0.41, 0.6, 0.77, 0.9, 0.97, 0.9992, 1.0])


def network(x, alpha_bar):
    return torch.sin(2 * x) + 0.4 * alpha_bar - 0.2 * x


def level(alpha_bar):
    return Level(None, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def step(x, eps, now, next):
    return transfer(x, eps, level(now), level(next))


def walk(x, grid):
    for now, next in pairwise(grid):
        x = step(x, network(x, now), now, next)
    return x


def noised(z, noise, alpha_bar):
    return math.sqrt(alpha_bar) * z + math.sqrt(1 - alpha_bar) * noise


def edited(z, noise, grid, strength, whole=True):
    left = int((len(grid) - 1) * strength)
    if not left:
        return z
    rest = grid[len(grid) - 1 - left:]
    return walk(noise if strength == 1 and whole else noised(z, noise, rest[0]), rest)


@task("ch14.img2img")
def test_img2img(student):
    for i, (grid, strength) in enumerate([(GRIDS[0], 0.5), (GRIDS[2], 0.7), (GRIDS[2], 0.39), (GRIDS[1], 1.0), (GRIDS[0], 1.0), (GRIDS[2], 0.05),
                                          (GRIDS[0], 0.0)]):
        dtype = torch.float64 if i % 2 else torch.float32
        z, noise = student.randn(2, 1, 3, 4).to(dtype), student.randn(2, 1, 3, 4).to(dtype)
        model = Counted(network)
        got = student.img2img(model, z, noise, list(grid), strength)
        n = len(grid) - 1
        left = int(n * strength)
        what = f"img2img over a grid of {n} steps with strength {strength} ({str(dtype)[6:]})"
        expect_calls(model, left, what, {"all steps were walked": n, "the steps at the beginning were walked, not those at the end": n - left,
                                         "the number of steps was rounded up": math.ceil(n * strength)})
        for call in model.calls:
            expect_type(call[1], float, "the alpha_bar that denoise is told")

        def first(z=z, noise=noise, grid=grid, left=left):
            return walk(noised(z, noise, grid[0]), grid[:left + 1])

        known = {} if left == 0 else {
            "the steps at the beginning were walked, not those at the end": first,
            "it starts from pure noise; the latent z is to be noised part of the way": lambda: walk(noise, grid[n - left:]),
            "z was noised all the way up, to the first level of the whole grid": lambda: walk(noised(z, noise, grid[0]), grid[n - left:]),
            "z itself was taken for the start, without noise": lambda: walk(z, grid[n - left:]),
            "it starts one level too low": lambda: walk(noised(z, noise, grid[n - left + 1]), grid[n - left:]),
        }
        if strength == 1:
            known = {"at strength 1 z is not to be looked at: start from the noise":
                     lambda z=z, noise=noise, grid=grid: edited(z, noise, grid, 1.0, whole=False)}
        expect_close(got, edited(z, noise, grid, strength), what, known, rtol=1e-3, atol=1e-4)


@task("ch14.img2img")
def test_img2img_refuses_what_is_no_share(student):
    z = student.randn(1, 1, 2, 2)
    for strength in (-0.1, 1.5, float("nan")):
        expect_raises(student.img2img, network, z, z, GRIDS[0], strength, what=f"img2img with strength {strength}")


@task("ch14.known_noise")
def test_known_noise(student):
    for (shape, dtype), alpha_bar in zip((((2, 4, 4, 4), torch.float32), ((3, 1, 5, 3), torch.float64), ((1, 4, 2, 6), torch.float32)),
                                         (0.3, 0.00466, 0.9992), strict=True):
        eps, z, noise = (student.randn(*shape).to(dtype) for _ in range(3))
        mask = (student.rand(shape[0], 1, *shape[2:]) > 0.5).to(dtype)
        x = noised(z, noise, alpha_bar) + mask * 0.3
        outside = (x - math.sqrt(alpha_bar) * z) / math.sqrt(1 - alpha_bar)
        mix = lambda known, mask=mask, eps=eps: mask * eps + (1 - mask) * known                 # noqa: E731
        expect_close(student.known_noise(eps, x, z, mask, alpha_bar), mix(outside), f"known_noise at alpha_bar {alpha_bar} ({str(dtype)[6:]})", {
            "the mask is turned round: the network speaks where it is 1": lambda: (1 - mask) * eps + mask * outside,
            "the clean latent was put where the noise should be": lambda: mix(z),
            "the square roots are missing": lambda: mix((x - alpha_bar * z) / (1 - alpha_bar)),
            "the two coefficients are exchanged": lambda: mix((x - math.sqrt(1 - alpha_bar) * z) / math.sqrt(alpha_bar)),
            "x - z is not the noise: z is faded in x": lambda: mix(x - z),
            "the division by sqrt(1 - alpha_bar) is missing": lambda: mix(x - math.sqrt(alpha_bar) * z),
            "the mask was not used": lambda: outside,
        }, rtol=1e-3, atol=1e-3)


def climb(z, grid, ask):
    up, x = grid[::-1], z
    for now, next in pairwise(up):
        x = step(x, ask(x, now, next), now, next)
    return x


def right_way(x, now, next):
    return network(x, now) if now < 1 else network(math.sqrt(next) * x, next)


@task("ch14.invert")
def test_invert(student):
    for i, grid in enumerate(GRIDS):
        dtype = torch.float64 if i % 2 else torch.float32
        z = student.randn(1 + i, 2, 3, 2).to(dtype)
        model = Counted(network)
        got = student.invert(model, z, list(grid))
        expect_calls(model, len(grid) - 1, "invert", {"the network was asked once more than there are steps": len(grid)})
        for call in model.calls:
            expect_type(call[1], float, "the alpha_bar that denoise is told")
        expect_close(got, climb(z, grid, right_way), f"invert over {len(grid) - 1} steps ({str(dtype)[6:]})", {
            "this walks down the grid; inversion goes up": lambda z=z, grid=grid: walk(z, grid),
            "the network is asked at the level it goes to, where it has not arrived": lambda z=z, grid=grid: climb(
                z, grid, lambda x, now, next: network(x if now < 1 else math.sqrt(next) * x, next)),
            "at the clean end z should be shrunk by the root of the level it is asked at":
                lambda z=z, grid=grid: climb(z, grid, lambda x, now, next: network(x, now if now < 1 else next)),
            "at the clean end the network was asked at alpha_bar 1, a level it has never seen":
                lambda z=z, grid=grid: climb(z, grid, lambda x, now, next: network(x, now)),
        }, rtol=2e-3, atol=2e-4)


@task("ch14.invert")
def test_invert_is_undone_by_ddim(student):
    """With a constant eps the way up is exactly the way down."""
    z, eps = student.randn(2, 1, 3, 3), student.randn(2, 1, 3, 3)
    grid = GRIDS[2]
    x = student.invert(lambda y, alpha_bar: eps, z, list(grid))
    for now, next in pairwise(grid):
        x = step(x, eps, now, next)
    expect_close(x, z, "invert with a denoiser that always says the same, followed by DDIM,", rtol=1e-2, atol=2e-3)
