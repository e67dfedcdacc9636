"""`course render --mine`: the student's parts paint the course's picture, and the list says whose they are."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course.grading.mine import Grid, Parts, render_mine, render_mine_to_files
from course.render import Recipe, largest_difference, render_ours
from course.samplers import TAUGHT
from course.schedule import CLEAN, Level
from course.stable_diffusion import load_components

VARIANTS = Path(__file__).parent / "variants"


@pytest.fixture(scope="module")
def components(tiny_model_dir):
    torch.set_num_threads(1)                               # the networks are tiny; threads would only wait for each other
    return load_components(str(tiny_model_dir), device="cpu")


def bear(sampler, seeds, steps=4, model=""):
    return Recipe("a bear", str(model), sampler, steps, guidance=3.0, seeds=seeds, device="cpu")


def ours(components, sampler, seeds, steps=4):
    return render_ours(components, bear(sampler, seeds, steps))


@pytest.mark.parametrize("variant", ["first", "second"])
@pytest.mark.parametrize("sampler", TAUGHT)
def test_a_finished_student_paints_the_courses_picture(components, sampler, variant):
    parts, calls = Parts(VARIANTS / variant), [0]
    pictures = render_mine(components, bear(sampler, [1, 2], 4), parts, calls=calls)
    assert largest_difference(pictures, ours(components, sampler, [1, 2])) <= 1
    assert all(part.yours for part in parts.used.values())
    assert any(part.task.startswith("ch06.") for part in parts.used.values())
    assert calls[0] == {"heun": 7, "pndm": 5}.get(sampler, 4) * (2 if sampler in ("ddim", "euler") else 1)   # there, image by image


@pytest.mark.parametrize("sampler", ["pndm", "ddpm", "lms"])
def test_without_any_exercise_it_is_the_course_that_paints(components, sampler, tmp_path):
    parts = Parts(tmp_path)
    pictures = render_mine(components, bear(sampler, [1], 4), parts)
    assert largest_difference(pictures, ours(components, sampler, [1])) == 0
    assert not any(part.yours for part in parts.used.values())
    assert {part.why for part in parts.used.values()} == {"not attempted yet"}


def test_a_wrong_part_is_not_used(components, tmp_path):
    text = (VARIANTS / "first" / "ch08_guidance.py").read_text()
    (tmp_path / "ch08_guidance.py").write_text(text.replace("unconditional + scale", "conditional + scale"))
    parts = Parts(tmp_path)
    pictures = render_mine(components, bear("pndm", [5], 3), parts)
    assert not parts.used["ch08.guide"].yours
    assert "course check ch08.guide" in parts.used["ch08.guide"].why
    assert largest_difference(pictures, ours(components, "pndm", [5], 3)) <= 1


def test_the_students_sampler_really_paints(components, tmp_path, monkeypatch):
    """With a sampler that passes for right but halves its result, the picture changes."""
    text = (VARIANTS / "first" / "ch06_samplers.py").read_text()
    (tmp_path / "ch06_samplers.py").write_text(text)
    parts = Parts(tmp_path)
    right = render_mine(components, bear("pndm", [5], 3), parts)
    (tmp_path / "ch06_samplers.py").write_text(text + "\n\n_plms = plms_sample\n\n\ndef plms_sample(denoise, x, grid):\n"
                                                      "    return _plms(denoise, x, grid) * 0.5\n")
    wrong = render_mine(components, bear("pndm", [5], 3), parts)     # the same Parts: judged when it was right
    assert largest_difference(right, wrong) > 1


def test_an_error_in_a_students_part_names_it(components, tmp_path):
    text = (VARIANTS / "first" / "ch10_pipeline.py").read_text()
    (tmp_path / "ch10_pipeline.py").write_text(text.replace("def to_uint8(images):\n", "def to_uint8(images):\n    assert images.shape[2] < 60\n"))
    with pytest.raises(ValueError, match=r"your to_uint8 in ch10_pipeline\.py raised AssertionError"):
        render_mine(components, bear("pndm", [5], 2), Parts(tmp_path))


def test_levels_and_alpha_bars_name_each_other():
    levels = [Level(901, 0.1, 0.99**0.5), Level(1, 0.9, 0.19**0.5), CLEAN]
    grid = Grid(levels)
    assert [grid.level(a) for a in grid.alpha_bars] == levels
    assert grid.alpha_bars[-1] == 1.0
    with pytest.raises(ValueError, match="not a level of its grid"):
        grid.level(0.5)
    assert np.isclose(grid.alpha_bars[0], 0.01)


def test_the_command_says_whose_each_part_was(tiny_model_dir, tmp_path, capsys):
    out = tmp_path / "mine.png"
    student = tmp_path / "student"
    student.mkdir()
    for name in ("ch03_forward.py", "ch06_samplers.py"):
        (student / name).write_text((VARIANTS / "first" / name).read_text())
    render_mine_to_files(bear("pndm", [1, 2], 2, tiny_model_dir), out, True, student)
    said = capsys.readouterr().out
    assert "mine: pndm, 2 steps, 3 model calls" in said
    assert re.search(r"largest difference from the course's picture: [01] of 255", said)
    assert re.search(r"plms_sample +yours +passes its checks", said)
    assert re.search(r"guided_noise +the course's +not attempted yet", said)
    assert re.search(r"image_grid +the course's", said)
    with Image.open(out) as picture:
        assert picture.width >= 2 * 64                     # two seeds in rows, mine and the course's side by side
        assert picture.height >= 2 * 64


def test_a_wrong_ending_is_told_before_anything_is_loaded(tmp_path):
    with pytest.raises(ValueError, match="names a picture format"):
        render_mine_to_files(bear("pndm", [1], 2, "no such model"), tmp_path / "mine.txt")


@pytest.fixture(scope="module")
def readable(tiny_model_dir):
    """The same model in the course's networks, whose blocks may be the student's."""
    return load_components(str(tiny_model_dir), device="cpu", nets="course")


BLOCKS = {"token_ids", "causal_attention", "resnet_block", "multi_head_attention", "cross_attention", "geglu", "timestep_embedding", "down_and_up"}


@pytest.mark.parametrize("variant", ["first", "second"])
def test_the_students_blocks_carry_the_weights(components, readable, variant):
    parts = Parts(VARIANTS / variant)
    pictures = render_mine(readable, bear("ddim", [1, 2], 3), parts)
    assert {part.task.split(".")[1] for part in parts.used.values() if part.yours} >= BLOCKS
    assert largest_difference(pictures, ours(components, "ddim", [1, 2], 3)) <= 1
    x, context = torch.randn(1, 4, 8, 8), torch.randn(1, 16, 32)
    with torch.no_grad():                                   # and the networks themselves are as they were
        assert torch.equal(readable.unet(x, 5, context).sample, components.unet(x, 5, context).sample)


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_each_block_alone_is_asked(readable, name, monkeypatch):
    parts, asked = Parts(VARIANTS / "first", only=[name]), []
    function = parts.function
    monkeypatch.setattr(parts, "function", lambda task: lambda *args: asked.append(task) or function(task)(*args))
    picture = render_mine(readable, bear("dpmpp_2m", [1], 2), parts)
    assert set(asked) == {f"ch09.{name}"}
    assert {part.task for part in parts.used.values() if part.yours} == set(asked)
    assert largest_difference(picture, ours(readable, "dpmpp_2m", [1], 2)) <= 1


def test_what_each_replacement_changes_is_said(tiny_model_dir, tmp_path, capsys):
    render_mine_to_files(bear("dpmpp_2m", [1], 2, tiny_model_dir), tmp_path / "a.png", each=True, folder=VARIANTS / "first",
                         only=["resnet_block", "geglu", "guide"])
    said = capsys.readouterr().out
    assert re.search(r"one part after another replaced by yours:\n  resnet_block +[01]\n  geglu +[01]\n  guide +[01]\n", said)
    assert "not asked for" in said
    with pytest.raises(ValueError, match="there is no task resblock"):
        render_mine_to_files(bear("ddim", [1], 2, tiny_model_dir), tmp_path / "b.png", only=["resblock"])


def test_a_task_that_a_course_has_dropped_is_the_courses(monkeypatch):
    """Without its entry in the manifest, `course render --mine` steps in, as it does for a task not attempted."""
    from course.grading import mine

    tasks = {name: task for name, task in mine.load_tasks().items() if name != "ch10.initial_noise"}
    monkeypatch.setattr(mine, "load_tasks", lambda *a: tasks)
    parts = mine.Parts()
    assert parts.get("ch10.initial_noise") is None
    assert "ch10.initial_noise" not in parts.used
