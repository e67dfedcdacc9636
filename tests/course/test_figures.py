"""What the chapters use to show code, pictures and exercises."""

import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

import course


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(course.__file__).parents[1] / "docs"))
    from figures import common

    return common


def test_source_shows_the_lines_that_run(common):
    shown = common.source("course.forward", "add_noise")
    assert "return level.alpha * x0 + level.sigma * eps" in shown
    first, last = map(int, re.search(r"lines (\d+) to (\d+)", shown).groups())
    lines = (common.ROOT / "course" / "forward.py").read_text().splitlines()
    assert lines[first - 1].startswith("def add_noise")
    assert "level.alpha * x0" in lines[last - 1]


def test_source_leaves_docstrings_out_unless_asked(common):
    assert "A draw from" not in common.source("course.forward", "add_noise")
    assert "A draw from" in common.source("course.forward", "add_noise", docstring=True)


def test_source_finds_methods_and_constants(common):
    assert "def ratio" in common.source("course.schedule", "Level.ratio")
    assert '"v_prediction": lambda snr: snr + 1' in common.source("course.training", "PER_X0")


@pytest.mark.parametrize(("module", "name"), [("course.forward", "add_nois"), ("course.schedule", "Level.nothing"),
                                              ("course.nowhere", "f")])
def test_source_fails_when_the_code_is_gone(common, module, name):
    with pytest.raises(ValueError, match="no"):
        common.source(module, name)


def test_a_figure_is_valid_names_itself_and_takes_the_pages_ink(common):
    drawn, ax = common.axes()
    ax.plot([1, 2], [1, 2], "o")
    ax.set(title="a title")
    shown = common.figure(drawn, "fig-a", 'alt with "quotes" & <marks>', "below")
    root = ElementTree.fromstring(shown)
    svg = root[0][0]
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-label"] == 'alt with "quotes" & <marks>'
    assert "currentColor" in shown
    assert common.INK not in shown
    ids = [e.attrib["id"] for e in svg.iter() if "id" in e.attrib]
    assert ids
    assert all(i.startswith("fig-a-") for i in ids)
    targets = re.findall(r'href="#([^"]+)"', shown) + re.findall(r"url\(#([^)]+)\)", shown)
    assert set(targets) <= set(ids)
    assert not matplotlib.pyplot.get_fignums()


def test_panels_are_stacked_for_phones(common):
    drawn, (left, _) = common.axes(1, 2, width=7.4, sharey=True)
    left.plot([1, 2])
    left.set(ylabel="error")
    wide, stacked = ElementTree.fromstring(common.figure(drawn, "pair", "two panels", stack=True))[:2]
    assert "hidden" in stacked.attrib                                       # the style sheet shows it on phones only
    size = [[float(number) for number in box[0].attrib["viewBox"].split()[2:]] for box in (wide, stacked)]
    assert size[0][0] > size[0][1]
    assert size[1][1] > size[1][0]
    assert size[1][0] <= 358                                                # what a phone of 390 px has room for
    ids = [e.attrib["id"] for box in (wide, stacked) for e in box.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))


def test_the_same_figure_gives_the_same_bytes(common):
    def once():
        drawn, ax = common.axes()
        ax.plot([1, 3, 2])
        return common.figure(drawn, "same", "three points")

    assert once() == once()


def test_exercises_come_from_the_manifest(common):
    shown = common.exercises("ch03_forward")
    assert "ch03.add_noise" in shown
    assert "exercises/ch03_forward.py" in shown
    assert shown.count("<details>") == len(common.load_tasks()) - sum(t.chapter != "ch03_forward" for t in common.load_tasks().values())
    with pytest.raises(ValueError, match="no tasks for"):
        common.exercises("ch99_nothing")


# --------------------------------------------------------------------- what sentences claim from numbers made at build time


def test_what_chapter_6_says_of_one_grid_for_all(common):
    """2M leads Euler, Heun and LMS at 5 and 10 steps and not PNDM; from 40 steps on Heun and LMS lead, LMS by 70 and more."""
    from figures.order import error

    at = {(name, steps): error(name, steps, skip_last=True, on="dpmpp_2m")[0] for name in ("euler", "heun", "lms", "pndm", "dpmpp_2m")
          for steps in (5, 10, 40, 80)}
    for steps in (5, 10):
        assert at["dpmpp_2m", steps] < min(at["euler", steps], at["heun", steps], at["lms", steps])
        assert at["pndm", steps] < at["dpmpp_2m", steps]
    for steps in (40, 80):
        assert at["heun", steps] < at["dpmpp_2m", steps]
        assert at["lms", steps] < at["dpmpp_2m", steps] / 69
    assert at["dpmpp_2m", 40] > error("dpmpp_2m", 20, skip_last=True, on="dpmpp_2m")[0]


def test_what_chapter_11_says_of_the_sweep(common):
    from figures.lab import chosen, claims, one

    odes = ("ddim", "pndm", "lms", "heun", "euler", "dpmpp_2m")
    def right(**at):
        return {name: one(sampler=name, steps=100.0, **at)["right"] for name in (*odes, "ddpm", "euler_ancestral")}

    assert set(right(guidance=7.5).values()) == {1.0}                            # "cannot be told apart"
    for guidance in (1.0, 3.0):                                                  # "the dice win, and by far"
        shares = right(guidance=guidance)
        assert max(shares[name] for name in odes) < min(shares["ddpm"], shares["euler_ancestral"])
    assert len(chosen(sampler="dpmpp_2m", steps=50.0)) == 5
    assert "(0 to 0)" not in claims()                                            # no interval of width zero
    assert "Fréchet distance of 48 pictures" in claims()
