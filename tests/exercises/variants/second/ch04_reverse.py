import torch


def _alpha_sigma(alpha_bar):
    alpha_bar = alpha_bar[:, None, None, None]
    return torch.sqrt(alpha_bar), torch.sqrt(1 - alpha_bar)


def predict_x0(xt, eps, alpha_bar_t):
    alpha, sigma = _alpha_sigma(alpha_bar_t)
    return xt / alpha - sigma / alpha * eps


def predict_eps(xt, x0, alpha_bar_t):
    alpha, sigma = _alpha_sigma(alpha_bar_t)
    return xt / sigma - alpha / sigma * x0


def velocity(x0, eps, alpha_bar_t):
    alpha, sigma = _alpha_sigma(alpha_bar_t)
    angle = torch.atan2(sigma, alpha)
    return torch.lerp(torch.cos(angle) * eps, torch.cos(angle) * eps - 2 * torch.sin(angle) * x0, 0.5)


def score_from_eps(eps, alpha_bar_t):
    return torch.stack([-e / torch.sqrt(1 - a) for e, a in zip(eps, alpha_bar_t, strict=True)])


def posterior_mean(x0, xt, alpha_bar_t, alpha_bar_prev):
    alpha_t, sigma_t = _alpha_sigma(alpha_bar_t)
    alpha_s, sigma_s = _alpha_sigma(alpha_bar_prev)
    a = alpha_t / alpha_s
    b = sigma_t**2 - a**2 * sigma_s**2
    return (a * sigma_s**2 * xt + alpha_s * b * x0) / sigma_t**2


def posterior_variance(alpha_bar_t, alpha_bar_prev):
    return (alpha_bar_prev - alpha_bar_t) * (1 - alpha_bar_prev) / (alpha_bar_prev * (1 - alpha_bar_t))
