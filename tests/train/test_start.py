"""The informed start: same tree, attention on neighbours, scores at frequencies."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import MeshConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.rules import tree_shardings
from bert_jax.train.start import informed_start

CONFIG = BertConfig.named(
    "tiny", vocab_size=200, max_position_embeddings=64, initializer_range=0.06
)
LENGTH = 48


@pytest.fixture(scope="module")
def fresh() -> dict[str, Any]:
    """Parameters as they are drawn."""
    model = BertForPreTraining(CONFIG, rngs=nnx.Rngs(0))
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


@pytest.fixture(scope="module")
def log_frequencies() -> np.ndarray:
    """Zipf's law."""
    p = 1.0 / np.arange(1, CONFIG.vocab_size + 1)
    return np.log(p / p.sum()).astype(np.float32)


def run(params: dict[str, Any]) -> Any:
    graphdef = nnx.graphdef(
        nnx.eval_shape(lambda: BertForPreTraining(CONFIG, rngs=nnx.Rngs(0)))
    )
    ids = np.random.default_rng(1).integers(5, 200, (2, LENGTH))
    return nnx.merge(graphdef, params)(ids, output_attentions=True)


def share_of_neighbours(params: dict[str, Any]) -> float:
    """How much more than evenly the first layer looks at places up to two away."""
    attention_BHQT = np.asarray(run(params).attentions[0])
    distance_QT = np.abs(np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH)))
    near_QT = distance_QT <= 2
    return float((attention_BHQT * near_QT).sum(-1).mean() / near_QT.mean(-1).mean())


def test_attention_begins_on_neighbours(
    fresh: dict[str, Any], log_frequencies: np.ndarray
) -> None:
    started = informed_start(fresh, log_frequencies, CONFIG.initializer_range)
    assert share_of_neighbours(started) > 2
    assert share_of_neighbours(fresh) < 1.3  # the control: as drawn, it looks everywhere


def test_scores_begin_at_word_frequencies(
    fresh: dict[str, Any], log_frequencies: np.ndarray
) -> None:
    def distance(params: dict[str, Any]) -> float:
        logits = jax.nn.log_softmax(run(params).prediction_logits).mean((0, 1))
        return float(np.abs(np.asarray(logits) - log_frequencies).mean())

    started = informed_start(fresh, log_frequencies, CONFIG.initializer_range)
    assert distance(started) < 0.6
    assert distance(fresh) > 0.8


def test_the_tree_stays_as_it_is(
    fresh: dict[str, Any], log_frequencies: np.ndarray
) -> None:
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    placed = jax.device_put(fresh, tree_shardings(fresh, mesh))
    started = informed_start(placed, log_frequencies, CONFIG.initializer_range)
    assert jax.tree.structure(started) == jax.tree.structure(fresh)
    changed = []
    for (path, before), after in zip(
        jax.tree_util.tree_leaves_with_path(placed), jax.tree.leaves(started), strict=True
    ):
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        assert after.sharding.is_equivalent_to(before.sharding, before.ndim)
        if not np.array_equal(before, after):
            changed.append(jax.tree_util.keystr(path, simple=True, separator="/"))
    assert changed == [
        "bert/embeddings/position/embedding",
        "bert/encoder/layers/attention/qkv/kernel",
        "masked_lm/bias",
    ]
