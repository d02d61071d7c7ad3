"""Whatever is learned, every probability stays finite and positive, and they sum to 1."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit.decide.features import shared_line
from bandit.engine.events.learner import EventLearner
from tests.support.event_logs import ARGUMENTS, lessons, lines, reward_of

numbers = st.floats(-1e15, 1e15, allow_nan=False)
values = st.one_of(
    numbers,
    st.booleans(),
    st.text(max_size=8),
    st.lists(numbers, min_size=1, max_size=40).map(tuple),
    st.lists(st.text(max_size=4), min_size=1, max_size=5).map(tuple),
)
features = st.dictionaries(st.sampled_from("abcdef"), values, max_size=5)
EVENTS = [{}, {"clicked": 1.0}, {"visited": 1.0}, {"unsubscribed": 1.0}, {"reward": 1e15}, {"reward": -0.3}]


def check(learner: EventLearner, shared: str) -> None:
    pmf = learner.predict(shared, lines())
    assert np.isfinite(pmf).all()
    assert (pmf > 0.0).all()
    assert pmf.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(learner.experience())
    for model in learner._models.values():
        for member in model.bank.members:
            assert np.isfinite(member.posterior.mean).all()
            assert np.isfinite(member.posterior.precision).all()
            if len(member.posterior.precision):
                np.linalg.cholesky(member.posterior.precision)


@settings(derandomize=True, max_examples=10, deadline=None)
@given(data=st.data(), users=st.lists(features, min_size=1, max_size=6))
def test_any_features_and_any_events(data: st.DataObject, users: list[dict[str, Any]]) -> None:
    learner = EventLearner(ARGUMENTS)
    pattern = data.draw(st.lists(st.tuples(st.integers(0, 16), st.sampled_from(EVENTS)), min_size=1, max_size=8))
    (template,) = lessons(1, 1)
    shared = [shared_line(user, {"sent_7d_push": 1e15, "ignored_streak": 1e15}) for user in users]
    for number in range(230):
        index, events = pattern[number % len(pattern)]
        reward = sum(events.values()) if "reward" in events else reward_of(index, dict(events))
        lesson = replace(template, shared=shared[number % len(shared)], action_index=index, events=events)
        learner.learn(replace(lesson, reward=reward))
    for line in shared:
        check(learner, line)


@pytest.mark.parametrize("number", [0, 1, 49, 50, 51])
def test_few_events_or_none(number: int) -> None:
    learner = EventLearner(ARGUMENTS)
    for lesson in lessons(2, number):
        learner.learn(lesson)
    check(learner, shared_line({"country": "DE"}, {}))


def test_perfectly_separable_events() -> None:
    learner = EventLearner(ARGUMENTS)
    for lesson in lessons(3, 3_000):
        push = 1 <= lesson.action_index <= 8
        events = {"clicked": 1.0} if push else {}
        learner.learn(replace(lesson, events=events, reward=reward_of(lesson.action_index, events)))
    check(learner, shared_line({"country": "DE"}, {}))
    clicks = learner.per_event(shared_line({"country": "DE"}, {}), lines())["clicked"]
    assert clicks[1:9].min() > 0.9
    assert clicks[9:].max() < 0.1


def test_the_same_event_a_thousand_times() -> None:
    learner, (lesson,) = EventLearner(ARGUMENTS), lessons(4, 1)
    for _ in range(1_000):
        learner.learn(lesson)
    check(learner, lesson.shared)
