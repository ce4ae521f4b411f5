"""Nested dicts of parameters ↔ path → parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def flat_tree(tree: Any) -> dict[str, Any]:
    """path → leaf, the parts of a path joined by `/`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def flat_arrays(tree: Any) -> dict[str, np.ndarray]:
    """path → array on the host."""
    return {path: np.asarray(leaf) for path, leaf in flat_tree(tree).items()}


def nested_tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dicts that `flat_tree` was given."""
    nested: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, last = path.split("/")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return nested
