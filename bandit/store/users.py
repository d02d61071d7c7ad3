"""Everything that is kept about one user, removed."""

from sqlalchemy import Connection, delete, select

from bandit.store.schema import (
    closings,
    decisions,
    feedback,
    final_rewards,
    idempotency,
    open_decisions,
    quarantine,
    sends,
)


def erase(connection: Connection, user_id: str) -> dict[str, int]:
    """Number of rows removed, by table. Models that learned from them stay as they are."""
    own = select(decisions.c.id).where(decisions.c.user_id == user_id)
    _lock(connection, user_id)
    counts = {}
    for table in (feedback, sends, open_decisions, closings, final_rewards, quarantine, idempotency):
        counts[str(table.name)] = connection.execute(delete(table).where(table.c.decision_id.in_(own))).rowcount
    counts[str(decisions.name)] = connection.execute(delete(decisions).where(decisions.c.user_id == user_id)).rowcount
    return counts


def _lock(connection: Connection, user_id: str) -> None:
    """Keeps feedback and the learner away from these decisions; in the order in which they lock themselves."""
    own = select(decisions.c.id).where(decisions.c.user_id == user_id)
    queued = select(open_decisions.c.decision_id).where(open_decisions.c.decision_id.in_(own))
    connection.execute(queued.order_by(open_decisions.c.decision_id).with_for_update()).all()
    connection.execute(own.order_by(decisions.c.id).with_for_update()).all()
