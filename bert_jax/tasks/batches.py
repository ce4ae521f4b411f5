"""Texts of a user in batches of like length, so that little is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bert_jax.text.bert_tokenizer import BertTokenizer

BATCH_SIZE = 32


def batches_of_texts(
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    max_length: int,
    pairs: Sequence[str] | None = None,
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Numbers of texts, and what a model takes for them: int32[B, L] arrays.

    Args:
        tokenizer: of the model.
        texts: any number of them.
        max_length: tokens to keep of each.
        pairs: a second segment for each text, if there are any.

    Yields:
        int64[B] positions in `texts`, and their model inputs; every text once.
    """
    encoded = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
    )
    order = np.argsort([len(ids) for ids in encoded["input_ids"]], kind="stable")
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        yield rows, _padded(encoded, rows, tokenizer.pad_token_id)


def _padded(encoded: Any, rows: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    length = max(len(encoded["input_ids"][row]) for row in rows)
    batch = {
        name: np.zeros((len(rows), length), np.int32)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    batch["input_ids"] += pad_id
    for name, values in batch.items():
        for target, row in zip(values, rows, strict=True):
            target[: len(encoded[name][row])] = encoded[name][row]
    return batch
