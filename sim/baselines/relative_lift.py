"""LinkedIn's rule: send if a message adds many visits in proportion to the visits without a message.

    lift = [P(visit in T | send) - P(visit in T | no send)] / P(visit in T | no send),     send if lift > THRESHOLD

T is the campaign's window; a visit is any event of positive worth. Both probabilities come from one linear model of the
response on joint features (`sim.baselines.joint`), ridge 1; the message is the one with the highest probability. A
share EPSILON of the decisions is uniform over the eligible actions; otherwise nothing would be learned about actions
that are not taken.
"""

from collections.abc import Sequence

import numpy as np

from bandit.campaign.document import Campaign
from sim.baselines.joint_model import JointModel
from sim.baselines.protocol import Opportunity, Outcome
from sim.baselines.responses import responded

THRESHOLD = 0.1
EPSILON = 0.05
LOWEST = 1e-3  # a linear model may put a probability below zero


def relative_lift(sent: float, silent: float) -> float:
    """The relative increase of the probability of a visit by a send, compared with silence.

    Args:
        sent: P(visit | send).
        silent: P(visit | no send); at least 0.001 is used.
    """
    base = max(silent, LOWEST)
    return (sent - base) / base


class RelativeLift:
    """Sends the message with the highest probability if its relative lift is above the threshold."""

    def __init__(self, campaign: Campaign, rng: np.random.Generator, *, threshold: float = THRESHOLD) -> None:
        self._campaign, self._rng, self._threshold = campaign, rng, threshold
        self._model = JointModel(campaign)

    def choose(self, opportunity: Opportunity) -> int:
        features = self._model.see(opportunity)
        if self._rng.random() < EPSILON:
            return int(self._rng.integers(len(opportunity.eligible)))
        chances = self._model.means(features)
        best = int(np.argmax(chances[1:])) + 1 if len(chances) > 1 else 0
        return best if relative_lift(float(chances[best]), float(chances[0])) > self._threshold else 0

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        self._model.learn(outcomes, [float(responded(self._campaign, one)) for one in outcomes])
