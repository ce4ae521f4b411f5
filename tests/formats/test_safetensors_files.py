"""Safetensors: what the library reads is what we read, and nothing broken gets through."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from formats.foreign_files import entry, flips, outcome, same, write_raw_safetensors
from safetensors.numpy import load_file, save_file

from bert_jax.formats.hashes import check_hashes, write_hashes
from bert_jax.formats.safetensors_files import read_safetensors, write_safetensors

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


def small_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {name: (9 * rng.random((2, 3))).astype(name) for name in DTYPES}
    return {
        **arrays,
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), "int8"),
    }


def test_reads_what_the_library_reads(shared_data: Path) -> None:
    path = shared_data / "hf_weights" / "tiny_bert_safetensors" / "model.safetensors"
    weights = read_safetensors(path)
    expected = load_file(path)
    assert same(dict(sorted(weights.items())), dict(sorted(expected.items())))
    assert weights.shapes == {name: weights[name].shape for name in expected}
    assert weights.shapes["embeddings.LayerNorm.bias"] == (32,)


def test_round_trip_of_every_type(tmp_path: Path) -> None:
    path, arrays = tmp_path / "new" / "model.safetensors", small_arrays()
    arrays["transposed"] = np.arange(6.0).reshape(2, 3).T
    write_safetensors(path, arrays, {"format": "pt"})
    weights = read_safetensors(path)
    assert set(weights) == set(arrays)
    assert same({name: weights[name] for name in arrays}, arrays)
    assert weights.metadata == {"format": "pt"}
    assert weights.dtypes["transposed"] == "float64"
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]
    theirs = load_file(path)
    assert same({name: theirs[name] for name in arrays}, arrays)


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    path, arrays = tmp_path / "a.safetensors", small_arrays()
    metadata = {'"zoë"\n': "\\\x1f", **{f"key{i}": f"value {i}" for i in range(9)}}
    found = {"ours": set(), "the library's": set()}
    for _ in range(4):
        write_safetensors(path, arrays, metadata)
        assert read_safetensors(path).metadata == metadata
        found["ours"].add(path.read_bytes())
        save_file(arrays, path, metadata)  # control: another order each time
        found["the library's"].add(path.read_bytes())
    assert len(found["ours"]) == 1
    assert len(found["the library's"]) > 1


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    bits = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    array = bits.view(ml_dtypes.bfloat16)
    write_safetensors(tmp_path / "a.safetensors", {"x": array}, {})
    weights = read_safetensors(tmp_path / "a.safetensors")
    assert weights.dtypes == {"x": "bfloat16"} and weights.shapes == {"x": (256, 256)}
    np.testing.assert_array_equal(weights["x"], array.astype(np.float32))
    assert weights["x"].dtype == np.float32


def test_values_are_views_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"x": np.ones((1024, 1024), np.float32)}, {})
    tracemalloc.start()
    weights = read_safetensors(path)
    total = sum(float(array.sum()) for array in weights.values())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 1024**2
    assert peak_bytes < 2**20  # of a file of 4 MiB
    x = weights["x"]
    assert not x.flags.writeable
    del weights
    path.unlink()
    assert x[0, 0] == 1


F32 = entry([4], 0, 16)
HOSTILE = {
    "duplicate names": (b'{"a":%s,"a":%s}' % ((json.dumps(F32).encode(),) * 2), 16),
    "overlap": ({"a": F32, "b": F32}, 16),
    "beyond the end": ({"a": entry([8], 0, 32)}, 16),
    "a gap": ({"a": entry([2], 8, 16)}, 16),
    "backwards": ({"a": entry([4], 16, 0)}, 16),
    "negative": ({"a": entry([-4], 0, 16)}, 16),
    "shape beyond the bytes": ({"a": entry([1000], 0, 16)}, 16),
    "shape that overflows": ({"a": entry([2**62, 2**62, 0], 0, 0)}, 0),
    "shape that overflows behind a zero": ({"a": entry([0, 2**62, 2**62], 0, 0)}, 0),
    "too many dims": ({"a": entry([1] * 99, 0, 4)}, 4),
    "values left over": ({"a": F32}, 20),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, 0),
    "an unknown type": ({"a": entry([4], 0, 16, "F99")}, 16),
    "a type that NumPy has not": ({"a": entry([16], 0, 16, "F8_E4M3")}, 16),
    "a list": ([1, 2], 0),
    "not JSON": (b"cos\nsystem\n(S'true'\ntR.", 0),
    "not UTF-8": (b'{"\xff\xfe": 1}', 0),
    "deep lists": (b"[" * 200_000, 0),
    "deep objects": (b'{"a":' * 200_000, 0),
    "a number without end": (b'{"a":' + b"9" * 10_000 + b"}", 0),
    "no entry": ({"a": 3}, 0),
    "line breaks in a name": ({"a\nb": entry([4], 0, 12)}, 12),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused(tmp_path: Path, case: str) -> None:
    header, num_bytes = HOSTILE[case]
    path = write_raw_safetensors(tmp_path / "a.safetensors", header, bytes(num_bytes))
    message = outcome(lambda: read_safetensors(path))
    assert isinstance(message, str), message
    assert message.startswith(str(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("announced", [10 * 2**30, 2**63, 2**64 - 1, 3])
def test_header_lengths_cost_no_memory(tmp_path: Path, announced: int) -> None:
    path = tmp_path / "a.safetensors"
    write_raw_safetensors(path, {"a": F32}, bytes(16), announced=announced)
    tracemalloc.start()
    message = outcome(lambda: read_safetensors(path))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(message, str) and message.startswith(str(path))
    assert peak_bytes < 2**20


def test_a_long_header_that_is_there_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_raw_safetensors(path, b"{" + b" " * (17 * 2**20) + b"}")
    with pytest.raises(ValueError, match=r"a header of at most 16777216 bytes; it has"):
        read_safetensors(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for name, state in (
        ("absent", "is not there"),
        ("empty", "is empty"),
        ("pipe", "is not a regular file"),
        (".", "is not a regular file"),
    ):
        with pytest.raises(ValueError, match=rf"must be a file of weights; it {state}$"):
            read_safetensors(tmp_path / name)


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "model" / "a.safetensors"
    arrays = {
        "first": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones(3, "int8"),
    }
    write_safetensors(path, arrays, {"format": "pt"})
    write_hashes(path.parent, [path.name])
    return path


def test_flipped_bits(small_file: Path) -> None:
    content = small_file.read_bytes()
    whole = {name: np.array(array) for name, array in read_safetensors(small_file).items()}
    values_start = 8 + int.from_bytes(content[:8], "little")
    num_refused = num_silent = 0
    for seed in range(3):
        for place, damaged in flips(content, len(content), seed):
            small_file.write_bytes(damaged)
            found = outcome(lambda: read_safetensors(small_file))
            num_refused += isinstance(found, str)
            if place >= values_start:
                assert not isinstance(found, str)
                assert [x.shape for x in found.values()] == [(2, 3), (3,)]
                num_silent += not same(found, whole)
            with pytest.raises(ValueError, match=r"must be .*, as SHA256SUMS says"):
                check_hashes(small_file.parent)
    assert num_refused > 100
    assert num_silent == 3 * 27  # the format itself sees none: hence the hashes


def test_truncation(small_file: Path) -> None:
    content = small_file.read_bytes()
    for size in range(1, len(content)):
        small_file.write_bytes(content[:size])
        assert isinstance(outcome(lambda: read_safetensors(small_file)), str), size


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"x": np.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be written: "):
        write_safetensors(path, {"x": np.array(["text"])}, {})
    with pytest.raises(ValueError, match=r"must not hold an array named __metadata__"):
        write_safetensors(path, {"__metadata__": np.ones(2)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def write_shards(folder: Path, weight_map: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"a": np.full(2, 1.0), "both": np.full(2, 1.0)}, folder / "1.safetensors")
    save_file({"b": np.full(3, 2.0), "both": np.full(2, 2.0)}, folder / "2.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 56}, "weight_map": weight_map}))
    return index


WEIGHT_MAP = {"a": "1.safetensors", "b": "2.safetensors", "both": "2.safetensors"}


def test_shards(tmp_path: Path) -> None:
    weights = read_safetensors(write_shards(tmp_path, WEIGHT_MAP))
    assert weights.shapes == {"a": (2,), "b": (3,), "both": (2,)}
    assert weights["a"].tolist() == [1, 1] and weights["both"].tolist() == [2, 2]


def test_arrays_that_the_index_forgets_are_read(tmp_path: Path) -> None:
    index = write_shards(tmp_path, {"both": "1.safetensors", "b": "2.safetensors"})
    weights = read_safetensors(index)
    assert weights["a"].tolist() == [1, 1] and weights["both"].tolist() == [1, 1]
    index = write_shards(tmp_path, {"a": "1.safetensors", "b": "2.safetensors"})
    with pytest.raises(ValueError, match=r"must say which shard 'both' is read from"):
        read_safetensors(index)


@pytest.mark.parametrize(
    ("weight_map", "rule"),
    [
        ({**WEIGHT_MAP, "c": "1.safetensors"}, r"1\.safetensors must hold 'c'"),
        ({"a": "3.safetensors"}, r"3\.safetensors must be a file .* is not there"),
        ({"a": "../1.safetensors"}, "must be the name of a file beside"),
        ({"a": "/etc/passwd"}, "must be the name of a file beside"),
        ({"a": "x\\1.safetensors"}, "must be the name of a file beside"),
        ({"a": ".."}, "must be the name of a file beside"),
        ({"a": ""}, "must be the name of a file beside"),
        ({"a": "1\n.safetensors"}, "must be the name of a file beside"),
        ({"a": 1}, "must be the name of a file beside"),
        ({}, "must have weight_map"),
        ([], "must have weight_map"),
        ("x", "must have weight_map"),
    ],
)
def test_indices_that_are_refused(tmp_path: Path, weight_map: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        read_safetensors(write_shards(tmp_path, weight_map))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"[" * 100_000, b'{"weight_map":{},"weight_map":{}}']
)
def test_broken_indices_are_refused(tmp_path: Path, content: bytes) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(content)
    assert str(outcome(lambda: read_safetensors(index))).startswith(str(index))


def test_shards_through_links(tmp_path: Path) -> None:
    index = write_shards(tmp_path / "elsewhere", WEIGHT_MAP)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / index.name).write_bytes(index.read_bytes())
    for name in ("1.safetensors", "2.safetensors"):
        (inside / name).symlink_to(index.with_name(name))
    with pytest.raises(ValueError, match=r"is a link that leads elsewhere$"):
        read_safetensors(inside / index.name)
    (inside / index.name).unlink()
    (inside / index.name).symlink_to(index)  # all lead to one place: the Hub's cache
    assert set(read_safetensors(inside / index.name)) == set(WEIGHT_MAP)


def test_weights_are_read_without_jax(run_python: Any) -> None:
    code = (
        "import sys\n"
        "from bert_jax.formats import safetensors_files, torch_pickle, tf1_checkpoint\n"
        "assert not {'jax', 'torch', 'tensorflow'} & set(sys.modules)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
