"""kill -9 of a relearn and of a purge: no half of either, and the same command again does the whole."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

from sqlalchemy import text

from bandit.serve.models import load_version
from bandit.store import models as model_rows
from bandit.store.sql.database import Store
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
    versions,
)

ROOT = Path(__file__).parents[2]
DECISIONS = 600
LONGEST_COMMAND = 3.0  # seconds that one of these takes, with the start of its process


def learned(store: Store) -> None:
    live = service(store, 9, campaign(reward={"learn_after_hours": 48}))
    records = decide(live, [request(f"u-{user}") for user in range(DECISIONS)])
    give(live, [feedback(one) for one in records[::3]])
    with store.write() as connection:
        connection.execute(text("UPDATE feedback SET source = 'key-7' WHERE seq % 2 = 0"))
    advance(live, MORNING + WINDOW)
    live.learner.run_pass()


def command(url: str, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "SENDOPT_DATABASE_URL": url, "SENDOPT_CLOCK": "request"}
    arguments = [sys.executable, "-m", "api", "models", *words]
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed(url: str, *words: str, after: float) -> bool:
    """Whether the kill came before the end."""
    with command(url, *words) as process:
        sleep(after)
        process.kill()
    return process.returncode == -signal.SIGKILL


def finished(url: str, *words: str) -> None:
    with command(url, *words) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_a_killed_relearn_leaves_no_trace_and_the_next_one_is_whole(sqlite_store: Store, sqlite_url: str) -> None:
    learned(sqlite_store)
    rng = random.Random(1)
    for _ in range(3):
        before = len(versions(sqlite_store))
        was_killed = killed(sqlite_url, "relearn", "spring", after=rng.uniform(0.5, 0.7) * LONGEST_COMMAND)
        assert len(versions(sqlite_store)) - before in ((0, 1) if was_killed else (1,))
    finished(sqlite_url, "relearn", "spring")
    with sqlite_store.read() as connection:
        challenger = model_rows.aliases(connection, "spring")["challenger"].version
        row = model_rows.get(connection, "spring", challenger)
    assert row is not None
    with load_version(row) as one, load_version(champion(sqlite_store)) as other:
        events = closed(sqlite_store)[:50]
        assert difference(scores(one, events), scores(other, events)) == 0.0


def test_a_killed_purge_is_whole_after_the_same_purge_again(sqlite_store: Store, sqlite_url: str) -> None:
    learned(sqlite_store)
    rng = random.Random(2)
    words = ("purge", "spring", "--source", "key-7", "--since", "2026-03-01T00:00:00Z")
    for _ in range(3):
        killed(sqlite_url, *words, after=rng.uniform(0.5, 0.9) * LONGEST_COMMAND)
    finished(sqlite_url, *words)
    row, events = champion(sqlite_store), closed(sqlite_store)
    assert sum(one.reward is not None and one.reward > 0.5 for one in events) == DECISIONS // 6
    assert row.health == "ok"
    with load_version(row) as one, taught(campaign().engine_arguments, events) as reference:
        assert difference(scores(one, events[:50]), scores(reference, events[:50])) == 0.0
