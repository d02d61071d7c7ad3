"""Keys: which route asks for which scope, and what a caller without it is answered."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select
from werkzeug.test import TestResponse

from api.app import serving
from api.edge import auth
from api.edge.auth import CACHE_SECONDS, Keyring, Scope, issue, revoke
from bandit.errors import NotFound
from bandit.store.sql.database import Store
from bandit.store.sql.schema import api_keys, feedback, metadata
from tests.support.lines import Log
from tests.support.wire import (
    DECIDE_TEXT,
    decide_about,
    feedback_document,
    json_of,
    problem_of,
    put_campaign,
    running,
)

NOW = datetime(2026, 11, 20, 17, tzinfo=UTC)
PUBLIC = "no key"
# By hand: a route that is not here, or that asks for something else, is a failure.
ROUTES = {
    ("POST", "/decide"): Scope.DECIDE,
    ("POST", "/decide/batch"): Scope.DECIDE,
    ("POST", "/feedback"): Scope.FEEDBACK,
    ("POST", "/feedback/batch"): Scope.FEEDBACK,
    ("GET", "/decisions"): Scope.READ,
    ("GET", "/decisions/<decision_id>"): Scope.READ,
    ("GET", "/decisions/<decision_id>/explanation"): Scope.READ,
    ("GET", "/campaigns"): Scope.READ,
    ("GET", "/campaigns/<campaign_id>"): Scope.READ,
    ("PUT", "/campaigns/<campaign_id>"): Scope.ADMIN,
    ("POST", "/campaigns/<campaign_id>/pause"): Scope.ADMIN,
    ("POST", "/campaigns/<campaign_id>/resume"): Scope.ADMIN,
    ("GET", "/campaigns/<campaign_id>/models"): Scope.READ,
    ("POST", "/campaigns/<campaign_id>/models/<int:version>/promote"): Scope.ADMIN,
    ("POST", "/campaigns/<campaign_id>/rollback"): Scope.ADMIN,
    ("GET", "/campaigns/<campaign_id>/quarantine"): Scope.READ,
    ("DELETE", "/users/<text:user_id>"): Scope.ADMIN,
    ("GET", "/campaigns/<campaign_id>/insights"): Scope.READ,
    ("GET", "/metrics"): Scope.READ,
    ("GET", "/"): PUBLIC,
    ("GET", "/pages/<name>"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
}
CALLERS = [None, "unknown", *Scope]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def store_of(client: FlaskClient) -> Store:
    return serving(client.application).service.store


def new_key(client: FlaskClient, *scopes: Scope, per_second: int = 1_000) -> dict[str, str]:
    """The header of a new key."""
    return bearer(issue(store_of(client), scopes, per_second=per_second, now=NOW).secret)


@pytest.fixture
def keyed(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """A client with the contract's campaign of a service that reads its keys again for each request."""
    monkeypatch.setattr("api.app.CACHE_SECONDS", 0.0)
    with running(sqlite_url) as client:
        put_campaign(client)
        yield client


def methods_of(client: FlaskClient) -> set[tuple[str, str]]:
    """Method and rule of everything that the application answers, but for what Flask adds."""
    rules = client.application.url_map.iter_rules()
    return {(method, rule.rule) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}


def address_of(rule: str) -> str:
    names = {"<campaign_id>": "reengage", "<decision_id>": "x", "<text:user_id>": "u", "<int:version>": "1"}
    return "/".join(names.get(step, step) for step in rule.split("/"))


def test_every_route_asks_every_caller_for_the_scope_of_the_contract(keyed: FlaskClient) -> None:
    assert methods_of(keyed) == ROUTES.keys()
    headers = {scope: new_key(keyed, scope) for scope in Scope}
    cells = 0
    for (method, rule), needed in ROUTES.items():
        for caller in CALLERS:
            sent = headers[caller] if isinstance(caller, Scope) else bearer("sendopt_x") if caller else {}
            for verb in {method, "HEAD" if method == "GET" else method}:
                check_cell(keyed.open(address_of(rule), method=verb, headers=sent), needed, caller)
                cells += 1
        if needed != PUBLIC:
            problem_of(keyed.options(address_of(rule)), 401)
    assert cells > 6 * len(ROUTES)


def check_cell(response: TestResponse, needed: str, caller: str | None) -> None:
    if needed == PUBLIC or caller == needed:
        assert response.status_code not in (401, 403), response.request.path
    elif isinstance(caller, Scope):
        assert response.status_code == 403, response.request.path
    else:
        assert response.status_code == 401, response.request.path
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_cell_that_lets_the_wrong_key_through_is_found_out(
    keyed: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth.Guard, "_check_key", lambda *_: None)
    with pytest.raises(AssertionError):
        test_every_route_asks_every_caller_for_the_scope_of_the_contract(keyed)


