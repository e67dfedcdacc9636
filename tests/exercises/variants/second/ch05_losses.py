import torch


def kl_gaussians(mean_q, log_var_q, mean_p, log_var_p):
    q = torch.distributions.Normal(mean_q, torch.exp(log_var_q / 2))
    p = torch.distributions.Normal(mean_p, torch.exp(log_var_p / 2))
    return torch.distributions.kl_divergence(q, p).sum(dim=-1)


def simple_loss(denoise, x0, noise, alpha_bar_t):
    keep = torch.sqrt(alpha_bar_t)[:, None, None, None]
    fresh = torch.sqrt(1 - alpha_bar_t)[:, None, None, None]
    return torch.nn.functional.mse_loss(denoise(keep * x0 + fresh * noise, alpha_bar_t), noise)


def vlb_weight(alpha_bar_t, alpha_bar_prev):
    return (alpha_bar_prev - alpha_bar_t) / (2 * alpha_bar_t * (1 - alpha_bar_t))


def min_snr_weight(alpha_bar_t, gamma=5.0):
    return torch.clamp(gamma * (1 - alpha_bar_t) / alpha_bar_t, max=1.0)
