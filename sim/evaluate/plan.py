"""How many decisions it takes to see a lift, from how rewards vary in the campaign's own log.

Two ways are planned. The holdouts, whose users no model decides about, are compared with all others; the rewards of one
user have something in common, which the plan takes from the log. The promotion gate compares two versions on the same
decisions: where both choose alike a decision says nothing about their difference, and where they do not it is worth its
reward over its propensity, for one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bandit.errors import InvalidLog
from sim.common.arrays import Floats
from sim.common.means import mean_of_sums
from sim.logs.event import EventLog
from sim.ope.gate import Gate
from sim.ope.groups import HASHED_GROUPS, hashed_groups

POWER = 0.8
CONFIDENCE = 0.95
DIFFERENT = 0.2  # of the decisions, in which two versions choose different actions
DAY_SECONDS = 86_400.0
LEAST, FARTHEST, STEP = 100.0, 1e12, 1.02  # decisions at which the gate is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What one way takes; days at the log's own pace, None where it does not tell times."""

    decisions: int
    days: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes at which a lift is seen with probability 0.8."""

    mean_reward: float  # per decision
    lift: float  # relative
    holdout: float  # share of the users
    by_holdout: Size
    by_gate: Size


def planned(log: EventLog, *, lift: float, holdout: float, progress: Callable[[int], None]) -> Plan:
    """The plan; reads the log once.

    Args:
        lift: relative to the mean reward, above 0.
        holdout: share of the users that are in it, in (0, 1).

    Raises:
        InvalidLog: a lift or a share outside its range, or a log whose mean reward is not above 0.
    """
    if not (lift > 0.0 and 0.0 < holdout < 1.0):
        raise InvalidLog(f"lift {lift} must be above 0, and holdout {holdout} within (0, 1)")
    seen = _Seen()
    for events in log.batches():
        if events:
            seen.add(
                [event.user for event in events],
                np.array([event.reward for event in events]),
                np.array([event.propensity for event in events]),
                [event.decided_at.timestamp() for event in events if event.decided_at is not None],
            )
        progress(seen.n)
    if seen.mean <= 0.0:
        raise InvalidLog(f"{log.name}: the mean reward is {seen.mean:.4g}: a relative lift needs one above 0")
    goal = lift * seen.mean
    return Plan(
        mean_reward=seen.mean,
        lift=lift,
        holdout=holdout,
        by_holdout=seen.size(_holdout_decisions(seen.spread, goal, holdout)),
        by_gate=seen.size(_gate_decisions(seen.paired_spread, goal)),
    )


class _Seen:
    """Sums over a log."""

    def __init__(self) -> None:
        self.n = 0
        self._rewards, self._rows = np.zeros(HASHED_GROUPS), np.zeros(HASHED_GROUPS)
        self._squares_over_propensity = 0.0
        self._first, self._last = np.inf, -np.inf

    def add(self, users: list[str], rewards: Floats, propensities: Floats, moments: list[float]) -> None:
        groups = hashed_groups(np.array(users, dtype=object))
        self.n += len(rewards)
        self._rewards += np.bincount(groups, weights=rewards, minlength=HASHED_GROUPS)
        self._rows += np.bincount(groups, minlength=HASHED_GROUPS)
        self._squares_over_propensity += float(np.sum(rewards**2 / propensities))
        self._first, self._last = min([self._first, *moments]), max([self._last, *moments])

    @property
    def mean(self) -> float:
        return float(self._rewards.sum()) / self.n

    @property
    def spread(self) -> float:
        """Of one decision's reward, with what the rewards of a user have in common."""
        used = self._rows > 0.0
        found = mean_of_sums(self._rewards[used], self._rows[used])
        return (found.upper - found.value) / float(stats.norm.isf(0.025)) * float(np.sqrt(self.n))

    @property
    def paired_spread(self) -> float:
        """Of one decision's say on the difference of two versions."""
        return float(np.sqrt(2.0 * DIFFERENT * self._squares_over_propensity / self.n))

    def size(self, decisions: float) -> Size:
        days = (self._last - self._first) / DAY_SECONDS
        pace = decisions * days / self.n if np.isfinite(days) and days > 0.0 else None
        return Size(decisions=int(np.ceil(decisions)), days=pace)


def _holdout_decisions(spread: float, goal: float, share: float) -> float:
    """Of the whole campaign, for the difference of two means of different users."""
    reach = stats.norm.isf((1.0 - CONFIDENCE) / 2.0) + stats.norm.ppf(POWER)
    return float((reach * spread / goal) ** 2 / (share * (1.0 - share)))


def _gate_decisions(spread: float, goal: float) -> float:
    """Until the gate's bound, which holds at every look, is above 0 with the power wanted at one look."""
    gate, decisions = Gate(), LEAST
    while decisions < FARTHEST:
        error = spread / np.sqrt(decisions)
        if gate.lower(goal - stats.norm.ppf(POWER) * error, error, decisions) > 0.0:
            break
        decisions *= STEP
    return decisions
