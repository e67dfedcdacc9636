"""`course train emoji`: what it says of a scene, starting from the shipped weights, and the command from end to end."""

import json
import os
import signal
import subprocess
import sys
import time
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from course import emoji
from course.emoji import train
from course.emoji.data import Scene, caption, parse
from course.emoji.training import GENTLE, fit, write_start

COMMAND = [sys.executable, "-c", "from course.cli import app; app()", "train", "emoji", "--threads", "1"]


def test_training_says_now_and_then_something_wrong_and_now_and_then_nothing():
    scene, rng = Scene(("bear", "horse"), "above", "blue"), Random(0)
    said = [train.words_for(scene, rng) for _ in range(4000)]
    empty = sum(text == "" for text in said) / 4000
    wrong = sum(text != "" and parse(text) != scene for text in said) / 4000
    assert empty == pytest.approx(train.EMPTY, abs=0.02)
    assert wrong == pytest.approx((1 - train.EMPTY) * train.MISTAKEN, abs=0.02)
    assert caption(scene) in said
    assert len(set(said)) > 100


def test_the_shipped_weights_become_checkpoints(tmp_path):
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "checkpoint.pt").write_bytes(b"mine")
    train.unpack(tmp_path)
    assert (tmp_path / "probe" / "checkpoint.pt").read_bytes() == b"mine", "what is there already stays"
    saved = torch.load(tmp_path / "denoiser" / "checkpoint.pt", weights_only=True)
    shipped = load_file(emoji.folder() / "unet" / "diffusion_pytorch_model.safetensors")
    for weights in (saved["modules"]["unet"], saved["average"]["unet"]):
        assert weights.keys() == shipped.keys()
        assert all(torch.equal(weights[k], v.float()) for k, v in shipped.items())
    made = json.loads((emoji.folder() / "training.json").read_text())
    assert json.loads((tmp_path / "records.json").read_text()) == {s: record for s, record in made.items() if s != "probe"}
    assert saved["after"] == made["denoiser"]


def test_a_run_from_other_weights_starts_with_them_goes_gently_and_says_so(tmp_path):
    start, record = torch.nn.Linear(2, 2), {"stage": "toy", "steps": 7, "seed": 0}
    write_start(tmp_path / "toy" / "checkpoint.pt", {"layer": start.state_dict()}, record)
    layer, seen = torch.nn.Linear(2, 2), []

    def loss(step, rng):
        seen.append(layer.weight.detach().clone())
        return layer(torch.ones(1, 2)).square().sum()

    done = fit("toy", {"layer": layer}, loss, out=tmp_path, steps=2, resume=True, quiet=True, lr=0.5)
    assert torch.equal(seen[0], start.weight)
    first = (seen[1] - seen[0]).norm().item()                                # Muon's step: learning rate times an orthogonal matrix
    assert 0 < first < 0.5 * GENTLE / 100 * 2**0.5 * 1.5                     # a hundredth of the rate in the first step of warm-up
    assert done["steps"] == 2
    assert done["after"] == record


@pytest.mark.slow
def test_the_command_from_nothing_killed_resumed_and_measured(tmp_path):
    """Every stage for two steps; interrupted once; the folder it writes is whole, loads, and is measured into a card."""
    def run(*options: str, **more):
        return subprocess.run([*COMMAND, "--out", str(tmp_path), *options], text=True, capture_output=True, check=False, **more)

    started = subprocess.Popen([*COMMAND, "--out", str(tmp_path), "--steps", "100000"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "autoencoder").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode != 0
    assert "Traceback" not in said
    reached = torch.load(tmp_path / "autoencoder" / "checkpoint.pt", weights_only=True)["step"]
    assert reached > 0
    assert not list(tmp_path.rglob("*.part"))

    done = run("--steps", str(reached + 1), "--stage", "autoencoder", "--resume")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "records.json").read_text())["autoencoder"]["steps"] == reached + 1
    done = run("--steps", "2", *(word for stage in train.STAGES[1:] for word in ("--stage", stage)))
    assert done.returncode == 0, done.stderr
    assert emoji.verify(tmp_path / "weights") > 10
    from course.components import load_components
    from course.lab.evaluate import evaluate_and_write

    assert load_components(str(tmp_path / "weights"), device="cpu").unet.config.cross_attention_dim == train.TEXT_WIDTH
    card = evaluate_and_write(tmp_path / "weights", tmp_path, 1, scale=0.01).read_text()
    assert card.count("not reached") >= 5, "two steps of training cannot reach the goals"


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    """Under `accelerate launch` both processes end with the same weights, and one of them writes."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "course.cli", "train", "emoji", "--threads", "1", "--stage", "probe",
              "--steps", "3", "--out", str(tmp_path)]
    done = subprocess.run(launch, text=True, capture_output=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "records.json").read_text())["probe"]["steps"] == 3


@pytest.mark.parametrize(("options", "message"), [
    (["--stage", "unet"], "unknown stage unet"), (["--stage", "bert", "--steps", "1"], "train the stage first"),
])
def test_what_cannot_be_trained_is_said(tmp_path, options, message):
    done = subprocess.run([*COMMAND, "--out", str(tmp_path), *options], text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
