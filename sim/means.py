"""A mean and how far it can be trusted when several values come from one user."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

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

    With one value a cluster this is the usual interval of a mean, by s / sqrt(n). With one cluster the interval is NaN,
    with no values everything is.

    Args:
        values: shape (n,).
        clusters: shape (n,), the cluster of each value; not negative.

    Source: Liang and Zeger (1986), with the small-sample factor G / (G - 1) over G clusters.
    """
    x, group = np.asarray(values, dtype=np.float64), np.asarray(clusters, dtype=np.intp)
    n, n_groups = x.size, np.unique(group).size
    mean = float(x.mean()) if n else np.nan
    error = np.nan
    if n_groups > 1:
        sums = np.bincount(group, weights=x - mean)
        error = float(np.sqrt(np.sum(sums**2) * n_groups / (n_groups - 1))) / n
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    return Mean(value=mean, lower=mean - reach, upper=mean + reach, n=n, clusters=n_groups)


def mean_over_runs(values: Sequence[float] | Floats) -> Mean:
    """The mean of one number from each of some independent runs, with Student's 95 % interval; NaN for one run."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean()) if x.size else np.nan
    reach = np.nan
    if x.size > 1 and np.isfinite(x).all():
        reach = float(student.ppf((1 + CONFIDENCE) / 2, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size))
    return Mean(value=mean, lower=mean - reach, upper=mean + reach, n=x.size, clusters=x.size)
