"""A champion whose policy earns far less than before is retrained, from the log alone, and earns more again."""

from datetime import timedelta
from math import inf

import pytest
from sqlalchemy import select

from bandit.learn import fall as alarm
from bandit.learn import teach as teaching
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store.models import FALL
from bandit.store.sql.database import Store
from bandit.store.sql.schema import promotions
from tests.support.builders import (
    MORNING,
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
)

DAY = timedelta(days=1)
TASTES = ("streak", "digest", "offer")
USERS = 60  # decisions a day
CHANGE, DAYS = 9, 14
SMALL = {"channels": {"push": {"cost": 0.01}}, "send_times": {"local_hours": [12], "allow_now": False}}

DOCUMENT = campaign(**SMALL)  # three contents and silence


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level after four days, and chunks that end anywhere."""
    monkeypatch.setattr(alarm, "FIRST", 240)
    monkeypatch.setattr(teaching, "READ_CHUNK", 37)


def clicks_of(live: Service, day: int) -> int:
    """Clicks of the day; on that of the change everybody comes to like something else. One in seven clicks anyway."""
    asked = [request(f"u-{user}", MORNING + day * DAY, features={"likes": TASTES[user % 3]}) for user in range(USERS)]
    turned = int(day >= CHANGE)
    liked = [
        one
        for user, one in enumerate(decide(live, asked))
        if one.decision.action.content == TASTES[(user + turned) % 3]
        or (one.decision.action.send and (user + day) % 7 == 0)
    ]
    give(live, [feedback(one) for one in liked])
    return len(liked)


def learn(live: Service, day: int) -> None:
    advance(live, MORNING + day * DAY)
    live.learner.run_pass()
    live.models.refresh()


def lived(live: Service) -> list[int]:
    """Clicks a day, with a pass of the learner every morning."""
    clicks = []
    for day in range(DAYS):
        learn(live, day)
        clicks.append(clicks_of(live, day))
    learn(live, DAYS + 2)
    return clicks


def falls(store: Store) -> list[tuple[int | None, int | None]]:
    with store.read() as connection:
        found = connection.execute(select(promotions).where(promotions.c.cause == FALL))
        return [(row.previous, row.version) for row in found]


def test_it_begins_anew_where_the_fall_began(store: Store) -> None:
    live = service(store, 1, DOCUMENT)
    lived(live)
    ((previous, version),) = falls(store)
    row, events = champion(store), closed(store)
    assert (previous, version) == (row.lineage - 1, row.lineage)
    assert row.watermark == events[-1].seq
    assert row.events_learned < (DAYS - CHANGE + 2) * USERS
    with taught(DOCUMENT.engine_arguments, events[-row.events_learned :]) as since_then, load_version(row) as served:
        assert difference(scores(served, events[-50:]), scores(since_then, events[-50:])) == 0.0


def test_who_teaches_the_same_log_in_one_go_ends_with_the_same_predictions(store: Store) -> None:
    live = service(store, 2, DOCUMENT)
    lived(live)
    assert falls(store)
    relearned = live.relearner.run(live.relearner.plan("spring", {}, {}))
    row, events = relearned.row, closed(store)[-100:]
    with load_version(champion(store)) as passes, load_version(row) as at_once:
        assert difference(scores(passes, events), scores(at_once, events)) == 0.0
    assert row.alarm == champion(store).alarm
    assert row.events_learned == champion(store).events_learned


def test_what_it_replaced_is_one_rollback_away(store: Store) -> None:
    live = service(store, 4, DOCUMENT)
    lived(live)
    ((previous, version),) = falls(store)
    assert live.versions.rollback("spring").version == previous
    assert previous is not None
    assert version == previous + 1


def test_it_is_back_within_days(sqlite_store: Store) -> None:
    clicks = lived(service(sqlite_store, 5, DOCUMENT))
    assert clicks[-1] >= 0.8 * clicks[CHANGE - 1]


def test_without_the_alarm_it_is_not_back(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm, "LIMIT", inf)
    clicks = lived(service(sqlite_store, 5, DOCUMENT))
    assert clicks[-1] < 0.3 * clicks[CHANGE - 1]
    assert not falls(sqlite_store)


def test_without_what_earlier_passes_saw_it_never_rings(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm.FallDetector, "from_text", classmethod(lambda cls, _text: cls()))
    lived(service(sqlite_store, 5, DOCUMENT))
    assert not falls(sqlite_store)
