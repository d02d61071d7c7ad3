"""A challenger from the whole stored log, under the same or other settings, beside the champion; on both databases."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.domain import Feedback, FeedbackStatus
from bandit.engine.explorers import EngineArguments
from bandit.errors import Conflict, InvalidInput, NotFound, StaleLearner
from bandit.learn import publish as publishing
from bandit.learn import teach as teaching
from bandit.learn.difference import Difference
from bandit.learn.overrides import Overrides
from bandit.learn.relearn import Relearned
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store import closings as closing_rows
from bandit.store import decisions
from bandit.store import models as model_rows
from bandit.store.closings import ClosedDecision
from bandit.store.models import CHALLENGER, CHAMPION, ModelRow
from bandit.store.sql.database import Store
from bandit.store.sql.schema import campaign_versions
from bandit.store.sql.turns import relearn_turn
from bandit.times import HOUR
from tests.support.builders import (
    LEARN_AFTER,
    MORNING,
    advance,
    campaign,
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
COSTS = {"push": 0.01, "email": 0.005, None: 0.0}
SOFTMAX: dict[str, str | int | float] = {"explorer": "softmax", "lambda": 2.0}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a few dozen events were many: several chunks, several versions."""
    monkeypatch.setattr(teaching, "READ_CHUNK", 15)
    monkeypatch.setattr(publishing, "PUBLISH_EVERY", 30)


def final_at_once(**changes: Any) -> Campaign:
    """The campaign whose rewards are final when they are learned."""
    return campaign(reward={"learn_after_hours": 48}, **changes)


def day(live: Service, number: float, users: int = 30) -> list[DecisionRecord]:
    """The decisions of one day, with what the users did within two hours; one user cannot be reached."""
    now = MORNING + number * DAY
    asked = [request(f"u-{user}", now, channels=[] if user == 0 else None) for user in range(users)]
    records = decide(live, asked)
    kinds = ["clicked", "opened", "failed", None, None]
    events = [(one, kinds[place % len(kinds)]) for place, one in enumerate(records)]
    give(live, [feedback(one, kind, 2.0) for one, kind in events if kind is not None])
    return records


def learn(live: Service, day_number: float) -> None:
    advance(live, MORNING + day_number * DAY)
    live.learner.run_pass()


def grown(store: Store, document: Campaign, days: int = 3, seed: int = 40) -> Service:
    """A campaign whose champion grew from pass to pass until all was final and learned."""
    live = service(store, seed, document)
    for number in range(days):
        day(live, number)
        learn(live, number + 0.5)
    learn(live, days + 5)
    return live


def relearn(
    live: Service, vw: Mapping[str, str | int | float] | None = None, worths: dict[str, float] | None = None
) -> Relearned:
    return live.relearner.run(live.relearner.plan("spring", vw or {}, worths or {}))


def distance(relearned: Relearned) -> float:
    assert relearned.difference is not None
    return relearned.difference.mean_distance


def named(store: Store) -> dict[str, ModelRow]:
    """The version behind each alias."""
    with store.read() as connection:
        found = model_rows.aliases(connection, "spring")
        rows = {alias: model_rows.get(connection, "spring", one.version) for alias, one in found.items()}
    return {alias: row for alias, row in rows.items() if row is not None}


def apart(store: Store, row: ModelRow, arguments: EngineArguments, events: Iterable[ClosedDecision]) -> float:
    """How far the version's predictions are from those of one engine that learned these events in one go."""
    log = list(events)
    with taught(arguments, log) as reference, load_version(row) as stored:
        return difference(scores(stored, log[:40]), scores(reference, log[:40]))


def rewarded(store: Store, rewards: Mapping[str, float | None]) -> list[ClosedDecision]:
    """The log with other rewards for these decisions."""
    return [replace(one, reward=rewards.get(one.decision_id, one.reward)) for one in closed(store)]


# The same settings


@pytest.mark.parametrize("document", [final_at_once(), final_at_once(policy={"vw": {"explorer": "regcb"}})])
def test_unchanged_settings_over_final_rewards_give_the_live_models_predictions(
    store: Store, document: Campaign
) -> None:
    live = grown(store, document)
    relearned = relearn(live)
    rows = named(store)
    with ExitStack() as stack:
        engines = [stack.enter_context(load_version(rows[alias])) for alias in (CHAMPION, CHALLENGER)]
        champion, challenger = (scores(engine, closed(store)) for engine in engines)
    assert difference(champion, challenger) == 0.0
    assert relearned.difference == Difference(decisions=relearned.learned, other_choices=0.0, mean_distance=0.0)
    assert rows[CHALLENGER].events_learned == rows[CHAMPION].events_learned < relearned.read == 90
    assert rows[CHALLENGER].watermark == rows[CHAMPION].watermark
    assert (rows[CHALLENGER].parent, rows[CHALLENGER].lineage) == (0, rows[CHALLENGER].version)


