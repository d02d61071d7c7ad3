"""A store with a log in it, and events of logs."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from bandit.campaign.document import Campaign
from bandit.decide.exploration import Pmf
from bandit.domain import Features, UserId
from bandit.service import Service
from bandit.store.sql.database import Store
from sim.logs.event import EventLog, LoggedEvent
from tests.support.builders import (
    LEARN_AFTER,
    MORNING,
    WINDOW,
    advance,
    campaign,
    decide,
    feedback,
    give,
    request,
    service,
)

FEATURES: Features = {
    "country": "US",
    "days": 3.25,
    "premium": True,
    "topics": ("art", "food"),
    "embedding": (0.125, -2.5),
}


def logged_service(store: Store, n_users: int = 40, rounds: int = 2, document: Campaign | None = None) -> Service:
    """A service whose log has a decision of each user each round, a day apart, all with final rewards.

    Of those that send, a third is clicked; one in ten that sent is voided. A model is published after each round.
    """
    built = service(store, 1, document or campaign(policy={"floor": 0.2}))
    coins = random.Random(2)
    for day in range(rounds):
        now = MORNING + day * (WINDOW + LEARN_AFTER)
        asked = [request(f"u-{user}", now, features={**FEATURES, "days": user / 8}) for user in range(n_users)]
        records = decide(built, asked)
        sent = [record for record in records if record.decision.action.send]
        give(built, [feedback(record, "failed") for record in sent if coins.random() < 0.1])
        give(built, [feedback(record) for record in sent if coins.random() < 0.3])
        advance(built, now + WINDOW)
        built.learner.run_pass()
        built.models.refresh()
    return built


def rows_of(log: EventLog) -> list[LoggedEvent]:
    return [event for events in log.batches() for event in events]


def event(**changes: Any) -> LoggedEvent:
    """A sound event over three actions, the second chosen."""
    sound: dict[str, Any] = {
        "row": 7,
        "decision_id": "d-7",
        "user": UserId("u-1"),
        "campaign": "spring",
        "action_index": 1,
        "propensity": 0.25,
        "pmf": pmf([0.5, 0.25, 0.25]),
        "reward": 1.0,
        "actions": ({"id": "a"}, {"id": "b"}, {"id": "c"}),
    }
    return LoggedEvent(**{**sound, **changes})


def pmf(numbers: Sequence[float]) -> Pmf:
    return np.array(numbers, dtype=np.float64)
