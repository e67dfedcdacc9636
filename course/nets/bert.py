"""BERT in the text encoder's place: words cut into known pieces, and a transformer in which every word hears every other.

    numbers --token, position and segment embedding, norm--> x
    x --norm(x + attention(x)), norm(x + mlp(x)), layer after layer--> what the U-Net's cross-attention reads

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers". What differs from CLIP's text half: nothing is
hidden from a word, each half is normed AFTER it is added (Vaswani et al. 2017, section 3.1), and the vocabulary holds pieces
from the left, the longest first (WordPiece), instead of pairs in the order they were learned. Numbers equal to those of
transformers' BertTokenizer, whose library still has the marks and signs of an old Unicode: what became one since differs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import regex
import torch.nn.functional as F
from torch import Tensor, nn

from course.model_files import read_json
from course.nets.blocks import Attention, read_config
from course.nets.text_encoder import expect_tokens
from course.nets.tokenizer import Tokenizer

USED = {"vocab_size": ..., "hidden_size": ..., "intermediate_size": ..., "num_hidden_layers": ..., "num_attention_heads": ...,
        "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12}
FIXED = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
# From the published names to ours. The heads on top are for other tasks; files from TensorFlow call a norm's weights gamma, beta.
RENAMES = ((r"^bert\.", ""), (r"^(pooler|cls)\.", None), (r"position_ids$", None), (r"gamma$", "weight"), (r"beta$", "bias"),
           (r"^(embeddings|encoder)\.", ""), (r"word_embeddings", "token_embedding"), (r"token_type_embeddings", "segment_embedding"),
           (r"position_embeddings", "position_embedding"), (r"^LayerNorm", "norm"), (r"^layer\.", "layers."),
           (r"attention\.output\.LayerNorm", "norm1"), (r"attention\.output\.dense", "attention.out"),
           (r"attention\.self\.(q|k|v)\w+", r"attention.\1"), (r"intermediate\.dense", "fc1"), (r"output\.LayerNorm", "norm2"),
           (r"output\.dense", "fc2"))


class Layer(nn.Module):
    """x -> norm(x + attention(x)), then x -> norm(x + mlp(x)).  (B, L, C) -> (B, L, C)"""

    def __init__(self, o: Any) -> None:
        super().__init__()
        self.attention = Attention(o.hidden_size, o.num_attention_heads, bias=True)
        self.norm1 = nn.LayerNorm(o.hidden_size, o.layer_norm_eps)
        self.fc1 = nn.Linear(o.hidden_size, o.intermediate_size)
        self.fc2 = nn.Linear(o.intermediate_size, o.hidden_size)
        self.norm2 = nn.LayerNorm(o.hidden_size, o.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.fc2(F.gelu(self.fc1(x))))


class Bert(nn.Module):
    """bert(ids) -> vectors.  ids (B, L) int64 -> (B, L, hidden_size)

    Everything is one segment, and padding is heard like a word, as `BertModel` does when it gets neither segments nor a mask.
    config: what text_encoder/config.json says. Raises ValueError for options that change what is computed.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        o = read_config("text encoder", {name: config[name] for name in USED | FIXED if name in config}, USED, FIXED)
        self.token_embedding = nn.Embedding(o.vocab_size, o.hidden_size)
        self.position_embedding = nn.Embedding(o.max_position_embeddings, o.hidden_size)
        self.segment_embedding = nn.Embedding(o.type_vocab_size, o.hidden_size)
        self.norm = nn.LayerNorm(o.hidden_size, o.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(o) for _ in range(o.num_hidden_layers))

    def forward(self, ids: Tensor) -> Tensor:
        expect_tokens(ids, len(self.token_embedding.weight), len(self.position_embedding.weight))
        x = self.token_embedding(ids) + self.segment_embedding.weight[0]          # (B, L, C)
        x = self.norm(x + self.position_embedding.weight[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x)
        return x


# ------------------------------------------------------------------------------------------------ words in pieces

UNKNOWN, FIRST, LAST, PAD, MASK = "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"
PIECE = "##"                                            # before a piece that does not begin a word
LONGEST = 100                                           # letters; what is longer is unknown
CONTROL = regex.compile(r"(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\uFFFD]")
IDEOGRAPH = regex.compile("([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
                          "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f])")
WORD = regex.compile(r"[\p{P}$+<=>^`|~]|[^\s\p{P}$+<=>^`|~]+")                    # a sign alone, or a run of anything else


def words(text: str, lower: bool = True) -> list[str]:
    """Clean a text and cut it into words: no control characters, ideographs and signs alone; in lower case without accents."""
    text = IDEOGRAPH.sub(r" \1 ", CONTROL.sub("", text))
    if lower:
        bare = (letter for letter in unicodedata.normalize("NFD", text) if unicodedata.category(letter) != "Mn")
        text = "".join(letter.lower() for letter in bare)
    return WORD.findall(text)


class WordPieces(Tokenizer):
    """tokenizer(text or texts, ...) -> input_ids and attention_mask, called as transformers' BertTokenizer is.

    vocabulary   piece -> number, with the marks [UNK], [CLS], [SEP], [PAD], [MASK]
    length       how many tokens the text encoder reads; lower   the vocabulary is in lower case, without accents ("uncased")
    """

    def __init__(self, vocabulary: Mapping[str, int], length: int = 512, lower: bool = True) -> None:
        missing = [mark for mark in (UNKNOWN, FIRST, LAST, PAD, MASK) if mark not in vocabulary]
        if missing:
            raise ValueError(f"the vocabulary lacks {', '.join(missing)}: it is not that of a BERT")
        self.lower = lower
        self.keep(vocabulary, length, FIRST, LAST, PAD, {UNKNOWN, FIRST, LAST, PAD, MASK})

    @classmethod
    def from_folder(cls, folder: str | Path) -> WordPieces:
        """Read vocab.txt, or tokenizer.json, and what the settings beside them say.

        Raises FileNotFoundError when neither is there, ValueError for damaged ones.
        """
        folder = Path(folder)
        settings = read_json(folder / "tokenizer_config.json")
        if (folder / "vocab.txt").is_file() or not (folder / "tokenizer.json").is_file():
            pieces = (folder / "vocab.txt").read_text("utf-8").splitlines()
            vocabulary = {piece: number for number, piece in enumerate(pieces)}
        else:
            vocabulary = read_json(folder / "tokenizer.json")["model"]["vocab"]
        return cls(vocabulary, int(settings.get("model_max_length", 512)), bool(settings.get("do_lower_case", True)))

    def split(self, text: str) -> list[str]:
        return words(text, self.lower)

    def tokenize_word(self, word: str) -> list[str]:
        """One word -> its pieces: the longest that is known from the left, then the longest of the rest."""
        pieces: list[str] = []
        start = 0
        while start < len(word) <= LONGEST:
            hung = PIECE if start else ""
            end = next((end for end in range(len(word), start, -1) if hung + word[start:end] in self.vocabulary), start)
            if end == start:
                return [UNKNOWN]
            pieces.append(hung + word[start:end])
            start = end
        return pieces or [UNKNOWN]

    def joined(self, tokens: Sequence[str]) -> str:
        text = "".join(token.removeprefix(PIECE) if token.startswith(PIECE) and i else f"{' ' * bool(i)}{token}"
                       for i, token in enumerate(tokens))
        return regex.sub(r" ([.?!,])", r"\1", text)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Numbers -> text, in lower case and with single spaces, none before a full stop, a comma, ? or !"""
        tokens = [self.known_token(number) for number in ids]
        return self.joined([token for token in tokens if not (skip_special_tokens and self.marks.fullmatch(token))])
