"""Checks of the folder of a run: configuration, newest checkpoint, tokenizer, room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from bert_jax.config import Config
from bert_jax.data.checks import folder_bytes, in_bytes, is_prepared
from bert_jax.data.manifest import load_manifest
from bert_jax.findings import Finding
from bert_jax.formats.orbax import check_hashes, load_params
from bert_jax.report.status import read_status
from bert_jax.text.tokenizer import load_tokenizer
from bert_jax.train.checkpoint import CHECKPOINTS
from bert_jax.train.workdir import TOKENIZER


def check_run(workdir: Path, config: Config) -> Iterator[Finding]:
    """Looks at the folder of a run; writes nothing.

    Args:
        workdir: the folder.
        config: that of the run, with its data directory.
    """
    yield _check_status(workdir)
    steps = [path for path in (workdir / CHECKPOINTS).glob("*") if path.name.isdecimal()]
    yield _check_room(workdir, steps)
    if not steps:
        yield Finding("checkpoint", True, "none yet")
        return
    yield _check_checkpoint(workdir, config)


def _check_status(workdir: Path) -> Finding:
    try:
        status = read_status(workdir)
    except ValueError as error:
        mend = f"remove {workdir / 'status.json'}: the run writes it anew"
        return Finding.of_error("run", error, mend)
    if status is None:
        return Finding("run", True, "not begun")
    figure = f"{status.state}, step {status.step:,} of {status.num_steps:,}, {status.time}"
    if status.state == "failed":
        mend = "run the same command again: it goes on from the newest checkpoint"
        return Finding("run", True, f"{figure}: {' '.join(status.message.split())}", mend)
    return Finding("run", True, figure)


def _check_room(workdir: Path, steps: list[Path]) -> Finding:
    """Whether the disk has room for the next checkpoint."""
    free = shutil.disk_usage(workdir).free
    size = max((folder_bytes(step) for step in steps), default=0)
    figure = f"{in_bytes(free)} free; a checkpoint takes {in_bytes(size)}"
    if not steps:
        return Finding("disk", True, f"{in_bytes(free)} free")
    if free < 2 * size:
        mend = "free some: two of them must fit, or lower train.keep_checkpoints"
        return Finding("disk", False, figure, mend)
    return Finding("disk", True, figure)


def _check_checkpoint(workdir: Path, config: Config) -> Finding:
    """Whether the newest checkpoint can be read and belongs to what is around it."""
    mend = (
        f"move the newest folder of {workdir / CHECKPOINTS} away: the run goes on before it"
    )
    try:
        step, params, meta = load_params(workdir / CHECKPOINTS)
        tokenizer = load_tokenizer(workdir / TOKENIZER)
        check_hashes(step, meta, tokenizer_sha256=tokenizer.sha256)
        data = Path(config.data.directory)
        if is_prepared(data):
            check_hashes(step, meta, data_sha256=load_manifest(data).sha256)
    except Exception as error:  # Orbax and TensorStore raise of every kind at damaged files
        return Finding.of_error("checkpoint", error, mend)
    leaves = jax.tree.leaves(params)
    count = sum(leaf.size for leaf in leaves)
    figure = f"step {step:,}, {count:,} parameters"
    if not all(np.isfinite(leaf).all() for leaf in leaves):
        return Finding("checkpoint", False, f"{figure}, not all finite", mend)
    rows = config.bert_config(tokenizer.vocab_size).padded_vocab_size
    table = params["bert"]["embeddings"]["word"]["embedding"]
    if table.shape[0] != rows:
        told = f"{figure}; {table.shape[0]} rows of words for a vocabulary of {rows}"
        return Finding("checkpoint", False, told, mend)
    return Finding(
        "checkpoint", True, f"{figure}, finite; of this tokenizer and these data"
    )
