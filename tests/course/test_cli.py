"""The `course` command as a user meets it: what it writes, what it says, how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from course import doctor
from course.cli import app
from course.stable_diffusion import load_components, render_image

COURSE = [sys.executable, "-m", "course.cli"]


def course(*arguments) -> object:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def render(tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: course("render", "a bear", "--model", tiny_model_dir, "--device", "cpu", "--steps", 3, *arguments)


def test_help_names_the_commands():
    result = course("--help")
    assert result.exit_code == 0
    assert {"render", "doctor"} <= set(result.output.split())


def test_help_imports_nothing_heavy():
    """Nor does `import course`."""
    code = ("import sys; import course; from typer.testing import CliRunner; from course.cli import app;"
            "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
            "print([name for name in ('torch', 'diffusers', 'transformers', 'sympy', 'matplotlib', 'numpy', 'lark') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_sampler_side_imports_no_big_library():
    code = ("import sys; import course.samplers, course.guidance, course.forward;"
            "print([name for name in ('diffusers', 'transformers', 'sympy', 'matplotlib') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_render_writes_the_picture(render, tiny_model_dir, tmp_path):
    result = render("--seed", 7, "--sampler", "euler", "--height", 64, "--width", 96, "--negative", "blue", "--guidance", 3)
    assert result.exit_code == 0, result.output
    c = load_components(tiny_model_dir, device="cpu")
    expected = render_image("a bear", *c[:4], "euler", 64, 96, 3, 3, 7, negative_prompt="blue", progress=False)[0]
    with Image.open(tmp_path / "out" / "render.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(expected))
        assert picture.text["prompt"] == "a bear"
        assert picture.text["seed"] == "7"
    assert "3 steps, 3 model calls" in result.output


def test_several_seeds_compare_and_trace(render, tmp_path):
    result = render("--seed", "1", "2", "--out", "x/grid.png", "--trace", "x/trace.png", "--sampler", "heun")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["grid-1.png", "grid-2.png", "grid.png", "trace.png"]
    with Image.open("x/grid.png") as grid, Image.open("x/grid-1.png") as one, Image.open("x/grid-2.png") as two:
        assert grid.size == (128, 64)
        assert np.array_equal(np.asarray(grid), np.hstack([np.asarray(one), np.asarray(two)]))
    result = render("--seed", "1", "--seed", "2", "--compare", "--out", "both.png")
    assert result.exit_code == 0, result.output
    assert "largest difference: 0 of 255" in result.output or "largest difference: 1 of 255" in result.output
    with Image.open("both.png") as both:
        assert both.width >= 2 * 64
        assert both.height > 2 * 64


def test_the_diffusers_engine_is_diffusers(render, monkeypatch):
    from diffusers import StableDiffusionPipeline

    runs = []
    real = StableDiffusionPipeline.__call__
    monkeypatch.setattr(StableDiffusionPipeline, "__call__", lambda self, *a, **k: runs.append(a) or real(self, *a, **k))
    ours = render("--sampler", "pndm", "--out", "a.png")
    assert not runs
    theirs = render("--sampler", "pndm", "--engine", "diffusers", "--out", "b.png")
    assert len(runs) == 1
    assert "course: pndm, 3 steps, 4 model calls" in ours.output
    assert "diffusers: pndm, 3 steps, 4 model calls" in theirs.output
    a, b = (np.asarray(Image.open(name), dtype=int) for name in ("a.png", "b.png"))
    assert np.abs(a - b).max() <= 1


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (["--sampler", "eulr"], 1, "did you mean 'euler'?"),
    (["--engine", "difusers"], 1, "did you mean 'diffusers'?"),
    (["--out", "picture"], 1, "no ending that names a picture format"),
    (["--height", "63"], 1, "63 is not a multiple of 8"),
    (["--model", "emojis"], 1, "did you mean 'emoji'?"),
    (["--device", "tpu"], 1, "device 'tpu' is not on this machine"),
    (["--steps", "0"], 1, "num_steps must be a whole number from 1"),
    (["--seed", "x"], 2, "--seed"),
    (["horse"], 2, "needs quotes"),
    (["--engine", "diffusers", "--trace", "t.png"], 1, "leave out --engine diffusers"),
])
def test_mistakes_are_told_in_one_line(render, tmp_path, arguments, code, message):
    result = render(*arguments)
    assert result.exit_code == code
    assert message in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(render, tmp_path):
    (tmp_path / "file").write_text("")
    result = render("--out", "file/x.png")
    assert result.exit_code == 1
    assert "file" in result.output
    assert "Traceback" not in result.output


def test_nan_ends_with_its_name(render, tiny_model_dir, monkeypatch):
    from course import stable_diffusion

    monkeypatch.setattr(stable_diffusion, "_draw", lambda shape, seeds, dtype: (torch.full(shape, torch.nan), torch.Generator()))
    result = render()
    assert result.exit_code == 1
    assert "the U-Net answered NaN or infinity" in result.output


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_leaves_nothing(tiny_model_dir, tmp_path):
    work = subprocess.Popen([*COURSE, "render", "a bear", "--model", str(tiny_model_dir), "--steps", "1000", "--sampler", "heun",
                             "--device", "cpu", "--out", str(tmp_path / "x.png")], stderr=subprocess.PIPE, text=True, bufsize=1,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})
    said = ""
    while not re.search(r"[1-9]\d*/1000", said):                       # until the bar of the steps shows one done: there are other bars
        letter = work.stderr.read(1)
        assert letter, said
        said += letter
    work.send_signal(signal.SIGINT)
    rest = work.stderr.read()
    assert work.wait(30) == 130
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ doctor


def states(findings) -> dict[str, str]:
    return {finding.what: finding.state for finding in findings}


def test_doctor_reports_and_exits_by_what_it_found(monkeypatch):
    monkeypatch.setattr(doctor, "reachable", lambda host, timeout=3.0: False)
    monkeypatch.setattr(doctor, "CHECKS", [doctor.packages, doctor.accelerator, doctor.memory, doctor.hub, doctor.extras])
    result = course("doctor")
    assert result.exit_code == 0, result.output
    for word in ("python", "packages", "device", "memory", "float32", "float16", "cache", "All set"):
        assert word in result.output

    def broken():
        raise RuntimeError("boom")
        yield

    monkeypatch.setattr(doctor, "CHECKS", [broken])
    result = course("doctor")
    assert result.exit_code == 1
    assert "broken" in result.output
    assert "RuntimeError: boom" in result.output


def test_doctor_names_a_package_that_is_too_old(monkeypatch):
    import importlib.metadata

    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.13" if name == "torch" else real(name))
    found = {finding.what: finding for finding in doctor.packages()}
    assert found["packages"].state == doctor.PROBLEM
    assert "torch is 1.13, not >=2.4" in found["packages"].text
    assert found["packages"].fix.startswith("python -m pip install")


@pytest.mark.parametrize(("free", "float32", "float16"), [(3e9, "note", "note"), (5e9, "note", "note"), (20e9, "ok", "note")])
def test_doctor_says_what_fits(monkeypatch, free, float32, float16):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": free, "total": 25e9})())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = {finding.what: finding for finding in doctor.memory()}
    assert found["float32"].state == float32
    assert found["float16"].state == float16
    assert ("does not fit" in found["float16"].text) == (free < 3.3e9)
    assert "4.3 GB of weights" in found["float32"].text


@pytest.mark.parametrize("kind", ["offline", "unreachable", "reachable"])
def test_doctor_on_the_hub(monkeypatch, kind, tmp_path):
    """Nothing cached; tests/course/test_loading.py has the caches."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", kind == "offline")
    monkeypatch.setattr(doctor, "reachable", lambda host, timeout=3.0: kind == "reachable")
    (finding,) = doctor.hub()
    assert finding.state == "note"
    assert {"offline": "HF_HUB_OFFLINE=0", "unreachable": "hf download", "reachable": "course render"}[kind] in finding.fix


