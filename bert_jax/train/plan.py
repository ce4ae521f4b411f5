"""A pretraining run before it is paid for: size, memory, traffic, time and price."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax

from bert_jax.config import Config
from bert_jax.data.cache import cache_root
from bert_jax.model.flops import pretraining_flops_per_row
from bert_jax.parallel.chips import Target
from bert_jax.parallel.described import Source, compiler_version, target_devices
from bert_jax.parallel.devices import use_compilation_cache
from bert_jax.parallel.mesh import make_mesh
from bert_jax.train.adoption import adopt
from bert_jax.train.plan_search import Remedy, find_remedy, largest_that_fits
from bert_jax.train.plan_step import CompiledStep, compile_step, count_flops, make_program
from bert_jax.train.plan_time import StepTime, estimate_step_time
from bert_jax.train.setup import Program

FLOPS_FORMULA = (
    "3 rows (N (2L (4D² + 2DF) + 4L²D) + 2P (D² + DV) + 2D² + 4D): matrix products only, "
    "backward twice the forward; N layers, L tokens and P predictions of a row, D hidden, "
    "F feed-forward, V vocabulary"
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would need and take. Bytes are those of one device.

    Attributes:
        device: the target, as asked for.
        num_chips: chips that are paid for.
        num_devices: devices that the mesh is made of.
        source: where memory and collectives come from (see `target_devices`).
        compiler: which, with its version.
        parameters: of the model, the padding of the vocabulary included.
        flops_per_token: matrix products of one place of a row, by `flops_formula`.
        flops_per_step: the same of the global batch.
        flops_per_step_counted: all operations, as XLA counts them.
        flops_formula: in words.
        rows_per_device: rows of the global batch for each device.
        accumulation_steps: turns in which a device computes them.
        step: bytes and collectives of the compiled step.
        memory_bytes: what a device has.
        fits: whether the step fits; None where it was not compiled for the device.
        largest_micro_batch: most rows for each device that fit at once, found by
            compiling; None where that was not asked for.
        remedy: what makes the step fit; None where it fits, where nothing does, and where
            that was not asked for.
        time: of one step.
        tokens_per_second: places of rows, over all chips.
        total_hours: all steps of the run.
        cost: of the run, in the currency of the price; None without one.
    """

    device: str
    num_chips: int
    num_devices: int
    source: Source
    compiler: str
    parameters: int
    flops_per_token: int
    flops_per_step: int
    flops_per_step_counted: int
    flops_formula: str
    rows_per_device: int
    accumulation_steps: int
    step: CompiledStep
    memory_bytes: int
    fits: bool | None
    largest_micro_batch: int | None
    remedy: Remedy | None
    time: StepTime
    tokens_per_second: float
    total_hours: float
    cost: float | None

    def to_dict(self) -> dict[str, Any]:
        """One flat object of plain values, as `bert-jax plan --json` prints it."""
        values = dataclasses.asdict(self)
        step, time = values.pop("step"), values.pop("time")
        return {**values, **step, "peak_bytes": self.step.peak_bytes, **time}


