"""The pretraining step of a configuration, compiled without data and without running."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from bert_jax.batch import BATCH_DIMS, BATCH_DTYPES, PretrainingBatch
from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig
from bert_jax.parallel.mesh import check_mesh, make_mesh
from bert_jax.parallel.placement import sharding_of
from bert_jax.train.plan_collectives import Traffic, collective_traffic
from bert_jax.train.setup import Program

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
# As XLA's TPU compiler words it: what a step wants, where that is more than the memory.
_WANTED = (
    r"HLO temporaries \(([\d.]+)([KMGT]?)\)",
    r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm",
)


class SizedVocabulary(NamedTuple):
    """A vocabulary of which only the size is known: ids 0 to 4 are control tokens."""

    vocab_size: int
    mask_id: int = 4
    special_ids: tuple[int, ...] = (0, 1, 2, 3, 4)


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """Bytes on each device of a compiled step, and what it sends.

    Attributes:
        argument_bytes: state and batch.
        temporary_bytes: what the step needs besides; of a refused step, as the compiler
            says it.
        output_bytes: the new state and the metrics.
        donated_bytes: outputs that take the place of arguments.
        code_bytes: the program, where it lies in the memory of the device.
        collectives: by kind of collective; None of a refused step.
        unread_loops: loops whose rounds could not be read: what they send counts once.
        compile_seconds: time to trace and to compile.
        refusal: the compiler's word where the step does not fit, else empty.
    """

    argument_bytes: int
    temporary_bytes: int
    output_bytes: int
    donated_bytes: int
    code_bytes: int
    collectives: dict[str, Traffic] | None
    unread_loops: int
    compile_seconds: float
    refusal: str = ""

    @property
    def peak_bytes(self) -> int:
        """All that is live at once at the most: an upper bound, all temporaries at once."""
        new = self.output_bytes - self.donated_bytes
        return self.argument_bytes + self.temporary_bytes + new + self.code_bytes


def abstract_batch(config: Config, mesh: Mesh) -> PretrainingBatch:
    """Shapes, dtypes and shardings of the batch that the step of `config` takes."""
    sizes = {
        "B": config.train.global_batch_size,
        "L": config.data.sequence_length,
        "S": config.data.packing,
    }
    return PretrainingBatch(
        *(
            jax.ShapeDtypeStruct(
                [sizes[letter] for letter in dims], dtype, sharding=sharding_of(mesh, dims)
            )
            for dims, dtype in zip(BATCH_DIMS, BATCH_DTYPES, strict=True)
        )
    )


def make_program(config: Config, mesh: Mesh) -> Program:
    """The program of a configuration; of its vocabulary only the size matters."""
    check_mesh(mesh, config)
    return Program(config, SizedVocabulary(config.tokenizer.vocab_size), mesh)


def compile_step(config: Config, devices: Sequence[jax.Device]) -> CompiledStep:
    """Compiles the step of a configuration for devices, here or described.

    Raises:
        ValueError: mesh or batch do not fit the devices.
    """
    start = time.perf_counter()
    mesh = make_mesh(config.mesh, devices)
    program, batch = make_program(config, mesh), abstract_batch(config, mesh)
    lowered = program.train_step.lower(program.abstract, batch)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _refused((program.abstract, batch), str(error), start)
    memory = compiled.memory_analysis()
    collectives, unread_loops = collective_traffic(compiled.as_text(), len(devices))
    return CompiledStep(
        argument_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        donated_bytes=memory.alias_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
        collectives=collectives,
        unread_loops=unread_loops,
        compile_seconds=time.perf_counter() - start,
    )


def _refused(arguments: Any, message: str, start: float) -> CompiledStep:
    """What is known of a step that the compiler found too large."""
    argument_bytes = sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(arguments)
    )
    temporaries, used = (re.search(pattern, message) for pattern in _WANTED)
    assert temporaries or used, f"unknown words of the compiler: {message}"
    temporary_bytes = _bytes(temporaries) if temporaries else _bytes(used) - argument_bytes
    return CompiledStep(
        argument_bytes=argument_bytes,
        temporary_bytes=temporary_bytes,
        output_bytes=0,
        donated_bytes=0,
        code_bytes=0,
        collectives=None,
        unread_loops=0,
        compile_seconds=time.perf_counter() - start,
        refusal=message.splitlines()[0].strip(),
    )


def _bytes(match: re.Match[str] | None) -> int:
    assert match is not None
    return round(float(match[1]) * _UNITS[match[2]])


def count_flops(config: Config) -> int:
    """FLOPs of a step by XLA's own count, all operations, before it optimizes.

    XLA counts the body of a scan once. The layers are all equal: counted are steps of one
    and of two layers, written out, and the rest follows.
    """
    num_layers = config.bert_config(config.tokenizer.vocab_size).num_hidden_layers
    one, two = _lowered_flops(config, 1), _lowered_flops(config, 2)
    return round(one + (num_layers - 1) * (two - one))


def _lowered_flops(config: Config, num_layers: int) -> float:
    model = dataclasses.replace(config.model, num_hidden_layers=num_layers)
    # On a CPU the program writes its layers out.
    mesh = make_mesh(MeshConfig(), jax.devices("cpu")[:1])
    config = dataclasses.replace(config, model=model, mesh=MeshConfig())
    program = make_program(config, mesh)
    lowered = program.train_step.lower(program.abstract, abstract_batch(config, mesh))
    return float(lowered.cost_analysis()["flops"])
