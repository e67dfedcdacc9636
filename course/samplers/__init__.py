"""Samplers: how to walk from noise to a picture, given a network that guesses the noise.

    basic.py      one transfer, and the first eight samplers made of it: read this first
    solvers.py    the others, by the same means
    table.py      their names, grids and options: SAMPLERS
    walks.py      those whose schedule is no table of betas (flows, EDM, consistency models): WALKS
    discrete.py   two for pictures made of tokens
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
from course.samplers.walks import FLOWS, WALKS, Walk

__all__ = ["ADAMS_BASHFORTH", "BACKWARDS", "FLOWS", "SAMPLERS", "TAUGHT", "WALKS", "Draw", "Sampler", "Walk", "ddim", "ddpm", "dpmpp_2m",
           "fresh_noise", "heun", "lms", "lms_weights", "look", "placed", "pndm", "renoise", "transfer", "weighted"]
