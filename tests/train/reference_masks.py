"""Which words a batch of one sequence a row asks for, once more: plain NumPy.

Shapes: L length, N predictions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bert_jax.batch import PretrainingBatch
from bert_jax.text.tokenizer import Tokenizer


def mix(bits: np.ndarray) -> np.ndarray:
    """lowbias32."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> np.uint32(shift))) * np.uint32(factor)
    return bits ^ (bits >> np.uint32(16))


def fold(seed: Any, *values: Any) -> np.ndarray:
    total = np.zeros(1, np.uint32)
    factors = (1, 0x9E3779B1, 0x85EBCA77)[: len(values)]
    for value, factor in zip(values, factors, strict=True):
        total = total + np.asarray(value, np.uint32) * np.uint32(factor)
    seed = np.atleast_1d(np.asarray(seed, np.uint32))
    return mix(mix(seed + np.uint32(0x9E3779B9)) ^ total)


def targets(
    batch: PretrainingBatch, tokenizer: Tokenizer, rate: float, most: int, seed: int
) -> np.ndarray:
    """int32[N], the ids that a batch asks for, row by row."""
    places_L = np.arange(batch.input_ids.shape[1], dtype=np.uint32)
    found: list[int] = []
    for ids_L, inside_L, epoch, example in zip(
        batch.input_ids,
        batch.sequence_ids,
        batch.epochs,
        batch.example_ids[:, 0],
        strict=True,
    ):
        row_seed = fold(0, fold(seed, 0, epoch, example))
        score_L = (mix(row_seed ^ (places_L * np.uint32(0x9E3779B9))) >> 8).astype(int)
        score_L[(inside_L == 0) | np.isin(ids_L, tokenizer.special_ids)] = -1
        wanted = max(1, round(int(inside_L.sum()) * rate))
        chosen = np.argsort(-score_L, kind="stable")[: min(wanted, most)]
        found += ids_L[chosen[score_L[chosen] >= 0]].tolist()
    return np.array(found)
