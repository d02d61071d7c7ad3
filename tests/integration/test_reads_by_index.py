"""What is read for every decision is searched by index, however large the tables grow."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from bandit.store import campaigns, closings, decisions, feedback, gauges, histories, idempotency, quarantine
from bandit.store import sums as outcomes
from bandit.store.sql.database import Store

NOW = datetime(2026, 11, 20, 17, tzinfo=UTC)
READS: dict[str, Callable[[Connection], object]] = {
    "histories": lambda c: histories.load(c, [("a", "u-1"), ("b", "u-2")], {}, NOW),
    "idempotent answers": lambda c: idempotency.find(c, ["k-1", "k-2"]),
    "campaigns": lambda c: campaigns.heads(c, ["a", "b"]),
    "decisions of feedback": lambda c: feedback.headers(c, ["d-1", "d-2"]),
    "events of decisions": lambda c: feedback.seen_events(c, ["d-1", "d-2"]),
    "what is known of closed decisions": lambda c: closings.known(c, "a", 1, 1_000),
    "closed decisions to learn": lambda c: list(closings.after(c, "a", 0, 1_000)),
    "latest of a user": lambda c: decisions.latest_of_user(c, "u-1", 20),
    "latest decision": decisions.latest_decided_at,
    "latest feedback": feedback.latest_received_at,
    "next to close": gauges.oldest_due_at,
    "closed since": lambda c: gauges.closed_after(c, "a", 7),
    "latest in quarantine": lambda c: quarantine.latest(c, "a", 20),
    "last final day": lambda c: outcomes.last_day(c, "a"),
    "recent rewards": lambda c: list(gauges.recent_rewards(c, NOW)),
}


def plans(connection: Connection, read: Callable[[Connection], object]) -> list[str]:
    """The steps of SQLite's plans for every statement of a read."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    seen: list[str] = []
    raw.set_trace_callback(seen.append)  # of the driver: some reads go past SQLAlchemy
    try:
        read(connection)
    finally:
        raw.set_trace_callback(None)
    reads = [text for text in seen if text.startswith("SELECT")]
    return [row[3] for text in reads for row in raw.execute(f"EXPLAIN QUERY PLAN {text}")]


def scanned(steps: list[str]) -> list[str]:
    """Steps that walk a whole table; a latest row from the end of an index, and a bounded part, are not among them."""
    harmless = ("CONSTANT ROW", "SCAN bounded")
    return [step for step in steps if step.startswith("SCAN") and not any(one in step for one in harmless)]


@pytest.mark.parametrize("name", READS)
def test_a_read_of_the_hot_path_scans_no_table(sqlite_store: Store, name: str) -> None:
    with sqlite_store.read() as connection:
        steps = plans(connection, READS[name])

    assert steps
    assert scanned(steps) == []


def test_a_read_without_an_index_would_be_seen(sqlite_store: Store) -> None:
    with sqlite_store.read() as connection:
        steps = plans(connection, lambda c: c.exec_driver_sql("SELECT * FROM sends WHERE channel = 'push'").all())

    assert scanned(steps) == ["SCAN sends"]
