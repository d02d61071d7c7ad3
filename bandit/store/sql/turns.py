"""Whose turn it is to learn: one process at a time works on a database, the others wait.

A lock that dies with its holder, not a row with a heartbeat: nothing is to be tuned, a killed learner blocks nobody,
and none can lose its turn while it works. A process that is stopped but not dead keeps its turn. What the lock saves
is work done twice; that nothing is learned twice rests on the fence of each publication alone.

A relearn has a turn of its own for each campaign, so that learning goes on beside it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from time import sleep

from sqlalchemy import text

from bandit.store.sql.database import Store, failures_named, lock_key

LEARNER = "learner"
POLL_SECONDS = 0.5


@contextmanager
def learner_turn(store: Store) -> Iterator[bool]:
    """Whether it is ours until the block ends."""
    with _turn(store, LEARNER) as ours:
        yield ours


@contextmanager
def awaited_learner_turn(store: Store) -> Iterator[None]:
    """Ours until the block ends, as soon as no other learner is at work."""
    while True:
        with learner_turn(store) as ours:
            if ours:
                yield
                return
        sleep(POLL_SECONDS)


@contextmanager
def relearn_turn(store: Store, campaign_id: str) -> Iterator[bool]:
    """Whether nobody else builds a model of this campaign from its whole log until the block ends."""
    # Hashed: an id may hold what no file name can.
    with _turn(store, f"relearn-{blake2b(campaign_id.encode(), digest_size=8).hexdigest()}") as ours:
        yield ours


@contextmanager
def _turn(store: Store, name: str) -> Iterator[bool]:
    """An advisory lock of PostgreSQL, a locked file beside SQLite's."""
    with _sqlite_turn(store, name) if store.is_sqlite else _postgres_turn(store, name) as ours:
        yield ours


@contextmanager
def _sqlite_turn(store: Store, name: str) -> Iterator[bool]:
    with store.read() as connection:
        path = connection.exec_driver_sql("PRAGMA database_list").one()[2]
    # Not the database itself: closing it here would drop the locks that SQLite holds on it in this process.
    with open(f"{path}-{name}", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True  # closing the file lets go of it; it stays, as who removes it may remove another's


@contextmanager
def _postgres_turn(store: Store, name: str) -> Iterator[bool]:
    with failures_named(), store.engine.connect() as connection:
        # Without a transaction of its own: one that stays open through a pass would keep VACUUM from its work.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        key = {"key": lock_key(name)}
        ours = bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar_one())
        try:
            yield ours
        finally:
            if ours:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
