import math

import torch


def initial_noise(seeds, shape):
    draws = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        draws.append(torch.randn(shape, generator=generator))
    return torch.stack(draws)


def to_uint8(images):
    images = (images / 2 + 0.5).clamp(0, 1)
    pixels = (images * 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1)


def image_grid(images, rows, columns):
    if len(images) != rows * columns:
        raise ValueError(f"{len(images)} images do not fill {rows} rows of {columns}")
    _, height, width, channels = images.shape
    grid = torch.zeros(rows * height, columns * width, channels, dtype=images.dtype)
    for i in range(len(images)):
        row, column = i // columns, i % columns
        grid[row * height:(row + 1) * height, column * width:(column + 1) * width] = images[i]
    return grid


def render_image(prompt, encode, denoise, decode, noise, grid, scale, scaling_factor):
    contexts = encode(["", prompt])
    x = noise
    for now, next in zip(grid[:-1], grid[1:]):
        empty, prompted = denoise(torch.cat([x, x]), now, contexts).chunk(2)
        eps = empty + scale * (prompted - empty)
        x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
        x = math.sqrt(next) * x0 + math.sqrt(1 - next) * eps
    images = decode(x / scaling_factor)
    return to_uint8(images)


def decode_latents(vae, latents):
    images = vae.decode(latents / vae.config.scaling_factor).sample
    return to_uint8(images)


def scheduler_loop(scheduler, denoise, x):
    x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        eps = denoise(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(eps, t, x).prev_sample
    return x
