"""Closed decisions that the label check refused."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from bandit.store.sql.database import insert_into
from bandit.store.sql.schema import decisions, quarantine

CHUNK = 500


def latest(connection: Connection, campaign_id: str, limit: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """Refused decisions of a campaign, the last closed one first; at most `limit`."""
    named = quarantine.c
    statement = (
        select(named.decision_id, named.seq, named.reason, named.detail, named.quarantined_at)
        .where(named.campaign_id == campaign_id)
        .order_by(named.seq.desc())
        .limit(limit)
    )
    return connection.execute(statement).all()


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Stores the rows and returns the number of new ones; rows of decisions that were erased meanwhile are skipped."""
    return sum(_add(connection, rows[first : first + CHUNK]) for first in range(0, len(rows), CHUNK))


def _add(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    kept = set(_still_there(connection, [row["decision_id"] for row in rows]))
    found = [row for row in rows if row["decision_id"] in kept]
    if not found:
        return 0
    statement = insert_into(connection, quarantine).on_conflict_do_nothing(index_elements=["decision_id"])
    new = connection.execute(statement.returning(quarantine.c.decision_id), found)
    return len(new.all())


def _still_there(connection: Connection, ids: Sequence[str]) -> Iterator[str]:
    """Those of the decisions that are stored; they cannot be erased until the transaction ends."""
    found = select(decisions.c.id).where(decisions.c.id.in_(ids)).order_by(decisions.c.id)
    yield from connection.execute(found.with_for_update(read=True, key_share=True)).scalars()
