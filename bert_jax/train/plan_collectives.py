"""What a compiled step sends between devices, read from its text.

The text is XLA's HLO after optimization: computations, one instruction a line. A scanned
body stands in it once and is counted as often as its loop runs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import defaultdict

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\((.*)")
_CALLED = re.compile(r"(calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
# Its name, and what comes after its type: an array's, or a tuple's in parentheses.
_INSTRUCTION = re.compile(r"^  (ROOT )?%?([\w.\-]+) = (?:\(.*?\)|\S+) ([a-z][\w\-]*\(.*)$")
_CONSTANT = re.compile(r"constant\((\d+)\)")
_ADDED = re.compile(r"add\(%?[\w.\-]+, %?([\w.\-]+)\)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# What a TPU makes of an all-reduce of which each device keeps a part.
_SCATTERING = "all-reduce-scatter"


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What one kind of collective does in a step.

    Attributes:
        count: how often it runs.
        sent_bytes: what each device sends, by the ring algorithm: of S bytes of result
            over n devices (n − 1) / n · S, twice that for an all-reduce.
    """

    count: int
    sent_bytes: int


@dataclasses.dataclass(frozen=True)
class _Collective:
    kind: str
    channel: str
    arrays: tuple[tuple[str, str], ...]
    group_size: int

    @property
    def sent_bytes(self) -> float:
        size = sum(
            _BYTES[dtype] * math.prod(int(dim) for dim in dims.split(",") if dim)
            for dtype, dims in self.arrays
        )
        if self.kind == "collective-permute":
            return size
        # The result of a reduce-scatter is one part of what is reduced.
        scale = {"all-reduce": 2, "reduce-scatter": self.group_size}
        factor = scale[self.kind] if self.kind in scale else 1
        return factor * size * (self.group_size - 1) / self.group_size


