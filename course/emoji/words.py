"""The two tokenizers of the small model, made from the words of the captions: CLIP's byte pairs, BERT's whole words."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import BertTokenizer, CLIPTokenizer

from course.emoji.data import words
from course.nets.tokenizer import BYTE, learn_merges

LENGTH = 24                     # tokens per prompt, start and end included; the longest caption has 19


def write_clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write vocab.json, merges.txt and the configuration of a CLIPTokenizer that knows every caption word as one token."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(dict.fromkeys((*words(), ",", "."), 1))          # until every word is one token
    tokens = [*BYTE, *(symbol + "</w>" for symbol in BYTE)]
    tokens += dict.fromkeys(a + b for a, b in merges if a + b not in tokens)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
               "pad_token": "<|endoftext|>"}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", "utf-8")
    return CLIPTokenizer.from_pretrained(folder)


def write_bert_tokenizer(folder: Path) -> BertTokenizer:
    """Write vocab.txt and the configuration of a BertTokenizer (WordPiece) that knows every caption word."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", ".", *letters, *(f"##{c}" for c in letters)]
    tokens += [w for w in words() if w not in tokens]
    (folder / "vocab.txt").write_text("".join(f"{t}\n" for t in tokens), "utf-8")
    config = {"tokenizer_class": "BertTokenizer", "model_max_length": LENGTH, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return BertTokenizer.from_pretrained(folder)
