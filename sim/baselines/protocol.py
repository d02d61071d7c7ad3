"""The interface of policies that are compared with the service: choose among eligible actions, learn from rewards.

`sim.contest.player.Playing` runs one in place of the service: it keeps the histories and applies the campaign's rules
with the service's own functions, and passes rewards on at the time when the service's learner would learn them.
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
    """One decision to make, with exactly the data that the service has before it."""

    number: int  # from 0, in the order of the run
    user: User
    now: datetime  # aware, UTC
    history: History  # reserved sends and responses so far
    eligible: EligibleSet  # place 0 is silence, place i the cell i - 1; its candidates have local hour and weekday


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """The outcome of a decision with a final reward."""

    opportunity: Opportunity
    place: int  # place of the chosen action in the eligible set
    reward: float  # within the campaign's bounds, minus the cost of the send


class Baseline(Protocol):
    """Chooses one action at a time; its only randomness is the generator with which it was built."""

    def choose(self, opportunity: Opportunity) -> int:
        """The place of the chosen action in the eligible set."""

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Learns the rewards that became final since the last call, in the order of their decisions.

        It is called when the service's learner would make a pass; decisions in between do not know these rewards.
        """


Build = Callable[[Campaign, np.random.Generator], Baseline]
