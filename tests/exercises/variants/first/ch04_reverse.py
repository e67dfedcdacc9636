import torch


def predict_x0(xt, eps, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return (xt - (1 - a).sqrt() * eps) / a.sqrt()


def predict_eps(xt, x0, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return (xt - a.sqrt() * x0) / (1 - a).sqrt()


def velocity(x0, eps, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return a.sqrt() * eps - (1 - a).sqrt() * x0


def score_from_eps(eps, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return -eps / (1 - a).sqrt()


def posterior_mean(x0, xt, alpha_bar_t, alpha_bar_prev):
    now = alpha_bar_t.view(-1, 1, 1, 1)
    prev = alpha_bar_prev.view(-1, 1, 1, 1)
    alpha = now / prev
    beta = 1 - alpha
    return prev.sqrt() * beta / (1 - now) * x0 + alpha.sqrt() * (1 - prev) / (1 - now) * xt


def posterior_variance(alpha_bar_t, alpha_bar_prev):
    beta = 1 - alpha_bar_t / alpha_bar_prev
    return (1 - alpha_bar_prev) / (1 - alpha_bar_t) * beta
