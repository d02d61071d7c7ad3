"""One learner at a time works on a database; another one waits and says so."""

import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import structlog

from api.processes import worker
from bandit.store.sql.database import Store
from bandit.store.sql.turns import learner_turn
from tests.support.builders import service

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from bandit.store.sql.database import Store
from bandit.store.sql.turns import learner_turn
with learner_turn(Store(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


def test_the_turn_is_one_learners_until_it_ends(store: Store, database_url: str) -> None:
    with closing(Store(database_url)) as other:
        with learner_turn(store) as first, learner_turn(other) as second:
            assert (first, second) == (True, False)
        with learner_turn(other) as later:
            assert later


def test_the_turn_of_a_killed_learner_is_free(store: Store, database_url: str) -> None:
    command = [sys.executable, "-c", HOLD, database_url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with learner_turn(store) as ours:
            assert not ours
        holder.kill()
        holder.wait()
    give_up = 100
    while give_up:  # PostgreSQL notices a closed connection, but not before the process is gone
        with learner_turn(store) as ours:
            if ours:
                return
        give_up -= 1
        Event().wait(0.1)
    pytest.fail("the turn of a killed learner was never free")


def test_a_second_learner_waits_says_so_and_then_works(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TURN_POLL_SECONDS", 0.01)
    live = service(store)
    waited, done = Event(), Event()

    def wait_a_little(seconds: float) -> None:
        waited.set()
        done.wait(seconds)

    monkeypatch.setattr(worker, "sleep", wait_a_little)

    def second() -> None:
        worker.run_once(live)
        done.set()

    with structlog.testing.capture_logs() as said:
        with learner_turn(store):
            thread = Thread(target=second)
            thread.start()
            assert waited.wait(10)
            assert not done.is_set()
        thread.join(10)
    assert done.is_set()
    assert {line["event"] for line in said} == {"learner_waits"}


def test_without_turns_both_would_work_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "learner_turn", lambda _store: nullcontext(True))
    ran: list[Any] = []
    live = service(store)
    with learner_turn(store):
        ran.append(worker.run_once(live))
    assert len(ran) == 1
