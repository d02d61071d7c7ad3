"""Feedback that a release before stored is known again, and hides no other event of its message any more."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import pytest
from alembic import command
from sqlalchemy import MetaData, insert, select

from bandit.domain import DecisionId, Feedback, FeedbackStatus
from bandit.store.sql import migrate
from bandit.store.sql.database import Store
from bandit.store.sql.schema import EPOCH
from bandit.store.sql.schema import feedback as feedback_rows
from tests.support.builders import MORNING, campaign, give, service

BEFORE = "0007"
OPENED_AT = MORNING + timedelta(hours=1)
ACCEPTED, DUPLICATE = FeedbackStatus.ACCEPTED, FeedbackStatus.DUPLICATE


def key(name: str) -> bytes:
    """As the release before wrote it: without the event where the sender gave an id."""
    return blake2b(name.encode(), digest_size=16).digest()


NAMED, UNNAMED = key("im-1"), key(f"eopened\0{OPENED_AT.isoformat()}")


@pytest.fixture
def migrated(empty_database_url: str) -> Iterator[Store]:
    """A store upgraded from the release before, with one decision and two events in it."""
    with closing(Store(empty_database_url)) as store:
        with migrate._upgrading(store) as connection:
            command.upgrade(migrate.config(connection), BEFORE)
        fill(store)
        migrate.upgrade(store)
        yield store


def fill(store: Store) -> None:
    before = MetaData()
    before.reflect(store.engine)
    document = campaign()
    with store.write() as connection:
        for table, row in rows(document.id, document.to_json()):
            values = {name: moment(store, value) for name, value in row.items()}
            connection.execute(insert(before.tables[table]).values(values))


def moment(store: Store, value: Any) -> Any:
    """An instant as the database itself holds it."""
    if store.is_sqlite and hasattr(value, "tzinfo"):
        return (value - EPOCH) // timedelta(microseconds=1)
    return value


def rows(campaign_id: str, document: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "campaigns", {"id": campaign_id, "current_version": 1, "paused": False}
    yield (
        "campaign_versions",
        {"campaign_id": campaign_id, "version": 1, "document": document, "created_at": MORNING},
    )
    yield "decisions", decision_row(campaign_id)
    yield "open_decisions", {"decision_id": "d-1", "due_at": MORNING + timedelta(hours=26), "learned": False}
    yield "feedback", event_row(campaign_id, 7, "m-1", NAMED)
    yield "feedback", event_row(campaign_id, 9, None, UNNAMED)


def decision_row(campaign_id: str) -> dict[str, Any]:
    return {
        "id": "d-1",
        "campaign_id": campaign_id,
        "campaign_version": 1,
        "user_id": "u-1",
        "decided_at": MORNING,
        "reward_deadline": MORNING + timedelta(hours=48),
        "policy": "learned",
        "model_version": 0,
        "propensity": 1.0,
        "action_index": 0,
        "pmf": b"",
        "actions": "",
        "actions_digest": b"",
        "evidence": "",
    }


def event_row(campaign_id: str, seq: int, event_id: str | None, dedupe_key: bytes) -> dict[str, Any]:
    return {
        "seq": seq,
        "decision_id": "d-1",
        "campaign_id": campaign_id,
        "user_id": "u-1",
        "event": "opened",
        "occurred_at": OPENED_AT,
        "received_at": OPENED_AT,
        "event_id": event_id,
        "dedupe_key": dedupe_key,
        "late": False,
    }


def event(name: str, event_id: str | None) -> Feedback:
    return Feedback(decision_id=DecisionId("d-1"), event=name, occurred_at=OPENED_AT, event_id=event_id)


def test_events_stored_before_are_kept_and_known_again(migrated: Store) -> None:
    assert give(service(migrated), [event("opened", "m-1"), event("opened", None)]) == [DUPLICATE, DUPLICATE]
    with migrated.read() as connection:
        columns = (feedback_rows.c.seq, feedback_rows.c.event_id, feedback_rows.c.dedupe_key)
        stored = connection.execute(select(*columns).order_by(feedback_rows.c.seq)).all()
    assert [tuple(row) for row in stored] == [(7, "m-1", NAMED), (9, None, UNNAMED)]


def test_another_event_of_a_message_that_was_reported_before_is_no_repeat(migrated: Store) -> None:
    live = service(migrated)
    events = [event(name, "m-1") for name in ("clicked", "unsubscribed", "failed")]
    assert give(live, events) == [ACCEPTED] * 3
    assert give(live, events) == [DUPLICATE] * 3
