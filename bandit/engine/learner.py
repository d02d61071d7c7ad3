"""The interface of all learners: predict over an eligible set, learn one lesson, be stored as bytes.

A learner depends only on its lessons and their order, not on how the log is divided into passes and versions: a learner
that was stored and loaded between two lessons ends in the same state as one that was not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bandit.engine.lines import ActionLines

Scores = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One decision to learn from."""

    shared: str  # the line of user and history, as logged
    actions: ActionLines  # the eligible actions, as logged
    action_index: int  # place of the drawn action; silence is first
    propensity: float  # in (0, 1]
    reward: float
    events: Mapping[str, float] | None = None  # worth of each event that is part of the reward; None: not known


class LearnerArguments(Protocol):
    """What a lineage is made with. Learners with equal texts learn the same from the same log."""

    @property
    def text(self) -> str:
        """As the manifest of every version has it."""


class OnlineLearner(Protocol):
    """A model that learns online. It must not be used by several threads at once."""

    @property
    def arguments(self) -> LearnerArguments:
        """What it was made with."""

    bytes_grow: bool  # whether what it learned never makes its bytes fewer
    follows_changes: bool  # whether it adapts by itself when users change; if not, change detection retrains it
    reads_events: bool  # whether a lesson must name the events that are part of the reward

    def predict(self, shared: str, actions: ActionLines) -> Scores:
        """One probability per eligible action, silence first, before the campaign's floor.

        Raises:
            InvalidInput: the learner would not read a line as it is written.
        """

    def learn(self, lesson: Lesson) -> None:
        """Learns one decision.

        Raises:
            InvalidPropensity: the propensity is not in (0, 1].
            InvalidInput: the reward or a feature is not finite or too large, or the index or a line is wrong. Then
                nothing was learned.
        """

    def expected(self, shared: str, actions: ActionLines, index: int) -> float | None:
        """The reward that is expected of one action; None if the learner does not estimate rewards."""

    def experience(self) -> float:
        """How much was learned: 0 before training, grows with every lesson, never shrinks.

        Not finite if a weight is not.
        """

    def to_bytes(self) -> bytes:
        """The whole state: a learner that loads it predicts the same and learns on in the same way."""

    def forget_learned(self) -> None:
        """Resets the learner to its state before training."""

    def forget_parsed(self) -> None:
        """Releases cached lines one by one; the learner may be in use."""

    def close(self) -> None:
        """Frees the memory; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
