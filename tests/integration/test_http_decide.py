"""POST /decide, POST /decide/batch, and the receipts of what was decided."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from api.app import serving
from bandit.engine.explorers import engine_arguments
from bandit.engine.vw import engine_version
from bandit.store import models
from bandit.store.models import CHAMPION, Alias, ModelRow
from bandit.store.sql.schema import decisions
from bandit.wire.feedback import FeedbackDocument
from bandit.wire.request import RequestDocument
from tests.support.wire import (
    DECIDE_TEXT,
    DECIDED_AT,
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
    with_value,
)

ANSWERED = [
    "decision_id",
    "campaign",
    "send",
    "channel",
    "content",
    "send_at",
    "propensity",
    "policy",
    "model_version",
    "decided_at",
    "reward_deadline",
    "reason",
]
SHADOW: dict[str, Any] = {"mode": "shadow"}  # serves the contract's baseline: push, streak, 18:00 local


def policy_with(**changes: Any) -> dict[str, Any]:
    """The contract's policy, every user outside both holdouts unless the changes say otherwise."""
    return {**campaign_document()["policy"], "uniform_holdout": 0.0, "no_send_holdout": 0.0, **changes}


def receipt_of(client: FlaskClient, decision: dict[str, Any]) -> Any:
    return json_of(client.get(f"/decisions/{decision['decision_id']}"))


def test_the_contracts_request_is_answered_in_the_contracts_form(any_client: FlaskClient) -> None:
    answer = json_of(any_client.post("/decide", data=DECIDE_TEXT))
    assert list(answer) == ANSWERED
    assert isinstance(answer["decision_id"], str)
    assert len(answer["decision_id"]) == 26
    assert answer["campaign"] == "reengage"
    assert type(answer["propensity"]) is float
    assert 0 < answer["propensity"] <= 1
    assert answer["policy"] in ("learned", "uniform_holdout", "no_send_holdout")
    assert answer["model_version"] == 0
    assert answer["decided_at"] == "2026-11-20T17:03:00Z"
    assert answer["reward_deadline"] == "2026-11-22T17:03:00Z"
    check_action(answer)


def check_action(answer: dict[str, Any]) -> None:
    if answer["send"]:
        assert answer["channel"] in ("push", "email")
        assert answer["content"] in ("streak", "pin-9")
        assert answer["send_at"].endswith("Z")
        assert DECIDED_AT <= datetime.fromisoformat(answer["send_at"]) <= DECIDED_AT + timedelta(hours=24)
        assert answer["reason"] is None
    else:
        assert (answer["channel"], answer["content"], answer["send_at"]) == (None, None, None)
        assert answer["reason"] in ("policy", "no_eligible_action", "holdout")


def test_the_smallest_request_offers_the_whole_catalogue_on_every_channel(client: FlaskClient) -> None:
    user = {"id": "u-9", "timezone": "UTC", "channels": ["push", "email"]}
    request = {"campaign": "reengage", "user": user, "now": "2026-11-20T09:00:00Z"}
    receipt = receipt_of(client, decided(client, request))
    assert receipt["request"] == request
    offered = {(one["channel"], one["content"]) for one in receipt["actions"]}
    assert offered == {(None, None), ("push", "streak")}


def test_shadow_mode_serves_the_baseline_with_its_own_propensity(client: FlaskClient) -> None:
    put_campaign(client, **SHADOW, policy=policy_with())
    answer = decided(client)
    assert (answer["channel"], answer["content"]) == ("push", "streak")
    assert (answer["send_at"], answer["policy"], answer["propensity"]) == ("2026-11-20T23:00:00Z", "baseline", 1.0)
    learned = receipt_of(client, answer)["learned_pmf"]
    assert sum(learned) == pytest.approx(1, abs=1e-9)


def test_the_no_send_holdout_is_silent_with_reason_holdout(client: FlaskClient) -> None:
    put_campaign(client, policy=policy_with(no_send_holdout=1.0))
    answer = decided(client)
    assert (answer["send"], answer["policy"], answer["reason"]) == (False, "no_send_holdout", "holdout")
    assert answer["propensity"] == 1.0


def test_the_uniform_holdout_draws_evenly(client: FlaskClient) -> None:
    put_campaign(client, policy=policy_with(uniform_holdout=1.0))
    answer = decided(client)
    actions = receipt_of(client, answer)["actions"]
    assert answer["policy"] == "uniform_holdout"
    assert len(actions) > 5
    assert {one["probability"] for one in actions} == {answer["propensity"]} == {1 / len(actions)}


