"""feedback -> reward: each kind once, minus the cost of a send, within the bounds, whatever the order of arrival."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, event_worth, is_voided, reward_of
from tests.support.builders import MORNING, campaign

SPRING = campaign()
HOURLY = [MORNING + timedelta(hours=hour) for hour in range(4)]


def seen(*names: str) -> list[SeenEvent]:
    """These events an hour apart, in the order in which they came in."""
    return [SeenEvent(event=name, value=None, occurred_at=HOURLY[place]) for place, name in enumerate(names)]


def valued(value: float, hour: int = 0) -> SeenEvent:
    return SeenEvent(event="reward", value=value, occurred_at=HOURLY[hour])


@pytest.mark.parametrize(
    ("events", "channel", "reward"),
    [
        (seen(), None, 0.0),
        (seen(), "push", -0.01),
        (seen("opened"), "push", 0.1 - 0.01),
        (seen("opened"), "email", 0.1 - 0.005),
        (seen("opened"), None, 0.1),
        (seen("opened", "clicked"), None, 1.1),
        (seen("opened", "opened", "opened"), None, 0.1),
        (seen("delivered"), "push", -0.01),
        (seen("delivered", "clicked"), "push", 1.0 - 0.01),
        ([valued(0.5)], None, 0.5),
        ([valued(0.5), *seen("clicked")], None, 1.5),
        ([valued(0.5, hour=1), valued(2.0, hour=0)], None, 2.0),
    ],
)
def test_a_reward_is_the_worth_of_each_kind_of_event_once_minus_the_cost_of_the_send(
    events: list[SeenEvent], channel: str | None, reward: float
) -> None:
    assert reward_of(SPRING, channel, events) == pytest.approx(reward, abs=1e-12)


@pytest.mark.parametrize(
    ("events", "channel", "reward"),
    [
        (seen(), None, 0.25),
        (seen(), "push", 0.24),
        (seen("delivered"), None, 0.25),
        (seen("opened"), None, 0.1),
    ],
)
def test_the_default_counts_only_where_no_event_of_worth_was_seen(
    events: list[SeenEvent], channel: str | None, reward: float
) -> None:
    with_default = campaign(reward={"default": 0.25})
    assert reward_of(with_default, channel, events) == pytest.approx(reward, abs=1e-12)


@pytest.mark.parametrize(
    ("events", "channel", "reward"),
    [
        (seen("unsubscribed"), "push", -5.0),
        ([valued(5.0), *seen("clicked")], None, 5.0),
        ([valued(5.0), *seen("clicked")], "push", 5.0),
        ([valued(-5.0), *seen("unsubscribed")], None, -5.0),
    ],
)
def test_a_reward_stays_within_the_bounds(events: list[SeenEvent], channel: str | None, reward: float) -> None:
    assert reward_of(SPRING, channel, events) == reward


@pytest.mark.parametrize(
    ("names", "voided"),
    [
        ([], False),
        (["delivered", "clicked"], False),
        (["failed"], True),
        (["cancelled"], True),
        (["clicked", "failed", "delivered"], True),
    ],
)
def test_a_decision_is_voided_by_a_failed_or_cancelled_message_and_by_nothing_else(
    names: list[str], voided: bool
) -> None:
    assert is_voided(seen(*names)) is voided


@pytest.mark.parametrize(
    ("event", "value", "worth"),
    [
        ("clicked", None, 1.0),
        ("clicked", 3.0, 1.0),
        ("reward", 3.0, 3.0),
        ("delivered", 3.0, None),
        ("failed", None, None),
        ("no longer in the document", None, None),
    ],
)
def test_an_event_is_worth_what_the_campaign_says_and_only_a_reward_brings_its_own_number(
    event: str, value: float | None, worth: float | None
) -> None:
    assert event_worth(SPRING, event, value) == worth


def some_events() -> st.SearchStrategy[list[SeenEvent]]:
    """Few kinds and few instants, so that ties and repeats are common."""
    named = st.builds(
        SeenEvent,
        event=st.sampled_from(["opened", "clicked", "unsubscribed", "delivered"]),
        value=st.none(),
        occurred_at=st.sampled_from(HOURLY),
    )
    own = st.builds(valued, st.floats(-5, 5), st.integers(0, 3))
    return st.lists(named | own, max_size=12)


UNEVEN = campaign(reward={"events": {"opened": 0.1, "clicked": 0.7, "unsubscribed": -0.3}, "default": 0.05})


def shuffled_with_repeats(events: list[SeenEvent], data: st.DataObject) -> list[SeenEvent]:
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=6)) if events else []
    arrived: list[SeenEvent] = data.draw(st.permutations([*events, *repeats]))
    return arrived


@given(events=some_events(), channel=st.sampled_from([None, "push", "email"]), data=st.data())
def test_neither_the_order_of_arrival_nor_repeats_change_the_reward_in_its_last_bit(
    events: list[SeenEvent], channel: str | None, data: st.DataObject
) -> None:
    arrived = shuffled_with_repeats(events, data)
    assert reward_of(UNEVEN, channel, arrived) == reward_of(UNEVEN, channel, events)


def test_a_sum_in_the_order_of_arrival_would_change_with_it() -> None:
    def summed(order: tuple[str, ...]) -> float:
        return sum(UNEVEN.reward.events[name] for name in order)

    assert summed(("opened", "clicked", "unsubscribed")) != summed(("unsubscribed", "opened", "clicked"))


@given(events=some_events(), channel=st.sampled_from([None, "push"]))
def test_a_reward_is_always_within_the_bounds_of_its_campaign(events: list[SeenEvent], channel: str | None) -> None:
    narrow: Campaign = campaign(reward={"bounds": [-0.2, 0.3], "events": {"opened": 0.1, "unsubscribed": -0.1}})
    assert -0.2 <= reward_of(narrow, channel, events) <= 0.3


def test_a_send_costs_what_its_channel_costs_and_silence_nothing() -> None:
    events = seen("clicked")
    silent = reward_of(SPRING, None, events)
    for name, channel in SPRING.channels.items():
        assert reward_of(SPRING, name, events) == pytest.approx(silent - channel.cost, abs=1e-12)
