"""Small valid objects for tests: name only what the test is about."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.campaign.rewards import worths_from_text
from bandit.decide.decision import DecisionRecord
from bandit.decide.logged import decode_actions
from bandit.domain import CampaignId, Content, DecideRequest, Features, Feedback, FeedbackStatus, User, UserId
from bandit.engine.learner import LearnerArguments, Lesson, OnlineLearner
from bandit.engine.load import learner_of
from bandit.sendtimes import QuietHours
from bandit.serve.decisions import Ask
from bandit.service import Service, build_service
from bandit.store import closings, models
from bandit.store.closings import ClosedDecision
from bandit.store.models import ModelRow
from bandit.store.sql.database import Store
from bandit.times import HOUR

MORNING = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday; the campaign's two local hours are still ahead in UTC
LEARN_AFTER = timedelta(hours=26)
WINDOW = timedelta(hours=48)

_DOCUMENT: Mapping[str, Any] = {
    "id": "spring",
    "horizon_hours": 24,
    "channels": {"push": {"cost": 0.01}, "email": {"cost": 0.005}},
    "contents": [
        {"id": "streak", "features": {"kind": "habit"}},
        {"id": "digest", "features": {"kind": "news"}},
        {"id": "offer"},
    ],
    "consent": "assumed",
    "send_times": {"local_hours": [12, 18], "allow_now": True, "quiet_hours": "none"},
    "reward": {
        "window_hours": 48,
        "learn_after_hours": 26,
        "bounds": [-5.0, 5.0],
        "events": {"opened": 0.1, "clicked": 1.0, "unsubscribed": -5.0},
    },
    "policy": {"floor": 0.05},
}


def campaign(**changes: Any) -> Campaign:
    """The campaign "spring": 2 channels x 3 contents x 3 times (12, 18 and now), learned after 26 h of 48 h.

    No hour is quiet, and a request that names no channels has consent to all.

    Args:
        changes: by top-level key; a table is merged into the one that is there, one level deep, anything else replaces.
    """
    merged = {key: _merged(_DOCUMENT.get(key), value) for key, value in changes.items()}
    return parse_campaign(json.dumps({**_DOCUMENT, **merged}))


def _merged(old: Any, new: Any) -> Any:
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new


def request(
    user: str = "u-1",
    now: datetime | None = MORNING,
    *,
    campaign: str = "spring",
    timezone: str = "UTC",
    channels: Iterable[str] | None = None,
    quiet_hours: QuietHours | None = None,
    features: Features | None = None,
    contents: Sequence[str | Content] | None = None,
) -> DecideRequest:
    """A request about one user, on the request clock unless `now` is None."""
    return DecideRequest(
        campaign=CampaignId(campaign),
        user=User(
            id=UserId(user),
            timezone=timezone,
            channels=None if channels is None else frozenset(channels),
            quiet_hours=quiet_hours,
            features=features or {},
        ),
        contents=None if contents is None else tuple(contents),
        now=now,
        body=json.dumps({"campaign": campaign, "user": {"id": user, "timezone": timezone}}),
    )


def service(store: Store, seed: int = 0, *documents: Campaign) -> Service:
    """The service on the request clock, its decision ids from the seed, with these campaigns put."""
    built = build_service(store, clock="request", entropy=random.Random(seed).randbytes)
    for document in documents:
        built.campaigns.put(document)
    return built


def decide(service: Service, requests: Iterable[DecideRequest]) -> list[DecisionRecord]:
    """The decisions of one transaction, in order; an outcome that is an error is raised."""
    outcomes = service.decider.decide_many([Ask(request=one) for one in requests])
    return [_decision(outcome) for outcome in outcomes]


def _decision(outcome: object) -> DecisionRecord:
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, DecisionRecord)
    return outcome


def feedback(
    record: DecisionRecord,
    event: str = "clicked",
    after_hours: float = 1.0,
    *,
    value: float | None = None,
    event_id: str | None = None,
) -> Feedback:
    """An event so many hours after the decision."""
    return Feedback(
        decision_id=record.decision.id,
        event=event,
        occurred_at=record.decision.decided_at + after_hours * HOUR,
        value=value,
        event_id=event_id,
    )


def give(service: Service, events: Iterable[Feedback]) -> list[FeedbackStatus]:
    """What became of the events of one transaction, in order; an outcome that is an error is raised."""
    return [_status(outcome) for outcome in service.feedback.accept_many(list(events))]


def _status(outcome: object) -> FeedbackStatus:
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, FeedbackStatus)
    return outcome


def champion(store: Store, campaign_id: str = "spring") -> ModelRow:
    """The version that serves, which there must be."""
    with store.read() as connection:
        row = models.champion(connection, campaign_id)
    assert row is not None
    return row


def versions(store: Store, campaign_id: str = "spring") -> list[Row[*tuple[Any, ...]]]:
    """Manifests of every version, oldest first."""
    with store.read() as connection:
        return list(reversed(models.manifests(connection, campaign_id)))


def closed(store: Store, campaign_id: str = "spring") -> list[ClosedDecision]:
    """Everything that was closed, in learning order."""
    with store.read() as connection:
        return list(closings.after(connection, campaign_id, 0, limit=1_000_000))


def taught(arguments: LearnerArguments, events: Iterable[ClosedDecision]) -> OnlineLearner:
    """A learner that learned these events in one go, without any database."""
    learner = learner_of(arguments)
    for event in events:
        if event.reward is not None:
            logged = decode_actions(event.actions)
            lesson = Lesson(
                shared=logged.shared_line,
                actions=logged.action_lines,
                action_index=event.action_index,
                propensity=event.propensity,
                reward=event.reward,
                events=None if event.events is None else worths_from_text(event.events),
            )
            learner.learn(lesson)
    return learner


def scores(learner: OnlineLearner, events: Iterable[ClosedDecision]) -> list[float]:
    """What the learner predicts for each action of these decisions."""
    found: list[float] = []
    for event in events:
        logged = decode_actions(event.actions)
        found.extend(learner.predict(logged.shared_line, logged.action_lines))
    return found


def difference(some: Sequence[float], others: Sequence[float]) -> float:
    """The largest between two of a place."""
    return max(abs(one - other) for one, other in zip(some, others, strict=True))


def advance(service: Service, instant: datetime) -> None:
    """Moves the service's request clock on to the instant."""
    service.clock.observe(instant)
