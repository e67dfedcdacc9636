"""The small Stable Diffusion that ships with the course. `folder()` is where its five components lie.

    data.py         scenes of emoji, their pictures and captions
    words.py        the tokenizers
    training.py     the training loop, with exact resume
    train.py        the stages: autoencoder, U-Net and text encoder, and the parts to swap in
    probe.py        the classifier that judges pictures
    evaluate.py     all figures of MODEL_CARD.md
    weights/        a diffusers model folder, and beside the five components: vae_tiny, text_encoder_bert, tokenizer_bert,
                    probe, and dit, a diffusion transformer in the U-Net's place (trained briefly; course/nets reads it)
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
SUMS = "sha256.txt"             # lines "SUM  PATH", as `sha256sum -c sha256.txt` reads them
REMEDY = "reinstall the package, or in a checkout: git checkout -- course/emoji/weights (or train anew: course train emoji)"


@cache
def folder() -> Path:
    """The model folder, once its files are known to be whole. Raises what `verify` raises."""
    verify()
    return WEIGHTS


def verify(weights: Path = WEIGHTS) -> int:
    """Compare every file of a model folder with its sha256; returns how many there are.

    Raises FileNotFoundError for a missing file, ValueError for a damaged one; both say which and what to do.
    """
    sums = weights / SUMS
    if not sums.is_file():
        raise FileNotFoundError(f"the emoji model is not here ({sums} is missing): {REMEDY}")
    count = 0
    for number, line in enumerate(sums.read_text("utf-8").splitlines(), 1):
        wanted, separator, name = line.partition("  ")
        if not separator or len(wanted) != 64:
            raise ValueError(f"{sums} is damaged in line {number}: {REMEDY}")
        file = weights / name
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: {REMEDY}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
            raise ValueError(f"{file} is damaged (its sha256 is not the one in {SUMS}): {REMEDY}")
        count += 1
    if not count:
        raise ValueError(f"{sums} is empty: {REMEDY}")
    return count


def seal(weights: Path = WEIGHTS) -> None:
    """Write the sha256 of every file below a model folder."""
    files = sorted(f for f in weights.rglob("*") if f.is_file() and f.name != SUMS)
    lines = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(weights).as_posix()}\n" for f in files]
    (weights / SUMS).write_text("".join(lines), "utf-8")
