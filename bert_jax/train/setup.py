"""What a configuration decides of a pretraining run: model, batches, step, evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from bert_jax.batch import BATCH_DIMS, PretrainingBatch
from bert_jax.config import Config
from bert_jax.config_sections import DataConfig, TrainConfig
from bert_jax.data.stream import BatchStream
from bert_jax.model.attention import plain_attention
from bert_jax.model.flops import pretraining_flops_per_row
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.objective.mask_rates import mask_rates, stage_of
from bert_jax.objective.masking import Masking, slots_per_row
from bert_jax.objective.pretraining import make_pretraining_loss
from bert_jax.optim.optimizer import make_optimizer, make_schedule
from bert_jax.parallel.accumulation import ROW_AXES_OF_A_GROUP, Accumulation
from bert_jax.parallel.devices import measure_matmul_flops_per_second
from bert_jax.parallel.mesh import num_micro_steps
from bert_jax.parallel.placement import ROW_AXES, gather_keys, make_constrain, place_batch
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.train.adoption import adopted_params
from bert_jax.train.evaluation import MASK_RATE, MASK_SEED, make_evaluate, unigram_metrics
from bert_jax.train.loop import Job
from bert_jax.train.remat import make_remat
from bert_jax.train.start import informed_start
from bert_jax.train.state import TrainState, abstract_state, init_sharded, make_init
from bert_jax.train.step import jit_train_step, make_train_step


class Vocabulary(Protocol):
    """What a program needs to know of a tokenizer."""

    @property
    def mask_id(self) -> int: ...
    @property
    def special_ids(self) -> tuple[int, ...]: ...
    @property
    def vocab_size(self) -> int: ...


class Program:
    """What is computed on the devices: model, masks, losses, optimizer, start and step.

    Needs neither data nor devices that are there: a mesh of described ones will do.

    Attributes:
        bert_config: the architecture.
        graphdef: the model without its parameters.
        training_loss: with masks and a seed as the configuration says.
        predictions_per_row: places of a training row that the vocabulary head scores.
        held_out_loss: with the masks that all held-out metrics share.
        abstract: shapes, dtypes and shardings of the state.
        train_step: jitted (state, batch) → (state, metrics); donates the state.
    """

    def __init__(self, config: Config, vocabulary: Vocabulary, mesh: Mesh):
        data, train = config.data, config.train
        self._vocabulary, self._mesh, self._seed = vocabulary, mesh, train.seed
        self._dtype = jnp.dtype(train.dtype)
        self.bert_config = config.bert_config(vocabulary.vocab_size)
        is_cpu = mesh.devices.flat[0].platform == "cpu"
        self._unroll = (
            is_cpu if train.scan_layers == "auto" else train.scan_layers == "unroll"
        )
        self._remat = make_remat(train.remat, unroll=self._unroll)
        self.graphdef = self._graphdef(ROW_AXES)
        masking = self._masking(
            data, mask_rates(config.objective), data.max_predictions_per_sequence
        )
        masking = dataclasses.replace(masking, kind=config.objective.masking)
        self.predictions_per_row = masking.num_predictions
        task = config.objective.sentence_task
        self.training_loss = make_pretraining_loss(
            masking, seed=train.seed, sentence_task=task
        )
        held_out_predictions = max(1, round(MASK_RATE * data.sequence_length))
        self.held_out_loss = make_pretraining_loss(
            self._masking(data, (MASK_RATE,), held_out_predictions),
            seed=MASK_SEED,
            sentence_task=task,
        )
        optimizer = make_optimizer(config.optim, train.num_steps)
        self._init_state = make_init(self._make_model, optimizer)
        self.abstract = abstract_state(self._init_state, mesh)
        accumulation = self._accumulation(train)
        step = make_train_step(
            self.training_loss,
            optimizer,
            self.graphdef if accumulation is None else self._graphdef(ROW_AXES_OF_A_GROUP),
            seed=train.seed,
            accumulation=accumulation,
        )
        self.train_step = jit_train_step(step, self.abstract, mesh, BATCH_DIMS)

    def init(self) -> TrainState:
        """A state of step 0 with random weights, drawn in its shards."""
        return init_sharded(self._init_state, self.abstract, self._seed)

    def _accumulation(self, train: TrainConfig) -> Accumulation | None:
        """How batches are taken apart; None where nothing asks for it."""
        micro_steps = num_micro_steps(
            self._mesh, train.global_batch_size, train.micro_batch_size
        )
        if micro_steps == 1 and train.gradient_dtype == "float32":
            return None
        return Accumulation(
            self._mesh,
            micro_steps,
            jnp.dtype(train.gradient_dtype),
            jax.tree.map(lambda x: x.sharding, self.abstract.params),
        )

    def _graphdef(self, row_axes: tuple[str, ...]) -> nnx.GraphDef[Any]:
        return nnx.graphdef(nnx.eval_shape(lambda: self._make_model(nnx.Rngs(0), row_axes)))

    def _make_model(
        self, rngs: nnx.Rngs, row_axes: tuple[str, ...] = ROW_AXES
    ) -> BertForPreTraining:
        constrain = make_constrain(self._mesh, row_axes)
        is_divided = self._mesh.shape["sequence"] > 1
        return BertForPreTraining(
            self.bert_config,
            dtype=self._dtype,
            rngs=rngs,
            attention=(
                gather_keys(plain_attention, constrain) if is_divided else plain_attention
            ),
            unroll=self._unroll,
            constrain=constrain,
            remat=self._remat,
        )

    def _masking(
        self, data: DataConfig, rates: tuple[float, ...], max_predictions: int
    ) -> Masking:
        """Masks of single tokens."""
        return Masking(
            kind="token",
            mask_rates=rates,
            max_predictions=max_predictions,
            num_predictions=slots_per_row(
                data.sequence_length, data.packing, max_predictions, rates
            ),
            mask_id=self._vocabulary.mask_id,
            special_ids=self._vocabulary.special_ids,
            vocab_size=self._vocabulary.vocab_size,
        )


class Setup:
    """Everything about one pretraining run that its configuration decides."""

    def __init__(self, config: Config, tokenizer: Tokenizer, mesh: Mesh):
        self._config = config
        self._tokenizer = tokenizer
        self._mesh = mesh
        self._data = Path(config.data.directory)
        self._program = Program(config, tokenizer, mesh)
        self._eval_stream, self._eval_rows = self._held_out()
        self.evaluate = make_evaluate(
            self._program.held_out_loss, self._program.graphdef, self._eval_batches, mesh
        )

    def job(self) -> Job:
        """The run as the loop wants it."""
        config, program = self._config, self._program
        data, train = config.data, config.train
        stream = self._stream("train", train.global_batch_size)
        num_stages = len(mask_rates(config.objective))

        def batches(start: int, stop: int) -> Iterator[PretrainingBatch]:
            for step, batch in enumerate(stream.iterate(start, stop), start):
                stage = stage_of(step, train.num_steps, num_stages)
                yield batch._replace(mask_stages=np.full_like(batch.mask_stages, stage))

        schedule = make_schedule(config.optim, train.num_steps)
        flops_per_row = pretraining_flops_per_row(
            program.bert_config,
            length=data.sequence_length,
            predictions=program.predictions_per_row,
        )
        return Job(
            abstract=program.abstract,
            init=self._initial,
            train_step=program.train_step,
            batches=batches,
            place=lambda batch: place_batch(batch, self._mesh, BATCH_DIMS),
            evaluate=self.evaluate,
            batch_hash=stream.batch_hash,
            learning_rate=lambda step: float(schedule(step)),
            count_tokens=_count_tokens,
            flops_per_step=train.global_batch_size * flops_per_row,
            peak_flops_per_second=measure_matmul_flops_per_second(jnp.dtype(train.dtype)),
        )

    def unigram_metrics(self) -> dict[str, float]:
        """Metrics of word frequencies alone, on the targets that the model is asked for."""
        return unigram_metrics(
            self._program.held_out_loss,
            self._log_frequencies,
            self._eval_batches(),
            self._mesh,
        )

    @property
    def _log_frequencies(self) -> np.ndarray:
        """float32[V], log p of each id in the training text; an absent id counts once."""
        counts_V = np.maximum(np.load(self._data / "unigram_counts.npy"), 1)
        return np.log(counts_V / counts_V.sum()).astype(np.float32)

    def _initial(self) -> TrainState:
        """A state of step 0 with the start that the configuration asks for."""
        state = self._program.init()
        if self._config.init_from:
            vocab_size = self._tokenizer.vocab_size
            return state._replace(
                params=adopted_params(self._config, vocab_size, self._mesh)
            )
        if self._config.train.start == "random":
            return state
        params = informed_start(
            state.params,
            self._log_frequencies,
            self._program.bert_config.initializer_range,
        )
        return state._replace(params=params)

    def _stream(self, split: str, global_batch_size: int) -> BatchStream:
        return BatchStream(
            self._data,
            split=split,
            data=self._config.data,
            sentence_task=self._config.objective.sentence_task,
            global_batch_size=global_batch_size,
            tokenizer=self._tokenizer,
            host_index=jax.process_index(),
            host_count=jax.process_count(),
        )

    def _held_out(self) -> tuple[BatchStream, int]:
        """Held-out batches and their number of rows: as in training, or all rows if fewer.

        Raises:
            ValueError: there are fewer held-out rows than devices that share a batch.
        """
        rows = self._config.train.global_batch_size
        stream = self._stream("eval", rows)
        rows_held_out = stream.rows_per_epoch
        if rows_held_out >= rows:
            return stream, rows
        share = self._mesh.shape["data"] * self._mesh.shape["fsdp"]
        if rows_held_out < share:
            raise ValueError(
                f"data.eval_fraction={self._config.data.eval_fraction} must hold out at "
                f"least {share} rows, mesh.data x mesh.fsdp, and holds out "
                f"{rows_held_out}; "
                "raise it or add text"
            )
        rows = rows_held_out // share * share
        return self._stream("eval", rows), rows

    def _eval_batches(self) -> Iterator[PretrainingBatch]:
        """The first held-out batches, each row once at the most."""
        whole = self._eval_stream.rows_per_epoch // self._eval_rows
        return self._eval_stream.iterate(0, min(self._config.train.eval_batches, whole))


def _count_tokens(batch: PretrainingBatch) -> int:
    return int(np.count_nonzero(batch.sequence_ids)) * jax.process_count()
