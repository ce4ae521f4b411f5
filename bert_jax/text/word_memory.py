"""Words and their ids, remembered: a corpus says the same words over and over.

BERT's word splitter sets every punctuation mark and every CJK ideograph apart and looks
at no more than the text between two of them, or two spaces. So the ids of a text are
those of its parts in a row, and a part that was seen before need not be tokenized again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

# Of each of the two kinds of parts: some 40 MB of English, 100 MB at the very most.
MAX_PARTS = 1 << 18
MAX_PART_CHARACTERS = 24
# Characters that stand alone, whatever is around them: ASCII and common punctuation, CJK.
ALONE = (
    r"!-/:-@\[-`{-~‐-‧、-〃〈-】〔-〛！-＃％-＊，-／：；？＠"
    "\u3400-\u4dbf\u4e00-\u9fff"
)
_PARTS = re.compile(f"[{ALONE}]|[^{ALONE}]+")


class WordMemory:
    """Encodes texts by a WordPiece tokenizer, each part of a word once.

    Args:
        encode: ids of a text that is only a part of a word.
    """

    def __init__(self, encode: Callable[[str], Sequence[int]]):
        # Arrays of ids are kept as bytes, which join faster than anything else.
        parts = _Memory(lambda part: np.array(encode(part), np.int32).tobytes())
        part_ids = parts.__getitem__
        self._words = _Memory(lambda word: b"".join(map(part_ids, _PARTS.findall(word))))

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of texts: (int32[N] of all texts, int64[len(texts) + 1] offsets)."""
        word_ids = self._words.__getitem__
        rows = [b"".join(map(word_ids, text.split(" "))) for text in texts]
        ids_N = np.frombuffer(bytearray().join(rows), np.int32)
        ends = accumulate(map(len, rows), initial=0)
        offsets = np.fromiter(ends, np.int64, len(rows) + 1) // ids_N.itemsize
        return ids_N, offsets


class _Memory(dict[str, bytes]):
    """What `make` gave for each key; all is forgotten when it becomes too much."""

    def __init__(self, make: Callable[[str], bytes]):
        super().__init__()
        self._make = make

    def __missing__(self, key: str) -> bytes:
        value = self._make(key)
        if len(key) <= MAX_PART_CHARACTERS:
            if len(self) >= MAX_PARTS:
                self.clear()
            self[key] = value
        return value
