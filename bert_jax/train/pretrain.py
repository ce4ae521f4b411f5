"""The pretraining job: prepared data, model, optimizer and loop put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from bert_jax.batch import PretrainingBatch
from bert_jax.config import Config
from bert_jax.data.manifest import Manifest
from bert_jax.data.prepare import cache_root, data_directory, prepare
from bert_jax.data.stream import BatchStream
from bert_jax.formats.orbax import check_hashes, load_params, newest_record
from bert_jax.model.bert import BertForPreTraining
from bert_jax.model.flops import pretraining_flops_per_row
from bert_jax.objective.masking import Masking
from bert_jax.objective.pretraining import make_pretraining_loss
from bert_jax.optim.adamw import make_optimizer, make_schedule
from bert_jax.parallel.devices import measure_matmul_flops_per_second, use_compilation_cache
from bert_jax.parallel.mesh import check_batch, make_mesh
from bert_jax.parallel.placement import make_row_constraint, place_batch
from bert_jax.parallel.rules import tree_shardings
from bert_jax.report.metrics_file import read_metrics
from bert_jax.report.progress import Progress
from bert_jax.text.tokenizer import Tokenizer, load_tokenizer
from bert_jax.train.checkpoint import CHECKPOINTS, Checkpoints, check_num_steps
from bert_jax.train.evaluation import MASK_RATE, MASK_SEED, make_evaluate, unigram_metrics
from bert_jax.train.log import RunLog
from bert_jax.train.loop import Job, train
from bert_jax.train.start import informed_start
from bert_jax.train.state import TrainState, abstract_state, init_sharded, make_init
from bert_jax.train.step import jit_train_step, make_train_step
from bert_jax.train.workdir import (
    TOKENIZER,
    check_workdir,
    load_config_of,
    save_config,
    with_data_directory,
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run can say of itself.

    Attributes:
        metrics: held-out metrics of the model.
        untrained: the same of the model before its first step; None where the workdir
            has lost the record.
        unigram: the same of a model that knows word frequencies only.
    """

    metrics: dict[str, float]
    untrained: dict[str, float] | None
    unigram: dict[str, float]

    @property
    def nats_below_unigram(self) -> float:
        """How far the masked-word loss is below that of the unigram baseline."""
        return self.unigram["mlm_loss"] - self.metrics["mlm_loss"]


def pretrain(config: Config, workdir: Path, progress: Progress) -> Outcome:
    """Runs or resumes a pretraining run, from text on disk to a trained model.

    Args:
        config: what to do.
        workdir: the run's folder; the same call again goes on from its last checkpoint.
        progress: where to show what happens.

    Raises:
        ValueError: the configuration does not fit the devices, the workdir or the data.
        NonFiniteLossError: training diverged.
    """
    use_compilation_cache(cache_root() / "compiled")
    mesh = make_mesh(config.mesh)
    check_batch(mesh, config.train.global_batch_size)
    last = config.train.num_steps
    newest = newest_record(workdir / CHECKPOINTS)
    if newest is None:
        save_config(workdir, config)
    else:
        config = check_workdir(workdir, config)
        check_num_steps(newest[0], last)
    with RunLog(workdir, last, progress) as log:
        log.line(
            f"{mesh.size} x {mesh.devices.flat[0].device_kind}, mesh {dict(mesh.shape)}"
        )
        if newest is None:
            log.status("preparing")
        directory = data_directory(config)
        config = with_data_directory(config, directory)
        manifest = prepare(config, directory, report=progress.bar)
        tokenizer = _tokenizer(workdir, manifest, directory, newest)
        setup = _Setup(config, tokenizer, mesh)
        job = setup.job()
        # All checks have passed: from here on a run that resumes writes, too.
        save_config(workdir, config)
        if newest is None:
            tokenizer.save(workdir / TOKENIZER)
        log.status("preparing")
        checkpoints = Checkpoints(
            workdir,
            config,
            vocab_size=tokenizer.vocab_size,
            tokenizer_sha256=tokenizer.sha256,
            data_sha256=manifest.sha256,
        )
        try:
            train(job, config.train, checkpoints, log)
        finally:
            checkpoints.close()
        if not log.has_eval_row(last, split="unigram"):
            log.eval_row(last, setup.unigram_metrics(), split="unigram")
        log.status("done")
    return _outcome(read_metrics(workdir), last)


