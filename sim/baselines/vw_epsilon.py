"""Vowpal Wabbit with its own defaults: epsilon-greedy.

    --cb_explore_adf --cb_type mtr --epsilon 0.05 --learning_rate 0.5 --power_t 0.5 -b 18

It learns whole groups with importance weights, clipped only at a propensity of a millionth. It gets the service's own
lines, and the interactions of its namespaces: without interactions a linear model ranks the actions the same for every
user.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bandit.campaign.document import Campaign
from bandit.decide.decision import action_lines
from bandit.decide.exploration import draw, with_floor
from bandit.decide.features import shared_line
from bandit.engine.explorers import LOWEST_FLOOR, engine_arguments
from bandit.engine.lines import ActionLines
from bandit.engine.vw import Engine, Label
from sim.baselines.protocol import Opportunity, Outcome

ENGINE_DEFAULTS: Mapping[str, str | int | float] = {
    "explorer": "epsilon",
    "epsilon": 0.05,
    "coin": False,
    "learning_rate": 0.5,
    "power_t": 0.5,
    "bits": 18,
}


class EpsilonGreedy:
    """Draws from the engine's pmf, and trains it on every final reward once."""

    def __init__(self, campaign: Campaign, rng: np.random.Generator) -> None:
        self._campaign, self._rng = campaign, rng
        self._engine = Engine(engine_arguments(ENGINE_DEFAULTS, floor=LOWEST_FLOOR))
        self._made: dict[int, tuple[str, ActionLines, float]] = {}  # lines and propensity, by number of the decision

    def choose(self, opportunity: Opportunity) -> int:
        history, now = opportunity.history, opportunity.now
        shared = shared_line(opportunity.user.features, history.features(now))
        actions = action_lines(self._campaign, opportunity.eligible, history, now)
        pmf = with_floor(self._engine.predict(shared, actions.joined()), 0.0)
        place = draw(pmf, self._rng.random())
        self._made[opportunity.number] = shared, actions, float(pmf[place])
        return place

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        for one in outcomes:
            shared, actions, propensity = self._made.pop(one.opportunity.number)
            label = Label(action_index=one.place, reward=one.reward, propensity=propensity)
            self._engine.learn(shared, actions.joined(), label)
