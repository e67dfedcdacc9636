import torch


def guide(unconditional, conditional, scale):
    return unconditional + scale * (conditional - unconditional)


def guided_noise(denoise, x, alpha_bar, negative, positive, scale):
    both = denoise(torch.cat([x, x]), alpha_bar, torch.cat([negative, positive]))
    first, second = both.chunk(2)
    return guide(first, second, scale)


def rescale_guidance(guided, conditional, share):
    axes = (1, 2, 3)
    factor = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return share * (guided * factor) + (1 - share) * guided
