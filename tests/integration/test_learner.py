"""Rewards close in order, each is learned once, a version is published whole or not at all; on both databases."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from sqlalchemy import Connection, Row, select, update

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.domain import Policy, Reason
from bandit.engine.joint import LinesLearner
from bandit.engine.load import learner_of
from bandit.errors import Conflict, CorruptModel, StaleLearner
from bandit.learn import canary
from bandit.learn import close as closing_module
from bandit.learn import publish as publishing
from bandit.learn import teach as teaching
from bandit.learn.learner import Learner, PassResult
from bandit.learn.lineage import Lineage
from bandit.learn.publish import Start
from bandit.serve.models import ModelServer, load_version
from bandit.service import Service
from bandit.store import closings as closing_rows
from bandit.store import models as model_rows
from bandit.store.models import CHALLENGER, CHAMPION, Alias, ModelRow
from bandit.store.sql.database import Store
from bandit.store.sql.schema import closings, final_rewards, models
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
    taught,
    versions,
)

DAY = timedelta(days=1)
OTHER_EXPLORER = {"vw": {"explorer": "softmax", "lambda": 2.0}}


def day(live: Service, number: int, users: int = 40, campaign: str = "spring") -> list[DecisionRecord]:
    """The decisions of one day, about as many users, with what they did: those with a feature like the contents."""
    now = MORNING + number * DAY
    records = decide(
        live, [request(f"u-{user}", now, campaign=campaign, features=features(user)) for user in range(users)]
    )
    liked = [one for user, one in enumerate(records) if one.decision.action.content == likes(user)]
    give(live, [feedback(one, "clicked", 2.0) for one in liked])
    return records


def features(user: int) -> dict[str, str]:
    return {"likes": likes(user)}


def likes(user: int) -> str:
    return ("streak", "digest", "offer")[user % 3]


def learn(live: Service, at: datetime) -> PassResult:
    """One pass at that moment."""
    advance(live, at)
    return live.learner.run_pass()


def closing_row(store: Store, record: DecisionRecord) -> Row[*tuple[Any, ...]]:
    with store.read() as connection:
        return connection.execute(select(closings).where(closings.c.decision_id == record.decision.id)).one()


def number_of(store: Store, table: Any) -> int:
    with store.read() as connection:
        return len(connection.execute(select(table)).all())


def differs_from_one_go(store: Store, document: Campaign) -> float:
    """How far the champion's predictions are from those of one engine that learned the whole log in one go."""
    events = closed(store, document.id)
    with taught(document.engine_arguments, events) as reference, load_version(champion(store, document.id)) as served:
        return difference(scores(served, events[:50]), scores(reference, events[:50]))


# Closing


def test_decisions_are_closed_in_the_order_in_which_they_are_due(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing_module, "CLOSE_CHUNK", 7)
    slow = campaign(id="slow", reward={"learn_after_hours": 48})
    fast = campaign(id="fast", reward={"learn_after_hours": 24})
    live = service(store, 1, slow, fast)
    moments = [MORNING + hours * HOUR for hours in (0, 20, 5, 20, 30, 1)]
    records = [
        one
        for now in moments
        for one in decide(
            live, [request(f"u-{user}", now, campaign=name) for user in range(4) for name in ("slow", "fast")]
        )
    ]
    advance(live, MORNING + 10 * DAY)
    assert live.learner.close_due() == len(records)
    with store.read() as connection:
        order = list(connection.execute(select(closings.c.decision_id).order_by(closings.c.seq)).scalars())
    wait = {"slow": 48, "fast": 24}
    due = sorted((one.decision.decided_at + wait[one.decision.campaign] * HOUR, one.decision.id) for one in records)
    assert order == [decision_id for _, decision_id in due]
    assert live.learner.close_due() == 0


