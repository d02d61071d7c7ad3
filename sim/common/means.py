"""A mean with an interval that is valid if several values come from one user."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from sim.common.arrays import Floats, Ints

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean with its 95 % interval."""

    value: float
    lower: float
    upper: float
    n: int  # values
    clusters: int


def clustered_mean(values: Sequence[float] | Floats, clusters: Sequence[int] | Ints) -> Mean:
    """The mean with the interval that allows any dependence between values of one cluster.

    With one value per cluster this is the usual interval of a mean, by s / sqrt(n). With one cluster the interval is
    NaN; without values the mean is NaN too.

    Args:
        values: shape (n,).
        clusters: shape (n,), the cluster of each value; not negative.

    Source: Liang and Zeger (1986), with the small-sample factor G / (G - 1) over G clusters.
    """
    x, group = np.asarray(values, dtype=np.float64), np.asarray(clusters, dtype=np.intp)
    present = np.unique(group)
    sums = np.bincount(group, weights=x).astype(np.float64)
    return mean_of_sums(sums[present], np.bincount(group)[present])


def mean_of_sums(sums: Floats, counts: Floats | Ints) -> Mean:
    """The same as `clustered_mean`, from the sum and the number of the values in each cluster.

    Args:
        sums: shape (clusters,).
        counts: shape (clusters,), each at least 1.
    """
    n, n_groups = int(counts.sum()), counts.size
    mean = float(sums.sum() / n) if n else np.nan
    error = float(clustered_error(sums - mean * counts)) / n if n else np.nan
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    return Mean(value=mean, lower=mean - reach, upper=mean + reach, n=n, clusters=n_groups)


def clustered_error(moved: Floats) -> Floats:
    """Standard error of a sum from what each of G clusters moves it, with the factor G / (G - 1); NaN with one cluster.

    Args:
        moved: shape (G, ...); the result has the shape (...).
    """
    if len(moved) < 2:
        return np.full(moved.shape[1:], np.nan)
    return np.asarray(np.sqrt(np.sum(moved**2, axis=0) * len(moved) / (len(moved) - 1)))


def difference(one: Mean, other: Mean) -> tuple[float, float, float]:
    """The difference of two means with its 95 % interval; the two must come from different users."""
    value = one.value - other.value
    reach = float(np.hypot(one.value - one.lower, other.value - other.lower))
    return value, value - reach, value + reach


def mean_over_runs(values: Sequence[float] | Floats) -> Mean:
    """The mean of one number from each of some independent runs, with Student's 95 % interval; NaN for one run."""
    from scipy.stats import t as student  # takes half a second, and the service reads this module

    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean()) if x.size else np.nan
    reach = np.nan
    if x.size > 1 and np.isfinite(x).all():
        reach = float(student.ppf((1 + CONFIDENCE) / 2, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size))
    return Mean(value=mean, lower=mean - reach, upper=mean + reach, n=x.size, clusters=x.size)


def ratio_over_runs(over: Sequence[float] | Floats, under: Sequence[float] | Floats) -> Mean:
    """The ratio of two means over the same runs, with Student's 95 % interval of its linearisation.

    With R the ratio, the error is that of the mean of (over - R under) / mean(under), so luck that both runs of a pair
    share does not widen it.

    Args:
        over: shape (runs,).
        under: shape (runs,), the same runs in the same order; their mean must not be near 0.
    """
    x, y = np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64)
    ratio = float(x.mean() / y.mean())
    residuals = mean_over_runs((x - ratio * y) / y.mean())
    reach = residuals.upper - residuals.value
    return Mean(value=ratio, lower=ratio - reach, upper=ratio + reach, n=x.size, clusters=x.size)
