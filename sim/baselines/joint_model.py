"""One exact linear model of the outcome of every action, over joint features; it learns from the chosen actions."""

from collections.abc import Sequence

import numpy as np

from bandit.campaign.document import Campaign
from sim.baselines.joint import Features, JointFeatures
from sim.baselines.posterior import Posterior
from sim.baselines.protocol import Opportunity, Outcome
from sim.common.arrays import Floats

RIDGE = 1.0


class JointModel:
    """Scores the eligible actions, and remembers the features of each opportunity until the outcome is known."""

    def __init__(self, campaign: Campaign) -> None:
        self._joint, self._posterior = JointFeatures(campaign.catalogue), Posterior(ridge=RIDGE)
        self._seen: dict[int, Features] = {}  # by number of the decision

    def see(self, opportunity: Opportunity) -> Features:
        """The features of an opportunity, whose outcome will be learned."""
        features = self._seen[opportunity.number] = self._joint.of(opportunity)
        self._posterior.grow(self._joint.size)
        return features

    def means(self, features: Features) -> Floats:
        """Expected reward of each action by the mean of the weights, shape (actions,)."""
        return self._joint.scores(self._posterior.mean(), features)

    def draws(self, features: Features, rng: np.random.Generator, *, v: float) -> Floats:
        """Expected reward of each action by one draw of the weights, shape (actions,).

        Noise of standard deviation v.
        """
        return self._joint.scores(self._posterior.draw(rng, v=v), features)

    def learn(self, outcomes: Sequence[Outcome], rewards: Sequence[float]) -> None:
        """Learns one reward of each outcome, in order."""
        if outcomes:
            seen = [(self._seen.pop(one.opportunity.number), one.place) for one in outcomes]
            vectors = np.array([self._joint.vector(features, place) for features, place in seen])
            self._posterior.add(vectors, np.array(rewards))
