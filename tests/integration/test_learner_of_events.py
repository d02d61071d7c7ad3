"""The learner of events inside the service: passes, relearns, restarts and purges all end with the same predictions."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.engine.events.learner import EventLearner
from bandit.errors import InvalidInput
from bandit.learn import teach as teaching
from bandit.learn.lineage import Lineage
from bandit.learn.overrides import Overrides
from bandit.learn.purge import Purged
from bandit.learn.teach import Log
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store import models
from bandit.store.closings import ClosedDecision
from bandit.store.models import CHALLENGER, CHAMPION, OK, ModelRow
from bandit.store.sql.database import Store
from tests.support.builders import (
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
EVENTS = {"learner": "events"}
USERS, DAYS = 30, 5
LIKES = ("streak", "digest", "offer")


def final_at_once(**policy: object) -> Campaign:
    """The campaign whose rewards are final when they are learned."""
    return campaign(reward={"learn_after_hours": 48}, policy=policy)


def day(live: Service, number: int, source: str | None = None) -> list[DecisionRecord]:
    """The decisions of one day; users click what they like, some open, a few unsubscribe, and one send fails."""
    now = MORNING + number * DAY
    asked = [request(f"u-{user}", now, features={"likes": LIKES[user % 3]}) for user in range(USERS)]
    records = decide(live, asked)
    events = []
    for user, one in enumerate(records):
        if one.decision.action.content == LIKES[user % 3]:
            events.append(feedback(one, "clicked", 2.0))
        elif user % 7 == 0:
            events.append(feedback(one, "opened", 1.0))
        if user == 13:
            events.append(feedback(one, "failed", 3.0))
    give(live, [replace(one, source=source) for one in events])
    return records


def grown(store: Store, document: Campaign, seed: int = 3, days: int = DAYS) -> Service:
    """A campaign whose champion grew from pass to pass until all was final and learned."""
    live = service(store, seed, document)
    for number in range(days):
        day(live, number)
        advance(live, MORNING + number * DAY + DAY / 2)
        live.learner.run_pass()
    advance(live, MORNING + days * DAY + WINDOW)
    live.learner.run_pass()
    return live


def apart(row: ModelRow, document: Campaign, events: Iterable[ClosedDecision]) -> float:
    """How far the version's predictions are from those of a learner that learned these events in one go."""
    log = list(events)
    with taught(document.learner_arguments, log) as reference, load_version(row) as stored:
        return difference(scores(stored, log[:40]), scores(reference, log[:40]))


def between(store: Store, live: Service) -> float:
    """The difference between champion and challenger."""
    with ExitStack() as stack:
        rows = {one.alias: one.version for one in versions(store, "spring") if one.alias is not None}
        loaded = [stack.enter_context(load_version(row_of(store, rows[alias]))) for alias in (CHAMPION, CHALLENGER)]
        log = closed(store)[:40]
        return difference(scores(loaded[0], log), scores(loaded[1], log))


def row_of(store: Store, version: int) -> ModelRow:
    with store.read() as connection:
        row = models.get(connection, "spring", version)
    assert row is not None
    return row


def test_passes_end_with_what_one_go_would_have_learned(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "READ_CHUNK", 37)  # chunks end anywhere in a block
    document = final_at_once(**EVENTS)
    live = grown(store, document)
    row = champion(store)
    assert (row.health, row.events_learned) == (OK, sum(one.skipped is None for one in closed(store)))
    assert row.version > 2
    assert apart(row, document, with_events(live)) == 0.0


def with_events(live: Service) -> list[ClosedDecision]:
    """The log with the events that each reward was made of, as a pass reads it."""
    document = live.campaigns.get("spring").campaign
    lineage = Lineage(campaign_id="spring", settings=document.learner_arguments, overrides=Overrides())
    log = Log(store=live.store, campaigns=live.campaigns)
    found: list[ClosedDecision] = []
    while chunk := log.after(found[-1].seq if found else 0, lineage, with_events=True).decisions:
        found.extend(chunk)
    return found


def test_it_learns_what_each_user_likes(sqlite_store: Store) -> None:
    live = grown(sqlite_store, final_at_once(**EVENTS), days=30)
    live.models.refresh()
    model = live.models.model_for(live.campaigns.get("spring").campaign)
    assert model is not None
    assert isinstance(model.predictor, EventLearner)
    for user, liked in enumerate(LIKES):
        (record,) = decide(live, [request(f"new-{user}", live.clock.now(), features={"likes": liked})])
        logged = record.action_lines.joined()
        shares = dict.fromkeys(LIKES, 0.0)
        for line, probability in zip(logged, record.pmf.tolist(), strict=True):
            for name in LIKES:
                shares[name] += probability if f"|M id={name} " in f"{line} " else 0.0
        assert max(shares, key=lambda name: shares[name]) == liked


