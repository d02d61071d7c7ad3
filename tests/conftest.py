"""Fixtures for every test. Nothing is started or migrated before a test asks for it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import structlog

from api.logging_setup import event_processors
from bandit.store.sql.database import Store
from tests.support.databases import PostgresDatabases, fast_folder, migrate, running_postgres, sqlite_file_url
from tests.support.lines import Log

DATABASES = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a running PostgreSQL server, one per session and per xdist worker."""
    with running_postgres() as server:
        yield server.get_uri()


@pytest.fixture(scope="session")
def postgres_databases(postgres_url: str) -> PostgresDatabases:
    return PostgresDatabases(server_url=postgres_url)


@pytest.fixture(scope="session")
def postgres_template(postgres_databases: PostgresDatabases) -> Iterator[str]:
    with postgres_databases.temporary() as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "sendopt.db"
    migrate(sqlite_file_url(path))
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """URL of a migrated SQLite database without rows, in the test's `tmp_path`."""
    return sqlite_file_url(shutil.copyfile(sqlite_template, tmp_path / "sendopt.db"))


@pytest.fixture
def postgres_database_url(postgres_databases: PostgresDatabases, postgres_template: str) -> Iterator[str]:
    """URL of a migrated PostgreSQL database without rows; dropped after the test."""
    with postgres_databases.temporary(postgres_template) as url:
        yield url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a migrated database without rows; the test runs once on each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_database_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def empty_postgres_url(postgres_databases: PostgresDatabases) -> Iterator[str]:
    with postgres_databases.temporary() as url:
        yield url


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database that was never migrated; the test runs once on each kind."""
    if request.param == "sqlite":
        return sqlite_file_url(tmp_path / "empty.db")
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    with closing(Store(sqlite_url)) as store:
        yield store


@pytest.fixture
def postgres_store(postgres_database_url: str) -> Iterator[Store]:
    with closing(Store(postgres_database_url)) as store:
        yield store


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A migrated store without rows, on the database of `database_url`; once on each kind."""
    with closing(Store(database_url)) as store:
        yield store


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real logs: $SENDOPT_DATA, or ../shared/data beside the repository; skips without them."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SENDOPT_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"the real logs are missing: no folder {folder}; set SENDOPT_DATA to where they are")
    return folder


QUICK = ("unit", "property")  # folders of tests that start no process, unless they are marked with `process`


@pytest.fixture(autouse=True)
def no_unmarked_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test of `make quick` that starts a process."""
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder in QUICK and request.node.get_closest_marker("process") is None:
        monkeypatch.setattr(subprocess.Popen, "__init__", _refuse_process)
        monkeypatch.setattr(BaseProcess, "start", _refuse_process)


def _refuse_process(*_: object, **__: object) -> None:
    pytest.fail("the test starts a process: mark it with `process`, so that `make quick` leaves it out")


@pytest.fixture
def json_log() -> Iterator[Log]:
    """What the service logs during the test, as the lines that it would write."""
    log = Log()
    structlog.configure(
        processors=[*event_processors(), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(log.stream),
        cache_logger_on_first_use=False,
    )
    yield log
    structlog.reset_defaults()


def pytest_configure() -> None:
    """Temporary folders go to memory where there is enough: thousands of small commits would wait for a disk."""
    if (folder := fast_folder()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--calls", type=int, default=40, help="Calls of the client to each server that fails.")
    parser.addoption("--generators", action="store_true", help="Fetch generators of clients and use what they make.")
    parser.addoption("--cases", type=int, default=120, help="Requests that are made from the service's OpenAPI.")
    parser.addoption("--wheels", action="store_true", help="Build and install wheels where installs are tested.")
    parser.addoption("--replays", type=int, default=1, help="Replays of each published trial, a seed each.")
