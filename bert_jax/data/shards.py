"""Token shards: where the text lies as ids, ready to be gathered by the batch.

A split is any number of token files and one index over all of them:

    shards/SPLIT-00000.tokens.npy   ids of one range of documents, end to end
    shards/SPLIT.sentence_offsets.npy   int64[S+1], into the tokens of all files in order
    shards/SPLIT.document_offsets.npy   int64[D+1], into the sentences

An id takes 16 bits where the vocabulary fits in 15, else 32; the highest bit says that a
word starts here. All files are memory-mapped: what is not read is not in memory.

Shapes: T tokens of the split, S sentences, D documents, B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from bert_jax.data.files import GrowingArray, open_array, open_atomic, save_array

_MERGE_CHUNK = 1 << 20


def token_dtype(vocab_size: int) -> np.dtype:
    """The type that stores an id below `vocab_size` and the word-start bit."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 15 else np.uint32)


def word_start_bit(dtype: np.dtype) -> int:
    """The value of the highest bit of a stored token."""
    return 1 << (8 * dtype.itemsize - 1)


def pack_tokens(ids: np.ndarray, word_starts_V: np.ndarray) -> np.ndarray:
    """Ids with their word-start bits, as they are stored.

    Args:
        ids: int[N], each in [0, V).
        word_starts_V: bool[V], whether a word starts at an id.
    """
    dtype = token_dtype(len(word_starts_V))
    starts = word_starts_V[ids].astype(dtype) * dtype.type(word_start_bit(dtype))
    return ids.astype(dtype) | starts


class ShardBuilder:
    """Collects the documents of one shard in memory and writes them in one go."""

    def __init__(self, word_starts_V: np.ndarray):
        self._word_starts_V = word_starts_V
        self._ids: list[np.ndarray] = [np.zeros(0, np.int32)]
        self._sentence_lengths: list[np.ndarray] = [np.zeros(0, np.int64)]
        self._document_lengths: list[int] = []

    def add(self, ids: np.ndarray, sentence_lengths: np.ndarray) -> None:
        """Adds one document: its ids end to end, and how many make each sentence."""
        assert len(sentence_lengths) and sentence_lengths.min() > 0
        assert sentence_lengths.sum() == len(ids)
        self._ids.append(ids)
        self._sentence_lengths.append(sentence_lengths.astype(np.int64))
        self._document_lengths.append(len(sentence_lengths))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, sentence offsets and document offsets of what was added."""
        return (
            pack_tokens(np.concatenate(self._ids), self._word_starts_V),
            offsets_of(np.concatenate(self._sentence_lengths)),
            offsets_of(np.asarray(self._document_lengths, np.int64)),
        )


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """int64[N+1]: where each of N things of these lengths begins, and the end."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def write_shard(
    tokens_prefix: Path,
    offsets_prefix: Path,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Writes what `ShardBuilder.arrays` returns: tokens and offsets, each atomically."""
    tokens, sentence_offsets, document_offsets = arrays
    save_array(array_path(tokens_prefix, "tokens"), tokens)
    save_array(array_path(offsets_prefix, "sentence_offsets"), sentence_offsets)
    save_array(array_path(offsets_prefix, "document_offsets"), document_offsets)


def read_shard(prefix: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens and offsets that were written with one prefix, memory-mapped."""
    return (
        open_array(array_path(prefix, "tokens")),
        open_array(array_path(prefix, "sentence_offsets")),
        open_array(array_path(prefix, "document_offsets")),
    )


def array_path(prefix: Path, name: str) -> Path:
    """The file of one array of the shard or split at `prefix`."""
    return prefix.with_name(f"{prefix.name}.{name}.npy")


def merge_offsets(path: Path, parts: Sequence[Path]) -> int:
    """Joins offset files into one over all parts; holds a few megabytes in memory.

    Returns:
        The number of things that the joined offsets delimit.
    """
    base = 0
    with open_atomic(path) as file:
        merged = GrowingArray(file, np.dtype(np.int64))
        merged.append(np.zeros(1, np.int64))
        for part in parts:
            offsets = open_array(part)
            for start in range(1, len(offsets), _MERGE_CHUNK):
                merged.append(offsets[start : start + _MERGE_CHUNK] + base)
            base += int(offsets[-1])
        merged.finish()
    return merged.size - 1