def test_a_route_that_declares_nothing_answers_nobody(empty_client: FlaskClient) -> None:
    empty_client.application.add_url_rule("/forgotten", view_func=lambda: "open")
    assert "no scope" in problem_of(empty_client.get("/forgotten"), 403)["detail"]
    problem_of(empty_client.get("/forgotten", headers=new_key(empty_client, *Scope)), 403)


def test_the_refusals_say_what_is_wrong(keyed: FlaskClient) -> None:
    header = new_key(keyed, Scope.READ, Scope.FEEDBACK)
    assert "Bearer" in problem_of(keyed.post("/decide", data=DECIDE_TEXT), 401)["detail"]
    lacking = problem_of(keyed.post("/decide", data=DECIDE_TEXT, headers=header), 403)["detail"]
    assert "'decide'" in lacking
    assert "feedback, read" in lacking
    problem_of(keyed.get("/nope"), 404)
    problem_of(keyed.get("/decide"), 405)


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic abc", "Bearer \xff\xfe", "Bearer " + "x" * 10_000, "bearer"]
)
def test_a_malformed_authorization_is_no_key(keyed: FlaskClient, value: str) -> None:
    new_key(keyed, *Scope)
    problem_of(keyed.get("/campaigns", headers={"Authorization": value}), 401)


def test_a_key_works_whatever_the_case_of_the_word_before_it(keyed: FlaskClient) -> None:
    header = {"Authorization": new_key(keyed, Scope.READ)["Authorization"].replace("Bearer", "bearer")}
    json_of(keyed.get("/campaigns", headers=header))


