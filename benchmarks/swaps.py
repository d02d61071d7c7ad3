"""A serving process that changes its model repeatedly while it answers: how long requests wait, how memory grows."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median

import orjson

from api.edge.payloads import parse_decide
from bandit.serve.decisions import Ask
from bandit.service import build_service
from bandit.store import models
from bandit.store.models import CHAMPION, Alias
from bandit.store.sql.database import Store
from benchmarks import scenario
from benchmarks.databases import Past, make_database
from benchmarks.load import Connection, http_request, latency_seconds
from benchmarks.measure import Bar, Figure, Run
from benchmarks.servers import Server, service

SWAPS, QUICK_SWAPS = 1_000, 60
LEARNED, QUICK_LEARNED = 10_000, 1_000  # events that the models know
POLL_SECONDS = 0.02
WINDOW = 10  # swaps; as many requests are asked in the window without any
PATIENCE_SECONDS = 30.0
READINGS, BETWEEN_READINGS_SECONDS = 5, 0.1


def swaps(run: Run) -> list[Figure]:
    number, database = (QUICK_SWAPS if run.quick else SWAPS), run.folder / "swaps.db"
    _two_versions(database, run)
    requests = _requests()
    waits, sizes = [], {}
    with (
        closing(Store(f"sqlite:///{database}")) as store,
        service(database, model_poll_seconds=POLL_SECONDS) as served,
        Connection(served.port) as connection,
    ):
        _window(store, served, connection, requests, WINDOW)  # the first loads, and the first decisions
        sizes[0] = _settled(served)
        for done in range(WINDOW, number + 1, WINDOW):
            during, asked = _window(store, served, connection, requests, WINDOW)
            still = max(latency_seconds(connection, next(requests)) for _ in range(asked))
            waits.append((during, still))
            if done % (number // 5) == 0:
                sizes[done] = _settled(served)
    return [_cost(database, number, _longest(waits)), _growth(sizes)]


def _cost(database: Path, number: int, seen: dict[str, float | str]) -> Figure:
    """CPU time of a change and of the first decision after it, all of which may hold the interpreter.

    A request that arrives during the change waits at most this long, however busy the machine is with other work.
    """
    asks = (Ask(request=parse_decide(body)) for body in scenario.decide_bodies(range(10**8, 10**9)))
    changes, firsts, others = [], [], []
    with closing(Store(f"sqlite:///{database}")) as store:
        service = build_service(store, clock="system", entropy=random.Random(1).randbytes)
        service.models.refresh()
        for _ in range(number):
            _swap(store)
            changes.append(_cpu_seconds(service.models.refresh))
            firsts.append(_cpu_seconds(partial(service.decider.decide_many, [next(asks)])))
            others.append(_cpu_seconds(partial(service.decider.decide_many, [next(asks)])))
    whole = [1e3 * (change + first) for change, first in zip(changes, firsts, strict=True)]
    facts: dict[str, float | str] = {
        "median, ms": median(whole),
        "median of the change alone, ms": 1e3 * median(changes),
        "median of the first decision, ms": 1e3 * median(firsts),
        "median of the next decision, ms": 1e3 * median(others),
        **seen,
    }
    what = (
        f"most CPU time of a change of the model and the first decision after it, of {number:,}: what a request waits"
    )
    return Figure(name="swaps", what=what, value=max(whole), bar=Bar(most=50.0, unit="ms"), facts=facts)


def _cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def _longest(waits: list[tuple[float, float]]) -> dict[str, float | str]:
    """The longest requests of a client; also without changes, because the machine may be busy with other work."""
    during, still = [one for one, _ in waits], [other for _, other in waits]
    return {
        "longest /decide while the model changes, ms": 1e3 * max(during),
        "longest while it does not, ms": 1e3 * max(still),
        "median longest of a window with changes, ms": 1e3 * median(during),
        "median longest of a window without, ms": 1e3 * median(still),
    }


def _growth(sizes: dict[int, float]) -> Figure:
    facts = {f"after {done:,} swaps, MB": size for done, size in sizes.items()}
    last = max(sizes)
    what = f"resident memory of the serving process, growth over {last:,} swaps"
    return Figure(
        name="swaps, memory", what=what, value=sizes[last] - sizes[0], bar=Bar(most=20.0, unit="MB"), facts=facts
    )


def _two_versions(database: Path, run: Run) -> None:
    """A campaign with a version that knows a past, and a second one of the same bytes."""
    until = run.now - timedelta(days=3)
    decisions = QUICK_LEARNED if run.quick else LEARNED
    past = Past(users=range(decisions), decisions=decisions, since=until - timedelta(days=10), until=until)
    make_database(database, [scenario.campaign()], past, run)
    with closing(Store(f"sqlite:///{database}")) as store:
        build_service(store, clock="system", entropy=bytes).learner.run_pass()
        with store.write() as connection:
            row = models.champion(connection, scenario.CAMPAIGN)
            assert row is not None
            models.add(connection, replace(row, version=2, parent=1, champion_since=None))


def _requests() -> Iterator[bytes]:
    yield from (http_request("/decide", body) for body in scenario.decide_bodies(range(10**7, 10**8)))


def _window(
    store: Store, served: Server, connection: Connection, requests: Iterator[bytes], number: int
) -> tuple[float, int]:
    """The longest request while the model changes so many times, and how many were asked."""
    worst, asked = 0.0, 0
    for _ in range(number):
        version = _swap(store)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            begun = time.perf_counter()
            answer = orjson.loads(connection.ask(next(requests)))
            worst, asked = max(worst, time.perf_counter() - begun), asked + 1
            if answer["model_version"] == version:
                break
            assert time.monotonic() < give_up_at, f"process {served.pid} does not serve version {version}"
    return worst, asked


def _settled(served: Server) -> float:
    """Resident megabytes once the model before is let go of: the least of some readings."""
    readings = []
    for _ in range(READINGS):
        time.sleep(BETWEEN_READINGS_SECONDS)
        readings.append(served.resident_megabytes())
    return min(readings)


def _swap(store: Store) -> int:
    """The other version, which is champion from now on."""
    with store.write() as connection:
        named = models.aliases(connection, scenario.CAMPAIGN)[CHAMPION]
        moved = Alias(
            alias=CHAMPION, version=3 - named.version, held=False, campaign_arguments=named.campaign_arguments
        )
        row = models.manifest(connection, scenario.CAMPAIGN, moved.version)
        assert row is not None
        models.point(connection, scenario.CAMPAIGN, moved, row.created_at)
    return moved.version
