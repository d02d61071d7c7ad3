"""The state follows from the log alone: it does not matter how the log is cut, or how often it is stored and loaded."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit.decide.features import shared_line
from bandit.engine.events.learner import EventLearner
from bandit.engine.learner import Lesson
from tests.support.event_logs import ARGUMENTS, lessons, lines, user_features

LOG = list(lessons(11, 1_400))
ASKED = [shared_line(user_features(np.random.default_rng(seed)), {"sent_1d_push": 1.0}) for seed in range(4)]


def answers(learner: EventLearner) -> list[list[float]]:
    return [learner.predict(shared, lines()).tolist() for shared in ASKED]


def teach(learner: EventLearner, log: Sequence[Lesson]) -> EventLearner:
    for lesson in log:
        learner.learn(lesson)
    return learner


@pytest.fixture(scope="module")
def straight() -> list[list[list[float]]]:
    """The answers after some counts of lessons, of one that was never stored."""
    learner, found = EventLearner(ARGUMENTS), []
    for count, lesson in enumerate(LOG):
        if count % 100 == 0:
            found.append(answers(learner))
        learner.learn(lesson)
    return found


@settings(derandomize=True, max_examples=8, deadline=None)
@given(end=st.integers(1, 13), cuts=st.lists(st.integers(0, 1_300), max_size=5))
def test_a_log_that_is_cut_anywhere_gives_the_same_answers(
    straight: list[list[list[float]]], end: int, cuts: list[int]
) -> None:
    last = end * 100
    learner, place = EventLearner(ARGUMENTS), 0
    for cut in [*sorted(cut for cut in cuts if cut <= last), last]:
        teach(learner, LOG[place:cut])
        learner, place = EventLearner(ARGUMENTS, learner.to_bytes()), cut
    assert answers(learner) == straight[end]


def test_teaching_the_same_log_again_gives_the_same_answers(straight: list[list[list[float]]]) -> None:
    learner = teach(EventLearner(ARGUMENTS), LOG[:700])
    learner.forget_learned()
    assert answers(teach(learner, LOG[:1_300])) == straight[13]


def test_what_is_asked_in_between_changes_nothing(straight: list[list[list[float]]]) -> None:
    learner = EventLearner(ARGUMENTS)
    for lesson in LOG[:900]:
        learner.expected(lesson.shared, lesson.actions, lesson.action_index)
        learner.learn(lesson)
    learner.explained(ASKED[0], lines(), 3)
    learner.forget_parsed()
    assert answers(learner) == straight[9]


def test_another_order_gives_other_answers(straight: list[list[list[float]]]) -> None:
    learner = teach(EventLearner(ARGUMENTS), [*LOG[1:400], LOG[0]])
    assert answers(learner) != straight[4]


def test_the_models_keep_their_order_when_they_are_loaded() -> None:
    learner = teach(EventLearner(ARGUMENTS), LOG[:100])
    assert list(EventLearner(ARGUMENTS, learner.to_bytes())._models) == list(learner._models)
