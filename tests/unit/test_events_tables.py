"""The tables answer what the models say, decision by decision."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.decide.features import content_line, shared_line
from bandit.domain import Content
from bandit.engine.events import tables
from bandit.engine.events.arguments import EventArguments
from bandit.engine.events.designs import decision_of
from bandit.engine.events.learner import EventLearner
from bandit.engine.events.reading import action_tokens, channel_name, send_at, user_tokens
from bandit.engine.lines import ActionLines
from tests.support.event_logs import ARGUMENTS, CONTENTS, lessons, lines, user_features

STRANGE = Content(id="never-seen", features={"kind": "opera", "length": 9.0})


def taught(arguments: EventArguments = ARGUMENTS, number: int = 700) -> EventLearner:
    learner = EventLearner(arguments)
    for lesson in lessons(1, number):
        learner.learn(lesson)
    return learner


def exact_values(learner: EventLearner, shared: str, actions: ActionLines, number: int) -> list[float]:
    """The values at the posterior mean, one action at a time."""
    exact, found = learner._exact_models(), []
    for index in range(number):
        send = send_at(actions, index)
        action = None if send is None else action_tokens(*send)
        decision = decision_of(user_tokens(shared), action, learner._scales)
        row = learner._columns.row(decision)
        found.append(exact.value(row, None if send is None else channel_name(send[0])))
    return found


@pytest.mark.parametrize("mask", ["ffff", "8421", "1"])
@pytest.mark.parametrize("recency", [None, 2.0])
def test_the_tables_have_the_values_of_the_models(mask: str, recency: float | None) -> None:
    learner = taught()
    actions = lines(mask=mask, recency=recency)
    number = 1 + int(mask, 16).bit_count()
    for seed in range(5):
        history = {"sent_30d_push": float(seed)} if seed else {}
        shared = shared_line(user_features(np.random.default_rng(seed)), history)
        values = learner.per_event(shared, actions)["value"]
        assert values == pytest.approx(exact_values(learner, shared, actions, number), abs=2e-6)


def test_they_have_them_where_users_are_too_many_for_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "WIDEST", 2_000)
    learner = taught()
    shared = shared_line(user_features(np.random.default_rng(7)), {})
    values = learner.per_event(shared, lines())["value"]
    assert learner._serving()._tables._at_mean
    assert values == pytest.approx(exact_values(learner, shared, lines(), 17), abs=2e-6)


def test_they_have_them_where_most_weights_have_no_correlations() -> None:
    learner = taught(replace(ARGUMENTS, dense=30))
    assert len(learner._columns.dense) == 30
    shared = shared_line(user_features(np.random.default_rng(7)), {})
    values = learner.per_event(shared, lines())["value"]
    assert values == pytest.approx(exact_values(learner, shared, lines(), 17), abs=2e-6)


def test_a_content_that_was_never_seen_has_the_mean_of_the_others_and_draws_of_its_own() -> None:
    learner = taught()
    contents = tuple(content_line(one, None, None) for one in (*CONTENTS, STRANGE))
    actions = lines()._replace(contents=contents, mask=f"{2**20 - 1:x}")
    shared = shared_line(user_features(np.random.default_rng(3)), {})
    values = learner._serving().values(user_tokens(shared), actions)
    assert values[:, 0] == pytest.approx(exact_values(learner, shared, actions, 21), abs=2e-6)
    known, strange = values[1:9, 1:].std(axis=1).mean(), values[9:11, 1:].std(axis=1).mean()
    assert strange > known


def test_a_default_is_earned_only_where_no_event_comes() -> None:
    learner = taught(replace(ARGUMENTS, default=-0.3))
    shared = shared_line(user_features(np.random.default_rng(3)), {})
    values = learner.per_event(shared, lines())["value"]
    assert values == pytest.approx(exact_values(learner, shared, lines(), 17), abs=2e-6)
    outcomes = learner.per_event(shared, lines())
    none = (1 - outcomes["clicked"]) * (1 - outcomes["visited"]) * (1 - outcomes["unsubscribed"])
    worth = outcomes["clicked"] + 0.2 * outcomes["visited"] - 5.0 * outcomes["unsubscribed"]
    costs = np.array([0.0, *[0.02] * 8, *[0.01] * 8])
    assert values == pytest.approx(worth - 0.3 * none - costs, abs=2e-6)
