"""The user's last send again: the weakest policy of Duolingo's table (Yancey and Settles, 2020).

It repeats the channel, content and local hour of the user's last send. The choice is uniform if the history has no
send, or if the same send is not eligible.
"""

from collections.abc import Sequence

import numpy as np

from bandit.campaign.document import Campaign
from bandit.sendtimes import zone
from sim.baselines.protocol import Opportunity, Outcome
from sim.baselines.slots import Slot, slots_of


class ReuseLast:
    """Repeats a user's last send, and learns nothing."""

    def __init__(self, _campaign: Campaign, rng: np.random.Generator) -> None:
        self._rng = rng

    def choose(self, opportunity: Opportunity) -> int:
        slots, last = slots_of(opportunity.eligible), _last_slot(opportunity)
        if last in slots:
            return 1 + slots.index(last)
        return int(self._rng.integers(len(opportunity.eligible)))

    def learn(self, _outcomes: Sequence[Outcome]) -> None:
        """There is nothing to learn."""


def _last_slot(opportunity: Opportunity) -> Slot | None:
    if not opportunity.history.sends:
        return None
    last = opportunity.history.sends[-1]
    return Slot(last.channel, last.content, last.send_at.astimezone(zone(opportunity.user.timezone)).hour)
