"""Scenes of emoji and their captions: the data behind the small Stable Diffusion of this course.

A scene is one object (large or small) or two objects (one above, or left of, the other) on a coloured background.
Because we draw the scenes ourselves, there is no end of training data, and what a prompt asks for can be checked exactly.

    Scene  --caption-->  words  --parse-->  Scene          parse(caption(s)) == s for every paraphrase
    Scene  --render-->   picture

Sprites sit on a grid of one latent cell (SIZE / 8 pixels), so that a sprite moved by one cell is the same pattern of
latents moved by one cell. That makes the data learnable in an hour on a laptop: without it the autoencoder has to know
every sprite at each of CELL * CELL offsets.

Every `rng` here is a `random.Random`; None means no jitter, or the canonical words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from course.names import did_you_mean

SIZE = 64                       # pixels, each way
CELL = SIZE // 8                # pixels of one latent cell: the autoencoder shrinks a picture to 8 x 8 cells
SPRITE = {"large": 6 * CELL, "small": 4 * CELL}         # pixels, each way; both sprites of a pair are small

OBJECTS = (
    "astronaut", "horse", "bear", "camera", "mountain", "building", "sword", "person",
    "cat", "dog", "frog", "penguin", "lion", "panda", "octopus", "fish", "ghost", "robot", "snowman",
    "apple", "banana", "strawberry", "pineapple", "pizza", "cake", "burger",
    "football", "guitar", "rocket", "car", "bicycle", "boat", "house",
    "tree", "cactus", "sunflower", "mushroom", "umbrella", "crown", "moon",
)
RGB = {
    "white": (245, 245, 245), "black": (25, 25, 30), "red": (225, 60, 60), "green": (80, 180, 100),
    "blue": (70, 120, 230), "yellow": (250, 215, 80), "pink": (250, 165, 200), "grey": (145, 145, 145),
}
COLOURS = tuple(RGB)
RELATIONS = ("above", "left of")
SIZES = ("large", "small")
SHADE = 8                       # jitter of the background, in levels of 255, the same for red, green and blue

# Each object is never seen with four of the 39 others, in either order: pairs 7 or 16 apart in OBJECTS. 160 of 1560.
HELD_OUT_PAIRS = frozenset(
    (a, b) for i, a in enumerate(OBJECTS) for j, b in enumerate(OBJECTS) if (j - i) % len(OBJECTS) in {7, 16, 24, 33}
)


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    objects: one name of OBJECTS, or two different ones. relation: None for one object; for two, "above" or "left of"
    (the first is above, or left of, the second). colour: of the background, one of COLOURS. size: "large" or "small"
    for one object; None for two (they are always small). Raises ValueError for anything else.
    """

    objects: tuple[str, ...]
    relation: str | None = None
    colour: str = "white"
    size: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.objects, str):
            raise ValueError(f"objects must be a tuple of names, such as ({self.objects!r},), not a string")
        object.__setattr__(self, "objects", tuple(self.objects))
        if len(self.objects) not in (1, 2):
            raise ValueError(f"a scene has one or two objects, not {len(self.objects)}")
        for name in self.objects:
            _known(name, OBJECTS, "object")
        _known(self.colour, COLOURS, "background colour")
        if len(self.objects) == 1:
            if self.relation is not None:
                raise ValueError(f"one object has no relation (got {self.relation!r}); name a second object")
            _known(self.size, SIZES, "size (needed for one object)")
        else:
            if self.objects[0] == self.objects[1]:
                raise ValueError(f"the two objects must differ, got {self.objects[0]!r} twice")
            _known(self.relation, RELATIONS, "relation (needed for two objects)")
            if self.size is not None:
                raise ValueError(f"two objects are always small: leave size out (got {self.size!r})")


def _known(word: object, words: Sequence[str], what: str) -> None:
    if word not in words:
        raise ValueError(f"unknown {what} {word!r}{did_you_mean(word, words, cutoff=0.6)} Choose from: {', '.join(words)}")


def random_scene(rng: Random, pairs: str = "training", objects: int | None = None) -> Scene:
    """Draw a scene: one object or two with equal chance (or as many as `objects` says), all else uniform.

    pairs: "training" (never one of HELD_OUT_PAIRS), "held out" (only those) or "any".
    """
    if pairs not in ("training", "held out", "any"):
        raise ValueError(f"pairs must be 'training', 'held out' or 'any', not {pairs!r}")
    colour = rng.choice(COLOURS)
    if (objects or rng.choice((1, 2))) == 1:
        return Scene((rng.choice(OBJECTS),), None, colour, rng.choice(SIZES))
    while True:
        a, b = rng.sample(OBJECTS, 2)
        if pairs == "any" or ((a, b) in HELD_OUT_PAIRS) == (pairs == "held out"):
            return Scene((a, b), rng.choice(RELATIONS), colour)


