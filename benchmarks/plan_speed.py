"""Times the packing of many sequences, whose lengths are drawn from those of real text.

    python benchmarks/plan_speed.py DIRECTORY LENGTH PACKING SEQUENCES

Prints JSON: seconds, share of padding, and the most memory that the process had.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.config_sections import DataConfig
from bert_jax.data.draws import Draws
from bert_jax.data.epoch_plan import EpochPlans
from bert_jax.data.manifest import load_manifest
from bert_jax.data.packing import pack_lengths
from bert_jax.data.pairs import sequence_lengths
from bert_jax.data.shards import ShardSet

_CHUNK = 1 << 22


def main(directory: Path, length: int, packing: int, num_sequences: int) -> dict[str, Any]:
    """Packs `num_sequences` sequences into rows of `length`."""
    shards = ShardSet(
        directory, "train", load_manifest(directory).splits["train"]["shards"]
    )
    data = DataConfig(sequence_length=length)
    plan = EpochPlans(directory / "plans", "train", shards, data, sentence_task="nsp")[0]
    found = sequence_lengths(plan.pairs).astype(np.uint16)
    rng = np.random.default_rng(0)
    lengths = np.empty(num_sequences, np.uint16)
    for start in range(0, num_sequences, _CHUNK):
        part = lengths[start : start + _CHUNK]
        part[:] = found[rng.integers(0, len(found), len(part))]
    start_seconds = time.perf_counter()
    rows = pack_lengths(
        lengths, row_length=length, max_per_row=packing, draws=Draws("benchmark")
    )
    seconds = time.perf_counter() - start_seconds
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak
    return {
        "sequences": num_sequences,
        "seconds": seconds,
        "rows": rows.num_rows,
        "padding": 1 - int(lengths.sum(dtype=np.int64)) / (rows.num_rows * length),
        "peak_memory_bytes": int(peak[1]) * 1024,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
