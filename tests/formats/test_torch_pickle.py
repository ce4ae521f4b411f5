"""torch's pickles: tensors come out, nothing runs, nothing is read beyond its bounds."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from formats.foreign_files import (
    flips,
    integer,
    outcome,
    same,
    state_dict,
    tensor,
    text,
    write_torch_legacy,
    write_torch_zip,
)

from bert_jax.formats.torch_pickle import read_torch_pickle

VALUES = np.arange(6, dtype="<f4")
STORAGES = {"0": VALUES.tobytes()}


def write_zip(path: Path, pickled: bytes) -> Path:
    return write_torch_zip(path, pickled, STORAGES)


def write_legacy(path: Path, pickled: bytes) -> Path:
    return write_torch_legacy(path, pickled, STORAGES)


WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])
Write = Callable[[Path, bytes], Path]


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


class Runs:
    """What a pickle calls when it is loaded by those who do."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def armed(marker: Path) -> dict[str, tuple[Any, str]]:
    """Pickles that make a file when loaded, and the name by which they are refused."""
    code = f"open({str(marker)!r}, 'w')"
    system = Runs(os.system, f"touch {marker}")
    return {
        "a command": (system, "posix.system"),
        "an expression": (Runs(eval, code), "builtins.eval"),
        "statements": (Runs(exec, code), "builtins.exec"),
        "inside a dict": ({"a": {"b": [system]}}, "posix.system"),
        "as a key": ({(Runs(eval, code),): 1}, "builtins.eval"),
        "inside arguments": (Runs(Runs, Runs(eval, code)), f"{__name__}.Runs"),
        "got by attribute": (
            Runs(getattr, Runs(__import__, "os"), "system"),
            "builtins.getattr",
        ),
        "a partial": (Runs(map, eval, [code]), "builtins.map"),
    }


CASES = list(armed(Path("x")))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("case", CASES)
def test_nothing_runs(tmp_path: Path, case: str, protocol: int) -> None:
    marker = tmp_path / "ran"
    value, name = armed(marker)[case]
    pickled = pickle.dumps(value, protocol, fix_imports=False)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "plain.bin").write_bytes(pickled)
    write_zip(folder / "zip.bin", pickled)
    write_legacy(folder / "legacy.bin", pickled)
    for path in sorted(folder.iterdir()):
        message = outcome(lambda path=path: read_torch_pickle(path))
        assert isinstance(message, str) and message.startswith(str(path))
        # Protocol 0 is refused already by how it is written.
        assert repr(name) in message or protocol == 0, message
    assert not marker.exists()
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("case", ["a command", "an expression", "statements"])
def test_those_pickles_are_armed(tmp_path: Path, case: str) -> None:
    value, _ = armed(tmp_path / "ran")[case]
    pickle.loads(pickle.dumps(value))
    assert (tmp_path / "ran").exists()


def call(module: str, name: str, arguments: bytes = b")") -> bytes:
    return f"c{module}\n{name}\n".encode() + arguments + b"R"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "torch.load",
            "torch.nn.Module",
            "torch.storage._load_from_bytes",
            "torch.device",
        ),
        *("torch._utils._rebuild_tensor", "torch._utils._rebuild_sparse_tensor"),
        *("torch._tensor._rebuild_from_type_v2", "torch.jit._pickle.build_intlist"),
        *("numpy.core.multiarray._reconstruct", "numpy.load", "_codecs.encode"),
        *("collections.OrderedDict.fromkeys", "collections.defaultdict"),
        *("torch.QInt8Storage", "torch.FloatStorage.from_file", "os.FloatStorage"),
        *("FloatStorage", "torch\tFloatStorage", "bdb.Bdb", "runpy._run_code"),
    ],
)
def test_names_beside_the_list_are_refused(tmp_path: Path, name: str) -> None:
    module, _, last = name.rpartition(".")
    path = write_zip(tmp_path / "a.bin", state_dict({"a": call(module, last)}))
    message = outcome(lambda: read_torch_pickle(path))
    assert isinstance(message, str)
    assert f"it asks for {f'{module}.{last}'!a}, which is refused" in message


