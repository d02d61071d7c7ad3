"""A user is erased while decisions about them are made; on PostgreSQL, where two can write at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select

from bandit.store import users
from bandit.store.sql.database import Store
from bandit.store.sql.schema import decisions
from bandit.times import HOUR
from tests.support.builders import MORNING, campaign, decide, request, service

PATIENCE_SECONDS = 0.5  # for what has to wait, and cannot be seen to


@contextmanager
def just_before(store: Store, statement: str, act: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    """Starts the act in another thread before the first such statement, which waits a moment for it."""
    started: list[Future[Any]] = []
    with ThreadPoolExecutor(1) as pool:

        def before(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
            if text.startswith(statement) and not started:
                started.append(pool.submit(act))
                wait(started, PATIENCE_SECONDS)

        event.listen(store.engine, "before_cursor_execute", before)
        yield started
        event.remove(store.engine, "before_cursor_execute", before)


def erase(store: Store, user: str) -> dict[str, int]:
    with store.write() as connection:
        return users.erase(connection, user)


@pytest.mark.parametrize("statement", ["DELETE FROM sends", "DELETE FROM decisions"])
def test_a_decision_that_is_made_while_its_user_is_erased_stays_whole(postgres_store: Store, statement: str) -> None:
    live = service(postgres_store, 1, campaign())
    decide(live, [request("u-1")])
    later = [request("u-1", MORNING + hour * HOUR) for hour in range(1, 9)]  # some of them send
    with just_before(postgres_store, statement, lambda: decide(live, later)) as started:
        removed = erase(postgres_store, "u-1")
    made = started[0].result()
    assert removed["decisions"] == 1
    with postgres_store.read() as connection:
        kept = connection.execute(select(decisions.c.id).where(decisions.c.user_id == "u-1")).scalars()
        assert sorted(kept) == sorted(record.decision.id for record in made)
    assert erase(postgres_store, "u-1")["sends"] == sum(record.reserved_send is not None for record in made) > 0
