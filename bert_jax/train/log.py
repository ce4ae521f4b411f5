"""Where a run writes what happens: the terminal, metrics.jsonl, TensorBoard, status."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from bert_jax.report.event_files import EventFiles
from bert_jax.report.metrics_file import MetricsWriter, read_metrics, split_of
from bert_jax.report.progress import Progress
from bert_jax.report.status import State, Status, write_status


class RunLog:
    """One door to all records of a run. A context manager.

    Nothing is written before `status` or `start`: a command that is refused earlier
    leaves all records as they were.

    Args:
        workdir: the run's folder.
        num_steps: updates of the whole run.
        progress: the terminal.
    """

    def __init__(self, workdir: Path, num_steps: int, progress: Progress):
        self._workdir = workdir
        self._num_steps = num_steps
        self._progress = progress
        self._metrics: MetricsWriter | None = None
        self._events: EventFiles | None = None
        self._step = 0
        self._has_status = False

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._has_status:
            state: State = "failed" if isinstance(error, Exception) else "stopped"
            self.status(state, str(error) or type(error).__name__)
        self._progress.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._events is not None:
            self._events.close()

    def start(self, step: int) -> None:
        """Goes on from `step`: what was written of later steps is taken back.

        A run that begins at step 0 takes back all: it may be of another configuration.
        """
        self._step = step
        self._metrics = MetricsWriter(self._workdir)
        self._metrics.truncate_after(step if step else -1)
        self._events = EventFiles(self._workdir, start_step=step)

    def train_row(self, row: dict[str, Any]) -> None:
        """A logged training step."""
        self._append(row)
        self._progress.step(row["step"], self._num_steps, row)
        self.status("training")

    def eval_row(
        self, step: int, metrics: dict[str, float], *, split: str = "eval"
    ) -> None:
        """Held-out metrics of the model after `step` updates."""
        self._append({"step": step, "split": split, **metrics})
        named = "  ".join(
            f"{name} {value:.1%}" if name.endswith("accuracy") else f"{name} {value:.3f}"
            for name, value in metrics.items()
        )
        self._progress.line(f"{split} at step {step:,}: {named}")

    def has_eval_row(self, step: int, *, split: str = "eval") -> bool:
        """Whether the held-out metrics after `step` updates are recorded."""
        return any(
            (row["step"], split_of(row)) == (step, split)
            for row in read_metrics(self._workdir)
        )

    def line(self, text: str) -> None:
        """A line for the person who watches."""
        self._progress.line(text)

    def status(self, state: State, message: str = "") -> None:
        """Where the run stands, for whoever looks from outside."""
        self._has_status = True
        write_status(self._workdir, Status(state, self._step, self._num_steps, message))

    def _append(self, row: dict[str, Any]) -> None:
        assert self._metrics and self._events, "start() opens the log"
        self._step = max(self._step, row["step"])
        self._metrics.append(row)
        self._events.append(row)
