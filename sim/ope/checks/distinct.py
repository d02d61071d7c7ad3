"""How many users there are in a log that is streamed: exact up to a million, then known to 0.1 %."""

import numpy as np
from numpy.typing import NDArray

KEPT = 1 << 20  # hashes, 8 MB
_SPAN = 2.0**64


class Distinct:
    """The smallest hashes that were seen, all of them as long as they are few.

    Source: Bar-Yossef et al. (2002), Counting distinct elements in a data stream (k minimum values).
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._smallest: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self._coming: list[NDArray[np.uint64]] = []
        self._n_coming = 0

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Counts in 64 bits of each row's user."""
        self._coming.append(hashes)
        self._n_coming += len(hashes)
        if self._n_coming > self._kept // 4:
            self._merge()

    def _merge(self) -> None:
        self._smallest = np.unique(np.concatenate([self._smallest, *self._coming]))[: self._kept]
        self._coming, self._n_coming = [], 0

    def count(self) -> int:
        """How many different ones there were."""
        self._merge()
        if len(self._smallest) < self._kept:
            return len(self._smallest)
        return round((self._kept - 1) * _SPAN / float(self._smallest[-1]))
