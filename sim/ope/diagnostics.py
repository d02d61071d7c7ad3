"""Figures about how much a log says about a question; read them before any estimate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.ope.checks.carry_over import CarryOver
from sim.ope.checks.draws import CalibrationBin, Draws
from sim.ope.checks.drift import Drift
from sim.ope.checks.trust import effective_clusters, influential_clusters, tail_index
from sim.ope.estimators import UNSHRUNK, Estimator, estimators
from sim.ope.intervals import student_reach
from sim.ope.sums import Sums

# Confidence of the interval of the mean weight, which must contain 1: so it refuses one good log in a thousand.
CHECK_CONFIDENCE = 0.999
HARDLY_LOGGED_DRAWS = 1.0  # draws expected in the whole log if the action were always eligible

# The mean weight and what the target does where the logger never goes: 1 together.
_COVERED_MASS = Estimator(name="covered_mass", terms=(("weight", "n"), ("unlogged", "n")))
_SNIPS = estimators(with_model=False)["snips"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """Figures about a log and one target. Shares are in [0, 1]; None: the data for the figure was not given."""

    n: int
    users: int  # rows, without users
    clusters: int  # that the standard errors see: users, or groups of users in a stream
    effective_clusters: float  # Kish's, of the weight that each has
    ess: float  # (sum w)^2 / sum w^2, in rows
    mean_weight: float  # 1 if the log covers the target and the propensities are true
    mean_weight_interval: tuple[float, float]  # 99.9 %, clustered
    reward_ess: float  # (sum |w r|)^2 / sum (w r)^2, in rows
    influential_clusters: float  # how many carry the variance of the SNIPS estimate
    tail_index: float  # Hill's, of w r; infinite without a tail
    largest_row_share: float  # of the estimate: of the sum of |w r|, by the one largest
    largest_user_share: float  # of the estimate: by the one largest user
    shrinkage_bias: Mapping[str, float]  # of shrinking estimators, estimated, in their own standard errors
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
    beyond_code_p_value: float | None  # MIPS: that actions of one code earn the same
    additivity_p_value: float | None  # pseudo-inverse: that parts add up
    drift: Drift | None  # first half of the log against the second
    carry_over: CarryOver | None  # None where no user comes three times
    steps: int  # decisions in a row that the weights are over
    target_changes_features: bool  # recency, caps: what the target does now changes what it meets later


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What was seen of a log beside its sums; None: what it needs was not given."""

    draws: Draws | None = None
    drift: Drift | None = None
    carry_over: CarryOver | None = None
    beyond_code_p_value: float | None = None
    additivity_p_value: float | None = None
    users: int | None = None  # where the sums know only groups of users
    target_changes_features: bool = False
    steps: int = 1  # decisions in a row that the weights are over


NO_CHECKS = Checks()


def diagnose(sums: Sums, checks: Checks) -> Diagnostics:
    """All figures about the log that `sums`, and what else was seen of it, were made from."""
    draws = checks.draws
    weights = sums.weights
    n, total = sums.n, float(sums.totals()["weight"])
    mean_weight = total / n
    largest = weights.largest
    exact = weights.rows_with_unlogged == n
    groups = sums.by_group()
    by_user = np.abs(groups["weighted"])
    return Diagnostics(
        n=n,
        users=sums.clusters if checks.users is None else checks.users,
        clusters=sums.clusters,
        effective_clusters=effective_clusters(groups["weight"]),
        ess=total**2 / weights.squares if weights.squares else 0.0,
        mean_weight=mean_weight,
        mean_weight_interval=_mean_weight_interval(sums, mean_weight),
        reward_ess=weights.weighted**2 / weights.weighted_squares if weights.weighted_squares else 0.0,
        influential_clusters=influential_clusters(sums.influence(_SNIPS)),
        tail_index=tail_index(weights.largest_weighted, weights.rewarded),
        largest_row_share=float(weights.largest_weighted[0]) / weights.weighted if weights.weighted else 0.0,
        largest_user_share=float(by_user.max() / by_user.sum()) if by_user.sum() else 0.0,
        shrinkage_bias=_shrinkage_bias(sums),
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
        beyond_code_p_value=checks.beyond_code_p_value,
        additivity_p_value=checks.additivity_p_value,
        drift=checks.drift,
        carry_over=checks.carry_over,
        steps=checks.steps,
        target_changes_features=checks.target_changes_features,
    )


def _mean_weight_interval(sums: Sums, mean_weight: float) -> tuple[float, float]:
    reach = student_reach(CHECK_CONFIDENCE, sums.clusters - 1.0) * sums.standard_error(_COVERED_MASS)
    return (mean_weight - reach, mean_weight + reach) if np.isfinite(reach) else (-np.inf, np.inf)


def _shrinkage_bias(sums: Sums) -> dict[str, float]:
    """How far each shrinking estimator is from what it would be unshrunk, in its own standard errors."""
    totals = sums.totals()
    found = {}
    for name, one in estimators(with_model=sums.with_model).items():
        if name in UNSHRUNK and name != "dm":
            bias, error = float(UNSHRUNK[name].value(totals) - one.value(totals)), sums.standard_error(one)
            found[name] = bias / error if error > 0.0 else 0.0 if bias == 0.0 else np.copysign(np.inf, bias)
    return found
