"""The picture of the tables: columns, keys, and which table refers to which."""

from collections.abc import Iterator, Mapping

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table

from bandit.store.sql.schema import UtcTime, metadata
from benchmarks.pictures.svg import Box, arrow, drawing, rectangle, text

MARGIN = 24.0
WIDTH = 268.0
GUTTER = 64.0  # between columns of tables, for the arrows
GAP = 22.0  # between tables of a column
ROW = 16.0
HEAD = 26.0
MOST_HEIGHT = 1_150.0  # of one column of tables; then another one begins
_KINDS = ((UtcTime, "time"), (Boolean, "yes/no"), (LargeBinary, "bytes"), (Float, "number"), (String, "text"))
_WHOLE = (Integer, BigInteger)


def tables_picture(declared: MetaData = metadata) -> str:
    """The picture as SVG: a table stands to the right of those to which it refers."""
    boxes = _places(declared)
    tables = declared.tables
    arrows = [arrow(_way(boxes[name], boxes[other])) for name, other in references(declared) if name != other]
    parts = [*arrows, *(part for name, box in boxes.items() for part in _table(tables[name], box))]
    width = max(box.x + box.width for box in boxes.values()) + MARGIN
    height = max(box.y + box.height for box in boxes.values()) + MARGIN
    return drawing(width, height, title="Tables, their columns, and which refers to which", parts=parts)


def references(declared: MetaData) -> list[tuple[str, str]]:
    """Pairs of tables, of which the first refers to the second; not where another reference leads there as well."""
    direct = {name: _targets(table) for name, table in declared.tables.items()}
    return [
        (name, target)
        for name, targets in direct.items()
        for target in sorted(targets)
        if not any(target in direct[other] for other in targets - {target})
    ]


def _targets(table: Table) -> set[str]:
    return {key.column.table.name for key in table.foreign_keys}


def _depths(declared: MetaData) -> Mapping[str, int]:
    depths: dict[str, int] = {}
    for table in declared.sorted_tables:  # those referred to come first
        depths[table.name] = 1 + max((depths[name] for name in _targets(table)), default=-1)
    return depths


def _places(declared: MetaData) -> dict[str, Box]:
    """Where each table is drawn: in columns by how many references lie below it."""
    boxes: dict[str, Box] = {}
    x, depths = MARGIN, _depths(declared)
    for depth in range(max(depths.values()) + 1):
        y = MARGIN
        for name in sorted((one for one in depths if depths[one] == depth), key=lambda one: _order(declared, one)):
            height = HEAD + len(declared.tables[name].columns) * ROW + 8
            if y + height > MOST_HEIGHT:
                x, y = x + WIDTH + GUTTER, MARGIN
            boxes[name] = Box(x=x, y=y, width=WIDTH, height=height)
            y += height + GAP
        x += WIDTH + GUTTER
    return boxes


def _order(declared: MetaData, name: str) -> tuple[bool, str]:
    """Tables that stand alone come last in their column."""
    table = declared.tables[name]
    alone = not table.foreign_keys and not any(name in _targets(other) for other in declared.tables.values())
    return alone, name


def _way(table: Box, referred: Box) -> str:
    """From the left of a table, through the gutter before it, to the right of the table that it refers to."""
    start, end = table.y + HEAD / 2, referred.y + HEAD / 2
    near, far = table.x - GUTTER / 2, referred.x + referred.width
    return f"M{table.x:g} {start:g}H{near:g}V{end:g}H{far + 1:g}"


def _table(table: Table, box: Box) -> Iterator[str]:
    yield rectangle(box, "box")
    yield rectangle(Box(x=box.x, y=box.y, width=box.width, height=HEAD), "head")
    yield text(box.middle, box.y + 18, table.name, "name", anchor="middle")
    for n, column in enumerate(table.columns):
        y = box.y + HEAD + 15 + n * ROW
        yield text(box.x + 10, y, column.name, "key" if column.primary_key else "small")
        yield text(box.x + box.width - 10, y, _said(column), "small", anchor="end")


def _said(column: "Column[object]") -> str:
    """The table to which the column refers, or what it holds."""
    targets = sorted(key.column.table.name for key in column.foreign_keys)
    kind = f"→ {targets[0]}" if targets else _kind(column)
    return f"{kind}, or none" if column.nullable else kind


def _kind(column: "Column[object]") -> str:
    if isinstance(column.type, _WHOLE):
        return "integer"
    return next(word for kind, word in _KINDS if isinstance(column.type, kind))
