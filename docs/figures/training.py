"""Chapter 7: one small network trained on the ring by four losses, beside the exact denoiser.

Training takes most of a minute in all; the results are kept in .cache/figures until the code they come from changes.
"""

import hashlib
import time

import numpy as np
import torch
from joblib import Memory

from course.prediction import as_eps
from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import ring
from course.training import PointNet, train

from .common import BLUE, CYCLE, GREY, ORANGE, ROOT, axes, figure

STEPS, BATCH = 2000, 256
LEVELS = (5, 10, 20, 40, 60, 80, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 999)
RUNS = {  # loss -> what the network predicts
    "epsilon": "epsilon",
    "min_snr": "epsilon",
    "v_prediction": "v_prediction",
    "sample": "sample",
}
memory = Memory(ROOT / ".cache" / "figures", verbose=0)


def sources() -> str:
    """A hash of everything outside `trained` that its result depends on."""
    modules = ("training.py", "toy.py", "schedule.py", "grids.py", "forward.py", "prediction.py", "samplers/*.py")
    code = b"".join(path.read_bytes() for name in modules for path in sorted((ROOT / "course").glob(name)))
    return hashlib.sha256(code + repr((STEPS, BATCH, LEVELS, RUNS)).encode()).hexdigest()


@memory.cache
def trained(loss: str, source: str) -> dict:
    """Train once, keep what the page shows. `source` is there so that the cache forgets when the code changes."""
    world, schedule = ring(), NoiseSchedule.from_config({**SD_V1, "prediction_type": RUNS[loss]})
    torch.manual_seed(0)
    network, losses, start = PointNet(), [], time.perf_counter()
    average = network
    for value, average in train(network, lambda g: world.sample(BATCH, g), schedule, STEPS, loss=loss):  # noqa: B007
        losses.append(value)
    seconds = time.perf_counter() - start
    denoise = as_eps(torch.no_grad()(average), RUNS[loss])
    generator = torch.Generator().manual_seed(1)
    x0, errors = world.sample(4000, generator), []
    for t in LEVELS:
        level = schedule.at(t)
        x = level.alpha * x0 + level.sigma * torch.randn(x0.shape, generator=generator)
        errors.append(float((denoise(x, level) - world.denoise(x, level)).square().mean().sqrt()))
    samples = SAMPLERS["heun"].sample(denoise, torch.randn(4000, 2, generator=generator), schedule, 40)
    return {"losses": np.array(losses), "seconds": seconds, "errors": errors, "samples": samples.double(),
            "parameters": sum(p.numel() for p in network.parameters())}


def run(loss: str) -> dict:
    return trained(loss, sources())


def floor(points: int = 200_000) -> float:
    """The simple loss of the exact denoiser: what no network can go below."""
    world, schedule = ring(), NoiseSchedule.from_config(SD_V1)
    generator = torch.Generator().manual_seed(2)
    total = 0.0
    for t in range(0, 1000, 10):
        level = schedule.at(t)
        x0 = world.sample(points // 100, generator).double()
        eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
        x = level.alpha * x0 + level.sigma * eps
        total += float((world.denoise(x, level) - eps).square().mean()) / 100
    return total


def quality(samples: torch.Tensor) -> tuple[float, float, float]:
    """(share within three widths of a spot, width of the spots, largest error of a spot's share) of points (n, 2)."""
    world = ring()
    distance = torch.cdist(samples.double(), world.means)
    nearest = distance.min(dim=1)
    inside = nearest.values < 3 * float(world.stds[0])
    share = torch.bincount(nearest.indices, minlength=6) / len(samples)
    width = float((nearest.values[inside].square().mean() / 2).sqrt())
    return float(inside.double().mean()), width, float((share - 1 / 6).abs().max())


def before_and_after() -> str:
    result, truth = run("epsilon"), ring().sample(4000, torch.Generator().manual_seed(4))
    drawn, (left, middle, right) = axes(1, 3, width=7.4, height=2.7, width_ratios=[1.5, 1, 1])
    losses = result["losses"]
    smooth = np.convolve(losses, np.ones(100) / 100, mode="valid")
    left.plot(losses, color=GREY, lw=0.3, alpha=0.6, rasterized=True)
    left.plot(np.arange(len(smooth)) + 99, smooth, color=BLUE)
    left.axhline(floor(), color=ORANGE, ls="--", lw=1.2)
    left.text(STEPS, 0.215, "dashed: the exact denoiser", color=ORANGE, ha="right", fontsize=9)
    left.set(xlabel="training step", title="the loss", ylim=(0.2, 0.7))
    for ax, points, title in ((middle, truth, "data"), (right, result["samples"], "samples")):
        ax.scatter(*points[:2000].T, s=1.5, color=BLUE, lw=0, rasterized=True)
        ax.set(title=title, xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[])
    return figure(
        drawn,
        "before-and-after",
        "Left: the loss falls within a few hundred steps from 0.6 to about 0.3 and stays there, on the dashed line of the "
        "exact denoiser. Middle and right: six spots of points, of the data and of the network. They look alike, "
        "with a few stray points among the samples.",
        "A small network learns the ring. It seems to stop learning early, but its loss has come down to what even the exact "
        "denoiser pays (dashed). Beside it: the data and its samples.",
        stack=True,
    )


def errors_by_time() -> str:
    drawn, ax = axes(width=6.4, height=3.0)
    names = {"epsilon": "simple (predicts eps)", "min_snr": "min-SNR (predicts eps)", "v_prediction": "v (predicts v)",
             "sample": "x0 (predicts x0)"}
    for (loss, name), colour in zip(names.items(), CYCLE, strict=False):
        ax.loglog(LEVELS, run(loss)["errors"], "o-", ms=3, color=colour, label=name)
    ax.set(xlabel="time t", ylabel="error of the predicted noise")
    ax.legend(fontsize=8)
    return figure(
        drawn,
        "errors-by-time",
        "Error of the predicted noise against time, both logarithmic, four curves. All fall with time. The one of x0 is by far "
        "the worst at small times and among the best at large ones, with v. Simple and min-SNR level off there.",
        "The same network, data and number of steps; four losses. Plotted is the distance to the exact answer.",
        stack=True,
    )
