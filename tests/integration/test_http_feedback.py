"""POST /feedback and POST /feedback/batch."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.app import serving
from tests.support.wire import (
    FEEDBACK_TEXT,
    campaign_document,
    check_problem,
    decide_about,
    decide_document,
    decided,
    feedback_document,
    json_of,
    problem_of,
    put_campaign,
    row_counts,
    without,
)


def status_of(client: FlaskClient, document: dict[str, Any]) -> str:
    """What became of an event; it must have been answered 202."""
    answer = json_of(client.post("/feedback", json=document), 202)
    assert list(answer) == ["status"]
    return str(answer["status"])


def events_of(client: FlaskClient, decision_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json_of(client.get(f"/decisions/{decision_id}"))["feedback"]
    return events


def test_the_contracts_feedback_is_accepted_once(any_client: FlaskClient) -> None:
    decision_id = decided(any_client)["decision_id"]
    body = FEEDBACK_TEXT.replace("01JD...", decision_id)
    assert json_of(any_client.post("/feedback", data=body), 202) == {"status": "accepted"}
    assert json_of(any_client.post("/feedback", data=body), 202) == {"status": "duplicate"}
    (event,) = events_of(any_client, decision_id)
    assert (event["event"], event["value"], event["event_id"], event["late"]) == ("clicked", 1.0, "e-77", False)


def test_event_and_event_id_name_one_event_whatever_else_it_says(client: FlaskClient) -> None:
    decision_id = decided(client)["decision_id"]
    assert status_of(client, feedback_document(decision_id)) == "accepted"
    later = feedback_document(decision_id, occurred_at="2026-11-21T10:00:00Z", value=0.5)
    assert status_of(client, later) == "duplicate"
    assert status_of(client, {**later, "event": "opened"}) == "accepted"


def test_without_an_event_id_decision_event_and_moment_name_it(client: FlaskClient) -> None:
    decision_id = decided(client)["decision_id"]
    event = without(feedback_document(decision_id), "event_id")
    assert status_of(client, event) == "accepted"
    assert status_of(client, {**event, "occurred_at": "2026-11-21T00:11:09+01:00"}) == "duplicate"  # the same instant
    assert status_of(client, {**event, "occurred_at": "2026-11-20T23:11:10Z"}) == "accepted"
    assert status_of(client, {**event, "event": "opened"}) == "accepted"
    assert len(events_of(client, decision_id)) == 3


def test_the_same_event_id_on_another_decision_is_another_event(client: FlaskClient) -> None:
    ids = [decided(client, decide_about(user))["decision_id"] for user in ("u-1", "u-2")]
    assert [status_of(client, feedback_document(one)) for one in ids] == ["accepted", "accepted"]


@pytest.mark.parametrize(
    "event", ["delivered", "failed", "cancelled", "opened", "clicked", "converted", "unsubscribed"]
)
def test_the_events_of_the_reward_and_of_the_delivery_are_accepted(client: FlaskClient, event: str) -> None:
    assert status_of(client, feedback_document(decided(client)["decision_id"], event=event)) == "accepted"


def test_a_reward_carries_its_number_in_value(client: FlaskClient) -> None:
    decision_id = decided(client)["decision_id"]
    assert status_of(client, feedback_document(decision_id, event="reward", value=-2.5)) == "accepted"
    problem_of(
        client.post("/feedback", json=without(feedback_document(decision_id, event="reward"), "value")), 400, "value"
    )


def test_after_the_reward_is_final_an_event_is_late_and_not_in_the_reward(any_client: FlaskClient) -> None:
    answer = decided(any_client)
    decided(any_client, decide_about("u-later", now="2026-11-22T17:03:00Z"))
    serving(any_client.application).service.learner.run_pass()
    before = json_of(any_client.get(f"/decisions/{answer['decision_id']}"))["reward"]
    assert status_of(any_client, feedback_document(answer["decision_id"])) == "late"
    receipt = json_of(any_client.get(f"/decisions/{answer['decision_id']}"))
    assert receipt["reward"] == before
    assert receipt["feedback"][0]["late"] is True


def test_an_event_after_the_deadline_is_late_even_before_anything_was_closed(client: FlaskClient) -> None:
    decision_id = decided(client)["decision_id"]
    assert status_of(client, feedback_document(decision_id, occurred_at="2026-11-22T17:03:00.000001Z")) == "late"
    on_time = feedback_document(decision_id, occurred_at="2026-11-22T17:03:00Z", event_id="e-78")
    assert status_of(client, on_time) == "accepted"


@pytest.mark.parametrize("event", ["failed", "cancelled"])
def test_a_message_that_did_not_go_out_gives_its_slot_back_and_is_not_learned_from(
    any_client: FlaskClient, event: str
) -> None:
    policy = {**campaign_document()["policy"], "uniform_holdout": 0.0, "no_send_holdout": 0.0}
    put_campaign(any_client, mode="shadow", policy=policy)
    first = decided(any_client)
    assert first["send"]
    assert not decided(any_client)["send"]  # the content repeats only after 72 h
    assert status_of(any_client, feedback_document(first["decision_id"], event=event)) == "accepted"
    assert decided(any_client)["send"]
    decided(any_client, decide_about("u-later", now="2026-11-23T17:03:00Z"))
    serving(any_client.application).service.learner.run_pass()
    receipt = json_of(any_client.get(f"/decisions/{first['decision_id']}"))
    assert receipt["reward"] is None
    assert receipt["reward_final_at"] is not None


def test_a_silent_decision_earns_its_reward_too(client: FlaskClient) -> None:
    put_campaign(client, policy={**campaign_document()["policy"], "no_send_holdout": 1.0, "uniform_holdout": 0.0})
    silent = decided(client)
    assert status_of(client, feedback_document(silent["decision_id"], event="converted", value=None)) == "accepted"
    decided(client, decide_about("u-later", now="2026-11-22T17:03:00Z"))
    serving(client.application).service.learner.run_pass()
    assert json_of(client.get(f"/decisions/{silent['decision_id']}"))["reward"] == 3.0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"occurred_at": "2026-11-20T17:02:59.999999Z"}, "occurred_at"),
        ({"occurred_at": "2026-11-20T18:02:59+01:00"}, "occurred_at"),
        ({"value": 5.000001}, "value"),
        ({"value": -6}, "value"),
        ({"event": "reward", "value": 1e15}, "value"),
        ({"event": "surprise"}, "event"),
        ({"event": "CLICKED"}, "event"),
    ],
)
def test_feedback_that_cannot_be_is_422_and_leaves_nothing(
    any_client: FlaskClient, changes: dict[str, Any], field: str
) -> None:
    decision_id = decided(any_client)["decision_id"]
    before = row_counts(any_client)
    problem_of(any_client.post("/feedback", json=feedback_document(decision_id, **changes)), 422, field)
    assert row_counts(any_client) == before


def test_feedback_for_an_unknown_decision_is_404_and_leaves_nothing(any_client: FlaskClient) -> None:
    before = row_counts(any_client)
    assert "01JD..." in problem_of(any_client.post("/feedback", data=FEEDBACK_TEXT), 404)["detail"]
    assert row_counts(any_client) == before


def test_the_moment_of_the_decision_itself_is_not_too_early(client: FlaskClient) -> None:
    answer = decided(client)
    event = feedback_document(answer["decision_id"], occurred_at=answer["decided_at"])
    assert status_of(client, event) == "accepted"


def test_an_event_is_judged_by_the_campaign_version_of_its_decision(client: FlaskClient) -> None:
    decision_id = decided(client)["decision_id"]
    put_campaign(client, reward={**campaign_document()["reward"], "events": {"bought": 2.0}})
    assert status_of(client, feedback_document(decision_id)) == "accepted"
    problem_of(client.post("/feedback", json=feedback_document(decision_id, event="bought")), 422, "event")


def test_a_batch_is_answered_in_order_and_each_event_as_if_alone(any_client: FlaskClient) -> None:
    decision_id = decided(any_client)["decision_id"]
    good = feedback_document(decision_id)
    events = [
        good,
        feedback_document("nope"),
        good,
        7,
        {**good, "event_id": "e-78", "value": 99},
        {**good, "event_id": "e-79"},
    ]
    results = json_of(any_client.post("/feedback/batch", json={"events": events}))["results"]
    assert [results[place] for place in (0, 2, 5)] == [
        {"status": "accepted"},
        {"status": "duplicate"},
        {"status": "accepted"},
    ]
    check_problem(results[1], 404)
    check_problem(results[3], 400, "body")
    check_problem(results[4], 422, "value")
    assert row_counts(any_client)["feedback"] == 2


def test_a_thousand_events_are_taken_at_once_and_not_one_more(client: FlaskClient) -> None:
    decision_id = decided(client)["decision_id"]
    events = [feedback_document(decision_id, event_id=f"e-{number}") for number in range(1_001)]
    problem_of(client.post("/feedback/batch", json={"events": events}), 413, "events")
    assert row_counts(client)["feedback"] == 0
    results = json_of(client.post("/feedback/batch", json={"events": events[:1_000]}))["results"]
    assert results == [{"status": "accepted"}] * 1_000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "events"),
        (b'{"events": {}}', "events"),
        (b'{"events": [], "surprise": 1}', "surprise"),
        (b"", "body"),
        (b'{"events": [1e999]}', "body"),
    ],
)
def test_a_batch_that_is_none_is_refused(client: FlaskClient, body: bytes, field: str) -> None:
    problem_of(client.post("/feedback/batch", data=body), 400, field)


def test_an_event_nested_too_deep_fails_alone(client: FlaskClient) -> None:
    good = json.dumps(feedback_document(decided(client, decide_document())["decision_id"]))
    body = '{"events": [' + "[" * 300 + "]" * 300 + f", {good}]}}"
    results = json_of(client.post("/feedback/batch", data=body))["results"]
    check_problem(results[0], 400, "body")
    assert results[1] == {"status": "accepted"}