def test_without_a_key_in_the_store_only_a_loopback_address_is_answered(client: FlaskClient) -> None:
    json_of(client.post("/decide", data=DECIDE_TEXT))
    for address in ("192.0.2.1", "::ffff:192.0.2.1", "10.0.0.1", "", "nonsense"):
        response = client.post("/decide", data=DECIDE_TEXT, environ_overrides={"REMOTE_ADDR": address})
        assert "sendopt keys create" in problem_of(response, 401)["detail"]
    json_of(client.get("/campaigns", environ_overrides={"REMOTE_ADDR": "::1"}))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:8000"},
        {"Host": "127.0.0.1.example"},
        {"Host": "[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_without_a_key_in_the_store_no_other_site_is_answered(client: FlaskClient, headers: dict[str, str]) -> None:
    assert "without keys" in problem_of(client.get("/campaigns", headers=headers), 401)["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_without_a_key_in_the_store_this_host_is_answered_by_each_of_its_names(client: FlaskClient, host: str) -> None:
    json_of(client.get("/campaigns", headers={"Host": host, "Sec-Fetch-Site": "same-origin"}))


def test_with_the_last_key_revoked_the_service_does_not_stand_open_again(keyed: FlaskClient) -> None:
    key = issue(store_of(keyed), [Scope.READ], per_second=10, now=NOW)
    json_of(keyed.get("/campaigns", headers=bearer(key.secret)))
    revoke(store_of(keyed), key.id, NOW)
    problem_of(keyed.get("/campaigns"), 401)
    problem_of(keyed.get("/campaigns", headers=bearer(key.secret)), 401)


def test_revoking_a_key_that_does_not_exist_is_said(store: Store) -> None:
    with pytest.raises(NotFound, match="unknown key 'k-1'"):
        revoke(store, "k-1", NOW)


def test_feedback_says_under_which_key_it_came(keyed: FlaskClient) -> None:
    store = store_of(keyed)
    decision_id = json_of(keyed.post("/decide", data=DECIDE_TEXT))["decision_id"]
    event = feedback_document(decision_id, event_id="before there was a key")
    json_of(keyed.post("/feedback", json=event), 202)
    sent = [issue(store, [Scope.FEEDBACK], per_second=10, now=NOW) for _ in range(2)]
    one = feedback_document(decision_id, event_id="single")
    json_of(keyed.post("/feedback", json=one, headers=bearer(sent[0].secret)), 202)
    batch = {"events": [feedback_document(decision_id, event_id="batch")]}
    json_of(keyed.post("/feedback/batch", json=batch, headers=bearer(sent[1].secret)))
    with store.read() as connection:
        rows = connection.execute(select(feedback.c.event_id, feedback.c.source)).all()
    sources = {row.event_id: row.source for row in rows}
    assert sources == {"before there was a key": None, "single": sent[0].id, "batch": sent[1].id}


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_revoked_key_is_refused_within_two_seconds_by_every_process(store: Store) -> None:
    now = Time()
    rings = [Keyring(store, seconds=CACHE_SECONDS, now=now) for _ in range(3)]
    key = issue(store, [Scope.READ], per_second=10, now=NOW)
    assert all(ring.key_of(key.secret) for ring in rings)
    revoke(store, key.id, NOW)
    now.seconds += 2.0  # of the five that are promised
    assert not any(ring.key_of(key.secret) for ring in rings)


def test_a_keyring_that_never_looks_again_would_let_a_revoked_key_in(store: Store) -> None:
    now = Time()
    ring = Keyring(store, seconds=1e9, now=now)
    key = issue(store, [Scope.READ], per_second=10, now=NOW)
    assert ring.key_of(key.secret)
    revoke(store, key.id, NOW)
    now.seconds += 5.0
    assert ring.key_of(key.secret)


def test_most_requests_cost_no_query_for_their_key(store: Store) -> None:
    now, queries = Time(), 0
    ring = Keyring(store, seconds=CACHE_SECONDS, now=now)

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal queries
        queries += "api_keys" in statement

    event.listen(store.engine, "before_cursor_execute", count)
    for _ in range(1_000):
        assert ring.key_of("sendopt_x") is None
        now.seconds += 0.003
    event.remove(store.engine, "before_cursor_execute", count)
    assert queries == 2  # in three seconds


def test_a_key_over_its_limit_waits_and_the_others_do_not(keyed: FlaskClient) -> None:
    eager, other = new_key(keyed, Scope.READ, per_second=3), new_key(keyed, Scope.READ, per_second=3)
    answers = [keyed.get("/campaigns", headers=eager) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert "more than 3 requests a second" in problem_of(answers[-1], 429)["detail"]
    assert answers[-1].headers["Retry-After"] == "1"
    json_of(keyed.get("/campaigns", headers=other))


def everything(store: Store) -> str:
    """Every value of every table as a dump would write it."""
    with store.read() as connection:
        rows = [tuple(row) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    return "\n".join(repr(row) for row in rows)


def session_with_keys(client: FlaskClient, number: int) -> list[str]:
    """The secrets of new keys after requests with each, good and bad."""
    store = store_of(client)
    issued = [issue(store, [Scope.DECIDE, Scope.FEEDBACK], per_second=1_000, now=NOW) for _ in range(number)]
    for place, key in enumerate(issued):
        header = bearer(key.secret)
        if place % 50 == 0:
            answer = client.post("/decide", json=decide_about(f"u-{place}"), headers=header)
            client.post("/feedback", json=feedback_document(json_of(answer)["decision_id"]), headers=header)
        client.post("/decide", data=b"{", headers=header)
        client.get("/campaigns", headers=header)
        client.post("/decide", data=b"{", headers={"Authorization": key.secret})
        if place % 100 == 0:
            revoke(store, key.id, NOW)
    return [key.secret for key in issued]


def test_neither_the_database_nor_the_logs_hold_any_of_a_thousand_keys(
    database_url: str, json_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(database_url) as client:
        put_campaign(client)
        monkeypatch.setattr("api.routes.decisions.parse_decide", fail_on_brace(client))
        issued = session_with_keys(client, 1_000)
        kept = everything(store_of(client)) + json_log.text
    assert "unexpected_error" in kept
    assert len(set(issued)) == 1_000
    assert not [secret for secret in issued if secret in kept or secret.removeprefix("sendopt_") in kept]


def fail_on_brace(client: FlaskClient) -> Any:
    """A parser that fails as a bug would, for the body "{"; so that the log has something to say."""
    from api.edge.payloads import parse_decide

    def parse(body: bytes) -> Any:
        return parse_decide(body) if body != b"{" else 1 // 0

    return parse


def test_a_store_that_kept_secrets_would_be_found_out(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_digest", lambda secret: secret.encode())
    with running(sqlite_url) as client:
        put_campaign(client)
        issued = session_with_keys(client, 3)
        kept = everything(store_of(client))
    assert all(secret in kept for secret in issued)


def test_a_stored_key_is_the_sha256_of_its_secret(store: Store) -> None:
    from hashlib import sha256

    key = issue(store, [Scope.ADMIN, Scope.READ], per_second=7, now=NOW)
    with store.read() as connection:
        row = connection.execute(select(api_keys)).one()
    assert row.digest == sha256(key.secret.encode()).digest()
    assert (row.id, row.scopes, row.per_second, row.created_at, row.revoked_at) == (key.id, "admin read", 7, NOW, None)
    assert len(key.secret.removeprefix("sendopt_")) == 43  # 256 bits at 6 bits a character
