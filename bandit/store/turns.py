"""Whose turn it is to learn: one process at a time works on a database, the others wait.

A lock that dies with its holder, not a row with a heartbeat: nothing is to be tuned, a killed learner blocks nobody,
and none can lose its turn while it works. A process that is stopped but not dead keeps its turn. What the lock saves
is work done twice; that nothing is learned twice rests on the fence of each publication alone.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from bandit.store.engine import Store, failures_named, lock_key

NAME = "learner"


@contextmanager
def learner_turn(store: Store) -> Iterator[bool]:
    """Whether it is ours until the block ends: an advisory lock of PostgreSQL, a locked file beside SQLite's."""
    with _sqlite_turn(store) if store.is_sqlite else _postgres_turn(store) as ours:
        yield ours


@contextmanager
def _sqlite_turn(store: Store) -> Iterator[bool]:
    with store.read() as connection:
        path = connection.exec_driver_sql("PRAGMA database_list").one()[2]
    # Not the database itself: closing it here would drop the locks that SQLite holds on it in this process.
    with open(f"{path}-{NAME}", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True  # closing the file lets go of it; it stays, as who removes it may remove another's


@contextmanager
def _postgres_turn(store: Store) -> Iterator[bool]:
    with failures_named(), store.engine.connect() as connection:
        # Without a transaction of its own: one that stays open through a pass would keep VACUUM from its work.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        key = {"key": lock_key(NAME)}
        ours = bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar_one())
        try:
            yield ours
        finally:
            if ours:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
