"""Our tokenizer beside transformers' CLIPTokenizer: the same numbers for every string, and words for what is no tokenizer."""

from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter

import pytest
import torch
from transformers import AutoTokenizer, CLIPTokenizer

from course.emoji import folder
from course.nets.tokenizer import BYTE, END, START, Tokenizer, learn_merges, spell, split

POOLS = ["abcdefghijklmnop ", "ABCÉÈßİΣςΣΑ'’` s", "\t\n\r\x0b\x0c\x1c\x1d\x1f\x00\x85\xa0\u2028\u180e\u200b\ufeff ab", "0123456789½²٣四Ⅷ ",
         "!?.,;:-_()[]{}<>|#@&*~^$%\"'", "🐻🐴👩‍🚀🏳️‍🌈🇫🇷 ", "e\u0301o\u0308\u1100\u1161\u11a8 ", "日本語中文한국어العربيةहिन्दी "]
BITS = [END, START, END.upper(), "'s", "'LL", "'Ve", " a bear above a horse ", "</w>", "Ġ", "!", "''s"]
ASSIGNED = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def odd_strings(count: int, seed: int = 0) -> list[str]:
    """Strings that no prompt will ever be: any character, pieces of marks, runs, control characters, up to 600 long, and nothing."""
    rng = random.Random(seed)

    def letter() -> str:
        return rng.choice(rng.choice(POOLS))

    kinds = [
        lambda: "".join(rng.choice(ASSIGNED) for _ in range(rng.randrange(30))),
        lambda: "".join(letter() for _ in range(rng.randrange(40))),
        lambda: "".join(rng.choice(BITS) if rng.random() < 0.4 else letter() for _ in range(rng.randrange(12))),
        lambda: rng.choice(POOLS) * rng.randrange(20),
        lambda: "".join(rng.choice(POOLS[0]) for _ in range(rng.randrange(600))),
    ]
    return ["", " ", *(rng.choice(kinds)() for _ in range(count - 2))]


@pytest.fixture(scope="module")
def pair():
    return Tokenizer.from_folder(folder() / "tokenizer"), AutoTokenizer.from_pretrained(folder() / "tokenizer")


def test_ten_thousand_odd_strings_give_the_same_numbers(pair):
    ours, theirs = pair
    strings = odd_strings(10_000)
    wanted = theirs(strings, verbose=False)["input_ids"]
    for string, numbers, expected in zip(strings, ours(strings)["input_ids"], wanted, strict=True):
        assert numbers == expected, string
    for string, expected in zip(strings[:2000], wanted, strict=False):
        assert ours.decode(expected) == theirs.decode(expected), string
        assert ours.decode(expected, skip_special_tokens=True) == theirs.decode(expected, skip_special_tokens=True), string


@pytest.mark.slow
def test_every_character_that_python_knows(pair):
    ours, theirs = pair
    strings = [f"a{character}b" for character in ASSIGNED]
    for string, numbers, expected in zip(strings, ours(strings)["input_ids"], theirs(strings)["input_ids"], strict=True):
        assert numbers == expected, ascii(string)


@pytest.mark.parametrize("options", [
    {"padding": "max_length", "max_length": 24, "truncation": True}, {"padding": "max_length", "truncation": True},
    {"padding": "longest"}, {"padding": True, "truncation": True, "max_length": 5}, {"truncation": True, "max_length": 3},
    {"padding": "max_length", "max_length": 2, "truncation": True}, {"padding": "max_length", "max_length": 9}, {},
])
def test_padding_and_cutting(pair, options):
    ours, theirs = pair
    texts = ["a bear above a horse on a white background", "", "a " * 60, "x"]
    assert ours(texts, **options) == dict(theirs(texts, verbose=False, **options))
    assert ours(texts[0], **options) == dict(theirs(texts[0], verbose=False, **options))
    if options.get("padding") and options.get("truncation"):
        expected = theirs(texts, return_tensors="pt", **options)
        assert torch.equal(ours(texts, return_tensors="pt", **options).input_ids, expected.input_ids)
        assert torch.equal(ours(texts, return_tensors="pt", **options).attention_mask, expected.attention_mask)
    assert ours.batch_decode([[1, 2], [3]]) == theirs.batch_decode([[1, 2], [3]])


