import math

import torch


def scaled_linear_betas(beta_start, beta_end, steps):
    roots = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float32)
    return roots**2


def cosine_betas(steps, offset=0.008, max_beta=0.999):
    def f(u):
        return math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2

    betas = [min(1 - f((i + 1) / steps) / f(i / steps), max_beta) for i in range(steps)]
    return torch.tensor(betas, dtype=torch.float32)


def alphas_cumprod(betas):
    alphas = 1 - betas
    return torch.cumprod(alphas, 0)


def add_noise(x0, noise, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def diffuse_one_step(x, noise, beta_t):
    b = beta_t.view(-1, 1, 1, 1)
    return (1 - b).sqrt() * x + b.sqrt() * noise


def log_snr(alpha_bar):
    return torch.log(alpha_bar / (1 - alpha_bar))


def zero_terminal_snr(betas):
    root = torch.cumprod(1 - betas, 0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    root = (root - last) * first / (first - last)
    alpha_bar = root**2
    alphas = torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
    return 1 - alphas


def simulate_chain(x0, betas, generator):
    x = x0
    for beta in betas:
        noise = torch.randn(x0.shape, generator=generator)
        x = (1 - beta).sqrt() * x + beta.sqrt() * noise
    return x
