"""The learner's turn: one process at a time learns on a database, the others wait.

The turn is a lock that ends with its process, not a row with a heartbeat: there is nothing to tune, a killed learner
blocks nobody, and no learner can lose its turn while it works. A process that is stopped but not dead keeps its turn.
The lock only prevents double work; the fence of each publication ensures that nothing is learned twice.

A relearn has a turn of its own for each campaign, so that learning can go on meanwhile.
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
    """Whether this process has the learner's turn until the block ends."""
    with _turn(store, LEARNER) as ours:
        yield ours


@contextmanager
def awaited_learner_turn(store: Store) -> Iterator[None]:
    """Waits until no other learner works, then has the learner's turn until the block ends."""
    while True:
        with learner_turn(store) as ours:
            if ours:
                yield
                return
        sleep(POLL_SECONDS)


@contextmanager
def relearn_turn(store: Store, campaign_id: str) -> Iterator[bool]:
    """Whether this process has the campaign's turn to relearn until the block ends."""
    # Hashed, because an id may have characters that a file name cannot have.
    with _turn(store, f"relearn-{blake2b(campaign_id.encode(), digest_size=8).hexdigest()}") as ours:
        yield ours


@contextmanager
def _turn(store: Store, name: str) -> Iterator[bool]:
    """An advisory lock in PostgreSQL; a locked file next to the database file with SQLite."""
    with _sqlite_turn(store, name) if store.is_sqlite else _postgres_turn(store, name) as ours:
        yield ours


@contextmanager
def _sqlite_turn(store: Store, name: str) -> Iterator[bool]:
    with store.read() as connection:
        path = connection.exec_driver_sql("PRAGMA database_list").one()[2]
    # Not the database file itself: closing it here would release the locks of SQLite in this process.
    with open(f"{path}-{name}", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True  # closing the file unlocks it; it is not removed, because another process may use it


@contextmanager
def _postgres_turn(store: Store, name: str) -> Iterator[bool]:
    with failures_named(), store.engine.connect() as connection:
        # Without a transaction: a transaction that stays open during a pass would block VACUUM.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        key = {"key": lock_key(name)}
        ours = bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar_one())
        try:
            yield ours
        finally:
            if ours:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
