"""DELETE /users/{id}: nothing of the user is left, everything of the others is."""

from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from api.app import serving
from bandit.store.sql.schema import metadata
from tests.support.wire import decide_about, decided, feedback_document, json_of, problem_of, put_campaign


def decide_and_click(client: FlaskClient, user: str, key: str) -> str:
    answer = client.post("/decide", json=decide_about(user), headers={"Idempotency-Key": key})
    decision_id: str = json_of(answer)["decision_id"]
    json_of(client.post("/feedback", json=feedback_document(decision_id)), 202)
    return decision_id


def everything(client: FlaskClient) -> str:
    """Every row of every table as text."""
    with serving(client.application).service.store.read() as connection:
        return repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])


def erased(client: FlaskClient, user: str) -> Any:
    return json_of(client.delete(f"/users/{user}"))["removed"]


def test_an_erased_user_is_nowhere_and_the_others_are_untouched(any_client: FlaskClient) -> None:
    put_campaign(any_client)
    kept = decide_and_click(any_client, "somebody-else", "k-0")
    gone = [decide_and_click(any_client, "erase-me", f"k-{place}") for place in (1, 2)]
    serving(any_client.application).service.learner.run_pass()
    removed = erased(any_client, "erase-me")

    assert removed["decisions"] == 2
    assert removed["feedback"] == 2
    assert removed["idempotency"] == 2
    left = everything(any_client)
    assert "erase-me" not in left
    assert all(decision_id not in left for decision_id in gone)
    assert kept in left
    problem_of(any_client.get(f"/decisions/{gone[0]}"), 404)


@pytest.mark.parametrize("user", ["/erase-me", "//erase-me", "erase//me", "erase-me/", "..", "/", "a?b#c;d", "%2F"])
def test_a_user_of_any_id_is_erased_and_nobody_else(client: FlaskClient, user: str) -> None:
    for one in ("erase-me", "erase/me", user):
        decided(client, decide_about(one))
    answered = json_of(client.delete(f"/users/{quote(user, safe='')}", follow_redirects=True))
    assert (answered["user"], answered["removed"]["decisions"]) == (user, 1)
    assert all(erased(client, one)["decisions"] == 1 for one in ("erase-me", "erase/me"))


def test_the_learner_goes_on_after_what_it_closed_was_erased(client: FlaskClient) -> None:
    put_campaign(client)
    decide_and_click(client, "erase-me", "k-1")
    service = serving(client.application).service
    decided(client, decide_about("later", now="2026-12-20T17:03:00Z"))
    closed = service.learner.close_due()
    erased(client, "erase-me")
    decided(client, decide_about("last", now="2027-01-20T17:03:00Z"))

    assert closed == 1
    assert service.learner.run_pass().learned == 1


def test_erasing_a_user_of_whom_nothing_is_kept_removes_nothing(client: FlaskClient) -> None:
    assert set(erased(client, "never/seen").values()) == {0}
