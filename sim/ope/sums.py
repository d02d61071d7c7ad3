"""The data that is kept of a log: sums per user group, and some figures about the weights. They are only ever added.

Memory is columns x groups, whatever the number of rows. Sums of groups are partial sums, so rounding errors grow with
the rows of one group, not of the log. Any order of adding gives the same result to 1e-12 of the sum of absolute terms.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bandit.errors import InvalidLog
from sim.common.arrays import Floats
from sim.common.means import clustered_error
from sim.ope.batch import Batch
from sim.ope.estimators import FIXED_SHRINKAGE, WITH_MODEL, WITHOUT_MODEL, Columns, Estimator, Shrinkage, row_columns
from sim.ope.weights import WeightSums

BLOCK_ROWS = 16_384  # rows in a block, so that all its columns stay in the processor's cache
PIECE_ROWS = 16 * BLOCK_ROWS  # whose columns are in memory at once


@dataclass(slots=True, kw_only=True)
class Sums:
    """Sums over the rows of a log for one target: `add` rows, add two objects, or evaluate them."""

    n_groups: int
    with_model: bool
    reward_bounds: tuple[float, float] = (0.0, 1.0)
    shrinkage: Shrinkage = FIXED_SHRINKAGE
    groups: Floats = field(init=False)  # (columns, n_groups)
    weights: WeightSums = field(init=False)

    def __post_init__(self) -> None:
        low, high = self.reward_bounds
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise InvalidLog(f"reward_bounds are {self.reward_bounds}: they must be finite, the lower one first")
        self.groups = np.zeros((len(self.columns), self.n_groups))
        self.weights = WeightSums()

    @property
    def columns(self) -> tuple[str, ...]:
        return WITH_MODEL if self.with_model else WITHOUT_MODEL

    def add(self, batch: Batch) -> None:
        """Counts the rows in.

        Raises:
            InvalidLog: only one of the batch and the sums has a reward model.
        """
        if (batch.q_logged is not None) != self.with_model:
            raise InvalidLog("q_logged: all batches of a log must have a reward model's values, or none")
        for piece in _pieces(batch, PIECE_ROWS):
            # One column after the other, so that only the groups of that column are in the cache.
            for sums, column in zip(self.groups, self._columns_of(piece), strict=True):
                np.add.at(sums, piece.groups, column)

    def _columns_of(self, piece: Batch) -> Floats:
        columns = np.empty((len(self.columns), len(piece)))
        first = 0
        for block in _pieces(piece, BLOCK_ROWS):
            weights = block.weights
            self.weights.add(weights, block)
            rows = slice(first, first := first + len(block))
            for place, column in enumerate(row_columns(block, weights, self.shrinkage).values()):
                columns[place, rows] = column
        return columns

    def __add__(self, other: Self) -> Self:
        """Sums over both logs.

        Raises:
            InvalidLog: they were made with different bounds, shrinkage, groups or columns.
        """
        if self._settings != other._settings:
            raise InvalidLog(
                f"only sums with the same settings can be added, not {self._settings} and {other._settings}"
            )
        both = type(self)(
            n_groups=self.n_groups,
            with_model=self.with_model,
            reward_bounds=self.reward_bounds,
            shrinkage=self.shrinkage,
        )
        both.groups = self.groups + other.groups
        both.weights = self.weights + other.weights
        return both

    @property
    def _settings(self) -> tuple[int, bool, tuple[float, float], Shrinkage]:
        return self.n_groups, self.with_model, self.reward_bounds, self.shrinkage

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.groups[0].sum())

    @property
    def clusters(self) -> int:
        return int(np.count_nonzero(self._used))

    @property
    def unlogged_share(self) -> float:
        """Share of the target's mass that the logger never takes, 0 unless every row says it."""
        known = self.weights.rows_with_unlogged == self.n
        return self.weights.unlogged / self.n if known else 0.0

    def scaled_weighted(self) -> Floats:
        """Sum of w r of each group that has rows, with the reward scaled to [0, 1]."""
        low, high = self.reward_bounds
        groups = self.by_group()
        return np.asarray((groups["weighted"] - low * groups["weight"]) / (high - low), dtype=np.float64)

    def totals(self) -> Columns:
        return dict(zip(self.columns, self.groups.sum(axis=1), strict=True))

    def by_group(self) -> Columns:
        """The sums of the groups that have rows, each of shape (n_clusters,)."""
        return dict(zip(self.columns, self.groups[:, self._used], strict=True))

    def influence(self, estimator: Estimator) -> Floats:
        """How much each group that has rows moves the estimate, shape (n_clusters,)."""
        return estimator.influence(self.by_group(), self.totals())

    def standard_error(self, estimator: Estimator) -> float:
        """Clustered by group; NaN with a single one."""
        return float(clustered_error(self.influence(estimator)))

    @property
    def _used(self) -> NDArray[np.bool_]:
        return np.asarray(self.groups[0] > 0.0)


def _pieces(batch: Batch, length: int) -> Iterator[Batch]:
    for first in range(0, len(batch), length):
        rows = slice(first, first + length)
        yield Batch(
            rewards=batch.rewards[rows],
            propensities=batch.propensities[rows],
            target_propensities=batch.target_propensities[rows],
            groups=batch.groups[rows],
            q_logged=None if batch.q_logged is None else batch.q_logged[rows],
            q_target=None if batch.q_target is None else batch.q_target[rows],
            unlogged_mass=None if batch.unlogged_mass is None else batch.unlogged_mass[rows],
            given_weights=None if batch.given_weights is None else batch.given_weights[rows],
        )
