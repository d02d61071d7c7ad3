"""Promote, roll back, learn on: aliases of model versions, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from bandit.decide.decision import DecisionRecord
from bandit.engine.joint import LinesLearner
from bandit.errors import Conflict, NotFound, StaleLearner
from bandit.learn import publish as publishing
from bandit.learn.versions import Versions
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store import closings as closing_rows
from bandit.store import models as model_rows
from bandit.store.models import CHALLENGER, CHAMPION, DAY_SECONDS, Alias
from bandit.store.sql.database import Store
from bandit.store.sql.schema import models, promotions
from tests.support.builders import (
    LEARN_AFTER,
    MORNING,
    advance,
    campaign,
    champion,
    closed,
    decide,
    difference,
    request,
    scores,
    service,
    taught,
    versions,
)

EVERY = timedelta(days=2)
OTHER_EXPLORER = {"vw": {"explorer": "softmax", "lambda": 2.0}}


def learn(live: Service, number: int, users: int = 20) -> list[DecisionRecord]:
    """The decisions of one moment, and the pass that learns them."""
    records = decide(live, [request(f"u-{user}", MORNING + number * EVERY) for user in range(users)])
    advance(live, MORNING + number * EVERY + LEARN_AFTER)
    live.learner.run_pass()
    return records


def learned(store: Store, passes: int, seed: int = 1) -> Service:
    """A campaign with as many versions, each taught from the one before."""
    live = service(store, seed, campaign())
    for number in range(passes):
        learn(live, number)
    return live


def named(store: Store) -> dict[str, int]:
    with store.read() as connection:
        return {alias: one.version for alias, one in model_rows.aliases(connection, "spring").items()}


def held(store: Store) -> bool:
    with store.read() as connection:
        return model_rows.aliases(connection, "spring")[CHAMPION].held


def changes(store: Store) -> list[tuple[Any, ...]]:
    table = promotions
    columns = (table.c.alias, table.c.previous, table.c.version, table.c.cause)
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(table.c.seq))]


def alter(store: Store, version: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(models).where(models.c.version == version).values(**values))


def knows_the_log(store: Store, version: int) -> bool:
    """Whether the version predicts what one engine predicts that learned the log up to its watermark in one go."""
    with store.read() as connection:
        row = model_rows.get(connection, "spring", version)
    assert row is not None
    events = [event for event in closed(store) if event.seq <= row.watermark]
    with taught(campaign().engine_arguments, events) as reference, load_version(row) as stored:
        return difference(scores(stored, events[:20]), scores(reference, events[:20])) == 0.0


# Rollback


def test_a_rollback_goes_to_the_parent_holds_it_and_lets_the_other_learn_on_as_challenger(store: Store) -> None:
    live = learned(store, 3)
    row = live.versions.rollback("spring")
    assert (row.version, row.alias, row.held) == (2, CHAMPION, True)
    assert named(store) == {CHAMPION: 2, CHALLENGER: 3}
    learn(live, 3)
    assert named(store) == {CHAMPION: 2, CHALLENGER: 4}
    assert [(row.version, row.parent, row.lineage) for row in versions(store)] == [
        (1, 0, 1),
        (2, 1, 1),
        (3, 2, 1),
        (4, 3, 1),
    ]
    assert knows_the_log(store, 4)


def test_a_second_rollback_goes_one_more_step_back(store: Store) -> None:
    live = learned(store, 3)
    live.versions.rollback("spring")
    assert live.versions.rollback("spring").version == 1
    assert named(store) == {CHAMPION: 1, CHALLENGER: 2}
    with pytest.raises(Conflict, match=r"version 1 .* taught from nothing .* nothing to go back to"):
        live.versions.rollback("spring")


def test_a_rollback_takes_back_the_last_promotion_whatever_was_learned_since(store: Store) -> None:
    live = learned(store, 4)
    live.versions.promote("spring", 2)
    learn(live, 4)
    assert (champion(store).version, champion(store).parent, champion(store).events_learned) == (5, 2, 100)
    assert knows_the_log(store, 5)
    assert live.versions.rollback("spring").version == 4
    assert named(store) == {CHAMPION: 4, CHALLENGER: 5}
    assert live.versions.rollback("spring").version == 3  # no promotion is left, so the parent
    assert changes(store) == [
        (CHAMPION, 4, 2, "promote"),
        (CHAMPION, 5, 4, "rollback"),
        (CHALLENGER, None, 5, "rollback"),
        (CHAMPION, 4, 3, "rollback"),
        (CHALLENGER, 5, 4, "rollback"),
    ]


def test_a_rollback_returns_from_a_new_lineage(store: Store) -> None:
    live = learned(store, 2)
    live.campaigns.put(campaign(policy=OTHER_EXPLORER))
    learn(live, 2)
    assert [(row.version, row.lineage, row.alias) for row in versions(store)] == [
        (1, 1, None),
        (2, 1, None),
        (3, 3, CHAMPION),
    ]
    assert live.versions.rollback("spring").version == 2
    learn(live, 3)
    assert named(store) == {CHAMPION: 2, CHALLENGER: 4}
    assert versions(store)[-1].lineage == 3


def test_there_is_nothing_to_go_back_from_before_anything_was_learned(store: Store) -> None:
    live = service(store, 1, campaign())
    with pytest.raises(Conflict, match="no champion yet"):
        live.versions.rollback("spring")


def test_what_is_forgotten_cannot_be_gone_back_to(store: Store) -> None:
    live = learned(store, 3)
    with store.write() as connection:
        connection.execute(models.delete().where(models.c.version == 2))
    with pytest.raises(Conflict, match="version 2, which was before version 3, is no longer stored"):
        live.versions.rollback("spring")
    assert named(store) == {CHAMPION: 3}


# Promote


def test_a_promoted_challenger_is_champion_and_challenger_no_more_and_learns_on(store: Store) -> None:
    live = learned(store, 3)
    live.versions.rollback("spring")
    row = live.versions.promote("spring", 3)
    assert (row.version, row.alias, row.held) == (3, CHAMPION, False)
    assert named(store) == {CHAMPION: 3}
    learn(live, 3)
    assert (champion(store).version, champion(store).parent) == (4, 3)
    assert knows_the_log(store, 4)


def test_promoting_a_held_champion_lets_it_learn_again(store: Store) -> None:
    live = learned(store, 2)
    live.versions.rollback("spring")
    assert held(store)
    live.versions.promote("spring", 1)
    assert not held(store)
    learn(live, 2)
    assert {row.version: row.parent for row in versions(store)} == {1: 0, 2: 1, 3: 1, 4: 2}
    assert named(store) == {CHAMPION: 3, CHALLENGER: 4}
    assert knows_the_log(store, 3)
    assert knows_the_log(store, 4)


def test_a_promoted_version_of_other_settings_keeps_them_until_the_campaign_changes(store: Store) -> None:
    live = learned(store, 1)
    live.campaigns.put(campaign(policy=OTHER_EXPLORER))
    learn(live, 1)
    live.versions.promote("spring", 1)
    learn(live, 2)
    assert (champion(store).version, champion(store).parent) == (3, 1)
    assert champion(store).arguments == campaign().engine_arguments.text
    live.campaigns.put(campaign())
    learn(live, 3)
    assert (champion(store).version, champion(store).parent, champion(store).events_learned) == (4, 0, 80)


@pytest.mark.parametrize("version", [0, 4, 2**31, 10**30])
def test_a_version_that_there_is_not_cannot_be_promoted(store: Store, version: int) -> None:
    live = learned(store, 1)
    with pytest.raises(NotFound, match=f"unknown model 'spring/{version}'"):
        live.versions.promote("spring", version)


def test_what_serves_already_was_refused_or_does_not_load_cannot_be_promoted(store: Store) -> None:
    live = learned(store, 4)
    alter(store, 1, health="a score is not finite")
    alter(store, 2, digest="0" * 64)
    for version, why in ((4, "already the champion"), (1, "was refused: a score is not finite"), (2, "cannot serve")):
        with pytest.raises(Conflict, match=why):
            live.versions.promote("spring", version)
    assert named(store) == {CHAMPION: 4}
    assert changes(store) == []


def there_and_back(versions: Versions) -> None:
    versions.promote("spring", 1)
    versions.rollback("spring")


def test_what_was_being_taught_does_not_move_a_champion_that_is_held_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = learned(store, 2)
    after, acts = closing_rows.after, iter([there_and_back])

    def interrupted(*arguments: Any, **named: Any) -> Any:
        next(acts, lambda _: None)(live.versions)
        return after(*arguments, **named)

    monkeypatch.setattr(closing_rows, "after", interrupted)
    with pytest.raises(StaleLearner, match="from champion 2, but by now the champion is 2, held,"):
        learn(live, 2)
    assert named(store) == {CHAMPION: 2, CHALLENGER: 1}
    assert held(store)


@pytest.mark.parametrize("act", [lambda one: one.promote("spring", 1), lambda one: one.rollback("spring")])
def test_a_promotion_or_rollback_meanwhile_refuses_what_was_being_taught(
    store: Store, act: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = learned(store, 2)
    after, acts = closing_rows.after, iter([act])

    def interrupted(*arguments: Any, **named: Any) -> Any:
        next(acts, lambda _: None)(live.versions)
        return after(*arguments, **named)

    monkeypatch.setattr(closing_rows, "after", interrupted)
    with pytest.raises(StaleLearner, match="from champion 2, but by now the champion is 1"):
        learn(live, 2)
    assert named(store)[CHAMPION] == 1
    live.learner.run_pass()
    assert all(knows_the_log(store, version) for version in named(store).values())


# Serving


def test_serving_processes_follow_at_their_next_look(store: Store) -> None:
    live = learned(store, 3)
    others = [service(store, seed) for seed in (2, 3)]
    for version in (2, 3):
        if version == 2:
            live.versions.rollback("spring")
        else:
            live.versions.promote("spring", 3)
        for number, other in enumerate(others):
            other.models.refresh()
            (record,) = decide(other, [request(f"new-{version}-{number}", MORNING + 10 * EVERY)])
            assert record.decision.model_version == version


def test_a_replaced_engine_lets_go_of_what_it_parsed_before_its_last_reference_goes(sqlite_store: Store) -> None:
    live = learned(sqlite_store, 2)
    live.models.refresh()
    decide(live, [request("new", live.clock.now())])
    replaced = live.models.model_for(campaign())
    assert replaced is not None
    assert isinstance(replaced.predictor, LinesLearner)
    assert replaced.predictor.engine._examples
    live.versions.rollback("spring")
    live.models.refresh()
    assert not replaced.predictor.engine._examples


# Retention and reigns


def test_what_was_champion_for_a_day_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "VERSIONS_KEPT", 2)
    live = learned(store, 4)  # each reigned for two days
    assert [row.version for row in versions(store)] == [1, 2, 3, 4]
    assert [row.champion_seconds for row in versions(store)] == [2 * DAY_SECONDS] * 3 + [0.0]
    assert [row.champion_since is not None for row in versions(store)] == [False] * 3 + [True]
    for version in (2, 3):
        alter(store, version, champion_seconds=DAY_SECONDS - 1)
    learn(live, 4)
    learn(live, 5)
    assert [row.version for row in versions(store)] == [1, 4, 5, 6]


def test_reigns_of_one_version_add_up(store: Store) -> None:
    live = learned(store, 2)
    live.versions.rollback("spring")
    advance(live, MORNING + 2 * EVERY)
    reigned = (live.clock.now() - (MORNING + EVERY + LEARN_AFTER)).total_seconds()
    live.versions.promote("spring", 2)
    rows = {row.version: row for row in versions(store)}
    assert rows[1].champion_seconds == 2 * DAY_SECONDS + reigned
    assert rows[2].champion_since == live.clock.now()


def test_what_a_rollback_would_go_back_to_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "VERSIONS_KEPT", 1)
    monkeypatch.setattr(model_rows, "DAY_SECONDS", float("inf"))
    live = learned(store, 3)
    assert [row.version for row in versions(store)] == [2, 3]
    live.versions.promote("spring", 2)
    for number in (3, 4):
        learn(live, number)
    assert [row.version for row in versions(store)] == [3, 4, 5]
    assert live.versions.rollback("spring").version == 3


def test_a_held_alias_is_not_moved(store: Store) -> None:
    live = learned(store, 1)
    arguments = campaign().engine_arguments.text
    with store.write() as connection:
        model_rows.point(
            connection, "spring", Alias(alias=CHAMPION, version=1, held=True, campaign_arguments=arguments), MORNING
        )
    learn(live, 1)
    assert [row.version for row in versions(store)] == [1]
