"""A pickle taken apart: one operation after another, with its argument; none is done."""

from __future__ import annotations

import io
import pickletools

from bert_jax.formats.mapped_file import quoted

MAX_PICKLE_BYTES = 4 * 2**20  # that of BERT-large has 60 thousand

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


def read_operation(
    stream: io.BytesIO, what: str, allowed: frozenset[str]
) -> tuple[str, object]:
    """The operation that comes next, as `pickletools` names it.

    Args:
        stream: at most MAX_PICKLE_BYTES; moved behind the operation.
        what: how an error names the pickle.
        allowed: names of operations; the argument of another one is not even read.

    Returns:
        name and argument: None, a number, a text; of GLOBAL a pair of texts.

    Raises:
        ValueError: it is not allowed, or there is none.
    """
    code = stream.read(1).decode("latin-1")
    if code not in _OPCODES:
        raise _cut(what, f"after byte {stream.tell()} there is no operation")
    opcode = _OPCODES[code]
    if opcode.name not in allowed:
        raise ValueError(
            f"{what} must hold tensors only; it has the pickle operation {opcode.name}, "
            "which is refused"
        )
    try:
        if opcode.name == "GLOBAL":  # pickletools would interpret backslashes
            return opcode.name, (_line(stream), _line(stream))
        return opcode.name, opcode.arg.reader(stream) if opcode.arg else None
    except ValueError as error:
        raise _cut(what, f"reading it says {quoted(str(error))}") from None


def _line(stream: io.BytesIO) -> str:
    """The text up to the end of the line."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("a line has no end")
    return line[:-1].decode("utf-8")


def _cut(what: str, how: str) -> ValueError:
    return ValueError(
        f"{what} must be a whole pickle of at most {MAX_PICKLE_BYTES} bytes; {how}"
    )
