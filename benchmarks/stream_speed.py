"""Times the stream of batches of a prepared directory, one epoch of it.

    python benchmarks/stream_speed.py DIRECTORY LENGTH PACKING

Prints JSON: seconds and seconds of CPU (the epoch's plan was made before), rows,
sequences, tokens that are no padding, and the share of padding.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.config_sections import DataConfig
from bert_jax.data.stream import BatchStream
from bert_jax.text.tokenizer import load_tokenizer

ROWS = 256


def main(directory: Path, length: int, packing: int) -> dict[str, Any]:
    """Reads all whole batches of epoch 0."""
    stream = BatchStream(
        directory,
        split="train",
        sentence_task="nsp",
        data=DataConfig(sequence_length=length, packing=packing),
        global_batch_size=ROWS,
        tokenizer=load_tokenizer(directory / "tokenizer"),
    )
    num_steps = max(1, stream.rows_per_epoch // ROWS)
    stream.batch_at(0)
    tokens = sequences = 0
    start, cpu_start = time.perf_counter(), time.process_time()
    for batch in stream.iterate(0, num_steps):
        tokens += int(np.count_nonzero(batch.sequence_ids))
        sequences += int(batch.sequence_ids.max(axis=1).sum())
    rows = num_steps * ROWS
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "rows": rows,
        "sequences": sequences,
        "tokens": tokens,
        "padding": 1 - tokens / (rows * length),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
