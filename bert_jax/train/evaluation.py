"""Held-out metrics of a model, and of the baseline that knows word frequencies only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from bert_jax.model.outputs import BertForPreTrainingOutput
from bert_jax.objective.losses import LossFn, Terms
from bert_jax.parallel.placement import place_batch
from bert_jax.train.step import make_eval_step

# Held-out masks are always drawn so, whatever the masks of training: runs compare.
MASK_RATE = 0.15
MASK_SEED = 20181011


def make_evaluate(
    loss_fn: LossFn,
    graphdef: nnx.GraphDef[Any],
    batches: Callable[[], Iterable[Any]],
    mesh: Mesh,
) -> Callable[[Any], dict[str, float]]:
    """A function of parameters that gives the mean of every term over all `batches`."""
    eval_step = jax.jit(make_eval_step(loss_fn, graphdef))

    def evaluate(params: Any) -> dict[str, float]:
        return mean_of_terms(eval_step(params, place_batch(b, mesh)) for b in batches())

    return evaluate


def unigram_metrics(
    loss_fn: LossFn, log_probs_V: np.ndarray, batches: Iterable[Any], mesh: Mesh
) -> dict[str, float]:
    """The same terms on the same targets for a model that predicts training frequencies.

    Args:
        loss_fn: the loss that the real model is evaluated with.
        log_probs_V: float32[V], log frequency of each id in the training text.
        batches: the held-out batches.
        mesh: where to compute.
    """

    @jax.jit
    def terms(log_probs_V: jax.Array, batch: Any) -> Terms:
        def model(*_: Any, masked_positions: Any, sequence_starts: Any, **__: Any) -> Any:
            return BertForPreTrainingOutput(
                prediction_logits=jnp.broadcast_to(
                    log_probs_V, (*masked_positions.shape, log_probs_V.size)
                ),
                # Even chances, and for the accuracy a preference for "random": the recipe
                # gives more of those, since a chunk of one sentence has no sequel.
                seq_relationship_logits=jnp.broadcast_to(
                    jnp.array([0.0, 1e-6]), (*sequence_starts.shape, 2)
                ),
            )

        losses, others = loss_fn(model, batch, None)
        return {**{f"{name}_loss": term for name, term in losses.items()}, **others}

    return mean_of_terms(terms(log_probs_V, place_batch(batch, mesh)) for batch in batches)


def mean_of_terms(batches: Iterable[Terms]) -> dict[str, float]:
    """Σ sums / Σ weights for each term, over all batches, in double precision."""
    totals: dict[str, np.ndarray] = {}
    for terms in batches:
        for name, term in jax.device_get(terms).items():
            pair = np.asarray(term, np.float64)
            totals[name] = totals[name] + pair if name in totals else pair
    return {name: float(total / weight) for name, (total, weight) in totals.items()}
