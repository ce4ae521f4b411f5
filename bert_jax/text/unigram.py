"""Unigram pieces by SentencePiece.

Shapes: N tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from bert_jax.text.entries import CONTROL_TOKENS, Entries, flatten_ids
from bert_jax.text.unicode import well_formed

_CONTROL_PATTERN = re.compile("(" + "|".join(map(re.escape, CONTROL_TOKENS)) + ")")
_DROPPED_CHARACTERS = {0: None, 0xFFFD: None}


class SentencePieceTokenizer(Entries):
    """Unigram pieces over raw text, spaces included (Kudo 2018)."""

    kind = "sentencepiece"

    def __init__(self, model: bytes, *, lowercase: bool = True, strip_accents: bool = True):
        """A tokenizer over the content of a SentencePiece model file."""
        self._model = model
        self._backend = sentencepiece.SentencePieceProcessor(model_proto=model)
        pieces = [self._backend.id_to_piece(i) for i in range(len(self._backend))]
        super().__init__(pieces, lowercase, strip_accents)
        self.word_starts_V = self._mark_word_starts([p.startswith("▁") for p in pieces])
        self.sha256 = self._digest(model)

    def __reduce__(self) -> tuple[Any, ...]:
        return _sentencepiece, (self._model, self.lowercase, self.strip_accents)

    def _fold(self, text: str) -> str:
        return fold(well_formed(text), self.lowercase, self.strip_accents)

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of plain texts; see `Tokenizer.encode_batch`."""
        return flatten_ids(self._backend.encode([self._fold(text) for text in texts]))

    def encode(self, text: str) -> list[int]:
        """Ids of one text, written-out control tokens understood; none are added."""
        ids: list[int] = []
        for part in _CONTROL_PATTERN.split(text):
            if part in CONTROL_TOKENS:
                ids.append(self._ids[part])
            else:
                ids.extend(self._backend.encode(self._fold(part)))
        return ids

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of `ids`."""
        pieces = [self.id_to_token(int(index)) for index in ids]
        if skip_special:
            pieces = [p for p in pieces if p not in CONTROL_TOKENS]
        spaced = (f"▁{p}▁" if p in CONTROL_TOKENS else p for p in pieces)
        return " ".join("".join(spaced).replace("▁", " ").split())

    def save(self, directory: Path) -> None:
        """Writes spiece.model and our settings."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "spiece.model").write_bytes(self._model)
        self._save_settings(directory, {})


def _sentencepiece(
    model: bytes, lowercase: bool, strip_accents: bool
) -> SentencePieceTokenizer:
    """Rebuilds a tokenizer in another process."""
    return SentencePieceTokenizer(model, lowercase=lowercase, strip_accents=strip_accents)


def fold(text: str, lowercase: bool, strip_accents: bool) -> str:
    """`text` with case and accents removed, and what BERT's cleaning drops: NUL, U+FFFD."""
    text = text.translate(_DROPPED_CHARACTERS)
    if not lowercase:
        return text
    text = text.lower()
    if not strip_accents or text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text)
    bare = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", bare)
