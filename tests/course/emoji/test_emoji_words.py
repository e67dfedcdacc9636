"""The tokenizers made from the captions' words."""

from random import Random

import pytest
from transformers import AutoTokenizer, CLIPTokenizer

from course.emoji.data import caption, random_scene
from course.emoji.words import LENGTH, write_bert_tokenizer, write_clip_tokenizer
from course.nets.tokenizer import learn_merges


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    write_clip_tokenizer(folder / "clip")
    write_bert_tokenizer(folder / "bert")
    return folder


@pytest.mark.parametrize("name", ["clip", "bert"])
def test_each_word_is_one_token_between_start_and_end(folder, name):
    tokenizer, rng = AutoTokenizer.from_pretrained(folder / name), Random(0)
    for _ in range(500):
        text = caption(random_scene(rng, "any"), rng)
        ids = tokenizer(text).input_ids
        assert len(ids) == len(text.split()) + 2 <= LENGTH
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text


def test_clip_tokenizer_loads_as_what_it_is_and_takes_any_text(folder):
    tokenizer = CLIPTokenizer.from_pretrained(folder / "clip")
    assert tokenizer.model_max_length == LENGTH
    assert tokenizer("A Bear").input_ids == tokenizer("a bear").input_ids
    odd = tokenizer("blurry zebra, über 猫 \U0001f434!").input_ids
    assert odd[0] == tokenizer.bos_token_id
    assert odd[-1] == tokenizer.eos_token_id
    assert len(set(odd)) > 8                                    # spelled out in bytes, not lumped together as unknown
    padded = tokenizer("", padding="max_length", max_length=LENGTH).input_ids
    assert padded == [tokenizer.bos_token_id] + [tokenizer.eos_token_id] * (LENGTH - 1)


def test_merges_are_learned_in_the_order_of_frequency():
    assert learn_merges({"aab": 1, "aac": 1, "aad": 1})[0] == ("a", "a")
    assert ("aa", "b</w>") in learn_merges({"aab": 1, "aac": 1})
