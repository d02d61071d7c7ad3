"""A campaign whose log was drawn evenly, and versions that each prefer one thing: for the gate of promotions."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.engine.learner import OnlineLearner
from bandit.engine.vw import digest, engine_version
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store import models, pairs
from bandit.store.models import CHALLENGER, CHAMPION, Alias, ModelRow
from bandit.store.sql import schema
from bandit.store.sql.database import Store
from tests.support.builders import (
    MORNING,
    WINDOW,
    advance,
    campaign,
    closed,
    decide,
    feedback,
    give,
    request,
    service,
    taught,
)

QUIET, PLAIN, GOOD, NAGGING = range(4)  # places of the actions: silence, and one for each content
# How often an event follows an action.
FOLLOWS: Mapping[str, Mapping[int, float]] = {
    "clicked": {QUIET: 0.2, PLAIN: 0.2, GOOD: 0.5, NAGGING: 0.6},
    "unsubscribed": {NAGGING: 0.1},
}
LOGGED = 3_600  # decisions: enough to show that opt-outs do not rise, where none is seen
LESSONS = 200
VOTES = {"explorer": "softmax", "lambda": 200.0}  # what is worth more is nearly certain, but for the floor


def trial_campaign(**changes: Any) -> Campaign:
    """Silence or one of three contents, now; final after a day."""
    document = {
        "channels": {"push": {"cost": 0.0}, "email": {"cost": 0.0}},
        "contents": [{"id": one, "channels": ["push"]} for one in ("plain", "good", "nagging")],
        "send_times": {"local_hours": [], "allow_now": True},
        "reward": {"window_hours": 48, "bounds": [-1.0, 1.0], "events": {"clicked": 1.0, "unsubscribed": -0.1}},
        "policy": {"floor": 0.8, "vw": VOTES},
    }
    return campaign(**{**document, **changes})


def trial_round(
    live: Service,
    number: int,
    users: int,
    *,
    features: Callable[[int], dict[str, Any]] = lambda user: {},
    follows: Mapping[str, Mapping[int, float]] = FOLLOWS,
) -> list[DecisionRecord]:
    """One decision of each of so many new users, closed with final rewards; nothing is learned."""
    now, coins = MORNING + number * (WINDOW + timedelta(hours=1)), random.Random(number)
    asked = [request(f"u-{number}-{user}", now, features=features(user)) for user in range(users)]
    records = [one for first in range(0, users, 1_000) for one in decide(live, asked[first : first + 1_000])]
    for event, chances in follows.items():
        happened = [one for one in records if coins.random() < chances.get(one.action_index, 0.0)]
        give(live, [feedback(one, event) for one in happened])
    advance(live, now + WINDOW)
    live.learner.close_due()
    return records


def publish_version(live: Service, version: int, engine: OnlineLearner, watermark: int, parent: int = 0) -> None:
    """Stores the engine as a version that learned the log up to there."""
    content, arguments = engine.to_bytes(), live.campaigns.get("spring").campaign.engine_arguments.text
    row = ModelRow(
        campaign_id="spring",
        version=version,
        parent=parent,
        lineage=parent or version,
        arguments=arguments,
        engine_version=engine_version(),
        watermark=watermark,
        events_learned=watermark,
        created_at=live.clock.now(),
        size=len(content),
        digest=digest(content),
        bytes=content,
    )
    with live.store.write() as connection:
        models.add(connection, row)


def preferring(live: Service, action: int) -> OnlineLearner:
    """A learner that learned that one action is worth all and the others nothing."""
    events = closed(live.store)[:LESSONS]
    arguments = live.campaigns.get("spring").campaign.engine_arguments
    return taught(arguments, [replace(one, reward=float(one.action_index == action)) for one in events])


def log_of_a_trial(store: Store) -> None:
    """Version 1 and its child 2 prefer the plain content, 3 the good one, 4 the nagging one, 5 silence.

    All learned the first 200 decisions; then came 3,600 that none has learned.
    """
    live = trial_service(store)
    live.campaigns.put(trial_campaign())
    trial_round(live, 0, LESSONS)
    for version, action in enumerate((PLAIN, PLAIN, GOOD, NAGGING, QUIET), start=1):
        with preferring(live, action) as engine:
            publish_version(live, version, engine, LESSONS, parent=int(version == 2))
    trial_round(live, 1, LOGGED)


def trial_service(store: Store) -> Service:
    return service(store, 5)


def side_by_side(store: Store, *, challenger: int, champion: int, held: bool = False) -> None:
    """Makes these versions challenger and champion, as of now."""
    live = trial_service(store)
    text, now = live.campaigns.get("spring").campaign.engine_arguments.text, live.clock.now()
    with store.write() as connection:
        for alias, version in ((CHAMPION, champion), (CHALLENGER, challenger)):
            named = Alias(alias=alias, version=version, held=held and alias == CHAMPION, campaign_arguments=text)
            models.point(connection, "spring", named, now)
        pairs.begin(connection, "spring", now)


def learned_on(store: Store, *, challenger: int, champion: int) -> None:
    """Makes the aliases name the next versions of their lineages, as if these had learned the whole log by now."""
    live = trial_service(store)
    head = len(closed(store))
    for alias, version, parent in ((CHAMPION, 6, champion), (CHALLENGER, 7, challenger)):
        with store.read() as connection:
            row = models.get(connection, "spring", parent)
            before = models.aliases(connection, "spring")[alias]
        assert row is not None
        with load_version(row) as engine:
            publish_version(live, version, engine, head, parent=parent)
        with store.write() as connection:
            models.point(connection, "spring", replace(before, version=version), live.clock.now())


def named(store: Store) -> dict[str, int]:
    """The version behind each alias."""
    with store.read() as connection:
        return {alias: one.version for alias, one in models.aliases(connection, "spring").items()}


def forget_learning(store: Store, versions: Iterable[int], watermark: int) -> None:
    """Makes the versions say that they learned only so far."""
    table = schema.models
    with store.write() as connection:
        connection.execute(update(table).where(table.c.version.in_(list(versions))).values(watermark=watermark))
