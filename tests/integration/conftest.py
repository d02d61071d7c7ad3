"""Clients of the application over its HTTP interface."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.routes import health
from tests.support.databases import sqlite_file_url
from tests.support.wire import put_campaign, running


@pytest.fixture(autouse=True)
def readiness_is_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test does to the database shows in the very next answer; else one look answers for a second."""
    monkeypatch.setattr(health, "READY_SECONDS", 0.0)


@pytest.fixture
def empty_client(sqlite_url: str) -> Iterator[FlaskClient]:
    """A client on the request clock and a SQLite database without rows."""
    with running(sqlite_url) as client:
        yield client


@pytest.fixture
def client(empty_client: FlaskClient) -> FlaskClient:
    """The same with the contract's campaign."""
    put_campaign(empty_client)
    return empty_client


@pytest.fixture
def any_client(database_url: str) -> Iterator[FlaskClient]:
    """With the contract's campaign, once on SQLite and once on PostgreSQL."""
    with running(database_url) as client:
        put_campaign(client)
        yield client


@pytest.fixture
def system_client(sqlite_url: str) -> Iterator[FlaskClient]:
    """With the contract's campaign, on the system's clock."""
    with running(sqlite_url, clock="system") as client:
        put_campaign(client)
        yield client


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[FlaskClient]:
    """With the contract's campaign; one for all tests of a module, which must leave no trace in one another."""
    path = shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("shared") / "sendopt.db")
    with running(sqlite_file_url(path)) as client:
        put_campaign(client)
        yield client
