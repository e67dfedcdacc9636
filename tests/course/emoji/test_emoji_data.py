"""Scenes, captions and pictures: inverse to each other, deterministic, clear about what they cannot read."""

import time
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from course.emoji.data import (
    CELL,
    COLOURS,
    HELD_OUT_PAIRS,
    OBJECTS,
    RELATIONS,
    RGB,
    SIZE,
    SIZES,
    Scene,
    caption,
    draw,
    draw_batch,
    mistaken,
    parse,
    place,
    random_scene,
    render,
    sprite,
    words,
)

singles = st.builds(lambda o, c, s: Scene((o,), None, c, s), st.sampled_from(OBJECTS), st.sampled_from(COLOURS),
                    st.sampled_from(SIZES))
pairs = st.builds(lambda o, r, c: Scene(tuple(o), r, c), st.permutations(OBJECTS).map(lambda p: p[:2]),
                  st.sampled_from(RELATIONS), st.sampled_from(COLOURS))


def test_there_is_enough_of_everything():
    assert 40 <= len(OBJECTS) <= 60
    assert len(set(OBJECTS)) == len(OBJECTS)
    assert len(COLOURS) >= 8
    assert {"astronaut", "horse", "bear", "camera", "mountain", "building", "sword", "person"} <= set(OBJECTS)


def test_one_pair_in_ten_is_held_out_both_ways_round_and_evenly():
    assert 0.08 < len(HELD_OUT_PAIRS) / (len(OBJECTS) * (len(OBJECTS) - 1)) < 0.12
    assert all((b, a) in HELD_OUT_PAIRS for a, b in HELD_OUT_PAIRS)
    assert set(Counter(a for a, _ in HELD_OUT_PAIRS).values()) == {4}


def test_training_scenes_never_hold_a_held_out_pair():
    rng = Random(0)
    seen = [random_scene(rng).objects for _ in range(5000)]
    assert not HELD_OUT_PAIRS & set(seen)
    assert {len(o) for o in seen} == {1, 2}
    held = {random_scene(rng, "held out", objects=2).objects for _ in range(500)}
    assert held <= HELD_OUT_PAIRS


@given(st.one_of(singles, pairs), st.integers(0, 2**32))
def test_parse_undoes_caption_in_every_paraphrase(scene, seed):
    assert parse(caption(scene)) == scene
    assert parse(caption(scene, Random(seed))) == scene
    assert parse(caption(scene, Random(seed)).upper() + ".") == scene


def test_every_scene_has_its_own_canonical_caption():
    scenes = [Scene((o,), None, c, s) for o in OBJECTS for c in COLOURS for s in SIZES]
    scenes += [Scene((a, b), r, "red") for a in OBJECTS for b in OBJECTS if a != b for r in RELATIONS]
    assert len({caption(s) for s in scenes}) == len(scenes)


@pytest.mark.parametrize(("text", "scene"), [
    ("a bear above a horse on a white background", Scene(("bear", "horse"), "above", "white")),
    ("a large bear on a white background", Scene(("bear",), None, "white", "large")),
    ("A photo of an astronaut riding a horse", Scene(("astronaut", "horse"), "above", "white")),
    ("a astronaut on gray", Scene(("astronaut",), None, "grey", "large")),
    ("a tiny cat in front of a blue background.", Scene(("cat",), None, "blue", "small")),
    ("a house under a moon on a black background", Scene(("moon", "house"), "above", "black")),
    ("a camera to the right of a tree", Scene(("tree", "camera"), "left of", "white")),
])
def test_captions_as_people_write_them(text, scene):
    assert parse(text) == scene


@pytest.mark.parametrize(("text", "message"), [
    ("a beer on a white background", "'beer' is not a word.*did you mean 'bear'"),
    ("a bear on a purple background", "'purple' is not a word"),
    ("", "empty"),
    ("   ", "empty"),
    ("a bear on on white", "cannot read"),
    ("a bear a horse", "cannot read"),
    ("a bear above a bear", "must differ"),
    ("a large bear above a horse", "leave out 'large'"),
    ("a bear above a small horse", "leave out 'small'"),
    ("bear " * 100_000, "cannot read"),
    ("\x00", "not a word"),
])
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(text)
    assert len(str(error.value)) < 1500


