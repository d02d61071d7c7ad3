"""The target's value by what was known before the decision, by time, or by the channel that was chosen.

A cell's value is the target's mean reward over the decisions in the cell (SNIPS). All intervals hold together with the
confidence asked for: each one has a share of the error (Bonferroni).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bandit.decide.logged import LoggedActions
from bandit.errors import InvalidLog
from sim.common.arrays import Ints
from sim.logs.event import LoggedEvent
from sim.ope.batch import Batch
from sim.ope.evaluation import evaluation_of
from sim.ope.groups import HASHED_GROUPS
from sim.ope.intervals import Estimate
from sim.ope.sums import Sums

MOST_CELLS = 24
OTHER = "(other)"
NONE = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The target's value in one cell."""

    name: str
    rows: int
    ok: bool  # whether the cell's rows alone can answer
    estimate: Estimate


class Breakdown:
    """Sums over the rows of each cell."""

    def __init__(self, by: str, *, reward_bounds: tuple[float, float]) -> None:
        """An empty one.

        Args:
            by: "channel", "hour" or "day" (of the decision, UTC), or the name of a feature of the user or the context.
        """
        self.by = by
        self._bounds = reward_bounds
        self._cells: dict[str, Sums] = {}

    def add(self, events: Sequence[LoggedEvent], batch: Batch) -> None:
        """Counts the rows in."""
        rows: dict[str, list[int]] = {}
        for row, event in enumerate(events):
            rows.setdefault(self._cell(self._name_of(event)), []).append(row)
        for name, mine in rows.items():
            self._cells[name].add(_rows(batch, np.array(mine, dtype=np.intp)))

    def _name_of(self, event: LoggedEvent) -> str:
        known = _NAMES.get(self.by)
        return _feature(event, self.by) if known is None else known(event)

    def _cell(self, name: str) -> str:
        found = name if name in self._cells or len(self._cells) < MOST_CELLS else OTHER
        if found not in self._cells:
            self._cells[found] = Sums(n_groups=HASHED_GROUPS, with_model=False, reward_bounds=self._bounds)
        return found

    def cells(self, confidence: float) -> Iterator[Cell]:
        """The cells by name, with intervals that hold together."""
        share = (1.0 - confidence) / max(1, len(self._cells))
        for name in sorted(self._cells):
            found = evaluation_of(self._cells[name], confidence=1.0 - share, show_anyway=True)
            yield Cell(name=name, rows=found.diagnostics.n, ok=found.verdict.ok, estimate=found.estimates["snips"])


def _rows(batch: Batch, rows: Ints) -> Batch:
    return replace(
        batch,
        rewards=batch.rewards[rows],
        propensities=batch.propensities[rows],
        target_propensities=batch.target_propensities[rows],
        groups=batch.groups[rows],
        q_logged=None,
        q_target=None,
        unlogged_mass=None if batch.unlogged_mass is None else batch.unlogged_mass[rows],
    )


def _channel(event: LoggedEvent) -> str:
    if not isinstance(event.actions, LoggedActions):
        raise InvalidLog(f"row {event.row}: actions: only logs of this service know channels; name a feature")
    return event.actions.action(event.action_index).channel or NONE


def _moment(event: LoggedEvent, form: str) -> str:
    if event.decided_at is None:
        raise InvalidLog(f"row {event.row}: decided_at: is missing: hours and days need it")
    return event.decided_at.strftime(form)


_NAMES: dict[str, Callable[[LoggedEvent], str]] = {
    "channel": _channel,
    "hour": lambda event: _moment(event, "%H"),
    "day": lambda event: _moment(event, "%Y-%m-%d"),
}


def _feature(event: LoggedEvent, name: str) -> str:
    """A value of the context, or of the user's features in a request of this service."""
    request = event.context.get("request")
    user = request.get("user") if isinstance(request, dict) else None
    features = user.get("features") if isinstance(user, dict) else None
    holders: tuple[Any, ...] = (event.context, features, user)
    found = next((one[name] for one in holders if isinstance(one, dict) and name in one), NONE)
    return str(found)[:80]
