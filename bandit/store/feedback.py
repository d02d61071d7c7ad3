"""Feedback events: inserted, and updated only when a purge excludes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection, Row, func, select

from bandit.campaign.rewards import SeenEvent
from bandit.store.sql.database import insert_into
from bandit.store.sql.schema import decisions, feedback, open_decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionHeader:
    """The data of a decision that its feedback needs."""

    id: str
    campaign_id: str
    campaign_version: int
    user_id: str
    decided_at: datetime
    reward_deadline: datetime
    is_open: bool  # its reward is not final yet


def headers(connection: Connection, decision_ids: Iterable[str]) -> dict[str, DecisionHeader]:
    """Headers by decision id; until the transaction ends, no open reward is closed and no decision is erased."""
    wanted = sorted(set(decision_ids))
    table = decisions
    still_open = set(
        connection.execute(
            select(open_decisions.c.decision_id)
            .where(open_decisions.c.decision_id.in_(wanted))
            .order_by(open_decisions.c.decision_id)
            .with_for_update(read=True)
        ).scalars()
    )
    statement = (
        select(
            table.c.id,
            table.c.campaign_id,
            table.c.campaign_version,
            table.c.user_id,
            table.c.decided_at,
            table.c.reward_deadline,
        )
        .where(table.c.id.in_(wanted))
        .order_by(table.c.id)
        .with_for_update(read=True, key_share=True)
    )
    return {
        row.id: DecisionHeader(**row._mapping, is_open=row.id in still_open) for row in connection.execute(statement)
    }


class EventKey(NamedTuple):
    """What tells two events apart: equal for repeats, which are stored once."""

    decision_id: str
    event: str
    dedupe_key: bytes

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(*(row[name] for name in cls._fields))


def insert_new(connection: Connection, rows: Sequence[dict[str, Any]]) -> set[EventKey]:
    """Keys of the rows that were not stored before; the others are left as they are."""
    if not rows:
        return set()
    statement = (
        insert_into(connection, feedback)
        .on_conflict_do_nothing(index_elements=EventKey._fields)
        .returning(*(feedback.c[name] for name in EventKey._fields))
    )
    # In the same order everywhere; otherwise two senders of the same events could wait for each other.
    ordered = sorted(rows, key=EventKey.of)
    return {EventKey(*row) for row in connection.execute(statement, ordered)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent(SeenEvent):
    """An event that counts, with its place in the order of storing."""

    seq: int


def seen_events(connection: Connection, decision_ids: Iterable[str]) -> dict[str, list[StoredEvent]]:
    """Events that arrived in time and count, by decision, in the order in which they were stored."""
    table = feedback
    statement = (
        select(table.c.decision_id, table.c.event, table.c.value, table.c.occurred_at, table.c.seq)
        .where(
            table.c.decision_id.in_(sorted(set(decision_ids))), table.c.late.is_(False), table.c.excluded_at.is_(None)
        )
        .order_by(table.c.seq)
    )
    found: dict[str, list[StoredEvent]] = {}
    for row in connection.execute(statement):
        event = StoredEvent(event=row.event, value=row.value, occurred_at=row.occurred_at, seq=row.seq)
        found.setdefault(row.decision_id, []).append(event)
    return found


def of_decisions(connection: Connection, decision_ids: Sequence[str]) -> dict[str, list[Row[*tuple[Any, ...]]]]:
    """Every event by decision in the order in which they happened, late ones included; a decision may have none."""
    table = feedback
    statement = select(table).where(table.c.decision_id.in_(decision_ids)).order_by(table.c.occurred_at, table.c.seq)
    found: dict[str, list[Row[*tuple[Any, ...]]]] = {one: [] for one in decision_ids}
    for row in connection.execute(statement):
        found[row.decision_id].append(row)
    return found


def latest_received_at(connection: Connection) -> datetime | None:
    latest: datetime | None = connection.execute(select(func.max(feedback.c.received_at))).scalar_one()
    return latest
