"""Chapter 16: likelihood, traces and copies. `course check ch16` tells how far you are. Do not change your arguments."""

from torch import Tensor


def trace_guess(jacobian: Tensor, probes: Tensor) -> Tensor:
    """Hutchinson's guess of a trace (Hutchinson 1990): the mean over the probes of v . (J v).

    jacobian: (B, D, D), one matrix for each point. probes: (K, B, D), K vectors of signs for each point. Returns (B,).
    """
    raise NotImplementedError


def log_likelihood(eps, divergence, log_prior, u: Tensor, ratios: list[float]) -> Tensor:
    """The log-density of the points u by the probability-flow ODE, in the units of chapter 5: u = x / alpha, r = sigma / alpha,
    du/dr = eps(u, r).

    Along the flow the log-density changes by minus the divergence of eps, so that log p(u) = log_prior(end of the path) + the
    integral of the divergence over r. Use Euler's method for both, divergence and eps at the beginning of each step.

    eps: (B, D), float -> (B, D). divergence: (B, D), float -> (B,). Each is asked once a step. log_prior: (B, D) -> (B,).
    ratios: rising, from ratios[0] (the data) to ratios[-1] (the prior). Returns (B,).
    """
    raise NotImplementedError


def share_of_copies(samples: Tensor, training: Tensor, fresh: Tensor, quantile: float) -> float:
    """How many samples lie nearer to a training point than nearly all fresh data do.

    The distance of a point is the Euclidean one to its nearest training point. The yardstick is the `quantile` of the distances of
    the fresh points (as torch.quantile takes it). A sample strictly nearer than the yardstick counts as a copy.

    samples: (N, D), training: (M, D), fresh: (F, D), none empty. Returns the share of copies, a float from 0 to 1.
    """
    raise NotImplementedError


def sliced_loss(weight: Tensor, x: Tensor, probes: Tensor) -> Tensor:
    """Sliced score matching (Song et al. 2020, with the norm of the score whole) for the linear score s(x) = x @ weight, point by
    point as rows: the mean over the points of v . (J v) + half the squared length of s(x), with J the Jacobian of s.

    weight: (D, D), not symmetric in general. x, probes: (B, D). Returns a scalar that weight can be trained on.
    """
    raise NotImplementedError
