"""What each install can do: the base serves, decides and learns; the client alone asks; a missing extra is named.

The environments are made of links, so that these tests fetch nothing. With `--wheels`, as `make installs` has it, pip
builds the two distributions and installs them with what they need.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.demo.service import held_port
from bandit.errors import EXTRA_OF
from bandit.store.sql.database import Store
from tests.support.databases import sqlite_file_url
from tests.support.environments import CLIENT, ROOT, environment, environment_of_wheels, project
from tests.support.logs import logged_service
from tests.support.wire import campaign_document

PATIENCE_SECONDS = 60
OWN = [ROOT / name for name in ("api", "bandit", "migrations", "sim")] + [CLIENT / "sendopt_client"]
# What a scheduler with the client alone does; its last decision moves the service's clock on past the reward window.
SCHEDULER = """
import json, sys, time
from sendopt_client import SendoptClient

def request(user, now):
    return {"campaign": "reengage", "user": {"id": user, "timezone": "UTC", "channels": ["push", "email"]}, "now": now}

end = time.monotonic() + 60
with SendoptClient(sys.argv[1], timeout_seconds=10) as client:
    while not client.ready():
        assert time.monotonic() < end, "the service does not become ready"
        time.sleep(0.1)
    choices = [client.decide(request(f"u-{n}", "2026-11-20T09:00:00Z"), fallback=None) for n in range(100)]
    events = [
        {"decision_id": one.decision_id, "event": "clicked", "occurred_at": "2026-11-20T10:00:00Z"} for one in choices
    ]
    heard = [client.feedback(event, must_arrive=True) for event in events]
    client.decide(request("later", "2026-11-23T09:00:00Z"), fallback=None)
    while not client.models("reengage"):
        assert time.monotonic() < end, "nothing was learned"
        time.sleep(0.1)
    models = client.models("reengage")
whole = all(one.answer["decision_id"] == one.decision_id and 0 < one.propensity <= 1 for one in choices)
print(json.dumps([whole, sorted(set(heard)), models[-1]["events_learned"] > 0]))
"""
MISSING = r"sendopt: (SENDOPT_DATABASE_URL: .*: )?this needs the extra '{extra}', as \w+ is not installed: pip .*\n"


def run(python: Path, *words: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """What a command did in the environment; no variable brings packages along."""
    return subprocess.run(
        [python, *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def printed(python: Path, *words: str, folder: Path, **settings: str) -> str:
    done = run(python, *words, folder=folder, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with the base install."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    if request.config.getoption("--wheels"):
        return environment_of_wheels(folder, str(ROOT))
    return environment(folder, project()["dependencies"], OWN)


@pytest.fixture(scope="module")
def client_only(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with the client alone."""
    folder = tmp_path_factory.mktemp("client") / "venv"
    if request.config.getoption("--wheels"):
        return environment_of_wheels(folder, str(CLIENT))
    return environment(folder, project(CLIENT)["dependencies"], [CLIENT / "sendopt_client"])


def settings_of(folder: Path) -> dict[str, str]:
    return {"SENDOPT_DATABASE_URL": sqlite_file_url(folder / "sendopt.db"), "SENDOPT_CLOCK": "request"}


@contextmanager
def served(python: Path, folder: Path) -> Iterator[str]:
    """The address of the service that the environment runs, with its learner, on a migrated database."""
    settings = {**settings_of(folder), "SENDOPT_WORKER_INTERVAL_SECONDS": "0.2", "SENDOPT_MODEL_POLL_SECONDS": "0.1"}
    (folder / "campaign.json").write_text(json.dumps(campaign_document()))
    printed(python, "-m", "api", "campaign", "apply", "campaign.json", folder=folder, **settings)
    with held_port() as port, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "api", "serve", "--port", str(port)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], **settings},
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def test_the_base_install_lacks_every_extra(base: Path, tmp_path: Path) -> None:
    program = f"from importlib.util import find_spec; print([name for name in {sorted(EXTRA_OF)} if find_spec(name)])"
    assert printed(base, "-c", program, folder=tmp_path) == "[]\n"


@pytest.mark.usefixtures("sqlite_url")
def test_the_base_install_serves_decides_and_learns_and_the_client_alone_asks_it(
    base: Path, client_only: Path, tmp_path: Path
) -> None:
    with served(base, tmp_path) as address:
        done = run(client_only, "-c", SCHEDULER, address, folder=application(tmp_path))
        assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
    assert json.loads(done.stdout) == [True, ["accepted"], True]


def application(folder: Path) -> Path:
    """A folder with an application that has its own package `api`, which nobody but itself may import."""
    package = folder / "application" / "api"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package of the application was imported')")
    return package.parent


def test_in_that_folder_the_package_of_the_application_is_the_one_that_is_found(
    client_only: Path, tmp_path: Path
) -> None:
    done = run(client_only, "-c", "import api", folder=application(tmp_path))
    assert done.stderr == "the package of the application was imported\n"


@pytest.mark.usefixtures("sqlite_url")
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "--target", "uniform", "--log", "log.csv"),
        ("simulate",),
        ("replay", "hillstrom"),
        ("models", "promote", "reengage", "--gated"),
        ("worker", "--once"),
        ("serve",),
    ],
)
def test_a_command_that_lacks_its_extra_says_so_in_one_line(base: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    settings = {**settings_of(tmp_path), "SENDOPT_PROMOTION_INTERVAL_SECONDS": "60"}
    done = run(base, "-m", "api", *words, folder=tmp_path, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(MISSING.format(extra="study"), done.stderr)


def test_the_base_install_exports_a_log_but_not_as_parquet(base: Path, tmp_path: Path, sqlite_store: Store) -> None:
    logged_service(sqlite_store, n_users=20, rounds=1)
    export, settings = ("-m", "api", "export", "--campaign", "spring"), settings_of(tmp_path)
    assert "log.csv: 18 rows, excluded: 2 voided" in printed(base, *export, "log.csv", folder=tmp_path, **settings)
    done = run(base, *export, "log.parquet", folder=tmp_path, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(MISSING.format(extra="study"), done.stderr)


def test_postgresql_without_its_extra_is_one_line_as_well(base: Path, tmp_path: Path) -> None:
    done = run(base, "-m", "api", "migrate", folder=tmp_path, SENDOPT_DATABASE_URL="postgresql://localhost/sendopt")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(MISSING.format(extra="postgres"), done.stderr)


def test_without_the_extra_python_is_told_as_well(base: Path, tmp_path: Path) -> None:
    done = run(base, "-c", "from sim.ope import evaluate", folder=tmp_path)
    assert done.stderr.splitlines()[-1].startswith("bandit.errors.MissingExtra: this needs the extra 'study'")
