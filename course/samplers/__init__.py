"""Samplers: how to walk from noise to a picture, given a network that guesses the noise.

    basic.py      one transfer, and the first eight samplers made of it: read this first
    solvers.py    the others, by the same means
    table.py      their names, grids and options: SAMPLERS
"""

from course.samplers.basic import (
    ADAMS_BASHFORTH,
    Draw,
    ddim,
    ddpm,
    dpmpp_2m,
    heun,
    lms,
    lms_weights,
    look,
    placed,
    pndm,
    renoise,
    transfer,
    weighted,
)
from course.samplers.table import BACKWARDS, SAMPLERS, TAUGHT, Sampler, fresh_noise

__all__ = ["ADAMS_BASHFORTH", "BACKWARDS", "SAMPLERS", "TAUGHT", "Draw", "Sampler", "ddim", "ddpm", "dpmpp_2m", "fresh_noise", "heun",
           "lms", "lms_weights", "look", "placed", "pndm", "renoise", "transfer", "weighted"]
