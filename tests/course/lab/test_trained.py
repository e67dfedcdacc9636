"""The experiments that train: that both networks are treated alike, that a run goes on, and what the committed rows claim."""

import csv
from pathlib import Path

import pytest
import torch

from course.components import load_components
from course.lab import trained

ROWS = list(csv.DictReader((Path(__file__).parents[3] / "docs" / "assets" / "lab" / "trained.csv").open(encoding="utf-8")))


def row(model, guidance, calls):
    found, = [r for r in ROWS if (r["model"], float(r["guidance"]), int(r["calls"])) == (model, guidance, calls)]
    return {key: float(found[key]) for key in ("right", "right_low", "right_high", "variety", "steps", "pictures")}


def test_what_the_chapter_says_of_the_rows():
    for calls in trained.CALLS:
        eps, flow = row("eps", 3.0, calls), row("flow", 3.0, calls)
        assert eps["steps"] == flow["steps"] == 150
        assert eps["right_low"] < flow["right_high"], "not told apart"
        assert flow["right_low"] < eps["right_high"], "not told apart"
        assert flow["variety"] < eps["variety"]
    before = row("shipped flow", 3.0, 1), row("shipped flow", 1.0, 1)
    assert [round(100 * each["right"]) for each in before] == [32, 38]
    after = row("reflow", 1.0, 1)
    assert after["right"] == 0.625
    assert all(each["right_high"] < after["right_low"] for each in before)
    assert row("shipped flow", 3.0, 4)["right"] >= row("reflow", 1.0, 4)["right"]


@pytest.mark.slow
def test_both_networks_see_the_same(tmp_path, monkeypatch):
    """The same start, and in each step the same latents, words, noise and times."""
    parts, seen, starts = load_components("emoji", device="cpu"), [], []
    real = trained.loss_by_words

    def spy(network, draw, schedule, text_encoder, tokenizer, name):
        starts.append({key: value.clone() for key, value in network.state_dict().items()})

        def watched(rng):
            z, texts = draw(rng)
            seen.append((z.clone(), texts))
            return z, texts

        return real(network, watched, schedule, text_encoder, tokenizer, name)

    monkeypatch.setattr(trained, "loss_by_words", spy)
    made = trained.equally_trained(parts, 2, tmp_path, cached=64)
    assert all(torch.equal(value, starts[1][key]) for key, value in starts[0].items())
    assert all(torch.equal(starts[0][key], value) for key, value in parts.unet.state_dict().items())
    for (z, texts), (z_again, texts_again) in zip(seen[:2], seen[2:], strict=True):
        assert torch.equal(z, z_again)
        assert texts == texts_again
    trained.equally_trained(parts, 2, tmp_path, cached=64)
    assert len(seen) == 4, "a run that is done is not done again"
    weights = [made[name].unet.conv_out.weight for name in ("eps", "flow")]
    assert not torch.equal(*weights)


@pytest.mark.slow
def test_reflow_is_trained_on_its_own_pairs(tmp_path):
    parts = load_components("emoji", device="cpu")
    trained.reflowed(parts, 1, tmp_path, pairs=4)
    x0, eps = torch.load(tmp_path / "reflow" / "pairs-4-0.pt", weights_only=True)
    assert x0.shape == eps.shape == (4, 4, 8, 8)
    again = trained.reflowed(parts, 1, tmp_path, pairs=4)
    assert again.unet.conv_in.weight.isfinite().all()
