"""Bad input: answered as the contract says, nothing stored, never a 5xx. Every case runs on both databases."""

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient

from bandit.campaign.fields import validated_text
from tests.conftest import DATABASES
from tests.support.databases import PostgresDatabases, sqlite_file_url
from tests.support.wire import (
    DECIDE_TEXT,
    campaign_document,
    decide_document,
    decided,
    feedback_document,
    json_of,
    problem_of,
    put_campaign,
    row_counts,
    running,
    with_value,
    without,
)

DECISION = "01JD0000000000000000000000"  # stands for the id of a decision that exists


class Case(NamedTuple):
    """A body, the status that it must be answered with, and the fields that the answer must name."""

    name: str
    body: bytes
    status: int
    fields: tuple[str, ...]


class Crowded(NamedTuple):
    """A client of a database with a campaign, a decision and feedback, and its rows."""

    client: FlaskClient
    decision_id: str
    rows: dict[str, int]


@pytest.fixture(scope="module", params=DATABASES)
def crowded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> Iterator[Crowded]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            path = shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("crowded") / "sendopt.db")
            url = sqlite_file_url(path)
        else:
            databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
            url = stack.enter_context(databases.temporary(request.getfixturevalue("postgres_template")))
        client = stack.enter_context(running(url))
        put_campaign(client)
        decision_id = decided(client)["decision_id"]
        json_of(client.post("/feedback", json=feedback_document(decision_id)), 202)
        yield Crowded(client, decision_id, row_counts(client))


def check(crowded: Crowded, method: str, address: str, case: Case) -> None:
    body = case.body.replace(DECISION.encode(), crowded.decision_id.encode())
    problem_of(crowded.client.open(address, method=method, data=body), case.status, *case.fields)
    assert row_counts(crowded.client) == crowded.rows


def text_of(document: Any) -> bytes:
    """JSON text; a lone surrogate is written as its escape, NaN as NaN."""
    return json.dumps(document).encode()


def wrong(document: dict[str, Any], path: str, value: Any, field: str | None = None, status: int = 400) -> Case:
    shown = repr(value)
    name = f"{path}={shown if len(shown) < 40 else shown[:37] + '...'}"
    return Case(name, text_of(with_value(document, path, value)), status, (path if field is None else field,))


def wrongs(document: dict[str, Any], path: str, values: Sequence[Any]) -> list[Case]:
    return [wrong(document, path, value) for value in values]


def raw(document: dict[str, Any], path: str, text: bytes, field: str | None = None) -> Case:
    """The value at the path replaced by JSON text that `json.dumps` would not write."""
    body = text_of(with_value(document, path, "@")).replace(b'"@"', text)
    shown = text if len(text) < 40 else text[:37] + b"..."
    return Case(f"{path}={shown!r}", body, 400, (path if field is None else field,))


def bad_bodies(good: bytes) -> list[Case]:
    """What is no JSON document, or not one that could be read."""
    first_key = good[good.index(b'"') : good.index(b":") + 1]
    bodies = {
        "malformed": good.replace(b":", b"", 1),
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "blank": b" \n",
        "two documents": good + good,
        "trailing comma": good.rstrip()[:-1] + b",}",
        "single quotes": good.replace(b'"', b"'"),
        "invalid utf-8": good.replace(b'":', b'\xff":', 1),
        "overlong utf-8": good.replace(b'":', b'\xc0\xaf":', 1),
        "utf-16": good.decode().encode("utf-16"),
        "utf-32": good.decode().encode("utf-32"),
        "byte order mark": b"\xef\xbb\xbf" + good,
        "null byte": good + b"\0",
        "deep lists": b"[" * 100_000 + b"]" * 100_000,
        "deep lists, open": b"[" * 100_000,
        "deep objects": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        "null": b"null",
        "a list": b"[]",
        "a number": b"1",
        "a string": b'"x"',
        "a NaN under a key that comes again": good.replace(first_key, first_key + b"NaN, " + first_key, 1),
    }
    return [Case(name, body, 400, ("body",)) for name, body in bodies.items()]


def too_large(good: bytes) -> list[Case]:
    return [
        Case("300 KB", good.rstrip() + b" " * 300_000, 413, ()),
        Case("1 MB", good.rstrip() + b" " * 1_000_000, 413, ()),
        Case("1 MB of x", b"x" * 1_000_000, 413, ()),
    ]


