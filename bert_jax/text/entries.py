"""What all kinds of vocabulary share: entries, their ids, the control tokens, settings.

Shapes: N tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.text.pieces import Frame

FORMAT_VERSION = 1
CONTROL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTROL_ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
# Each of these alone is a tokenizer.
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "spiece.model")
# All that can decide how a text becomes ids.
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    "added_tokens.json",
)
# Settings by which Transformers takes the steps of a tokenizer.json as they are.
AS_TOKENIZER_JSON_SAYS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
}


class Entries:
    """What all kinds share: the list of entries, their ids, the control tokens."""

    kind: str

    def __init__(
        self,
        tokens: Sequence[str],
        lowercase: bool,
        strip_accents: bool,
        control_tokens: Sequence[str] = CONTROL_TOKENS,
    ):
        self.tokens = tuple(tokens)
        self.vocab_size = len(self.tokens)
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.control_tokens = tuple(control_tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        check_entries(self.tokens, self.control_tokens)
        self.special_ids = tuple(self._ids[token] for token in self.control_tokens)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = self.special_ids
        self.frame = Frame((self.cls_id,), (self.sep_id,), (self.sep_id,), second_type=1)

    def _check_case(self) -> None:
        """Refuses a vocabulary with capitals when all text is to be lowercased."""
        if self.lowercase and is_cased(self.tokens):
            capitals, words = _count_capitals(self.tokens)
            raise ValueError(
                f"tokenizer.lowercase=True must be False for this vocabulary: {capitals} "
                f"of its {words} entries have capitals and could never be used; a "
                "BertTokenizer takes do_lower_case=False"
            )

    def id_to_token(self, index: int) -> str:
        """The entry of the vocabulary at `index`."""
        if not 0 <= index < self.vocab_size:
            raise ValueError(
                f"id {index} must be in [0, {self.vocab_size}), the size of the vocabulary"
            )
        return self.tokens[index]

    def token_to_id(self, token: str) -> int | None:
        """The id of an entry, None if the vocabulary lacks it."""
        return self._ids.get(token)

    def _mark_word_starts(self, starts: Sequence[bool]) -> np.ndarray:
        starts_V = np.array(starts, dtype=bool)
        starts_V[list(self.special_ids)] = True
        return starts_V

    def _settings(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
        }

    def _digest(self, content: bytes) -> str:
        settings = self._settings()
        if self.control_tokens != CONTROL_TOKENS:
            settings["control_tokens"] = self.control_tokens
        written = json.dumps(settings, sort_keys=True).encode()
        return hashlib.sha256(written + b"\0" + content).hexdigest()

    def _save_settings(self, directory: Path, names: dict[str, Any]) -> None:
        roles = dict(zip(CONTROL_ROLES, self.control_tokens, strict=True))
        files = {
            CONFIG_FILE: {**self._settings(), **names, **roles},
            SPECIAL_TOKENS_FILE: roles,
        }
        for name, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (directory / name).write_text(text, encoding="utf-8")


def is_cased(tokens: Sequence[str]) -> bool:
    """Whether more than 5 % of the entries, [CLS] and [unused1] aside, have capitals."""
    capitals, words = _count_capitals(tokens)
    return 20 * capitals > words


def _count_capitals(tokens: Sequence[str]) -> tuple[int, int]:
    """How many entries have capitals, of how many that are no names such as [CLS]."""
    words = [t for t in tokens if not (t[:1] in "[<" and t[-1:] in "]>")]
    return sum(word != word.lower() for word in words), len(words)


def check_entries(tokens: Sequence[str], control_tokens: Sequence[str]) -> None:
    """Refuses a vocabulary that cannot serve a BERT.

    Raises:
        ValueError: a control token is missing or has two roles, or an entry is there twice.
    """
    ids = {token: index for index, token in enumerate(tokens)}
    missing = [token for token in control_tokens if token not in ids]
    if missing:
        raise ValueError(
            f"the vocabulary of {len(tokens)} entries lacks {', '.join(missing)}; a BERT "
            "vocabulary needs these entries"
        )
    if len(set(control_tokens)) < len(control_tokens):
        raise ValueError(
            f"the control tokens {', '.join(control_tokens)} must be five different entries"
        )
    first = next((i for i, token in enumerate(tokens) if ids[token] != i), None)
    if first is not None:
        token = tokens[first]
        raise ValueError(
            f"entry {token!r} must be there once; it is at id {first} and at id "
            f"{ids[token]}; ids are line numbers from 0"
        )


def flatten_ids(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of ids as one int32 array and the int64 offsets of the lists in it."""
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    ids_N = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(offsets[-1]))
    return ids_N, offsets
