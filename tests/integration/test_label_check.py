"""What was not logged as the service logs never reaches the engine, and is kept aside with its reason, once."""

from collections import Counter
from math import inf, nan
from typing import Any

import pytest
from sqlalchemy import Row, select, update
from structlog.testing import capture_logs

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.decide.logged import decode_actions
from bandit.decide.policies import lowest_propensity
from bandit.domain import Policy
from bandit.engine.explorers import EngineArguments
from bandit.engine.joint import LinesLearner
from bandit.engine.learner import OnlineLearner
from bandit.learn import labels as label_check
from bandit.learn.labels import Learned
from bandit.serve.models import load_version
from bandit.service import Service
from bandit.store import models as model_rows
from bandit.store import users
from bandit.store.closings import ClosedDecision
from bandit.store.models import CHALLENGER, CHAMPION, Alias, point
from bandit.store.sql.database import Store
from bandit.store.sql.schema import closings, decisions, quarantine
from tests.support.builders import (
    LEARN_AFTER,
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
    versions,
)

FLOOR, ACTIONS = 0.05, 19  # of the campaign "spring"
HOSTILE_PROPENSITIES = [0.0, -0.5, 1.5, inf, -inf, 1e-9, FLOOR / ACTIONS * (1 - 1e-9)]
HOSTILE_REWARDS = [inf, -inf, 1e30, 5.000001, -5.000001]


def decided(live: Service, users: int = 40) -> list[DecisionRecord]:
    """Decisions of one moment, with a click on each send."""
    records = decide(live, [request(f"u-{user}", features={"taste": user % 5}) for user in range(users)])
    give(live, [feedback(one, "clicked", 2.0) for one in records if one.decision.action.send])
    return records


def alter(store: Store, record: DecisionRecord, **values: Any) -> None:
    """As damage to the store would."""
    with store.write() as connection:
        connection.execute(update(decisions).where(decisions.c.id == record.decision.id).values(**values))


def alter_closing(live: Service, record: DecisionRecord, **values: Any) -> None:
    live.learner.close_due()
    with live.store.write() as connection:
        chosen = closings.c.decision_id == record.decision.id
        connection.execute(update(closings).where(chosen).values(**values))


def kept_aside(store: Store) -> dict[str, Row[Any]]:
    with store.read() as connection:
        return {row.decision_id: row for row in connection.execute(select(quarantine))}


def assert_learned_all_but(store: Store, refused: set[str]) -> None:
    """The champion predicts exactly what one engine predicts that learned the others in one go."""
    kept = [event for event in closed(store) if event.decision_id not in refused]
    with taught(campaign().engine_arguments, kept) as reference, load_version(champion(store)) as served:
        assert difference(scores(served, kept), scores(reference, kept)) == 0.0


def actions_of(store: Store, record: DecisionRecord) -> str:
    with store.read() as connection:
        chosen = decisions.c.id == record.decision.id
        actions: str = connection.execute(select(decisions.c.actions).where(chosen)).scalar_one()
    return actions


def test_each_rule_that_a_label_breaks_is_its_reason(store: Store) -> None:
    live = service(store, 20, campaign())
    records = decided(live)
    actions = actions_of(store, records[0])
    alter(store, records[0], actions=actions.replace("|M id=streak", "|M id=altered"))
    alter(store, records[1], propensity=0.0)
    alter(store, records[2], action_index=19)
    alter(store, records[3], action_index=-1)
    advance(live, MORNING + LEARN_AFTER)
    alter_closing(live, records[4], reward=1e30)
    alter_closing(live, records[5], events='{"clicked": 1e999}')
    alter_closing(live, records[6], events="clicked")
    result = live.learner.run_pass()
    assert (result.learned, result.quarantined) == (33, 7)
    assert champion(store).events_learned == 33
    found = kept_aside(store)
    assert [found[one.decision.id].reason for one in records[:7]] == [
        "actions",
        "propensity",
        "action",
        "action",
        "reward",
        "events",
        "events",
    ]
    assert found[records[1].decision.id].detail.startswith("propensity 0.0 is outside [0.00263")
    assert found[records[4].decision.id].detail == "reward 1e+30 is outside [-5.0, 5.0]"
    assert found[records[5].decision.id].detail.endswith("1e999}' is not a JSON object of finite numbers")
    assert_learned_all_but(store, set(found))


