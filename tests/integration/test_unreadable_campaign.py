"""One stored document that cannot be read stops neither the other campaigns nor the way to repair it."""

import json
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from api.app import serving
from bandit.decide.decision import DecisionRecord
from bandit.domain import FeedbackStatus
from bandit.errors import UnreadableCampaign
from bandit.learn import close as closing_module
from bandit.serve.decisions import Ask
from bandit.service import Service
from bandit.store.sql.database import Store
from bandit.store.sql.schema import campaign_versions, final_rewards, open_decisions
from tests.support.builders import (
    MORNING,
    WINDOW,
    advance,
    campaign,
    decide,
    feedback,
    request,
    service,
    versions,
)
from tests.support.lines import Log
from tests.support.wire import campaign_document, decide_about, decided, json_of, problem_of, put_campaign

DECISIONS = 12


def damage(store: Store, campaign_id: str) -> None:
    """As a stricter rule after an upgrade would: what is stored breaks it."""
    with store.write() as connection:
        text = json.dumps({"id": campaign_id, "horizon_hours": "a day"})
        chosen = campaign_versions.c.campaign_id == campaign_id
        connection.execute(update(campaign_versions).where(chosen).values(document=text))


@pytest.fixture
def two(store: Store) -> tuple[Service, list[DecisionRecord]]:
    """Decisions of "autumn", whose document is damaged then, and after them those of "spring"."""
    live = service(store, 1, campaign(id="autumn"), campaign(id="spring"))
    records = [
        record
        for hours, name in enumerate(("autumn", "spring"))
        for record in decide(
            live, [request(f"u-{user}", MORNING + timedelta(hours=hours), campaign=name) for user in range(DECISIONS)]
        )
    ]
    damage(store, "autumn")
    fresh = service(store, 2)
    advance(fresh, MORNING + timedelta(hours=1))
    return fresh, records


def count(store: Store, table: object) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def test_decisions_and_feedback_of_other_campaigns_go_on_in_the_same_batch(
    two: tuple[Service, list[DecisionRecord]],
) -> None:
    live, records = two
    asks = [Ask(request=request("u-99", campaign=name)) for name in ("autumn", "spring")]
    broken, record = live.decider.decide_many(asks)
    assert isinstance(broken, UnreadableCampaign)
    assert "version 1 of campaign 'autumn' is stored, but breaks a rule of this program: horizon_hours" in str(broken)
    assert isinstance(record, DecisionRecord)
    outcomes = live.feedback.accept_many([feedback(records[0]), feedback(records[-1])])
    assert isinstance(outcomes[0], UnreadableCampaign)
    assert outcomes[1] is FeedbackStatus.ACCEPTED


def test_other_campaigns_close_and_learn_however_many_wait_before_them(
    two: tuple[Service, list[DecisionRecord]], store: Store, monkeypatch: pytest.MonkeyPatch, json_log: Log
) -> None:
    live, _ = two
    monkeypatch.setattr(closing_module, "CLOSE_CHUNK", 5)
    advance(live, MORNING + WINDOW + timedelta(hours=2))
    live.learner.run_pass()
    assert count(store, final_rewards) == DECISIONS
    assert count(store, open_decisions) == DECISIONS
    assert len(versions(store, "spring")) == 1
    assert {line["event"] for line in json_log.events} >= {"campaign_unreadable", "rewards_left_open"}
    before = len(json_log.events)
    live.learner.run_pass()
    assert "rewards_left_open" not in {line["event"] for line in json_log.events[before:]}


def test_once_it_can_be_read_its_rewards_close(two: tuple[Service, list[DecisionRecord]], store: Store) -> None:
    live, _ = two
    advance(live, MORNING + WINDOW + timedelta(hours=2))
    live.learner.run_pass()
    with store.write() as connection:
        chosen = campaign_versions.c.campaign_id == "autumn"
        text = campaign(id="autumn").to_json()
        connection.execute(update(campaign_versions).where(chosen).values(document=text))
    advance(live, MORNING + WINDOW + timedelta(hours=4))
    live.learner.run_pass()
    assert count(store, open_decisions) == 0
    assert len(versions(store, "autumn")) == 1


def test_what_goes_wrong_with_one_campaign_does_not_stop_the_learning_of_others(
    store: Store, monkeypatch: pytest.MonkeyPatch, json_log: Log
) -> None:
    live = service(store, 1, campaign(id="autumn"), campaign(id="spring"))
    decide(live, [request("u-1", campaign=name) for name in ("autumn", "spring")])
    advance(live, MORNING + WINDOW)
    learn_alias = live.learner.learn_alias

    def without_room(document: object, alias: str) -> object:
        if getattr(document, "id", None) == "autumn":
            raise OSError(28, "No space left on device")
        return learn_alias(document, alias)  # type: ignore[arg-type]

    monkeypatch.setattr(live.learner, "learn_alias", without_room)
    assert live.learner.run_pass().published == (("spring", 1),)
    assert [line["campaign"] for line in json_log.events if line["event"] == "campaign_not_learned"] == ["autumn"]


def test_the_list_goes_on_and_a_put_repairs(client: FlaskClient) -> None:
    put_campaign(client, id="autumn")
    service = serving(client.application).service
    damage(service.store, "autumn")
    service.campaigns._parsed.clear()
    assert [one["id"] for one in json_of(client.get("/campaigns"))["campaigns"]] == ["reengage"]
    problem = problem_of(client.get("/campaigns/autumn"), 500)
    assert problem["title"] == "Unreadable campaign"
    problem_of(client.post("/decide", json=decide_about("u-1", campaign="autumn")), 500)
    assert decided(client)["campaign"] == "reengage"
    repaired = json_of(client.put("/campaigns/autumn", json=campaign_document(id="autumn")))
    assert repaired["version"] == 2
    assert decided(client, decide_about("u-1", campaign="autumn"))["campaign"] == "autumn"
