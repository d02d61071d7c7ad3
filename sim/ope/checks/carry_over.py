"""Does what was done to a user change what later decisions earn? One decision against three in a row.

A one-step estimate takes every history as it was logged. When sending tires users, a target that sends more than the
logger meets other histories, and earns less than the estimate says. Without such an effect the weights of earlier
decisions say nothing about a reward: their mean is 1 whatever came before.

The test sums, over the rows, the row's weighted residual times how far the weights of the three decisions before
deviate from 1; it is the first order of the difference between weighting one decision and weighting several, with less
noise than their product. Measured with the fatigue of `sim.ope.trials.broken_logs`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sim.common.arrays import Floats, Ints
from sim.ope.checks.trust import influential_clusters

LAGS = 3  # earlier decisions about the same user that are looked at
STEPS = 3
LEAST_CLUSTERS = 30.0  # that carry the variance of the test
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryOver:
    """SNIPS over rows that have two before them: weighted by their own decision, and by all three."""

    one_step: float
    three_steps: float
    p_value: float

    @property
    def relative(self) -> float:
        """The difference, as a share of the larger of both values."""
        largest = max(abs(self.one_step), abs(self.three_steps))
        return abs(self.three_steps - self.one_step) / largest if largest > 0.0 else 0.0


@dataclass(slots=True, kw_only=True)
class CarryOverSums:
    """Sums over the rows of a log, in memory that does not grow with them."""

    n_groups: int
    _scores: Floats = field(init=False)  # (3, groups): w r past, w past, w^2 past
    _moments: Floats = field(default_factory=lambda: np.zeros(5))  # w, w^2, w^3, w r, w^2 r
    _steps: Floats = field(default_factory=lambda: np.zeros(4))  # over rows with two before them: w, w r, www, www r

    def __post_init__(self) -> None:
        self._scores = np.zeros((3, self.n_groups))

    def add(self, rewards: Floats, weights: Floats, earlier: Floats, groups: Ints) -> None:
        """Counts the rows in.

        Args:
            rewards: shape (n,).
            weights: shape (n,), of each row's own decision.
            earlier: shape (n, 3), weights of the user's decisions before, the latest first; NaN where there was none.
            groups: shape (n,), cluster of each row, from 0.
        """
        known = ~np.isnan(earlier)
        past = weights * np.where(known, earlier - 1.0, 0.0).sum(axis=1)
        for sums, column in zip(self._scores, (past * rewards, past, past * weights), strict=True):
            sums += np.bincount(groups, weights=column, minlength=self.n_groups)
        squares = weights * weights
        self._moments += [
            one.sum() for one in (weights, squares, squares * weights, weights * rewards, squares * rewards)
        ]
        full = known[:, : STEPS - 1].all(axis=1)
        own, product = weights[full], weights[full] * np.prod(earlier[full, : STEPS - 1], axis=1)
        self._steps += [one.sum() for one in (own, own * rewards[full], product, product * rewards[full])]

    def figure(self) -> CarryOver | None:
        """The test; None where hardly any user comes three times, or too few of them carry it."""
        own, own_rewarded, product, product_rewarded = self._steps
        intercept, slope = self._line()
        scores = np.array([1.0, -intercept, -slope]) @ self._scores
        carried_by = influential_clusters(scores)
        if own <= 0.0 or product <= 0.0 or carried_by < LEAST_CLUSTERS:
            return None
        off = abs(float(scores.sum())) / float(np.sqrt(np.square(scores).sum()))
        return CarryOver(
            one_step=float(own_rewarded / own),
            three_steps=float(product_rewarded / product),
            p_value=float(2.0 * stats.t.sf(off, carried_by - 1.0)),
        )

    def _line(self) -> tuple[float, float]:
        """What a row's own weight explains of its reward, fitted where the target goes: intercept and slope."""
        first, second, third, rewarded, rewarded_twice = self._moments
        if first <= 0.0:
            return 0.0, 0.0
        spread = third - second**2 / first
        slope = (rewarded_twice - second / first * rewarded) / spread if spread > _ROUNDING * third else 0.0
        return (rewarded - slope * second) / first, slope


def earlier_weights(weights: Floats, users: Ints, order: Floats | Ints | None) -> Floats:
    """Weights of the three decisions before about the same user, the latest first; NaN where there were fewer.

    Args:
        order: shape (n,), sorts a user's rows in time; None: they are in that order.
    """
    keys = (np.arange(len(users)), users) if order is None else (order, users)
    rows = np.lexsort(keys)
    found = np.full((len(users), LAGS), np.nan)
    for lag in range(1, min(LAGS, len(users) - 1) + 1):
        same = users[rows[lag:]] == users[rows[:-lag]]
        found[rows[lag:][same], lag - 1] = weights[rows[:-lag][same]]
    return found


class RecentWeights:
    """The same over a log that is read piece by piece: of the latest 1,048,576 users, in 40 MB."""

    SLOTS = 1 << 20

    def __init__(self) -> None:
        self._owner = np.zeros(self.SLOTS, dtype=np.uint64)
        self._recent = np.full((self.SLOTS, LAGS), np.nan)

    def earlier(self, weights: Floats, hashes: NDArray[np.uint64]) -> Floats:
        """As `earlier_weights`, for rows that come next in time.

        Args:
            hashes: shape (n,), 64 bits of each row's user; where two users share a slot, the earlier one is forgotten.
        """
        found = np.empty((len(weights), LAGS))
        slots = (hashes % np.uint64(self.SLOTS)).astype(np.intp)
        for row, (slot, owner) in enumerate(zip(slots.tolist(), hashes.tolist(), strict=True)):
            recent = self._recent[slot]
            if self._owner[slot] != owner:
                self._owner[slot] = owner
                recent[:] = np.nan
            found[row] = recent
            recent[1:] = recent[:-1].copy()
            recent[0] = weights[row]
        return found
