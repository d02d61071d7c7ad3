"""Decisions, their reserved sends and their place in the queue of open rewards."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from bandit.decide.decision import DecisionRecord
from bandit.decide.exploration import pmf_bytes
from bandit.decide.history import Send
from bandit.decide.logged import actions_digest, encode_actions, encode_evidence
from bandit.store.sql.prepared import PreparedInsert
from bandit.store.sql.schema import decisions, open_decisions, sends
from bandit.times import HOUR

_DECISIONS = PreparedInsert(insert(decisions))
_SENDS = PreparedInsert(insert(sends))
_OPEN = PreparedInsert(insert(open_decisions))


def insert_decisions(connection: Connection, records: Sequence[tuple[DecisionRecord, float]]) -> None:
    """Stores decisions, reserves the slots of those that send, and opens their rewards.

    Args:
        records: decisions, each with the hours after which it is learned.
    """
    if not records:
        return
    _DECISIONS.run(connection, [_decision_row(record) for record, _ in records])
    reserved = [_send_row(record, send) for record, _ in records if (send := record.reserved_send) is not None]
    if reserved:
        _SENDS.run(connection, reserved)
    _OPEN.run(
        connection,
        [
            {
                "decision_id": record.decision.id,
                "due_at": record.decision.decided_at + learn_hours * HOUR,
                "learned": False,
            }
            for record, learn_hours in records
        ],
    )


def _decision_row(record: DecisionRecord) -> dict[str, Any]:
    decision, actions = record.decision, encode_actions(record)
    return {
        "id": decision.id,
        "campaign_id": decision.campaign,
        "campaign_version": record.campaign_version,
        "user_id": record.request.user.id,
        "decided_at": decision.decided_at,
        "reward_deadline": decision.reward_deadline,
        "policy": decision.policy.value,
        "model_version": decision.model_version,
        "channel": decision.action.channel,
        "content": decision.action.content,
        "send_at": decision.action.send_at,
        "local_hour": record.local_hour,
        "reason": None if decision.reason is None else decision.reason.value,
        "propensity": decision.propensity,
        "action_index": record.action_index,
        "pmf": pmf_bytes(record.pmf),
        "actions": actions,
        "actions_digest": actions_digest(actions),
        "evidence": encode_evidence(record),
    }


def _send_row(record: DecisionRecord, send: Send) -> dict[str, Any]:
    return {
        "decision_id": send.decision_id,
        "campaign_id": record.decision.campaign,
        "user_id": record.request.user.id,
        "channel": send.channel,
        "content": send.content,
        "kind": send.kind,
        "send_at": send.send_at,
    }


def free_sends(connection: Connection, decision_ids: Iterable[str]) -> None:
    """Frees the reserved slots of these decisions."""
    connection.execute(delete(sends).where(sends.c.decision_id.in_(sorted(set(decision_ids)))))


def get(connection: Connection, decision_id: str) -> Row[*tuple[Any, ...]] | None:
    """The whole stored decision; None if there is none."""
    return connection.execute(select(decisions).where(decisions.c.id == decision_id)).one_or_none()


def latest_of_user(connection: Connection, user_id: str, limit: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """A user's latest decisions, each whole, newest first."""
    statement = (
        select(decisions)
        .where(decisions.c.user_id == user_id)
        .order_by(decisions.c.decided_at.desc(), decisions.c.id.desc())
        .limit(limit)
    )
    return connection.execute(statement).all()


def latest_decided_at(connection: Connection) -> datetime | None:
    latest: datetime | None = connection.execute(select(func.max(decisions.c.decided_at))).scalar_one()
    return latest
