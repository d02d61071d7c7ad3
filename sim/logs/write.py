"""Logs written as Parquet, CSV or dsjson, batch by batch; `sim.logs` reads the same files back."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from bandit.decide.logged import LoggedActions, encode_logged
from bandit.errors import extras_named
from bandit.times import utc_text
from sim.logs.dsjson_write import dsjson_line
from sim.logs.event import LoggedEvent
from sim.logs.table import FIELDS

# For human readers, in addition to the fields; when the file is read, they come from `actions`.
SHOWN = {"channel": "string", "content": "string", "send_at": "timestamp"}

Writer = Callable[[Sequence[LoggedEvent]], None]


@contextmanager
def parquet_writer(path: Path) -> Iterator[Writer]:
    """Writes batches as row groups."""
    with extras_named():
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

    kinds = {
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list": pa.list_(pa.float64()),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in {**FIELDS, **SHOWN}.items()])
    with ParquetWriter(path, schema) as writer:
        yield lambda events: writer.write_batch(
            pa.RecordBatch.from_pylist([_row(event) for event in events], schema=schema)
        )


@contextmanager
def csv_writer(path: Path) -> Iterator[Writer]:
    """Writes a header, then a line per event."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*FIELDS, *SHOWN])
        writer.writeheader()
        yield lambda events: writer.writerows([_text_row(_row(event)) for event in events])


@contextmanager
def dsjson_writer(path: Path) -> Iterator[Writer]:
    """Writes a line per event."""
    with path.open("wb") as file:
        yield lambda events: file.writelines(dsjson_line(event) for event in events)


WRITERS: Mapping[str, Callable[[Path], AbstractContextManager[Writer]]] = {
    "parquet": parquet_writer,
    "csv": csv_writer,
    "dsjson": dsjson_writer,
}


def _row(event: LoggedEvent) -> dict[str, Any]:
    return {
        **{name: getattr(event, name) for name in FIELDS},
        "pmf": None if event.pmf is None else event.pmf.tolist(),
        "actions": _actions_text(event),
        "context": orjson.dumps(event.context).decode(),
        **_shown(event),
    }


def _actions_text(event: LoggedEvent) -> str | None:
    if event.actions is None:
        return None
    return (
        encode_logged(event.actions)
        if isinstance(event.actions, LoggedActions)
        else orjson.dumps(event.actions).decode()
    )


def _shown(event: LoggedEvent) -> dict[str, Any]:
    if not isinstance(event.actions, LoggedActions):
        return dict.fromkeys(SHOWN)
    action = event.actions.action(event.action_index)
    return {"channel": action.channel, "content": action.content, "send_at": action.send_at}


def _text_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells as CSV text; a float as the shortest text that gives the same number."""
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_text(value)
    return orjson.dumps(value).decode() if isinstance(value, list) else value
