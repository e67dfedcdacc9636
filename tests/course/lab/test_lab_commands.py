"""course sweep, course report and course lab homework, as a user types them."""

import pytest
from typer.testing import CliRunner

from course.cli import app
from course.lab import homework, sweep

RUN = CliRunner()


def say(*arguments):
    result = RUN.invoke(app, [str(a) for a in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_sweep_then_report(tmp_path, tiny_model_dir):
    arguments = ("sweep", "--out", tmp_path, "--model", tiny_model_dir, "--sampler", "ddim", "--sampler", "heun", "--steps", 2,
                 "--prompt", "the on", "--guidance", 1, "--seed", 3)
    status, output = say(*arguments)
    assert (status, "2 rendered now, 0 were there already" in output) == (0, True), output
    assert "0 rendered now, 2 were there already" in say(*arguments)[1]
    status, output = say("report", tmp_path)
    assert status == 0
    assert (tmp_path / "report.html").stat().st_size > 5000
    assert (tmp_path / "report.md").exists()


@pytest.mark.parametrize(("arguments", "said"), [
    (("sweep", "--sampler", "dpmpp2m", "--prompt", "x"), "did you mean 'dpmpp_2m'?"),
    (("sweep",), "give --prompt TEXT or --scenes N"),
    (("sweep", "nowhere.toml"), "cannot read the sweep file"),
    (("sweep", "--prompt", "x", "--model", "emojii"), "did you mean 'emoji'?"),
    (("report", "nowhere"), "holds no results"),
    (("lab", "homework", "--model", "nowhere"), "no model 'nowhere'"),
    (("lab", "cite", "nowhere", "--file", "none.md"), "none.md"),
])
def test_mistakes_end_with_a_sentence(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output = say(*arguments)
    assert status == 1
    assert said in output
    assert "Traceback" not in output


def test_the_homework_covers_what_the_assignment_asks(tiny_model_dir):
    settings = homework.settings(str(tiny_model_dir))
    assert len({s.sampler for s in settings}) == 8
    assert {s.steps for s in settings if s.sampler == "dpmpp_2m"} == {5, 10, 20, 50, 100}
    assert {s.guidance for s in settings if s.sampler == "dpmpp_2m"} == {1, 3, 7.5, 15, 25}
    assert homework.SEEDS == [42, 70]
    assert len(homework.prompts(str(tiny_model_dir), 0)) == 3
    assert len(homework.settings(str(tiny_model_dir), full=True)) == 8 * 5 * 5


def test_parts_beside_a_model_are_swept(tmp_path, tiny_model_dir):
    import shutil
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    shutil.copytree(tmp_path / "model" / "vae", tmp_path / "model" / "vae_other")
    settings = homework.settings(str(tmp_path / "model"))
    assert {s.vae for s in settings} == {"", "vae_other"}
    one = [s for s in settings if s.vae and s.guidance == 1.0][:1]
    assert sweep.run(tmp_path / "out", [one[0]._replace(steps=1)], ["on"], [1], progress=False) == 1
