"""Saving and restoring a run: state, configuration and what its data were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.config import Config
from bert_jax.formats.orbax import CheckpointStore, check_hashes
from bert_jax.train.state import TrainState

CHECKPOINTS = "checkpoints"


class Checkpoints:
    """Checkpoints of a run in `WORKDIR/checkpoints`.

    Args:
        workdir: the run's folder.
        config: resolved configuration, written into each checkpoint.
        vocab_size: entries of the vocabulary.
        tokenizer_sha256: hash of the vocabulary that the weights belong to.
        data_sha256: hash of the prepared data's manifest.
    """

    def __init__(
        self,
        workdir: Path,
        config: Config,
        *,
        vocab_size: int,
        tokenizer_sha256: str,
        data_sha256: str,
    ):
        self._store = CheckpointStore(
            workdir / CHECKPOINTS, keep=config.train.keep_checkpoints
        )
        self._hashes = {"tokenizer_sha256": tokenizer_sha256, "data_sha256": data_sha256}
        self._meta = {
            "config": config.to_dict(),
            "vocab_size": vocab_size,
            **self._hashes,
        }

    def latest_step(self) -> int | None:
        """The newest step that can be restored."""
        return self._store.latest_step()

    def save(self, state: TrainState, step: int) -> None:
        """Begins to save `state`, which stands after `step` updates, unless it is saved."""
        if self.latest_step() != step:
            self._store.save(step, state.params, state.opt_state, self._meta)

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state after `step` updates, placed as `abstract` says.

        Raises:
            ValueError: the checkpoint belongs to another vocabulary or to other data.
        """
        check_hashes(step, self._store.meta(step), **self._hashes)
        params, opt_state = self._store.restore(step, abstract.params, abstract.opt_state)
        return TrainState(_scalar_like(abstract.step, step), params, opt_state)

    def close(self) -> None:
        """Waits for the last save and lets go."""
        self._store.wait()
        self._store.__exit__(None, None, None)


def check_num_steps(step: int, num_steps: int) -> None:
    """Raises ValueError where the newest checkpoint is beyond the end of the run."""
    if step > num_steps:
        raise ValueError(
            f"train.num_steps={num_steps} must be at least {step}, the step of the newest "
            "checkpoint; raise it or use a new workdir"
        )


def _scalar_like(abstract: Any, value: int) -> jax.Array:
    return jax.device_put(jnp.asarray(value, abstract.dtype), abstract.sharding)
