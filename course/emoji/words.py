"""The two tokenizers of the small model, made from the words of the captions: CLIP's byte pairs, BERT's whole words."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

from transformers import BertTokenizer, CLIPTokenizer

from course.emoji.data import words

LENGTH = 24                     # tokens per prompt, start and end included; the longest caption has 19


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes in CLIP's (and GPT-2's) vocabulary, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    hidden = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(hidden))]


def learn_merges(vocabulary: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte pair encoding (Sennrich et al. 2016) until every word is one token; ties go to the smaller pair."""
    spelled = [[*word[:-1], word[-1] + "</w>"] for word in vocabulary]
    merges = []
    while True:
        pairs = Counter(pair for symbols in spelled for pair in itertools.pairwise(symbols))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for symbols in spelled:
            i = 0
            while i < len(symbols) - 1:
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i:i + 2] = ["".join(best)]
                i += 1


def write_clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write vocab.json, merges.txt and the configuration of a CLIPTokenizer that knows every caption word as one token."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges((*words(), ",", "."))
    symbols = byte_symbols()
    tokens = [*symbols, *(s + "</w>" for s in symbols)]
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
