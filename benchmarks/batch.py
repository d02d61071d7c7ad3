"""`/decide/batch` of 100 against single `/decide`."""

from collections.abc import Iterator
from itertools import count, islice
from statistics import median

from benchmarks import scenario
from benchmarks.databases import make_database
from benchmarks.load import http_request, lean_throughput
from benchmarks.measure import Bar, Figure, Run, interleaved, ratio_figure
from benchmarks.servers import service
from benchmarks.throughput import CONCURRENCY, decide_requests, half_with_a_past

BATCH = 100
BATCH_CONCURRENCY = 2  # one is read while the other is committed


def batch(run: Run) -> list[Figure]:
    database = run.folder / "batch.db"
    make_database(database, [scenario.campaign()], half_with_a_past(run), run)
    numbers = count()  # shared, so that nobody is asked about twice
    singles, batches = decide_requests(numbers), batch_requests(scenario.decide_bodies(numbers), BATCH)
    with service(database) as served:
        together, single = interleaved(
            lambda: BATCH * _per_second(served.port, batches, BATCH_CONCURRENCY, run),
            lambda: _per_second(served.port, singles, CONCURRENCY, run),
            run.pairs,
        )
    facts = {
        "in batches, decisions a second": median(together),
        "concurrency of batches": BATCH_CONCURRENCY,
        "single, decisions a second": median(single),
        "concurrency of singles": CONCURRENCY,
    }
    what = "decisions a second in /decide/batch of 100 against single /decide"
    return [ratio_figure("batch", what, Bar(least=5.0), over=together, under=single, facts=facts)]


def batch_requests(bodies: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Batches of so many of these requests."""
    while True:
        yield http_request("/decide/batch", b'{"requests":[%b]}' % b",".join(islice(bodies, size)))


def _per_second(port: int, requests: Iterator[bytes], connections: int, run: Run) -> float:
    return lean_throughput(port, requests, connections=connections, seconds=run.window_seconds).per_second
