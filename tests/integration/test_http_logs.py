"""The log: one JSON object a line whatever comes in, with ids, never with features."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from flask.testing import FlaskClient
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from api.app import serving
from api.edge.auth import Scope, issue
from api.logging_setup import json_formatter
from bandit.decide.decision import Model
from bandit.engine.lines import ActionLines
from bandit.store.sql.schema import decisions
from tests.support.lines import Log
from tests.support.wire import DECIDED_AT, decide_document, decided, put_campaign, running, with_value

ROOT = Path(__file__).parents[2]
SECRET = "a-feature-that-nobody-may-log"
HOSTILE = [
    'x\n{"event": "forged", "level": "info"}',
    "x\r\nforged",
    "\u2028forged\u2029\x85",
    '"}\n{"event": "forged"}',
    "\x1b[31mforged",
    "\ud800",
    "\0",
    "💥" * 100,
]


class Unusable:
    """A model whose prediction cannot be used."""

    def predict(self, shared: str, actions: ActionLines) -> list[float]:
        return [float("nan")] * len(actions.joined())


@pytest.mark.parametrize("text", HOSTILE)
def test_an_event_is_one_line_of_json_whatever_it_holds(json_log: Log, text: str) -> None:
    structlog.get_logger().warning("noted", text=text, **{text: 1})
    (event,) = json_log.events
    assert event["event"] == "noted"
    assert event["text"] == text
    assert len(json_log.text.split("\n")) == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_of_a_library_is_one_line_of_json_too(text: str) -> None:
    import json

    record = logging.LogRecord("library", logging.WARNING, __file__, 1, "said %s", (text,), None)
    line = json_formatter().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == f"said {text}"
    assert json.loads(line)["level"] == "warning"


def test_a_plain_line_would_be_split_by_a_hostile_text() -> None:
    record = logging.LogRecord("library", logging.WARNING, __file__, 1, "said %s", (HOSTILE[0],), None)
    assert len(logging.Formatter().format(record).splitlines()) == 2


def test_what_fails_inside_is_logged_by_kind_and_place_without_what_the_request_held(
    client: FlaskClient, json_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_body: bytes) -> None:
        raise RuntimeError(f"cannot handle {SECRET}") from ValueError(SECRET)

    monkeypatch.setattr("api.routes.decisions.parse_decide", fail)
    client.post("/decide", data=b"{}")
    (event,) = json_log.events
    assert [one["kind"] for one in event["exception"]] == ["RuntimeError", "ValueError"]
    assert any("test_http_logs.py" in frame and frame.endswith(" fail") for frame in event["exception"][0]["frames"])
    assert SECRET not in json_log.text


def test_a_statement_that_fails_does_not_quote_its_row(any_client: FlaskClient) -> None:
    store = serving(any_client.application).service.store
    with pytest.raises(IntegrityError) as caught, store.write() as connection:
        connection.execute(insert(decisions).values(id="d-1", evidence=SECRET))
    assert "[parameters" not in str(caught.value).replace("[SQL parameters hidden", "")


def test_a_session_with_good_bad_and_failing_requests_logs_ids_and_no_features(
    sqlite_url: str, json_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = with_value(decide_document(), "user.features", {SECRET: SECRET})
    request = with_value(request, "user.id", f"user-{SECRET}")
    with running(sqlite_url) as client:
        put_campaign(client)
        service = serving(client.application).service
        monkeypatch.setattr(service.models, "model_for", lambda _: Model(version=1, predictor=Unusable()))
        failed = decided(client, request)
        monkeypatch.undo()
        client.post("/decide", json={**request, "surprise": SECRET})
        client.post("/decide", json={**request, "campaign": SECRET})
        key = issue(service.store, [Scope.DECIDE], per_second=10, now=DECIDED_AT)
        client.post("/decide", json=request, headers={"Authorization": f"Bearer {key.secret}"})
    assert SECRET not in json_log.text
    assert [(one["event"], one["decision_id"]) for one in json_log.events if "decision_id" in one] == [
        ("decided_by_fallback", failed["decision_id"])
    ]


def test_a_process_writes_its_log_as_json_lines_only(tmp_path: Path) -> None:
    program = (
        "import logging, structlog; from api.logging_setup import configure_logs; configure_logs(logging.INFO)\n"
        "structlog.get_logger().info('ours', text='a\\nb'); logging.getLogger('library').warning('theirs\\nx')\n"
        "logging.getLogger('library').info('quiet'); logging.getLogger('_granian').info('server')\n"
        "try: 1 // 0\n"
        "except ZeroDivisionError: logging.getLogger('library').exception('failed')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    log = Log()
    log.stream.write(done.stderr)
    assert done.stdout == ""
    assert [one["event"] for one in log.events] == ["ours", "theirs\nx", "server", "failed"]
    assert log.events[-1]["exception"][0]["kind"] == "ZeroDivisionError"
    assert {one["level"] for one in log.events} == {"info", "warning", "error"}
    assert all(one["timestamp"].endswith("Z") for one in log.events)
