"""Chapter 7: training. `course check ch07` tells how far you are. Do not change your arguments."""

import math

import torch
from torch import Tensor


def training_step(weight: Tensor, x0: Tensor, noise: Tensor, alpha_bar_t: Tensor, learning_rate: float) -> Tensor:
    """One step of gradient descent on L_simple for the smallest denoiser there is: eps_hat = x_t @ weight.

    The loss is the mean over all B * D entries. Take the gradient with torch.autograd or by hand. weight: (D, D); it may require
    grad. x0, noise: (B, D). alpha_bar_t: (B,). Returns the new weight (D, D), detached (requires_grad False).
    """
    raise NotImplementedError


def ema_update(average: Tensor, value: Tensor, decay: float, step: int) -> Tensor:
    """The moving average of the weights, with a warm-up so that the random start is soon forgotten.

    The average keeps the share d of itself: d is decay, but at most (1 + step) / (10 + step), where step counts the updates done
    before this one, from 0. Returns a tensor like average.
    """
    raise NotImplementedError


def drop_captions(context: Tensor, empty: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Replace whole captions by the empty one, so that one network learns both predictions guidance needs
    (Ho and Salimans 2022, alg. 1).

    Image b loses its caption where draws[b] < probability.

    context: (B, L, D). empty: (L, D), the empty caption. draws: (B,), uniform in [0, 1). Returns a tensor like context.
    """
    raise NotImplementedError


def train(data: Tensor, alphas_cumprod: Tensor, steps: int, generator: torch.Generator, record) -> list[Tensor]:
    """The whole of training: a network of your own that denoises points in the plane, trained by a loop of your own.

    It has to predict the noise at every level, so it has to be told the level. The check gives you some thousand points of a ring of
    six bumps, 1000 levels and 800 steps, and runs this for some seconds. It measures the error of the result at seven levels against
    the exact denoiser, compares samples drawn with it with the data, and watches the loop: call `record(x_t, alpha_bar_t, target)` in
    every tenth step (0, 10, 20, ...), with the batch that the network is shown, (B, 2) and (B,), and with what its answer is compared
    with, (B, 2).
    Whether you return the last weights or an average of them is up to you: after so short a training they can't be told apart.

    Two hidden layers of 64 and Adam at 0.003 with batches of 256 are plenty; a batch has at least 16 points.
    data: (N, 2), float32. alphas_cumprod: (T,). Draw whatever is random from `generator`, the first weights too (the global random
    generator is not for you; torch.nn.Linear takes its first values from it, so fill weights from `generator` instead).
    Returns the trained weights as a list of tensors, 200 kB at most, in whatever order `denoised` below wants them.
    """
    raise NotImplementedError


def weights(tensors: dict[str, Tensor]) -> list[Tensor]:
    """A network that you trained at leisure: as long as you like, with your `train` or anything else, on the same ring, table and levels.

        world, table = course.toy.ring(), (1 - course.schedule.scaled_linear_betas(1000, 0.00085, 0.012)).cumprod(0)
        safetensors.torch.save_file({"w1": ..., "b1": ..., ...}, "exercises/ch07_weights.safetensors")

    The file, 200 kB at most, is handed in beside this one. The check measures its error at levels that it does not tell, and asks for
    less than the 800 steps of `train` reach. tensors: what is in the file, by name. Returns them as `denoised` below wants them.
    """
    raise NotImplementedError


def denoised(weights: list[Tensor], x: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The noise that your trained network predicts. weights: what `train` returned. x: (B, 2). alpha_bar_t: (B,). Returns (B, 2)."""
    raise NotImplementedError
