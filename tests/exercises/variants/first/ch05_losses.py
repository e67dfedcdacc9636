import torch


def kl_gaussians(mean_q, log_var_q, mean_p, log_var_p):
    terms = log_var_p - log_var_q + (log_var_q.exp() + (mean_q - mean_p) ** 2) / log_var_p.exp() - 1
    return 0.5 * terms.sum(1)


def simple_loss(denoise, x0, noise, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    xt = a.sqrt() * x0 + (1 - a).sqrt() * noise
    predicted = denoise(xt, alpha_bar_t)
    return ((noise - predicted) ** 2).mean()


def vlb_weight(alpha_bar_t, alpha_bar_prev):
    alpha = alpha_bar_t / alpha_bar_prev
    beta = 1 - alpha
    return beta**2 / (2 * beta * alpha * (1 - alpha_bar_t))


def min_snr_weight(alpha_bar_t, gamma=5.0):
    snr = alpha_bar_t / (1 - alpha_bar_t)
    return snr.clamp(max=gamma) / snr
