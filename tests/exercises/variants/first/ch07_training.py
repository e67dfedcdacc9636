import torch


def training_step(weight, x0, noise, alpha_bar_t, learning_rate):
    a = alpha_bar_t[:, None]
    xt = a.sqrt() * x0 + (1 - a).sqrt() * noise
    w = weight.detach().clone().requires_grad_(True)
    loss = ((noise - xt @ w) ** 2).mean()
    (gradient,) = torch.autograd.grad(loss, w)
    return (w - learning_rate * gradient).detach()


def ema_update(average, value, decay, step):
    d = min(decay, (1 + step) / (10 + step))
    return d * average + (1 - d) * value


def drop_captions(context, empty, draws, probability):
    drop = (draws < probability)[:, None, None]
    return torch.where(drop, empty, context)
