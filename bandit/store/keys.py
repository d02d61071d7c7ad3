"""API keys, by the digest of their secret: the secret itself is never stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from bandit.store.sql.schema import api_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key as stored."""

    id: str
    digest: bytes  # SHA-256 of the secret
    scopes: frozenset[str]
    per_second: int  # requests per second that one serving process accepts
    created_at: datetime
    revoked_at: datetime | None


# Built once, because building a statement takes longer than running it.
_ALL = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)


def add(connection: Connection, key: KeyRow) -> None:
    row = {column.name: getattr(key, column.name) for column in api_keys.c}
    connection.execute(insert(api_keys).values({**row, "scopes": " ".join(sorted(key.scopes))}))


def every(connection: Connection) -> Sequence[KeyRow]:
    """All keys, including revoked ones, oldest first."""
    return [
        KeyRow(**{**row._mapping, "scopes": frozenset(row.scopes.split())}) for row in connection.execute(_ALL).all()
    ]


def revoke(connection: Connection, key_id: str, now: datetime) -> bool:
    """Revokes the key; False if there is no such key. A key that was revoked before keeps its time."""
    table = api_keys
    found = connection.execute(select(table.c.id).where(table.c.id == key_id)).scalar_one_or_none()
    connection.execute(update(table).where(table.c.id == key_id, table.c.revoked_at.is_(None)).values(revoked_at=now))
    return found is not None
