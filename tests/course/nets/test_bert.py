"""Our BERT beside transformers': the same vectors, the same gradients, the same numbers for a text, and the same picture."""

from __future__ import annotations

import string
import unicodedata

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer

from course.components import load_components
from course.emoji import folder
from course.nets import as_part, build, load_part
from course.nets.bert import PIECE, WordPieces, words
from course.render import render_image
from tests.course.nets.test_tokenizer import ASSIGNED, odd_strings

PROMPTS = ["a bear above a horse on a white background", "a red sun", ""]
LETTERS = string.ascii_lowercase + string.digits + string.punctuation
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(PIECE + c for c in LETTERS), "bear", "##ear", "ab", "##ab", "##abc", "日", "σ"]
# The tokenizers library has the marks, signs and formats of an old Unicode. What has not moved since Unicode 3.2 is surely in it.
SETTLED = [c for c in ASSIGNED if unicodedata.ucd_3_2_0.category(c) == unicodedata.category(c)
           or (unicodedata.category(c)[0] not in "MPC" and unicodedata.ucd_3_2_0.category(c) == "Cn")]


@pytest.fixture(scope="module")
def shipped():
    return load_part("text_encoder", folder() / "text_encoder_bert"), BertModel.from_pretrained(folder() / "text_encoder_bert").eval()


@pytest.fixture(scope="module", params=["shipped", "letters"])
def tokenizers(request):
    if request.param == "shipped":
        return load_part("tokenizer", folder() / "tokenizer_bert"), BertTokenizer.from_pretrained(folder() / "tokenizer_bert")
    vocabulary = {piece: number for number, piece in enumerate(VOCABULARY)}
    return WordPieces(vocabulary), BertTokenizer(vocab=vocabulary)


def numbers(count=6, length=24):
    return torch.randint(0, 153, (count, length), generator=torch.Generator().manual_seed(0))


def test_the_same_vectors_after_every_layer(shipped):
    ours, theirs = shipped
    with torch.no_grad():
        hidden = theirs(numbers(), output_hidden_states=True).hidden_states
        seen: list[torch.Tensor] = []
        hooks = [layer.register_forward_hook(lambda *a: seen.append(a[2])) for layer in (ours.norm, *ours.layers)]
        assert torch.allclose(ours(numbers()), hidden[-1], rtol=0, atol=1e-5)
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(hidden) == 3
    assert all(torch.allclose(a, b, rtol=0, atol=1e-5) for a, b in zip(seen, hidden, strict=True))


def test_one_training_step_is_the_same():
    nets = [load_part("text_encoder", folder() / "text_encoder_bert"), BertModel.from_pretrained(folder() / "text_encoder_bert").eval()]
    for net in nets:
        said = net(numbers())
        said = said if torch.is_tensor(said) else said.last_hidden_state
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        said.cos().mean().backward()
        optimizer.step()
    after = build(load_config(), nets[1].state_dict()).state_dict()
    before = build(load_config(), BertModel.from_pretrained(folder() / "text_encoder_bert").state_dict()).state_dict()
    assert all(torch.allclose(weight, after[name], rtol=0, atol=1e-5) for name, weight in nets[0].state_dict().items())
    assert not torch.equal(before["layers.0.fc1.weight"], after["layers.0.fc1.weight"])          # there was a step


def load_config():
    return load_part("text_encoder", folder() / "text_encoder_bert").config


def test_a_published_layout_with_a_head_and_old_names():
    """bert-base-uncased as it is on the hub: a masked-language head, the prefix bert., norms called gamma and beta."""
    config = BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40)
    torch.manual_seed(0)
    theirs = BertForMaskedLM(config).eval()
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
           for name, weight in theirs.state_dict().items()}
    ours = build({**config.to_dict(), "architectures": ["BertForMaskedLM"]}, old)
    ids = torch.randint(0, 99, (2, 17))
    with torch.no_grad():
        assert torch.allclose(ours(ids), theirs.bert(ids).last_hidden_state, rtol=0, atol=1e-5)