def bad_times(document: dict[str, Any], path: str) -> list[Case]:
    texts = [
        "2026-11-20T17:03:00",
        "2026-11-20",
        "2026-11-20T17:03Z",
        "2026-11-20 17:03:00Z",
        "2026-11-20T17:03:00 Z",
        "2026-11-20T17:03:00+99:00",
        "2026-11-20T17:03:00+24:00",
        "2026-11-20T17:03:00+0100",
        "2026-11-20T24:00:00Z",
        "2026-11-20T17:03:61Z",
        "2026-02-30T17:03:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "10000-01-01T00:00:00Z",
        "-2026-11-20T17:03:00Z",
        "1763658180",
        "1763658180000",
        "now",
        "",
        "2026-11-20T17:03:00Z\n",
        "２０２６-11-20T17:03:00Z",
        "\0",
    ]
    return [wrong(document, path, value) for value in (*texts, 1763658180, 1.5, True, [], {})]


def bad_names(document: dict[str, Any], path: str, field: str | None = None) -> list[Case]:
    """Values that are no identifier."""
    values = ["", "x" * 256, "a\0b", "a\nb", "\x7f", "\x1b[31m", 1, 1.5, True, ["a"], {}]
    cases = [wrong(document, path, value, field) for value in values]
    return [*cases, raw(document, path, rb'"\ud800"', "body"), raw(document, path, rb'"a\udc00\ud800"', "body")]


def bad_features(document: dict[str, Any], path: str) -> list[Case]:
    feature, of_none = f"{path}.f", with_value(document, path, {})
    numbers = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e16", b"-1e16", b"1" + b"0" * 400]
    return [
        *(raw(of_none, feature, number) for number in numbers),
        raw(of_none, feature, b"1" + b"0" * 5_000, "body"),
        raw(of_none, feature, b"0x10", "body"),
        raw(of_none, feature, b"01", "body"),
        raw(of_none, feature, b"+1", "body"),
        raw(of_none, feature, rb'"\ud800"', "body"),
        *wrongs(of_none, feature, [None, {}, {"a": 1}, [None], [[1]], [{}], [True], [1, "a"], ["a", 1], [1, True]]),
        *wrongs(of_none, feature, ["a\0b", ["a\0b"], "x" * 1_025, ["x" * 1_025], [0.5] * 129, ["a"] * 201]),
        wrong(of_none, feature, [1.0, float("nan")]),
        *wrongs(document, path, [[], "a", 1, True, [["a", 1]]]),
        wrong(document, path, {f"f{number}": 1 for number in range(201)}),
        Case(f"{path}: no name", text_of(with_value(document, path, {"": 1})), 400, (f"{path}.",)),
        Case(f"{path}: long name", text_of(with_value(document, path, {"n" * 256: 1})), 400, (f"{path}.{'n' * 256}",)),
        Case(f"{path}: NUL in a name", text_of(with_value(document, path, {"a\0": 1})), 400, (f"{path}.a\0",)),
        Case(f"{path}: surrogate in a name", text_of(with_value(document, path, {"\ud800": 1})), 400, ("body",)),
        Case(f"{path}: a name like a tag", text_of(with_value(document, path, {"<b>": None})), 400, (f"{path}.<b>",)),
    ]


def unknown_fields(document: dict[str, Any], places: list[str]) -> list[Case]:
    return [wrong(document, f"{place}.surprise".lstrip("."), 1) for place in places]


def missing_and_null(document: dict[str, Any], paths: list[str]) -> list[Case]:
    missing = [Case(f"no {path}", text_of(without(document, path)), 400, (path,)) for path in paths]
    return [*missing, *(wrong(document, path, None) for path in paths)]


def bad_decides() -> list[Case]:
    good = decide_document()
    hours = ["", "9:00", "24:00", "09:60", "09:00:00", "0900", "09:00Z", "٠9:00", 9, 9.5, None, True, [], {}]
    zones = ["", "Mars/Base", "utc", "UTC+1", "../UTC", "/etc/passwd", "America/New_York\n", "x" * 10_000, "\0"]
    return [
        *bad_bodies(DECIDE_TEXT.encode()),
        *too_large(DECIDE_TEXT.encode()),
        *missing_and_null(good, ["campaign", "user", "user.id", "user.timezone", "user.channels"]),
        *unknown_fields(good, ["", "user", "user.quiet_hours", "contents.1"]),
        *bad_names(good, "campaign"),
        *bad_names(good, "user.id"),
        *bad_names(good, "user.channels.0"),
        *bad_names(good, "contents.1.id"),
        *wrongs(good, "contents.0", ["", "x" * 256, "a\0b", 1, None, [], True]),
        *wrongs(good, "user", ["u-123", [], 1]),
        *wrongs(good, "user.timezone", [*zones, 1, ["UTC"], {}]),
        *wrongs(good, "user.channels", ["push", {}, 1, True, ["c"] * 51]),
        *wrongs(good, "user.quiet_hours", ["21:00-09:30", [], 1, True]),
        *wrongs(good, "user.quiet_hours.start", hours),
        *wrongs(good, "user.quiet_hours.end", [hour for hour in hours if hour != "24:00"]),
        wrong(good, "user.quiet_hours", {"start": "09:00", "end": "09:00"}),
        *missing_and_null(good, ["user.quiet_hours.start", "contents.1.id"]),
        *bad_features(good, "user.features"),
        *bad_features(good, "contents.1.features"),
        *wrongs(good, "contents", ["streak", {}, 1, True, ["streak"] * 2_001]),
        *wrongs(good, "contents.1.channels", ["push", [], {}, 1]),
        *wrongs(good, "contents.1.repeat_after_hours", [0, -1, "1", True, 1e9, []]),
        *bad_times(good, "contents.1.expires_at"),
        *bad_times(good, "now"),
        wrong(good, "campaign", "nope", field="", status=404)._replace(fields=()),
        wrong(good, "contents", ["streak", "nope"], "contents.1", 422),
        wrong(good, "contents", ["streak", "streak"], "contents.1", 422),
        wrong(good, "contents", ["streak", {"id": "streak"}], "contents.1", 422),
        wrong(good, "contents.1.channels", ["push", "fax"], status=422),
        wrong(good, "user.channels", ["push", "fax"], status=422),
        wrong(good, "contents", [{"id": f"c{number}"} for number in range(201)], status=422),
    ]


