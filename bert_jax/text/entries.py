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

FORMAT_VERSION = 1
CONTROL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONFIG_FILE = "tokenizer_config.json"


class Entries:
    """What both kinds share: the list of entries, their ids, the control tokens."""

    kind: str

    def __init__(self, tokens: Sequence[str], lowercase: bool, strip_accents: bool):
        self.tokens = tuple(tokens)
        self.vocab_size = len(self.tokens)
        self.lowercase = lowercase
        self.strip_accents = lowercase and strip_accents
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        missing = [token for token in CONTROL_TOKENS if token not in self._ids]
        if missing:
            raise ValueError(
                f"the vocabulary of {self.vocab_size} entries lacks {', '.join(missing)}; "
                "a BERT vocabulary needs these entries"
            )
        self.special_ids = tuple(self._ids[token] for token in CONTROL_TOKENS)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = self.special_ids
        self._special_set = frozenset(self.special_ids)

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
        settings = json.dumps(self._settings(), sort_keys=True).encode()
        return hashlib.sha256(settings + b"\0" + content).hexdigest()

    def _save_settings(self, directory: Path, names: dict[str, Any]) -> None:
        named = dict(zip(("pad", "unk", "cls", "sep", "mask"), CONTROL_TOKENS, strict=True))
        tokens = {f"{name}_token": token for name, token in named.items()}
        settings = {**self._settings(), **names, **tokens}
        path = directory / CONFIG_FILE
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def flatten_ids(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of ids as one int32 array and the int64 offsets of the lists in it."""
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    ids_N = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(offsets[-1]))
    return ids_N, offsets