def mistaken(scene: Scene, rng: Random) -> Scene:
    """The scene with one thing wrong: another object, colour, size or relation, never a pair of HELD_OUT_PAIRS.

    Captions found on the web are often wrong about their picture; a model trained on such ones needs guidance.
    """
    def other(words: Sequence[str], *but: object) -> str:
        return rng.choice([word for word in words if word not in but])

    wrong = rng.choice(("object", "object", "colour", "size" if scene.size else "relation"))
    if wrong == "colour":
        return replace(scene, colour=other(COLOURS, scene.colour))
    if wrong == "size":
        return replace(scene, size=other(SIZES, scene.size))
    if wrong == "relation":
        return replace(scene, relation=other(RELATIONS, scene.relation))
    place = rng.randrange(len(scene.objects))
    while True:
        objects = list(scene.objects)
        objects[place] = other(OBJECTS, *objects)
        if tuple(objects) not in HELD_OUT_PAIRS:
            return replace(scene, objects=tuple(objects))


# ---------------------------------------------------------------------------------------------------------- pictures

@cache
def sprite(name: str, pixels: int) -> np.ndarray:
    """The sprite of an object as float32 (pixels, pixels, 4), colours and opacity in [0, 1]."""
    with Image.open(Path(__file__).parent / "sprites" / f"{name}.png") as image:
        small = image.convert("RGBa").resize((pixels, pixels), Image.Resampling.LANCZOS)     # premultiplied: no halos
    array = np.asarray(small.convert("RGBA"), dtype=np.float32) / 255
    array.setflags(write=False)
    return array


def place(scene: Scene, rng: Random | None = None) -> list[tuple[str, int, int, int]]:
    """Where the sprites go: (name, pixels, x, y) of each one's upper left corner. Jitter is one cell each way."""
    def jitter() -> int:
        return CELL * rng.randint(-1, 1) if rng else 0

    if scene.size:
        pixels = SPRITE[scene.size]
        centre = (SIZE - pixels) // 2
        return [(scene.objects[0], pixels, centre + jitter(), centre + jitter())]
    pixels = SPRITE["small"]
    across = (SIZE - pixels) // 2 + jitter()                # both sprites move together, across their common axis
    corners = ((across, 0), (across, pixels)) if scene.relation == "above" else ((0, across), (pixels, across))
    return [(name, pixels, x, y) for name, (x, y) in zip(scene.objects, corners, strict=True)]


def draw(scene: Scene, rng: Random | None = None) -> np.ndarray:
    """The picture of a scene as uint8 (SIZE, SIZE, 3). rng moves the sprites by a cell and shades the background."""
    canvas = np.empty((SIZE, SIZE, 3), np.float32)
    canvas[:] = np.asarray(RGB[scene.colour], np.float32) + (rng.uniform(-SHADE, SHADE) if rng else 0)
    for name, pixels, x, y in place(scene, rng):
        part, new = canvas[y:y + pixels, x:x + pixels], sprite(name, pixels)
        part += (255 * new[..., :3] - part) * new[..., 3:]
    return (canvas.clip(0, 255) + 0.5).astype(np.uint8)


def render(scene: Scene, rng: Random | None = None) -> Image.Image:
    """The picture of a scene, RGB, SIZE x SIZE pixels. rng None: sprites centred, the background's plain colour."""
    return Image.fromarray(draw(scene, rng))


def draw_batch(scenes: Sequence[Scene], rng: Random | None = None) -> np.ndarray:
    """Many pictures at once, as a model wants them: float32 (N, 3, SIZE, SIZE) in [-1, 1]."""
    pictures = np.stack([draw(scene, rng) for scene in scenes])                              # (N, SIZE, SIZE, 3)
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), dtype=np.float32) / 127.5 - 1


# ---------------------------------------------------------------------------------------------------------- captions

