"""A start that knows two things which a small model else spends its first hours on.

A BERT with random weights first learns word frequencies, and then sits on a plateau until
attention has found out that a word's neighbours matter. The informed start gives it both:
scores begin at the log frequencies of the training text, and attention begins on
neighbours, because positions begin as sinusoids and keys as the queries, whose product is
then largest for places that are close. Names, shapes and everything that follows are
those of any BERT; all of it is learned.

Shapes: V vocabulary, L positions, D hidden.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Root mean square of the positions, in units of `initializer_range`, and the factor of
# the queries. Chosen on installed_docs with the tiny model among (1, 2, 4) and (1, 1.5,
# 2, 3): more of either makes attention so sharp that it must be unlearned first.
_POSITION_SCALE = 2.0
_QUERY_SCALE = 1.5


def informed_start(
    params: dict[str, Any], log_frequencies: np.ndarray, initializer_range: float
) -> dict[str, Any]:
    """Fresh parameters with word scores at their frequency and attention on neighbours.

    Args:
        params: of a `BertForPreTraining`, freshly drawn, on any mesh.
        log_frequencies: float32[V], log p of each id in the training text.
        initializer_range: spread of the weights as they were drawn.

    Returns:
        Parameters of the same shapes and shardings.

    Source: sinusoids from Vaswani et al. 2017, section 3.5; the rest is ours.
    """

    def start(params: dict[str, Any], log_frequencies: jax.Array) -> dict[str, Any]:
        bert, masked_lm = params["bert"], params["masked_lm"]
        bias = masked_lm["bias"]
        centred = log_frequencies - log_frequencies.mean()
        table = bert["embeddings"]["position"]["embedding"]
        sinusoids_LD = _sinusoids(*table.shape) * _POSITION_SCALE * initializer_range
        qkv = bert["encoder"]["layers"]["attention"]["qkv"]
        query = qkv["kernel"][:, :, 0] * _QUERY_SCALE
        kernel = qkv["kernel"].at[:, :, 0].set(query).at[:, :, 1].set(query)
        layers = bert["encoder"]["layers"]
        attention = {**layers["attention"], "qkv": {**qkv, "kernel": kernel}}
        embeddings = {**bert["embeddings"], "position": {"embedding": sinusoids_LD}}
        encoder = {"layers": {**layers, "attention": attention}}
        return {
            **params,
            "bert": {**bert, "embeddings": embeddings, "encoder": encoder},
            "masked_lm": {
                **masked_lm,
                "bias": jnp.pad(centred, (0, bias.size - centred.size)),
            },
        }

    shardings = jax.tree.map(lambda x: x.sharding, params)
    started: dict[str, Any] = jax.jit(start, out_shardings=shardings)(
        params, log_frequencies
    )
    return started


def _sinusoids(num_positions: int, hidden_size: int) -> jax.Array:
    """float32[L, D] with a root mean square of 1."""
    waves = 10_000.0 ** (-np.arange(0, hidden_size, 2) / hidden_size)
    angles = np.arange(num_positions)[:, None] * waves
    both = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :hidden_size]
    return jnp.asarray(np.sqrt(2.0) * both, jnp.float32)
