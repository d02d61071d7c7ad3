"""One form for a row of any log, a decision joined with its final reward, and the checks of each row."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from math import isfinite
from typing import Any, Protocol

import numpy as np

from bandit.decide.exploration import Pmf
from bandit.decide.logged import LoggedActions, decode_actions
from bandit.domain import UserId
from bandit.errors import InvalidLog
from bandit.wire.decision import action_document

Document = Mapping[str, Any]
BATCH = 1_000  # rows that are in memory at once
CLOSE = 1e-6  # numbers of 32 bits, or with six decimals, are no closer than this
LONGEST_PMF_SHOWN = 200  # characters


class LeftOut:
    """Why a decision is not a row of the log; each reason is counted."""

    UNDECIDED = "undecided"  # its reward is not final yet
    VOIDED = "voided"  # the message was not sent; only sends can be voided, so this gap depends on the action
    FALLBACK = "fallback"  # no model decided
    NOT_LEARNABLE = "not_learnable"  # the logger marked it as not learnable (dsjson "_skipLearn")
    DANGLING = "dangling"  # a reward whose decision is not in the file (dsjson)
    IMITATION = "imitation"  # the reward says whether the action was the baseline's, as in apprentice mode (dsjson)
    OUTSIDE = "outside"  # of the span of time that was asked for
    NOT_AN_OBJECT = "not_an_object"  # a line of another kind, as cooked logs have between the decisions (dsjson)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """A decision joined with its final reward."""

    row: int  # of the file, from 1; of the store, the place in the learning order
    learning_place: int | None = None  # in the order in which the service learned; None if it did not learn
    decision_id: str
    user: UserId
    campaign: str
    campaign_version: int | None = None
    decided_at: datetime | None = None  # aware
    policy: str | None = None  # of the logging service
    model_version: int | None = None
    action_index: int  # of the logged action among the eligible ones
    propensity: float
    pmf: Pmf | None = None  # shape (eligible actions,); None if only the propensity was logged
    reward: float
    # The eligible set with its lines, as this service logs it; documents of other systems; None if it was not logged.
    actions: LoggedActions | tuple[Document, ...] | None = None
    # Known before the decision; in logs of this service: request and history.
    context: Document = field(default_factory=dict)
    feedback_missing: bool | None = None  # whether the outcome never arrived; None if the log does not tell
    columns: Mapping[str, float] = field(default_factory=dict)  # further numbers that the reader was asked for

    @property
    def n_actions(self) -> int | None:
        """Number of eligible actions; None if the log does not say."""
        if self.pmf is not None:
            return self.pmf.size
        if isinstance(self.actions, LoggedActions):
            return len(self.actions)
        return None if self.actions is None else len(self.actions)

    def action_documents(self) -> Sequence[Document]:
        """The eligible actions in the order of the pmf.

        Raises:
            InvalidLog: the log does not say what could be chosen.
        """
        if self.actions is None:
            raise InvalidLog(f"row {self.row}: actions: the log does not say which actions were eligible")
        if isinstance(self.actions, LoggedActions):
            return [action_document(self.actions.action(index)) for index in range(len(self.actions))]
        return self.actions


def pmf_tolerance(n_actions: int) -> float:
    """How far the probabilities of so many actions may sum from 1, when each was rounded to six decimals or 32 bits."""
    return CLOSE * max(10, n_actions)


def read_actions(text: str) -> LoggedActions:
    """The eligible set from a file that this service wrote, which may have been changed since.

    Raises:
        ValueError, TypeError, KeyError: it is not an eligible set.
    """
    actions = decode_actions(text)
    lines = actions.action_lines
    for names, features in (
        (actions.channels, lines.channels),
        (actions.contents, lines.contents),
        (actions.times, lines.times),
    ):
        if len(names) != len(features) or not all(isinstance(one, str) for one in (*names, *features)):
            raise ValueError("must have a line of features for each channel, content and time")
    if not (isinstance(lines.mask, str) and isinstance(actions.shared_line, str)):
        raise ValueError("must have a mask and a line of shared features")
    for cell in actions.cells:  # the mask is read only now
        _ = actions.channels[cell.channel]
    for time in actions.times:
        datetime.fromisoformat(time)
    return actions


class EventLog(Protocol):
    """A log that can be read from its start any number of times, and is never in memory as a whole."""

    name: str
    reward_bounds: tuple[float, float]

    @property
    def left_out(self) -> Counter[str]:
        """Decisions that were not rows, by reason, in the latest reading; complete when it has ended."""

    @property
    def size(self) -> int | None:
        """Number of decisions to read, for a progress bar; None if it is not known before reading."""

    def batches(self) -> Iterator[Sequence[LoggedEvent]]:
        """The rows, at most 1,000 at a time.

        Raises:
            InvalidLog: a row breaks a rule, or there is none.
        """


def checked(event: LoggedEvent, reward_bounds: tuple[float, float]) -> LoggedEvent:
    """The event, if it can be used for an estimate.

    Raises:
        InvalidLog: with the row, the field, the value and the rule.
    """
    for name, value, rule in _faults(event, *reward_bounds):
        raise InvalidLog(f"row {event.row}: {name}: {value}: {rule}")
    return event


def _faults(event: LoggedEvent, low: float, high: float) -> Iterator[tuple[str, object, str]]:
    if not 0.0 < event.propensity <= 1.0:  # false for NaN as well
        yield "propensity", event.propensity, "must be in (0, 1]"
    if not (isfinite(event.reward) and low <= event.reward <= high):
        yield (
            "reward",
            event.reward,
            f"must be a number within the bounds [{low}, {high}] (of a file: --bounds)",
        )
    n_actions = event.n_actions
    if event.action_index < 0 or (n_actions is not None and event.action_index >= n_actions):
        yield "action_index", event.action_index, f"must be a place among the {n_actions} eligible actions"
    elif event.pmf is not None:
        yield from _pmf_faults(event, event.pmf)
    for name, value in event.columns.items():
        if not isfinite(value):
            yield name, value, "must be a finite number"


def _pmf_faults(event: LoggedEvent, pmf: Pmf) -> Iterator[tuple[str, object, str]]:
    if not (np.minimum.reduce(pmf) >= 0.0 and abs(float(np.add.reduce(pmf)) - 1.0) <= pmf_tolerance(pmf.size)):
        total = float(np.add.reduce(pmf))
        yield "pmf", str(pmf.tolist())[:LONGEST_PMF_SHOWN], f"must not be negative and must sum to 1, not {total:.9g}"
    elif abs(float(pmf[event.action_index]) - event.propensity) > CLOSE:
        yield "pmf", float(pmf[event.action_index]), f"is not the propensity {event.propensity} of the logged action"
    if event.actions is not None and len(event.actions) != pmf.size:
        yield "pmf", f"{pmf.size} entries", f"must have one for each of the {len(event.actions)} eligible actions"


class DataDigest:
    """SHA-256 over everything that estimates depend on, row by row; the same rows give the same digest in any file."""

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, event: LoggedEvent) -> None:
        row = (event.decision_id, event.user, event.action_index, event.propensity, event.reward)
        self._hash.update(f"{row!r}\n".encode())

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
