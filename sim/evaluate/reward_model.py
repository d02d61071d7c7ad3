"""The reward model of a log: cross-fitted on the features that the bandit got."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np

from bandit.decide.logged import LoggedActions
from bandit.engine.lines import namespaces
from bandit.errors import InvalidLog
from sim.common.arrays import Floats
from sim.evaluate.targets import Target
from sim.logs.event import Document, EventLog, LoggedEvent

DIMENSIONS = 32  # for the context, and as many for the action
MOST_OPTIONS = 2_000_000  # about 1 GB of features


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelledRewards:
    """The model's values by row, in the order in which the log is read."""

    places: dict[int, int]  # of each row of the log
    logged: Floats  # (n,)
    targets: tuple[Floats, ...]  # (n,) each: integrated over a target's pmf

    def of_rows(self, target: int, rows: Sequence[int]) -> tuple[Floats, Floats]:
        """Values of the logged actions and of the target's choice."""
        places = [self.places[row] for row in rows]
        return self.logged[places], self.targets[target][places]


def modelled_rewards(log: EventLog, targets: Sequence[Target], seed: int) -> ModelledRewards:
    """Values of each row by a model that never saw the row's user; the model is linear in hashed features.

    Reads the log once, and keeps the features of all options in memory.

    Raises:
        InvalidLog: more than 2,000,000 options, or a log or target that knows only the logged action.
    """
    # Loading it takes longer than reading a log without a reward model.
    from sim.ope.reward_model import cross_fitted_values, integrated

    rows = _Rows(targets)
    for events in log.batches():
        for event in events:
            rows.add(event)
    options = np.concatenate(rows.options)
    owners = np.repeat(np.arange(len(rows.rewards)), rows.sizes)
    values = cross_fitted_values(
        features=options[rows.logged],
        rewards=rows.rewards,
        option_features=options,
        option_rows=owners,
        users=rows.users,
        seed=seed,
    )
    integrals = (integrated(values.options, np.concatenate(one), owners, len(rows.rewards)) for one in rows.pmfs)
    return ModelledRewards(
        places={row: place for place, row in enumerate(rows.rows)}, logged=values.logged, targets=tuple(integrals)
    )


class _Rows:
    """Features and probabilities of every option of a log."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._n_options = 0
        self.rows: list[int] = []
        self.rewards: list[float] = []
        self.users: list[str] = []
        self.logged: list[int] = []  # place of the logged action among all options
        self.sizes: list[int] = []
        self.options: list[Floats] = []
        self.pmfs: list[list[Floats]] = [[] for _ in targets]

    def add(self, event: LoggedEvent) -> None:
        options = _options(event)
        for target, pmfs in zip(self._targets, self.pmfs, strict=True):
            pmf = target.likelihood(event).pmf
            if pmf is None:
                raise InvalidLog(f"{target.name}: a reward model needs the target's whole pmf")
            pmfs.append(pmf)
        self.rows.append(event.row)
        self.rewards.append(event.reward)
        self.users.append(event.user)
        self.logged.append(self._n_options + event.action_index)
        self.sizes.append(len(options))
        self.options.append(options)
        self._n_options += len(options)
        if self._n_options > MOST_OPTIONS:
            raise InvalidLog(f"the log has more than {MOST_OPTIONS:,} options, too many for a reward model in memory")


def _options(event: LoggedEvent) -> Floats:
    """Features of each eligible action with its context, shape (actions, 64)."""
    actions = event.actions
    if isinstance(actions, LoggedActions):
        context = _hashed(namespaces(actions.shared_line))
        vectors = [_hashed_line(line) for line in actions.action_lines.joined()]
    else:
        context = _hashed(event.context)
        vectors = [_hashed(one) for one in event.action_documents()]
    return np.hstack([np.tile(context, (len(vectors), 1)), np.array(vectors)])


@lru_cache(maxsize=4_096)
def _hashed_line(line: str) -> Floats:
    return _hashed(namespaces(line))


def _hashed(document: Document) -> Floats:
    """The features of a document by feature hashing: a hash of the name decides place and sign."""
    vector = np.zeros(DIMENSIONS)
    for name, value in _leaves("", document):
        code = crc32(name.encode())
        vector[code % DIMENSIONS] += value if code & 0x8000_0000 else -value
    return vector


def _leaves(path: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}/{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(path, inner)
    elif isinstance(value, bool | str):
        yield f"{path}={value}", 1.0
    elif isinstance(value, int | float):
        yield path, float(value)
