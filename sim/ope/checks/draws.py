"""Were actions drawn with the logged probabilities? Tests that need the logger's pmf over a few arms.

Given the pmf, the draw is the only randomness, so these tests are exact in the mean whatever users do, and need no
clusters: the sum over rows of (drawn - probability) has mean zero and a known covariance.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bandit.decide.exploration import SUM_TOLERANCE
from bandit.errors import InvalidLog, InvalidPropensity
from sim.common.arrays import Floats

BINS = 10
EDGES = np.linspace(0.0, 1.0, BINS + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Logged probabilities of about the same size, and how often their arms were drawn."""

    mean_propensity: float
    drawn_share: float
    count: int  # probabilities in the bin


@dataclass(slots=True, kw_only=True)
class Draws:
    """Sums over rows of drawn and of expected counts; they merge by adding."""

    n_arms: int
    surplus: Floats = field(init=False)  # (arms,): times drawn minus the sum of probabilities
    covariance: Floats = field(init=False)  # (arms, arms): of the surplus
    missing_surplus: Floats = field(init=False)  # the same over rows without feedback
    missing_covariance: Floats = field(init=False)
    missing: int = 0
    bins: Floats = field(init=False)  # (3, bins): count, sum of probabilities, times drawn
    bin_variance: Floats = field(init=False)  # (bins,): upper bound of the variance of times drawn

    def __post_init__(self) -> None:
        self.surplus, self.missing_surplus = np.zeros(self.n_arms), np.zeros(self.n_arms)
        self.covariance, self.missing_covariance = np.zeros((2, self.n_arms, self.n_arms))
        self.bins, self.bin_variance = np.zeros((3, BINS)), np.zeros(BINS)

    def add(self, pmf: ArrayLike, arms: ArrayLike, feedback_missing: ArrayLike | None = None) -> None:
        """Counts rows in.

        Args:
            pmf: shape (n, n_arms), the logger's probability of each arm; 0 where an arm was not eligible.
            arms: shape (n,), the arm drawn, from 0.
            feedback_missing: shape (n,), whether the outcome never arrived.

        Raises:
            InvalidPropensity: a row of the pmf is negative, NaN or does not sum to 1.
            InvalidLog: an arm that does not exist, or wrong shapes.
        """
        probabilities, drawn = _checked_draws(pmf, arms, self.n_arms)
        hits = np.zeros_like(probabilities)
        hits[np.arange(len(drawn)), drawn] = 1.0
        self.surplus += (hits - probabilities).sum(axis=0)
        self.covariance += _covariance(probabilities)
        self._add_bins(probabilities, hits)
        if feedback_missing is not None:
            gone = _checked_flags(feedback_missing, len(drawn))
            self.missing += int(gone.sum())
            self.missing_surplus += (hits - probabilities)[gone].sum(axis=0)
            self.missing_covariance += _covariance(probabilities[gone])

    def _add_bins(self, probabilities: Floats, hits: Floats) -> None:
        flat = probabilities.ravel()
        place = np.minimum((flat * BINS).astype(np.intp), BINS - 1)
        for row, values in enumerate((flat > 0.0, flat, hits.ravel())):
            np.add.at(self.bins[row], place, values)
        np.add.at(self.bin_variance, place, flat * (1.0 - flat))

    def __add__(self, other: Self) -> Self:
        """Sums over both logs.

        Raises:
            InvalidLog: they have different numbers of arms.
        """
        if self.n_arms != other.n_arms:
            raise InvalidLog(f"draws of {self.n_arms} arms cannot be added to those of {other.n_arms}")
        both = type(self)(n_arms=self.n_arms, missing=self.missing + other.missing)
        both.surplus, both.covariance = self.surplus + other.surplus, self.covariance + other.covariance
        both.missing_surplus = self.missing_surplus + other.missing_surplus
        both.missing_covariance = self.missing_covariance + other.missing_covariance
        both.bins, both.bin_variance = self.bins + other.bins, self.bin_variance + other.bin_variance
        return both

    def sample_ratio_p_value(self) -> float:
        """Probability of a deviation from the pmf at least this large, if the pmf is true; 1 without choice."""
        return _chi_square_p_value(self.surplus, self.covariance)

    def missing_feedback_p_value(self) -> float:
        """The same over rows without feedback; it is small if the arrival of feedback depends on the arm."""
        return _chi_square_p_value(self.missing_surplus, self.missing_covariance)

    def calibration(self) -> tuple[CalibrationBin, ...]:
        """The bins that contain probabilities, the smallest first."""
        return tuple(
            CalibrationBin(mean_propensity=float(total / count), drawn_share=float(hits / count), count=int(count))
            for count, total, hits in self.bins.T
            if count
        )

    def calibration_p_value(self) -> float:
        """Probability of a deviation as large as the worst bin's, if the pmf is true: Bonferroni over the bins.

        In a row only one arm of a bin can be drawn, so the variance that is used is an upper bound.
        """
        used = self.bin_variance > 0
        if not used.any():
            return 1.0
        off = (self.bins[2] - self.bins[1])[used] / np.sqrt(self.bin_variance[used])
        return float(min(1.0, used.sum() * 2.0 * stats.norm.sf(np.abs(off).max())))


def _covariance(pmf: Floats) -> Floats:
    return np.asarray(np.diag(pmf.sum(axis=0)) - pmf.T @ pmf, dtype=np.float64)


def _chi_square_p_value(surplus: Floats, covariance: Floats) -> float:
    """P-value of the quadratic form; the covariance is singular, because the probabilities of a row sum to 1."""
    values, vectors = np.linalg.eigh(covariance)
    real = values > values.max(initial=0.0) * len(values) * 1e-12
    if not real.any():
        return 1.0
    along = vectors[:, real].T @ surplus
    return float(stats.chi2.sf(np.sum(along**2 / values[real]), df=int(real.sum())))


def _checked_draws(pmf: ArrayLike, arms: ArrayLike, n_arms: int) -> tuple[Floats, NDArray[np.intp]]:
    probabilities, drawn = np.asarray(pmf, dtype=np.float64), np.asarray(arms)
    if probabilities.shape != (drawn.size, n_arms) or drawn.ndim != 1 or drawn.dtype.kind not in "iu":
        raise InvalidLog(
            f"logging_pmf has the shape {probabilities.shape} and actions {drawn.shape} of {drawn.dtype}: they must be "
            f"(n, {n_arms}) and (n,) of integers"
        )
    bad = ~((probabilities >= 0.0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1.0) <= SUM_TOLERANCE * n_arms))
    if bad.any():
        row = int(np.argmax(bad))
        raise InvalidPropensity(f"logging_pmf, row {row}: {probabilities[row]} must be probabilities that sum to 1")
    none = (drawn < 0) | (drawn >= n_arms)
    if none.any():
        row = int(np.argmax(none))
        raise InvalidLog(f"actions, row {row}: {drawn[row]} must be an arm of logging_pmf, in [0, {n_arms})")
    return probabilities, drawn.astype(np.intp, copy=False)


def _checked_flags(flags: ArrayLike, n: int) -> NDArray[np.bool_]:
    given = np.asarray(flags)
    if given.shape != (n,) or given.dtype != np.bool_:
        raise InvalidLog(f"feedback_missing has the shape {given.shape} of {given.dtype}: it must be ({n},) of bool")
    return given
