"""The same key with the same body gets the stored decision, byte for byte."""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.wire import DECIDE_TEXT, decide_about, decide_document, problem_of, row_counts

KEY = "Idempotency-Key"


def post(client: FlaskClient, key: str, body: str = DECIDE_TEXT) -> TestResponse:
    return client.post("/decide", data=body, headers={KEY: key})


def test_a_repeated_request_is_answered_the_same_bytes_and_decided_once(any_client: FlaskClient) -> None:
    first, second = post(any_client, "k-1"), post(any_client, "k-1")
    assert first.status_code == second.status_code == HTTPStatus.OK
    assert first.get_data() == second.get_data()
    assert first.content_type == second.content_type
    counts = row_counts(any_client)
    assert (counts["decisions"], counts["idempotency"]) == (1, 1)


def test_without_a_key_each_request_is_a_decision_of_its_own(client: FlaskClient) -> None:
    first, second = (client.post("/decide", data=DECIDE_TEXT) for _ in range(2))
    assert first.get_json()["decision_id"] != second.get_json()["decision_id"]
    assert row_counts(client)["decisions"] == 2


def test_another_key_is_another_decision(client: FlaskClient) -> None:
    assert post(client, "k-1").get_data() != post(client, "k-2").get_data()


def test_another_body_under_a_used_key_is_a_conflict(any_client: FlaskClient) -> None:
    first = post(any_client, "k-1")
    before = row_counts(any_client)
    assert "k-1" in problem_of(post(any_client, "k-1", DECIDE_TEXT.replace("u-123", "u-124")), 409)["detail"]
    assert "k-1" in problem_of(post(any_client, "k-1", DECIDE_TEXT + " "), 409)["detail"]
    assert row_counts(any_client) == before
    assert post(any_client, "k-1").get_data() == first.get_data()


def test_the_answer_stays_the_same_after_the_campaign_was_paused(client: FlaskClient) -> None:
    first = post(client, "k-1")
    client.post("/campaigns/reengage/pause")
    assert post(client, "k-1").get_data() == first.get_data()


def test_a_request_that_failed_leaves_its_key_free(client: FlaskClient) -> None:
    problem_of(post(client, "k-1", DECIDE_TEXT.replace("reengage", "nope")), 404)
    assert post(client, "k-1").status_code == HTTPStatus.OK


def test_concurrent_requests_under_one_key_get_one_decision(any_client: FlaskClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: post(any_client.application.test_client(), "k-1").get_data(), range(24)))
    assert len(set(answers)) == 1
    assert row_counts(any_client)["decisions"] == 1


def test_concurrent_requests_with_other_bodies_under_one_key_get_one_decision(client: FlaskClient) -> None:
    def status(number: int) -> int:
        return post(client.application.test_client(), "k-1", DECIDE_TEXT.replace("u-123", f"u-{number}")).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(status, range(24)))
    assert sorted(statuses) == [200, *[409] * 23]


@pytest.mark.parametrize("key", ["k", "k" * 255, "a b", "~!@#$%^&*()", "'; drop table decisions; --"])
def test_a_key_of_printable_ascii_is_accepted(client: FlaskClient, key: str) -> None:
    assert post(client, key).get_data() == post(client, key).get_data()


@pytest.mark.parametrize(
    "key", ["", "k" * 256, "k" * 5_000, "schlüssel", "ключ".encode().decode("latin-1"), "a\tb", "\x7f"]
)
def test_a_hostile_key_is_refused(client: FlaskClient, key: str) -> None:
    before = row_counts(client)
    problem_of(post(client, key), 400, KEY)
    assert row_counts(client) == before


def test_with_the_key_not_looked_at_the_answers_differ(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.decisions._repeatable", lambda key, data: None)
    assert post(client, "k-1").get_data() != post(client, "k-1").get_data()


def test_a_key_is_not_read_in_a_batch(client: FlaskClient) -> None:
    batch = {"requests": [decide_document(), decide_about("u-2")]}
    answers = [client.post("/decide/batch", json=batch, headers={KEY: "k-1"}).get_data() for _ in range(2)]
    assert answers[0] != answers[1]
    assert row_counts(client)["idempotency"] == 0
