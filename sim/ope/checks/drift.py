"""Did rewards change while the log was made? The first half of its rows against the second, in the order of time.

Rewards of real logs rise and fall as a whole, which moves both policies alike. What makes an evaluation useless is that
the better one of the two changes: an average over both halves then says nothing about the time after the log.

Blocks of rows in a row stand for themselves, whatever users have in common within one: their spread within the halves
says how far the halves may differ by chance.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sim.common.arrays import Floats

MOST_BLOCKS = 64  # twice as many are kept while a log is read, so that at least so many are there at its end
LEAST_BLOCKS = 16
ROUNDING = 1e-9
SORTED_P_VALUE = 1e-6  # of the weights of both halves: the rows are not in the order of time
_COLUMNS = 4  # rows, reward, weight, weight times reward


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """Means over half of a log."""

    logged: float  # reward of the logging policy
    target: float  # SNIPS value of the target

    @property
    def advantage(self) -> float:
        return self.target - self.logged


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Both halves, and how likely chance alone makes them differ so much."""

    first: Half
    second: Half
    value_p_value: float  # of the target's value
    advantage_p_value: float  # of what the target earns more than the logger

    @property
    def reverses(self) -> bool:
        """Whether the target is the better policy in one half and the worse one in the other."""
        return self.first.advantage * self.second.advantage < 0.0

    @property
    def relative(self) -> float:
        """The difference between the advantages, as a share of the largest value."""
        largest = max(abs(one) for half in (self.first, self.second) for one in (half.logged, half.target))
        return abs(self.second.advantage - self.first.advantage) / largest if largest > 0.0 else 0.0


@dataclass(slots=True)
class Blocks:
    """Sums over blocks of rows, in memory that does not grow with them."""

    _sums: Floats = field(default_factory=lambda: np.zeros((2 * MOST_BLOCKS, _COLUMNS)))
    _rows_each: int = 1
    _rows: int = 0

    def add(self, rewards: Floats, weights: Floats) -> None:
        """Counts in the rows that come next in time, each array of shape (n,)."""
        while self._rows + len(rewards) > self._rows_each * len(self._sums):
            self._halve()
        place = (self._rows + np.arange(len(rewards))) // self._rows_each
        for column, values in enumerate((np.ones(len(rewards)), rewards, weights, weights * rewards)):
            self._sums[:, column] += np.bincount(place, weights=values, minlength=len(self._sums))
        self._rows += len(rewards)

    def _halve(self) -> None:
        pairs = self._sums.reshape(-1, 2, _COLUMNS).sum(axis=1)
        self._sums = np.concatenate([pairs, np.zeros_like(pairs)])
        self._rows_each *= 2

    def drift(self) -> Drift | None:
        """The halves; None for a short log, or where the rows are not in the order of time.

        Weights that differ between the halves say that they were sorted by what was done.
        """
        used = self._sums[self._sums[:, 0] > 0.0]
        if len(used) < LEAST_BLOCKS:
            return None
        rows = used[:, 0]
        is_second = np.cumsum(rows) - rows / 2.0 > rows.sum() / 2.0
        totals = [used[~is_second].sum(axis=0), used[is_second].sum(axis=0)]
        if min(total[2] for total in totals) <= 0.0 or _p_value(used[:, 2] / rows, is_second) < SORTED_P_VALUE:
            return None
        first, second = (Half(logged=float(total[1] / total[0]), target=float(total[3] / total[2])) for total in totals)
        scale = rows.sum() / used[:, 2].sum()
        values = np.where(is_second, second.target, first.target) + scale * _residuals(used, is_second, first, second)
        logged = used[:, 1] / rows
        return Drift(
            first=first,
            second=second,
            value_p_value=_p_value(values, is_second),
            advantage_p_value=_p_value(values - logged, is_second),
        )


def _residuals(used: Floats, is_second: NDArray[np.bool_], first: Half, second: Half) -> Floats:
    """By how much each block's weighted rewards differ from what its weight is worth in its half, per row."""
    value = np.where(is_second, second.target, first.target)
    return np.asarray((used[:, 3] - value * used[:, 2]) / used[:, 0], dtype=np.float64)


def _p_value(values: Floats, is_second: NDArray[np.bool_]) -> float:
    """Welch's test that the blocks of both halves have one mean."""
    halves = values[~is_second], values[is_second]
    off = float(halves[1].mean() - halves[0].mean())
    errors = [float(half.var(ddof=1)) / len(half) for half in halves]
    error = float(np.sqrt(sum(errors)))
    if error <= ROUNDING * float(np.abs(values).max()):
        return 1.0 if abs(off) <= ROUNDING * float(np.abs(values).max()) else 0.0
    freedom = sum(errors) ** 2 / sum(one**2 / (len(half) - 1) for one, half in zip(errors, halves, strict=True))
    return float(2.0 * stats.t.sf(abs(off) / error, freedom))
