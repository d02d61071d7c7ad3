"""Duolingo's sleeping and recovering bandit: recovering difference softmax (Yancey and Settles, KDD 2020).

An arm a is a send (channel, content, local hour). Round t is a decision, E_t its eligible arms, b_t(a) the probability
with which a was chosen, and r_t is 1 if the user responded, otherwise 0. Over the rounds in which a was eligible, A
those in which it was chosen and N the others:

    m(a)      = mean of r_t over A and N
    mu_plus   = (sum over A of r_t / b_t(a)       + SIGMA m(a)) / (sum over A of 1 / b_t(a)       + SIGMA)
    mu_minus  = (sum over N of r_t / (1 - b_t(a)) + SIGMA m(a)) / (sum over N of 1 / (1 - b_t(a)) + SIGMA)
    s(a)      = (mu_plus - mu_minus) / mu_minus                    0 where nobody ever responded
    s*(a)     = s(a) - GAMMA 0.5^(d / HALF_LIFE_DAYS)              d days since the user last got a's content
    b_t(a)    = exp(s*(a) / TAU) / sum over E_t of exp(s* / TAU)

The score is a difference, because users who can get an arm may differ from users who cannot; it has weights, because
the policy chose. d is infinite if the content was never sent, or not within the 30 days of history that the service
keeps.
Silence is not an arm: the policy sends whenever it can.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bandit.campaign.document import Campaign
from bandit.decide.exploration import draw
from sim.baselines.protocol import Opportunity, Outcome
from sim.baselines.responses import responded
from sim.baselines.slots import Slot, slots_of
from sim.common.arrays import Floats, Ints

SIGMA = 1e5  # pseudo-observations
GAMMA = 0.017
HALF_LIFE_DAYS = 15.0
TAU = 0.0025


def recovered(scores: Floats, days_since: Floats, *, gamma: float = GAMMA) -> Floats:
    """s*: the scores minus the part that has not recovered yet since each content was last sent."""
    lost: Floats = gamma * 0.5 ** (days_since / HALF_LIFE_DAYS)
    return scores - lost


def softmax(scores: Floats, *, tau: float = TAU) -> Floats:
    """Softmax of the scores along the last axis; minus infinity gives 0."""
    powers = np.exp((scores - scores.max(axis=-1, keepdims=True)) / tau)
    chances: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return chances


class Difference:
    """The sums for every arm from which the scores are computed."""

    def __init__(self, n_arms: int, *, sigma: float = SIGMA) -> None:
        self._sigma = sigma
        # Rounds and their rewards; weights and weighted rewards of rounds with the arm chosen, and of those without.
        self._sums = np.zeros((6, n_arms))

    def add(self, arms: Ints, chosen: NDArray[np.bool_], chances: Floats, rewards: Floats) -> None:
        """Takes one entry for each round and each arm that was eligible in it.

        Args:
            arms: shape (n,), place of the arm; all others have this shape too.
            chosen: whether this arm was chosen.
            chances: b of the arm in the round.
            rewards: of the round, 0 or 1.
        """
        likelihood = np.where(chosen, chances, 1.0 - chances)
        weights = 1.0 / likelihood
        ones = np.ones_like(rewards)
        entries = (ones, rewards, chosen * weights, chosen * weights * rewards)
        passed = (~chosen * weights, ~chosen * weights * rewards)
        self._sums += [np.bincount(arms, weights=one, minlength=self._sums.shape[1]) for one in (*entries, *passed)]

    def grow(self, n_arms: int) -> None:
        """Makes room for this many arms; new arms have empty sums."""
        self._sums = np.pad(self._sums, ((0, 0), (0, n_arms - self._sums.shape[1])))

    def means(self) -> tuple[Floats, Floats]:
        """mu_plus and mu_minus, each of shape (arms,)."""
        rounds, rewards, *weighted = self._sums
        prior = self._sigma * np.divide(rewards, rounds, out=np.zeros_like(rounds), where=rounds > 0)
        plus, minus = (
            np.divide(earned + prior, weight + self._sigma, out=np.zeros_like(rounds), where=weight + self._sigma > 0)
            for weight, earned in (weighted[:2], weighted[2:])
        )
        return plus, minus

    def scores(self) -> Floats:
        """s, shape (arms,)."""
        plus, minus = self.means()
        return np.divide(plus - minus, minus, out=np.zeros_like(minus), where=minus > 0)


class Recovering:
    """Draws a send by the recovered scores, and learns the scores from responses."""

    def __init__(self, campaign: Campaign, rng: np.random.Generator, *, gamma: float = GAMMA) -> None:
        """
        Args:
            gamma: penalty of a content right after it was sent; 0 switches the recovery off.
        """
        self._campaign, self._rng, self._gamma = campaign, rng, gamma
        self._arms: dict[Slot, int] = {}
        self._difference = Difference(0)
        self._scores: Floats = np.zeros(0)
        self._made: dict[int, tuple[Ints, Floats]] = {}  # eligible arms and chances, by number of the decision

    def choose(self, opportunity: Opportunity) -> int:
        slots = slots_of(opportunity.eligible)
        if not slots:
            return 0
        arms = np.array([self._arm(slot) for slot in slots])
        days = opportunity.history.days_since_contents(opportunity.now)
        since = np.array([days.get(slot.content, np.inf) for slot in slots])
        chances = softmax(recovered(self._scores[arms], since, gamma=self._gamma))
        self._made[opportunity.number] = arms, chances
        return 1 + draw(chances, self._rng.random())

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if (made := self._made.pop(outcome.opportunity.number, None)) is not None:
                arms, chances = made
                rewards = np.full(len(arms), float(responded(self._campaign, outcome)))
                self._difference.add(arms, np.arange(len(arms)) == outcome.place - 1, chances, rewards)
        self._scores = self._difference.scores()

    def _arm(self, slot: Slot) -> int:
        if slot not in self._arms:
            self._arms[slot] = len(self._arms)
            self._difference.grow(len(self._arms))
            self._scores = np.append(self._scores, 0.0)
        return self._arms[slot]
