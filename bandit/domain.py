"""The terms of the domain: request, action, decision, feedback."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from bandit.sendtimes import QuietHours

CampaignId = NewType("CampaignId", str)
UserId = NewType("UserId", str)
DecisionId = NewType("DecisionId", str)

FeatureValue = str | float | bool | tuple[str, ...] | tuple[float, ...]
Features = Mapping[str, FeatureValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user who may receive the message, as the caller knows them before the decision."""

    id: UserId
    timezone: str  # IANA name
    channels: frozenset[str] | None = None  # reachable and consented; None: every channel of the campaign
    quiet_hours: QuietHours | None = None  # the user's own, added to the campaign's
    features: Features = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # hashed by identity, because its line is cached under it
class Content:
    """One message that could be sent."""

    id: str
    features: Features = field(default_factory=dict)
    channels: frozenset[str] | None = None  # None: every channel of the campaign
    repeat_after_hours: float | None = None  # least time before the same user may get it again
    expires_at: datetime | None = None  # aware; not sent at or after this instant


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideRequest:
    """One request: what to send to this user for this campaign, on which channel and when."""

    campaign: CampaignId
    user: User
    contents: tuple[str | Content, ...] | None = None  # None: the whole catalogue
    now: datetime | None = None  # aware; only on the request clock
    body: str = "{}"  # the request as received, JSON text, for the receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A channel, a content and an instant; or silence, if all three are None."""

    channel: str | None
    content: str | None
    send_at: datetime | None  # aware, UTC

    @property
    def send(self) -> bool:
        return self.channel is not None


SILENCE = Action(channel=None, content=None, send_at=None)


class Policy(StrEnum):
    """Which policy drew the action."""

    LEARNED = "learned"
    UNIFORM_HOLDOUT = "uniform_holdout"
    NO_SEND_HOLDOUT = "no_send_holdout"
    BASELINE = "baseline"
    FALLBACK = "fallback"


class Reason(StrEnum):
    """Why nothing is sent."""

    POLICY = "policy"
    NO_ELIGIBLE_ACTION = "no_eligible_action"
    HOLDOUT = "holdout"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer: the action, and the probability with which it was drawn."""

    id: DecisionId
    campaign: CampaignId
    action: Action
    propensity: float  # in (0, 1]; the entry of the stored pmf for the action
    policy: Policy
    model_version: int  # 0 before the first version
    decided_at: datetime  # aware, UTC
    reward_deadline: datetime  # aware, UTC
    reason: Reason | None  # None when something is sent


class Delivery(StrEnum):
    """Events of every campaign that are about the message, not about the user's response."""

    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


VOIDING = frozenset({Delivery.FAILED.value, Delivery.CANCELLED.value})  # the message was not sent
REWARD_EVENT = "reward"  # has a value of its own
RESERVED_EVENTS = frozenset({*(delivery.value for delivery in Delivery), REWARD_EVENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """An event that the caller reports after a decision."""

    decision_id: DecisionId
    event: str
    occurred_at: datetime  # aware
    value: float | None = None
    event_id: str | None = None  # the sender's own id
    source: str | None = None  # id of the API key with which it was sent; None: no key was needed


class FeedbackStatus(StrEnum):
    """The result of a feedback event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    LATE = "late"
