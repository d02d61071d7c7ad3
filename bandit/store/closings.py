"""Closed rewards: the order in which decisions are learned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from bandit.campaign.rewards import SeenEvent
from bandit.store.sql.schema import closings, decisions, feedback, final_rewards, open_decisions


def due(connection: Connection, now: datetime, limit: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """Open decisions whose time has come, in closing order, locked against feedback until the transaction ends."""
    next_ids = (
        select(open_decisions.c.decision_id)
        .where(open_decisions.c.due_at <= now)
        .order_by(open_decisions.c.due_at, open_decisions.c.decision_id)
        .limit(limit)
    )
    statement = (
        select(
            open_decisions.c.decision_id,
            open_decisions.c.due_at,
            open_decisions.c.learned,
            decisions.c.campaign_id,
            decisions.c.campaign_version,
            decisions.c.channel,
            decisions.c.policy,
            decisions.c.reason,
            decisions.c.reward_deadline,
        )
        .join(decisions, decisions.c.id == open_decisions.c.decision_id)
        .where(open_decisions.c.decision_id.in_(next_ids))
        # Locked in the same order as by feedback; otherwise the two could wait for each other.
        .order_by(open_decisions.c.decision_id)
        .with_for_update(of=open_decisions)
    )
    return sorted(connection.execute(statement), key=lambda row: (row.due_at, row.decision_id))


def close(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Appends to the learning order, in the order of the rows."""
    if rows:
        connection.execute(insert(closings), rows)


def finish(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Stores final rewards and removes their decisions from the queue."""
    if rows:
        connection.execute(insert(final_rewards), rows)
        ids = [row["decision_id"] for row in rows]
        connection.execute(delete(open_decisions).where(open_decisions.c.decision_id.in_(ids)))


def wait_until_final(connection: Connection, decision_ids: Sequence[str]) -> None:
    """Keeps learned decisions on the queue until their rewards are final."""
    if decision_ids:
        deadline = select(decisions.c.reward_deadline).where(decisions.c.id == open_decisions.c.decision_id)
        connection.execute(
            update(open_decisions)
            .where(open_decisions.c.decision_id.in_(decision_ids))
            .values(due_at=deadline.scalar_subquery(), learned=True)
        )


def postpone(connection: Connection, decision_ids: Sequence[str], due_at: datetime) -> None:
    """Keeps decisions on the queue, out of the way of those behind them, until that moment."""
    chosen = open_decisions.c.decision_id.in_(decision_ids)
    connection.execute(update(open_decisions).where(chosen).values(due_at=due_at))


def final_of(connection: Connection, decision_ids: Sequence[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    """Reward (null if voided) and the time since when it is final, for each of the decisions whose reward is final."""
    table = final_rewards
    statement = select(table.c.decision_id, table.c.reward, table.c.final_at)
    return {row.decision_id: row for row in connection.execute(statement.where(table.c.decision_id.in_(decision_ids)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedDecision:
    """One event to learn, as logged."""

    seq: int
    decision_id: str
    campaign_version: int
    policy: str
    reward: float | None
    skipped: str | None  # why it is not learned
    action_index: int
    propensity: float
    actions: str
    actions_digest: bytes
    events: str | None  # JSON: worth of each event that the reward was made of; None: from before it was stored


def after(connection: Connection, campaign_id: str, watermark: int, limit: int) -> Iterator[ClosedDecision]:
    """Closed decisions of a campaign after the watermark, in learning order."""
    statement = (
        select(
            closings.c.seq,
            closings.c.decision_id,
            closings.c.reward,
            closings.c.skipped,
            closings.c.events,
            decisions.c.campaign_version,
            decisions.c.policy,
            decisions.c.action_index,
            decisions.c.propensity,
            decisions.c.actions,
            decisions.c.actions_digest,
        )
        .join(decisions, decisions.c.id == closings.c.decision_id)
        .where(closings.c.campaign_id == campaign_id, closings.c.seq > watermark)
        .order_by(closings.c.seq)
        .limit(limit)
    )
    for row in connection.execute(statement):
        yield ClosedDecision(**row._mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The current knowledge about a closed decision."""

    channel: str | None  # None: silence
    is_final: bool
    final_reward: float | None  # None: open, or the message was not sent
    events: list[SeenEvent] = field(default_factory=list)  # events that happened in the window and count
    seen: list[SeenEvent] = field(default_factory=list)  # those of them that were known when the decision closed
    late: list[SeenEvent] = field(default_factory=list)  # those of them that arrived after its reward was final


_BETWEEN = (closings.c.campaign_id == bindparam("campaign_id")) & closings.c.seq.between(
    bindparam("first"), bindparam("last")
)
_OUTCOMES = (
    select(
        closings.c.decision_id,
        decisions.c.channel,
        final_rewards.c.decision_id.is_not(None).label("is_final"),
        final_rewards.c.reward,
    )
    .join(decisions, decisions.c.id == closings.c.decision_id)
    .outerjoin(final_rewards, final_rewards.c.decision_id == closings.c.decision_id)
    .where(_BETWEEN)
)
_EVENTS = (
    select(
        feedback.c.decision_id,
        feedback.c.event,
        feedback.c.value,
        feedback.c.occurred_at,
        feedback.c.late,
        (feedback.c.seq <= func.coalesce(closings.c.seen, 0)).label("seen"),
    )
    .join(closings, closings.c.decision_id == feedback.c.decision_id)
    .join(decisions, decisions.c.id == closings.c.decision_id)
    .where(_BETWEEN, feedback.c.excluded_at.is_(None), feedback.c.occurred_at <= decisions.c.reward_deadline)
    .order_by(feedback.c.seq)
)


def known(connection: Connection, campaign_id: str, first: int, last: int) -> dict[str, Known]:
    """The current knowledge about a campaign's decisions that closed between two places in the order, inclusive."""
    asked = {"campaign_id": campaign_id, "first": first, "last": last}
    found = {
        decision_id: Known(channel=channel, is_final=is_final, final_reward=reward)
        for decision_id, channel, is_final, reward in connection.execute(_OUTCOMES, asked)
    }
    for decision_id, event, value, occurred_at, late, seen in connection.execute(_EVENTS, asked):
        one = SeenEvent(event=event, value=value, occurred_at=occurred_at)
        decision = found[decision_id]
        decision.events.append(one)
        if late:
            decision.late.append(one)
        elif seen:
            decision.seen.append(one)
    return found


def number_between(connection: Connection, campaign_id: str, after: int, last: int) -> int:
    """Number of decisions of a campaign that closed after one place in the order, up to another."""
    statement = select(func.count()).where(closings.c.campaign_id == campaign_id)
    return connection.execute(statement.where(closings.c.seq > after, closings.c.seq <= last)).scalar_one()


def latest_actions(connection: Connection, campaign_id: str, limit: int) -> Iterator[str]:
    """The logged actions of the campaign's latest closed decisions with more than one eligible action, newest first."""
    statement = (
        select(decisions.c.actions)
        .join(closings, closings.c.decision_id == decisions.c.id)
        .where(closings.c.campaign_id == campaign_id, closings.c.skipped.is_(None))
        .order_by(closings.c.seq.desc())
        .limit(limit)
    )
    yield from connection.execute(statement).scalars()


def last_seq(connection: Connection, campaign_id: str) -> int:
    """The highest place in the learning order of a campaign; 0 if nothing was closed."""
    statement = select(func.max(closings.c.seq)).where(closings.c.campaign_id == campaign_id)
    return connection.execute(statement).scalar_one() or 0