def test_without_an_eligible_action_it_is_silent_and_says_so(client: FlaskClient) -> None:
    put_campaign(client, policy=policy_with())
    for request in (with_value(decide_document(), "user.channels", []), decide_document(contents=[])):
        answer = decided(client, request)
        assert (answer["send"], answer["reason"], answer["propensity"]) == (False, "no_eligible_action", 1.0)


def test_silence_that_the_policy_chose_says_so(client: FlaskClient) -> None:
    put_campaign(client, policy=policy_with())
    # One action of at most 14 is silence, drawn evenly: 300 users without it have p < 1e-9.
    requests = [decide_about(f"u-{number}") for number in range(300)]
    results = json_of(client.post("/decide/batch", json={"requests": requests}))["results"]
    reasons = {one["reason"] for one in results if not one["send"]}
    assert reasons == {"policy"}
    assert all(one["propensity"] < 1 for one in results)


def test_a_model_that_cannot_be_served_is_answered_by_a_stated_fallback(client: FlaskClient) -> None:
    put_campaign(client, policy=policy_with())
    publish_broken_model(client)
    answer = decided(client)
    assert (answer["policy"], answer["propensity"], answer["model_version"]) == ("fallback", 1.0, 0)
    assert (answer["channel"], answer["content"]) == ("push", "streak")
    assert json_of(client.get("/readyz"))["models"] == {"reengage": "fallback"}


def publish_broken_model(client: FlaskClient) -> None:
    service = serving(client.application).service
    row = ModelRow(
        campaign_id="reengage",
        version=1,
        parent=0,
        arguments=engine_arguments({"explorer": "squarecb"}, floor=0.02).text,
        engine_version=engine_version(),
        watermark=0,
        events_learned=0,
        created_at=DECIDED_AT,
        size=6,
        digest="0" * 64,
        bytes=b"broken",
        lineage=1,
    )
    with service.store.write() as connection:
        models.add(connection, row)
        champion = Alias(alias=CHAMPION, version=1, held=False, campaign_arguments=row.arguments)
        models.point(connection, "reengage", champion, DECIDED_AT)
    service.models.refresh()


def test_a_receipt_has_everything_that_led_to_the_decision(any_client: FlaskClient) -> None:
    answer = json_of(any_client.post("/decide", data=DECIDE_TEXT))
    receipt = receipt_of(any_client, answer)
    assert {key: receipt[key] for key in ANSWERED} == answer
    assert receipt["request"] == json.loads(DECIDE_TEXT)
    assert receipt["user"] == "u-123"
    assert receipt["campaign_version"] == 1
    assert receipt["history"] == {}
    assert receipt["feedback"] == []
    assert receipt["reward"] is None


def test_a_receipt_has_every_eligible_action_with_its_probability(any_client: FlaskClient) -> None:
    answer = json_of(any_client.post("/decide", data=DECIDE_TEXT))
    receipt = receipt_of(any_client, answer)
    actions = receipt["actions"]
    assert sum(one["probability"] for one in actions) == pytest.approx(1, abs=1e-9)
    assert actions[0] | {"probability": 0} == {"channel": None, "content": None, "send_at": None, "probability": 0}
    chosen = actions[receipt["action_index"]]
    assert chosen == {key: answer[key] for key in ("channel", "content", "send_at")} | {
        "probability": answer["propensity"]
    }


def test_a_receipt_counts_what_each_rule_blocked_and_shows_the_first(client: FlaskClient) -> None:
    receipt = receipt_of(client, decided(client))
    blocked = receipt["blocked"]
    # 2 channels x 2 contents x 5 times: now, and 8, 12, 18 and 20 o'clock in New York.
    assert sum(one["count"] for one in blocked.values()) + len(receipt["actions"]) - 1 == 20
    assert blocked["content_channel"]["count"] == 5
    assert blocked["content_channel"]["example"]["content"] == "streak"
    assert blocked["content_channel"]["example"]["channel"] == "email"
    assert blocked["quiet_hours"]["count"] == 3  # 8 o'clock is before the user's 9:30
    assert datetime.fromisoformat(blocked["quiet_hours"]["example"]["send_at"]).hour == 13


def test_a_receipt_shows_the_history_that_the_model_saw(client: FlaskClient) -> None:
    put_campaign(client, **SHADOW, policy=policy_with())
    first = decided(client)
    clicked = feedback_document(first["decision_id"])
    json_of(client.post("/feedback", json=clicked), 202)
    second = decided(client, decide_document(now="2026-11-21T01:00:00Z"))
    history = receipt_of(client, second)["history"]
    assert history == {
        "sent_1d_push": 1.0,
        "sent_7d_push": 1.0,
        "sent_30d_push": 1.0,
        "ignored_streak": 0.0,
        "responses_30d": 1.0,
    }


