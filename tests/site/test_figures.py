"""Figures that move compute what Python computes, by keyboard and on a phone, and leave the still figure to paper."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule, cosine_betas, linear_betas, scaled_linear_betas
from course.stable_diffusion import SD_V1
from course.toy import ring
from tests.site.conftest import ROOT

PAGES = {"gap": "chapters/01-elbo/", "noise": "chapters/03-forward-process/", "race": "chapters/06-samplers/"}


@pytest.fixture(scope="module")
def compute(contexts, served):
    page = contexts["light"].new_page()
    page.goto(served + PAGES["gap"])
    page.wait_for_selector("fig-gap[data-ready]")
    yield lambda name, state: page.evaluate("([name, state]) => courseFigures[name].compute(state)", [name, state])
    page.close()


@pytest.mark.parametrize(("towards", "tail"), [(0, 1), (0.25, 1), (1, 1), (0.6, 3.5), (1, 0.1)])
def test_the_gap_is_pythons(compute, towards, tail):
    sys.path.insert(0, str(ROOT / "docs"))
    from figures.elbo import JOINT, parts

    posterior, poor = JOINT / JOINT.sum(), np.array([0.30, 0.10, 0.05, 0.05, 0.15, 0.35])
    q = ((1 - towards) * poor + towards * posterior) * np.array([1, 1, 1, 1, 1, tail])
    q /= q.sum()
    found = compute("gap", {"towards": towards, "tail": tail})
    evidence, bound, gap = parts(q)
    assert (found["evidence"], found["bound"], found["gap"]) == pytest.approx((evidence, bound, gap), abs=1e-5)
    assert found["evidence"] == pytest.approx(found["bound"] + found["gap"], abs=1e-9)
    assert found["other"] == pytest.approx(float(posterior @ np.log(posterior / q)), abs=1e-5)
    assert found["printed"] == pytest.approx(bound + math.log(float(q @ (q / posterior))), abs=1e-5)
    assert found["printed"] >= found["evidence"] - 1e-9


@pytest.mark.parametrize("t", [0, 1, 250, 998, 999])
@pytest.mark.parametrize("schedule", ["scaled", "linear", "cosine"])
def test_the_noise_is_pythons(compute, schedule, t):
    betas = {"scaled": scaled_linear_betas(1000, 0.00085, 0.012), "linear": linear_betas(1000, 1e-4, 0.02), "cosine": cosine_betas(1000)}[schedule]
    bar = torch.cumprod(1 - betas.double(), 0)[t].item()
    found = compute("noise", {"t": t, "schedule": schedule, "slip": "right"})
    assert (found["alpha"], found["sigma"]) == pytest.approx((math.sqrt(bar), math.sqrt(1 - bar)), abs=1e-5)
    assert found["variance"] == pytest.approx(1, abs=1e-9)
    one = 1 - betas[t].item()
    assert compute("noise", {"t": t, "schedule": schedule, "slip": "bar"})["alpha"] == pytest.approx(math.sqrt(one), abs=1e-5)
    assert compute("noise", {"t": t, "schedule": schedule, "slip": "root"})["alpha"] == pytest.approx(bar, abs=1e-5)


@pytest.mark.parametrize(("name", "budget", "steps"), [("heun", 9, 5), ("pndm", 8, 7), ("lms", 10, 10), ("ddim", 12, 12), ("euler", 3, 3), ("dpmpp_2m", 10, 10)])
def test_the_race_is_pythons(compute, name, budget, steps):
    schedule, sampler = NoiseSchedule.from_config(SD_V1), SAMPLERS[name]
    noise = torch.randn(120, 2, generator=torch.Generator().manual_seed(1)).double()
    grid = sampler.grid(schedule, steps)
    end = sampler.sample(ring().denoise, noise, schedule, steps)
    exact = ring().flow(noise, schedule.at(999), grid[-1])
    found = compute("race", {"left": name, "right": "ddim", "budget": budget, "seed": 1})["left"]
    assert (found["steps"], found["calls"]) == (steps, budget)
    assert found["error"] == pytest.approx((end - exact).square().sum(1).mean().sqrt().item(), abs=1e-4)


@pytest.mark.parametrize("name", PAGES)
def test_by_keyboard_on_a_phone_and_on_paper(visit, name):
    opened = visit("phone")
    page = opened.open(PAGES[name])
    figure, still = page.locator(f"fig-{name}[data-ready]"), page.locator(f"fig-{name} + figure")
    before = figure.locator(".fig-report").inner_text()
    assert not still.count() or not still.is_visible()
    slider = figure.locator("input[type=range]").first
    slider.focus()
    page.keyboard.press("End" if name != "race" else "Home")
    assert figure.locator(".fig-report").inner_text() != before
    assert f"#fig-{name}:" in page.url
    assert figure.locator("svg").get_attribute("aria-label") == figure.locator(".fig-report").inner_text()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(f"fig-{name}[data-ready]")
    assert float(figure.locator("input[type=range]").first.input_value()) == float(slider.get_attribute("max" if name != "race" else "min"))
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room
    page.emulate_media(media="print")
    assert not still.count() or still.is_visible()
    assert not figure.is_visible()
    page.emulate_media(media="screen")
    assert not opened.wrong, opened.wrong


def test_a_bad_address_is_harmless(visit):
    opened = visit()
    page = opened.open(PAGES["noise"] + "#fig-noise:t=1e99&schedule=constructor&slip=%3Cimg%3E")
    assert "picture ×" in page.locator("fig-noise .fig-report").inner_text()
    assert not opened.wrong, opened.wrong


def test_the_library_and_its_figures_are_small():
    assert (ROOT / "docs" / "javascripts" / "figures.js").stat().st_size < 24_000
