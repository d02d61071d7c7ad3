"""The label check: a label that the service cannot have logged never reaches the learner.

One label with a propensity of 0 or NaN freezes the engine forever, and one infinite reward makes its weights NaN, both
without an error. Labels that come through the API and are closed by the learner are valid. Rows of a damaged or altered
store may not be; SQLite even stores text in a column of numbers.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import worths_from_text
from bandit.decide.logged import actions_digest, decode_actions
from bandit.decide.policies import lowest_propensity
from bandit.engine.learner import Lesson, OnlineLearner
from bandit.engine.lines import ActionLines
from bandit.errors import InvalidPropensity, RejectedInput
from bandit.store.closings import ClosedDecision


class Reason(StrEnum):
    """The rule that a label breaks."""

    ACTIONS = "actions"  # the eligible set is not the one that was logged
    ACTION = "action"  # the action is not in the eligible set
    PROPENSITY = "propensity"  # the service cannot have drawn with this propensity
    REWARD = "reward"  # not finite, or outside the bounds
    EVENTS = "events"  # what is stored of the reward's events is not what the service stores
    LINES = "lines"  # the engine would not read the features as they are written


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A closed decision that must not be learned, and why."""

    decision_id: str
    seq: int
    reason: Reason
    detail: str  # the value, and the rule that it breaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A closed decision that was learned."""

    expected: float | None  # the reward that the engine expected before; None if its explorer does not estimate rewards


def learn_checked(learner: OnlineLearner, campaign: Campaign, closed: ClosedDecision) -> Learned | Refused:
    """Teaches the learner the decision, or returns the reason why not.

    Args:
        campaign: the version of the campaign that decided.
        closed: a decision with a reward.
    """
    # The digest is checked first, because the rest is read from the text that it protects.
    if not isinstance(closed.actions, str) or actions_digest(closed.actions) != closed.actions_digest:
        return _refused(closed, Reason.ACTIONS, "the eligible set is not the one that was logged")
    logged = decode_actions(closed.actions)
    actions = logged.action_lines
    fault = label_fault(campaign, closed, len(actions.joined()))
    return _refused(closed, *fault) if fault is not None else _learn(learner, closed, logged.shared_line, actions)


def label_fault(campaign: Campaign, closed: ClosedDecision, n_actions: int) -> tuple[Reason, str] | None:
    """The rule that the label breaks, with the value, or None."""
    index, propensity, reward = closed.action_index, closed.propensity, closed.reward
    if not isinstance(index, int) or not 0 <= index < n_actions:
        return Reason.ACTION, f"action {index!r} is outside [0, {n_actions})"
    lowest = lowest_propensity(campaign, closed.policy, n_actions)
    if not _within(propensity, lowest, 1.0):
        return Reason.PROPENSITY, f"propensity {propensity!r} is outside [{lowest!r}, 1], policy {closed.policy!r}"
    low, high = campaign.reward.bounds
    if not _within(reward, low, high):
        return Reason.REWARD, f"reward {reward!r} is outside [{low!r}, {high!r}]"
    return None


def _within(value: object, low: float, high: float) -> bool:
    return isinstance(value, float | int) and isfinite(value) and low <= value <= high


def _learn(learner: OnlineLearner, closed: ClosedDecision, shared: str, actions: ActionLines) -> Learned | Refused:
    try:
        events = None if closed.events is None else worths_from_text(closed.events)
    except (TypeError, ValueError) as error:
        return _refused(closed, Reason.EVENTS, f"events: {error}")
    lesson = Lesson(
        shared=shared,
        actions=actions,
        action_index=closed.action_index,
        propensity=closed.propensity,
        reward=float(closed.reward or 0.0),
        events=events,
    )
    try:
        expected = learner.expected(shared, actions, closed.action_index)
        learner.learn(lesson)
    except (RejectedInput, InvalidPropensity) as error:
        # Raised before anything was learned; one bad row must not stop the learner forever.
        return _refused(closed, Reason.LINES, str(error))
    return Learned(expected=expected)


def _refused(closed: ClosedDecision, reason: Reason, detail: str) -> Refused:
    return Refused(decision_id=closed.decision_id, seq=closed.seq, reason=reason, detail=detail)
