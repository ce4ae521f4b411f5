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

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bert_jax.data.files import open_array, open_atomic, save_array


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
        self._tokens: list[np.ndarray] = [np.zeros(0, token_dtype(len(word_starts_V)))]
        self._sentence_lengths: list[np.ndarray] = [np.zeros(0, np.int64)]
        self._document_lengths: list[int] = []

    def add(self, ids: np.ndarray, sentence_lengths: np.ndarray) -> None:
        """Adds one document: its ids end to end, and how many make each sentence."""
        assert len(sentence_lengths) and sentence_lengths.min() > 0
        assert sentence_lengths.sum() == len(ids)
        self._tokens.append(pack_tokens(ids, self._word_starts_V))
        self._sentence_lengths.append(sentence_lengths.astype(np.int64))
        self._document_lengths.append(len(sentence_lengths))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, sentence offsets and document offsets of what was added."""
        return (
            np.concatenate(self._tokens),
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
    """Joins offset files into one over all parts; holds one part in memory at a time.

    Returns:
        The number of things that the joined offsets delimit.
    """
    counts = [len(open_array(part)) - 1 for part in parts]
    total = sum(counts)
    with open_atomic(path) as file:
        header = {"descr": "<i8", "fortran_order": False, "shape": (total + 1,)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.zeros(1, "<i8").tobytes())
        base = 0
        for part in parts:
            offsets = np.load(part, allow_pickle=False)
            file.write((offsets[1:] + base).astype("<i8").tobytes())
            base += int(offsets[-1])
    return total


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