@pytest.mark.parametrize("value", [*HOSTILE_PROPENSITIES, nan])
def test_a_propensity_with_which_the_service_cannot_have_drawn_is_refused(value: float) -> None:
    document = campaign()
    label = closed_decision(propensity=value)
    fault = label_check.label_fault(document, label, ACTIONS)
    assert fault is not None
    assert fault[0] is label_check.Reason.PROPENSITY


@pytest.mark.parametrize("value", [*HOSTILE_REWARDS, nan, None, "1.0"])
def test_a_reward_that_the_campaign_cannot_give_is_refused(value: Any) -> None:
    fault = label_check.label_fault(campaign(), closed_decision(reward=value), ACTIONS)
    assert fault is not None
    assert fault[0] is label_check.Reason.REWARD


def closed_decision(**changes: Any) -> ClosedDecision:
    values: dict[str, Any] = {
        "seq": 1,
        "decision_id": "d",
        "campaign_version": 1,
        "policy": "learned",
        "reward": 0.0,
        "skipped": None,
        "events": None,
        "action_index": 0,
        "propensity": 0.5,
        "actions": "{}",
        "actions_digest": b"",
    }
    return ClosedDecision(**values | changes)


@pytest.mark.parametrize(
    ("policy", "lowest"),
    [("learned", FLOOR / ACTIONS), ("uniform_holdout", 1 / ACTIONS), ("no_send_holdout", 1.0), ("baseline", 1.0)],
)
def test_the_smallest_propensity_is_the_one_that_the_policy_can_log(policy: str, lowest: float) -> None:
    assert lowest_propensity(campaign(), policy, ACTIONS) == lowest
    assert label_check.label_fault(campaign(), closed_decision(policy=policy, propensity=lowest), ACTIONS) is None
    below = closed_decision(policy=policy, propensity=lowest * (1 - 1e-12))
    assert label_check.label_fault(campaign(), below, ACTIONS) is not None


def test_everything_that_the_service_logs_passes(store: Store) -> None:
    baseline = {"channel": "push", "content": "streak", "local_hour": 18}
    shares = {"uniform_holdout": 0.3, "no_send_holdout": 0.3, "floor": 1e-6}
    for seed, mode in enumerate(("live", "shadow")):
        document = campaign(id=mode, mode=mode, policy={**shares, "baseline": baseline})
        live = service(store, seed, document)
        for _ in range(2):
            now = live.clock.now()
            records = decide(live, [request(f"u-{user}", now, campaign=mode) for user in range(100)])
            assert {one.decision.policy for one in records} >= {Policy.UNIFORM_HOLDOUT, Policy.NO_SEND_HOLDOUT}
            advance(live, now + LEARN_AFTER)
            live.learner.run_pass()
            live.models.refresh()
    assert kept_aside(store) == {}


def test_text_in_a_column_of_numbers_is_refused(sqlite_store: Store) -> None:
    live = service(sqlite_store, 21, campaign())
    records = decided(live)
    advance(live, MORNING + LEARN_AFTER)
    live.learner.close_due()
    with sqlite_store.write() as connection:
        for one, column in zip(records, ("propensity", "action_index", "actions"), strict=False):
            value = "x'00'" if column == "actions" else "'abc'"
            connection.exec_driver_sql(f"UPDATE decisions SET {column} = {value} WHERE id = ?", (one.decision.id,))
        connection.exec_driver_sql(
            "UPDATE closings SET reward = 'abc' WHERE decision_id = ?", (records[3].decision.id,)
        )
        # What a NaN becomes in SQLite.
        connection.exec_driver_sql("UPDATE closings SET reward = NULL WHERE decision_id = ?", (records[4].decision.id,))
    assert live.learner.run_pass().learned == 35
    found = kept_aside(sqlite_store)
    assert [found[one.decision.id].reason for one in records[:5]] == [
        "propensity",
        "action",
        "actions",
        "reward",
        "reward",
    ]


def test_what_is_kept_aside_is_kept_once_however_often_it_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service(store, 22, campaign())
    records = decided(live)
    for one in records[:10]:
        alter(store, one, propensity=-1.0)
    advance(live, MORNING + LEARN_AFTER)
    assert live.learner.run_pass().quarantined == 10
    live.campaigns.put(campaign(policy={"vw": {"explorer": "softmax", "lambda": 2.0}}))  # a lineage from nothing
    again = live.learner.run_pass()
    assert (again.learned, again.quarantined) == (30, 0)
    assert len(kept_aside(store)) == 10


