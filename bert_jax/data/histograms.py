"""Distributions of lengths in bounded memory: counts in bins that are known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

# Eight bins for each doubling, up to 2^24: wide enough for a book as one document.
_LOG_EDGES = np.unique(np.round(2.0 ** (np.arange(24 * 8 + 1) / 8)).astype(np.int64))


class LengthHistogram:
    """Counts of lengths, their mean, and quantiles to the width of a bin, at most 9 %.

    Args:
        edges: int64[N+1], rising; bin i holds [edges[i], edges[i+1]), the last one all
            that is longer, too. By default eight bins for each doubling, from 1 on.
    """

    def __init__(self, edges: np.ndarray = _LOG_EDGES):
        self.edges = edges
        self.counts = np.zeros(len(edges) - 1, np.int64)
        self.total = self.sum = self.longest = 0

    def add(self, lengths: np.ndarray) -> None:
        """Counts int[N] lengths, none below the first edge."""
        if not len(lengths):
            return
        bins = np.searchsorted(self.edges, lengths, side="right") - 1
        self.counts += np.bincount(
            np.minimum(bins, len(self.counts) - 1), minlength=len(self.counts)
        )
        self.total += len(lengths)
        self.sum += int(lengths.sum())
        self.longest = max(self.longest, int(lengths.max()))

    @property
    def mean(self) -> float:
        """Mean length; 0 where there is none."""
        return self.sum / self.total if self.total else 0.0

    def quantile(self, share: float) -> int:
        """The lower edge of the bin that the length at this share of all falls into."""
        place = int(np.searchsorted(np.cumsum(self.counts), share * self.total))
        return int(self.edges[min(place, len(self.counts) - 1)])

    def plain(self) -> dict[str, Any]:
        """As JSON has it: edges, counts, mean and median, without empty bins at the end."""
        filled = np.flatnonzero(self.counts)
        last = int(filled[-1]) + 1 if len(filled) else 0
        return {
            "edges": self.edges[: last + 1].tolist(),
            "counts": self.counts[:last].tolist(),
            "mean": self.mean,
            "median": self.quantile(0.5),
        }


def linear_edges(length: int, bins: int = 64) -> np.ndarray:
    """Edges of at most `bins` equal bins over [0, length], each a whole number."""
    width = max(1, -(-length // bins))
    return np.append(np.arange(0, length, width), length + 1).astype(np.int64)
