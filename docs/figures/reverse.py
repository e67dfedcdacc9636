"""Chapter 4: why small steps back are nearly normal, and how two losses weigh the noise levels."""

import numpy as np
import torch

from course.forward import add_noise, transition
from course.schedule import CLEAN, Level, NoiseSchedule, linear_betas
from course.toy import x0_guess

from .common import BLUE, GREEN, INK, ORANGE, PURPLE, axes, figure
from .forward import WORLD, density, normal, stable_diffusion_schedule


def step_back(seen: float, earlier: Level, later: Level, x: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """q(x_earlier | x_later = seen) of the two bumps on the evenly spaced points x, its mean and variance, and KL in nats to the normal
    distribution with these two."""
    a, b = transition(earlier, later)
    true, dx = normal(seen, a * x, b) * density(x, earlier), x[1] - x[0]
    true /= true.sum() * dx
    mean = float((true * x).sum() * dx)
    variance = float((true * (x - mean) ** 2).sum() * dx)
    surprise = np.log(np.maximum(true, 1e-300)) + (x - mean) ** 2 / (2 * variance) + np.log(2 * np.pi * variance) / 2
    return true, mean, variance, float((true * surprise).sum() * dx)


def steps_back() -> str:
    schedule = stable_diffusion_schedule()
    later, seen = schedule.at(400), -0.05
    x = np.linspace(-2.6, 2.2, 600)
    drawn, panels = axes(1, 3, width=7.4, height=2.5, sharey=False)
    for ax, t in zip(panels, (380, 200, None), strict=True):
        earlier = CLEAN if t is None else schedule.at(t)
        true, mean, variance, _ = step_back(seen, earlier, later, x)
        ax.fill_between(x, true, color=BLUE, alpha=0.5, lw=0, label="true step back")
        ax.plot(x, normal(x, mean, variance), color=ORANGE, label="best normal")
        ax.set(title="to the clean picture" if t is None else f"{later.t - t} steps back", xlabel="x", yticks=[])
        ax.spines["left"].set_visible(False)
    panels[0].legend(loc="upper left", fontsize=8, bbox_to_anchor=(-0.05, 1.0))
    return figure(
        drawn,
        "steps-back",
        "Three panels. Twenty steps back from time 400 the true distribution is a bell, and the normal curve covers it. "
        "200 steps back it is lopsided. All the way back it has two separate peaks, and the normal curve fits neither.",
        "Standing at time 400, at a point between the two bumps: where was this picture earlier? After a small step back the "
        "answer is nearly normal. After a large one it is not: the picture came from one bump or from the other.",
        stack=True,
    )


def weights() -> str:
    schedule = NoiseSchedule(linear_betas(1000, 1e-4, 0.02))
    alpha_bar = schedule.alphas_cumprod.double().numpy()
    beta = schedule.betas.double().numpy()
    t = np.arange(1, 1000)
    beta_tilde = (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:]) * beta[1:]
    bound = beta[1:] ** 2 / (2 * beta_tilde * (1 - beta[1:]) * (1 - alpha_bar[1:]))
    snr = (alpha_bar / (1 - alpha_bar))[1:]
    drawn, ax = axes(width=6.4, height=3.0)
    for name, weight, colour in [
        ("the bound", bound, BLUE),
        ("simple: the same for all", np.ones_like(bound), ORANGE),
        ("squared error of x0", 1 / snr, GREEN),
        ("squared error of v", (1 + snr) / snr, PURPLE),
    ]:
        ax.semilogy(t, weight / weight[499], color=colour, label=name)
    ax.axhline(1, color=INK, lw=0.4)
    ax.set(xlabel="time t", ylabel="weight of the squared error of eps", ylim=(1e-4, 2e3))
    ax.legend(loc="upper center", fontsize=8)
    return figure(
        drawn,
        "weights",
        "Four curves of weight against time on a logarithmic scale, all equal to one at time 500. The bound falls steeply from "
        "about 100 at small times, then stays near one. Simple is level. The squared error of x0 rises from far below one to "
        "far above. The one of v starts near a tenth and joins the one of x0.",
        "The same network, four losses: how much each cares about an error of the predicted noise at time t (linear schedule "
        "of DDPM; each curve is set to 1 at t = 500).",
        stack=True,
    )


def bound_per_picture(steps: int, pictures: int = 4000) -> float:
    """The negative bound in nats, averaged over pictures of the two-bump world, with the perfect denoiser.

    The steps are evenly spaced in the log signal-to-noise ratio, between the two ends of Stable Diffusion's schedule.
    """
    schedule = stable_diffusion_schedule()
    ratios = np.geomspace(schedule.at(0).ratio, schedule.at(999).ratio, steps)
    grid = [Level(0, (1 + r * r) ** -0.5, r * (1 + r * r) ** -0.5) for r in ratios]
    generator = torch.Generator().manual_seed(0)
    x0 = WORLD.sample(pictures, generator).double()
    last = grid[-1]
    total = 0.5 * (last.alpha**2 * x0**2 - last.alpha**2 - np.log(last.sigma**2))  # L_T
    for earlier, later in zip([None, *grid[:-1]], grid, strict=True):
        eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
        error = (x0 - x0_guess(WORLD, add_noise(x0, eps, later), later)) ** 2
        if earlier is None:  # L_0: a normal around the guess, its variance the best constant
            total += 0.5 * (error / error.mean() + np.log(2 * np.pi * float(error.mean())))
        else:  # L_{t-1}: see the section on weights
            total += 0.5 * (earlier.snr - later.snr) * error
    return float(total.mean())


def entropy(pictures: int = 200_000) -> float:
    """-E[log p(x_0)] of the two-bump world: what no model can beat."""
    x0 = WORLD.sample(pictures, torch.Generator().manual_seed(1)).double()
    return float(-WORLD.log_prob(x0, CLEAN).mean())
