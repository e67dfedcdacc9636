"""Chapter 11: measuring, and reading other people's experiments. `course check ch11` tells how far you are."""

import math

import torch
from torch import Tensor


def mean_and_covariance(features: Tensor) -> tuple:
    """What the Frechet distance needs to know about a set of images: the mean of their features and the unbiased covariance.

    features: (N, D), N >= 2. Returns (mean (D,), covariance (D, D)) as float64: sums of many float32 lose digits.
    Raises ValueError if N < 2.
    """
    raise NotImplementedError


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """The squared Frechet distance between two Gaussians, the number called FID (Heusel et al. 2017, eq. 6).

    Means (D,), covariances (D, D), symmetric and not negative (they may be singular), all float64. Returns a float, 0
    for equal Gaussians. A root of a matrix is not the matrix of the roots.
    """
    raise NotImplementedError


def model_calls(sampler: str, steps: int) -> int:
    """How often the network runs (for one image, guidance not counted) when `sampler` is asked for `steps` >= 1 steps.

    sampler: one of "ddpm", "ddim", "pndm", "lms", "heun", "euler", "euler_ancestral", "dpmpp_2m", each as in
    chapter 6 (and in diffusers). Raises ValueError for any other name, and for steps < 1.
    """
    raise NotImplementedError


def mislabelled(runs: list[dict]) -> list[int]:
    """The positions of the runs whose picture is not from the sampler their section is about.

    runs: dictionaries with the keys "section" (a title such as "3. LMS scheduler") and "scheduler" (the class that was
    really passed to render_image, such as "HeunDiscreteScheduler").
    A section is about the sampler whose name stands in its title as a whole word, in any case: DDIM, DDPM, PNDM, LMS,
    Heun, Euler, DPM. A run is mislabelled if the class name does not begin with that sampler's name. Sections whose
    title names no sampler are never mislabelled; if it names several, any of them is right.

    In the homework this course grew out of:
        [{"section": "1. DPM Solver Multistep scheduler", "scheduler": "DPMSolverMultistepScheduler"},
         {"section": "2. HEUN scheduler", "scheduler": "HeunDiscreteScheduler"},
         {"section": "3. LMS scheduler", "scheduler": "HeunDiscreteScheduler"},
         {"section": "4. PNDM scheduler", "scheduler": "PNDMScheduler"}]   ->   [2]
    """
    raise NotImplementedError
