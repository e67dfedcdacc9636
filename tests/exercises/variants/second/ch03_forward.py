import numpy as np
import torch


def scaled_linear_betas(beta_start, beta_end, steps):
    start, end = np.sqrt(beta_start), np.sqrt(beta_end)
    share = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    return (start + share * (end - start)).square().float()


def cosine_betas(steps, offset=0.008, max_beta=0.999):
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2
    return torch.clamp(1 - f[1:] / f[:-1], max=max_beta).float()


def alphas_cumprod(betas):
    product, result = 1.0, []
    for beta in betas.tolist():
        product *= 1 - beta
        result.append(product)
    return torch.tensor(result)


def add_noise(x0, noise, alpha_bar_t):
    result = torch.empty_like(x0)
    for b in range(len(x0)):
        result[b] = torch.sqrt(alpha_bar_t[b]) * x0[b] + torch.sqrt(1 - alpha_bar_t[b]) * noise[b]
    return result


def diffuse_one_step(x, noise, beta_t):
    keep, fresh = torch.sqrt(1 - beta_t), torch.sqrt(beta_t)
    return torch.einsum("b,bchw->bchw", keep, x) + torch.einsum("b,bchw->bchw", fresh, noise)


def log_snr(alpha_bar):
    return torch.log(alpha_bar) - torch.log1p(-alpha_bar)


def zero_terminal_snr(betas):
    roots = [1.0]
    for beta in betas.double():
        roots.append(roots[-1] * float(1 - beta) ** 0.5)
    first, last = roots[1], roots[-1]
    new = [(r - last) * first / (first - last) for r in roots[1:]]
    return torch.tensor([1 - (now / before) ** 2 for before, now in zip([1.0, *new[:-1]], new)], dtype=torch.float32)


def simulate_chain(x0, betas, generator):
    x = x0.clone()
    for beta in betas.tolist():
        x *= (1 - beta) ** 0.5
        x += beta**0.5 * torch.randn(x.shape, generator=generator)
    return x
