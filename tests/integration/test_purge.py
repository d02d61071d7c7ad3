"""Feedback of one key is taken back, and what is learned then is as if it had never come; on both databases."""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from bandit.decide.decision import DecisionRecord
from bandit.domain import Feedback, FeedbackStatus
from bandit.errors import Conflict, InvalidInput, NotFound, StaleLearner
from bandit.learn import canary
from bandit.learn import purge as purging
from bandit.learn.fall import FallDetector
from bandit.learn.purge import Purged
from bandit.serve.models import load_version
from bandit.serve.receipts import receipt
from bandit.service import Service
from bandit.store import closings as closing_rows
from bandit.store import models as model_rows
from bandit.store import purges
from bandit.store.models import CHALLENGER, CHAMPION, OK, ModelRow
from bandit.store.purges import Count, Suspects
from bandit.store.sql.database import Store
from bandit.store.sql.schema import choice_sums, closings, final_rewards, models, reward_sums
from bandit.store.sql.schema import feedback as feedback_rows
from bandit.store.sql.turns import relearn_turn
from bandit.times import HOUR
from tests.support.builders import (
    LEARN_AFTER,
    MORNING,
    WINDOW,
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
    versions,
)
from tests.support.wire import json_of, running

DAY = timedelta(days=1)
POISON = "key-7"
FINAL_AT_ONCE = campaign(reward={"learn_after_hours": 48})


@pytest.fixture
def clean_store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    """A second store, which the poison never reaches; the engine's numbers do not depend on the database."""
    path = tmp_path / "clean.db"
    path.write_bytes(sqlite_template.read_bytes())
    with closing(Store(f"sqlite:///{path}")) as store:
        yield store


def honest(records: Sequence[DecisionRecord]) -> list[Feedback]:
    kinds = ["clicked", "opened", "failed", None]
    given = [(one, kinds[place % len(kinds)]) for place, one in enumerate(records)]
    return [feedback(one, kind, 2.0, event_id="honest") for one, kind in given if kind is not None]


def poison(records: Sequence[DecisionRecord], earliest: float, latest: float) -> list[Feedback]:
    """Clicks that never were, failures that were none, in the hours after the decision."""
    rng = random.Random(7)
    return [
        feedback(one, kind, rng.uniform(earliest, latest), event_id=f"poison-{kind}-{earliest}")
        for one in records
        for kind, share in (("clicked", 0.4), ("failed", 0.1), ("unsubscribed", 0.1))
        if rng.random() < share
    ]


def give_as(live: Service, source: str, events: Sequence[Feedback]) -> None:
    """Feedback that came with a key."""
    give(live, events)
    with live.store.write() as connection:
        for one in events:
            chosen = (feedback_rows.c.decision_id == one.decision_id) & (feedback_rows.c.event_id == one.event_id)
            connection.execute(update(feedback_rows).where(chosen).values(source=source))


def days(live: Service, *, poisoned: bool, numbers: Sequence[int] = (0, 1, 2)) -> None:
    """Some days of decisions, each learned before the next.

    Nobody loads a model, and each day has users of its own: decisions after the poison are the same as without it.
    What a decision saw of its user's history was so when it was made, and stays.
    """
    for number in numbers:
        now = MORNING + number * 2 * DAY
        records = decide(live, [request(f"u-{number}-{user}", now) for user in range(30)])
        give(live, honest(records))
        if poisoned and number != 1:
            give_as(live, POISON, poison(records, 1.0, 20.0))
        advance(live, now + LEARN_AFTER)
        live.learner.run_pass()
        if poisoned and number != 1:
            give_as(live, POISON, poison(records, 27.0, 40.0))  # known after the closing, before the deadline
        advance(live, now + WINDOW)
        live.learner.run_pass()
        if poisoned and number != 1:
            give_as(live, POISON, poison(records, 5.0, 20.0))  # late, and in time


def rewards(store: Store) -> list[tuple[Any, ...]]:
    """Every closed reward with its events, and every final one, in learning order."""
    closed = closings.c.decision_id, closings.c.reward, closings.c.skipped, closings.c.events
    statement = (
        select(*closed, final_rewards.c.reward)
        .outerjoin(final_rewards, final_rewards.c.decision_id == closings.c.decision_id)
        .order_by(closings.c.seq)
    )
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def sums(store: Store) -> set[tuple[Any, ...]]:
    """What the dashboard is told of final rewards, to nine digits."""
    with store.read() as connection:
        rows = [tuple(row) for table in (reward_sums, choice_sums) for row in connection.execute(select(table))]
    return {tuple(round(one, 9) + 0.0 if isinstance(one, float) else one for one in row) for row in rows}


