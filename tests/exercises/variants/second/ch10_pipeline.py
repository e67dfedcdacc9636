import torch


def initial_noise(seeds, shape):
    result = torch.empty(len(seeds), *shape)
    for row, seed in zip(result, seeds, strict=True):
        row.copy_(torch.randn(tuple(shape), generator=torch.Generator("cpu").manual_seed(seed)))
    return result


def to_uint8(images):
    pixels = torch.floor((images.movedim(1, -1) + 1) * 127.5 + 0.5)
    return pixels.clamp(0, 255).byte().contiguous()


def image_grid(images, rows, columns):
    count, height, width, channels = images.shape
    if count != rows * columns:
        raise ValueError("count")
    table = images.reshape(rows, columns, height, width, channels)
    return table.permute(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def render_image(prompt, encode, denoise, decode, noise, grid, scale, scaling_factor):
    contexts = encode(["", prompt])
    x = noise.clone()
    for i in range(len(grid) - 1):
        out = denoise(x.repeat(2, 1, 1, 1), grid[i], contexts)
        e = (1 - scale) * out[:1] + scale * out[1:]
        keep = (grid[i + 1] / grid[i]) ** 0.5
        x = keep * x + ((1 - grid[i + 1]) ** 0.5 - keep * (1 - grid[i]) ** 0.5) * e
    image = decode(x * (1 / scaling_factor))
    return (image.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def decode_latents(vae, latents):
    z = latents * (1 / vae.config.scaling_factor)
    picture = vae.decode(z).sample.clamp(-1, 1)
    return torch.round(127.5 * picture + 127.5).to(torch.uint8).movedim(1, -1)


def scheduler_loop(scheduler, denoise, x):
    sample = scheduler.init_noise_sigma * x
    for i in range(len(scheduler.timesteps)):
        t = scheduler.timesteps[i]
        shown = scheduler.scale_model_input(sample, t)
        sample = scheduler.step(denoise(shown, t), t, sample).prev_sample
    return sample
