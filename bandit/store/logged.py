"""Decisions with their final rewards, read in the learning order, a page at a time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from bandit.store.sql.schema import campaign_versions, closings, decisions, final_rewards, open_decisions


def page(connection: Connection, campaign_id: str, after: int, limit: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """Closed decisions of a campaign after a place in the learning order, joined with their final rewards.

    `final_at` is null while the reward is open; `reward` is null then, and if the message was not sent.
    """
    statement = (
        select(
            closings.c.seq,
            decisions.c.id,
            decisions.c.user_id,
            decisions.c.campaign_version,
            decisions.c.decided_at,
            decisions.c.policy,
            decisions.c.model_version,
            decisions.c.propensity,
            decisions.c.action_index,
            decisions.c.pmf,
            decisions.c.actions,
            decisions.c.actions_digest,
            decisions.c.evidence,
            final_rewards.c.reward,
            final_rewards.c.final_at,
        )
        .join(decisions, decisions.c.id == closings.c.decision_id)
        .outerjoin(final_rewards, final_rewards.c.decision_id == closings.c.decision_id)
        .where(closings.c.campaign_id == campaign_id, closings.c.seq > after)
        .order_by(closings.c.seq)
        .limit(limit)
    )
    return connection.execute(statement).all()


def not_closed(connection: Connection, campaign_id: str) -> int:
    """Number of decisions of a campaign that have no place in the learning order yet."""
    statement = (
        select(func.count())
        .select_from(open_decisions)
        .join(decisions, decisions.c.id == open_decisions.c.decision_id)
        .where(decisions.c.campaign_id == campaign_id, open_decisions.c.learned.is_(False))
    )
    return connection.execute(statement).scalar_one()


def versions(connection: Connection, campaign_id: str) -> list[int]:
    """Every stored version of a campaign's document, oldest first."""
    table = campaign_versions
    statement = select(table.c.version).where(table.c.campaign_id == campaign_id).order_by(table.c.version)
    return list(connection.execute(statement).scalars())
