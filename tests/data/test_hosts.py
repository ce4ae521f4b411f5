"""The order of the rows of a batch, with hosts that really are processes of their own."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bert_jax
from bert_jax.batch import PretrainingBatch
from bert_jax.config_sections import DataConfig
from bert_jax.data.stream import BatchStream

DATA = DataConfig(sequence_length=48, packing=3, short_sequence_rate=0.5, seed=4)
ROWS, STEPS = 16, range(2, 9)
# One host: prints a line for each of its rows, batch by batch.
HOST = """
import sys
from pathlib import Path
from types import SimpleNamespace
from data.test_hosts import DATA, ROWS, row_digests
from bert_jax.data.stream import BatchStream

directory, index, count, first, last = Path(sys.argv[1]), *map(int, sys.argv[2:])
stream = BatchStream(
    directory,
    split="train",
    sentence_task="nsp",
    data=DATA,
    global_batch_size=ROWS,
    tokenizer=SimpleNamespace(sha256="f" * 64, cls_id=2, sep_id=3, pad_id=0),
    host_index=index,
    host_count=count,
)
for step in range(first, last):
    print(step, stream.batch_hash(step), *row_digests(stream.batch_at(step)))
"""


def row_digests(batch: PretrainingBatch) -> list[str]:
    """A digest of all that belongs to each row, in order."""
    return [
        hashlib.sha256(b"".join(np.asarray(x[row]).tobytes() for x in batch)).hexdigest()
        for row in range(len(batch.input_ids))
    ]


def run_hosts(directory: Path, count: int, steps: range) -> dict[int, tuple[set, list]]:
    """For each step the hashes that the hosts report, and their rows joined in order."""
    paths = f"{Path(bert_jax.__file__).parent.parent}:{Path(__file__).parent.parent}"
    bounds = [str(steps.start), str(steps.stop)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOST, str(directory), str(index), str(count), *bounds],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": paths},
        )
        for index in range(count)
    ]
    found: dict[int, tuple[set, list]] = {step: (set(), []) for step in steps}
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        for line in output.splitlines():
            step, batch_hash, *rows = line.split()
            found[int(step)][0].add(batch_hash)
            found[int(step)][1].extend(rows)
    return found


@pytest.fixture
def directory(prepared, documents):
    return prepared(documents, documents[:20])


def expected_rows(directory, tokenizer, data=DATA):
    stream = BatchStream(
        directory,
        split="train",
        sentence_task="nsp",
        data=data,
        global_batch_size=ROWS,
        tokenizer=tokenizer,
    )
    return {
        step: ({stream.batch_hash(step)}, row_digests(stream.batch_at(step)))
        for step in STEPS
    }


@pytest.mark.parametrize("count", [2, 4, 8])
def test_any_number_of_processes_serves_the_same_rows_in_the_same_order(
    directory, tokenizer, count
):
    expected = expected_rows(directory, tokenizer)
    assert run_hosts(directory, count, STEPS) == expected
    # Negative control: the same rows of another seed, and rows in another order.
    assert (
        expected_rows(directory, tokenizer, dataclasses.replace(DATA, seed=5)) != expected
    )
    for _, rows in expected.values():
        assert len(set(rows)) > 1 and rows != rows[::-1]


def test_a_process_that_starts_later_serves_what_it_would_have_served(directory, tokenizer):
    later = range(6, STEPS.stop)
    expected = expected_rows(directory, tokenizer)
    assert run_hosts(directory, 1, later) == {step: expected[step] for step in later}