def test_ten_thousand_odd_strings_give_the_same_numbers(tokenizers):
    ours, theirs = tokenizers
    settled = set(SETTLED)
    strings = [*("".join(c for c in text if c in settled) for text in odd_strings(10_000)), "[CLS]x", "a[MASK]b", "[cls]", "ab" * 50, "ab" * 51]
    wanted = theirs(strings, verbose=False)["input_ids"]
    for text, got, expected in zip(strings, ours(strings)["input_ids"], wanted, strict=True):
        assert got == expected, ascii(text)
    for text, expected in zip(strings[:2000], wanted, strict=False):
        assert ours.decode(expected) == theirs.decode(expected), ascii(text)
        assert ours.decode(expected, skip_special_tokens=True) == theirs.decode(expected, skip_special_tokens=True), ascii(text)


def test_padding_and_cutting(tokenizers):
    ours, theirs = tokenizers
    texts = ["a bear above a horse on a white background", "", "a " * 60, "x"]
    for options in ({"padding": "max_length", "max_length": 24, "truncation": True}, {"padding": "longest"}, {"truncation": True, "max_length": 3}, {}):
        expected = theirs(texts, verbose=False, return_token_type_ids=False, **options)
        assert ours(texts, **options) == dict(expected)


@pytest.mark.slow
def test_every_settled_character(tokenizers):
    ours, theirs = tokenizers
    strings = [f"a{c}b" for c in SETTLED]
    for text, got, expected in zip(strings, ours(strings)["input_ids"], theirs(strings)["input_ids"], strict=True):
        assert got == expected, ascii(text)


def test_words_of_a_cased_model():
    assert words("Né, 日本\x00 a\tb$", lower=False) == ["Né", ",", "日", "本", "a", "b", "$"]
    assert words("Né ΣΑΣ") == ["ne", "σασ"]


def test_the_same_picture_with_every_part_ours():
    swap = {"text_encoder": folder() / "text_encoder_bert", "tokenizer": folder() / "tokenizer_bert"}
    pictures = [np.asarray(render_image(PROMPTS[0], *load_components("emoji", device="cpu", nets=nets, **swap)[:4], "ddim", num_steps=4, seed=3,
                                        progress=False)[0], dtype=int) for nets in ("diffusers", "course")]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert pictures[0].std() > 20


def test_what_is_no_bert_is_refused(shipped, tmp_path):
    config = dict(load_config())
    weights = BertModel.from_pretrained(folder() / "text_encoder_bert").state_dict()
    for change, said in [({"hidden_act": "relu"}, "hidden_act = 'relu'"), ({"position_embedding_type": "relative_key"}, "relative_key"),
                         ({"is_decoder": True}, "is_decoder"), ({"num_attention_heads": 5}, "5 heads"), ({"vocab_size": None}, "vocab_size")]:
        with pytest.raises(ValueError, match=said):
            build({**config, **change}, weights)
    with pytest.raises(ValueError, match="are missing"):
        build({**config, "num_hidden_layers": 3}, weights)
    ours = shipped[0]
    for ids, said in [(torch.zeros(1, 25, dtype=torch.long), "places for 24"), (torch.full((1, 3), 153), "none of the 153"),
                      (torch.zeros(3), "whole numbers"), (torch.full((1, 3), -1), "token -1")]:
        with pytest.raises(ValueError, match=said):
            ours(ids)
    with pytest.raises(ValueError, match="attention_mask"):
        as_part(ours)(numbers(), attention_mask=torch.ones(6, 24))
    with pytest.raises(ValueError, match=r"lacks \[CLS\]"):
        WordPieces({"[UNK]": 0, "[SEP]": 1, "[PAD]": 2, "[MASK]": 3})
    with pytest.raises(FileNotFoundError):
        WordPieces.from_folder(tmp_path)
