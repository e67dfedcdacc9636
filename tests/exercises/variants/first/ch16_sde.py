import torch


def trace_guess(jacobian, probes):
    image = torch.einsum("bij,kbj->kbi", jacobian, probes)
    return (probes * image).sum(2).mean(0)


def log_likelihood(eps, divergence, log_prior, u, ratios):
    total = 0.0
    for r, s in zip(ratios[:-1], ratios[1:]):
        total = total + (s - r) * divergence(u, r)
        u = u + (s - r) * eps(u, r)
    return log_prior(u) + total


def share_of_copies(samples, training, fresh, quantile):
    near = torch.cdist(samples, training).min(1).values
    usual = torch.cdist(fresh, training).min(1).values
    return (near < torch.quantile(usual, quantile)).double().mean().item()


def sliced_loss(weight, x, probes):
    slices = ((probes @ weight) * probes).sum(1)
    return (slices + (x @ weight).square().sum(1) / 2).mean()
