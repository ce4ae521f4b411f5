"""The small model and the batches that the golden arrays are made for.

Shapes: B batch, L length.
"""

from __future__ import annotations

import pathlib

import numpy as np
from batches import make_masking, unpacked_batch

from bert_jax.batch import PretrainingBatch
from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import OptimConfig

FOLDER = pathlib.Path(__file__).parent
MODEL_FILE = FOLDER / "model.npz"
STEPS_FILE = FOLDER / "steps.npz"

# No two sizes are equal, so that no two dims can be confused; vocab_size is no multiple
# of 128, so that the padding of the table takes part.
CONFIG = BertConfig(
    vocab_size=83,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=20,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)

NUM_STEPS = 20
SEED = 11
CLS, SEP = 2, 3
MASKING = make_masking(rate=0.2, most=4, vocab_size=CONFIG.vocab_size)
# All of it decides the result: the clip is between the smallest and the largest gradient
# norm, the warm-up ends at step 5, and the decay is ten times the usual one.
OPTIMIZERS = {
    name: OptimConfig(
        name=name, learning_rate=0.01, warmup_steps=5, weight_decay=0.1, clip_norm=3.0
    )
    for name in ("bert_adamw", "adamw")
}


def model_inputs() -> dict[str, np.ndarray]:
    """Rows of three lengths with segments, and positions that are not 0 … L−1."""
    rng = np.random.default_rng(5)
    ids_BL = rng.integers(5, CONFIG.vocab_size, (3, 12))
    lengths_B = np.array([12, 9, 5])
    index_L = np.arange(12)
    starts_B = np.array([6, 4, 2])  # of the second segment
    mask_BL = index_L < lengths_B[:, None]
    return {
        "input_ids": np.where(mask_BL, ids_BL, 0).astype(np.int32),
        "attention_mask": mask_BL.astype(np.int32),
        "token_type_ids": (mask_BL & (index_L >= starts_B[:, None])).astype(np.int32),
        "position_ids": np.stack([rng.permutation(20)[:12] for _ in range(3)]).astype(
            np.int32
        ),
    }


def training_batch(step: int, seed: int = 0) -> PretrainingBatch:
    """Batch of a step: four rows of unequal length, so of unequal numbers of masks."""
    rng = np.random.default_rng((seed, step))
    length, index_L = 16, np.arange(16)
    lengths_B = rng.integers(6, length + 1, 4)
    starts_B = rng.integers(3, lengths_B - 2)
    ids_BL = rng.integers(5, 40, (4, length))  # half of the words never stand in the text
    ids_BL[:, 0] = CLS
    ids_BL[np.arange(4), starts_B - 1] = SEP
    ids_BL[np.arange(4), lengths_B - 1] = SEP
    mask_BL = index_L < lengths_B[:, None]
    return unpacked_batch(
        np.where(mask_BL, ids_BL, 0),
        mask_BL & (index_L >= starts_B[:, None]),
        mask_BL,
        labels_B=rng.integers(0, 2, 4),
        example_ids_B=np.arange(4 * step, 4 * step + 4),
        epochs_B=np.full(4, step // 10),
    )
