"""The plan of an epoch: its pairs and their order, on disk, memory-mapped.

A plan is a function of the shards, the recipe, the seed and the epoch. It is made when
it is first asked for and found again later; a lost plan is made again, the same.

    plans/<recipe>/num_examples.json     N, the same for every epoch
    plans/<recipe>/epoch-00000/pairs.bin     PAIR[M], M >= N: the example id is the place
    plans/<recipe>/epoch-00000/order.npy     uint32[N], example ids as they are served

plans/ is in the prepared directory; where that cannot be written, in the cache.

Every epoch serves N examples, as many as epoch 0 has, so that example g of a run stands
in epoch g // N, row g % N, and no other plan is needed to know that. An epoch that has
more leaves out a random few; one that has fewer serves a random few twice.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bert_jax.config_sections import DataConfig
from bert_jax.data.cache import cache_root, is_writable
from bert_jax.data.draws import Draws
from bert_jax.data.files import digest, open_array, save_array, save_json
from bert_jax.data.pairs import PAIR, plan_pairs
from bert_jax.data.shards import ShardSet

RECIPE_VERSION = 1
SENTENCES_PER_BLOCK = 1 << 20
EPOCHS_KEPT = 2


class EpochPlan(NamedTuple):
    """The pairs of one epoch.

    Attributes:
        pairs: PAIR[M], by example id.
        order: uint32[N], the example ids in the order they are served.
    """

    pairs: np.ndarray
    order: np.ndarray


def plans_folder(directory: Path, data_sha256: str) -> Path:
    """Where the plans of a directory lie: in it, or in the cache if it is read-only.

    Asked at the start of a run, so that no later epoch finds that it cannot be planned.
    """
    folder = directory / "plans"
    return folder if is_writable(folder) else cache_root() / "plans" / data_sha256[:16]


class EpochPlans:
    """The plans of one split, by epoch; safe to use from several threads.

    Args:
        folder: where they lie, made if need be; see `plans_folder`.
        split: of the shards.
        shards: the text they are plans of.
        data: recipe of the pairs.

    Attributes:
        num_examples: N, examples of every epoch.

    Raises:
        ValueError: the split gives no example.
    """

    def __init__(self, folder: Path, split: str, shards: ShardSet, data: DataConfig):
        self._shards = shards
        # The held-out examples are the same whatever the seed of the training ones.
        self._seed = data.seed if split == "train" else 0
        self._split = split
        self._data = data
        recipe = {
            "version": RECIPE_VERSION,
            "split": split,
            "seed": self._seed,
            "sequence_length": data.sequence_length,
            "short_sequence_rate": data.short_sequence_rate,
        }
        self._directory = folder / digest(recipe)
        self._lock = threading.Lock()
        self._open: dict[int, EpochPlan] = {}
        self._maker: threading.Thread | None = None
        self.num_examples = self._find_num_examples()

    def __getitem__(self, epoch: int) -> EpochPlan:
        """The plan of `epoch`; made first where it is not on disk."""
        # Reading a dict is atomic, so that the usual case needs no lock.
        if epoch in self._open:
            return self._open[epoch]
        maker = self._maker
        if maker is not None:
            maker.join()
        with self._lock:
            if epoch not in self._open:
                plan = self._load_or_make(epoch)
                kept = {e: p for e, p in self._open.items() if abs(e - epoch) < EPOCHS_KEPT}
                self._open = {**kept, epoch: plan}
            return self._open[epoch]

    def make_ahead(self, epoch: int) -> None:
        """Begins to make the plan of `epoch` in the background, unless it is there."""
        with self._lock:
            if self._path(epoch).exists():
                return
            if self._maker is not None and self._maker.is_alive():
                return
            self._maker = threading.Thread(target=self._make, args=(epoch,), daemon=True)
            self._maker.start()

    def _path(self, epoch: int) -> Path:
        return self._directory / f"epoch-{epoch:05d}"

    def _find_num_examples(self) -> int:
        path = self._directory / "num_examples.json"
        if not path.exists():
            num_examples = self._make(0)
            if not num_examples:
                raise ValueError(
                    f"data.sources must give at least one {self._split} example; add text"
                )
            save_json(path, num_examples)
        return int(json.loads(path.read_text()))

    def _load_or_make(self, epoch: int) -> EpochPlan:
        path = self._path(epoch)
        while True:
            if not path.exists():
                self._make(epoch)
            try:
                pairs = np.memmap(path / "pairs.bin", PAIR, mode="r")
                order = open_array(path / "order.npy")
            except FileNotFoundError:
                # Another run of these data, some epochs ahead, has just cleared it.
                continue
            return EpochPlan(np.asarray(pairs), np.asarray(order))

    def _make(self, epoch: int) -> int:
        """Makes the plan of an epoch on disk; returns the number of its pairs."""
        final = self._path(epoch)
        draft = final.with_name(f".{final.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        draft.mkdir(parents=True)
        try:
            count = self._write_pairs(draft / "pairs.bin", epoch)
            wanted = self.num_examples if epoch else count
            if count:
                self._repeat_some(draft / "pairs.bin", epoch, count, wanted)
                order = self._draws("order", epoch).order(max(count, wanted))
                save_array(draft / "order.npy", order[:wanted])
                _publish(draft, final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        for old in range(max(0, epoch - 2 * EPOCHS_KEPT), epoch - EPOCHS_KEPT + 1):
            shutil.rmtree(self._path(old), ignore_errors=True)
        return count

    def _write_pairs(self, path: Path, epoch: int) -> int:
        """Writes the pairs of an epoch, a block of documents at a time; returns M."""
        document_offsets = self._shards.document_offsets
        num_documents = len(document_offsets) - 1
        edges = np.arange(0, int(document_offsets[-1]), SENTENCES_PER_BLOCK)
        firsts = np.unique(np.searchsorted(document_offsets[:-1], edges))
        bounds = [*firsts.tolist(), num_documents]
        count = 0
        with open(path, "wb") as file:
            for block, (first, last) in enumerate(itertools.pairwise(bounds)):
                if first == last:
                    continue
                pairs = plan_pairs(
                    self._shards.sentence_offsets,
                    document_offsets,
                    first,
                    last,
                    sequence_length=self._data.sequence_length,
                    short_sequence_rate=self._data.short_sequence_rate,
                    draws=self._draws("pairs", epoch, block),
                )
                file.write(pairs.tobytes())
                count += len(pairs)
        return count

    def _repeat_some(self, path: Path, epoch: int, count: int, wanted: int) -> None:
        """Appends random pairs of a plan to it, until there are `wanted`."""
        with open(path, "ab") as file:
            while count < wanted:
                again = self._draws("repeat", epoch, count).order(count)[: wanted - count]
                file.write(np.memmap(path, PAIR, mode="r")[again].tobytes())
                file.flush()
                count += len(again)

    def _draws(self, *key: str | int) -> Draws:
        return Draws("plan", self._split, self._seed, *key)


def _publish(draft: Path, final: Path) -> None:
    """Gives a finished folder its name, unless another process was first."""
    try:
        draft.rename(final)
    except OSError:
        # Both made the same content: that of the other is as good.
        if not final.exists():
            raise
