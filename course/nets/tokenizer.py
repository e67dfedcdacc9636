"""CLIP's tokenizer: byte-pair encoding, from a string to the numbers that the text encoder reads, and back.

    "A bear's"  --clean-->   "a bear's"
                --split-->   "a", "bear", "'s"
                --bytes-->   a</w>   b e a r</w>   ' s</w>
                --merge-->   a</w>   bear</w>      's</w>
                --number-->  320 4298 568,  then a start mark before, an end mark after, and padding

Byte pairs: Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units", section 3.2; on
bytes instead of letters: Radford et al. 2019 (GPT-2), section 2.2; with the end-of-word mark </w> and in lower case: Radford
et al. 2021 (CLIP), section 2.4. Equal to transformers' CLIPTokenizer for every character of the Unicode version that Python
knows; what is younger, the libraries class differently.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import regex
import torch

from course.model_files import read_json

START, END = "<|startoftext|>", "<|endoftext|>"
# What counts as one word: an English ending, a run of letters, ONE digit, or a run of anything else but spaces. The library
# that CLIP's tokenizer is shipped in cuts a second time, by GPT-2's rule, which only matters for marks typed in capitals.
WORD = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
AGAIN = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}+|[^\s\p{L}\p{N}]+")


PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
HIDDEN = [byte for byte in range(256) if byte not in PRINTABLE]
# A printable character for each byte, in the order of CLIP's vocabulary: the byte itself, or one from chr(256) on.
SYMBOL = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(HIDDEN)}
BYTE = {symbol: byte for byte, symbol in SYMBOL.items()}


# ------------------------------------------------------------------------------------------------ learning the pairs


def learn_merges(counts: Mapping[str, int], most: int | None = None) -> list[tuple[str, str]]:
    """Byte-pair encoding from scratch: count neighbouring symbols, join the commonest pair everywhere, again and again.

    counts   how often each word occurs; most   stop after so many merges; None: when every word is one symbol

    Ties go to the pair that sorts first. Sennrich et al. 2016, algorithm 1.
    """
    spelled = {word: spell(word) for word in counts}
    merges: list[tuple[str, str]] = []
    while most is None or len(merges) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in spelled.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = {word: join(symbols, best) for word, symbols in spelled.items()}
    return merges


def spell(word: str) -> list[str]:
    """A word as symbols, one for each byte; the last one carries the end-of-word mark."""
    symbols = [SYMBOL[byte] for byte in word.encode()]
    return [*symbols[:-1], symbols[-1] + "</w>"] if symbols else []


def join(symbols: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """`symbols` with `pair` made one wherever it occurs, from the left."""
    joined: list[str] = []
    i = 0
    while i < len(symbols):
        both = tuple(symbols[i:i + 2]) == pair
        joined.append("".join(pair) if both else symbols[i])
        i += 2 if both else 1
    return joined


def split(text: str) -> list[str]:
    """Clean a text and cut it into words: composed accents (NFC), lower case, spaces only between words."""
    # Letter by letter: str.lower() of a whole word knows a Greek final sigma, CLIP does not.
    text = "".join(letter.lower() for letter in unicodedata.normalize("NFC", text))
    return [part for word in WORD.findall(text) for part in AGAIN.findall(word)]


# ------------------------------------------------------------------------------------------------ using them


class Encoded(dict[str, Any]):
    """What a call returns: input_ids and attention_mask, as keys and as attributes."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"there is no {name}, only {', '.join(self)}")
        return self[name]


