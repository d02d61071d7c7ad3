"""GET /campaigns/{id}/quarantine: what no model may learn, and why, on both databases."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from api.app import serving
from bandit.store.sql.schema import decisions
from tests.support.wire import decide_about, decided, json_of, problem_of, put_campaign


def listed(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json_of(client.get(f"/campaigns/reengage/quarantine{query}"))["quarantine"]
    return found


def quarantine(client: FlaskClient, number: int) -> list[str]:
    """Ids of decisions, oldest first, whose propensity was damaged to one that nothing is drawn with."""
    service = serving(client.application).service
    moments = [f"2026-11-20T17:{minute:02}:00Z" for minute in range(number)]
    ids = [decided(client, decide_about(f"u-{now}", now=now))["decision_id"] for now in moments]
    with service.store.write() as connection:
        connection.execute(update(decisions).where(decisions.c.id.in_(ids)).values(propensity=1.5))
    decided(client, decide_about("sound", now=moments[-1]))
    service.clock.observe(service.clock.now().replace(day=28))
    service.learner.run_pass()
    return ids


def test_what_was_refused_is_listed_with_its_reason_newest_first(any_client: FlaskClient) -> None:
    put_campaign(any_client)
    assert listed(any_client) == []
    ids = quarantine(any_client, 3)
    found = listed(any_client)
    assert [one["decision_id"] for one in found] == ids[::-1]
    assert {one["reason"] for one in found} == {"propensity"}
    assert all(one["detail"].startswith("propensity 1.5 is outside [") for one in found)
    assert {one["quarantined_at"][:10] for one in found} == {"2026-11-28"}
    assert [one["seq"] for one in found] == sorted((one["seq"] for one in found), reverse=True)


def test_no_more_are_listed_than_were_asked_for_and_none_of_another_campaign(client: FlaskClient) -> None:
    ids = quarantine(client, 22)
    assert len(listed(client)) == 20
    assert [one["decision_id"] for one in listed(client, "?limit=1")] == ids[-1:]
    put_campaign(client, id="autumn")
    assert json_of(client.get("/campaigns/autumn/quarantine")) == {"quarantine": []}


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", ""])
def test_a_limit_that_is_none_is_400(client: FlaskClient, limit: str) -> None:
    assert "1 to 100" in problem_of(client.get(f"/campaigns/reengage/quarantine?limit={limit}"), 400, "limit")["detail"]


def test_an_unknown_campaign_is_404(client: FlaskClient) -> None:
    problem_of(client.get("/campaigns/winter/quarantine"), 404)
