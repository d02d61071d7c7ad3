"""Labels of which a fifth are hostile, through the public path: none of these is learned, all others exactly."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import bindparam, func, select, update

from api.app import serving
from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.serve.models import load_version
from bandit.store.sql.database import Store
from bandit.store.sql.schema import closings, decisions, quarantine
from tests.support.builders import (
    MORNING,
    WINDOW,
    advance,
    campaign,
    champion,
    closed,
    decide,
    difference,
    feedback,
    request,
    scores,
    service,
    taught,
)
from tests.support.wire import json_of, running

SEED = 6
BATCH = 1_000
CHANNELS = {"push": {"cost": 0.01}}
PROPENSITIES = [0.0, -0.25, 1.25, 1e-12, float("inf"), -float("inf"), float("nan")]
REWARDS = [float("inf"), -float("inf"), 1e30, -1e30, float("nan")]
SENT = ["NaN", "Infinity", "-Infinity", "1e30", '"text"', "1e400", "null", "[1]", "-5.01"]


def document() -> Campaign:
    """Few actions, and an explorer whose engine weighs with the propensity."""
    return campaign(
        channels=CHANNELS,
        send_times={"local_hours": [], "allow_now": True},
        policy={"vw": {"explorer": "softmax", "coin": False}},
    )


def storable(values: Sequence[float], store: Store) -> list[float]:
    """Without NaN on SQLite, which has none: in a column that must not be null it cannot be put."""
    return [value for value in values if value == value or not store.is_sqlite]


def chunks(members: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(members), BATCH):
        yield members[first : first + BATCH]


def decided(live: Any, n: int) -> list[DecisionRecord]:
    rng = random.Random(SEED)
    asked = [request(f"u-{place}", features={"taste": rng.randrange(5)}) for place in range(n)]
    return [record for chunk in chunks(asked) for record in decide(live, chunk)]


def reported(client: FlaskClient, records: Sequence[DecisionRecord]) -> None:
    """A reward for each, over HTTP."""
    rng = random.Random(SEED + 1)
    for chunk in chunks(records):
        events = [event_document(record, value=rng.uniform(-1, 1)) for record in chunk]
        answer = json_of(client.post("/feedback/batch", json={"events": events}))
        assert Counter(one["status"] for one in answer["results"]) == {"accepted": len(chunk)}


def event_document(record: DecisionRecord, event: str = "reward", value: float | None = None) -> dict[str, Any]:
    made = feedback(record, event)
    return {
        "decision_id": made.decision_id,
        "event": event,
        "occurred_at": made.occurred_at.isoformat(),
        "value": value,
    }


def refused(client: FlaskClient, records: Sequence[DecisionRecord]) -> int:
    """Number of hostile rewards that the service refuses; what they were about was, in truth, never sent."""
    number = 0
    for place, record in enumerate(records):
        text = json.dumps(event_document(record)).replace("null", SENT[place % len(SENT)])
        response = client.post("/feedback", data=text, content_type="application/json")
        number += response.status_code in (400, 422)
    for chunk in chunks(records):
        events = [event_document(record, "cancelled") for record in chunk]
        json_of(client.post("/feedback/batch", json={"events": events}))
    return number


def altered(store: Store, table: Any, key: Any, column: str, values: dict[str, float]) -> None:
    """What a damaged store would hold."""
    statement = update(table).where(key == bindparam("key")).values({column: bindparam("hostile")})
    with store.write() as connection:
        connection.execute(statement, [{"key": name, "hostile": value} for name, value in values.items()])


def test_hostile_labels_are_refused_or_quarantined_and_the_others_learned_exactly(
    database_url: str, labels: int
) -> None:
    fifth = labels // 5
    with running(database_url) as client:
        live = serving(client.application).service
        store = live.store
        live.campaigns.put(document())
        records = decided(live, labels)
        by_http, by_propensity, by_reward = (records[kind:fifth:3] for kind in range(3))
        reported(client, records[fifth:] + list(by_propensity) + list(by_reward))
        turned_away = refused(client, by_http)
        advance(live, MORNING + WINDOW)
        live.learner.close_due()
        propensities, rewards = storable(PROPENSITIES, store), REWARDS
        altered(
            store,
            decisions,
            decisions.c.id,
            "propensity",
            {one.decision.id: propensities[place % len(propensities)] for place, one in enumerate(by_propensity)},
        )
        altered(
            store,
            closings,
            closings.c.decision_id,
            "reward",
            {one.decision.id: rewards[place % len(rewards)] for place, one in enumerate(by_reward)},
        )
        result = live.learner.run_pass()
        with store.read() as connection:
            reasons = connection.execute(select(quarantine.c.reason, func.count()).group_by(quarantine.c.reason))
            kept_aside = {row[0]: row[1] for row in reasons}
    assert turned_away == len(by_http)
    assert kept_aside == {"propensity": len(by_propensity), "reward": len(by_reward)}
    assert turned_away + result.quarantined == fifth
    assert result.learned == labels - fifth
    assert_same_as_taught_without(database_url, {one.decision.id for one in records[:fifth]})


def assert_same_as_taught_without(url: str, hostile: set[str]) -> None:
    store = Store(url)
    events = [event for event in closed(store) if event.decision_id not in hostile]
    with taught(document().engine_arguments, events) as reference, load_version(champion(store)) as learned:
        assert difference(scores(learned, events[:200]), scores(reference, events[:200])) == 0.0
    assert champion(store).events_learned == len(events)
    store.close()


def test_without_the_gate_tiny_propensities_would_be_learned(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The red twin: the engine's own check refuses only what is no probability at all."""
    live = service(sqlite_store, SEED, document())
    records = decided(live, 100)
    advance(live, MORNING + WINDOW)
    live.learner.close_due()
    altered(sqlite_store, decisions, decisions.c.id, "propensity", {one.decision.id: 1e-12 for one in records[:10]})
    monkeypatch.setattr("bandit.learn.labels.label_fault", lambda *_: None)
    live.learner.run_pass()
    kept = [
        event for event in closed(sqlite_store) if event.decision_id not in {one.decision.id for one in records[:10]}
    ]
    with taught(document().engine_arguments, kept) as reference, load_version(champion(sqlite_store)) as learned:
        assert difference(scores(learned, kept), scores(reference, kept)) > 0.0