class Tokenizer:
    """tokenizer(text or texts, ...) -> input_ids and attention_mask, called as transformers' CLIPTokenizer is.

    vocabulary   token -> number, with all 256 byte symbols, alone and with </w>
    merges       pairs in the order they were learned: the earlier is joined first
    length       how many tokens the text encoder reads; pad   the token that fills up (CLIP: the end mark; SD 2: "!")
    """

    def __init__(self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], length: int = 77, pad: str = END) -> None:
        needed = [*(symbol + end for symbol in BYTE for end in ("", "</w>")), START, END, pad]
        missing = [token for token in needed if token not in vocabulary]
        if missing:
            raise ValueError(f"the vocabulary lacks {len(missing)} tokens that every text may need, such as {missing[0]!r}: "
                             "it is not a whole vocab.json of a CLIP tokenizer")
        lost = next((a + b for a, b in merges if a + b not in vocabulary), None)
        if lost is not None:
            raise ValueError(f"the merges make {lost!r}, which the vocabulary does not have: they belong to another tokenizer")
        self.rank = {tuple(pair): i for i, pair in reversed(list(enumerate(merges)))}
        self._known: dict[str, list[str]] = {}
        self.keep(vocabulary, length, START, END, pad, {START, END, pad})

    def keep(self, vocabulary: Mapping[str, int], length: int, start: str, end: str, pad: str, marks: set[str]) -> None:
        """What every tokenizer keeps, however it cuts words: numbers for tokens and back, and the marks."""
        self.vocabulary = dict(vocabulary)
        self.token = {number: token for token, number in vocabulary.items()}
        self.model_max_length = length
        self.start, self.end, self.pad = (vocabulary[token] for token in (start, end, pad))
        self.marks = regex.compile("|".join(map(regex.escape, sorted(marks, key=len, reverse=True))))
        self.added_tokens_encoder: dict[str, int] = {}         # asked for by diffusers' pipeline: words learned later

    @classmethod
    def from_folder(cls, folder: str | Path) -> Tokenizer:
        """Read vocab.json and merges.txt, or tokenizer.json, which holds both; and what the settings beside them say.

        Raises FileNotFoundError when neither is there, ValueError for damaged ones and for another kind of tokenizer.
        """
        folder = Path(folder)
        settings = read_json(folder / "special_tokens_map.json") | read_json(folder / "tokenizer_config.json")
        pad = settings.get("pad_token") or END
        if (folder / "vocab.json").is_file() or not (folder / "tokenizer.json").is_file():
            vocabulary = read_json(folder / "vocab.json")
            lines = (folder / "merges.txt").read_text("utf-8").split("\n")
            pairs = [line.split() for line in lines if line.strip() and not line.startswith("#version")]
        else:
            model = read_json(folder / "tokenizer.json").get("model", {})
            if model.get("end_of_word_suffix") != "</w>":
                raise ValueError(f"{folder / 'tokenizer.json'} is no tokenizer of CLIP: its words do not end in </w>")
            vocabulary = model["vocab"]
            pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"the merges in {folder} are damaged: each is two symbols")
        return cls(vocabulary, [(a, b) for a, b in pairs], int(settings.get("model_max_length", 77)),
                   pad["content"] if isinstance(pad, dict) else pad)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def split(self, text: str) -> list[str]:
        return split(text)

    def tokenize_word(self, word: str) -> list[str]:
        """One word -> its tokens: join the pair learned earliest, until no pair is known."""
        if word not in self._known:
            symbols = spell(word)
            while len(symbols) > 1:
                best = min(itertools.pairwise(symbols), key=lambda pair: self.rank.get(pair, len(self.rank)))
                if best not in self.rank:
                    break
                symbols = join(symbols, best)
            self._known[word] = symbols
        return self._known[word]

    def tokenize(self, text: str) -> list[str]:
        """A text -> its tokens, without marks around it. A mark that is typed out in the text counts as the mark."""
        tokens: list[str] = []
        place = 0
        for mark in [*self.marks.finditer(text), None]:
            for word in self.split(text[place : mark.start() if mark else None]):
                tokens += self.tokenize_word(word)
            if mark:
                tokens.append(mark[0])
                place = mark.end()
        return tokens

    def encode(self, text: str) -> list[int]:
        """A text -> the numbers of its tokens."""
        return [self.vocabulary[token] for token in self.tokenize(text)]

    def __call__(self, text: str | Sequence[str], padding: bool | str = False, max_length: int | None = None,
                 truncation: bool = False, return_tensors: str | None = None, verbose: bool = True) -> Encoded:
        """padding: False, "longest" (True) or "max_length", always on the right. truncation keeps start, end, and what fits
        between. return_tensors: None for lists, "pt" for int64 tensors (B, L)."""
        texts: list[Any] = list(text) if isinstance(text, list | tuple) else [text]
        if not all(isinstance(each, str) for each in texts):
            raise ValueError(f"a tokenizer reads a string or a list of strings; got {text!r:.80}")
        limit = self.model_max_length if max_length is None else max_length
        if padding not in (False, True, "longest", "max_length") or (truncation and limit < 2):
            raise ValueError(f"padding is False, True, 'longest' or 'max_length', and at least the two marks must fit; "
                             f"got {padding!r} and {limit}")
        try:
            rows = [self.encode(each) for each in texts]
        except UnicodeEncodeError as error:
            raise ValueError("the text holds half of a surrogate pair, which is no character: read it again as UTF-8") from error
        rows = [[self.start, *(row[: limit - 2] if truncation else row), self.end] for row in rows]
        width = limit if padding == "max_length" else max(map(len, rows), default=0)
        fill = [width - len(row) if padding else 0 for row in rows]               # below zero adds nothing
        ids: Any = [row + [self.pad] * more for row, more in zip(rows, fill, strict=True)]
        mask: Any = [[1] * len(row) + [0] * more for row, more in zip(rows, fill, strict=True)]
        if return_tensors == "pt":
            if len({len(row) for row in ids}) > 1:
                raise ValueError("texts of different length make no tensor: ask for padding and, if they are long, truncation")
            ids, mask = torch.tensor(ids), torch.tensor(mask)                     # (B, L)
        elif isinstance(text, str):
            ids, mask = ids[0], mask[0]
        return Encoded(input_ids=ids, attention_mask=mask)

    def known_token(self, number: int) -> str:
        if int(number) not in self.token:
            raise ValueError(f"no token {number}; there are {len(self)}")
        return self.token[int(number)]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Numbers -> text, in lower case and with single spaces. Bytes that are no UTF-8 become U+FFFD."""
        text, waiting = "", bytearray()
        special = {self.start, self.end, self.pad}
        for number in map(int, ids):
            token = self.known_token(number)
            if number in special:
                text += waiting.decode(errors="replace") + ("" if skip_special_tokens else token)
                waiting.clear()
                continue
            whole = token.removesuffix("</w>")
            waiting += bytes(BYTE[symbol] for symbol in whole) + b" " * (whole != token)
        return (text + waiting.decode(errors="replace")).strip()

    def batch_decode(self, rows: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        """`decode` for each row."""
        return [self.decode(row, skip_special_tokens) for row in rows]
