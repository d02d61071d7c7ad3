"""The state of the store in numbers for an operator; the cost of each is bounded, however large the tables are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, literal, select

from bandit.store.models import CHAMPION, FALL
from bandit.store.sql.schema import (
    campaigns,
    closings,
    decisions,
    final_rewards,
    model_aliases,
    models,
    open_decisions,
    promotions,
    quarantine,
)

MOST_COUNTED = 1_000_000  # rows; a count of this size means "at least"
MOST_REWARDS = 10_000  # the latest rewards of a period


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSums:
    """Final rewards of one policy of a campaign."""

    campaign_id: str
    policy: str
    count: int
    total: float
    squares: float


def open_count(connection: Connection) -> int:
    """Number of decisions whose reward is still open; at most MOST_COUNTED."""
    counted = select(literal(1)).select_from(open_decisions).limit(MOST_COUNTED).subquery("bounded")
    return connection.execute(select(func.count()).select_from(counted)).scalar_one()


def oldest_due_at(connection: Connection) -> datetime | None:
    """The time at which the next open decision is or was due to be closed."""
    oldest: datetime | None = connection.execute(select(func.min(open_decisions.c.due_at))).scalar_one()
    return oldest


def champions(connection: Connection) -> Sequence[Row[*tuple[Any, ...]]]:
    """campaign_id of every campaign; version, watermark and created_at of its champion, null if there is none."""
    aliased = (model_aliases.c.campaign_id == campaigns.c.id) & (model_aliases.c.alias == CHAMPION)
    named = (models.c.campaign_id == campaigns.c.id) & (models.c.version == model_aliases.c.version)
    statement = (
        select(campaigns.c.id.label("campaign_id"), models.c.version, models.c.watermark, models.c.created_at)
        .outerjoin(model_aliases, aliased)
        .outerjoin(models, named)
        .order_by(campaigns.c.id)
    )
    return connection.execute(statement).all()


def closed_after(connection: Connection, campaign_id: str, watermark: int) -> int:
    """Number of closed decisions of a campaign after the watermark; at most MOST_COUNTED."""
    behind = (
        select(literal(1))
        .select_from(closings)
        .where(closings.c.campaign_id == campaign_id, closings.c.seq > watermark)
        .limit(MOST_COUNTED)
        .subquery("bounded")
    )
    return connection.execute(select(func.count()).select_from(behind)).scalar_one()


def refused_versions(connection: Connection) -> dict[str, int]:
    """Number of versions that the canary refused, by campaign; they are stored without their bytes."""
    # Not by `health`, which is stored after the bytes in a row: SQLite would have to read all bytes to reach it.
    statement = (
        select(models.c.campaign_id, func.count().label("number"))
        .where(func.length(models.c.bytes) == 0)
        .group_by(models.c.campaign_id)
    )
    return {row.campaign_id: row.number for row in connection.execute(statement)}


def begun_anew(connection: Connection) -> dict[str, int]:
    """How often change detection retrained the champion, by campaign; campaigns without are absent."""
    own = (promotions.c.alias == CHAMPION) & (promotions.c.cause == FALL)
    statement = select(promotions.c.campaign_id, func.count().label("number")).where(own)
    return {row.campaign_id: row.number for row in connection.execute(statement.group_by(promotions.c.campaign_id))}


def quarantined(connection: Connection) -> Sequence[Row[*tuple[Any, ...]]]:
    """campaign_id, reason and number of decisions in quarantine; counts at most MOST_COUNTED in all."""
    counted = select(quarantine.c.campaign_id, quarantine.c.reason).limit(MOST_COUNTED).subquery("bounded")
    named = (counted.c.campaign_id, counted.c.reason)
    return connection.execute(select(*named, func.count().label("number")).group_by(*named).order_by(*named)).all()


def recent_rewards(connection: Connection, since: datetime) -> Iterator[RewardSums]:
    """Rewards that became final after the moment, by campaign and policy; only the latest MOST_REWARDS."""
    latest = (
        select(final_rewards.c.decision_id, final_rewards.c.reward)
        .where(final_rewards.c.final_at > since)
        .order_by(final_rewards.c.final_at.desc())
        .limit(MOST_REWARDS)
        .subquery("bounded")
    )
    statement = (
        select(
            decisions.c.campaign_id,
            decisions.c.policy,
            func.count(latest.c.reward).label("count"),
            func.sum(latest.c.reward).label("total"),
            func.sum(latest.c.reward * latest.c.reward).label("squares"),
        )
        .join(latest, latest.c.decision_id == decisions.c.id)
        .where(latest.c.reward.is_not(None))
        .group_by(decisions.c.campaign_id, decisions.c.policy)
        .order_by(decisions.c.campaign_id, decisions.c.policy)
    )
    for row in connection.execute(statement):
        yield RewardSums(**row._mapping)
