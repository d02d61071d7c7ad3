"""The README's shell blocks do what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

import orjson
import pytest

from api.demo.service import held_port
from bandit.store.sql.database import Store
from sim.evaluate.target_names import target_named
from sim.logs.store import StoreLog
from tests.support.builders import campaign
from tests.support.logs import logged_service, rows_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
ADDRESS = "http://127.0.0.1:8000"


def blocks_with(word: str) -> str:
    """The shell blocks that use a word, as one script."""
    return "\n".join(block for block in BLOCKS if word in block)


def run(script: str, folder: Path, **environment: str) -> str:
    """What the script prints; its first failing line ends it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of what `make serve` runs in a folder with a migrated database, on a port of its own."""
    with held_port() as port:
        command = [sys.executable, "-m", "api", "serve", "--port", str(port)]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until_ready(f"http://127.0.0.1:{port}/readyz")
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def wait_until_ready(url: str) -> None:
    deadline = monotonic() + 30
    while True:
        try:
            with urlopen(url):
                return
        except URLError:
            assert monotonic() < deadline, "the service does not become ready"
            sleep(0.1)


@pytest.mark.usefixtures("sqlite_url")
def test_the_first_decision_of_the_readme_is_decided_answered_and_has_its_receipt(tmp_path: Path) -> None:
    with served(tmp_path) as address:
        printed = run(blocks_with("curl").replace(ADDRESS, address), tmp_path)

    decision = orjson.loads((tmp_path / "decision.json").read_bytes())
    receipt = orjson.loads(printed[printed.rindex('{"decision_id"') :])
    assert receipt["decision_id"] == decision["decision_id"]
    assert [event["event"] for event in receipt["feedback"]] == ["clicked"]
    assert '{"status":"accepted"}' in printed


def test_the_replay_of_the_readme_prints_its_table_and_writes_its_picture(tmp_path: Path, data_folder: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    script = blocks_with("sendopt replay").replace("/path/to/logs", str(data_folder.resolve()))
    printed = run(script, tmp_path)

    assert "mean reward" in printed
    assert (tmp_path / "drinkless.html").read_text(encoding="utf-8").count("<svg") == 1


def test_the_evaluation_of_the_readme_writes_its_page_and_its_log(tmp_path: Path, sqlite_store: Store) -> None:
    logged_service(sqlite_store, n_users=200, document=campaign(policy={"floor": 0.5}))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    script = blocks_with("sendopt evaluate").replace("reengage", "spring")
    printed = run(script, tmp_path, SENDOPT_DATABASE_URL=sqlite_store.engine.url.render_as_string())

    assert "The log can answer." in printed
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<svg") == 5
    assert (tmp_path / "log.parquet").stat().st_size > 0


def test_the_function_of_the_docs_is_a_target(tmp_path: Path, sqlite_store: Store) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs" / "logs.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "mine.py").write_text(next(block for block in blocks if "def evening" in block))
    service = logged_service(sqlite_store, n_users=10, rounds=1)
    target = target_named(f"function:{tmp_path / 'mine.py'}:evening", None)
    for event in rows_of(StoreLog(service.store, service.campaigns, "spring")):
        pmf = target.likelihood(event).pmf
        assert pmf is not None
        assert pmf.max() == pytest.approx(3 * pmf.min())


def test_the_contest_of_the_readme_prints_its_tables_and_writes_its_page(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    script = blocks_with("sendopt simulate").replace("--seeds 1-10", "--seeds 1 --decisions 60 --processes 1")
    printed = run(script, tmp_path)

    assert "small_team: 300 decisions a day" in printed
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<svg") == 2


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", README))))
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_every_shell_block_is_run_by_a_test_or_only_makes_targets() -> None:
    for block in BLOCKS:
        lines = [line for line in block.splitlines() if line.strip()]
        only_makes = all(line.startswith("make ") for line in lines)
        commands = ("curl", "sendopt replay", "sendopt evaluate", "sendopt simulate")
        assert only_makes or any(word in block for word in commands), block
