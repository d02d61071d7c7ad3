"""Users who answer sends of some kinds, for the model of one event alone: what changes, and what only looks so."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bandit.engine.events.designs import BASE, RESPONSE, SEND, Coded, Columns, Decision, Family, Floats, Users
from bandit.engine.events.learner import block_size
from bandit.engine.events.model import Batch, EventModel
from bandit.engine.events.posterior import sigmoid

KINDS = 12
FEATURES = ("x", "y", "z")
TEMPERATURE = 0.15  # of the policy's choice, in log-odds
EXPLORED = 0.1  # share of decisions at random
LEVEL = -2.0
_CODES = tuple(Coded(Family.KIND, f"kind={kind}", 1.0) for kind in range(KINDS))

Lost = Callable[[Floats, Floats, np.random.Generator], Floats]  # decision numbers, channels -> probability of a report


def everything(numbers: Floats, _channels: Floats, _rng: np.random.Generator) -> Floats:
    """Every event is reported."""
    return np.ones(len(numbers))


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """A model that learns from the decisions of a policy that follows it."""

    seed: int
    changes_at: int | None = None  # decision from which all preferences are others
    lost: Lost = everything
    season: float = 0.0  # amplitude of the level, in log-odds
    keen_first: bool = False  # whether each block begins with other users than it ends with
    model: EventModel = field(
        default_factory=lambda: EventModel(name="clicked", is_numeric=False, is_bad=False, is_wide=True)
    )
    columns: Columns = field(default_factory=lambda: Columns(Users(), 1_024))
    taken_over_at: list[int] = field(default_factory=list)

    def run(self, decisions: int) -> "Run":
        """Lives so many decisions."""
        rng, done = np.random.default_rng(self.seed), 0
        before, after = self._preferences(0), self._preferences(1)
        while done < decisions:
            size = block_size(done)
            changed = self.changes_at is not None and done >= self.changes_at
            self._live(done, size, after if changed else before, rng)
            done += size
        return self

    def _preferences(self, era: int) -> Floats:
        """Log-odds of each kind, shape (kinds, 1 + features): for everybody, and by feature."""
        scales = np.array([0.6, *[0.4] * len(FEATURES)])
        drawn: Floats = np.random.default_rng([self.seed, era]).normal(size=(KINDS, len(scales))) * scales
        return drawn

    def _live(self, done: int, size: int, preferences: Floats, rng: np.random.Generator) -> None:
        numbers = done + np.arange(size)
        rate = 0.5 + (0.45 * np.cos(2 * np.pi * np.arange(size) / size) if self.keen_first else 0.0)
        users = np.column_stack([np.ones(size), rng.random((size, len(FEATURES))) < np.reshape(rate, (-1, 1))])
        chosen = self._choose(users, rng)
        log_odds = LEVEL + (users * preferences[chosen]).sum(axis=1)
        log_odds = log_odds + self.season * np.sin(2 * np.pi * numbers / 7_000)
        channels = (chosen % 2).astype(np.float64)
        reported = rng.random(size) < self.lost(numbers.astype(np.float64), channels, rng)
        outcomes = (rng.random(size) < sigmoid(log_odds)) & reported
        self._learn(done, users, chosen, outcomes.astype(np.float64))

    def _choose(self, users: Floats, rng: np.random.Generator) -> Floats:
        scores = np.zeros((len(users), KINDS))
        if len(self.model.bank.serving.posterior.mean):
            weights = self.model.bank.serving.posterior.spread(self.columns, RESPONSE)
            found = [self.columns.weights_of((Family.KIND, code.name)) for code in _CODES]
            table = [[weights[one[name]] if name in one else 0.0 for name in ("", *FEATURES)] for one in found]
            scores = users @ np.array(table).T
        noise = rng.gumbel(size=scores.shape) * TEMPERATURE
        best = (scores + noise).argmax(axis=1)
        return np.where(rng.random(len(users)) < EXPLORED, rng.integers(KINDS, size=len(users)), best)

    def _learn(self, done: int, users: Floats, chosen: Floats, outcomes: Floats) -> None:
        decisions = [
            Decision(list(zip(("", *FEATURES), user.tolist(), strict=True)), (BASE, SEND, _CODES[int(kind)]), (), ())
            for user, kind in zip(users, chosen, strict=True)
        ]
        rows = self.columns.rows(decisions, [self.columns.row(one) for one in decisions])
        batch = Batch(
            before=done,
            decisions=len(users),
            sends=np.ones(len(users), dtype=np.bool_),
            channels=[str(int(kind) % 2) for kind in chosen],
            columns=self.columns,
            rows=rows,
        )
        takeovers = self.model.bank.takeovers
        self.model.learn(batch, outcomes, {})
        if self.model.bank.takeovers > takeovers:
            self.taken_over_at.append(done)