def bad_feedback() -> list[Case]:
    good = feedback_document(DECISION)
    return [
        *bad_bodies(text_of(good)),
        *too_large(text_of(good)),
        *missing_and_null(good, ["decision_id", "event", "occurred_at"]),
        *unknown_fields(good, [""]),
        *bad_names(good, "decision_id"),
        *bad_names(good, "event"),
        *bad_names(good, "event_id"),
        *bad_times(good, "occurred_at"),
        *wrongs(good, "value", ["1", "", True, [], {}, [1], "NaN"]),
        *(raw(good, "value", number) for number in (b"NaN", b"-Infinity", b"1e999", b"1e16", b"1" + b"0" * 400)),
        raw(good, "value", b"1" + b"0" * 5_000, "body"),
        wrong(good, "value", 5.1, status=422),
        wrong(good, "event", "surprise", status=422),
        wrong(good, "occurred_at", "2026-11-20T17:02:59Z", status=422),
        wrong(good, "decision_id", "nope", status=404)._replace(fields=()),
    ]


def bad_campaigns() -> list[Case]:
    good = campaign_document()
    return [
        *bad_bodies(text_of(good)),
        *too_large(text_of(good)),
        *missing_and_null(good, ["channels", "reward", "reward.bounds", "reward.window_hours", "contents.0.id"]),
        *unknown_fields(
            good,
            [
                "",
                "channels.push",
                "channels.push.cap",
                "caps",
                "contents.0",
                "send_times",
                "send_times.quiet_hours",
                "reward",
                "policy",
                "policy.baseline",
            ],
        ),
        wrong(good, "policy.vw.surprise", 1),
        wrong(
            good, "policy.vw", {"explorer": "squarecb", "--final_regressor": "/tmp/x"}, "policy.vw.--final_regressor"
        ),
        wrong(good, "horizon_hours", "24"),
        wrong(good, "channels.push.cap.count", 2.5),
        wrong(good, "reward.events", {"clicked": 9.0}, "reward.events.clicked"),
        raw(good, "reward.default", b"1e999", "body"),
        Case("id", text_of({**good, "id": "other"}), 400, ("id",)),
    ]


def batch_of(field: str, cases: list[Case]) -> bytes:
    return b'{"%b": [%b]}' % (field.encode(), b", ".join(case.body for case in cases))


def readable(cases: list[Case]) -> list[Case]:
    """Those that can be an item of a batch: JSON that orjson reads, of a size that leaves room for others."""
    unreadable = ("body",), ()
    plain = [case for case in cases if case.fields not in unreadable or case.status == 404]
    return [
        case for case in plain if not any(word in case.body for word in (b"NaN", b"Infinity", b"1e999", b"0" * 400))
    ]


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name.encode("ascii", "replace").decode() for case in cases])


@named(bad_decides())
def test_a_bad_decide_is_refused_and_leaves_nothing(crowded: Crowded, case: Case) -> None:
    check(crowded, "POST", "/decide", case)


@named(bad_feedback())
def test_bad_feedback_is_refused_and_leaves_nothing(crowded: Crowded, case: Case) -> None:
    check(crowded, "POST", "/feedback", case)


@named(bad_campaigns())
def test_a_bad_campaign_is_refused_and_leaves_nothing(crowded: Crowded, case: Case) -> None:
    check(crowded, "PUT", "/campaigns/reengage", case)


