"""Migrates a database to the declared schema; Alembic is configured here, without an .ini file.

An upgrade is one transaction. If two processes upgrade at once, the second waits for the first and then has nothing to
do. If an upgrade fails, the database does not change.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event

from bandit.errors import Conflict
from bandit.store.sql.database import Store


def upgrade(store: Store) -> tuple[str | None, str]:
    """Upgrades the database; returns the revision before (None if it was empty) and the revision after.

    Raises:
        Conflict: the database is at a revision that this code does not know, or rows would refer to missing rows.
    """
    with _upgrading(store) as connection:
        settings = config(connection)
        scripts = ScriptDirectory.from_config(settings)
        before = _revision(connection, scripts)
        command.upgrade(settings, "head")
    return before, _head(scripts)


def pending(store: Store) -> bool:
    """Whether the database is behind this code and must be upgraded before it is used.

    Raises:
        Conflict: the database is at a revision that this code does not know.
    """
    with store.read() as connection:
        scripts = ScriptDirectory.from_config(config(connection))
        return _revision(connection, scripts) != _head(scripts)


def config(connection: Connection) -> Config:
    """Alembic's settings for the installed scripts, run on this connection. Logging does not change."""
    settings = Config(attributes={"connection": connection})
    settings.set_main_option("script_location", _folder().replace("%", "%%"))
    return settings


def _folder() -> str:
    return str(files("migrations"))


def _head(scripts: ScriptDirectory) -> str:
    return scripts.get_revision("head").revision


def _revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    found = set(MigrationContext.configure(connection).get_current_heads())
    unknown = found - {script.revision for script in scripts.walk_revisions()}
    if unknown:
        raise Conflict(
            f"the database is at schema revision {min(unknown)!r}, which this version of the program, at "
            f"{_head(scripts)!r}, does not know: the database is newer, use the program that upgraded it"
        )
    return min(found, default=None)


@contextmanager
def _upgrading(store: Store) -> Iterator[Connection]:
    """The only transaction that may change the schema at the moment."""
    if store.is_sqlite:
        with _rebuilding(store) as connection:
            yield connection
        return
    with store.write() as connection:
        store.lock(connection, ["schema"])
        yield connection


@contextmanager
def _rebuilding(store: Store) -> Iterator[Connection]:
    """A write transaction in which SQLite can replace a table to which others refer.

    SQLite cannot switch foreign keys off inside a transaction, so this needs a connection of its own. All foreign keys
    are checked before the end.
    """
    url = store.engine.url.render_as_string(hide_password=False)
    with closing(Store(url)) as own:
        event.listen(own.engine, "connect", _foreign_keys_off)
        with own.write() as connection:
            yield connection
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise Conflict(f"rows of {broken[0][0]!r} would refer to missing rows of {broken[0][2]!r}")


def _foreign_keys_off(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")
