import torch


def training_step(weight, x0, noise, alpha_bar_t, learning_rate):
    xt = alpha_bar_t.sqrt()[:, None] * x0 + (1 - alpha_bar_t).sqrt()[:, None] * noise
    error = xt @ weight - noise
    gradient = 2 / error.numel() * xt.T @ error
    return (weight - learning_rate * gradient).detach()


def ema_update(average, value, decay, step):
    d = min(decay, (1 + step) / (10 + step))
    return torch.lerp(value, average, d)


def drop_captions(context, empty, draws, probability):
    result = context.clone()
    for b in range(len(context)):
        if draws[b] < probability:
            result[b] = empty
    return result
