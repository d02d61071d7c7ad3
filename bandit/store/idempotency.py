"""Stored answers for repeated requests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from bandit.store.sql.schema import idempotency


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The answer under a key, and the digest of the request's body."""

    body_digest: bytes
    answer: bytes


def find(connection: Connection, keys: Iterable[str]) -> dict[str, StoredAnswer]:
    """Stored answers by key."""
    table = idempotency
    statement = select(table.c.key, table.c.body_digest, table.c.answer).where(table.c.key.in_(sorted(set(keys))))
    return {
        row.key: StoredAnswer(body_digest=row.body_digest, answer=row.answer) for row in connection.execute(statement)
    }


def remember(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(idempotency), rows)


def forget_before(connection: Connection, instant: datetime) -> int:
    """Removes answers that were given before the instant; returns their number."""
    return connection.execute(delete(idempotency).where(idempotency.c.created_at < instant)).rowcount
