"""TensorBoard event files under `tensorboard/` of a workdir, without TensorFlow."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from typing import Any

from tensorboardX import SummaryWriter

from bert_jax.report.metrics_file import split_of

DIRECTORY_NAME = "tensorboard"


class EventFiles:
    """Scalars of logged rows, `train/…` and `eval/…`, for TensorBoard."""

    def __init__(self, workdir: pathlib.Path, *, start_step: int):
        """Opens a new event file.

        Args:
            start_step: the step that the run goes on from; what earlier files have of
                later steps is taken back. A run that begins at step 0 takes back all,
                since it writes step 0 anew.
        """
        directory = pathlib.Path(workdir) / DIRECTORY_NAME
        number = len(list(directory.iterdir())) if directory.is_dir() else 0
        self._writer = SummaryWriter(
            str(directory),
            # Names have seconds: without a number, two starts in one would share a file.
            filename_suffix=f".{number:04d}",
            purge_step=start_step + 1 if start_step else 0,
        )

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes the finite numbers of one row of metrics."""
        split = split_of(row)
        for name, value in row.items():
            number = value.item() if hasattr(value, "item") else value
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if name != "step" and is_number and math.isfinite(number):
                self._writer.add_scalar(f"{split}/{name}", number, int(row["step"]))

    def close(self) -> None:
        """Writes what is still in memory and closes the file."""
        self._writer.close()
