"""A pickle as data: tensors, names and plain values, and nothing that runs.

A pickle is a program for a small stack machine. This is that machine without the parts
that import or call: a global is a name, compared with a short list and otherwise refused;
"calling" one of the list makes one of the records below. The standard library's module
that would run the program is not used at all.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bert_jax.formats.mapped_file import quoted
from bert_jax.formats.pickle_operations import MAX_PICKLE_BYTES, read_operation

# torch's names of element types → ours.
_STORAGE_TYPES = {
    "torch.BoolStorage": "bool",
    "torch.CharStorage": "int8",
    "torch.ShortStorage": "int16",
    "torch.IntStorage": "int32",
    "torch.LongStorage": "int64",
    "torch.ByteStorage": "uint8",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.FloatStorage": "float32",
    "torch.DoubleStorage": "float64",
}


@dataclass(frozen=True)
class Storage:
    """A run of elements in the file, by its key."""

    key: str
    dtype: str
    num_elements: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides in elements. Not yet checked for bounds."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    """What a pickle wants imported: a name and no more."""

    name: str


def read_pickle(content: bytes, what: str) -> tuple[Any, int]:
    """The value of the pickle that stands at the beginning of `content`.

    Args:
        content: at most MAX_PICKLE_BYTES are looked at.
        what: how an error names it.

    Returns:
        the value (None, bool, int, float, str, tuple, list, dict, Storage or Tensor; dicts
        have keys str or int) and the number of bytes that it took.

    Raises:
        ValueError: it is broken, or asks for anything else.
    """
    machine = _Machine(what)
    stream = io.BytesIO(content[:MAX_PICKLE_BYTES])
    while True:
        operation, argument = read_operation(stream, what, _DONE)
        if operation == "STOP":
            return machine.pop(), stream.tell()
        machine.do(operation, argument)


class _Machine:
    """The stack machine; every operation checks what it finds on the stack."""

    def __init__(self, what: str):
        self._what = what
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def do(self, operation: str, argument: Any) -> None:
        """One operation."""
        if operation in _PUSH_ARGUMENT:
            self._stack.append(argument)
        elif operation in _PUSH_NEW:
            self._stack.append(_PUSH_NEW[operation]())
        elif operation in _SHORT_TUPLES:
            items = [self.pop() for _ in range(_SHORT_TUPLES[operation])]
            self._stack.append(tuple(reversed(items)))
        elif operation not in _IGNORED:
            _OPERATIONS[operation](self, argument)

    def pop(self) -> Any:
        """The topmost value above the last mark."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise self._broken("it takes a value from an empty stack")
        return self._stack.pop()

    def _pop_marked(self) -> list[Any]:
        """All values above the last mark, which goes with them."""
        if not self._marks:
            raise self._broken("it takes values down to a mark that is not there")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _top(self, *kinds: type) -> Any:
        """The topmost value, left where it is, of one of these types if any is given."""
        value = self.pop()
        self._stack.append(value)
        if kinds and type(value) not in kinds:
            raise self._broken(f"an operation finds a {type(value).__name__}")
        return value

    def _broken(self, how: str) -> ValueError:
        return ValueError(f"{self._what} is not a pickle of tensors; {how}")

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_marked()))

    def _append(self, _: Any) -> None:
        item = self.pop()
        self._top(list).append(item)

    def _appends(self, _: Any) -> None:
        items = self._pop_marked()
        self._top(list).extend(items)

    def _set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._set(self._top(dict), key, value)

    def _set_items(self, _: Any) -> None:
        items = self._pop_marked()
        target = self._top(dict)
        if len(items) % 2:
            raise self._broken("a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(target, key, value)

    def _set(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        if type(key) not in (str, int):  # no other key is hashed: that could recurse
            raise self._broken(f"a key is a {type(key).__name__}")
        target[key] = value

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise self._broken("it recalls a value that it never stored")
        self._stack.append(self._memo[index])

    def _global(self, argument: tuple[str, str]) -> None:
        self._name(*argument)

    def _stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise self._broken("a global has no name")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        """Puts a name of the short list on the stack; refuses any other."""
        full = f"{module}.{name}"
        if full not in _STORAGE_TYPES and full not in _REBUILDERS:
            raise ValueError(
                f"{self._what} must hold tensors only; it asks for {quoted(full)}, which "
                "is refused, and nothing was run; get the weights as safetensors, from "
                "someone you trust"
            )
        self._stack.append(_Global(full))

    def _persistent_id(self, _: Any) -> None:
        value = self.pop()
        match value:
            case ("storage", _Global(kind), str(key), str(), int(count), *rest) if (
                kind in _STORAGE_TYPES and type(count) is int and rest in ([], [None])
            ):
                self._stack.append(Storage(key, _STORAGE_TYPES[kind], count))
            case _:
                raise self._broken("it refers to something other than a storage")

    def _reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        if (
            type(function) is not _Global
            or function.name not in _REBUILDERS
            or type(arguments) is not tuple
        ):
            raise self._broken(f"it calls a {type(function).__name__}")
        result = _REBUILDERS[function.name](arguments)
        if result is None:
            raise self._broken(f"{function.name} gets arguments it does not take")
        self._stack.append(result)

    def _build(self, _: Any) -> None:
        """Attributes of a dict (`_metadata` of a module's state): dropped."""
        self.pop()
        self._top(dict)


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any] | None:
    """An empty one; items follow by other operations."""
    return None if arguments else {}


def _tensor(arguments: tuple[Any, ...]) -> Tensor | None:
    """A tensor, from what torch's function of that name gets; the rest is of no use."""
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if len(
            shape
        ) == len(strides) and all(
            type(number) is int for number in (offset, *shape, *strides)
        ):
            return Tensor(storage, offset, shape, strides)
    return None


def _parameter(arguments: tuple[Any, ...]) -> Tensor | None:
    """The tensor inside a parameter."""
    return arguments[0] if arguments and type(arguments[0]) is Tensor else None


_REBUILDERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}

_PUSH_ARGUMENT = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINSTRING", "SHORT_BINSTRING"),  # Python 2's strings; pickletools gives str
    )
)
_PUSH_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "TUPLE": _Machine._tuple,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._memoize,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "BINPERSID": _Machine._persistent_id,
    "REDUCE": _Machine._reduce,
    "BUILD": _Machine._build,
}
_IGNORED = frozenset(("PROTO", "FRAME"))
_DONE = frozenset(
    {*_PUSH_ARGUMENT, *_PUSH_NEW, *_SHORT_TUPLES, *_OPERATIONS, *_IGNORED, "STOP"}
)
