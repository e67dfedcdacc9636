"""A course on diffusion models in which nothing is taken on trust.

Read the modules in this order: schedule, forward, prediction, samplers, guidance, toy, training, stable_diffusion.
Importing `course` alone imports nothing heavy.
"""

__version__ = "0.1.0"
