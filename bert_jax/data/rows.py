"""From planned examples to rows of token ids.

Shapes: B rows, L tokens in a row, S sequences of a row at the most, E examples of all rows.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from bert_jax.batch import NO_SENTENCE_LABEL, PretrainingBatch
from bert_jax.data.pairs import NO_LABEL, sequence_lengths
from bert_jax.data.shards import ShardSet


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


class Examples(NamedTuple):
    """The examples of some rows, end to end, and where they come from.

    Attributes:
        sizes: int64[B], examples of each row.
        ids: uint32[E], index of each in its epoch's plan.
        pairs: PAIR[E].
        sources: uint32[B].
        epochs: uint32[B].
    """

    sizes: np.ndarray
    ids: np.ndarray
    pairs: np.ndarray
    sources: np.ndarray
    epochs: np.ndarray


def assemble_rows(
    examples: Examples,
    shards: ShardSet,
    control: ControlIds,
    *,
    length: int,
    max_per_row: int,
) -> PretrainingBatch:
    """Rows of [CLS] A [SEP] B [SEP], or [CLS] A [SEP], one after the other, then [PAD]."""
    sizes, pairs = examples.sizes, examples.pairs
    num_rows = len(sizes)
    row = np.repeat(np.arange(num_rows), sizes)
    slot = np.arange(len(pairs)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    tokens = sequence_lengths(pairs)
    begin = np.cumsum(tokens) - tokens
    begin -= np.repeat(begin[np.cumsum(sizes) - sizes], sizes)
    a_length = pairs["a_length"].astype(np.int64)
    b_length = pairs["b_length"].astype(np.int64)
    b_begin = begin + a_length + 2
    has_b = np.flatnonzero(b_length)

    stored_BL = np.zeros((num_rows, length), shards.token_dtype)
    shards.gather(pairs["a_start"], a_length, row, begin + 1, stored_BL)
    shards.gather(
        pairs["b_start"][has_b], b_length[has_b], row[has_b], b_begin[has_b], stored_BL
    )
    input_ids_BL, word_starts_BL = shards.ids(stored_BL), shards.word_starts(stored_BL)

    # Places in the flat rows that hold a token, and what they are part of.
    first = row * length + begin
    place_in_sequence = np.arange(tokens.sum()) - np.repeat(
        np.cumsum(tokens) - tokens, tokens
    )
    place = np.repeat(first, tokens) + place_in_sequence
    in_b = place_in_sequence >= np.repeat(a_length + 2, tokens)
    flat = {name: np.zeros(num_rows * length, np.int32) for name in ("type", "of", "at")}
    flat["type"][place] = in_b
    flat["of"][place] = np.repeat(slot + 1, tokens)
    flat["at"][place] = place_in_sequence
    type_BL, of_BL, at_BL = (a.reshape(num_rows, length) for a in flat.values())
    for column, of_row, token in (
        (begin, row, control.cls_id),
        (begin + a_length + 1, row, control.sep_id),
        ((begin + tokens - 1)[has_b], row[has_b], control.sep_id),
    ):
        input_ids_BL[of_row, column] = token
        word_starts_BL[of_row, column] = True
    if control.pad_id:
        input_ids_BL[of_BL == 0] = control.pad_id

    def by_slot(values: np.ndarray, absent: int, dtype: type) -> np.ndarray:
        table_BS: np.ndarray = np.full((num_rows, max_per_row), absent, dtype)
        table_BS[row, slot] = values
        return table_BS

    labels = pairs["label"].astype(np.int32)
    labels[labels == NO_LABEL] = NO_SENTENCE_LABEL
    return PretrainingBatch(
        input_ids=input_ids_BL,
        token_type_ids=type_BL,
        sequence_ids=of_BL,
        position_ids=at_BL,
        word_starts=word_starts_BL,
        sequence_starts=by_slot(begin, 0, np.int32),
        sentence_labels=by_slot(labels, NO_SENTENCE_LABEL, np.int32),
        example_ids=by_slot(examples.ids, 0, np.uint32),
        sources=examples.sources.astype(np.uint32),
        epochs=examples.epochs.astype(np.uint32),
        mask_stages=np.zeros(num_rows, np.int32),
    )
