"""A course on diffusion models in which nothing is taken on trust.

Read the modules in this order: schedule, forward, prediction, samplers, guidance, toy, training, stable_diffusion.
Importing `course` alone imports nothing heavy.
"""

import os

# Two OpenMP threads that wait for each other by spinning take minutes for seconds as soon as another program wants a core
# (`make bench ARGS=threads`). What waiting asleep costs on a quiet machine is printed there, too. Read when torch is first imported.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

__version__ = "0.1.0"
