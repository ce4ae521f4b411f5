"""Apache Beam as the engine: the same stages on Dataflow, Flink, Spark or this machine.

Beam distributes items; the files are written by the stages themselves. So the prepared
directory must be on a file system that this machine and all workers see under one path,
and bert_jax must be installed where the workers run.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from bert_jax.data.engines import Stage


class BeamEngine:
    """A runner of Apache Beam; each stage is one pipeline.

    Args:
        runner: as Beam names it: DirectRunner, DataflowRunner, FlinkRunner, SparkRunner …
        options: of the runner, as on a command line.

    Raises:
        ValueError: Beam is not installed, or knows no such runner.
    """

    def __init__(self, runner: str, options: str):
        try:
            import apache_beam
            from apache_beam.options.pipeline_options import PipelineOptions
        except ImportError:
            raise ValueError(
                f"--runner={runner} must be local where Apache Beam is not installed; "
                "pip install 'bert_jax[beam]'"
            ) from None
        self._beam = apache_beam
        self._runner = _known_runner(runner)
        self._options = PipelineOptions(shlex.split(options))

    def run(self, stage: Stage, items: Sequence[Any], done: Callable[[Any], None]) -> None:
        """See `Engine`; what is done is told when the pipeline has ended."""
        beam = self._beam
        pipeline = beam.Pipeline(runner=self._runner, options=self._options)
        # Reshuffle: an item is the unit that workers share out and that is tried again.
        _ = (
            pipeline
            | "items" >> beam.Create(list(items))
            | "spread" >> beam.Reshuffle()
            | type(stage).__name__ >> beam.Map(stage)
        )
        result = pipeline.run()
        result.wait_until_finish()
        if result.state != "DONE":
            raise RuntimeError(
                f"the Beam pipeline of {type(stage).__name__} ended as {result.state}; run "
                "the same command again: finished shards are kept"
            )
        for item in items:
            done(item)


def _known_runner(name: str) -> Any:
    from apache_beam.runners.runner import create_runner

    try:
        return create_runner(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(
            f"--runner={name} must be local or a runner of Apache Beam such as "
            f"DirectRunner or DataflowRunner ({' '.join(str(error).split())})"
        ) from None
