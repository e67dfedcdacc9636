"""Our samplers and `render_image` against diffusers' schedulers and pipeline."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import torch

from bench import Result, in_turns, measurement

STEPS = 50


def trivial(x: torch.Tensor, level: Any) -> torch.Tensor:
    """A network that costs next to nothing, so that what is measured is the sampler."""
    return x * 0.1


def beside(name: str) -> tuple[float, float]:
    """Processor seconds of one of our samplers and of diffusers' class, per step on 1 x 4 x 64 x 64 in float32. In turns, and the least
    of each: what else the machine does counts for neither."""
    from course.observe import ALL, their_scheduler
    from course.schedule import NoiseSchedule
    from course.stable_diffusion import SD_V1

    torch.set_num_threads(1)
    schedule, noise, generator = NoiseSchedule.from_config(SD_V1), torch.randn(1, 4, 64, 64), torch.Generator()
    theirs = their_scheduler(name, {**SD_V1, **({"beta_schedule": "squaredcos_cap_v2"} if name == "unclip" else {})})
    extra = {"generator": torch.Generator()} if "generator" in inspect.signature(theirs.step).parameters else {}

    def run_theirs() -> None:
        theirs.set_timesteps(STEPS)
        x = noise * theirs.init_noise_sigma
        for t in theirs.timesteps:
            x = theirs.step(trivial(theirs.scale_model_input(x, t), t), t, x, return_dict=False, **extra)[0]

    ours, other = in_turns(lambda: ALL[name].sample(trivial, noise, schedule, STEPS, generator), run_theirs, rounds=25,
                           clock=time.process_time)
    return ours / STEPS, other / STEPS


@measurement
def samplers() -> Iterator[Result]:
    """the sampler's own processor time per step, 1 x 4 x 64 x 64 in float32, beside a diffusers scheduler's"""
    from course.observe import ALL

    for name, sampler in ALL.items():
        yield Result(f"{name}, per step", *beside(name), 0.7 if sampler.draws else 0.5)


@measurement
def pictures() -> Iterator[Result]:
    """render_image beside StableDiffusionPipeline, on the shipped model"""
    from course.components import diffusers_pipeline
    from course.render import quiet_libraries
    from course.stable_diffusion import load_components, render_image

    quiet_libraries()
    components = load_components("emoji", device="cpu")
    vae, unet, tokenizer, text_encoder, _ = components
    for name in ("ddim", "dpmpp_2m"):
        pipeline = diffusers_pipeline(components, name)
        for count in (1, 4):
            prompts = ["a bear above a horse on a white background"] * count
            ours, theirs = in_turns(
                lambda p=prompts, n=name: render_image(p, vae, unet, tokenizer, text_encoder, n, num_steps=10, progress=False),
                lambda p=prompts, pipe=pipeline: pipe(p, num_inference_steps=10, generator=torch.Generator().manual_seed(42)),
                rounds=9)
            yield Result(f"{name}, 10 steps, batch of {count}", ours, theirs, 1.0)


@measurement
def growth() -> Iterator[Result]:
    """cost against steps and batch: the exponent of the fitted power law; 1 is linear"""
    from course.samplers import SAMPLERS
    from course.schedule import NoiseSchedule
    from course.stable_diffusion import SD_V1

    torch.set_num_threads(1)
    schedule = NoiseSchedule.from_config(SD_V1)
    weights = torch.randn(256, 256) / 16

    def network(x: torch.Tensor, level: Any) -> torch.Tensor:
        return (x.reshape(len(x), -1, 256) @ weights).reshape(x.shape)

    def work(steps: int, batch: int) -> Callable[[], Any]:
        noise = torch.randn(batch, 4, 64, 64)
        return lambda: SAMPLERS["dpmpp_2m"].sample(network, noise, schedule, steps)

    sweeps = {"steps": {n: work(n, 2) for n in (25, 50, 100, 200)}, "batch": {n: work(25, n) for n in (2, 4, 8, 16)}}
    for what, works in sweeps.items():
        seconds = in_turns(*works.values())
        slope, start = np.polyfit(list(works), seconds, 1)
        exponent = np.polyfit(np.log(list(works)), np.log(seconds), 1)[0]
        fitted = f"{what}: {slope * 1e3:.2f} ms each + {start * 1e3:.1f} ms"
        yield Result(fitted, float(exponent), 1.0, 1.15, unit="")


@measurement
def memory() -> Iterator[Result]:
    """memory in use after 8000 further steps, beside before: nothing is kept per step"""
    from course.samplers import SAMPLERS
    from course.schedule import NoiseSchedule
    from course.stable_diffusion import SD_V1

    schedule, noise = NoiseSchedule.from_config(SD_V1), torch.randn(4, 4, 64, 64)

    def in_use(repeats: int) -> float:
        for sampler in SAMPLERS.values():
            generator = torch.Generator() if sampler.draws else None
            for _ in range(repeats):
                sampler.sample(trivial, noise, schedule, 50, generator)
        return psutil.Process().memory_info().rss / 1e6

    before = in_use(2)
    yield Result("after 8000 steps", in_use(20), before, 1.02, unit="MB")


BUSY = "while True: pass"
ONE_RENDER = """
import sys, time
from course.render import quiet_libraries
quiet_libraries()
from course.stable_diffusion import load_components, render_image
parts = load_components("emoji", device="cpu")
for steps in (1, int(sys.argv[1])):
    start = time.perf_counter()
    render_image("a large bear on a white background", *parts[:4], "dpmpp_2m", num_steps=steps, progress=False)
print(time.perf_counter() - start)
"""


@measurement
def threads() -> Iterator[Result]:
    """20 steps on the shipped model as the course sets its threads, beside one thread, on a quiet and on a busy machine"""
    def render(**environment: str) -> float:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
        times = [float(subprocess.run([sys.executable, "-c", ONE_RENDER, "20"], env={**clean, **environment}, text=True,
                                      capture_output=True, check=True).stdout.split()[-1]) for _ in range(3)]
        return min(times)

    for busy in (0, 1, os.cpu_count() or 1):
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
        try:
            yield Result(f"{busy} other busy programs", render(), render(OMP_NUM_THREADS="1"), 1.5 if busy else 1.1)
            if busy == 1:
                yield Result("the same, were the threads to spin", render(OMP_WAIT_POLICY="ACTIVE"), render(OMP_NUM_THREADS="1"))
        finally:
            for other in others:
                other.kill()
                other.wait()
