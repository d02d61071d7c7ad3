"""Statements past SQLAlchemy's execution: the same rows, types and errors as through it, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from bandit.errors import StoreUnavailable
from bandit.store.sql.database import Store
from bandit.store.sql.prepared import PreparedInsert, PreparedQuery, run
from bandit.store.sql.schema import NaiveTimeError, campaign_versions, campaigns

NOW = datetime(2026, 11, 20, 17, 3, 1, 5, tzinfo=UTC)
ADD = PreparedInsert(insert(campaigns))
ADD_VERSIONS = PreparedInsert(insert(campaign_versions))
FIND = PreparedQuery(
    select(campaigns.c.id, campaigns.c.paused, campaign_versions.c.created_at)
    .join(campaign_versions)
    .where(campaigns.c.id.in_(bindparam("ids", expanding=True)), campaign_versions.c.created_at >= bindparam("since"))
    .order_by(campaigns.c.id),
    lists=["ids"],
)


def campaign(name: str, *, paused: bool = False) -> dict[str, Any]:
    return {"id": name, "current_version": 1, "paused": paused}


def version(name: str, created_at: datetime = NOW) -> dict[str, Any]:
    return {"campaign_id": name, "version": 1, "document": "{}", "created_at": created_at}


@pytest.mark.parametrize("length", [1, 2, 3, 5, 9])
def test_rows_come_back_with_the_types_they_were_stored_with(store: Store, length: int) -> None:
    names = [f"c-{place}" for place in range(9)]
    with store.write() as connection:
        ADD.run(connection, [campaign(name, paused=name == "c-0") for name in names])
        ADD_VERSIONS.run(connection, [version(name) for name in names])
    with store.read() as connection:
        found = FIND.rows(connection, {"ids": names[:length], "since": NOW})
        later = FIND.rows(connection, {"ids": names, "since": NOW + timedelta(microseconds=1)})

    assert found == [[name, name == "c-0", NOW] for name in names[:length]]
    assert all(isinstance(row[1], bool) for row in found)
    assert later == []


def test_an_error_of_the_driver_is_the_one_that_sqlalchemy_would_raise(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        ADD.run(connection, [campaign("a"), campaign("a")])
    with store.read() as connection:
        assert FIND.rows(connection, {"ids": ["a"], "since": NOW}) == []


def test_a_time_that_names_no_instant_is_refused(store: Store) -> None:
    with pytest.raises(NaiveTimeError), store.write() as connection:
        ADD_VERSIONS.run(connection, [version("a", NOW.replace(tzinfo=None))])


def test_a_connection_that_is_lost_is_given_up_and_the_next_one_works(postgres_store: Store) -> None:
    with pytest.raises(StoreUnavailable), postgres_store.write() as connection:
        run(connection, "SELECT pg_terminate_backend(pg_backend_pid())")
    with postgres_store.read() as connection:
        assert FIND.rows(connection, {"ids": ["a"], "since": NOW}) == []
