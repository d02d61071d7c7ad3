"""Every eligible action with the same probability."""

from collections.abc import Sequence

import numpy as np

from bandit.campaign.document import Campaign
from sim.baselines.protocol import Opportunity, Outcome


class Uniform:
    """Draws uniformly and learns nothing: the lower reference of every comparison."""

    def __init__(self, _campaign: Campaign, rng: np.random.Generator) -> None:
        self._rng = rng

    def choose(self, opportunity: Opportunity) -> int:
        return int(self._rng.integers(len(opportunity.eligible)))

    def learn(self, _outcomes: Sequence[Outcome]) -> None:
        """There is nothing to learn."""
