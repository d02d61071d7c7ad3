"""Exact Bayesian linear Thompson sampling with one weight vector over joint features: the yardstick.

For each decision the weights are drawn from their posterior (`sim.baselines.posterior`, V 0.1, RIDGE 1). The eligible
action is taken whose joint features (`sim.baselines.joint`) have the highest expected reward with these weights.
"""

from collections.abc import Sequence

import numpy as np

from bandit.campaign.document import Campaign
from sim.baselines.joint_model import JointModel
from sim.baselines.protocol import Opportunity, Outcome

V = 0.1


class LinearThompson:
    """Takes the action that is best under weights drawn from their posterior."""

    def __init__(self, campaign: Campaign, rng: np.random.Generator, *, v: float = V) -> None:
        """
        Args:
            v: standard deviation of the noise in rewards; 0: no exploration.
        """
        self._rng, self._v = rng, v
        self._model = JointModel(campaign)

    def choose(self, opportunity: Opportunity) -> int:
        features = self._model.see(opportunity)
        return int(np.argmax(self._model.draws(features, self._rng, v=self._v)))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        self._model.learn(outcomes, [one.reward for one in outcomes])
