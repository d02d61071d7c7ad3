"""Slots: the actions of baselines that have no model of features."""

from typing import NamedTuple

from bandit.decide.eligibility import EligibleSet


class Slot(NamedTuple):
    """A send that counts as the same on every day and for every user."""

    channel: str
    content: str
    hour: int  # on the user's clock


def slots_of(eligible: EligibleSet) -> list[Slot]:
    """The slots of the eligible sends, in order: the send of place i is slot i - 1."""
    channels, contents, times = eligible.candidates.channels, eligible.candidates.contents, eligible.candidates.times
    return [
        Slot(channels[cell.channel], contents[cell.content].id, times[cell.time].local_hour)
        for cell in eligible.cells.eligible
    ]
