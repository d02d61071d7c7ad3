"""Vowpal Wabbit on values: it decides on what the event models say, and learns what that is worth in reward.

The line of an action is its value alone, `|V v:<4 x value in units of the best event>`, silence included. What it
predicts is then a constant and a slope, and its pmf a formula (Foster and Rakhlin, 2020): with the costs c, k actions,
the number n of lessons so far and gamma = gamma_scale n^gamma_exponent,

    p(a) = 1 / (k + gamma (c_a - min c))        the best has what is left

so that the pmfs of many draws of values cost a few products of arrays. The formula is compared with the engine itself
when a version is loaded; where they differ, the engine is asked.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bandit.engine.events.designs import Floats
from bandit.engine.explorers import EngineArguments
from bandit.engine.vw import Engine, Label

GAIN = 4.0  # by which values are multiplied, so that the engine's slope grows into them fast
WARM_LESSONS = 300  # synthetic events before the first: untaught it starts uniform, and may settle on silence
WARM_VALUES = (-0.5, 1.5)  # in units of the best event
WARM_SEED = 20_130_501
FARTHEST = 1e8  # of what it sees: larger numbers are not read as written
TOLERANCE = 1e-4  # of a probability: the engine computes in 32 bits
_SHARED = "shared |U"


class ValueEngine:
    """A squarecb engine that sees values and nothing else."""

    def __init__(self, arguments: EngineArguments, unit: float, model: bytes | None = None, lessons: int = 0) -> None:
        """
        Args:
            unit: worth of the best event.
            model: None for one that knows nothing but that a point of value is worth a point of reward.
            lessons: that the model has had.
        """
        self._engine = Engine(arguments, model)
        self._unit = unit
        self.lessons = lessons
        self._scale, self._exponent = _gamma_words(arguments.text)
        self._line: tuple[float, float] | None = None
        if model is None:
            self._warm_up()
        self.uses_formula = self._formula_holds()

    def learn(self, value: float, reward: float) -> None:
        """One event: the value that the models gave its action, and the reward that came.

        Raises:
            InvalidInput: one of them is not finite.
        """
        self._engine.learn(_SHARED, [self._text(value)], Label(action_index=0, reward=reward, propensity=1.0))
        self.lessons += 2  # one with the spread added, one with it taken off
        self._line = None

    def expected(self, value: float) -> float:
        """The reward that it expects of an action of that value."""
        constant, slope = self._learned()
        return constant + slope * value

    @property
    def slope(self) -> float:
        """By how much more reward it expects of a point of value."""
        return self._learned()[1]

    def pmf(self, values: NDArray[np.float32]) -> Floats:
        """Probabilities of the actions, the mean over draws of their values: shape (actions,).

        Args:
            values: shape (actions, draws).
        """
        if not self.uses_formula:
            return self._asked(values)
        return squarecb(values * np.float32(-self.slope * self._gamma()))

    def experience(self) -> float:
        """How much it was taught; see `Engine.experience`."""
        return self._engine.experience()

    def to_bytes(self) -> bytes:
        """The engine's model."""
        return self._engine.to_bytes()

    def close(self) -> None:
        """Frees the memory."""
        self._engine.close()

    def _warm_up(self) -> None:
        numbers = np.random.default_rng(WARM_SEED).uniform(*WARM_VALUES, WARM_LESSONS)
        for number in numbers:
            self.learn(float(number) * self._unit, float(number) * self._unit)

    def _learned(self) -> tuple[float, float]:
        """The reward that it expects of no value, and how much more of a point of value."""
        if self._line is None:
            constant = self._engine.expected(_SHARED, self._text(0.0)) or 0.0
            one = self._engine.expected(_SHARED, self._text(self._unit)) or 0.0
            self._line = constant, (one - constant) / self._unit
        return self._line

    def _gamma(self) -> float:
        return float(self._scale * self.lessons**self._exponent)

    def _asked(self, values: NDArray[np.float32]) -> Floats:
        """The engine's own pmfs of the draws."""
        pmfs = [self._engine.predict(_SHARED, self._texts(draw)) for draw in values.T]
        pmf: Floats = np.array(pmfs, dtype=np.float64).mean(axis=0)
        return pmf

    def _formula_holds(self) -> bool:
        """Whether the formula gives what the engine answers, over values far apart and close together."""
        for spread in (1.0, 0.1, 0.01):
            values = (np.array([0.3, -0.2, 0.9, 0.1, 0.0]) * spread * self._unit).astype(np.float32)[:, None]
            ours = squarecb(values * np.float32(-self.slope * self._gamma()))
            if not np.allclose(ours, self._asked(values), rtol=0.0, atol=TOLERANCE):
                return False
        return True

    def _texts(self, values: Sequence[float] | NDArray[np.float32]) -> list[str]:
        return [self._text(float(value)) for value in values]

    def _text(self, value: float) -> str:
        number = min(max(GAIN * value / self._unit, -FARTHEST), FARTHEST)
        return f"|V v:{number!r}" if abs(number) >= 1e-20 else "|V v:0.0"  # smaller ones are not read as written


def squarecb(costs: NDArray[np.float32]) -> Floats:
    """The pmf of squarecb for each draw of costs, and of these the mean: shape (actions,).

    Args:
        costs: shape (actions, draws), times gamma; what all actions of a draw have in common does not matter.
    """
    actions, draws = costs.shape
    best = costs.argmin(axis=0)
    gaps = costs - costs[best, np.arange(draws)]
    gaps += np.float32(actions)
    probabilities = np.reciprocal(gaps, out=gaps)
    pmf: Floats = probabilities.sum(axis=1, dtype=np.float64)
    # The best of a draw has 1 / k so far, and gets what is left besides.
    pmf += np.bincount(best, 1.0 - probabilities.sum(axis=0), minlength=actions)
    pmf /= draws
    return pmf


def _gamma_words(text: str) -> tuple[float, float]:
    words = text.split()
    return float(words[words.index("--gamma_scale") + 1]), float(words[words.index("--gamma_exponent") + 1])
