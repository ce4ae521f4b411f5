"""A model as one StableHLO file that runs with JAX alone, for any batch and length.

Shapes: B batch, C choices, L length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from bert_jax.formats.hashes import check_hashes

# What the exported function takes, in this order: int32[B, L] each, or int32[B, C, L].
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
# An artifact is one flatbuffer, and those end at 2 GiB.
_LARGEST_BYTES = 2**31 - 2**24


def serialize_stablehlo(model: nnx.Module, max_length: int) -> bytes:
    """A `jax.export` artifact of the model's call, its parameters inside.

    `jax.export.deserialize(bytearray(artifact)).call(input_ids, attention_mask,
    token_type_ids)` gives a dict of the output's arrays.

    Args:
        model: any model class of this package.
        max_length: longest row that the model can take.

    Raises:
        ValueError: the parameters are too large for one artifact.
    """
    graphdef, params = nnx.split(model)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    if size > _LARGEST_BYTES:
        raise ValueError(
            f"the model's {size / 1e9:.1f} GB must be below 2 GB for --to=stablehlo; use "
            "--to=hf"
        )

    def call(*inputs: jax.Array) -> dict[str, jax.Array]:
        return outputs_of(
            nnx.merge(graphdef, params), dict(zip(INPUTS, inputs, strict=True))
        )

    has_choices = type(model).__name__ == "BertForMultipleChoice"
    shape = export.symbolic_shape(
        "batch, choices, length" if has_choices else "batch, length",
        constraints=["batch >= 1", f"length <= {max_length}"],
    )
    specs = [jax.ShapeDtypeStruct(shape, jnp.int32)] * len(INPUTS)
    return bytes(export.export(jax.jit(call), platforms=PLATFORMS)(*specs).serialize())


def run_stablehlo(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the artifact in a file answers to int32[B, L] or int32[B, C, L] inputs.

    Raises:
        ValueError: the file is not that of the list of hashes beside it, if there is one.
    """
    check_hashes(path.parent, [path.name])
    exported = export.deserialize(bytearray(path.read_bytes()))
    answers = exported.call(*(jnp.asarray(inputs[name], jnp.int32) for name in INPUTS))
    return {name: np.asarray(value) for name, value in answers.items()}


def outputs_of(model: Any, inputs: dict[str, Any]) -> dict[str, jax.Array]:
    """The arrays of a model's answer, by name."""
    answers = vars(model(**inputs))
    return {name: value for name, value in answers.items() if value is not None}
