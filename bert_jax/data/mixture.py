"""Which source each row of a run comes from, in closed form.

The rows of a run go round a fixed pattern in which each source has its share and stands as
evenly as can be. How many rows of a source come before row g is then a division and a
lookup, so that no batch needs to know of another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PERIOD = 1 << 14


class Mixture:
    """Rows of several sources, mixed by weight.

    Args:
        weights: of the sources, each above 0. Shares are rounded to whole rows of
            16,384, and each is at least one of these.

    Attributes:
        counts: int64[number of sources], rows of each source in a period.
    """

    def __init__(self, weights: Sequence[float]):
        shares = np.asarray(weights, np.float64) * (PERIOD / sum(weights))
        counts = np.maximum(1, np.floor(shares)).astype(np.int64)
        # The rest goes to the largest remainders; what is too much is taken from the
        # largest source.
        rest = int(PERIOD - counts.sum())
        for place in np.argsort(counts - shares, kind="stable")[: max(rest, 0)]:
            counts[place] += 1
        counts[np.argmax(counts)] += min(rest, 0)
        self.counts = counts
        places = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
        sources = np.repeat(np.arange(len(counts)), counts)
        self._pattern = sources[np.argsort(places, kind="stable")].astype(np.int64)
        is_source = self._pattern[:, None] == np.arange(len(counts))
        self._before = np.cumsum(is_source, axis=0) - is_source

    def place(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each row of the run its source and its number among that source's rows.

        Args:
            rows: int64[B], numbers of rows, from 0 on.
        """
        round_, place = rows // PERIOD, rows % PERIOD
        sources = self._pattern[place]
        return sources, round_ * self.counts[sources] + self._before[place, sources]
