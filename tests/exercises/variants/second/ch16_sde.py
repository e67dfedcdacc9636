import torch


def trace_guess(jacobian, probes):
    total = torch.zeros(len(jacobian), dtype=jacobian.dtype)
    for v in probes:
        total = total + (v[:, None, :] @ jacobian @ v[:, :, None])[:, 0, 0]
    return total / len(probes)


def log_likelihood(eps, divergence, log_prior, u, ratios):
    x, parts = u.clone(), []
    for i in range(len(ratios) - 1):
        h, r = ratios[i + 1] - ratios[i], ratios[i]
        slope = eps(x, r)
        parts.append(h * divergence(x, r))
        x = x + h * slope
    return log_prior(x) + torch.stack(parts).sum(0)


def share_of_copies(samples, training, fresh, quantile):
    def distance(points):
        return torch.linalg.vector_norm(points[:, None] - training[None], dim=2).amin(1)

    yard = distance(fresh).quantile(quantile)
    return int((distance(samples) < yard).sum()) / len(samples)


def sliced_loss(weight, x, probes):
    score = x @ weight
    return torch.einsum("bi,ij,bj->b", probes, weight, probes).mean() + 0.5 * score.pow(2).sum(1).mean()
