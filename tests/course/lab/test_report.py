"""Reports of made-up sweeps whose truth is known: the numbers, the verdicts, and pages that stand on their own."""

import csv
import random
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from course.emoji.data import SIZE, draw, parse
from course.lab import report, sweep
from course.lab.metrics import Interval

PROMPTS = sweep.scene_prompts(12)
SEEDS = (1, 2)


def fake_judge(array, prompts):
    """Right when the picture is near the scene its prompt describes, give or take jitter; features: coarse pixels."""
    right = []
    for picture, prompt in zip(array, prompts, strict=True):
        wanted = draw(parse(prompt)) / 255
        right.append(np.abs(picture - wanted).mean() < 0.15)
    step = SIZE // 4
    coarse = array.reshape(len(array), 4, step, 4, step, 3).mean((2, 4)).reshape(len(array), -1)
    return {name: np.array(right) for name in report.ADHERENCE}, coarse


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sweep in which few steps and little guidance make wrong pictures, and guidance 25 makes gaudy ones."""
    path = tmp_path_factory.mktemp("made-up")
    (path / "pictures").mkdir()
    settings = sweep.grid(sampler=["ddim", "dpmpp_2m", "heun", "lms", "pndm"], steps=[5, 10, 50, 100], guidance=7.5)
    settings += sweep.grid(sampler="dpmpp_2m", steps=50, guidance=[1, 25])
    settings += sweep.grid(sampler="dpmpp_2m", steps=50, guidance=[7.5], vae="other")
    with (path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, sweep.ROW)
        writer.writeheader()
        for setting in settings:
            calls = {"heun": 2 * setting.steps - 1, "pndm": setting.steps + 1}.get(setting.sampler, setting.steps)
            for prompt in PROMPTS:
                for seed in SEEDS:
                    array = draw(parse(prompt), random.Random(f"{prompt} {seed}")).astype(float)   # same noise everywhere
                    rng = random.Random(f"{setting} {prompt} {seed}")
                    wrong = setting.steps == 5 or (setting.guidance == 1 and rng.random() < 0.8)
                    if wrong:
                        array = 255 - array
                    if setting.guidance == 25:
                        array = 128 + (array - 128) * 3
                    array = array + rng.gauss(0, 40 / setting.steps)
                    picture = Image.fromarray(array.clip(0, 255).astype(np.uint8))
                    name = sweep.key(setting, prompt, seed)
                    picture.save(path / "pictures" / f"{name}.png")
                    writer.writerow({"key": name, **setting._asdict(), "prompt": prompt, "seed": seed,
                                     "picture": f"pictures/{name}.png", "sha256": sweep.picture_hash(picture),
                                     "seconds": 0.01 * calls, "batch": 16, "model_calls": calls, "peak_memory_mb": 1,
                                     "device": "cpu", "dtype": "float32", "course_version": "0", "torch_version": "2",
                                     "diffusers_version": "0", "finished": "now"})
    return path


@pytest.fixture(scope="module")
def results(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_emoji_judge", lambda rows: fake_judge)
        return report.measure(folder, progress=False)


def test_measures(results):
    assert len(results.sets) == 23
    good, bad = (results.select(sampler="ddim", steps=n)[0] for n in (50, 5))
    assert good.share().value > 0.9 > 0.1 > bad.share().value
    assert results.distances[bad.setting] > results.distances[good.setting] > 0
    assert len(good.pairs) == 24


def test_one_picture_is_a_report_without_distances(folder, tmp_path, monkeypatch):
    """One prompt, one seed: nothing has a distribution; the first setting of several may be cut short, too."""
    monkeypatch.setattr(report, "_emoji_judge", lambda rows: fake_judge)
    rows = (folder / "rows.csv").read_text().splitlines(keepends=True)
    (tmp_path / "pictures").symlink_to(folder / "pictures")
    for count in (1, 25):                                                      # one picture; 24 of one setting, one of the next
        (tmp_path / "rows.csv").write_text("".join(rows[: 1 + count]))
        found = report.measure(tmp_path, progress=False)
        assert len(found.distances) == (count > 24)
        html, _ = report.write_pages(found, tmp_path)
        assert html.read_text()


def test_verdicts_on_the_claims(results):
    found = {claim.text.split(",")[0][:20]: claim for claim in report.claims(results)}
    verdicts = [claim.verdict for claim in report.claims(results)]
    assert set(verdicts) <= {"holds", "does not hold", "cannot be told apart", "not tested"}
    assert found["The sampler with the"].verdict == "does not hold"       # ddim makes as many calls
    assert found["More steps change th"].verdict == "holds"
    assert found["PNDM gives unappeali"].verdict == "cannot be told apart"
    assert found["Too little guidance "].verdict == "holds"
    assert found["The picture in the s"].verdict == "does not hold"
    assert "24" in found["The picture in the s"].evidence


def test_best_and_its_rivals(results):
    first, rivals = report.best(results)
    assert first.setting.steps > 5
    assert len(rivals) >= 10
    assert all(p.setting.steps > 5 and p.setting.guidance != 1 for p in rivals)


@pytest.mark.parametrize(("interval", "claimed", "expected"), [
    ((0.2, 0.1, 0.3), 1, "holds"), ((0.2, 0.1, 0.3), -1, "does not hold"), ((0.1, -0.1, 0.3), 1, "cannot be told apart"),
    ((-0.2, -0.3, -0.1), -1, "holds"),
])
def test_verdict(interval, claimed, expected):
    assert report.verdict(Interval(*interval), claimed) == expected


def test_pages(results, tmp_path):
    html, markdown = report.write_pages(results, tmp_path)
    page, text = html.read_text(), markdown.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page), "the page loads something from elsewhere"
    assert page.count("<svg") == 4
    assert page.count("data:image/png") >= 3
    for word in ("Heun", "does not hold", "cannot be told apart", "model calls"):
        assert word in page
        assert word in text
    for name in (names := re.findall(r"\]\((report/[^)]+)\)", text)):
        if name.endswith(".svg"):
            assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")
        else:
            with Image.open(tmp_path / name) as picture:
                assert min(picture.size) > 20
    assert {"report/quality-at-equal-steps.svg", "report/samplers-and-steps.png"} < set(names)
    with (tmp_path / "settings.csv").open(newline="") as file:
        numbers = list(csv.DictReader(file))
    assert len(numbers) == len(results.sets)
    assert {row["model_calls"] for row in numbers} >= {"5", "9", "99", "101"}
    good = next(row for row in numbers if (row["sampler"], row["steps"]) == ("ddim", "50"))
    assert float(good["right_low"]) < float(good["right"]) <= float(good["right_high"])
    assert float(good["frechet"]) > 0
    with (tmp_path / "claims.csv").open(newline="") as file:
        assert [tuple(row.values()) for row in csv.DictReader(file)] == [tuple(claim) for claim in report.claims(results)]
    again, _ = report.write_pages(results, tmp_path)
    assert again.read_text() == page, "the same results must give the same page"


def test_prompts_are_escaped(results, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "sections", lambda results: [report.Section("<script>alert(1)</script>", "a & b", [["<b>"]])])
    html, _ = report.write_pages(results, tmp_path)
    assert "<script>alert" not in html.read_text()
    assert "&lt;b&gt;" in html.read_text()


def test_foreign_prompts_are_measured_without_adherence(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_emoji_judge", lambda rows: None)
    plain = report.measure(folder, progress=False)
    assert plain.reference is None
    assert report.best(plain) is None
    html, _ = report.write_pages(plain, tmp_path)
    assert "saturation" in html.read_text()
    assert "Fréchet" not in html.read_text()


def test_damaged_picture(folder, tmp_path):
    import shutil
    shutil.copytree(folder, tmp_path / "copy")
    broken = next((tmp_path / "copy" / "pictures").iterdir())
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(ValueError, match="cannot read the picture"):
        report.measure(tmp_path / "copy", progress=False)
    with pytest.raises(ValueError, match=r"no rows\.csv"):
        report.measure(tmp_path, progress=False)
