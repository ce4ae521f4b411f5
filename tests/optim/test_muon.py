"""Muon against a plain transcription, matrix by matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import MeshConfig, OptimConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.optim.muon import _labels
from bert_jax.optim.optimizer import make_optimizer
from bert_jax.parallel.mesh import make_mesh
from bert_jax.train.state import abstract_state, make_init

CONFIG = OptimConfig(
    name="muon", learning_rate=0.02, warmup_steps=1, weight_decay=0.1, clip_norm=1e6
)
NUM_STEPS = 8
N, D, H, K, F = 2, 6, 2, 3, 10
SHAPES = {
    "attention/qkv/kernel": (N, D, 3, H, K),
    "attention/output/kernel": (N, H, K, D),
    "feed_forward_in/kernel": (N, D, F),
    "feed_forward_out/kernel": (N, F, D),
    "qkv/bias": (N, 3, H, K),
    "word/embedding": (7, D),
    "pooler/kernel": (D, D),
}
MATRICES = tuple(SHAPES)[:4]


def random_arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


def nested(flat):
    tree: dict = {}
    for name, value in flat.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = jnp.asarray(value, jnp.float32)
    return tree


def flat(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return {name: np.asarray(x) for name, (_, x) in zip(names, leaves, strict=True)}


def as_matrices(name: str, x: np.ndarray) -> np.ndarray:
    """[matrices, in, out]"""
    if name == "attention/qkv/kernel":
        return x.transpose(0, 2, 1, 3, 4).reshape(N * 3, D, H * K)
    if name == "attention/output/kernel":
        return x.reshape(N, H * K, D)
    return x


def newton_schulz(x: np.ndarray) -> np.ndarray:
    """Five steps of the quintic of Jordan et al. 2024."""
    wide = x if x.shape[0] <= x.shape[1] else x.T
    y = wide / np.linalg.norm(wide)
    for _ in range(5):
        a = y @ y.T
        y = 3.4445 * y + (-4.7750 * a + 2.0315 * a @ a) @ y
    return y if x.shape[0] <= x.shape[1] else y.T


def reference(num_updates: int) -> dict[str, np.ndarray]:
    """Matrices after `num_updates`; Nesterov's momentum with its bias corrected."""
    params, momentum = random_arrays(100), {name: 0.0 for name in MATRICES}
    for step in range(num_updates):
        rate = 0.0 if step == 0 else 0.02 * (NUM_STEPS - step) / NUM_STEPS
        for name, gradient in random_arrays(step).items():
            if name not in MATRICES:
                continue
            m = momentum[name] = 0.95 * momentum[name] + 0.05 * gradient
            ahead = 0.95 * m / (1 - 0.95 ** (step + 2))
            ahead = ahead + 0.05 * gradient / (1 - 0.95 ** (step + 1))
            updates = np.stack([newton_schulz(x) for x in as_matrices(name, ahead)])
            updates *= 0.2 * np.sqrt(max(updates.shape[1:]))
            old = as_matrices(name, params[name])
            new = old - rate * (updates + 0.1 * old)
            if name == "attention/qkv/kernel":
                new = new.reshape(N, 3, D, H, K).transpose(0, 2, 1, 3, 4)
            params[name] = new.reshape(SHAPES[name])
    return params


def run(config: OptimConfig, num_updates: int) -> dict[str, np.ndarray]:
    optimizer = make_optimizer(config, NUM_STEPS)
    params = nested(random_arrays(100))
    state = optimizer.init(params)
    for step in range(num_updates):
        updates, state = optimizer.update(nested(random_arrays(step)), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return flat(params)


@pytest.mark.parametrize("num_updates", [1, 2, 5])
def test_equals_the_published_rule(num_updates):
    found, expected = run(CONFIG, num_updates), reference(num_updates)
    for name in MATRICES:
        np.testing.assert_allclose(found[name], expected[name], atol=2e-5, err_msg=name)


def test_everything_else_is_adamw():
    found = run(CONFIG, 3)
    adamw = run(OptimConfig(**{**vars(CONFIG), "name": "adamw"}), 3)
    for name in SHAPES:
        same = np.array_equal(found[name], adamw[name])
        assert same == (name not in MATRICES), name


def test_the_matrices_of_a_model_are_those_of_its_layers():
    config = BertConfig.named("tiny", vocab_size=128)
    init = make_init(
        lambda rngs: BertForPreTraining(config, rngs=rngs), make_optimizer(CONFIG, 10)
    )
    state = abstract_state(init, make_mesh(MeshConfig()))
    labels = flat(_labels(state.params))
    assert {name for name, label in labels.items() if label == "muon"} == {
        f"bert/encoder/layers/{name}" for name in MATRICES
    }
    # Each parameter has moments of one of the two, and the muon ones have only one.
    moments = sum(x.size for x in jax.tree.leaves(state.opt_state) if x.ndim)
    sizes = {name: x.size for name, x in flat_shapes(state.params).items()}
    muon = sum(sizes[name] for name, label in labels.items() if label == "muon")
    assert moments == 2 * (sum(sizes.values()) - muon) + muon


def flat_shapes(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}
