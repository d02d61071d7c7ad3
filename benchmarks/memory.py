"""Resident memory of a serving process that decides and decides."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import orjson

from benchmarks import scenario
from benchmarks.batch import batch_requests
from benchmarks.databases import make_database
from benchmarks.load import Connection
from benchmarks.measure import Bar, Figure, Run
from benchmarks.servers import service

DECISIONS, QUICK_DECISIONS = 200_000, 20_000
BATCH = 500
WARM_SHARE = 0.1  # of the decisions, after which caches should have grown to their size
TURNS = 4  # decisions about each user
BETWEEN_DECISIONS = timedelta(seconds=1)  # so that send times, and what is kept of them, change as in two days


def memory(run: Run) -> list[Figure]:
    decisions = QUICK_DECISIONS if run.quick else DECISIONS
    database = run.folder / "memory.db"
    make_database(database, [scenario.campaign()], None, run)
    requests = batch_requests(_bodies(decisions // TURNS), BATCH)
    samples = {}
    with service(database, clock="request") as served, Connection(served.port) as connection:
        for done in range(BATCH, decisions + BATCH, BATCH):
            connection.ask(next(requests))
            if done % (decisions * WARM_SHARE) == 0:
                samples[done] = served.resident_megabytes()
    warm = samples[int(decisions * WARM_SHARE)]
    facts = {f"after {done:,}, MB": size for done, size in samples.items()}
    what = (
        f"resident memory of the serving process, growth from {decisions * WARM_SHARE:,.0f} to {decisions:,} decisions"
    )
    return [
        Figure(name="memory", what=what, value=samples[decisions] - warm, bar=Bar(most=20.0, unit="MB"), facts=facts)
    ]


def _bodies(users: int) -> Iterator[bytes]:
    """Requests about users of whom no two have the same features, each user again after all the others."""
    for place in count():
        user = scenario.user_document(place, population=TURNS * users)
        user["id"] = f"user-{place % users}"
        now = scenario.START + place * BETWEEN_DECISIONS
        yield orjson.dumps({"campaign": scenario.CAMPAIGN, "user": user, "now": now})
