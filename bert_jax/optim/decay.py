"""Which parameters decay: one table of rules over parameter paths, with full coverage."""

from __future__ import annotations

import re
from typing import Any

import jax

# (pattern of the whole path, whether it decays). Every parameter matches exactly one
# rule. As in 2018: kernels and embeddings decay, biases and LayerNorm do not.
DECAY_RULES: tuple[tuple[str, bool], ...] = (
    (r"(.*/)?kernel", True),
    (r"(.*/)?embedding", True),
    (r"(.*/)?bias", False),
    (r"(.*/)?scale", False),
)


def decay_mask(params: Any, rules: tuple[tuple[str, bool], ...] = DECAY_RULES) -> Any:
    """A tree like `params` with True where weight decay applies.

    Raises:
        ValueError: a parameter matches no rule, or more than one.
    """

    def decays(path: tuple[Any, ...], _: Any) -> bool:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        matches = [decay for pattern, decay in rules if re.fullmatch(pattern, name)]
        if len(matches) != 1:
            raise ValueError(
                f"parameter {name} matches {len(matches)} weight-decay rules; it must "
                "match exactly one"
            )
        return matches[0]

    return jax.tree_util.tree_map_with_path(decays, params)