def make_plan(
    config: Config,
    target: Target,
    *,
    utilization: float,
    price: float | None = None,
    with_largest: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Plans the pretraining run of a configuration; neither data nor chips are needed.

    Args:
        config: the run; its vocabulary is taken to have tokenizer.vocab_size entries.
        target: what it would run on.
        utilization: part of the chip's peak that the run is assumed to reach, in (0, 1].
        price: of a chip for an hour.
        with_largest: look for the largest micro-batch, which compiles a few steps more.
        report: told in one line what is being compiled.

    Raises:
        ValueError: the mesh or the batch does not fit the devices.
    """
    config = adopt(config)
    devices, source = target_devices(target)
    if source != "tpu-compiler":  # JAX does not read back what is for absent chips
        use_compilation_cache(cache_root() / "compiled")
    mesh = make_mesh(config.mesh, devices)
    program = make_program(config, mesh)
    rows, length = config.train.global_batch_size, config.data.sequence_length
    row_devices = mesh.shape["data"] * mesh.shape["fsdp"]

    compiler = _Compiler(config, devices, row_devices, report)
    step = compiler.step()
    memory_bytes = _memory_bytes(target, devices)
    fits = step.peak_bytes <= memory_bytes
    largest = compiler.largest(step, memory_bytes) if with_largest else None
    remedy = None if fits or not with_largest else compiler.remedy(memory_bytes)
    flops_per_row = pretraining_flops_per_row(
        program.bert_config, length=length, predictions=program.predictions_per_row
    )
    time = estimate_step_time(
        target,
        flops=rows * flops_per_row,
        dtype=config.train.dtype,
        utilization=utilization,
        parameters_per_device=_num_parameters(program, per_device=True),
        sent_bytes=sum(kind.sent_bytes for kind in (step.collectives or {}).values()),
    )
    hours = config.train.num_steps * time.seconds_per_step / 3600
    return Plan(
        device=target.name,
        num_chips=target.num_chips,
        num_devices=len(devices),
        source=source,
        compiler=compiler_version(source),
        parameters=_num_parameters(program, per_device=False),
        flops_per_token=round(flops_per_row / length),
        flops_per_step=rows * flops_per_row,
        flops_per_step_counted=count_flops(config),
        flops_formula=FLOPS_FORMULA,
        rows_per_device=rows // row_devices,
        accumulation_steps=compiler.micro_steps,
        step=step,
        memory_bytes=memory_bytes,
        fits=None if source == "abstract" else fits,
        largest_micro_batch=largest,
        remedy=remedy,
        time=time,
        tokens_per_second=rows * length / time.seconds_per_step,
        total_hours=hours,
        cost=None if price is None else hours * price * target.num_chips,
    )


@dataclasses.dataclass(frozen=True)
class _Compiler:
    """Compiles the step of a configuration, as it is and with other rows.

    Attributes:
        config: the run.
        devices: what it is compiled for.
        row_devices: how many of them share the rows of a batch.
        report: told in one line what is being compiled.
    """

    config: Config
    devices: Sequence[jax.Device]
    row_devices: int
    report: Callable[[str], None]

    @property
    def rows(self) -> int:
        """Rows of the batch on each device."""
        return self.config.train.global_batch_size // self.row_devices

    @property
    def micro_steps(self) -> int:
        """Turns in which a device computes them."""
        at_once = self.config.train.micro_batch_size
        return 1 if at_once is None else self.rows // at_once

    def step(self, **fields: Any) -> CompiledStep:
        """The step with other values of some fields of `train`."""
        train = dataclasses.replace(self.config.train, **fields)
        at_once = train.micro_batch_size or train.global_batch_size // self.row_devices
        self.report(
            f"compiling {at_once} rows at once for each of {len(self.devices)} devices"
        )
        return compile_step(dataclasses.replace(self.config, train=train), self.devices)

    def largest(self, step: CompiledStep, memory_bytes: int) -> int:
        """Most rows that fit at once; `step` is the configuration's, as it is."""

        def peak_bytes(rows: int) -> int:
            whole = self.step(
                global_batch_size=rows * self.row_devices, micro_batch_size=None
            )
            return whole.peak_bytes

        rows = self.rows // self.micro_steps
        size = step.peak_bytes if self.micro_steps == 1 else peak_bytes(rows)
        return largest_that_fits(peak_bytes, memory_bytes, rows=rows, size=size)

    def remedy(self, memory_bytes: int) -> Remedy | None:
        """What makes the step fit, which does not."""
        return find_remedy(
            lambda rows, remat: self.step(micro_batch_size=rows, remat=remat).peak_bytes,
            memory_bytes,
            rows=self.rows,
            remat=self.config.train.remat,
        )


def _memory_bytes(target: Target, devices: Sequence[jax.Device]) -> int:
    """What a device has: published, or of a CPU its part of this machine's memory."""
    if target.chip is not None:
        return target.chip.memory_bytes // target.chip.devices
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return whole // len(devices)


def _num_parameters(program: Program, *, per_device: bool) -> int:
    """Parameters of the model; with `per_device`, those that one device keeps."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape) if per_device else x.shape)
        for x in jax.tree.leaves(program.abstract.params)
    )