def test_a_statement_from_a_windows_editor(tmp_path):
    """A byte order mark first, as in any text file a user gives."""
    file = tmp_path / "statement.tex"
    file.write_bytes(b"\xef\xbb\xbfp(x, z) = p(z) p(x|z)\r\n")
    assert course("prove", file).exit_code == 0


def commands(group, name=()):
    """Every command with its parameters, sub-commands included."""
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*name, key))
        else:
            yield (*name, key), command


def test_help_shows_its_brackets():
    """Square brackets in a help text are markup to rich: `[[grid]]` was shown as `[]`, `[default: 42, 70]` not at all."""
    import typer

    for name, command in commands(typer.main.get_command(app)):
        shown = " ".join(re.sub(r"[│╭╰─╮╯]", " ", CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"},
                                                               color=False).output).split())
        for parameter in command.params:
            said = " ".join((getattr(parameter, "help", None) or "").replace("\\[", "[").split())
            assert said in shown, (name, parameter.name, said)
            default = parameter.show_default
            assert not isinstance(default, str) or default in shown, (name, parameter.name, default)


def test_prove_keeps_back_what_an_exercise_asks_for():
    said = course("prove", r"\log p(x) = \mathbb{E}_q[\log \frac{p(x,z)}{q(z|x)}] + \log \mathbb{E}_q[\frac{q(z|x)}{p(z|x)}]").output
    assert "would hold: what ch01.printed asks for" in said
    assert "the logarithm moved inside the expectation" in said
    said = course("prove", r"p(x) = p(x, z)").output          # nobody asks for what mends this
    assert "asks for" not in said
