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
            start_step: the step that the run goes on from; what was written of later
                steps is taken back.
        """
        self._writer = SummaryWriter(
            str(pathlib.Path(workdir) / DIRECTORY_NAME),
            purge_step=start_step + 1 if start_step else None,
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