def apart(some: Store, others: Store) -> float:
    """How far the predictions of two stores' champions are apart."""
    events = closed(some)[:40]
    with load_version(champion(some)) as one, load_version(champion(others)) as other:
        return difference(scores(one, events), scores(other, events))


def suspects(live: Service, **changes: Any) -> Suspects:
    asked = {"source": POISON, "since": MORNING, "until": None, "campaign_id": None, **changes}
    return live.purger.suspects(**asked)


def purge(live: Service, **changes: Any) -> list[Purged]:
    return live.purger.run(suspects(live, **changes))


def named(store: Store) -> dict[str, ModelRow]:
    with store.read() as connection:
        found = model_rows.aliases(connection, "spring")
        rows = {alias: model_rows.get(connection, "spring", one.version) for alias, one in found.items()}
    return {alias: row for alias, row in rows.items() if row is not None}


def promoted_relearn(live: Service) -> None:
    """What is known by now, also on the store that was never poisoned, as a purge learns final rewards too."""
    live.versions.promote("spring", live.relearner.run(live.relearner.plan("spring", {}, {})).row.version)


@pytest.mark.parametrize("document", [FINAL_AT_ONCE, campaign()], ids=["final when learned", "learned before final"])
def test_after_a_purge_all_is_as_if_the_feedback_had_never_come(
    store: Store, clean_store: Store, document: Any
) -> None:
    live, clean = service(store, 50, document), service(clean_store, 50, document)
    days(live, poisoned=True)
    days(clean, poisoned=False)
    if document is not FINAL_AT_ONCE:
        promoted_relearn(clean)
    assert rewards(store) != rewards(clean_store)
    assert sums(store) != sums(clean_store)
    assert apart(store, clean_store) > 0.0
    old = champion(store)

    (purged,) = purge(live)
    assert rewards(store) == rewards(clean_store)
    assert sums(store) == sums(clean_store)
    new = champion(store)
    assert apart(store, clean_store) == 0.0
    assert new.events_learned == champion(clean_store).events_learned
    assert (new.parent, new.lineage, new.health) == (0, old.version + 1, OK)
    assert [step.row.version for step in purged.steps] == [new.version]
    assert purged.refused == len([row for row in versions(store) if row.health.startswith("purged: ")]) == 3
    days(live, poisoned=False, numbers=[3])
    days(clean, poisoned=False, numbers=[3])
    assert champion(store).lineage == new.version
    assert apart(store, clean_store) == 0.0


def test_rewards_that_were_final_before_there_were_sums_are_corrected_in_none(
    store: Store, clean_store: Store, database_url: str
) -> None:
    live, clean = service(store, 58, FINAL_AT_ONCE), service(clean_store, 58, FINAL_AT_ONCE)
    for one, poisoned in ((live, True), (clean, False)):
        days(one, poisoned=poisoned, numbers=[0])
        with one.store.write() as connection:  # as an upgrade from the schema before the sums leaves it
            connection.execute(delete(reward_sums))
            connection.execute(delete(choice_sums))
        days(one, poisoned=poisoned, numbers=[2])
    purge(live)
    assert rewards(store) == rewards(clean_store)
    voided = {row for row in sums(store) if row[1] == MORNING.replace(hour=0) and len(row) == 6}
    assert sums(store) - voided == sums(clean_store)  # those that have a reward only since the purge
    assert all(number == 1 for *_, number, _ in voided)
    with running(database_url) as client:
        json_of(client.get("/campaigns/spring/insights"))


def test_only_feedback_of_the_key_in_the_time_and_the_campaign_is_taken_back(store: Store) -> None:
    live = service(store, 51, FINAL_AT_ONCE)
    days(live, poisoned=True)
    before = rewards(store)
    for nobody in ({"source": "key-8"}, {"since": MORNING + 30 * DAY}, {"until": MORNING + HOUR}):
        assert live.purger.count(suspects(live, **nobody)) == []
        assert purge(live, **nobody) == []
    assert rewards(store) == before
    (all_of_it,) = live.purger.count(suspects(live))
    (first,) = live.purger.count(suspects(live, until=MORNING + 3 * DAY, campaign_id="spring"))
    assert 0 < first.events < all_of_it.events
    assert 0 < first.decisions < all_of_it.decisions
    purge(live, until=MORNING + 3 * DAY)
    assert live.purger.count(suspects(live)) == [
        Count(campaign_id="spring", events=all_of_it.events, excluded=first.events, decisions=all_of_it.decisions)
    ]


