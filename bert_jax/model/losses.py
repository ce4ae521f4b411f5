"""The losses that a network returns when it is given labels, defined as in Transformers.

Each is a (sum, weight); the mean is taken once. Shapes: … any leading dims, C classes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bert_jax.model.inputs import IGNORED_LABEL, check_labels

# A quantity on its way to a mean: its sum, and the weight to divide it by.
SumAndWeight = tuple[jax.Array, jax.Array]


def cross_entropy(
    logits: jax.Array, labels: jax.Array, ignored_label: int = IGNORED_LABEL
) -> SumAndWeight:
    """−log softmax(logits)[label] of the labels that count.

    Args:
        logits: float32[…, C].
        labels: int32[…], in [0, C) or `ignored_label`.
    """
    counted = labels != ignored_label
    safe = jnp.where(counted, labels, 0)
    chosen = jnp.take_along_axis(logits, safe[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - chosen
    return jnp.sum(jnp.where(counted, losses, 0.0)), jnp.sum(counted)


def squared_error(logits: jax.Array, targets: jax.Array) -> SumAndWeight:
    """(logit − target)² of equally shaped arrays."""
    return jnp.sum((logits - targets) ** 2), jnp.asarray(logits.size)


def binary_cross_entropy(logits: jax.Array, targets: jax.Array) -> SumAndWeight:
    """−t log σ(x) − (1 − t) log(1 − σ(x)) of equally shaped arrays."""
    losses = jnp.logaddexp(0.0, logits) - targets * logits
    return jnp.sum(losses), jnp.asarray(logits.size)


def mean(term: SumAndWeight) -> jax.Array:
    """sum / weight; 0 where no label counts.

    Differs: PyTorch's mean of nothing is NaN.
    """
    total, weight = term
    return total / jnp.maximum(weight, 1)


def label_loss(logits: jax.Array, labels: ArrayLike) -> jax.Array:
    """Mean cross-entropy; the labels' shape is that of the logits but for the last dim.

    Raises:
        ValueError: it is another shape, or a label is impossible.
    """
    check_labels(labels, logits.shape[-1])
    labels = jnp.asarray(labels)
    if labels.size != logits[..., 0].size:
        raise ValueError(
            f"labels have shape {labels.shape}; it must be {logits.shape[:-1]}, one label "
            "for each row of logits"
        )
    return mean(cross_entropy(logits, labels.reshape(logits.shape[:-1])))


def text_loss(
    logits_BC: jax.Array, labels: ArrayLike, problem_type: str | None
) -> jax.Array:
    """The loss of a classifier of texts: by `problem_type`, or by the labels where None.

    Args:
        logits_BC: float32[B, C].
        labels: int[B], the class of each text; float[B, C] of several labels at once, or
            of targets of a regression (also float[B] where C is 1).
        problem_type: None is a regression where C is 1, else one class a text where the
            labels are integers, else several labels.

    Raises:
        ValueError: the shape of the labels does not fit, or a label is impossible.
    """
    dtype = jnp.asarray(labels).dtype
    if problem_type is None and logits_BC.shape[-1] == 1:
        problem_type = "regression"
    elif problem_type is None and jnp.issubdtype(dtype, jnp.integer):
        problem_type = "single_label_classification"
    if problem_type == "single_label_classification":
        return label_loss(logits_BC, labels)
    targets = jnp.asarray(labels, jnp.float32)
    if targets.size != logits_BC.size:
        raise ValueError(
            f"labels have shape {targets.shape}; it must be {logits_BC.shape}, a number "
            "for each logit; integers of one class a text are single_label_classification"
        )
    loss = squared_error if problem_type == "regression" else binary_cross_entropy
    return mean(loss(logits_BC, targets.reshape(logits_BC.shape)))


def span_loss(
    start_logits_BL: jax.Array,
    end_logits_BL: jax.Array,
    start_positions: ArrayLike,
    end_positions: ArrayLike,
) -> jax.Array:
    """Mean of two cross-entropies over the positions of a row.

    Args:
        start_logits_BL: float32[B, L].
        end_logits_BL: float32[B, L].
        start_positions: int[B] or [B, 1]; a position beyond the row does not count, one
            below 0 is taken for 0.
        end_positions: the same.
    """

    def loss(logits_BL: jax.Array, positions: ArrayLike) -> jax.Array:
        rows, length = logits_BL.shape
        positions_B = jnp.clip(jnp.asarray(positions).reshape(rows), 0, length)
        return mean(cross_entropy(logits_BL, positions_B, ignored_label=length))

    return (loss(start_logits_BL, start_positions) + loss(end_logits_BL, end_positions)) / 2
