"""Draws the pictures of docs/pictures: `python -m benchmarks.pictures`."""

from pathlib import Path

from benchmarks.pictures.rooms import rooms_picture
from benchmarks.pictures.tables import tables_picture

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"


def pictures() -> dict[Path, str]:
    """The text of every picture, by the file that keeps it."""
    return {FOLDER / "rooms.svg": rooms_picture(ROOT), FOLDER / "tables.svg": tables_picture()}


def main() -> None:
    """Writes every picture to its file."""
    for path, drawn in pictures().items():
        path.write_text(drawn, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
