"""The picture of the rooms of each package, and which room imports which.

The drawing of each package is layered: a room stands above all rooms that it imports. An arrow that passes a storey
gets a lane there between the rooms, so that no arrow runs behind a room.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.pictures.svg import SMALL_PIXELS, Box, arrow, drawing, rectangle, text, wrapped

PACKAGES = ("bandit", "sim", "api")
MARGIN = 24.0
GAP = 24.0  # between rooms of a storey
RISE = 34.0  # between storeys
LANE_WIDTH = 6.0
ROOM_WIDTH = 168.0
LINES = 3  # of the description in a box
ROOM_HEIGHT = 28.0 + LINES * (SMALL_PIXELS + 3)
HEAD_HEIGHT = 32.0
HEAD_LINE = SMALL_PIXELS + 3
Edges = Mapping[str, frozenset[str]]
Lane = tuple[str, str]  # of an arrow that passes a storey: from which room to which
Slot = str | Lane  # what has a place in a storey


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """The rooms of a package and what they import."""

    name: str
    about: str
    rooms: Mapping[str, str]  # description by name
    imports: Edges  # between rooms of this package
    others: frozenset[str]  # rooms of other packages that it imports

    @property
    def storeys(self) -> list[list[str]]:
        """Names of the rooms by storey, lowest first: a room stands right above the highest room that it imports."""
        heights: dict[str, int] = {}
        while len(heights) < len(self.rooms):
            ready = [room for room in self.rooms if room not in heights and self.imports[room] <= heights.keys()]
            if not ready:
                raise ValueError(f"{self.name}: rooms import each other in a circle")
            heights.update({room: 1 + max((heights[low] for low in self.imports[room]), default=-1) for room in ready})
        return [sorted(room for room in heights if heights[room] == n) for n in range(max(heights.values()) + 1)]


def rooms_picture(root: Path) -> str:
    """The picture as SVG of the packages under this folder: the first on the left, the others above each other."""
    first, *rest = (_Layout(read_package(root, name)) for name in PACKAGES)
    width = max(layout.width for layout in rest)
    height = max(first.height, sum(layout.height for layout in rest) + RISE * (len(rest) - 1))
    parts = [*first.parts(MARGIN, MARGIN + height)]
    bottom = MARGIN + height
    for layout in rest:
        parts.extend(layout.parts(MARGIN + first.width + 2 * GAP + (width - layout.width) / 2, bottom))
        bottom -= layout.height + RISE
    title = "Packages, their rooms, and which room imports which"
    return drawing(2 * MARGIN + first.width + 2 * GAP + width, 2 * MARGIN + height, title=title, parts=parts)


def read_package(root: Path, name: str) -> Package:
    """The rooms of a package: its folders, and the files that lie in it directly."""
    rooms = dict(_rooms_of(root / name))
    found: dict[str, set[str]] = {room: set() for room in rooms}
    others: set[str] = set()
    for path in sorted((root / name).rglob("*.py")):
        room = path.relative_to(root / name).parts[0].removesuffix(".py")
        for package, target in _imports(path):
            if room not in rooms:
                continue
            if package == name and target in rooms and target != room:
                found[room].add(target)
            elif package in PACKAGES[: PACKAGES.index(name)]:
                others.add(f"{package}.{target}")
    return Package(
        name=name,
        about=_about(root / name / "__init__.py"),
        rooms=rooms,
        imports={room: frozenset(targets) for room, targets in found.items()},
        others=frozenset(others),
    )


def _rooms_of(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            yield path.name, _short(path / "__init__.py")
        elif path.suffix == ".py" and not path.name.startswith("__"):
            yield path.stem, _short(path)


def _short(path: Path) -> str:
    """What a room is, in as few lines as its box has; only the part before a colon if it is longer."""
    sentence = _about(path)
    return sentence if len(wrapped(sentence, ROOM_WIDTH - 12)) <= LINES else sentence.split(": ")[0]


def _about(path: Path) -> str:
    """The first sentence of a file's docstring, without its full stop."""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(words.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Package and room of every import of ours in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package in PACKAGES and rest:
                yield package, rest.split(".")[0]


def direct(imports: Edges) -> Iterator[tuple[str, str]]:
    """Imports that no longer way leads to as well: enough arrows to see the order."""
    for room, targets in imports.items():
        below = {low for target in targets for low in _reached(imports, target)}
        yield from ((room, target) for target in sorted(targets - below))


def _reached(imports: Edges, room: str) -> set[str]:
    return {low for target in imports[room] for low in {target, *_reached(imports, target)}}


