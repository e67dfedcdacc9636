"""Chapter 13: flow matching. `course check ch13` tells how far you are. Do not change your arguments.

Time runs from t = 0 (the picture) to t = 1 (noise): x_t = (1 - t) x_0 + t noise, with velocity noise - x_0.
"""

from torch import Tensor


def flow_pair(x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """What training shows the network, and what it should answer (Liu, Gong and Liu 2023).

    x0, noise: (B, C, H, W). t: (B,), one time for each picture, in [0, 1], both ends included.
    Returns (x_t, target), each like x0.
    """
    raise NotImplementedError


def from_velocity(v: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The noise and the picture that a velocity v at x_t = x stands for.

    v, x: (B, C, H, W). t: (B,), in [0, 1]: the answer must be finite at both ends. Returns (noise, x0), each like x.
    """
    raise NotImplementedError


def flow_sample(velocity, x: Tensor, times: list[float]) -> Tensor:
    """Follow the flow from noise to a picture by Euler's method.

    velocity: (B, C, H, W), float t -> (B, C, H, W), asked once for each step. x: noise, at times[0].
    times: falling, times[-1] is where to stop. Returns a tensor like x.
    """
    raise NotImplementedError


def sample_other_time(velocity, x: Tensor, times: list[float]) -> Tensor:
    """The same path with a network from a course that counts the other way: it was trained with the data at time 1, and answers
    x_0 - noise when it is told *its* time.

    velocity, x and times as in flow_sample: times are ours, with noise at 1. Returns a tensor like x.
    """
    raise NotImplementedError