STYLES = ("", "a photo of ", "a picture of ", "an image of ")
SIZE_WORDS = {"large": ("large", "big", ""), "small": ("small", "tiny", "little")}           # no word: large
RELATION_WORDS = {                                          # the first is canonical
    "above": ("above", "on top of", "over", "riding"),
    "left of": ("left of", "to the left of"),
}
REVERSED_WORDS = {"above": ("below", "under"), "left of": ("right of", "to the right of")}   # second object named first
GROUNDS = ("on a {} background", "in front of a {} background", "against a {} background", "on {}")
REVERSED_SHARE = 0.15           # of paraphrased pairs name the second object first
ALIASES = {"gray": "grey"}


def _a(words: str) -> str:
    return ("an " if words[0] in "aeiou" and not words.startswith("uni") else "a ") + words


def caption(scene: Scene, rng: Random | None = None) -> str:
    """Words for a scene: "a large bear on a white background", "a bear above a horse on a white background".

    rng draws a paraphrase ("a photo of a big bear", "a horse under a bear against a white background"); the background
    may go unmentioned when it is white, and the size when it is large.
    """
    def choose(words: Sequence[str]) -> str:
        return rng.choice(words) if rng else words[0]

    names = list(scene.objects)
    if scene.size:
        what = _a(f"{choose(SIZE_WORDS[scene.size])} {names[0]}".strip())
    else:
        assert scene.relation
        relations = RELATION_WORDS[scene.relation]
        if rng and rng.random() < REVERSED_SHARE:
            relations = REVERSED_WORDS[scene.relation]
            names.reverse()
        what = f"{_a(names[0])} {choose(relations)} {_a(names[1])}"
    ground = " " + choose(GROUNDS).format(_a(scene.colour)[2:].strip())
    if rng and scene.colour == "white" and rng.random() < 0.3:
        ground = ""
    return choose(STYLES) + what + ground


_ALL_RELATIONS = {words: (relation, backwards)
                  for table, backwards in ((RELATION_WORDS, False), (REVERSED_WORDS, True))
                  for relation, variants in table.items() for words in variants}
_ALL_SIZES = {word: size for size, words in SIZE_WORDS.items() for word in words if word}


def _any(words: Any) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_NOUN = rf"(?:(?:an?|the) )?(?:({_any(_ALL_SIZES)}) )?({_any(OBJECTS)})"
_CAPTION = re.compile(
    rf"(?:an? (?:photo|picture|image) of )?{_NOUN}(?: ({_any(_ALL_RELATIONS)}) {_NOUN})?"
    rf"(?: (?:on|against|in front of) (?:(?:an?|the) )?({_any((*COLOURS, *ALIASES))})(?: background)?)?"
)


@cache
def words() -> tuple[str, ...]:
    """Every word a caption may hold, sorted: what `parse` and the tokenizer know."""
    text = " ".join((*OBJECTS, *COLOURS, *ALIASES, *_ALL_SIZES, *_ALL_RELATIONS, *STYLES, *GROUNDS, "the"))
    return tuple(sorted(set(text.replace("{}", "").split()) | {"a", "an"}))


def parse(text: str) -> Scene:
    """The scene that a caption describes, the inverse of `caption` (in every paraphrase).

    Case, commas and a full stop at the end do not matter. Without a background it is white, without a size large.
    Raises ValueError that names the word (and the nearest known one) or the construction it cannot read.
    """
    if not isinstance(text, str):
        raise TypeError(f"a caption is a string, not {type(text).__name__}")
    plain = " ".join(text.lower().replace(",", " ").strip().rstrip(".").split())
    if not plain:
        raise ValueError("the caption is empty; try 'a bear above a horse on a white background'")
    for word in plain.split():
        if word not in words():
            raise ValueError(f"{word[:40]!r} is not a word of these captions{did_you_mean(word, words(), cutoff=0.6)} "
                             f"Objects: {', '.join(OBJECTS)}; background colours: {', '.join(COLOURS)}")
    match = _CAPTION.fullmatch(plain)
    if not match:
        raise ValueError(f"cannot read {plain[:120]!r}; captions look like 'a large bear on a white background' or "
                         f"'a bear above a horse on a white background' (relations: {', '.join(_ALL_RELATIONS)})")
    size, first, relation, second_size, second, colour = match.groups()
    colour = ALIASES.get(colour or "white", colour or "white")
    if relation is None:
        return Scene((first,), None, colour, _ALL_SIZES[size or "large"])
    if size or second_size:
        raise ValueError(f"two objects are always small: leave out {size or second_size!r}")
    relation, backwards = _ALL_RELATIONS[relation]
    return Scene((second, first) if backwards else (first, second), relation, colour)