class _Layout:
    """Where the rooms of one package are drawn, measured from the left and the bottom of the package."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._arrows = sorted(direct(package.imports))
        rows = [list[Slot](storey) for storey in package.storeys]
        heights = {room: n for n, storey in enumerate(package.storeys) for room in storey}
        for room, target in self._arrows:
            for n in range(heights[target] + 1, heights[room]):
                rows[n].append((room, target))
        self.width = max(sum(_width(slot) + GAP for slot in row) - GAP for row in rows)
        self._middles: dict[tuple[int, Slot], float] = {}
        for n, row in enumerate(rows):
            self._place(n, sorted(row, key=partial(self._wish, n)))
        self._heights = heights
        self._head = [*wrapped(_imported(package), self.width - 16)]
        self._head_height = HEAD_HEIGHT + HEAD_LINE * len(self._head)
        self.height = self._head_height + len(rows) * (ROOM_HEIGHT + RISE)

    def _wish(self, n: int, slot: Slot) -> float:
        """Where a slot would like to stand: above the mean of what it leads to in the storey below."""
        below = [self._middle_below(n, arrow) for arrow in self._arrows if slot in (arrow, arrow[0])]
        found = [middle for middle in below if middle is not None]
        return sum(found) / len(found) if found else self.width / 2

    def _middle_below(self, n: int, arrow: Lane) -> float | None:
        return self._middles.get((n - 1, arrow), self._middles.get((n - 1, arrow[1])))

    def _place(self, n: int, row: Sequence[Slot]) -> None:
        left = (self.width - sum(_width(slot) + GAP for slot in row) + GAP) / 2
        for slot in row:
            self._middles[n, slot] = left + _width(slot) / 2
            left += _width(slot) + GAP

    def parts(self, x: float, bottom: float) -> Iterator[str]:
        """The drawing, with its left and its bottom there."""
        yield from self._head_parts(Box(x=x, y=bottom - self.height, width=self.width, height=self._head_height))
        for room, target in self._arrows:
            yield arrow(self._way(room, target, x, bottom))
        for room, n in self._heights.items():
            left = x + self._middles[n, room] - ROOM_WIDTH / 2
            box = Box(x=left, y=_top(bottom, n), width=ROOM_WIDTH, height=ROOM_HEIGHT)
            yield from _room(room, self._package.rooms[room], box)

    def _way(self, room: str, target: str, x: float, bottom: float) -> str:
        """From the foot of the room through its lanes to the top of the target."""
        n, end = self._heights[room], self._heights[target]
        path = f"M{x + self._middles[n, room]:g} {_top(bottom, n) + ROOM_HEIGHT:g}"
        for below in range(n - 1, end - 1, -1):
            slot: Slot = target if below == end else (room, target)
            above = self._middles[below + 1, room if below + 1 == n else (room, target)]
            start, stop = _top(bottom, below + 1) + ROOM_HEIGHT, _top(bottom, below)
            middle, bend = self._middles[below, slot], (start + stop) / 2
            path += f"C{x + above:g} {bend:g} {x + middle:g} {bend:g} {x + middle:g} {stop - (below == end):g}"
            path += f"V{stop + ROOM_HEIGHT:g}" if below > end else ""
        return path

    def _head_parts(self, box: Box) -> Iterator[str]:
        yield rectangle(box, "head")
        yield text(box.middle, box.y + 20, self._package.name, "name", anchor="middle")
        for n, line in enumerate(self._head):
            yield text(box.middle, box.y + 38 + n * HEAD_LINE, line, "small", anchor="middle")


def _width(slot: Slot) -> float:
    return ROOM_WIDTH if isinstance(slot, str) else LANE_WIDTH


def _top(bottom: float, n: int) -> float:
    """Where the rooms of a storey begin."""
    return bottom - ROOM_HEIGHT - n * (ROOM_HEIGHT + RISE)


def _imported(package: Package) -> str:
    """What the package is, and which rooms of other packages it imports."""
    rooms: dict[str, list[str]] = {}
    for other in sorted(package.others):
        name, _, room = other.partition(".")
        rooms.setdefault(name, []).append(room)
    found = [f"{name} ({', '.join(names)})" for name, names in rooms.items()]
    imports = f"Imports {' and '.join(found)}" if found else "Imports no other package"
    return f"{package.about}. {imports}."


def _room(name: str, about: str, box: Box) -> Iterator[str]:
    yield rectangle(box, "box")
    yield text(box.middle, box.y + 19, name, "name", anchor="middle")
    for n, line in enumerate(wrapped(about, box.width - 12)):
        yield text(box.middle, box.y + 36 + n * (SMALL_PIXELS + 3), line, "small", anchor="middle")
