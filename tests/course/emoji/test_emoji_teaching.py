"""What the homework is about can be seen, and measured, on the shipped model: comparisons, not absolute figures."""

from random import Random

import pytest
import torch

from course.components import load_components
from course.emoji.data import caption, random_scene
from course.emoji.probe import load_probe, verdicts
from course.emoji.train import sample


class World:
    """The shipped model and its probe, with a few scenes to draw."""

    def __init__(self, scenes: int, steps: int):
        self.parts, self.probe, self.steps = load_components("emoji", device="cpu", dtype="float32"), load_probe(), steps
        rng = Random("teaching")
        self.scenes = [random_scene(rng, objects=1 + i % 2) for i in range(scenes)]

    def draw(self, parts=None, repeats=1, **options):
        p = parts or self.parts
        options = {"guidance": 3.0, "steps": self.steps, "seed": 7, **options}
        return sample([caption(s) for s in self.scenes] * repeats, p.vae, p.unet, p.tokenizer, p.text_encoder, **options)

    def obeyed(self, pictures, what="all"):
        return verdicts(self.probe, pictures, self.scenes * (len(pictures) // len(self.scenes)))[what].float().mean().item()


@pytest.fixture(scope="module")
def few():
    return World(12, 8)


def shuffled(text_encoder):
    """The same encoder with its word vectors dealt out anew."""
    import copy

    other = copy.deepcopy(text_encoder)
    weight = other.get_input_embeddings().weight
    with torch.no_grad():
        weight.copy_(weight[torch.randperm(len(weight), generator=torch.Generator().manual_seed(0))])
    return other


def test_a_shuffled_text_encoder_draws_other_things(few):
    right = few.obeyed(few.draw())
    wrong = few.obeyed(few.draw(few.parts._replace(text_encoder=shuffled(few.parts.text_encoder))))
    assert right > wrong + 0.4


def test_a_wrong_scaling_factor_spoils_the_picture(few):
    z = few.draw(latents=True)
    with torch.no_grad():
        right, wrong = (few.parts.vae.decode(z / factor).sample.clamp(-1, 1)
                        for factor in (few.parts.vae.config.scaling_factor, 0.18215))
    assert few.obeyed(right) > few.obeyed(wrong) + 0.1
    assert (wrong - right).abs().mean() > 0.1
