"""feedback -> reward."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from bandit.campaign.document import Campaign
from bandit.domain import REWARD_EVENT, VOIDING


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """A stored feedback event that came in time."""

    event: str
    value: float | None
    occurred_at: datetime  # aware


def is_voided(events: Iterable[SeenEvent]) -> bool:
    """Whether the caller said that the message did not go out."""
    return any(one.event in VOIDING for one in events)


def reward_of(campaign: Campaign, channel: str | None, events: Iterable[SeenEvent]) -> float:
    """The reward of a decision, within the campaign's bounds.

    The values of the events seen, each type once, or the default when there is none; minus the channel's cost if
    something was sent.

    Args:
        channel: of the send; None for silence.
        events: those of the decision that were not late, in any order.
    """
    worths = worths_of(campaign, events)
    # Summed in a fixed order, so that the order of arrival cannot change the last bit either.
    total = sum(worths[event] for event in sorted(worths)) if worths else campaign.reward.default
    cost = 0.0 if channel is None else campaign.channels[channel].cost
    low, high = campaign.reward.bounds
    return min(max(total - cost, low), high)


def worths_of(campaign: Campaign, events: Iterable[SeenEvent]) -> dict[str, float]:
    """What each type of event adds to the reward, by its name; each type once."""
    worths: dict[str, float] = {}
    # The first of a kind counts; of two at one instant the smaller, so that the order of arrival decides nothing.
    for _, worth, event in sorted(_worthy(campaign, events)):
        worths.setdefault(event, worth)
    return worths


def _worthy(campaign: Campaign, events: Iterable[SeenEvent]) -> Iterator[tuple[datetime, float, str]]:
    for one in events:
        worth = event_worth(campaign, one.event, one.value)
        if worth is not None:
            yield one.occurred_at, worth, one.event


def event_worth(campaign: Campaign, event: str, value: float | None) -> float | None:
    """What one event adds to the reward; None for events that add nothing, such as `delivered`."""
    if event == REWARD_EVENT:
        return value
    return campaign.reward.events.get(event)
