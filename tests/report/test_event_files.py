"""Event files are read back by parsing their records, with no TensorFlow."""

from __future__ import annotations

import pathlib
import struct
import sys

from tensorboardX.proto.event_pb2 import Event

from bert_jax.report.event_files import DIRECTORY_NAME, EventFiles


def events(workdir: pathlib.Path) -> list[Event]:
    """All events, file after file: u64 length, u32 crc, payload, u32 crc."""
    found = []
    files = sorted(
        (workdir / DIRECTORY_NAME).iterdir(), key=lambda path: path.stat().st_mtime_ns
    )
    for path in files:
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def scalars(workdir: pathlib.Path) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value)
        for event in events(workdir)
        for value in event.summary.value
    ]


def test_numbers_are_written(tmp_path: pathlib.Path) -> None:
    files = EventFiles(tmp_path, start_step=0)
    files.append({"step": 10, "loss": 2.5, "batch_hash": "ab", "nan": float("nan")})
    files.append({"step": 10, "split": "eval", "loss": 3.5})
    files.close()
    assert scalars(tmp_path) == [(10, "train/loss", 2.5), (10, "eval/loss", 3.5)]
    assert "tensorflow" not in sys.modules


def test_resuming_takes_back_later_steps(tmp_path: pathlib.Path) -> None:
    for start_step in (0, 20, 0):  # the last one begins anew, step 0 with it
        files = EventFiles(tmp_path, start_step=start_step)
        files.append({"step": start_step + 10, "loss": 1.0})
        files.close()
    starts = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert starts == [0, 21, 0]
