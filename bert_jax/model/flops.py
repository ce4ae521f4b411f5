"""Matrix-product FLOPs of a model, by formula."""

from __future__ import annotations

from bert_jax.bert_config import BertConfig


def pretraining_flops_per_row(config: BertConfig, *, length: int, predictions: int) -> int:
    """FLOPs of one row of a training step, forward and backward, matrix products only.

    A product of m×k and k×n counts 2mkn; the backward pass counts twice the forward.

    Args:
        config: the architecture.
        length: tokens in the row, padding included.
        predictions: places that the vocabulary head scores.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    layer = 2 * length * (4 * hidden**2 + 2 * hidden * inner) + 4 * length**2 * hidden
    head = 2 * predictions * (hidden**2 + hidden * config.padded_vocab_size)
    pooler = 2 * hidden**2 + 4 * hidden
    return 3 * (config.num_hidden_layers * layer + head + pooler)
