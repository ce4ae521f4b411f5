"""Which documents of a source are held out for evaluation, by a hash of their titles."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

from bert_jax.corpora.documents import Document, DocumentSource

# A source with no more documents than this is read once to choose the share exactly.
SMALL_SOURCE = 2000
_PROBES = 256


@dataclasses.dataclass(frozen=True)
class Holdout:
    """The held-out documents of one source.

    Attributes:
        by_title: documents of one title stay together; else each goes by its id.
        fraction: share of keys to hold out, by their hash, where `keys` is None.
        keys: the titles or ids to hold out, where they were chosen one by one.
    """

    by_title: bool
    fraction: float
    keys: frozenset[str] | None

    def takes(self, document: Document) -> bool:
        """Whether `document` is held out."""
        key = document.title if self.by_title else document.id
        if self.keys is not None:
            return key in self.keys
        return _place(key) < self.fraction


NOTHING = Holdout(by_title=True, fraction=0.0, keys=frozenset())
EVERYTHING = Holdout(by_title=True, fraction=1.0, keys=None)


def choose_holdout(source: DocumentSource, fraction: float) -> Holdout:
    """Chooses about `fraction` of a source, by the hash of titles.

    The documents of one title go to the same side, unless more than half of the titles
    stand for several documents (one file with many of them): then each goes by its id.
    Of a small source, titles are taken in the order of their hashes until `fraction` of
    the text is reached: at least one, never all.
    """
    total = len(source)
    places = sorted({i * total // _PROBES for i in range(_PROBES)})
    titles = {source.read(place, place + 1)[0].title for place in places}
    by_title = 2 * len(titles) >= len(places)
    if total > SMALL_SOURCE:
        return Holdout(by_title, fraction, None)
    sizes: dict[str, int] = {}
    for document in read_all(source, 0, total):
        key = document.title if by_title else document.id
        sizes[key] = sizes.get(key, 0) + len(document.text)
    wanted, taken = fraction * sum(sizes.values()), 0
    chosen: list[str] = []
    for key in sorted(sizes, key=_place)[:-1]:
        if taken >= wanted:
            break
        chosen.append(key)
        taken += sizes[key]
    return Holdout(by_title, fraction, frozenset(chosen))


def documents_per_read(source: DocumentSource) -> int:
    """How many documents to read in one go: about a megabyte of text."""
    return max(1, min(512, 1_000_000 * len(source) // max(source.num_bytes, 1)))


def read_all(source: DocumentSource, start: int, stop: int) -> Iterator[Document]:
    """The documents in [start, stop), about a megabyte of them in memory at a time."""
    size = documents_per_read(source)
    for first in range(start, stop, size):
        yield from source.read(first, min(first + size, stop))


def _place(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big") / 2**56