def test_a_relearn_ends_with_the_live_predictions(store: Store) -> None:
    live = grown(store, final_at_once(**EVENTS))
    relearned = live.relearner.run(live.relearner.plan("spring", {}, {}))
    assert relearned.row.health == OK
    assert between(store, live) == 0.0


def test_a_campaign_on_lines_gets_a_challenger_on_events_that_is_promoted_by_hand(store: Store) -> None:
    live = grown(store, final_at_once(learner="lines"))
    before = champion(store)
    relearned = live.relearner.run(live.relearner.plan("spring", {}, {}, "events"))
    assert champion(store).version == before.version  # nobody's champion changes by itself
    assert apart(relearned.row, final_at_once(**EVENTS), with_events(live)) == 0.0
    live.versions.promote("spring", relearned.row.version)
    assert live.campaigns.get("spring").campaign.policy.learner == "events"
    day(live, DAYS + 3)
    advance(live, MORNING + (DAYS + 3) * DAY + WINDOW)
    live.learner.run_pass()
    assert champion(store).parent == relearned.row.version
    assert apart(champion(store), final_at_once(**EVENTS), with_events(live)) == 0.0


def test_a_purge_ends_with_what_the_rest_would_have_taught(store: Store) -> None:
    live = service(store, 3, final_at_once(**EVENTS))
    for number in range(DAYS):
        day(live, number, source="liar" if number == 2 else "honest")
    advance(live, MORNING + DAYS * DAY + WINDOW)
    live.learner.run_pass()
    suspects = live.purger.suspects("liar", MORNING)
    (purged,) = live.purger.run(suspects)
    assert isinstance(purged, Purged)
    assert champion(store).parent == 0
    assert apart(champion(store), final_at_once(**EVENTS), with_events(live)) == 0.0


def test_a_changed_worth_begins_a_lineage_that_knows_the_whole_log(store: Store) -> None:
    live = grown(store, final_at_once(**EVENTS))
    document = live.campaigns.get("spring").campaign.model_dump(mode="json")
    document["reward"]["events"]["clicked"] = 2.0
    live.campaigns.put(parse_campaign(json.dumps(document)))
    day(live, DAYS + 3)
    advance(live, MORNING + (DAYS + 3) * DAY + WINDOW)
    live.learner.run_pass()
    assert champion(store).parent == 0
    assert champion(store).events_learned == sum(one.skipped is None for one in closed(store))


def test_events_are_decided_by_squarecb_and_no_other_explorer() -> None:
    with pytest.raises(InvalidInput, match=r"policy.*the learner `events` decides by squarecb"):
        final_at_once(**EVENTS, vw={"explorer": "softmax"})


@pytest.mark.parametrize(
    "events",
    [{"unsubscribed": -1.0}, {"clicked": 1.0, "$array": 0.5}, {}],
    ids=["only a bad event", "a name that looks like a mark of the state", "a number of its own"],
)
@pytest.mark.parametrize("quiet_days", [0, 4])
def test_any_reward_is_learned_and_decided_on(store: Store, events: dict[str, float], quiet_days: int) -> None:
    document = json.loads(final_at_once(**EVENTS).to_json())
    document["reward"] |= {"events": events, "bounds": [-5.0, 5.0]}
    live = service(store, 4, parse_campaign(json.dumps(document)))
    name = next(reversed(events), "reward")
    for number in range(8):
        asked = [request(f"u-{user}", MORNING + number * DAY) for user in range(USERS)]
        records = decide(live, asked)
        if number >= quiet_days:  # after silence too
            given = [feedback(one, name, 2.0) for one in records[::3]]
            give(live, [replace(one, value=0.001) for one in given] if name == "reward" else given)
        advance(live, MORNING + number * DAY + WINDOW + DAY / 4)
        live.learner.run_pass()
        live.models.refresh()
    row = champion(store)
    assert (row.health, row.events_learned) == (OK, 8 * USERS)
    (record,) = decide(live, [request("new", live.clock.now())])
    assert record.decision.model_version == row.version
    assert record.pmf.sum() == pytest.approx(1.0, abs=1e-9)


def test_a_reward_that_the_engine_would_not_take_is_refused_with_the_document() -> None:
    document = json.loads(final_at_once(**EVENTS).to_json())
    document["reward"] |= {"events": {"clicked": 9e14}, "bounds": [-1e15, 1e15]}
    with pytest.raises(InvalidInput, match=r"9e\+14: the learner `events` takes a best event worth at most 1e\+14"):
        parse_campaign(json.dumps(document))
