"""BERT's own tokenizer.

Shapes: N tokens, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.text.rust_backed import RustBacked, bert_backend, bert_normalizer
from bert_jax.text.unicode import well_formed
from bert_jax.text.word_memory import WordMemory


class WordPieceTokenizer(RustBacked):
    """BERT's own tokenizer: words by white space and punctuation, longest pieces first.

    Source: google-research/bert tokenization.py; the work is done by Hugging Face
    `tokenizers`.
    Differs: a word of more than 100 characters is [UNK], as in Hugging Face's classes
    and the first releases (200 in the last one of the 2018 code).
    """

    kind = "wordpiece"

    def __init__(
        self, tokens: Sequence[str], *, lowercase: bool = True, strip_accents: bool = True
    ):
        """A tokenizer over entries `tokens`, in the order of their ids."""
        super().__init__(tokens, lowercase, lowercase and strip_accents)
        self._check_case()
        folding = bert_normalizer(self.lowercase, self.strip_accents)
        self._backend = bert_backend(self.tokens, folding)
        self._plain = bert_backend(self.tokens, folding)
        self._plain.encode_special_tokens = True
        self._memory = WordMemory(self._encode_part)
        self.word_starts_V = self._mark_word_starts(
            [not token.startswith("##") for token in self.tokens]
        )
        self.sha256 = self._digest("\n".join(self.tokens).encode("utf-8"))

    def __reduce__(self) -> tuple[Any, ...]:
        return _wordpiece, (self.tokens, self.lowercase, self.strip_accents)

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of plain texts; see `Tokenizer.encode_batch`."""
        return self._memory.encode_batch([well_formed(text) for text in texts])

    def _encode_part(self, part: str) -> list[int]:
        ids: list[int] = self._plain.encode(part, add_special_tokens=False).ids
        return ids

    def save(self, directory: Path) -> None:
        """Writes vocab.txt, tokenizer.json (as Hugging Face has it) and our settings."""
        directory.mkdir(parents=True, exist_ok=True)
        vocabulary = "".join(f"{token}\n" for token in self.tokens)
        (directory / "vocab.txt").write_bytes(vocabulary.encode("utf-8"))
        tokenizer_json = self._backend.to_str(pretty=True)
        (directory / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
        names = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "tokenize_chinese_chars": True,
        }
        self._save_settings(directory, names)


def _wordpiece(
    tokens: Sequence[str], lowercase: bool, strip_accents: bool
) -> WordPieceTokenizer:
    """Rebuilds a tokenizer in another process."""
    return WordPieceTokenizer(tokens, lowercase=lowercase, strip_accents=strip_accents)
