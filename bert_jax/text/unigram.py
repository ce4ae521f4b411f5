"""Unigram pieces by SentencePiece.

Shapes: N tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from bert_jax.text.entries import (
    AS_TOKENIZER_JSON_SAYS,
    CONTROL_TOKENS,
    Entries,
    flatten_ids,
)
from bert_jax.text.folding import fold, fold_with_places
from bert_jax.text.pieces import Pieces
from bert_jax.text.unicode import original_places, well_formed
from bert_jax.text.unigram_json import unigram_json

_SPACE = "\u2581"


class SentencePieceTokenizer(Entries):
    """Unigram pieces over raw text, spaces included (Kudo 2018)."""

    kind = "sentencepiece"

    def __init__(
        self,
        model: bytes,
        *,
        lowercase: bool = True,
        strip_accents: bool = True,
        control_tokens: Sequence[str] = CONTROL_TOKENS,
    ):
        """A tokenizer over the content of a SentencePiece model file."""
        self._model = model
        self._backend = _processor(model)
        pieces = pieces_of(model)
        super().__init__(pieces, lowercase, lowercase and strip_accents, control_tokens)
        if self.unk_id != self._backend.unk_id():
            raise ValueError(
                f"unk_token={self.tokens[self.unk_id]!r} must be "
                f"{self.tokens[self._backend.unk_id()]!r}, as in the model of SentencePiece"
            )
        self._check_case()
        self._control_pattern = re.compile("|".join(map(re.escape, self.control_tokens)))
        self._begins_word_V = np.array([p.startswith(_SPACE) for p in pieces])
        written = [index for index in self.special_ids if index != self.unk_id]
        self._begins_word_V[written] = True
        self.word_starts_V = self._mark_word_starts([p.startswith(_SPACE) for p in pieces])
        self.sha256 = self._digest(model)

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.lowercase, self.strip_accents, self.control_tokens)
        return _sentencepiece, (self._model, *settings)

    def _fold(self, text: str) -> str:
        return fold(well_formed(text), self.lowercase, self.strip_accents)

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of plain texts; see `Tokenizer.encode_batch`."""
        return flatten_ids(self._backend.encode([self._fold(text) for text in texts]))

    def encode(self, text: str) -> list[int]:
        """Ids of one text, written-out control tokens understood; none are added."""
        ids: list[int] = []
        for part, _, control in self._parts(text):
            if control is None:
                ids.extend(self._backend.encode(self._fold(part)))
            else:
                ids.append(control)
        return ids

    def encode_pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Located tokens of texts; see `Tokenizer.encode_pieces`."""
        return [_TextPieces(self, text) for text in texts]

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[Pieces]:
        """Located tokens of texts given as words; see `Tokenizer.encode_words`."""
        return [_WordPieces([_TextPieces(self, word) for word in words]) for words in texts]

    def number_words(self, ids: Sequence[int]) -> list[int | None]:
        """Number of the word of each token; an unknown piece stays in its word."""
        words_N = np.cumsum(self._begins_word_V[list(ids)]) - 1
        return [max(0, int(word)) for word in words_N]

    def locate(self, text: str) -> list[tuple[int, int]]:
        """Where each token of `encode(text)` stands in `text`, without spaces around it."""
        spans: list[tuple[int, int]] = []
        for part, begin, control in self._parts(text):
            if control is None:
                spans.extend(
                    _trimmed(text, begin + start, begin + stop)
                    for start, stop in self._locate_plain(part)
                )
            else:
                spans.append((begin, begin + len(part)))
        return spans

    def _locate_plain(self, text: str) -> Iterator[tuple[int, int]]:
        """As `locate`, of text without control tokens, spaces included."""
        originals = original_places(text)
        clean = well_formed(text)
        folded, starts, stops = fold_with_places(clean, self.lowercase, self.strip_accents)
        found = self._backend.encode(folded, return_type="offset_mapping")
        for first, last in found["offsets"]:
            start = starts[first] if first < len(starts) else len(clean)
            stop = stops[last - 1] if last > first else start
            yield originals[start], originals[stop]

    def _parts(self, text: str) -> Iterator[tuple[str, int, int | None]]:
        """Stretches of text: (text, where it begins, id if it is a control token)."""
        begin = 0
        for match in self._control_pattern.finditer(text):
            yield text[begin : match.start()], begin, None
            yield match.group(), match.start(), self._ids[match.group()]
            begin = match.end()
        yield text[begin:], begin, None

    def decode(
        self, ids: Sequence[int], *, skip_special: bool = False, clean_up: bool = True
    ) -> str:
        """Text of `ids`; nothing is to be cleaned up, for pieces hold their own spaces."""
        controls = frozenset(self.control_tokens)
        pieces = [self.id_to_token(int(index)) for index in ids]
        if skip_special:
            pieces = [p for p in pieces if p not in controls]
        spaced = (f"{_SPACE}{p}{_SPACE}" if p in controls else p for p in pieces)
        return " ".join("".join(spaced).replace(_SPACE, " ").split())

    def save(self, directory: Path) -> None:
        """Writes spiece.model, tokenizer.json (for Transformers) and our settings."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "spiece.model").write_bytes(self._model)
        written = unigram_json(
            self._model, self.lowercase, self.strip_accents, self.control_tokens
        )
        (directory / "tokenizer.json").write_text(written, encoding="utf-8")
        self._save_settings(directory, AS_TOKENIZER_JSON_SAYS)


class _TextPieces:
    """Tokens of one text, located when someone asks where they are."""

    def __init__(self, tokenizer: SentencePieceTokenizer, text: str):
        self._tokenizer = tokenizer
        self._text = text
        self.ids = tokenizer.encode(text)

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def offsets(self) -> list[tuple[int, int]]:
        return self._tokenizer.locate(self._text)

    @functools.cached_property
    def word_ids(self) -> list[int | None]:
        return self._tokenizer.number_words(self.ids)


class _WordPieces:
    """Tokens of the words of one text."""

    def __init__(self, words: Sequence[_TextPieces]):
        self._words = words
        self.ids = [index for word in words for index in word.ids]

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def offsets(self) -> list[tuple[int, int]]:
        return [span for word in self._words for span in word.offsets]

    @functools.cached_property
    def word_ids(self) -> list[int | None]:
        return [number for number, word in enumerate(self._words) for _ in word.ids]


def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
        raise ValueError("it must be a model of SentencePiece; it is not one") from None


def pieces_of(model: bytes) -> list[str]:
    """The entries of a SentencePiece model, in the order of their ids.

    Raises:
        ValueError: the bytes are no such model.
    """
    processor = _processor(model)
    try:
        return [processor.id_to_piece(index) for index in range(len(processor))]
    except UnicodeDecodeError:
        raise ValueError("its pieces must be UTF-8; the file is damaged") from None


def _trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    """The span without the spaces at its ends; an empty span stays where it begins."""
    while start < stop and text[start].isspace():
        start += 1
    while start < stop and text[stop - 1].isspace():
        stop -= 1
    return start, stop


def _sentencepiece(
    model: bytes, lowercase: bool, strip_accents: bool, control_tokens: Sequence[str]
) -> SentencePieceTokenizer:
    """Rebuilds a tokenizer in another process."""
    return SentencePieceTokenizer(
        model,
        lowercase=lowercase,
        strip_accents=strip_accents,
        control_tokens=control_tokens,
    )
