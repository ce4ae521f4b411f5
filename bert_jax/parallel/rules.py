"""Where each parameter lives: one table from paths to mesh axes, with full coverage.

Shapes in the comments: N layers, D hidden, H heads, K head size, F ffn, V vocabulary.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax.mesh_conflicts import nearest_divisors

Rules = Sequence[tuple[str, tuple[str | None, ...]]]

# (pattern of the end of a path, mesh axis of each dim). Optimizer moments carry the path
# of their parameter at the end of their own, and so take the same rule.
_ENCODER_RULES: Rules = (
    (r"word/embedding", ("tensor", "fsdp")),  # V, D
    (r"position/embedding", (None, "fsdp")),
    (r"token_type/embedding", (None, "fsdp")),
    (r"qkv/kernel", (None, "fsdp", None, "tensor", None)),  # N, D, 3, H, K
    (r"qkv/bias", (None, None, "tensor", None)),  # N, 3, H, K
    (r"attention/output/kernel", (None, "tensor", None, "fsdp")),  # N, H, K, D
    (r"attention/output/bias", (None, None)),
    (r"feed_forward_in/kernel", (None, "fsdp", "tensor")),  # N, D, F
    (r"feed_forward_in/bias", (None, "tensor")),
    (r"feed_forward_out/kernel", (None, "tensor", "fsdp")),  # N, F, D
    (r"feed_forward_out/bias", (None, None)),
    (r"(attention_norm|feed_forward_norm)/(scale|bias)", (None, None)),
    (r"embeddings/norm/(scale|bias)", (None,)),
)
# Part of a path that only models with this head have -> its rules.
_HEAD_RULES: Mapping[str, Rules] = types.MappingProxyType(
    {
        "pooler": (
            (r"pooler/kernel", ("fsdp", "tensor")),  # D, D
            (r"pooler/bias", (None,)),
        ),
        "masked_lm": (
            (r"transform/kernel", ("fsdp", "tensor")),  # D, D
            (r"transform/bias", (None,)),
            (r"masked_lm/norm/(scale|bias)", (None,)),
            (r"masked_lm/bias", ("tensor",)),  # V
        ),
        "next_sentence": (
            (r"next_sentence/kernel", ("fsdp", None)),  # D, 2
            (r"next_sentence/bias", (None,)),
        ),
        "classifier": (
            (r"classifier/kernel", ("fsdp", None)),  # D, labels
            (r"classifier/bias", (None,)),
        ),
        "qa_outputs": (
            (r"qa_outputs/kernel", ("fsdp", None)),  # D, 2
            (r"qa_outputs/bias", (None,)),
        ),
    }
)
# Of the model that is pretrained.
SHARDING_RULES: Rules = (
    *_ENCODER_RULES,
    *_HEAD_RULES["pooler"],
    *_HEAD_RULES["masked_lm"],
    *_HEAD_RULES["next_sentence"],
)


def rules_for(tree: Any) -> Rules:
    """The rules of the encoder and of those heads that `tree` has."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    parts = {
        part
        for path in paths
        for part in jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    }
    heads = [rules for head, rules in _HEAD_RULES.items() if head in parts]
    return (*_ENCODER_RULES, *(rule for rules in heads for rule in rules))


def tree_shardings(tree: Any, mesh: Mesh, rules: Rules = SHARDING_RULES) -> Any:
    """A NamedSharding for each array of `tree`; scalars are copied to every device.

    Args:
        tree: arrays or ShapeDtypeStructs.
        mesh: the mesh.
        rules: the table.

    Raises:
        ValueError: an array matches no rule or several, a rule matches nothing, a rule
            has another number of dims than the array, or a dim does not divide (JAX
            itself would silently replicate it).
    """
    unused = {pattern for pattern, _ in rules}

    def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        if leaf.ndim == 0:
            return NamedSharding(mesh, PartitionSpec())
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        matches = [rule for rule in rules if re.search(rf"(^|/)({rule[0]})$", name)]
        if len(matches) != 1:
            raise ValueError(
                f"{name} matches {len(matches)} sharding rules; it must match one"
            )
        pattern, axes = matches[0]
        unused.discard(pattern)
        _check_fits(name, leaf.shape, axes, mesh)
        return NamedSharding(mesh, PartitionSpec(*axes))

    shardings = jax.tree_util.tree_map_with_path(sharding, tree)
    if unused:
        raise ValueError(f"sharding rules that match nothing: {', '.join(sorted(unused))}")
    return shardings


def _check_fits(
    name: str, shape: tuple[int, ...], axes: tuple[str | None, ...], mesh: Mesh
) -> None:
    if len(shape) != len(axes):
        raise ValueError(f"{name} has {len(shape)} dims, its sharding rule {len(axes)}")
    for size, axis in zip(shape, axes, strict=True):
        if axis is not None and size % mesh.shape[axis]:
            raise ValueError(
                f"mesh.{axis}={mesh.shape[axis]} must divide a dim of size {size} of "
                f"{name}; the nearest that does: {nearest_divisors(mesh.shape[axis], size)}"
            )