def _outcome(rows: list[dict[str, Any]], last: int) -> Outcome:
    metrics = {
        (row["step"], row["split"]): {
            name: value for name, value in row.items() if name not in ("step", "split")
        }
        for row in rows
        if "split" in row
    }
    return Outcome(
        metrics=metrics[last, "eval"],
        untrained=metrics[0, "eval"] if (0, "eval") in metrics else None,
        unigram=metrics[last, "unigram"],
    )


def _tokenizer(
    workdir: Path,
    manifest: Manifest,
    directory: Path,
    newest: tuple[int, dict[str, Any]] | None,
) -> Tokenizer:
    """The tokenizer of a run: of its data, and once there is a checkpoint its own.

    Raises:
        ValueError: the newest checkpoint was trained with another one or on other data.
    """
    if newest is None:
        return load_tokenizer(directory / TOKENIZER)
    step, meta = newest
    check_hashes(
        step,
        meta,
        tokenizer_sha256=manifest.tokenizer_sha256,
        data_sha256=manifest.sha256,
    )
    tokenizer = load_tokenizer(workdir / TOKENIZER)
    check_hashes(step, meta, tokenizer_sha256=tokenizer.sha256)
    return tokenizer


def evaluate(config: Config | None, workdir: Path) -> dict[str, Any]:
    """Held-out metrics of the newest checkpoint of a run, beside the unigram baseline.

    Args:
        config: the run's configuration; None to read it from the workdir.
        workdir: the run's folder; nothing is written there.
    """
    config = check_workdir(workdir, config or load_config_of(workdir))
    use_compilation_cache(cache_root() / "compiled")
    mesh = make_mesh(config.mesh)
    check_batch(mesh, config.train.global_batch_size)
    step, params, meta = load_params(workdir / CHECKPOINTS)
    tokenizer = load_tokenizer(workdir / TOKENIZER)
    check_hashes(step, meta, tokenizer_sha256=tokenizer.sha256)
    setup = _Setup(config, tokenizer, mesh)
    params = jax.device_put(params, tree_shardings(params, mesh))
    metrics, unigram = setup.evaluate(params), setup.unigram_metrics()
    return {
        "step": step,
        **metrics,
        "unigram": unigram,
        "nats_below_unigram": unigram["mlm_loss"] - metrics["mlm_loss"],
    }


