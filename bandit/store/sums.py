"""Sums over final decisions, updated when rewards become final."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, func, select, update

from bandit.decide.sums import ChoiceSums, FinalDecision, RewardSums, Sums, columns
from bandit.store.sql.database import insert_into
from bandit.store.sql.schema import choice_sums, decisions, final_rewards, reward_sums


def of_final(connection: Connection, decision_ids: Iterable[str]) -> list[FinalDecision]:
    """Those of these decisions whose reward is final."""
    table = decisions
    statement = (
        select(
            table.c.campaign_id,
            table.c.user_id,
            table.c.decided_at,
            table.c.policy,
            table.c.channel,
            table.c.content,
            table.c.local_hour,
            table.c.action_index,
            table.c.pmf,
            final_rewards.c.reward,
        )
        .join(final_rewards, final_rewards.c.decision_id == table.c.id)
        .where(table.c.id.in_(sorted(decision_ids)))
    )
    return [FinalDecision(**row._mapping) for row in connection.execute(statement)]


def add(connection: Connection, sums: Sums) -> None:
    """Adds to the stored sums."""
    rewards, choices = sums
    _add(connection, reward_sums, RewardSums.__slots__, [columns(key, one) for key, one in rewards.items()])
    _add(connection, choice_sums, ChoiceSums.__slots__, [columns(key, one) for key, one in choices.items()])


def correct(connection: Connection, sums: Sums) -> None:
    """Adds the changes of corrected rewards to the stored sums.

    Decisions that were final before sums existed are in no sum, and their changes must not be added either.
    """
    rewards, choices = sums
    newly = {key: one for key, one in rewards.items() if one.decisions > 0}  # of decisions that had no reward before
    others = [columns(key, one) for key, one in rewards.items() if key not in newly]
    _add(connection, reward_sums, RewardSums.__slots__, [columns(key, one) for key, one in newly.items()])
    _add_where_known(connection, reward_sums, RewardSums.__slots__, others)
    changed = [columns(key, one) for key, one in choices.items()]
    _add_where_known(connection, choice_sums, ChoiceSums.__slots__, changed)


def _add(connection: Connection, table: Table, added: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = insert_into(connection, table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + statement.excluded[name] for name in added},
    )
    connection.execute(statement, rows)


def _add_where_known(
    connection: Connection, table: Table, added: Sequence[str], rows: Sequence[dict[str, Any]]
) -> None:
    if not rows:
        return
    key = [column == bindparam(f"key_{column.name}") for column in table.primary_key.columns]
    values = {name: table.c[name] + bindparam(f"more_{name}") for name in added}
    named = [{f"{'more' if name in added else 'key'}_{name}": one for name, one in row.items()} for row in rows]
    connection.execute(update(table).where(*key).values(values), named)


def last_day(connection: Connection, campaign_id: str) -> datetime | None:
    """The latest day with a final decision; None if there is none."""
    latest = select(func.max(choice_sums.c.day)).where(choice_sums.c.campaign_id == campaign_id)
    found: datetime | None = connection.execute(latest).scalar_one()
    return found


def rewards_by_group(connection: Connection, campaign_id: str, since: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Day, policy, group, number and sum of rewards, in the order of the days."""
    table = reward_sums
    statement = (
        select(table.c.day, table.c.policy, table.c.user_group, table.c.decisions, table.c.reward)
        .where(table.c.campaign_id == campaign_id, table.c.day >= since)
        .order_by(table.c.day, table.c.policy, table.c.user_group)
    )
    return connection.execute(statement).all()


def sends_by_hour(connection: Connection, campaign_id: str, since: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Channel, local hour, policy, number of sends, of voided ones, and sum of rewards."""
    table = choice_sums
    statement = (
        select(
            table.c.policy,
            table.c.channel,
            table.c.local_hour,
            func.sum(table.c.decisions).label("decisions"),
            func.sum(table.c.voided).label("voided"),
            func.sum(table.c.reward).label("reward"),
        )
        .where(table.c.campaign_id == campaign_id, table.c.day >= since, table.c.channel != "")
        .group_by(table.c.policy, table.c.channel, table.c.local_hour)
        .order_by(table.c.policy, table.c.channel, table.c.local_hour)
    )
    return connection.execute(statement).all()


def contents_by_day(connection: Connection, campaign_id: str, since: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Day, policy, content ("" is silence) and number of decisions."""
    table = choice_sums
    statement = (
        select(table.c.day, table.c.policy, table.c.content, func.sum(table.c.decisions).label("decisions"))
        .where(table.c.campaign_id == campaign_id, table.c.day >= since)
        .group_by(table.c.day, table.c.policy, table.c.content)
        .order_by(table.c.day, table.c.policy, table.c.content)
    )
    return connection.execute(statement).all()


def exploration_by_day(connection: Connection, campaign_id: str, since: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Day, policy, number of decisions, of those that explored, and sum of relative entropies."""
    table = choice_sums
    statement = (
        select(
            table.c.day,
            table.c.policy,
            func.sum(table.c.decisions).label("decisions"),
            func.sum(table.c.explored).label("explored"),
            func.sum(table.c.entropy).label("entropy"),
        )
        .where(table.c.campaign_id == campaign_id, table.c.day >= since)
        .group_by(table.c.day, table.c.policy)
        .order_by(table.c.day, table.c.policy)
    )
    return connection.execute(statement).all()
