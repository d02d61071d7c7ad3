"""Erases everything that is stored about one user."""

from sqlalchemy import Connection, delete, select

from bandit.store.sql.schema import (
    closings,
    decisions,
    feedback,
    final_rewards,
    idempotency,
    open_decisions,
    quarantine,
    sends,
)

CHUNK = 500


def erase(connection: Connection, user_id: str) -> dict[str, int]:
    """Erases the user; returns the number of removed rows by table. Models that learned from them do not change.

    A decision that is made meanwhile is not erased.
    """
    ids = _locked(connection, user_id)
    tables = (feedback, sends, open_decisions, closings, final_rewards, quarantine, idempotency)
    owned = [(table, table.c.decision_id) for table in tables] + [(decisions, decisions.c.id)]
    return {
        str(table.name): sum(
            connection.execute(delete(table).where(column.in_(ids[first : first + CHUNK]))).rowcount
            for first in range(0, len(ids), CHUNK)
        )
        for table, column in owned
    }


def _locked(connection: Connection, user_id: str) -> list[str]:
    """The user's decisions, locked against feedback and the learner, in the same order in which those lock."""
    own = select(decisions.c.id).where(decisions.c.user_id == user_id)
    queued = select(open_decisions.c.decision_id).where(open_decisions.c.decision_id.in_(own))
    connection.execute(queued.order_by(open_decisions.c.decision_id).with_for_update()).all()
    return list(connection.execute(own.order_by(decisions.c.id).with_for_update()).scalars())