def test_the_padding_of_stable_diffusion_2_is_an_exclamation_mark(pair, tmp_path):
    ours, _ = pair
    merges = [tuple(line.split()) for line in (folder() / "tokenizer" / "merges.txt").read_text("utf-8").splitlines()[1:]]
    theirs = CLIPTokenizer(vocab=ours.vocabulary, merges=merges, model_max_length=24, pad_token="!")
    again = Tokenizer(ours.vocabulary, merges, 24, pad="!")
    strings = odd_strings(500, seed=1)
    for string, expected in zip(strings, theirs(strings, padding="max_length", verbose=False)["input_ids"], strict=True):
        assert again(string, padding="max_length")["input_ids"] == expected, string


def test_pairs_learned_from_a_corpus():
    counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}               # the corpus of Sennrich et al. 2016, section 3.2
    merges = learn_merges(counts, most=3)
    assert merges == [("e", "s"), ("es", "t</w>"), ("l", "o")]
    assert {a + b for a, b in learn_merges(counts)} >= {"low</w>", "lower</w>", "newest</w>", "widest</w>"}    # all in one piece
    assert learn_merges({"": 3, "a": 1}) == []
    assert spell("é") == ["Ã", "©</w>"]


def test_a_tokenizer_made_from_nothing_says_what_theirs_says(tmp_path):
    corpus = "the bear that the horse saw was the bear that saw the sun, and the sun's light is what it's seen by " * 3
    merges = learn_merges(Counter(split(corpus)), most=30)
    tokens = [*BYTE, *(symbol + "</w>" for symbol in BYTE), *(a + b for a, b in merges), START, END]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    ours, theirs = Tokenizer(vocabulary, merges), CLIPTokenizer(vocab=vocabulary, merges=merges)
    strings = [corpus, *odd_strings(300, seed=2)]
    assert ours(strings)["input_ids"] == theirs(strings, verbose=False)["input_ids"]
    assert len(ours.encode(corpus)) < len(corpus.encode()) / 2
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    read = Tokenizer.from_folder(tmp_path)
    assert (read.model_max_length, read("the sun")) == (77, ours("the sun"))


def test_what_is_no_tokenizer_or_no_text_is_refused(pair, tmp_path):
    ours, _ = pair
    lacking = dict(list(ours.vocabulary.items())[3:])
    for wrong, words in [
        (lambda: Tokenizer(lacking, []), "lacks 3 tokens.*'!'"),
        (lambda: Tokenizer(ours.vocabulary, [("q", "z")]), "'qz'.*another tokenizer"),
        (lambda: Tokenizer(ours.vocabulary, [], pad="[PAD]"), r"lacks 1 tokens.*\[PAD\]"),
        (lambda: ours(7), "a string or a list of strings; got 7"), (lambda: ours(["a", None]), "a string or a list of strings"),
        (lambda: ours(["a", "a b"], return_tensors="pt"), "ask for padding"),
        (lambda: ours("a", padding="left"), "'left'"), (lambda: ours("a", truncation=True, max_length=1), "two marks"),
        (lambda: ours("a \ud800"), "half of a surrogate pair"),
        (lambda: ours.decode([10**6]), "no token 1000000; there are 747"),
    ]:
        with pytest.raises(ValueError, match=words):
            wrong()
    (tmp_path / "vocab.json").write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json is not readable as JSON"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(ours.vocabulary), "utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n", "utf-8")
    with pytest.raises(ValueError, match=r"merges in .* are damaged"):
        Tokenizer.from_folder(tmp_path)


def test_a_tokenizer_that_transformers_saved_anew(pair, tmp_path):
    """It writes one file, tokenizer.json, in place of the two."""
    ours, theirs = pair
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    again = Tokenizer.from_folder(tmp_path)
    assert (again.vocabulary, again.rank, again.model_max_length, again.pad) == (ours.vocabulary, ours.rank, 24, ours.pad)
    content = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]        # as older versions wrote them
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    assert Tokenizer.from_folder(tmp_path).rank == ours.rank
    content["model"]["end_of_word_suffix"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match="no tokenizer of CLIP"):
        Tokenizer.from_folder(tmp_path)
