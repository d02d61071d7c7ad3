"""Sums over final decisions: complete, once each, and what the dashboard is told of them; on both databases."""

import json
import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from bandit.decide.decision import DecisionRecord
from bandit.decide.sums import relative_entropy
from bandit.service import Service
from bandit.store.sql.database import Store
from bandit.store.sql.schema import choice_sums, decisions, final_rewards, reward_sums
from sim.common.means import clustered_mean
from tests.support.builders import MORNING, WINDOW, advance, campaign, decide, feedback, give, request, service
from tests.support.wire import json_of, problem_of, put_campaign, running

DAY = timedelta(days=1)
SHARES = {"uniform_holdout": 0.3, "no_send_holdout": 0.3}


def live_with_past(store: Store, days: int = 3, users: int = 40) -> tuple[Service, list[DecisionRecord]]:
    """Some days of decisions under holdouts, a third clicked and a few not delivered, their rewards not closed yet."""
    live, luck, records = service(store, 1, campaign(policy=SHARES)), random.Random(2), []
    for day in range(days):
        for record in decide(live, [request(f"u-{user}", MORNING + day * DAY) for user in range(users)]):
            records.append(record)
            if luck.random() < 0.3:
                give(live, [feedback(record, "clicked")])
            elif luck.random() < 0.1:
                give(live, [feedback(record, "failed")])
    return live, records


def close_all(live: Service, days: int = 3) -> None:
    advance(live, MORNING + days * DAY + WINDOW)
    live.learner.run_pass()


def rows(store: Store, table: Any) -> list[dict[str, Any]]:
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table))]


def test_the_sums_are_those_of_the_final_decisions_however_often_the_learner_looks(store: Store) -> None:
    live, records = live_with_past(store)
    for hours in range(0, 24 * 6, 7):  # some are final at each look, and none twice
        advance(live, MORNING + timedelta(hours=hours))
        live.learner.run_pass()
    rewards = {row["decision_id"]: row["reward"] for row in rows(store, final_rewards)}
    assert len(rewards) == len(records) == 120
    expected: dict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for row in rows(store, decisions):
        hour = -1 if row["local_hour"] is None else row["local_hour"]
        key = (row["policy"], row["channel"] or "", row["content"] or "", hour, row["decided_at"].date())
        reward = rewards[row["id"]]
        sums = expected[key]
        sums[0] += 1
        sums[1] += reward is None
        sums[2] += reward or 0.0
    found = {
        (row["policy"], row["channel"], row["content"], row["local_hour"], row["day"].date()): row
        for row in rows(store, choice_sums)
    }
    assert found.keys() == expected.keys()
    for key, (number, voided, reward) in expected.items():
        assert (found[key]["decisions"], found[key]["voided"]) == (number, voided)
        assert found[key]["reward"] == pytest.approx(reward, abs=1e-9)
    by_group = rows(store, reward_sums)
    assert sum(row["decisions"] for row in by_group) == sum(reward is not None for reward in rewards.values())
    assert any(row["voided"] for row in found.values())


def test_the_local_hour_of_a_send_is_that_of_the_users_clock(store: Store) -> None:
    live = service(store, 1, campaign(send_times={"allow_now": False}))
    records = decide(live, [request(f"u-{user}", timezone="Asia/Kolkata") for user in range(30)])
    sent = {one.decision.id: one.local_hour for one in records if one.decision.action.send}
    assert set(sent.values()) <= {12, 18}
    stored = {row["id"]: row["local_hour"] for row in rows(store, decisions) if row["local_hour"] is not None}
    assert stored == sent


@pytest.mark.parametrize(
    ("pmf", "share"), [([0.25] * 4, 1.0), ([1.0, 0.0], 0.0), ([1.0], 0.0), ([0.5, 0.5, 0.0, 0.0], 0.5)]
)
def test_entropy_is_a_share_of_that_of_a_uniform_choice(pmf: list[float], share: float) -> None:
    assert relative_entropy(np.array(pmf)) == pytest.approx(share)


def test_insights_say_what_each_policy_earned_with_an_interval_and_the_lift(database_url: str, store: Store) -> None:
    live, _ = live_with_past(store)
    close_all(live)
    with running(database_url) as client:
        told = json_of(client.get("/campaigns/spring/insights"))
    rewards = {row["decision_id"]: row["reward"] for row in rows(store, final_rewards)}
    means = {}
    for policy in ("learned", "uniform_holdout", "no_send_holdout"):
        own = [row for row in rows(store, decisions) if row["policy"] == policy and rewards[row["id"]] is not None]
        users = sorted({row["user_id"] for row in own})
        values, clusters = [rewards[row["id"]] for row in own], [users.index(row["user_id"]) for row in own]
        means[policy] = clustered_mean(values, clusters)
    overall = {one["policy"]: one for one in told["overall"]}
    for policy, mean in means.items():
        assert overall[policy]["n"] == mean.n
        assert overall[policy]["mean"] == pytest.approx(mean.value)
        assert overall[policy]["lower"] < mean.value < overall[policy]["upper"]
    lift = means["learned"].value - means["no_send_holdout"].value
    assert told["lift"]["value"] == pytest.approx(lift)
    assert told["lift"]["lower"] < lift < told["lift"]["upper"]
    assert {row["day"] for row in told["rewards"]} == {"2026-03-02", "2026-03-03", "2026-03-04"}
    assert sum(row["decisions"] for row in told["contents"]) == 120
    assert all(0 <= row["exploration_share"] <= 1 and 0 <= row["entropy"] <= 1 for row in told["learning"])
    assert json.dumps(told).count("NaN") == 0


def test_the_days_asked_for_are_the_last_that_are_final_however_long_ago_they_were(
    database_url: str, store: Store
) -> None:
    live, _ = live_with_past(store)
    close_all(live, days=400)
    with running(database_url) as client:
        told = json_of(client.get("/campaigns/spring/insights?days=2"))
    assert {row["day"] for row in told["rewards"]} == {"2026-03-03", "2026-03-04"}
    assert {row["day"] for row in told["learning"]} == {"2026-03-03", "2026-03-04"}


def test_insights_of_nothing_are_empty_and_those_of_no_campaign_are_not_found(client: FlaskClient) -> None:
    told = json_of(client.get("/campaigns/reengage/insights?days=7"))
    assert (told["days"], told["lift"]) == (7, None)
    assert told["rewards"] == told["overall"] == told["sends"] == told["contents"] == told["learning"] == []
    problem_of(client.get("/campaigns/nobody/insights"), 404)
    problem_of(client.get("/campaigns/reengage/insights?days=0"), 400, "days")
    put_campaign(client, id="second")
    assert json_of(client.get("/campaigns/second/insights"))["campaign"] == "second"
