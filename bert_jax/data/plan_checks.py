"""Checks of what an epoch makes of prepared text: pairs, rows, padding, epochs of a run.

They read the plan of epoch 0, which is made where it is not there yet: a run would make
the same one and finds it.

Shapes: N sequences, R rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bert_jax.config import Config
from bert_jax.config_sections import DataConfig
from bert_jax.data.draws import Draws
from bert_jax.data.epoch_plan import EpochPlan, EpochPlans, plans_folder
from bert_jax.data.histograms import LengthHistogram, linear_edges
from bert_jax.data.manifest import Manifest
from bert_jax.data.mixture import Mixture
from bert_jax.data.packing import Rows, pack_lengths
from bert_jax.data.pairs import sequence_lengths
from bert_jax.data.shards import ShardSet
from bert_jax.data.stream import mixed_sources
from bert_jax.findings import Finding

# Share of padding from which packing is worth a note: a tenth of the steps for nothing.
MAX_PADDING_SHARE = 0.1
# Sequences in a row where the configuration packs none: what it could have.
SUGGESTED_PACKING = 16
# The run of 2018 saw its text 40 times (Devlin et al. 2018, appendix A.2).
MAX_EPOCHS = 40
# Of the pairs, those whose B is from elsewhere. Half of them are so by the recipe, and a
# few more at the ends of documents (56 % on Wikipedia and novels at length 512); where many
# more are, that answer pays unseen.
MAX_RANDOM_SHARE = 0.6

_CHUNK = 1 << 20


class Epoch(NamedTuple):
    """The training text as one epoch of a run sees it.

    Attributes:
        data: how sequences are made and packed.
        shards: the text.
        plans: of each source that is mixed by weight; else of all as one.
        shares: of the rows of a run, for each of the plans.
    """

    data: DataConfig
    shards: ShardSet
    plans: list[EpochPlans]
    shares: list[float]

    @property
    def epoch(self) -> list[EpochPlan]:
        """Epoch 0 of each plan."""
        return [plans[0] for plans in self.plans]


@dataclasses.dataclass
class RowUse:
    """How the sequences of an epoch fill their rows.

    Attributes:
        sequences: their lengths, [CLS] and [SEP] included.
        rows: tokens in a row, as the configuration packs them.
        packed_rows: the same with `packed` sequences in a row at the most.
        packed: data.packing, or what is suggested where that is 1.
        cut_share: sequences that lose part of a sentence, among those looked at.
        random_share: pairs with a B from elsewhere among all pairs; None without NSP.
    """

    sequences: LengthHistogram
    rows: LengthHistogram
    packed_rows: LengthHistogram
    packed: int
    cut_share: float
    random_share: float | None

    def plain(self, row_length: int) -> dict[str, Any]:
        """The distributions and shares as JSON has them."""
        return {
            "sequence_length": row_length,
            "sequences": self.sequences.plain(),
            "rows": {
                "1": {
                    **self.sequences.plain(),
                    "padding": padding(self.sequences, row_length),
                },
                str(self.packed): {
                    **self.packed_rows.plain(),
                    "padding": padding(self.packed_rows, row_length),
                },
            },
        }


def open_epoch(config: Config, directory: Path, manifest: Manifest) -> Epoch:
    """The plans of epoch 0, as a run of `config` has them."""
    shards = ShardSet(directory, "train", manifest.splits["train"]["shards"])
    weights, documents = mixed_sources(config.data, "train", manifest)
    folder = plans_folder(directory, manifest.sha256)
    task = config.objective.sentence_task
    plans = [
        EpochPlans(folder, "train", shards, config.data, sentence_task=task, documents=part)
        for part in documents
    ]
    counts = Mixture(weights).counts
    return Epoch(config.data, shards, plans, (counts / counts.sum()).tolist())


def check_epochs(config: Config, epoch: Epoch) -> list[Finding]:
    """How often a run sees the text of each of its sources."""
    train = config.train
    found = []
    for number, (plans, share) in enumerate(zip(epoch.plans, epoch.shares, strict=True)):
        per_step = train.global_batch_size * share
        times = train.num_steps * per_step / plans.num_rows
        name = "" if len(epoch.plans) == 1 else f"data.sources[{number}]: "
        figure = (
            f"{name}{times:.3g}: {train.num_steps:,} steps of {per_step:,.0f} rows, "
            f"{plans.num_rows:,} rows an epoch"
        )
        if plans.num_rows < per_step:
            mend = "a batch holds a row twice: add text, or lower train.global_batch_size"
            found.append(Finding("epochs", False, figure, mend))
        elif times > MAX_EPOCHS:
            mend = f"more than the {MAX_EPOCHS} of 2018: add text, or lower train.num_steps"
            found.append(Finding("epochs", True, figure, mend))
        else:
            found.append(Finding("epochs", True, figure))
    return found


def measure_rows(config: Config, epoch: Epoch) -> RowUse:
    """How sequences fill the rows of epoch 0."""
    data = epoch.data
    edges = linear_edges(data.sequence_length)
    sequences, rows, packed = (LengthHistogram(edges) for _ in range(3))
    random = cut = looked_at = pairs_seen = 0
    for plan in epoch.epoch:
        for start in range(0, len(plan.pairs), _CHUNK):
            pairs = np.asarray(plan.pairs[start : start + _CHUNK])
            sequences.add(sequence_lengths(pairs))
            has_b = pairs["b_length"] > 0
            random += int(np.count_nonzero(pairs["label"][has_b] == 1))
            pairs_seen += int(np.count_nonzero(has_b))
        first = np.asarray(plan.pairs[:_CHUNK])
        cut += int(np.count_nonzero(_is_cut(first, epoch.shards.sentence_offsets)))
        looked_at += len(first)
        for lengths in _row_lengths(plan):
            rows.add(lengths)
        if data.packing == 1:
            for lengths in _suggested_rows(first, data):
                packed.add(lengths)
    is_nsp = config.objective.sentence_task == "nsp"
    return RowUse(
        sequences,
        rows,
        packed if data.packing == 1 else rows,
        SUGGESTED_PACKING if data.packing == 1 else data.packing,
        cut / looked_at,
        random / max(pairs_seen, 1) if is_nsp else None,
    )


def check_rows(use: RowUse, data: DataConfig) -> list[Finding]:
    """Padding with and without packing, and what is cut."""
    length = data.sequence_length
    alone, packed = padding(use.sequences, length), padding(use.packed_rows, length)
    asked = f"data.packing={use.packed}"
    figure = f"{alone:.1%} of all tokens unpacked, {packed:.1%} with {asked}"
    mend = ""
    if data.packing == 1 and alone > MAX_PADDING_SHARE:
        mend = f"set {asked}: {(1 - packed) / (1 - alone) - 1:.0%} more text in a step"
    elif data.packing > 1 and packed > MAX_PADDING_SHARE:
        mend = "raise data.packing, or lower data.sequence_length"
    middle = use.sequences.quantile(0.5)
    return [
        Finding(
            "sequences",
            True,
            f"{use.sequences.total:,} an epoch, about {middle:,} of "
            f"data.sequence_length={length} tokens at the median; "
            f"{use.cut_share:.1%} lose part of a sentence",
        ),
        Finding("padding", True, figure, mend),
    ]


def check_next_sentence(
    one_sentence: int, documents: int, random_share: float | None
) -> Finding:
    """Whether what has no next sentence, and gets a random B, gives the answer away.

    Args:
        one_sentence: documents of one sentence.
        documents: all of them.
        random_share: see `RowUse`.
    """
    figure = f"{one_sentence / documents:.1%} of {documents:,} documents have one sentence"
    if random_share is None:
        return Finding("next sentence", True, f"{figure}; it is not asked for")
    figure += f"; {random_share:.1%} of all pairs have a random B, half by the recipe"
    if random_share <= MAX_RANDOM_SHARE:
        return Finding("next sentence", True, figure)
    mend = (
        "sentences alone in their document or row get one always: set "
        "objective.sentence_task=none, raise data.sequence_length, or make documents "
        "longer (data.sources[i].documents)"
    )
    return Finding("next sentence", False, figure, mend)


def padding(rows: LengthHistogram, row_length: int) -> float:
    """Share of the places of rows that hold no token."""
    return 1.0 - rows.sum / (rows.total * row_length)


def _row_lengths(plan: EpochPlan) -> Iterator[np.ndarray]:
    """Tokens in the rows of a plan, int64[up to _CHUNK] at a time."""
    num_rows = len(plan.pairs) if plan.rows is None else plan.rows.num_rows
    for start in range(0, num_rows, _CHUNK // 4):
        rows = np.arange(start, min(start + _CHUNK // 4, num_rows))
        if plan.rows is None:
            yield sequence_lengths(np.asarray(plan.pairs[rows[0] : rows[-1] + 1]))
        else:
            yield _tokens_of(plan.rows, rows, lambda places: plan.pairs[places])


def _suggested_rows(pairs: np.ndarray, data: DataConfig) -> Iterator[np.ndarray]:
    """Tokens in the rows that some sequences would fill if they were packed."""
    lengths = sequence_lengths(pairs).astype(np.uint16)
    rows = pack_lengths(
        lengths,
        row_length=data.sequence_length,
        max_per_row=SUGGESTED_PACKING,
        draws=Draws("doctor"),
    )
    yield _tokens_of(rows, np.arange(rows.num_rows), lambda places: pairs[places])


def _tokens_of(rows: Rows, numbers: np.ndarray, pairs_at: Any) -> np.ndarray:
    """int64[R]: tokens in each of some rows."""
    places, sizes = rows.sequences(numbers)
    lengths = sequence_lengths(np.asarray(pairs_at(places)))
    return np.asarray(np.add.reduceat(lengths, np.cumsum(sizes) - sizes))


def _is_cut(pairs: np.ndarray, sentence_offsets: np.ndarray) -> np.ndarray:
    """bool[N]: whether a stretch of a sequence begins or ends within a sentence."""
    cut = np.zeros(len(pairs), bool)
    for side in ("a", "b"):
        start = pairs[f"{side}_start"]
        length = pairs[f"{side}_length"].astype(np.int64)
        for edge in (start, start + length):
            place = np.searchsorted(sentence_offsets, edge)
            cut |= (np.asarray(sentence_offsets[place]) != edge) & (length > 0)
    return cut