def test_a_caption_is_a_string():
    with pytest.raises(TypeError, match="string"):
        parse(None)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"objects": ("beer",), "size": "large"}, "did you mean 'bear'"),
    ({"objects": "bear", "size": "large"}, "tuple"),
    ({"objects": ()}, "one or two"),
    ({"objects": ("bear", "cat", "dog")}, "one or two"),
    ({"objects": ("bear",)}, "size"),
    ({"objects": ("bear",), "size": "huge"}, "huge"),
    ({"objects": ("bear",), "size": "large", "relation": "above"}, "no relation"),
    ({"objects": ("bear", "cat")}, "relation"),
    ({"objects": ("bear", "cat"), "relation": "above", "size": "small"}, "leave size out"),
    ({"objects": ("bear", "bear"), "relation": "above"}, "differ"),
    ({"objects": ("bear",), "size": "large", "colour": "purple"}, "colour"),
])
def test_impossible_scenes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scene(**arguments)


def test_a_mistaken_caption_has_one_thing_wrong():
    rng, wrong = Random(5), Counter()
    for _ in range(3000):
        scene = random_scene(rng)
        other = mistaken(scene, rng)
        differences = {f for f in ("objects", "relation", "colour", "size") if getattr(scene, f) != getattr(other, f)}
        assert len(differences) == 1
        assert sum(a != b for a, b in zip(scene.objects, other.objects, strict=True)) == ("objects" in differences)
        assert other.objects not in HELD_OUT_PAIRS
        wrong[differences.pop(), len(scene.objects)] += 1
    assert set(wrong) == {("objects", 1), ("objects", 2), ("colour", 1), ("colour", 2), ("size", 1), ("relation", 2)}
    assert all(count > 200 for count in wrong.values())


def test_a_picture_shows_what_the_scene_says():
    scene = Scene(("bear", "horse"), "above", "blue")
    picture = np.asarray(render(scene))
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture[0, 0].tolist() == list(RGB["blue"])
    half, quarter = SIZE // 2, SIZE // 4
    for name, y in (("bear", 0), ("horse", half)):
        new = sprite(name, half)
        wanted = 255 * new[..., :3] * new[..., 3:] + np.array(RGB["blue"]) * (1 - new[..., 3:])
        part = picture[y:y + half, quarter:quarter + half]
        np.testing.assert_allclose(part, wanted, atol=1)


def test_the_jitter_moves_sprites_by_whole_cells_and_stays_inside():
    rng = Random(0)
    seen = set()
    for _ in range(2000):
        for _, pixels, x, y in place(random_scene(rng), rng):
            assert x % CELL == y % CELL == 0
            assert 0 <= x <= SIZE - pixels
            assert 0 <= y <= SIZE - pixels
            seen.add((pixels, x, y))
    assert len(seen) > 15


def test_pictures_are_deterministic_from_a_seed():
    scenes = [random_scene(Random(5)) for _ in range(10)]
    np.testing.assert_array_equal(draw_batch(scenes, Random(7)), draw_batch(scenes, Random(7)))
    assert (draw_batch(scenes, Random(7)) != draw_batch(scenes, Random(8))).any()
    assert isinstance(render(scenes[0]), Image.Image)
    np.testing.assert_array_equal(draw(scenes[0]), draw(scenes[0]))


def test_a_batch_is_what_a_model_wants():
    batch = draw_batch([Scene(("moon",), None, "black", "small")] * 3)
    assert batch.shape == (3, 3, SIZE, SIZE)
    assert batch.dtype == np.float32
    assert -1 <= batch.min() < batch.max() <= 1


def test_thousands_of_scenes_take_seconds():
    rng, start = Random(0), time.process_time()
    draw_batch([random_scene(rng) for _ in range(1000)], rng)
    assert time.process_time() - start < 5


def test_words_are_all_a_caption_needs():
    rng, known = Random(1), set(words())
    for _ in range(2000):
        assert set(caption(random_scene(rng, "any"), rng).split()) <= known