def test_another_order_than_that_of_closing_would_give_other_predictions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = grown(store, final_at_once())
    after = closing_rows.after
    monkeypatch.setattr(
        closing_rows, "after", lambda *asked: sorted(after(*asked), key=lambda one: one.decision_id[::-1])
    )
    monkeypatch.setattr(teaching, "READ_CHUNK", 1_000)
    monkeypatch.setattr(
        "bandit.learn.rewards_of.closings.known",
        lambda connection, campaign_id, first, last, known=closing_rows.known: known(connection, campaign_id, 0, 10**9),
    )
    assert distance(relearn(live)) > 0.0


# What is known by now


def test_what_came_late_but_happened_in_time_counts_and_what_happened_after_the_deadline_does_not(store: Store) -> None:
    live = grown(store, final_at_once())
    nothing = [one for one in closed(store) if one.reward is not None and one.reward <= 0.0]
    in_time, after = nothing[:5], nothing[5:10]
    events = [*(late_event(store, one, 10) for one in in_time), *(late_event(store, one, 49) for one in after)]
    assert give(live, events) == [FeedbackStatus.LATE] * 10
    relearned = relearn(live)
    expected = {one.decision_id: 1.0 + float(one.reward or 0.0) for one in in_time}
    arguments = final_at_once().engine_arguments
    assert apart(store, named(store)[CHALLENGER], arguments, rewarded(store, expected)) == 0.0
    assert apart(store, named(store)[CHAMPION], arguments, closed(store)) == 0.0
    assert distance(relearned) > 0.0


def late_event(store: Store, one: ClosedDecision, after_hours: float, event: str = "clicked") -> Feedback:
    with store.read() as connection:
        row = decisions.get(connection, one.decision_id)
    assert row is not None
    return Feedback(decision_id=row.id, event=event, occurred_at=row.decided_at + after_hours * HOUR)


def test_a_message_that_is_known_by_now_not_to_have_gone_out_is_not_learned(store: Store) -> None:
    live = grown(store, final_at_once())
    chosen = [one for one in closed(store) if one.reward is not None][:4]
    give(live, [late_event(store, one, 10, "cancelled") for one in chosen])
    relearned = relearn(live)
    void = {one.decision_id: None for one in chosen}
    assert relearned.learned == named(store)[CHAMPION].events_learned - 4
    challenger = named(store)[CHALLENGER]
    assert apart(store, challenger, final_at_once().engine_arguments, rewarded(store, void)) == 0.0


def test_final_rewards_are_learned_where_they_are_final_and_what_was_known_at_closing_where_not(store: Store) -> None:
    live = service(store, 41, campaign())
    first = day(live, 0)
    learn(live, LEARN_AFTER / DAY)
    ignored = [one for place, one in enumerate(first) if place % 5 > 2]
    give(live, [feedback(one, "opened", 30) for one in ignored])
    second = day(live, 1.5)
    learn(live, 2.6)  # the first are final, the second only learned
    more = [one for place, one in enumerate(second) if place % 5 > 2]
    give(live, [feedback(one, "clicked", 27) for one in more])
    relearn(live)
    final: dict[str, float | None] = {one.decision.id: 0.1 - COSTS[one.decision.action.channel] for one in ignored}
    assert apart(store, named(store)[CHALLENGER], campaign().engine_arguments, rewarded(store, final)) == 0.0


# Other settings


def doubled(store: Store, records: Iterable[DecisionRecord]) -> dict[str, float | None]:
    """The rewards of these decisions with a click worth 2, for those that were clicked."""
    channels: dict[str, str | None] = {one.decision.id: one.decision.action.channel for one in records}
    return {
        one.decision_id: 2.0 - COSTS[channels[one.decision_id]]
        for one in closed(store)
        if one.decision_id in channels and one.reward is not None and one.reward > 0.5
    }


