"""The fields of a decision are written once: one that is added to the model in `bandit/wire` appears everywhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLACE = "    reason: Annotated["
ADDED = """    plan: Annotated[
        str, From("campaign"), about("The campaign once more.", example="reengage")
    ]
"""
# Asks for a decision in every way that there is, and prints every answer.
ASK = """
import json, sys
from threading import Thread
from werkzeug.serving import make_server
from api.client import SendoptClient
from api.app import serving
from sim.contest.drive import InProcess
from tests.support.wire import decide_document, put_campaign, running

url = sys.argv[1]
with running(url) as client:
    put_campaign(client)
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    with SendoptClient(f"http://127.0.0.1:{server.server_port}", timeout_seconds=10) as caller:
        choice = caller.decide(decide_document(), fallback=None)
        found = {
            "http": client.post("/decide", json=decide_document()).json,
            "batch": client.post("/decide/batch", json={"requests": [decide_document()]}).json["results"][0],
            "simulation": InProcess(serving(client.application).service, learn_every=9).decide_batch(
                [decide_document()]
            )[0],
            "client": choice.answer,
            "receipt": caller.receipt(choice.decision_id),
            "schemas": client.get("/openapi.json").json["components"]["schemas"],
        }
    server.shutdown()
print(json.dumps(found))
"""


def answers(folder: Path, url: str) -> dict[str, Any]:
    """What the service in this folder answers."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, url],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the project."""
    for name in ("bandit", "sim", "api", "migrations", "tests"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures"))
    return tmp_path / "copy"


def test_a_field_that_is_added_to_the_model_of_a_decision_is_everywhere(copied: Path, sqlite_url: str) -> None:
    path = copied / "bandit" / "wire" / "decision.py"
    source = path.read_text("utf-8")
    assert source.count(PLACE) == 1
    path.write_text(source.replace(PLACE, ADDED + PLACE), "utf-8")
    found = answers(copied, sqlite_url)
    schemas = found.pop("schemas")
    for where, document in found.items():
        assert list(document).index("plan") == list(document).index("reason") - 1, where
        assert document["plan"] == "reengage", where
    for name in ("DecisionDocument", "Receipt"):
        assert schemas[name]["properties"]["plan"]["description"] == "The campaign once more."
        assert "plan" in schemas[name]["required"]
