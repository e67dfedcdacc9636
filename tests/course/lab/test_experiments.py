"""The experiments with drawn truth: what they count, on few scenes; and that a broken method is seen."""

import csv

import pytest
import torch

from course.components import load_components
from course.emoji.data import Scene, caption, draw_batch, place
from course.emoji.probe import load_probe
from course.lab import experiments
from course.lab.experiments import EDITS, KINDS, box, edits, guidance, swaps, write_table


@pytest.fixture(scope="module")
def parts():
    return load_components("emoji", device="cpu", nets="course")


def test_swaps_exchange_the_first_object_for_one_of_the_same_length(parts):
    for before, after in swaps(30, parts):
        assert before.objects[0] != after.objects[0]
        assert (before.objects[1], before.relation, before.colour) == (after.objects[1], after.relation, after.colour)
        one, two = parts.tokenizer([caption(before), caption(after)])["input_ids"]
        assert len(one) == len(two)
    assert swaps(30, parts) == swaps(30, parts)
    assert swaps(30, parts) != swaps(30, parts, seed=1)


def test_the_box_covers_the_first_object_and_nothing_of_the_second():
    scene = Scene(("bear", "horse"), "left of", "blue")
    mask = torch.nn.functional.interpolate(box(scene)[None], size=(64, 64))[0, 0]
    for (_, pixels, x, y), inside in zip(place(scene), (1.0, 0.0), strict=True):
        assert torch.all(mask[y:y + pixels, x:x + pixels] == inside)


def test_what_is_held_against_an_edit():
    """The drawn picture of the wanted scene has everything; the old picture has all but the change."""
    before, after = Scene(("bear", "horse"), "above", "blue"), Scene(("cat", "horse"), "above", "blue")
    x, y = (torch.from_numpy(draw_batch([scene])) for scene in (before, after))
    held = experiments._held(load_probe(), y, x, [(before, after)], box(before)[None])
    assert {key: value.item() for key, value in held.items()} == {"changed": True, "kept": True, "ground": True, "psnr": pytest.approx(86.02, abs=0.1)}
    held = experiments._held(load_probe(), x, x, [(before, after)], box(before)[None])
    assert not held["changed"].item()
    other = torch.from_numpy(draw_batch([Scene(("cat", "rocket"), "above", "pink")]))
    held = experiments._held(load_probe(), other, x, [(before, after)], box(before)[None])
    assert (held["kept"].item(), held["ground"].item()) == (False, False)
    assert held["psnr"].item() < 20


def test_rows_of_edits():
    rows = list(edits(2, methods=["none: through the autoencoder", "inpainting the object's box"], progress=False))
    assert [row["method"] for row in rows] == ["none: through the autoencoder", "inpainting the object's box"]
    assert rows[0]["changed"] == 0
    assert rows[0]["kept"] == rows[0]["ground"] == 1
    assert rows[0]["changed_high"] > 0.5, "two scenes say little, and the interval says so"
    assert rows[0]["psnr"] > 30


def test_rows_of_guidance_and_the_table(tmp_path, capsys):
    file = write_table(guidance(2, 2, kinds=["none"], progress=False), tmp_path / "guidance.csv")
    row, = csv.DictReader(file.open())
    assert (row["kind"], row["pictures"]) == ("none", "4")
    assert float(row["right_low"]) <= float(row["right"]) <= float(row["right_high"])
    assert "kind none" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no numbers"):
        write_table(iter([]), tmp_path / "empty.csv")
    assert not (tmp_path / "empty.csv").exists()


def test_every_method_has_a_name_that_says_what_it_does():
    assert len(EDITS) == 11
    assert all(scales for scales in KINDS.values())


def test_a_run_that_is_stopped_keeps_its_rows(tmp_path):
    def rows():
        yield {"kind": "a", "right": 0.5}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(rows(), tmp_path / "t.csv")
    assert [row["kind"] for row in csv.DictReader((tmp_path / "t.csv").open())] == ["a"]


def test_every_kind_of_guidance_can_be_built_and_asked(parts):
    grid = experiments.SAMPLER.grid(experiments.NoiseSchedule.from_config(parts.scheduler.config), 5)
    prompts = ["a large cat on a blue background"]
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for kind, scales in KINDS.items():
            for scale, build in scales.items():
                eps = build(parts, prompts, grid)(x, grid[2])
                assert eps.shape == x.shape, (kind, scale)
                assert eps.isfinite().all(), (kind, scale)


def test_the_pictures_of_one_prompt_show_one_scene(monkeypatch):
    """Variety is that of pictures of the same caption."""
    seen = []
    monkeypatch.setattr(experiments, "diversity", lambda found, groups: seen.append(list(groups)) or 1.0)
    monkeypatch.setattr(experiments, "verdicts", lambda probe, y, scenes: seen.append(scenes) or {"everything": torch.ones(len(scenes))})
    list(guidance(3, 2, kinds=["none"], progress=False))
    scenes, groups = seen
    assert groups == [0, 0, 1, 1, 2, 2]
    assert scenes[0] == scenes[1]
    assert scenes[0] != scenes[2]