@pytest.mark.parametrize(
    ("address", "field", "cases"),
    [("/decide/batch", "requests", readable(bad_decides())), ("/feedback/batch", "events", readable(bad_feedback()))],
    ids=["decide", "feedback"],
)
def test_in_a_batch_each_bad_item_gets_the_same_answer(
    crowded: Crowded, address: str, field: str, cases: list[Case]
) -> None:
    assert len(cases) > 50
    body = batch_of(field, cases).replace(DECISION.encode(), crowded.decision_id.encode())
    results = json_of(crowded.client.post(address, data=body))["results"]
    answered = [(one["status"], {error["field"] for error in one["errors"]}) for one in results]
    assert answered == [(case.status, set(case.fields)) for case in cases]
    assert row_counts(crowded.client) == crowded.rows


@pytest.mark.parametrize("padding", [256 * 1024, 1_000_000])
def test_a_body_of_unannounced_length_is_not_cut_off_but_refused(crowded: Crowded, padding: int) -> None:
    body = DECIDE_TEXT.encode() + b" " * padding
    response = crowded.client.post(
        "/decide", input_stream=io.BytesIO(body), environ_overrides={"wsgi.input_terminated": True}
    )
    problem_of(response, 413)
    assert row_counts(crowded.client) == crowded.rows


def test_a_good_request_does_leave_rows(client: FlaskClient) -> None:
    before = row_counts(client)
    decided(client)
    assert row_counts(client) != before


@pytest.mark.parametrize(
    "number", [b"-0", b"-0.0", b"0", b"1e15", b"-1e15", b"1E-400", b"5e-324", b"1.0000000000000001"]
)
def test_numbers_at_the_edge_are_taken(client: FlaskClient, number: bytes) -> None:
    body = text_of(with_value(decide_document(), "user.features.days_since_visit", "@")).replace(b'"@"', number)
    receipt = json_of(client.get(f"/decisions/{json_of(client.post('/decide', data=body))['decision_id']}"))
    assert sum(one["probability"] for one in receipt["actions"]) == pytest.approx(1, abs=1e-9)
    assert receipt["policy"] != "fallback"


@pytest.mark.parametrize(
    "now",
    ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00+23:59", "2199-12-31T23:59:59.999999Z", "2199-12-31T23:59:59-23:59"],
)
def test_instants_at_the_edge_of_the_calendar_are_taken(any_client: FlaskClient, now: str) -> None:
    answer = decided(any_client, decide_document(now=now, contents=[{"id": "c", "expires_at": now}, {"id": "d"}]))
    assert datetime.fromisoformat(answer["decided_at"]) == datetime.fromisoformat(now)
    event = feedback_document(answer["decision_id"], occurred_at=now)
    assert json_of(any_client.post("/feedback", json=event), 202) == {"status": "accepted"}
    assert json_of(any_client.get(f"/decisions/{answer['decision_id']}"))["decided_at"] == answer["decided_at"]


@pytest.mark.parametrize(
    "features",
    [
        {},
        {"\u2028": "\u2029", "|": "|", " :": "a:1 |U x", "shared": "shared |", "💥": ["💥"]},
        {"e": [0.5] * 128, "t": ["x" * 1_024] * 100},
        {"e": [], "f": [0], "g": [-0.0, 1e15]},
        {f"f{number}": "x" * 500 for number in range(200)},
    ],
    ids=["none", "hostile", "long", "lists", "many"],
)
def test_features_at_the_edge_are_taken_and_change_no_number_of_actions(
    any_client: FlaskClient, features: dict[str, Any]
) -> None:
    usual = len(json_of(any_client.get(f"/decisions/{decided(any_client)['decision_id']}"))["actions"])
    request = with_value(decide_document(), "user", {**decide_document()["user"], "id": "u-7", "features": features})
    receipt = json_of(any_client.get(f"/decisions/{decided(any_client, request)['decision_id']}"))
    assert receipt["request"] == request
    assert len(receipt["actions"]) == usual


def test_of_a_key_that_comes_twice_the_last_counts(client: FlaskClient) -> None:
    body = DECIDE_TEXT.replace('"campaign": "reengage"', '"campaign": "nope", "campaign": "reengage"')
    answer = json_of(client.post("/decide", data=body))
    assert json_of(client.get(f"/decisions/{answer['decision_id']}"))["request"] == decide_document()


def test_read_by_the_validator_alone_a_hidden_nan_would_spoil_the_receipt(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.edge.payloads._document", validated_text)
    answer = json_of(client.post("/decide", data='{"campaign": NaN, ' + DECIDE_TEXT.lstrip()[1:]))
    assert client.get(f"/decisions/{answer['decision_id']}").status_code == 500
