"""PUT, GET and list of campaigns; versions, pause and resume; models."""

import json

import pytest
from flask.testing import FlaskClient

from tests.support.wire import (
    campaign_document,
    decide_document,
    decided,
    json_of,
    problem_of,
    put_campaign,
    row_counts,
    without,
)


def test_the_contracts_campaign_is_created_with_201_and_read_back(empty_client: FlaskClient) -> None:
    created = json_of(put_campaign(empty_client), 201)
    assert (created["id"], created["version"], created["paused"]) == ("reengage", 1, False)
    assert created["document"] == campaign_document()
    assert json_of(empty_client.get("/campaigns/reengage")) == created


def test_the_same_document_again_is_answered_200_and_adds_no_version(any_client: FlaskClient) -> None:
    again = json_of(put_campaign(any_client), 200)
    assert again["version"] == 1
    assert row_counts(any_client)["campaign_versions"] == 1


def test_a_changed_document_adds_a_version_that_the_next_decision_names(any_client: FlaskClient) -> None:
    assert json_of(put_campaign(any_client, horizon_hours=12), 200)["version"] == 2
    decision = decided(any_client)
    assert json_of(any_client.get(f"/decisions/{decision['decision_id']}"))["campaign_version"] == 2


def test_the_order_of_keys_is_no_change(client: FlaskClient) -> None:
    turned = json.dumps(dict(reversed(campaign_document().items())))
    assert json_of(client.put("/campaigns/reengage", data=turned))["version"] == 1


def test_the_id_of_the_address_serves_where_the_document_has_none(empty_client: FlaskClient) -> None:
    created = json_of(empty_client.put("/campaigns/autumn", json=without(campaign_document(), "id")), 201)
    assert created["id"] == "autumn"


def test_another_id_than_that_of_the_address_is_refused(client: FlaskClient) -> None:
    problem_of(client.put("/campaigns/autumn", json=campaign_document()), 400, "id")
    problem_of(client.get("/campaigns/autumn"), 404)


@pytest.mark.parametrize("where", ["body", "address"])
def test_if_version_lets_only_the_current_version_be_changed(any_client: FlaskClient, where: str) -> None:
    def put(if_version: int, hours: int) -> int:
        document = campaign_document(horizon_hours=hours)
        if where == "body":
            return any_client.put("/campaigns/reengage", json={**document, "if_version": if_version}).status_code
        return any_client.put(f"/campaigns/reengage?if_version={if_version}", json=document).status_code

    assert [put(2, 12), put(0, 12), put(1, 12), put(1, 10), put(2, 10)] == [409, 409, 200, 409, 200]
    assert row_counts(any_client)["campaign_versions"] == 3


def test_if_version_0_creates_but_never_replaces(empty_client: FlaskClient) -> None:
    document = campaign_document(if_version=0)
    json_of(empty_client.put("/campaigns/reengage", json=document), 201)
    problem_of(empty_client.put("/campaigns/reengage", json=document), 409)


def test_null_in_the_body_leaves_the_version_in_the_address_to_be_checked(client: FlaskClient) -> None:
    document = campaign_document(horizon_hours=12, if_version=None)
    problem_of(client.put("/campaigns/reengage?if_version=0", json=document), 409)
    assert json_of(client.put("/campaigns/reengage?if_version=1", json=document))["version"] == 2


def test_two_versions_that_differ_are_refused(client: FlaskClient) -> None:
    document = campaign_document(horizon_hours=12, if_version=1)
    problem_of(client.put("/campaigns/reengage?if_version=7", json=document), 400, "if_version")
    assert row_counts(client)["campaign_versions"] == 1


@pytest.mark.parametrize("wrong", ["1", "x", 1.0, True, [1], {}])
def test_if_version_in_the_body_must_be_a_whole_number(client: FlaskClient, wrong: object) -> None:
    problem_of(client.put("/campaigns/reengage", json=campaign_document(if_version=wrong)), 400, "if_version")


@pytest.mark.parametrize("wrong", ["x", "-1", "1.0", "9" * 5_000, "%D9%A1"])
def test_if_version_in_the_address_must_be_a_whole_number(client: FlaskClient, wrong: str) -> None:
    response = client.put(f"/campaigns/reengage?if_version={wrong}", json=campaign_document())
    problem_of(response, 400, "if_version")


def test_the_list_has_every_campaign_by_id(client: FlaskClient) -> None:
    put_campaign(client, id="autumn")
    listed = json_of(client.get("/campaigns"))["campaigns"]
    assert [one["id"] for one in listed] == ["autumn", "reengage"]
    assert listed[1] == json_of(client.get("/campaigns/reengage"))


def test_everything_that_is_wrong_in_a_document_is_told_at_once(client: FlaskClient) -> None:
    before = row_counts(client)
    wrong = campaign_document(surprise=1, mode="loud", horizon_hours="24")
    response = client.put("/campaigns/reengage", json=wrong)
    problem_of(response, 400, "surprise", "mode", "horizon_hours")
    assert row_counts(client) == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"id":' + b"[" * 2_000 + b"]" * 2_000 + b"}", b'{"horizon_hours": NaN}']
)
def test_a_body_that_is_no_document_is_refused(client: FlaskClient, body: bytes) -> None:
    problem_of(client.put("/campaigns/reengage", data=body), 400, "body")


def test_a_value_that_is_nested_deep_is_named(client: FlaskClient) -> None:
    body = json.dumps(campaign_document()).replace('"reengage"', "[" * 300 + "]" * 300)
    problem_of(client.put("/campaigns/reengage", data=body), 400, "id")


def test_a_paused_campaign_decides_to_send_nothing_until_it_is_resumed(any_client: FlaskClient) -> None:
    assert json_of(any_client.post("/campaigns/reengage/pause"))["paused"] is True
    silent = decided(any_client)
    assert (silent["send"], silent["reason"], silent["propensity"]) == (False, "paused", 1.0)
    assert json_of(any_client.get("/campaigns/reengage"))["paused"] is True
    assert json_of(any_client.post("/campaigns/reengage/resume"))["paused"] is False
    assert decided(any_client)["reason"] != "paused"


def test_pausing_adds_no_version_and_a_new_version_stays_paused(client: FlaskClient) -> None:
    assert json_of(client.post("/campaigns/reengage/pause"))["version"] == 1
    changed = json_of(put_campaign(client, horizon_hours=12))
    assert (changed["version"], changed["paused"]) == (2, True)


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/campaigns/nope"),
        ("POST", "/campaigns/nope/pause"),
        ("POST", "/campaigns/nope/resume"),
        ("GET", "/campaigns/nope/models"),
    ],
)
def test_an_unknown_campaign_is_404(client: FlaskClient, method: str, address: str) -> None:
    assert "nope" in problem_of(client.open(address, method=method), 404)["detail"]


def test_before_anything_was_learned_there_is_no_model_and_decisions_say_version_0(client: FlaskClient) -> None:
    assert json_of(client.get("/campaigns/reengage/models")) == {"models": []}
    assert decided(client, decide_document())["model_version"] == 0


def test_a_feature_that_changes_its_type_is_another_version(client: FlaskClient) -> None:
    contents = [{"id": "streak", "features": {"fresh": 1}}]
    first = put_campaign(client, contents=contents, policy={})
    changed = put_campaign(client, contents=[{"id": "streak", "features": {"fresh": True}}], policy={})

    assert json_of(changed)["version"] == json_of(first)["version"] + 1
