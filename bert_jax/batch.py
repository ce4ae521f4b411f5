"""The contract of one pretraining batch: names, shapes, dtypes.

Shapes: B rows of this host or of the whole batch, L tokens in a row.
A batch is plain arrays, unmasked: masks are drawn on the device, inside the step.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class PretrainingBatch(NamedTuple):
    """Rows of [CLS] A [SEP] B [SEP], padded at the right. A pytree for JAX.

    Attributes:
        input_ids: int32[B, L], ids in [0, V), before masking; 0s ([PAD]) at the right.
        token_type_ids: int32[B, L], 0 for [CLS] A [SEP], 1 for B [SEP], 0 for padding.
        attention_mask: int32[B, L], 1 for tokens, 0 for padding.
        next_sentence_labels: int32[B], 0 where B follows A in the text, 1 where B is
            from another place.
        example_ids: uint32[B], index of the row's example in its epoch's plan.
        epochs: uint32[B], the epoch that the example belongs to.
    """

    input_ids: Any
    token_type_ids: Any
    attention_mask: Any
    next_sentence_labels: Any
    example_ids: Any
    epochs: Any
