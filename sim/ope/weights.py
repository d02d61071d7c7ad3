"""Sums and maxima over a log's importance weights, and the log's totals; they merge by adding."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from sim.common.arrays import Floats
from sim.ope.batch import Batch

LARGEST = 100  # weights that are kept
HEAVY = 10.0  # the target takes the action at least this many times as often as the logger
EXPONENTS = 2_048  # of float64: propensities are binned by the power of two below them
_BITS_BELOW_EXPONENT = 52
_BIAS = 1_023


@dataclass(slots=True, kw_only=True)
class WeightSums:
    """Sums over the weights of a log."""

    rewards: float = 0.0
    q_logged: float = 0.0  # of the reward model's values of the logged actions
    squares: float = 0.0
    weighted: float = 0.0  # sum of |w r|
    weighted_squares: float = 0.0  # of (w r)^2
    rewarded: int = 0  # rows whose w r is not 0
    zeros: int = 0
    any_negative: bool = False  # only the pseudo-inverse's are
    unlogged: float = 0.0  # sum over rows of the target's probability of actions that the logger never takes
    rows_with_unlogged: int = 0  # rows with this probability
    smallest_propensity: float = 1.0
    largest: Floats = field(default_factory=lambda: np.zeros(0))  # the 100 largest, descending
    largest_weighted: Floats = field(default_factory=lambda: np.zeros(0))  # the 100 largest |w r|, descending
    by_propensity: Floats = field(default_factory=lambda: np.zeros(EXPONENTS))  # heavy weights per power of two

    def add(self, weights: Floats, batch: Batch) -> None:
        self.rewards += float(batch.rewards.sum())
        if batch.q_logged is not None:
            self.q_logged += float(batch.q_logged.sum())
        self.squares += float(np.square(weights).sum())  # a BLAS product would start threads for this small work
        self.zeros += len(weights) - int(np.count_nonzero(weights))
        self.any_negative = self.any_negative or bool(weights.min() < 0.0)
        self.smallest_propensity = min(self.smallest_propensity, float(batch.propensities.min()))
        if batch.unlogged_mass is not None:
            self.unlogged += float(batch.unlogged_mass.sum())
            self.rows_with_unlogged += len(batch)
        self.largest = _largest_of(self.largest, weights)
        weighted = np.abs(weights * batch.rewards)
        self.weighted += float(weighted.sum())
        self.rewarded += int(np.count_nonzero(weighted))
        self.weighted_squares += float(np.square(weighted).sum())
        self.largest_weighted = _largest_of(self.largest_weighted, weighted)
        heavy = weights >= HEAVY
        exponents = batch.propensities[heavy].view(np.int64) >> _BITS_BELOW_EXPONENT
        np.add.at(self.by_propensity, exponents, weights[heavy])

    def __add__(self, other: Self) -> Self:
        return type(self)(
            rewards=self.rewards + other.rewards,
            q_logged=self.q_logged + other.q_logged,
            squares=self.squares + other.squares,
            weighted=self.weighted + other.weighted,
            weighted_squares=self.weighted_squares + other.weighted_squares,
            rewarded=self.rewarded + other.rewarded,
            zeros=self.zeros + other.zeros,
            any_negative=self.any_negative or other.any_negative,
            unlogged=self.unlogged + other.unlogged,
            rows_with_unlogged=self.rows_with_unlogged + other.rows_with_unlogged,
            smallest_propensity=min(self.smallest_propensity, other.smallest_propensity),
            largest=_largest_of(self.largest, other.largest),
            largest_weighted=_largest_of(self.largest_weighted, other.largest_weighted),
            by_propensity=self.by_propensity + other.by_propensity,
        )

    def heavy_below(self, propensity: float) -> float:
        """Sum of the heavy weights of rows whose propensity is below this, rounded down to a power of two."""
        exponent = int(np.floor(np.log2(propensity)))
        return float(self.by_propensity[: max(0, exponent + _BIAS)].sum())


def _largest_of(kept: Floats, values: Floats) -> Floats:
    """The 100 largest of both, descending."""
    if len(kept) == LARGEST:
        values = values[values > kept[-1]]
    return np.sort(np.concatenate([kept, values]))[: -LARGEST - 1 : -1].copy() if values.size else kept
