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


def weights(tensors):
    return [tensors[name] for name in ("w1", "b1", "w2", "b2", "w3", "b3")]


def denoised(weights, x, alpha_bar_t):
    w1, b1, w2, b2, w3, b3 = weights
    level = torch.stack([alpha_bar_t.sqrt(), (1 - alpha_bar_t).sqrt(), torch.log((1 - alpha_bar_t) / alpha_bar_t) / 8], 1)
    h = torch.nn.functional.silu(torch.cat([x, level], 1) @ w1 + b1)
    h = torch.nn.functional.silu(h @ w2 + b2)
    return h @ w3 + b3


def train(data, alphas_cumprod, steps, generator, record):
    sizes = [(5, 64), (64, 64), (64, 2)]
    weights = []
    for wide, out in sizes:
        weights.append((torch.randn(wide, out, generator=generator) / wide**0.5).requires_grad_())
        weights.append(torch.zeros(out, requires_grad=True))
    average = [w.detach().clone() for w in weights]
    optimiser = torch.optim.Adam(weights, lr=0.004)
    for step in range(steps):
        x0 = data[torch.randint(len(data), (256,), generator=generator)]
        t = torch.randint(len(alphas_cumprod), (256,), generator=generator)
        noise = torch.randn(256, 2, generator=generator)
        a = alphas_cumprod[t]
        xt = a.sqrt()[:, None] * x0 + (1 - a).sqrt()[:, None] * noise
        if step % 10 == 0:
            record(xt, a, noise)
        loss = ((denoised(weights, xt, a) - noise) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average = [ema_update(m, w.detach(), 0.98, step) for m, w in zip(average, weights)]
    return average
