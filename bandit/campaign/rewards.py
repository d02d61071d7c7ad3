"""feedback -> reward."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from bandit.campaign.document import Campaign
from bandit.domain import REWARD_EVENT, VOIDING


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """A stored feedback event that arrived in time."""

    event: str
    value: float | None
    occurred_at: datetime  # aware


def is_voided(events: Iterable[SeenEvent]) -> bool:
    """Whether the caller reported that the message was not sent."""
    return any(one.event in VOIDING for one in events)


def reward_of(campaign: Campaign, channel: str | None, events: Iterable[SeenEvent]) -> float:
    """The reward of a decision, within the campaign's bounds.

    It is the sum of the values of the events seen, each type once, or the default if there is none; minus the channel's
    cost if something was sent.

    Args:
        channel: of the send; None for silence.
        events: the events of the decision that were not late, in any order.
    """
    return reward_from(campaign, channel, worths_of(campaign, events))


def reward_from(campaign: Campaign, channel: str | None, worths: Mapping[str, float]) -> float:
    """The reward that these worths of events make, by the rules of `reward_of`."""
    # Summed in a fixed order, so that the order of arrival cannot change the last bit either.
    total = sum(worths[event] for event in sorted(worths)) if worths else campaign.reward.default
    cost = 0.0 if channel is None else campaign.channels[channel].cost
    low, high = campaign.reward.bounds
    return min(max(total - cost, low), high)


def worths_of(campaign: Campaign, events: Iterable[SeenEvent]) -> dict[str, float]:
    """The part of the reward of each type of event, by its name; each type counts once."""
    worths: dict[str, float] = {}
    # The first of a kind counts; of two at one instant the smaller one, so that the order of arrival has no effect.
    for _, worth, event in sorted(_worthy(campaign, events)):
        worths.setdefault(event, worth)
    return worths


def worths_text(worths: Mapping[str, float]) -> str:
    """JSON text of the worths, with every number exact."""
    return json.dumps(worths, sort_keys=True)


def worths_from_text(text: str) -> dict[str, float]:
    """The worths that `worths_text` wrote; raises ValueError for a text that it did not."""
    worths = json.loads(text)
    if not isinstance(worths, dict) or not all(map(_is_finite, worths.values())):
        raise ValueError(f"{text[:80]!r} is not a JSON object of finite numbers")
    return worths


def _is_finite(worth: object) -> bool:
    return isinstance(worth, float | int) and isfinite(worth)


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
