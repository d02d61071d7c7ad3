"""Has this decision come before? Logs that were exported or joined twice count everything twice."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bandit.errors import InvalidLog, extras_named
from sim.logs.cells import shown

# Hashes of 64 bits that are kept, 128 MB: two of them agree by chance once in 100,000 logs of this length.
MOST_KEPT = 1 << 24
Hashes = NDArray[np.uint64]


class SeenIds:
    """The ids of a log in the order of reading. A longer log than 16,777,216 rows forgets its oldest ids."""

    def __init__(self) -> None:
        self._levels: list[Hashes] = []  # sorted, the longest first, each longer than all that follow

    def add(self, rows: Sequence[int], ids: Sequence[str]) -> None:
        """Counts the ids in.

        Raises:
            InvalidLog: one of them has come before; names its row.
        """
        if not ids:
            return
        hashes = _hashes(ids)
        again = self._seen(hashes) | _repeated(hashes)
        if again.any():
            place = int(np.argmax(again))
            rule = "is in the log twice: a decision must be one row"
            raise InvalidLog(f"row {rows[place]}: decision_id: {shown(ids[place])}: {rule}")
        self._keep(np.sort(hashes))

    def _seen(self, hashes: Hashes) -> NDArray[np.bool_]:
        found = np.zeros(len(hashes), dtype=np.bool_)
        for level in self._levels:
            places = np.minimum(np.searchsorted(level, hashes), len(level) - 1)
            found |= level[places] == hashes
        return found

    def _keep(self, newest: Hashes) -> None:
        while self._levels and len(self._levels[-1]) <= 2 * len(newest):
            newest = np.sort(np.concatenate([self._levels.pop(), newest]), kind="stable")
        self._levels.append(newest)
        if sum(len(level) for level in self._levels) > MOST_KEPT and len(self._levels) > 1:
            del self._levels[0]


def _hashes(ids: Sequence[str]) -> Hashes:
    with extras_named():
        from pandas.util import hash_array  # here, for a log is exported without it
    return hash_array(np.array(ids, dtype=object), categorize=False)


def _repeated(hashes: Hashes) -> NDArray[np.bool_]:
    """Which ones have come before within the batch."""
    first = np.zeros(len(hashes), dtype=np.bool_)
    first[np.unique(hashes, return_index=True)[1]] = True
    return ~first
