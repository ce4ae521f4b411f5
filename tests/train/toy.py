"""A job for the loop that compiles at once: a line through points, from the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.placement import place_batch
from bert_jax.parallel.rules import Rules
from bert_jax.report.progress import Progress
from bert_jax.train.checkpoint import Checkpoints
from bert_jax.train.evaluation import mean_of_terms
from bert_jax.train.log import RunLog
from bert_jax.train.loop import Job, train
from bert_jax.train.state import TrainState, abstract_state, init_sharded, make_init
from bert_jax.train.step import jit_train_step, make_train_step

RULES: Rules = ((r"kernel", ("fsdp", None)), (r"bias", (None,)))
HASHES = {"vocab_size": 8, "tokenizer_sha256": "a" * 64, "data_sha256": "b" * 64}
EIGHT, ONE = MeshConfig(), MeshConfig(data=1)


def config(**train_fields: Any) -> Config:
    """A configuration that saves and evaluates often."""
    fields = {
        "num_steps": 10,
        "log_every_steps": 1,
        "eval_every_steps": 4,
        "save_every_steps": 3,
        **train_fields,
    }
    return Config.from_dict({"optim": {"warmup_steps": 1}, "train": fields})


def points(step: int, rows: int = 8, *, width: int = 8) -> np.ndarray:
    """float32[rows, width]: a batch is a function of its step."""
    return np.random.default_rng(step).normal(size=(rows, width)).astype(np.float32)


def loss(model: Any, batch: jax.Array, key: jax.Array | None) -> Any:
    """How far the model is from the sum of its inputs, and noise that needs the key."""
    noise_B = jnp.zeros(batch.shape[0])
    if key is not None:
        noise_B = 0.1 * jax.random.normal(key, noise_B.shape)
    error_B = model(batch)[:, 0] - batch.sum(axis=1) - noise_B
    rows = jnp.float32(batch.shape[0])
    return {"square": (jnp.sum(error_B**2), rows)}, {"error": (jnp.sum(error_B), rows)}


def make_job(
    mesh_config: MeshConfig = ONE,
    *,
    loss_fn: Any = loss,
    width: int = 8,
    batch_at: Callable[[int], np.ndarray] | None = None,
) -> Job:
    """Everything the loop needs, made anew."""
    num_devices = 1 if mesh_config == ONE else 8
    mesh = make_mesh(mesh_config, jax.devices()[:num_devices])
    make_model = lambda rngs: nnx.Linear(width, 1, rngs=rngs)  # noqa: E731
    optimizer = optax.adam(0.05)
    init_state = make_init(make_model, optimizer)
    abstract = abstract_state(init_state, mesh, RULES)
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: make_model(nnx.Rngs(0))))
    step = make_train_step(loss_fn, optimizer, graphdef, seed=0)
    batch_at = batch_at or (lambda k: points(k, width=width))

    def batches(start: int, stop: int) -> Iterator[np.ndarray]:
        return (batch_at(k) for k in range(start, stop))

    def evaluate(params: Any) -> dict[str, float]:
        losses, _ = loss_fn(nnx.merge(graphdef, params), points(10**6, width=width), None)
        return mean_of_terms([losses])

    return Job(
        abstract=abstract,
        init=lambda: init_sharded(init_state, abstract, 0),
        train_step=jit_train_step(step, abstract, mesh),
        batches=batches,
        place=lambda batch: place_batch(batch, mesh),
        evaluate=evaluate,
        batch_hash=lambda k: f"{k:016x}",
        learning_rate=lambda _: 0.05,
        count_tokens=lambda batch: batch.size,
        flops_per_step=1.0,
        peak_flops_per_second=1.0,
    )


def run(job: Job, workdir: Path, config: Config, **hashes: Any) -> TrainState:
    """One start of the loop in a workdir, with objects of its own, all closed after it."""
    checkpoints = Checkpoints(workdir, config, **{**HASHES, **hashes})
    try:
        with (
            open(workdir / "terminal.txt", "a") as terminal,
            Progress(terminal) as progress,
            RunLog(workdir, config.train.num_steps, progress) as log,
        ):
            return train(job, config.train, checkpoints, log)
    finally:
        checkpoints.close()


def arrays(state: TrainState) -> list[np.ndarray]:
    """All of a state, on the host."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(state))]
