"""kill -9 of the learner at any moment, and a restart: nothing is learned twice and nothing is skipped."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import func, select

from bandit.learn.learner import Learner
from bandit.learn.lineage import Lineage
from bandit.learn.publish import VERSIONS_KEPT
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store import closings as closing_rows
from bandit.store.models import CHAMPION
from bandit.store.sql.database import Store
from bandit.store.sql.schema import closings, final_rewards, open_decisions
from tests.support.builders import (
    MORNING,
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
    versions,
)

ROOT = Path(__file__).parents[2]
SEED = 2
USERS = 300  # decisions per portion
PORTION_EVERY = timedelta(hours=30)  # more than learn_after (26 h) and less than the window (48 h): both stages happen
LONGEST_START = 0.6  # seconds until the learner begins, on an idle machine
LONGEST_PASS = 0.2  # seconds that it needs for a portion
PATIENCE = 60.0  # seconds
DOCUMENT = campaign()


def put_portion(live: Service, number: int, users: int = USERS) -> None:
    """Decisions of one moment and everything that follows; with them the portion before becomes due.

    No feedback comes once a decision is due, so what is learned does not depend on when the learner runs. Nor does it
    move the clock to the deadline of the portion before: that one is learned with this portion, final with the next.
    """
    rng = random.Random(number)
    now = MORNING + number * PORTION_EVERY
    asked = [request(f"u-{user}", now, features={"likes": rng.choice(["streak", "digest"])}) for user in range(users)]
    events = [
        feedback(one, event, rng.uniform(0, 17))
        for one in decide(live, asked)
        for event, share in (("opened", 0.4), ("clicked", 0.2), ("failed", 0.05), ("unsubscribed", 0.01))
        if rng.random() < share
    ]
    give(live, events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that learning leaves behind, except when it happened."""

    closings: list[tuple[Any, ...]]  # in learning order
    final_rewards: list[tuple[Any, ...]]
    still_open: list[tuple[Any, ...]]
    events_learned: int
    learned_up_to: str  # the decision at the watermark
    scores: list[float]


def outcome(store: Store) -> Outcome:
    events, model = closed(store), champion(store)
    with load_version(model) as engine:
        predicted = scores(engine, events[:100])
    with store.read() as connection:
        order = select(closings.c.decision_id, closings.c.reward, closings.c.skipped).order_by(closings.c.seq)
        final = select(final_rewards.c.decision_id, final_rewards.c.reward).order_by(final_rewards.c.decision_id)
        waiting = select(open_decisions).order_by(open_decisions.c.decision_id)
        return Outcome(
            closings=[tuple(row) for row in connection.execute(order)],
            final_rewards=[tuple(row) for row in connection.execute(final)],
            still_open=[tuple(row) for row in connection.execute(waiting)],
            events_learned=model.events_learned,
            learned_up_to=next(event.decision_id for event in events if event.seq == model.watermark),
            scores=predicted,
        )


def assert_equal(killed: Outcome, uninterrupted: Outcome) -> None:
    assert killed.closings == uninterrupted.closings
    assert len({decision_id for decision_id, *_ in killed.closings}) == len(killed.closings)
    assert killed.final_rewards == uninterrupted.final_rewards
    assert killed.still_open == uninterrupted.still_open
    assert killed.events_learned == sum(reward is not None for _, reward, _ in killed.closings)
    assert killed.events_learned == uninterrupted.events_learned
    assert killed.learned_up_to == killed.closings[-1][0] == uninterrupted.learned_up_to
    assert difference(killed.scores, uninterrupted.scores) == 0.0


def uninterrupted(store: Store, portions: int) -> Outcome:
    """What one pass over all portions leaves, which nothing interrupts."""
    live = service(store, SEED, DOCUMENT)
    for number in range(portions):
        put_portion(live, number)
    put_portion(live, portions, users=1)
    live.learner.run_pass()
    return outcome(store)


