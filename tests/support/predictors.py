"""Predictors without an engine: the same lines always get the same scores."""

from dataclasses import dataclass

from bandit.decide.exploration import draw_number
from bandit.engine.lines import SILENCE_LINE, ActionLines
from bandit.engine.vw import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePredictor:
    """Scores each action by a hash of what the model sees of it; silence by `silence` where that is given."""

    silence: float | None = None

    def predict(self, shared: str, actions: ActionLines) -> list[float]:
        return [self._score(shared, action) for action in actions.joined()]

    def _score(self, shared: str, action: str) -> float:
        if self.silence is not None and action == SILENCE_LINE:
            return self.silence
        return draw_number(shared, action)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPredictor:
    """Answers every question with these scores."""

    scores: tuple[float, ...]

    def predict(self, shared: str, actions: ActionLines) -> list[float]:
        return list(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePredictor:
    """An engine of the test's own, asked as the learner on lines asks it."""

    engine: Engine

    def predict(self, shared: str, actions: ActionLines) -> list[float]:
        return self.engine.predict(shared, actions.joined())
