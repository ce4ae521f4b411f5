"""The pretraining step of a tiny BERT in every mode of the engine, compiled once each.

Shapes: B rows, L length, S sequences packed in a row.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.batch import BATCH_DIMS, PretrainingBatch
from bert_jax.config import Config
from bert_jax.parallel.mesh import AXES, check_mesh, make_mesh
from bert_jax.parallel.placement import place_batch
from bert_jax.train.setup import Program

VOCAB_SIZE, ROWS, LENGTH = 250, 8, 32
LEARNING_RATE = 1e-3
METRICS = ("loss", "mlm_loss", "nsp_loss", "grad_norm", "param_norm")


class Words(NamedTuple):
    """A vocabulary of which nothing is known but its size."""

    vocab_size: int = VOCAB_SIZE
    mask_id: int = 4
    special_ids: tuple[int, ...] = (0, 1, 2, 3, 4)


class Mode(NamedTuple):
    """How a step is computed: devices along each axis of the mesh, and the rest."""

    mesh: tuple[int, int, int, int] = (1, 1, 1, 1)
    micro_batch_size: int | None = None
    gradient_dtype: str = "float32"
    remat: str = "none"
    dtype: str = "float32"
    packing: int = 1
    num_layers: int = 2


ONE = Mode()


class Compiled(NamedTuple):
    """A program, its mesh and its compiled step."""

    program: Program
    mesh: jax.sharding.Mesh
    step: Any


def make_program(mode: Mode) -> tuple[Program, jax.sharding.Mesh]:
    """The program of a configuration that asks for `mode`, with dropout 0.1."""
    config = Config.from_dict(
        {
            "model": {
                "name": "tiny",
                "hidden_size": 32,
                "num_hidden_layers": mode.num_layers,
                "num_attention_heads": 2,
                "intermediate_size": 64,
                "max_position_embeddings": LENGTH,
                # Ten times the usual: with weights near 0 no loss tells who sees whom.
                "initializer_range": 0.2,
            },
            "data": {
                "sequence_length": LENGTH,
                "max_predictions_per_sequence": 5,
                "packing": mode.packing,
            },
            "tokenizer": {"vocab_size": VOCAB_SIZE},
            "optim": {"learning_rate": LEARNING_RATE, "warmup_steps": 2},
            "mesh": dict(zip(AXES, mode.mesh, strict=True)),
            "train": {
                "num_steps": 100,
                "global_batch_size": ROWS,
                "micro_batch_size": mode.micro_batch_size,
                "gradient_dtype": mode.gradient_dtype,
                "remat": mode.remat,
                "dtype": mode.dtype,
                "scan_layers": "scan",
            },
        }
    )
    mesh = make_mesh(config.mesh, jax.devices()[: math.prod(mode.mesh)])
    check_mesh(mesh, config)
    return Program(config, Words(), mesh), mesh


def compile_step(program: Program, mesh: jax.sharding.Mesh, packing: int = 1) -> Any:
    """The step for batches of `batch_at`."""
    batch = place_batch(batch_at(0, packing), mesh, BATCH_DIMS)
    return program.train_step.lower(program.abstract, batch).compile()


@functools.cache
def compiled(mode: Mode) -> Compiled:
    program, mesh = make_program(mode)
    return Compiled(program, mesh, compile_step(program, mesh, mode.packing))


class Run(NamedTuple):
    """float64[steps, METRICS], and the parameters after the last step."""

    metrics: np.ndarray
    params: dict[str, np.ndarray]


def run(mode: Mode, batches: list[PretrainingBatch], *, step: int = 0) -> Run:
    """Updates on `batches`, from the same start, as if `step` had been reached."""
    program, mesh, train_step = compiled(mode)
    state = program.init()
    state = state._replace(step=jax.device_put(jnp.int32(step), state.step.sharding))
    rows = []
    for batch in batches:
        state, metrics = train_step(state, place_batch(batch, mesh, BATCH_DIMS))
        rows.append([float(metrics[name]) for name in METRICS])
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    return Run(
        np.array(rows),
        {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves},
    )


def batch_at(step: int, packing: int = 1) -> PretrainingBatch:
    """Random rows of very unequal lengths: the means of parts differ from the whole's.

    With packing, half of the rows are cut into up to that many sequences.
    """
    rng = np.random.default_rng(step)
    place_L = np.arange(LENGTH)
    lengths_B = rng.integers(6, LENGTH + 1, ROWS)
    pieces_B = np.where(rng.random(ROWS) < 0.5, 1, np.minimum(packing, lengths_B // 6))
    piece_length_B1 = -(-lengths_B // pieces_B)[:, None]
    inside_BL = place_L < lengths_B[:, None]
    position_ids_BL = inside_BL * (place_L % piece_length_B1)
    ids_BL = inside_BL * rng.integers(5, VOCAB_SIZE, inside_BL.shape)
    ids_BL[inside_BL & (position_ids_BL == 0)] = 2
    is_there_BS = np.arange(packing) < pieces_B[:, None]
    order_BS = rng.permutation(ROWS * packing).reshape(ROWS, packing)
    labels_BS = np.where(is_there_BS, rng.integers(0, 2, is_there_BS.shape), -1)
    return PretrainingBatch(
        input_ids=ids_BL.astype(np.int32),
        token_type_ids=(inside_BL & (position_ids_BL > 3)).astype(np.int32),
        sequence_ids=(inside_BL * (1 + place_L // piece_length_B1)).astype(np.int32),
        position_ids=position_ids_BL.astype(np.int32),
        word_starts=inside_BL,
        sequence_starts=(is_there_BS * np.arange(packing) * piece_length_B1).astype(
            np.int32
        ),
        sentence_labels=labels_BS.astype(np.int32),
        example_ids=(is_there_BS * (order_BS + order_BS.size * step)).astype(np.uint32),
        sources=np.zeros(ROWS, np.uint32),
        epochs=np.zeros(ROWS, np.uint32),
        mask_stages=np.zeros(ROWS, np.int32),
    )
