"""What in a checkpoint did not fit, in words."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Sequence

from bert_jax.pretrained.weight_layout import Shape

_LOGGER = logging.getLogger(__name__)

# Names in one line of a warning or an error.
_MOST_NAMES = 8


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What in a checkpoint did not fit the model that was asked for.

    Attributes:
        path: of the checkpoint.
        missing: weights that it lacks; they are at their random start.
        mis_shaped: (name, shape in the checkpoint, shape in the model) of weights that do
            not fit; they are at their random start too.
        other_heads: names, as the checkpoint has them, of heads that the model has not.
        unexpected: names of what else was not read.
    """

    path: str
    missing: tuple[str, ...]
    mis_shaped: tuple[tuple[str, Shape, Shape], ...]
    other_heads: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def untrained(self) -> str:
        """The weights that are at their random start, and why; empty if there are none."""
        return listed(
            [f"{name} (absent)" for name in self.missing]
            + [f"{name} (shape {a}, not {b})" for name, a, b in self.mis_shaped]
        )

    def show(self, stacklevel: int) -> None:
        """Warns on one line of what the caller must know; logs the heads left aside."""
        parts = []
        if self.untrained:
            parts.append(f"initialised at random, to be trained: {self.untrained}")
        if self.unexpected:
            parts.append(f"not used: {listed(self.unexpected)}")
        if parts:
            warnings.warn(f"{self.path}: {'; '.join(parts)}", stacklevel=stacklevel + 1)
        if self.other_heads:
            _LOGGER.info("%s: heads not used: %s", self.path, listed(self.other_heads))

    def check_trained(self) -> None:
        """Raises ValueError where a weight is at its random start."""
        if self.untrained:
            raise ValueError(
                f"{self.path} must have all weights of the model that is asked for; not in "
                f"it: {self.untrained}; fine-tune it first"
            )


def listed(names: Sequence[str]) -> str:
    """Names on one line, not endless."""
    shown = ", ".join(name if name.isprintable() else ascii(name) for name in names)
    if len(names) > _MOST_NAMES:
        shown = f"{listed(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
    return shown
