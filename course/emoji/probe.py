"""The probe: a small classifier that says what a picture shows, to measure how well prompts are obeyed.

Its 128 features also give Fréchet distances: Inception's, made for photographs, say little about emoji.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from course.emoji.data import COLOURS, OBJECTS, RELATIONS, SIZE, SIZES, Scene, draw_batch, random_scene

FEATURES = 128
# What is asked, and the answers in order. The relation tells whether there are one or two objects.
QUESTIONS = {"relation": (None, *RELATIONS), "first": OBJECTS, "second": OBJECTS, "colour": COLOURS, "size": SIZES}


class Probe(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> features (B, 128); `answers` adds one linear head per question."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 64, 96)
        self.stem = nn.Sequential(*(
            layer for a, b in itertools.pairwise(widths)
            for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.SiLU())
        ))                                                                          # (B, 96, 4, 4)
        self.features = nn.Linear(96 * (SIZE // 16) ** 2, FEATURES)
        self.heads = nn.ModuleDict({q: nn.Linear(FEATURES, len(a)) for q, a in QUESTIONS.items()})

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.features(self.stem(x).flatten(1)))

    def answers(self, x: Tensor) -> dict[str, Tensor]:
        """Logits for each question: {"relation": (B, 3), "first": (B, 40), ...}. Raises ValueError for another size."""
        if x.ndim != 4 or x.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"the probe takes pictures (B, 3, {SIZE}, {SIZE}) in [-1, 1], not {tuple(x.shape)}")
        h = self(x)
        return {q: head(h) for q, head in self.heads.items()}


def targets(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """The right answers as indices (B,); -100 (ignored) where a question does not arise."""
    def index(question: str, answer: object) -> int:
        return QUESTIONS[question].index(answer)                                    # type: ignore[arg-type]

    return {
        "relation": torch.tensor([index("relation", s.relation) for s in scenes]),
        "first": torch.tensor([index("first", s.objects[0]) for s in scenes]),
        "second": torch.tensor([index("second", s.objects[1]) if len(s.objects) == 2 else -100 for s in scenes]),
        "colour": torch.tensor([index("colour", s.colour) for s in scenes]),
        "size": torch.tensor([index("size", s.size) if s.size else -100 for s in scenes]),
    }


@torch.no_grad()
def verdicts(probe: Probe, pictures: Tensor, scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """Per picture, whether each thing asked for is there: bool tensors (B,) by name.

    "objects" is right when every object asked for is at its place, "relation" when the picture holds the right number
    of objects in the right arrangement, "all" when objects and relation are right (colour and size are counted apart),
    "everything" when colour and size are too.
    """
    logits: dict[str, list[Tensor]] = {}
    for part in pictures.split(256):
        for question, value in probe.answers(part).items():
            logits.setdefault(question, []).append(value.argmax(1))
    said = {q: torch.cat(v) for q, v in logits.items()}
    asked = targets(scenes)
    right = {q: (said[q] == asked[q]) | (asked[q] == -100) for q in QUESTIONS}
    objects = right["first"] & right["second"]
    both = objects & right["relation"]
    return {"objects": objects, "relation": right["relation"], "colour": right["colour"], "size": right["size"],
            "all": both, "everything": both & right["colour"] & right["size"]}


def spoil(x: Tensor, rng: Random) -> Tensor:
    """Blur and noise of random strength, so that the probe judges shapes and not the texture of a decoder."""
    blur = rng.choice((1, 1, 2, 3))
    if blur > 1:
        x = F.interpolate(F.avg_pool2d(x, blur, ceil_mode=True), size=x.shape[-2:], mode="bilinear")
    return x + rng.choice((0.0, 0.05, 0.15)) * torch.randn_like(x)


def train_probe(out: Path, stage: str = "probe", batch: int = 64, **budget) -> tuple[Probe, dict]:
    """Train on jittered scenes of all pairs (it is a measuring instrument: held-out pairs are not held out from it). The stage
    "classifier" is a second one, begun elsewhere and shown other scenes: who is guided by one must be judged by the other."""
    from course.emoji.training import fit
    torch.manual_seed(budget.get("seed", 0) + (5 if stage == "classifier" else 0))
    probe = Probe()

    def loss(step: int, rng: Random) -> Tensor:
        scenes = [random_scene(rng, "any") for _ in range(batch)]
        x = spoil(torch.from_numpy(draw_batch(scenes, rng)), rng).to(next(probe.parameters()).device)
        wanted = targets(scenes)
        return sum((F.cross_entropy(logits, wanted[q].to(x.device)) for q, logits in probe.answers(x).items()),
                   start=x.new_zeros(()))

    record = fit(stage, {stage: probe}, loss, out=out, **budget)
    return probe, record


def save_probe(probe: Probe, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in probe.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"features": FEATURES, "questions": QUESTIONS}, indent=2) + "\n")


def load_probe(folder: Path | None = None) -> Probe:
    """The shipped probe, or the one in `folder`, ready to use."""
    if folder is None:
        from course.emoji import folder as shipped
        folder = shipped() / "probe"
    probe = Probe()
    probe.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return probe.eval().requires_grad_(False)
