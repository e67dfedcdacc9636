import math

import torch


def reverse_step(x, score, beta, noise, strength):
    ode = x * (1 + beta / 2) + score * (beta / 2)
    extra = strength * math.sqrt(beta) * noise + strength * strength * beta / 2 * score
    return ode + extra


def reverse_sample(score, x, betas, strength, generator):
    i = len(betas)
    while i > 0:
        i -= 1
        noise = torch.empty_like(x).normal_(generator=generator)
        x = reverse_step(x, score(x, i), betas[i].item(), noise, strength)
    return x


def langevin(score, x, step, count, generator):
    y = x.clone()
    for _ in range(count):
        gradient = score(y)
        y += 0.5 * step * gradient
        y += math.sqrt(step) * torch.randn(y.shape, generator=generator)
    return y
