import math

import numpy as np
import torch


def leading_timesteps(steps, train_steps=1000, offset=1):
    if steps < 1 or steps > train_steps:
        raise ValueError("steps")
    times = (np.arange(steps) * (train_steps // steps) + offset)[::-1]
    if times[0] >= train_steps:
        raise ValueError("too late")
    return [int(t) for t in times]


def linspace_timesteps(steps, train_steps=1000):
    return np.linspace(0, train_steps - 1, steps)[::-1].tolist()


def rounded_timesteps(steps, train_steps=1000):
    return np.linspace(0, train_steps - 1, steps + 1).round()[::-1][:-1].astype(int).tolist()


def ratio_at(t, alphas_cumprod):
    table = alphas_cumprod.double().numpy()
    ratios = np.sqrt(1 - table) / np.sqrt(table)
    return float(np.interp(t, np.arange(len(ratios)), ratios))


def ddpm_step(x, eps, now, next, noise):
    x0 = (x - (1 - now) ** 0.5 * eps) / now**0.5
    if next == 1.0:
        return x0
    variance = (1 - next) * (next - now) / (next * (1 - now))
    toward = (1 - next - variance) ** 0.5
    return next**0.5 * x0 + toward * eps + variance**0.5 * noise


def ddim_step(x, eps, now, next):
    keep = (next / now) ** 0.5
    return keep * x + ((1 - next) ** 0.5 - keep * (1 - now) ** 0.5) * eps


def ddim_sample(denoise, x, grid):
    for i in range(1, len(grid)):
        x = ddim_step(x, denoise(x, grid[i - 1]), grid[i - 1], grid[i])
    return x


def heun_sample(denoise, x, grid):
    # the same method in the variable x / sqrt(alpha_bar), where a move is a straight line in the ratio
    def ratio(level):
        return ((1 - level) / level) ** 0.5

    for now, next in zip(grid, grid[1:]):
        y, h = x / now**0.5, ratio(next) - ratio(now)
        e1 = denoise(x, now)
        if next == 1:
            x = (y + h * e1) * next**0.5
        else:
            e2 = denoise((y + h * e1) * next**0.5, next)
            x = (y + h * (e1 / 2 + e2 / 2)) * next**0.5
    return x


TABLE = {2: [1.5, -0.5], 3: [23 / 12, -16 / 12, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -9 / 24]}


def plms_sample(denoise, x, grid):
    history = []
    for i in range(len(grid) - 1):
        history.append(denoise(x, grid[i]))
        history = history[-4:]
        if i > 0:
            e = sum(w * h for w, h in zip(TABLE[len(history)], reversed(history)))
        elif len(grid) == 2:
            e = history[0]
        else:
            e = 0.5 * history[0] + 0.5 * denoise(ddim_step(x, history[0], grid[0], grid[1]), grid[1])
        x = ddim_step(x, e, grid[i], grid[i + 1])
    return x


def lms_weights(ratios, step, order=4):
    k = min(order, step + 1)
    nodes = np.array([ratios[step - j] for j in range(k)])
    low, high = ratios[step], ratios[step + 1]
    points, masses = np.polynomial.legendre.leggauss(4)     # exact for polynomials up to degree 7
    r = low + (points + 1) / 2 * (high - low)
    weights = []
    for j in range(k):
        values = np.ones_like(r)
        for m in range(k):
            if m != j:
                values *= (r - nodes[m]) / (nodes[j] - nodes[m])
        weights.append(float((masses * values).sum() * (high - low) / 2))
    return weights


def dpmpp_2m_sample(denoise, x, grid):
    alphas, sigmas = np.sqrt(grid), np.sqrt(1 - np.array(grid))
    old = None
    for i in range(len(grid) - 1):
        x0 = (x - float(sigmas[i]) * denoise(x, grid[i])) / float(alphas[i])
        mixed = x0
        if i > 0 and sigmas[i + 1] > 0:
            lambdas = np.log(alphas[i - 1:i + 2] / sigmas[i - 1:i + 2])
            h_last, h = lambdas[1] - lambdas[0], lambdas[2] - lambdas[1]
            mixed = (1 + float(h / h_last) / 2) * x0 - float(h / h_last) / 2 * old
        ratio = float(sigmas[i + 1] / sigmas[i])
        x = ratio * x + float(alphas[i + 1] - ratio * alphas[i]) * mixed
        old = x0
    return x


def lms_sample(denoise, x, grid):
    sigma = [math.sqrt(1 / a - 1) for a in grid]
    scaled, past = x / grid[0] ** 0.5, []
    for i in range(len(grid) - 1):
        past.insert(0, denoise(scaled * grid[i] ** 0.5, grid[i]))
        del past[4:]
        for weight, eps in zip(lms_weights(sigma, i, 4), past):
            scaled = scaled + weight * eps
    return scaled * grid[-1] ** 0.5


def eta_step(x, eps, now, next, eta, noise):
    if next == 1.0:
        return (x - (1 - now) ** 0.5 * eps) / now**0.5
    variance = eta**2 * (1 - next) * (next - now) / (next * (1 - now))
    clean = x / now**0.5 - (1 / now - 1) ** 0.5 * eps
    return next**0.5 * clean + (1 - next - variance) ** 0.5 * eps + variance**0.5 * noise


def measured_order(steps, errors):
    import numpy as np
    keep = [(n, e) for n, e in zip(steps, errors) if e > 1e-12]
    if len(set(n for n, _ in keep)) < 2:
        raise ValueError(f"no slope through {len(keep)} points")
    n, e = np.log(np.array(keep)).T
    return -np.polyfit(n, e, 1)[0]