class ShardWriter:
    """Writes one shard of many parts, one part in memory at a time; a context.

    Args:
        tokens_prefix, offsets_prefix: as for `write_shard`.
        dtype: of the stored tokens.
    """

    def __init__(self, tokens_prefix: Path, offsets_prefix: Path, dtype: np.dtype):
        self._paths = {
            "tokens": array_path(tokens_prefix, "tokens"),
            "sentence_offsets": array_path(offsets_prefix, "sentence_offsets"),
            "document_offsets": array_path(offsets_prefix, "document_offsets"),
        }
        self._dtype = dtype
        self._stack = ExitStack()
        self._arrays: dict[str, GrowingArray] = {}

    def __enter__(self) -> ShardWriter:
        for name, path in self._paths.items():
            dtype = self._dtype if name == "tokens" else np.dtype(np.int64)
            file = self._stack.enter_context(open_atomic(path))
            self._arrays[name] = GrowingArray(file, dtype)
            if name != "tokens":
                self._arrays[name].append(np.zeros(1, np.int64))
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            for array in self._arrays.values():
                array.finish()
        self._stack.__exit__(kind, *rest)  # type: ignore[arg-type]

    def add(self, arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """Adds what `ShardBuilder.arrays` returns."""
        tokens, sentence_offsets, document_offsets = arrays
        counts = self.counts()
        self._arrays["tokens"].append(tokens)
        self._arrays["sentence_offsets"].append(sentence_offsets[1:] + counts["tokens"])
        self._arrays["document_offsets"].append(document_offsets[1:] + counts["sentences"])

    def counts(self) -> dict[str, int]:
        """Documents, sentences and tokens written so far."""
        return {
            "documents": self._arrays["document_offsets"].size - 1,
            "sentences": self._arrays["sentence_offsets"].size - 1,
            "tokens": self._arrays["tokens"].size,
        }


class ShardSet:
    """All tokens of one split, as one long text.

    Attributes:
        sentence_offsets: int64[S+1], memory-mapped.
        document_offsets: int64[D+1], memory-mapped.
        num_tokens: T.
    """

    def __init__(self, directory: Path, split: str, num_shards: int):
        prefix = directory / "shards" / split
        self._shards = [
            open_array(array_path(prefix.with_name(f"{split}-{i:05d}"), "tokens"))
            for i in range(num_shards)
        ]
        self._bases = offsets_of(np.array([len(shard) for shard in self._shards], np.int64))
        self._dtype = self._shards[0].dtype
        self._id_mask = self._dtype.type(word_start_bit(self._dtype) - 1)
        # Plain views of the mapped arrays: slicing a np.memmap costs several times more.
        self._views = [np.asarray(shard) for shard in self._shards]
        self.sentence_offsets = open_array(array_path(prefix, "sentence_offsets"))
        self.document_offsets = open_array(array_path(prefix, "document_offsets"))
        self.num_tokens = int(self._bases[-1])

    @property
    def token_dtype(self) -> np.dtype:
        """The type of a stored token."""
        return self._dtype

    def stretch(self, start: int, length: int) -> np.ndarray:
        """Stored tokens [start, start + length) of the split, all of one document."""
        shard = int(np.searchsorted(self._bases, start, side="right")) - 1
        begin = start - int(self._bases[shard])
        return self._views[shard][begin : begin + length]

    def stretches(self, start: int, stop: int, max_tokens: int) -> Iterator[np.ndarray]:
        """Stored tokens [start, stop) of the split, in order, a piece at a time."""
        while start < stop:
            shard = int(np.searchsorted(self._bases, start, side="right")) - 1
            end = min(stop, start + max_tokens, int(self._bases[shard + 1]))
            yield self.stretch(start, end - start)
            start = end

    def gather(
        self,
        starts: np.ndarray,
        lengths: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
        out_BL: np.ndarray,
    ) -> None:
        """Copies stretches of stored tokens into rows of `out_BL`.

        A stretch lies within a document, hence within one shard.

        Args:
            starts: int64[N], place of the first token in the split.
            lengths: int[N], tokens to copy.
            rows: int[N], row of `out_BL` that they go to.
            columns: int[N], column where the first goes.
            out_BL: [B, L] of `token_dtype`, written in place, word-start bits included.
        """
        shard_of = np.searchsorted(self._bases, starts, side="right") - 1
        begins = (starts - self._bases[shard_of]).tolist()
        views = self._views
        flat, width = out_BL.reshape(-1), out_BL.shape[1]
        places = (rows * width + columns).tolist()
        for shard, begin, length, place in zip(
            shard_of.tolist(), begins, lengths.tolist(), places, strict=True
        ):
            flat[place : place + length] = views[shard][begin : begin + length]

    def ids(self, stored: np.ndarray) -> np.ndarray:
        """int32 ids of stored tokens, without their word-start bits."""
        return (stored & self._id_mask).astype(np.int32)

    def word_starts(self, stored: np.ndarray) -> np.ndarray:
        """Whether a word starts at each of stored tokens, as bool."""
        return np.asarray(stored > self._id_mask)
