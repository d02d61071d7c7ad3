"""The learner of events: what it decides with, what it learns, and its state as bytes.

Every part of the state follows from the log in its order. Decisions are learned in blocks, whose ends follow from
their count in the lineage alone; Vowpal Wabbit learns each decision when it comes.
"""

from collections.abc import Mapping
from itertools import combinations
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from bandit.engine.events.arguments import REWARD, EventArguments
from bandit.engine.events.designs import Columns, Decision, Family, Floats, Row, Scales, Users, decision_of
from bandit.engine.events.feedback import Missing
from bandit.engine.events.model import Batch, EventModel
from bandit.engine.events.reading import ActionTokens, UserTokens, action_tokens, channel_name, send_at, user_tokens
from bandit.engine.events.squarecb import ValueEngine
from bandit.engine.events.start import Start, start_from
from bandit.engine.events.state import packed, unpacked
from bandit.engine.events.stored import (
    columns_document,
    columns_of,
    model_document,
    model_of,
)
from bandit.engine.events.threads import one_thread
from bandit.engine.events.values import DRAW_SCALE, Draws, Exact, Values, draw_weights
from bandit.engine.explorers import LARGEST_REWARD
from bandit.engine.learner import Lesson
from bandit.engine.lines import ActionLines
from bandit.errors import CorruptModel, FieldError, InvalidInput, InvalidPropensity

FIRST_BLOCK, LAST_BLOCK = 50, 300  # decisions; longer ones would see a change too late
GROWTH = 20  # a block is a twentieth of what was learned before
WIDE_EVENTS = 2  # with several response models: those of the highest worth
MOST_EVENTS = 8  # with a response model at all
NO_START = Start()
_CONSTANT = (Family.BASE, Family.SEND)
SAME_REWARD = 1e-9  # relative difference within which a reward is that of one event


class Pending(NamedTuple):
    """A decision that waits for the end of its block."""

    shared: str
    send: tuple[str, str, str] | None  # the lines of channel, content and time; None: silence
    outcomes: dict[str, float]  # by event: 1, or a number of its own

    @property
    def channel(self) -> str | None:
        return None if self.send is None else channel_name(self.send[0])

    def tokens(self) -> tuple[UserTokens, ActionTokens | None]:
        return user_tokens(self.shared), None if self.send is None else action_tokens(*self.send)


class Moved(NamedTuple):
    """A weight, and by how much the value would be lower without it."""

    feature: str
    effect: float


class Explained(NamedTuple):
    """Why an action is expected to earn what it is."""

    expected: float  # reward
    deviation: float  # of the reward's mean, from what the models are unsure of
    moved: tuple[Moved, ...]  # the largest effect first; two at most


class Rowed(NamedTuple):
    """A decision as the models read it, and the value that they gave its action."""

    decision: Decision
    row: Row
    value: float


