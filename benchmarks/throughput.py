"""`/decide`, stored durably, against a do-nothing endpoint under the same server."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import count, repeat
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from time import perf_counter

from benchmarks import scenario
from benchmarks.databases import Past, make_database
from benchmarks.load import http_request, lean_throughput, ordinary_throughput
from benchmarks.measure import Bar, Figure, Run, interleaved, ratio_figure
from benchmarks.serve import DO_NOTHING_PATH
from benchmarks.servers import do_nothing, service

CONCURRENCY = 8
PAST_USERS = 60_000  # of which every other has two decisions behind them
QUICK_PAST_USERS = 2_000
SYNC_BYTES = 20_000
SYNCS = 200


def http(run: Run) -> list[Figure]:
    database = run.folder / "throughput.db"
    make_database(database, [scenario.campaign()], half_with_a_past(run), run)
    numbers = count()  # shared, so that nobody is asked about twice
    with ExitStack() as stack:
        served, idle = stack.enter_context(service(database)), stack.enter_context(do_nothing())
        return [_lean(served.port, idle.port, numbers, run), _ordinary(served.port, idle.port, numbers, run)]


def _lean(served: int, idle: int, numbers: Iterator[int], run: Run) -> Figure:
    requests = decide_requests(numbers)
    nothing = repeat(http_request(DO_NOTHING_PATH, next(scenario.decide_bodies([0]))))
    decided, answered = interleaved(
        lambda: lean_throughput(served, requests, connections=CONCURRENCY, seconds=run.window_seconds).per_second,
        lambda: lean_throughput(idle, nothing, connections=CONCURRENCY, seconds=run.window_seconds).per_second,
        run.pairs,
    )
    facts = {**_facts(decided, answered), f"fdatasync of {SYNC_BYTES // 1000} KB, ms": 1e3 * sync_seconds(run.folder)}
    what = "/decide a second, stored durably, against a do-nothing Flask POST under the same server, one process"
    return ratio_figure("http", what, Bar(least=0.40), over=decided, under=answered, facts=facts)


def _ordinary(served: int, idle: int, numbers: Iterator[int], run: Run) -> Figure:
    bodies, nothing = scenario.decide_bodies(numbers), repeat(next(scenario.decide_bodies([0])))
    seconds = run.window_seconds
    decided, answered = interleaved(
        lambda: ordinary_throughput(served, "/decide", bodies, callers=CONCURRENCY, seconds=seconds).per_second,
        lambda: ordinary_throughput(idle, DO_NOTHING_PATH, nothing, callers=CONCURRENCY, seconds=seconds).per_second,
        run.pairs,
    )
    what = "the same as eight threads with urllib3 see it, which themselves cost most of a do-nothing call"
    return ratio_figure("http, urllib3", what, None, over=decided, under=answered, facts=_facts(decided, answered))


def _facts(decided: Sequence[float], answered: Sequence[float]) -> dict[str, float | str]:
    return {
        "concurrency": CONCURRENCY,
        "/decide a second": median(decided),
        "do-nothing POST a second": median(answered),
    }


def half_with_a_past(run: Run) -> Past:
    """Two decisions for every other user, the last of them too long ago to block anything."""
    users = range(0, QUICK_PAST_USERS if run.quick else PAST_USERS, 2)
    until = run.now - timedelta(days=8)
    return Past(users=users, decisions=2 * len(users), since=until - timedelta(days=18), until=until)


def decide_requests(numbers: Iterator[int]) -> Iterator[bytes]:
    """Requests about these users, whose texts are made before they are taken."""
    bodies = scenario.decide_bodies(numbers)
    while True:
        yield from [http_request("/decide", next(bodies)) for _ in range(1_000)]


def sync_seconds(folder: Path) -> float:
    """Median time of fdatasync after a commit's worth of bytes was appended: no commit there is quicker."""
    content = os.urandom(SYNC_BYTES)
    with NamedTemporaryFile(dir=folder) as file:
        return median(_sync(file.fileno(), content) for _ in range(SYNCS))


def _sync(descriptor: int, content: bytes) -> float:
    os.write(descriptor, content)
    start = perf_counter()
    os.fdatasync(descriptor)
    return perf_counter() - start