def test_a_purged_version_is_kept_and_neither_promoted_nor_gone_back_to(store: Store) -> None:
    live = service(store, 52, FINAL_AT_ONCE)
    days(live, poisoned=True)
    old = champion(store).version
    purge(live)
    why = f"was refused: purged: learned feedback of source '{POISON}' received since 2026-03-02T09:00:00Z"
    with pytest.raises(Conflict, match=why):
        live.versions.promote("spring", old)
    with pytest.raises(Conflict, match=why):
        live.versions.rollback("spring")


def test_versions_from_before_the_feedback_stay_healthy(store: Store) -> None:
    live = service(store, 53, FINAL_AT_ONCE)
    days(live, poisoned=False, numbers=[0, 1])
    days(live, poisoned=True, numbers=[2])
    assert purge(live)[0].refused == 1
    assert [row.health == OK for row in versions(store)] == [True, True, False, True]


def test_the_same_purge_again_finds_nothing_left_to_do(store: Store) -> None:
    live = service(store, 54, FINAL_AT_ONCE)
    days(live, poisoned=True)
    purge(live)
    before = rewards(store), [row.version for row in versions(store)]
    (again,) = purge(live)
    assert (again.refused, list(again.steps)) == (0, [])
    assert again.count.excluded == again.count.events > 0
    assert (rewards(store), [row.version for row in versions(store)]) == before


