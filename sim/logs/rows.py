"""Rows of CSV and Parquet files as raw values by column, before anything is read out of them."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from bandit.errors import InvalidLog, extras_named
from sim.logs.bytes_of import PACKED, opened_bytes
from sim.logs.cells import LONGEST_SHOWN, one_line, shown
from sim.logs.event import BATCH

Raw = Mapping[str, Any]
Shape = tuple[list[str], int | None]  # names of the columns, and the number of rows where the file says it
LARGEST_CELL = 2**31 - 1  # characters; 128 KiB, as csv has it of itself, are less than a set of two thousand actions


def csv_shape(path: Path) -> Shape:
    """The header of a CSV file.

    Raises:
        InvalidLog: it cannot be read, or two columns have one name.
    """
    with _csv_reader(path) as reader:
        return _header(path, reader), None


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Sequence[Raw]]:
    """The rows below the header, 1,000 at a time.

    Raises:
        InvalidLog: a row has more or fewer cells than the header, or a quote that is never closed; names the row.
    """
    with _csv_reader(path) as reader:
        header = _header(path, reader)
        places = {name: header.index(name) for name in columns}
        rows = _cells(reader, header)
        while batch := list(islice(rows, BATCH)):
            yield [{name: row[place] for name, place in places.items()} for row in batch]


@contextmanager
def _csv_reader(path: Path) -> Iterator[Iterator[list[str]]]:
    csv.field_size_limit(LARGEST_CELL)
    try:
        with opened_bytes(path) as file, TextIOWrapper(file, encoding="utf-8", newline="") as lines:
            yield csv.reader(lines, strict=True)
    except UnicodeDecodeError as error:
        raise InvalidLog(f"{path}: cannot be read: line {_bad_line(path)}: is not UTF-8 text: {error.reason}") from None


def _bad_line(path: Path) -> int:
    """The first line that is not UTF-8, from 1."""
    with opened_bytes(path) as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError:
                return line
    return 1


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InvalidLog(f"{path}: cannot be read: line 1: {error}") from None
    _check_names(path, names)
    return names


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1 and name]
    if twice:
        raise InvalidLog(f"{path.name}: has two columns {shown(twice[0])}: a column's name must be there once")


def _cells(reader: Iterator[list[str]], header: Sequence[str]) -> Iterator[list[str]]:
    """The rows that are not blank, each with a cell for each column."""
    row = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InvalidLog(f"row {row}: the quotes do not match: {error}") from None
        if cells is None:
            return
        if cells:
            _check_cells(row, cells, header)
            yield cells
            row += 1


def _check_cells(row: int, cells: Sequence[str], header: Sequence[str]) -> None:
    if len(cells) != len(header):
        text = ",".join(cells)[:LONGEST_SHOWN]
        rule = f"{len(cells)} cells: must be {len(header)}, as many as the header has (quote cells that hold a comma)"
        raise InvalidLog(f"row {row}: {text!r}: {rule}")
    for name, cell in zip(header, cells, strict=True):
        if "\n" in cell and _holds_rows(cell, len(header)):
            raise InvalidLog(f"row {row}: {name}: {shown(cell)}: a quote that opens here takes in the rows that follow")


def _holds_rows(cell: str, n_columns: int) -> bool:
    """Whether some line inside of the cell looks like a row of its own."""
    return any(line.count(",") == n_columns - 1 for line in cell.splitlines()[1:-1])


def parquet_shape(path: Path) -> Shape:
    """The columns of a Parquet file and the number of its rows.

    Raises:
        InvalidLog: it cannot be read, or two columns have one name.
    """
    with extras_named():
        from pyarrow.parquet import ParquetFile

    if path.suffix.lower() in PACKED:
        raise InvalidLog(f"{path}: cannot be read: Parquet is compressed inside; unpack the file first")
    with _named(path), ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        _check_names(path, names)
        return names, file.metadata.num_rows


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Sequence[Raw]]:
    """The rows, 1,000 at a time.

    Raises:
        InvalidLog: the file is damaged, or holds values that Python has none for.
    """
    with extras_named():
        from pyarrow.parquet import ParquetFile

    with _named(path), ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH, columns=list(columns)):
            yield _python_values(path, batch)


def _python_values(path: Path, batch: Any) -> list[Raw]:
    try:
        return list(batch.to_pylist())
    except (ValueError, KeyError, ArithmeticError) as error:  # times beyond the year 9999, unknown zones
        raise InvalidLog(f"{path}: cannot be read: {one_line(error)}") from None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the file in what goes wrong with it."""
    with extras_named():
        from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException) as error:
        raise InvalidLog(f"{path}: cannot be read: {one_line(error)}") from None
