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
    zeros: int = 0
    unlogged: float = 0.0  # sum over rows of the target's probability of actions that the logger never takes
    rows_with_unlogged: int = 0  # rows with this probability
    smallest_propensity: float = 1.0
    largest: Floats = field(default_factory=lambda: np.zeros(0))  # the 100 largest, descending
    by_propensity: Floats = field(default_factory=lambda: np.zeros(EXPONENTS))  # heavy weights per power of two

    def add(self, weights: Floats, batch: Batch) -> None:
        self.rewards += float(batch.rewards.sum())
        if batch.q_logged is not None:
            self.q_logged += float(batch.q_logged.sum())
        self.squares += float(np.square(weights).sum())  # a BLAS product would start threads for this small work
        self.zeros += len(weights) - int(np.count_nonzero(weights))
        self.smallest_propensity = min(self.smallest_propensity, float(batch.propensities.min()))
        if batch.unlogged_mass is not None:
            self.unlogged += float(batch.unlogged_mass.sum())
            self.rows_with_unlogged += len(batch)
        self._keep_largest(weights)
        heavy = weights >= HEAVY
        exponents = batch.propensities[heavy].view(np.int64) >> _BITS_BELOW_EXPONENT
        np.add.at(self.by_propensity, exponents, weights[heavy])

    def _keep_largest(self, weights: Floats) -> None:
        if len(self.largest) == LARGEST:
            weights = weights[weights > self.largest[-1]]
        if weights.size:
            self.largest = np.sort(np.concatenate([self.largest, weights]))[: -LARGEST - 1 : -1].copy()

    def __add__(self, other: Self) -> Self:
        both = type(self)(
            rewards=self.rewards + other.rewards,
            q_logged=self.q_logged + other.q_logged,
            squares=self.squares + other.squares,
            zeros=self.zeros + other.zeros,
            unlogged=self.unlogged + other.unlogged,
            rows_with_unlogged=self.rows_with_unlogged + other.rows_with_unlogged,
            smallest_propensity=min(self.smallest_propensity, other.smallest_propensity),
            largest=self.largest,
            by_propensity=self.by_propensity + other.by_propensity,
        )
        both._keep_largest(other.largest)
        return both

    def heavy_below(self, propensity: float) -> float:
        """Sum of the heavy weights of rows whose propensity is below this, rounded down to a power of two."""
        exponent = int(np.floor(np.log2(propensity)))
        return float(self.by_propensity[: max(0, exponent + _BIAS)].sum())
