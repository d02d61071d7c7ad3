"""Predictors without an engine: the same lines always get the same scores."""

from dataclasses import dataclass

from bandit.decide.exploration import draw_number
from bandit.decide.features import SILENCE_LINE


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePredictor:
    """Scores each action by a hash of what the model sees of it; silence by `silence` where that is given."""

    silence: float | None = None

    def predict(self, shared: str, actions: tuple[str, ...]) -> list[float]:
        return [self._score(shared, action) for action in actions]

    def _score(self, shared: str, action: str) -> float:
        if self.silence is not None and action == SILENCE_LINE:
            return self.silence
        return draw_number(shared, action)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPredictor:
    """Answers every question with these scores."""

    scores: tuple[float, ...]

    def predict(self, shared: str, actions: tuple[str, ...]) -> list[float]:
        return list(self.scores)
