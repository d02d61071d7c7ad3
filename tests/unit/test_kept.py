"""What anybody may ask for is made once for all who ask within a moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from flask import Flask, render_template_string
from flask.testing import FlaskClient

from api.edge.kept import Kept
from bandit.errors import StoreUnavailable
from bandit.store.sql.database import check_writable
from tests.support.wire import running


@pytest.fixture
def slow() -> Callable[[], int]:
    """Makes 1, 2, ...; the first takes until somebody else waits for it."""
    made = iter(range(1, 100))
    waited = Event()

    def make() -> int:
        waited.wait(0.2)
        return next(made)

    return make


def test_twelve_who_ask_at_once_are_answered_by_one_look(slow: Callable[[], int]) -> None:
    kept = Kept(slow, seconds=60)
    with ThreadPoolExecutor(12) as pool:
        assert {one.result() for one in [pool.submit(kept.get) for _ in range(12)]} == {1}


def test_it_is_made_again_once_it_is_old(slow: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("api.edge.kept.monotonic", lambda: clock[0])
    kept = Kept(slow, seconds=1)
    assert [kept.get(), kept.get()] == [1, 1]
    clock[0] += 1
    assert kept.get() == 2


def test_what_fails_is_not_kept() -> None:
    outcomes = iter([StoreUnavailable("away"), None])

    def make() -> int:
        if (error := next(outcomes)) is not None:
            raise error
        return 7

    kept = Kept(make)
    with pytest.raises(StoreUnavailable):
        kept.get()
    assert kept.get() == 7


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done for the answers: looks at the database, renderings of the page."""
    done: list[str] = []
    monkeypatch.setattr("api.routes.health.check_writable", counting(done, "probe", check_writable))
    monkeypatch.setattr("api.spec.routes.render_template_string", counting(done, "page", render_template_string))
    return done


def counting(done: list[str], name: str, work: Callable[..., object]) -> Callable[..., object]:
    def counted(*given: object, **named: object) -> object:
        done.append(name)
        return work(*given, **named)

    return counted


@pytest.mark.parametrize(("address", "work"), [("/readyz", "probe"), ("/docs", "page")])
def test_readiness_and_the_page_of_the_interface_cost_one_look(
    sqlite_url: str, counted: list[str], address: str, work: str
) -> None:
    with running(sqlite_url) as client:
        answers = {ask(client.application, address) for _ in range(12)}
    assert len(answers) == 1
    assert counted == [work]


def ask(app: Flask, address: str) -> bytes:
    client: FlaskClient = app.test_client()
    response = client.get(address)
    assert response.status_code == 200
    return response.get_data()
