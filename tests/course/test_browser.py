"""Before and after the build: what the interactive pages load, formulas drawn by KaTeX; and what happens where a tool is missing."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from course import browser, site
from course.samplers import SAMPLERS, TAUGHT
from course.schedule import NoiseSchedule
from course.stable_diffusion import SD_V1

ROOT = Path(__file__).parents[2]


@pytest.fixture
def docs(tmp_path):
    shutil.copytree(ROOT / "docs" / "runtimes", tmp_path / "docs" / "runtimes")
    (tmp_path / "docs" / "assets").mkdir()
    return tmp_path / "docs"


def test_without_npm_and_onnx_the_site_is_built_without_and_says_so(docs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    (docs / "assets" / "model").mkdir()
    (docs / "assets" / "model" / "unet.onnx").write_bytes(b"of another day")
    problems = browser.prepare(docs, tmp_path / "cache")
    assert any("npm is not installed" in each for each in problems), problems
    assert any("onnx is not installed" in each for each in problems), problems
    assert not (docs / "assets" / "model").exists(), "no stale model stays behind"
    assert not (docs / "assets" / "runtimes").exists()
    assert (docs / "assets" / "judge" / "judge.zip").exists()
    assert not list((tmp_path / "cache").rglob("tmp*"))


def test_an_npm_that_fails_leaves_nothing_half_written(docs, tmp_path, monkeypatch):
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "npm").write_text("#!/bin/sh\necho 'npm error code EINTEGRITY' >&2\nexit 1\n")
    (fake / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:/usr/bin:/bin")
    with pytest.raises(OSError, match="npm ci failed: npm error code EINTEGRITY"):
        browser.runtimes(docs, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_judge_is_packed_whole_and_the_same_each_time(docs, tmp_path):
    first, again = (browser.judge(docs, tmp_path / name) for name in ("one", "two"))
    assert (first / "judge.zip").read_bytes() == (again / "judge.zip").read_bytes()
    names = set(zipfile.ZipFile(first / "judge.zip").namelist())
    assert {"course/__init__.py", "course/equations/judge.py", "course/equations/reading/grammar.lark", "lark/__init__.py"} <= names
    assert not any("pages.py" in name for name in names)
    listed = json.loads((first / "manifest.json").read_text())
    assert listed["judge.zip"]["bytes"] == (first / "judge.zip").stat().st_size


def test_every_runtime_is_locked_by_a_hash():
    lock = json.loads((ROOT / "docs" / "runtimes" / "package-lock.json").read_text())
    packages = {name: about for name, about in lock["packages"].items() if name}
    assert {"node_modules/pyodide", "node_modules/onnxruntime-web"} <= packages.keys()
    assert all(about["integrity"].startswith("sha512-") for about in packages.values())
    listed = (ROOT / "docs" / "reference" / "loads.md").read_text(encoding="utf-8")
    for name in ("pyodide", "onnxruntime-web"):
        assert packages[f"node_modules/{name}"]["version"] in listed, f"loads.md names another version of {name}"


def test_only_weights_that_float16_holds_are_halved(tmp_path):
    onnx = pytest.importorskip("onnx")
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    exact = np.arange(128, dtype=np.float32) / 64
    other = exact + np.float32(1e-7)
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["out"])], "sum", [],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, [128])],
                              [numpy_helper.from_array(exact, "a"), numpy_helper.from_array(other, "b")])
    path = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    browser._halve(path)
    from onnx.reference import ReferenceEvaluator

    made = onnx.load(str(path))
    assert {each.name: each.data_type for each in made.graph.initializer} == {"a_half": TensorProto.FLOAT16, "b": TensorProto.FLOAT}
    assert np.array_equal(ReferenceEvaluator(made).run(None, {})[0], exact + other)


# ---------------------------------------------------------------------------------------------------- after the build


@pytest.fixture
def built(tmp_path):
    (tmp_path / "assets" / "katex").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "assets" / "katex" / "katex.min.js", tmp_path / "assets" / "katex")
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search_index.json").write_text(json.dumps({"docs": [{"title": r"Why \(x_0\)", "text": r"a \(\alpha_t &lt; 1\)", "location": ""}]}))
    (tmp_path / "index.html").write_text(
        r'<span class="md-ellipsis">Why \(x_0\) stays</span><p><span class="arithmatex">\(a &lt; b\)</span></p>'
        '\n<div class="arithmatex">\\[\n\\bar\\alpha_t\n\\]</div><code>\\(not this\\)</code>')
    return tmp_path


@pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")
def test_formulas_are_drawn_and_the_index_is_readable(built):
    assert "2 formulas" not in site.finish(built)
    page = (built / "index.html").read_text(encoding="utf-8")
    assert page.count('data-drawn="yes"') == 2
    assert page.count("katex-display") == 1
    assert "<code>\\(not this\\)</code>" in page
    assert "\\(x_0" not in page
    entry = json.loads((built / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"][0]
    assert entry["title"] == "Why x0"
    assert entry["text"].startswith("a αt")
    again = page
    site.finish(built)
    assert (built / "index.html").read_text(encoding="utf-8") == again, "a second run changes nothing"


@pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")
def test_a_formula_that_cannot_be_drawn_stops_the_build(built):
    (built / "index.html").write_text(r'<span class="arithmatex">\(\frac{a\)</span>')
    with pytest.raises(ValueError, match=r"cannot be drawn:\n\\frac\{a"):
        site.finish(built)


def test_without_node_the_browser_draws(built, monkeypatch):
    monkeypatch.setenv("PATH", "")
    before = (built / "index.html").read_text(encoding="utf-8")
    assert "each reader's browser" in site.finish(built)
    assert (built / "index.html").read_text(encoding="utf-8") == before


def test_an_empty_folder_is_no_site(tmp_path):
    with pytest.raises(FileNotFoundError, match="no built site"):
        site.finish(tmp_path)


def test_the_samplers_of_the_page_are_those_of_the_table():
    """docs/javascripts/samplers.js says again what the table says of the eight; here is what holds the two together."""
    text = (Path(__file__).parents[2] / "docs" / "javascripts" / "samplers.js").read_text(encoding="utf-8")
    rows = re.findall(r'^ {4}(\w+): \["([^"]+)", run\.(\w+), "(\w+)", (true|false), (true|false), (true|false)\],$', text, re.MULTILINE)
    schedule = NoiseSchedule.from_config(SD_V1)
    assert {name for name, *_ in rows} == set(TAUGHT)
    for name, _, _, spacing, *facts in rows:
        sampler = SAMPLERS[name]
        clean = not sampler.grid(schedule, 4)[-1].sigma
        assert (spacing, *facts) == (sampler.spacing, *(str(fact).lower() for fact in (sampler.whole, clean, sampler.draws))), name
    same = [{run for name, _, run, *_ in rows if SAMPLERS[name].run is SAMPLERS[of].run} for of in ("ddim", "ddpm")]
    assert same == [{"ddim"}, {"ddpm"}], "one method on two grids is one function there, too"
