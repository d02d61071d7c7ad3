"""The wire as the contract shows it: its examples to the letter, and how answers are checked."""

import json
import random
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Literal

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from api.app import create_app, serving
from bandit.settings import Settings
from bandit.store.sql.schema import metadata

CAMPAIGN_TOML = """\
id = "reengage"
horizon_hours = 24            # how far ahead a send may be placed
mode = "live"                 # or "shadow": serve `baseline`, log and learn
consent = "required"          # or "assumed": a request without channels may use all
[channels.push]
cost = 0.01                   # the price of one send, in reward units
cap = {count = 2, hours = 24} # at most 2 sends on this channel in any rolling 24 h
[channels.email]
cost = 0.005
cap = {count = 3, hours = 168}
[caps]                        # over all channels
count = 3
hours = 24
min_gap_hours = 4
[[contents]]
id = "streak"
features = {kind = "habit"}
channels = ["push"]           # optional; default: every channel
repeat_after_hours = 72       # optional: not again to the same user sooner
expires_at = "2027-01-01T00:00:00Z"
[send_times]
local_hours = [8, 12, 18, 20] # candidate local hours; plus "now" when allow_now is true
allow_now = true
quiet_hours = {start = "22:00", end = "08:00"}   # local time; start > end crosses midnight; or "none"
[reward]
window_hours = 48             # from decided_at, the same for every action; at least horizon_hours
learn_after_hours = 26        # optional: learn from what is known then; default: the window
default = 0.0
bounds = [-5.0, 5.0]
events = {opened = 0.1, clicked = 1.0, converted = 3.0, unsubscribed = -5.0}
[policy]
floor = 0.02                  # probability spread evenly over all eligible actions
uniform_holdout = 0.05        # share of users always decided uniformly
no_send_holdout = 0.01        # share of users never sent anything: measures the lift of sending
baseline = {channel = "push", content = "streak", local_hour = 18}
learner = "lines"             # what learns; "events": models of events, decided on by their value
vw = {explorer = "squarecb"}  # explorer and its parameters, from an allow-list
"""

DECIDE_TEXT = """\
{
  "campaign": "reengage",
  "user": {
    "id": "u-123",
    "timezone": "America/New_York",
    "channels": ["push", "email"],
    "quiet_hours": {"start": "21:00", "end": "09:30"},
    "features": {"country": "US", "days_since_visit": 3.0, "premium": false, "topics": ["art", "food"]}
  },
  "contents": ["streak", {"id": "pin-9", "features": {"topic": "food", "fresh_hours": 5}}],
  "now": "2026-11-20T17:03:00Z"
}
"""

FEEDBACK_TEXT = (
    '{"decision_id": "01JD...", "event": "clicked", "occurred_at": "2026-11-20T23:11:09Z", "value": 1.0, '
    '"event_id": "e-77"}'
)

DECIDED_AT = datetime(2026, 11, 20, 17, 3, tzinfo=UTC)


def campaign_document(**changes: Any) -> dict[str, Any]:
    """The contract's campaign as JSON would bring it; `changes` replace top-level keys."""
    return {**tomllib.loads(CAMPAIGN_TOML), **changes}


def decide_document(**changes: Any) -> dict[str, Any]:
    """The contract's request; `changes` replace top-level keys."""
    return {**json.loads(DECIDE_TEXT), **changes}


def decide_about(user: str, **changes: Any) -> dict[str, Any]:
    """The contract's request about another user."""
    return with_value(decide_document(**changes), "user.id", user)


def feedback_document(decision_id: str, **changes: Any) -> dict[str, Any]:
    """The contract's feedback on a decision; `changes` replace keys."""
    return {**json.loads(FEEDBACK_TEXT), "decision_id": decision_id, **changes}


def with_value(document: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at a dotted path; steps into lists are numbers."""
    changed = deepcopy(dict(document))
    parent, last = _parent(changed, path)
    parent[last] = value
    return changed


def without(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A copy that lacks what is at a dotted path."""
    changed = deepcopy(dict(document))
    parent, last = _parent(changed, path)
    del parent[last]
    return changed


def _parent(document: Any, path: str) -> tuple[Any, Any]:
    *steps, last = path.split(".")
    for step in steps:
        document = document[int(step) if isinstance(document, list) else step]
    return document, int(last) if isinstance(document, list) else last


def seeded_app(settings: Settings, seed: int = 0) -> Flask:
    """The application whose draws are the same in every run of a test, as far as its clock is."""
    return create_app(settings, entropy=random.Random(seed).randbytes)


@contextmanager
def running(url: str, clock: Literal["system", "request"] = "request", seed: int = 0) -> Iterator[FlaskClient]:
    """A client of the application on a migrated database; the application is closed at the end."""
    app = seeded_app(Settings(database_url=url, clock=clock), seed)
    try:
        yield app.test_client()
    finally:
        serving(app).close()


def put_campaign(client: FlaskClient, **changes: Any) -> TestResponse:
    document = campaign_document(**changes)
    return client.put(f"/campaigns/{document['id']}", json=document)


def json_of(response: TestResponse, status: int = 200) -> Any:
    """The JSON of an answer that must have this status."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/json"
    return json.loads(response.get_data())


def decided(client: FlaskClient, document: Mapping[str, Any] | None = None) -> Any:
    """The decision on the contract's request, or on another one."""
    return json_of(client.post("/decide", json=decide_document() if document is None else document))


def problem_of(response: TestResponse, status: int, *fields: str) -> Any:
    """The problem document of an answer, which must have this status and name exactly these fields."""
    assert response.status_code == status, response.get_data(as_text=True)[:1_000]
    assert response.content_type == "application/problem+json"
    document = json.loads(response.get_data())
    check_problem(document, status, *fields)
    return document


def check_problem(document: Any, status: int, *fields: str) -> None:
    """Asserts the form of a problem document, its status and the fields that it names."""
    assert list(document) == ["type", "title", "status", "detail", "errors"]
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in document["detail"]
    assert all(list(error) == ["field", "message"] and error["message"] for error in document["errors"])
    assert {error["field"] for error in document["errors"]} == set(fields)


def row_counts(client: FlaskClient) -> dict[str, int]:
    """Number of rows of every table of the client's application."""
    with serving(client.application).service.store.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }
