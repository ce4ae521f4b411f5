"""Checkpoints on disk: parameters, optimizer moments and a JSON record of one step.

This module alone knows Orbax. A checkpoint has three items: `params` (nested dict),
`optimizer` (flat dict, path → array) and `meta` (JSON). It is committed by a rename, so
that a killed save leaves nothing that could be mistaken for a checkpoint.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

FORMAT_VERSION = 1

# Orbax reports every save in a dozen lines on the terminal that shows the run's progress,
# and warns of a file that a checkpoint of several items does not have.
logging.getLogger("absl").setLevel(logging.ERROR)


class CheckpointStore:
    """The checkpoints of one run, by step.

    Args:
        directory: where they lie; made if absent.
        keep: newest checkpoints to keep; older ones are deleted after a save.
    """

    def __init__(self, directory: Path, *, keep: int):
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=True,
            ),
            item_names=("params", "optimizer", "meta"),
        )

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()

    def latest_step(self) -> int | None:
        """The newest committed step; None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, params: Any, optimizer: Any, meta: dict[str, Any]) -> None:
        """Begins to write a checkpoint; the arrays are copied before this returns.

        Args:
            step: updates done so far.
            params: nested dict of arrays.
            optimizer: any tree of arrays.
            meta: JSON values; a `format_version` is added.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params),
                optimizer=ocp.args.StandardSave(_flat(optimizer)),
                meta=ocp.args.JsonSave({"format_version": FORMAT_VERSION, **meta}),
            ),
            force=True,
        )

    def wait(self) -> None:
        """Returns when the save that is under way is committed; raises what went wrong."""
        self._manager.wait_until_finished()

    def restore(self, step: int, params: Any, optimizer: Any) -> tuple[Any, Any]:
        """Reads parameters and optimizer state onto any mesh.

        Args:
            step: which checkpoint.
            params: ShapeDtypeStructs with the shardings to restore to.
            optimizer: the same for the optimizer's state.
        """
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(params),
                optimizer=ocp.args.StandardRestore(_flat(optimizer)),
            ),
        )
        return restored["params"], _unflat(restored["optimizer"], optimizer)

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON record of a checkpoint.

        Raises:
            ValueError: it is of an unknown format.
        """
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        meta: dict[str, Any] = self._manager.restore(step, args=args)["meta"]
        if meta["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"checkpoint {step}: format_version={meta['format_version']} must be "
                f"{FORMAT_VERSION}; it was written by another version of bert_jax"
            )
        return meta


def load_params(directory: Path) -> tuple[int, Any, dict[str, Any]]:
    """Step, parameters as NumPy arrays and record of the newest checkpoint, on any device.

    Raises:
        ValueError: there is no checkpoint.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} has no checkpoint; train first")
    with CheckpointStore(directory, keep=1_000_000) as store:
        step = store.latest_step()
        if step is None:
            raise ValueError(f"{directory} has no checkpoint; train first")
        meta = store.meta(step)
    with ocp.PyTreeCheckpointer() as reader:
        path = directory.absolute() / str(step) / "params"
        structure = reader.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure
        )
        params = reader.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    return step, params, meta


def _flat(tree: Any) -> dict[str, Any]:
    """path → array, so that the file does not depend on the classes of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


def _unflat(flat: dict[str, Any], like: Any) -> Any:
    """The inverse of `_flat` for a tree of known structure."""
    return jax.tree.unflatten(
        jax.tree.structure(like), [flat[path] for path in _flat(like)]
    )