def test_a_purge_that_breaks_off_goes_on_when_it_is_asked_for_again(
    store: Store, clean_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, clean = service(store, 55, FINAL_AT_ONCE), service(clean_store, 55, FINAL_AT_ONCE)
    days(live, poisoned=True)
    days(clean, poisoned=False)
    monkeypatch.setattr(purging, "CHUNK", 5)
    exclude_next, left = purges.exclude_next, iter([True, True])

    def breaks(*asked: Any) -> Any:
        if next(left, False):
            return exclude_next(*asked)
        raise ArithmeticError

    with monkeypatch.context() as broken:
        broken.setattr(purges, "exclude_next", breaks)
        with pytest.raises(ArithmeticError):
            purge(live)
    assert live.purger.count(suspects(live))[0].excluded == 10
    live.learner.run_pass()  # retrains on what it can see, which is still poisoned
    assert apart(store, clean_store) > 0.0
    purge(live)
    assert apart(store, clean_store) == 0.0
    assert rewards(store) == rewards(clean_store)


def test_the_learners_next_pass_teaches_anew_what_a_killed_purge_refused(
    store: Store, clean_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, clean = service(store, 56, FINAL_AT_ONCE), service(clean_store, 56, FINAL_AT_ONCE)
    days(live, poisoned=True)
    days(clean, poisoned=False)
    with monkeypatch.context() as killed:
        killed.setattr(purging.Purger, "_retrained", lambda *_: [])
        purge(live)
    old = champion(store).version
    assert champion(store).health.startswith("purged")
    assert live.learner.run_pass().published == (("spring", old + 1),)
    assert apart(store, clean_store) == 0.0


@pytest.mark.parametrize("falls", [False, True], ids=["as ever", "and the alarm rings"])
def test_a_learner_that_lost_its_turn_publishes_nothing_that_was_taught_from_what_a_purge_refused(
    store: Store, falls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(store, 57, FINAL_AT_ONCE)
    days(live, poisoned=True)
    records = decide(live, [request(f"v-{user}", MORNING + 8 * DAY) for user in range(10)])
    give(live, honest(records))
    advance(live, MORNING + 8 * DAY + WINDOW)
    after, purges_to_come = closing_rows.after, [suspects(live, campaign_id="spring")]

    def purged_meanwhile(*asked: Any) -> Any:
        while purges_to_come:  # up to where the versions are refused, as one that is killed then
            live.purger._exclude_next(purges_to_come.pop(), "purged: since")
        return after(*asked)

    monkeypatch.setattr(closing_rows, "after", purged_meanwhile)
    rings = [falls, *[False] * 10_000]
    monkeypatch.setattr(FallDetector, "found", property(lambda _: rings.pop(0)))
    with pytest.raises(StaleLearner, match="was taught from 3, which by now is refused: purged: since"):
        live.learner.run_pass()
    live.learner.run_pass()
    assert (champion(store).parent, champion(store).health) == (0, OK)


def test_a_poisoned_champion_that_is_held_and_its_challenger_are_both_retrained(
    store: Store, clean_store: Store
) -> None:
    live, clean = service(store, 57, FINAL_AT_ONCE), service(clean_store, 57, FINAL_AT_ONCE)
    days(live, poisoned=True)
    days(clean, poisoned=False)
    live.versions.rollback("spring")
    purge(live)
    rows = named(store)
    assert {alias: row.health for alias, row in rows.items()} == {CHAMPION: OK, CHALLENGER: OK}
    assert apart(store, clean_store) == 0.0
    assert rows[CHALLENGER].events_learned == rows[CHAMPION].events_learned


def test_what_the_canary_said_of_the_poisoned_log_does_not_keep_the_purged_one_from_being_taught(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(store, 56, FINAL_AT_ONCE)
    days(live, poisoned=True)
    with monkeypatch.context() as failing:
        failing.setattr(canary, "fault", lambda *_asked: "it does not move")
        refused = live.relearner.run(live.relearner.plan("spring", {}, {})).row
    (purged,) = purge(live)
    assert [step.row.health for step in purged.steps] == [OK]
    assert purged.refused == 3
    assert (champion(store).lineage, champion(store).health) == (refused.version + 1, OK)
    (health,) = [row.health for row in versions(store) if row.version == refused.version]
    assert health.startswith("purged: ")
    assert health.endswith("before: it does not move")


def test_what_is_not_yet_closed_is_only_excluded(store: Store) -> None:
    live = service(store, 58, FINAL_AT_ONCE)
    records = decide(live, [request(f"u-{user}") for user in range(20)])
    give_as(live, POISON, poison(records, 1.0, 20.0))
    (purged,) = purge(live)
    assert (purged.refused, list(purged.steps)) == (0, [])
    advance(live, MORNING + WINDOW)
    live.learner.run_pass()
    assert {reward <= 0.0 for _, reward, *_ in rewards(store)} == {True}


def test_excluded_events_stay_on_the_receipt_and_block_no_other_sender_and_no_feature(store: Store) -> None:
    live = service(store, 59, FINAL_AT_ONCE)
    records = decide(live, [request(f"u-{user}") for user in range(20)])
    event = feedback(records[0], "clicked", 3.0, event_id="e-1")
    give_as(live, POISON, [event])
    purge(live)
    with store.read() as connection:
        (shown,) = receipt(connection, records[0].decision.id)["feedback"]
    assert shown["excluded"].startswith(f"purged: learned feedback of source '{POISON}'")
    later = MORNING + 6 * HOUR
    (unanswered,) = decide(live, [request("u-0", later)])
    assert unanswered.history_features.get("responses_30d", 0.0) == 0.0
    assert give(live, [event]) == [FeedbackStatus.ACCEPTED]
    (answered,) = decide(live, [request("u-0", later)])
    assert answered.history_features["responses_30d"] == 1.0
    advance(live, MORNING + WINDOW)
    live.learner.run_pass()
    assert next(reward for decision_id, reward, *_ in rewards(store) if decision_id == records[0].decision.id) > 0.9


def test_a_campaign_that_is_being_relearned_is_purged_afterwards(store: Store) -> None:
    live = service(store, 60, FINAL_AT_ONCE)
    days(live, poisoned=True)
    with relearn_turn(store, "spring") as ours:
        assert ours
        with pytest.raises(Conflict, match="'spring' is being relearned: purge when that has ended"):
            purge(live)
    assert live.purger.count(suspects(live))[0].excluded == 0


def test_a_purge_of_no_campaign_or_no_time_is_refused(sqlite_store: Store) -> None:
    live = service(sqlite_store, 61, FINAL_AT_ONCE)
    with pytest.raises(NotFound, match="unknown campaign 'autumn'"):
        suspects(live, campaign_id="autumn")
    with pytest.raises(InvalidInput, match="since: 2026-03-02T09:00:00Z: is not before 2026-03-02T09:00:00Z"):
        suspects(live, until=MORNING)


def test_the_poisoned_champion_serves_until_the_new_one_is_published(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(store, 62, FINAL_AT_ONCE)
    days(live, poisoned=True)
    old = champion(store).version
    with monkeypatch.context() as killed:
        killed.setattr(purging.Purger, "_retrained", lambda *_: [])
        purge(live)
    live.models.refresh()
    assert live.models.states() == {"spring": f"version {old}"}
    with store.read() as connection:
        assert connection.execute(select(models.c.version).where(models.c.version == old)).scalar_one() == old
