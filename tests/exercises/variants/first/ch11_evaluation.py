import re

import torch


def mean_and_covariance(features):
    if len(features) < 2:
        raise ValueError("a covariance needs at least two rows")
    features = features.double()
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(mean1, covariance1, mean2, covariance2):
    values, vectors = torch.linalg.eigh(covariance1)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    inner = torch.linalg.eigvalsh(root @ covariance2 @ root)
    trace = covariance1.trace() + covariance2.trace() - 2 * inner.clamp(min=0).sqrt().sum()
    return float(((mean1 - mean2) ** 2).sum() + trace)


def model_calls(sampler, steps):
    if steps < 1:
        raise ValueError("at least one step")
    if sampler == "heun":
        return 2 * steps - 1
    if sampler == "pndm":
        return steps + 1 if steps > 1 else 1
    if sampler in ("ddpm", "ddim", "lms", "euler", "euler_ancestral", "dpmpp_2m"):
        return steps
    raise ValueError(f"unknown sampler {sampler!r}")


def mislabelled(runs):
    names = ("ddim", "ddpm", "pndm", "lms", "heun", "euler", "dpm")
    wrong = []
    for i, run in enumerate(runs):
        words = re.findall(r"[a-z0-9]+", run["section"].lower())
        named = [name for name in names if name in words]
        if named and not any(run["scheduler"].lower().startswith(name) for name in named):
            wrong.append(i)
    return wrong
