import math

import numpy as np
import torch


def mean_and_covariance(features):
    if features.shape[0] < 2:
        raise ValueError("N < 2")
    table = features.to(torch.float64)
    return table.mean(dim=0), torch.cov(table.T).reshape(table.shape[1], table.shape[1])


def frechet_distance(mean1, covariance1, mean2, covariance2):
    eigenvalues = torch.linalg.eigvals(covariance1 @ covariance2).real.clamp(min=0)
    distance = torch.dot(mean1 - mean2, mean1 - mean2)
    return (distance + torch.trace(covariance1 + covariance2) - 2 * eigenvalues.sqrt().sum()).item()


CALLS = {"ddpm": (1, 0), "ddim": (1, 0), "lms": (1, 0), "euler": (1, 0), "euler_ancestral": (1, 0),
         "dpmpp_2m": (1, 0), "heun": (2, -1), "pndm": (1, 1)}


def model_calls(sampler, steps):
    if sampler not in CALLS or steps <= 0:
        raise ValueError(sampler)
    per_step, extra = CALLS[sampler]
    return 1 if steps == 1 else per_step * steps + extra


def mislabelled(runs):
    found = []
    for position, run in enumerate(runs):
        title = "".join(c if c.isalnum() else " " for c in run["section"].upper()).split()
        samplers = set(title) & {"DDIM", "DDPM", "PNDM", "LMS", "HEUN", "EULER", "DPM"}
        if samplers and not run["scheduler"].upper().startswith(tuple(samplers)):
            found.append(position)
    return found
