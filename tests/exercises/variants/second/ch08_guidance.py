import torch


def guide(unconditional, conditional, scale):
    return scale * conditional + (1 - scale) * unconditional


def guided_noise(denoise, x, alpha_bar, negative, positive, scale):
    batch = len(x)
    out = denoise(x.repeat(2, 1, 1, 1), alpha_bar, torch.cat((negative, positive), dim=0))
    return out[:batch] + scale * (out[batch:] - out[:batch])


def rescale_guidance(guided, conditional, share):
    results = []
    for g, c in zip(guided, conditional, strict=True):
        results.append(g * (share * c.std() / g.std() + 1 - share))
    return torch.stack(results)
