"""Thompson sampling of each slot separately: channel x content x local hour, and silence; all users are the same.

With n rewards of a slot that sum to S, each N(mean, V^2), and the mean a priori N(0, V^2):

    mean of the slot ~ N(S / (n + 1), V^2 / (n + 1))

For each decision there is one draw per eligible slot; the highest is taken (Agrawal and Goyal, 2013, Gaussian form).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bandit.campaign.document import Campaign
from sim.baselines.protocol import Opportunity, Outcome
from sim.baselines.slots import Slot, slots_of

V = 0.1  # the same as for linear Thompson sampling


def posterior(counts: NDArray[np.intp], sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and standard deviations of the slots' means."""
    return sums / (counts + 1), V / np.sqrt(counts + 1)


class SlotThompson:
    """Takes the slot that is best under means drawn from their posterior."""

    def __init__(self, _campaign: Campaign, rng: np.random.Generator) -> None:
        self._rng = rng
        self._counts: dict[Slot | None, int] = {}
        self._sums: dict[Slot | None, float] = {}

    def choose(self, opportunity: Opportunity) -> int:
        slots = [None, *slots_of(opportunity.eligible)]
        counts = np.array([self._counts.get(slot, 0) for slot in slots])
        means, spreads = posterior(counts, np.array([self._sums.get(slot, 0.0) for slot in slots]))
        return int(np.argmax(self._rng.normal(means, spreads)))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        for one in outcomes:
            slot = slots_of(one.opportunity.eligible)[one.place - 1] if one.place else None
            self._counts[slot] = self._counts.get(slot, 0) + 1
            self._sums[slot] = self._sums.get(slot, 0.0) + one.reward
