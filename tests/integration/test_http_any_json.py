"""Whatever JSON comes as a body, the answer is never a 5xx."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.lines import Log
from tests.support.wire import campaign_document, decide_document, feedback_document, with_value

ADDRESSES = {
    "POST /decide": decide_document(),
    "POST /decide/batch": {"requests": [decide_document(), decide_document()]},
    "POST /feedback": feedback_document("01JD0000000000000000000000"),
    "POST /feedback/batch": {"events": [feedback_document("01JD0000000000000000000000")]},
    "PUT /campaigns/autumn": campaign_document(id="autumn"),
    "POST /campaigns/autumn/pause": {},
    "POST /campaigns/autumn/resume": {},
}
HINTS = [
    "",
    "\0",
    "\ud800",
    "push",
    "streak",
    "2026-11-20T17:03:00Z",
    "9999-12-31T23:59:59-23:59",
    "UTC",
    "10:00",
    "|U x",
]

texts = st.sampled_from(HINTS) | st.text(st.characters(exclude_categories=()), max_size=8)
numbers = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 24, 10**15, 10**400, 5e-324, float("nan")])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def paths_of(document: Any, before: tuple[str, ...] = ()) -> list[str]:
    """Dotted paths of everything inside the document."""
    steps = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    found = []
    for step, inner in steps:
        path = (*before, str(step))
        found += [".".join(path), *paths_of(inner, path)]
    return found


@st.composite
def bodies(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """Any JSON value, or the good document with one or two values replaced by any other."""
    is_near_good = draw(st.integers(0, 4)) > 0
    document: Any = draw(values)
    if good and is_near_good:
        document = good
        for path in draw(st.lists(st.sampled_from(paths_of(good)), min_size=1, max_size=2)):
            if path in paths_of(document):
                document = with_value(document, path, draw(values))
    return json.dumps(document).encode()


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_json_body_makes_the_service_fail(shared_client: FlaskClient, address: str) -> None:
    method, _, path = address.partition(" ")

    # 7 x 30 examples: about 200 in all. No database of examples: a run depends on nothing but the seed.
    @seed(20261120)
    @settings(
        max_examples=30,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(body=bodies(ADDRESSES[address]))
    def check(body: bytes) -> None:
        response = shared_client.open(path, method=method, data=body)
        assert response.status_code < 500, body
        if response.status_code >= 400:
            assert response.content_type == "application/problem+json"
            assert json.loads(response.get_data())["status"] == response.status_code

    check()


HOSTILE = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1e-999",
    b"1" + b"0" * 400,
    b"0x10",
    b"01",
    b"[" * 21 + b"]" * 21,
    b"[" * 500 + b"]" * 500,
    b'{"a":' * 21 + b"1" + b"}" * 21,
    b'{"id": "a", "id": "b"}',
    b'{"__proto__": 1, "constructor": {}}',
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"-1",
    b"9223372036854775808",
    b'""',
    b'"\xff\xfe"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    rb'"\ud800"',
    rb'"\u0000"',
    b'"a\tb"',
    rb'"x\r\nSet-Cookie: a=b"',
    rb'"x\n{\"event\": \"forged\"}"',
    rb'"\u2028\u202e\u0007\u001b[31m"',
    b'"\'; DROP TABLE decisions; --"',
    b"\"' OR '1'='1\"",
    b'"1 UNION SELECT digest FROM api_keys"',
    b'"../../../../etc/passwd"',
    b'"file:///etc/passwd"',
    b'"${jndi:ldap://x}"',
    b'"{{7*7}}<script>alert(1)</script>"',
    b'"%s%n%x{0}"',
    b'"|U a:1 |A b:2"',
    b'"shared |U x"',
    b'"' + b"x" * 20_000 + b'"',
    b'["push", "push"]',
    b'{"start": "25:00", "end": "-1"}',
    b'"2026-13-45T99:99:99Z"',
]
MARK = "@hostile@"


def hostile_bodies() -> list[tuple[str, str, bytes]]:
    """Method, address and body: every value of every good document replaced by every hostile text."""
    return [
        (
            address.partition(" ")[0],
            address.partition(" ")[2],
            json.dumps(with_value(good, path, MARK)).encode().replace(f'"{MARK}"'.encode(), text),
        )
        for address, good in ADDRESSES.items()
        if "batch" not in address  # whose items go the same way
        for path in paths_of(good)
        for text in HOSTILE
    ]


def test_two_thousand_hostile_bodies_are_answered_without_a_failure(shared_client: FlaskClient, json_log: Log) -> None:
    bodies = hostile_bodies()
    assert len(bodies) >= 2_000
    statuses = set()
    for method, address, body in bodies:
        response = shared_client.open(address, method=method, data=body)
        statuses.add(response.status_code)
        assert response.status_code < 500, body[:500]
        assert "Set-Cookie" not in response.headers
        assert "\n" not in str(list(response.headers.values()))
        json.loads(response.get_data())
    assert {400, 404} <= statuses
    assert all(one["event"] != "forged" for one in json_log.events)


@pytest.mark.parametrize("depth", [21, 100, 500])
@pytest.mark.parametrize("address", ADDRESSES)
def test_json_deeper_than_any_document_is_refused_wherever_it_stands(
    shared_client: FlaskClient, address: str, depth: int
) -> None:
    method, _, path = address.partition(" ")
    for place in paths_of(ADDRESSES[address]):
        body = json.dumps(with_value(ADDRESSES[address], place, MARK)).replace(f'"{MARK}"', "[" * depth + "]" * depth)
        response = shared_client.open(path, method=method, data=body)
        refused = response.status_code == 400 or '"status":400' in response.get_data(as_text=True)
        assert refused, place


def test_a_service_that_fails_on_some_json_is_found_out(
    shared_client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.decisions.parse_decide", lambda body: 1 // 0)
    with pytest.raises(AssertionError):
        test_no_json_body_makes_the_service_fail(shared_client, "POST /decide")
