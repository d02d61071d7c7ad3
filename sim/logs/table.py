"""Logs as tables, Parquet or CSV: one column a field, under the caller's own names where a column map says so."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, TypeVar

from bandit.domain import UserId
from bandit.errors import InvalidLog
from sim.logs import cells as read_as
from sim.logs.cells import shown
from sim.logs.event import LoggedEvent, checked
from sim.logs.repeats import SeenIds
from sim.logs.rows import Raw, csv_rows, csv_shape, parquet_rows, parquet_shape

REQUIRED = ("reward", "propensity")
# Field -> what it is. A pmf is JSON text in CSV, actions and context everywhere.
FIELDS = {
    "decision_id": "string",
    "user": "string",
    "campaign": "string",
    "campaign_version": "int32",
    "learning_place": "int64",
    "decided_at": "timestamp",
    "policy": "string",
    "model_version": "int32",
    "action_index": "int32",
    "propensity": "float64",
    "reward": "float64",
    "pmf": "list",
    "actions": "string",
    "context": "string",
}

# Read where a file has them, and not written: this service knows of no outcome that is missing.
READ_ONLY = ("feedback_missing",)
Value = TypeVar("Value")


class TableLog:
    """A Parquet or CSV file with one decision a row."""

    def __init__(
        self,
        path: Path,
        *,
        kind: str,
        reward_bounds: tuple[float, float],
        columns: Mapping[str, str] | None = None,
        extra: Sequence[str] = (),
        assumed_zone: tzinfo | None = None,
    ) -> None:
        """Opens the file once, to see its columns.

        Args:
            kind: "parquet" or "csv".
            columns: field -> the file's name for it; a field that is not named has its own name.
            extra: further columns of numbers that every event is to carry.
            assumed_zone: of times without an offset; None: those are refused.

        Raises:
            InvalidLog: no such file or not of its format, an unknown field, or a column that is not there.
        """
        self.name = path.name
        self.reward_bounds = reward_bounds
        self.left_out: Counter[str] = Counter()
        self._path = path
        self._read, shape = (csv_rows, csv_shape) if kind == "csv" else (parquet_rows, parquet_shape)
        self._extra = tuple(extra)
        self._zone = assumed_zone
        self._present, self.size = shape(path)
        self._columns = self._mapped(columns or {})

    def _mapped(self, given: Mapping[str, str]) -> dict[str, str]:
        """Field -> column, of the fields that the file has."""
        for name in given:
            if name not in (*FIELDS, *READ_ONLY):
                fields = ", ".join((*FIELDS, *READ_ONLY))
                raise InvalidLog(f"{name!r} is not a field of a log: the fields are {fields}")
        mapped = {name: given.get(name, name) for name in (*FIELDS, *READ_ONLY)}
        needed = [*(mapped[name] for name in REQUIRED), *given.values(), *self._extra]
        missing = sorted(set(needed) - set(self._present))
        if missing:
            has = ", ".join(self._present)[: read_as.LONGEST_SHOWN]
            raise InvalidLog(f"{self.name}: has no column {', '.join(missing)}; it has {has}")
        return {name: column for name, column in mapped.items() if column in self._present}

    def batches(self) -> Iterator[Sequence[LoggedEvent]]:
        wanted = sorted({*self._columns.values(), *self._extra})
        row, seen = 0, SeenIds()
        for rows in self._read(self._path, wanted):
            all_cells = [_Cells(place, one, self._columns) for place, one in enumerate(rows, row + 1)]
            ids = [(cells.row, key) for cells in all_cells if (key := cells.read("decision_id", read_as.text))]
            events = [checked(self._event(cells), self.reward_bounds) for cells in all_cells]
            seen.add([place for place, _ in ids], [key for _, key in ids])
            yield events
            row += len(rows)
        if row == 0:
            raise InvalidLog(f"{self.name}: has no rows")

    def _event(self, cells: "_Cells") -> LoggedEvent:
        pmf = cells.read("pmf", read_as.pmf)
        actions = cells.read("actions", read_as.actions)
        decision_id = cells.read("decision_id", read_as.text)
        missing = cells.read("feedback_missing", read_as.truth)
        user, campaign = cells.read("user", read_as.user), cells.read("campaign", read_as.text)
        return LoggedEvent(
            row=cells.row,
            decision_id=decision_id or str(cells.row),
            # A row without a user is a user of its own.
            user=UserId(user or decision_id or f"row {cells.row}"),
            campaign=campaign or "",
            campaign_version=cells.read("campaign_version", read_as.whole),
            learning_place=cells.read("learning_place", read_as.whole),
            decided_at=cells.read("decided_at", self._instant),
            policy=cells.read("policy", read_as.text),
            model_version=cells.read("model_version", read_as.whole),
            action_index=self._action_index(cells, pmf is not None or actions is not None),
            propensity=cells.needed("propensity", read_as.probability),
            pmf=pmf,
            reward=self._reward(cells, missing=bool(missing)),
            feedback_missing=missing,
            actions=actions,
            context=cells.read("context", read_as.document) or {},
            columns={name: cells.number(name) for name in self._extra},
        )

    @staticmethod
    def _reward(cells: "_Cells", *, missing: bool) -> float:
        """The reward; none is needed where the outcome never arrived, and counts as 0."""
        return (cells.read("reward", read_as.reward) or 0.0) if missing else cells.needed("reward", read_as.reward)

    def _instant(self, value: Any) -> datetime:
        return read_as.instant(value, self._zone)

    @staticmethod
    def _action_index(cells: "_Cells", is_used: bool) -> int:
        """The logged action's place; without eligible actions there is nothing that it could be a place in."""
        return (
            cells.needed("action_index", read_as.whole) if is_used else cells.read("action_index", read_as.whole) or 0
        )


class _Cells:
    """The cells of one row, read as what they should be."""

    def __init__(self, row: int, raw: Raw, columns: Mapping[str, str]) -> None:
        self.row = row
        self._raw = raw
        self._columns = columns

    def read(self, name: str, kind: Callable[[Any], Value]) -> Value | None:
        """The field's value, None where the cell is empty or the file has no such column."""
        column = self._columns.get(name)
        return None if column is None else self._converted(column, kind)

    def needed(self, name: str, kind: Callable[[Any], Value]) -> Value:
        found = self.read(name, kind)
        if found is None:
            raise InvalidLog(f"row {self.row}: {self._columns.get(name, name)}: is missing")
        return found

    def number(self, column: str) -> float:
        found = self._converted(column, read_as.probability)
        if found is None:
            raise InvalidLog(f"row {self.row}: {column}: is missing")
        return found

    def _converted(self, column: str, kind: Callable[[Any], Value]) -> Value | None:
        value = self._raw[column]
        if value is None or value == "":
            return None
        try:
            return kind(value)
        except read_as.UNREADABLE as error:
            reason = read_as.one_line(error)
            raise InvalidLog(f"row {self.row}: {column}: {shown(value)}: cannot be read: {reason}") from None
