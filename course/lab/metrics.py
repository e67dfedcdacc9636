"""Measures for sets of pictures, each from its definition, with an honest word on sample size.

Features are arrays (N, D): one row a picture. Which network made them belongs to the name of every result ("Fréchet
distance on emoji-probe features"): numbers from different features must never meet in one table. `Features` carries it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Array = np.ndarray


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


class Features(NamedTuple):
    """Feature vectors (N, D) and the name of the network that made them."""

    name: str
    values: Array


def checked(features: Array, what: str = "features") -> Array:
    """float64 (N, D), finite, N >= 2. Raises ValueError that says which of these fails."""
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"{what} must be (N, D) with N of at least 2; got shape {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(f"{what} hold NaN or infinity, first in row {int(np.argwhere(~np.isfinite(features))[0][0])}")
    return features


# ------------------------------------------------------------------------------------------------ Fréchet distance


def frechet(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
    """Squared Fréchet (Wasserstein-2) distance between two Gaussians (Dowson and Landau 1982; Heusel et al. 2017, eq. 6):

        |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1^(1/2) cov2 cov1^(1/2))^(1/2))

    The usual (cov1 cov2)^(1/2) has the same trace, but is not symmetric and loses digits, or turns complex, when a
    covariance is nearly singular; this form needs only eigenvalues of symmetric matrices. means (D,), covs (D, D).
    """
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T                               # cov1^(1/2), (D, D)
    inner = np.linalg.eigvalsh(root @ cov2 @ root).clip(0)                               # (D,)
    distance = np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * np.sqrt(inner).sum()
    return max(float(distance), 0.0)


def frechet_distance(features1: Array, features2: Array) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, (N, D) and (M, D).

    On InceptionV3's 2048 features this is the FID. Its expectation is too large for few pictures (see `frechet_infinity`):
    compare only results with equal N. With N <= D the covariance is singular, which is allowed but says little.
    """
    first, second = checked(features1, "the first features"), checked(features2, "the second features")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"features of {first.shape[1]} and {second.shape[1]} numbers are from different networks")
    return frechet(first.mean(0), np.cov(first, rowvar=False).reshape(first.shape[1], -1),
                   second.mean(0), np.cov(second, rowvar=False).reshape(second.shape[1], -1))


def bias_curve(features: Array, reference: Array, sizes: Sequence[int], repeats: int = 10, seed: int = 0) -> dict[int, float]:
    """Mean Fréchet distance of random subsets of each size to the whole reference: how much the number of pictures matters."""
    features, rng = checked(features), np.random.default_rng(seed)
    curve = {}
    for size in sizes:
        if not 2 <= size <= len(features):
            raise ValueError(f"cannot take {size} of {len(features)} pictures")
        picks = (rng.choice(len(features), size, replace=False) for _ in range(repeats))
        curve[size] = float(np.mean([frechet_distance(features[pick], reference) for pick in picks]))
    return curve