@pytest.fixture
def other_store(sqlite_url: str, sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    """A second SQLite store that was never used."""
    path = tmp_path / "other.db"
    path.write_bytes(sqlite_template.read_bytes())
    with closing(Store(f"sqlite:///{path}")) as store:
        yield store


# Processes


def environment(url: str, folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SENDOPT_")}
    return inherited | {
        "SENDOPT_DATABASE_URL": url,
        "SENDOPT_CLOCK": "request",
        "SENDOPT_WORKER_INTERVAL_SECONDS": "0.05",
        "TMPDIR": str(folder / "tmp"),  # where a killed process leaves the model it was writing
    }


@contextmanager
def learner_to_kill(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A real learner process, killed at the end of the block."""
    command = [sys.executable, "-m", "api", "worker"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(url, folder), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL


def has_begun(process: subprocess.Popen[str]) -> None:
    """Returns when the learner has begun, which is the first thing it says."""
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "worker_started" in said, said


def is_done(store: Store) -> bool:
    with store.read() as connection:
        head = closing_rows.last_seq(connection, "spring")
        not_closed = connection.execute(select(func.count()).where(open_decisions.c.learned.is_(False))).scalar_one()
    latest = max((row.watermark for row in versions(store)), default=0)
    return head == latest and not_closed <= USERS  # those of the newest portion


def has_finished(store: Store) -> None:
    """Returns when there is nothing left to learn."""
    give_up_at = monotonic() + PATIENCE
    while not is_done(store):
        assert monotonic() < give_up_at
        sleep(0.01)


def kill_once(live: Service, number: int, url: str, folder: Path, rng: random.Random) -> str:
    """The moment of the kill: a learner dies while it starts, while it works on a portion, or when it has done all."""
    moment = rng.choice(["starting", "working", "working", "working", "idle"])
    put_before = moment == "starting" or rng.random() < 0.5
    if put_before:
        put_portion(live, number)
    with learner_to_kill(url, folder) as process:
        if moment == "starting":
            sleep(rng.uniform(0, LONGEST_START))
            return moment
        has_begun(process)
        if not put_before:
            put_portion(live, number)
        if moment == "working":
            sleep(rng.uniform(0, LONGEST_PASS))
        else:
            has_finished(live.store)
    return moment


def test_a_learner_killed_at_random_moments_ends_with_the_predictions_of_one_that_was_not(
    sqlite_store: Store, sqlite_url: str, other_store: Store, tmp_path: Path, kills: int
) -> None:
    rng = random.Random(SEED)
    live = service(sqlite_store, SEED, DOCUMENT)
    moments = [kill_once(live, number, sqlite_url, tmp_path, rng) for number in range(kills)]
    put_portion(live, kills, users=1)
    subprocess.run(
        [sys.executable, "-m", "api", "worker", "--once"],
        cwd=ROOT,
        env=environment(sqlite_url, tmp_path),
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert_equal(outcome(sqlite_store), uninterrupted(other_store, kills))
    rows = versions(sqlite_store)
    assert all(row.parent == row.version - 1 for row in rows)
    latest, newest = rows[-1].version, [row.version for row in rows[-VERSIONS_KEPT:]]
    assert newest == list(range(latest - len(newest) + 1, latest + 1))  # of the older ones some are kept
    assert latest >= moments.count("idle")  # it did publish between the kills


def test_a_learner_that_forgot_its_watermark_at_a_restart_would_predict_something_else(
    sqlite_store: Store, other_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(sqlite_store, SEED, DOCUMENT)
    expected = uninterrupted(other_store, 3)
    monkeypatch.setattr(Lineage, "watermark", property(lambda lineage: 0))
    for number in range(4):
        put_portion(live, number, users=USERS if number < 3 else 1)
        restarted = Learner(live.store, live.clock, live.campaigns)
        restarted.close_due()
        restarted._learn_step(DOCUMENT, CHAMPION)
    forgetful = outcome(sqlite_store)
    assert forgetful.closings == expected.closings
    assert forgetful.events_learned > expected.events_learned
    assert difference(forgetful.scores, expected.scores) > 0.0


# At exact moments

KILLED_AFTER_A_CALL = """
import importlib, os, signal, sys
from api.commands.main import main

module, name, calls = importlib.import_module(sys.argv[1]), sys.argv[2], int(sys.argv[3])
function, left = getattr(module, name), iter(range(calls - 1, -1, -1))

def last(*arguments):
    answer = function(*arguments)
    if next(left) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

setattr(module, name, last)
sys.argv[1:] = ["worker", "--once"]
main()
"""


@pytest.fixture(scope="module")
def half_way(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """A SQLite file in which the first of two portions was learned, and everything is there to learn the second."""
    path = tmp_path_factory.mktemp("half-way") / "sendopt.db"
    path.write_bytes(sqlite_template.read_bytes())
    with closing(Store(f"sqlite:///{path}")) as store:
        live = service(store, SEED, DOCUMENT)
        put_portion(live, 0)
        put_portion(live, 1)
        live.learner.run_pass()
        put_portion(live, 2, users=1)
    return path


@pytest.fixture(scope="module")
def after_two_portions(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Outcome:
    path = tmp_path_factory.mktemp("uninterrupted") / "sendopt.db"
    path.write_bytes(sqlite_template.read_bytes())
    with closing(Store(f"sqlite:///{path}")) as store:
        return uninterrupted(store, 2)


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [
        ("bandit.store.closings", "wait_until_final", 1),
        ("bandit.store.closings", "close", 1),
        ("bandit.store.closings", "finish", 1),
        ("bandit.store.closings", "close", 2),
        ("bandit.learn.teach", "learn_checked", 100),
        ("bandit.store.models", "add", 1),
        ("bandit.store.models", "point", 1),
    ],
)
def test_a_learner_killed_between_two_steps_leaves_nothing_half_done(
    half_way: Path, after_two_portions: Outcome, tmp_path: Path, module: str, name: str, calls: int
) -> None:
    url = f"sqlite:///{shutil.copy(half_way, tmp_path)}"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_A_CALL, module, name, str(calls)],
        cwd=ROOT,
        env=environment(url, tmp_path),
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    assert killed.returncode == -signal.SIGKILL
    with closing(Store(url)) as store:
        assert champion(store).version == 1
        service(store).learner.run_pass()
        assert champion(store).version == 2
        assert_equal(outcome(store), after_two_portions)
