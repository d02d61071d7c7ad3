"""Statements of the hot path: compiled once for each database, then passed directly to the driver.

SQLAlchemy needs about ten times as long for a small statement as the database. Here it only writes the text and
converts the types that a database does not have. Errors of the driver become SQLAlchemy's own errors, as usual.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

Converter = Callable[[Any], Any]
Values = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """A statement in the form that one driver needs."""

    sql: str
    names: tuple[str, ...] | None  # names of the parameters if they are passed by place; None: they are passed by name
    converters: Mapping[str, Converter]  # by parameter

    def parameters(self, values: Values) -> Any:
        """The values in the form that the driver needs; changes the given dict."""
        for name, convert in self.converters.items():
            values[name] = convert(values[name])
        return values if self.names is None else [values[name] for name in self.names]


class PreparedInsert:
    """An insert of whole rows."""

    def __init__(self, statement: Insert) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}  # by dialect

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Inserts the rows; each has a value for every column. The given dicts may be changed."""
        dialect = connection.dialect
        text = self._texts.get(dialect.name)
        if text is None:
            text = self._texts[dialect.name] = _compiled(self._statement, dialect)
        with _cursor(connection, text.sql) as cursor:
            cursor.executemany(text.sql, [text.parameters(row) for row in rows])


class PreparedQuery:
    """A query whose lists of text may have any length above 0."""

    def __init__(self, statement: Select[Any], *, lists: Sequence[str]) -> None:
        """
        Args:
            lists: the parameters that are expanded into several parameters.
        """
        self._statement = statement
        self._lists = lists
        self._texts: dict[tuple[str, tuple[int, ...]], _Text] = {}  # by dialect and lengths
        self._converters: dict[str, Mapping[int, Converter]] = {}  # of the columns, by dialect

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[list[Any]]:
        """The rows of the query with these values."""
        # Lists have up to a thousand entries: without rounding there would be a text for each length.
        rounded = {**values, **{name: _rounded_up(values[name]) for name in self._lists}}
        text = self._text(connection.dialect, rounded)
        for name in self._lists:
            rounded.update((f"{name}_{place}", one) for place, one in enumerate(rounded.pop(name), start=1))
        with _cursor(connection, text.sql) as cursor:
            cursor.execute(text.sql, text.parameters(rounded))
            found = [list(row) for row in cursor.fetchall()]
            for place, convert in self._column_converters(connection.dialect, cursor).items():
                for row in found:
                    row[place] = convert(row[place])
        return found

    def _text(self, dialect: Dialect, values: Mapping[str, Any]) -> _Text:
        key = (dialect.name, tuple([len(values[name]) for name in self._lists]))
        if key not in self._texts:
            self._texts[key] = _compiled(self._statement.params(values), dialect, render_postcompile=True)
        return self._texts[key]

    def _column_converters(self, dialect: Dialect, cursor: DBAPICursor) -> Mapping[int, Converter]:
        if dialect.name not in self._converters:
            kinds = [column.type.dialect_impl(dialect) for column in self._statement.selected_columns]
            found = [
                kind.result_processor(dialect, one[1]) for kind, one in zip(kinds, cursor.description, strict=True)
            ]
            self._converters[dialect.name] = {place: convert for place, convert in enumerate(found) if convert}
        return self._converters[dialect.name]


def run(connection: Connection, sql: str) -> None:
    """Runs a statement without parameters and results."""
    with _cursor(connection, sql) as cursor:
        cursor.execute(sql)


def _compiled(statement: Insert | Select[Any], dialect: Dialect, **options: bool) -> _Text:
    compiled = statement.compile(dialect=dialect, compile_kwargs=options)
    found = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect)
        for bind, name in compiled.bind_names.items()
        if not bind.expanding
    }
    return _Text(
        sql=str(compiled),
        names=None if compiled.positiontup is None else tuple(compiled.positiontup),
        converters={name: convert for name, convert in found.items() if convert},
    )


def _rounded_up(values: Sequence[str]) -> Sequence[str]:
    """The values, the last one repeated until their number is a power of two; this finds the same rows."""
    missing = (1 << (len(values) - 1).bit_length()) - len(values)
    return [*values, *[values[-1]] * missing]


@contextmanager
def _cursor(connection: Connection, sql: str) -> Iterator[DBAPICursor]:
    """A cursor of the driver.

    Raises:
        DBAPIError: of the class that fits the driver's error; a lost connection is invalidated.
    """
    dialect, lent = connection.dialect, connection.connection
    cursor = lent.cursor()
    try:
        yield cursor
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, lent, cursor)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            sql,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,  # they may be somebody's
            connection_invalidated=lost,
            dialect=dialect,
        ) from error
    finally:
        cursor.close()
