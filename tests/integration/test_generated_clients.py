"""Clients that common generators make from /openapi.json decide and give feedback.

The generators are fetched, and so run only under `make contract`: openapi-python-client with uv, openapi-typescript
with npm.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from tests.support.wire import json_of

PYTHON_GENERATOR = "openapi-python-client==0.29.1"
PYTHON_NEEDS = ("httpx", "attrs", "python-dateutil")
TYPESCRIPT_PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
SECONDS = 300

PYTHON_CLIENT = """
import json, sys
from made.api.decisions import decide
from made.api.feedback import send_feedback
from made.client import Client
from made.models import DecisionDocument, FeedbackAnswer, FeedbackDocument, RequestDocument, UserDocument

client = Client(base_url=sys.argv[1])
body = RequestDocument(campaign="reengage", user=UserDocument(id="u-1", timezone="Europe/Lisbon", channels=["push"]))
decision = decide.sync(client=client, body=body, idempotency_key="once")
assert isinstance(decision, DecisionDocument), decision
event = FeedbackDocument(decision_id=decision.decision_id, event="clicked", occurred_at=decision.decided_at)
answer = send_feedback.sync(client=client, body=event)
assert isinstance(answer, FeedbackAnswer), answer
print(json.dumps([decision.to_dict(), answer.to_dict()]))
"""
TYPESCRIPT_CLIENT = """
import createClient from "openapi-fetch";
import type { paths } from "./made.js";

declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2] });
const body = { campaign: "reengage", user: { id: "u-1", timezone: "Europe/Lisbon", channels: ["push"] } };
const decision = await client.POST("/decide", { body, params: { header: { "Idempotency-Key": "once" } } });
if (decision.data === undefined) throw new Error(decision.error.detail);
const { decision_id, decided_at } = decision.data;
const answer = await client.POST("/feedback", { body: { decision_id, event: "clicked", occurred_at: decided_at } });
if (answer.data === undefined) throw new Error(answer.error.detail);
const status: "accepted" | "duplicate" | "late" = answer.data.status;
console.log(JSON.stringify([decision.data, { status }]));
"""


@pytest.fixture(autouse=True)
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--generators"):
        pytest.skip("the generators of clients are fetched: they run under `make contract` only")


@pytest.fixture
def url(system_client: FlaskClient) -> Iterator[str]:
    """Address at which the application answers."""
    server = make_server("127.0.0.1", 0, system_client.application, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def document(system_client: FlaskClient, tmp_path: Path) -> Path:
    """The OpenAPI document as a file."""
    path = tmp_path / "openapi.json"
    path.write_bytes(system_client.get("/openapi.json").data)
    return path


def run(folder: Path, *words: str) -> str:
    """What the command prints; it must end well."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def check(client: FlaskClient, printed: str) -> None:
    """Asserts that the client printed a decision that is stored, with its feedback."""
    decision, answer = json.loads(printed)
    receipt: Any = json_of(client.get(f"/decisions/{decision['decision_id']}"))
    assert answer == {"status": "accepted"}
    assert receipt["user"] == "u-1"
    assert [event["event"] for event in receipt["feedback"]] == ["clicked"]
    assert decision.keys() <= receipt.keys()


def test_a_python_client_decides_and_gives_feedback(
    system_client: FlaskClient, url: str, document: Path, tmp_path: Path
) -> None:
    uv = (sys.executable, "-m", "uv")
    generate = ("openapi-python-client", "generate", "--path", str(document), "--output-path", "made", "--meta", "none")
    run(tmp_path, *uv, "tool", "run", "--from", PYTHON_GENERATOR, *generate, "--fail-on-warning")
    (tmp_path / "client.py").write_text(PYTHON_CLIENT)
    needs = [word for name in PYTHON_NEEDS for word in ("--with", name)]
    check(system_client, run(tmp_path, *uv, "run", "--no-project", *needs, "python", "client.py", url))


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed: no TypeScript client is made")
def test_a_typescript_client_decides_and_gives_feedback(
    system_client: FlaskClient, url: str, document: Path, tmp_path: Path
) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "client.ts").write_text(TYPESCRIPT_CLIENT)
    run(tmp_path, "npm", "install", "--no-audit", "--no-fund", *TYPESCRIPT_PACKAGES)
    run(tmp_path, "npx", "openapi-typescript", str(document), "--output", "made.ts")
    compiler = ("npx", "tsc", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom")
    run(tmp_path, *compiler, "client.ts")
    check(system_client, run(tmp_path, "node", "client.js", url))
