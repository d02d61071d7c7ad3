"""What the learner of events learns, and what it says of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bandit.decide.features import shared_line
from bandit.domain import REWARD_EVENT, Features
from bandit.engine.events.arguments import REWARD, EventArguments
from bandit.engine.events.learner import EventLearner, block_size
from bandit.engine.learner import Lesson
from bandit.errors import CorruptModel, InvalidInput, InvalidPropensity
from tests.support.event_logs import ARGUMENTS, keen_on_push, lessons, lines, send_of, user_features

NEWS_USER: Features = {"country": "DE", "premium": False, "topics": ("news", "food"), "visits": 1.0}


def taught(number: int = 3_000, *, known: bool = True, arguments: EventArguments = ARGUMENTS) -> EventLearner:
    learner = EventLearner(arguments)
    for lesson in lessons(1, number, known=known):
        learner.learn(lesson)
    return learner


@pytest.fixture(scope="module")
def learner() -> EventLearner:
    return taught()


def best_sends(learner: EventLearner) -> set[tuple[str, str, int] | None]:
    """What it would most probably choose for one user."""
    pmf = learner.predict(shared_line(NEWS_USER, {}), lines())
    return {send_of(int(place)) for place in np.argsort(-pmf)[:2]}


def test_untaught_it_explores(learner: EventLearner) -> None:
    pmf = EventLearner(ARGUMENTS).predict(shared_line(NEWS_USER, {}), lines())
    assert pmf.sum() == pytest.approx(1.0)
    assert pmf.max() < 0.5


def test_taught_it_chooses_what_is_best(learner: EventLearner) -> None:
    assert best_sends(learner) == {("push", "news", 20)}


@pytest.mark.parametrize("known", [True, False])
def test_its_probabilities_are_those_of_the_truth(known: bool, learner: EventLearner) -> None:
    learner = learner if known else taught(known=False)
    rng = np.random.default_rng(9)
    errors = []
    for _ in range(50):
        user = user_features(rng)
        outcomes = learner.per_event(shared_line(user, {"sent_7d_push": 1.0}), lines())
        for index in range(17):
            truth = keen_on_push(user, send_of(index))
            errors.append(outcomes["clicked"][index] - truth.get("clicked", 0.0))
            errors.append(outcomes["visited"][index] - truth["visited"])
    assert np.sqrt(np.mean(np.square(errors))) < 0.07
    assert abs(np.mean(errors)) < 0.02


def test_an_event_that_silence_never_brought_cannot_come_after_it(learner: EventLearner) -> None:
    outcomes = learner.per_event(shared_line(NEWS_USER, {}), lines())
    assert outcomes["clicked"][0] == 0.0
    assert outcomes["visited"][0] > 0.05


def test_what_is_expected_is_the_engines_view_of_the_value(learner: EventLearner) -> None:
    shared = shared_line(NEWS_USER, {})
    values = learner.per_event(shared, lines())["value"]
    expected = [learner.expected(shared, lines(), index) for index in range(17)]
    assert np.corrcoef(values, expected)[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_an_explanation_names_what_moved_the_value_most(learner: EventLearner) -> None:
    index = next(place for place in range(1, 17) if send_of(place) == ("push", "news", 20))
    explained = learner.explained(shared_line(NEWS_USER, {}), lines(), index)
    assert explained.expected == pytest.approx(learner.expected(shared_line(NEWS_USER, {}), lines(), index))
    assert 0.001 < explained.deviation < 0.2
    assert {moved.feature for moved in explained.moved} <= {
        "id=push",
        "hour=20",
        "kind=news",
        "kind=news x topics~news",
    }
    assert all(moved.effect > 0.0 for moved in explained.moved)


def test_what_one_weight_does_to_the_value_is_exact(learner: EventLearner) -> None:
    exact, shared = learner._exact_models(), shared_line(NEWS_USER, {})
    learner.expected(shared, lines(), 3)
    assert learner._latest is not None
    row = learner._latest[1].row
    effects = exact.effects(row, is_send=True)
    place = int(np.argmax(np.abs(effects)))
    without = row._replace(places=np.delete(row.places, place), values=np.delete(row.values, place))
    assert exact.value(row, "id=push") - exact.value(without, "id=push") == pytest.approx(effects[place])


def test_rewards_without_their_events_say_which_they_were(learner: EventLearner) -> None:
    assert learner._inferred(1.0 - 0.02, "id=push") == {"clicked": 1.0}
    assert learner._inferred(0.2, None) == {"visited": 1.0}
    assert learner._inferred(1.2 - 0.01, "id=email") == {"clicked": 1.0, "visited": 1.0}
    assert learner._inferred(-0.01, "id=email") == {}
    assert learner._inferred(0.7, None) == {REWARD: 0.7}


def test_the_event_with_a_number_has_the_name_that_the_domain_gives_it() -> None:
    assert REWARD == REWARD_EVENT


def test_numbers_are_learned_as_numbers() -> None:
    arguments = replace(ARGUMENTS, worths={}, bounds=(-1.0, 100.0), unit=100.0)
    rng, learner = np.random.default_rng(4), EventLearner(arguments)
    for lesson in lessons(4, 2_000):
        send = send_of(lesson.action_index)
        number = 0.0 if send is None else (30.0 if send[2] == 20 else 10.0) * float(rng.gamma(4.0)) / 4.0
        learner.learn(replace(lesson, reward=number, events={REWARD: number}))
    outcomes = learner.per_event(shared_line(NEWS_USER, {}), lines())[REWARD]
    evening = [place for place in range(1, 17) if send_of(place) in {("push", "news", 20), ("email", "sport", 20)}]
    assert outcomes[evening].mean() == pytest.approx(30.0, abs=3.0)
    assert outcomes[0] == pytest.approx(0.0, abs=3.0)


def test_another_campaign_starts_with_what_users_channels_and_hours_are_like(learner: EventLearner) -> None:
    started = EventLearner(ARGUMENTS, start=learner.start())
    clicks = started.per_event(shared_line(NEWS_USER, {}), lines())["clicked"]
    by_way = {send[::2]: clicks[index] for index in range(1, 17) if (send := send_of(index)) is not None}
    assert by_way["push", 20] > by_way["push", 8] + 0.03
    assert by_way["push", 20] > by_way["email", 20] + 0.03
    assert started.experience() == EventLearner(ARGUMENTS).experience()


def test_a_start_is_kept_with_the_state(learner: EventLearner) -> None:
    started = EventLearner(ARGUMENTS, start=learner.start())
    pmf = started.predict(shared_line(NEWS_USER, {}), lines())
    loaded = EventLearner(ARGUMENTS, started.to_bytes())
    for lesson in lessons(6, 60):
        loaded.learn(lesson)
    loaded.forget_learned()
    assert loaded.predict(shared_line(NEWS_USER, {}), lines()).tolist() == pmf.tolist()


def test_forgetting_makes_it_what_it_was_before() -> None:
    untaught = EventLearner(ARGUMENTS).predict(shared_line(NEWS_USER, {}), lines())
    learner = taught(120)
    learner.forget_learned()
    assert learner.predict(shared_line(NEWS_USER, {}), lines()).tolist() == untaught.tolist()
    assert learner.learned == 0


def test_every_lesson_adds_to_the_experience() -> None:
    learner, before = EventLearner(ARGUMENTS), 0.0
    for lesson in lessons(2, 130):
        learner.learn(lesson)
        assert learner.experience() > before
        before = learner.experience()


def test_blocks_grow_with_what_was_learned() -> None:
    assert [block_size(learned) for learned in (0, 999, 2_000, 10**6)] == [50, 50, 100, 300]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"propensity": 0.0}, InvalidPropensity),
        ({"propensity": float("nan")}, InvalidPropensity),
        ({"reward": float("inf")}, InvalidInput),
        ({"reward": float("nan"), "events": None}, InvalidInput),
        ({"events": {"clicked": float("nan")}}, InvalidInput),
        ({"action_index": 17}, InvalidInput),
        ({"action_index": -1}, InvalidInput),
        ({"shared": "shared |U a#:nan |H"}, InvalidInput),
        ({"shared": "|U a"}, InvalidInput),
    ],
)
def test_what_must_not_be_learned_is_refused_and_changes_nothing(
    change: dict[str, Any], error: type[Exception]
) -> None:
    learner, (lesson,) = taught(70), lessons(3, 1)
    before = learner.to_bytes()
    with pytest.raises(error):
        learner.learn(replace(lesson, **change))
    assert learner.to_bytes() == before


def test_a_state_of_other_arguments_does_not_load() -> None:
    state = EventLearner(ARGUMENTS).to_bytes()
    with pytest.raises(CorruptModel, match="manifest"):
        EventLearner(replace(ARGUMENTS, default=0.1), state)


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_a_broken_state_does_not_load(cut: int) -> None:
    state = taught(60).to_bytes()
    with pytest.raises(CorruptModel):
        EventLearner(ARGUMENTS, state[:cut])


def test_arguments_are_read_as_they_were_written() -> None:
    assert EventArguments.parsed(ARGUMENTS.text) == ARGUMENTS
    for text in ("", "{}", "[]", ARGUMENTS.value.text, ARGUMENTS.text.replace('"version":1', '"version":2')):
        with pytest.raises(CorruptModel):
            EventArguments.parsed(text)


def test_a_lesson_is_what_the_protocol_says() -> None:
    (lesson,) = lessons(5, 1)
    assert isinstance(lesson, Lesson)
    assert EventLearner.reads_events
    assert EventLearner.follows_changes