def block_size(learned: int) -> int:
    """Decisions of the block that begins after so many."""
    return min(max(learned // GROWTH, FIRST_BLOCK), LAST_BLOCK)


class EventLearner:
    """Models of every event of a campaign, and an engine that decides on their value. Not for several threads at once.

    Raises:
        CorruptModel: the state does not load, or was made with other arguments.
    """

    bytes_grow = False
    follows_changes = True
    reads_events = True

    def __init__(self, arguments: EventArguments, state: bytes | None = None, *, start: Start = NO_START) -> None:
        """
        Args:
            state: None for one that has learned nothing.
            start: what that one believes; a state has its own.
        """
        self.arguments = arguments
        self._values: Values | None = None
        self._draws: Draws | None = None
        self._exact: Exact | None = None
        self._latest: tuple[tuple[str, tuple[str, str, str] | None], Rowed] | None = None
        if state is None:
            self._begin(start)
        else:
            self._load(unpacked(state))

    def predict(self, shared: str, actions: ActionLines) -> Floats:
        """Probabilities of silence and every eligible send; they sum to 1.

        Raises:
            InvalidInput: the lines are not as the log has them.
        """
        user = user_tokens(shared)
        return self._engine.pmf(self._serving().values(user, actions)[:, 1:])

    def expected(self, shared: str, actions: ActionLines, index: int) -> float:
        """The reward that is expected of one action."""
        return self._engine.expected(self._valued(Pending(shared, send_at(actions, index), {})).value)

    def per_event(self, shared: str, actions: ActionLines) -> dict[str, Floats]:
        """Probability of every event after silence and after every eligible send, and their value under "value"."""
        user, serving = user_tokens(shared), self._serving()
        found = {**serving.outcomes(user, actions), "value": serving.values(user, actions)}
        return {name: columns[:, 0].astype(np.float64) for name, columns in found.items()}

    def explained(self, shared: str, actions: ActionLines, index: int) -> "Explained":
        """What is expected of one action, how sure that is, and what moved it most."""
        rowed = self._valued(Pending(shared, send_at(actions, index), {}))
        draws = self._serving().values(user_tokens(shared), actions)[index, 1:]
        effects = self._exact_models().effects(rowed.row, is_send=index > 0)
        moved = [
            Moved(key.words(), float(effects[place]))
            for place in np.argsort(-np.abs(effects), kind="stable")
            if (key := self._columns.key_at(int(rowed.row.places[place]))).family not in _CONSTANT or key.column
        ]
        spread = float(np.std(draws)) / DRAW_SCALE * self._engine.slope
        return Explained(expected=self._engine.expected(rowed.value), deviation=abs(spread), moved=tuple(moved[:2]))

    def start(self) -> Start:
        """What another campaign can begin with."""
        return start_from(self._models, self._columns, self._scales)

    def learn(self, lesson: Lesson) -> None:
        """Learns one decision.

        Raises:
            InvalidPropensity: the propensity is not in (0, 1].
            InvalidInput: a number is not finite or too large, or the index or a line is wrong. Nothing was learned
                then.
        """
        if not 0.0 < lesson.propensity <= 1.0:
            raise InvalidPropensity(f"the label's propensity is {lesson.propensity!r}: it must be in (0, 1]")
        pending = self._pending(lesson)
        rowed = self._valued(pending)
        self._engine.learn(rowed.value, lesson.reward)
        self._block.append(pending)
        self._rows.append(rowed)
        self._learned += 1
        if len(self._block) >= block_size(self._learned - len(self._block)):
            self._end_block()

    @property
    def learned(self) -> int:
        """Decisions that were learned."""
        return self._learned

    @property
    def missing(self) -> list[Missing]:
        """Events that stopped or thinned out, and where."""
        return [one for name, model in self._models.items() for one in model.watch.missing(name)]

    @property
    def takeovers(self) -> int:
        """How often a challenger took over from the models that served."""
        return sum(model.bank.takeovers for model in self._models.values())

    def experience(self) -> float:
        """How much it was taught: it grows with every decision learned."""
        return self._engine.experience()

    def to_bytes(self) -> bytes:
        """The whole state: what loads again predicts the same, and learns on as if nothing had happened."""
        return packed(
            {
                "arguments": self.arguments.text,
                "learned": self._learned,
                "scales": self._scales.sums,
                "columns": columns_document(self._columns),
                "models": {name: model_document(model) for name, model in self._models.items()},
                "draws": dict(self._drawn()),
                "block": [list(one) for one in self._block],
                "start": self._start.document(),
                "engine": self._engine.to_bytes(),
                "lessons": self._engine.lessons,
            }
        )

    def forget_learned(self) -> None:
        """Makes it as it was before anything was learned."""
        self._engine.close()
        self._begin(self._start)

    def forget_parsed(self) -> None:
        """Lets go of what was kept to answer faster."""
        self._values = None

    def close(self) -> None:
        """Frees the engine's memory."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, start: Start) -> None:
        self._learned = 0
        self._start = start
        self._scales = Scales(start.scales)
        self._columns = Columns(Users(), self.arguments.dense)
        self._columns.add(start.keys)
        self._models = untaught_models(self.arguments)
        for name, model in self._models.items():
            model.grow(self._columns, self._start.of(name))
        self._block: list[Pending] = []
        self._rows: list[Rowed] = []  # of the block
        self._engine = ValueEngine(self.arguments.value, self.arguments.unit)
        self._forget_block()

    def _load(self, document: dict[str, Any]) -> None:
        if document["arguments"] != self.arguments.text:
            raise CorruptModel(
                f"the models were made with {document['arguments']}, their manifest says {self.arguments.text}"
            )
        self._learned = document["learned"]
        self._start = Start.parsed(document["start"])
        self._scales = Scales(document["scales"])
        self._columns = columns_of(self.arguments.dense, document["columns"])
        # In the order in which they were made: sums over the models end on the same last digit only in one order.
        kept = document["models"]
        self._models = {
            name: model_of(name, kept[name]) for name in (*_event_names(self.arguments), REWARD) if name in kept
        }
        self._block = [_pending_of(*one) for one in document["block"]]
        self._engine = ValueEngine(self.arguments.value, self.arguments.unit, document["engine"], document["lessons"])
        self._forget_block()
        self._rows = [self._valued(one) for one in self._block]
        self._draws = document["draws"]

    def _forget_block(self) -> None:
        """Lets go of what was made from the models as they were."""
        self._values, self._exact, self._latest, self._draws = None, None, None, None

    def _drawn(self) -> Draws:
        if self._draws is None:
            self._draws = draw_weights(self.arguments, self._models, self._learned - len(self._block))
        return self._draws

    def _serving(self) -> Values:
        values = self._values  # another thread may let go of it
        if values is None:
            values = Values(self.arguments, self._models, self._columns, self._scales, self._drawn())
            self._values = values
        return values

    def _exact_models(self) -> Exact:
        if self._exact is None:
            self._exact = Exact(self.arguments, self._models, self._columns)
        return self._exact

    def _valued(self, pending: Pending) -> "Rowed":
        """The row of a decision, and the value of its action at the posterior mean."""
        key = (pending.shared, pending.send)
        # What is expected of a decision is asked right before it is learned.
        if self._latest is None or self._latest[0] != key:
            decision = decision_of(*pending.tokens(), self._scales)
            row = self._columns.row(decision)
            self._latest = key, Rowed(decision, row, self._exact_models().value(row, pending.channel))
        return self._latest[1]

    def _pending(self, lesson: Lesson) -> Pending:
        send = send_at(lesson.actions, lesson.action_index)
        channel = None if send is None else channel_name(send[0])
        return Pending(lesson.shared, send, self._outcomes(lesson.events, lesson.reward, channel))

    def _outcomes(self, events: Mapping[str, float] | None, reward: float, channel: str | None) -> dict[str, float]:
        if not abs(reward) <= LARGEST_REWARD:
            message = f"{reward!r} is not a number within {LARGEST_REWARD:g}"
            raise InvalidInput([FieldError(field="reward", message=message)])
        if events is None:
            events = self._inferred(reward, channel)
        if not all(abs(value) <= LARGEST_REWARD for value in events.values()):  # false for NaN as well
            message = f"{dict(events)!r}: a value is not a number within {LARGEST_REWARD:g}"
            raise InvalidInput([FieldError(field="events", message=message)])
        return {
            name: float(value) if name == REWARD else 1.0
            for name, value in events.items()
            if name in self._models or name == REWARD
        }

    def _inferred(self, reward: float, channel: str | None) -> Mapping[str, float]:
        """The events of which the reward is the sum, where only it is known: none, one or two of them, or a number."""
        total = reward + (0.0 if channel is None else self.arguments.costs.get(channel, 0.0))
        near = SAME_REWARD * (1.0 + abs(total))
        if abs(total - self.arguments.default) <= near:
            return {}
        worths = self.arguments.worths
        for number in (1, 2):
            for names in combinations(sorted(worths), number):
                if abs(total - sum(worths[name] for name in names)) <= near:
                    return dict.fromkeys(names, 1.0)
        return {REWARD: total - self.arguments.default}

    def _end_block(self) -> None:
        """Teaches the models what waits."""
        block, rows = self._block, self._rows
        batch = Batch(
            before=self._learned - len(block),
            decisions=len(block),
            sends=np.array([one.send is not None for one in block]),
            channels=[one.channel or "" for one in block],
            columns=self._columns,
            rows=self._columns.rows([one.decision for one in rows], [one.row for one in rows]),
        )
        if REWARD not in self._models and any(REWARD in one.outcomes for one in block):
            self._models[REWARD] = _numeric(is_wide=False)
        with one_thread():
            for name, model in self._models.items():
                outcomes = np.array([one.outcomes.get(name, 0.0) for one in block])
                model.learn(batch, outcomes, self._start.of(name))
        for one in rows:
            self._scales.take(one.decision.unscaled)
        self._block, self._rows = [], []
        self._forget_block()


def _event_names(arguments: EventArguments) -> list[str]:
    """The events that change the reward, the most important first."""
    worths = {name: worth for name, worth in arguments.worths.items() if worth}
    return sorted(worths, key=lambda name: (-worths[name], name))


def untaught_models(arguments: EventArguments) -> dict[str, EventModel]:
    """One model for each event that changes the reward, the most important first."""
    names = _event_names(arguments)
    ranked = sorted(names, key=lambda name: (-abs(arguments.worths[name]), name))
    rich = set(ranked[:MOST_EVENTS])
    models = {
        name: EventModel(
            name=name,
            is_numeric=False,
            is_bad=arguments.worths[name] < 0 or name not in rich,
            is_wide=place < WIDE_EVENTS and arguments.worths[name] > 0,
        )
        for place, name in enumerate(names)
    }
    return models or {REWARD: _numeric(is_wide=True)}


def _numeric(*, is_wide: bool) -> EventModel:
    """The model of the event that brings a number of its own; without any other event it is there from the start."""
    return EventModel(name=REWARD, is_numeric=True, is_bad=False, is_wide=is_wide)


def _pending_of(shared: str, send: list[str] | None, outcomes: dict[str, float]) -> Pending:
    return Pending(shared, None if send is None else (send[0], send[1], send[2]), outcomes)
