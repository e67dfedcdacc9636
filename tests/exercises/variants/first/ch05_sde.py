import torch


def reverse_step(x, score, beta, noise, strength):
    drift = 0.5 * beta * x + 0.5 * (1 + strength**2) * beta * score
    return x + drift + strength * beta**0.5 * noise


def reverse_sample(score, x, betas, strength, generator):
    for i in reversed(range(len(betas))):
        noise = torch.randn(x.shape, generator=generator)
        x = reverse_step(x, score(x, i), float(betas[i]), noise, strength)
    return x


def langevin(score, x, step, count, generator):
    for _ in range(count):
        noise = torch.randn(x.shape, generator=generator)
        x = x + step / 2 * score(x) + step**0.5 * noise
    return x
