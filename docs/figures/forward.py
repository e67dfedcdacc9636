"""Chapter 3: what noise does to a distribution, three schedules, and Bayes' rule between two steps."""

from itertools import pairwise

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from PIL import Image

from course.emoji.data import Scene, render
from course.forward import add_noise, diffuse, posterior, transition
from course.schedule import CLEAN, Level, NoiseSchedule, cosine_betas, linear_betas, scaled_linear_betas
from course.toy import Mixture

from .common import BLUE, GREEN, GREY, INK, ORANGE, axes, figure, picture

WORLD = Mixture([[-1.5], [1.0]], stds=[0.25, 0.25], weights=[0.35, 0.65])  # one-dimensional "data": two bumps
FADE = LinearSegmentedColormap.from_list("fade", [to_rgba(BLUE, 0), to_rgba(BLUE, 0.9)])  # from the page's colour to blue


def normal(x: np.ndarray, mean: float, variance: float) -> np.ndarray:
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def density(x: np.ndarray, level: Level) -> np.ndarray:
    """q(x_t) of the two bumps, exactly."""
    return WORLD.log_prob(torch.from_numpy(x)[:, None], level).exp().numpy()


def stable_diffusion_schedule() -> NoiseSchedule:
    return NoiseSchedule(scaled_linear_betas(1000, 0.00085, 0.012))


def to_noise() -> str:
    schedule = stable_diffusion_schedule()
    x = np.linspace(-3.2, 3.2, 161)
    times = np.arange(0, 1000, 5)
    image = np.stack([density(x, schedule.at(t)) for t in times], axis=1)
    image /= image.max(axis=0)

    generator = torch.Generator().manual_seed(3)
    paths = [torch.tensor([-1.6, -1.4, 0.8, 1.0, 1.2])]
    levels = [CLEAN, *(schedule.at(t) for t in range(1000))]
    for now, later in pairwise(levels):
        paths.append(diffuse(paths[-1], torch.randn(5, generator=generator), now, later))
    paths = torch.stack(paths)[1::8]

    drawn, (left, middle, right) = axes(1, 3, width=7.4, height=2.8, width_ratios=[0.5, 3, 0.5], sharey=True)
    for ax, level in ((left, schedule.at(0)), (right, schedule.at(999))):
        ax.fill_betweenx(x, density(x, level), color=BLUE, alpha=0.6, lw=0)
        ax.set(xticks=[])
        ax.spines["bottom"].set_visible(False)
    left.set(ylabel="x", title="data")
    right.set(title="noise")
    middle.pcolormesh(times, x, image, cmap=FADE, shading="nearest", rasterized=True)
    for path in paths.T:
        middle.plot(np.arange(0, 1000, 8), path, color=ORANGE, lw=0.8)
    middle.set(xlabel="time t", title="five pictures on their way, over the density of all")
    return figure(
        drawn,
        "to-noise",
        "A density with two bumps at time 0 melts into one round bump at time 999. Five wandering lines start in the bumps and "
        "end anywhere in the round one.",
        "Pictures with one pixel. Left, where the data lie; right, where they lie after 1000 small steps of noise; between, "
        "every time in between, with five single pictures on their way.",
    )


def schedules() -> str:
    chosen = {
        "linear (DDPM)": (linear_betas(1000, 1e-4, 0.02), BLUE),
        "scaled linear (Stable Diffusion)": (scaled_linear_betas(1000, 0.00085, 0.012), ORANGE),
        "cosine (improved DDPM)": (cosine_betas(1000), GREEN),
    }
    drawn, (left, right) = axes(1, 2, width=7.4, height=2.8)
    t = np.arange(1000)
    for name, (betas, colour) in chosen.items():
        alpha_bar = NoiseSchedule(betas).alphas_cumprod.double().numpy()
        left.plot(t, alpha_bar, color=colour, label=name)
        right.plot(t, np.log(alpha_bar / (1 - alpha_bar)), color=colour)
    left.set(xlabel="time t", title="share of signal, alpha-bar", ylim=(0, 1.02))
    left.legend(fontsize=8, loc="upper right", bbox_to_anchor=(1.04, 1.02))
    right.axhline(0, color=INK, lw=0.6, ls=":")
    right.set(xlabel="time t", title="log signal-to-noise ratio", ylim=(-14, 11))
    return figure(
        drawn,
        "schedules",
        "Left: three falling curves, the share of signal from one to near zero; linear falls first, scaled linear next, "
        "cosine last. Right: the log signal-to-noise ratio falls from about 9 to minus 10 or, for scaled linear, to minus 5.",
        "Three schedules in use. All three begin with almost no noise. They differ in where they spend their time, and in where they end: "
        "the cosine's ends lowest, and Stable Diffusion's stops early, with a little of the picture left.",
        stack=True,
    )


def bayes() -> str:
    schedule = stable_diffusion_schedule()
    earlier, later = schedule.at(200), schedule.at(300)
    x0, xt = 1.0, -0.2
    a, b = transition(earlier, later)
    mean, variance = posterior(torch.tensor(xt), torch.tensor(x0), later, earlier)
    x = np.linspace(-1.8, 2.3, 400)
    drawn, ax = axes(width=6.6, height=2.6)
    ax.plot(x, normal(x, earlier.alpha * x0, earlier.sigma**2), color=BLUE, label="from the picture: q(x_200 | x_0 = 1)")
    ax.plot(x, normal(x, xt / a, b / a**2), color=GREY, label="from what we see: q(x_300 = -0.2 | x_200) over x_200")
    ax.fill_between(x, normal(x, float(mean), variance), color=ORANGE, alpha=0.5, lw=0, label="both: q(x_200 | x_300, x_0)")
    ax.set(xlabel="x at time 200", yticks=[], ylim=(0, 1.75))
    ax.spines["left"].set_visible(False)
    ax.legend(loc="upper left", fontsize=8)
    return figure(
        drawn,
        "bayes",
        "Three bell curves over the value at time 200. Two broad ones, one around 0.86 and one around minus 0.25. Their "
        "normalised product is narrower and lies between them.",
        "Two pieces of evidence about the value at time 200, each a bell curve, and their product, a narrower one. "
        "It lies nearer to the sharper of the two.",
        stack=True,
    )


def noised_scene() -> str:
    """One picture at six times, all with the same noise."""
    scene = render(Scene(objects=("bear", "horse"), relation="above", colour="white"))
    size = scene.width
    x0 = torch.from_numpy(np.array(scene)).float() / 127.5 - 1                             # (size, size, 3) in [-1, 1]
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    schedule = stable_diffusion_schedule()
    levels = [CLEAN, *(schedule.at(t) for t in (50, 200, 400, 650, 999))]
    frames = [((add_noise(x0, eps, level).clamp(-1, 1) + 1) * 127.5).round().byte().numpy() for level in levels]
    strip = Image.new("RGB", (len(frames) * (size + 2) - 2, size), "white")
    for k, frame in enumerate(frames):
        strip.paste(Image.fromarray(frame), (k * (size + 2), 0))
    return picture(
        strip,
        "noised-scene",
        "A bear above a horse, six times. In the first frame it is clean; in the fifth its shapes can hardly be made out; the last "
        "is noise.",
        "A picture when clean and at times 50, 200, 400, 650 and 999 of Stable Diffusion's schedule, computed by "
        "<code>add_noise</code>. Details go first, shapes later.",
        width=788,
    )