def test_a_receipt_shows_the_feedback_and_in_the_end_the_reward(client: FlaskClient) -> None:
    put_campaign(client, **SHADOW, policy=policy_with())
    answer = decided(client)
    json_of(client.post("/feedback", json=feedback_document(answer["decision_id"])), 202)
    assert receipt_of(client, answer)["feedback"] == [
        {
            "event": "clicked",
            "value": 1.0,
            "occurred_at": "2026-11-20T23:11:09Z",
            "received_at": "2026-11-20T23:11:09Z",
            "event_id": "e-77",
            "late": False,
        }
    ]
    decided(client, decide_about("u-later", now="2026-11-22T17:03:00Z"))
    serving(client.application).service.learner.run_pass()
    closed = receipt_of(client, answer)
    assert closed["reward"] == pytest.approx(1.0 - 0.01)  # clicked, minus the price of a push
    assert closed["reward_final_at"] == "2026-11-22T17:03:00Z"


def test_the_latest_receipts_of_a_user_come_newest_first(any_client: FlaskClient) -> None:
    ids = [
        decided(any_client, decide_document(now=f"2026-11-20T17:0{minute}:00Z"))["decision_id"] for minute in range(3)
    ]
    decided(any_client, decide_about("u-other"))
    listed = json_of(any_client.get("/decisions?user=u-123"))["decisions"]
    assert [one["decision_id"] for one in listed] == ids[::-1]
    assert listed[0] == json_of(any_client.get(f"/decisions/{ids[2]}"))
    assert len(json_of(any_client.get("/decisions?user=u-123&limit=2"))["decisions"]) == 2
    assert json_of(any_client.get("/decisions?user=nobody")) == {"decisions": []}


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", "", "%D9%A3", "9" * 5_000])
def test_a_limit_outside_1_to_100_is_refused(client: FlaskClient, limit: str) -> None:
    problem_of(client.get(f"/decisions?user=u-123&limit={limit}"), 400, "limit")


def test_a_list_of_receipts_needs_a_user(client: FlaskClient) -> None:
    problem_of(client.get("/decisions"), 400, "user")


def test_an_unknown_decision_is_404(client: FlaskClient) -> None:
    problem_of(client.get("/decisions/01JD0000000000000000000000"), 404)


def test_times_may_have_any_offset_and_are_answered_in_utc(client: FlaskClient) -> None:
    answer = decided(client, decide_document(now="2026-11-20T22:48:00.25+05:45"))
    assert answer["decided_at"] == "2026-11-20T17:03:00.250000Z"
    assert answer["reward_deadline"] == "2026-11-22T17:03:00.250000Z"


def test_on_the_system_clock_the_decision_is_made_now(system_client: FlaskClient) -> None:
    before = datetime.now(UTC)
    request = decide_document()
    del request["now"]
    decided_at = datetime.fromisoformat(decided(system_client, request)["decided_at"])
    assert before <= decided_at <= datetime.now(UTC)


def test_on_the_system_clock_a_request_cannot_say_what_time_it_is(system_client: FlaskClient) -> None:
    before = row_counts(system_client)
    problem_of(system_client.post("/decide", data=DECIDE_TEXT), 400, "now")
    assert row_counts(system_client) == before


def test_two_thousand_actions_are_decided_and_one_content_more_is_refused(client: FlaskClient) -> None:
    contents = [{"id": f"pin-{number}"} for number in range(201)]  # x 2 channels x 5 times
    problem_of(client.post("/decide", json=decide_document(contents=contents)), 422, "contents")
    receipt = receipt_of(client, decided(client, decide_document(contents=contents[:200])))
    assert len(receipt["actions"]) - 1 + sum(one["count"] for one in receipt["blocked"].values()) == 2_000


def test_a_batch_is_answered_in_order_and_each_item_as_if_alone(any_client: FlaskClient) -> None:
    bad = decide_about("u-bad", campaign="nope")
    requests = [decide_about("u-0"), bad, decide_about("u-2"), 7, with_value(bad, "user.timezone", "Mars/Base")]
    before = row_counts(any_client)["decisions"]
    results = json_of(any_client.post("/decide/batch", json={"requests": requests}))["results"]
    assert list(results[0]) == list(results[2]) == ANSWERED
    assert [receipt_of(any_client, results[place])["user"] for place in (0, 2)] == ["u-0", "u-2"]
    check_problem(results[1], 404)
    check_problem(results[3], 400, "body")
    check_problem(results[4], 400, "user.timezone")
    assert row_counts(any_client)["decisions"] == before + 2


