"""torch's files of tensors: they come out, nothing is read beyond its bounds."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from formats.foreign_files import (
    STORAGES,
    VALUES,
    WRITERS,
    Write,
    flips,
    outcome,
    same,
    state_dict,
    tensor,
    write_legacy,
    write_torch_zip,
    write_zip,
)

from bert_jax.formats.torch_pickle import read_torch_pickle


def test_published_file(shared_data: Path) -> None:
    folder = shared_data / "hf_weights" / "tiny_ner_pytorch_bin"
    weights = read_torch_pickle(folder / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text())
    words = weights["bert.embeddings.word_embeddings.weight"]
    assert words.shape == (config["vocab_size"], config["hidden_size"])
    assert 0.01 < words.std() < 0.03  # BERT's initialisation
    assert weights.dtypes["bert.embeddings.position_ids"] == "int64"
    assert weights["bert.embeddings.position_ids"].ravel()[:4].tolist() == [0, 1, 2, 3]
    assert weights["classifier.weight"].shape == (9, config["hidden_size"])


@WRITERS
def test_both_forms(tmp_path: Path, write: Write) -> None:
    legacy = write is write_legacy
    tied = tensor(offset=2, shape=(2,), strides=(1,), legacy=legacy)
    turned = tensor(shape=(3, 2), strides=(1, 3), legacy=legacy)
    scalar = tensor(offset=5, shape=(), strides=(), legacy=legacy)
    none = tensor(shape=(0, 7), strides=(2**70, 1), legacy=legacy)
    row = tensor(shape=(1, 6), strides=(2**70, 1), legacy=legacy)
    values = {"a": tensor(legacy=legacy), "tied": tied, "turned": turned, "scalar": scalar}
    path = write(tmp_path / "a.bin", state_dict({**values, "none": none, "row": row}))
    weights = read_torch_pickle(path)
    matrix = VALUES.reshape(2, 3)
    expected = {"a": matrix, "tied": VALUES[2:4], "turned": matrix.T, "scalar": VALUES[5]}
    expected |= {"none": np.zeros((0, 7), "f4"), "row": VALUES[None]}
    for name, array in expected.items():
        assert weights[name].dtype == np.float32
        np.testing.assert_array_equal(weights[name], array, strict=name != "scalar")
    assert weights.shapes == {name: np.shape(array) for name, array in expected.items()}


@pytest.mark.parametrize(
    ("storage", "dtype"),
    [
        *(("Bool", "bool"), ("Char", "int8"), ("Short", "int16"), ("Int", "int32")),
        *(("Long", "int64"), ("Byte", "uint8"), ("Half", "float16")),
        *(("Float", "float32"), ("Double", "float64"), ("BFloat16", "bfloat16")),
    ],
)
@pytest.mark.parametrize("order", ["little", "big", None])
def test_types_and_byte_orders(
    tmp_path: Path, storage: str, dtype: str, order: str | None
) -> None:
    array = np.array([0, 1, 1, 0, 1, 1]) * (1 if dtype == "bool" else 3)
    array = array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    bits = array.view(np.uint16) if dtype == "bfloat16" else array
    path = write_torch_zip(
        tmp_path / "a.bin",
        state_dict({"x": tensor(storage=f"torch\n{storage}Storage")}),
        {"0": (bits.byteswap() if order == "big" else bits).tobytes()},
        extra={} if order is None else {"archive/byteorder": order.encode()},
    )
    weights = read_torch_pickle(path)
    assert weights.dtypes == {"x": dtype}
    expected = array.astype(np.float32) if dtype == "bfloat16" else array
    np.testing.assert_array_equal(weights["x"], expected.reshape(2, 3), strict=True)
    assert weights["x"].dtype.isnative


@WRITERS
@pytest.mark.parametrize(
    "bounds",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**70},
        {"offset": 7, "shape": (0,), "strides": (1,)},
        {"shape": (3, 3)},
        {"strides": (4, 1)},
        {"strides": (-3, 1)},
        {"shape": (2, -3)},
        {"shape": (-1, -1)},
        {"shape": (1000, 1000), "strides": (0, 0)},  # many out of one: a bomb
        {"shape": (2**40, 2**40), "strides": (0, 0)},
        {"shape": (2,), "strides": (2**70,)},
        {"shape": (6,), "strides": (1, 1)},
        {"shape": (1,) * 40, "strides": (1,) * 40},
        {"count": 7},
        {"count": 5},
        {"count": -1},
        {"count": 2**70},
        {"storage": "torch\nDoubleStorage"},
        {"key": "1"},
        {"key": "../0"},
    ],
)
def test_tensors_beyond_their_storage(
    tmp_path: Path, bounds: dict[str, Any], write: Write
) -> None:
    legacy = write is write_legacy
    path = write(tmp_path / "a.bin", state_dict({"a": tensor(**bounds, legacy=legacy)}))
    message = outcome(lambda: read_torch_pickle(path))
    assert isinstance(message, str) and message.startswith(str(path)), message


ONE = state_dict({"a": tensor()})


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"method": zipfile.ZIP_DEFLATED}, "compressed or encrypted"),
        ({"method": zipfile.ZIP_BZIP2}, "compressed or encrypted"),
        ({"extra": {"../../outside": b""}}, "impossible name '../../outside'"),
        ({"extra": {"/outside": b""}}, "impossible name '/outside'"),
        ({"extra": {"a\\b": b""}}, "impossible name"),
        ({"extra": {"other/data.pkl": ONE}}, "with one data.pkl"),
        ({"extra": {"archive/byteorder": b"middle"}}, "byteorder=b'middle' must be"),
        ({"storages": {}}, "must hold 'archive/data/0'; it is absent"),
    ],
)
def test_archives_that_are_refused(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    arguments = {"storages": STORAGES, **changes}
    path = write_torch_zip(tmp_path / "a.bin", ONE, **arguments)
    message = outcome(lambda: read_torch_pickle(path))
    assert isinstance(message, str) and rule in message
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_stand_twice_or_over_one_another(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", ONE)
        archive.writestr("archive/data.pkl", ONE)
    with pytest.raises(ValueError, match=r"has the entry 'archive/data\.pkl' twice"):
        read_torch_pickle(path)
    content = bytearray(write_zip(path, ONE).read_bytes())
    second = content.rindex(b"PK\1\2")  # let the second entry begin where the first does
    content[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"has entries that lie over one another"):
        read_torch_pickle(path)


def test_a_bomb_of_zeros_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50 * 2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match="compressed or encrypted"):
        read_torch_pickle(path)


def test_flipped_bits_of_the_zip_form(tmp_path: Path) -> None:
    """CRC-32s stand over all that matters: refused, or of no effect at all."""
    turned = tensor(shape=(3, 2), strides=(1, 3))
    path = write_zip(tmp_path / "a.bin", state_dict({"a": tensor(), "b": turned}))
    content = path.read_bytes()
    whole = outcome(lambda: read_torch_pickle(path))
    assert isinstance(whole, dict)
    num_refused = 0
    for seed in range(3):
        for place, damaged in flips(content, len(content), seed):
            path.write_bytes(damaged)
            found = outcome(lambda: read_torch_pickle(path))
            assert isinstance(found, str) or same(found, whole), place
            num_refused += isinstance(found, str)
    assert num_refused > 2 * len(content)


def test_flipped_bits_of_the_old_form(tmp_path: Path) -> None:
    """It has no checksums: refused, or arrays that are inside the file."""
    legacy = tensor(legacy=True)
    path = write_legacy(tmp_path / "a.bin", state_dict({"a": legacy, "b": legacy}))
    content = path.read_bytes()
    num_refused = 0
    for seed in range(3):
        for _, damaged in flips(content, len(content), seed):
            path.write_bytes(damaged)
            found = outcome(lambda: read_torch_pickle(path))
            num_refused += isinstance(found, str)
            assert isinstance(found, str) or all(x.size <= 6 for x in found.values())
    assert num_refused > len(content)


@WRITERS
def test_truncation(tmp_path: Path, write: Write) -> None:
    legacy = write is write_legacy
    path = write(tmp_path / "a.bin", state_dict({"a": tensor(legacy=legacy)}))
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert isinstance(outcome(lambda: read_torch_pickle(path)), str), size


def test_shards(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_zip(tmp_path / f"{name}.bin", state_dict({name: tensor()}))
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "a.bin", "b": "b.bin"}}))
    assert read_torch_pickle(index).shapes == {"a": (2, 3), "b": (2, 3)}
    index.write_text(json.dumps({"weight_map": {"a": "../a.bin"}}))
    with pytest.raises(ValueError, match="must be the name of a file beside"):
        read_torch_pickle(index)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"version https://git-lfs", b"\x80"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    assert str(outcome(lambda: read_torch_pickle(path))).startswith(str(path))
