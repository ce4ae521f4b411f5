"""The contract of one pretraining batch: names, shapes, dtypes.

Shapes: B rows of this host or of the whole batch, L tokens in a row, S sequences that a row
holds at the most (1 without packing).
A batch is plain arrays, unmasked: masks are drawn on the device, inside the step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

NO_SENTENCE_LABEL = -1


class PretrainingBatch(NamedTuple):
    """Rows of sequences [CLS] A [SEP] B [SEP], padded at the right. A pytree for JAX.

    Attributes:
        input_ids: int32[B, L], ids in [0, V), before masking; [PAD] at the right.
        token_type_ids: int32[B, L], 0 for [CLS] A [SEP], 1 for B [SEP], 0 for padding.
        sequence_ids: int32[B, L], which sequence of its row a token belongs to, from 1;
            0 for padding.
        position_ids: int32[B, L], place of a token in its sequence; 0 for padding.
        word_starts: bool[B, L], whether a word starts here; control tokens are words.
        sequence_starts: int32[B, S], where the [CLS] of each sequence stands; 0 where a
            row has fewer.
        sentence_labels: int32[B, S], 0 where B follows A; 1 where B is from elsewhere (or,
            for sentence order, comes before A); NO_SENTENCE_LABEL where there is no B or
            no sequence.
        example_ids: uint32[B, S], index of each example in its epoch's plan.
        sources: uint32[B], the source that the row's examples come from; 0 where the
            sources are not mixed by weight.
        epochs: uint32[B], the epoch of that source.
        mask_stages: int32[B], where the row stands in the schedule of the mask rate.
    """

    input_ids: Any
    token_type_ids: Any
    sequence_ids: Any
    position_ids: Any
    word_starts: Any
    sequence_starts: Any
    sentence_labels: Any
    example_ids: Any
    sources: Any
    epochs: Any
    mask_stages: Any


# The dims of each array, by the letters above, and its dtype.
BATCH_DIMS = PretrainingBatch(
    input_ids="BL",
    token_type_ids="BL",
    sequence_ids="BL",
    position_ids="BL",
    word_starts="BL",
    sequence_starts="BS",
    sentence_labels="BS",
    example_ids="BS",
    sources="B",
    epochs="B",
    mask_stages="B",
)

BATCH_DTYPES = PretrainingBatch(
    input_ids="int32",
    token_type_ids="int32",
    sequence_ids="int32",
    position_ids="int32",
    word_starts="bool",
    sequence_starts="int32",
    sentence_labels="int32",
    example_ids="uint32",
    sources="uint32",
    epochs="uint32",
    mask_stages="int32",
)
