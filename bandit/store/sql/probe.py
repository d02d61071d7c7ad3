"""Whether the database takes writes."""

from sqlalchemy import delete, false

from bandit.store.sql.database import Store
from bandit.store.sql.schema import idempotency


def check_writable(store: Store) -> None:
    """Returns when a write transaction can commit; raises StoreUnavailable when not."""
    with store.write() as connection:
        connection.execute(delete(idempotency).where(false()))
