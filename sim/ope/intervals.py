"""Intervals of an estimate from the sums of independent groups: normal, bootstrap, and anytime-valid."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from scipy.special import ndtri

from bandit.errors import InvalidLog
from sim.common.arrays import Floats

Column = TypeVar("Column", bound=Hashable)
IntervalName = Literal["auto", "normal", "bootstrap", "anytime"]

RESAMPLES = 2_000
# With more groups than this, the bootstrap joins groups at random: the interval stays valid, and the work is bounded.
BOOTSTRAP_GROUPS = 65_536
CELLS_AT_ONCE = 1 << 22  # of the matrix of resampling counts
SIZES = np.geomspace(1e2, 1e8, 13)  # rows at which the parts of the anytime interval are narrowest


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimate with its standard error and interval."""

    value: float
    standard_error: float
    lower: float
    upper: float
    interval: str  # the method

    def __post_init__(self) -> None:
        if self.lower > self.upper:
            raise InvalidLog(
                f"an interval from {self.lower} to {self.upper}: the lower end must not be above the upper"
            )


def check_confidence(confidence: float) -> None:
    """Refuses an invalid confidence level.

    Raises:
        InvalidLog: it is outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise InvalidLog(f"confidence is {confidence}: it must be in (0, 1)")


def normal_reach(confidence: float) -> float:
    """Standard errors to either side."""
    # The function behind scipy.stats.norm, to the bit; that one takes a hundred times as long.
    return float(-ndtri((1.0 - confidence) / 2.0))


def student_reach(confidence: float, freedom: float) -> float:
    """Standard errors to either side, by Student's t; NaN without a degree of freedom."""
    return float(stats.t.isf((1.0 - confidence) / 2.0, freedom)) if freedom > 0.0 else np.nan


def anytime_reach(
    n: ArrayLike, confidence: float, *, tightest_at: float | None = None, sides: Literal[1, 2] = 2
) -> Floats:
    """Half width of the interval, in standard errors, that is valid for all looks together, however many there are.

    This is a Gaussian-mixture boundary: asymptotic, like the normal interval, so it must not be used with only a few
    users. Later looks have more rows of the same users too. A clustered standard error takes their dependence into
    account, and looks that are more alike than those of independent rows only make the boundary safer.

    Args:
        n: rows seen so far.
        tightest_at: rows at which the interval is narrowest, 3.0 standard errors of 95 %; fixed before looking. None:
            a mixture over sizes from 100 to 100,000,000 rows, which is 3.4 to 3.7 at all of them. To choose the size
            again at every look would hold at none of them.
        sides: 1 for a lower bound alone.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central limit theory and asymptotic
    confidence sequences, theorem 2.2, and its form for one side in the appendix; a mixture of such mixtures is one.
    """
    if tightest_at is None:
        reach = [_mixed_reach(float(rows), confidence, sides) for rows in np.ravel(n)]
        return np.asarray(reach, dtype=np.float64).reshape(np.shape(n))
    time = np.asarray(n, dtype=np.float64) * _rho_squared(confidence, sides) / tightest_at
    level = np.sqrt(time + 1.0) / _effective(confidence, sides)
    log_level = np.log(level) if sides == 2 else np.log1p(level)
    return np.asarray(np.sqrt(2.0 * (time + 1.0) / time * log_level), dtype=np.float64)


def _effective(confidence: float, sides: int) -> float:
    return (1.0 - confidence) * (1.0 if sides == 2 else 2.0)


def _rho_squared(confidence: float, sides: int) -> float:
    """The variance of the mixture, for a boundary that is tightest after one row."""
    log_level = -2.0 * np.log(_effective(confidence, sides))
    return float(log_level + np.log(log_level + 1.0))


@lru_cache(maxsize=4_096)
def _mixed_reach(n: float, confidence: float, sides: Literal[1, 2]) -> float:
    time = n * _rho_squared(confidence, sides) / SIZES
    growth = time / (time + 1.0)

    def log_fortune(reach: float) -> float:
        """Of the mixture when the sum is so many standard deviations from zero."""
        logs = reach**2 * growth / 2.0 - np.log1p(time) / 2.0
        if sides == 1:
            logs = logs + np.log(2.0) + stats.norm.logcdf(reach * np.sqrt(growth))
        return float(np.logaddexp.reduce(logs) - np.log(len(SIZES)) + np.log(1.0 - confidence))

    return float(optimize.brentq(log_fortune, 0.0, 100.0))


def bootstrap_totals(groups: Mapping[Column, Floats], *, seed: int, resamples: int = RESAMPLES) -> dict[Column, Floats]:
    """Totals of the columns over `resamples` draws of the groups with replacement, each of shape (resamples,).

    Exact for up to 65,536 groups; with more, users are first put together at random into so many.
    """
    rng = np.random.default_rng(seed)
    matrix = _folded(np.stack(list(groups.values())), rng)
    totals = np.empty((resamples, len(matrix)))
    at_once = max(1, CELLS_AT_ONCE // matrix.shape[1])
    for first in range(0, resamples, at_once):
        rows = slice(first, min(first + at_once, resamples))
        totals[rows] = _resampling_counts(rows.stop - rows.start, matrix.shape[1], rng) @ matrix.T
    return dict(zip(groups, totals.T, strict=True))


def _folded(matrix: Floats, rng: np.random.Generator) -> Floats:
    n = matrix.shape[1]
    if n <= BOOTSTRAP_GROUPS:
        return matrix
    place = rng.permutation(n) % BOOTSTRAP_GROUPS
    return np.stack([np.bincount(place, weights=column, minlength=BOOTSTRAP_GROUPS) for column in matrix])


def _resampling_counts(resamples: int, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The number of times that each of n groups is drawn, in each resample of n draws."""
    counts = np.empty((resamples, n))
    for row in counts:
        row[:] = np.bincount(rng.integers(0, n, size=n), minlength=n)
    return counts