def frechet_infinity(features: Array, reference: Array, points: int = 8, repeats: int = 10, seed: int = 0) -> float:
    """The Fréchet distance that infinitely many pictures would give: the bias falls as 1/N, so fit a line in 1/N and read
    it at 0 (Chong and Forsyth 2020). Can come out slightly negative when the true distance is near 0."""
    features = checked(features)
    sizes = sorted({int(n) for n in np.linspace(max(len(features) // 4, 2), len(features), points)})
    curve = bias_curve(features, reference, sizes, repeats, seed)
    slope_and_limit = np.polyfit([1 / n for n in curve], list(curve.values()), 1)
    return float(slope_and_limit[1])


# ------------------------------------------------------------------------------------------------ kernel distance


def kernel_distance(features1: Array, features2: Array) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, unbiased (Binkowski et al. 2018, eq. 4): the KID on
    Inception features. Zero on average for two samples of the same law, whatever their size, so it may be negative."""
    x, y = checked(features1, "the first features"), checked(features2, "the second features")

    def kernel(a: Array, b: Array) -> Array:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m, xx, yy = len(x), len(y), kernel(x, x), kernel(y, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * kernel(x, y).mean())


# ------------------------------------------------------------------------------------------------ intervals


def wilson(successes: int, trials: int, z: float = 1.96) -> Interval:
    """A share with its 95% interval (Wilson 1927): right also near 0 and 1, where value +- 2 sd is not."""
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials")
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return Interval(share, min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))    # rounding at 0 and 1


def bootstrap(statistic: Callable[..., float], *samples: Array, repeats: int = 200, seed: int = 0,
              level: float = 0.95, centred: bool = False) -> Interval:
    """A statistic of one or more samples with its percentile bootstrap interval (Efron 1979): every sample's rows are drawn
    again with replacement. Samples of equal length that belong together row by row should be stacked first.

    centred: move the draws onto the value. For a statistic that drawing with replacement itself makes larger, such as the
    Fréchet distance: the spread of the draws is right, their place is not.
    """
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(*(s[rng.integers(len(s), size=len(s))] for s in samples)) for _ in range(repeats)])
    value = float(statistic(*samples))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]) + (value - draws.mean() if centred else 0)
    return Interval(value, float(low), float(high))


def paired_interval(differences: Sequence[float] | Array, prompts: Sequence[object], repeats: int = 2000, seed: int = 0) -> Interval:
    """The mean of paired differences of measures in [0, 1] with its 95% interval: the bootstrap, in which whole prompts are drawn again.

    Pictures with one prompt share what is hard about it, so two of them tell less than two prompts would. Where all differences are
    the same the bootstrap has width 0 and says nothing. Then at most Wilson's upper end of all prompts would differ, none of those seen
    having done so: by anything that a share can (-1, 0, 1), or, of another measure, by as much again.
    """
    values, names = np.asarray(differences, dtype=np.float64), list(dict.fromkeys(prompts))
    if len(values) == 0 or len(values) != len(prompts) or not np.isfinite(values).all():
        raise ValueError(f"{len(values)} differences for {len(prompts)} prompts: one finite number for each is needed, at least one")
    member = np.array([names.index(prompt) for prompt in prompts])
    sums, counts = np.bincount(member, values), np.bincount(member)                       # (P,) each
    picks = np.random.default_rng(seed).integers(len(names), size=(repeats, len(names)))  # (repeats, P)
    draws = sums[picks].sum(1) / counts[picks].sum(1)
    mean = float(values.mean())
    low, high = (float(end) for end in np.quantile(draws, [0.025, 0.975]))
    if np.ptp(draws) < 1e-12:
        unseen = wilson(0, len(names)).high
        down, up = (1 + mean, 1 - mean) if mean in (-1, 0, 1) else (abs(mean), abs(mean))
        low, high = mean - unseen * down, mean + unseen * up
    return Interval(mean, low, high)


def mean_interval(values: Sequence[float] | Array, z: float = 1.96) -> Interval:
    """The mean with its normal 95% interval."""
    values = np.asarray(values, dtype=np.float64)
    mean, half = float(values.mean()), z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Interval(mean, mean - half, mean + half)


# ------------------------------------------------------------------------------------------------ single pictures


def as_array(pictures: Sequence[Image.Image]) -> Array:
    """Pictures of one size -> float64 (N, H, W, 3) in [0, 1]."""
    sizes = {picture.size for picture in pictures}
    if len(sizes) != 1:
        raise ValueError(f"pictures must be of one size to be compared; got {sorted(sizes)}" if sizes else "no pictures")
    return np.stack([np.asarray(picture.convert("RGB"), dtype=np.float64) / 255 for picture in pictures])


def saturation(pictures: Array) -> Array:
    """Mean colourfulness max(R,G,B) - min(R,G,B) of each picture, 0 grey to 1. (N, H, W, 3) -> (N,)."""
    return (pictures.max(-1) - pictures.min(-1)).mean((1, 2))


def sharpness(pictures: Array) -> Array:
    """Mean length of the brightness gradient of each picture. (N, H, W, 3) -> (N,)."""
    grey = pictures @ np.array([0.299, 0.587, 0.114])                                     # (N, H, W)
    down, right = np.diff(grey, axis=1)[:, :, :-1], np.diff(grey, axis=2)[:, :-1]
    return np.hypot(down, right).mean((1, 2))


def clipped(pictures: Array) -> Array:
    """Share of each picture's channel values that sit at 0 or 255: burnt out or blacked out. (N, H, W, 3) -> (N,)."""
    return ((pictures < 0.5 / 255) | (pictures > 254.5 / 255)).mean((1, 2, 3))


def diversity(features: Array, groups: Sequence[Any] | Array) -> float:
    """Mean distance between two pictures of the same group (of the same prompt, say), over groups of at least two.

    features (N, D), groups (N,) -> a number. Raises ValueError if no group has two.
    """
    rows, labels = checked(features), np.asarray(groups)
    means = []
    for group in np.unique(labels):
        own = rows[labels == group]
        if len(own) > 1:
            squared = ((own[:, None] - own[None]) ** 2).sum(-1)
            means.append(np.sqrt(squared).sum() / (len(own) * (len(own) - 1)))
    if not means:
        raise ValueError("diversity needs at least two pictures of one group; render more seeds per prompt")
    return float(np.mean(means))


# ------------------------------------------------------------------------------------------------ features and prompts


def inception_features(pictures: Sequence[Image.Image]) -> Features:
    """The 2048 InceptionV3 features that published FIDs are made of. Needs `pip install diffusion-course[gpu]` and, once, a
    download of its weights; raises RuntimeError with that advice when either is missing."""
    try:
        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    except Exception as error:   # a missing package, a missing download, or a proxy's page in place of the weights
        raise RuntimeError("InceptionV3 is not at hand: pip install 'diffusion-course[gpu]' and run once with a network, "
                           f"or use the emoji probe's features ({type(error).__name__}: {error})") from error
    batch = torch.from_numpy((as_array(pictures) * 255).round().astype(np.uint8)).permute(0, 3, 1, 2)   # (N, 3, H, W)
    with torch.no_grad():
        return Features("inception-v3", torch.cat([network(part)[0] for part in batch.split(64)]).double().numpy())


def clip_score(pictures: Sequence[Image.Image], prompts: Sequence[str], model: str = "openai/clip-vit-base-patch32") -> Array:
    """100 max(cos(image, text), 0) for each picture and its prompt (Hessel et al. 2021). (N,)

    model: a hub id or folder of a CLIP model. Raises RuntimeError when it cannot be loaded.
    """
    try:
        import torch
        from transformers import CLIPModel, CLIPProcessor

        network, processor = CLIPModel.from_pretrained(model), CLIPProcessor.from_pretrained(model)
    except Exception as error:
        raise RuntimeError(f"no CLIP model at {model!r}: give a folder that holds one, or a hub id and a network "
                           f"({error})") from error
    inputs = processor(text=list(prompts), images=list(pictures), return_tensors="pt", padding=True, truncation=True)
    with torch.no_grad():
        output = network(**inputs)
        cosine = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
    return (100 * cosine.clamp(min=0)).double().numpy()
