"""Connections and transactions, the same for SQLite and PostgreSQL."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from time import monotonic, sleep
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, delete, event, false, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from bandit.errors import SettingsError, StoreUnavailable, extras_named
from bandit.store.sql.prepared import run
from bandit.store.sql.schema import idempotency

BUSY_TIMEOUT_SECONDS = 10
BUSY_RETRY_SECONDS = 0.01
POOL_SIZE = 20
SETTING = "SENDOPT_DATABASE_URL"

# Errors of the statement, not of the database: they keep their type, for the author of the statement.
MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


class Store:
    """A database with its transactions, whose failures become `StoreUnavailable`."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet. Raises SettingsError unless the URL is a SQLite file's or PostgreSQL's."""
        self.engine = _engine(url)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def shown_url(self) -> str:
        """The database's URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees one state of the database and changes nothing."""
        with failures_named(), self.engine.connect() as connection:
            if not self.is_sqlite:  # because by default each statement sees a state of its own
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed durably when the block ends, rolled back when it raises.

        On SQLite it has the only write lock from its start, so that nothing that it reads can change.
        """
        with failures_named(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.execution_options(sqlite_begin="IMMEDIATE")
            with connection.begin():
                yield connection

    def lock(self, connection: Connection, names: Sequence[str]) -> None:
        """Serialises this transaction with every other one that locks one of the names, until it ends.

        On SQLite `write` has already done so. The locks are sorted, so that two transactions never wait for each other:
        lock once in a transaction, with all names, before reading what they protect.
        """
        if self.is_sqlite or not names:
            return
        statement = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
        connection.execute(statement, {"keys": sorted({lock_key(name) for name in names})})

    def close(self) -> None:
        self.engine.dispose()


def check_writable(store: Store) -> None:
    """Returns when a write transaction can commit; raises StoreUnavailable when not."""
    with store.write() as connection:
        connection.execute(delete(idempotency).where(false()))


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert of the connection's own dialect, which can say what to do where a row is there already."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def lock_key(name: str) -> int:
    """The number of one of our locks in PostgreSQL."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


@contextmanager
def failures_named() -> Iterator[None]:
    """Turns every failure of the database inside the block into StoreUnavailable."""
    try:
        yield
    except PoolExhausted as error:
        raise StoreUnavailable(f"no connection to the database became free: {error}") from error
    except DBAPIError as error:
        if isinstance(error, MISTAKES) and not (error.connection_invalidated or _lacks_schema(error)):
            raise
        raise StoreUnavailable(f"the database cannot answer now: {error.orig}") from error


def _lacks_schema(error: DBAPIError) -> bool:
    """Whether PostgreSQL lacks a table or a column: the database has not been migrated yet."""
    return getattr(error.orig, "sqlstate", None) in {"42P01", "42703"}


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(parsed)
    if backend == "postgresql":
        return _postgres_engine(parsed)
    raise SettingsError(f"{SETTING}: {backend!r} is neither sqlite nor postgresql")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without cause and context, because either may quote the password.
        raise SettingsError(
            f"{SETTING}: not of the form sqlite:///file or postgresql://user:password@host:port/database"
        ) from None
    if "@" in (parsed.host or ""):  # it is a part of the password, which would appear in the driver's messages
        raise SettingsError(f"{SETTING}: an @ in the password must be written as %40")
    return parsed


def _postgres_engine(url: URL) -> Engine:
    try:
        with extras_named():
            from psycopg import ProgrammingError as UnknownOption
            from psycopg.conninfo import make_conninfo
    except ImportError as error:  # also of a psycopg that finds no libpq
        raise SettingsError(f"{SETTING}: PostgreSQL cannot be used: {error}") from None
    try:
        # Only libpq's own options: psycopg's, such as autocommit, would change what a transaction is.
        make_conninfo("", **{name: values[0] for name, values in url.normalized_query.items()})
    except UnknownOption as error:
        raise SettingsError(f"{SETTING}: {str(error).strip()}") from None
    # Always psycopg 3, which is the only tested driver.
    return create_engine(
        url.set(drivername="postgresql+psycopg"), pool_size=POOL_SIZE, pool_pre_ping=True, hide_parameters=True
    )


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise SettingsError(
            f"{SETTING}: SQLite must name a file, as in sqlite:///relative.db or sqlite:////absolute.db; "
            "in memory each connection would see a database of its own, and nothing would be durable"
        )
    try:
        engine = create_engine(
            url.set(drivername="sqlite+pysqlite"),
            poolclass=QueuePool,
            pool_size=POOL_SIZE,
            hide_parameters=True,  # an error must not quote the contents of a request
            connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
    except (ArgumentError, ValueError):  # raised again without the message
        raise SettingsError(
            f"{SETTING}: a SQLite URL has no user, password, host or port, and options of the right type"
        ) from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "checkout", _check_file)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not start transactions itself
    try:
        _, _, path = connection.execute("PRAGMA database_list").fetchone()
        record.info["file"] = (path, _identity(path))
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()  # the pool discards a connection that could not be prepared
        raise


def _check_file(_connection: sqlite3.Connection, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Raises if the file was deleted or replaced; all writes to such an open file would be lost."""
    path, opened = record.info["file"]
    if _identity(path) != opened:
        raise DisconnectionError(f"{path} is no longer the file that was opened")  # the pool makes a new connection


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches to write-ahead logging; if several connections do so at once, SQLite refuses some without waiting."""
    give_up_at = monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or monotonic() > give_up_at:
                raise
            sleep(BUSY_RETRY_SECONDS)
    if mode != "wal":  # a refusal without an error
        raise StoreUnavailable(f"the database file cannot be shared: its journal_mode stays {mode!r}")


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    run(connection, f"BEGIN {mode}")
