"""Whether this log can answer this question; decided before any number is shown, with reasons in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from sim.ope.checks.needed import Needed, needed
from sim.ope.checks.trust import LEAST_INFLUENTIAL, LEAST_TAIL_INDEX
from sim.ope.diagnostics import CHECK_CONFIDENCE, HARDLY_LOGGED_DRAWS, Diagnostics
from sim.ope.weights import HEAVY

LEAST_ESS = 30.0  # with fewer, no interval is reliable
LEAST_CLUSTERS = 10.0  # effective ones: with fewer, no standard error is reliable
MOST_UNCOVERED_SHARE = 0.05  # of the target's mass, on actions that were never or hardly logged
MOST_OF_ONE_WEIGHT = 0.1  # of the sum of weights
LEAST_P_VALUE = 1.0 - CHECK_CONFIDENCE
# A test finds anything in a log that is long enough: what matters is larger than this.
MEAN_WEIGHT_MATTERS = 0.005  # probabilities that were rounded to three decimals are no fault
CARRY_OVER_MATTERS = 0.02  # of the estimate
DRIFT_MATTERS = 0.1  # of the value
NOTED_DRIFT = 0.2  # of the larger half: rewards of real logs always move a little
LEAST_CARRY_OVER_P_VALUE = 0.0075  # fatigue that biases an estimate by five standard errors is found by 9 in 10 logs
ROWS_OF_A_SHORT_LOG = 2_000
ENOUGH_STEPS = 7  # decisions in a row: over so many, simulated fatigue is within the interval
FEW_CLUSTERS = 40
LARGE_SHARE = 0.2  # of the estimate, by one row or user
NOTED_SHRINKAGE = 0.5  # standard errors
_BETTING = "the interval that is shown is the betting one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the log can answer, why not, and what to keep in mind if it can."""

    ok: bool
    reasons: tuple[str, ...]  # why not; empty when ok
    notes: tuple[str, ...]  # limits of the estimates even if the verdict is ok
    needed: Needed | None = None  # what would make a log ok that is too short; None if length is not what it lacks


def judge(found: Diagnostics) -> Verdict:
    """The verdict on a log with these figures."""
    reasons = (*_about_weights(found), *_about_support(found), *_about_draws(found), *_about_time(found))
    lacks = needed(found, least_ess=LEAST_ESS, most_of_one=MOST_OF_ONE_WEIGHT)
    return Verdict(ok=not reasons, reasons=reasons, notes=tuple(_notes(found)), needed=lacks)


def _about_weights(found: Diagnostics) -> Iterator[str]:
    low, high = found.mean_weight_interval
    unlogged = found.unlogged_share if found.unlogged_share_is_exact else 0.0
    if not low - MEAN_WEIGHT_MATTERS <= 1.0 - unlogged <= high + MEAN_WEIGHT_MATTERS:
        cause = (
            f"the log lacks about {1.0 - found.mean_weight:.1%} of what the target would do, or propensities are wrong"
            if found.mean_weight < 1.0 - unlogged
            else "logged propensities are too small or the target's probabilities too large"
        )
        goal = f"1 less the {unlogged:.1%} that the logger never takes" if unlogged else "1"
        yield f"the mean weight is {found.mean_weight:.3g} ({low:.3g} to {high:.3g}) and must be {goal}: {cause}"
    if found.ess < LEAST_ESS:
        yield f"the effective sample size is {found.ess:.1f} of {found.n:,} rows and must be at least {LEAST_ESS:g}"
    if found.largest_weight_share > MOST_OF_ONE_WEIGHT:
        share = f"{found.largest_weight_share:.0%}"
        yield f"one row carries {share} of all weight; it must be at most {MOST_OF_ONE_WEIGHT:.0%}"
    if not found.effective_clusters >= LEAST_CLUSTERS:  # true of NaN as well
        yield (
            f"the weight of {found.users:,} users is worth that of {found.effective_clusters:.1f} equal ones; it must "
            f"be that of at least {LEAST_CLUSTERS:g}"
        )


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
        (found.beyond_code_p_value, "actions of one embedding code do not earn the same"),
        (found.additivity_p_value, "parts of the decision do together what they do not do one by one"),
    ):
        if p_value is not None and p_value < LEAST_P_VALUE:
            yield f"{what} (p = {p_value:.2g}, must be at least {LEAST_P_VALUE:.2g})"


