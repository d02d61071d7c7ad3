"""`/decide` on a large database against the same on a small one."""

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from statistics import median

from benchmarks import scenario
from benchmarks.databases import Past, make_database
from benchmarks.load import Connection, http_request, latency_seconds
from benchmarks.measure import Bar, Figure, Run, ratio_figure
from benchmarks.servers import service

SMALL, SMALL_USERS = 1_000, 1_000
LARGE, LARGE_USERS = 1_000_000, 100_000
QUICK_LARGE, QUICK_LARGE_USERS = 50_000, 5_000
STRETCH = timedelta(days=60)
FREE_AFTER = timedelta(days=4)  # left alone for so long, a user may be sent everything again
REQUESTS = 90  # in a window, to each service, every one about another user
ROUNDS_NOT_COUNTED = 100

Asked = tuple[Connection, Iterator[bytes]]


def growth(run: Run) -> list[Figure]:
    decisions, users = (QUICK_LARGE, QUICK_LARGE_USERS) if run.quick else (LARGE, LARGE_USERS)
    with ExitStack() as stack:
        large = stack.enter_context(_asked("large", _past(decisions, users, run), run))
        small = stack.enter_context(_asked("small", _past(SMALL, SMALL_USERS, run), run))
        _window(large, small, ROUNDS_NOT_COUNTED)
        windows = [_window(large, small, REQUESTS) for _ in range(run.pairs)]
    slow, quick = [one for one, _ in windows], [other for _, other in windows]
    facts: dict[str, float | str] = {
        "large": f"{decisions:,} decisions of {users:,} users",
        "large, ms": 1e3 * median(slow),
        "small": f"{SMALL:,} decisions of {SMALL_USERS:,} users",
        "small, ms": 1e3 * median(quick),
    }
    what = f"median /decide at {decisions:,} stored decisions against {SMALL:,}, one request at a time"
    return [ratio_figure("growth", what, Bar(most=1.3), over=slow, under=quick, facts=facts)]


def _past(decisions: int, users: int, run: Run) -> Past:
    return Past(users=range(users), decisions=decisions, since=run.now - STRETCH, until=run.now)


@contextmanager
def _asked(name: str, past: Past, run: Run) -> Iterator[Asked]:
    """A connection to a service with that past, and what to ask it."""
    database = run.folder / f"{name}.db"
    make_database(database, [scenario.campaign()], past, run)
    with service(database) as served, Connection(served.port) as connection:
        yield connection, (http_request("/decide", body) for body in scenario.decide_bodies(_free_users(past, run)))


def _free_users(past: Past, run: Run) -> Sequence[int]:
    """Users about whom all actions are weighed, in an order that wanders over the whole index."""
    last_turns = range(past.decisions - len(past.users), past.decisions)
    free = [past.user(place) for place in last_turns if past.decided_at(place) < run.now - FREE_AFTER]
    random.Random(4).shuffle(free)
    return free


def _window(large: Asked, small: Asked, requests: int) -> tuple[float, float]:
    """Median seconds of a request to each, in turns."""
    pairs = [(_latency(large), _latency(small)) for _ in range(requests)]
    return median(one for one, _ in pairs), median(other for _, other in pairs)


def _latency(asked: Asked) -> float:
    connection, requests = asked
    return latency_seconds(connection, next(requests))
