"""Shards: what goes in comes out, over files, with word starts."""

from __future__ import annotations

import numpy as np
import pytest

from bert_jax.data.files import (
    GrowingArray,
    array_size,
    open_array,
    open_atomic,
    save_array,
)
from bert_jax.data.shards import (
    ShardBuilder,
    ShardSet,
    ShardWriter,
    offsets_of,
    pack_tokens,
    read_shard,
    token_dtype,
    word_start_bit,
)


def test_offsets_and_tokens_are_those_of_the_documents(prepared, documents):
    shards = ShardSet(prepared(documents, documents[:2]), "train", 2)
    assert np.array_equal(
        shards.document_offsets, offsets_of(np.array([len(d) for d in documents]))
    )
    lengths = np.array([len(s) for d in documents for s in d])
    assert np.array_equal(shards.sentence_offsets, offsets_of(lengths))
    assert shards.num_tokens == lengths.sum()


def test_gather_copies_stretches_of_all_shards(prepared, documents):
    shards = ShardSet(prepared(documents, documents[:2]), "train", 2)
    text = np.array([t for d in documents for s in d for t in s])
    bounds = shards.sentence_offsets[shards.document_offsets]
    starts, lengths = bounds[:-1], np.minimum(np.diff(bounds), 20)
    columns = np.arange(len(starts)) % 5
    out = np.zeros((len(starts), 32), shards.token_dtype)
    shards.gather(starts, lengths, np.arange(len(starts)), columns, out)
    ids = shards.ids(out)
    for row, start, length, column in zip(ids, starts, lengths, columns, strict=True):
        expected = np.zeros(32, int)
        expected[column : column + length] = text[start : start + length]
        assert np.array_equal(row, expected)


@pytest.mark.parametrize("vocab_size", [100, 32_768, 32_769, 250_000])
def test_ids_and_word_starts_survive_packing(vocab_size):
    starts_V = np.arange(vocab_size) % 3 == 0
    ids = np.array([0, 1, 2, 3, vocab_size - 1])
    stored = pack_tokens(ids, starts_V)
    assert stored.dtype == token_dtype(vocab_size)
    assert stored.dtype.itemsize == (2 if vocab_size <= 32_768 else 4)
    bit = word_start_bit(stored.dtype)
    assert np.array_equal(stored & (bit - 1), ids)
    assert np.array_equal((stored & bit) > 0, starts_V[ids])


def test_word_starts_are_stored(prepared, documents):
    shards = ShardSet(prepared(documents, documents[:2]), "train", 2)
    out = np.zeros((1, 8), shards.token_dtype)
    shards.gather(np.array([0]), np.array([8]), np.array([0]), np.array([0]), out)
    starts = (out & word_start_bit(out.dtype)) > 0
    assert np.array_equal(starts, shards.ids(out) % 2 == 0)


def test_arrays_are_read_from_disk_and_not_into_memory(tmp_path):
    save_array(tmp_path / "some.npy", np.arange(10))
    save_array(tmp_path / "none.npy", np.zeros(0, np.uint16))
    assert isinstance(open_array(tmp_path / "some.npy"), np.memmap)
    assert open_array(tmp_path / "none.npy").shape == (0,)
    with pytest.raises(ValueError, match="read-only"):
        open_array(tmp_path / "some.npy")[0] = 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none.npy", "some.npy"]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("sizes", [[], [0], [5], [3, 0, 70_000]])
def test_an_array_that_grows_has_the_bytes_of_one_saved_at_once(tmp_path, dtype, sizes):
    parts = [np.arange(size, dtype=dtype) for size in sizes]
    with open_atomic(tmp_path / "grown.npy") as file:
        grown = GrowingArray(file, np.dtype(dtype))
        for part in parts:
            grown.append(part)
        grown.finish()
    save_array(tmp_path / "saved.npy", np.concatenate([np.zeros(0, dtype), *parts]))
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()
    assert array_size(tmp_path / "grown.npy") == sum(sizes)


def test_a_shard_of_parts_is_the_shard_of_all(tmp_path):
    starts_V = np.zeros(100, bool)
    builders = [ShardBuilder(starts_V) for _ in range(3)]  # the second stays empty
    for number in range(20):
        document = (np.arange(number + 2) % 90, np.array([1, number + 1]))
        builders[number % 2 * 2].add(*document)
    parts = [builder.arrays() for builder in builders]
    with ShardWriter(tmp_path / "a", tmp_path / "a", parts[0][0].dtype) as writer:
        for part in parts:
            writer.add(part)
        counts = writer.counts()
    tokens, sentences, documents = read_shard(tmp_path / "a")
    assert counts == {"documents": 20, "sentences": 40, "tokens": len(tokens)}
    assert np.array_equal(tokens, np.concatenate([part[0] for part in parts]))
    lengths = np.concatenate([np.diff(part[1]) for part in parts])
    assert np.array_equal(sentences, offsets_of(lengths))
    assert np.array_equal(documents, np.arange(0, 41, 2))


def test_an_unfinished_shard_leaves_no_file(tmp_path):
    dtype = np.dtype(np.uint16)
    with (
        pytest.raises(KeyboardInterrupt),
        ShardWriter(tmp_path / "a", tmp_path / "a", dtype),
    ):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
