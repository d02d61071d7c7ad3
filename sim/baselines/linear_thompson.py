"""Exact Bayesian linear Thompson sampling with one weight vector over joint features: the yardstick.

For each decision the weights are drawn from their posterior (`sim.baselines.posterior`, V 0.1, RIDGE 1), and of the
eligible actions that one is taken whose joint features (`sim.baselines.joint`) earn most under them.
"""

from collections.abc import Sequence

import numpy as np

from bandit.campaign import Campaign
from sim.baselines.joint import Features, JointFeatures
from sim.baselines.posterior import Posterior
from sim.baselines.protocol import Opportunity, Outcome

V = 0.1
RIDGE = 1.0


class LinearThompson:
    """Takes the best action of a world drawn from what it believes."""

    def __init__(self, _campaign: Campaign, rng: np.random.Generator, *, v: float = V) -> None:
        """
        Args:
            v: standard deviation of the noise in rewards; 0 explores nothing.
        """
        self._rng, self._v = rng, v
        self._joint, self._posterior = JointFeatures(), Posterior(ridge=RIDGE)
        self._made: dict[int, Features] = {}  # by number of the decision

    def choose(self, opportunity: Opportunity) -> int:
        features = self._made[opportunity.number] = self._joint.of(opportunity)
        self._posterior.grow(self._joint.size)
        weights = self._posterior.draw(self._rng, v=self._v)
        return int(np.argmax(self._joint.scores(weights, features)))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            made = [(self._made.pop(one.opportunity.number), one.place) for one in outcomes]
            vectors = np.array([self._joint.vector(features, place) for features, place in made])
            self._posterior.add(vectors, np.array([one.reward for one in outcomes]))
