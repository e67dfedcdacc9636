"""Our networks behind `course render` and in sweeps."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from course.cli import app
from course.lab import sweep

PROMPT = "a bear above a horse on a white background"


def test_render_with_our_networks_beside_all_of_diffusers(tmp_path):
    words = ["render", PROMPT, "--nets", "course", "--compare", "--steps", "3", "--out", str(tmp_path / "a.png"), "--seed", "7"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "largest difference: 0 of 255" in result.output or "largest difference: 1 of 255" in result.output
    for words, message in [(["--nets", "mine"], "unknown nets 'mine'"), (["--nets", "course", "--mine"], "--nets")]:
        result = CliRunner().invoke(app, ["render", PROMPT, *words, "--out", str(tmp_path / "b.png")])
        assert result.exit_code != 0
        assert message in result.output
    assert not (tmp_path / "b.png").exists()


def test_sweeps_with_both_and_results_from_before_there_was_a_choice(tmp_path):
    settings = sweep.grid(steps=2, sampler="ddim", nets=["diffusers", "course"])
    sweep.run(tmp_path / "both", settings, [PROMPT], [1], progress=False)
    theirs, ours = sweep.read_rows(tmp_path / "both")
    assert (theirs["nets"], ours["nets"]) == ("diffusers", "course")
    pixels = [np.asarray(Image.open(tmp_path / "both" / row["picture"]), dtype=int) for row in (theirs, ours)]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1
    assert sweep.setting_of(ours).label() == "emoji, ddim, 2 steps, guidance 7.5, nets course"

    file = tmp_path / "both" / "rows.csv"
    with file.open(newline="") as lines:
        old = [row[:-1] for row in csv.reader(lines)][:2]
    file.write_text("".join(",".join(f'"{cell}"' if "," in cell else cell for cell in row) + "\n" for row in old))
    assert sweep.read_rows(tmp_path / "both") == [theirs]
    assert sweep.run(tmp_path / "both", settings, [PROMPT], [1], progress=False) == 1      # the old one counts
    assert [row["nets"] for row in sweep.read_rows(tmp_path / "both")] == ["diffusers", "course"]
    with pytest.raises(ValueError, match=r"unknown nets 'keras'.* They are diffusers or course"):
        sweep.grid(nets="keras")
