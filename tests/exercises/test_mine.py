"""`course render --mine`: the student's parts paint the course's picture, and the list says whose they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from course.grading.mine import Grid, Parts, render_mine
from course.render import largest_difference, render_ours
from course.samplers import SAMPLERS
from course.schedule import CLEAN, Level
from course.stable_diffusion import load_components

VARIANTS = Path(__file__).parent / "variants"


@pytest.fixture(scope="module")
def components(tiny_model_dir):
    torch.set_num_threads(1)                               # the networks are tiny; threads would only wait for each other
    return load_components(str(tiny_model_dir), device="cpu")


def ours(components, sampler, seeds, steps=4):
    return render_ours(components, "a bear", sampler, steps, seeds, [0], None, {"guidance_scale": 3.0})


@pytest.mark.parametrize("variant", ["first", "second"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finished_student_paints_the_courses_picture(components, sampler, variant):
    parts, calls = Parts(VARIANTS / variant), [0]
    pictures = render_mine(components, "a bear", sampler, 4, [1, 2], parts, 3.0, calls=calls)
    assert largest_difference(pictures, ours(components, sampler, [1, 2])) <= 1
    assert all(part.yours for part in parts.used.values())
    assert any(part.task.startswith("ch06.") for part in parts.used.values())
    assert calls[0] == {"heun": 7, "pndm": 5}.get(sampler, 4) * (2 if sampler in ("ddim", "euler") else 1)   # there, image by image


@pytest.mark.parametrize("sampler", ["pndm", "ddpm", "lms"])
def test_without_any_exercise_it_is_the_course_that_paints(components, sampler, tmp_path):
    parts = Parts(tmp_path)
    pictures = render_mine(components, "a bear", sampler, 4, [1], parts, 3.0)
    assert largest_difference(pictures, ours(components, sampler, [1])) == 0
    assert not any(part.yours for part in parts.used.values())
    assert {part.why for part in parts.used.values()} == {"not attempted yet"}


def test_a_wrong_part_is_not_used(components, tmp_path):
    text = (VARIANTS / "first" / "ch08_guidance.py").read_text()
    (tmp_path / "ch08_guidance.py").write_text(text.replace("unconditional + scale", "conditional + scale"))
    parts = Parts(tmp_path)
    pictures = render_mine(components, "a bear", "pndm", 3, [5], parts, 3.0)
    assert not parts.used["ch08.guide"].yours
    assert "course check ch08.guide" in parts.used["ch08.guide"].why
    assert largest_difference(pictures, ours(components, "pndm", [5], 3)) <= 1


def test_the_students_sampler_really_paints(components, tmp_path, monkeypatch):
    """With a sampler that passes for right but halves its result, the picture changes."""
    text = (VARIANTS / "first" / "ch06_samplers.py").read_text()
    (tmp_path / "ch06_samplers.py").write_text(text)
    parts = Parts(tmp_path)
    right = render_mine(components, "a bear", "pndm", 3, [5], parts, 3.0)
    (tmp_path / "ch06_samplers.py").write_text(text + "\n\n_plms = plms_sample\n\n\ndef plms_sample(denoise, x, grid):\n"
                                                      "    return _plms(denoise, x, grid) * 0.5\n")
    wrong = render_mine(components, "a bear", "pndm", 3, [5], parts, 3.0)     # the same Parts: judged when it was right
    assert largest_difference(right, wrong) > 1


def test_an_error_in_a_students_part_names_it(components, tmp_path):
    text = (VARIANTS / "first" / "ch10_pipeline.py").read_text()
    (tmp_path / "ch10_pipeline.py").write_text(text.replace("def to_uint8(images):\n", "def to_uint8(images):\n    assert images.shape[2] < 60\n"))
    with pytest.raises(ValueError, match=r"your to_uint8 in ch10_pipeline\.py raised AssertionError"):
        render_mine(components, "a bear", "pndm", 2, [5], Parts(tmp_path), 3.0)


def test_levels_and_alpha_bars_name_each_other():
    levels = [Level(901, 0.1, 0.99**0.5), Level(1, 0.9, 0.19**0.5), CLEAN]
    grid = Grid(levels)
    assert [grid.level(a) for a in grid.alpha_bars] == levels
    assert grid.alpha_bars[-1] == 1.0
    with pytest.raises(ValueError, match="not a level of its grid"):
        grid.level(0.5)
    assert np.isclose(grid.alpha_bars[0], 0.01)