def _about_time(found: Diagnostics) -> Iterator[str]:
    drift, carried = found.drift, found.carry_over
    if (
        drift is not None
        and drift.reverses
        and drift.advantage_p_value < LEAST_P_VALUE
        and drift.relative > DRIFT_MATTERS
    ):
        first, second = drift.first.advantage, drift.second.advantage
        yield (
            f"the target earns {first:+.4g} against the logging policy in the first half of the log and {second:+.4g} "
            f"in the second (p = {drift.advantage_p_value:.2g}): an average says nothing about the time after it"
        )
    if (
        carried is not None
        and found.steps < ENOUGH_STEPS
        and carried.p_value < _carry_over_level(found.n)
        and carried.relative > CARRY_OVER_MATTERS
    ):
        yield (
            f"what was done to a user changes what later decisions earn: {carried.one_step:.4g} over one decision, "
            f"{carried.three_steps:.4g} over three in a row (p = {carried.p_value:.2g}); estimate over at least "
            f"{ENOUGH_STEPS} steps"
        )


def _carry_over_level(n: int) -> float:
    """A long log finds what matters at the level of all tests; a short one needs a looser level to find fatigue."""
    return max(LEAST_P_VALUE, LEAST_CARRY_OVER_P_VALUE * min(1.0, ROWS_OF_A_SHORT_LOG / n))


def _notes(found: Diagnostics) -> Iterator[str]:
    if found.target_changes_features:
        yield (
            "one-step estimate: the target changes features that it sees later (recency, caps), but the estimate takes "
            "every history as it was logged"
        )
    yield from _notes_on_rewards(found)
    drift = found.drift
    if drift is not None and drift.value_p_value < LEAST_P_VALUE:
        first, second = drift.first.target, drift.second.target
        if abs(second - first) > NOTED_DRIFT * max(abs(first), abs(second)):
            yield f"the target's value went from {first:.4g} in the first half of the log to {second:.4g} in the second"
    shrunk = {name: bias for name, bias in found.shrinkage_bias.items() if abs(bias) > NOTED_SHRINKAGE}
    if shrunk:
        moved = ", ".join(f"{name} by {bias:.2g}" for name, bias in shrunk.items())
        yield (
            f"weights reach {found.max_weight:,.0f}, and holding large ones down moves estimates ({moved} standard "
            "errors); their intervals reach to the estimate without that"
        )
    if found.clusters < FEW_CLUSTERS:
        yield f"only {found.users} users: clustered intervals are somewhat too narrow below {FEW_CLUSTERS}"
    if found.missing_feedback:
        yield f"feedback is missing on {found.missing_feedback:,} of {found.n:,} rows"


def _notes_on_rewards(found: Diagnostics) -> Iterator[str]:
    if found.influential_clusters < LEAST_INFLUENTIAL:
        yield (
            f"rewards are rare or unequal: {found.influential_clusters:.1f} of {found.users:,} users carry the "
            f"estimate, fewer than {LEAST_INFLUENTIAL:g}; {_BETTING}, which holds at any number"
        )
    elif found.tail_index < LEAST_TAIL_INDEX:
        yield (
            f"the largest rewards have a tail of index {found.tail_index:.2g}, below {LEAST_TAIL_INDEX:g}: their "
            f"variance may be infinite; {_BETTING}, which uses the reward's bounds alone"
        )
    share = max(found.largest_row_share, found.largest_user_share)
    if share > LARGE_SHARE:
        whose = "row" if found.largest_row_share >= found.largest_user_share else "user"
        yield f"one {whose} is {share:.0%} of the estimate"
