"""Chapter 7: training. `course check ch07` tells how far you are. Do not change your arguments."""

import torch
from torch import Tensor


def training_step(weight: Tensor, x0: Tensor, noise: Tensor, alpha_bar_t: Tensor, learning_rate: float) -> Tensor:
    """One step of gradient descent for the smallest denoiser there is: eps_hat = x_t @ weight.

        x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise
        loss = mean over all B * D entries of (noise - x_t @ weight)^2
        new weight = weight - learning_rate * d loss / d weight

    Take the gradient with torch.autograd or by hand. weight: (D, D). x0, noise: (B, D). alpha_bar_t: (B,).
    Returns the new weight (D, D), detached (requires_grad False).
    """
    raise NotImplementedError


def ema_update(average: Tensor, value: Tensor, decay: float, step: int) -> Tensor:
    """The moving average of the weights, with a warm-up so that the random start is soon forgotten.

        d = min(decay, (1 + step) / (10 + step)),   new average = d * average + (1 - d) * value

    step: number of updates done before this one, from 0. Returns a tensor like average.
    """
    raise NotImplementedError


def drop_captions(context: Tensor, empty: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Replace whole captions by the empty one, so that one network learns both predictions guidance needs
    (Ho and Salimans 2022, alg. 1).

    Image b loses its caption where draws[b] < probability.

    context: (B, L, D). empty: (L, D), the empty caption. draws: (B,), uniform in [0, 1). Returns a tensor like context.
    """
    raise NotImplementedError
