"""The closed-form estimators: each is a sum of ratios of a few sums over rows.

So only sums are kept, shards merge by adding, and one formula gives the clustered standard error of all estimators.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.common.arrays import Floats
from sim.ope.batch import Batch

WITHOUT_MODEL = ("n", "weight", "weighted", "clipped", "unlogged")
WITH_MODEL = (*WITHOUT_MODEL, "model", "correction", "switch", "dros", "sub_gaussian")

Columns = Mapping[str, Floats]  # columns by the names above; of rows, of groups, or of the whole log


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrinkage:
    """The constants with which some estimators shrink large weights. They are fixed: choosing them from the log fails.

    The defaults do not affect weights well below 100, the weights of a policy that explores 100 actions evenly.
    """

    clip: float = 100.0  # clipped IPS: larger weights become this
    switch: float = 100.0  # Switch-DR: rows with a larger weight use only the model
    dros: float = 100.0  # DRos: w becomes lambda w / (w^2 + lambda)
    sub_gaussian: float = 0.01  # sub-Gaussian DR: w becomes w / (1 - lambda + lambda w)


FIXED_SHRINKAGE = Shrinkage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """An estimator as a sum of ratios: numerator column over denominator column."""

    name: str
    terms: tuple[tuple[str, str], ...]

    def value(self, totals: Columns) -> Floats:
        """The estimate; NaN where a denominator is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sum(totals[over] / totals[under] for over, under in self.terms), dtype=np.float64)

    def influence(self, groups: Columns, totals: Columns) -> Floats:
        """How much each group moves the estimate, shape (n_groups,); sums to zero.

        Source: the delta method on ratios of sums (Liang and Zeger 1986 for the clusters).
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            moves = [
                (groups[over] - totals[over] / totals[under] * groups[under]) / totals[under]
                for over, under in self.terms
            ]
        return np.asarray(sum(moves), dtype=np.float64)


def _mean(name: str, *columns: str) -> Estimator:
    return Estimator(name=name, terms=tuple((column, "n") for column in columns))


_MODEL_FREE = (
    _mean("ips", "weighted"),
    Estimator(name="snips", terms=(("weighted", "weight"),)),
    _mean("clipped_ips", "clipped"),
)
_MODEL_BASED = (
    _mean("dm", "model"),
    _mean("dr", "model", "correction"),
    Estimator(name="sndr", terms=(("model", "n"), ("correction", "weight"))),
    _mean("switch_dr", "model", "switch"),
    _mean("dros", "model", "dros"),
    _mean("sub_gaussian_dr", "model", "sub_gaussian"),
)


SELF_NORMALISED = ("snips", "sndr")
# What a shrinking estimator would be without its shrinkage: their difference estimates its bias.
UNSHRUNK = {
    "clipped_ips": _mean("ips", "weighted"),
    "switch_dr": _mean("dr", "model", "correction"),
    "dros": _mean("dr", "model", "correction"),
    "sub_gaussian_dr": _mean("dr", "model", "correction"),
    "dm": _mean("dr", "model", "correction"),
}


def estimators(*, with_model: bool) -> Mapping[str, Estimator]:
    """Every estimator that the log allows, by name."""
    return {one.name: one for one in (_MODEL_FREE + _MODEL_BASED if with_model else _MODEL_FREE)}


def row_columns(batch: Batch, weights: Floats, shrinkage: Shrinkage) -> Columns:
    """The columns of each row that are summed; estimators use no other data of a row.

    Source: Dudik et al. (2014) for DR, Wang et al. (2017) for Switch, Su et al. (2020) for DRos, Metelli et al. (2021)
    for the sub-Gaussian weights.
    """
    columns = {
        "n": np.ones(len(batch)),
        "weight": weights,
        "weighted": weights * batch.rewards,
        "clipped": np.minimum(weights, shrinkage.clip) * batch.rewards,
        "unlogged": np.zeros(len(batch)) if batch.unlogged_mass is None else batch.unlogged_mass,
    }
    if batch.q_logged is None or batch.q_target is None:
        return columns
    correction = weights * (batch.rewards - batch.q_logged)
    return columns | {
        "model": batch.q_target,
        "correction": correction,
        "switch": correction * (weights <= shrinkage.switch),
        "dros": correction * (shrinkage.dros / (weights * weights + shrinkage.dros)),
        "sub_gaussian": correction / (1.0 - shrinkage.sub_gaussian + shrinkage.sub_gaussian * weights),
    }
