"""Eight learners started together, round after round: nothing is learned twice, and no version is lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from threading import Barrier

import pytest

from api.processes import worker
from bandit.errors import StaleLearner
from bandit.learn import publish as publishing
from bandit.learn.learner import PassResult
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store.sql.database import Store
from tests.support.builders import (
    LEARN_AFTER,
    MORNING,
    advance,
    campaign,
    champion,
    closed,
    decide,
    difference,
    request,
    scores,
    service,
    taught,
    versions,
)

LEARNERS, USERS = 8, 24
ROUND = timedelta(days=2)


def in_turns(live: Service) -> PassResult:
    return worker.run_once(live)


def all_at_once(live: Service) -> PassResult:
    return live.learner.run_pass()


def learn_until_done(live: Service, run: Callable[[Service], PassResult]) -> tuple[int, int]:
    """Events that this learner learned, and how often it was refused."""
    learned = refused = 0
    while True:
        try:
            result = run(live)
        except StaleLearner:
            refused += 1
            continue
        learned += result.learned
        if result == PassResult(closed=0, learned=0, published=()):
            return learned, refused


def race(url: str, number: int, run: Callable[[Service], PassResult]) -> tuple[int, int]:
    """What eight learners did together, each with a service of its own as a process would have."""
    start = Barrier(LEARNERS)

    def racer(_: int) -> tuple[int, int]:
        with closing(Store(url)) as store:
            live = service(store)
            advance(live, MORNING + number * ROUND + LEARN_AFTER)
            start.wait()
            return learn_until_done(live, run)

    with ThreadPoolExecutor(LEARNERS) as pool:
        done = list(pool.map(racer, range(LEARNERS)))
    return sum(learned for learned, _ in done), sum(refused for _, refused in done)


@pytest.mark.parametrize("run", [all_at_once, in_turns])
def test_eight_learners_started_together_learn_nothing_twice_and_lose_no_version(
    store: Store,
    database_url: str,
    rounds: int,
    run: Callable[[Service], PassResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "VERSIONS_KEPT", 10_000)
    monkeypatch.setattr(worker, "TURN_POLL_SECONDS", 0.01)
    live = service(store, 1, campaign())
    refusals = 0
    for number in range(rounds):
        decide(live, [request(f"u-{user}", MORNING + number * ROUND) for user in range(USERS)])
        learned, refused = race(database_url, number, run)
        assert learned == USERS
        refusals += refused
    rows, events = versions(store), closed(store)
    assert len({event.decision_id for event in events}) == len(events) == rounds * USERS
    assert [row.version for row in rows] == list(range(1, len(rows) + 1))
    assert [row.parent for row in rows] == list(range(len(rows)))
    assert all(one.watermark < two.watermark for one, two in pairwise(rows))
    assert champion(store).events_learned == rounds * USERS
    with taught(campaign().engine_arguments, events) as reference, load_version(champion(store)) as served:
        assert difference(scores(served, events[:20]), scores(reference, events[:20])) == 0.0
    if run is in_turns:
        assert refusals == 0