def test_nothing_is_closed_or_learned_before_its_time(store: Store) -> None:
    live = service(store, 2, campaign())
    day(live, 0)
    just_before = learn(live, MORNING + LEARN_AFTER - timedelta(microseconds=1))
    assert just_before == PassResult(closed=0, learned=0, published=())
    assert number_of(store, closings) == number_of(store, models) == 0
    assert learn(live, MORNING + LEARN_AFTER) == PassResult(closed=40, learned=40, published=(("spring", 1),))


def test_a_reward_is_learned_as_known_then_and_final_at_the_deadline(store: Store) -> None:
    live = service(store, 3, campaign(policy={"no_send_holdout": 1.0}))
    (record,) = decide(live, [request()])
    give(live, [feedback(record, "opened", 1)])
    assert learn(live, MORNING + LEARN_AFTER).closed == 1
    give(live, [feedback(record, "clicked", 30)])
    assert learn(live, MORNING + WINDOW - timedelta(microseconds=1)).closed == 0
    assert number_of(store, final_rewards) == 0
    assert learn(live, MORNING + WINDOW) == PassResult(closed=1, learned=0, published=())
    with store.read() as connection:
        final = closing_rows.final_of(connection, [record.decision.id])[record.decision.id]
    assert (closing_row(store, record).reward, final.reward) == (0.1, 1.1)
    assert (closing_row(store, record).closed_at, final.final_at) == (MORNING + LEARN_AFTER, MORNING + WINDOW)
    assert number_of(store, closings) == 1


def test_a_learner_that_comes_after_the_deadline_closes_and_finishes_at_once(store: Store) -> None:
    live = service(store, 4, campaign())
    day(live, 0)
    assert learn(live, MORNING + 5 * DAY).closed == 40
    assert number_of(store, closings) == number_of(store, final_rewards) == 40
    assert learn(live, MORNING + 6 * DAY) == PassResult(closed=0, learned=0, published=())


def test_what_teaches_nothing_is_closed_with_its_reason_and_not_learned(store: Store) -> None:
    document = campaign()
    live = service(store, 5, document)
    records = day(live, 0, users=6)
    (voided,) = decide(live, [request("voided")])
    give(live, [feedback(voided, "clicked"), feedback(voided, "failed", 2)])
    (no_choice,) = decide(live, [request("unreachable", channels=[])])
    live.campaigns.set_paused("spring", True)
    (fallback,) = decide(live, [request("paused")])
    result = learn(live, MORNING + LEARN_AFTER)
    assert (result.closed, result.learned) == (9, 6)
    assert [closing_row(store, one).skipped for one in (voided, no_choice, fallback)] == [
        "voided",
        "no_choice",
        "fallback",
    ]
    assert [closing_row(store, one).reward for one in (voided, no_choice, fallback)] == [None] * 3
    assert all(closing_row(store, one).skipped is None for one in records)
    assert champion(store).events_learned == 6
    assert champion(store).watermark == closed(store)[-1].seq
    assert differs_from_one_go(store, document) == 0.0


def test_holdouts_and_the_baseline_are_learned_from(store: Store) -> None:
    baseline = {"channel": "push", "content": "streak", "local_hour": 18}
    shares = {"baseline": baseline, "uniform_holdout": 0.4, "no_send_holdout": 0.3}
    live = service(store, 6, campaign(mode="shadow", policy=shares))
    records = day(live, 0)
    assert learn(live, MORNING + LEARN_AFTER).learned == 40
    policies = {one.decision.policy for one in records}
    assert policies == {Policy.BASELINE, Policy.UNIFORM_HOLDOUT, Policy.NO_SEND_HOLDOUT}


# A failure in the middle


class Broken(Exception):
    """Nothing that the project knows of."""