def as_dict(*operations: bytes) -> bytes:
    return state_dict({"a": b"".join(operations)})


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n"
BROKEN = {
    "an empty file": b"",
    "no end": b"\x80\x02}",
    "nothing on the stack": b".",
    "no mark": b"\x80\x02t.",
    "below a mark": b"\x80\x02N(\x85.",
    "a value never stored": b"\x80\x02h\x07.",
    "a list": b"\x80\x02].",
    "a number": b"\x80\x02K\x01.",
    "a bare tensor": b"\x80\x02" + tensor() + b".",
    "a nested state": as_dict(b"}", text("b"), tensor(), b"s"),
    "a number inside": as_dict(b"K\x01"),
    "a name inside": as_dict(b"ctorch\nFloatStorage\n"),
    "a name that is a number": b"\x80\x02}K\x01" + tensor() + b"s.",
    "a key that is a tuple": b"\x80\x02}" + b"\x85" * 0 + b")" + tensor() + b"s.",
    "a deep tuple as a key": b"\x80\x02})" + b"\x85" * 100_000 + tensor() + b"s.",
    "a key without a value": b"\x80\x02}(" + text("a") + b"u.",
    "items of a tuple": b"\x80\x02)" + text("a") + tensor() + b"s.",
    "an item of a dict": b"\x80\x02}K\x01a.",
    "a call of a number": as_dict(b"K\x01)R"),
    "a call of a storage": as_dict(call("torch", "FloatStorage")),
    "arguments that are no tuple": as_dict(b"ccollections\nOrderedDict\n]R"),
    "arguments of a dict": as_dict(call("collections", "OrderedDict", b"K\x01\x85")),
    "no arguments": as_dict(call("torch._utils", "_rebuild_tensor_v2")),
    "a parameter of nothing": as_dict(call("torch._utils", "_rebuild_parameter")),
    "a parameter of a number": as_dict(
        call("torch._utils", "_rebuild_parameter", b"K\x01\x85")
    ),
    "attributes of a tensor": as_dict(tensor(), b"}b"),
    "an instance": as_dict(b"ccollections\nOrderedDict\n)\x81"),
    "an extension": as_dict(b"\x82\x01"),
    "a frozen set": as_dict(b"(\x91"),
    "a storage without a name": as_dict(b"(", text("storage"), b"tQ"),
    "a storage of another kind": as_dict(b"(", text("module"), STORAGE[1:], b"tQ"),
    "a storage as text": as_dict(text("storage"), b"Q"),
    "a storage of a text's size": as_dict(STORAGE, text("0") * 3, b"tQ"),
    "a storage of size true": as_dict(STORAGE, text("0") * 2, b"\x88tQ"),
    "a storage of a dict": as_dict(
        b"(", text("storage"), b"ccollections\nOrderedDict\n", text("0") * 2, b"K\x06tQ"
    ),
    "a storage that is a view": as_dict(STORAGE, text("0") * 2, b"K\x06K\x01tQ"),
    "a global without a name": as_dict(b"K\x01K\x02\x93"),
    "a text that is cut": b"\x80\x02X\xff\xff\xff\x7fabc",
    "bytes that are cut": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc",
    "a text that is no UTF-8": b"\x80\x02X\x01\0\0\0\xff.",
    "an unknown operation": b"\x80\x02\xff.",
    "numbers in words": b"I" + b"9" * 10_000 + b"\n.",
    "a line break in a name": as_dict(text("a\nb"), text("c\nd"), b"\x93"),
}


@WRITERS
@pytest.mark.parametrize("case", BROKEN)
def test_broken_pickles_are_refused(tmp_path: Path, case: str, write: Write) -> None:
    path = write(tmp_path / "a.bin", BROKEN[case])
    message = outcome(lambda: read_torch_pickle(path))
    assert isinstance(message, str), message
    assert message.startswith(str(path))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x80\x02Nr\xff\xff\xff\xff.",  # stores at index 2**32 - 1
        b"\x80\x02N" + b"\x85" * 100_000 + b".",  # deep
        b"\x80\x02N" + b"q\x00h\x00\x86" * 10_000 + b".",  # 2**10000 leaves
        b"\x80\x02" + as_dict()[2:-1] + b"q\x01" + text("a") + b"h\x01s.",  # holds itself
        as_dict(STORAGE, text("0"), text("cpu"), integer(2**1000), b"tQ"),
    ],
)
def test_bombs_cost_no_memory(tmp_path: Path, bomb: bytes) -> None:
    path = write_zip(tmp_path / "a.bin", bomb)
    tracemalloc.start()
    message = outcome(lambda: read_torch_pickle(path))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(message, str) and message.startswith(str(path))
    assert peak_bytes < 32 * 2**20


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
