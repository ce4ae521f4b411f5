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

# What to do where a hash in the record is not the expected one.
_REMEDIES = {
    "tokenizer_sha256": "use the tokenizer of the run",
    "data_sha256": "use the data of the run, or a new workdir",
}

# Orbax reports every save in a dozen lines on the terminal that shows the run's progress,
# and warns of a file that a checkpoint of several items does not have.
logging.getLogger("absl").setLevel(logging.ERROR)


class CheckpointStore:
    """The checkpoints of one run, by step.

    Args:
        directory: where they lie; made if absent.
        keep: newest checkpoints to keep; older ones are deleted after a save. None to
            read only: nothing is made or deleted, and a save that another process has
            under way goes on undisturbed.
    """

    def __init__(self, directory: Path, *, keep: int | None):
        is_reader = keep is None
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                read_only=is_reader,
                create=not is_reader,
                cleanup_tmp_directories=not is_reader,
                enable_async_checkpointing=not is_reader,
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


def newest_record(directory: Path) -> tuple[int, dict[str, Any]] | None:
    """Step and JSON record of the newest checkpoint; None where there is none.

    Nothing is written, as with all that only reads.
    """
    if not directory.is_dir():
        return None
    with CheckpointStore(directory, keep=None) as store:
        step = store.latest_step()
        return None if step is None else (step, store.meta(step))


def check_hashes(step: int, meta: dict[str, Any], **hashes: str) -> None:
    """Raises ValueError where a checkpoint's record has another hash than expected.

    Args:
        step: which checkpoint.
        meta: its record.
        hashes: `tokenizer_sha256` and `data_sha256`, or one of them, as they are here.
    """
    for key, expected in hashes.items():
        if meta[key] != expected:
            raise ValueError(
                f"checkpoint {step} has {key}={meta[key][:12]}…; it must be that of "
                f"this run, {expected[:12]}…; {_REMEDIES[key]}"
            )


def load_params(directory: Path) -> tuple[int, Any, dict[str, Any]]:
    """Step, parameters as NumPy arrays and record of the newest checkpoint, on any device.

    Nothing is written: the run may be going on meanwhile.

    Raises:
        ValueError: there is no checkpoint.
    """
    newest = newest_record(directory)
    if newest is None:
        raise ValueError(f"{directory} has no checkpoint; train first")
    step, meta = newest
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
