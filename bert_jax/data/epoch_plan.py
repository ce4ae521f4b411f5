"""The plan of an epoch: its sequences, their rows and the order of these, on disk.

A plan is a function of the shards, the recipe, the seed and the epoch. It is made when
it is first asked for and found again later; a lost plan is made again, the same.

    plans/<recipe>/num_rows.json         R, the same for every epoch
    plans/<recipe>/epoch-00000/pairs.bin     PAIR[N]: the example id is the place
    plans/<recipe>/epoch-00000/members.npy, num_by_size.json   rows: see `packing.Rows`
    plans/<recipe>/epoch-00000/order.npy     uint32[R], rows as they are served

plans/ is in the prepared directory; where that cannot be written, in the cache. Without
packing each sequence is a row, and `members` is not there.

Every epoch serves R rows, as many as epoch 0 has, so that row g of a run stands in epoch
g // R at place g % R, and no other plan is needed to know that. An epoch that has more
leaves out a random few; one that has fewer serves a random few twice.
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
from bert_jax.data.packing import Rows, pack_lengths
from bert_jax.data.pairs import PAIR, Recipe, Text, plan_pairs, sequence_lengths
from bert_jax.data.shards import ShardSet

RECIPE_VERSION = 2
SENTENCES_PER_BLOCK = 1 << 20
EPOCHS_KEPT = 2
_PAIRS_PER_READ = 1 << 22


class EpochPlan(NamedTuple):
    """The rows of one epoch.

    Attributes:
        pairs: PAIR[N], by example id.
        rows: which examples stand in which row; None where each is a row.
        order: uint32[R], the rows in the order they are served.
    """

    pairs: np.ndarray
    rows: Rows | None
    order: np.ndarray

    def examples(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The examples of the rows served at `places`, end to end, and each row's number.

        Args:
            places: int[B], each in [0, R).
        """
        rows = self.order[places]
        if self.rows is None:
            return rows, np.ones(len(rows), np.int64)
        return self.rows.sequences(rows)


def plans_folder(directory: Path, data_sha256: str) -> Path:
    """Where the plans of a directory lie: in it, or in the cache if it is read-only.

    Asked at the start of a run, so that no later epoch finds that it cannot be planned.
    """
    folder = directory / "plans"
    return folder if is_writable(folder) else cache_root() / "plans" / data_sha256[:16]