class _Setup:
    """Everything about one run that its configuration decides."""

    def __init__(self, config: Config, tokenizer: Tokenizer, mesh: Mesh):
        self._config = config
        self._tokenizer = tokenizer
        self._mesh = mesh
        self._bert_config = config.bert_config(tokenizer.vocab_size)
        self._data = Path(config.data.directory)
        self._graphdef = nnx.graphdef(nnx.eval_shape(lambda: self._make_model(nnx.Rngs(0))))
        self._eval_stream, self._eval_rows = self._held_out()
        predictions = max(1, round(MASK_RATE * config.data.sequence_length))
        self._eval_loss = make_pretraining_loss(
            self._masking(MASK_RATE, predictions), seed=MASK_SEED
        )
        self.evaluate = make_evaluate(
            self._eval_loss, self._graphdef, self._eval_batches, mesh
        )

    def job(self) -> Job:
        """The run as the loop wants it."""
        config = self._config
        train, objective = config.train, config.objective
        predictions = config.data.max_predictions_per_sequence
        optimizer = make_optimizer(config.optim, train.num_steps)
        init_state = make_init(self._make_model, optimizer)
        abstract = abstract_state(init_state, self._mesh)
        loss_fn = make_pretraining_loss(
            self._masking(objective.mask_rate, predictions), seed=train.seed
        )
        train_step = make_train_step(loss_fn, optimizer, self._graphdef, seed=train.seed)
        stream = self._stream("train", train.global_batch_size)
        schedule = make_schedule(config.optim, train.num_steps)
        flops_per_row = pretraining_flops_per_row(
            self._bert_config, length=config.data.sequence_length, predictions=predictions
        )
        return Job(
            abstract=abstract,
            init=lambda: self._initial(init_sharded(init_state, abstract, train.seed)),
            train_step=jit_train_step(train_step, abstract, self._mesh),
            batches=stream.iterate,
            place=lambda batch: place_batch(batch, self._mesh),
            evaluate=self.evaluate,
            batch_hash=stream.batch_hash,
            learning_rate=lambda step: float(schedule(step)),
            count_tokens=_count_tokens,
            flops_per_step=train.global_batch_size * flops_per_row,
            peak_flops_per_second=measure_matmul_flops_per_second(self._dtype),
        )

    def unigram_metrics(self) -> dict[str, float]:
        """Metrics of word frequencies alone, on the targets that the model is asked for."""
        return unigram_metrics(
            self._eval_loss, self._log_frequencies, self._eval_batches(), self._mesh
        )

    @property
    def _log_frequencies(self) -> np.ndarray:
        """float32[V], log p of each id in the training text; an absent id counts once."""
        counts_V = np.maximum(np.load(self._data / "unigram_counts.npy"), 1)
        return np.log(counts_V / counts_V.sum()).astype(np.float32)

    def _initial(self, state: TrainState) -> TrainState:
        """A state of step 0 with the start that the configuration asks for."""
        if self._config.train.start == "random":
            return state
        params = informed_start(
            state.params, self._log_frequencies, self._bert_config.initializer_range
        )
        return state._replace(params=params)

    @property
    def _dtype(self) -> jnp.dtype:
        return jnp.dtype(self._config.train.dtype)

    def _make_model(self, rngs: nnx.Rngs) -> BertForPreTraining:
        unroll = self._mesh.devices.flat[0].platform == "cpu"
        return BertForPreTraining(
            self._bert_config,
            dtype=self._dtype,
            rngs=rngs,
            unroll=unroll,
            constrain=make_row_constraint(self._mesh),
        )

    def _masking(self, mask_rate: float, max_predictions: int) -> Masking:
        return Masking(
            mask_rate=mask_rate,
            max_predictions=max_predictions,
            mask_id=self._tokenizer.mask_id,
            special_ids=self._tokenizer.special_ids,
            vocab_size=self._tokenizer.vocab_size,
        )

    def _stream(self, split: str, global_batch_size: int) -> BatchStream:
        return BatchStream(
            self._data,
            split=split,
            data=self._config.data,
            global_batch_size=global_batch_size,
            tokenizer=self._tokenizer,
            host_index=jax.process_index(),
            host_count=jax.process_count(),
        )

    def _held_out(self) -> tuple[BatchStream, int]:
        """Held-out batches and their rows: as in training, or all examples if fewer.

        Raises:
            ValueError: there are fewer held-out examples than devices that share a batch.
        """
        rows = self._config.train.global_batch_size
        stream = self._stream("eval", rows)
        examples = stream.examples_per_epoch
        if examples >= rows:
            return stream, rows
        share = self._mesh.shape["data"] * self._mesh.shape["fsdp"]
        if examples < share:
            raise ValueError(
                f"data.eval_fraction={self._config.data.eval_fraction} must hold out at "
                f"least {share} examples, mesh.data x mesh.fsdp, and holds out {examples}; "
                "raise it or add text"
            )
        rows = examples // share * share
        return self._stream("eval", rows), rows

    def _eval_batches(self) -> Iterator[PretrainingBatch]:
        """The first held-out batches, each example once at the most."""
        whole = self._eval_stream.examples_per_epoch // self._eval_rows
        return self._eval_stream.iterate(0, min(self._config.train.eval_batches, whole))


def _count_tokens(batch: PretrainingBatch) -> int:
    return int(np.sum(batch.attention_mask)) * jax.process_count()
