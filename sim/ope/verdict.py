"""Whether this log can answer this question; decided before any number is shown, with reasons in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from sim.ope.diagnostics import CHECK_CONFIDENCE, HARDLY_LOGGED_DRAWS, Diagnostics
from sim.ope.estimators import FIXED_SHRINKAGE
from sim.ope.weights import HEAVY

LEAST_ESS = 30.0  # with fewer, no interval is reliable
MOST_UNCOVERED_SHARE = 0.05  # of the target's mass, on actions that were never or hardly logged
MOST_OF_ONE_WEIGHT = 0.1  # of the sum of weights
LEAST_P_VALUE = 1.0 - CHECK_CONFIDENCE
MEAN_WEIGHT_ROUNDING = 1e-9
FEW_CLUSTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the log can answer, why not, and what to keep in mind if it can."""

    ok: bool
    reasons: tuple[str, ...]  # why not; empty when ok
    notes: tuple[str, ...]  # limits of the estimates even if the verdict is ok


def judge(found: Diagnostics) -> Verdict:
    """The verdict on a log with these figures."""
    reasons = (*_about_weights(found), *_about_support(found), *_about_draws(found))
    return Verdict(ok=not reasons, reasons=reasons, notes=tuple(_notes(found)))


def _about_weights(found: Diagnostics) -> Iterator[str]:
    low, high = found.mean_weight_interval
    if not low - MEAN_WEIGHT_ROUNDING <= 1.0 <= high + MEAN_WEIGHT_ROUNDING:
        cause = (
            f"the log lacks about {1.0 - found.mean_weight:.1%} of what the target would do, or propensities are wrong"
            if found.mean_weight < 1.0
            else "logged propensities are too small or the target's probabilities too large"
        )
        yield f"the mean weight is {found.mean_weight:.3g} ({low:.3g} to {high:.3g}) and must be 1: {cause}"
    if found.ess < LEAST_ESS:
        yield f"the effective sample size is {found.ess:.1f} of {found.n:,} rows and must be at least {LEAST_ESS:g}"
    if found.largest_weight_share > MOST_OF_ONE_WEIGHT:
        share = f"{found.largest_weight_share:.0%}"
        yield f"one row carries {share} of all weight; it must be at most {MOST_OF_ONE_WEIGHT:.0%}"


def _about_support(found: Diagnostics) -> Iterator[str]:
    if found.unlogged_share_is_exact and found.unlogged_share > MOST_UNCOVERED_SHARE:
        share = f"{found.unlogged_share:.1%} of the target's mass is on actions that the logger never takes"
        yield f"{share}; it must be at most {MOST_UNCOVERED_SHARE:.0%}"
    if found.hardly_logged_share > MOST_UNCOVERED_SHARE:
        yield (
            f"{found.hardly_logged_share:.1%} of the mass is on actions that the logger hardly takes, less than "
            f"{HARDLY_LOGGED_DRAWS:g} time in a log of this length, and {HEAVY:g} times less often than the target; it "
            f"must be at most {MOST_UNCOVERED_SHARE:.0%}"
        )


def _about_draws(found: Diagnostics) -> Iterator[str]:
    for p_value, what in (
        (found.sample_ratio_p_value, "arms were not drawn as often as the logged probabilities say"),
        (found.calibration_p_value, "the logged probabilities are not calibrated"),
        (found.missing_feedback_p_value, "whether feedback is missing depends on the action"),
    ):
        if p_value is not None and p_value < LEAST_P_VALUE:
            yield f"{what} (p = {p_value:.2g}, must be at least {LEAST_P_VALUE:.2g})"


def _notes(found: Diagnostics) -> Iterator[str]:
    if found.target_changes_features:
        yield (
            "one-step estimate: the target changes features that it sees later (recency, caps), but the estimate takes "
            "every history as it was logged"
        )
    if found.max_weight > FIXED_SHRINKAGE.clip:
        yield (
            f"weights reach {found.max_weight:,.0f}: the estimators that shrink weights above {FIXED_SHRINKAGE.clip:g} "
            "(clipped_ips, switch_dr, dros, sub_gaussian_dr) are therefore biased, which their intervals do not show"
        )
    if found.clusters < FEW_CLUSTERS:
        yield f"only {found.clusters} users: clustered intervals are somewhat too narrow below {FEW_CLUSTERS}"
    if found.missing_feedback:
        yield f"feedback is missing on {found.missing_feedback:,} of {found.n:,} rows"
