"""Chapter 15: guidance, compared. `course check ch15` tells how far you are. Do not change your arguments."""

from torch import Tensor


def interval_scale(alpha_bar: float, scale: float, low: float, high: float) -> float:
    """The guidance scale at a noise level, if guidance is limited to an interval of sigma / alpha (Kynkaanniemi et al. 2024).

    alpha_bar in (0, 1). low and high bound sigma / alpha, both included; high may be infinite. Outside, the prompt counts
    without guidance. Returns a float.
    """
    raise NotImplementedError


def plus_plus_scale(now: float, next: float, strength: float) -> float:
    """The plain guidance scale that CFG++ (Chung et al. 2024) amounts to in the DDIM step from alpha_bar `now` to `next`.

    CFG++ takes x_0 from unconditional + strength * (conditional - unconditional), and puts the unconditional noise back. Find the
    scale g for which DDIM with plain guidance takes the same step. 0 < now < next <= 1. Returns a float.
    """
    raise NotImplementedError


def project_guidance(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Guidance without the part of the difference that points along the conditional prediction (Sadat et al. 2024; no momentum, no
    limit to its length).

    "Along" is meant for each picture by itself, over all its numbers. Scale 1 is the conditional prediction.
    unconditional, conditional: (B, C, H, W), conditional not zero. Returns a tensor like conditional.
    """
    raise NotImplementedError
