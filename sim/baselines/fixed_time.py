"""One channel, one content, one hour, at most every so often: what a sender without any learning does.

The channel and the content are the first of the campaign, the hour that of its local hours nearest to 18. With the
sends of the user at s_i, the send at s is made if s - s_i >= GAP_HOURS for the last s_i, else nothing.
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
    """Sends the same to everybody under a cap on the frequency, and learns nothing."""

    def __init__(self, campaign: Campaign, _rng: np.random.Generator, *, gap_hours: float = GAP_HOURS) -> None:
        """
        Args:
            gap_hours: least hours between two sends to a user.
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
        """There is nothing to learn."""