def test_a_batch_of_a_thousand_with_ten_bad_items_has_990_decisions_in_order(client: FlaskClient) -> None:
    requests = [
        decide_about(f"u-{place}", campaign="nope" if place % 100 == 7 else "reengage") for place in range(1_000)
    ]
    results = json_of(client.post("/decide/batch", json={"requests": requests}))["results"]
    assert [place for place, one in enumerate(results) if one.get("status") == 404] == list(range(7, 1_000, 100))
    assert row_counts(client)["decisions"] == 990
    for place in (0, 8, 501, 999):
        assert receipt_of(client, results[place])["user"] == f"u-{place}"


def test_the_items_of_a_batch_about_one_user_see_each_others_sends(client: FlaskClient) -> None:
    put_campaign(client, **SHADOW, policy=policy_with())
    results = json_of(client.post("/decide/batch", json={"requests": [decide_document()] * 3}))["results"]
    assert [one["send"] for one in results] == [True, False, False]  # streak repeats after 72 h at the earliest


def test_an_empty_batch_has_no_results(client: FlaskClient) -> None:
    assert json_of(client.post("/decide/batch", json={"requests": []})) == {"results": []}


def test_more_than_a_thousand_items_are_too_many(client: FlaskClient) -> None:
    before = row_counts(client)
    requests = [decide_about(f"u-{place}") for place in range(1_001)]
    problem_of(client.post("/decide/batch", json={"requests": requests}), 413, "requests")
    assert row_counts(client) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b'{"requests": [', "body"),
        (b"{}", "requests"),
        (b"[]", "requests"),
        (b"null", "requests"),
        (b'{"requests": {}}', "requests"),
        (b'{"requests": null}', "requests"),
        (b'{"requests": "[]"}', "requests"),
        (b'{"requests": [], "surprise": 1}', "surprise"),
        (b'{"requests": [NaN]}', "body"),
    ],
)
def test_a_batch_that_is_none_is_refused(client: FlaskClient, body: bytes, field: str) -> None:
    problem_of(client.post("/decide/batch", data=body), 400, field)


def test_an_item_nested_too_deep_fails_alone(client: FlaskClient) -> None:
    deep = "[" * 300 + "]" * 300
    results = json_of(client.post("/decide/batch", data=f'{{"requests": [{deep}, {DECIDE_TEXT}]}}'))["results"]
    check_problem(results[0], 400, "body")
    assert list(results[1]) == ANSWERED


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/decide", decide_document()),
        ("/decide/batch", {"requests": [decide_about(f"u-{number}") for number in range(5)]}),
        ("/feedback", feedback_document("d-1")),
        ("/feedback/batch", {"events": [feedback_document(f"d-{number}") for number in range(5)]}),
    ],
)
def test_a_body_is_parsed_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, address: str, body: dict[str, Any]
) -> None:
    decided(client)  # the campaign's document has been read
    parsed: list[bytes] = []

    def loads(text: bytes) -> Any:
        parsed.append(text)
        return json.loads(text)

    def refused(*_: object, **__: object) -> Any:
        raise AssertionError("parsed by the validator as well")

    sent = json.dumps(body).encode()
    monkeypatch.setattr(orjson, "loads", loads)
    for model in (RequestDocument, FeedbackDocument):
        monkeypatch.setattr(model, "model_validate_json", refused)
    assert client.post(address, data=sent).status_code < 500
    assert parsed == [sent]


@pytest.mark.parametrize("propensity", [0.0, 1.5, float("nan")])
def test_a_stored_propensity_that_cannot_be_true_is_shown_to_those_who_look_for_it(
    client: FlaskClient, propensity: float
) -> None:
    decision_id, pmf = decided(client)["decision_id"], np.full(13, propensity)
    with serving(client.application).service.store.write() as connection:
        tampered = update(decisions).where(decisions.c.id == decision_id)
        connection.execute(tampered.values(propensity=0.0 if np.isnan(propensity) else propensity, pmf=pmf.tobytes()))
    receipt = json_of(client.get(f"/decisions/{decision_id}"))
    shown = {one["probability"] for one in receipt["actions"]}
    assert shown == ({None} if np.isnan(propensity) else {propensity})
    assert json_of(client.get("/decisions?user=u-123"))["decisions"] == [receipt]
