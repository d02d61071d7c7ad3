"""A decision among 1,500 eligible actions against one among 73: as it is answered, and its core alone."""

from collections.abc import Iterator
from itertools import count
from statistics import median

from benchmarks import scenario
from benchmarks.core import Bench
from benchmarks.databases import make_database
from benchmarks.load import Connection, http_request, latency_seconds
from benchmarks.measure import Bar, Figure, Run, interleaved, ratio_figure
from benchmarks.servers import service

MANY_CONTENTS = 125  # with 3 channels and 4 hours, 1,500 actions
MANY = "bench-many"
REQUESTS, QUICK_REQUESTS = 100, 30
CORE_USERS, QUICK_CORE_USERS = 200, 40


def many(run: Run) -> list[Figure]:
    return [_answered(run), _core_alone(run)]


def _answered(run: Run) -> Figure:
    database = run.folder / "many.db"
    make_database(database, [scenario.campaign(), scenario.campaign(MANY, MANY_CONTENTS)], None, run)
    with service(database) as served, Connection(served.port) as connection:
        large, small = (
            _windows(connection, name, QUICK_REQUESTS if run.quick else REQUESTS) for name in (MANY, scenario.CAMPAIGN)
        )
        slow, quick = interleaved(large.__next__, small.__next__, run.pairs)
    facts = {"1,500 actions, ms": 1e3 * median(slow), "73 actions, ms": 1e3 * median(quick)}
    what = "/decide among 1,500 eligible actions against 73, one request at a time"
    return ratio_figure("many", what, Bar(most=5.0), over=slow, under=quick, facts=facts)


def _windows(connection: Connection, campaign: str, requests: int) -> Iterator[float]:
    """The median seconds of a request, window by window, each request about another user."""
    bodies = scenario.decide_bodies(count(), campaign)
    while True:
        yield median(latency_seconds(connection, http_request("/decide", next(bodies))) for _ in range(requests))


def _core_alone(run: Run) -> Figure:
    size = QUICK_CORE_USERS if run.quick else CORE_USERS
    large = Bench.of(scenario.campaign(MANY, MANY_CONTENTS), size=size)
    small = Bench.of(scenario.campaign(), size=size)
    slow, quick = interleaved(large.decide_window, small.decide_window, run.pairs)
    facts = {"1,500 actions, µs": 1e6 * median(slow), "73 actions, µs": 1e6 * median(quick)}
    what = "the same, decision core without I/O"
    return ratio_figure("many, core", what, None, over=slow, under=quick, facts=facts)
