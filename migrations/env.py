"""Runs the versions on the connection that the caller opened, inside the caller's transaction."""

from typing import Any, Literal

from alembic import context

from bandit.store.sql.schema import UtcTime, metadata


def spelt_out(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Source text of our own type in a drafted version; False leaves every other item to Alembic."""
    if kind == "type" and isinstance(item, UtcTime):
        return 'sa.BigInteger().with_variant(sa.DateTime(timezone=True), "postgresql")'
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by building a new one
    render_item=spelt_out,
)
with context.begin_transaction():
    context.run_migrations()
