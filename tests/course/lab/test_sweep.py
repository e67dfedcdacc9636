"""Sweeps: every row once, whatever happens in between."""

import errno
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from PIL import Image

from course.lab import sweep

PROMPTS, SEEDS = ["the the", "on"], [1, 2]


@pytest.fixture
def settings(tiny_model_dir):
    return sweep.grid(model=str(tiny_model_dir), sampler=["ddim", "heun"], steps=[1, 2], guidance=2.0)


def run(folder, settings, **options):
    return sweep.run(folder, settings, PROMPTS, SEEDS, progress=False, **options)


def test_a_sweep_has_every_combination_once(tmp_path, settings):
    assert run(tmp_path, settings) == 16
    rows = sweep.read_rows(tmp_path)
    assert len({row["key"] for row in rows}) == 16
    assert {(row["sampler"], row["steps"], row["prompt"], row["seed"]) for row in rows} == {
        (a, b, c, d) for a in ("ddim", "heun") for b in ("1", "2") for c in PROMPTS for d in ("1", "2")}
    for row in rows:
        with Image.open(tmp_path / row["picture"]) as picture:
            assert sweep.picture_hash(picture) == row["sha256"]
        assert sweep.setting_of(row) in settings
        assert float(row["seconds"]) > 0
    calls = {(row["sampler"], row["steps"]): row["model_calls"] for row in rows}
    assert calls == {("ddim", "1"): "1", ("ddim", "2"): "2", ("heun", "1"): "1", ("heun", "2"): "3"}
    assert run(tmp_path, settings) == 0


def test_the_same_seed_gives_the_same_picture_in_another_batch(tmp_path, settings):
    """To the last bit of a colour: in another batch the networks add up in another order."""
    run(tmp_path / "a", settings, batch=4)
    run(tmp_path / "b", settings, batch=1)
    pixels = {row["key"]: Image.open(tmp_path / "b" / row["picture"]).tobytes() for row in sweep.read_rows(tmp_path / "b")}
    for row in sweep.read_rows(tmp_path / "a"):
        mine = Image.open(tmp_path / "a" / row["picture"]).tobytes()
        assert max(abs(p - q) for p, q in zip(mine, pixels[row["key"]], strict=True)) <= 1


def test_seeds_and_settings_matter(tmp_path, settings):
    run(tmp_path, settings)
    assert len({row["sha256"] for row in sweep.read_rows(tmp_path) if row["steps"] == "2"}) == 8


def test_a_cut_off_line_and_a_lost_picture_are_rendered_again(tmp_path, settings):
    run(tmp_path, settings)
    before = [row["key"] for row in sweep.read_rows(tmp_path)]
    (tmp_path / next(iter(sweep.read_rows(tmp_path)))["picture"]).unlink()
    rows = tmp_path / "rows.csv"
    rows.write_text(rows.read_text()[:-30])
    assert len(sweep.read_rows(tmp_path)) == 15
    assert run(tmp_path, settings) == 2
    assert sorted(row["key"] for row in sweep.read_rows(tmp_path)) == sorted(before)


def test_a_killed_sweep_goes_on(tmp_path, tiny_model_dir):
    """SIGKILL in the middle, as often as it takes; then every row is there once."""
    grid = sweep.grid(model=str(tiny_model_dir), sampler="ddim", steps=list(range(1, 21)))

    def work():
        sweep.run(tmp_path, grid, ["on"], [1, 2], batch=1, progress=False)

    process = multiprocessing.get_context("fork").Process(target=work)          # what it imports is imported
    process.start()
    while process.is_alive() and len(list((tmp_path / "pictures").glob("[!.]*"))) < 5:
        time.sleep(0.01)
    process.kill()
    process.join()
    saved = len(sweep.read_rows(tmp_path))
    assert 1 <= saved < 40
    work()
    keys = [row.split(",")[0] for row in (tmp_path / "rows.csv").read_text().splitlines()[1:]]
    assert len(keys) == len(set(keys)) == 40


def test_interrupt_keeps_what_is_done(tmp_path, settings, monkeypatch):
    real, calls = sweep.render, []

    def render(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)
    monkeypatch.setattr(sweep, "render", render)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings)
    assert len(sweep.read_rows(tmp_path)) == 8


def test_full_disk(tmp_path, settings, monkeypatch):
    def full(file, rows):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(sweep, "append", full)
    with pytest.raises(OSError, match="the disk is full; 0 pictures were added"):
        run(tmp_path, settings)


