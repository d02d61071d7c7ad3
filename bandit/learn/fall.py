"""Change detection: finds when the rewards of the learned policy fall far below their level, and since when.

After an abrupt change a model is wrong, its learning rates have decayed, and its exploration has ended. It needs tens
of thousands of decisions to recover, while a new model needs a few thousand.

The method is a cumulative sum (Page, 1954) over the rewards of the learned policy, in the order in which they are
learned. With the running mean m and variance v of earlier rewards,

    z = min((m - r) / sqrt(v), 2)        how far below the level, in standard deviations
    S = max(0, S + z - 0.2)              a fall is found when S exceeds 42.2

Rate of false alarms: let z have mean at most 0, variance at most 1, and never exceed b = 2, where it is clipped. By
Bennett's inequality E exp(t z) <= 1 + (exp(t b) - 1 - t b) / b^2. With t = .328, at which this equals exp(0.2 t), exp(t
S) is a supermartingale within each excursion of S from 0. So an excursion reaches h with a probability of at most
exp(-t h), and the mean number of rewards until a false alarm is at least exp(t h) (Lorden, 1971): a million for h =
42.2, for any distribution. m and v are estimated, so this is also checked by simulation.

A drop of d standard deviations is detected after 42.2 / (d - 0.2) rewards on average. Drops smaller than 0.2 standard
deviations are never detected. Where responses are rare, no drop can be that large. A drop that takes thousands of
rewards is not detected either, because m follows it: users who get used to messages do not cause a retraining.

Two things look like a drop, but do not need a new model:

- *Other users, not other answers.* A scheduler that asks about its keenest users first sees rewards fall within every
  batch, as the model expects. With e the reward that the model expected of each of the n decisions since S was last 0,
  U = sum (e - r) / sqrt(v) must exceed 2 sqrt(n) when S exceeds the limit; else a new level is taken, and of such
  falls about one in forty is found. After an abrupt change the model comes to expect less as well, within about a
  hundred decisions, and learns only slowly what else to do: U stops at 40 to 50 (`docs/learning.md`).
- *Missing feedback.* From one positive reward to the next S grows by 14 at most, so that without any it stays below the
  limit, and when responses come again it falls back.

A reward counts as no less than minus the worth of the best event. With the full cost of a rare opt-out, the standard
deviation would be so large that losing half of all clicks would be a drop of less than 0.2 of it.
"""

import json
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Self

SLACK = 0.2  # deviations below the level that do not count
MOST = 2.0  # maximum, in deviations, that one reward counts
LIMIT = 42.2
UNANSWERED = LIMIT / 3  # maximum growth of S without a positive reward
SURE = 2.0  # standard errors by which rewards must be below the model's expectation
FIRST = 1_000  # first rewards, which only define the level
MEMORY = 2_000  # number of rewards, about, over which the level is a mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One reward of the learned policy."""

    seq: int  # `seq` of its closing
    document: int  # the campaign's version that decided
    reward: float
    expected: float  # by the model, just before it learned the reward


@dataclass(frozen=True, slots=True, kw_only=True)
class FallDetector:
    """The state of the change detection; stored with each version, so that it does not depend on where passes end."""

    document: int = 0  # the campaign's version of the rewards; another version may give other rewards
    rewards: int = 0  # number of rewards in the level
    mean: float = 0.0
    variance: float = 0.0
    fallen: float = 0.0  # S
    since: int = 0  # watermark of the last reward at which S was 0; later rewards belong to the fall, if there is one
    counted: int = 0  # n, rewards since then
    missed: float = 0.0  # U
    answered: float = 0.0  # S at the latest positive reward since then

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """The detector from the text of `to_text`; a new one for a version that is older than change detection."""
        return cls() if text is None else cls(**json.loads(text))

    def to_text(self) -> str:
        """JSON text with every number exact."""
        return json.dumps(asdict(self))

    @property
    def found(self) -> bool:
        """Whether rewards have certainly fallen, and by more than the model expected."""
        return self.fallen > LIMIT and self.missed > SURE * sqrt(self.counted)

    def after(self, seen: Seen, unit: float) -> Self:
        """The detector after one more reward; not to be asked once a fall was found, when a new detector begins.

        Args:
            unit: worth of the campaign's best event.
        """
        reward = max(seen.reward, -unit)
        old = self if seen.document == self.document else type(self)(document=seen.document, since=seen.seq)
        difference, weight = reward - old.mean, 1.0 / min(old.rewards + 1, MEMORY)
        fallen, counted, missed, answered = old._sums_after(seen, reward)
        new = type(self)(
            document=old.document,
            rewards=old.rewards + 1,
            # Evenly at first, then the earlier rewards are slowly forgotten.
            mean=old.mean + weight * difference,
            variance=(1.0 - weight) * (old.variance + weight * difference * difference),
            fallen=fallen,
            since=old.since if fallen > 0.0 else seen.seq,
            counted=counted,
            missed=missed,
            answered=answered,
        )
        fell_as_expected = fallen > LIMIT and not new.found
        return type(self)(document=old.document, since=seen.seq) if fell_as_expected else new

    def _sums_after(self, seen: Seen, reward: float) -> tuple[float, int, float, float]:
        """`fallen`, `counted`, `missed` and `answered`; all 0 where nothing has fallen."""
        if self.rewards < FIRST or not self.variance > 0.0:
            return self.fallen, self.counted, self.missed, self.answered
        deviation = sqrt(self.variance)
        fallen = max(0.0, self.fallen + min((self.mean - reward) / deviation, MOST) - SLACK)
        fallen = min(fallen, self.answered + UNANSWERED)
        if fallen == 0.0:
            return 0.0, 0, 0.0, 0.0
        missed = self.missed + (seen.expected - reward) / deviation
        return fallen, self.counted + 1, missed, fallen if reward > 0.0 else self.answered
