import torch


def img2img(denoise, z, noise, grid, strength):
    if strength < 0 or strength > 1 or strength != strength:
        raise ValueError(strength)
    n = len(grid) - 1
    start = n - min(int(n * strength), n)
    if start == n:
        return z * 1
    a = grid[start]
    x = noise * 1 if start == 0 and strength == 1 else a**0.5 * z + (1 - a) ** 0.5 * noise
    for i in range(start, n):
        a, b = grid[i], grid[i + 1]
        e = denoise(x, a)
        x = (b / a) ** 0.5 * x + ((1 - b) ** 0.5 - (b * (1 - a) / a) ** 0.5) * e
    return x


def known_noise(eps, x, z, mask, alpha_bar):
    return torch.where(mask.expand_as(x) > 0.5, eps, (x - alpha_bar**0.5 * z) / (1 - alpha_bar) ** 0.5)


def invert(denoise, z, grid):
    x = z
    for i in range(len(grid) - 1, 0, -1):
        a, b = grid[i], grid[i - 1]
        e = denoise(x * b**0.5, b) if a == 1 else denoise(x, a)
        x = (b / a) ** 0.5 * x + ((1 - b) ** 0.5 - (b * (1 - a) / a) ** 0.5) * e
    return x
