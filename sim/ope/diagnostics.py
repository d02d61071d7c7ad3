"""Figures about how much a log says about a question; read them before any estimate."""

from dataclasses import dataclass

import numpy as np

from sim.ope.draws import CalibrationBin, Draws
from sim.ope.estimators import Estimator
from sim.ope.intervals import normal_reach
from sim.ope.sums import Sums

# Confidence of the interval of the mean weight, which must contain 1: so it refuses one good log in a thousand.
CHECK_CONFIDENCE = 0.999
HARDLY_LOGGED_DRAWS = 1.0  # draws expected in the whole log if the action were always eligible

_MEAN_WEIGHT = Estimator(name="mean_weight", terms=(("weight", "n"),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """Figures about a log and one target. Shares are in [0, 1]; None: the data for the figure was not given."""

    n: int
    clusters: int  # users (or groups of users), or rows
    ess: float  # (sum w)^2 / sum w^2, in rows
    mean_weight: float  # 1 if the log covers the target and the propensities are true
    mean_weight_interval: tuple[float, float]  # 99.9 %, clustered
    max_weight: float
    largest_weight_share: float  # share of the largest weight in the sum of weights
    top_hundred_share: float  # share of the hundred largest
    zero_weight_share: float  # rows without information about the target
    unlogged_share: float  # of the target's mass: exact if given, otherwise 1 - mean weight, at least 0
    unlogged_share_is_exact: bool
    hardly_logged_share: (
        float  # of the target's mass, on actions logged less than once and ten times as likely under the target
    )
    smallest_propensity: float
    logged_mean: float  # of the rewards: the value of the logging policy
    model_residual: float | None  # mean of r - q on the logged actions: 0 if the model is right on average
    sample_ratio_p_value: float | None
    calibration: tuple[CalibrationBin, ...]
    calibration_p_value: float | None
    missing_feedback: int | None  # rows
    missing_feedback_p_value: float | None
    target_changes_features: bool  # recency, caps: the target's actions change its later situations


def diagnose(sums: Sums, draws: Draws | None, *, target_changes_features: bool) -> Diagnostics:
    """All figures about the log of `sums`, and of `draws` if the pmf is known."""
    weights = sums.weights
    n, total = sums.n, float(sums.totals()["weight"])
    mean_weight = total / n
    largest = weights.largest
    exact = weights.rows_with_unlogged == n
    return Diagnostics(
        n=n,
        clusters=sums.clusters,
        ess=total**2 / weights.squares if weights.squares else 0.0,
        mean_weight=mean_weight,
        mean_weight_interval=_mean_weight_interval(sums, mean_weight),
        max_weight=float(largest[0]),
        largest_weight_share=float(largest[0]) / total if total else 0.0,
        top_hundred_share=float(largest.sum()) / total if total else 0.0,
        zero_weight_share=weights.zeros / n,
        unlogged_share=weights.unlogged / n if exact else max(0.0, 1.0 - mean_weight),
        unlogged_share_is_exact=exact,
        # It is an estimate, which a few rows with large weights can push above 1.
        hardly_logged_share=min(1.0, weights.heavy_below(HARDLY_LOGGED_DRAWS / n) / n),
        smallest_propensity=weights.smallest_propensity,
        logged_mean=weights.rewards / n,
        model_residual=(weights.rewards - weights.q_logged) / n if sums.with_model else None,
        sample_ratio_p_value=draws.sample_ratio_p_value() if draws else None,
        calibration=draws.calibration() if draws else (),
        calibration_p_value=draws.calibration_p_value() if draws else None,
        missing_feedback=draws.missing if draws else None,
        missing_feedback_p_value=draws.missing_feedback_p_value() if draws else None,
        target_changes_features=target_changes_features,
    )


def _mean_weight_interval(sums: Sums, mean_weight: float) -> tuple[float, float]:
    reach = normal_reach(CHECK_CONFIDENCE) * sums.standard_error(_MEAN_WEIGHT)
    return (mean_weight - reach, mean_weight + reach) if np.isfinite(reach) else (-np.inf, np.inf)
