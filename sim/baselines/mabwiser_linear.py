"""MABWiser's LinUCB and LinTS: a separate ridge regression on the user's features for each action.

    LinUCB   x beta_a + ALPHA sqrt(x A_a^-1 x)          LinTS   x w_a,  w_a ~ N(beta_a, ALPHA^2 A_a^-1)

with A_a = I + sum x x^T and beta_a = A_a^-1 sum x r over the events of action a: a send (channel, content, local hour)
or silence. The best eligible action is taken. x are a constant and the features that the engine gets; only features of
the users in the first pass, because MABWiser fixes their number. Before the first pass the choice is uniform.

MABWiser is a development dependency: it is imported only when one of these policies is built.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.campaign.document import Campaign
from bandit.decide.features import shared_line
from bandit.domain import Features
from bandit.engine.lines import namespaces
from bandit.errors import extras_named
from sim.baselines.protocol import Opportunity, Outcome
from sim.baselines.slots import slots_of

SILENT = "silence"
CONSTANT = "constant"


class MabWiser:
    """Wraps one of MABWiser's linear policies."""

    def __init__(self, campaign: Campaign, rng: np.random.Generator, *, policy: str, alpha: float) -> None:
        """
        Args:
            policy: "LinUCB" or "LinTS".
            alpha: amount of exploration.
        """
        with extras_named():
            from mabwiser.mab import MAB, LearningPolicy

        sends = [
            _arm(channel, content, hour)
            for channel in campaign.channel_names
            for content in campaign.catalogue
            for hour in campaign.send_times.local_hours
        ]
        learning = getattr(LearningPolicy, policy)(alpha=alpha)
        self._mab: Any = MAB([SILENT, *sends], learning, seed=int(rng.integers(2**31)))
        self._rng = rng
        self._places: dict[str, int] = {}  # of the features; empty before the first pass

    def choose(self, opportunity: Opportunity) -> int:
        if not self._places:
            return int(self._rng.integers(len(opportunity.eligible)))
        values = self._mab.predict_expectations([self._context(opportunity.user.features)])
        arms = [SILENT, *(_arm(*slot) for slot in slots_of(opportunity.eligible))]
        return int(np.argmax([values[arm] for arm in arms]))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        learn = self._mab.partial_fit if self._places else self._mab.fit
        if not self._places:
            names = {name: None for one in outcomes for name in _weights(one.opportunity.user.features)}
            self._places = {name: place for place, name in enumerate(names)}
        contexts = [self._context(one.opportunity.user.features) for one in outcomes]
        learn([_chosen(one) for one in outcomes], [one.reward for one in outcomes], contexts)

    def _context(self, features: Features) -> NDArray[np.float64]:
        context = np.zeros(len(self._places))
        for name, weight in _weights(features).items():
            if name in self._places:
                context[self._places[name]] = weight
        return context


def _weights(features: Features) -> dict[str, float]:
    return {CONSTANT: 1.0, **namespaces(shared_line(features, {})).get("U", {})}


def _arm(channel: str, content: str, hour: int) -> str:
    return f"{channel}|{content}|{hour}"


def _chosen(outcome: Outcome) -> str:
    return _arm(*slots_of(outcome.opportunity.eligible)[outcome.place - 1]) if outcome.place else SILENT
