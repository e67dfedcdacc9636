"""<toy-flow> computes in the browser what the package computes in Python, and everybody can use it."""

from __future__ import annotations

import re

import pytest
import torch

from course.samplers import SAMPLERS
from course.schedule import CLEAN, NoiseSchedule
from course.stable_diffusion import SD_V1
from course.toy import ring
from tests.site.conftest import PAGES, url_of

PAGE = next((url_of(page) for page in PAGES if page.startswith("chapters/05")), "")
SCHEDULE = NoiseSchedule.from_config(SD_V1)
NAMES = ("ddim", "ddpm", "pndm", "euler", "euler_ancestral", "heun", "lms", "dpmpp_2m")         # those of samplers.js
# Not every noise: a point that comes close to a ridge between two bumps multiplies the last bit of a float32 table by thousands.
NOISE = torch.randn(40, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.fixture
def toy(visit):
    opened = visit("light")
    opened.open(PAGE).wait_for_selector("toy-flow[data-ready]")
    yield opened.page
    assert not opened.wrong, opened.wrong


@pytest.fixture(scope="module")
def compute(contexts, served):
    """The functions behind the element; one page for all comparisons."""
    page = contexts["light"].new_page()
    page.goto(served + PAGE)
    page.wait_for_selector("toy-flow[data-ready]")
    yield page
    page.close()


def test_schedule_is_the_very_table(compute):
    assert compute.evaluate("Array.from(toyFlow.alphasCumprod)") == pytest.approx(SCHEDULE.alphas_cumprod.tolist(), rel=3e-7)


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50])
@pytest.mark.parametrize("name", NAMES)
def test_sampler_agrees_with_python(compute, name, steps):
    draws = [torch.randn(40, 2, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in range(steps)]
    sampler, calls = SAMPLERS[name], []

    def denoise(x, level):
        calls.append(level.t)
        return ring().denoise(x, level)

    grid, pending = sampler.grid(SCHEDULE, steps), iter(draws)
    theirs = compute.evaluate("([name, noise, steps, draws]) => { const r = toyFlow.sample(name, Float64Array.from(noise), steps,"
                          " draws.map(d => Float64Array.from(d))); return {end: Array.from(r.path.at(-1)), times: r.grid.map(l => l.t),"
                          " calls: r.calls} }", [name, NOISE.flatten().tolist(), steps, [d.flatten().tolist() for d in draws]])
    ours = sampler.run(denoise, sampler.start(NOISE, SCHEDULE, grid[0]), grid, lambda: next(pending))
    assert theirs["times"] == [level.t for level in grid]
    assert theirs["calls"] == len(calls)
    assert torch.tensor(theirs["end"], dtype=torch.float64).reshape(-1, 2) == pytest.approx(ours, abs=1e-5)


def test_exact_flow_agrees_with_python(compute):
    now = SCHEDULE.at(999)
    theirs = compute.evaluate("noise => Array.from(toyFlow.flow(Float64Array.from(noise), toyFlow.at(999), toyFlow.CLEAN))",
                          NOISE.flatten().tolist())
    assert torch.tensor(theirs, dtype=torch.float64).reshape(-1, 2) == pytest.approx(ring().flow(NOISE, now, CLEAN), abs=1e-5)


def test_keyboard_and_address(toy):
    slider = toy.locator("toy-flow input[name=step]")
    slider.focus()
    before = int(slider.input_value())
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    assert int(slider.input_value()) == before - 2
    assert f"step={before - 2}" in toy.url
    toy.locator("toy-flow select").select_option("heun")
    assert "19 model calls" in toy.locator(".toy-report").inner_text()
    address = toy.url
    toy.goto("about:blank")
    toy.goto(address)
    toy.wait_for_selector("toy-flow[data-ready]")
    assert toy.locator("toy-flow select").input_value() == "heun"
    assert int(toy.locator("toy-flow input[name=step]").input_value()) == before - 2


def test_the_error_is_measured_from_pure_noise_whatever_the_grid(toy, served):
    """The leading grid of one step starts at t = 1. Against the flow from t = 1 it would look a hundred times better than ten steps."""
    errors = {}
    for steps in (1, 10):
        toy.goto("about:blank")
        toy.goto(f"{served}{PAGE}#toy:sampler=ddim&steps={steps}")
        toy.wait_for_selector("toy-flow[data-ready]")
        text = toy.locator(".toy-report").inner_text()
        errors[steps] = float(re.search(r"flow from t = 999: ([\d.]+)", text)[1])
        assert ("starts at t = 1 of 999" in text) == (steps == 1)
    assert errors[1] > 3 * errors[10]


def test_a_link_to_a_setting_shows_the_picture(toy, served):
    toy.goto("about:blank")
    toy.goto(f"{served}{PAGE}#toy:sampler=heun&steps=5")
    toy.wait_for_function("document.documentElement.dataset.math === 'ready'")
    toy.wait_for_function("(() => { const b = document.querySelector('toy-flow').getBoundingClientRect(); return b.top >= 0 && b.top < innerHeight / 2 })()")


@pytest.mark.parametrize("address", ["#toy:sampler=constructor&steps=1e9&step=-4&seed=x", "#toy:%E0%A4%A", "#toy:", "#toy:steps=0"])
def test_bad_address_is_harmless(toy, served, address):
    toy.goto("about:blank")
    toy.goto(f"{served}{PAGE}{address}")
    toy.wait_for_selector("toy-flow[data-ready]")
    assert "model calls" in toy.locator(".toy-report").inner_text()


def test_paper_and_no_scripts_show_the_strip(toy, browser, served):
    strip, live = toy.locator("toy-flow + figure svg"), toy.locator("toy-flow")
    assert live.is_visible()
    assert not strip.is_visible()
    toy.emulate_media(media="print")
    assert strip.is_visible()
    assert not live.is_visible()
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(served + PAGE)
        assert page.locator("toy-flow + figure svg").is_visible()
