"""One channel, one content and one hour, with a minimum gap: a sender without learning.

The channel and the content are the first of the campaign; the hour is the one of its local hours nearest to 18. With
the user's sends at s_i, a send at s is made if s - s_i >= GAP_HOURS for the last s_i, and nothing is sent otherwise.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from bandit.campaign.document import Campaign
from sim.baselines.protocol import Opportunity, Outcome
from sim.baselines.slots import Slot, slots_of

EVENING = 18
GAP_HOURS = 48.0


class FixedTime:
    """Sends the same to everybody with a limited frequency, and learns nothing."""

    def __init__(self, campaign: Campaign, _rng: np.random.Generator, *, gap_hours: float = GAP_HOURS) -> None:
        """
        Args:
            gap_hours: minimum hours between two sends to a user.
        """
        hour = min(campaign.send_times.local_hours, key=lambda one: (abs(one - EVENING), one), default=EVENING)
        self._slot = Slot(campaign.channel_names[0], campaign.catalogue_contents[0].id, hour)
        self._gap = timedelta(hours=gap_hours)

    def choose(self, opportunity: Opportunity) -> int:
        slots = slots_of(opportunity.eligible)
        return next((i for i, slot in enumerate(slots, 1) if slot == self._slot and self._due(opportunity, i)), 0)

    def _due(self, opportunity: Opportunity, place: int) -> bool:
        sends, at = opportunity.history.sends, opportunity.eligible.action(place).send_at
        return not sends or (at is not None and at - sends[-1].send_at >= self._gap)

    def learn(self, _outcomes: Sequence[Outcome]) -> None:
        """Does nothing: this policy does not learn."""
