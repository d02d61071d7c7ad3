"""What a policy must be able to do to be compared with the service: choose among eligible actions, learn from rewards.

`sim.contest.player.Playing` puts one in the place of the service: it keeps the histories and cuts the set by the
campaign's rules with the service's own functions, and hands rewards over when the service's learner would have
learned them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from bandit.campaign.document import Campaign
from bandit.decide.eligibility import EligibleSet
from bandit.decide.history import History
from bandit.domain import User


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opportunity:
    """One decision to make, with all that the service knows before it, and nothing else."""

    number: int  # from 0, in the order of the run
    user: User
    now: datetime  # aware, UTC
    history: History  # reserved sends and responses so far
    eligible: EligibleSet  # place 0 is silence, place i the cell i - 1; its candidates tell local hour and weekday


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came of a decision, when its reward is final."""

    opportunity: Opportunity
    place: int  # that the policy chose, in the eligible set
    reward: float  # within the campaign's bounds, the cost of the send subtracted


class Baseline(Protocol):
    """Chooses one action at a time; its randomness is the generator that it was built with."""

    def choose(self, opportunity: Opportunity) -> int:
        """Place of the action in the eligible set."""

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Takes the rewards that became final since the last call, in the order of their decisions.

        Called where the service's learner makes a pass; what is chosen in between knows nothing of them.
        """


Build = Callable[[Campaign, np.random.Generator], Baseline]
