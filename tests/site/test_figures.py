"""Figures that move compute what Python computes, by keyboard and on a phone, and leave the still figure to paper."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from course.samplers import SAMPLERS
from course.schedule import cosine_betas, linear_betas, scaled_linear_betas
from tests.site.conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))

PAGES = {"gap": "chapters/01-elbo/", "arrows": "chapters/02-hierarchical-vae/", "noise": "chapters/03-forward-process/", "back": "chapters/04-reverse-process/",
         "race": "chapters/06-samplers/", "guided": "chapters/08-guidance/", "distance": "chapters/11-evaluation/"}
TO_LEAST = {"race"}          # the key that takes the first slider away from where it starts


@pytest.fixture(scope="module")
def compute(contexts, served):
    page = contexts["light"].new_page()
    page.goto(served + PAGES["gap"])
    page.wait_for_selector("fig-gap[data-ready]")
    yield lambda name, state: page.evaluate("async ([name, state]) => { await courseFigures.load(name); const { figures } = courseFigures;"
                                            " const typed = Object.fromEntries(figures[name].controls.map(c => [c.name, c.value]));"
                                            " return figures[name].compute({ ...typed, ...state }) }", [name, state])
    page.close()


@pytest.mark.parametrize(("towards", "tail"), [(0, 1), (0.25, 1), (1, 1), (0.6, 3.5), (1, 0.1)])
def test_the_gap_is_pythons(compute, towards, tail):
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
    from figures.order import run_of

    end, exact = run_of(name, budget)
    found = compute("race", {"left": name, "right": "ddim", "budget": budget, "seed": 1})["left"]
    assert (found["steps"], found["calls"]) == (steps, budget)
    assert found["error"] == pytest.approx((end - exact).square().sum(1).mean().sqrt().item(), abs=1e-5)


@pytest.mark.parametrize(("hidden", "first", "turned", "memory"), [
    (3, "top", {2}, False), (3, "top", set(), False), (2, "top", set(), True), (5, "0", {1, 2, 3, 4, 5}, False), (4, "1", {2, 3, 4}, False),
    (4, "1", {2, 3, 4}, True), (5, "top", {1, 5}, True), (3, "0", set(), False)])
def test_the_arrows_are_pythons(compute, hidden, first, turned, memory):
    from figures.hierarchy import joint, product

    table = joint(hidden, memory)
    ours, counts = product(table, hidden if first == "top" else int(first), turned)
    found = compute("arrows", {"T": hidden, "first": first, "memory": memory, **{f"turn{t}": t in turned for t in range(1, 6)}})
    assert found["counts"] == counts
    assert (found["sum"], found["off"]) == pytest.approx((ours.sum(), abs(ours - table).max()), abs=1e-9)
    assert (found["cell"] == -1) == (abs(ours - table).max() < 1e-9)
    assert (found["cell"] == -1) == (counts == [1] * (hidden + 1) and not memory), "the ten-second rule, and where Markov is used"


@pytest.mark.parametrize(("t", "back", "x"), [(400, 20, -0.05), (400, 200, -0.05), (400, 1000, -0.05), (999, 1, 2.0), (10, 9, 1.1), (700, 350, -1.5)])
def test_the_step_back_is_pythons(compute, t, back, x):
    from figures.forward import stable_diffusion_schedule
    from figures.reverse import step_back

    from course.forward import posterior
    from course.schedule import CLEAN

    schedule = stable_diffusion_schedule()
    later, earlier = schedule.at(t), CLEAN if back > t else schedule.at(t - back)
    _, mean, variance, kl = step_back(x, earlier, later, np.linspace(-4, 4, 2401))
    found = compute("back", {"t": t, "back": back, "x": x})
    assert (found["mean"], found["variance"]) == pytest.approx((mean, variance), abs=1e-5)
    assert found["kl"] == pytest.approx(max(kl, 0), abs=1e-5)
    for known, x0 in zip(found["known"], (-1.5, 1.0), strict=True):
        one = torch.tensor([[x0]], dtype=torch.float64)
        middle, spread = posterior(torch.tensor([[x]], dtype=torch.float64), one, later, earlier)
        assert (known["mean"], known["variance"]) == pytest.approx((float(middle), float(spread)), abs=1e-5)


@pytest.mark.parametrize(("scale", "low", "high", "against"), [(1, 0, 999, "all"), (3, 0, 999, "all"), (-1, 0, 999, "all"), (10, 200, 700, "all"), (4, 0, 999, "3")])
def test_the_guided_crowd_is_pythons(compute, scale, low, high, against):
    from figures.guided import CAPTION, EVERYTHING, SCHEDULE, SPOTS

    from course.guidance import classifier_free, pair_of
    from course.schedule import CLEAN
    from course.toy import Mixture

    negative = EVERYTHING if against == "all" else Mixture(SPOTS[int(against)][None], [0.35])
    noise = torch.randn(320, 2, generator=torch.Generator().manual_seed(0)).double()
    end = SAMPLERS["ddim"].sample(classifier_free(pair_of(negative.denoise, CAPTION.denoise), lambda level: scale if low <= level.t <= high else 1.0),
                                  noise, SCHEDULE, 50)
    found = compute("guided", {"scale": scale, "low": low, "high": high, "against": against})
    assert found["share"] == (torch.cdist(end, SPOTS.double()).argmin(dim=1) < 2).double().mean().item()
    assert found["spread"] == pytest.approx(end.var(dim=0).sum().sqrt().item(), abs=1e-5)
    assert found["fit"] == pytest.approx(CAPTION.log_prob(end, CLEAN).mean().item(), abs=1e-5)


@pytest.mark.parametrize(("n", "shift", "dimensions"), [(6, 0.0, 8), (2, 0.0, 2), (20, 0.5, 4), (100, 1.0, 2)])
def test_the_distances_are_pythons(compute, n, shift, dimensions):
    from figures.evaluation import measured

    found = compute("distance", {"size": [2, 3, 6, 10, 20, 50, 100, 200].index(n), "shift": shift, "D": str(dimensions), "seed": 3})
    frechet, kernel = measured(n, shift, dimensions, seed=3)
    assert found["frechet"] == pytest.approx(frechet, abs=1e-5)
    assert found["kernel"] == pytest.approx(kernel, abs=1e-5)
    assert found["truth"]["frechet"] == pytest.approx(shift**2)
    if n == 100:
        assert np.mean(kernel) == pytest.approx(found["truth"]["kernel"], abs=4 * np.std(kernel) / math.sqrt(40))


@pytest.mark.parametrize("name", PAGES)
def test_by_keyboard_on_a_phone_and_on_paper(visit, name):
    opened = visit("phone")
    page = opened.open(PAGES[name])
    figure, still = page.locator(f"fig-{name}[data-ready]"), page.locator(f"fig-{name} + figure")
    before = figure.locator(".fig-report").inner_text()
    assert not still.count() or not still.is_visible()
    slider = figure.locator("input[type=range]").first
    slider.focus()
    page.keyboard.press("Home" if name in TO_LEAST else "End")
    assert figure.locator(".fig-report").inner_text() != before
    assert f"#fig-{name}:" in page.url
    assert figure.locator("svg").get_attribute("aria-label") == figure.locator(".fig-report").inner_text()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(f"fig-{name}[data-ready]")
    assert float(figure.locator("input[type=range]").first.input_value()) == float(slider.get_attribute("min" if name in TO_LEAST else "max"))
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


def test_switches_taps_and_drags(visit):
    """A tap on an arrow turns it, a box does the same, and a finger in the picture moves the point."""
    opened = visit("phone")
    page = opened.open(PAGES["arrows"])
    figure = page.locator("fig-arrows[data-ready]")
    assert "z₂ twice" in figure.locator(".fig-report").inner_text()
    figure.locator("[data-toggle=turn2] rect").click()
    assert "joint distribution in all 16 cases" in figure.locator(".fig-report").inner_text()
    assert not figure.get_by_label("turned: z₁ and z₂").is_checked()
    figure.get_by_label("turned: x and z₁").check()
    assert "z₁ twice" in figure.locator(".fig-report").inner_text()
    assert not figure.get_by_label("turned: z₄ and z₅").is_visible()
    page = opened.open(PAGES["back"])
    figure = page.locator("fig-back[data-ready]")
    figure.locator(".fig-drawing svg").evaluate("svg => svg.scrollIntoView({ block: 'center' })")
    box = figure.locator(".fig-drawing svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * (20 + 520 * 4 / 6) / 560, box["y"] + 40)
    page.mouse.up()
    assert float(figure.locator("input[name=x]").input_value()) == pytest.approx(1.0, abs=0.06)
    assert not opened.wrong, opened.wrong


def test_the_library_and_its_figures_are_small():
    scripts = ROOT / "docs" / "javascripts"
    assert (scripts / "figures.js").stat().st_size < 12_000
    assert {path.stem for path in (scripts / "figures").glob("*.js")} == set(PAGES)
    for path in (scripts / "figures").glob("*.js"):
        assert path.stat().st_size < 12_000, path.name