def collective_traffic(text: str, num_devices: int) -> tuple[dict[str, Traffic], int]:
    """Traffic of each kind of collective in one step, for each device.

    Args:
        text: the compiled program, as `compiled.as_text()` gives it.
        num_devices: the group of a collective that names none.

    Returns:
        All `KINDS`, with zeros for those that are not there; and the number of loops with
        collectives whose rounds cannot be read, which are counted as if run once.
    """
    computations, entry = _computations(text)
    runs, unread = _runs(computations, entry)
    # A collective that a TPU spreads over several fusions stands in each of them, under
    # one channel; where it reaches into a loop it still runs as often as it is begun.
    found: dict[tuple[object, ...], tuple[_Collective, int]] = {}
    for name, lines in computations.items():
        for number, line in enumerate(lines if runs[name] else ()):
            collective = _collective(line, name, num_devices)
            if collective is not None and collective.group_size > 1:
                is_chained = "chain_id=" in line
                key = (collective,) if is_chained else (collective, name, number)
                times = min(runs[name], found[key][1]) if key in found else runs[name]
                found[key] = (collective, times)
    count: dict[str, int] = dict.fromkeys(KINDS, 0)
    sent: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for collective, times in found.values():
        count[collective.kind] += times
        sent[collective.kind] += times * collective.sent_bytes
    return {kind: Traffic(count[kind], round(sent[kind])) for kind in KINDS}, unread


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation by its name, and the name of the first to run."""
    found: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        start = _COMPUTATION.match(line)
        if start:
            lines = found[start[2]] = []
            entry = start[2] if start[1] else entry
        elif line.startswith("  "):
            lines.append(line)
    assert entry, "not the text of a compiled program"
    return found, entry


def _runs(computations: dict[str, list[str]], entry: str) -> tuple[dict[str, int], int]:
    """How often each computation runs in a step, and the loops that cannot be read.

    Both arms of a condition count. A loop that cannot be read and sends nothing is no loss.
    """
    runs: dict[str, int] = defaultdict(int)
    unread = set()

    def sends(name: str) -> bool:
        lines = computations[name]
        return any(_COLLECTIVE.search(line) for line in lines) or any(
            sends(callee) for line in lines for callee in _callees(line)
        )

    def visit(name: str, times: int) -> None:
        runs[name] += times
        for line in computations[name]:
            called = dict(_CALLED.findall(line))
            rounds: int | None = 1
            if "body" in called:
                rounds = _rounds(
                    line, computations[called["condition"]], computations[called["body"]]
                )
                if rounds is None and sends(called["body"]):
                    unread.add(called["body"])
            for callee in _callees(line):
                visit(callee, times * (1 if rounds is None else rounds))

    visit(entry, 1)
    return runs, len(unread)


def _callees(line: str) -> list[str]:
    """Computations that an instruction calls."""
    names = [name for _, name in _CALLED.findall(line)]
    for branches in _BRANCHES.findall(line):
        names += [branch.strip().lstrip("%") for branch in branches.split(",")]
    return names


def _rounds(line: str, condition: list[str], body: list[str]) -> int | None:
    """Rounds of a loop: as the compiler says, else from its counter; None if unreadable.

    A counter begins at 0, is compared with a constant and rises by a constant: so are the
    loops of a scan, and those in which a TPU multiplies part by part while it sends.
    """
    known = _TRIPS.search(line)
    if known:
        return int(known[1])
    ends, rises = _instructions(condition), _instructions(body)
    compared = re.match(
        r"compare\(%?([\w.\-]+), %?([\w.\-]+)\), direction=LT", ends["ROOT"]
    )
    if compared is None or compared[1] not in ends or compared[2] not in ends:
        return None
    bound = _CONSTANT.match(ends[compared[2]])
    counter = re.match(r"get-tuple-element\(.*\), index=(\d+)", ends[compared[1]])
    following = re.match(r"tuple\((.*?)\)", rises["ROOT"])
    if bound is None or counter is None or following is None:
        return None
    operands = re.findall(r"%([\w.\-]+)", following[1])
    added = _ADDED.match(rises[operands[int(counter[1])]])
    step = _CONSTANT.match(rises[added[1]]) if added and added[1] in rises else None
    return -(-int(bound[1]) // int(step[1])) if step else None


def _instructions(lines: list[str]) -> dict[str, str]:
    """Operation and operands of each instruction by name; that of the root also as ROOT."""
    found = {}
    for line in lines:
        match = _INSTRUCTION.match(line)
        if match:
            found[match[2]] = match[3]
            if match[1]:
                found["ROOT"] = match[3]
    return found


def _collective(line: str, computation: str, num_devices: int) -> _Collective | None:
    """The collective of an instruction, if it is one."""
    match = _COLLECTIVE.search(line)
    if match is None:
        return None
    shapes, kind, is_start, rest = match.groups()
    arrays = tuple(_ARRAY.findall(shapes))
    if is_start and kind in ("all-gather", "collective-permute"):
        # (operands, results[, contexts of u32]); operands and results pair up.
        arrays = tuple(array for array in arrays if array != ("u32", ""))
        arrays = arrays[len(arrays) // 2 :]
    group_size = _group_size(rest, num_devices)
    if kind == "all-reduce" and computation.startswith(_SCATTERING):
        kind = "reduce-scatter"
        arrays = tuple(_parts(arrays, group_size))
    channel = re.search(r"channel_id=(\d+)", rest)
    return _Collective(kind, channel[1] if channel else "", arrays, group_size)


def _parts(arrays: tuple[tuple[str, str], ...], group_size: int) -> list[tuple[str, str]]:
    """Of whole arrays, as many elements as each device of a group keeps, laid out flat."""
    sizes = [math.prod(int(dim) for dim in dims.split(",") if dim) for _, dims in arrays]
    return [
        (dtype, str(size // group_size))
        for (dtype, _), size in zip(arrays, sizes, strict=True)
    ]


def _group_size(rest: str, num_devices: int) -> int:
    """Devices that take part in one group of a collective."""
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", rest)
    if listed:
        return len(listed[1].split(","))
    iota = re.search(r"replica_groups=\[\d+,(\d+)\]<=", rest)
    if iota:
        return int(iota[1])
    by_axes = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest)
    if by_axes:
        sizes = dict(re.findall(r"('[^']+')=(\d+)", by_axes[1]))
        axes = by_axes[2].split(",")
        return math.prod(int(sizes[axis.strip().split(":")[0]]) for axis in axes)
    return num_devices
