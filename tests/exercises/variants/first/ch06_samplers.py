import math

import torch


def leading_timesteps(steps, train_steps=1000, offset=1):
    if not 1 <= steps <= train_steps:
        raise ValueError(f"steps must lie between 1 and {train_steps}; got {steps}")
    stride = train_steps // steps
    times = [i * stride + offset for i in range(steps)]
    if times[-1] >= train_steps:
        raise ValueError(f"timestep {times[-1]} was never trained; the last one is {train_steps - 1}")
    return times[::-1]


def linspace_timesteps(steps, train_steps=1000):
    if steps == 1:
        return [0.0]
    return [(train_steps - 1) * i / (steps - 1) for i in reversed(range(steps))]


def rounded_timesteps(steps, train_steps=1000):
    times = [round((train_steps - 1) * i / steps) for i in range(steps + 1)]
    return times[:0:-1]


def ratio_at(t, alphas_cumprod):
    low = int(t)
    high = min(low + 1, len(alphas_cumprod) - 1)
    share = t - low
    ratios = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    return float((1 - share) * ratios[low] + share * ratios[high])


def ddpm_step(x, eps, now, next, noise):
    x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
    alpha = now / next
    beta = 1 - alpha
    mean = math.sqrt(next) * beta / (1 - now) * x0 + math.sqrt(alpha) * (1 - next) / (1 - now) * x
    variance = (1 - next) / (1 - now) * beta
    return mean + math.sqrt(variance) * noise


def ddim_step(x, eps, now, next):
    x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
    return math.sqrt(next) * x0 + math.sqrt(1 - next) * eps


def ddim_sample(denoise, x, grid):
    for now, next in zip(grid[:-1], grid[1:]):
        x = ddim_step(x, denoise(x, now), now, next)
    return x


def heun_sample(denoise, x, grid):
    for now, next in zip(grid[:-1], grid[1:]):
        eps = denoise(x, now)
        if next < 1.0:
            trial = ddim_step(x, eps, now, next)
            eps = (eps + denoise(trial, next)) / 2
        x = ddim_step(x, eps, now, next)
    return x


def plms_sample(denoise, x, grid):
    past = []
    for now, next in zip(grid[:-1], grid[1:]):
        past = [denoise(x, now), *past[:3]]
        if len(past) == 1 and len(grid) > 2:
            trial = ddim_step(x, past[0], now, next)
            eps = (past[0] + denoise(trial, next)) / 2
        elif len(past) == 1:
            eps = past[0]
        elif len(past) == 2:
            eps = (3 * past[0] - past[1]) / 2
        elif len(past) == 3:
            eps = (23 * past[0] - 16 * past[1] + 5 * past[2]) / 12
        else:
            eps = (55 * past[0] - 59 * past[1] + 37 * past[2] - 9 * past[3]) / 24
        x = ddim_step(x, eps, now, next)
    return x


def lms_weights(ratios, step, order=4):
    count = min(order, step + 1)
    nodes = [ratios[step - j] for j in range(count)]
    start, end = ratios[step], ratios[step + 1]
    weights = []
    for j in range(count):
        polynomial = [1.0]
        for m in range(count):
            if m != j:
                scale = nodes[j] - nodes[m]
                shifted = [0.0, *polynomial]
                lowered = [-nodes[m] * c for c in polynomial] + [0.0]
                polynomial = [(a + b) / scale for a, b in zip(shifted, lowered)]
        weights.append(sum(c * (end ** (n + 1) - start ** (n + 1)) / (n + 1) for n, c in enumerate(polynomial)))
    return weights


def dpmpp_2m_sample(denoise, x, grid):
    def lam(level):
        return math.log(math.sqrt(level) / math.sqrt(1 - level))

    before = None
    for i in range(len(grid) - 1):
        now, next = grid[i], grid[i + 1]
        eps = denoise(x, now)
        d = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
        guess = d
        if before is not None and next < 1.0:
            r = (lam(now) - lam(grid[i - 1])) / (lam(next) - lam(now))
            guess = d + (d - before) / (2 * r)
        x = math.sqrt(next) * guess + math.sqrt(1 - next) * (x - math.sqrt(now) * guess) / math.sqrt(1 - now)
        before = d
    return x


def lms_sample(denoise, x, grid):
    ratios = [math.sqrt((1 - a) / a) for a in grid]
    past = []
    for i in range(len(grid) - 1):
        past = [denoise(x, grid[i]), *past[:3]]
        change = 0
        for weight, eps in zip(lms_weights(ratios, i), past):
            change = change + weight * eps
        x = math.sqrt(grid[i + 1]) * (x / math.sqrt(grid[i]) + change)
    return x


def eta_step(x, eps, now, next, eta, noise):
    x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
    s = eta * math.sqrt((1 - next) / (1 - now) * (1 - now / next))
    return math.sqrt(next) * x0 + math.sqrt(1 - next - s**2) * eps + s * noise


def measured_order(steps, errors):
    pairs = [(math.log(n), math.log(e)) for n, e in zip(steps, errors) if e > 1e-12]
    if len({n for n, _ in pairs}) < 2:
        raise ValueError("two different numbers of steps are needed")
    mean_n = sum(n for n, _ in pairs) / len(pairs)
    mean_e = sum(e for _, e in pairs) / len(pairs)
    return -sum((n - mean_n) * (e - mean_e) for n, e in pairs) / sum((n - mean_n) ** 2 for n, _ in pairs)
