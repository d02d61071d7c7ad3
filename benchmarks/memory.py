"""Resident memory of a serving process over many decisions."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count, islice

import orjson
import urllib3

from benchmarks import scenario
from benchmarks.batch import batch_requests
from benchmarks.databases import make_database
from benchmarks.load import Connection
from benchmarks.measure import Bar, Figure, Run
from benchmarks.servers import service

DECISIONS, QUICK_DECISIONS = 200_000, 20_000
BATCH = 500
REFUSALS, QUICK_REFUSALS = 100_000, 2_000
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


def hostile(run: Run) -> list[Figure]:
    """Resident memory of a serving process that gets many bodies that it must refuse."""
    requests = QUICK_REFUSALS if run.quick else REFUSALS
    database = run.folder / "hostile.db"
    make_database(database, [scenario.campaign()], None, run)
    with service(database) as served:
        pool = urllib3.HTTPConnectionPool("127.0.0.1", served.port, retries=False)
        statuses, warm = Counter[int](), 0.0
        for number, body in enumerate(islice(_hostile_bodies(), requests + requests // 10)):
            if number == requests // 10:
                warm = served.resident_megabytes()
            statuses[pool.request("POST", "/decide", body=body).status] += 1
        pool.close()
        grown = served.resident_megabytes() - warm
    failed = sum(count for status, count in statuses.items() if status >= 500)
    if failed:
        raise AssertionError(f"{failed} hostile bodies made the service fail")
    facts = {f"answered {status}": float(count) for status, count in sorted(statuses.items())}
    what = f"growth of the serving process over {requests:,} hostile bodies to /decide, after a tenth as many"
    return [Figure(name="hostile", what=what, value=grown, bar=Bar(most=20.0, unit="MB"), facts=facts)]


def _hostile_bodies() -> Iterator[bytes]:
    """Bodies that are refused, no two alike: broken, deep, huge, of wrong types, with names that nobody knows."""
    for place in count():
        user = scenario.user_document(place, population=TURNS * DECISIONS)
        good = {"campaign": scenario.CAMPAIGN, "user": user}
        text = orjson.dumps(good)
        yield text[: -1 - place % 40]
        yield orjson.dumps({**good, f"surprise-{place}": place})
        yield orjson.dumps({**good, "campaign": f"nope-{place}"})
        yield orjson.dumps({**good, "user": {**user, "timezone": f"Mars/Base-{place}"}})
        yield orjson.dumps({**good, "contents": [f"nope-{place}"]})
        yield orjson.dumps({**good, "user": {**user, "features": {f"f{place}": {"a": [place]}}}})
        yield text.replace(b'"features":{', b'"features":{"n%d":1e999,' % place)
        yield text.replace(b'"features":{', b'"features":{"n%d":"\\ud800",' % place)
        yield b'{"campaign":' + b"[" * (21 + place % 400) + b"]" * 400 + b"}"
        yield orjson.dumps({**good, "user": {**user, "features": {f"f{place}-{other}": 1 for other in range(300)}}})


def _bodies(users: int) -> Iterator[bytes]:
    """Requests about users of whom no two have the same features, each user again after all the others."""
    for place in count():
        user = scenario.user_document(place, population=TURNS * users)
        user["id"] = f"user-{place % users}"
        now = scenario.START + place * BETWEEN_DECISIONS
        yield orjson.dumps({"campaign": scenario.CAMPAIGN, "user": user, "now": now})
