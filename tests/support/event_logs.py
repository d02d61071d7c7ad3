"""Logs of a campaign that exists nowhere: lessons as the service would log them, with a truth of the test's own."""

from collections.abc import Callable, Iterator
from math import exp

import numpy as np

from bandit.decide.features import channel_lines, content_line, shared_line
from bandit.domain import Content, Features
from bandit.engine.events.arguments import EventArguments, value_arguments
from bandit.engine.explorers import engine_arguments
from bandit.engine.learner import Lesson
from bandit.engine.lines import ActionLines

CHANNELS = ("push", "email")
CONTENTS = tuple(
    Content(id=f"{kind}-{number}", features={"kind": kind, "length": float(number)})
    for kind in ("news", "sport")
    for number in (1, 2)
)
HOURS = (8, 20)
ARGUMENTS = EventArguments(
    worths={"clicked": 1.0, "visited": 0.2, "unsubscribed": -5.0},
    costs={"id=push": 0.02, "id=email": 0.01},
    default=0.0,
    bounds=(-5.02, 1.0),
    unit=1.0,
    value=value_arguments(engine_arguments({"explorer": "squarecb"}, floor=0.02)),
)

Truth = Callable[[Features, tuple[str, str, int] | None], dict[str, float]]  # probability of each event


def lines(*, mask: str = "ffff", recency: float | None = None) -> ActionLines:
    """The lines of two channels, four contents and two hours."""
    return ActionLines(
        channels=channel_lines(CHANNELS),
        contents=tuple(content_line(one, recency, None) for one in CONTENTS),
        times=tuple(f"|T hour={hour}" for hour in HOURS),
        mask=mask,
    )


def user_features(rng: np.random.Generator) -> Features:
    """A user: text, a truth value, a list of texts, a number and an embedding."""
    return {
        "country": str(rng.choice(["DE", "IN", "US"])),
        "premium": bool(rng.random() < 0.3),
        "topics": tuple(str(one) for one in rng.choice(["news", "sport", "food"], 2, replace=False)),
        "visits": float(rng.gamma(2.0)),
        "taste": tuple(float(one) for one in rng.normal(size=3)),
    }


def keen_on_push(user: Features, send: tuple[str, str, int] | None) -> dict[str, float]:
    """Clicks come after pushes in the evening, above all of the topics that a user lists; visits come by themselves."""
    visits = {"visited": 0.15}
    if send is None:
        return visits
    channel, kind, hour = send
    topics = user["topics"]
    assert isinstance(topics, tuple)
    log_odds = -2.0 + 1.2 * (channel == "push") + 0.8 * (hour == 20) + 0.8 * (kind in topics)
    return {**visits, "clicked": 1.0 / (1.0 + exp(-log_odds)), "unsubscribed": 0.004}


def lessons(seed: int, number: int, truth: Truth = keen_on_push, *, known: bool = True) -> Iterator[Lesson]:
    """A log of uniformly random decisions.

    Args:
        known: whether it is known which events a reward was made of.
    """
    rng = np.random.default_rng(seed)
    actions = lines()
    for _ in range(number):
        user, index = user_features(rng), int(rng.integers(17))
        chances = truth(user, send_of(index))
        events = {name: 1.0 for name, chance in chances.items() if rng.random() < chance}
        yield Lesson(
            shared=shared_line(user, {"sent_7d_push": float(rng.integers(4)), "ignored_streak": 1.0}),
            actions=actions,
            action_index=index,
            propensity=1 / 17,
            reward=reward_of(index, events),
            events=events if known else None,
        )


def send_of(index: int) -> tuple[str, str, int] | None:
    """Channel, kind and hour of an action of `lines`; None for silence."""
    if index == 0:
        return None
    rest, hour = divmod(index - 1, len(HOURS))
    channel, content = divmod(rest, len(CONTENTS))
    return CHANNELS[channel], str(CONTENTS[content].features["kind"]), HOURS[hour]


def reward_of(index: int, events: dict[str, float]) -> float:
    """The reward by the campaign's rule."""
    send = send_of(index)
    cost = 0.0 if send is None else ARGUMENTS.costs[f"id={send[0]}"]
    return sum(ARGUMENTS.worths.get(name, 0.0) for name in events) - cost
