"""What of a layer is kept for the backward pass, by the names of `train.remat`."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax

from bert_jax.model.encoder import Remat, keep_everything

_POLICIES: Mapping[str, Callable[..., bool]] = types.MappingProxyType(
    {
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        "full": jax.checkpoint_policies.nothing_saveable,
    }
)


def make_remat(name: str, *, unroll: bool) -> Remat:
    """What to apply to the function of a layer: none, dots or full.

    Args:
        name: `train.remat`.
        unroll: whether the layers are unrolled. In a loop XLA cannot merge what is
            computed again with what was computed before, and need not be kept from it.
    """
    if name == "none":
        return keep_everything
    options: dict[str, Any] = {"policy": _POLICIES[name], "prevent_cse": unroll}
    return functools.partial(jax.checkpoint, **options)
