"""The stream of batches: batch k is a function of the data, the seed and k.

Nothing is consumed: any batch can be asked for at any time, on any host, and the place
in the stream is the step itself.

Shapes: B rows of this host, L tokens in a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from bert_jax.batch import PretrainingBatch
from bert_jax.config_sections import DataConfig
from bert_jax.data.epoch_plan import EpochPlans, plans_folder
from bert_jax.data.manifest import check_manifest
from bert_jax.data.pairs import PAIR
from bert_jax.data.shards import ShardSet

SPLITS = ("train", "eval")
# The next epoch's plan is begun when this share of the present one has been served.
PLAN_AHEAD_SHARE = 0.8


class ControlIds(Protocol):
    """What a stream needs to know of a tokenizer."""

    @property
    def sha256(self) -> str: ...
    @property
    def cls_id(self) -> int: ...
    @property
    def sep_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...


class BatchStream:
    """Batches of one split, by step.

    Batch k has the examples [k B, (k + 1) B) of an endless sequence of epochs, B the
    global batch size; each host takes its contiguous part of them. The eval split has
    one epoch, the same for every seed, which begins again when it is over.

    Args:
        directory: a prepared directory.
        split: "train" or "eval".
        data: recipe of the pairs: sequence_length, short_sequence_rate, seed.
        global_batch_size: rows of a batch over all hosts.
        tokenizer: the one that the directory was prepared with.
        host_index: which part of the batch this host takes.
        host_count: number of such parts.

    Raises:
        ValueError: the directory is damaged or not prepared, the tokenizer is another
            one, or the hosts do not divide the batch.
    """

    def __init__(
        self,
        directory: Path,
        *,
        split: str,
        data: DataConfig,
        global_batch_size: int,
        tokenizer: ControlIds,
        host_index: int = 0,
        host_count: int = 1,
    ):
        if split not in SPLITS:
            raise ValueError(f"split={split!r} must be one of {', '.join(SPLITS)}")
        if global_batch_size % host_count:
            raise ValueError(
                f"train.global_batch_size={global_batch_size} must be a multiple of the "
                f"number of hosts, {host_count}; the nearest is "
                f"{max(1, round(global_batch_size / host_count)) * host_count}"
            )
        assert 0 <= host_index < host_count
        manifest = check_manifest(directory)
        if tokenizer.sha256 != manifest.tokenizer_sha256:
            raise ValueError(
                f"data.directory={directory} must be prepared with this tokenizer "
                f"({tokenizer.sha256[:12]}) and was with {manifest.tokenizer_sha256[:12]}; "
                "prepare the data again, or use the directory's tokenizer"
            )
        self._tokenizer = tokenizer
        self._length = data.sequence_length
        self._split = split
        self._shards = ShardSet(directory, split, manifest.splits[split]["shards"])
        plans = plans_folder(directory, manifest.sha256)
        self._plans = EpochPlans(plans, split, self._shards, data)
        self._global_rows = global_batch_size
        self._rows = global_batch_size // host_count
        self._first_row = host_index * self._rows

    @property
    def examples_per_epoch(self) -> int:
        """Examples of every epoch."""
        return self._plans.num_examples

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens of text in the split, each once, without [CLS] and [SEP]."""
        return self._shards.num_tokens

    def batch_at(self, step: int) -> PretrainingBatch:
        """This host's rows of batch `step`, as NumPy arrays."""
        first = step * self._global_rows + self._first_row
        epochs_B, ids_B, pairs_B = self._examples(first, self._rows)
        return self._assemble(pairs_B, ids_B, epochs_B)

    def batch_hash(self, step: int) -> str:
        """16 hex digits of the examples of the whole batch `step`, the same on all hosts.

        SHA-256 over (epoch, example id) of each row in order, as little-endian uint32.
        """
        epochs, ids, _ = self._examples(step * self._global_rows, self._global_rows)
        rows = np.stack([epochs, ids], axis=1).astype("<u4")
        return hashlib.sha256(rows.tobytes()).hexdigest()[:16]

    def iterate(
        self, start_step: int, stop_step: int, *, prefetch: int = 4
    ) -> Iterator[PretrainingBatch]:
        """Batches start_step … stop_step - 1, the next `prefetch` of them made meanwhile.

        Args:
            start_step: the first batch, however far into the run.
            stop_step: end of the batches.
            prefetch: batches to hold ready, made by a thread in the background; with 0
                each is made when it is asked for.
        """
        # Grain imports JAX, and this module must be importable without it.
        import grain

        dataset = grain.MapDataset.range(start_step, stop_step).map(self.batch_at)
        options = grain.ReadOptions(
            num_threads=1 if prefetch else 0, prefetch_buffer_size=prefetch
        )
        return iter(dataset.to_iter_dataset(options))

    def _examples(
        self, first: int, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Epochs, example ids and pairs of `count` examples of the run from `first` on."""
        num_examples = self._plans.num_examples
        places = np.arange(first, first + count)
        epochs, rows = places // num_examples, places % num_examples
        if self._split == "eval":
            epochs[:] = 0
        ids = np.empty(count, np.uint32)
        pairs = np.empty(count, PAIR)
        for epoch in np.unique(epochs).tolist():
            plan = self._plans[epoch]
            here = epochs == epoch
            ids[here] = plan.order[rows[here]]
            pairs[here] = plan.pairs[ids[here]]
        if self._split == "train" and rows[-1] >= PLAN_AHEAD_SHARE * num_examples:
            self._plans.make_ahead(int(epochs[-1]) + 1)
        return epochs.astype(np.uint32), ids, pairs

    def _assemble(
        self, pairs_B: np.ndarray, ids_B: np.ndarray, epochs_B: np.ndarray
    ) -> PretrainingBatch:
        """Rows of [CLS] A [SEP] B [SEP] [PAD] …"""
        num_rows = len(pairs_B)
        a_length_B = pairs_B["a_length"].astype(np.int64)
        b_length_B = pairs_B["b_length"].astype(np.int64)
        b_column_B = a_length_B + 2
        end_B = b_column_B + b_length_B + 1
        stored_BL = np.zeros((num_rows, self._length), self._shards.token_dtype)
        ones_B = np.ones(num_rows, np.int64)
        self._shards.gather(pairs_B["a_start"], a_length_B, ones_B, stored_BL)
        self._shards.gather(pairs_B["b_start"], b_length_B, b_column_B, stored_BL)
        input_ids_BL = self._shards.ids(stored_BL)
        row_B = np.arange(num_rows)
        input_ids_BL[:, 0] = self._tokenizer.cls_id
        input_ids_BL[row_B, b_column_B - 1] = self._tokenizer.sep_id
        input_ids_BL[row_B, end_B - 1] = self._tokenizer.sep_id
        column_L = np.arange(self._length)
        inside_BL = column_L < end_B[:, None]
        if self._tokenizer.pad_id:
            input_ids_BL[~inside_BL] = self._tokenizer.pad_id
        in_b_BL = inside_BL & (column_L >= b_column_B[:, None])
        return PretrainingBatch(
            input_ids=input_ids_BL,
            token_type_ids=in_b_BL.astype(np.int32),
            attention_mask=inside_BL.astype(np.int32),
            next_sentence_labels=pairs_B["label"].astype(np.int32),
            example_ids=ids_B,
            epochs=epochs_B,
        )