def test_a_challenger_under_other_worths_and_another_explorer_learns_on_under_them(store: Store) -> None:
    live = service(store, 42, campaign())
    records = day(live, 0)
    learn(live, 2.5)
    relearned = relearn(live, SOFTMAX, {"clicked": 2.0})
    arguments = campaign(policy={"vw": SOFTMAX}).engine_arguments
    assert relearned.row.arguments == arguments.text
    assert apart(store, relearned.row, arguments, rewarded(store, doubled(store, records))) == 0.0
    for number in (3, 4.5):
        records += day(live, number)
        learn(live, number + LEARN_AFTER / DAY)  # known at closing, not final
    rows = named(store)
    assert rows[CHALLENGER].lineage == relearned.row.version
    assert rows[CHALLENGER].events_learned == rows[CHAMPION].events_learned > relearned.learned
    assert apart(store, rows[CHALLENGER], arguments, rewarded(store, doubled(store, records))) == 0.0
    assert apart(store, rows[CHAMPION], campaign().engine_arguments, closed(store)) == 0.0


def test_without_its_own_worths_the_challenger_would_learn_on_with_the_campaigns(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(store, 42, campaign())
    records = day(live, 0)
    learn(live, 2.5)
    relearn(live, {}, {"clicked": 2.0})
    monkeypatch.setattr(Overrides, "from_text", classmethod(lambda cls, _text: cls()))
    records += day(live, 3)
    learn(live, 3 + LEARN_AFTER / DAY)
    log = rewarded(store, doubled(store, records))
    assert apart(store, named(store)[CHALLENGER], campaign().engine_arguments, log) > 0.0


def campaign_versions_stored(store: Store) -> int:
    with store.read() as connection:
        latest: int = connection.execute(select(func.max(campaign_versions.c.version))).scalar_one()
    return latest


def test_a_promoted_challenger_makes_its_settings_the_campaigns_own_and_is_not_built_again(store: Store) -> None:
    live = service(store, 43, campaign())
    before = day(live, 0)
    learn(live, 2.5)
    relearned = relearn(live, SOFTMAX, {"clicked": 2.0})
    before += day(live, 3)  # decided under the old document, learned under the new one
    promoted = live.versions.promote("spring", relearned.row.version)
    stored = live.campaigns.get("spring")
    assert (stored.version, stored.campaign.reward.events["clicked"]) == (2, 2.0)
    assert stored.campaign.policy.vw == SOFTMAX
    day(live, 3.5)
    learn(live, 8)
    row = named(store)[CHAMPION]
    assert row.lineage == promoted.version
    assert CHALLENGER not in named(store)
    assert apart(store, row, stored.campaign.engine_arguments, rewarded(store, doubled(store, before))) == 0.0
    assert any(one.reward is not None and one.reward > 1.9 for one in closed(store))
    # A worth that the campaign is given afterwards is not overridden by what the lineage once had.
    live.campaigns.put(campaign(policy={"vw": SOFTMAX}, reward={"events": {"clicked": 3.0, "opened": 0.1}}))
    day(live, 9)
    learn(live, 12)
    row = named(store)[CHAMPION]
    assert row.lineage == promoted.version
    assert apart(store, row, stored.campaign.engine_arguments, rewarded(store, doubled(store, before))) == 0.0


def test_a_promotion_while_a_pass_is_under_way_is_not_undone_by_the_older_document(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = grown(store, final_at_once())
    relearned = relearn(live, SOFTMAX)
    day(live, 9)
    listed = live.campaigns.list

    def promoted_meanwhile() -> Any:
        found = listed()
        live.versions.promote("spring", relearned.row.version)
        return found

    monkeypatch.setattr(live.campaigns, "list", promoted_meanwhile)
    learn(live, 14)
    row = named(store)[CHAMPION]
    assert (row.lineage, row.arguments) == (relearned.row.version, relearned.row.arguments)
    assert row.events_learned > relearned.row.events_learned


def test_a_promotion_without_other_settings_leaves_the_document_alone(store: Store) -> None:
    live = grown(store, final_at_once())
    live.versions.promote("spring", relearn(live).row.version)
    assert campaign_versions_stored(store) == 1


def test_settings_that_the_campaign_no_longer_allows_are_not_promoted(store: Store) -> None:
    live = grown(store, final_at_once())
    version = relearn(live, {}, {"clicked": 4.0}).row.version
    champion = named(store)[CHAMPION].version
    live.campaigns.put(final_at_once(id="spring").model_copy(update={"reward": narrow(final_at_once())}))
    with pytest.raises(
        Conflict, match=r"no longer allows the settings of version .*clicked: 4.0: is outside the bounds"
    ):
        live.versions.promote("spring", version)
    assert named(store)[CHAMPION].version == champion


def narrow(document: Campaign) -> Any:
    return document.reward.model_copy(update={"bounds": (-1.0, 2.0), "events": {"clicked": 1.0, "opened": 0.1}})


@pytest.mark.parametrize(
    ("vw", "worths", "message"),
    [
        ({"explorer": "greedy"}, {}, "policy.vw.explorer: 'greedy' is not one of squarecb"),
        ({"gamma_scale": -1.0}, {}, "policy.vw.gamma_scale: -1.0 is outside"),
        ({}, {"applauded": 1.0}, "reward.events: 'applauded' is not an event with a worth .* it has: clicked, opened"),
        ({}, {"clicked": 9.0}, "reward.events.clicked: 9.0: is outside the bounds"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_taught(
    sqlite_store: Store, vw: dict[str, Any], worths: dict[str, float], message: str
) -> None:
    live = service(sqlite_store, 44, campaign())
    with pytest.raises(InvalidInput, match=message):
        live.relearner.plan("spring", vw, worths)


def test_there_is_nothing_to_relearn_without_a_campaign_or_a_closed_decision(sqlite_store: Store) -> None:
    live = service(sqlite_store, 45, campaign())
    with pytest.raises(NotFound, match="unknown campaign 'autumn'"):
        live.relearner.plan("autumn", {}, {})
    with pytest.raises(Conflict, match="no closed decision yet"):
        live.relearner.plan("spring", {}, {})


# Beside the learner


def once_while_teaching(action: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the action happen once, when the relearn has taught its first chunk."""
    actions = iter([lambda: None, action])
    after = closing_rows.after

    def interrupted(*asked: Any, **limits: Any) -> Any:
        next(actions, lambda: None)()
        return after(*asked, **limits)

    monkeypatch.setattr(closing_rows, "after", interrupted)


def test_the_champion_learns_on_meanwhile_and_the_challenger_catches_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = grown(store, final_at_once())
    other = service(store, 46)

    def another_day() -> None:
        day(other, 20)
        learn(other, 23)

    once_while_teaching(another_day, monkeypatch)
    relearned = relearn(live)
    rows = named(store)
    assert relearned.read == 120
    assert rows[CHALLENGER].version == rows[CHAMPION].version + 1 == relearned.row.version
    assert rows[CHALLENGER].watermark == rows[CHAMPION].watermark == closed(store)[-1].seq
    assert distance(relearned) == 0.0
    learn(live, 24)
    assert [row.version for row in versions(store)] == list(range(1, relearned.row.version + 1))


def test_a_relearn_is_refused_while_another_one_is_at_work(store: Store) -> None:
    live = grown(store, final_at_once(), days=1)
    with relearn_turn(store, "spring") as ours:
        assert ours
        with pytest.raises(Conflict, match="'spring' is being relearned already"):
            relearn(live)
    assert relearn(live).learned > 0


def test_a_challenger_that_somebody_set_meanwhile_is_not_replaced(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = grown(store, final_at_once())
    before = named(store)[CHAMPION].version
    once_while_teaching(lambda: live.versions.rollback("spring"), monkeypatch)
    with pytest.raises(StaleLearner, match=r"the challenger was of lineage None .* by now is of lineage 1"):
        relearn(live)
    assert named(store)[CHALLENGER].version == before == versions(store)[-1].version


def test_a_challenger_that_only_learned_on_meanwhile_is_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    live = grown(store, final_at_once())
    first = relearn(live, SOFTMAX)
    day(live, 20)

    def more() -> None:
        learn(live, 23)

    once_while_teaching(more, monkeypatch)
    second = relearn(live)
    assert named(store)[CHALLENGER].version == second.row.version > first.row.version + 1


def test_a_relearn_that_breaks_off_leaves_no_trace(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    live = grown(store, final_at_once())
    before = [row.version for row in versions(store)]

    def breaks() -> None:
        raise ArithmeticError

    with monkeypatch.context() as broken:
        once_while_teaching(breaks, broken)
        with pytest.raises(ArithmeticError):
            relearn(live)
    assert [row.version for row in versions(store)] == before
    assert CHALLENGER not in named(store)
    assert distance(relearn(live)) == 0.0
