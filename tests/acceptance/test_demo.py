"""The demo: the real service in processes of its own, which never outlive it, on a database that is safe to replace."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from subprocess import Popen
from time import sleep
from urllib.request import urlopen

import pytest
from rich.console import Console
from sqlalchemy import func, select

from api.demo import run as demo
from api.demo import service as demo_service
from api.demo.run import run_demo
from api.demo.screen import RECENT_DECISIONS, ROWS, Standing, chart, plain_line
from bandit.errors import Conflict
from bandit.store.sql import schema
from bandit.store.sql.database import Store
from sim.contest.drive import Progress, Tally
from tests.support import builders
from tests.support.databases import migrate, sqlite_file_url


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Popen[bytes]]]:
    """The services that demos of the test started; each must have gone with all its group when the test ends."""
    processes: list[Popen[bytes]] = []
    stop = demo_service._stop

    def noting(process: Popen[bytes]) -> None:
        processes.append(process)
        stop(process)

    monkeypatch.setattr(demo_service, "_stop", noting)
    yield processes
    for process in processes:
        wait_until_gone(process.pid)


def wait_until_gone(group: int) -> None:
    """Returns once no process of the group is left; those that were killed are still listed for a moment."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        sleep(0.05)
    pytest.fail(f"processes of group {group} outlived the demo")


def database_with(campaign_id: str, tmp_path: Path) -> Path:
    path = tmp_path / "sendopt.db"
    migrate(sqlite_file_url(path))
    with closing(Store(sqlite_file_url(path))) as store:
        builders.service(store, 0, builders.campaign(id=campaign_id))
    return path


def shown(database: Path, seconds: float = 1.5, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output of a demo where there is no terminal."""
    output = StringIO()
    status = run_demo(
        database=database,
        seed=1,
        seconds=seconds,
        console=Console(file=output, width=100),
        environment=dict(os.environ) if environment is None else environment,
    )
    return status, output.getvalue()


def dashboard_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Where the service was and what it answered, of the dashboard's page and its numbers, at the demo's first look."""
    seen: list[tuple[str, str]] = []
    look = demo._Run._look_at_models

    def looking(run: demo._Run) -> None:
        look(run)
        if not seen:
            for path in ("/", "/campaigns/demo/insights"):
                with urlopen(run.service.base_url + path) as answer:
                    seen.append((run.service.base_url, answer.read().decode()))

    monkeypatch.setattr(demo._Run, "_look_at_models", looking)
    return seen


def test_a_demo_runs_ends_and_leaves_its_database(
    tmp_path: Path, started: list[Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "LINE_SECONDS", 0.5)
    seen = dashboard_while_it_runs(monkeypatch)
    database = database_with("demo", tmp_path)  # of an earlier demo
    status, output = shown(database)
    assert status == 0
    page, insights = seen
    assert f"{page[0]}/#campaign=demo" in output
    assert "dashboard.js" in page[1]
    assert '"campaign":"demo"' in insights[1]
    assert "of the way" in output
    assert f"SENDOPT_DATABASE_URL=sqlite:///{database} make serve" in output
    decision_id = output.split("http://127.0.0.1:8000/decisions/")[1].split()[0]
    with closing(Store(sqlite_file_url(database))) as store, store.read() as connection:
        assert connection.execute(select(schema.decisions.c.id).where(schema.decisions.c.id == decision_id)).one()
        assert connection.execute(select(schema.campaign_versions.c.version)).scalars().all() == [1]
        by_policy = select(schema.decisions.c.policy, func.count().label("number")).group_by(schema.decisions.c.policy)
        counted = {row.policy: int(row.number) for row in connection.execute(by_policy)}
    assert counted.keys() == {"learned", "uniform_holdout", "no_send_holdout"}
    assert f"{sum(counted.values()):,} decisions over" in output
    beginning = re.search(r"^first ([\d,]+) ", output, re.MULTILINE)
    assert beginning is not None
    # The holdouts are left out of the rewards. The beginning ends with the batch that completes 2,000 decisions.
    first, learned = int(beginning[1].replace(",", "")), counted["learned"]
    assert first == learned or RECENT_DECISIONS <= first < min(learned, RECENT_DECISIONS + demo.BATCH)
    assert len(started) == 1


def test_a_service_that_cannot_start_is_shown_with_its_last_words(tmp_path: Path, started: list[Popen[bytes]]) -> None:
    status, output = shown(tmp_path / "demo.db", environment={"PYTHONHOME": "/nonexistent"})
    assert status == 1
    assert "The service failed: it ended with status 1. Its last log lines:" in output
    assert "encodings" in output  # what Python says when it finds no library
    assert len(started) == 1


@pytest.mark.parametrize(
    ("blow", "status", "words"), [("kill", 1, "it ended with status -9"), ("interrupt", 130, "Stopped")]
)
def test_whatever_ends_a_demo_ends_its_service(
    tmp_path: Path,
    started: list[Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    blow: str,
    status: int,
    words: str,
) -> None:
    def struck(run: demo._Run, _progress: Progress) -> None:
        if blow == "interrupt":
            raise KeyboardInterrupt
        run.service.process.kill()
        run.service.process.wait()

    monkeypatch.setattr(demo._Run, "_note", struck)
    ended, output = shown(tmp_path / "demo.db")
    assert ended == status
    assert words in output
    assert len(started) == 1


def test_a_database_with_another_campaign_is_not_replaced(tmp_path: Path) -> None:
    path = database_with("spring", tmp_path)
    before = path.read_bytes()
    with pytest.raises(Conflict, match="holds the campaign 'spring', which no demo made"):
        shown(path)
    assert path.read_bytes() == before


def test_without_the_check_it_would_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = database_with("spring", tmp_path)
    monkeypatch.setattr(demo, "_check_is_a_demo", lambda *_: None)
    shown(path, environment={"PYTHONHOME": "/nonexistent"})
    with closing(Store(sqlite_file_url(path))) as store, store.read() as connection:
        assert connection.execute(select(func.count()).select_from(schema.campaigns)).scalar_one() == 0


def test_a_database_of_another_program_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(Conflict, match="was not made by this program"):
        shown(path)
    assert path.exists()


def standing(*columns: Tally) -> Standing:
    total = sum(columns, Tally())
    return Standing(
        users=3_000,
        seconds=10.0,
        simulated_days=5.0,
        model_version=7,
        events_learned=1_500,
        decisions=total.decisions,
        total=total,
        recent=total,
        columns=columns,
    )


def tally(share: float) -> Tally:
    return Tally(decisions=100, uniform=10.0, oracle=50.0, expected=10.0 + 40.0 * share)


def test_the_chart_rises_from_uniform_to_the_best_possible() -> None:
    lines = chart(standing(tally(0.0), tally(0.5), tally(1.0), tally(-0.3), Tally())).plain.splitlines()
    bars = [line[15:20] for line in lines[:ROWS]]
    heights = [sum(bars[row][column] != " " for row in range(ROWS)) for column in range(5)]
    assert heights == [1, 5, ROWS, 1, 1]
    assert bars[0][2] == "█"
    assert lines[0].startswith("best possible")
    assert lines[ROWS - 1].split()[0] == "uniform"


def test_a_line_says_the_same_figures() -> None:
    line = plain_line(standing(tally(0.25)))
    assert "100 decisions" in line
    assert "reward 0.200 (uniform 0.100, best 0.500)" in line
    assert line.endswith("25 % of the way")
    assert plain_line(standing(Tally())).endswith("- of the way")
