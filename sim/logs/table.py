"""Logs as tables, Parquet or CSV: one column per field; a column map gives the names in the file."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from bandit.decide.exploration import Pmf
from bandit.decide.logged import LoggedActions
from bandit.domain import UserId
from bandit.errors import InvalidLog, extras_named
from sim.logs.event import BATCH, Document, LoggedEvent, checked, read_actions

REQUIRED = ("reward", "propensity")
LARGEST_CELL = 2**31 - 1  # characters; csv's own limit of 128 KiB is too small for a set of two thousand actions
# Field -> type. A pmf is JSON text in CSV; actions and context are JSON text in both formats.
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

Raw = Mapping[str, Any]
Value = TypeVar("Value")


class TableLog:
    """A Parquet or CSV file with one decision per row."""

    def __init__(
        self,
        path: Path,
        *,
        kind: str,
        reward_bounds: tuple[float, float],
        columns: Mapping[str, str] | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        """Opens the file once to read the names of its columns.

        Args:
            kind: "parquet" or "csv".
            columns: field -> name of its column; without an entry, the column has the field's name.
            extra: further columns of numbers that every event carries.

        Raises:
            InvalidLog: there is no such file, it has another format, a field is unknown, or a column is missing.
        """
        self.name = path.name
        self.reward_bounds = reward_bounds
        self.left_out: Counter[str] = Counter()
        self._path = path
        self._read, shape = (_csv_rows, _csv_shape) if kind == "csv" else (_parquet_rows, _parquet_shape)
        self._extra = tuple(extra)
        with _readable(path):
            self._present, self.size = shape(path)
        self._columns = self._mapped(columns or {})

    def _mapped(self, given: Mapping[str, str]) -> dict[str, str]:
        """Field -> column, for the fields that the file has."""
        for name in given:
            if name not in FIELDS:
                raise InvalidLog(f"{name!r} is not a field of a log: the fields are {', '.join(FIELDS)}")
        mapped = {name: given.get(name, name) for name in FIELDS}
        needed = [*(mapped[name] for name in REQUIRED), *given.values(), *self._extra]
        missing = sorted(set(needed) - set(self._present))
        if missing:
            raise InvalidLog(f"{self.name}: has no column {', '.join(missing)}; it has {', '.join(self._present)}")
        return {name: column for name, column in mapped.items() if column in self._present}

    def batches(self) -> Iterator[Sequence[LoggedEvent]]:
        wanted = sorted({*self._columns.values(), *self._extra})
        row = 0
        with _readable(self._path):
            for rows in self._read(self._path, wanted):
                yield [checked(self._event(place, one), self.reward_bounds) for place, one in enumerate(rows, row + 1)]
                row += len(rows)
        if row == 0:
            raise InvalidLog(f"{self.name}: has no rows")

    def _event(self, row: int, raw: Raw) -> LoggedEvent:
        cells = _Cells(row, raw, self._columns)
        pmf, actions = cells.read("pmf", _pmf), cells.read("actions", _actions)
        return LoggedEvent(
            row=row,
            decision_id=cells.read("decision_id", str) or str(row),
            # A row without a user counts as a user of its own.
            user=UserId(cells.read("user", str) or f"row {row}"),
            campaign=cells.read("campaign", str) or "",
            campaign_version=cells.read("campaign_version", _whole),
            learning_place=cells.read("learning_place", _whole),
            decided_at=cells.read("decided_at", _instant),
            policy=cells.read("policy", str),
            model_version=cells.read("model_version", _whole),
            action_index=self._action_index(cells, pmf is not None or actions is not None),
            propensity=cells.needed("propensity", float),
            pmf=pmf,
            reward=cells.needed("reward", float),
            actions=actions,
            context=cells.read("context", _document) or {},
            columns={name: cells.number(name) for name in self._extra},
        )

    @staticmethod
    def _action_index(cells: "_Cells", is_used: bool) -> int:
        """The place of the logged action; None without eligible actions, because it would have no meaning."""
        return cells.needed("action_index", _whole) if is_used else cells.read("action_index", _whole) or 0


class _Cells:
    """The cells of one row, converted to their types."""

    def __init__(self, row: int, raw: Raw, columns: Mapping[str, str]) -> None:
        self._row = row
        self._raw = raw
        self._columns = columns

    def read(self, name: str, kind: Callable[[Any], Value]) -> Value | None:
        """The field's value; None if the cell is empty or the file has no such column."""
        column = self._columns.get(name)
        return None if column is None else self._converted(column, kind)

    def needed(self, name: str, kind: Callable[[Any], Value]) -> Value:
        found = self.read(name, kind)
        if found is None:
            raise InvalidLog(f"row {self._row}: {self._columns.get(name, name)}: is missing")
        return found

    def number(self, column: str) -> float:
        found = self._converted(column, float)
        if found is None:
            raise InvalidLog(f"row {self._row}: {column}: is missing")
        return found

    def _converted(self, column: str, kind: Callable[[Any], Value]) -> Value | None:
        value = self._raw[column]
        if value is None or value == "":
            return None
        try:
            return kind(value)
        except (ValueError, TypeError, KeyError) as error:
            shown = repr(value)[:100]
            raise InvalidLog(f"row {self._row}: {column}: {shown}: cannot be read: {error}") from None


def _whole(value: Any) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError("is not a whole number")
    return int(number)


def _instant(value: Any) -> datetime:
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if instant.utcoffset() is None:
        raise ValueError("has no UTC offset")
    return instant


def _pmf(value: Any) -> Pmf:
    pmf = np.array(orjson.loads(value) if isinstance(value, str) else value, dtype=np.float64)
    if pmf.ndim != 1 or pmf.size == 0:
        raise ValueError("is not a list of numbers")
    return pmf


def _actions(value: str) -> LoggedActions | tuple[Document, ...]:
    """The eligible set that this service logged, or a list of actions of any kind; a text is an action's name."""
    document = orjson.loads(value)
    if isinstance(document, dict):
        return read_actions(value)
    if not isinstance(document, list) or not document:
        raise ValueError("is neither a list of actions nor an eligible set of this service")
    return tuple(one if isinstance(one, dict) else {"id": one} for one in document)


def _document(value: str) -> Document:
    document = orjson.loads(value)
    if not isinstance(document, dict):
        raise ValueError("is not an object")
    return document


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns errors while reading into InvalidLog that names the file."""
    with extras_named():
        from pyarrow import ArrowInvalid

    try:
        yield
    except (OSError, ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise InvalidLog(f"{path}: cannot be read: {error}") from None


Shape = tuple[list[str], int | None]  # names of the columns, and the number of rows if the file has it


def _csv_shape(path: Path) -> Shape:
    csv.field_size_limit(LARGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), []), None


def _parquet_shape(path: Path) -> Shape:
    with extras_named():
        from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        return list(file.schema_arrow.names), file.metadata.num_rows


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Sequence[Raw]]:
    with extras_named():
        from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH, columns=list(columns)):
            yield batch.to_pylist()


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Sequence[Raw]]:
    csv.field_size_limit(LARGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        while rows := list(islice(reader, BATCH)):
            yield [{name: row[name] for name in columns} for row in rows]
