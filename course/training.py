"""Training a denoiser: the losses, and one loop.

A network is a function (x, level) -> eps, x_0 or v; `as_eps` of prediction.py makes any of them a denoiser. Training draws a
clean x_0, a time t and noise eps, shows the network x_t, and takes a step down the squared error of its answer:

    loss = mean over the batch of  weight(SNR_t) * || target - network(x_t, level_t) ||^2 / D

At one level the errors of eps, x_0 and v are the same error in different units (see `PER_X0`). So a loss is a weight, and any
network can be trained by any loss. This file is for small networks and for reading; `course train emoji` trains the big ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from course.flow import FlowSchedule
from course.forward import add_noise
from course.prediction import Denoise, v_from_eps
from course.schedule import Level, NoiseSchedule

GAMMA = 5.0   # where min-SNR stops following the SNR (Hang et al. 2023, section 3.4)

# What each loss pays for one unit of squared error of x_0, as a function of SNR = alpha^2 / sigma^2. An error delta of eps is
# an error -delta sigma/alpha of x_0 and delta/alpha of v, hence SNR and SNR + 1   (Salimans and Ho 2022, section 4).
PER_X0: dict[str, Callable[[Tensor], Tensor]] = {
    "epsilon": lambda snr: snr,                          # L_simple of Ho et al. 2020, eq. 14
    "sample": torch.ones_like,                           # plain regression to the clean picture
    "v_prediction": lambda snr: snr + 1,
    "flow_prediction": lambda snr: (snr.sqrt() + 1) ** 2,  # (alpha + sigma)^2 / sigma^2; on the flow's own levels 1 / t^2
    "min_snr": lambda snr: snr.clamp(max=GAMMA),         # Hang et al. 2023, section 3.4
}


def weight(loss: str, prediction: str, snr: Tensor) -> Tensor:
    """What multiplies || target - output ||^2 if the network predicts `prediction` and is to be trained by `loss`.

    min-SNR for a network that predicts eps: min(SNR, 5) / SNR; for one that predicts v: min(SNR, 5) / (SNR + 1).
    snr (B,), positive -> (B,). Raises ValueError for an unknown name.
    """
    for name, known in ((loss, PER_X0), (prediction, ("epsilon", "sample", "v_prediction", "flow_prediction"))):
        if name not in known:
            raise ValueError(f"unknown loss or prediction {name!r}; known are {', '.join(known)}")
    return PER_X0[loss](snr) / PER_X0[prediction](snr)


def target(prediction: str, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    """What the network should have answered: eps, x_0, v = alpha eps - sigma x_0, or a flow's eps - x_0. Shaped like x0."""
    if prediction == "v_prediction":
        return v_from_eps(eps, add_noise(x0, eps, level), level)
    return {"epsilon": eps, "sample": x0, "flow_prediction": eps - x0}[prediction]


def denoising_loss(network: Denoise, x0: Tensor, eps: Tensor, level: Level, prediction: str = "epsilon",
                   loss: str = "epsilon") -> Tensor:
    """The weighted mean squared error of one batch; one call of the network. x0, eps (B, ...), level from `gather` -> ()."""
    output = network(add_noise(x0, eps, level), level)
    if output.shape != x0.shape:
        raise ValueError(f"the network was given {tuple(x0.shape)} and answered {tuple(output.shape)}; they must agree")
    snr = level.snr.reshape(len(x0))                                                        # (B,)
    error = (target(prediction, x0, eps, level) - output).square().flatten(1).mean(1)       # (B,)
    return (weight(loss, prediction, snr) * error).mean()


def train(network: nn.Module, draw: Callable[[torch.Generator], Tensor | tuple[Tensor, Tensor]],
          schedule: NoiseSchedule | FlowSchedule, steps: int, *,
          loss: str = "epsilon", lr: float = 2e-3, ema: float = 0.999, seed: int = 0) -> Iterator[tuple[float, nn.Module]]:
    """Train in place; yield (loss, averaged network) after every step, so that the caller can look, or stop, at any time.

    draw(generator) -> clean batch (B, ...) on the CPU, or a pair (clean, noise) whose partners belong together (course.flow.couple).
    What the network predicts is schedule.prediction_type. Adam, the
    learning rate falling along a cosine to zero, gradients clipped to norm 1; the yielded network is one object, the running
    average of the weights with decay min(ema, (1 + i) / (10 + i)), and is the one to sample from. Batches, times and noise
    come from `seed`; the network's start is the caller's. Raises FloatingPointError when the loss is not finite.
    """
    accelerator = Accelerator()
    average = copy.deepcopy(network).to(accelerator.device).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), lr)
    decline = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network, optimizer = accelerator.prepare(network, optimizer)
    generator = torch.Generator().manual_seed(seed + accelerator.process_index)
    network.train()
    for i in range(steps):
        drawn = draw(generator)
        x0 = drawn[0] if isinstance(drawn, tuple) else drawn                                # (B, ...)
        t = torch.randint(len(schedule), (len(x0),), generator=generator)                   # (B,)
        eps = drawn[1] if isinstance(drawn, tuple) else torch.randn(x0.shape, generator=generator)
        x0, t, eps = (each.to(accelerator.device) for each in (x0, t, eps))
        value = denoising_loss(network, x0, eps, schedule.gather(t, x0.ndim), schedule.prediction_type, loss)
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss is {value.item()} at step {i}: lower the learning rate, or look for NaN in "
                                     "the data")
        optimizer.zero_grad()
        accelerator.backward(value)
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decline.step()
        decay = min(ema, (1 + i) / (10 + i))
        with torch.no_grad():
            for slow, fast in zip(average.state_dict().values(), accelerator.unwrap_model(network).state_dict().values(),
                                  strict=True):
                slow.copy_(torch.lerp(fast, slow, decay) if slow.is_floating_point() else fast)
        yield value.item(), average


class PointNet(nn.Module):
    """A denoiser for points of the plane: time as sines and cosines, then residual layers. (x (B, D), level) -> (B, D)."""

    frequencies: Tensor

    def __init__(self, dimensions: int = 2, width: int = 128, depth: int = 3, frequencies: int = 16) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, 6, frequencies)), persistent=False)
        self.enter = nn.Linear(dimensions + 2 * frequencies, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.leave = nn.Linear(width, dimensions)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        t = torch.as_tensor(level.t, dtype=x.dtype, device=x.device).expand(len(x)) / 1000  # (B,)
        phase = t[:, None] * self.frequencies                                               # (B, F)
        h = self.enter(torch.cat([x, phase.sin(), phase.cos()], dim=1))                     # (B, width)
        for layer in self.layers:
            h = h + layer(nn.functional.silu(h))
        return self.leave(nn.functional.silu(h))                                            # (B, D)
