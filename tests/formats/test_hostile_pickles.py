"""Pickles of strangers: nothing of them runs, and each is refused in one line."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from formats.foreign_files import (
    WRITERS,
    Write,
    integer,
    outcome,
    state_dict,
    tensor,
    text,
    write_legacy,
    write_zip,
)

from bert_jax.formats.torch_pickle import read_torch_pickle


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
