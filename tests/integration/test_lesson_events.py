"""A lesson says which events its reward was made of, in every pass and relearn; on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import null, update

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import reward_from
from bandit.decide.decision import DecisionRecord
from bandit.engine.explorers import EngineArguments
from bandit.engine.joint import LinesLearner
from bandit.engine.learner import Lesson
from bandit.learn import lineage, relearn
from bandit.learn.rewards_of import Rewards
from bandit.service import Service
from bandit.store.sql.database import Store
from bandit.store.sql.schema import closings
from tests.support.builders import LEARN_AFTER, MORNING, advance, campaign, decide, feedback, give, request, service

DAY = timedelta(days=1)


class Recorder(LinesLearner):
    """A learner that reads events, and keeps every lesson that any of its kind was taught."""

    reads_events = True
    lessons: list[Lesson]

    def learn(self, lesson: Lesson) -> None:
        self.lessons.append(lesson)
        super().learn(lesson)


@pytest.fixture(autouse=True)
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[Lesson]:
    monkeypatch.setattr(Recorder, "lessons", [], raising=False)
    for module in (lineage, relearn):  # not where the canary loads, which teaches events of its own
        monkeypatch.setattr(module, "learner_of", recorder)
    return Recorder.lessons


def recorder(arguments: EngineArguments, model: bytes | None = None) -> Recorder:
    return Recorder(arguments, model)


def document() -> Campaign:
    return campaign(reward={"events": {"clicked": 1.0, "opened": 0.1, "unsubscribed": -3.0}})


def made_of(lesson: Lesson) -> float:
    """The reward that the events of the lesson make."""
    assert lesson.events is not None
    line = lesson.actions.joined()[lesson.action_index]
    channel = next((name for name in document().channels if f"|C id={name} " in line), None)
    return reward_from(document(), channel, lesson.events)


def told_until_closing(live: Service) -> list[DecisionRecord]:
    """Thirty decisions whose rewards have closed; a third were clicked."""
    records = decide(live, [request(f"u-{user}", MORNING) for user in range(30)])
    give(live, [feedback(one, "clicked", 2.0) for one in records[::3]])
    advance(live, MORNING + LEARN_AFTER)
    live.learner.close_due()
    return records


def told_after_closing(live: Service, records: list[DecisionRecord]) -> None:
    """Another third, and some of the first, do more before the deadline."""
    give(live, [feedback(one, "opened", 30.0) for one in records[1::3]])
    give(live, [feedback(one, "unsubscribed", 30.0) for one in records[::6]])


def learned_before_more_came(live: Service) -> None:
    records = told_until_closing(live)
    live.learner.run_pass()
    told_after_closing(live, records)


def test_a_pass_tells_the_events_that_were_seen_when_the_reward_closed(store: Store, lessons: list[Lesson]) -> None:
    live = service(store, 70, document())
    told_after_closing(live, told_until_closing(live))
    live.learner.run_pass()
    assert len(lessons) == 30
    assert sum(one.events == {"clicked": 1.0} for one in lessons) == 10
    assert sum(one.events == {} for one in lessons) == 20
    assert [made_of(one) for one in lessons] == [one.reward for one in lessons]


def test_hindsight_tells_what_became_of_each_decision(store: Store, lessons: list[Lesson]) -> None:
    live = service(store, 71, document())
    learned_before_more_came(live)
    advance(live, MORNING + 5 * DAY)
    live.learner.run_pass()
    lessons.clear()
    live.relearner.run(live.relearner.plan("spring", {}, {}))
    assert [made_of(one) for one in lessons] == [one.reward for one in lessons]
    assert sum(one.events == {"opened": 0.1} for one in lessons) == 10
    assert sum(one.events == {"clicked": 1.0, "unsubscribed": -3.0} for one in lessons) == 5


def test_other_worths_are_those_of_the_lessons_too(store: Store, lessons: list[Lesson]) -> None:
    live = service(store, 72, document())
    learned_before_more_came(live)
    lessons.clear()
    live.relearner.run(live.relearner.plan("spring", {}, {"clicked": 2.0}))
    assert sum(one.events == {"clicked": 2.0} for one in lessons) == 10


def learned_without_stored_events(store: Store, lessons: list[Lesson], seed: int) -> None:
    """A champion is taught rewards that closed before events were stored with them."""
    live = service(store, seed, document())
    records = told_until_closing(live)
    with store.write() as connection:
        connection.execute(update(closings).values(events=null()))
    told_after_closing(live, records)
    live.learner.run_pass()
    assert len(lessons) == 30


def test_rewards_that_closed_before_events_were_stored_tell_what_was_known_then(
    store: Store, lessons: list[Lesson]
) -> None:
    learned_without_stored_events(store, lessons, 73)
    assert [made_of(one) for one in lessons] == [one.reward for one in lessons]
    assert sum(one.events == {"clicked": 1.0} for one in lessons) == 10


def test_without_working_them_out_they_would_tell_none(
    store: Store, lessons: list[Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rewards, "of", lambda _self, _connection, _campaign, chunk, _documents, **_options: chunk)
    learned_without_stored_events(store, lessons, 73)
    assert {one.events for one in lessons} == {None}
