import math


def ddim_step(x, eps, now, next):
    x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
    return math.sqrt(next) * x0 + math.sqrt(1 - next) * eps


def img2img(denoise, z, noise, grid, strength):
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is a share, got {strength}")
    left = int((len(grid) - 1) * strength)
    if left == 0:
        return z.clone()
    rest = grid[len(grid) - 1 - left:]
    x = noise if strength == 1 else math.sqrt(rest[0]) * z + math.sqrt(1 - rest[0]) * noise
    for now, next in zip(rest[:-1], rest[1:]):
        x = ddim_step(x, denoise(x, now), now, next)
    return x


def known_noise(eps, x, z, mask, alpha_bar):
    known = (x - math.sqrt(alpha_bar) * z) / math.sqrt(1 - alpha_bar)
    return mask * eps + (1 - mask) * known


def invert(denoise, z, grid):
    up = grid[::-1]
    x = z
    for now, next in zip(up[:-1], up[1:]):
        if now < 1:
            eps = denoise(x, now)
        else:
            eps = denoise(math.sqrt(next) * x, next)
        x = ddim_step(x, eps, now, next)
    return x
