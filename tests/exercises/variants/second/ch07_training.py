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


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = torch.nn.Linear(2 + 8, 96), torch.nn.Linear(96, 96), torch.nn.Linear(96, 2)

    def forward(self, x, alpha_bar):
        angle = torch.atan2((1 - alpha_bar).sqrt(), alpha_bar.sqrt())[:, None] * torch.tensor([1.0, 2.0, 4.0, 8.0])
        h = torch.relu(self.a(torch.cat([x, angle.cos(), angle.sin()], 1)))
        h = h + torch.relu(self.b(h))
        return self.c(h)


def train(data, alphas_cumprod, steps, generator, record):
    net = Net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.shape[-1] ** -0.5 * (2 * torch.rand(parameter.shape, generator=generator) - 1))
    optimiser = torch.optim.AdamW(net.parameters(), 0.004)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        rows = torch.randint(0, data.shape[0], (256,), generator=generator)
        level = alphas_cumprod[torch.randint(0, alphas_cumprod.shape[0], (256,), generator=generator)]
        eps = torch.randn(256, 2, generator=generator)
        noisy = torch.sqrt(level)[:, None] * data[rows] + torch.sqrt(1 - level)[:, None] * eps
        if not step % 10:
            record(noisy, level, eps)
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(net(noisy, level), eps).backward()
        optimiser.step()
        schedule.step()
    return [p.detach() for p in net.parameters()]


def weights(tensors):
    order = [name for name, _ in Net().named_parameters()]
    return [tensors[name] for name in order]


def denoised(weights, x, alpha_bar_t):
    net = Net()
    for parameter, value in zip(net.parameters(), weights):
        parameter.data = value
    with torch.no_grad():
        return net(x, alpha_bar_t)
