"""Muon for the matrices of the layers, Adam for everything else.

Shapes: N layers, D hidden, H heads, K head size, F ffn.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

# (end of a path, which dims go in, which come out). The layers, and queries, keys and
# values, are matrices of their own.
_MATRICES = (
    (r"qkv/kernel", contrib.MuonDimensionNumbers((1,), (3, 4))),  # N, D, 3, H, K
    (r"attention/output/kernel", contrib.MuonDimensionNumbers((1, 2), (3,))),  # N, H, K, D
    (r"feed_forward_in/kernel", contrib.MuonDimensionNumbers((1,), (2,))),  # N, D, F
    (r"feed_forward_out/kernel", contrib.MuonDimensionNumbers((1,), (2,))),  # N, F, D
)

# As published: momentum 0.95; an update has the root mean square that Adam's usually has,
# so that both take one learning rate.
_MOMENTUM = 0.95
_ROOT_MEAN_SQUARE = 0.2


class MuonMomentum(NamedTuple):
    """Updates done and the momentum, like the matrices."""

    count: Any
    mu: Any


def scale_by_muon_and_adam(
    adam: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Orthogonalized momentum for the matrices of the layers, `adam` for the rest.

    Source: Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon); the scale of
    updates from Liu et al. 2025 (https://arxiv.org/abs/2502.16982), section 2.2.
    """
    return optax.partition({"muon": _scale_by_muon(), "adam": adam}, _labels)


def _dimensions(path: tuple[Any, ...]) -> contrib.MuonDimensionNumbers | None:
    """How the parameter at `path` is a matrix; None if it is none of Muon's."""
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    found = [dims for end, dims in _MATRICES if re.search(rf"(^|/){end}$", name)]
    return found[0] if found else None


def _labels(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "adam" if _dimensions(path) is None else "muon", params
    )


def _scale_by_muon() -> optax.GradientTransformation:
    """Optax's Muon without the constants that it keeps in its state, and scaled."""
    muon = contrib.scale_by_muon(
        beta=_MOMENTUM,
        weight_dimension_numbers=lambda tree: jax.tree_util.tree_map_with_path(
            lambda path, _: _dimensions(path), tree
        ),
    )

    def init(params: optax.Params) -> MuonMomentum:
        state = muon.init(params)
        return MuonMomentum(state.count, state.mu)

    def update(
        updates: optax.Updates, state: MuonMomentum, params: optax.Params | None = None
    ) -> tuple[optax.Updates, MuonMomentum]:
        coefficients = muon.init(jnp.zeros(())).ns_coeffs
        updates, new = muon.update(
            updates, contrib.MuonState(state.count, state.mu, coefficients), params
        )
        scaled = jax.tree_util.tree_map_with_path(_with_root_mean_square, updates)
        return scaled, MuonMomentum(new.count, new.mu)

    return optax.GradientTransformation(init, update)


def _with_root_mean_square(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
    """An orthogonal m × n matrix has a root mean square of 1 / √max(m, n)."""
    dims = _dimensions(path)
    assert dims is not None
    rows, columns = (
        math.prod(update.shape[axis] for axis in axes)
        for axes in (dims.reduction_axis, dims.output_axis)
    )
    return update * (_ROOT_MEAN_SQUARE * math.sqrt(max(rows, columns)))
