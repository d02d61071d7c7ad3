"""What every learner can do: predict over an eligible set, learn one lesson, be stored as bytes.

A learner is a function of its lessons in their order. It does not matter how the log is cut into passes and versions:
one that was stored and loaded between any two lessons ends as one that was not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from bandit.engine.explorers import EngineArguments
from bandit.engine.lines import ActionLines


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One decision to learn from."""

    shared: str  # the line of user and history, as logged
    actions: ActionLines  # the eligible actions, as logged
    action_index: int  # of the action that was drawn, silence first
    propensity: float  # in (0, 1]
    reward: float
    events: Mapping[str, float] | None = None  # worth of each event that the reward was made of; None: not known


class OnlineLearner(Protocol):
    """A model that learns online. Not for several threads at once."""

    arguments: EngineArguments
    follows_changes: bool  # whether it adapts by itself when users change; if not, the learning pass restarts it
    reads_events: bool  # whether a lesson must say which events the reward was made of

    def predict(self, shared: str, actions: ActionLines) -> Sequence[float]:
        """One probability per eligible action, silence first, before the campaign's floor.

        Raises:
            InvalidInput: a line would not be read as it is written.
        """

    def learn(self, lesson: Lesson) -> None:
        """Learns one decision.

        Raises:
            InvalidPropensity: the propensity is not in (0, 1].
            InvalidInput: the reward or a feature is not finite or too large, or the index or a line is wrong. Nothing
                was learned then.
        """

    def expected(self, shared: str, actions: ActionLines, index: int) -> float | None:
        """The reward that is expected of one action; None where the learner estimates none."""

    def experience(self) -> float:
        """How much was learned: 0 untaught, grows with every lesson, never shrinks; not finite once the weights are."""

    def to_bytes(self) -> bytes:
        """The whole state: what loads again predicts the same and learns on as if nothing had happened."""

    def forget_learned(self) -> None:
        """Makes the learner as it was before anything was learned."""

    def forget_parsed(self) -> None:
        """Lets go of cached lines one by one; the learner may be in use."""

    def close(self) -> None:
        """Frees the memory; a second time does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