def test_two_sweeps_do_not_share_a_folder(tmp_path, settings):
    run(tmp_path, settings[:1])
    with sweep.appending(tmp_path), pytest.raises(ValueError, match="another sweep is writing"):
        run(tmp_path, settings)


def test_processes(tmp_path, settings):
    assert run(tmp_path / "two", settings, jobs=2, batch=2) == 16
    assert len(sweep.read_rows(tmp_path / "two")) == 16


@pytest.mark.slow
def test_dask(tmp_path, settings):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert run(tmp_path, settings, dask=cluster.scheduler_address) == 16
    assert len(sweep.read_rows(tmp_path)) == 16


@pytest.mark.slow
def test_accelerate_processes_share_the_work(tmp_path, tiny_model_dir):
    """What `accelerate launch --num_processes 2` does, by hand."""
    code = ("import sys; from course.lab import sweep; "
            "sweep.run(sys.argv[1], sweep.grid(model=sys.argv[2], sampler='ddim', steps=[1, 2]), ['on', 'the'], [1], batch=1)")
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29512", "ACCELERATE_USE_CPU": "true"}
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(tiny_model_dir)],
                                  env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in (0, 1)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert sorted(file.name for file in tmp_path.glob("rows*.csv")) == ["rows-1.csv", "rows.csv"]
    assert len(sweep.read_rows(tmp_path)) == 4


@pytest.mark.parametrize(("lists", "message"), [
    ({"sampler": "dpmp_2m"}, r"unknown sampler 'dpmp_2m', did you mean 'dpmpp_2m'\?"),
    ({"samplers": "ddim"}, r"no setting 'samplers', did you mean 'sampler'\?"),
    ({"engine": "torch"}, "unknown engine"),
    ({"steps": 0}, "cannot render 0 steps"),
    ({"steps": 2.5}, "cannot render 2.5 steps"),
    ({"steps": "many"}, "are numbers"),
    ({"guidance": float("nan")}, "guidance nan"),
    ({"steps": []}, "empty list"),
])
def test_wrong_settings(lists, message):
    with pytest.raises(ValueError, match=message):
        sweep.grid(**lists)


def test_a_size_that_is_no_multiple_and_parts_that_do_not_fit(tmp_path, tiny_model_dir):
    with pytest.raises(ValueError, match="multiple of 8"):
        run(tmp_path, sweep.grid(model=str(tiny_model_dir), steps=1, height=60))
    with pytest.raises(FileNotFoundError, match="no vae at"):
        run(tmp_path, sweep.grid(model=str(tiny_model_dir), steps=1, vae="nowhere/at/all!"))
    assert not list((tmp_path / "pictures").iterdir())


def test_no_or_damaged_results(tmp_path):
    with pytest.raises(ValueError, match=r"no rows\.csv"):
        sweep.read_rows(tmp_path)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not a sweep of this version"):
        sweep.read_rows(tmp_path)
    (tmp_path / "rows.csv").write_text(",".join(sweep.ROW) + "\nonly,two\n")
    with pytest.raises(ValueError, match="line 2 is damaged"):
        sweep.read_rows(tmp_path)


def test_toml(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('prompts = ["x"]\nscenes = 3\nseeds = [7]\n[[grid]]\nsteps = [5, 10]\n[[grid]]\nsteps = [10]\nguidance = [7.5]\n')
    settings, prompts, seeds = sweep.from_toml(file)
    assert [s.steps for s in settings] == [5, 10]
    assert (len(prompts), seeds) == (4, [7])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())                    # as Windows editors write it
    assert sweep.from_toml(file) == (settings, prompts, seeds)
    for content, message in [("prompts = 1 2", "cannot read"), ("x = 1", "unknown key x"), ("seeds = [1]", "no prompts"),
                             ('prompts = ["x"]\n[[grid]]\nstep = 5', "did you mean 'steps'")]:
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            sweep.from_toml(file)
    with pytest.raises(ValueError, match="cannot read"):
        sweep.from_toml(tmp_path / "none.toml")


def test_scene_prompts_are_readable_and_repeatable():
    from course.emoji.data import parse
    prompts = sweep.scene_prompts(20)
    assert prompts == sweep.scene_prompts(20)
    assert [len(parse(prompt).objects) for prompt in prompts] == [1, 2] * 10
