"""A model that is a flow, painted like any other: the shipped one, a folder that holds one, and what does not go together."""

import shutil

import diffusers
import numpy as np
import pytest
import torch

from course import emoji
from course.components import diffusers_scheduler, load_components
from course.flow import FlowSchedule, is_flow
from course.lab.sweep import grid
from course.render import Recipe, render_to_files
from course.samplers import FLOWS
from course.stable_diffusion import render_image, trace_strip

PROMPT = "a large bear on a blue background"
OPTIONS = {"guidance_scale": 3.0, "num_steps": 6, "seed": 1, "progress": False}


@pytest.fixture(scope="module")
def flow():
    return load_components("emoji-flow", device="cpu")


def difference(a, b):
    return int(np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max())


def test_the_flow_that_ships_paints_what_its_network_says(flow):
    assert is_flow(flow.scheduler.config)
    picture, = render_image(PROMPT, *flow[:4], "flow_euler", **OPTIONS)
    by_hand, = render_image(PROMPT, *flow[:4], flow.scheduler, **OPTIONS)
    assert difference(picture, by_hand) > 0, "left to itself, diffusers' class ends at the first trained time"
    same, = render_image(PROMPT, *flow[:4], "flow_euler", to_the_end=True, **OPTIONS)
    assert difference(same, by_hand) <= 1
    shifted = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs, = render_image(PROMPT, *flow[:4], shifted, **OPTIONS)
    ours, = render_image(PROMPT, *flow[:4], "flow_euler", schedule=FlowSchedule(shift=3.0), to_the_end=True, **OPTIONS)
    assert difference(ours, theirs) <= 1
    assert difference(ours, same) > 5, "the shift does something"


@pytest.mark.parametrize(("name", "calls"), [("flow_euler", 6), ("flow_heun", 11), ("flow_lcm", 6)])
def test_every_sampler_of_flows_paints_and_is_traced_from_pure_noise(flow, name, calls):
    trace = []
    picture, = render_image(PROMPT, *flow[:4], name, trace=trace, **OPTIONS)
    assert len(trace) == calls
    assert trace[0].t == 1000
    assert all(torch.isfinite(snapshot.x0).all() for snapshot in trace)
    assert np.asarray(picture).std() > 20
    assert trace_strip(trace, flow.vae).width > 64


def test_a_folder_with_a_flow(tmp_path, capsys):
    """The usual layout, with the scheduler of a flow; no sampler given."""
    folder = tmp_path / "model"
    for part in ("vae", "tokenizer", "text_encoder"):
        shutil.copytree(emoji.folder() / part, folder / part)
    shutil.copytree(emoji.folder() / "unet_flow", folder / "unet")
    shutil.copytree(emoji.folder() / "scheduler_flow", folder / "scheduler")
    recipe = Recipe(PROMPT, str(folder), "", 4, 3.0, device="cpu")
    render_to_files(recipe, tmp_path / "picture.png")
    assert "flow_euler, 4 steps, 4 model calls" in capsys.readouterr().out
    with pytest.raises(ValueError, match="a flow: leave out --engine diffusers"):
        render_to_files(Recipe(PROMPT, str(folder), "", 4, device="cpu"), tmp_path / "other.png", engine="diffusers")
    assert not (tmp_path / "other.png").exists()


def test_what_does_not_go_together_is_refused_in_words(flow):
    with pytest.raises(ValueError, match="dpmpp_2m walks a schedule of betas, and this model is a flow: take flow_euler"):
        render_image(PROMPT, *flow[:4], "dpmpp_2m", **OPTIONS)
    with pytest.raises(ValueError, match="DDIMScheduler walks a schedule of betas, and this model is a flow"):
        render_image(PROMPT, *flow[:4], diffusers.DDIMScheduler(), **OPTIONS)
    usual = load_components("emoji", device="cpu")
    with pytest.raises(ValueError, match="flow_heun walks a flow, and this model was trained on a schedule of betas: take one of ddpm"):
        render_image(PROMPT, *usual[:4], "flow_heun", **OPTIONS)
    with pytest.raises(ValueError, match="takes no option eta; it takes num_train_timesteps, shift, to_the_end"):
        render_image(PROMPT, *flow[:4], "flow_euler", eta=1.0, **OPTIONS)
    with pytest.raises(ValueError, match="did you mean 'flow_euler'"):
        render_image(PROMPT, *flow[:4], "FlowMatchEulerDiscreteScheduler", **OPTIONS)


def test_sweeps_know_the_names():
    assert [setting.sampler for setting in grid(model="emoji-flow", sampler=list(FLOWS))] == list(FLOWS)
    with pytest.raises(ValueError, match="flow_euler"):
        grid(sampler="flow_eulr")


def test_diffusers_own_class_without_its_package_is_told_in_words(monkeypatch):
    class Standin:
        _backends = ["torch", "torchsde"]                                    # noqa: RUF012

        def __init__(self, *arguments, **options): ...

        @classmethod
        def from_config(cls, *arguments, **options):
            raise ImportError("DPMSolverSDEScheduler requires the torchsde library but it was not found")

    monkeypatch.setattr(diffusers, "DPMSolverSDEScheduler", Standin, raising=False)
    with pytest.raises(ValueError, match=r"not installed here \(torch, torchsde\): python -m pip install torchsde.*without --engine"):
        diffusers_scheduler("dpmpp_sde", {"beta_start": 0.1})
