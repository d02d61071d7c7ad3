"""Finds and excludes the feedback that was sent with one key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select, update

from bandit.store.sql.schema import closings, decisions, feedback, final_rewards, open_decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """The feedback that was sent with one key in a period."""

    source: str
    since: datetime  # received at this time or later
    until: datetime | None  # received before this time; None: up to the newest
    campaign_id: str | None  # None: of all campaigns

    @property
    def where(self) -> ColumnElement[bool]:
        table = feedback
        chosen = (table.c.source == self.source) & (table.c.received_at >= self.since)
        if self.until is not None:
            chosen &= table.c.received_at < self.until
        return chosen if self.campaign_id is None else chosen & (table.c.campaign_id == self.campaign_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How much feedback of one campaign is affected."""

    campaign_id: str
    events: int
    excluded: int  # events that an earlier purge excluded
    decisions: int


def count(connection: Connection, suspects: Suspects) -> list[Count]:
    """The events and their decisions by campaign; campaigns without any are absent."""
    table = feedback
    statement = (
        select(
            table.c.campaign_id,
            func.count().label("events"),
            func.count(table.c.excluded_at).label("excluded"),
            func.count(table.c.decision_id.distinct()).label("decisions"),
        )
        .where(suspects.where)
        .group_by(table.c.campaign_id)
        .order_by(table.c.campaign_id)
    )
    return [Count(**row._mapping) for row in connection.execute(statement)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """Excluded events."""

    decision_ids: list[str]
    last_received_at: datetime


def exclude_next(connection: Connection, suspects: Suspects, at: datetime, why: str, limit: int) -> Excluded | None:
    """Excludes the next events; None if none is left. Their open rewards stay locked until the transaction ends."""
    table = feedback
    chosen = select(table.c.seq, table.c.decision_id, table.c.received_at).where(suspects.where)
    in_order = chosen.where(table.c.excluded_at.is_(None)).order_by(table.c.received_at, table.c.seq)
    rows = connection.execute(in_order.limit(limit)).all()
    if not rows:
        return None
    ids = sorted({row.decision_id for row in rows})
    locked = select(open_decisions.c.decision_id).where(open_decisions.c.decision_id.in_(ids))
    connection.execute(locked.order_by(open_decisions.c.decision_id).with_for_update()).all()
    # So that the same event from another sender is not a duplicate any more.
    freed = [{"own": row.seq, "key": b"excluded" + row.seq.to_bytes(8, "big")} for row in rows]
    statement = update(table).where(table.c.seq == bindparam("own"))
    connection.execute(statement.values(excluded_at=at, excluded_for=why, dedupe_key=bindparam("key")), freed)
    return Excluded(decision_ids=ids, last_received_at=rows[-1].received_at)


def closed(connection: Connection, decision_ids: Sequence[str]) -> Iterator[Row[*tuple[Any, ...]]]:
    """Those of the decisions that are closed, with everything from which their rewards are computed."""
    statement = (
        select(
            closings.c.decision_id,
            closings.c.seq,
            closings.c.seen,
            decisions.c.campaign_id,
            decisions.c.campaign_version,
            decisions.c.channel,
            decisions.c.policy,
            decisions.c.reason,
            final_rewards.c.decision_id.is_not(None).label("is_final"),
        )
        .join(decisions, decisions.c.id == closings.c.decision_id)
        .outerjoin(final_rewards, final_rewards.c.decision_id == closings.c.decision_id)
        .where(closings.c.decision_id.in_(decision_ids))
        .order_by(closings.c.decision_id)
    )
    yield from connection.execute(statement).all()


def correct(connection: Connection, decision_id: str, closing: Mapping[str, Any]) -> None:
    """Replaces the reward of a decision at its closing, and the columns that belong to it."""
    connection.execute(update(closings).where(closings.c.decision_id == decision_id).values(**closing))


def correct_final(connection: Connection, decision_id: str, reward: float | None) -> None:
    """Replaces the final reward of a decision."""
    chosen = final_rewards.c.decision_id == decision_id
    connection.execute(update(final_rewards).where(chosen).values(reward=reward))
