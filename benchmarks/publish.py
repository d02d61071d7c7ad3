"""The cost of publishing a version, relative to the pass that teaches it 10,000 events."""

from contextlib import closing
from datetime import timedelta
from statistics import median
from time import perf_counter

from bandit.learn.publish import PUBLISH_EVERY, Start, checked, publish, start_of
from bandit.learn.teach import Log, Progress, teach
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import SystemClock
from bandit.store import closings
from bandit.store.models import CHAMPION
from bandit.store.sql.database import Store
from benchmarks import scenario
from benchmarks.databases import Past, make_database
from benchmarks.measure import Bar, Figure, Run, ratio_figure

AGO = timedelta(days=30)
USERS = 10_000


def publishing(run: Run) -> list[Figure]:
    """Passes one after the other, each taught from the version before, as a learner that catches up does."""
    database = run.folder / "publish.db"
    until = run.now - timedelta(days=3)  # so that everything is closed
    past = Past(users=range(USERS), decisions=run.pairs * PUBLISH_EVERY, since=until - AGO, until=until)
    make_database(database, [scenario.campaign()], past, run)
    with closing(Store(f"sqlite:///{database}")) as store:
        taught, published, size = zip(*(_pass(store) for _ in range(run.pairs)), strict=True)
    whole = [one + other for one, other in zip(taught, published, strict=True)]
    facts = {
        "events a pass": f"{PUBLISH_EVERY:,}",
        "teaching, s": median(taught),
        "publishing, ms": 1e3 * median(published),
        "bytes of the last version": float(size[-1]),
    }
    what = "publishing (bytes, digest, canary, commit) as a share of a pass of 10,000 events, 73 actions"
    return [ratio_figure("publish", what, Bar(most=0.10), over=published, under=whole, facts=facts)]


def _pass(store: Store) -> tuple[float, float, int]:
    """Seconds of teaching and of publishing, and the size of the version."""
    campaigns, campaign = Campaigns(store, SystemClock()), scenario.campaign()
    begun = perf_counter()
    with store.read() as connection:
        start = start_of(connection, campaign, CHAMPION)
        head = closings.last_seq(connection, campaign.id)
        assert isinstance(start, Start)
        lineage = start.lineage
        parent = lineage.parent_row(connection)
    with lineage.learner(parent) as learner:
        log = Log(store=store, campaigns=campaigns)
        progress = teach(learner, log, lineage, Progress.at_start_of(lineage), head=head, most=start.most_events)
        taught = perf_counter()
        row = start.next_version(learner, progress, SystemClock().now())
    row = checked(row, campaign, parent)
    assert row.health == "ok", row.health
    assert progress.learned == PUBLISH_EVERY
    publish(store, start, row, progress.refused)
    return taught - begun, perf_counter() - taught, row.size
