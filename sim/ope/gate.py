"""The promotion gate: a challenger is promoted only if the log shows that it earns more and does no harm.

It may be checked as often as one likes: the bound is valid for all checks together, so waiting for a lucky day does not
help.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from bandit.errors import InvalidLog
from sim.common.arrays import Floats
from sim.ope.comparison import Comparison
from sim.ope.intervals import anytime_reach, check_confidence

# With fewer users, the normal approximation of the bound is poor.
LEAST_USERS = 100
FARTHEST = 1e4  # times as many decisions; more than that is reported as never


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The condition for the difference in reward."""

    margin: float = 0.0  # in reward units per decision
    confidence: float = 0.95  # of the one-sided bound, over all looks together
    tightest_at: float | None = None  # decisions the gate is expected to see before it opens; None: any number

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        tightest_at = 1.0 if self.tightest_at is None else self.tightest_at
        if not (np.isfinite(self.margin) and np.isfinite(tightest_at) and tightest_at > 0.0):
            raise InvalidLog(f"margin {self.margin} must be finite and tightest_at {self.tightest_at} positive")

    def lower(self, values: ArrayLike, standard_errors: ArrayLike, n: ArrayLike) -> Floats:
        """Lower bound of each difference after n decisions."""
        reach = anytime_reach(n, self.confidence, tightest_at=self.tightest_at, sides=1)
        return np.asarray(np.asarray(values) - reach * np.asarray(standard_errors), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A paired difference, challenger minus champion, per decision."""

    value: float
    standard_error: float  # clustered by user
    n: int  # decisions
    users: int
    one_more: float = 0.0  # change of the value by one more event than was seen; shrinks as 1 / n

    def error(self, times: float = 1.0) -> float:
        """The standard error after this many times the decisions, if they are like these."""
        return float(np.hypot(self.standard_error / np.sqrt(times), self.one_more / times))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A quantity that the challenger must not raise: sends, opt-outs."""

    name: str
    difference: Evidence  # evidence about the quantity
    most: float  # largest accepted rise, per decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Whether to promote, and otherwise what is missing."""

    promote: bool
    missing: tuple[str, ...]
    more_decisions: int | None  # estimate of the further decisions needed; None: never, with these estimates


def evidence_of(comparison: Comparison, estimator: str) -> Evidence:
    """The evidence of one estimator of a comparison.

    Raises:
        EstimatesWithheld: the log cannot answer.
    """
    found, about = comparison.estimates[estimator], comparison.diagnostics
    return Evidence(value=found.value, standard_error=found.standard_error, n=about.n, users=about.clusters)


def with_one_more(rare: Evidence, ess: float) -> Evidence:
    """The evidence about an event, with an error that allows for one more event than was seen.

    The standard error of an event that was never seen is zero, as if it could not happen. The log is worth `ess`
    decisions of the challenger, and an event that happens once in that many can easily be missed.
    """
    return replace(rare, one_more=1.0 / ess)


def decide_promotion(gate: Gate, reward: Evidence, guardrails: Sequence[Guardrail] = ()) -> Promotion:
    """The decision on this evidence.

    A guardrail is kept if the upper bound of its difference, at the gate's confidence and over all checks, is within
    the accepted rise. So it must be shown to be kept; it is not enough that a violation is not shown.
    """
    checks = [_reward_check(gate, reward), *(_guardrail_check(gate, one) for one in guardrails)]
    failed = [(words, more) for words, more in checks if words is not None]
    if reward.users < LEAST_USERS:
        failed.append(
            (f"{reward.users} users are in the log: at least {LEAST_USERS} are needed", _more_for_users(reward))
        )
    waits = [more for _, more in failed]
    more_decisions = None if None in waits else max((one for one in waits if one is not None), default=0)
    return Promotion(promote=not failed, missing=tuple(words for words, _ in failed), more_decisions=more_decisions)


_Check = tuple[str | None, int | None]  # what is missing, and how many more decisions that takes


def _reward_check(gate: Gate, reward: Evidence) -> _Check:
    lower = float(gate.lower(reward.value, reward.error(), reward.n))
    if lower > gate.margin:
        return None, 0
    words = (
        f"the difference in reward is {reward.value:.4g} and at least {lower:.4g} per decision: "
        f"the lower bound must be above {gate.margin:.4g}"
    )
    return words, _more_decisions(gate, reward, gate.margin)


def _guardrail_check(gate: Gate, one: Guardrail) -> _Check:
    found = one.difference
    fall = replace(found, value=-found.value)
    lower = float(gate.lower(fall.value, fall.error(), fall.n))
    if lower >= -one.most:
        return None, 0
    words = (
        f"{one.name} differ by {found.value:.4g} and at most {-lower:.4g} per decision: "
        f"the upper bound must be at most {one.most:.4g}"
    )
    return words, _more_decisions(gate, fall, -one.most)


def _more_decisions(gate: Gate, found: Evidence, goal: float) -> int | None:
    """Further decisions until the bound reaches the goal, if the estimate stays and errors shrink as 1 / sqrt(n)."""

    def short_by(times: float) -> float:
        bound = gate.lower(found.value, found.error(times), found.n * times)
        return goal - float(bound)

    if not np.isfinite(found.standard_error) or short_by(FARTHEST) >= 0.0:
        return None
    # The bound is not monotone far before the gate's tightest point, so the first step may already be enough.
    if short_by(1.0) <= 0.0:
        return 1
    return int(np.ceil(found.n * (optimize.brentq(short_by, 1.0, FARTHEST) - 1.0)))


def _more_for_users(reward: Evidence) -> int:
    """Further decisions until there are enough users, if new users arrive at the same rate."""
    return int(np.ceil(reward.n * (LEAST_USERS - reward.users) / max(1, reward.users)))
