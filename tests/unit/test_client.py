"""The client: what it sends, what it makes of answers, and that each failure is one typed error."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from api.client import Choice, ClientError, SendoptClient
from sendopt_client import client as clients


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as the server got it."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]
    connection: tuple[str, int]


@dataclass(kw_only=True)
class Server:
    """A service that answers what it was told to."""

    url: str = ""
    status: int = 200
    answer: bytes = b"{}"
    delay_seconds: float = 0.0
    failures: int = 0  # answered with a 500 before anything else
    received: list[Received] = field(default_factory=list)

    def will(self, status: int, answer: object) -> None:
        self.status, self.answer = status, json.dumps(answer).encode()


def handler_for(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections open

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.received.append(
                Received(
                    method=self.command,
                    path=self.path,
                    body=json.loads(body) if body else None,
                    headers=dict(self.headers),
                    connection=self.client_address,
                )
            )
            time.sleep(server.delay_seconds)
            failing, server.failures = server.failures > 0, server.failures - 1
            self.send_response(500 if failing else server.status)
            self.send_header("Content-Length", str(len(server.answer)))
            self.end_headers()
            self.wfile.write(server.answer)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names that the base class calls

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    scripted = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_for(scripted)) as running:
        scripted.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield scripted
        running.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[SendoptClient]:
    with SendoptClient(server.url + "/", timeout_seconds=5.0) as client:
        yield client


EVENT = {"decision_id": "d-1", "event": "clicked", "occurred_at": "2026-01-05T12:00:00Z"}
SILENT = {"decision_id": "d-1", "send": False, "propensity": 0.5, "policy": "learned"}
CALLS: list[tuple[Callable[[SendoptClient], object], object, str, str, object]] = [
    (lambda one: one.decide({"campaign": "c"}, fallback=None), SILENT, "POST", "/decide", {"campaign": "c"}),
    (lambda one: one.decide_batch([{"a": 1}]), {"results": [{}]}, "POST", "/decide/batch", {"requests": [{"a": 1}]}),
    (lambda one: one.feedback(EVENT), {"status": "accepted"}, "POST", "/feedback", EVENT),
    (lambda one: one.feedback_batch([EVENT]), {"results": [{}]}, "POST", "/feedback/batch", {"events": [EVENT]}),
    (lambda one: one.put_campaign({"id": "a/b c"}), {"version": 1}, "PUT", "/campaigns/a%2Fb%20c", {"id": "a/b c"}),
    (lambda one: one.get_campaign("spring"), {"version": 1}, "GET", "/campaigns/spring", None),
    (lambda one: one.receipt("01J"), {"pmf": []}, "GET", "/decisions/01J", None),
    (lambda one: one.models("spring"), {"models": [{"version": 2}]}, "GET", "/campaigns/spring/models", None),
    (lambda one: one.ready(), {"status": "ready"}, "GET", "/readyz", None),
]


@pytest.mark.parametrize(("call", "answer", "method", "path", "body"), CALLS)
def test_a_call_is_the_request_of_the_contract(
    server: Server,
    client: SendoptClient,
    call: Callable[[SendoptClient], object],
    answer: object,
    method: str,
    path: str,
    body: object,
) -> None:
    server.will(200, answer)
    call(client)
    (received,) = server.received
    assert (received.method, received.path, received.body) == (method, path, body)


def test_answers_come_back_as_documents(server: Server, client: SendoptClient) -> None:
    server.will(200, SILENT)
    assert client.decide({}) == Choice(send=False, decision_id="d-1", propensity=0.5, policy="learned")
    server.will(200, {**SILENT, "send": True, "channel": "push", "content": "c", "send_at": "2026-11-20T23:00:00Z"})
    choice = client.decide({})
    assert (choice.send, choice.channel, choice.content, choice.degraded) == (True, "push", "c", False)
    assert choice.send_at == datetime(2026, 11, 20, 23, tzinfo=UTC)
    server.will(202, {"status": "late"})
    assert client.feedback(EVENT) == "late"
    server.will(200, {"results": [{"status": "accepted"}, {"status": 404, "title": "Not found"}]})
    assert client.feedback_batch([EVENT, EVENT])[1]["status"] == 404
    server.will(200, {"models": [{"version": 2}, {"version": 1}]})
    assert [model["version"] for model in client.models("spring")] == [2, 1]


def test_one_connection_serves_many_calls(server: Server, client: SendoptClient) -> None:
    server.will(200, SILENT)
    for _ in range(5):
        client.decide({})
    assert len({received.connection for received in server.received}) == 1


def test_the_key_goes_along_only_when_there_is_one(server: Server, client: SendoptClient) -> None:
    server.will(200, SILENT)
    client.decide({})
    with SendoptClient(server.url, timeout_seconds=5.0, api_key="secret") as keyed:
        keyed.decide({})
    assert "Authorization" not in server.received[0].headers
    assert server.received[1].headers["Authorization"] == "Bearer secret"


def test_a_refusal_carries_its_status_and_problem(server: Server, client: SendoptClient) -> None:
    problem = {"title": "Impossible input", "status": 422, "detail": "contents.0: 'x' is not a content"}
    server.will(422, problem)
    with pytest.raises(ClientError, match=r"^POST /decide: 422: contents.0: 'x' is not a content$") as caught:
        client.decide({}, fallback=None)
    assert caught.value.status == 422
    assert caught.value.problem == problem


def test_a_page_of_something_in_between_is_an_error_too(server: Server, client: SendoptClient) -> None:
    server.status, server.answer = 502, b"<html>Bad gateway</html>"
    with pytest.raises(ClientError, match="GET /campaigns/spring: 502: <html>Bad gateway") as caught:
        client.get_campaign("spring")
    assert caught.value.problem is None
    server.status = 200
    with pytest.raises(ClientError, match="the answer is not a JSON object"):
        client.get_campaign("spring")


def test_a_redirect_is_not_followed(server: Server, client: SendoptClient) -> None:
    server.will(307, {"detail": "elsewhere"})
    with pytest.raises(ClientError, match="307"):
        client.decide({}, fallback=None)
    assert len(server.received) == 1


def test_a_batch_answered_with_too_few_results_is_refused(server: Server, client: SendoptClient) -> None:
    server.will(200, {"results": [{}]})
    with pytest.raises(ClientError, match="got 1 results for 2 items"):
        client.decide_batch([{}, {}])


def test_a_slow_decision_is_given_up_and_not_repeated(server: Server) -> None:
    server.delay_seconds = 0.5
    with SendoptClient(server.url, timeout_seconds=0.05) as hasty:
        with pytest.raises(ClientError, match="POST /decide: no answer") as caught:
            hasty.decide({}, fallback=None)
        assert caught.value.status is None
        time.sleep(0.1)
    assert len(server.received) == 1


def test_a_batch_may_take_longer_than_a_decision(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.will(200, {"results": []})
    server.delay_seconds = 0.2
    with SendoptClient(server.url, timeout_seconds=0.05) as hasty:
        assert hasty.decide_batch([]) == []
        monkeypatch.setattr(clients, "BULK_TIMEOUT_SECONDS", 0.05)
        with pytest.raises(ClientError, match="no answer"):
            hasty.decide_batch([])


def test_ready_is_a_question_with_two_answers(server: Server, client: SendoptClient) -> None:
    assert client.ready()
    server.will(503, {"detail": "migrate"})
    assert not client.ready()
    server.will(404, {"detail": "what is that"})
    with pytest.raises(ClientError, match="404"):
        client.ready()


def test_nobody_there_is_not_ready() -> None:
    with SendoptClient("http://127.0.0.1:1", timeout_seconds=1.0) as client:
        assert not client.ready()
        with pytest.raises(ClientError, match="no answer"):
            client.decide({}, fallback=None)
        assert client.decide({}).degraded


TONIGHT = Choice(send=True, channel="push", content="streak", send_at=datetime(2026, 1, 5, 20, tzinfo=UTC))


def test_a_failed_decision_is_the_callers_fallback_and_says_so(server: Server, client: SendoptClient) -> None:
    server.will(500, {"title": "Internal error"})
    choice = client.decide({}, fallback=TONIGHT)
    assert choice.degraded
    assert choice.failure is not None
    assert choice.failure.status == 500
    assert replace(choice, failure=None) == TONIGHT
    assert not TONIGHT.degraded
    assert client.decide({}).send is False


def test_what_failed_is_tried_again_under_the_same_key_with_the_same_body(
    server: Server, client: SendoptClient
) -> None:
    server.will(503, {"title": "Store unavailable"})
    client.decide({"campaign": "c"})
    client.decide({"campaign": "c"})
    client.decide({"campaign": "c"}, idempotency_key="my-own")
    keys = [received.headers["Idempotency-Key"] for received in server.received]
    assert len(set(keys[:3])) == len(set(keys[3:6])) == 1
    assert keys[0] != keys[3]
    assert keys[6:] == ["my-own"] * 3
    assert {str(received.body) for received in server.received} == {"{'campaign': 'c'}"}


def test_a_second_attempt_that_succeeds_is_no_fallback(server: Server, client: SendoptClient) -> None:
    server.will(200, SILENT)
    server.failures = 2
    choice = client.decide({})
    assert (choice.degraded, choice.decision_id) == (False, "d-1")
    assert len(server.received) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429])
def test_what_is_refused_for_what_it_says_is_not_tried_again(
    server: Server, client: SendoptClient, status: int
) -> None:
    server.will(status, {"title": "No"})
    assert client.decide({}).degraded
    assert client.feedback(EVENT) is None
    assert len(server.received) == 2


def test_feedback_that_did_not_arrive_says_so_or_raises_when_told_to(server: Server, client: SendoptClient) -> None:
    server.will(500, {})
    assert client.feedback(EVENT) is None
    with pytest.raises(ClientError, match="POST /feedback: 500"):
        client.feedback(EVENT, must_arrive=True)
    assert len(server.received) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"send": "yes"},
        {"decision_id": None},
        {"send": True},
        {"send": True, "channel": "push", "content": "c", "send_at": "soon"},
        {"send": True, "channel": "push", "content": "c", "send_at": "2026-11-20T23:00:00"},
        {"send": True, "channel": "push", "content": 7, "send_at": "2026-11-20T23:00:00Z"},
        {"send": True, "channel": "push", "content": "c", "send_at": "0001-01-01T00:00:00+23:59"},
        {"propensity": "high"},
        {"policy": None},
    ],
)
def test_an_answer_that_is_no_decision_is_not_taken_for_one(
    server: Server, client: SendoptClient, change: dict[str, object]
) -> None:
    server.will(200, {**SILENT, **change})
    assert client.decide({}, fallback=TONIGHT).degraded
    with pytest.raises(ClientError, match="does not fit the request"):
        client.decide({}, fallback=None)


def test_a_request_that_is_no_json_is_a_fallback_too(client: SendoptClient) -> None:
    choice = client.decide({"campaign": object()})
    assert choice.degraded
    assert "cannot be written as JSON" in str(choice.failure)


@pytest.mark.parametrize("key", ["send-日本", "two\nlines", "\ud800"])
def test_an_idempotency_key_that_cannot_be_sent_is_a_fallback_too(client: SendoptClient, key: str) -> None:
    assert client.decide({}, idempotency_key=key).degraded
    with pytest.raises(ClientError, match="POST /decide: no answer"):
        client.decide({}, idempotency_key=key, fallback=None)


def test_a_host_that_cannot_be_written_is_a_fallback_too() -> None:
    with SendoptClient("http://a..b") as nowhere:
        assert nowhere.decide({}).degraded
        assert nowhere.feedback({}) is None


@pytest.mark.parametrize("key", ["sendopt_secret\n", "sendopt_sécret"])
def test_an_api_key_that_cannot_be_sent_is_refused_at_once_and_not_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="api_key") as refused:
        SendoptClient("http://127.0.0.1:9", api_key=key)
    assert "cret" not in str(refused.value)


def test_an_answer_without_end_is_cut_off(
    server: Server, client: SendoptClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MOST_BYTES", 1_000)
    server.will(200, {**SILENT, "more": "x" * 1_000})
    assert "longer than 1000 bytes" in str(client.decide({}).failure)
