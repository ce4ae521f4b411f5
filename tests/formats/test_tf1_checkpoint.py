"""TensorFlow's checkpoints: every value as TensorFlow reads it, every flipped bit seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from formats.foreign_files import (
    field,
    flips,
    outcome,
    same,
    table,
    variable,
    varint,
    write_tf1,
)

from bert_jax.formats.sstable import masked_crc32c, read_table
from bert_jax.formats.tf1_checkpoint import list_tf1_variables, read_tf1_checkpoint

FLOAT, INT64, STRING, BFLOAT16, HALF = 1, 9, 7, 14, 19
VALUES = np.arange(6, dtype="<f4")


@pytest.fixture
def tiny(shared_data: Path, tmp_path: Path) -> Path:
    """A copy of the whole checkpoint, as a prefix."""
    for path in (shared_data / "tf_checkpoint" / "tiny").glob("bert_model.ckpt.*"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / "bert_model.ckpt"


def index_of(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def data_of(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.data-00000-of-00001")


def is_weight(name: str) -> bool:
    return not name.endswith(("/adam_m", "/adam_v")) and name != "global_step"


def test_all_values(tiny: Path, shared_data: Path) -> None:
    path = shared_data / "tf_checkpoint" / "tiny" / "expected_values.json"
    expected = json.loads(path.read_text())
    weights = read_tf1_checkpoint(tiny)
    assert list(weights) == sorted(expected) and len(weights) == 139
    for name, values in expected.items():
        array = np.array(values["values"], values["dtype"]).reshape(values["shape"])
        np.testing.assert_array_equal(weights[name], array, strict=name != "global_step")
    assert int(weights["global_step"]) == expected["global_step"]["values"][0]


def test_names_of_a_published_index(shared_data: Path) -> None:
    folder = shared_data / "tf_checkpoint" / "bert_base_chinese_index_only"
    expected = json.loads((folder / "expected_variables.json").read_text())
    found = list_tf1_variables(folder / "bert_model.ckpt")
    assert len(found) == 206
    assert found == {
        name: (item["dtype"], tuple(item["shape"])) for name, item in expected.items()
    }
    with pytest.raises(ValueError, match=r"data-00000-of-00001 .* it is not there$"):
        read_tf1_checkpoint(folder / "bert_model.ckpt")


def test_what_is_not_selected_is_checked_too(tiny: Path) -> None:
    whole = read_tf1_checkpoint(tiny)
    weights = read_tf1_checkpoint(tiny, is_weight)
    assert sorted(weights) == sorted(filter(is_weight, list_tf1_variables(tiny)))
    assert len(weights) == 46
    data = bytearray(data_of(tiny).read_bytes())
    place = data.index(whole["bert/pooler/dense/kernel/adam_m"].tobytes())
    data[place] ^= 1
    data_of(tiny).write_bytes(data)
    for select in (None, is_weight):
        with pytest.raises(
            ValueError, match=r"'bert/pooler/dense/kernel/adam_m' has another CRC"
        ):
            read_tf1_checkpoint(tiny, select)


@pytest.mark.parametrize(
    "item",
    [
        variable(STRING, (6,), 4, VALUES.tobytes()),
        variable(FLOAT, (6,), 4, VALUES.tobytes(), more=field(7, b"")),
    ],
)
def test_what_is_neither_selected_nor_numbers_is_let_be(
    item: bytes, tmp_path: Path
) -> None:
    variables = {"w": variable(FLOAT, (6,), 0, VALUES.tobytes()), "x": item}
    prefix = write_tf1(tmp_path / "a.ckpt", variables, VALUES.tobytes() * 2)
    assert same(read_tf1_checkpoint(prefix, "w".__eq__), {"w": VALUES})


def test_any_flipped_bit_of_the_index(tiny: Path) -> None:
    content = index_of(tiny).read_bytes()
    for place, damaged in flips(content, len(content), seed=0):
        index_of(tiny).write_bytes(damaged)
        message = outcome(lambda: read_tf1_checkpoint(tiny, lambda _: False))
        assert isinstance(message, str), place
        assert message.startswith(str(index_of(tiny)))


def test_every_bit_of_the_footer(tiny: Path) -> None:
    """It has no CRC of its own."""
    content = index_of(tiny).read_bytes()
    for place in range(len(content) - 48, len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"^it cannot be read: "):
                read_table(bytes(damaged), "it")


def test_any_flipped_bit_of_the_data(tiny: Path) -> None:
    content = data_of(tiny).read_bytes()
    num_value_bytes = sum(array.nbytes for array in read_tf1_checkpoint(tiny).values())
    assert num_value_bytes == len(content)  # there is no byte outside of a variable
    for place, damaged in flips(content, 300, seed=0):
        data_of(tiny).write_bytes(damaged)
        message = outcome(lambda: read_tf1_checkpoint(tiny))
        assert isinstance(message, str) and "has another CRC-32C" in message, place
        assert message.startswith(str(data_of(tiny)))


def test_truncation(tiny: Path) -> None:
    index, data = index_of(tiny).read_bytes(), data_of(tiny).read_bytes()
    for size in range(0, len(index), 7):
        index_of(tiny).write_bytes(index[:size])
        assert isinstance(outcome(lambda: read_tf1_checkpoint(tiny)), str), size
    index_of(tiny).write_bytes(index + b"\0")
    assert isinstance(outcome(lambda: read_tf1_checkpoint(tiny)), str)
    index_of(tiny).write_bytes(index)
    for size in (0, 1, len(data) // 2, len(data) - 1):
        data_of(tiny).write_bytes(data[:size])
        assert isinstance(outcome(lambda: read_tf1_checkpoint(tiny)), str), size


def test_bytes_outside_of_variables_are_of_no_effect(tmp_path: Path) -> None:
    item = variable(FLOAT, (6,), 4, VALUES.tobytes())
    prefix = tmp_path / "a.ckpt"
    for gap in (b"\0\0\0\0", b"\0\1\0\0"):
        write_tf1(prefix, {"x": item}, gap + VALUES.tobytes() + gap)
        np.testing.assert_array_equal(read_tf1_checkpoint(prefix)["x"], VALUES)


def test_types_shapes_and_shards(tmp_path: Path) -> None:
    half, wide = VALUES.astype("<f2"), np.array(-7, "<i8")
    bits = VALUES.astype(ml_dtypes.bfloat16).view("<u2")
    values = half.tobytes() + wide.tobytes() + bits.tobytes()
    variables = {
        "half": variable(HALF, (2, 3), 0, half.tobytes()),
        "wide": variable(INT64, (), 12, wide.tobytes(), shard=2),
        "bits": variable(BFLOAT16, (3, 2), 20, bits.tobytes()),
        "none": variable(FLOAT, (0, 5), 0, b""),
    }
    prefix = write_tf1(tmp_path / "a.ckpt", variables, b"", field(1, 3))
    for shard in range(3):
        (tmp_path / f"a.ckpt.data-{shard:05d}-of-00003").write_bytes(values)
    weights = read_tf1_checkpoint(prefix)
    expected = {
        "bits": VALUES.reshape(3, 2),
        "half": half.reshape(2, 3),
        "none": np.zeros((0, 5), "f4"),
        "wide": wide,
    }
    assert same(weights, expected)
    assert weights.dtypes["bits"] == "bfloat16"


def test_the_other_byte_order(tmp_path: Path) -> None:
    big = VALUES.astype(">f4").tobytes()
    variables = {"x": variable(FLOAT, (2, 3), 0, big)}
    header = field(1, 1) + field(2, 1)
    weights = read_tf1_checkpoint(write_tf1(tmp_path / "a", variables, big, header))
    assert same(weights, {"x": VALUES.reshape(2, 3)})


def one(**changes: Any) -> dict[str, bytes]:
    arguments = {"data_type": FLOAT, "shape": (6,), "offset": 0, "values": VALUES.tobytes()}
    return {"x": variable(**{**arguments, **changes})}


@pytest.mark.parametrize(
    ("variables", "rule"),
    [
        (one(more=field(7, b"")), r"'x' is partitioned into slices, which is not read"),
        (one(data_type=STRING), r"'x' has dtype=string; it must be one of bool, "),
        (one(data_type=99), r"'x' has dtype=number 99; it must be one of"),
        (one(shape=(7,)), "must have the 24 bytes of the index"),
        (one(shape=(6, 2**62)), "has an impossible shape"),
        (one(shape=(2**63,)), "a number is negative"),
        (one(shape=(1,) * 40), "has an impossible shape"),
        (one(offset=1), "lies beyond the end of the file"),
        (one(offset=2**64 - 4), "a number is negative"),
        (one(size=2**64 - 1), "a number is negative"),
        (one(shard=1), "shard 1 of 1"),
        (one(more=field(2, field(3, 1))), "a shape is not known"),
        (one(more=b"\x0b"), "a field of kind 3"),
        (one(more=b"\x0a\x05"), "a field is cut short"),
        (one(more=b"\x0a"), "an integer is cut short"),
        (one(more=b"\x08" + b"\xff" * 11), "an integer is too long"),
    ],
)
def test_variables_that_are_refused(
    tmp_path: Path, variables: dict[str, bytes], rule: str
) -> None:
    prefix = write_tf1(tmp_path / "a.ckpt", variables, VALUES.tobytes())
    with pytest.raises(ValueError, match=rule) as caught:
        read_tf1_checkpoint(prefix)
    assert str(caught.value).startswith(str(prefix)) and "\n" not in str(caught.value)


def test_only_what_is_read_must_be_readable(tmp_path: Path) -> None:
    variables = {**one(), "text": variable(STRING, (), 0, b"")}
    prefix = write_tf1(tmp_path / "a.ckpt", variables, VALUES.tobytes())
    assert list_tf1_variables(prefix) == {"text": ("string", ()), "x": ("float32", (6,))}
    assert list(read_tf1_checkpoint(prefix, lambda name: name == "x")) == ["x"]


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        (field(1, 1) + field(2, 7), "byte order 7"),
        (field(1, 1) + field(3, field(2, 2)), "for readers of 2 or later"),
        (b"\x0b", "a field of kind 3"),
    ],
)
def test_headers_that_are_refused(tmp_path: Path, header: bytes, rule: str) -> None:
    prefix = write_tf1(tmp_path / "a.ckpt", one(), VALUES.tobytes(), header)
    with pytest.raises(ValueError, match=rule):
        read_tf1_checkpoint(prefix)


def repaired(content: bytes, end: int) -> bytes:
    """A table whose first block, ending at `end`, has the right CRC again."""
    crc = masked_crc32c(content, 0, end + 1).to_bytes(4, "little")
    return content[: end + 1] + crc + content[end + 5 :]


def test_tables_that_are_refused() -> None:
    def refuse(content: bytes, rule: str) -> None:
        with pytest.raises(ValueError, match=rf"^it cannot be read: .*{rule}"):
            read_table(content, "it")

    good = table({b"a": b"1", b"b": b"2"})
    assert read_table(good, "it") == {b"a": b"1", b"b": b"2"}
    end = 18  # of the first block: two entries of 5 bytes, one restart
    refuse(table({b"a": b"1"}, compression=1), r"compressed \(kind 1\)")
    refuse(table({b"b": b"1", b"a": b"2"}), "not sorted")
    refuse(table({b"k" * 2000: b""}), "longer than 1024 bytes")
    refuse(repaired(b"\1" + good[1:], end), "longer than its block")
    refuse(repaired(b"\0\x7f" + good[2:], end), "longer than its block")
    refuse(repaired(good[:14] + b"\xff" * 4 + good[18:], end), "does not end where it says")
    refuse(good[:-8] + b"\0" * 8, "does not end as a table does")
    refuse(good[1:], "CRC|outside")
    refuse(b"\0" + good, "CRC|outside")
    refuse(b"", "impossible number")
    refuse(bytes(16 * 2**20 + 1), "impossible number")
    footer = varint(2**60) * 4
    refuse(good[:-48] + footer.ljust(40, b"\0") + good[-8:], "outside of it")


def test_known_crc() -> None:
    """RFC 3720, appendix B.4, masked."""

    def masked(crc: int) -> int:
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    assert masked_crc32c(bytes(32), 0, 32) == masked(0x8A9136AA)
    assert masked_crc32c(bytes(range(32)), 0, 32) == masked(0x46DD794E)
    assert masked_crc32c(b"x" + bytes(32) + b"x", 1, 32) == masked(0x8A9136AA)
    content = np.random.default_rng(0).bytes(3 * 2**20 + 5)  # in pieces as in one
    from google_crc32c import value

    assert masked_crc32c(content, 0, len(content)) == masked(value(content))


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.ckpt\.index must be a file .* not there$"):
        read_tf1_checkpoint(tmp_path / "a.ckpt")
    for entries, rule in (
        ({b"x": b""}, "must have a header"),
        ({b"": b"", b"\xff": b""}, "can't decode byte 0xff"),
    ):
        (tmp_path / "a.ckpt.index").write_bytes(table(entries))
        with pytest.raises(ValueError, match=rule):
            list_tf1_variables(tmp_path / "a.ckpt")
