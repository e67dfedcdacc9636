import torch


def interval_scale(alpha_bar, scale, low, high):
    squared = 1 / alpha_bar - 1
    if squared < low * low or squared > high * high:
        return 1.0
    return float(scale)


def plus_plus_scale(now, next, strength):
    back = (next * (1 - now) / now) ** 0.5
    return strength * back / (back - (1 - next) ** 0.5)


def project_guidance(unconditional, conditional, scale):
    flat = torch.nn.functional.normalize(conditional.flatten(1), dim=1)
    d = (conditional - unconditional).flatten(1)
    across = d - (d * flat).sum(1, keepdim=True) * flat
    return conditional + (scale - 1) * across.reshape(conditional.shape)
