"""The learner on lines: Vowpal Wabbit on the joint features of user, history and action, with one line per action."""

from types import TracebackType
from typing import Self

from bandit.engine.explorers import EngineArguments
from bandit.engine.learner import Lesson
from bandit.engine.lines import ActionLines
from bandit.engine.vw import Engine, Label


class LinesLearner:
    """An `OnlineLearner` that passes the lines to the engine unchanged.

    Raises:
        CorruptModel: the model does not load, or has other arguments than these.
    """

    bytes_grow = True
    follows_changes = False
    reads_events = False

    def __init__(self, arguments: EngineArguments, model: bytes | None = None) -> None:
        self.arguments = arguments
        self.engine = Engine(arguments, model)

    def predict(self, shared: str, actions: ActionLines) -> list[float]:
        return self.engine.predict(shared, actions.joined())

    def learn(self, lesson: Lesson) -> None:
        label = Label(action_index=lesson.action_index, reward=lesson.reward, propensity=lesson.propensity)
        self.engine.learn(lesson.shared, lesson.actions.joined(), label)

    def expected(self, shared: str, actions: ActionLines, index: int) -> float | None:
        return self.engine.expected(shared, actions.joined()[index])

    def experience(self) -> float:
        return self.engine.experience()

    def to_bytes(self) -> bytes:
        return self.engine.to_bytes()

    def forget_learned(self) -> None:
        self.engine.forget_learned()

    def forget_parsed(self) -> None:
        self.engine.forget_parsed()

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