class EpochPlans:
    """The plans of one split or of one source of it, by epoch; safe to use from threads.

    Args:
        folder: where they lie, made if need be; see `plans_folder`.
        split: of the shards.
        shards: the text they are plans of.
        data: how sequences are made and packed.
        sentence_task: "nsp", "sop" or "none".
        documents: [first, last) of the documents to plan; all of the split by default.

    Attributes:
        num_rows: R, rows of every epoch.

    Raises:
        ValueError: the documents give no sequence.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        shards: ShardSet,
        data: DataConfig,
        *,
        sentence_task: str,
        documents: tuple[int, int] | None = None,
    ):
        first, last = documents or (0, len(shards.document_offsets) - 1)
        self._text = Text(shards.sentence_offsets, shards.document_offsets, first, last)
        self._recipe = Recipe(sentence_task, data.sequence_length, data.short_sequence_rate)
        self._max_per_row = data.packing
        # The held-out examples are the same whatever the seed of the training ones.
        self._seed = data.seed if split == "train" else 0
        self._split = split
        recipe = {
            "version": RECIPE_VERSION,
            "split": split,
            "seed": self._seed,
            "documents": [first, last],
            "packing": data.packing,
            **self._recipe._asdict(),
        }
        self._directory = folder / digest(recipe)
        self._lock = threading.Lock()
        self._open: dict[int, EpochPlan] = {}
        self._maker: threading.Thread | None = None
        self.num_rows = self._find_num_rows()

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
            maker = threading.Thread(target=self._make, args=(epoch,), daemon=True)
            maker.start()
            self._maker = maker  # once it has started: others join it

    def _path(self, epoch: int) -> Path:
        return self._directory / f"epoch-{epoch:05d}"

    def _find_num_rows(self) -> int:
        path = self._directory / "num_rows.json"
        if not path.exists():
            num_rows = self._make(0)
            if not num_rows:
                raise ValueError(
                    f"data.sources must give at least one {self._split} example; add text"
                )
            save_json(path, num_rows)
        return int(json.loads(path.read_text()))

    def _load_or_make(self, epoch: int) -> EpochPlan:
        path = self._path(epoch)
        while True:
            if not path.exists():
                self._make(epoch)
            try:
                pairs = np.memmap(path / "pairs.bin", PAIR, mode="r")
                rows = Rows.load(path) if self._max_per_row > 1 else None
                order = open_array(path / "order.npy")
            except FileNotFoundError:
                # Another run of these data, some epochs ahead, has just cleared it.
                continue
            return EpochPlan(np.asarray(pairs), rows, np.asarray(order))

    def _make(self, epoch: int) -> int:
        """Makes the plan of an epoch on disk; returns the number of its rows."""
        final = self._path(epoch)
        draft = final.with_name(f".{final.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        draft.mkdir(parents=True)
        try:
            count = self._write_pairs(draft / "pairs.bin", epoch)
            if count and self._max_per_row > 1:
                count = self._write_rows(draft, epoch)
            if count:
                wanted = self.num_rows if epoch else count
                save_array(draft / "order.npy", self._order(epoch, count, wanted))
                _publish(draft, final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        for old in range(max(0, epoch - 2 * EPOCHS_KEPT), epoch - EPOCHS_KEPT + 1):
            shutil.rmtree(self._path(old), ignore_errors=True)
        return count

    def _write_pairs(self, path: Path, epoch: int) -> int:
        """Writes the pairs of an epoch, a block of documents at a time; returns N."""
        first, last = self._text.first, self._text.last
        if first == last:
            return 0
        document_offsets = self._text.document_offsets
        edges = np.arange(
            int(document_offsets[first]), int(document_offsets[last]), SENTENCES_PER_BLOCK
        )
        starts = np.unique(np.searchsorted(document_offsets[first:last], edges)) + first
        bounds = [*starts.tolist(), last]
        count = 0
        with open(path, "wb") as file:
            for block, (start, stop) in enumerate(itertools.pairwise(bounds)):
                if start == stop:
                    continue
                draws = self._draws("pairs", epoch, block)
                pairs = plan_pairs(self._text, start, stop, self._recipe, draws)
                file.write(pairs.tobytes())
                count += len(pairs)
        return count

    def _write_rows(self, folder: Path, epoch: int) -> int:
        """Packs the pairs of an epoch into rows; returns the number of rows."""
        pairs = np.memmap(folder / "pairs.bin", PAIR, mode="r")
        lengths = np.empty(len(pairs), np.uint16)
        for start in range(0, len(pairs), _PAIRS_PER_READ):
            part = slice(start, start + _PAIRS_PER_READ)
            lengths[part] = sequence_lengths(pairs[part])
        rows = pack_lengths(
            lengths,
            row_length=self._recipe.sequence_length,
            max_per_row=self._max_per_row,
            draws=self._draws("rows", epoch),
        )
        rows.save(folder)
        return rows.num_rows

    def _order(self, epoch: int, count: int, wanted: int) -> np.ndarray:
        """uint32[wanted], `count` rows in random order, cut short or with a few again."""
        parts: list[np.ndarray] = []
        while wanted > 0:
            part = self._draws("order", epoch, len(parts)).order(count)[:wanted]
            parts.append(part)
            wanted -= len(part)
        return np.concatenate(parts)

    def _draws(self, *key: str | int) -> Draws:
        documents = f"{self._text.first}-{self._text.last}"
        return Draws("plan", self._split, self._seed, documents, *key)


def _publish(draft: Path, final: Path) -> None:
    """Gives a finished folder its name, unless another process was first."""
    try:
        draft.rename(final)
    except OSError:
        # Both made the same content: that of the other is as good.
        if not final.exists():
            raise
