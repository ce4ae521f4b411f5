"""Ids and labels that come from outside, looked at where that costs nothing: on the host.

A lookup beyond a table gives no error in JAX but a wrong or meaningless vector. Lists and
NumPy arrays are checked; what is on a device or being traced is left alone.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from bert_jax.bert_config import BertConfig

IGNORED_LABEL = -100


def on_host(array: Any) -> bool:
    """Whether `array` is a number, a list or a NumPy array: nothing of JAX."""
    leaves = jax.tree.leaves(array)
    return all(isinstance(leaf, np.ndarray | np.generic | int | float) for leaf in leaves)


def check_ids(
    config: BertConfig, input_ids: Any, token_type_ids: Any, position_ids: Any
) -> None:
    """Raises ValueError where an id on the host is not a row of its table.

    Args:
        config: the architecture.
        input_ids: int[…], or an array of JAX.
        token_type_ids: the same, or None.
        position_ids: the same, or None.
    """
    for name, ids, size_name, remedy in (
        ("input_ids", input_ids, "vocab_size", "use the tokenizer of this model"),
        ("token_type_ids", token_type_ids, "type_vocab_size", "this model has no more"),
        ("position_ids", position_ids, "max_position_embeddings", "truncate"),
    ):
        if ids is None or not on_host(ids):
            continue
        array, size = np.asarray(ids), getattr(config, size_name)
        outside = array[(array < 0) | (array >= size)]
        if outside.size:
            raise ValueError(
                f"{name} has {outside[0]}; it must be at least 0 and below "
                f"{size_name}={size}; {remedy}"
            )


def check_labels(labels: Any, num_classes: int) -> None:
    """Raises ValueError where a label on the host is neither a class nor IGNORED_LABEL."""
    if not on_host(labels):
        return
    array = np.asarray(labels)
    outside = array[((array < 0) | (array >= num_classes)) & (array != IGNORED_LABEL)]
    if outside.size:
        raise ValueError(
            f"labels has {outside[0]}; it must be at least 0 and below {num_classes}, "
            f"or {IGNORED_LABEL} for what does not count"
        )
