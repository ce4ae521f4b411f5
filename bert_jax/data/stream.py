"""The stream of batches: batch k is a function of the data, the seed and k.

Nothing is consumed: any batch can be asked for at any time, on any host, and the place
in the stream is the step itself.

Shapes: B rows of this host, L tokens in a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.batch import PretrainingBatch
from bert_jax.config_sections import DataConfig
from bert_jax.data.epoch_plan import EpochPlans, plans_folder
from bert_jax.data.manifest import Manifest, check_manifest
from bert_jax.data.mixture import Mixture
from bert_jax.data.pairs import PAIR
from bert_jax.data.prefetch import prefetch_batches
from bert_jax.data.rows import ControlIds, Examples, assemble_rows
from bert_jax.data.shards import ShardSet

SPLITS = ("train", "eval")
# The next epoch's plan is begun when this share of the present one has been served.
PLAN_AHEAD_SHARE = 0.8


class BatchStream:
    """Batches of one split, by step. Can be pickled; another process opens the files again.

    Batch k has the rows [k B, (k + 1) B) of an endless sequence of epochs, B the global
    batch size; each host takes its contiguous part of them. Where the sources have
    weights, the rows of the training split are mixed by them and each source has epochs
    of its own. The eval split has one epoch, the same for every seed and with all sources
    as they come, which begins again when it is over.

    Args:
        directory: a prepared directory.
        split: "train" or "eval".
        data: how sequences are made, packed and mixed.
        sentence_task: "nsp", "sop" or "none".
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
        sentence_task: str,
        host_index: int = 0,
        host_count: int = 1,
    ):
        self._arguments = {key: value for key, value in locals().items() if key != "self"}
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
        self._data = data
        self._split = split
        self._shards = ShardSet(directory, split, manifest.splits[split]["shards"])
        weights, documents = mixed_sources(data, split, manifest)
        self._mixture = Mixture(weights)
        plans = plans_folder(directory, manifest.sha256)
        self._plans = [
            EpochPlans(
                plans,
                split,
                self._shards,
                data,
                sentence_task=sentence_task,
                documents=part,
            )
            for part in documents
        ]
        self._global_rows = global_batch_size
        self._rows = global_batch_size // host_count
        self._first_row = host_index * self._rows

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_again, (self._arguments,)

    @property
    def rows_per_epoch(self) -> int:
        """Rows of every epoch, of all sources together where they are mixed by weight."""
        return sum(plans.num_rows for plans in self._plans)

    def batch_at(self, step: int) -> PretrainingBatch:
        """This host's rows of batch `step`, as NumPy arrays; all of mask stage 0."""
        examples = self._examples(step * self._global_rows + self._first_row, self._rows)
        return assemble_rows(
            examples,
            self._shards,
            self._tokenizer,
            length=self._data.sequence_length,
            max_per_row=self._data.packing,
        )

    def batch_hash(self, step: int) -> str:
        """16 hex digits of the examples of the whole batch `step`, the same on all hosts.

        SHA-256 over (source, epoch, number of examples) of each row, then over the ids of
        all examples in order, as little-endian uint32.
        """
        examples = self._examples(step * self._global_rows, self._global_rows)
        rows = np.stack([examples.sources, examples.epochs, examples.sizes], axis=1)
        digest = hashlib.sha256(rows.astype("<u4").tobytes())
        digest.update(examples.ids.astype("<u4").tobytes())
        return digest.hexdigest()[:16]

    def iterate(
        self, start_step: int, stop_step: int, *, prefetch: int = 4
    ) -> Iterator[PretrainingBatch]:
        """Batches start_step … stop_step - 1, the next `prefetch` of them made meanwhile.

        Args:
            start_step: the first batch, however far into the run.
            stop_step: end of the batches.
            prefetch: batches to hold ready; with 0 each is made when it is asked for.

        Raises:
            RuntimeError: a worker died, or gave no batch for `data.stall_seconds`.
        """
        return prefetch_batches(
            self.batch_at,
            start_step,
            stop_step,
            prefetch=prefetch,
            num_workers=self._data.num_workers if prefetch else 0,
            stall_seconds=self._data.stall_seconds,
            what=f"{self._split} batches",
        )

    def _examples(self, first: int, count: int) -> Examples:
        """The examples of `count` rows of the run from `first` on."""
        sources, numbers = self._mixture.place(np.arange(first, first + count))
        num_rows = np.array([plans.num_rows for plans in self._plans])[sources]
        epochs, places = numbers // num_rows, numbers % num_rows
        if self._split == "eval":
            epochs[:] = 0
        sizes = np.ones(count, np.int64)
        groups = [
            (source, int(epoch), np.flatnonzero((sources == source) & (epochs == epoch)))
            for source in np.unique(sources).tolist()
            for epoch in np.unique(epochs[sources == source])
        ]
        found = []
        for source, epoch, rows in groups:
            ids, sizes[rows] = self._plans[source][epoch].examples(places[rows])
            found.append(ids)
            late = places[rows[-1]] >= PLAN_AHEAD_SHARE * self._plans[source].num_rows
            if self._split == "train" and late:
                self._plans[source].make_ahead(epoch + 1)
        starts = np.cumsum(sizes) - sizes
        ids_E = np.empty(sizes.sum(), np.uint32)
        pairs_E = np.empty(len(ids_E), PAIR)
        for (source, epoch, rows), ids in zip(groups, found, strict=True):
            within = np.arange(len(ids)) - np.repeat(
                np.cumsum(sizes[rows]) - sizes[rows], sizes[rows]
            )
            place = np.repeat(starts[rows], sizes[rows]) + within
            ids_E[place] = ids
            pairs_E[place] = self._plans[source][epoch].pairs[ids]
        return Examples(sizes, ids_E, pairs_E, sources, epochs)


def mixed_sources(
    data: DataConfig, split: str, manifest: Manifest
) -> tuple[list[float], list[tuple[int, int] | None]]:
    """Weights and documents of what is mixed; all as one where there are no weights."""
    weights = [source.weight for source in data.sources]
    if split == "eval" or None in weights:
        return [1.0], [None]
    trained = manifest.sources[: len(weights)]
    documents = [tuple(source["train_documents"]) for source in trained]
    return [float(weight) for weight in weights if weight], list(documents)


def _open_again(arguments: dict[str, Any]) -> BatchStream:
    return BatchStream(**arguments)
