"""Documents, and the one door to them: prepared TFDS data in ArrayRecord files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class Document:
    """One document: paragraphs of `text` are separated by blank lines where known.

    Attributes:
        id: unique in its source.
        title: what held-out documents are chosen by; empty if the dataset has none.
        text: well-formed Unicode, never with lone surrogates.
    """

    id: str
    title: str
    text: str


class DocumentSource:
    """The documents of one split of a prepared dataset, by index.

    It can be pickled; another process opens the files again.

    Attributes:
        name: of the dataset.
        fingerprint: hex digest of what decides the documents and their order.
        num_bytes: bytes of the split on disk.
        notes: what the builder dropped or replaced, as counts.
        clean: the kind of cleaning that its documents need, see corpora.cleaning.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str,
        split: str,
        feature: str,
        fingerprint: str = "",
        notes: Mapping[str, int] | None = None,
        clean: str = "plain",
    ):
        """Opens a prepared dataset.

        Args:
            directory: the versioned folder of the dataset, with its dataset_info.json.
            name: of the dataset.
            split: a TFDS split, such as train or train[:50%].
            feature: the feature that holds the text; if it is not there, the only one
                whose name ends with it, as book_text of pg19.
            fingerprint: digest of the origin; by default of TFDS's name and numbers.
            notes: counts to report; none by default.
            clean: the kind of cleaning.
        """
        self.name = name
        self.split = split
        self.clean = clean
        self.notes = dict(notes) if notes else {}
        self._directory = directory
        builder = tfds.builder_from_directory(str(directory))
        self._check(builder.info)
        features = builder.info.features
        self._feature = _named(feature, features)
        if not self._feature:
            raise ValueError(
                f"data.sources: feature={feature!r} of {self.name} must be one of "
                f"{', '.join(sorted(features))}"
            )
        self._title = _named("title", features)
        self._has_id = "id" in features
        info = builder.info.splits[split]
        self.num_bytes = int(info.num_bytes)
        dataset = builder.info.full_name
        numbers = (dataset, info.num_examples, info.num_bytes, feature)
        origin = fingerprint or repr(numbers)
        self.fingerprint = hashlib.sha256(f"{origin}\0{split}".encode()).hexdigest()
        self._records: Any = builder.as_data_source(split=split)

    def _check(self, info: Any) -> None:
        """Refuses a split that the dataset does not have, and one without features."""
        base = self.split.split("[")[0].split("+")[0]
        if base not in info.splits:
            raise ValueError(
                f"data.sources: split={self.split!r} of {self.name} must be one of "
                f"{', '.join(sorted(info.splits))}"
            )
        if not isinstance(info.features, tfds.features.FeaturesDict):
            raise ValueError(f"data.sources: {self.name} has no named features to read")

    def __reduce__(self) -> tuple[Any, ...]:
        state = {k: v for k, v in self.__dict__.items() if k != "_records"}
        return _reopen, (state,)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, start: int, stop: int) -> list[Document]:
        """Documents start … stop - 1, read in one batch.

        Raises:
            ValueError: the range is not within the source.
        """
        if not 0 <= start <= stop <= len(self):
            raise ValueError(
                f"documents {start} to {stop} must be within 0 and {len(self)}"
            )
        if start == stop:
            return []
        records = self._records.__getitems__(range(start, stop))
        return [self._document(i, r) for i, r in enumerate(records, start)]

    def _document(self, index: int, record: Mapping[str, Any]) -> Document:
        text = _decode(record[self._feature])
        title = _decode(record[self._title]) if self._title else ""
        identity = _decode(record["id"]) if self._has_id else f"{self.name}:{index}"
        return Document(identity, title, text)


def _reopen(state: dict[str, Any]) -> DocumentSource:
    """A source in another process; nothing is prepared or checked again."""
    source = DocumentSource.__new__(DocumentSource)
    source.__dict__.update(state)
    builder = tfds.builder_from_directory(str(source._directory))
    source._records = builder.as_data_source(split=source.split)
    return source


def _named(name: str, features: Mapping[str, Any]) -> str:
    """The feature of that name, else the only one whose name ends with it, else empty."""
    ending = [key for key in features if key.endswith(f"_{name}")]
    if name in features:
        return name
    return ending[0] if len(ending) == 1 else ""


def _decode(value: Any) -> str:
    """Text as TFDS gives it, which is bytes; ids may be numbers."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def notes_of(metadata: Mapping[str, Any], split: str) -> dict[str, int]:
    """The counts that a builder stored for a split."""
    return {str(k): int(v) for k, v in metadata[split].items()} if split in metadata else {}