def broken_at(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The function, which breaks at that call, counted from 1."""
    calls = iter(range(1, 1_000))

    def wrapped(*args: Any) -> Any:
        if next(calls) == call:
            raise Broken
        return function(*args)

    return wrapped


@pytest.mark.parametrize("name", ["close", "finish", "wait_until_final"])
def test_a_closing_that_breaks_off_leaves_its_chunk_open(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing_module, "CLOSE_CHUNK", 10)
    live = service(store, 7, campaign())
    for number in range(2):
        day(live, number)
    advance(live, MORNING + DAY + LEARN_AFTER)  # of the first day everything is due, of the second only the learning
    with monkeypatch.context() as broken:
        broken.setattr(closing_rows, name, broken_at(getattr(closing_rows, name), 2))
        with pytest.raises(Broken):
            live.learner.close_due()
    before = number_of(store, closings)
    assert before == 10
    live.learner.close_due()
    assert number_of(store, closings) == 80
    assert number_of(store, final_rewards) == 40


@pytest.mark.parametrize("name", ["add", "point"])
def test_model_watermark_and_version_are_published_together_or_not_at_all(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = campaign()
    live = service(store, 8, document)
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    day(live, 2)
    with monkeypatch.context() as broken:
        broken.setattr(model_rows, name, broken_at(getattr(model_rows, name), 1))
        learned = learn(live, MORNING + 2 * DAY + LEARN_AFTER)
    assert learned == PassResult(closed=80, learned=0, published=())
    assert [row.version for row in versions(store)] == [1]
    assert champion(store).version == 1
    assert live.learner.run_pass() == PassResult(closed=0, learned=40, published=(("spring", 2),))
    assert champion(store).events_learned == 80
    assert differs_from_one_go(store, document) == 0.0


def test_a_model_that_is_stored_apart_from_its_watermark_would_learn_events_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = campaign()
    live = service(store, 9, document)
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    day(live, 2)
    next_version = Start.next_version

    def with_the_old_watermark(start: Start, *args: Any) -> ModelRow:
        return replace(next_version(start, *args), watermark=start.lineage.watermark)

    with monkeypatch.context() as apart:
        apart.setattr(Start, "next_version", with_the_old_watermark)
        apart.setattr(
            Learner, "learn_alias", lambda learner, *one: [step] if (step := learner._learn_step(*one)) else []
        )
        learn(live, MORNING + 2 * DAY + LEARN_AFTER)  # killed before the watermark was stored
    live.learner.run_pass()
    assert champion(store).events_learned == 120
    assert differs_from_one_go(store, document) > 0.0


# Two learners


def other_learner(live: Service) -> Learner:
    return Learner(live.store, live.clock, live.campaigns)


def once_while_teaching(action: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the action happen once, while the next learner has read its start and teaches."""
    actions = iter([action])
    after = closing_rows.after

    def interrupted(connection: Connection, campaign_id: str, watermark: int, limit: int) -> Any:
        next(actions, lambda: None)()
        return after(connection, campaign_id, watermark, limit)

    monkeypatch.setattr(closing_rows, "after", interrupted)


def test_a_learner_is_refused_when_another_has_published_in_the_meantime(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = campaign()
    live = service(store, 10, document)
    day(live, 0)
    advance(live, MORNING + LEARN_AFTER)
    once_while_teaching(other_learner(live).run_pass, monkeypatch)
    with pytest.raises(StaleLearner, match="from champion None, but by now the champion is 1 and the latest version 1"):
        live.learner.run_pass()
    assert [(row.version, row.events_learned) for row in versions(store)] == [(1, 40)]
    assert live.learner.run_pass() == PassResult(closed=0, learned=0, published=())
    assert differs_from_one_go(store, document) == 0.0


def point(store: Store, alias: str, version: int, *, held: bool = False) -> None:
    """As an operator of the database could: without a trace."""
    named = Alias(alias=alias, version=version, held=held, campaign_arguments=campaign().engine_arguments.text)
    with store.write() as connection:
        model_rows.point(connection, "spring", named, MORNING)


def roll_back(store: Store) -> None:
    point(store, CHAMPION, 1)


def two_versions(store: Store, seed: int) -> Service:
    """A campaign with versions 1 and 2, and a day to learn."""
    live = service(store, seed, campaign())
    for number in (0, 2, 4):
        day(live, number)
        if number < 4:
            learn(live, MORNING + number * DAY + LEARN_AFTER)
    advance(live, MORNING + 4 * DAY + LEARN_AFTER)
    return live


def test_a_learner_is_refused_when_its_champion_was_rolled_back_in_the_meantime(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = two_versions(store, 11)
    once_while_teaching(lambda: roll_back(store), monkeypatch)
    with pytest.raises(StaleLearner):
        live.learner.run_pass()
    assert champion(store).version == 1
    (published,) = live.learner.run_pass().published
    assert published == ("spring", 3)
    assert champion(store).parent == 1
    assert differs_from_one_go(store, campaign()) == 0.0


def test_without_the_fence_a_rollback_would_be_undone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    live = two_versions(store, 12)
    monkeypatch.setattr(publishing, "_check_fence", lambda *_: None)
    once_while_teaching(lambda: roll_back(store), monkeypatch)
    live.learner.run_pass()
    assert (champion(store).version, champion(store).parent) == (3, 2)


def passes(url: str, until: datetime) -> int:
    """How many times a learner of its own was refused before it found nothing left to do."""
    refused = 0
    with closing(Store(url)) as store:
        live = service(store)
        advance(live, until)
        while True:
            try:
                if live.learner.run_pass() == PassResult(closed=0, learned=0, published=()):
                    return refused
            except StaleLearner:
                refused += 1


def test_learners_started_together_learn_nothing_twice_and_lose_no_version(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PUBLISH_EVERY", 20)
    monkeypatch.setattr(teaching, "READ_CHUNK", 20)
    monkeypatch.setattr(closing_module, "CLOSE_CHUNK", 15)
    document = campaign()
    live = service(store, 13, document)
    for number in range(4):
        day(live, number)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: passes(database_url, MORNING + 10 * DAY), range(4)))
    rows = versions(store)
    assert len({event.decision_id for event in closed(store)}) == len(closed(store)) == 160
    assert [row.parent for row in rows] == [row.version - 1 for row in rows] == list(range(len(rows)))
    assert all(one.watermark < two.watermark for one, two in pairwise(rows))
    assert (rows[-1].events_learned, rows[-1].watermark) == (160, closed(store)[-1].seq)
    assert differs_from_one_go(store, document) == 0.0


# What is learned


def several_passes(live: Service) -> None:
    for number in range(6):
        day(live, number)
        learn(live, MORNING + number * DAY + timedelta(hours=3))
    learn(live, MORNING + 20 * DAY)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PUBLISH_EVERY", 30)
    monkeypatch.setattr(teaching, "READ_CHUNK", 15)


@pytest.mark.usefixtures("small_steps")
def test_many_small_passes_predict_what_one_engine_predicts_that_learned_all_in_one_go(store: Store) -> None:
    document = campaign()
    several_passes(service(store, 14, document))
    assert len(versions(store)) > 6
    assert champion(store).events_learned == 240
    assert differs_from_one_go(store, document) == 0.0


@pytest.mark.usefixtures("small_steps")
def test_passes_that_ignored_the_watermark_would_predict_something_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = campaign()
    live = service(store, 15, document)
    head = closing_rows.last_seq
    monkeypatch.setattr(Lineage, "watermark", property(lambda lineage: 0))
    seen = {0}

    def each_head_once(connection: Connection, campaign_id: str) -> int:
        last = head(connection, campaign_id)
        is_new = last not in seen
        seen.add(last)
        return last if is_new else 0  # without a watermark there would be no end either

    monkeypatch.setattr(closing_rows, "last_seq", each_head_once)
    several_passes(live)
    assert differs_from_one_go(store, document) > 0.0


def test_what_was_learned_changes_the_decisions(store: Store) -> None:
    live = service(store, 16, campaign())
    for number in range(4):
        day(live, number, users=300)
    learn(live, MORNING + 10 * DAY)
    live.models.refresh()
    records = day(live, 10, users=300)
    liked = sum(one.decision.action.content == likes(user) for user, one in enumerate(records))
    assert {one.decision.model_version for one in records} == {1}
    # Evenly it would be 6 of 19 actions, so 95 with a standard deviation of 8.
    assert liked > 95 + 5 * 8


def test_the_manifest_says_what_the_model_is_made_of(store: Store) -> None:
    document = campaign()
    live = service(store, 17, document)
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    (row,) = versions(store)
    stored = champion(store)
    assert (row.version, row.parent, row.alias, row.events_learned) == (1, 0, "champion", 40)
    assert (row.arguments, row.size) == (document.engine_arguments.text, len(stored.bytes))
    assert row.created_at == MORNING + LEARN_AFTER


@pytest.mark.usefixtures("small_steps")
def test_other_engine_settings_start_a_new_lineage_from_the_whole_log(store: Store) -> None:
    live = service(store, 18, campaign())
    several_passes(live)
    before = champion(store)
    changed = campaign(policy=OTHER_EXPLORER)
    live.campaigns.put(changed)
    assert live.learner.run_pass() == PassResult(closed=0, learned=240, published=(("spring", before.version + 1),))
    after = champion(store)
    assert (after.parent, after.arguments) == (0, changed.engine_arguments.text)
    assert (after.events_learned, after.watermark) == (240, before.watermark)
    assert differs_from_one_go(store, changed) == 0.0
    day(live, 22)
    assert learn(live, MORNING + 30 * DAY).learned == 40
    assert champion(store).events_learned == 280


@pytest.mark.parametrize(
    "changes", [{"horizon_hours": 12}, {"caps": {"min_gap_hours": 2}}, {"reward": {"default": 0.1}}]
)
def test_other_settings_go_on_from_the_same_lineage(store: Store, changes: dict[str, Any]) -> None:
    live = service(store, 19, campaign())
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    live.campaigns.put(campaign(**changes))
    day(live, 2)
    assert learn(live, MORNING + 5 * DAY).learned == 40
    assert [(row.version, row.parent) for row in versions(store)] == [(1, 0), (2, 1)]


# What is served


def damage(store: Store, version: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(models).where(models.c.version == version).values(**values))


def flipped(content: bytes, seed: int = 0) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(content)
    place = random.Random(seed).randrange(len(changed))
    changed[place] ^= 1
    return bytes(changed)


def predictions(models: ModelServer, document: Campaign, store: Store) -> list[float]:
    model = models.model_for(document)
    assert model is not None
    assert isinstance(model.predictor, LinesLearner)
    return scores(model.predictor, closed(store)[:5])


@pytest.mark.parametrize(
    "harm",
    [
        lambda row: {"bytes": flipped(row.bytes)},
        lambda row: {"bytes": row.bytes[: len(row.bytes) // 2]},
        lambda row: {"bytes": b""},
        lambda row: {"size": row.size + 1},
        lambda row: {"digest": "0" * 64},
        lambda row: {"arguments": row.arguments.replace("--gamma_scale 1000.0", "--gamma_scale 10.0")},
        lambda row: {"arguments": "-f /tmp/written"},
    ],
    ids=["a bit", "truncated", "empty", "size", "digest", "other arguments", "unheard-of arguments"],
)
def test_a_model_that_is_not_what_was_published_is_refused_and_the_old_one_serves_on(
    sqlite_store: Store, harm: Callable[[ModelRow], dict[str, Any]]
) -> None:
    store, document = sqlite_store, campaign()
    live = service(store, 21, document)
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    live.models.refresh()
    before = predictions(live.models, document, store)
    day(live, 2)
    learn(live, MORNING + 5 * DAY)
    damage(store, 2, **harm(champion(store)))
    for _ in range(2):
        live.models.refresh()
    served = live.models.model_for(document)
    assert served is not None
    assert served.version == 1
    assert live.models.states() == {"spring": "version 1"}
    assert predictions(live.models, document, store) == before
    with pytest.raises(CorruptModel):
        load_version(champion(store))


def test_without_the_digest_altered_weights_would_be_served(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, document = sqlite_store, campaign()
    live = service(store, 22, document)
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    good = champion(store)
    with load_version(good) as engine:
        before = scores(engine, closed(store))
    altered = (flipped(good.bytes, seed) for seed in range(100))
    monkeypatch.setattr("bandit.serve.models.digest", lambda content: good.digest)
    assert any(loads_and_predicts_otherwise(store, content, before) for content in altered)


def loads_and_predicts_otherwise(store: Store, content: bytes, before: Sequence[float]) -> bool:
    damage(store, 1, bytes=content)
    try:
        with load_version(champion(store)) as engine:
            return scores(engine, closed(store)) != before
    except CorruptModel:
        return False


def test_the_next_good_version_is_served_after_a_refused_one(store: Store) -> None:
    document = campaign()
    live = service(store, 23, document)
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    good = champion(store)
    damage(store, 1, bytes=flipped(good.bytes))
    started = ModelServer(store)
    started.refresh()
    assert started.model_for(document) is None
    damage(store, 1, bytes=good.bytes)
    day(live, 2)
    learn(live, MORNING + 5 * DAY)
    started.refresh()
    model = started.model_for(document)
    assert model is not None
    assert model.version == 2
    assert started.states() == {"spring": "version 2"}


def test_a_broken_champion_does_not_keep_the_other_campaigns_from_learning(store: Store) -> None:
    live = service(store, 24, campaign(id="a"), campaign(id="b"))
    for name in ("a", "b"):
        day(live, 0, campaign=name)
    learn(live, MORNING + LEARN_AFTER)
    with store.write() as connection:
        connection.execute(update(models).where(models.c.campaign_id == "a").values(digest="0" * 64))
    for name in ("a", "b"):
        day(live, 2, campaign=name)
    assert learn(live, MORNING + 5 * DAY).published == (("b", 2),)


def test_before_anything_was_learned_version_0_decides(store: Store) -> None:
    live = service(store, 25, campaign())
    live.models.refresh()
    (record,) = decide(live, [request()])
    assert (record.decision.model_version, record.decision.policy) == (0, Policy.LEARNED)


@pytest.mark.parametrize(
    ("baseline", "chosen"),
    [
        ({"channel": "push", "content": "streak", "local_hour": 18}, ("push", "streak", MORNING.replace(hour=18))),
        ({"channel": "email", "content": "digest"}, ("email", "digest", MORNING)),
        (None, (None, None, None)),
    ],
)
def test_where_the_first_model_is_refused_the_fallback_answers_and_is_never_learned_from(
    store: Store, baseline: dict[str, Any] | None, chosen: tuple[Any, ...]
) -> None:
    live = service(store, 27, campaign(policy={"baseline": baseline}))
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    good = champion(store)
    damage(store, 1, digest="0" * 64)
    live.models.refresh()
    started = service(store, 28)
    started.models.refresh()
    now = MORNING + 2 * DAY
    (record,) = decide(started, [request("new", now)])
    action = record.decision.action
    expected = chosen if chosen[2] is None else (*chosen[:2], chosen[2] + 2 * DAY)
    assert (action.channel, action.content, action.send_at) == expected
    assert (record.decision.policy, record.decision.propensity) == (Policy.FALLBACK, 1.0)
    assert (record.decision.model_version, record.decision.reason) == (0, Reason.POLICY if baseline is None else None)
    assert started.models.states() == {"spring": "fallback"}
    damage(store, 1, digest=good.digest)
    assert learn(started, now + WINDOW).learned == 0
    assert closing_row(store, record).skipped == "fallback"


def test_old_versions_are_forgotten_but_never_one_that_an_alias_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "VERSIONS_KEPT", 3)
    monkeypatch.setattr(model_rows, "DAY_SECONDS", inf)
    live = service(store, 1, campaign())
    day(live, 0)
    learn(live, MORNING + 2 * DAY)
    point(store, CHALLENGER, 1, held=True)
    for number in range(1, 6):
        day(live, 2 * number)
        learn(live, MORNING + 2 * (number + 1) * DAY)

    assert [row.version for row in versions(store)] == [1, 2, 4, 5, 6]  # 2: the champion that 1 is compared with
    assert differs_from_one_go(store, campaign()) == 0.0


# The canary


def fails_for(faults: dict[int, str], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes the canary find a fault with these versions; the versions that it saw."""
    seen: list[int] = []

    def fault(row: ModelRow, _document: Campaign, _parent: ModelRow | None) -> str | None:
        seen.append(row.version)
        return faults.get(row.version)

    monkeypatch.setattr(canary, "fault", fault)
    return seen


def test_a_version_that_the_canary_refuses_is_listed_with_its_fault_and_never_serves(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_for({2: "it sings false"}, monkeypatch)
    live = service(store, 30, campaign())
    day(live, 0)
    learn(live, MORNING + LEARN_AFTER)
    day(live, 2)
    result = learn(live, MORNING + 5 * DAY)
    assert result == PassResult(closed=80, learned=0, published=(), refused=(("spring", 2),))
    assert champion(store).version == 1
    assert [(row.version, row.alias, row.health) for row in versions(store)] == [
        (1, "champion", "ok"),
        (2, None, "it sings false"),
    ]
    live.models.refresh()
    assert live.models.states() == {"spring": "version 1"}
    with pytest.raises(Conflict, match="was refused: it sings false"):
        live.versions.promote("spring", 2)


def test_after_a_refusal_the_learner_tries_again_with_twice_as_much(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = fails_for({2: "it sings false", 3: "it sings false"}, monkeypatch)
    live = service(store, 31, campaign())
    for number in range(8):
        day(live, number, users=10)
        learn(live, MORNING + number * DAY + LEARN_AFTER)
        live.learner.run_pass()
    # From version 1, with 10 events, 10 more are refused, then 20 are, then 40 pass.
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    rows = {row.version: row for row in versions(store)}
    assert [rows[number].events_learned for number in range(1, 8)] == [10, 20, 30, 50, 60, 70, 80]
    assert [rows[number].parent for number in range(1, 8)] == [0, 1, 1, 1, 4, 5, 6]
    assert differs_from_one_go(store, campaign()) == 0.0


@pytest.mark.usefixtures("small_steps")
def test_a_lineage_refused_at_its_first_version_leaves_the_untaught_engine_or_the_old_champion(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_for({1: "it sings false", 3: "it sings false"}, monkeypatch)
    live = service(store, 32, campaign())
    day(live, 0)
    assert learn(live, MORNING + LEARN_AFTER).refused == (("spring", 1),)
    (record,) = decide(live, [request("new", MORNING + 2 * DAY)])
    assert (record.decision.model_version, record.decision.policy) == (0, Policy.LEARNED)
    day(live, 3)
    assert learn(live, MORNING + 5 * DAY).published == (("spring", 2),)
    live.campaigns.put(campaign(policy=OTHER_EXPLORER))
    assert live.learner.run_pass().refused == (("spring", 3),)
    assert live.learner.run_pass() == PassResult(closed=0, learned=0, published=())
    assert champion(store).version == 2


def test_a_model_that_cannot_serve_is_held_back_by_the_real_canary(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(store, 33, campaign())
    day(live, 0, users=100)
    learn(live, MORNING + LEARN_AFTER)
    day(live, 2)
    with monkeypatch.context() as patch:  # taught from nothing instead of from its parent
        patch.setattr(Lineage, "learner", lambda lineage, _parent: learner_of(lineage.settings))
        assert learn(live, MORNING + 5 * DAY).refused == (("spring", 2),)
    assert "what was learned is gone" in versions(store)[-1].health


def test_without_the_canary_an_amnesic_model_would_serve(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_for({}, monkeypatch)
    live = service(store, 33, campaign())
    day(live, 0, users=100)
    learn(live, MORNING + LEARN_AFTER)
    day(live, 2)
    monkeypatch.setattr(Lineage, "learner", lambda lineage, _parent: learner_of(lineage.settings))
    learn(live, MORNING + 5 * DAY)
    assert champion(store).version == 2
    assert differs_from_one_go(store, campaign()) > 0.0
