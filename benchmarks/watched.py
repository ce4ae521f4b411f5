"""Processes that are timed, pinned to cores, and whose memory is watched."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_SAMPLE_SECONDS = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class Watched:
    """A process that has ended well.

    Attributes:
        output: what it printed.
        seconds: from its start to its end.
        cpu_seconds: of it and of the processes it started, which other work on the
            machine disturbs less.
        peak_sum_bytes: the most resident memory that all of them had at one moment.
        peak_single_bytes: the most that one of them had.
    """

    output: str
    seconds: float
    cpu_seconds: float
    peak_sum_bytes: int
    peak_single_bytes: int


def run_python(
    arguments: Sequence[str],
    *,
    num_cores: int,
    env: Mapping[str, str] | None = None,
    output: Path,
) -> Watched:
    """Runs `python ARGUMENTS…` on the first `num_cores` cores.

    Args:
        arguments: of the interpreter.
        num_cores: cores that it may use.
        env: beside the environment of this process.
        output: file for what it prints.

    Raises:
        RuntimeError: it failed.
    """
    allowed = os.sched_getaffinity(0)
    before, start = _children_cpu_seconds(), time.monotonic()
    peak_sum = peak_single = 0
    with output.open("w") as file:
        os.sched_setaffinity(0, sorted(allowed)[:num_cores])
        try:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**os.environ, **(env or {})},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        finally:
            os.sched_setaffinity(0, allowed)
        while process.poll() is None:
            sizes = _resident_bytes(process.pid)
            peak_sum = max(peak_sum, sum(sizes))
            peak_single = max(peak_single, *sizes)
            time.sleep(_SAMPLE_SECONDS)
    seconds = time.monotonic() - start
    text = output.read_text()
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{text[-2000:]}")
    cpu_seconds = _children_cpu_seconds() - before
    return Watched(text, seconds, cpu_seconds, peak_sum, peak_single)


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes(root: int) -> list[int]:
    """Resident memory of a process and of all its descendants that still run."""
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended meanwhile.
        parents[int(entry.name)] = int(stat[1])
        sizes[int(entry.name)] = int(stat[21]) * _PAGE_BYTES
    family, found = {root}, True
    while found:
        found = {pid for pid, parent in parents.items() if parent in family} - family
        family |= found
    return [0, *(sizes[pid] for pid in family if pid in sizes)]
