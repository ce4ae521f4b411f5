"""The training loop: set up → restore or start → step → log → evaluate → save → finish.

It is given what to train as a `Job` and knows nothing more about it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from bert_jax.config_sections import TrainConfig
from bert_jax.train.checkpoint import Checkpoints, check_num_steps
from bert_jax.train.log import RunLog
from bert_jax.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class Job:
    """All that the loop needs of what it trains.

    Attributes:
        abstract: shapes and shardings of the state.
        init: makes the state of step 0.
        train_step: jitted (state, batch) → (state, metrics); donates the state.
        batches: (start, stop) → batches of those steps, in order, on the host.
        place: a batch from the host's memory onto the mesh.
        evaluate: parameters → held-out metrics.
        batch_hash: step → digest of the examples of its batch.
        learning_rate: step → rate of the update that it makes.
        count_tokens: a batch → its tokens, padding not counted, on all hosts.
        flops_per_step: matrix-product FLOPs of one step.
        peak_flops_per_second: of all devices, for MFU.
    """

    abstract: TrainState
    init: Callable[[], TrainState]
    train_step: Any
    batches: Callable[[int, int], Iterator[Any]]
    place: Callable[[Any], Any]
    evaluate: Callable[[Any], dict[str, float]]
    batch_hash: Callable[[int], str]
    learning_rate: Callable[[int], float]
    count_tokens: Callable[[Any], int]
    flops_per_step: float
    peak_flops_per_second: float


class NonFiniteLossError(RuntimeError):
    """The loss or the gradient became NaN or infinite."""


def train(
    job: Job, config: TrainConfig, checkpoints: Checkpoints, log: RunLog
) -> TrainState:
    """Trains until `config.num_steps`, from the newest checkpoint if there is one.

    Raises:
        ValueError: the run is already further than that.
        NonFiniteLossError: with the step and its batch; nothing bad has been saved.
    """
    # Restore or start.
    first_step = checkpoints.latest_step()
    if first_step is None:
        state, first_step = job.init(), 0
    else:
        check_num_steps(first_step, config.num_steps)
        state = checkpoints.restore(first_step, job.abstract)
        log.line(f"resuming after step {first_step:,}")
    log.start(first_step)
    is_finished = first_step == config.num_steps
    if first_step == 0 or (is_finished and not log.has_eval_row(first_step)):
        log.eval_row(first_step, _evaluate(job, state.params, first_step))
    if is_finished:
        return state

    # Compile, with a word to the one who waits.
    batches = job.batches(first_step, config.num_steps)
    batch = next(batches)
    log.status("compiling")
    log.line("compiling the train step …")
    start = time.perf_counter()
    train_step = job.train_step.lower(state, job.place(batch)).compile()
    log.line(f"compiled in {time.perf_counter() - start:.1f} s")

    # Step. Metrics are read one step late, while the device works on the next one.
    meter = _Meter(job)
    unread: _Unread | None = None
    for step in range(first_step, config.num_steps):
        state, metrics = train_step(state, job.place(batch))
        meter.add(job.count_tokens(batch))
        previous, unread = unread, _Unread(step, metrics)
        batch = next(batches, None)
        if previous is not None:
            _read(previous, job, config, meter, log)

        # Evaluate and save, both on a state whose own metrics have been read and are sound.
        done = step + 1
        is_last = done == config.num_steps
        is_eval = is_last or done % config.eval_every_steps == 0
        is_save = is_last or done % config.save_every_steps == 0
        if is_eval or is_save:
            _read(unread, job, config, meter, log)
            unread = None
            if is_eval:
                log.eval_row(done, _evaluate(job, state.params, done))
            if is_save:
                checkpoints.save(state, done)
            meter.restart()
    return state


def _evaluate(job: Job, params: Any, done: int) -> dict[str, float]:
    """Held-out metrics.

    Raises:
        NonFiniteLossError: they are not finite.
    """
    metrics = job.evaluate(params)
    if not all(map(math.isfinite, metrics.values())):
        shown = ", ".join(f"{name}={value}" for name, value in metrics.items())
        raise NonFiniteLossError(
            f"evaluation after step {done}: {shown}; lower optim.learning_rate (the last "
            "checkpoint is sound)"
        )
    return metrics


class _Unread(NamedTuple):
    """A step whose metrics are still on the device."""

    step: int
    metrics: dict[str, jax.Array]


class _Meter:
    """Rates since the last logged step; evaluating and saving do not count.

    A step counts when it is given to the device: what is read late has run by then.
    """

    def __init__(self, job: Job):
        self._job = job
        self._rates: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """Counts from now on."""
        self._start, self._tokens, self._steps = time.perf_counter(), 0, 0

    def add(self, num_tokens: int) -> None:
        """Counts a step."""
        self._tokens += num_tokens
        self._steps += 1

    def rates(self) -> dict[str, float]:
        """Tokens per second and MFU; those of before where no step has run since."""
        if not self._steps:
            return self._rates
        seconds = time.perf_counter() - self._start
        flops_per_second = self._steps * self._job.flops_per_step / seconds
        self._rates = {
            "tokens_per_second": self._tokens / seconds,
            "mfu": flops_per_second / self._job.peak_flops_per_second,
        }
        self.restart()
        return self._rates


def _read(
    unread: _Unread, job: Job, config: TrainConfig, meter: _Meter, log: RunLog
) -> None:
    """Fetches the metrics of a step, checks them, and logs them when it is their turn.

    Raises:
        NonFiniteLossError: they are not finite.
    """
    metrics = {name: float(value) for name, value in jax.device_get(unread.metrics).items()}
    step, done = unread.step, unread.step + 1
    watched = {name: metrics[name] for name in ("loss", "grad_norm", "param_norm")}
    if not all(map(math.isfinite, watched.values())):
        shown = ", ".join(f"{name}={value}" for name, value in watched.items())
        raise NonFiniteLossError(
            f"step {done}: {shown} on batch {job.batch_hash(step)}; lower "
            "optim.learning_rate or raise optim.warmup_steps (the last checkpoint is sound)"
        )
    if done == 1 or done % config.log_every_steps == 0 or done == config.num_steps:
        log.train_row(
            {
                "step": done,
                **metrics,
                "learning_rate": job.learning_rate(step),
                **meter.rates(),
                "batch_hash": job.batch_hash(step),
            }
        )