def test_quarantine_is_written_with_the_version_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    live = service(store, 23, campaign())
    alter(store, decided(live)[0], propensity=2.0)
    advance(live, MORNING + LEARN_AFTER)

    def broken(*_: Any) -> None:
        raise ArithmeticError

    with monkeypatch.context() as patch:
        patch.setattr(model_rows, "forget_old", broken)
        with capture_logs() as logs:
            live.learner.run_pass()  # one campaign's failure is logged, and stops no other
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["campaign_not_learned"]
    assert (kept_aside(store), versions(store)) == ({}, [])
    live.learner.run_pass()
    assert len(kept_aside(store)) == 1


def test_erasing_a_user_erases_their_quarantined_labels(store: Store) -> None:
    live = service(store, 24, campaign())
    alter(store, decided(live)[0], propensity=2.0)
    advance(live, MORNING + LEARN_AFTER)
    live.learner.run_pass()
    with store.write() as connection:
        assert users.erase(connection, "u-0")["quarantine"] == 1
    assert kept_aside(store) == {}


def learn_unchecked(learner: OnlineLearner, _document: Campaign, event: ClosedDecision) -> Learned:
    """As text, past the engine's own check as well: what a plain loop over a log would do."""
    logged = decode_actions(event.actions)
    lines = list(logged.action_lines.joined())
    cost = -(event.reward or 0.0)
    lines[event.action_index] = f"0:{cost!r}:{event.propensity!r} {lines[event.action_index]}"
    assert isinstance(learner, LinesLearner)
    workspace = learner.engine._opened()
    examples = workspace.parse([logged.shared_line, *lines])
    workspace.learn(examples)
    workspace.finish_example(examples)
    return Learned(expected=None)


@pytest.mark.parametrize("checked", [True, False], ids=["with the label check", "without it"])
def test_one_label_of_propensity_0_freezes_a_model_for_good_unless_the_label_check_refuses_it(
    store: Store, checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = campaign(policy={"vw": {"explorer": "softmax", "coin": False}})
    # Clipping is the engine's own defence, behind the label check: here it must not help.
    unclipped = EngineArguments(text=document.engine_arguments.text.replace("--clip_p 0.05", "--clip_p 0.0"))
    monkeypatch.setattr(Campaign, "engine_arguments", unclipped)
    monkeypatch.setattr("bandit.learn.canary.fault", lambda *_: None)  # nor the defence behind both
    live = service(store, 25, document)
    records = decided(live, users=10)
    alter(store, next(one for one in records if one.decision.action.send), propensity=0.0)
    if not checked:
        monkeypatch.setattr("bandit.learn.teach.learn_checked", learn_unchecked)
    advance(live, MORNING + LEARN_AFTER)
    live.learner.run_pass()
    events = [event for event in closed(store) if event.propensity > 0]
    assert champion(store).arguments == unclipped.text
    with load_version(champion(store)) as learner:
        before = scores(learner, events)
        for event in events * 5:
            learn_unchecked(learner, document, event)
        moved = difference(scores(learner, events), before)
    assert moved > 1e-4 if checked else moved == 0.0


def test_champion_and_challenger_each_pass_over_the_label(store: Store) -> None:
    live = service(store, 26, campaign())
    decided(live)
    advance(live, MORNING + LEARN_AFTER)
    live.learner.run_pass()
    named = Alias(alias=CHALLENGER, version=1, held=False, campaign_arguments=campaign().engine_arguments.text)
    with store.write() as connection:
        point(connection, "spring", named, MORNING)
    more = decide(live, [request(f"v-{user}", live.clock.now()) for user in range(20)])
    alter(store, more[0], propensity=0.0)
    advance(live, live.clock.now() + LEARN_AFTER)
    result = live.learner.run_pass()
    assert (result.learned, result.quarantined) == (38, 1)
    assert {row.alias: row.events_learned for row in versions(store)} == {None: 40, CHAMPION: 59, CHALLENGER: 59}
    assert Counter(row.reason for row in kept_aside(store).values()) == {"propensity": 1}
