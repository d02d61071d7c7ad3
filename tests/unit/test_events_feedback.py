"""Events that stop or thin out, against their own past."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.engine.events.feedback import PATIENCE, SILENCE, Watch
from bandit.engine.events.learner import EventLearner
from tests.support.event_logs import ARGUMENTS, lessons

BLOCK = 200


def watched(rates: list[float], *, blocks: int, seed: int = 1) -> Watch:
    """A watch of one channel after so many blocks at each rate."""
    rng, watch = np.random.default_rng(seed), Watch()
    for rate in rates:
        for _ in range(blocks):
            watch.take(["push"] * BLOCK, (rng.random(BLOCK) < rate).astype(float).tolist())
    return watch


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.002])
def test_events_that_come_as_always_are_not_missing(rate: float) -> None:
    assert watched([rate], blocks=200).missing("clicked") == []


def test_events_that_stop_are_missing_soon_and_then_come_back() -> None:
    watch = watched([0.1] * 10 + [0.0], blocks=3)
    (missing,) = watch.missing("clicked")
    assert (missing.event, missing.channel) == ("clicked", "push")
    assert missing.share < 0.1
    assert watch.stopped == {"push"}
    for _ in range(3):
        watch.take(["push"] * BLOCK, [1.0] * 20 + [0.0] * 180)
    assert watch.missing("clicked") == []


def test_events_that_are_a_third_of_what_they_were_are_missing_but_have_not_stopped() -> None:
    watch = watched([0.3] * 10 + [0.1], blocks=4)
    (missing,) = watch.missing("clicked")
    assert 0.2 < missing.share < 0.5
    assert watch.stopped == frozenset()


def test_rare_events_are_never_missing() -> None:
    assert watched([0.002] * 10 + [0.0] * 5, blocks=4).missing("unsubscribed") == []


def test_what_is_missing_for_long_is_what_users_do() -> None:
    watch = watched([0.1] * 10 + [0.0], blocks=3)
    assert watch.stopped
    for _ in range(PATIENCE // BLOCK + 1):
        watch.take(["push"] * BLOCK, [0.0] * BLOCK)
    assert watch.stopped == frozenset()


def outage(channel: str | None, event: str) -> EventLearner:
    """A learner after 2,000 decisions, and 1,000 of which one event is not reported, on one channel or on all."""
    learner = EventLearner(ARGUMENTS)
    for number, lesson in enumerate(lessons(8, 3_000)):
        if number >= 2_000 and (channel is None or lesson.action_index in range(1, 9)):
            events = {name: value for name, value in (lesson.events or {}).items() if name != event}
            lesson = replace(lesson, events=events)
        learner.learn(lesson)
    return learner


def test_a_channel_that_reports_no_clicks_is_named() -> None:
    found = {(one.event, one.channel) for one in outage("push", "clicked").missing}
    assert found == {("clicked", "id=push")}


def test_an_event_that_is_not_sent_any_more_is_named_wherever_it_is_usual() -> None:
    found = {(one.event, one.channel) for one in outage(None, "clicked").missing}
    assert ("clicked", "id=push") in found
    assert not [one for one in found if one[0] != "clicked" or one[1] == SILENCE]


def test_an_outage_teaches_little() -> None:
    learner, told = outage(None, "clicked"), EventLearner(ARGUMENTS)
    for lesson in lessons(8, 3_000):
        told.learn(lesson)
    asked = next(iter(lessons(9, 1)))
    without, with_all = (one.per_event(asked.shared, asked.actions)["clicked"][1:9].mean() for one in (learner, told))
    assert without > 0.5 * with_all  # learned as they are, the thousand decisions leave an eighth of it
